from __future__ import annotations

import bisect
import os
import random
import threading
import time

import numpy as np
import pytest
import torch

from lightning_energy.curves.sampler import Channel, Sampler
from lightning_energy.ledger.session import Session
from lightning_energy.meters import MeterInfo, MeterLost, Reading, ReplayMeter, open_meters
from lightning_energy.meters.base import Meter
from tests.sim.clock import VirtualClock, drive

S = 10**9


def sampler_of(*meters, settle=lambda: None):
    return Sampler([Channel(m, m.open()) for m in meters], settle)


def wait_for(condition, seconds: float = 10.0) -> None:
    """Until ``condition`` holds; fails after ``seconds``."""
    deadline = time.monotonic() + seconds
    event = threading.Event()
    while not condition():
        assert time.monotonic() < deadline
        event.wait(0.005)


def test_starts_once_stops_once_and_leaves_no_thread():
    sampler = sampler_of(ReplayMeter(100.0, counter_period_s=0.01))
    before = threading.active_count()
    sampler.start()
    sampler.start()
    assert threading.active_count() == before + 1
    assert sampler.is_running
    assert sampler.stop()
    assert sampler.stop()
    assert not sampler.is_running
    assert threading.active_count() == before


def test_waits_until_a_moment_is_known():
    settled = []
    sampler = sampler_of(ReplayMeter(100.0, counter_period_s=0.01), settle=lambda: settled.append(1))
    sampler.start()
    now_ns = time.monotonic_ns() + 700_000_000
    assert sampler.wait_until_known(now_ns, 10.0)
    assert sampler.channels[0].curve.end_ns >= now_ns
    assert not sampler.wait_until_known(now_ns + 10**13, 0.01)
    sampler.stop()
    assert settled
    assert 0 < sampler.cpu_s < 5
    assert not sampler.wait_until_known(0, 1.0)  # nothing runs that could tell


def test_finish_reaches_the_end_of_every_kind_of_meter():
    meters = [ReplayMeter(100.0, counter_period_s=p, device_id=str(p)) for p in (0.02, 0.0, None)]
    sampler = sampler_of(*meters)
    sampler.start()
    wait_for(lambda: all(c.curve.end_ns for c in sampler.channels))
    now_ns = time.monotonic_ns()
    sampler.finish(now_ns, 5.0)
    for channel in sampler.channels:
        assert channel.curve.end_ns >= now_ns - 3_000_000
    sampler.finish(now_ns, 5.0)  # idempotent


@pytest.mark.parametrize("period_s", [0.02, 0.25, 0.001, None])
def test_the_time_between_two_knots_is_as_told(period_s):
    clock = VirtualClock()
    meter = ReplayMeter(100.0, counter_period_s=period_s, clock=clock)
    channel = Channel(meter, meter.open(), clock=clock)
    drive(channel, clock, clock.now_ns + 2 * S)
    begun_ns = channel.curve.end_ns
    channel.curve.forget_before(begun_ns)
    drive(channel, clock, clock.now_ns + 20 * S)
    times_ns = channel.curve.knots().time_ns
    mean_s = (times_ns[-1] - times_ns[0]) / (len(times_ns) - 1) / S
    assert channel.spacing_s == pytest.approx(mean_s, rel=0.1)


@pytest.mark.parametrize(("period_s", "reads_per_s"), [(0.1, 45), (0.02, 200), (None, 15), (0.0, 15)])
def test_polls_come_when_an_update_is_expected(period_s, reads_per_s):
    clock = VirtualClock()
    meter = ReplayMeter(100.0, counter_period_s=period_s, clock=clock)
    channel = Channel(meter, meter.open(), clock=clock)
    drive(channel, clock, clock.now_ns + S)
    before = channel.reads
    drive(channel, clock, clock.now_ns + 20 * S)
    assert 9 <= (channel.reads - before) / 20 <= reads_per_s


