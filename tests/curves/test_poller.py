from __future__ import annotations

import random
import sys
import threading
import time
import tracemalloc
from contextlib import contextmanager
from pathlib import Path

import pytest

import lightning_energy
from lightning_energy.curves.channel import Channel
from lightning_energy.curves.poller import Poller
from lightning_energy.curves.sampler import Sampler
from lightning_energy.meters import NvmlMeter, Reading, ReplayMeter
from tests.curves.test_sampler import Broken, wait_for
from tests.sim.clock import VirtualClock
from tests.sim.nvml import SimulatedGpu, SimulatedNvml

S = 10**9


def poller_of(*channels, settle=lambda: None, enter=None) -> Poller:
    return Poller(channels, threading.RLock(), settle, enter)


def test_one_poll_waits_for_others():
    """Channels that may be polled later are polled when one is that must not."""
    polled = []

    class Told(Channel):
        def poll(self, lock, answered=None) -> None:
            polled.append((self, time.monotonic_ns()))
            self.plan.due_ns = time.monotonic_ns() + 10 * S
            answered()

    start_ns = time.monotonic_ns()

    def told(due_s: float, slack_s: float) -> Channel:
        meter = ReplayMeter(100.0)
        channel = Told(meter, meter.open())
        channel.plan.due_ns, channel.plan.slack_ns = start_ns + round(due_s * S), round(slack_s * S)
        return channel

    patient, strict, later = told(0.05, 0.3), told(0.15, 0.0), told(3.0, 0.0)
    poller = poller_of(later, strict, patient)
    poller.start()
    wait_for(lambda: len(polled) == 2)
    poller.end()
    poller.wake()
    assert poller.join(10.0)
    assert [c for c, _ in polled] == [patient, strict]
    assert polled[0][1] >= start_ns + 0.15 * S - 1_000_000


def test_others_leave_a_call_that_hangs_and_none_that_has_returned():
    calls, settled = [], []

    class Noting(Broken):
        def read(self) -> Reading:
            calls.append(poller.call)
            return super().read()

    broken = Noting()
    channels = [Channel(m, m.open()) for m in (broken, ReplayMeter(100.0, counter_period_s=0.01))]
    poller = poller_of(*channels, settle=lambda: settled.append(1))
    poller.start()
    assert poller.has_begun.wait(10)
    old = calls[-1]
    broken.hang.clear()
    assert broken.waits.wait(10)
    assert poller.call[0] is channels[0]
    assert old[0] is channels[0]
    assert poller.leave((*old,)) == []  # of the same channel, but another call
    assert poller.leave(poller.call) == [channels[1]]
    knots, bookings, reads = len(channels[1].curve), len(settled), channels[0].reads
    broken.hang.set()
    wait_for(lambda: channels[0].reads > reads + 100)  # for more than the time between two bookings
    poller.end()
    poller.wake()
    assert poller.join(10.0)
    assert (len(channels[1].curve), len(settled)) == (knots, bookings)


def test_a_thread_that_waits_for_the_lock_hangs_in_no_call():
    meter = ReplayMeter(100.0, counter_period_s=0.01)
    channel = Channel(meter, meter.open())
    poller = poller_of(channel)
    poller.start()
    assert poller.has_begun.wait(10)
    with poller._lock:
        reads = channel.reads
        wait_for(lambda: poller.silent_ns(poller.beat_ns + 3600 * S) == 0)  # its answer waits
        assert poller.call is None
        assert poller.disown() is None
        assert channel.reads == reads
    wait_for(lambda: channel.reads > reads)
    poller.end()
    poller.wake()
    assert poller.join(10.0)


def test_where_no_thread_can_be_started_nobody_waits(monkeypatch):
    def refuse(self) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    poller = poller_of(Channel(ReplayMeter(1.0), ReplayMeter(1.0).open()))
    poller.start()
    assert str(poller.failure).startswith("no thread can be started (can't start new thread): raise the limit")
    assert poller.has_begun.is_set()
    assert poller.join(10.0)
    assert not poller.is_running
    assert poller.disown() is None


def test_a_thread_that_cannot_enter_keeps_nobody_waiting():
    def fail() -> None:
        raise RuntimeError("no such device")

    poller = poller_of(Channel(ReplayMeter(1.0), ReplayMeter(1.0).open()), enter=fail)
    poller.start()
    assert poller.has_begun.wait(10)
    assert poller.join(10.0)
    assert str(poller.failure) == "no such device"


def test_a_meter_is_disowned_only_while_its_read_hangs():
    broken = Broken()
    poller = poller_of(Channel(broken, broken.open()))
    poller.start()
    broken.hang.clear()
    assert broken.waits.wait(10)
    poller.end()
    assert poller.disown() is broken
    assert not broken.closed.is_set()
    broken.hang.set()
    assert broken.closed.wait(10)
    assert poller.join(10.0)
    assert poller.disown() is None


class Alarm:
    """Stands for the lock that the thread sleeps on: a sleep moves the clock, by a little more than was asked for."""

    def __init__(self, clock: VirtualClock, until_ns: int) -> None:
        self.clock, self.until_ns, self.sleeps, self.rng = clock, until_ns, 0, random.Random(0)
        self.over = lambda: None

    def acquire(self, timeout: float) -> bool:
        self.sleeps += 1
        self.clock.now_ns += round((timeout + self.rng.random() * 1e-4) * S)
        if self.clock.now_ns > self.until_ns:
            self.over()
        return False


