"""Many runs side by side: quality against energy, from their records."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from lightning_energy.comparison.binomial import in_samples
from lightning_energy.comparison.columns import Column, column_of
from lightning_energy.comparison.comparison import Comparison
from lightning_energy.comparison.difference import LEVEL
from lightning_energy.comparison.groups import checked_by, unsaid_words, without_settings
from lightning_energy.comparison.judged_groups import judged_groups
from lightning_energy.comparison.listing import some_of
from lightning_energy.comparison.mixtures import mixed_words
from lightning_energy.comparison.one_metric import of_one_metric
from lightning_energy.comparison.pareto import dominations, fronts, kinds
from lightning_energy.comparison.run import NothingFittedError, Run, run_of
from lightning_energy.comparison.run_files import find_records, short_names
from lightning_energy.comparison.study_folders import without_discarded
from lightning_energy.comparison.subject import Choice
from lightning_energy.comparison.unlike import reference_of_their_size, with_caveats
from lightning_energy.comparison.verdicts import of_some
from lightning_energy.results.read import RecordError
from lightning_energy.scores.formula import ALPHA, BETA, REFERENCE_KWH, EnergyPenalized, Sustainable, is_number
from lightning_energy.scores.metric import PERCENT, Scale

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_energy.comparison.groups import By, Group
    from lightning_energy.comparison.subject import Subject

__all__ = ["compare"]


def compare(
    paths: str | Path | Iterable[str | Path],
    *,
    sort: str = "energy_kwh",
    reverse: bool = False,
    epoch: Choice = "last",
    metric: str | None = None,
    scale: Scale | None = None,
    target: float | Iterable[float] = (),
    alpha: float = ALPHA,
    beta: float = BETA,
    reference_kwh: float | None = None,
    by: By = None,
    level: float = LEVEL,
    margin: float = 0.0,
    baseline: str | None = None,
) -> Comparison:
    """List runs side by side, from their records.

    A run's energy is that of its training over all its sessions, its validations included; its metric is the last
    value that was logged.

    Runs of one configuration with several seeds are a group. A group is *dominated* by another one when both have three
    runs or more, and it is shown that the other one is cheaper and better: the probability that even one decision is
    wrong is at most ``level``, see :mod:`~lightning_energy.comparison.verdicts`. Of single runs nothing is decided: one
    may be behind another *by the meter*. Unlike runs (of other coverage, quality or sensors) are never ranked against
    each other.

    One comparison is of one metric, in its own direction: more is better, or less is, as the records say. Of runs with
    different metrics those with the most frequent one are compared, of equally frequent ones the accuracies; the others
    are listed with the reason. Names that mean the same (``val_acc``, ``valid/accuracy``) are one metric; top-1 and
    top-5 accuracies, or accuracies and F1 scores, are two. Fractions and percentages are both shown as fractions.

    Accuracies (fractions or percentages of which more is better) have a score. It is computed from accuracy and energy,
    and slightly lower than the last one that was logged: it includes the energy spent after the last validation. Other
    metrics have none; ``target`` tells what a value of any metric cost.

    ``problems`` names every file that cannot be compared; the others are compared all the same.

    Args:
        paths: records, folders that hold records at any depth, or glob patterns; one or several.
        sort: the column to sort by, one of :data:`~lightning_energy.comparison.columns.SORTABLE`; its unit may be left
            out (``"energy"``). The largest comes first where more is better, unknown values last. ``"accuracy"`` is
            another name of ``"metric"``.
        reverse: sort the other way round.
        epoch: ``"last"`` for the last value of the metric, or ``"best"`` for the best epoch's. The energy is that of
            the whole training in both cases: the epochs after the best cost energy, too.
        metric: the logged name of the metric to compare; by default that of most runs.
        scale: the scale in which the metrics of all these runs were logged, ``"fraction"``, ``"percent"`` or ``"raw"``,
            where their records have a wrong one. The records stay as they are.
        target: a value of the metric, for accuracies a fraction, or several: ``targets`` of each run has the energy of
            its training up to the end of the first epoch that was as good, see
            :class:`~lightning_energy.comparison.to_target.ToTarget`.
        alpha: exponent of the accuracy in both scores, above 0.
        beta: scale of both scores, above 0.
        reference_kwh: energy in kWh at which the penalty of the score begins to bite, one for all runs. By default the
            one that the runs were trained with where they agree, else 1 kWh, with a caveat.
        by: the way to find the runs of one configuration: see :func:`~lightning_energy.comparison.groups.group_runs`.
            By default runs whose records say the same of the training, the seed excepted.
        level: the probability that at least one decision between groups is wrong, at most, if repeats are independent
            and scatter roughly normally, and their number was fixed before they were seen.
        margin: the loss of the metric that counts as none, in the unit in which it is shown; state it before you see
            the runs. A group that is cheaper, and better or shown to be worse by less than the margin, then dominates.
            One of 1 or more is no loss of a fraction, nor is one of 0.1 or more where percentages were logged: it
            counts as 0, with a problem.
        baseline: the name of a group that all others are compared with, and with nothing else; choose it before you see
            the runs. The level is then that of these pairs alone, which takes fewer repeats. By default all are
            compared with all.

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
    for argument, value, known in (("epoch", epoch, get_args(Choice)), ("scale", scale, (None, *get_args(Scale)))):
        if value not in known:
            raise ValueError(f"{argument}={value!r}: give one of {', '.join(filter(None, known))}")
    targets = _targets(target)
    formula = EnergyPenalized(alpha, beta, REFERENCE_KWH if reference_kwh is None else reference_kwh)
    column = column_of(sort)
    runs, problems, without_fit, apart = _read(given, epoch, scale, targets)
    subject, fit, rest, of_others = of_one_metric(runs, metric, epoch, targets)
    caveats = [*apart, *without_fit, *_of_scale(fit, scale)]
    if subject.is_accuracy and reference_kwh is None:
        formula, of_references = _with_their_reference(formula, fit)
        caveats += of_references
    fit, unlike = with_caveats(fit, formula.reference_kwh if subject.is_accuracy else None)
    fit = _judge([_scored(run, formula if subject.is_accuracy else None) for run in fit])
    by, of_by = checked_by([*fit, *rest], by)
    caveats += filter(None, [words([*fit, *rest], by) for words in (without_settings, unsaid_words)])
    if too_large := subject.too_large("margin", margin, in_percent=any(run.scale == "percent" for run in fit)):
        margin = 0.0
    fit, rest, groups, verdicts = judged_groups(fit, rest, by, level, margin, baseline=baseline)
    caveats += filter(None, [mixed_words(groups, of_some(verdicts))])
    fit = _with_samples(fit)
    if any(run.energy_kwh == 0 for run in fit):
        caveats.append("A run of 0 kWh has no place on a logarithmic axis: the picture leaves it out.")
    return Comparison(
        _sorted([*fit, *rest], column, reverse=column.begins_with_largest(subject.mode) != reverse),
        [
            *problems,
            *of_others,
            *([of_by] if of_by else []),
            *_too_few(fit),
            *_out_of_reach(subject),
            *([f"{too_large}; it counts as 0"] if too_large else []),
            *_no_baseline(groups, baseline),
        ],
        [*unlike, *caveats],
        subject,
        formula if subject.is_accuracy else None,
        column.name,
        groups,
        verdicts,
        level,
        margin,
        baseline,
        tuple(apart),
    )


