"""One callback in several Trainers at once: the first is measured, the others are told that they are not."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, Protocol

from lightning.pytorch import Callback

from lightning_energy.curves.energy import NOTHING
from lightning_energy.ledger.ranks import Ranks
from lightning_energy.results.notes import Note
from lightning_energy.training.run_memory import RunMemory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning.pytorch import Trainer

__all__ = ["HOOKS", "MIXED", "REFUSED", "Others", "is_at_work", "state_of_refused"]

HOOKS = [*(name for name in dir(Callback) if name.startswith("on_")), "teardown"]
"""The hooks of a callback that get a Trainer, but for ``setup``, which decides."""

REFUSED = (
    "EnergyCallback is at work in another Trainer: what this one spends is not measured as a run of its own, and has "
    "no report and no record. It is in the energy of that Trainer, as far as the same devices spend it. Give each "
    "Trainer an EnergyCallback of its own"
)
MIXED = "Another Trainer ran with the same EnergyCallback for a while: what it spent meanwhile is in this energy"
UNMEASURED = (
    "The energy of earlier sessions is not known, and not in the total: they were not measured, as their "
    "EnergyCallback was at work in another Trainer"
)


def is_at_work(trainer: Trainer | None) -> bool:
    """True while a Trainer works, and will come to the end of a run."""
    return trainer is not None and not trainer.state.stopped


class _Hooked(Protocol):
    """A callback, as far as its hooks need it."""

    def refuse_state(self) -> None:
        """Take no state from the checkpoint that is loaded."""


class _OfFirst:
    """A hook as an attribute of an object that several Trainers have: it does nothing for those that are refused."""

    def __init__(self, callback: _Hooked, name: str, refused: weakref.WeakSet[Trainer]) -> None:
        self._callback, self._name, self._refused = callback, name, refused

    def __call__(self, trainer: Trainer, *args: Any, **kwargs: Any) -> Any:
        if trainer not in self._refused:
            return getattr(type(self._callback), self._name)(self._callback, trainer, *args, **kwargs)
        if self._name == "on_load_checkpoint":
            self._callback.refuse_state()  # that follows
        return None


class Others:
    """The Trainers that a callback is in while it measures another one.

    Args:
        hooks: the names of the hooks that get a Trainer.
    """

    def __init__(self, hooks: Sequence[str]) -> None:
        self._hooks = hooks
        self._refused: weakref.WeakSet[Trainer] = weakref.WeakSet()

    def __contains__(self, trainer: object) -> bool:
        return trainer in self._refused

    def refuse(self, callback: _Hooked, trainer: Trainer) -> None:
        """Let the hooks of a callback do nothing for a Trainer."""
        self._refused.add(trainer)
        self._watch(callback)

    def accept(self, callback: _Hooked, trainer: Trainer) -> None:
        """Let a Trainer, which may have been refused before, be measured."""
        self._refused.discard(trainer)
        self._watch(callback)

    def _watch(self, callback: _Hooked) -> None:
        """Heed the Trainers that are refused, while one of them works: the hooks cost a little more then."""
        self.unwatch(callback)
        if any(map(is_at_work, [*self._refused])):
            for name in self._hooks:
                callback.__dict__[name] = _OfFirst(callback, name, self._refused)

    def unwatch(self, callback: _Hooked) -> None:
        """Leave the hooks to the class again."""
        for name in self._hooks:
            if isinstance(callback.__dict__.get(name), _OfFirst):
                del callback.__dict__[name]


def state_of_refused() -> dict[str, Any]:
    """The state for a checkpoint of a Trainer that is not measured."""
    return RunMemory(notes=[Note("unknown_before", UNMEASURED)]).state(NOTHING, Ranks())
