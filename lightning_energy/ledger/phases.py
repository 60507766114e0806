"""Energy of the phases of steps and of the gaps between them, as far as a run tells it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lightning_energy.ledger.accounts import OTHER, SAVING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_energy.curves.energy import Energy
    from lightning_energy.ledger.accounts import Kind

__all__ = ["BACKWARD", "COPY", "DATA", "FORWARD", "KINDS", "NAMES", "OPTIMIZER", "TOLD_U", "PhaseEnergy"]

DATA, COPY, FORWARD, BACKWARD, OPTIMIZER = "data", "copy", "forward", "backward", "optimizer"
KINDS: dict[str, Kind] = {DATA: "gap", COPY: "gap", FORWARD: "step", BACKWARD: "step", OPTIMIZER: "step", SAVING: "gap"}
"""The phases of a Trainer's training, each with the kind of account that it is part of."""
NAMES = (*KINDS, OTHER)
"""The same with the rest."""

TOLD_U = 0.4
"""Greatest standard uncertainty of a phase that counts as resolved, relative to its energy."""
MOST_LONGER = 1000.0  # a run that would have to be longer than so many times is as good as none


@dataclass(frozen=True)
class PhaseEnergy:
    """The energy of a phase: a part of the steps, or of the time between them.

    Attributes:
        name: ``data`` (waiting for the next batch), ``copy`` (to the device), ``forward`` (with the loss),
            ``backward``, ``optimizer``, ``saving`` (of checkpoints), ``other`` (callbacks, logging), or a name of the
            user's own.
        energy: its energy. Where it is not resolved, that is its part by duration and by what little is known, and its
            uncertainty is wide.
        resolved: true where the run tells it.
        longer: how many times as long such a run would have to be at least to tell it; 1 where it does, and ``None``
            where it would not help, or nobody knows.
    """

    name: str
    energy: Energy
    resolved: bool
    longer: float | None = None

    @classmethod
    def of(cls, name: str, energy: Energy, longer: float | None) -> PhaseEnergy:
        """A phase, from how many times as long the run has to be at least to tell it."""
        if not energy.energy_j or longer is None:
            return cls(name, energy, resolved=False)
        needed = longer if longer > 1 else max(longer, (energy.u_j / energy.energy_j / TOLD_U) ** 2)
        return cls(name, energy, needed <= 1, max(needed, 1.0) if needed < MOST_LONGER else None)

    def to_plain(self) -> dict[str, Any]:
        """The same in plain types."""
        return {"name": self.name, "energy": self.energy.to_plain(), "resolved": self.resolved, "longer": self.longer}

    @classmethod
    def together(cls, phases: Sequence[PhaseEnergy], energy: Energy) -> PhaseEnergy:
        """A phase on several ranks.

        Args:
            phases: of each rank that has it.
            energy: of all of them.
        """
        worst = [phase.longer for phase in phases]
        known = [x for x in worst if x is not None]
        longer = max(known) if len(known) == len(worst) else None
        return replace(phases[0], energy=energy, resolved=all(phase.resolved for phase in phases), longer=longer)
