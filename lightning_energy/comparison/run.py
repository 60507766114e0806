"""The figures of a run beside those of others."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lightning_energy.comparison.course import course_of
from lightning_energy.comparison.run_source import Source, hardware_of, source_of, training_seed
from lightning_energy.comparison.to_target import ToTarget, to_target
from lightning_energy.meters.units import J_PER_KWH
from lightning_energy.results.best import why_no_metric
from lightning_energy.results.node import DamagedError
from lightning_energy.results.plain import printable
from lightning_energy.results.read import RecordError
from lightning_energy.results.readable import duration
from lightning_energy.results.record_ranks import load_record
from lightning_energy.scores.metric import NOT_FINITE, PERCENT, ROUNDING, Metric
from lightning_energy.scores.metric_name import canonical

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from lightning_energy.comparison.subject import Choice
    from lightning_energy.curves.energy import Energy
    from lightning_energy.meters.base import Quality
    from lightning_energy.results.figures import Outcome
    from lightning_energy.results.record import Record
    from lightning_energy.scores.metric import Mode, Scale

__all__ = ["NothingFittedError", "Run", "run_of", "run_of_record"]

SILENT_S = 600.0  # a run that goes on writes its record every minute, or at the end of a longer epoch


class NothingFittedError(RecordError):
    """A record is no training's, so that it is no run among others."""


@dataclass(frozen=True)
class Run:
    """A run beside others. What is not known is ``None``.

    Attributes:
        name: the shortest part of its path that no other run has.
        path: its record.
        module: class of the LightningModule.
        parameters: number of the module's parameters.
        outcome: ``completed``, ``interrupted`` or ``running``.
        metric: the last value of its metric of quality, or that of the best epoch: fractions and percentages as
            fractions, others as they were logged. ``None`` also where the others' metric is another one.
        metric_name: the name it was logged by.
        mode: its better direction, ``max`` or ``min``.
        scale: the scale it was logged in: ``fraction``, ``percent`` or ``raw``.
        energy_kwh: energy of ``fit`` over all its sessions in kWh.
        u_kwh: absolute standard uncertainty (k=1) of it in kWh: with the gain of the sensors.
        u_repeat_kwh: the same without the gain: for runs on the same sensors.
        quality: the worst quality among its joules.
        duration_s: length of the training in seconds.
        missing_s: seconds of it whose energy is not known and not in ``energy_kwh``.
        power_w: mean power in watts.
        sample_j: energy of the stage ``train`` per training sample in joules.
        unit_j: joules of the stage ``train`` for each of the user's own units, by its name; ``None`` unknown.
        target_kwh: energy of the training in kWh up to the end of the first epoch whose metric was as good as the first
            target; ``None`` where none was, or where that energy is not known.
        targets: the same for each target, with its uncertainty, and for those that were never reached with the energy
            that it takes more than; empty where there is no target, or no epoch in its record.
        per_kwh: metric per kWh where more is better, and it is not negative.
        sam: :func:`~lightning_energy.sustainable_accuracy`; ``None`` at 1 kWh or less, where it is not defined.
        score: :func:`~lightning_energy.energy_penalized_accuracy`, with the same constants for all runs; accuracies
            alone have it and ``sam``.
        group: name of the group of runs of one configuration that it is in.
        seed: its seed: that of Lightning's ``seed_everything``, or else that of its hyperparameters, if that is one.
        seeds: all its seeds by name, that of Lightning's ``seed_everything`` under this one.
        metric_n: number of samples that its metric is of.
        kind: equal for runs that may be set against each other: of one coverage, quality and metric, on the same
            sensors.
        on_front: true when no other run of its kind is at least as good for less energy, or better for as much.
        dominated_by: names of the groups by which its group is dominated: see
            :mod:`~lightning_energy.comparison.verdicts`.
        perhaps_dominated_by: names of runs on the front that are at least as good, and cheaper, by the meter: what a
            repeat would show is not known.
        caveats: sentences that a reader of its figures must know.
        hardware: the machine that it ran on.
        covers: the parts of the machine that its joules cover.
        source: further facts that the comparison needs.
    """

    name: str
    path: str
    module: str | None = None
    parameters: int | None = None
    outcome: Outcome = "completed"
    metric: float | None = None
    metric_name: str | None = None
    mode: Mode = "max"
    scale: Scale = "fraction"
    energy_kwh: float | None = None
    u_kwh: float | None = None
    u_repeat_kwh: float | None = None
    quality: Quality = "missing"
    duration_s: float | None = None
    missing_s: float = 0.0
    power_w: float | None = None
    sample_j: float | None = None
    unit_j: Mapping[str, float | None] = field(default_factory=dict)
    target_kwh: float | None = None
    targets: tuple[ToTarget, ...] = ()
    per_kwh: float | None = None
    sam: float | None = None
    score: float | None = None
    group: str | None = None
    seed: int | None = None
    metric_n: int | None = None
    kind: int | None = None
    on_front: bool = False
    dominated_by: tuple[str, ...] = ()
    perhaps_dominated_by: tuple[str, ...] = ()
    caveats: tuple[str, ...] = ()
    hardware: str = ""
    covers: str = ""
    source: Source = field(default=Source(), repr=False, compare=False)
    seeds: Mapping[str, int] = field(default_factory=dict)

    @property
    def is_comparable(self) -> bool:
        """True when both its metric and its energy are known."""
        return self.metric is not None and self.energy_kwh is not None

    @cached_property
    def metric_kind(self) -> tuple[str, Mode, bool]:
        """Equal for runs whose metrics are one: its canonical name, its better direction, and whether it is raw."""
        name = self.metric_name or ""
        return canonical(name) or name, self.mode, self.scale == "raw"

    @cached_property
    def likeness(self) -> tuple[object, ...]:
        """Equal for runs whose energies and metrics may be set against each other, if its sensors are known."""
        return self.covers, self.quality, self.metric_kind, self.source.sensors

    def to_plain(self) -> dict[str, Any]:
        """The same in JSON's types, without the ``source``."""
        plain = asdict(replace(self, source=Source()))  # the course of a long run takes a while to copy
        return {key: [*v] if isinstance(v, tuple) else v for key, v in plain.items() if key != "source"}


