"""The cause that ended a training before its limit: a callback of this package, or an exception."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightning.pytorch import Callback

from lightning_energy.results.notes import Note
from lightning_energy.results.readable import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["EndsTraining", "by_callbacks", "by_exception"]

LONGEST = 300  # letters of an exception's text


class EndsTraining(Callback):
    """A callback that may end a training.

    Attributes:
        reason: the reason why it ended the last ``fit``, with its figures; empty while it did not.
    """

    reason: str = ""


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
