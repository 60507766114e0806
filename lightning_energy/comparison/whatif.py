"""Finished trainings played again with rules that would have stopped them earlier."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from lightning_energy.comparison.replay import RuleKind
from lightning_energy.comparison.run import NothingFittedError, Run, run_of_record
from lightning_energy.comparison.run_files import find_records, short_names
from lightning_energy.comparison.what_if_picture import plot
from lightning_energy.comparison.what_if_rules import Wanted
from lightning_energy.comparison.what_if_runs import Replays
from lightning_energy.comparison.what_if_table import markdown, text
from lightning_energy.results.node import DamagedError
from lightning_energy.results.read import RecordError
from lightning_energy.results.record_ranks import load_record
from lightning_energy.results.reference import reference_of
from lightning_energy.scores.formula import Formula, parse
from lightning_energy.scores.metric import Scale
from lightning_energy.scores.metric_name import canonical
from lightning_energy.scores.stopping import POINT, WINDOW

if TYPE_CHECKING:
    from lightning_energy.results.record import Record
    from lightning_energy.scores.choice import ScoreName

__all__ = ["WhatIf", "whatif"]

T = TypeVar("T")
PATIENCES = (3, 5, 10)
RULES: tuple[RuleKind, ...] = get_args(RuleKind)


@dataclass(frozen=True)
class WhatIf(Replays):
    """Finished trainings, played again. Made by :func:`~lightning_energy.whatif`; ``str()`` of it is a table.

    Attributes: see :class:`~lightning_energy.comparison.what_if_runs.Replays`.
    """

    def plot(self, ax: Any = None) -> Any:
        """Draw the quality that each rule keeps against the energy that it saves.

        Args:
            ax: a matplotlib axis to draw on; by default one on a new figure.

        Returns:
            The figure and the axis.

        Raises:
            ModuleNotFoundError: matplotlib is not installed.
        """
        return plot(self, ax)

    def __str__(self) -> str:
        return "\n".join([text(self), *(f"Not replayed: {problem}" for problem in (*self.problems, *self.cannot))])

    def _repr_markdown_(self) -> str:
        """The tables as a notebook shows them."""
        return markdown(self)


def whatif(
    paths: str | Path | Iterable[str | Path],
    *,
    rules: RuleKind | Iterable[RuleKind] = RULES,
    metric: str | None = None,
    scale: Scale | None = None,
    patience: int | Iterable[int] = PATIENCES,
    min_delta: float = 0.0,
    score: ScoreName | None = None,
    alpha: float | Iterable[float] | None = None,
    beta: float | None = None,
    reference_kwh: float | str | Path | Iterable[float | str | Path] | None = None,
    max_kwh_per_point: float | Iterable[float] | None = None,
    point: float = POINT,
    window: int = WINDOW,
    budget_kwh: float | Iterable[float] | None = None,
) -> WhatIf:
    """Replay rules that stop a training on finished records, without training again.

    Each run is played by itself, on its own metric, in its own direction: for each rule the epoch in which it would
    have stopped, the best value until then, and the energy that the rest took. The rules are those of the callbacks:
    Lightning's ``EarlyStopping`` on the metric, and on ``energy/score`` with any constants;
    :class:`~lightning_energy.EnergyEfficiencyStopping`; a budget in kWh. "best" stops in the epoch with the best
    score, which only a replay can know: it shows how that epoch moves with the constants of the score.

    A replay does not know everything; ``limits`` of the result says what.

    Args:
        paths: records, folders that hold records at any depth, or glob patterns; one or several.
        rules: the kinds of rules: ``"metric"``, ``"score"``, ``"best"``, ``"efficiency"``, ``"budget"``; by
            default all of them.
        metric: the logged name of a metric: runs of another one are left out. By default each run's own.
        scale: the scale in which the metrics were logged, where the records have a wrong one.
        patience: validations without a better value until ``EarlyStopping`` stops, from 1 on, or several such numbers.
        min_delta: the gain that counts as none there, from 0 on, in the unit of the metric (accuracies: fractions).
            It is for the metric alone, not for the score.
        score: ``"penalized"`` or ``"sustainable"``; by default the one that a run was trained with.
        alpha: exponent of the accuracy in the score, or several; by default the run's own.
        beta: scale of the score; by default the run's own. It changes no order, and so no epoch.
        reference_kwh: energy in kWh at which the penalty of the score begins to bite, or the path of a finished run's
            record, or several of both; by default the run's own.
        max_kwh_per_point: the kWh that a further point may cost, or several; by default the mean price of the run's own
            points, and ten times that.
        point: the size of a point, in the unit of the metric: 0.01, a percentage point, for accuracies.
        window: the number of validations over which the price of a point is taken: ``patience`` of
            :class:`~lightning_energy.EnergyEfficiencyStopping`.
        budget_kwh: a budget in kWh, or several; by default a quarter, half and three quarters of the run's own energy.

    Returns:
        The replays. ``problems`` names every file that cannot be replayed; the others are replayed all the same.

    Raises:
        ValueError: an argument is out of range, there is no path, or the record of the reference cannot be used.
        TypeError: one of ``paths`` is no path, or an argument is no number.

    Example:
        >>> whatif("nowhere").problems
        ['nowhere does not exist: give a record (energy.json) or the log directory of a run']
    """
    given = [*paths] if isinstance(paths, Iterable) and not isinstance(paths, (str, Path)) else [paths]
    if not given:
        raise ValueError("there is no path: give records, log directories or glob patterns")
    wanted = Wanted(
        kinds=_several(rules),
        patiences=_several(patience),
        min_delta=min_delta,
        score=score,
        alphas=_several(alpha),
        beta=beta,
        references=tuple(reference_of(reference, of_run=False) for reference in _several(reference_kwh)),
        limits=None if max_kwh_per_point is None else _several(max_kwh_per_point),
        point=point,
        window=window,
        budgets=None if budget_kwh is None else _several(budget_kwh),
    )
    if scale not in (None, *get_args(Scale)):
        raise ValueError(f"scale={scale!r}: give one of {', '.join(get_args(Scale))}")
    if metric is not None and not isinstance(metric, str):
        raise TypeError(f"metric={metric!r}: give the name of a logged metric, or omit it")
    files, problems = find_records(given)
    runs, cannot, without_fit = [], [], []
    for file, name in zip(files, short_names(files), strict=True):
        try:
            record = load_record(file)
            run = run_of_record(record, file, name, "best", scale=scale)
            formula = _formula(record)
        except NothingFittedError as error:
            without_fit.append(str(error))
            continue
        except RecordError as error:
            problems.append(str(error))
            continue
        except DamagedError as error:
            problems.append(f"{file} is damaged ({error}): use another copy, or train again")
            continue
        why = _why_not(record, run, metric)
        if why:
            cannot.append(f"{run.path} cannot be replayed: {why}")
        else:
            runs.append(wanted.play(record, run, formula))
    return WhatIf(runs, problems, [*cannot, *without_fit], point, window)


def _several(given: T | Iterable[T] | None) -> tuple[T, ...]:
    """One value, several, or none."""
    if given is None:
        return ()
    if isinstance(given, Iterable) and not isinstance(given, (str, Path)):
        return (*dict.fromkeys(given),)
    return (given,)


def _why_not(record: Record, run: Run, metric: str | None) -> str:
    """The reason why a run cannot be replayed; empty if it can."""
    if run.source.lacks:
        return "; ".join(run.source.lacks)
    if metric is not None and _meaning(metric) != _meaning(run.metric_name or ""):
        return f"its metric is {run.metric_name}, not {metric}: leave the metric out to replay each run on its own"
    if not any(row.metric is not None for row in record.epochs):
        return "its record has no epoch with a value of the metric: validate in the epochs of a training"
    if all(row.total_kwh is None for row in record.epochs):
        return "its record does not know the energy up to any of its epochs: its report says what is missing"
    return ""


def _meaning(name: str) -> str:
    return canonical(name) or name


def _formula(record: Record) -> Formula | None:
    """The formula that a run was scored by; ``None`` for none, and for a function of the user's own."""
    if record.score is None:
        return None
    try:
        return parse(record.score.formula)
    except ValueError as error:
        raise DamagedError(str(error)) from error