def test_period_and_its_jitter_are_measured():
    clock = VirtualClock()
    meter = ReplayMeter(100.0, counter_period_s=0.1, clock=clock)
    channel = Channel(meter, meter.open(), clock=clock)
    assert channel.period_s is None
    assert channel.period_residual_s is None
    drive(channel, clock, clock.now_ns + 3 * S)
    assert channel.period_s == pytest.approx(0.1, rel=0.002)
    assert channel.period_residual_s < 0.001


class Slow(ReplayMeter):
    """Each call takes 20 ms of the virtual clock."""

    def read(self) -> Reading:
        first = super().read()
        self._clock.now_ns += 20_000_000
        return Reading(first.start_ns, self._clock.now_ns, first.register_j, first.power_w)


def test_slow_calls_are_made_rarely():
    clock = VirtualClock()
    meter = Slow(100.0, counter_period_s=0.1, clock=clock)
    channel = Channel(meter, meter.open(), clock=clock)
    start_ns = clock.now_ns
    drive(channel, clock, start_ns + 20 * S)
    assert channel.reads / 20 < 6  # a tenth of the time at most
    total = channel.curve.energy_between(start_ns + S, channel.curve.end_ns)
    assert total.missing_s == 0
    assert total.energy_j == pytest.approx(100.0 * total.duration_s, rel=0.01)


