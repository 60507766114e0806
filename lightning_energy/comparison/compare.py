"""Many runs side by side: accuracy against energy, from their records."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import numpy as np

from lightning_energy.comparison.columns import Column, column_of
from lightning_energy.comparison.comparison import Comparison
from lightning_energy.comparison.pareto import dominations, on_front
from lightning_energy.comparison.run import Choice, NothingFittedError, Run, run_of
from lightning_energy.comparison.run_files import find_records, short_names
from lightning_energy.comparison.unlike import reference_of_their_size, with_caveats
from lightning_energy.results.read import RecordError
from lightning_energy.scores.formula import ALPHA, BETA, REFERENCE_KWH, EnergyPenalized, Sustainable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["compare"]


def compare(
    paths: str | Path | Iterable[str | Path],
    *,
    sort: str = "energy_kwh",
    reverse: bool = False,
    accuracy: Choice = "last",
    alpha: float = ALPHA,
    beta: float = BETA,
    reference_kwh: float | None = None,
) -> Comparison:
    """List runs side by side, from their records.

    A run's energy is that of its training over all its sessions, its validations included; its accuracy is the last
    that was scored. Its score is computed from both, and slightly lower than the last one that was logged: it includes
    the energy spent after the last validation. A run is *dominated* when another one is at least as accurate for less
    energy, and *for sure* only when its energy is not estimated and the energies differ by more than twice the standard
    uncertainty of their difference: see :func:`~lightning_energy.comparison.pareto.dominations`. ``problems``
    names every file that cannot be compared; the others are compared all the same.

    Args:
        paths: records, folders that hold records at any depth, or glob patterns; one or several.
        sort: the column to sort by, one of :data:`~lightning_energy.comparison.columns.SORTABLE`; its unit may be left
            out (``"energy"``). The largest comes first where more is better, unknown values last.
        reverse: sort the other way round.
        accuracy: ``"last"``, or ``"best"`` for the best epoch's. The energy is that of the whole training in both
            cases: the epochs after the best cost energy, too.
        alpha: exponent of the accuracy in both scores, above 0.
        beta: scale of both scores, above 0.
        reference_kwh: energy in kWh at which the penalty of the score begins to bite, one for all runs. By default the
            one that the runs were trained with where they agree, else 1 kWh, with a caveat.

    Returns:
        The comparison. With nothing to compare it is empty, and its ``problems`` say why.

    Raises:
        ValueError: an argument is out of range, or there is no path.
        TypeError: one of ``paths`` is no path, or a constant is no number.

    Example:
        >>> comparison = compare("nowhere")
        >>> comparison.problems
        ['nowhere does not exist: give a record (energy.json) or the log directory of a run']
    """
    given = [paths] if isinstance(paths, (str, Path)) else [*paths]
    if not given:
        raise ValueError("there is no path: give records, log directories or glob patterns")
    if accuracy not in get_args(Choice):
        raise ValueError(f"accuracy={accuracy!r}: give one of {', '.join(get_args(Choice))}")
    formula = EnergyPenalized(alpha, beta, REFERENCE_KWH if reference_kwh is None else reference_kwh)
    column = column_of(sort)
    runs, problems, caveats = _read(given, accuracy)
    fit = [run for run in runs if run.is_comparable]
    rest = [run for run in runs if not run.is_comparable]
    if reference_kwh is None:
        formula, theirs = _with_their_reference(formula, fit)
        caveats += theirs
    fit, unlike = with_caveats(fit, formula.reference_kwh)
    fit = _judge([_scored(run, formula) for run in fit])
    if any(run.energy_kwh == 0 for run in fit):
        caveats.append("A run of 0 kWh has no place on a logarithmic axis: the picture leaves it out.")
    return Comparison(
        _sorted([*fit, *rest], column, reverse=reverse),
        [*problems, *_too_few(fit)],
        [*unlike, *caveats],
        accuracy,
        formula,
        column.name,
    )


def _read(given: Sequence[str | Path], accuracy: Choice) -> tuple[list[Run], list[str], list[str]]:
    """The runs, the problems, and a caveat where records of no training were left out beside runs."""
    files, problems = find_records(given)
    runs, without_fit = [], []
    for file, name in zip(files, short_names(files), strict=True):
        try:
            run = run_of(file, name, accuracy)
        except NothingFittedError as error:
            without_fit.append(str(error))
        except RecordError as error:
            problems.append(str(error))
        else:
            runs.append(run)
            problems += [f"{run.path} is listed, but not compared: {reason}" for reason in run.source.lacks]
    n = len(without_fit)
    if n > 1:
        without_fit = [f"{n} records of validations, tests or predictions alone are left out: nothing was fitted"]
    return (runs, problems, without_fit) if runs else (runs, [*problems, *without_fit], [])


def _with_their_reference(formula: EnergyPenalized, runs: Sequence[Run]) -> tuple[EnergyPenalized, list[str]]:
    """Take the reference that the runs were trained with; where they do not agree, keep the default with a caveat."""
    found = sorted({r.source.reference_kwh for r in runs if r.source.reference_kwh is not None})
    if len(found) == 1:
        return replace(formula, reference_kwh=found[0]), []
    if not found:
        return formula, []
    listed = ", ".join(f"{kwh:g}" for kwh in found)
    caveat = (
        f"The runs were trained with scores of different references ({listed} kWh): here all are scored with "
        f"{formula.reference_kwh:g} kWh. Choose another with {reference_of_their_size(runs)}."
    )
    return formula, [caveat]


def _scored(run: Run, formula: EnergyPenalized) -> Run:
    if run.accuracy is None or run.energy_kwh is None:
        return run
    sam = Sustainable(formula.alpha, formula.beta)(run.accuracy, run.energy_kwh)
    return replace(run, sam=None if math.isnan(sam) else sam, score=formula(run.accuracy, run.energy_kwh))


def _judge(runs: list[Run]) -> list[Run]:
    """Say of each run whether it is on the front, and which others dominate it."""
    front = on_front(np.array([r.accuracy for r in runs]), np.array([r.energy_kwh for r in runs]))
    judged = []
    for run, is_on_front, (sure, perhaps) in zip(runs, front, dominations(runs), strict=True):
        by = [tuple(runs[j].name for j in indices) for indices in (sure, perhaps)]
        caveats = run.caveats
        if perhaps and not sure and run.quality != "estimated":  # of estimates, the caveats of the whole say it
            caveats = (*caveats, f"behind {', '.join(by[1])} by less than the uncertainty of their energies (k=2)")
        judged.append(
            replace(run, on_front=bool(is_on_front), dominated_by=by[0], perhaps_dominated_by=by[1], caveats=caveats)
        )
    return judged


def _too_few(runs: Sequence[Run]) -> list[str]:
    if len(runs) != 1:
        return []
    return [f"{runs[0].path} is the only run that can be compared: give at least one more"]


def _sorted(runs: Sequence[Run], column: Column, *, reverse: bool) -> list[Run]:
    """Sort runs: equals by name, and those whose value is not known last, either way."""
    known = sorted((r for r in runs if getattr(r, column.name) is not None), key=lambda r: r.name)
    known.sort(key=lambda r: getattr(r, column.name), reverse=column.largest_first != reverse)
    return known + sorted((r for r in runs if getattr(r, column.name) is None), key=lambda r: r.name)
