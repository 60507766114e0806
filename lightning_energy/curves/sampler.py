"""Polls the meters in the background: one thread for all of them, and one more for each whose read hangs."""

from __future__ import annotations

import math
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from lightning_energy.curves.call_budget import PROCESS
from lightning_energy.curves.follower import Follower, may_be_followed
from lightning_energy.curves.poller import FULL_CHANNELS, Poller
from lightning_energy.curves.readings import LONGEST_READ_S, not_returned
from lightning_energy.meters.clock import monotonic_ns
from lightning_energy.meters.units import NS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from lightning_energy.curves.channel import Channel
    from lightning_energy.curves.poller import Call
    from lightning_energy.meters.base import Meter

__all__ = ["Sampler"]

HUNG_S = 2.0  # longest wait, at the beginning and at the end, for a call that hangs
SILENT_S = 20.0  # longest time without a poll of a sampler that does not hang
GUARD_S = 0.4  # time after which the other meters no longer wait for a call: no power sensor misses a second by it
LAST_POLLS = 5  # most polls, at the end, of what moves at any poll
LAST_POLL_S = 0.001  # time between two of these polls
CATCH_UP_S = 0.05  # longest wait for what a helper has read
LAST_WORDS_S = 1.0  # the same at the end: then the threads read from where its last message left off
LOOK_S = 0.002  # time between two looks at the ends of the curves


