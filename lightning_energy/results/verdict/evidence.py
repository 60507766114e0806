"""Everything that the rules of a verdict look at, and the reasons why some of it is not known."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from lightning_energy.curves.period import UNKNOWN_PERIOD_S
from lightning_energy.meters.base import BOARDS
from lightning_energy.results.layout_phases import longer_words
from lightning_energy.results.readable import duration, si
from lightning_energy.results.verdict.saving import MIN_SHARE, SURE, Blind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lightning_energy.curves.energy import Energy
    from lightning_energy.ledger.phases import PhaseEnergy
    from lightning_energy.results.figures import Device, Figures
    from lightning_energy.results.rows import EpochRow

__all__ = ["NOT_DIVIDED", "NO_BOARD", "PROFILE_U", "TRAIN", "Amount", "Evidence", "Run", "gain_of"]

TRAIN = "train"
ROUNDING = 1e-6  # relative difference between the energy of a stage and the sum of its phases
LONG = 4.0
"""Updates of a board's counter that a phase must last each time, to be seen without the powers of its neighbours.

Powers within a step vary, in the same order in each. The uncertainty of phases has that, but for a sensor that smooths
over some ten milliseconds; and records of earlier releases do not have it: there a wait of two or three updates was up
to 70 % off on a simulated board, with a stated uncertainty of 3 %; from four updates on by 4 % at most, in ten runs.
"""
PROFILE_U = 0.03
"""Relative standard uncertainty that such powers, or such a sensor, give the energy of a longer phase."""
NOT_DIVIDED = Blind(
    "its training is not divided into phases",
    "train with EnergyCallback(phases=True); in a loop of your own use monitor.phase(…)",
)
NO_BOARD = Blind(
    "no meter reads an accelerator alone, and on a CPU fetching data takes joules itself, which workers would only move"
)


class Amount(NamedTuple):
    """Joules with their standard uncertainty, with the gain of the sensors."""

    energy_j: float
    u_j: float


@dataclass(frozen=True)
class Run:
    """A run as a rule sees it.

    Attributes:
        report: its figures.
        epochs: a row per epoch.
        what: the training: module, parameters, precision, batch size and so on.
    """

    report: Figures
    epochs: Sequence[EpochRow] = ()
    what: Mapping[str, Any] = field(default_factory=dict)

    @property
    def spent_more(self) -> bool:
        """True where more was spent than its total says."""
        return self.report.absent_ranks > 0 or any(note.lowers_total for note in self.report.notes)


@dataclass(frozen=True)
class Evidence(Run):
    """A run as the rules of a verdict see it.

    Attributes:
        beside: a run of the same training with another precision or batch size; ``None`` without one.
    """

    beside: Run | None = None

    @property
    def whole(self) -> Energy:
        """The energy that savings are part of: of the training in all its sessions."""
        return self.report.energy

    @property
    def has_boards(self) -> bool:
        """True where an accelerator's energy is read by itself."""
        return any(device.scope in BOARDS for device in self.report.devices)

    @property
    def in_session(self) -> str:
        """A clause for figures that are of the last of several sessions alone."""
        return " in this session" if self.report.sessions > 1 else ""

    @property
    def gap(self) -> Blind | None:
        """The reason why nothing can be said of this run; ``None`` where something can."""
        report, whole = self.report, self.whole
        if not report.is_of_fit and report.total is None:
            return Blind("nothing was trained in it")
        if whole.energy_j is None:
            return Blind("its energy is unknown", "see `lightning-energy doctor`")
        if whole.missing_s > 0:
            return Blind(f"the energy of {duration(whole.missing_s)} of it is missing")
        if self.spent_more:
            return Blind("more was spent than its total says: its report says why")
        return None

    def phase(self, name: str) -> PhaseEnergy | Blind | None:
        """A phase of training that is resolved.

        Args:
            name: the phase.

        Returns:
            The phase; the reason why it is not known; ``None`` where it is so small, or so short, that nothing is at
            stake in it.
        """
        phases, train = self.report.phases.get(TRAIN, ()), self.report.stages.get(TRAIN)
        if not phases or train is None:
            return NOT_DIVIDED
        known_j = math.fsum(phase.energy.energy_j or 0.0 for phase in phases)
        if train.energy_j is None or not math.isclose(known_j, train.energy_j, rel_tol=ROUNDING):
            return Blind("the phases in its record are not those of all ranks", "let the run complete")
        found = next((phase for phase in phases if phase.name == name), None)
        return None if found is None else self.resolved(found)

    def resolved(self, phase: PhaseEnergy) -> PhaseEnergy | Blind | None:
        """The same phase if it is resolved; see :meth:`phase`."""
        energy = phase.energy
        if energy.energy_j is None or energy.missing_s > 0:
            return Blind(f"energy of its phase `{phase.name}` is missing")
        if phase.resolved:
            return phase
        if energy.energy_j + SURE * energy.u_absolute_j <= MIN_SHARE * (self.whole.energy_j or 0.0):
            return None
        why = f"the energy of its phase `{phase.name}` is not resolved"
        return Blind(why, longer_words(phase, self.report.session.duration_s))

    def seen(self, phase: PhaseEnergy) -> Blind | None:
        """The reason why powers that vary within a step may be taken for those of a phase of each step.

        Args:
            phase: the phase.

        Returns:
            ``None`` where the phase lasts long enough.
        """
        steps = self.report.steps
        if not steps:
            return Blind("the number of its steps is not known")
        return self.seen_for(phase, phase.energy.duration_s / steps, "a step")

    def seen_for(self, phase: PhaseEnergy, each_s: float, each_time: str = "each time") -> Blind | None:
        """The same for a phase that lasts so many seconds each time.

        Args:
            phase: the phase.
            each_s: the seconds.
            each_time: each time, in words.
        """
        boards = [d for d in self.report.devices if d.scope in BOARDS]
        least_s = LONG * max((d.period_s or UNKNOWN_PERIOD_S for d in boards), default=UNKNOWN_PERIOD_S)
        if each_s >= least_s:
            return None
        each, least = si(each_s, "s", digits=2), si(least_s, "s", digits=2)
        return Blind(
            f"its phase `{phase.name}` takes {each} {each_time}; in less than {least}, {LONG:g} updates of the board's "
            f"counter, powers that vary within a step may be taken for it"
        )

    def on_boards(self, phase: PhaseEnergy, rank: int | None = None) -> Amount | Blind:
        """The energy of a phase on accelerator boards alone.

        Args:
            phase: the phase.
            rank: the rank that it is of; ``None``: all of them.
        """
        devices = [d for d in self.report.devices if rank is None or d.rank == rank]
        boards = [d for d in devices if d.scope in BOARDS]
        energy = phase.energy
        if not boards or energy.energy_j is None:
            return NO_BOARD
        if len(boards) == len(devices):
            return Amount(energy.energy_j, energy.u_absolute_j)
        if rank is None and self.report.ranks > 1:
            return Blind("the phases of all ranks are of boards and CPUs together")
        powers = [_power_of(board, phase.name) for board in boards]
        known = [power for power in powers if power is not None]
        if len(known) < len(powers):
            return Blind("the power of its boards in this phase is not known")
        boards_j, seconds_s = math.fsum(w for w, _ in known) * energy.duration_s, energy.duration_s
        own_u = energy.u_j / energy.energy_j if energy.energy_j else 0.0
        u_j = max(math.fsum(u for _, u in known) * seconds_s, own_u * boards_j)
        return Amount(boards_j, math.hypot(u_j, gain_of(energy) * boards_j))


def gain_of(energy: Energy) -> float:
    """Relative standard uncertainty of an energy by the gain of its sensors."""
    return math.sqrt(max(energy.u_absolute_j**2 - energy.u_j**2, 0.0)) / energy.energy_j if energy.energy_j else 0.0


def _power_of(device: Device, phase: str) -> tuple[float, float] | None:
    """The mean power of a phase of training on a device, with its uncertainty; ``None`` unknown."""
    classes = () if device.shared is None else device.shared.classes
    return next(((c.power_w, c.u_w) for c in classes if (c.stage, c.phase) == (TRAIN, phase)), None)
