"""The rows of a run's memory, of its record and of its checkpoints."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields, replace
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Any

from lightning_energy.curves.power_series import MOST_BINS
from lightning_energy.meters.units import J_PER_KWH

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lightning_energy.curves.energy import Energy
    from lightning_energy.meters.base import Quality
    from lightning_energy.results.figures import Device, Outcome

__all__ = [
    "DERIVED_COLUMNS",
    "EPOCH_COLUMNS",
    "EpochPhase",
    "EpochRow",
    "Evaluation",
    "SessionRow",
    "known_j",
    "of_energy",
    "thinned",
]

DERIVED_COLUMNS = ("co2eq_g", "cost")
"""Further columns of an epoch's row, each of which is there only if it was asked for."""


ROUNDING = 1e-12  # relative difference between an energy and the sum of its phases that nobody need make smaller


@dataclass(frozen=True)
class EpochPhase:
    """A phase of an epoch's training, all ranks together.

    Attributes:
        name: the phase; see :class:`~lightning_energy.ledger.phases.PhaseEnergy`.
        energy_j: its joules; ``None`` unknown.
        u_j: their standard uncertainty (k=1), without the gain of the sensors.
        resolved: true where the epoch tells it; else its joules are its part by duration and by what little is known.
    """

    name: str
    energy_j: float | None
    u_j: float
    resolved: bool

    @classmethod
    def of(cls, name: str, energy: Energy, *, resolved: bool) -> EpochPhase:
        """A phase with its energy, whatever there can be of it."""
        return cls(name, known_j(energy.energy_j), energy.u_j, resolved)


def of_energy(phases: Sequence[EpochPhase], train_j: float | None) -> tuple[EpochPhase, ...]:
    """Phases in the same proportions, of an energy that is known better by now.

    Args:
        phases: all phases of an epoch.
        train_j: the energy of its training; ``None`` unknown.

    Returns:
        The phases, whose joules are together that energy; unknown ones where nobody knows it, or their proportions.

    Example:
        >>> logged = [EpochPhase("data", 1.0, 0.1, resolved=True), EpochPhase("other", 3.0, 0.1, resolved=True)]
        >>> [phase.energy_j for phase in of_energy(logged, 8.0)]
        [2.0, 6.0]
    """
    before_j = math.fsum(phase.energy_j or 0.0 for phase in phases)
    if train_j is None or (train_j and not before_j):
        return tuple(replace(phase, energy_j=None, u_j=0.0, resolved=False) for phase in phases)
    if math.isclose(train_j, before_j, rel_tol=ROUNDING):
        return tuple(phases)
    factor = train_j / before_j
    return tuple(
        phase if phase.energy_j is None else replace(phase, energy_j=phase.energy_j * factor, u_j=phase.u_j * factor)
        for phase in phases
    )


@dataclass(frozen=True, kw_only=True)
class EpochRow:
    """A training epoch, all ranks together; ``None`` is unknown.

    Attributes:
        session: the session of the run, counted from 0.
        epoch: the epoch, counted from 0.
        train_j: joules of training in this epoch.
        train_u_j: repeatability of ``train_j``: without the gain of the sensors.
        train_s: seconds of training.
        val_j: joules of validation in this epoch.
        val_u_j: repeatability of ``val_j``.
        val_s: seconds of validation.
        missing_s: seconds of both whose joules are not known.
        total_kwh: energy of ``fit`` up to the end of the epoch, all stages and sessions, in kWh.
        total_u_kwh: absolute standard uncertainty of ``total_kwh``: with the gain of the sensors.
        metric: the metric of quality as it was logged, if the epoch was validated.
        score: its score as it was logged.
        derived: CO2e and cost of ``total_kwh`` by the names of :data:`DERIVED_COLUMNS`, as far as they were asked for.
        score_u: standard uncertainty of ``score`` by the energy alone, with the gain of the sensors.
        train_quality: the worst quality among the joules of ``train_j``.
        val_quality: the same for ``val_j``.
        is_final: true once the energies above are those that were known at the end of the session. Until then they
            suppose that the last power goes on, and may change.
        logged_train_j: ``train_j`` as it was logged when the epoch ended.
        logged_val_j: ``val_j`` as it was logged after the epoch's last validation.
        logged_total_kwh: the total as it was logged last in the epoch.
        no_metric: the reason why the value that the epoch's last validation logged is not in ``metric``, such as
            ``val_loss=nan is not finite``; ``None`` where there is no such value.
        validations: the number of validations in this epoch; ``metric`` is of the last one.
        phases: the phases of training in this epoch, whose joules are together ``train_j``; empty where it is not
            divided. Of all but the last 32 epochs of a session their proportions are those that were logged.
    """

    session: int | None = None
    epoch: int
    train_j: float | None = None
    train_u_j: float | None = None
    train_s: float | None = None
    val_j: float | None = None
    val_u_j: float | None = None
    val_s: float | None = None
    missing_s: float | None = None
    total_kwh: float | None = None
    total_u_kwh: float | None = None
    metric: float | None = None
    score: float | None = None
    derived: Mapping[str, float | None] = field(default_factory=dict)
    score_u: float | None = None
    train_quality: Quality | None = None
    val_quality: Quality | None = None
    is_final: bool = False
    logged_train_j: float | None = None
    logged_val_j: float | None = None
    logged_total_kwh: float | None = None
    no_metric: str | None = None
    validations: int | None = None
    phases: Sequence[EpochPhase] = ()

    @classmethod
    def of(cls, epoch: int, train: Energy, validation: Energy, total: Energy, **others: Any) -> EpochRow:
        """A row of an epoch's energies.

        Args:
            epoch: the epoch.
            train: energy of training in it.
            validation: energy of validation in it.
            total: energy of the training up to its end.
            others: the other fields.
        """
        others |= {name: known_j(joules) for name, joules in others.items() if name.startswith("logged_")}
        return cls(epoch=epoch, **others, **_of_energies(train, validation, total))

    def with_energies(self, train: Energy, validation: Energy, total: Energy | None = None) -> EpochRow:
        """The same row with the energies as they are known later.

        Args:
            train: energy of training in the epoch.
            validation: energy of validation in it.
            total: energy of the training up to its end; ``None`` where that is known no better than before.
        """
        return replace(self, **_of_energies(train, validation, total))

    def to_plain(self) -> dict[str, Any]:
        """The same in plain types: a column each, those of ``derived`` behind the others, and phases if there are."""
        phases = {"phases": [asdict(phase) for phase in self.phases]} if self.phases else {}
        return {**{name: getattr(self, name) for name in EPOCH_COLUMNS}, **self.derived, **phases}


