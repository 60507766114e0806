"""The one thread: it polls the meters when their registers are expected to move."""

from __future__ import annotations

import math
import random
import threading
import time
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from lightning_energy.curves.curve import NS, Curve
from lightning_energy.curves.edges import CounterEdges, PowerIntegral
from lightning_energy.meters.base import MeterLost

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lightning_energy.meters.base import Meter, MeterInfo, Reading

__all__ = ["Channel", "Sampler"]

CONTINUOUS_S = 0.005  # a register that moves this often needs no hunt for its edges
SLOW_POLL_S = 0.1  # such registers and power sensors: ten knots a second
SEARCH_POLL_S = 0.002  # while the period is not known
FINE_POLL_S = 0.001  # near an expected edge
FULL_CHANNELS = 4  # with more of them, those whose edges come regularly are not polled at every edge
HUNT_EVERY = 16  # but at every so many; the others' times follow from those, and one poll sees that they came
SLACK = 0.3  # of a period: such a poll may wait for others, as to wake costs more than to poll
TOGETHER_S = 0.0003  # awake for one device, poll those that are due so soon as well
FROZEN_PERIODS = 5
FROZEN_S = 0.5  # never call a register frozen sooner
RETRY_S = (0.05, 0.25)  # after a lost device: at once, then slower
SETTLE_S = 0.5  # how often the ledger books what is known; sooner at first, as a run may be short
FIRST_SETTLE_S = 0.1
HUNG_S = 2.0
SLOW_CALL = 20.0  # polls are this many calls apart, on average
CLOSE_CALL_S = 0.03  # calls that take less are made closely in a search and near an edge, while time is saved for it
SAVED_S = 0.3  # time in calls, at most, that may be spent closely: at the beginning, and when it was saved up again
DEBT_S = 0.02  # and at most, that must be saved up after more was spent
SINGLE_POLLS = 8  # running, at most: then updates are left out until there is time to watch one closely
LATE_POLLS = 16  # polls that the mean lateness looks back on
LATENCIES = 64  # calls that the median latency looks back on
FIRST_CALLS = 5  # before as many it is not known: the first may well take longer
JITTER = 0.25
LAST_POLLS = 5
LAST_POLL_S = 0.001
LOOKS_AT_FIRST = 100  # of a load
LOOK_EVERY = 8


