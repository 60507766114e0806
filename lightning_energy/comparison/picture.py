"""The picture of a comparison: quality against energy."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from lightning_energy.comparison.configurations import has_repeats, with_means
from lightning_energy.comparison.group_picture import draw_groups, label_groups, sentence
from lightning_energy.comparison.labels import LABEL_POINTS, PAPER, Label, place, shortened
from lightning_energy.comparison.legend import put_legend
from lightning_energy.comparison.pareto import goodness, window
from lightning_energy.comparison.subject import better
from lightning_energy.results.prefixes import energy_unit
from lightning_energy.results.readable import si

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from lightning_energy.comparison.judgement import Judgement
    from lightning_energy.comparison.run import Run
    from lightning_energy.comparison.subject import Subject

__all__ = ["INCHES", "SUFFIXES", "UNITS", "draw", "need_matplotlib", "new_axes", "plot", "written"]

SUFFIXES = (".png", ".svg")
INCHES = (8.0, 5.4)
DOTS_PER_INCH = 150
# name, colour (of the palette of Okabe and Ito, legible for the colour-blind), shape and filling of each kind
KINDS = [
    ("on the Pareto front", "#0072B2", "o", "#0072B2"),
    ("behind it, by the meter", "#E69F00", "s", "white"),
    ("dominated", "#D55E00", "X", "#D55E00"),
]
ESTIMATED = ("energy estimated, not measured", "D")  # name in the legend, and shape for every kind
# round numbers on an axis of so many decades
ROUND_DIGITS = ((1, (1.0, 2.0, 3.0, 4.0, 5.0, 7.0)), (3, (1.0, 2.0, 5.0)))
UNITS = {"J": "joules", "Wh": "watt hours"}
GREY = "#6E6E6E"
CROWD = 25  # more runs are drawn smaller and fainter
MOST_LABELS = 40
CAVEATS = 3
CAVEAT_CHARACTERS = 120


def plot(comparison: Judgement, ax: Any = None) -> Any:
    """Draw a comparison; see :meth:`~lightning_energy.comparison.comparison.Comparison.plot`."""
    ax = new_axes(1, INCHES) if ax is None else ax
    runs = comparison.drawable
    unit, per_kwh = energy_unit([run.energy_kwh for run in runs])
    ax.set(xlabel=f"energy of the training in {UNITS[unit]} (logarithmic; bars: ±1 absolute standard uncertainty)")
    ax.set_ylabel(_of_metric(comparison.subject), parse_math=False)  # a metric may be called "$x"
    ax.set_title(_title(comparison), loc="left", fontsize="medium", parse_math=False)
    if runs:
        _axes(ax, runs, unit, per_kwh)
        scores = _iso_lines(ax, comparison)
        groups = [g for g in with_means(comparison.configurations) if g.energy is not None and g.energy.mean > 0]
        if has_repeats(groups):
            ax.set_xlabel(f"energy of the training in {UNITS[unit]} (logarithmic)")
            draw_groups(ax, groups, [run for g in comparison.configurations for run, _ in g.left_out if run in runs])
            _caveats(ax, [sentence(groups), *comparison.caveats])
            legend = put_legend(ax, scores)
            if hidden := label_groups(ax, groups, [*scores, legend]):
                left = f"; {hidden} configuration{'s' * (hidden != 1)} without room for a name"
                ax.set_title(f"{_title(comparison)}{left}", loc="left", fontsize="medium", parse_math=False)
            return ax.figure, ax
        _front_line(ax, [run for run in comparison.front if run in runs])
        _points(ax, runs)
        _caveats(ax, comparison.caveats)
        handles, names = ax.get_legend_handles_labels()
        legend = put_legend(ax, scores, handles=handles[::-1], labels=names[::-1])
        _labels(ax, runs, [*scores, legend])
    else:
        text = f"no run with {comparison.subject.heading} and energy"
        ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", color=GREY, parse_math=False)
        _caveats(ax, comparison.caveats)
    return ax.figure, ax


def new_axes(n: int, inches: tuple[float, float]) -> Any:
    """The axis of a new figure, or several beside each other that share their vertical scale.

    Args:
        n: their number.
        inches: width and height of the figure.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    need_matplotlib()
    import matplotlib.pyplot as plt  # noqa: PLC0415 - an extra

    return plt.subplots(1, n, figsize=inches, layout="constrained", sharey=True)[1]