class Broken(Meter):
    """Raises what it is told to, or hangs until it is released."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.hang = threading.Event()
        self.hang.set()
        self.good = ReplayMeter(100.0, counter_period_s=0.01)
        self.waits = threading.Event()

    def open(self) -> MeterInfo:
        return self.good.open()

    def read(self) -> Reading:
        if not self.hang.is_set():
            self.waits.set()
            self.hang.wait(30)
        if self.error:
            raise self.error
        return self.good.read()

    def close(self) -> None:
        pass


@pytest.mark.parametrize("error", [MeterLost("gone"), ZeroDivisionError("a defect")])
def test_a_meter_that_raises_does_not_end_the_thread(error):
    meter = Broken()
    sampler = sampler_of(meter)
    channel = sampler.channels[0]
    sampler.start()
    wait_for(lambda: len(channel.curve) > 3)
    meter.error = error
    wait_for(lambda: channel.trouble is not None)
    assert str(error) in channel.trouble
    meter.error = None
    knots = len(channel.curve)
    wait_for(lambda: len(channel.curve) > knots + 3)
    sampler.stop()
    assert sampler.failure is None


def test_a_call_that_hangs_is_booked_as_missing_and_stop_returns(monkeypatch):
    monkeypatch.setattr("lightning_energy.curves.sampler.HUNG_S", 0.05)
    meter = Broken()
    sampler = sampler_of(meter)
    channel = sampler.channels[0]
    sampler.start()
    wait_for(lambda: len(channel.curve) > 3)
    meter.hang.clear()
    assert meter.waits.wait(10)
    now_ns = time.monotonic_ns()
    sampler.check(now_ns)
    assert channel.trouble is None  # not yet
    sampler.check(now_ns + 20 * S)
    assert "does not answer" in channel.trouble
    assert channel.curve.energy_between(channel.curve.start_ns, now_ns + 20 * S).missing_s > 19
    assert not sampler.stop()
    meter.hang.set()


def test_a_dead_thread_is_told_and_its_time_is_missing():
    def fail() -> None:
        raise RuntimeError("settling failed")

    sampler = sampler_of(ReplayMeter(100.0, counter_period_s=0.01), settle=fail)
    sampler.start()
    wait_for(lambda: sampler.failure is not None)
    sampler._settle = lambda: None
    now_ns = time.monotonic_ns()
    sampler.check(now_ns)
    channel = sampler.channels[0]
    assert channel.curve.end_ns == now_ns
    assert channel.trouble
    sampler.stop()


def test_no_thread_in_a_forked_child():
    sampler = sampler_of(ReplayMeter(100.0))
    sampler.start()
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:  # the child: say whether the thread lives here
        os.write(write, b"1" if sampler.is_running else b"0")
        os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(read, 1) == b"0"
    sampler.stop()
    os.close(read)
    os.close(write)


class Hangs(ReplayMeter):
    """300 W for two seconds, then 10 W; does not answer from 1.2 s on."""

    def __init__(self) -> None:
        super().__init__([(1.5, 300.0), (1000.0, 10.0)], counter_period_s=0.05)
        self.free = threading.Event()

    def read(self):
        if self._elapsed_s(time.monotonic_ns()) > 1.2:
            self.free.wait(60)
        return super().read()


@pytest.mark.slow
def test_a_sensor_that_hangs_at_the_end_leaves_missing_time_not_joules(monkeypatch):
    monkeypatch.setattr("lightning_energy.curves.sampler.HUNG_S", 0.2)
    meter = Hangs()
    session = Session(open_meters([meter], device=torch.device("cpu")))
    session.mark(session.code(0, "train", "gap"))
    start_ns = time.monotonic_ns()
    threading.Event().wait(4.0)
    session.finish()
    true_j = meter.true_energy_j(start_ns, time.monotonic_ns())
    energy = session.totals().energy()
    meter.free.set()
    session.close()
    assert energy.missing_s > 2.5
    assert energy.energy_j <= true_j + 4 * energy.u_j


def test_the_last_power_is_supposed_to_go_on_for_a_while_only():
    meter = ReplayMeter(100.0, counter_period_s=0.02)
    session = Session(open_meters([meter], device=torch.device("cpu")))
    session.mark(session.code(0, "train", "gap"))
    session._sampler.wait_until_known(time.monotonic_ns() + 300_000_000, 2.0)
    session._sampler.stop()  # nobody tells the ledger
    later = session._ledger.totals(time.monotonic_ns() + 3600 * 10**9).energy()
    session.close()
    assert later.missing_s == pytest.approx(3600 - 2.2, abs=1.0)
    assert later.energy_j < 400.0


def test_nothing_to_sample_starts_no_thread():
    sampler = Sampler([], lambda: None)
    sampler.start()
    assert not sampler.is_running
    sampler.check(time.monotonic_ns())


class Jittery(ReplayMeter):
    """Its register moves every 100 ms, up to 2 ms late; counts who asks."""

    def __init__(self, clock) -> None:
        super().__init__(100.0, counter_period_s=0.1, clock=clock)
        self.clock, self.start_ns, self.reads, self.call_ns = clock, clock.now_ns, 0, 0

    def update_ns(self, k: int) -> int:
        return self.start_ns + k * S // 10 + random.Random(k).randrange(2_000_000)

    def read(self):
        self.reads += 1
        start_ns, now_ns = self.clock.now_ns, self.clock.now_ns + self.call_ns // 2
        self.clock.now_ns += self.call_ns
        k = (now_ns - self.start_ns) // (S // 10)
        k -= self.update_ns(k) > now_ns
        return Reading(start_ns, self.clock.now_ns, register_j=10.0 * k)


@pytest.mark.parametrize(("channels", "most_per_edge"), [(1, 4.5), (4, 4.5), (5, 1.6), (16, 1.6)])
def test_many_devices_are_polled_once_per_update_and_their_knots_stand_where_they_moved(channels, most_per_edge):
    clock = VirtualClock()
    meters = [Jittery(clock) for _ in range(channels)]
    channel = Sampler([Channel(m, m.open(), clock=clock) for m in meters], lambda: None).channels[0]
    drive(channel, clock, clock.now_ns + 20 * S)
    begun, knots = meters[0].reads, len(channel.curve)
    drive(channel, clock, clock.now_ns + 30 * S)
    found = channel.curve.knots()
    assert len(channel.curve) - knots == pytest.approx(300, abs=2)
    assert 1.0 <= (meters[0].reads - begun) / (len(channel.curve) - knots) <= most_per_edge
    times_ns = found.time_ns[knots:]
    truth_ns = [meters[0].update_ns(round((t - meters[0].start_ns - 1e6) / (S // 10))) for t in times_ns]
    errors_ns = np.abs(times_ns - np.array(truth_ns))
    assert errors_ns.max() <= 2_000_000
    assert np.mean(errors_ns <= 2 * found.half_width_ns[knots:]) > 0.95


def test_a_device_among_many_that_changes_its_period_is_followed():
    clock = VirtualClock()
    meter = ReplayMeter(100.0, counter_period_s=0.1, clock=clock)
    channel = Channel(meter, meter.open(), clock=clock)
    channel.hunts_always = False
    drive(channel, clock, clock.now_ns + 10 * S)
    meter.counter_period_s = 0.13
    drive(channel, clock, clock.now_ns + 60 * S)
    knots = channel.curve.knots()
    late = knots.time_ns > knots.time_ns[-1] - 20 * S
    power_w = np.diff(knots.energy_j[late]) / (np.diff(knots.time_ns[late]) / S)
    assert power_w == pytest.approx(np.full(len(power_w), 100.0), rel=0.05)


LATE = {
    "by the machine": lambda r: r.random() * 0.001,
    "by a busy interpreter now and then": lambda r: r.random() * 0.005 if r.random() < 0.2 else 0.0,
    "by a busy interpreter always": lambda r: r.uniform(0.004, 0.0055),
}


@pytest.mark.parametrize("late", LATE)
def test_a_thread_that_wakes_late_still_finds_the_edges(late):
    """An edge that was there already, at a poll that should have come before it, is placed by the line all the same."""
    clock, rng = VirtualClock(), random.Random(0)
    meter = Jittery(clock)
    channel = Channel(meter, meter.open(), clock=clock)
    lock, end_ns = threading.RLock(), clock.now_ns + 120 * S
    while clock.now_ns < end_ns:
        clock.now_ns = max(channel.due_ns, clock.now_ns) + round(LATE[late](rng) * S)
        channel.poll(lock)
    found = channel.curve.knots()
    times_ns, half_ns = found.time_ns[100:], found.half_width_ns[100:]
    truth_ns = [meter.update_ns(round((t - meter.start_ns - 1e6) / (S // 10))) for t in times_ns]
    errors_ns = np.abs(times_ns - np.array(truth_ns))
    assert np.sqrt(np.mean(errors_ns**2.0)) < 2_200_000  # middles of brackets of 5 ms are 1.4 off
    assert np.mean(half_ns > 0.2 * S // 10) < 0.005
    assert np.mean(errors_ns <= 2 * half_ns) > 0.97
    assert meter.reads / len(found.time_ns) < 6


@pytest.mark.parametrize("call_s", [0.0003, 0.0012, 0.002])
def test_a_line_of_slow_calls_is_not_doubted_for_ever(call_s):
    """Polls stand ten calls apart, so that such a register's edges are never seen narrowly."""
    clock = VirtualClock()
    meter = Jittery(clock)
    meter.call_ns = round(call_s * S)
    channel = Channel(meter, meter.open(), clock=clock)
    drive(channel, clock, clock.now_ns + 30 * S, late_s=0.001)
    meter.start_ns -= S // 50
    doubted = []
    for _ in range(30):
        drive(channel, clock, clock.now_ns + S, late_s=0.001)
        doubted.append(channel._edges._doubted)
    assert sum(doubted) < 15