def _targets(target: float | Iterable[float]) -> tuple[float, ...]:
    """The targets, each once, in the order in which they were given."""
    targets = (*target,) if isinstance(target, Iterable) else (target,)
    for value in targets:
        if not (is_number(value) and math.isfinite(value)):
            raise ValueError(f"target={value!r}: give a finite number, a value of the metric")
    return (*dict.fromkeys(float(value) for value in targets),)


def _read(
    given: Sequence[str | Path], epoch: Choice, scale: Scale | None, targets: Sequence[float]
) -> tuple[list[Run], list[str], list[str], list[str]]:
    """The runs, the problems, and caveats where records of no training, and of no repeat, were left out beside runs."""
    files, problems = find_records(given)
    files, apart = without_discarded(files, given)
    runs, without_fit = [], []
    for file, name in zip(files, short_names(files), strict=True):
        try:
            run = run_of(file, name, epoch, scale=scale, targets=targets)
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
    return (runs, problems, without_fit, apart) if runs else (runs, [*problems, *apart, *without_fit], [], [])


def _of_scale(runs: Sequence[Run], scale: Scale | None) -> list[str]:
    """Say that records were corrected, and which."""
    corrected = [run for run in runs if scale is not None and run.source.scale != scale]
    if not corrected:
        return []
    names = some_of([run.name for run in corrected])
    return [f"All values are read with scale={scale!r}, as was asked for; the records of {names} say otherwise."]


