"""Work that nobody waits for, done in order by a thread of its own: records and traces of a run that goes on."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Later"]

END_S = 2.0  # longest wait for a disk that hangs, once nobody asks for what is written


class Later:
    """Does work in order, of each kind only the last that was asked for, in a daemon thread.

    The thread begins with the first work, or before, where whoever asks for that is in a hurry.

    Where no thread can be had, the work is done at once.

    Example:
        >>> later, done = Later(), []
        >>> later.do("record", lambda: done.append("written"))
        >>> later.flush()
        >>> done
        ['written']
        >>> later.close()
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: dict[str, Callable[[], None]] = {}
        self._is_at_work = self._ended = False
        self._failure: Exception | None = None
        self._thread: threading.Thread | None = None
        self._pid = os.getpid()

    @property
    def is_busy(self) -> bool:
        """True while some work is not done."""
        return bool(self._waiting) or self._is_at_work

    def begin(self) -> None:
        """Begin the thread."""
        with self._changed:
            self._begin()

    def do(self, kind: str, work: Callable[[], None]) -> None:
        """Have it done soon; what waits of the same kind is not done any more.

        Raises:
            Exception: what the work before has raised.
        """
        self._raise()
        with self._changed:
            if self._begin():
                self._waiting[kind] = work
                self._changed.notify_all()
                return
        work()

    def flush(self) -> None:
        """Wait until all work is done.

        Raises:
            Exception: what it has raised.
        """
        with self._changed:
            while self._is_running and self.is_busy:
                self._changed.wait()
        self._raise()

    def close(self) -> None:
        """Do no more; waits shortly for what is being done. From any thread. Idempotent."""
        with self._changed:
            self._ended = True
            self._waiting.clear()
            self._changed.notify_all()
        if self._is_running and self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(END_S)

    @property
    def _is_running(self) -> bool:
        """True while the thread lives (false in a forked child)."""
        return self._thread is not None and self._thread.is_alive() and self._pid == os.getpid()

    def _begin(self) -> bool:
        """Begin the thread where there is none; false where there can be none."""
        if self._ended or self._pid != os.getpid():
            return False
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="lightning-energy-writer", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # a limit of the system's
                return False
            self._thread = thread
        return self._is_running

    def _raise(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _run(self) -> None:
        while True:
            with self._changed:
                self._is_at_work = False
                self._changed.notify_all()
                while not self._waiting and not self._ended:
                    self._changed.wait()
                if self._ended:
                    return
                work = self._waiting.pop(next(iter(self._waiting)))
                self._is_at_work = True
            try:
                work()
            except Exception as error:  # noqa: BLE001 - raised where more work is asked for
                self._failure = error
            del work  # it holds a session
