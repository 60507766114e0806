"""The energy of a run over all its sessions: the part that lives on in checkpoints."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from lightning_energy.curves.energy import NOTHING, Energy
from lightning_energy.results.notes import Note
from lightning_energy.results.rows import EpochRow, SessionRow, thinned
from lightning_energy.results.upgrade import VERSION
from lightning_energy.training.left_records import contains, knows_more, relative_place
from lightning_energy.training.lightning_private import saving

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from lightning_energy.ledger.ranks import Ranks
    from lightning_energy.results.figures import Device, Outcome
    from lightning_energy.results.record import Record
    from lightning_energy.scores.metric import Scale
    from lightning_energy.scores.stopping import Reached

__all__ = ["FoundMetric", "RunMemory"]

KILLED = "An earlier session was killed: its energy after its last record or checkpoint is not in the total"
AFTER_CHECKPOINT = (
    "The total is a lower bound: the record of the session that wrote the checkpoint was not found, so that what that "
    "session spent after the checkpoint is not in it. Keep checkpoints in the folder of their run, or give "
    "EnergyCallback(record=…) the place of that record"
)


@dataclass
class FoundMetric:
    """The findings on a run's metric, with which later sessions go on.

    Attributes:
        chosen: the metric that was found to be the accuracy; ``None`` while none was.
        scales: by the name of a metric its scale, as soon as its values tell.
        reference_kwh: the reference of the score where it is the run's own; ``None`` elsewhere, and while unknown.
        reached: the best values so far at the last validations, as they were logged, with the energies until then.
    """

    chosen: str | None = None
    scales: dict[str, Scale] = field(default_factory=dict)
    reference_kwh: float | None = None
    reached: list[Reached] = field(default_factory=list)


@dataclass
class RunMemory:
    """Energy of ``fit`` over sessions: every start or resumption is one.

    Attributes:
        run_id: the name of this run in its checkpoints and records.
        before: energy of earlier sessions, all ranks together.
        sessions: a row per earlier session.
        history: a row per training epoch.
        reduced: energy of this session on all ranks together at its last reduction.
        own_then: energy of this session on this rank at that time.
        notes: remarks on earlier sessions that a reader of the total must know.
        borrowed: true when the last state was not loaded for a ``fit``.
        axis: unit of the axis of the run's curves over energy; ``None`` before the first point.
        found: what was found of the metric.
        is_begun: true when more was done for this run than a search for a learning rate or a batch size.
        record: the file of this run's record; ``None`` where it has none. Checkpoints know the way there.
        searches: the number of ``sessions`` that were but a search of a Tuner.
    """

    run_id: str = field(default_factory=lambda: uuid4().hex)
    before: Energy = NOTHING
    sessions: list[SessionRow] = field(default_factory=list)
    history: list[EpochRow] = field(default_factory=list)
    reduced: Energy = NOTHING
    own_then: Energy = NOTHING
    notes: list[Note] = field(default_factory=list)
    borrowed: bool = False
    axis: str | None = None
    found: FoundMetric = field(default_factory=FoundMetric)
    is_begun: bool = False
    record: Path | None = None
    searches: int = 0
    _accepts: bool = False
    _last: RunMemory | None = None
    _has_ended: bool = field(default=False, compare=False)  # the session that was begun last

    def begin_anew(self, note: Note | None = None) -> None:
        """Forget earlier sessions, for the reason in ``note``."""
        self._become(RunMemory(notes=[note] if note else []))

    def begin_fit(self, *, from_start: bool) -> bool:
        """Begin a ``fit``, of a new run or of this one.

        A ``fit`` from the start of its Trainer is a new run: equal fits of one callback are equal runs. It goes on with
        this run where this one was but searched for, and with the last one where a checkpoint of that is loaded: states
        come later, so that the last run is kept until then. Energy that only the checkpoint of a validation or test
        brought is no part of a new training, either.

        Args:
            from_start: true where the Trainer has trained no step yet.

        Returns:
            True for a new run.
        """
        self._last, self._has_ended = None, False
        is_new = self.borrowed or (from_start and self.is_begun)
        if is_new:
            last = None if self.borrowed else replace(self)
            self.begin_anew()
            self._last, self.borrowed = last, False
        return is_new

    def _become(self, other: RunMemory) -> None:
        """Take over the run of another memory; which states are taken, and where the record goes, does not change."""
        names = {f.name for f in fields(self)} - {"borrowed", "record", "_accepts"}
        self._change(**{name: getattr(other, name) for name in names})

    def _change(self, **values: Any) -> None:
        """Change several attributes at once: a signal handler that saves a checkpoint sees all of them, or none."""
        self.__dict__.update(values)

    def refuse(self) -> None:
        """Take no state until :meth:`decide` says so."""
        self._accepts = False

    def decide(self, *, is_fit: bool, is_training: bool) -> None:
        """Decide on the state that comes next.

        ``test(ckpt_path=…)`` after ``fit`` must not undo the figures of fit; a search (learning rate, batch size)
        that restores its own checkpoint in the middle of a run must not, either.

        Args:
            is_fit: true when the state is loaded for a ``fit``.
            is_training: true when the training is under way.
        """
        self._accepts = not is_training and (is_fit or self.before == NOTHING)
        if self._accepts:  # a state that is refused does not change the origin of the last one
            self.borrowed = not is_fit

    @property
    def accepts(self) -> bool:
        """True when the next state counts."""
        return self._accepts

    @property
    def has_ended(self) -> bool:
        """True once the session that was begun last is one of those before."""
        return self._has_ended

    def after(self, session: Energy) -> Energy:
        """The run's energy: earlier sessions, and this one."""
        return session if self.before == NOTHING else Energy.sequence([self.before, session])

    def own(self, live: Energy, ranks: Ranks) -> Energy:
        """This rank's part of the run's energy: of this session, and on rank zero of earlier sessions, too."""
        return self.after(live) if ranks.is_zero else live

    def remember(self, session: Energy, live: Energy) -> None:
        """Keep the result of a reduction of this session over ranks, and this rank's part of it."""
        self._change(reduced=session, own_then=live)

    def session(self, live: Energy, ranks: Ranks) -> Energy:
        """This session's energy as far as this rank knows it without a collective.

        With several ranks that is the energy of all at the last reduction, and of this rank since then; the energy of
        the others since then is missing.
        """
        others = ranks.size + ranks.left - 1
        if others == 0:
            return live
        since = _since(self.own_then, live, others)
        return since if self.reduced == NOTHING else Energy.sequence([self.reduced, since])

    def total(self, live: Energy, ranks: Ranks) -> Energy:
        """The run's energy as far as this rank knows it without a collective: see :meth:`session`."""
        return self.after(self.session(live, ranks))

    def state(
        self,
        live: Energy,
        ranks: Ranks,
        *,
        started_unix_s: float | None = None,
        between: Energy | None = None,
        devices: Sequence[Device] = (),
    ) -> dict[str, Any]:
        """The state for a checkpoint.

        Args:
            live: energy of this session on this rank so far.
            ranks: the ranks.
            started_unix_s: beginning of the session that runs, if one does. Once ended, it is one of those before.
            between: the part of ``live`` that is in no row of its epochs; ``None`` unknown.
            devices: the devices of all ranks; empty where they are not known.
        """
        so_far = self.session(live, ranks)
        running = []
        if started_unix_s is not None and not self._has_ended:
            running = [SessionRow(started_unix_s, "checkpoint", so_far, between=between, devices=tuple(devices))]
        place = relative_place(self.record, saving()[1])
        return {
            "version": VERSION,
            "run_id": self.run_id,
            "total": (self.after(so_far) if running else self.before).to_plain(),
            "sessions": [row.to_plain() for row in (*self.sessions, *running)],
            "history": [row.to_plain() for row in self.history],
            "notes": [{"kind": note.kind, "text": note.text} for note in self.notes],
            "accuracy": self.found.chosen,
            "axis": self.axis,
            "scales": {**self.found.scales},
            "reference_kwh": self.found.reference_kwh,
            **({"reached": [[*row] for row in self.found.reached]} if self.found.reached else {}),
            **({} if place is None else {"record": place}),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Set (never add) the energy of earlier sessions.

        A checkpoint of this very run, from which this process has gone on meanwhile, knows less than this memory. The
        energy after it stays spent, whatever becomes of the weights.

        Raises:
            ValueError: the state was written by a newer version, or is damaged.
        """
        # all that reads records comes with it, which setup has loaded where there is a run
        from lightning_energy.training.run_state import read_state  # noqa: PLC0415

        read = read_state(state)
        run_id, total, axis = read.run_id, read.total, read.axis
        if self._last is not None and run_id == self._last.run_id:
            self._become(self._last)
        own = self.found
        kept = own if run_id == self.run_id else FoundMetric()  # else it was another run's
        found = FoundMetric(
            own.chosen or read.chosen,
            read.scales | own.scales,
            kept.reference_kwh or read.reference_kwh,
            kept.reached or read.reached,
        )
        if run_id == self.run_id and (total.energy_j or 0.0) <= (self.before.energy_j or 0.0):
            self._change(axis=axis, found=found)
            return
        self._change(
            run_id=run_id,
            before=total,
            sessions=read.sessions,
            history=read.history,
            notes=read.notes,
            reduced=NOTHING,
            own_then=NOTHING,
            axis=axis,
            found=found,
            is_begun=True,
            searches=0,
        )

    def take_in(self, records: Iterable[Record]) -> None:
        """Add the energy after the checkpoint, from the record of this run that knows most.

        A checkpoint does not know the steps after it. They were spent all the same, whatever becomes of the weights.
        Where no record knows them, a note says that the total is a lower bound.

        Args:
            records: those that were found where the checkpoint says, and where this session's will lie.
        """
        known = [r for r in records if r.run_id == self.run_id and contains(r, self.sessions)]
        spent = self.before
        record = max(known, key=lambda r: (r.total or NOTHING).duration_s, default=None)
        went_on = bool(self.sessions) and self.sessions[-1].outcome == "checkpoint"
        if record is None or record.total is None or not knows_more(record, spent.energy_j, spent.duration_s):
            if went_on:
                is_killed = record is not None and not record.has_ended
                note = Note("killed_session", KILLED) if is_killed else Note("after_checkpoint", AFTER_CHECKPOINT)
                self._add_notes([note])
            return
        started_unix_s = self.sessions[-1].started_unix_s if went_on else record.started_unix_s
        sessions, notes = [*record.sessions], [note for note in record.notes if note.is_of_earlier_sessions]
        if record.metric is not None and record.metric.scale == "percent":
            self.found.scales.setdefault(record.metric.name, "percent")  # shown by a value after the checkpoint
        if not record.has_ended:  # it was killed before it could say how it ended
            started_unix_s = max(started_unix_s, record.started_unix_s)
            devices = tuple(record.devices if record.report.has_all_devices else ())
            row = SessionRow(started_unix_s, "interrupted", record.session, record.samples.n, devices=devices)
            sessions.append(row)
            notes.append(Note("killed_session", KILLED))
        notes = [*dict.fromkeys((*self.notes, *notes))]
        self._change(before=record.total, sessions=thinned(sessions), history=[*record.epochs], notes=notes)

    def _add_notes(self, notes: Iterable[Note]) -> None:
        self.notes = [*dict.fromkeys((*self.notes, *notes))]

    def end_session(
        self,
        session: Energy,
        ranks: Ranks,
        *,
        started_unix_s: float,
        outcome: Outcome,
        samples: int | None,
        is_search: bool = False,
        between: Energy | None = None,
        devices: Sequence[Device] = (),
    ) -> None:
        """Add a session to those before: its energy on all ranks, or as far as it is known after an exception.

        Args:
            session: its energy.
            ranks: the ranks.
            started_unix_s: its beginning.
            outcome: its end.
            samples: samples that were trained on; ``None`` when not known.
            is_search: true where a search was all of it, and the training is yet to come.
            between: the part of its energy that is in no row of its epochs; ``None`` unknown.
            devices: the devices of all ranks; empty where they are not known.
        """
        if ranks.left:
            session = self.session(session, ranks)
        row = SessionRow(started_unix_s, outcome, session, samples, between, tuple(devices))
        self._change(
            before=self.after(session),
            sessions=thinned([*self.sessions, row]),
            reduced=NOTHING,
            own_then=NOTHING,
            is_begun=self.is_begun or not is_search,
            searches=self.searches + is_search,
            _last=None,
            _has_ended=True,
        )


def _since(then: Energy, now: Energy, others: int) -> Energy:
    """The energy of one rank between two moments, with the time of the other ranks as missing."""
    duration_s = max(now.duration_s - then.duration_s, 0.0)
    missing_s = max(now.missing_s - then.missing_s, 0.0) + others * duration_s
    if now.energy_j is None:
        return Energy(None, 0.0, 0.0, duration_s, missing_s, "missing")
    energy_j = max(now.energy_j - (then.energy_j or 0.0), 0.0)
    gain_u = math.sqrt(max(now.u_absolute_j**2 - now.u_j**2, 0.0)) / now.energy_j if now.energy_j else 0.0
    u_absolute_j = math.hypot(now.u_j, gain_u * energy_j)
    power_w = energy_j / duration_s if duration_s > 0 else None
    return Energy(energy_j, now.u_j, u_absolute_j, duration_s, missing_s, now.quality, power_w)
