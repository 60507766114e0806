"""What a run spent over all its sessions: the part that lives on in checkpoints."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid4

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
        run_id: tells checkpoints of this run from those of others.
        before: what earlier sessions spent, all ranks together.
        sessions: one plain row per earlier session.
        history: one plain row per training epoch.
        reduced: what all ranks together had spent, earlier sessions included, at the last reduction of this session.
        own_then: what this rank had spent in this session at that time.
        note: what a reader of the total must know; empty when nothing.
    """

    run_id: str = field(default_factory=lambda: uuid4().hex)
    before: Energy = NOTHING
    sessions: list[dict[str, Any]] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)
    reduced: Energy = NOTHING
    own_then: Energy = NOTHING
    note: str = ""

    def own(self, live: Energy, ranks: Ranks) -> Energy:
        """This rank's part of the run's energy: what it spent now, and on rank zero what was spent before."""
        return Energy.sequence([self.before, live]) if ranks.is_zero and self.before != NOTHING else live

    def remember(self, total: Energy, live: Energy) -> None:
        """Keep the result of a reduction over ranks."""
        self.reduced, self.own_then = total, live

    def total(self, live: Energy, ranks: Ranks) -> Energy:
        """The run's energy as far as this rank knows it without a collective.

        With several ranks that is what all had spent at the last reduction, and what this rank spent since; what the
        others spent since is missing.
        """
        others = ranks.size + ranks.left - 1
        if others == 0 or self.reduced.energy_j is None:
            return self.own(live, ranks)
        return Energy.sequence([self.reduced, _since(self.own_then, live, others)])

    def state(self, live: Energy, ranks: Ranks, session: dict[str, Any] | None = None) -> dict[str, Any]:
        """The state for a checkpoint.

        Args:
            live: what this rank spent in this session so far.
            ranks: the ranks.
            session: what is known of the session that runs, if one does.
        """
        total = self.total(live, ranks)
        running = [] if session is None else [{**session, "outcome": "checkpoint", **live.to_plain()}]
        return {
            "version": VERSION,
            "run_id": self.run_id,
            "total": total.to_plain(),
            "sessions": [*self.sessions, *running],
            "history": [*self.history],
        }

    def load(self, state: dict[str, Any]) -> None:
        """Set (never add) what was spent before.

        A checkpoint of this very run, from which this process has gone on meanwhile, says less than is known: what was
        spent after it was spent, whatever becomes of the weights.

        Raises:
            ValueError: the state was written by a newer version, or is damaged.
        """
        if state.get("version") != VERSION:
            raise ValueError(
                f"the checkpoint's energy has version {state.get('version')!r}, this lightning-energy knows "
                f"{VERSION}: upgrade lightning-energy"
            )
        try:
            total, sessions, history = Energy.from_plain(state["total"]), [*state["sessions"]], [*state["history"]]
            run_id = str(state["run_id"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"the checkpoint's energy is damaged ({type(error).__name__}: {error})") from error
        if run_id == self.run_id and (total.energy_j or 0.0) <= (self.before.energy_j or 0.0):
            return
        self.run_id, self.before, self.sessions, self.history = run_id, total, sessions, history
        self.reduced = self.own_then = NOTHING

    def end_session(self, session: Energy, row: dict[str, Any], ranks: Ranks) -> None:
        """Add a session to what was spent before: all ranks together, or what is known after an exception."""
        if ranks.left:
            self.before = self.total(session, ranks)
        else:
            self.before = Energy.sequence([self.before, session]) if self.before != NOTHING else session
        self.sessions.append({**row, **session.to_plain()})
        self.reduced = self.own_then = NOTHING


def _since(then: Energy, now: Energy, others: int) -> Energy:
    """What one rank spent between two moments, with the time of the other ranks as missing."""
    duration_s = max(now.duration_s - then.duration_s, 0.0)
    missing_s = max(now.missing_s - then.missing_s, 0.0) + others * duration_s
    if now.energy_j is None:
        return Energy(None, 0.0, 0.0, duration_s, missing_s, "missing")
    energy_j = max(now.energy_j - (then.energy_j or 0.0), 0.0)
    gain_u = math.sqrt(max(now.u_absolute_j**2 - now.u_j**2, 0.0)) / now.energy_j if now.energy_j else 0.0
    u_absolute_j = math.hypot(now.u_j, gain_u * energy_j)
    power_w = energy_j / duration_s if duration_s > 0 else None
    return Energy(energy_j, now.u_j, u_absolute_j, duration_s, missing_s, now.quality, power_w)
