"""Forks of this process, which wait until nothing of ours multiplies matrices in the background.

Before a fork, OpenBLAS ends its threads, and NumPy's wheels have it. A product that another thread waits for at that
moment is lost: the thread waits for ever, and so does whoever multiplies next, or the fork itself. A training that
starts the workers of a DataLoader while its joules are shared out would hang.
"""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lightning_energy.ledger.booking import Pause

__all__ = ["without_forks"]

PATIENCE_S = 2.0  # longest wait of a fork: a piece of the work takes milliseconds


class _Forks:
    """Lets forks wait while somebody works."""

    def __init__(self) -> None:
        self.turn = threading.Lock()  # held by who works, but for pauses, and by who forks
        self._forking: int | None = None  # the thread that holds it to fork

    def begin(self) -> None:
        """Wait for the end of a piece, but not for ever."""
        if self.turn.acquire(timeout=PATIENCE_S):
            self._forking = threading.get_ident()

    def end(self) -> None:
        """Let the work go on."""
        if self._forking == threading.get_ident():
            self._forking = None
            self.turn.release()

    def begin_anew(self) -> None:
        """Forget whoever worked, in a forked child: it is not there."""
        self.turn, self._forking = threading.Lock(), None


_forks = _Forks()

if hasattr(os, "register_at_fork"):  # not on Windows, where nothing is forked
    os.register_at_fork(before=_forks.begin, after_in_parent=_forks.end, after_in_child=_forks.begin_anew)


@contextmanager
def without_forks(pause: Pause, *, is_background: bool = True) -> Iterator[Pause]:
    """Work in the background, with no fork but in pauses. Those of two threads work by turns.

    Args:
        pause: called between pieces of the work.
        is_background: false where the training may wait for the work, which takes no turn then: it does not fork now,
            and a signal handler may raise anywhere in it.

    Yields:
        The same, to be called in its stead.

    Example:
        >>> with without_forks(lambda: print("a fork may come now")) as pause:
        ...     pause()
        a fork may come now
    """
    if not is_background:
        yield pause
        return

    def let_fork() -> None:
        turn.release()
        try:
            pause()
        finally:
            turn.acquire()

    turn = _forks.turn
    with turn:
        yield let_fork
