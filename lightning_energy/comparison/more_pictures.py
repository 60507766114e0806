"""Further pictures of a comparison: courses of the trainings, and the order over the score's constants."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from lightning_energy.comparison.configurations import left_out_of_ranks, with_means
from lightning_energy.comparison.labels import LABEL_POINTS
from lightning_energy.comparison.legend import put_legend
from lightning_energy.comparison.picture import INCHES, UNITS, new_axes, written
from lightning_energy.comparison.rank_stability import ALPHAS, ranks_at, references_of
from lightning_energy.comparison.subject import better
from lightning_energy.results.prefixes import energy_unit
from lightning_energy.results.readable import si

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from lightning_energy.comparison.judgement import Judgement
    from lightning_energy.comparison.rank_stability import Candidate
    from lightning_energy.scores.formula import Formula

__all__ = ["draw_courses", "draw_ranks", "plot_courses", "plot_ranks"]

# of the palette of Okabe and Ito, legible for the colour-blind; with the dashes, 28 lines differ
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", "--", "-.", ":")
IN_LEGEND = 16
GREY = "#6E6E6E"
PLACES = 120


def plot_courses(comparison: Judgement, ax: Any = None) -> Any:
    """Draw the best value so far against the energy spent, a step per validation, with the range over repeats.

    Args:
        comparison: the runs.
        ax: a matplotlib axis to draw on; by default one on a new figure.

    Returns:
        The figure and the axis.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    ax = new_axes(1, INCHES) if ax is None else ax
    subject, progress = comparison.subject, comparison.progress()
    drawn = [of for of in progress.configurations if of.band is not None] if progress else []
    unit, per_kwh = energy_unit([of.band.kwh[-1] for of in drawn if of.band is not None])
    direction = "" if subject.is_accuracy else f", {better(subject.mode)}"
    ax.set_ylabel(f"best {subject.heading} so far{direction}", parse_math=False)
    ax.set_xlabel(f"energy of the training so far in {UNITS[unit]} (logarithmic)")
    if progress is None or not drawn:
        text = f"no record has epochs with {subject.heading} and energy"
        ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", color=GREY, parse_math=False)
        return ax.figure, ax
    ax.set_xscale("log")
    _ticks(ax, unit, per_kwh)
    end = progress.budget_kwh
    for i, of in enumerate(drawn):
        found = of.band
        if found is None:
            continue
        colour, dash = COLOURS[i % len(COLOURS)], DASHES[i // len(COLOURS) % len(DASHES)]
        kwh = [*found.kwh, max(end, found.kwh[-1])]
        low, mean, high = ([*values, values[-1]] for values in (found.low, found.mean, found.high))
        runs = f" (n = {of.n})" if of.n > 1 else ""
        label = f"{of.name}{runs}: {subject.show(of.mean_best or 0.0)}" if i < IN_LEGEND else None
        ax.plot(kwh, mean, drawstyle="steps-post", color=colour, linestyle=dash, linewidth=1.5, label=label)
        if of.n > 1:
            ax.fill_between(kwh, low, high, step="post", color=colour, alpha=0.18, linewidth=0)
    for value in subject.targets:
        ax.axhline(value, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)))
        ax.annotate(
            f"{value:g}", (1, value), xycoords=("axes fraction", "data"), xytext=(-3, 2), textcoords="offset points",
            ha="right", fontsize=LABEL_POINTS, color=GREY,
        )  # fmt: skip
    ax.grid(visible=True, color="#EDEDED", linewidth=0.6)
    ax.set_axisbelow(True)
    more = f" (and {len(drawn) - IN_LEGEND} more)" if len(drawn) > IN_LEGEND else ""
    until = f" (until the first validation: {progress.floor:g}){more}"
    unlike = progress.left_out > 0
    lacking = len(progress.configurations) - len(drawn)
    bands = "; bands: from the worst to the best run" if any(of.n > 1 for of in drawn) else ""
    estimated = any(run.quality == "estimated" for run in comparison.drawable)
    missing = any(run.source.slack_kwh for run in comparison.drawable)
    words = "; energies estimated" * estimated + "; some energy missing" * missing
    words += "; unlike energies: not to be compared" * unlike
    ax.set_title(
        f"a step at each validation, nothing interpolated{bands}{words}{_lacking(lacking)}",
        loc="left", fontsize="small",
    )  # fmt: skip
    put_legend(ax, ax.texts, title=f"mean up to {si(end * per_kwh, unit)}{until}", title_fontsize="small")
    return ax.figure, ax


