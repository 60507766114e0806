"""What a run spent over all its sessions: the part that lives on in checkpoints."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from lightning_energy.curve import Energy

if TYPE_CHECKING:
    from lightning_energy.ranks import Ranks

__all__ = ["NOTHING", "Spent"]

NOTHING = Energy(None, 0.0, 0.0, 0.0, 0.0, "missing")
VERSION = 1


@dataclass
class Spent:
    """Energy of ``fit`` over sessions: every start or resumption is one.

    Attributes:
        before: what earlier sessions spent, all ranks together.
        sessions: one plain row per earlier session.
        history: one plain row per training epoch.
        reduced: what all ranks together had spent, earlier sessions included, at the last reduction of this session.
        own_then_j: what this rank had spent in this session at that time.
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

    def total(self, live: Energy, ranks: Ranks) -> Energy:
        """The run's energy as far as this rank knows it without a collective.

        With several ranks that is what all had spent at the last reduction, and what this rank spent since.
        """
        if ranks.size + ranks.left == 1 or self.reduced.energy_j is None:
            return self.own(live, ranks)
        since_j = max((live.energy_j or 0.0) - self.own_then_j, 0.0)
        return replace(self.reduced, energy_j=self.reduced.energy_j + since_j)

    def state(self, live: Energy, ranks: Ranks) -> dict[str, Any]:
        """The state for a checkpoint."""
        return {
            "version": VERSION,
            "total": self.total(live, ranks).to_plain(),
            "sessions": [*self.sessions],
            "history": [*self.history],
        }

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
        self.before = Energy.from_plain(state["total"])
        self.sessions = [*state["sessions"]]
        self.history = [*state["history"]]
        self.reduced, self.own_then_j = NOTHING, 0.0

    def end_session(self, session: Energy, row: dict[str, Any], ranks: Ranks) -> None:
        """Add a session to what was spent before: all ranks together, or what is known after an exception."""
        if ranks.left:
            self.before = self.total(session, ranks)
        else:
            self.before = Energy.sequence([self.before, session]) if self.before != NOTHING else session
        self.sessions.append({**row, **session.to_plain()})
        self.reduced, self.own_then_j = NOTHING, 0.0