def draw(comparison: Judgement, file: Path) -> None:
    """Write the picture to a file, without a window or a display.

    Args:
        comparison: the runs to draw.
        file: a ``.png`` or ``.svg``; folders are made.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
        ValueError: another suffix.
        OSError: it cannot be written.
    """
    written(file, lambda figure: plot(comparison, figure.add_subplot()))


def written(file: Path, fill: Callable[[Any], object], inches: tuple[float, float] = INCHES) -> None:
    """Write a figure to a file, without a window or a display; errors are those of :func:`draw`.

    Args:
        file: a ``.png`` or ``.svg``; folders are made.
        fill: draws on the figure.
        inches: its width and height.
    """
    if file.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{file} is neither a .png nor a .svg: give a name that ends so")
    need_matplotlib()
    import matplotlib as mpl  # noqa: PLC0415 - an extra
    from matplotlib.figure import Figure  # noqa: PLC0415 - pyplot would look for a display

    figure = Figure(figsize=inches, layout="constrained")
    fill(figure)
    file.parent.mkdir(parents=True, exist_ok=True)
    # the same comparison gives the same file: no date in it, no random names, and text that is text
    metadata = {"Date": None} if file.suffix.lower() == ".svg" else {}
    with mpl.rc_context({"svg.hashsalt": "lightning-energy", "svg.fonttype": "none"}):
        figure.savefig(file, dpi=DOTS_PER_INCH, metadata=metadata)


def need_matplotlib() -> None:
    """Raise, with the remedy, unless matplotlib is installed."""
    try:
        import matplotlib  # noqa: F401, ICN001, PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("a picture needs matplotlib: pip install matplotlib") from error


def _title(comparison: Judgement) -> str:
    drawn, hidden = len(comparison.drawable), len(comparison.runs) - len(comparison.drawable)
    left = f" ({hidden} more without {comparison.subject.heading} or energy)" if hidden else ""
    score = "" if comparison.formula is None else f"; score: {comparison.formula.words}"
    return f"{drawn} run{'s' * (drawn != 1)}{left}{score}"


def _of_metric(subject: Subject) -> str:
    if not subject.name:
        return subject.heading
    which = "last value" if subject.epoch == "last" else "best epoch"
    return f"{subject.heading} ({which}{'' if subject.is_accuracy else f', {better(subject.mode)}'})"


