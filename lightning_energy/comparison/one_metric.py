"""One comparison is of one metric: runs of another are set aside, each with the reason and the remedy."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from lightning_energy.comparison.listing import some_of
from lightning_energy.comparison.subject import Choice, Subject, better
from lightning_energy.scores.metric_name import canonical

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_energy.comparison.run import Run
    from lightning_energy.scores.metric import Mode

__all__ = ["Chosen", "of_one_metric"]


class Chosen(NamedTuple):
    """The runs of one metric, and the others.

    Attributes:
        subject: the metric.
        runs: the runs of it.
        others: the other runs, without a value that could be taken for one of it.
        problems: a sentence for each of the others that nobody chose to set aside.
    """

    subject: Subject
    runs: list[Run]
    others: list[Run]
    problems: list[str]


class _Kind(NamedTuple):
    """The property that runs must share to be compared."""

    name: str
    mode: Mode
    is_raw: bool

    @property
    def is_accuracy(self) -> bool:
        return self.mode == "max" and not self.is_raw


def of_one_metric(runs: Sequence[Run], metric: str | None, epoch: Choice, targets: Sequence[float] = ()) -> Chosen:
    """Choose the metric that most runs have, or the one that is asked for, and set the other runs aside.

    Two metrics are the same when their names mean the same (``val_acc``, ``valid/accuracy``), their better directions
    agree, and their values have one unit: fractions and percentages are both shown as fractions, but of raw values the
    unit is not known. Where as many runs have one metric as another, an accuracy goes first.

    Args:
        runs: all runs, also those without a metric or energy.
        metric: the logged name of the metric to compare; ``None`` to take that of most runs.
        epoch: the value that was taken of each run.
        targets: the values to reach.
    """
    having = [run for run in runs if run.metric is not None]
    counted = [run for run in having if run.is_comparable] or having
    asked = [_kind(run) for run in counted if run.metric_name == metric]
    asked = asked or [kind for kind in map(_kind, counted) if metric is None or kind.name == canonical(metric)]
    if not asked:
        others = [_without_metric(run, "") for run in runs]
        return Chosen(Subject(epoch=epoch), [], others, [] if metric is None else [_unknown(metric, having)])
    counts = Counter(asked)
    chosen = min(counts, key=lambda kind: (-counts[kind], not kind.is_accuracy, kind))
    fit = [run for run in having if _kind(run) == chosen]
    subject = Subject(_name(chosen, fit), chosen.mode, "raw" if chosen.is_raw else "fraction", epoch, targets)
    others, problems = [run for run in runs if run.metric is None], []
    others = [_without_metric(run, "") if run.metric_name and _kind(run) != chosen else run for run in others]
    others += [run for run in fit if not run.is_comparable]
    for run in having:
        if _kind(run) != chosen:
            reason = _reason(run, chosen, subject, is_asked=metric is not None)
            others.append(_without_metric(run, reason))
            if metric is None and run.is_comparable:
                problems.append(f"{run.path} is listed, but not compared: {reason}")
    return Chosen(subject, [run for run in fit if run.is_comparable], others, problems)


def _unknown(metric: str, runs: Sequence[Run]) -> str:
    counts = Counter(run.metric_name for run in runs)
    listed = some_of([f"{name}: {n}" for name, n in sorted(counts.items(), key=str)], between="; ")
    return f"metric={metric!r} is the metric of no run ({listed or 'none has one'}): give the name of one of theirs"


def _kind(run: Run) -> _Kind:
    name = run.metric_name or ""
    return _Kind(canonical(name) or name, run.mode, run.scale == "raw")


def _name(kind: _Kind, runs: Sequence[Run]) -> str:
    """The name that people know: of an accuracy that word, of others the logged one where there is one."""
    logged = {run.metric_name or "" for run in runs}
    if kind.is_accuracy and kind.name == "accuracy":
        return kind.name
    return (logged.pop() if len(logged) == 1 else kind.name) or "metric"


def _without_metric(run: Run, reason: str) -> Run:
    """A run whose value stands beside no value of another metric."""
    added = (reason,) if reason else ()
    source = replace(run.source, lacks=(*run.source.lacks, *added), course=())
    return replace(run, metric=None, target_kwh=None, targets=(), caveats=(*run.caveats, *added), source=source)


def _reason(run: Run, chosen: _Kind, subject: Subject, *, is_asked: bool) -> str:
    """Say why a run is not compared, and what to do."""
    own = _kind(run)
    name = run.metric_name or "a metric without a name"
    if own.name == chosen.name and own.mode == chosen.mode:
        unit, units = ("of no known scale" if raw else "a fraction" for raw in (own.is_raw, chosen.is_raw))
        return (
            f"its {name} is {unit}, the others' is {units}: read all alike with scale='fraction' or 'percent' (on the "
            f"command line: --scale fraction)"
        )
    text = f"its metric is {name} ({better(own.mode)}), the others' is {subject.name} ({better(chosen.mode)})"
    if is_asked:
        return text
    if own.name == chosen.name:
        return f"{text}: give runs of one direction"
    return f"{text}: give runs of one metric, or compare(metric={name!r}) (on the command line: --metric {name})"
