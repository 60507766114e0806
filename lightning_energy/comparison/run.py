"""The figures of a run beside those of others."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from lightning_energy.comparison.run_source import Source, hardware_of, source_of
from lightning_energy.meters.units import J_PER_KWH
from lightning_energy.results.node import DamagedError
from lightning_energy.results.plain import printable
from lightning_energy.results.read import RecordError
from lightning_energy.results.readable import duration
from lightning_energy.results.record_ranks import load_record
from lightning_energy.scores.metric import ROUNDING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from lightning_energy.curves.energy import Energy
    from lightning_energy.meters.base import Quality
    from lightning_energy.results.figures import Outcome
    from lightning_energy.results.record import Record

__all__ = ["Choice", "NothingFittedError", "Run", "run_of"]

Choice = Literal["last", "best"]
"""The choice among a run's accuracies: the last that was scored, or that of its best epoch."""

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
        accuracy: the last accuracy that was scored or that of the best epoch, in [0, 1].
        accuracy_name: the name it was logged by.
        energy_kwh: energy of ``fit`` over all its sessions in kWh.
        u_kwh: absolute standard uncertainty (k=1) of it in kWh: with the gain of the sensors.
        u_repeat_kwh: the same without the gain: for runs on the same sensors.
        quality: the worst quality among its joules.
        duration_s: length of the training in seconds.
        missing_s: seconds of it whose energy is not known and not in ``energy_kwh``.
        power_w: mean power in watts.
        sample_j: energy of the stage ``train`` per training sample in joules.
        unit_j: joules of the stage ``train`` for each of the user's own units, by its name; ``None`` unknown.
        sam: :func:`~lightning_energy.sustainable_accuracy`; ``None`` at 1 kWh or less, where it is not defined.
        score: :func:`~lightning_energy.energy_penalized_accuracy`, with the same constants for all runs.
        on_front: true when no other run is at least as accurate for less energy, or more accurate for as much.
        dominated_by: names of runs on the front that are at least as accurate, and cheaper for sure: by more than the
            uncertainty (see :func:`~lightning_energy.comparison.pareto.dominations`).
        perhaps_dominated_by: names of runs on the front that are at least as accurate, and cheaper, but not for sure.
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
    accuracy: float | None = None
    accuracy_name: str | None = None
    energy_kwh: float | None = None
    u_kwh: float | None = None
    u_repeat_kwh: float | None = None
    quality: Quality = "missing"
    duration_s: float | None = None
    missing_s: float = 0.0
    power_w: float | None = None
    sample_j: float | None = None
    unit_j: Mapping[str, float | None] = field(default_factory=dict)
    sam: float | None = None
    score: float | None = None
    on_front: bool = False
    dominated_by: tuple[str, ...] = ()
    perhaps_dominated_by: tuple[str, ...] = ()
    caveats: tuple[str, ...] = ()
    hardware: str = ""
    covers: str = ""
    source: Source = field(default=Source(), repr=False, compare=False)

    @property
    def is_comparable(self) -> bool:
        """True when both its accuracy and its energy are known."""
        return self.accuracy is not None and self.energy_kwh is not None

    def to_plain(self) -> dict[str, Any]:
        """The same in JSON's types, without the ``source``."""
        return {key: [*v] if isinstance(v, tuple) else v for key, v in asdict(self).items() if key != "source"}


def run_of(file: Path, name: str, accuracy: Choice) -> Run:
    """Read the figures of a run from its record.

    Args:
        file: the record.
        name: the name of the run.
        accuracy: the choice among its accuracies.

    Raises:
        NothingFittedError: it is of validations, tests or predictions alone.
        RecordError: it is no record that can be read, or that of a rank other than zero.
    """
    record = load_record(file)
    if record.rank:
        raise RecordError(f"{file} is the record of rank {record.rank} alone: give rank zero's record beside it")
    if record.total is None:
        raise NothingFittedError(
            f"{file} is left out, as it is of validations, tests or predictions alone: nothing was fitted"
        )
    try:
        return _run(record, printable(file), name, accuracy)
    except DamagedError as error:
        raise RecordError(f"{file} is damaged ({error}): use another copy, or train again") from error


def _run(record: Record, path: str, name: str, accuracy: Choice) -> Run:
    energy = record.total
    accuracy_name, value, wrong = _accuracy(record, accuracy)
    energy_j = None if energy is None else energy.energy_j
    lacks = wrong
    if energy_j is None:
        lacks = ("the energy of its training is not known: its report says what is missing", *wrong)
    module = record.what.get("module")
    known = energy is not None and energy_j is not None
    return Run(
        name=name,
        path=path,
        module=None if module is None else printable(module),
        parameters=record.what.get("parameters"),
        outcome=record.outcome,
        accuracy=value,
        accuracy_name=accuracy_name,
        energy_kwh=None if energy_j is None else energy_j / J_PER_KWH,
        u_kwh=energy.u_absolute_j / J_PER_KWH if energy is not None and known else None,
        u_repeat_kwh=energy.u_j / J_PER_KWH if energy is not None and known else None,
        quality="missing" if energy is None else energy.quality,
        duration_s=None if energy is None else energy.duration_s,
        missing_s=0.0 if energy is None else energy.missing_s,
        power_w=None if energy is None else energy.power_w,
        sample_j=record.samples.mean_j,
        unit_j={printable(u): record.report.unit_j(u) for u in record.units.get("train", {}) if u != "samples"},
        caveats=(*lacks, *_caveats(record, energy)),
        hardware=hardware_of(record),
        covers=" + ".join(sorted({d.scope for d in record.devices})) or "unknown parts",
        source=source_of(record, energy, lacks),
    )


def _accuracy(record: Record, choice: Choice) -> tuple[str | None, float | None, tuple[str, ...]]:
    """Name and value, and the reason why the value cannot be compared."""
    last = record.metric
    values = [row.metric for row in record.epochs if row.metric is not None]
    values += [] if last is None else [last.value]
    name = None if last is None else printable(last.name)
    if not values:
        return name, None, ("it has no accuracy: log one in validation, or name it with EnergyCallback(accuracy=…)",)
    value = max(values) if choice == "best" else values[-1]
    if not -ROUNDING <= value <= 1 + ROUNDING:
        return name, None, (f"its accuracy {value:g} is no fraction in [0, 1]: divide a percentage by 100",)
    return name, min(max(value, 0.0), 1.0), ()


def _caveats(record: Record, energy: Energy | None) -> list[str]:
    caveats = []
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