def run_of(
    file: Path, name: str, epoch: Choice = "last", *, scale: Scale | None = None, targets: Sequence[float] = ()
) -> Run:
    """Read the figures of a run from its record.

    Args:
        file: the record.
        name: the name of the run.
        epoch: the choice among its values of the metric.
        scale: the scale of these values; ``None``: the one that the record says.
        targets: the values up to which the energy is asked for, fractions where the metric is one or a percentage.

    Raises:
        NothingFittedError: it is of validations, tests or predictions alone.
        RecordError: it is no record that can be read, or that of a rank other than zero.
    """
    return run_of_record(load_record(file), file, name, epoch, scale=scale, targets=targets)


def run_of_record(
    record: Record,
    file: Path,
    name: str,
    epoch: Choice = "last",
    *,
    scale: Scale | None = None,
    targets: Sequence[float] = (),
) -> Run:
    """The figures of a run from its record that was read already: see :func:`run_of`.

    Args:
        record: the record.
        file: its file.
        name: the name of the run.
        epoch: the choice among its values of the metric.
        scale: the scale of these values; ``None``: the one that the record says.
        targets: the values up to which the energy is asked for.
    """
    if record.rank:
        raise RecordError(f"{file} is the record of rank {record.rank} alone: give rank zero's record beside it")
    if record.total is None:
        raise NothingFittedError(
            f"{file} is left out, as it is of validations, tests or predictions alone: nothing was fitted"
        )
    try:
        run = _run(record, printable(file), name, epoch, scale)
    except DamagedError as error:
        raise RecordError(f"{file} is damaged ({error}): use another copy, or train again") from error
    reached = tuple(result for value in targets if (result := _to_target(record, run, value, scale)) is not None)
    return replace(run, target_kwh=reached[0].kwh if reached else None, targets=reached)


def _to_target(record: Record, run: Run, target: float, scale: Scale | None) -> ToTarget | None:
    """The energy to a target, also of a run that diverged: a validation without a finite value did not reach it."""
    if _value(record, "best", scale)[0] is not None:
        return to_target(run.source.course, target, run.mode)
    is_silent = record.metric is None and all(row.metric is None for row in record.epochs)
    failed = record.outcome == "interrupted" or any(row.no_metric for row in record.epochs)
    return ToTarget(target, None, None, 0.0, is_reached=False) if is_silent and failed else None


def _run(record: Record, path: str, name: str, epoch: Choice, scale: Scale | None) -> Run:
    energy = record.total
    metric = record.metric
    value, wrong = _value(record, epoch, scale)
    energy_j = None if energy is None else energy.energy_j
    lacks = wrong
    if energy_j is None:
        lacks = ("the energy of its training is not known: its report says what is missing", *wrong)
    module = record.what.get("module")
    known = energy is not None and energy_j is not None
    read_as = scale or ("fraction" if metric is None else metric.scale)
    has_values = _value(record, "best", scale)[0] is not None
    source = replace(source_of(record, energy, lacks), course=course_of(record.epochs, read_as) if has_values else ())
    return Run(
        name=name,
        path=path,
        module=None if module is None else printable(module),
        parameters=record.what.get("parameters"),
        outcome=record.outcome,
        metric=value,
        metric_name=None if metric is None else printable(metric.name),
        mode="max" if metric is None else metric.mode,
        scale=read_as,
        energy_kwh=None if energy_j is None else energy_j / J_PER_KWH,
        u_kwh=energy.u_absolute_j / J_PER_KWH if energy is not None and known else None,
        u_repeat_kwh=energy.u_j / J_PER_KWH if energy is not None and known else None,
        quality="missing" if energy is None else energy.quality,
        duration_s=None if energy is None else energy.duration_s,
        missing_s=0.0 if energy is None else energy.missing_s,
        power_w=None if energy is None else energy.power_w,
        sample_j=record.samples.mean_j,
        unit_j={printable(u): record.report.unit_j(u) for u in record.units.get("train", {}) if u != "samples"},
        caveats=(*lacks, *_caveats(record, energy, is_best=value is not None)),
        hardware=hardware_of(record),
        covers=" + ".join(sorted({d.scope for d in record.devices})) or "unknown parts",
        seed=training_seed(source.seed, source.seeds),
        seeds=source.all_seeds,
        metric_n=source.metric_n,
        source=source,
    )


