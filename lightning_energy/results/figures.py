"""The figures of a run in plain dataclasses that know nothing of how they look or where they are kept."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

from lightning_energy.curves.period import UNKNOWN_PERIOD_S
from lightning_energy.results.per_sample import per_sample_j

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lightning_energy.curves.energy import Energy
    from lightning_energy.curves.power_series import PowerSeries
    from lightning_energy.curves.resolution import Resolution
    from lightning_energy.ledger.how_shared import HowShared
    from lightning_energy.ledger.phases import PhaseEnergy
    from lightning_energy.meters.base import Condition, Scope
    from lightning_energy.results.carbon import Derived
    from lightning_energy.results.notes import Note
    from lightning_energy.results.verdict.saving import Verdict
    from lightning_energy.scores.metric import Metric

__all__ = ["Best", "Device", "Figures", "FirstWaits", "Missing", "Outcome", "PerUnit", "Spread"]

Outcome = Literal["running", "completed", "interrupted", "checkpoint"]
"""The end of a run or a session: ``running`` has none yet; ``checkpoint`` is a session as its checkpoint knew it."""

OF_A_FIT = {"train", "tune", "sanity_check"}  # a validation can also stand alone
UPDATES = 5  # of a sensor in a bin of its power that is read: one moment more or less is a fifth of it
ROUNDING = 1e-6  # relative difference between sums over ranks in different orders


@dataclass(frozen=True)
class FirstWaits:
    """The waits for the first batches of a session's epochs, on rank zero.

    Attributes:
        n: their number.
        duration_s: their seconds.
        first_s: the seconds of the first one.
    """

    n: int
    duration_s: float
    first_s: float


@dataclass(frozen=True)
class Device:
    """A device that was measured.

    Attributes:
        name: its name for people.
        device_id: its identity on its node.
        scope: the part of the machine that its joules cover.
        energy: its energy in this session.
        period_s: time between two updates of its sensor in seconds, as measured; ``None`` unknown.
        note: a remark that a reader must know.
        rank: the rank that read it.
        shared: the way in which its joules between two updates are shared out; ``None`` unknown.
        condition: its settings and temperature when it was first read; ``None`` unknown.
        power: its power over the session, thinned; ``None`` where it is not known, and of a model.
    """

    name: str
    device_id: str
    scope: Scope
    energy: Energy
    period_s: float | None
    note: str = ""
    rank: int = 0
    shared: HowShared | None = None
    condition: Condition | None = None
    power: PowerSeries | None = None

    @property
    def power_to_read(self) -> PowerSeries | None:
        """Its power in bins of some updates of its sensor, whose moments are known too little for shorter ones."""
        return None if self.power is None else self.power.at_least(UPDATES * (self.period_s or UNKNOWN_PERIOD_S))

    def name_among(self, others: Sequence[Device]) -> str:
        """A name that no other of some devices has: with its identity or its rank where its name alone is not enough.

        Args:
            others: the devices, itself among them.
        """
        alike = [d for d in others if d.name == self.name]
        same_rank = [d for d in alike if d.rank == self.rank]
        parts = [
            self.name,
            self.device_id if len(same_rank) > 1 else "",
            f"rank {self.rank}" if len(alike) > len(same_rank) else "",
        ]
        return ", ".join(part for part in parts if part)

    def to_plain(self) -> dict[str, Any]:
        """The same in plain types."""
        row = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in {"shared", "condition", "power"}}
        shared = {} if self.shared is None else {"shared": self.shared.to_plain()}
        condition = {} if self.condition is None else {"condition": asdict(self.condition)}
        power = {} if self.power is None else {"power": self.power.to_plain()}
        return {**row, "energy": self.energy.to_plain(), **shared, **condition, **power}


@dataclass(frozen=True)
class Spread:
    """The standard uncertainty (k=1) of a figure in joules.

    Attributes:
        u_j: without the gain of the sensors: repeatability, for comparing runs on the same devices.
        u_absolute_j: with it.

    Example:
        >>> from lightning_energy import Energy
        >>> Spread.per(Energy(50.0, 3.0, 5.0, 1.0, 0.0, "measured", 50.0), 100)
        Spread(u_j=0.03, u_absolute_j=0.05)
    """

    u_j: float
    u_absolute_j: float

    @classmethod
    def per(cls, energy: Energy, n: int) -> Spread:
        """That of an energy divided by a number that is known."""
        return cls(energy.u_j / n, energy.u_absolute_j / n)


@dataclass(frozen=True)
class PerUnit:
    """The joules per unit of a stage, or of a phase of it, in this session.

    Attributes:
        stage: the stage.
        phase: its phase; ``None``: all of it.
        unit: ``samples``, or a unit of the user's own.
        mean_j: joules per unit.
        u_j: their standard uncertainty (k=1), without the gain of the sensors.
        u_absolute_j: with it.
    """

    stage: str
    phase: str | None
    unit: str
    mean_j: float
    u_j: float
    u_absolute_j: float


@dataclass(frozen=True)
class Missing:
    """A stretch of time in which a device's energy is not known.

    Attributes:
        device_id: the device.
        started_unix_s: its beginning in seconds since 1970.
        duration_s: its length in seconds.
        rank: the rank that read the device.
    """

    device_id: str
    started_unix_s: float
    duration_s: float
    rank: int = 0


@dataclass(frozen=True)
class Best:
    """The best epoch of a training.

    Attributes:
        epoch: the epoch, counted from 0.
        value: the metric then, as it was logged.
        score: its score; ``None`` where there is none.
        total_kwh: energy of ``fit`` up to the end of that epoch; ``None`` unknown.
        is_of_ends: an epoch had several validations, of which the last one alone is known here: another one may have
            been better.
    """

    epoch: int
    value: float
    score: float | None
    total_kwh: float | None
    is_of_ends: bool = False


@dataclass(frozen=True)
class Figures:
    """The figures of one run.

    Attributes:
        outcome: ``running``, ``completed`` or ``interrupted``.
        stages: energy by stage, all ranks together.
        session: energy of this session, all ranks together.
        total: energy of ``fit`` over the run, all its sessions and ranks together; ``None`` when nothing was fitted.
        sessions: number of sessions in ``total``.
        devices: the devices that were measured: by all ranks when the run has completed or their records were put
            together, else by this rank.
        ranks: number of ranks that the energies are of.
        resolutions: by stage, its resolution by the slowest sensor; see
            :func:`~lightning_energy.curves.resolution.resolution`.
        steps: training steps whose energy is known.
        step_j: their mean energy in joules, or ``None``.
        step_u: its uncertainty.
        samples: samples trained on in this session, all ranks together; ``None`` when not all could be counted.
        sample_j: joules of training (stage ``train``) per sample of this session, or ``None``.
        sample_u: its uncertainty.
        units: by stage (``train``, ``validate``, ``test``, ``predict``) the numbers of samples and of the user's own
            units in this session, all ranks together; ``None`` for one of which not all could be counted.
        n_val: number of samples in the last validation that ended, all ranks together; ``None`` where that is not
            known, and of several loaders.
        n_test: the same of the test.
        gaps: energy of training between its steps (data loading, logging, checkpoints), part of stage ``train``.
        phases: by stage that is divided its phases, whose energies together are the stage's; see
            :class:`~lightning_energy.ledger.phases.PhaseEnergy`. Of this rank alone after an exception.
        phases_by_rank: the phases of training of each rank, in their order; empty where it is not divided, of one rank,
            and where a rank is not known.
        first_waits: the waits for the first batches of epochs; ``None`` where training is not divided.
        between: energy of this session that is in no row of its epochs; ``None`` while it runs, and where unknown.
        missing: stretches of time in which the energy of one of these devices is not known.
        absent_ranks: number of other ranks whose energy since the last epoch is not known; 0 but after an exception.
        above_idle_j: joules of this session above the devices' idle power; ``None`` when that was not watched.
        above_idle_u: its uncertainty; the absolute one with what sensors on a chip err above idle.
        metric: the last value of the metric of quality; ``None`` without one.
        metric_epoch: the epoch of ``metric``, counted from 0; ``None`` unknown.
        best: its best epoch; ``None`` without one.
        score: the score of ``metric``.
        score_u: its standard uncertainty (k=1) by the energy alone, with the gain of the sensors; ``None`` without a
            score, and for a function of the user's own.
        score_kwh: the energy that it was scored with: that of the training up to that validation.
        score_name: the formula.
        no_score: the reason why there is no score, with what to do; empty where there is one, or was none asked for.
        no_metric: the reason why the last validation has no metric although one was logged, with its epoch: ``metric``
            is of an earlier one then; empty where it has one.
        derived: CO2e and cost of ``total``, or of ``session`` when nothing was fitted; ``None`` unless asked for.
        notes: remarks about what is missing or doubtful.
        verdict: what would have saved energy; ``None`` while a run goes on, and where nothing was trained.
    """

    outcome: Outcome
    stages: dict[str, Energy]
    session: Energy
    total: Energy | None
    sessions: int
    devices: Sequence[Device]
    ranks: int = 1
    resolutions: Mapping[str, Resolution] = field(default_factory=dict)
    steps: int = 0
    step_j: float | None = None
    step_u: Spread | None = None
    samples: int | None = None
    sample_j: float | None = None
    sample_u: Spread | None = None
    units: Mapping[str, Mapping[str, int | None]] = field(default_factory=dict)
    n_val: int | None = None
    n_test: int | None = None
    gaps: Energy | None = None
    phases: Mapping[str, Sequence[PhaseEnergy]] = field(default_factory=dict)
    phases_by_rank: Sequence[Sequence[PhaseEnergy]] = ()
    first_waits: FirstWaits | None = None
    between: Energy | None = None
    missing: Sequence[Missing] = ()
    absent_ranks: int = 0
    above_idle_j: float | None = None
    above_idle_u: Spread | None = None
    metric: Metric | None = None
    metric_epoch: int | None = None
    best: Best | None = None
    score: float | None = None
    score_u: float | None = None
    score_kwh: float | None = None
    score_name: str = ""
    no_score: str = ""
    no_metric: str = ""
    derived: Derived | None = None
    notes: Sequence[Note] = ()
    verdict: Verdict | None = None

    @property
    def is_of_fit(self) -> bool:
        """True for a training's figures, false for those of a validation, test or prediction alone."""
        return bool(OF_A_FIT & {*self.stages})

    @property
    def has_all_devices(self) -> bool:
        """True when ``devices`` are those of all ranks: their joules are then those of ``session``.

        While several ranks train, and after a training that was given up, they are those of one rank alone.
        """
        if self.absent_ranks or self.ranks == 1:
            return not self.absent_ranks
        named_j = math.fsum(d.energy.energy_j or 0.0 for d in self.devices)
        return self.session.energy_j is not None and math.isclose(named_j, self.session.energy_j, rel_tol=ROUNDING)

    def unit_j(self, unit: str = "samples", stage: str = "train", phase: str | None = None) -> float | None:
        """Joules of a stage, or of a phase of it, per sample or other unit of this session.

        Args:
            unit: ``samples``, or a unit of the user's own.
            stage: the stage.
            phase: a phase of it, such as ``data``.

        Returns:
            The joules; ``None`` where not all units could be counted, some joules are missing, or the phase is not
            resolved.
        """
        return per_sample_j(self._part(stage, phase), self.units.get(stage, {}).get(unit))

    def unit_u(self, unit: str = "samples", stage: str = "train", phase: str | None = None) -> Spread | None:
        """The uncertainty of :meth:`unit_j`; ``None`` where that is unknown."""
        energy, n = self._part(stage, phase), self.units.get(stage, {}).get(unit)
        return None if self.unit_j(unit, stage, phase) is None or energy is None or not n else Spread.per(energy, n)

    @property
    def per_unit(self) -> list[PerUnit]:
        """Joules per sample and other unit of every stage that has some, and of its phases that are resolved."""
        parts = [
            (stage, phase)
            for stage in self.units
            for phase in (None, *(p.name for p in self.phases.get(stage, ()) if p.resolved))
        ]
        found = [
            (stage, phase, unit, self.unit_j(unit, stage, phase), self.unit_u(unit, stage, phase))
            for stage, phase in parts
            for unit in self.units[stage]
        ]
        return [
            PerUnit(stage, phase, unit, mean_j, spread.u_j, spread.u_absolute_j)
            for stage, phase, unit, mean_j, spread in found
            if mean_j is not None and spread is not None
        ]

    def _part(self, stage: str, phase: str | None) -> Energy | None:
        """The energy of a stage, or of a phase of it that is resolved."""
        if phase is None:
            return self.stages.get(stage)
        return next((p.energy for p in self.phases.get(stage, ()) if p.name == phase and p.resolved), None)

    @property
    def energy(self) -> Energy:
        """The energy of the training, or of this session when nothing was fitted."""
        return self.total or self.session
