"""What a run spent over all its sessions: the part that lives on in checkpoints."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lightning_energy.curve import Energy

if TYPE_CHECKING:
    from lightning_energy.ranks import Ranks

__all__ = ["NOTHING", "Spent"]

NOTHING = Energy(None, 0.0, 0.0, 0.0, 0.0, "missing")
VERSION = 1


def _to_plain(energy: Energy) -> dict[str, Any]:
    """Plain types only: checkpoints are loaded with ``weights_only=True``."""
    return {
        "energy_j": energy.energy_j,
        "u_j": energy.u_j,
        "u_absolute_j": energy.u_absolute_j,
        "duration_s": energy.duration_s,
        "missing_s": energy.missing_s,
        "quality": energy.quality,
    }


@dataclass
class Spent:
    """Energy of ``fit`` over sessions: every start or resumption is one.

    Attributes:
        before: what earlier sessions spent, all ranks together.
        sessions: one plain row per earlier session.
        history: one plain row per training epoch.
        reduced: what all ranks together had spent in this session at the last reduction.
        own_then: what this rank had spent in this session at that time.
    """

    before: Energy = NOTHING
    sessions: list[dict[str, Any]] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)
    reduced: Energy = NOTHING
    own_then_j: float = 0.0

    def own(self, live: Energy, ranks: Ranks) -> Energy:
        """This rank's part of the run's energy: what it spent now, and on rank zero what was spent before."""
        return Energy.sequence([self.before, live]) if ranks.is_zero and self.before != NOTHING else live

    def remember(self, total: Energy, live: Energy) -> None:
        """Keep the result of a reduction over ranks."""
        self.reduced, self.own_then_j = total, live.energy_j or 0.0

    def state(self, live: Energy, ranks: Ranks) -> dict[str, Any]:
        """The state for a checkpoint. Needs no collective: between reductions only this rank's part is known."""
        total = self.own(live, ranks)
        if ranks.size > 1 and self.reduced.energy_j is not None:
            since_j = max((live.energy_j or 0.0) - self.own_then_j, 0.0)
            reduced = _to_plain(self.reduced)
            reduced["energy_j"] += since_j
            return self._state(reduced)
        return self._state(_to_plain(total))

    def _state(self, total: dict[str, Any]) -> dict[str, Any]:
        return {"version": VERSION, "total": total, "sessions": [*self.sessions], "history": [*self.history]}

    def load(self, state: dict[str, Any]) -> None:
        """Set (never add) what was spent before.

        Raises:
            ValueError: the state was written by a newer version.
        """
        if state.get("version") != VERSION:
            raise ValueError(
                f"the checkpoint's energy has version {state.get('version')!r}, this lightning-energy knows "
                f"{VERSION}: upgrade lightning-energy, or drop EnergyCallback's state from the checkpoint"
            )
        self.before = Energy(**state["total"])
        self.sessions = [*state["sessions"]]
        self.history = [*state["history"]]
        self.reduced, self.own_then_j = NOTHING, 0.0

    def end_session(self, session: Energy, row: dict[str, Any]) -> None:
        """Add a session, all ranks together, to what was spent before."""
        self.before = Energy.sequence([self.before, session]) if self.before != NOTHING else session
        self.sessions.append({**row, **_to_plain(session)})
        self.reduced, self.own_then_j = NOTHING, 0.0
