"""Marks of the phases of training steps, from the actions that a Trainer tells its profiler.

Hooks of callbacks do not separate waiting for a batch from copying it, nor tell when an optimizer's step is over. But
the Trainer names all that it does to its profiler, hooks included. The methods of that profiler are wrapped for the
time of a run: each action that begins or ends a phase leaves a mark, and the profiler sees what it always sees.
"""

from __future__ import annotations

import weakref
from functools import partial
from inspect import signature
from typing import TYPE_CHECKING, Any

from lightning_energy.ledger.accounts import OTHER, SAVING
from lightning_energy.ledger.phases import BACKWARD, COPY, DATA, FORWARD, KINDS, OPTIMIZER
from lightning_energy.ledger.step_marks import marker
from lightning_energy.results.notes import Note
from lightning_energy.training.first_waits import FirstWaitTimer
from lightning_energy.training.lightning_private import Actions, is_by_start_and_stop, is_passed_through, searches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from lightning.pytorch import LightningModule, Trainer

    from lightning_energy.ledger.accounts import Kind
    from lightning_energy.ledger.session import Session
    from lightning_energy.training.first_waits import Mark

__all__ = ["StepPhases"]


REPLACED = Note(
    "phases",
    "Phases: the Trainer's profiler was replaced within an epoch, the rest of which is in other; set it before the fit",
)


class _Action:
    """An action that leaves marks where it begins and ends; one object for all times."""

    __slots__ = ("begin", "end")

    def __init__(self, begin: Callable[[], None], end: Callable[[], None]) -> None:
        self.begin, self.end = begin, end

    def __enter__(self) -> None:
        self.begin()

    def __exit__(self, *_: object) -> None:
        self.end()


class _Around:
    """A context manager of the user's profiler, between the marks of its action."""

    __slots__ = ("action", "inner")

    def __init__(self, action: _Action, inner: Any) -> None:
        self.action, self.inner = action, inner

    def __enter__(self) -> Any:
        self.action.begin()
        return self.inner.__enter__()

    def __exit__(self, *error: object) -> Any:
        try:
            return self.inner.__exit__(*error)
        finally:
            self.action.end()


class _Told:
    """The same around an action as Lightning's own ``profile``, without its generator, which takes a microsecond."""

    __slots__ = ("name", "start", "stop")

    def __init__(self, start: Callable[[str], None], stop: Callable[[str], None], name: str) -> None:
        self.start, self.stop, self.name = start, stop, name

    def __enter__(self) -> str:
        try:
            self.start(self.name)
        except BaseException:
            self.stop(self.name)
            raise
        return self.name

    def __exit__(self, *_: object) -> None:
        self.stop(self.name)


def _around(profile: Callable[[str], Any], actions: Callable[[str], _Action | None]) -> Callable[[str], Any]:
    """A function that gives the context managers of another, between the marks of their actions."""

    def profile_around(action_name: str) -> Any:
        inner, action = profile(action_name), actions(action_name)
        return inner if action is None else _Around(action, inner)

    return profile_around


def _no_mark() -> None:
    """Leave none."""


NOTHING = _Action(_no_mark, _no_mark)


