"""Exceptions of the user's signal handlers, which pass through our work as through the user's own."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["forgive", "raised_by_handler"]


def raised_by_handler(error: BaseException) -> bool:
    """True for an exception that a signal handler raised in the middle of other work, which has no fault then.

    Python calls a handler with the frame that it interrupts, below which it stands in the traceback.

    Example:
        >>> import signal
        >>> def refuse(number, frame):
        ...     raise TimeoutError("the time is up")
        >>> before = signal.signal(signal.SIGINT, refuse)
        >>> try:
        ...     signal.raise_signal(signal.SIGINT)
        ... except TimeoutError as error:
        ...     raised_by_handler(error)
        ... finally:
        ...     _ = signal.signal(signal.SIGINT, before)
        True
        >>> raised_by_handler(TimeoutError("of a socket"))
        False
    """
    outer: set[int] = set()
    traceback = error.__traceback__
    while traceback is not None:
        frame = traceback.tb_frame
        if any(id(value) in outer for value in frame.f_locals.values()):
            return True
        outer.add(id(frame))
        traceback = traceback.tb_next
    return False


class forgive(suppress):  # noqa: N801 - as suppress
    """Suppress exceptions of these types, but those of the user's signal handlers.

    Example:
        >>> with forgive(ValueError):
        ...     int("seven")
    """

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        """Return true for one that goes no further."""
        return super().__exit__(kind, error, traceback) and not (error is not None and raised_by_handler(error))