def _axes(ax: Any, runs: Sequence[Run], unit: str, per_kwh: float) -> None:
    """Set up the axes: the data are in kWh, the ticks are round in the unit that is shown."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter  # noqa: PLC0415 - an extra

    (left, right), (bottom, top) = window(runs)
    ax.set_xscale("log")
    ax.set_xlim(left, right)
    ax.set_ylim(bottom, top)
    # one decade has room for more round numbers than three, and more than three for powers of ten alone
    digits = next((d for decades, d in ROUND_DIGITS if right / left < 10**decades), (1.0,))

    class Round(LogLocator):
        def tick_values(self, vmin: float, vmax: float) -> Any:
            return [tick / per_kwh for tick in super().tick_values(vmin * per_kwh, vmax * per_kwh)]

    ax.xaxis.set_major_locator(Round(subs=digits, numticks=12))
    ax.xaxis.set_minor_locator(Round(subs=tuple(range(2, 10)), numticks=12))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda kwh, _: si(kwh * per_kwh, unit)))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.grid(visible=True, color="#EDEDED", linewidth=0.6)
    ax.set_axisbelow(True)


def _iso_lines(ax: Any, comparison: Judgement) -> list[Any]:
    """Draw lines of equal score, named where they leave the picture."""
    labels = []
    (_, right), (_, top) = window(comparison.drawable)
    for i, (score, points) in enumerate(comparison.iso_scores()):
        x, y = zip(*points, strict=True)
        name = "equal score" if i == 0 else None
        ax.plot(x, y, color=GREY, linewidth=0.7, linestyle=(0, (4, 3)), label=name, zorder=1)
        leaves_at_the_top = y[-1] > top - 1e-9 * top or x[-1] < right * (1 - 1e-9)
        labels.append(
            ax.annotate(
                f"{score:g}",
                (x[-1], y[-1]),
                (0, -2) if leaves_at_the_top else (-3, 2),
                textcoords="offset points",
                ha="right",
                va="top" if leaves_at_the_top else "bottom",
                fontsize=LABEL_POINTS - 1,
                color=GREY,
                bbox=PAPER,
            )
        )
    return labels


def _front_line(ax: Any, front: Sequence[Run]) -> None:
    """Draw the best value that was reached for at most an energy: a step to a better one at each run of the front.

    Each kind of runs has a front of its own.
    """
    right = ax.get_xlim()[1]
    for kind in dict.fromkeys(run.kind for run in front):
        alike = [run for run in front if run.kind == kind]
        energies = [*(run.energy_kwh for run in alike), right]
        values = [*(run.metric for run in alike), alike[-1].metric]
        ax.plot(energies, values, drawstyle="steps-post", color=KINDS[0][1], linewidth=1.6, alpha=0.75, zorder=2)


def _kind(run: Run) -> int:
    return 0 if run.on_front else 2 if run.dominated_by else 1


def _points(ax: Any, runs: Sequence[Run]) -> None:
    crowded = len(runs) > CROWD
    size = 5 if crowded else 7
    if any(run.quality == "estimated" for run in runs):
        name, shape = ESTIMATED
        # half filled: it is the shape that says so, not the filling
        ax.plot([], [], shape, color=GREY, fillstyle="left", markersize=size - 1, label=name)
    left = ax.get_xlim()[0]
    for kind, (name, color, marker, face) in reversed([*enumerate(KINDS)]):
        alike = [run for run in runs if _kind(run) == kind]
        groups = [[r for r in alike if (r.quality == "estimated") is estimated] for estimated in (False, True)]
        for chosen in filter(None, groups):
            energies = [run.energy_kwh or 0.0 for run in chosen]
            errors = [run.u_kwh or 0.0 for run in chosen]
            # a bar that would end at or below zero ends where the axis does
            below = [min(u, e - left) if e > left else 0.0 for e, u in zip(energies, errors, strict=True)]
            is_estimated = chosen is groups[1]
            ax.errorbar(
                energies,
                [run.metric for run in chosen],
                xerr=[below, errors],
                fmt=ESTIMATED[1] if is_estimated else marker,
                color=color,
                markerfacecolor=face,
                markersize=size - is_estimated,
                elinewidth=0.6 if crowded else 1.1,
                alpha=0.8 if crowded and kind else 1.0,
                capsize=0 if crowded else 2.5,
                label=None if is_estimated and groups[0] else name,  # once in the legend
                zorder=4 if kind == 0 else 3,
            )


def _labels(ax: Any, runs: Sequence[Run], others: Sequence[Any]) -> None:
    """Name the points where there is room: those of the front first, then by score, or by the metric without one."""
    good = {
        run.name: value if run.score is None else run.score for run, value in zip(runs, goodness(runs), strict=True)
    }
    ranked = sorted(runs, key=lambda r: (_kind(r), -good[r.name], r.name))
    points = [Label((shortened(r.name),), r.energy_kwh or 0.0, r.metric or 0.0, r.on_front, r.mode) for r in ranked]
    place(ax, points[:MOST_LABELS], others)


def _caveats(ax: Any, caveats: Sequence[str]) -> None:
    """Write the caveats beneath: unlike runs are never shown without a word."""
    shown = [*caveats[:CAVEATS], *([f"… and {len(caveats) - CAVEATS} more caveats"] if len(caveats) > CAVEATS else [])]
    lines = [line for caveat in shown for line in textwrap.wrap(caveat, CAVEAT_CHARACTERS, subsequent_indent="  ")]
    if lines:
        ax.annotate(
            "\n".join(lines),
            (0, 0),
            (0, -36),
            xycoords="axes fraction",
            textcoords="offset points",
            va="top",
            fontsize=LABEL_POINTS - 1,
            color=GREY,
            annotation_clip=False,
            parse_math=False,
        )