def _lacking(n: int) -> str:
    """Say how many configurations have no course."""
    if not n:
        return ""
    are, each = ("1 configuration is", "it") if n == 1 else (f"{n} configurations are", "each")
    return f"\n{are} not drawn, as a run of {each} has no course, or none ended"


def plot_ranks(comparison: Judgement, axes: Any = None) -> Any:
    """Draw the ranks by score over its exponent alpha, and over its reference where it has one.

    Args:
        comparison: the runs.
        axes: two matplotlib axes to draw on; by default those of a new figure.

    Returns:
        The figure and the axes.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    axes = new_axes(2, (10.0, 4.9)) if axes is None else axes
    candidates, formula = comparison.candidates, comparison.formula
    if formula is None or len(candidates) < 2:  # noqa: PLR2004 - one has no rank
        text = "fewer than two configurations that may be ranked against each other have a score"
        for ax in axes:
            ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", color=GREY)
        return axes[0].figure, axes
    _ranks(axes[0], candidates, formula, "alpha", np.linspace(*ALPHAS, PLACES).tolist())
    axes[0].set(xlabel="alpha, the exponent of the accuracy", ylabel="rank by score")
    references = references_of(formula)
    if references is not None:
        places = np.geomspace(*references, PLACES).tolist()
        axes[1].set_xscale("log")
        _ranks(axes[1], candidates, formula, "reference_kwh", places)
        axes[1].set(xlabel="reference in kWh (logarithmic)")
    axes[0].invert_yaxis()
    axes[0].yaxis.get_major_locator().set_params(integer=True)
    # names at the right, at the rank that is reached there
    ends = ranks_at(candidates, formula if references is None else _with(formula, "reference_kwh", references[1]))
    for i, (candidate, rank) in enumerate(zip(candidates, ends, strict=True)):
        if rank <= IN_LEGEND:
            axes[1].annotate(
                f"  {candidate.name[:28]}", (1, rank), xycoords=("axes fraction", "data"), va="center",
                fontsize=LABEL_POINTS, color=COLOURS[i % len(COLOURS)], annotation_clip=False, parse_math=False,
            )  # fmt: skip
    others, mixed = left_out_of_ranks(with_means(comparison.configurations))
    more = f"; {others} of another kind left out" if others else ""
    more += f"; {mixed} of mixed settings left out" if mixed else ""
    more += "; some energy missing" * any(run.source.slack_kwh for run in comparison.drawable)
    axes[0].set_title(f"dashed: the score's own constants; beta changes no order{more}", loc="left", fontsize="small")
    return axes[0].figure, axes


def draw_courses(comparison: Judgement, file: Path) -> None:
    """Write the picture of the courses to a file; see :func:`~lightning_energy.comparison.picture.draw`."""
    written(file, lambda figure: plot_courses(comparison, figure.add_subplot()))


def draw_ranks(comparison: Judgement, file: Path) -> None:
    """Write the picture of the ranks to a file; see :func:`~lightning_energy.comparison.picture.draw`."""
    written(file, lambda figure: plot_ranks(comparison, figure.subplots(1, 2, sharey=True)), (10.0, 4.9))


def _ranks(ax: Any, candidates: Sequence[Candidate], formula: Formula, constant: str, places: Sequence[float]) -> None:
    ranks = np.array([ranks_at(candidates, _with(formula, constant, place)) for place in places])
    for i in range(len(candidates)):
        colour, dash = COLOURS[i % len(COLOURS)], DASHES[i // len(COLOURS) % len(DASHES)]
        ax.plot(places, ranks[:, i], color=colour, linestyle=dash, linewidth=1.6)
    ax.axvline(formula.constants[constant], color=GREY, linewidth=0.8, linestyle=(0, (4, 3)))
    ax.set_xlim(places[0], places[-1])
    ax.grid(visible=True, color="#EDEDED", linewidth=0.6)


def _with(formula: Formula, constant: str, value: float) -> Formula:
    if constant not in formula.constants:
        return formula
    return type(formula)(**formula.constants | {constant: value})


def _ticks(ax: Any, unit: str, per_kwh: float) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter  # noqa: PLC0415 - an extra

    class Round(LogLocator):
        def tick_values(self, vmin: float, vmax: float) -> Any:
            return [tick / per_kwh for tick in super().tick_values(vmin * per_kwh, vmax * per_kwh)]

    ax.xaxis.set_major_locator(Round(subs=(1.0, 2.0, 5.0), numticks=12))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda kwh, _: si(kwh * per_kwh, unit) if math.isfinite(kwh) else ""))
    ax.xaxis.set_minor_formatter(NullFormatter())
