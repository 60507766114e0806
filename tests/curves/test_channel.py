from __future__ import annotations

import random
import threading
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from lightning_energy.curves.channel import Channel
from lightning_energy.meters import MeterLost, Reading, ReplayMeter
from tests.sim.clock import VirtualClock, drive
from tests.sim.registers import Jittery, Remote

S = 10**9


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


def test_a_device_among_many_that_changes_its_period_is_followed():
    clock = VirtualClock()
    meter = ReplayMeter(100.0, counter_period_s=0.1, clock=clock)
    channel = Channel(meter, meter.open(), clock=clock)
    channel.plan.hunts_always = False
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


@pytest.mark.slow
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
        doubted.append(channel._edges._doubts.is_raised)
    assert sum(doubted) < 15


@pytest.mark.slow
@pytest.mark.parametrize("sooner_s", [0.005, 0.02])
@pytest.mark.parametrize("hunts_always", [False, True])
def test_updates_that_come_sooner_than_they_did_are_found_again(sooner_s, hunts_always):
    """The line through the last edges does not hold any more, which only an edge that came too soon can show."""
    error_ns, half_ns = [], []
    for seed in range(6):
        clock = VirtualClock()
        meter = Jittery(clock)
        channel = Channel(meter, meter.open(), clock=clock)
        channel.plan.hunts_always = hunts_always
        drive(channel, clock, clock.now_ns + 20 * S, seed=seed)
        meter.start_ns -= round(sooner_s * S)
        drive(channel, clock, clock.now_ns + 5 * S, seed=seed + 10)
        known = len(channel.curve)
        drive(channel, clock, clock.now_ns + 10 * S, seed=seed + 20)
        found = channel.curve.knots()
        updates_ns = np.array([meter.update_ns(k) for k in range((clock.now_ns - meter.start_ns) // (S // 10) + 2)])
        error_ns += np.abs(found.time_ns[known:, None] - updates_ns).min(axis=1).tolist()
        half_ns += found.half_width_ns[known:].tolist()
    assert np.mean(np.array(error_ns) <= 2_000_000) > 0.95
    assert np.all(np.array(error_ns) <= np.maximum(half_ns, 5_500_000))


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


@pytest.mark.slow
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


def early_and_late(k: int) -> float:
    """Updates by 3 % of the period too early and too late, in turns of four."""
    return k + (0.0, -0.03, 0.0, 0.03)[k % 4]


def ever_longer(k: int) -> float:
    """A period that grows by 2 % in 4,000 updates, as that of a clock that becomes hot."""
    return k + k * k * 0.02 / 8000.0


def now_longer_now_shorter(k: int) -> float:
    """A period that is 1 in 1,000 longer for 350 updates, and as much shorter for 350 others."""
    return k + 1e-3 * (k % 350 if k % 700 < 350 else 350 - k % 350)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("moments", "period_s", "call_s"),
    [
        (early_and_late, 0.1, 0.0034),
        (ever_longer, 0.02, 0.00005),
        (now_longer_now_shorter, 0.02, 0.00005),
    ],
)
def test_updates_off_a_straight_line_lie_within_their_half_widths(moments, period_s, call_s):
    """Though one in eight is watched: four in five do, as the half width says, and nearly all within two."""
    errors_s, halves_s = [], []
    for seed in range(3):
        clock = VirtualClock()
        meter = Remote(clock, [(70.0, period_s)], lambda _: call_s, seed=seed)
        first_s = 1e-9 * (meter.updates_ns[0] - meter.start_ns)
        updates = range(len(meter.updates_ns))
        meter.updates_ns = [meter.start_ns + round((first_s + period_s * moments(k)) * S) for k in updates]
        channel = Channel(meter, meter.open(), clock=clock)
        drive(channel, clock, clock.now_ns + 69 * S, seed=seed)
        error_s, half_s = meter.errors_s(channel, 3.0)
        errors_s += np.abs(error_s).tolist()
        halves_s += half_s.tolist()
    errors, halves = np.array(errors_s), np.array(halves_s)
    assert np.mean(errors <= halves) > 0.88
    assert np.mean(errors <= 2.0 * halves) > 0.972


def moved_at(seconds, *, call_s: float = 0.00005, late_s: float = 0.0003, seed: int = 0):
    """A board whose counter moves at these moments, and its channel after the last but one."""
    clock = VirtualClock()
    meter = Remote(clock, [(1.0, 1.0)], lambda _: call_s, seed=seed)
    meter.updates_ns = [meter.start_ns + round(at_s * S) for at_s in seconds]
    channel = Channel(meter, meter.open(), clock=clock)
    drive(channel, clock, meter.updates_ns[-2], late_s=late_s, seed=seed)
    return meter, channel


@pytest.mark.parametrize("seed", range(3))
def test_two_updates_that_are_close_by_chance_are_no_register_that_moves_all_the_time(seed):
    """A line was given up, as updates stray by a tenth of the period: it says more than the two edges since."""
    rng = random.Random(seed)
    meter, channel = moved_at(sorted(0.01 * k + rng.gauss(0.0, 0.001) for k in range(-3, 3000)), seed=seed)
    assert channel.period_s == pytest.approx(0.01, rel=0.3)
    assert not channel.is_continuous
    assert len(channel.curve) > 2800
    error_s, half_s = meter.errors_s(channel, 1.0)
    assert np.mean(np.abs(error_s) <= half_s) > 0.97


def test_a_pair_of_updates_at_the_beginning_is_no_register_that_moves_all_the_time():
    meter, channel = moved_at([-0.05, 0.05, 0.053, *(0.153 + 0.1 * k for k in range(200))])
    assert channel.period_s == pytest.approx(0.1, rel=0.01)
    assert len(channel.curve) > 190
    error_s, half_s = meter.errors_s(channel, 1.0)
    assert np.mean(np.abs(error_s) <= half_s) > 0.97


@pytest.mark.slow
@pytest.mark.parametrize("longer", [lambda at_s: 1.0 + 0.1 * at_s / 40.0, lambda at_s: 1.25 if at_s > 20.0 else 1.0])
def test_of_updates_that_are_never_seen_sharply_the_period_is_no_better_known_than_the_updates(longer):
    """It says how old the last update may be: nine in ten half widths hold, though the period grows."""
    inside = []
    for seed in range(6):
        updates_s = [-0.02 - 0.001 * seed]
        while updates_s[-1] < 60.0:
            updates_s.append(updates_s[-1] + 0.01 * longer(updates_s[-1]))
        meter, channel = moved_at(updates_s, call_s=0.0034, seed=seed)
        error_s, half_s = meter.errors_s(channel, 3.0)
        inside += (np.abs(error_s) <= 1.15 * half_s).tolist()  # 1.15 half widths are two standard uncertainties
    assert np.mean(inside) > 0.85


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


@pytest.mark.slow
@pytest.mark.parametrize(("period_s", "call_s"), [(0.1, 0.0034), (0.1, 0.008), (0.02, 0.001), (0.05, 0.0034)])
def test_the_end_is_known_soon(period_s, call_s):
    """Nothing has to be saved up any more: the session waits for two and a half periods at most."""
    for seed in range(20):
        clock = VirtualClock()
        meter = Remote(clock, [(20.0, period_s)], lambda _: call_s, seed=seed)
        channel = Channel(meter, meter.open(), clock=clock)
        drive(channel, clock, clock.now_ns + round((8.0 + 0.137 * seed) * S), seed=seed)
        end_ns = clock.now_ns
        channel.plan.hurry()
        drive(channel, clock, end_ns + round((2.5 * period_s + 0.05) * S), seed=seed)
        assert channel.curve.end_ns >= end_ns


@pytest.mark.slow
def test_few_powers_in_an_interval_do_not_tell_how_its_joules_lie():
    """A slow board is looked at three times in the second between two updates, while steps come and go."""

    class Steps(Slow):
        def read_power_w(self) -> float:
            power_w = super().read_power_w()
            self._clock.now_ns += 20_000_000
            return power_w

    inside = []
    for seed in range(6):
        clock, rng = VirtualClock(), random.Random(seed)
        meter = Steps([*[(0.05, 300.0), (0.03, 60.0)] * 20, (0.5, 120.0)], counter_period_s=1.0, clock=clock)
        channel = Channel(meter, meter.open(), clock=clock)
        begin_ns = clock.now_ns
        drive(channel, clock, begin_ns + 60 * S, seed=seed)
        for _ in range(100):
            a_ns, b_ns = sorted(begin_ns + round(rng.uniform(4.0, 56.0) * S) for _ in range(2))
            energy = channel.curve.energy_between(a_ns, b_ns)
            inside.append(abs(energy.energy_j - meter.true_energy_j(a_ns, b_ns)) <= 2 * energy.u_j)
    assert np.mean(inside) > 0.95


def test_each_kind_of_trouble_is_kept_with_its_first_time():
    clock = VirtualClock()

    class Glitches(ReplayMeter):
        fault = ""

        def read(self):
            if self.fault:
                raise MeterLost(self.fault)
            return super().read()

    meter = Glitches(100.0, counter_period_s=0.02, clock=clock)
    channel, lock = Channel(meter, meter.open(), clock=clock), threading.RLock()
    for fault in ("", "busy for 3.5 s", "busy for 12 s", "", "gone"):
        meter.fault = fault
        for _ in range(40):  # longer than a register bridges
            channel.poll(lock)
            clock.now_ns += 50_000_000
    assert [text for text, _ in channel.troubles.values()] == ["busy for 3.5 s", "gone"]
    assert channel.trouble == "busy for 3.5 s"
    times = [since_ns for _, since_ns in channel.troubles.values()]
    assert times == sorted(times)
    for i in range(60):
        channel._remember("a" * (i + 1), clock.now_ns)
    assert len(channel.troubles) == 20


@pytest.mark.parametrize("counter_period_s", [0.1, None])
def test_a_meter_that_gives_the_impossible_is_out_until_it_recovers(counter_period_s):
    clock = VirtualClock()
    begin_ns = clock.now_ns

    class Mad(ReplayMeter):
        def read(self) -> Reading:
            first = super().read()
            is_mad = 4 * S < first.start_ns - begin_ns < 9 * S
            return replace(first, end_ns=first.end_ns + 10**15, register_j=1e12) if is_mad else first

    meter = Mad(100.0, counter_period_s=counter_period_s, clock=clock)
    channel = Channel(meter, meter.open(), clock=clock)
    drive(channel, clock, begin_ns + 15 * S)
    energy = channel.curve.energy_between(begin_ns + 1 * S, begin_ns + 14 * S)
    assert energy.missing_s == pytest.approx(5.0, abs=0.8)  # from the last knot to the first of the new segment
    assert energy.energy_j == pytest.approx(100.0 * (13.0 - energy.missing_s), rel=0.02)
    assert "its reading is from another clock (1e+06 s after the call)" in channel.trouble


class Hangs(ReplayMeter):
    """The next read takes ``hang_s`` more of the virtual clock; says the value that there was at its ``looks``."""

    hang_s = 0.0
    looks = "begin"

    def read(self) -> Reading:
        start_ns, hang_s, self.hang_s = self._clock(), self.hang_s, 0.0
        first = super().read()
        self._clock.now_ns += round(hang_s * S)
        last = super().read()
        seen = first if self.looks == "begin" else last
        return Reading(start_ns, self._clock.now_ns, seen.register_j, seen.power_w)


@pytest.mark.parametrize("period_s", [0.1, 0.0, None])
@pytest.mark.parametrize("looks", ["begin", "end"])
def test_a_read_that_returns_late_is_named_so_and_its_time_is_missing(period_s, looks):
    clock = VirtualClock()
    meter = Hangs(100.0, counter_period_s=period_s, clock=clock)
    channel = Channel(meter, meter.open(), clock=clock)
    begin_ns = clock.now_ns
    drive(channel, clock, begin_ns + 10 * S)
    meter.hang_s, meter.looks = 25.0, looks
    drive(channel, clock, begin_ns + 60 * S)
    assert channel.trouble == "its read has not returned for 25 s"
    assert len(channel.troubles) == 1
    total = channel.curve.energy_between(begin_ns + S, begin_ns + 59 * S)
    assert total.missing_s == pytest.approx(25.0, abs=0.5)
    assert total.energy_j == pytest.approx(100.0 * (58.0 - total.missing_s), rel=0.01)


@pytest.mark.parametrize("period_s", [0.1, 0.02])
@pytest.mark.parametrize("looks", ["begin", "end"])
@pytest.mark.parametrize("hang_s", [0.3, 1.0, 1.9])
def test_a_call_that_is_held_up_counts_nothing_twice_and_nothing_is_missing(period_s, looks, hang_s):
    """Whatever held the process up: what the call has seen, it has seen at its begin or at its end."""
    clock, rng = VirtualClock(), random.Random(0)
    meter = Hangs([(0.4, 300.0), (0.1, 60.0)], counter_period_s=period_s, clock=clock)
    channel = Channel(meter, meter.open(), clock=clock)
    begin_ns, inside = clock.now_ns, []
    drive(channel, clock, begin_ns + 5 * S)
    for k in range(10):
        meter.hang_s, meter.looks = hang_s, looks
        drive(channel, clock, clock.now_ns + round(rng.uniform(3.5, 4.0) * S), seed=k)
    assert channel.trouble is None
    ends_ns = [begin_ns + round(rng.uniform(4.0, 34.0) * S) for _ in range(200)]
    for a_ns, b_ns in (sorted(pair) for pair in pairwise(ends_ns)):
        energy = channel.curve.energy_between(a_ns, b_ns)
        assert energy.missing_s == 0
        inside.append(abs(energy.energy_j - meter.true_energy_j(a_ns, b_ns)) <= 2 * energy.u_j + 0.01)
    assert np.mean(inside) > 0.97
    knots = channel.curve.knots()
    rise_j = knots.energy_j[-1] - knots.energy_j[0]
    assert rise_j == pytest.approx(meter.true_energy_j(int(knots.time_ns[0]), int(knots.time_ns[-1])), abs=1.0)


CLOCKS = {
    "that of the calendar": lambda now_ns: 1_790_000_000 * S + now_ns,
    "since some other moment": lambda now_ns: now_ns - 10**14,
    "in seconds": lambda now_ns: now_ns // S,
}


@pytest.mark.parametrize("period_s", [0.1, None])
@pytest.mark.parametrize("clock_of", CLOCKS.values(), ids=[*CLOCKS])
def test_readings_by_another_clock_are_refused_with_the_reason(period_s, clock_of):
    clock = VirtualClock()

    class OfTheUser(ReplayMeter):
        def read(self):
            seen = super().read()
            return Reading(clock_of(seen.start_ns), clock_of(seen.end_ns), seen.register_j, seen.power_w)

    meter = OfTheUser(100.0, counter_period_s=period_s, clock=clock)
    channel = Channel(meter, meter.open(), clock=clock)
    begin_ns = clock.now_ns
    drive(channel, clock, begin_ns + 10 * S)
    (trouble,) = (text for text, _ in channel.troubles.values())
    assert trouble.startswith("its reading is from another clock")
    assert "lightning_energy.meters.monotonic_ns()" in trouble
    assert channel.curve.energy_between(begin_ns, begin_ns + 9 * S).missing_s == pytest.approx(9.0)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
@pytest.mark.parametrize("call", ["read", "read_power_w", "revised"])
def test_what_a_meter_raises_ends_no_thread(call, error):
    class Ends(ReplayMeter):
        def fails(self):
            raise error

    clock = VirtualClock()
    meter = Ends(100.0, counter_period_s=0.5, clock=clock)
    channel = Channel(meter, meter.open(), clock=clock)
    drive(channel, clock, clock.now_ns + 2 * S)
    setattr(meter, call, meter.fails)
    drive(channel, clock, clock.now_ns + 5 * S)
    assert (channel.trouble is None) == (call == "read_power_w")
    delattr(meter, call)
    knots = len(channel.curve)
    drive(channel, clock, clock.now_ns + 3 * S)
    assert len(channel.curve) > knots


@pytest.mark.parametrize("odd", ["x", 5, {"a": 1}, object()])
def test_a_new_description_that_is_none_is_not_taken(odd):
    clock = VirtualClock()
    meter = ReplayMeter(100.0, counter_period_s=0.1, clock=clock)
    meter.revised = lambda: odd
    channel = Channel(meter, meter.open(), clock=clock)
    info = channel.info
    drive(channel, clock, clock.now_ns + S)
    assert channel.info is info
    assert "its revised() returned" in channel.trouble
    assert len(channel.curve) > 3


def test_a_training_that_keeps_the_interpreter_to_itself_costs_no_updates():
    """Polls begin up to 5 ms late, and some answers wait as long for the interpreter's lock: no driver is slow."""
    clock, rng = VirtualClock(), random.Random(0)

    class Waits(ReplayMeter):
        def read(self) -> Reading:
            first = super().read()
            clock.now_ns += 5_000_000 * (rng.random() < 0.4)
            return replace(first, end_ns=clock())

    meter = Waits(100.0, counter_period_s=0.02, clock=clock)
    channel, lock = Channel(meter, meter.open(), clock=clock), threading.RLock()
    begin_ns = clock.now_ns
    while clock.now_ns < begin_ns + 8 * S:
        clock.now_ns = max(channel.due_ns, clock.now_ns) + round(rng.uniform(0.002, 0.0055) * S)
        channel.poll(lock)
    times_ns = channel.curve.knots().time_ns
    assert np.sum(times_ns > begin_ns + 2 * S) == pytest.approx(300, abs=6)