class Quick(SimulatedGpu):
    """A board whose counter needs few bytes to be told."""

    def counter_mj(self) -> int:
        return int((self.now_s() - self.phase_s) / self.counter_period_s) * round(3e5 * self.counter_period_s)


class Unheld:
    """A lock that is never held by others, and notes when it is taken."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock, self.taken_ns = clock, []

    def __enter__(self) -> None:
        self.taken_ns.append(self._clock.now_ns)

    def __exit__(self, *_: object) -> None:
        pass


class Thread:
    """The sampler's thread over boards in virtual time, after the first looks at their powers."""

    def __init__(self, clock: VirtualClock, gpus: list[Quick], channel: type[Channel]) -> None:
        self.clock, self.lock = clock, Unheld(clock)
        meters = [NvmlMeter(gpu.uuid) for gpu in gpus]
        self.channels = channels = [channel(meter, meter.open(), clock=clock) for meter in meters]
        Sampler(channels, lambda: None)  # shares their time
        self.poller = Poller(channels, self.lock, lambda: [c.curve.forget_before(clock.now_ns) for c in channels])
        self.run(12.0)

    def run(self, seconds: float) -> Alarm:
        """Let it poll for some time."""
        poller = self.poller
        poller._ended, poller._alarm = False, Alarm(self.clock, self.clock.now_ns + round(seconds * S))
        poller._alarm.over = poller.end
        poller._loop()
        return poller._alarm


@pytest.fixture
def boards_of(monkeypatch):
    """Boards in virtual time: their number and their counters' period."""

    @contextmanager
    def make(boards: int, period_s: float):
        clock = VirtualClock()
        for module in ("meters.nvml", "curves.poller"):
            monkeypatch.setattr(f"lightning_energy.{module}.monotonic_ns", clock)
        gpus = [
            Quick(300.0, uuid=f"GPU-{i:08}-0000-0000-0000-000000000000", counter_period_s=period_s, phase_s=0.013 * i)
            for i in range(boards)
        ]
        with SimulatedNvml(gpus, clock=clock):
            yield clock, gpus

    return make


# boards, their counters' period: polls, wake-ups, locks of the curves, bytes that polls need; per second and board
COUNTS = {
    (1, 0.1): (20, 20, 14, 32_000),
    (1, 0.02): (90, 90, 66, 120_000),
    (8, 0.1): (15, 7, 13, 15_000),
}


@pytest.mark.no_cover  # whose tracer needs bytes, too
@pytest.mark.parametrize(("boards", "period_s"), COUNTS)
def test_polls_wake_ups_and_bytes_are_few(boards, period_s, boards_of):
    """Counted on a virtual clock, not timed: what makes a poll dear again shows here, on any machine."""
    seconds, taken = 4, []

    class Weighed(Channel):
        """Knows how many bytes each of its polls needs at once."""

        def poll(self, lock, answered=None) -> None:
            before = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            super().poll(lock, answered)
            taken.append(tracemalloc.get_traced_memory()[1] - before)

    with boards_of(boards, period_s) as (clock, gpus):
        thread = Thread(clock, gpus, Weighed)
        thread.lock.taken_ns.clear()
        taken.clear()
        tracemalloc.start()
        try:
            alarm = thread.run(seconds)
        finally:
            tracemalloc.stop()
    found = (len(taken), alarm.sleeps, len(thread.lock.taken_ns), sum(taken))
    per_board = [n / seconds / boards for n in found]
    assert all(n <= most for n, most in zip(per_board, COUNTS[boards, period_s], strict=True)), per_board


CALLS = {
    "moved": 88,
    "stood": 14,
    "looked": 65,
    "loop": 10,
}  # per poll on average; of the thread's own loop, per wake-up


@pytest.mark.parametrize("period_s", [0.1, 0.02])
def test_the_calls_of_a_poll_are_few(period_s, boards_of):
    """Each call of a Python or C function costs a microsecond or more, as nothing of it is in a cache any more."""
    package, calls, found = str(Path(lightning_energy.__file__).parent), [0], {kind: [] for kind in CALLS}

    def count(frame, event, _) -> None:
        """Count calls from within the package, but for those into the simulated driver."""
        caller = frame if event == "c_call" else frame.f_back
        if event in {"call", "c_call"} and caller.f_code.co_filename.startswith(package):
            calls[0] += event == "c_call" or not frame.f_code.co_filename.startswith(str(Path(__file__).parents[1]))

    class Counted(Channel):
        """Knows how many calls each of its polls makes."""

        def poll(self, lock, answered=None) -> None:
            before, end_ns, looks = calls[0], self.curve.end_ns, self.curve.power.looks
            super().poll(lock, answered)
            kind = "moved" if self.curve.end_ns != end_ns else "looked" if self.curve.power.looks != looks else "stood"
            found[kind].append(calls[0] - before)

    with boards_of(1, period_s) as (clock, gpus):
        thread = Thread(clock, gpus, Counted)
        for counts in found.values():
            counts.clear()
        calls[0] = 0
        sys.setprofile(count)
        try:
            alarm = thread.run(10.0)
        finally:
            sys.setprofile(None)
    polls = sum(sum(counts) for counts in found.values())
    found["loop"] = [(calls[0] - polls) / alarm.sleeps]
    means = {kind: sum(counts) / len(counts) for kind, counts in found.items()}
    assert all(means[kind] <= most for kind, most in CALLS.items()), means
