"""A thread that books in small pieces, beside the one that polls: neither polls nor the training wait for it."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from lightning_energy.meters.clock import monotonic_ns
from lightning_energy.meters.units import NS

if TYPE_CHECKING:
    from collections.abc import Callable

    from lightning_energy.ledger.booking import Pause

__all__ = ["Booker"]

REST = 4.0  # time between two pieces of the work, in times of the last piece: a fifth of a core at most
LEAST_REST_S = 0.002  # so that two pieces delay different steps, each by little
MOST_REST_S = 0.02


class _EndedError(Exception):
    """The thread was told to end in the middle of a booking, which is given up: nothing of it counts."""


def _nothing() -> None:
    """Prepare nothing."""


class Booker:
    """Calls a function from a daemon thread of its own whenever it is woken.

    Attributes:
        failure: the error that ended the thread; ``None`` without one.

    Args:
        settle: called with a function that it calls between pieces of its work.
        enter: called once in the thread, before anything else.
        foresee: called as ``settle`` is, after :meth:`wake_to_foresee`.

    Example:
        >>> booker = Booker(lambda pause: pause())
        >>> booker.start()
        >>> booker.wake()
        True
        >>> booker.stop(1.0)
        True
    """

    def __init__(
        self,
        settle: Callable[[Pause], None],
        enter: Callable[[], None] | None = None,
        foresee: Callable[[Pause], None] | None = None,
    ) -> None:
        self.failure: BaseException | None = None
        self._settle, self._enter, self._foresee = settle, enter or _nothing, foresee or settle
        self._is_to_foresee = self._is_to_settle = False
        self._ended = False
        self._begun_s = 0.0
        self._alarm = threading.Lock()  # held while there is nothing to do
        self._alarm.acquire()
        self._thread = threading.Thread(target=self._run, name="lightning-energy-booker", daemon=True)

    @property
    def is_current(self) -> bool:
        """True in its own thread."""
        return threading.current_thread() is self._thread

    @property
    def is_running(self) -> bool:
        """True while the thread lives (false in a forked child)."""
        return self._thread.is_alive() and not self._ended

    def start(self) -> None:
        """Begin. Where no thread can be started, :meth:`wake` says so."""
        try:
            self._thread.start()
        except RuntimeError:  # a limit of the system's: whoever wakes it has to settle
            self._ended = True

    def wake(self) -> bool:
        """Let it settle, now or once more when it is at it; false where nobody would.

        Raises:
            BaseException: the error that ended the thread.
        """
        if self.failure is not None:
            raise self.failure
        if not self.is_running:
            return False
        self._is_to_settle = True
        self._let_go()
        return True

    def wake_to_foresee(self) -> None:
        """Let it foresee, now or when it has settled, and settle then where it was woken for that, too."""
        self._is_to_foresee = True
        self._let_go()

    def end(self) -> None:
        """Settle no more, and give up what is under way; waits for nothing, so that the thread itself may call it."""
        self._ended = True
        self._let_go()

    def stop(self, timeout_s: float) -> bool:
        """End the thread, and wait for it; true when it has ended. Idempotent."""
        self.end()
        if self._thread.ident is not None and not self.is_current:  # else the garbage collector came by in the thread
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._enter()
            while not self._is_over():
                self._alarm.acquire()
                if self._is_over():
                    return
                self._begun_s = monotonic_ns() * NS
                if self._is_to_foresee:
                    self._is_to_foresee = False  # first: whoever wakes it meanwhile wants it once more
                    self._foresee(self._pause)
                if self._is_to_settle:
                    self._is_to_settle = False
                    self._settle(self._pause)
        except _EndedError:
            pass
        except BaseException as error:  # noqa: BLE001 - raised where it is woken next; the training goes on
            self.failure = error

    def _let_go(self) -> None:
        with suppress(RuntimeError):  # another thread has woken it
            self._alarm.release()

    def _is_over(self) -> bool:
        """Read the flag anew: another thread may have set it meanwhile, which a type checker does not expect."""
        return self._ended

    def _pause(self) -> None:
        """Give up the interpreter's lock for longer than it was held: others would else wait for all of the work."""
        took_s = monotonic_ns() * NS - self._begun_s
        time.sleep(min(max(REST * took_s, LEAST_REST_S), MOST_REST_S))
        if self._is_over():
            raise _EndedError
        self._begun_s = monotonic_ns() * NS