def _out_of_reach(subject: Subject) -> list[str]:
    return [
        f"target={value:g} is no fraction in [0, 1], as {subject.name} is shown: "
        + (f"give {value / PERCENT:g} for {value:g} %" if 1 < value <= PERCENT else "give one")
        for value in subject.targets
        if subject.name and subject.scale == "fraction" and not 0 <= value <= 1
    ]


def _no_baseline(groups: Sequence[Group], baseline: str | None) -> list[str]:
    """Say that there is no such group, so that nothing is decided."""
    names = [group.name for group in groups if group.n]
    if baseline is None or baseline in names:
        return []
    known = some_of(names) or "those that have one"
    return [f"baseline={baseline!r} is no group with a run, so that nothing is decided: give one of {known}"]


def _with_their_reference(formula: EnergyPenalized, runs: Sequence[Run]) -> tuple[EnergyPenalized, list[str]]:
    """Take the reference that the runs were trained with; where they do not agree, keep the default with a caveat."""
    found = sorted({r.source.reference_kwh for r in runs if r.source.reference_kwh is not None})
    if len(found) == 1:
        return replace(formula, reference_kwh=found[0]), []
    if not found:
        return formula, []
    listed = some_of([f"{kwh:g}" for kwh in found])
    caveat = (
        f"The runs were trained with scores of different references ({listed} kWh): here all are scored with "
        f"{formula.reference_kwh:g} kWh. Choose another with {reference_of_their_size(runs)}."
    )
    return formula, [caveat]


def _scored(run: Run, formula: EnergyPenalized | None) -> Run:
    """Add the figures that are computed from metric and energy; ``None`` as the formula: the metric has no score."""
    metric, energy_kwh = run.metric, run.energy_kwh
    if metric is None or energy_kwh is None:
        return run
    per_kwh = metric / energy_kwh if run.mode == "max" and metric >= 0 and energy_kwh > 0 else None
    if formula is None:
        return replace(run, per_kwh=per_kwh)
    sam = Sustainable(formula.alpha, formula.beta)(metric, energy_kwh)
    score = formula(metric, energy_kwh)
    return replace(run, per_kwh=per_kwh, sam=None if math.isnan(sam) else sam, score=score)


def _judge(runs: list[Run]) -> list[Run]:
    """Say of each run whether it is on the front of its kind, and which others are ahead of it by the meter."""
    judged = []
    for run, is_on_front, kind, (beyond, within) in zip(
        runs, fronts(runs).tolist(), kinds(runs).tolist(), dominations(runs), strict=True
    ):
        ahead = sorted([*beyond, *within], key=lambda j: (runs[j].energy_kwh, j))
        caveats = run.caveats
        if within and not beyond and run.quality != "estimated":  # of estimates, the caveats of the whole say it
            names = some_of([runs[j].name for j in within])
            caveats = (*caveats, f"behind {names} by less than the uncertainty of their energies (k=2)")
        judged.append(
            replace(
                run,
                kind=kind,
                on_front=is_on_front,
                perhaps_dominated_by=tuple(runs[j].name for j in ahead),
                caveats=caveats,
            )
        )
    return judged


def _with_samples(runs: Sequence[Run]) -> list[Run]:
    """Say of single runs by how many samples the one ahead is better; repeats show their scatter themselves."""
    of_name = {run.name: run for run in runs}
    n = Counter(run.group for run in runs)
    found = []
    for run in runs:
        ahead = of_name[run.perhaps_dominated_by[0]] if run.perhaps_dominated_by else None
        single = ahead is not None and n[run.group] == n[ahead.group] == 1
        samples = in_samples(run, ahead) if single and ahead is not None else None
        found.append(replace(run, caveats=(*run.caveats, samples)) if samples else run)
    return found


def _too_few(runs: Sequence[Run]) -> list[str]:
    if len(runs) != 1:
        return []
    return [f"{runs[0].path} is the only run that can be compared: give at least one more"]


def _sorted(runs: Sequence[Run], column: Column, *, reverse: bool) -> list[Run]:
    """Sort runs, the smallest or the largest first: equals by name, and those without a value last, either way."""
    known = sorted((r for r in runs if getattr(r, column.name) is not None), key=lambda r: r.name)
    known.sort(key=lambda r: getattr(r, column.name), reverse=reverse)
    return known + sorted((r for r in runs if getattr(r, column.name) is None), key=lambda r: r.name)
