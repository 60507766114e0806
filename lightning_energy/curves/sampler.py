"""The one thread: it polls the meters when their registers are expected to move."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from lightning_energy.meters.units import NS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lightning_energy.curves.channel import Channel

__all__ = ["Sampler"]

FULL_CHANNELS = 4  # largest number of channels whose every edge is hunted
TOGETHER_S = 0.0003  # time ahead within which other devices are polled along with the one that is due
SETTLE_S = 0.5  # time between two bookings of the ledger
FIRST_SETTLE_S = 0.1  # time until the first booking, as a run may be short
HUNG_S = 2.0  # longest wait, at the end, for a call that hangs
HUNG_BEATS = 10  # longest time without a poll of a sampler that does not hang, in multiples of ``HUNG_S``
LAST_POLLS = 5  # most polls, at the end, of a register that moves at any poll
LAST_POLL_S = 0.001  # time between two of these polls
NO_THREAD = "raise the limit of threads and processes (ulimit -u, or that of the container or job)"
LOOK_S = 0.002  # time between two looks at the ends of the curves


class Sampler:
    """Polls channels from one daemon thread between ``start`` and ``stop``.

    Args:
        channels: the channels to poll.
        settle: called about twice a second from the thread, or less often with many channels, after knots were added.
        lock: guards the curves and the ledger.
        enter: called once in the thread, before anything else.

    Attributes:
        failure: the error that ended the thread, if one did.
    """

    def __init__(
        self,
        channels: Sequence[Channel],
        settle: Callable[[], None],
        lock: threading.RLock | None = None,
        enter: Callable[[], None] | None = None,
    ) -> None:
        self.channels = [*channels]
        self._share_time()
        self.lock = lock or threading.RLock()
        self.failure: BaseException | None = None
        self._settle = settle
        self._enter = enter
        self._ended = False
        self._alarm = threading.Lock()  # held while the thread is to go on; waking from an Event takes twice as long
        self._thread: threading.Thread | None = None
        self._beat_ns = 0
        self._cpu_s = 0.0

    def _share_time(self) -> None:
        """Let channels hunt every edge only while they are few, as they share one thread.

        Registers that move at any poll (RAPL's) do not count; the polls show with time which these are.
        """
        crowd = sum(not c.is_continuous for c in self.channels)
        for channel in self.channels:
            channel.plan.hunts_always = crowd <= FULL_CHANNELS

    @property
    def cpu_s(self) -> float:
        """CPU time that the thread took, in seconds, as of its last settling."""
        return self._cpu_s

    def start(self) -> None:
        """Read every channel once in this thread, then go on in the background."""
        if self._thread is not None or not self.channels:
            return
        for channel in self.channels:
            channel.poll(self.lock)
        self._beat_ns = time.monotonic_ns()
        self._ended, self._alarm = False, threading.Lock()
        self._alarm.acquire()
        thread = threading.Thread(target=self._run, name="lightning-energy-sampler", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # a limit of the system's; the training goes on
            self.failure = RuntimeError(f"no thread can be started ({error}): {NO_THREAD}")
        else:
            self._thread = thread

    def finish(self, time_ns: int, timeout_s: float) -> None:
        """Wait until the counters have moved after ``time_ns``, stop, and look at the other meters once more.

        A thread that hangs in a call, or died, knows nothing of the end: the time after its last knots is missing.
        """
        if self._thread is None:
            self.check(time_ns)
            return
        was_running = self.is_running
        with self.lock:
            for channel in self.channels:
                channel.plan.hurry()
        self._wake()
        self.wait_until_known(time_ns, timeout_s, [c for c in self.channels if not c.is_continuous])
        if not self.stop() or not was_running:
            self._book_silence(time.monotonic_ns(), timeout_s=1.0)
            return
        for channel in self.channels:
            for _ in range(LAST_POLLS if channel.is_continuous else 0):
                channel.poll(self.lock)
                if (channel.curve.end_ns or 0) >= time_ns:
                    break
                time.sleep(LAST_POLL_S)  # its register moves within milliseconds
            with self.lock:
                channel.finish()

    def stop(self) -> bool:
        """End the thread. Idempotent; waits at most two seconds for a call that hangs.

        Returns:
            True when the thread has ended.
        """
        thread, self._thread = self._thread, None
        if thread is None:
            return True
        self.end()
        self._wake()
        if thread is threading.current_thread():  # the garbage collector came by in the thread itself
            return True
        if thread.is_alive():
            thread.join(HUNG_S)
        return not thread.is_alive()

    def end(self) -> None:
        """Make no more polls; waits for nothing, so that the thread itself may call it."""
        self._ended = True

    def _wake(self) -> None:
        """Let the thread look anew at its work."""
        if self._alarm.locked():
            self._alarm.release()

    def _is_over(self) -> bool:
        """Read the flag anew: another thread may have set it meanwhile, which a type checker does not expect."""
        return self._ended

    @property
    def is_in_thread(self) -> bool:
        """True in the sampler's own thread."""
        return threading.current_thread() is self._thread

    @property
    def is_running(self) -> bool:
        """True while the thread lives (false in a forked child)."""
        return self._thread is not None and self._thread.is_alive()

    def wait_until_known(self, time_ns: int, timeout_s: float, channels: Sequence[Channel] | None = None) -> bool:
        """Block until the curves reach ``time_ns``, at most ``timeout_s``.

        Returns:
            True when they reached it.
        """
        waiting = self.channels if channels is None else channels
        deadline_ns = time.monotonic_ns() + round(timeout_s / NS)
        while self.is_running and time.monotonic_ns() < deadline_ns:
            with self.lock:
                if all((c.curve.end_ns or 0) >= time_ns for c in waiting):
                    return True
            time.sleep(LOOK_S)
        return False

    def check(self, now_ns: int) -> None:
        """Book the time of a hung or dead sampler as missing; called rarely, from the training thread."""
        silent = (now_ns - self._beat_ns) * NS > HUNG_BEATS * HUNG_S or not self.is_running
        is_dead = self._thread is None and self.failure is not None  # it never began
        if is_dead or (self._thread is not None and silent):
            self._book_silence(now_ns, timeout_s=0.001)

    def _book_silence(self, now_ns: int, timeout_s: float) -> None:
        if self.lock.acquire(timeout=timeout_s):
            why = "it does not answer" if self.failure is None else "it is not read"
            try:
                for channel in self.channels:
                    channel.stalled(now_ns, why)
                self._settle()
            finally:
                self.lock.release()

    def _run(self) -> None:
        try:
            if self._enter is not None:
                self._enter()
            self._loop()
        except BaseException as error:  # noqa: BLE001 - reported at the next epoch; the training goes on
            self.failure = error

    def _loop(self) -> None:
        settle_ns, settle_s = time.monotonic_ns(), FIRST_SETTLE_S
        plans = [c.plan for c in self.channels]
        most_s = SETTLE_S * max(len(self.channels) / FULL_CHANNELS, 1.0)
        while True:
            wait_s = (min(p.due_ns + p.slack_ns for p in plans) - time.monotonic_ns()) * NS
            is_woken = wait_s > TOGETHER_S and self._alarm.acquire(timeout=wait_s)
            if self._is_over():
                return
            if is_woken:
                continue
            together_ns = time.monotonic_ns() + round(TOGETHER_S / NS)
            due = [c for c in self.channels if c.plan.due_ns <= together_ns]
            for channel in sorted(due, key=lambda c: c.plan.due_ns):
                channel.poll(self.lock)
                self._beat_ns = time.monotonic_ns()
                if self._is_over():  # while this thread hung in the call
                    return
            if (self._beat_ns - settle_ns) * NS > settle_s:
                settle_ns, settle_s = self._beat_ns, min(2.0 * settle_s, most_s)
                self._share_time()
                self._settle()
                self._cpu_s = time.thread_time()
