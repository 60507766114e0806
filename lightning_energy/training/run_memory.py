"""What a run spent over all its sessions: the part that lives on in checkpoints."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from lightning_energy.curves.curve import Energy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lightning_energy.ledger.ranks import Ranks

__all__ = ["NOTHING", "RunMemory"]

NOTHING = Energy(None, 0.0, 0.0, 0.0, 0.0, "missing")
VERSION = 1


@dataclass
class RunMemory:
    """Energy of ``fit`` over sessions: every start or resumption is one.

    Attributes:
        run_id: tells checkpoints of this run from those of others.
        before: what earlier sessions spent, all ranks together.
        sessions: one plain row per earlier session.
        history: one plain row per training epoch.
        reduced: what all ranks together had spent in this session at its last reduction.
        own_then: what this rank had spent in this session at that time.
        note: what a reader of the total must know; empty when nothing.
        borrowed: whether the last state that was loaded was not loaded for a ``fit``.
        axis: unit of the axis of the run's curves over energy; ``None`` before the first point.
        chosen: the metric that was found to be the accuracy; ``None`` while none was.
    """

    run_id: str = field(default_factory=lambda: uuid4().hex)
    before: Energy = NOTHING
    sessions: list[dict[str, Any]] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)
    reduced: Energy = NOTHING
    own_then: Energy = NOTHING
    note: str = ""
    borrowed: bool = False
    axis: str | None = None
    chosen: str | None = None
    _accepts: bool = False

    def begin_anew(self, note: str = "") -> None:
        """Forget what earlier sessions spent."""
        new = RunMemory()
        self.run_id, self.before, self.sessions, self.history = new.run_id, NOTHING, [], []
        self.reduced = self.own_then = NOTHING
        self.note = note

    def return_borrowed(self) -> None:
        """A ``fit`` begins: what the checkpoint of a validation or test had spent is not of this training."""
        if self.borrowed:
            self.begin_anew()
            self.borrowed = False

    def refuse(self) -> None:
        """Take no state until :meth:`decide` says so."""
        self._accepts = False

    def decide(self, *, is_fit: bool, is_training: bool) -> None:
        """Decide whether the state that comes next counts.

        ``test(ckpt_path=…)`` after ``fit`` must not undo what fit measured; a search (learning rate, batch size)
        that restores its own checkpoint in the middle of a run must not, either.

        Args:
            is_fit: whether the state is loaded for a ``fit``.
            is_training: whether the training is under way.
        """
        self._accepts = not is_training and (is_fit or self.before == NOTHING)
        if self._accepts:  # a state that is refused changes nothing of where the last one came from
            self.borrowed = not is_fit

    @property
    def accepts(self) -> bool:
        """Whether the next state counts."""
        return self._accepts

    def after(self, session: Energy) -> Energy:
        """The run's energy: what was spent before, and a session."""
        return session if self.before == NOTHING else Energy.sequence([self.before, session])

    def own(self, live: Energy, ranks: Ranks) -> Energy:
        """This rank's part of the run's energy: what it spent now, and on rank zero what was spent before."""
        return self.after(live) if ranks.is_zero else live

    def remember(self, session: Energy, live: Energy) -> None:
        """Keep the result of a reduction of this session over ranks, and this rank's part of it."""
        self.reduced, self.own_then = session, live

    def session(self, live: Energy, ranks: Ranks) -> Energy:
        """This session's energy as far as this rank knows it without a collective.

        With several ranks that is what all had spent at the last reduction, and what this rank spent since; what the
        others spent since is missing.
        """
        others = ranks.size + ranks.left - 1
        if others == 0:
            return live
        since = _since(self.own_then, live, others)
        return since if self.reduced == NOTHING else Energy.sequence([self.reduced, since])

    def total(self, live: Energy, ranks: Ranks) -> Energy:
        """The run's energy as far as this rank knows it without a collective: see :meth:`session`."""
        return self.after(self.session(live, ranks))

    def state(self, live: Energy, ranks: Ranks, session: dict[str, Any] | None = None) -> dict[str, Any]:
        """The state for a checkpoint.

        Args:
            live: what this rank spent in this session so far.
            ranks: the ranks.
            session: what is known of the session that runs, if one does.
        """
        so_far = self.session(live, ranks)
        running = [] if session is None else [{**session, "outcome": "checkpoint", **so_far.to_plain()}]
        return {
            "version": VERSION,
            "run_id": self.run_id,
            "total": (self.before if session is None else self.after(so_far)).to_plain(),
            "sessions": [*self.sessions, *running],
            "history": [*self.history],
            "accuracy": self.chosen,
            "axis": self.axis,
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
        self.chosen, self.axis = self.chosen or state.get("accuracy"), state.get("axis")
        if run_id == self.run_id and (total.energy_j or 0.0) <= (self.before.energy_j or 0.0):
            return
        self.run_id, self.before, self.sessions, self.history = run_id, total, sessions, history
        self.reduced = self.own_then = NOTHING

    def take_in(self, record: Mapping[str, Any]) -> None:
        """What was spent after the checkpoint, if the record that was left tells of this run and knows more.

        A checkpoint does not know the steps after it. They were spent all the same, whatever becomes of the weights.

        Args:
            record: what lies where this session's record will.
        """
        if record["run_id"] != self.run_id or record["total"] is None:
            return
        total = Energy.from_plain(record["total"])
        if total.energy_j is None or total.energy_j <= (self.before.energy_j or 0.0):
            return
        self.before, self.sessions, self.history = total, [*record["sessions"]], [*record["epochs"]]
        began_unix_s = record["started_unix_s"]
        has_ended = any(row["started_unix_s"] >= began_unix_s for row in self.sessions)
        if not has_ended:  # it was killed before it could say how it ended
            row = {"started_unix_s": began_unix_s, "outcome": "interrupted", "samples": record["samples"]["n"]}
            self.sessions.append({**row, **record["run"]})
            self.note = "An earlier session was killed: what it spent after its last record is not in the total"

    def end_session(self, session: Energy, row: dict[str, Any], ranks: Ranks) -> None:
        """Add a session to what was spent before: all ranks together, or what is known after an exception."""
        if ranks.left:
            session = self.session(session, ranks)
        self.before = self.after(session)
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
