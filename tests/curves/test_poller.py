from __future__ import annotations

import threading
import time

from lightning_energy.curves.channel import Channel
from lightning_energy.curves.poller import Poller
from lightning_energy.meters import Reading, ReplayMeter
from tests.curves.test_sampler import Broken, wait_for

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