class StepPhases:
    """Watches the actions of a Trainer, and marks the phases of its training steps.

    Attributes:
        remarks: what this training does not let one tell apart.
        first_waits: times the waits for the first batches of epochs.

    Args:
        trainer: the Trainer.
        module: the module that it trains.
        state_key: the name by which the Trainer calls our callback.
    """

    def __init__(self, trainer: Trainer, module: LightningModule, state_key: str) -> None:
        self.first_waits = FirstWaitTimer()
        self._is_manual = not module.automatic_optimization
        self._actions = actions = Actions.of(trainer, module, state_key)
        self._has_scaler = getattr(trainer.precision_plugin, "scaler", None) is not None
        self._begins: dict[str, Callable[[], None]] = {}
        self._ends: dict[str, Callable[[], None]] = {}
        self._both: dict[str, _Action] = {}
        self._trainer = weakref.ref(trainer)
        self._profiler: Any = trainer.profiler  # type: ignore[attr-defined]  # set by a connector
        self._is_in_epoch = False
        self._before: dict[str, Any] = {}
        self._ours: dict[str, Any] = {}
        # a checkpoint may be the beginning of a search, so that its end is none
        self._saving = () if searches(trainer, in_fit=True) else (actions.saving,)
        self._has_iterator = "dataloader_iter" in signature(module.training_step).parameters
        self.remarks = [Note("phases", text) for text in self._not_separable(trainer.world_size)]

    def _not_separable(self, ranks: int) -> Iterator[str]:
        """Sentences about what this training does not let one tell apart."""
        if self._has_iterator:
            yield (
                "Phases: training_step takes its batches itself (dataloader_iter), so that waiting for data and "
                "copying it are part of forward"
            )
        if self._is_manual:
            yield (
                "Phases: with manual optimization, forward is all of training_step but manual_backward and the "
                "optimizers' step"
            )
        if ranks > 1:
            yield "Phases: waiting for slower ranks is part of the phase that waits, mostly of backward"

    def watch(self) -> None:
        """Wrap the profiler."""
        profiler, begins, ends, both = self._profiler, self._begins.get, self._ends.get, self._both.get
        start, stop = profiler.start, profiler.stop

        def start_marked(action_name: str) -> None:
            mark = begins(action_name)
            if mark is not None:
                mark()
            start(action_name)

        def stop_marked(action_name: str) -> None:
            stop(action_name)
            mark = ends(action_name)
            if mark is not None:
                mark()

        def profile_marked(action_name: str) -> _Action:
            return both(action_name, NOTHING)

        wrapped: dict[str, Any] = {"start": start_marked, "stop": stop_marked}
        if is_passed_through(profiler):  # which does nothing, by a context manager that takes a microsecond each time
            wrapped["profile"] = profile_marked
        else:
            inner = partial(_Told, start, stop) if is_by_start_and_stop(profiler) else profiler.profile
            wrapped["profile"] = _around(inner, both)
        for name, function in wrapped.items():
            if name in vars(profiler):
                self._before[name] = vars(profiler)[name]
            setattr(profiler, name, function)
        self._ours = wrapped

    def enter(self, session: Session, epoch: int, gap_code: int, *, apart: bool = False) -> None:
        """Mark phases of the training of this epoch from now on.

        Args:
            session: takes the marks.
            epoch: the epoch.
            gap_code: the account of the rest of the time between steps.
            apart: true to open accounts of their own for what lies between steps.
        """
        self._follow()

        def code(phase: str, kind: Kind) -> int:
            found = session.code(epoch, "train", kind, phase)
            return session.apart(found) if apart and kind == "gap" else found

        marks = {phase: marker(session.inbox, code(phase, kind)) for phase, kind in KINDS.items()}
        between, inside = marker(session.inbox, gap_code), marker(session.inbox, code(OTHER, "step"))
        actions = self._actions
        after_backward = marks[FORWARD] if self._is_manual else marks[OPTIMIZER] if self._has_scaler else inside
        begins = {
            actions.forward: marks[FORWARD],
            actions.before_backward: marks[BACKWARD],
            actions.after_backward: after_backward,
            actions.before_optimizer: marks[OPTIMIZER],
        }
        ends = {actions.automatic_step: inside, actions.manual_step: marks[FORWARD]}
        if self._is_manual:
            begins[actions.manual_step] = marks[OPTIMIZER]
            ends[actions.forward] = inside
        if not self._has_iterator:
            begins |= {actions.data: marks[DATA], actions.copy: marks[COPY]}
            ends |= {actions.data: between, actions.copy: between}
        for name in self._saving:
            begins[name], ends[name] = marks[SAVING], between
        self.leave()
        self._is_in_epoch = epoch >= 0
        self._take(begins, ends)
        if actions.data in begins:
            self._time_first(epoch, begins[actions.data], ends[actions.data], session.inbox[1])

    def _take(self, begins: Mapping[str, Mark], ends: Mapping[str, Mark]) -> None:
        """Leave these marks at the beginnings and ends of actions."""
        self._begins.update(begins)
        self._ends.update(ends)
        self._both.update(
            {name: _Action(begins.get(name, _no_mark), ends.get(name, _no_mark)) for name in {**begins, **ends}}
        )

    def _time_first(self, epoch: int, begin: Mark, end: Mark, clock: Callable[[], int]) -> None:
        """Take the time of an epoch's first wait alone, beside its marks."""
        name = self._actions.data
        marks = self.first_waits.marks(epoch, begin, end, clock, lambda: self._take({name: begin}, {name: end}))
        if marks is not None:
            self._take({name: marks[0]}, {name: marks[1]})

    def leave(self) -> None:
        """Leave no marks any more."""
        if self._is_in_epoch and self._profiler_now is not self._profiler and REPLACED not in self.remarks:
            self.remarks.append(REPLACED)
        self._is_in_epoch = False
        for table in (self._begins, self._ends, self._both):
            table.clear()

    @property
    def _profiler_now(self) -> Any:
        """The Trainer's profiler, which may be another one by now."""
        trainer = self._trainer()
        return self._profiler if trainer is None else trainer.profiler  # type: ignore[attr-defined]  # same

    def _follow(self) -> None:
        """Wrap the Trainer's profiler instead of the one before, if it was replaced."""
        profiler = self._profiler_now
        if profiler is not self._profiler and self._ours:
            self.close()
            self._profiler = profiler
            self.watch()

    def close(self) -> None:
        """Give the profiler back as it was. Idempotent."""
        self.leave()
        there = vars(self._profiler)
        for name, function in self._ours.items():
            if there.get(name) is function:  # else somebody wrapped it once more: ours does nothing by now
                delattr(self._profiler, name)
                if name in self._before:
                    setattr(self._profiler, name, self._before[name])
        self._ours, self._before = {}, {}