class Channel:
    """One open meter, what turns its readings into knots, and when it wants to be polled next.

    Args:
        meter: an *open* meter; closing it is the caller's business.
        info: what its ``open`` returned.
        refine: see :class:`~lightning_energy.curves.edges.CounterEdges`.
        clock: the monotonic clock in nanoseconds.
    """

    def __init__(
        self,
        meter: Meter,
        info: MeterInfo,
        *,
        refine: bool = True,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.meter = meter
        self._clock = clock
        self.info = info
        self.curve = Curve(info)
        self.due_ns = 0
        self.reads = 0
        self.latency_s: deque[float] = deque(maxlen=LATENCIES)
        self._call_s = 0.0  # their median
        self.trouble: str | None = None
        self.trouble_since_ns = 0
        self._edges = CounterEdges(info, self.curve, refine=refine)
        self._power = PowerIntegral(info, self.curve)
        self._has_register = True
        self._frozen_at_j: float | None = None
        self._look = False  # at the power, at the next poll
        self._before_edge = False  # the next poll should come before the register moves
        self._moves = 0
        self._hunt_ns = 0  # the edge that is watched for closely; 0 when none is
        self._single_polls = 0  # running: moves that one poll saw each, at a moment that tells little of when they were
        self._late_s = 0.0  # how late its polls come on average, as the thread was busy or had to wait for its turn
        self._saved_s = SAVED_S  # time in calls that may be spent closely
        self._called_ns = 0  # when the last call ended
        self._hurries = False  # nothing has to be saved up for any more
        self._retry_s = RETRY_S[0]
        self._random = random.Random(0)  # noqa: S311 - jitter against phase locking, not secrecy
        self.hunts_always = True  # every edge is watched closely, not one in so many
        self.slack_ns = 0  # how much later than ``due_ns`` will do

    @property
    def period_s(self) -> float | None:
        """Update period of the register in seconds, as known or measured; ``None`` without a register."""
        return self._edges.period_s if self._has_register else self.info.update_period_s

    @property
    def period_residual_s(self) -> float | None:
        """How far the register's updates stray from that period, in seconds (80 % of them stray less)."""
        residual_ns = self._edges.periodic.residual_ns
        return residual_ns * NS if math.isfinite(residual_ns) else None

    @property
    def is_continuous(self) -> bool:
        """Whether any poll gives a knot, with no update to wait for."""
        period_s = self.period_s
        coarse = not self._has_register or self._frozen_at_j is not None
        return coarse or (period_s is not None and period_s <= CONTINUOUS_S)

    @property
    def spacing_s(self) -> float | None:
        """Seconds between two knots of the curve: what happens between them is not told apart. ``None`` when unknown.

        The register's period, if each of its updates gives a knot; a register that moves more often is read as rarely
        as a power sensor is.
        """
        period_s = self.period_s
        if self.is_continuous:
            return max(period_s or 0.0, SLOW_POLL_S, self._floor_s)
        return None if period_s is None else max(period_s, self._floor_s)

    def poll(self, lock: threading.RLock) -> None:
        """Read the meter once, put what it says on the curve, plan the next poll.

        ``lock`` is held while the curve changes, not while the meter is read: a slow call must not stop
        whoever looks at the curve.
        """
        try:
            reading, why = self.meter.read(), None
        except MeterLost as error:
            reading, why = None, str(error)
        except Exception as error:  # noqa: BLE001 - a meter's defect must not end the user's training
            reading, why = None, f"{type(error).__name__}: {error}"
        power_w = self._power_beside() if reading and self._wants_power(reading) else None
        with lock:
            if reading is None:
                self._lost(why or "")
            else:
                self._take(reading, power_w)

    def finish(self) -> None:
        """No more polls will come."""
        self._edges.finish()

    def stalled(self, now_ns: int) -> None:
        """The sampler hangs in this meter's call: what follows the last knot is missing."""
        self._edges.break_off(now_ns)
        self._remember("it does not answer", now_ns)

    def _take(self, reading: Reading, power_w: float | None) -> None:
        self.reads += 1
        if self.due_ns and not self.slack_ns:
            self._late_s += (max((reading.start_ns - self.due_ns) * NS, 0.0) - self._late_s) / LATE_POLLS
        latency_s = (reading.end_ns - reading.start_ns) * NS
        self.latency_s.append(latency_s)
        self._call_s = sorted(self.latency_s)[len(self.latency_s) // 2] if self.reads >= FIRST_CALLS else 0.0
        spent_s = latency_s if power_w is None else 2.0 * latency_s  # to ask for the power takes as long
        self._saved_s = max(self._saved_until(reading.start_ns) - spent_s, -DEBT_S)
        self._called_ns = reading.end_ns
        self._retry_s = RETRY_S[0]
        self._has_register = reading.register_j is not None
        if power_w is not None and self.info.instant_power:
            self.curve.saw_power(power_w)
        moved, note = self._feed_register(reading, power_w) if self._has_register else self._feed_power(reading)
        self._remember(note, reading.end_ns)
        self.due_ns = reading.end_ns + round(self._wait_s(reading, moved=moved) / NS)

    def _feed_power(self, reading: Reading) -> tuple[bool, str | None]:
        self._power.note = ""
        return self._power.feed(reading), self._power.note or None

    def _feed_register(self, reading: Reading, power_w: float | None) -> tuple[bool, str | None]:
        """A register that stopped is replaced by the power sensor until it moves again."""
        if self._frozen_at_j is not None and reading.register_j == self._frozen_at_j:
            self._feed_power(replace(reading, register_j=None, power_w=power_w))
            return False, None
        self._frozen_at_j = None
        self._edges.note = ""
        next_ns = self._edges.next_edge_ns if self._before_edge else None
        moved = self._edges.feed(reading)
        if moved and next_ns is not None and reading.end_ns < next_ns:
            self._edges.came_too_soon()
        if moved or not self._overdue(reading):
            return moved, self._edges.note or None
        self._edges.break_off(reading.end_ns)
        self._frozen_at_j = reading.register_j
        self._feed_power(replace(reading, register_j=None, power_w=power_w))
        return False, "its energy counter does not move"

    def _wants_power(self, reading: Reading) -> bool:
        """Whether to ask for the power, too: while the register stands still for too long, and for a planned look."""
        look, self._look = self._look, False
        overdue = reading.register_j is not None and (self._frozen_at_j is not None or self._overdue(reading))
        return overdue or (look and self.info.instant_power)

    def _power_beside(self) -> float | None:
        try:
            return self.meter.read_power_w()
        except Exception:  # noqa: BLE001 - same as in poll; the register's fault is told already
            return None

    def _overdue(self, reading: Reading) -> bool:
        still_s = (reading.end_ns - self._edges.last_change_ns) * NS
        if still_s <= FROZEN_S:
            return False
        return self._edges.is_following and still_s > FROZEN_PERIODS * (self.period_s or 0.0)

    def _lost(self, why: str) -> None:
        now_ns = self._clock()
        missing = (self._edges if self._has_register else self._power).silent(now_ns)
        self._frozen_at_j = None
        self.slack_ns, self._before_edge, self._hunt_ns = 0, False, 0
        self._remember(why if missing else None, now_ns)
        self.due_ns = now_ns + round(self._retry_s / NS)
        self._retry_s = min(2 * self._retry_s, RETRY_S[1])

    def _remember(self, trouble: str | None, now_ns: int) -> None:
        if trouble is not None and self.trouble is None:
            self.trouble, self.trouble_since_ns = trouble, now_ns

    def hurry(self) -> None:
        """The end is near: the next edges are watched closely, and no time is saved any more. The lock is held."""
        self._hurries, self.due_ns, self.slack_ns = True, 0, 0

    @property
    def _floor_s(self) -> float:
        """On average polls are no closer than this: a slow call is made more rarely."""
        return max(FINE_POLL_S, SLOW_CALL * self._call_s)

    @property
    def _close_s(self) -> float:
        """But in a search and near an edge they may be, for a while."""
        return max(FINE_POLL_S, self._call_s) if self._call_s < CLOSE_CALL_S else self._floor_s

    def _saved_until(self, time_ns: int) -> float:
        """Seconds in calls that will have been saved up by then."""
        if self._hurries:
            return SAVED_S
        return min(self._saved_s + (time_ns - self._called_ns) * NS / SLOW_CALL, SAVED_S)

    def _wait_s(self, reading: Reading, *, moved: bool) -> float:
        """Seconds until the next poll: just before the next expected edge, then finely until it comes."""
        hunt_ns = 0 if moved and reading.end_ns >= self._hunt_ns else self._hunt_ns
        self.slack_ns, self._before_edge, self._hunt_ns = 0, False, hunt_ns
        jitter = 1.0 + JITTER * (2.0 * self._random.random() - 1.0)
        floor_s, close_s, period_s = self._floor_s, self._close_s, self.period_s
        if self.is_continuous:
            return max(SLOW_POLL_S, floor_s) * jitter
        fine_s = close_s if self._saved_until(reading.end_ns) > 0.0 else floor_s
        next_ns = self._edges.next_edge_ns
        if period_s is None or next_ns is None:
            return max(SEARCH_POLL_S, fine_s) * jitter
        # its answer is to come before the edge, and the poll may be late
        lead_s = min(max(self._edges.spread_s, fine_s) + self._call_s + self._late_s, 0.15 * period_s)
        ahead_s = (next_ns - reading.end_ns) * NS - lead_s
        if ahead_s > close_s:
            self._before_edge = True
            return ahead_s if hunt_ns else self._wait_before_s(next_ns, ahead_s, lead_s, period_s, moved=moved)
        overdue_s = max(-ahead_s - 0.5 * period_s, 0.0)  # a long time late: ever slower
        return min(fine_s + 0.1 * overdue_s, max(period_s, floor_s)) * jitter

    def _wait_before_s(self, next_ns: int, ahead_s: float, lead_s: float, period_s: float, *, moved: bool) -> float:
        """Seconds until the first poll near the edge expected at ``next_ns``, or the only one that sees it."""
        self._moves += moved
        calls = 2.0 + 2.0 * lead_s / (self._close_s + self._call_s)  # around the edge, which may come sooner or later
        spare_s = self._saved_until(next_ns) - calls * self._call_s
        look_every = LOOK_EVERY if self.hunts_always else HUNT_EVERY
        wants_look = self.curve.looks < LOOKS_AT_FIRST or self._moves % look_every == 0
        self._look = moved and wants_look and self.info.instant_power and spare_s >= 2.0 * self._call_s
        if self._look:  # at a random moment: the load may be locked to the register's period
            return self._random.random() * ahead_s
        if self._edges.is_sure and not self._hurries:
            is_spared = self._moves % HUNT_EVERY and not self.hunts_always
            if is_spared or (spare_s < 0.0 and self._single_polls < SINGLE_POLLS):
                return self._wait_past_s(ahead_s, lead_s, period_s)
        skipped_s = max(math.ceil(-spare_s * SLOW_CALL / period_s), 0) * period_s
        self._single_polls, self._hunt_ns = 0, next_ns + round(skipped_s / NS)
        if skipped_s:  # this poll sees the moves that were left out, so it comes sooner before the edge
            return ahead_s + skipped_s - self._call_s - lead_s
        return ahead_s

    def _wait_past_s(self, ahead_s: float, lead_s: float, period_s: float) -> float:
        """Seconds until a single poll that sees that the register moved; the line says when it did."""
        self._before_edge = False
        self._single_polls += 1
        self.slack_ns = round(SLACK * period_s / NS)
        wait_s = ahead_s + 2.0 * lead_s
        short_s = self._call_s - self._saved_until(self._called_ns + round(wait_s / NS))
        return wait_s + max(math.ceil(short_s * SLOW_CALL / period_s), 0) * period_s


class Sampler:
    """Polls channels from one daemon thread between ``start`` and ``stop``.

    Args:
        channels: what to poll.
        settle: called about twice a second from the thread, or less often with many channels, after knots were added.
        lock: guards the curves and the ledger.
        enter: called once in the thread, before anything else.
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
        """Registers that move at any poll (RAPL's) are no part of the crowd; which those are shows with time."""
        crowd = sum(not c.is_continuous for c in self.channels)
        for channel in self.channels:
            channel.hunts_always = crowd <= FULL_CHANNELS

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
        self._thread = threading.Thread(target=self._run, name="lightning-energy-sampler", daemon=True)
        self._thread.start()

    def finish(self, time_ns: int, timeout_s: float) -> None:
        """Wait until the counters have moved after ``time_ns``, stop, and look at the other meters once more.

        A thread that hangs in a call, or died, knows nothing of the end: what follows its last knots is missing.
        """
        if self._thread is None:
            return
        was_running = self.is_running
        with self.lock:
            for channel in self.channels:
                channel.hurry()
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
            channel.finish()

    def stop(self) -> bool:
        """End the thread. Idempotent; waits at most two seconds for a call that hangs. Whether it has ended."""
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
        """No more polls; waits for nothing, so that the thread itself may call it."""
        self._ended = True

    def _wake(self) -> None:
        """The thread looks anew at what there is to do."""
        if self._alarm.locked():
            self._alarm.release()

    def _is_over(self) -> bool:
        """Asked anew each time: another thread may have said so meanwhile, which a type checker does not expect."""
        return self._ended

    @property
    def is_in_thread(self) -> bool:
        """Whether it is the sampler's own thread that asks."""
        return threading.current_thread() is self._thread

    @property
    def is_running(self) -> bool:
        """Whether the thread lives (false in a forked child)."""
        return self._thread is not None and self._thread.is_alive()

    def wait_until_known(self, time_ns: int, timeout_s: float, channels: Sequence[Channel] | None = None) -> bool:
        """Block until the curves reach ``time_ns``, at most ``timeout_s``; whether they did."""
        waiting = self.channels if channels is None else channels
        deadline_ns = time.monotonic_ns() + round(timeout_s / NS)
        while self.is_running and time.monotonic_ns() < deadline_ns:
            with self.lock:
                if all((c.curve.end_ns or 0) >= time_ns for c in waiting):
                    return True
            time.sleep(0.002)
        return False

    def check(self, now_ns: int) -> None:
        """Called rarely from the training thread: book the time of a hung or dead sampler as missing."""
        silent = (now_ns - self._beat_ns) * NS > 10 * HUNG_S or not self.is_running
        if self._thread is not None and silent:
            self._book_silence(now_ns, timeout_s=0.001)

    def _book_silence(self, now_ns: int, timeout_s: float) -> None:
        if self.lock.acquire(timeout=timeout_s):
            try:
                for channel in self.channels:
                    channel.stalled(now_ns)
                self._settle()
            finally:
                self.lock.release()

    def _run(self) -> None:
        try:
            if self._enter is not None:
                self._enter()
            self._loop()
        except BaseException as error:  # noqa: BLE001 - told at the next epoch; the training goes on
            self.failure = error

    def _loop(self) -> None:
        settle_ns, settle_s = time.monotonic_ns(), FIRST_SETTLE_S
        most_s = SETTLE_S * max(len(self.channels) / FULL_CHANNELS, 1.0)
        while True:
            wait_s = (min(c.due_ns + c.slack_ns for c in self.channels) - time.monotonic_ns()) * NS
            is_woken = wait_s > TOGETHER_S and self._alarm.acquire(timeout=wait_s)
            if self._is_over():
                return
            if is_woken:
                continue
            together_ns = time.monotonic_ns() + round(TOGETHER_S / NS)
            for channel in sorted((c for c in self.channels if c.due_ns <= together_ns), key=lambda c: c.due_ns):
                channel.poll(self.lock)
                self._beat_ns = time.monotonic_ns()
                if self._is_over():  # while this thread hung in the call
                    return
            if (self._beat_ns - settle_ns) * NS > settle_s:
                settle_ns, settle_s = self._beat_ns, min(2.0 * settle_s, most_s)
                self._share_time()
                self._settle()
                self._cpu_s = time.thread_time()