class Sampler:
    """Polls channels in the background between ``start`` and ``stop``.

    One thread polls all of them. Where there are several, a second one sleeps, and looks now and then whether a read
    hangs: then the other channels get a thread of their own, and the one that hangs keeps the thread that it holds.
    Meters that a helper process is to read have a thread of their own, which follows it.

    Args:
        channels: the channels to poll.
        settle: called about twice a second from the thread, or less often with many channels, after knots were added.
        lock: guards the curves and the ledger.
        enter: called once in each thread that settles, before anything else.
        beat: called about once a second from that thread while a helper process reads, as it settles more seldom then.
    """

    def __init__(
        self,
        channels: Sequence[Channel],
        settle: Callable[[], None],
        lock: threading.RLock | None = None,
        enter: Callable[[], None] | None = None,
        beat: Callable[[], None] | None = None,
    ) -> None:
        self.channels = [*channels]
        self._share_time()
        self.lock = lock or threading.RLock()
        self._settle = settle
        self._enter, self._beat = enter, beat
        self._pollers: list[Poller] = []  # the last one settles
        self._guard: threading.Thread | None = None
        self._is_over = threading.Event()
        self._is_stopped = False
        self._moving = threading.RLock()  # held while channels move to another thread

    def _share_time(self) -> None:
        """Let channels hunt every edge only while few of one thread have any: the polls show with time which."""
        crowd = sum(not c.is_continuous for c in self.channels)
        for channel in self.channels:
            channel.plan.hunts_always = crowd <= FULL_CHANNELS

    def _book(self) -> None:
        self._share_time()
        self._settle()

    @property
    def cpu_s(self) -> float:
        """CPU time that the threads took, in seconds, as of their last settling."""
        return sum(poller.cpu_s for poller in self._pollers)

    @property
    def failure(self) -> BaseException | None:
        """The error that ended a thread; ``None`` while all are well."""
        return next((p.failure for p in self._pollers if p.failure is not None), None)

    def start(self) -> None:
        """Begin, and wait until every channel was read once, or hangs."""
        if self.is_started or not self.channels:
            return
        self._is_over.clear()
        self._is_stopped = False
        PROCESS.join(c.plan.calls for c in self.channels)
        self._pollers = self._make_pollers()
        for poller in self._pollers:
            poller.start()
        if len(self.channels) > 1:
            guard = threading.Thread(target=self._look_for_hangs, name="lightning-energy-guard", daemon=True)
            with suppress(RuntimeError):  # no more threads: the others would wait for a read that hangs
                guard.start()
                self._guard = guard
        deadline_s = time.monotonic() + HUNG_S
        for poller in self._pollers:
            poller.has_begun.wait(max(deadline_s - time.monotonic(), 0.0))

    def _make_pollers(self) -> list[Poller]:
        """The threads; the last one settles."""
        followed = [c for c in self.channels if may_be_followed(c)]
        others = [c for c in self.channels if c not in followed]
        if not followed:
            return [Poller(others, self.lock, self._book, self._enter)]
        follower = Follower(followed, self.lock, self._book, self._enter, self._beat)
        return [Poller(others, self.lock, None), follower] if others else [follower]

    def finish(self, time_ns: int, timeout_s: float) -> None:
        """Wait until the counters have moved after ``time_ns``, stop, and look at the other meters once more.

        A thread that hangs in a call, or died, knows nothing of the end: the time after its last knots is missing.
        """
        if not self.is_started:
            return
        with self.lock:
            for channel in self.channels:
                channel.plan.hurry()
        self._take_back()
        self._wake()
        counters = [c for c in self.channels if not c.is_continuous]
        calls = self._calls()
        while not self.wait_until_known(time_ns, timeout_s, counters) and self._free(calls):
            calls = self._calls()
        blind = self._blind(monotonic_ns(), longest_s=math.inf)
        self._poll_last(time_ns)
        self.stop()
        now_ns = monotonic_ns()
        blind.update(self._blind(now_ns, longest_s=0.0))
        self._book_silence(now_ns, blind, timeout_s=1.0)
        with self.lock:
            for channel in self.channels:
                if channel not in blind:
                    channel.finish()

    def _take_back(self) -> None:
        """Let the threads read what helpers read until now; a helper that says nothing is not waited for."""
        for poller in self._pollers:
            poller.take_back()
        for longest_s, cut in ((LAST_WORDS_S, True), (HUNG_S, False)):
            deadline_ns = monotonic_ns() + round(longest_s / NS)
            while (left := self._following()) and monotonic_ns() < deadline_ns:
                time.sleep(LOOK_S)
            for poller in left if cut else ():
                poller.cut()

    def _following(self) -> list[Poller]:
        return [p for p in self._pollers if p.is_following and p.is_running]

    def _poll_last(self, time_ns: int) -> None:
        """Let the threads poll what moves at any poll until it has reached ``time_ns``, a few times at most."""
        tries = {c: 0 for c in self.channels if c.is_continuous}
        deadline_ns = monotonic_ns() + round(HUNG_S / NS)
        while self.is_running and (now_ns := monotonic_ns()) < deadline_ns:
            hung = {call[0] for call in (p.call for p in self._pollers) if call and self._left_ns(call, now_ns) == 0}
            with self.lock:
                late = [c for c, n in tries.items() if n <= LAST_POLLS and (c.curve.end_ns or 0) < time_ns]
                for channel in late:
                    if channel.due_ns:  # it was polled since
                        channel.plan.hurry()
                        tries[channel] += 1
            if hung.issuperset(late):
                return
            self._wake()
            time.sleep(LAST_POLL_S)  # their registers move within milliseconds

    @staticmethod
    def _left_ns(call: Call | None, now_ns: int) -> int:
        """The time for which a call that is under way is still waited for."""
        return max(round(HUNG_S / NS) - (0 if call is None else now_ns - call[1]), 0)

    def stop(self) -> bool:
        """End the threads. Idempotent; waits for calls until they have taken two seconds: then they hang.

        Returns:
            True when all have ended.
        """
        self._is_stopped = True
        self.end()
        self._wake()
        guard = self._guard
        if self.is_in_thread or guard is threading.current_thread():  # the garbage collector came by in the thread
            return True
        self._take_back()
        now_ns = monotonic_ns()
        ends_ns = [now_ns + self._left_ns(poller.call, now_ns) for poller in self._pollers]
        for poller, end_ns in zip(self._pollers, ends_ns, strict=True):
            poller.join(max((end_ns - monotonic_ns()) * NS, 0.0))
        if guard is not None:
            guard.join(HUNG_S)
        return not self.is_running

    def end(self) -> None:
        """Make no more polls; waits for nothing, so that the threads themselves may call it."""
        self._is_over.set()
        for poller in self._pollers:
            poller.end()
        PROCESS.leave(c.plan.calls for c in self.channels)

    def disown(self) -> list[Meter]:
        """The meters whose reads hang, after the end: each is closed by its thread when the read returns."""
        return [meter for meter in (poller.disown() for poller in self._pollers) if meter is not None]

    def _wake(self) -> None:
        for poller in self._pollers:
            poller.wake()

    @property
    def is_started(self) -> bool:
        """True from ``start`` to ``stop``."""
        return bool(self._pollers) and not self._is_stopped

    @property
    def is_in_thread(self) -> bool:
        """True in a thread of the sampler's own."""
        return any(poller.is_current for poller in self._pollers)

    @property
    def is_running(self) -> bool:
        """True while a thread lives (false in a forked child)."""
        return any(poller.is_running for poller in self._pollers)

    def wait_until_known(self, time_ns: int, timeout_s: float, channels: Sequence[Channel] | None = None) -> bool:
        """Block until the curves reach ``time_ns``, at most ``timeout_s``.

        Returns:
            True when they reached it.
        """
        waiting = self.channels if channels is None else channels
        deadline_ns = monotonic_ns() + round(timeout_s / NS)
        while self.is_running and monotonic_ns() < deadline_ns:
            with self.lock:
                if all((c.curve.end_ns or 0) >= time_ns for c in waiting):
                    return True
            self.ask()
            time.sleep(LOOK_S)
        return False

    def ask(self) -> None:
        """Have put on the curves soon what a helper has read already; waits for nothing."""
        for poller in self._pollers:
            poller.ask()

    def take_news(self) -> None:
        """Put on the curves what has come of a helper's news; any thread may."""
        for poller in self._pollers:
            poller.take_news()

    def catch_up(self) -> None:
        """Have put on the curves what a helper has read until now; waits for it a little."""
        for poller in self._pollers:
            poller.catch_up(CATCH_UP_S)

    def check(self, now_ns: int) -> None:
        """Catch up with a helper, and book the time of hung or dead threads as missing.

        Called rarely, from the training thread.
        """
        if self.is_started:
            self.catch_up()
            self._book_silence(now_ns, self._blind(now_ns, longest_s=LONGEST_READ_S), timeout_s=0.001)

    def _blind(self, now_ns: int, longest_s: float) -> dict[Channel, str]:
        """The channels that nobody polls at ``now_ns``, each with the reason.

        Args:
            now_ns: now.
            longest_s: duration up to which a call is not said to hang, in seconds.
        """
        blind: dict[Channel, str] = {}
        for poller in [*self._pollers]:
            call = poller.call
            if poller.is_running:
                silent_s = poller.silent_ns(now_ns) * NS
                if silent_s > SILENT_S or (self._is_stopped and call is None):
                    blind.update((c, f"it has not been polled for {silent_s:.0f} s") for c in poller.channels)
                if call is not None and (now_ns - call[1]) * NS > longest_s:
                    blind[call[0]] = not_returned((now_ns - call[1]) * NS)
            elif not self._is_stopped:
                blind.update((c, "it is not read") for c in poller.channels)
        return blind

    def _book_silence(self, now_ns: int, blind: dict[Channel, str], timeout_s: float) -> None:
        if blind and self.lock.acquire(timeout=timeout_s):
            try:
                for channel, why in blind.items():
                    channel.stalled(now_ns, why)
                self._settle()
            finally:
                self.lock.release()

    def longest_call_s(self) -> float:
        """Time in seconds for which a call of a meter has been under way; the longest where there are several."""
        now_ns = monotonic_ns()
        calls = [poller.call for poller in self._pollers]
        return max(((now_ns - call[1]) * NS for call in calls if call is not None), default=0.0)

    def _calls(self) -> list[tuple[Poller, Call]]:
        """The calls that hold up other channels."""
        calls = [(p, p.call) for p in self._pollers if len(p.channels) > 1]
        return [(poller, call) for poller, call in calls if call is not None]

    def _free(self, calls: Iterable[tuple[Poller, Call]]) -> bool:
        """Give the channels that wait for these calls, if they are still under way, a thread of their own.

        Returns:
            True where some waited.
        """
        with self._moving:
            if self._is_over.is_set():
                return False
            settles = any(poller.settles for poller, _ in calls)
            others = [channel for poller, call in calls for channel in poller.leave(call)]
            if others:
                poller = Poller(others, self.lock, self._book if settles else None, self._enter)
                self._pollers = [*self._pollers, poller]
                poller.start()
            return bool(others)

    def _look_for_hangs(self) -> None:
        """Look again and again whether a call is still under way that was under way at the last look."""
        calls = self._calls()
        while not self._is_over.wait(GUARD_S) and any(len(p.channels) > 1 for p in self._pollers):
            self._free(calls)
            calls = self._calls()