def _value(record: Record, epoch: Choice, scale: Scale | None) -> tuple[float | None, tuple[str, ...]]:
    """Find the value in the unit of comparisons, and the reason why it cannot be compared."""
    metric, why = record.metric, _why_no_metric(record)
    if why and (metric is None or epoch == "last"):
        cure = "" if metric is None else ": its best epoch has one, epoch='best' (on the command line: --epoch best)"
        return None, (f"its last validation has no metric, as {why}{cure}",)
    if metric is None:
        if any(row.metric is not None for row in record.epochs):
            return None, ("its record does not name its metric, as its last session validated nothing: validate once",)
        return None, ("it has no metric: log an accuracy in validation, or name one with EnergyCallback(metric=…)",)
    values = [*(row.metric for row in record.epochs if row.metric is not None), metric.value]
    metric = replace(metric, scale=scale or metric.scale)
    best = max(values) if metric.mode == "max" else min(values)
    metric = replace(metric, value=best if epoch == "best" else values[-1])
    if not metric.is_accuracy:
        return _shown(metric.value, metric.scale), ()
    # one value above 1 shows that none of the run is a fraction
    wrong = next((v for v in (max(values), metric.value) if replace(metric, value=v).accuracy is None), None)
    return (metric.accuracy, ()) if wrong is None else (None, (_out_of_range(replace(metric, value=wrong)),))


def _why_no_metric(record: Record) -> str:
    """The reason why the last validation has no metric although one was logged; empty where it has one."""
    of_rows = why_no_metric(record.epochs)
    before = NOT_FINITE in record.no_score and all(row.no_metric is None for row in record.epochs)  # of older records
    return printable(of_rows or (record.no_score if before else ""))


def _older_metric(record: Record) -> list[str]:
    """Say that later validations logged no value, as of a metric that is not logged every time; or a NaN of old."""
    last = next((row for row in reversed(record.epochs) if row.metric is not None), None)
    later = [row for row in record.epochs if last is not None and row.epoch > last.epoch and row.val_s]
    if last is None or not later or any(row.no_metric for row in later):
        return []
    return [
        f"its metric is of epoch {last.epoch}: its validations since then, up to epoch {later[-1].epoch}, have none"
    ]


def _out_of_range(metric: Metric) -> str:
    top, what = (PERCENT, "percentage") if metric.scale == "percent" else (1.0, "fraction")
    text = f"its {printable(metric.name)}={metric.value:g} is no {what} in [0, {top:g}]"
    if metric.scale == "fraction" and 0 < metric.value <= PERCENT * (1 + ROUNDING):
        return f"{text}: if it is a percentage, read it with scale='percent' (on the command line: --scale percent)"
    return f"{text}: if it is no accuracy, read it with scale='raw' (on the command line: --scale raw)"


def _shown(value: float, scale: Scale) -> float:
    """A logged value in the unit of comparisons."""
    return value / PERCENT if scale == "percent" else value


def _caveats(record: Record, energy: Energy | None, *, is_best: bool) -> list[str]:
    why = _why_no_metric(record) if is_best else ""
    caveats = [f"its last validation has no metric, as {why}: this is the best before it"] if why else []
    caveats += _older_metric(record)
    if record.outcome == "running":
        silent_s = time.time() - record.updated_unix_s
        killed = f"; nothing was written for {silent_s / 60:.0f} min, so it was killed, or its epochs are long"
        caveats.append("it is running: these are its figures so far" + (killed if silent_s > SILENT_S else ""))
    elif record.outcome == "interrupted":
        caveats.append("it was interrupted: these are its figures up to then")
    if energy is not None and energy.energy_j is not None and energy.missing_s > 0:
        of = duration(energy.duration_s) + (" (all ranks together)" if record.ranks > 1 else "")
        caveats.append(f"the energy of {duration(energy.missing_s)} of {of} is missing: it spent more than this")
    return caveats + [printable(n.text) for n in record.notes if n.lowers_total or n.kind == "aliasing"]
