"""The points of configurations that were trained several times: bars in both directions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lightning_energy.comparison.configurations import kinds_of, on_front_of_means, probabilities_of
from lightning_energy.comparison.front_probability import FEWEST, is_estimated, probability_words
from lightning_energy.comparison.labels import Label, place, shortened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_energy.comparison.groups import Group, Mean
    from lightning_energy.comparison.run import Run

__all__ = ["draw_groups", "label_groups", "sentence"]

FRONT, BEHIND, GREY = "#0072B2", "#D55E00", "#6E6E6E"
WITHOUT_P = (
    f"fewer than {FEWEST} runs, no spread (also of early stops), one seed in several runs, runs of several settings, "
    "missing energy, no other like it that has one, or behind one that has none"
)


def sentence(groups: Sequence[Group]) -> str:
    """The meaning of the bars and of the probability, for the foot of a picture."""
    text = "Bars: ± one standard deviation over the n runs of a configuration; a single run has that of its meters."
    measured = [group for group in groups if not is_estimated(group)]
    without = sum(p is None for p in probabilities_of(measured))
    if measured:
        text += (
            " p: posterior probability (flat prior), by the scatter of repeats alone, that its mean is on the front of"
        )
        text += " the configurations like it that have one; no test; without the uncertainty of meters"
        text += f" (none for {without}: {WITHOUT_P})." if without else "."
    if len(measured) < len(groups):
        text += " Estimates have no p, as their error is not in the scatter of repeats."
    return text


def draw_groups(ax: Any, groups: Sequence[Group], left_out: Sequence[Run] = ()) -> None:
    """Draw a point per configuration at its means, with its runs as faint dots.

    Args:
        ax: the axis; its energies are in kWh.
        groups: configurations with known means, energies above 0.
        left_out: runs that are in no mean.
    """
    left = ax.get_xlim()[0]
    front = on_front_of_means(groups)
    estimated = [is_estimated(group) for group in groups]
    for k, (group, on) in enumerate(zip(groups, front, strict=True)):
        if group.energy is None or group.metric is None:
            continue
        colour = FRONT if on else BEHIND
        if group.n > 1:
            ax.plot(*_runs(group), ".", color=colour, alpha=0.35, markersize=4, zorder=2)
        x, y = group.energy, group.metric
        u = _half(x) if group.n > 1 else (group.runs[0].u_kwh or 0.0)
        ax.errorbar(
            [x.mean],
            [y.mean],
            xerr=[[min(u, max(x.mean - left, 0.0))], [u]],
            yerr=[[_half(y)], [_half(y)]],
            fmt="D" if estimated[k] else "o",
            color=colour,
            markerfacecolor=colour if on else "white",
            markersize=6,
            elinewidth=1.1,
            capsize=2.5,
            zorder=4,
        )
    kinds = kinds_of(groups)
    for kind in dict.fromkeys(kinds):  # each has a front of its own, and mixtures are on none that is drawn
        of_kind = [group for group, on, of in zip(groups, front, kinds, strict=True) if on and of == kind]
        _step(ax, [group for group in of_kind if not group.differs_in])
    for label, colour, fill in (("on the front of the means", FRONT, FRONT), ("behind it", BEHIND, "white")):
        ax.plot([], [], "o", color=colour, markerfacecolor=fill, markersize=6, label=label)
    if left_out:
        points = [run.energy_kwh for run in left_out], [run.metric for run in left_out]
        ax.plot(*points, "x", color=GREY, markersize=5, label="run that did not end, or a copy: in no mean", zorder=2)
    if any(estimated):
        ax.plot([], [], "D", color=GREY, fillstyle="left", markersize=6, label="energy estimated, not measured")


def _step(ax: Any, front: Sequence[Group]) -> None:
    """Draw the front of the means: the best of some seeds is no model's."""
    points = sorted((g.energy.mean, g.metric.mean) for g in front if g.energy is not None and g.metric is not None)
    if points:
        energies, values = zip(*points, strict=True)
        x, y = [*energies, ax.get_xlim()[1]], [*values, values[-1]]
        ax.plot(x, y, drawstyle="steps-post", color=FRONT, linewidth=1.6, alpha=0.75, zorder=2)


def label_groups(ax: Any, groups: Sequence[Group], others: Sequence[Any]) -> int:
    """Name the points where there is room: those of the front first, then by metric.

    Args:
        ax: the axis that they were drawn on, with all that hangs on its layout.
        groups: configurations with known means, energies above 0.
        others: other things on it that no name may cover.

    Returns:
        The number of configurations without a name.
    """
    points = []
    for group, on, p in zip(groups, on_front_of_means(groups), probabilities_of(groups), strict=True):
        x, y, name = group.energy, group.metric, shortened(group.name)
        if x is None or y is None:
            continue
        chance = "" if p is None else f", p {probability_words(p)}"
        points.append(Label((f"{name} (n = {group.n}{chance})", name), x.mean, y.mean, on, group.mode))
    return place(ax, sorted(points, key=lambda q: (not q.on_front, -q.y if q.mode == "max" else q.y)), others)


def _runs(group: Group) -> tuple[list[float], list[float]]:
    return [run.energy_kwh or 0.0 for run in group.runs], [run.metric or 0.0 for run in group.runs]


def _half(mean: Mean) -> float:
    return mean.sd or 0.0