def _of_energies(train: Energy, validation: Energy, total: Energy | None) -> dict[str, Any]:
    """The fields of an epoch's row that its energies tell."""
    of_total = {}
    if total is not None:
        of_total = {"total_kwh": total.energy_kwh, "total_u_kwh": total.u_absolute_j / J_PER_KWH}
    return {
        "train_j": known_j(train.energy_j),
        "train_u_j": train.u_j,
        "train_s": train.duration_s,
        "train_quality": train.quality if train.duration_s > 0 else None,
        "val_j": known_j(validation.energy_j),
        "val_u_j": validation.u_j,
        "val_s": validation.duration_s,
        "val_quality": validation.quality if validation.duration_s > 0 else None,
        "missing_s": train.missing_s + validation.missing_s,
        **of_total,
    }


def known_j(joules: float | None) -> float | None:
    """Joules that there can be: what is supposed until the next reading may be less than what was supposed before.

    Example:
        >>> known_j(1.5), known_j(-0.006), known_j(None)
        (1.5, None, None)
    """
    return joules if joules is not None and joules >= 0 else None


EPOCH_COLUMNS = tuple(f.name for f in fields(EpochRow) if f.name not in {"derived", "phases"})
"""The columns that every epoch's row has."""


@dataclass(frozen=True)
class SessionRow:
    """A session of a run: a start or a resumption.

    Attributes:
        started_unix_s: its beginning in seconds since 1970.
        outcome: its end.
        energy: its energy, all ranks together.
        samples: number of samples that were trained on; ``None`` when not known.
        between: the part of ``energy`` that is in no row of its epochs: before the first, between two and after the
            last, searches, sanity checks, an epoch that did not end; ``None`` where that is not known.
        devices: the devices that were measured in it, by all ranks, with the way in which their joules are shared out;
            empty when they are not known.
    """

    started_unix_s: float
    outcome: Outcome
    energy: Energy
    samples: int | None = None
    between: Energy | None = None
    devices: Sequence[Device] = ()

    def to_plain(self) -> dict[str, Any]:
        """The same in plain types, the energy's fields beside the others."""
        row: dict[str, Any] = {"started_unix_s": self.started_unix_s, "outcome": self.outcome, "samples": self.samples}
        if self.between is not None:
            row["between"] = self.between.to_plain()
        if self.devices:
            row["devices"] = [device.to_plain() for device in self.devices]
        return {**row, **self.energy.to_plain()}


def thinned(sessions: Sequence[SessionRow]) -> list[SessionRow]:
    """The sessions with no more points of a device's power in all of them together than one session has at most.

    The finest series become coarser first; each keeps a point.

    Args:
        sessions: the sessions of a run.
    """
    rows = [*sessions]
    for key in dict.fromkeys((d.device_id, d.rank) for row in rows for d in row.devices):
        series = {i: d.power for i, row in enumerate(rows) for d in row.devices if _is(d, key) and d.power}
        points, finest_first = sum(len(s.mean_w) for s in series.values()), [(s.bin_s, i) for i, s in series.items()]
        heapify(finest_first)
        while points > MOST_BINS and finest_first:
            _, i = heappop(finest_first)
            if len(series[i].mean_w) > 1:
                points -= len(series[i].mean_w)
                series[i] = series[i].coarser()
                points += len(series[i].mean_w)
                heappush(finest_first, (series[i].bin_s, i))
        for i, power in series.items():
            devices = tuple(replace(d, power=power) if _is(d, key) else d for d in rows[i].devices)
            rows[i] = replace(rows[i], devices=devices)
    return rows


def _is(device: Device, key: tuple[str, int]) -> bool:
    return (device.device_id, device.rank) == key


@dataclass(frozen=True)
class Evaluation:
    """A validation, test or prediction outside of ``fit``.

    Attributes:
        started_unix_s: its beginning in seconds since 1970.
        outcome: its end.
        stages: its energy by stage.
        units: by stage the numbers of samples and of the user's own units; ``None`` for one that is not known.
    """

    started_unix_s: float
    outcome: Outcome
    stages: Mapping[str, Energy]
    units: Mapping[str, Mapping[str, int | None]] = field(default_factory=dict)

    def to_plain(self) -> dict[str, Any]:
        """The same in plain types."""
        stages = {stage: energy.to_plain() for stage, energy in self.stages.items()}
        row = {"started_unix_s": self.started_unix_s, "outcome": self.outcome, "stages": stages}
        return row | ({"units": {stage: {**n} for stage, n in self.units.items()}} if self.units else {})