@pytest.mark.parametrize("sooner_s", [0.005, 0.02])
@pytest.mark.parametrize("hunts_always", [False, True])
def test_updates_that_come_sooner_than_they_did_are_found_again(sooner_s, hunts_always):
    """The line through the last edges does not hold any more, which only an edge that came too soon can show."""
    error_ns, half_ns = [], []
    for seed in range(6):
        clock = VirtualClock()
        meter = Jittery(clock)
        channel = Channel(meter, meter.open(), clock=clock)
        channel.hunts_always = hunts_always
        drive(channel, clock, clock.now_ns + 20 * S, seed=seed)
        meter.start_ns -= round(sooner_s * S)
        drive(channel, clock, clock.now_ns + 5 * S, seed=seed + 10)
        known = len(channel.curve)
        drive(channel, clock, clock.now_ns + 10 * S, seed=seed + 20)
        found = channel.curve.knots()
        truth_ns = [meter.update_ns(round((t - meter.start_ns - 1e6) / (S // 10))) for t in found.time_ns[known:]]
        error_ns += np.abs(found.time_ns[known:] - np.array(truth_ns)).tolist()
        half_ns += found.half_width_ns[known:].tolist()
    assert np.mean(np.array(error_ns) <= 2_000_000) > 0.95
    assert np.all(np.array(error_ns) <= np.maximum(half_ns, 5_500_000))


class Remote(ReplayMeter):
    """A board whose calls may be slow (an H200 in a virtual machine: 3.4 ms each); one joule per update.

    ``pieces`` of updates, ``(duration_s, period_s)``, each nearly on time; ``call_s(second)`` is how long calls take.
    """

    def __init__(self, clock, pieces, call_s, *, seed: int = 0, jitter: float = 0.01, **kwargs) -> None:
        super().__init__(100.0, clock=clock, **kwargs)
        self.clock, self.call_s, self.rng = clock, call_s, random.Random(seed)
        self.start_ns, at_s = clock.now_ns, -pieces[0][1] * (1.0 + self.rng.random())
        self.calls: list[tuple[float, float]] = []  # when, and how long
        self.updates_ns, end_s = [], 0.0
        for duration_s, period_s in pieces:
            end_s += duration_s
            while at_s < end_s:
                self.updates_ns.append(self.start_ns + round((at_s + self.rng.gauss(0.0, jitter * period_s)) * S))
                at_s += period_s
        self.updates_ns.sort()

    def read(self) -> Reading:
        start_ns = self.clock()
        at_s = (start_ns - self.start_ns) / S
        call_s = self.call_s(at_s) * self.rng.uniform(0.7, 1.3)
        looked_ns = start_ns + round(self.rng.random() * call_s * S)
        self.clock.now_ns = start_ns + round(call_s * S)
        self.calls.append((at_s, call_s))
        return Reading(start_ns, self.clock.now_ns, register_j=float(bisect.bisect(self.updates_ns, looked_ns)))

    def read_power_w(self) -> float:
        return 10.0  # a joule every 0.1 s

    def duty(self, from_s: float, until_s: float) -> float:
        """The share of the time that was spent in calls."""
        return sum(call_s for at_s, call_s in self.calls if from_s <= at_s < until_s) / (until_s - from_s)

    def longest_pause_s(self, from_s: float) -> float:
        """Without a call."""
        end_s = (self.clock.now_ns - self.start_ns) / S
        return float(np.max(np.diff([at_s for at_s, _ in [*self.calls, (end_s, 0.0)] if at_s >= from_s])))

    def errors_s(self, channel, from_s: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """How far knots are from their updates, and by how much they are told to be."""
        found = channel.curve.knots()
        first = bisect.bisect(self.updates_ns, self.start_ns) - 1
        truth_ns = np.array(self.updates_ns)[np.round(found.energy_j).astype(int) + first]
        late = found.time_ns > self.start_ns + from_s * S
        return (found.time_ns - truth_ns)[late] / S, found.half_width_ns[late] / S


def watched(pieces, call_s, *, seed: int = 0, late_s: float = 0.001, **kwargs):
    clock = VirtualClock()
    meter = Remote(clock, pieces, call_s, seed=seed, **kwargs)
    channel = Channel(meter, meter.open(), clock=clock)
    drive(
        channel,
        clock,
        clock.now_ns + round((sum(duration for duration, _ in pieces) - 1.0) * S),
        late_s=late_s,
        seed=seed,
    )
    return meter, channel


@pytest.mark.parametrize(("period_s", "call_s"), [(0.1, 0.001), (0.1, 0.0034), (0.02, 0.001)])
def test_updates_of_a_slow_board_are_found(period_s, call_s):
    errors_s, halves_s = [], []
    for seed in range(8):
        meter, channel = watched([(31.0, period_s)], lambda _: call_s, seed=seed)
        assert channel.period_s == pytest.approx(period_s, rel=0.01)
        assert meter.duty(0.0, 30.0) < 0.05 + 0.4 / 30.0  # a twentieth of the time, and some more at the beginning
        error_s, half_s = meter.errors_s(channel)
        errors_s += error_s.tolist()
        halves_s += half_s.tolist()
    assert np.sqrt(np.mean(np.square(errors_s))) < max(0.02 * period_s, 0.8 * call_s)
    assert np.mean(np.abs(errors_s) <= np.array(halves_s)) > 0.85  # a line is as sure as four in five of its edges


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pieces", "call_s", "wrong"),
    [
        ([(20.0, 0.1), (0.02, 0.02), (60.0, 0.1)], 0.00005, 0.005),  # once 20 ms later
        ([(20.0, 0.1), (0.02, 0.02), (60.0, 0.1)], 0.0034, 0.02),
        ([(20.0, 0.1), (60.0, 0.102)], 0.00005, 0.005),
        ([(20.0, 0.1), (60.0, 0.102)], 0.0034, 0.06),
        ([(20.0, 0.02), (60.0, 0.1)], 0.00005, 0.005),
    ],
)
def test_updates_that_come_later_than_they_did_are_found_again(pieces, call_s, wrong):
    """Knots on updates that they do not belong to, told to be sharp, are few for ten seconds, and then none."""
    sharp, before = [], []
    for seed in range(6):
        meter, channel = watched(pieces, lambda _: call_s, seed=seed, jitter=0.005)
        assert channel.period_s == pytest.approx(pieces[-1][1], rel=0.01)
        for found, from_s in ((sharp, 40.0), (before, 20.0)):
            error_s, half_s = meter.errors_s(channel, from_s)
            found.extend(np.abs(error_s) > 3.0 * half_s + 0.05 * 0.1)
    assert np.mean(sharp) < 0.002
    assert np.mean(before) < wrong


def test_a_late_update_now_and_then_is_no_longer_period():
    clock = VirtualClock()
    meter = Remote(clock, [(60.0, 0.1)], lambda _: 0.00005)
    meter.updates_ns = [t + 15_000_000 * (k % 30 == 7) for k, t in enumerate(meter.updates_ns)]
    channel = Channel(meter, meter.open(), clock=clock)
    drive(channel, clock, clock.now_ns + 55 * S)
    assert channel.period_s == pytest.approx(0.1, rel=0.005)
    error_s, _ = meter.errors_s(channel, 2.0)
    assert np.sqrt(np.mean(error_s**2)) < 0.003


@pytest.mark.parametrize("first_s", [0.03, 0.3])
def test_a_slow_first_call_says_nothing_of_the_others(first_s):
    meter, channel = watched([(8.0, 0.1)], lambda at_s: first_s if at_s < 0.01 else 0.00005)
    assert meter.longest_pause_s(0.0) < 1.5 * first_s + 0.12
    assert len(channel.curve) > 60
    assert channel.period_s == pytest.approx(0.1, rel=0.01)


@pytest.mark.parametrize("call_s", [0.00005, 0.0034, 0.008])
def test_a_register_that_stood_still_for_minutes_is_followed_at_once(call_s):
    meter, channel = watched([(10.0, 0.1), (300.0, 300.0), (30.0, 0.1)], lambda _: call_s, jitter=0.0)
    assert channel.trouble == "its energy counter does not move"
    assert meter.longest_pause_s(10.0) < 1.2
    assert meter.duty(20.0, 300.0) < 0.06


def test_calls_that_become_slow_are_made_rarely():
    meter, _ = watched([(60.0, 0.02)], lambda at_s: 0.00005 if at_s < 20.0 else 0.005)
    assert meter.duty(20.0, 22.0) < 0.3
    assert meter.duty(25.0, 59.0) < 0.06


@pytest.mark.parametrize(("period_s", "call_s"), [(0.1, 0.0034), (0.1, 0.008), (0.02, 0.001), (0.05, 0.0034)])
def test_the_end_is_known_soon(period_s, call_s):
    """Nothing has to be saved up any more: the session waits for two and a half periods at most."""
    for seed in range(20):
        clock = VirtualClock()
        meter = Remote(clock, [(20.0, period_s)], lambda _: call_s, seed=seed)
        channel = Channel(meter, meter.open(), clock=clock)
        drive(channel, clock, clock.now_ns + round((8.0 + 0.137 * seed) * S), seed=seed)
        end_ns = clock.now_ns
        channel.hurry()
        drive(channel, clock, end_ns + round((2.5 * period_s + 0.05) * S), seed=seed)
        assert channel.curve.end_ns >= end_ns


@pytest.mark.parametrize("instant_power", [False, True])
def test_no_board_is_looked_at_that_does_not_tell_its_power(instant_power):
    info = MeterInfo("d", "d", "measured", "gpu", power_max_w=800.0, instant_power=instant_power)
    clock = VirtualClock()
    meters = [Remote(clock, [(60.0, 0.1)], lambda _: 0.00005, seed=i, info=info) for i in range(8)]
    channels = Sampler([Channel(m, m.open(), clock=clock) for m in meters], lambda: None).channels
    drive(channels[0], clock, clock.now_ns + 55 * S)
    assert sum(at_s > 20.0 for at_s, _ in meters[0].calls) / 35 < 16


def test_registers_that_move_at_any_poll_are_no_part_of_the_crowd():
    continuous = [ReplayMeter(10.0, counter_period_s=0.001, device_id=str(i)) for i in range(4)]
    sampler = sampler_of(ReplayMeter(100.0, counter_period_s=0.1, device_id="gpu"), *continuous)
    assert not sampler.channels[0].hunts_always  # nobody knows yet
    sampler.start()
    wait_for(lambda: sampler.channels[0].hunts_always)
    sampler.stop()


def test_one_poll_waits_for_others():
    """Channels that may be polled later are polled when one is that must not."""
    polled = []

    class Told(Channel):
        def poll(self, lock) -> None:
            polled.append((self, time.monotonic_ns()))
            self.due_ns = time.monotonic_ns() + 10 * S

    def told(due_s: float, slack_s: float) -> Channel:
        meter = ReplayMeter(100.0)
        channel = Told(meter, meter.open())
        channel.wanted = (due_s, slack_s)
        return channel

    patient, strict, later = told(0.05, 0.3), told(0.15, 0.0), told(3.0, 0.0)
    sampler = Sampler([later, strict, patient], lambda: None)
    sampler.start()
    sampler.stop()
    polled.clear()
    start_ns = time.monotonic_ns()
    for channel in sampler.channels:
        channel.due_ns, channel.slack_ns = (start_ns + round(x * S) for x in channel.wanted)
        channel.slack_ns -= start_ns
    thread = threading.Thread(target=sampler._loop)
    sampler._ended, sampler._alarm = False, threading.Lock()
    sampler._alarm.acquire()
    thread.start()
    wait_for(lambda: len(polled) == 2)
    sampler.end()
    sampler._alarm.release()
    thread.join()
    assert [c for c, _ in polled] == [patient, strict]
    assert polled[0][1] >= start_ns + 0.15 * S - 1_000_000
