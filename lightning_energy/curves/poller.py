"""One thread that polls its share of the meters when their registers are expected to move."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, TypeAlias

from lightning_energy.meters.clock import monotonic_ns
from lightning_energy.meters.units import NS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lightning_energy.curves.channel import Channel
    from lightning_energy.meters.base import Meter

__all__ = ["Poller"]

TOGETHER_NS = 300_000  # time ahead within which other devices are polled along with the one that is due
SETTLE_NS = 500_000_000  # time between two bookings of the ledger
FIRST_SETTLE_NS = 100_000_000  # time until the first booking, as a run may be short
NO_THREAD = "raise the limit of threads and processes (ulimit -u, or that of the container or job)"
FULL_CHANNELS = 4  # number of channels up to which that time does not grow

Call: TypeAlias = "tuple[Channel, int]"
"""A call of a meter under way: its channel, and when it began."""


class Settling:
    """The times at which the ledger is settled: soon at first, as a run may be short.

    Args:
        settle: settles it.
    """

    def __init__(self, settle: Callable[[], None]) -> None:
        self.settle = settle
        self._last_ns = monotonic_ns()
        self._after_ns = FIRST_SETTLE_NS

    def is_due(self, now_ns: int, channels: int) -> bool:
        """Return true, once, when it is time."""
        if now_ns - self._last_ns <= self._after_ns:
            return False
        most_ns = max(SETTLE_NS * channels // FULL_CHANNELS, SETTLE_NS)
        self._last_ns, self._after_ns = now_ns, min(2 * self._after_ns, most_ns)
        return True


class Poller:
    """Polls channels from one daemon thread until it is told to end.

    A read that hangs holds up this thread only: :meth:`leave` takes the other channels away from it.

    Args:
        channels: the channels to poll.
        lock: guards the curves and the ledger.
        settle: called now and then, after knots were added; ``None`` where another thread does.
        enter: called once in the thread, before anything else.

    Attributes:
        channels: see there; the thread heeds a change at its next poll.
        call: the call of a meter under way; ``None`` between two.
        beat_ns: time of the last sign of life.
        cpu_s: CPU time that the thread took, in seconds, as of its last settling.
        failure: the error that ended the thread; ``None`` without one.
        has_begun: set once every channel was polled, or the thread has ended.
        is_following: true while a helper process reads in its stead.
    """

    is_following = False

    def __init__(
        self,
        channels: Sequence[Channel],
        lock: threading.RLock,
        settle: Callable[[], None] | None,
        enter: Callable[[], None] | None = None,
    ) -> None:
        self.channels = [*channels]
        self.call: Call | None = None
        self.beat_ns = monotonic_ns()
        self._has_answer = False  # of a meter, which is to be put on its curve
        self.cpu_s = 0.0
        self.failure: BaseException | None = None
        self.has_begun = threading.Event()
        self._lock, self._enter = lock, enter
        self._settle = None if settle is None else Settling(settle)
        self._turn = threading.RLock()  # held while a call is begun, and while channels are taken away
        self._ended = False
        self._orphan: Meter | None = None  # to be closed by the thread, as nobody else may
        self._alarm = threading.Lock()  # held while the thread is to go on; waking from an Event takes twice as long
        self._alarm.acquire()
        self._thread = threading.Thread(target=self._run, name="lightning-energy-sampler", daemon=True)

    def start(self) -> None:
        """Begin to poll. Where no thread can be started, :attr:`failure` says so."""
        try:
            self._thread.start()
        except RuntimeError as error:  # a limit of the system's; the training goes on
            self.failure = RuntimeError(f"no thread can be started ({error}): {NO_THREAD}")
            self.has_begun.set()

    @property
    def is_current(self) -> bool:
        """True in this poller's own thread."""
        return threading.current_thread() is self._thread

    @property
    def is_running(self) -> bool:
        """True while the thread lives (false in a forked child)."""
        return self._thread.is_alive()

    @property
    def settles(self) -> bool:
        """True where this thread has the ledger settled."""
        return self._settle is not None

    def silent_ns(self, now_ns: int) -> int:
        """Time since the last sign of life; 0 while it waits for the lock with an answer to be put on a curve."""
        return 0 if self._has_answer else now_ns - self.beat_ns

    def wake(self) -> None:
        """Let the thread look anew at its work."""
        if self._alarm.locked():
            self._alarm.release()

    def end(self) -> None:
        """Make no more polls; waits for nothing, so that the thread itself may call it."""
        self._ended = True

    def ask(self) -> None:
        """Have put on the curves soon what was read already: all is, but where a helper reads."""

    def take_news(self) -> None:
        """Put on the curves what has come of a helper's news."""

    def catch_up(self, timeout_s: float) -> bool:  # noqa: ARG002 - for a helper
        """Wait until everything that was read by now is on the curves; true when it is."""
        return True

    def take_back(self) -> None:
        """Let the thread read the meters itself from now on, as it always does where there is no helper."""

    def cut(self) -> None:
        """Wait no more for what a helper has to say, after :meth:`take_back`."""

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread to end; true when it has."""
        if self._thread.ident is not None:  # it was started
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def leave(self, call: Call) -> list[Channel]:
        """Keep the channel of a call that is still under way, and give up the others and the settling.

        Returns:
            The others; none when the call has returned.
        """
        with self._turn:
            if self.call is not call:
                return []
            others = [c for c in self.channels if c is not call[0]]
            self.channels, self._settle = [call[0]], None
            return others

    def disown(self) -> Meter | None:
        """Leave the meter whose read hangs to the thread, which closes it when the read returns.

        Returns:
            That meter; ``None`` when no read is under way.
        """
        with self._turn:
            if self.call is None or self.is_current or not self.is_running:
                return None
            self._orphan = self.call[0].meter
            return self._orphan

    def _run(self) -> None:
        try:
            if self._enter is not None:
                self._enter()
            self._loop()
        except BaseException as error:  # noqa: BLE001 - reported at the next epoch; the training goes on
            self.failure = error
        finally:
            self.has_begun.set()
            with self._turn:
                self.call = None
                orphan = self._orphan
            if orphan is not None:
                with suppress(Exception):  # nobody reads it any more
                    orphan.close()

    def _is_over(self) -> bool:
        """Read the flag anew: another thread may have set it meanwhile, which a type checker does not expect."""
        return self._ended

    def _loop(self) -> None:
        now_ns = monotonic_ns()
        while True:
            is_woken = self._rest(self._latest_ns() - now_ns)
            if self._is_over():
                return
            now_ns = monotonic_ns()
            if is_woken:
                continue
            together_ns = now_ns + TOGETHER_NS
            while (channel := self._due_by(together_ns)) is not None:
                now_ns = self._poll(channel, now_ns)
                if self._is_over():  # while this thread hung in the call
                    return
            if not self.has_begun.is_set():
                self.has_begun.set()
            now_ns = self._settle_by(now_ns)

    def _rest(self, wait_ns: int) -> bool:
        """Sleep until a poll is due; true where the thread is to look anew before it polls."""
        return wait_ns > TOGETHER_NS and self._alarm.acquire(timeout=wait_ns * NS)

    def _settle_by(self, now_ns: int) -> int:
        """Settle if it is time; the moment after that."""
        if self._settle is None or not self._settle.is_due(now_ns, len(self.channels)):
            return now_ns
        self._settle.settle()
        self.cpu_s = time.thread_time()
        return monotonic_ns()

    def _latest_ns(self) -> int:
        """The moment by which one of the channels has to be polled."""
        latest_ns = sys.maxsize
        for channel in self.channels:
            plan = channel.plan
            latest_ns = min(latest_ns, plan.due_ns + plan.slack_ns)
        return latest_ns

    def _due_by(self, time_ns: int) -> Channel | None:
        """The channel that has waited for its poll the longest; ``None`` if none wants one by a moment."""
        first = None
        for channel in self.channels:
            due_ns = channel.plan.due_ns
            if due_ns <= time_ns:
                first, time_ns = channel, due_ns
        return first

    def _poll(self, channel: Channel, now_ns: int) -> int:
        """Poll a channel, if it was not taken away meanwhile; the moment after that."""
        with self._turn:
            if channel not in self.channels:
                return now_ns
            self.call = (channel, now_ns)
        channel.poll(self._lock, self._answered)
        self._has_answer, self.call, self.beat_ns = False, None, monotonic_ns()
        return self.beat_ns

    def _answered(self) -> None:
        """Note that a call has returned: what waits for our own lock does not hang in a meter."""
        self._has_answer, self.beat_ns = True, monotonic_ns()
        self.call = None
