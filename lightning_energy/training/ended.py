"""The cause that ended a training before its limit: a callback of this package, or an exception."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from lightning.pytorch import Callback
from lightning.pytorch.utilities import rank_zero_only

from lightning_energy.meters.user_line import warn_at_user
from lightning_energy.results.notes import Note
from lightning_energy.results.readable import one_line
from lightning_energy.training.lightning_private import saving
from lightning_energy.training.one_trainer import HOOKS, Others, is_at_work

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lightning.pytorch import Trainer

__all__ = ["EndsTraining", "by_callbacks", "by_exception"]

LONGEST = 300  # letters of an exception's text


class EndsTraining(Callback):
    """A callback that may end a training, of one Trainer at a time.

    Attributes:
        reason: the reason why it ended the last ``fit``, with its figures; empty while it did not.
    """

    reason: str = ""

    def __init__(self) -> None:
        super().__init__()
        self._begin_life()

    def _begin_life(self) -> None:
        self._others = Others(HOOKS)
        self._first: weakref.ref[Trainer] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """All but what belongs to a Trainer."""
        drop = {"log", "log_dict", "_others", "_first", *HOOKS}
        return {name: value for name, value in self.__dict__.items() if name not in drop}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin_life()

    def _refuses(self, trainer: Trainer) -> bool:
        """Refuse a Trainer, aloud, while another one with this callback is at work."""
        first = None if self._first is None else self._first()
        if first in {None, trainer} or not is_at_work(first):
            self._first = weakref.ref(trainer)
            self._others.accept(self, trainer)
            return False
        self._others.refuse(self, trainer)
        name = type(self).__name__
        rank_zero_only(warn_at_user)(
            f"{name} is at work in another Trainer, and ends that one alone: give each Trainer one of its own"
        )
        return True

    def refuse_state(self) -> None:
        """Take no state from the checkpoint that is loaded; callbacks that take one decide by themselves."""

    def _is_saved_by_other(self) -> bool:
        """True while a checkpoint of a Trainer is written that this callback does not end."""
        return saving()[0] in self._others


def by_callbacks(callbacks: Iterable[Callback]) -> list[Note]:
    """Notes on those callbacks of a Trainer that ended its training."""
    ended = [c for c in callbacks if isinstance(c, EndsTraining) and c.reason]
    return [Note("ended", f"Ended by {type(c).__name__}: {c.reason}") for c in ended]


def by_exception(error: BaseException) -> Note:
    """A note on an exception that ended a training.

    Example:
        >>> by_exception(ValueError("no such file")).text, by_exception(KeyboardInterrupt()).text
        ('Ended by ValueError: no such file', 'Ended by KeyboardInterrupt')
    """
    try:
        text = one_line(str(error))
    except Exception:  # noqa: BLE001 - whatever its own method raises
        text = ""
    short = text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
    return Note("ended", f"Ended by {type(error).__name__}{f': {short}' if short else ''}")
