from __future__ import annotations

import bisect
import dataclasses
import math
import random
import threading
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_energy.curves.channel import Channel
from lightning_energy.curves.curve import Curve
from lightning_energy.curves.edges import CounterEdges
from lightning_energy.meters import MeterInfo, Reading, ReplayMeter
from tests.sim.clock import VirtualClock, drive

S = 10**9
INFO = MeterInfo("d", "device", "measured", "gpu", power_max_w=460.0, power_min_w=50.0)
SEEING = dataclasses.replace(INFO, instant_power=True)


class Device:
    """A counter of known steps, read at times chosen by the test."""

    def __init__(self, info=INFO, *, power_w: float = 200.0, period_ns: int = S // 10) -> None:
        self.curve = Curve(info)
        self.edges = CounterEdges(info, self.curve)
        self.power_w, self.period_ns, self.offset_j, self.notes = power_w, period_ns, 0.0, ""

    def register_j(self, now_ns: int) -> float:
        return self.offset_j + self.power_w * (now_ns // self.period_ns) * self.period_ns * 1e-9

    def poll(self, now_ns: int, register_j: float | None = None) -> bool:
        value = self.register_j(now_ns) if register_j is None else register_j
        moved = self.edges.feed(Reading(now_ns, now_ns + 1000, register_j=value))
        self.notes += self.edges.note
        return moved

    def poll_all(self, start_s: float, end_s: float, every_s: float = 0.004) -> None:
        now_ns = round(start_s * S)
        while now_ns < end_s * S:
            self.poll(now_ns)
            now_ns += round(every_s * S)


def missing_s(curve: Curve) -> float:
    return curve.energy_between(curve.start_ns, curve.end_ns).missing_s


def test_knots_stand_only_where_the_counter_moved():
    device = Device()
    device.poll_all(10.0, 12.0)
    knots = device.curve.knots()
    assert all(abs(t - round(t / device.period_ns) * device.period_ns) < 4_500_000 for t in knots.time_ns)
    rises = [b - a for a, b in zip(knots.energy_j, knots.energy_j[1:], strict=False)]
    assert rises == pytest.approx([20.0] * len(rises))
    assert device.edges.period.s == pytest.approx(0.1, rel=0.02)
    assert missing_s(device.curve) == 0


def test_the_first_knot_reaches_back_before_the_first_poll():
    device = Device()
    device.poll_all(10.05, 10.5)
    assert device.curve.start_ns <= 10_050_000_000


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.005, 0.3), st.floats(60, 400)), min_size=1, max_size=12),
    st.sampled_from([0.02, 0.033, 0.1]),
    st.floats(0, 0.02),
    st.integers(0, 1000),
)
def test_polled_late_or_early_no_joule_is_invented(pieces, period_s, late_s, seed):
    clock = VirtualClock()
    meter = ReplayMeter(pieces, counter_period_s=period_s, clock=clock, info=INFO)
    channel = Channel(meter, meter.open(), clock=clock)
    start_ns = clock.now_ns
    clock.now_ns += 7_000_000 * (seed % 30)
    drive(channel, clock, start_ns + 4 * S, late_s=late_s, seed=seed)
    channel.finish()
    knots = channel.curve.knots()
    assert channel.trouble is None
    assert (knots.quality[1:] == 0).all()
    # from the middle of one bracket to the middle of another the register rose by what the curve says
    for i, j in ((0, -1), (len(knots.time_ns) // 3, -1)):
        true_j = meter.true_energy_j(int(knots.time_ns[i]), int(knots.time_ns[j]))
        slack_j = 460.0 * (knots.half_width_ns[i] + knots.half_width_ns[j] + 4e6) * 1e-9
        assert knots.energy_j[j] - knots.energy_j[i] == pytest.approx(true_j, abs=slack_j)


@pytest.mark.parametrize(
    ("fault_j", "note"), [(-1000.0, "backwards"), (-2000.0, "backwards"), (1e6, "leapt"), (100.0, "leapt")]
)
def test_a_counter_that_jumps_starts_a_new_segment(fault_j, note):
    """After a fall a second passes until it is believed that the counter began anew: it might come back."""
    device = Device()
    device.poll_all(10.0, 12.0)
    before_j = device.curve.end_j
    device.offset_j = fault_j
    device.poll(12_004_000_000)
    assert note in device.edges.note
    device.poll_all(12.008, 14.0)
    lost_s = missing_s(device.curve)
    assert 0 < lost_s <= (1.35 if note == "backwards" else 0.25)
    known_s = device.curve.end_ns * 1e-9 - 12.0 - lost_s
    assert device.curve.end_j - before_j == pytest.approx(200.0 * known_s, abs=45.0)


@pytest.mark.parametrize("dip_j", [80.0, 5.0, 1000.0])
@pytest.mark.parametrize("dip_s", [0.3, 0.05, 0.9])
def test_a_counter_that_dips_and_comes_back_counts_nothing_twice(dip_j, dip_s):
    device = Device()
    for second in range(10, 20):
        device.poll_all(second, second + 1 - dip_s)
        device.offset_j = -dip_j
        device.poll_all(second + 1 - dip_s, second + 1)
        device.offset_j = 0.0
    device.poll_all(20.0, 22.0)
    total = device.curve.energy_between(device.curve.start_ns, device.curve.end_ns)
    assert 0.9 * 200.0 * (total.duration_s - total.missing_s) <= total.energy_j <= 200.0 * total.duration_s
    assert dip_j < 20.0 or "backwards" in device.notes  # an update of 20 J hides a smaller dip


@given(st.lists(st.tuples(st.floats(0.02, 1.5), st.floats(0.0, 500.0)), min_size=1, max_size=8))
@settings(max_examples=60)
def test_whatever_a_counter_forgets_no_joule_is_invented(dips):
    """It falls by some joules, for some time, and comes back, or does not."""
    device, now_s = Device(), 10.0
    for seconds, joules in dips:
        device.poll_all(now_s, now_s + seconds)
        device.offset_j = -joules if device.offset_j == 0.0 else 0.0
        now_s += seconds
    device.poll_all(now_s, now_s + 2.0)
    total = device.curve.energy_between(device.curve.start_ns, device.curve.end_ns)
    # a rise to where it had been before may be the return of what was lost while it was believed to have begun anew
    back_j = sum(joules for seconds, joules in dips if seconds > 1.0)
    assert total.energy_j <= 200.0 * total.duration_s + 45.0 + back_j


def test_where_a_run_ends_soon_after_a_counter_began_anew_the_time_since_is_missing():
    """It may come back: nobody waits for that any more."""
    device = Device()
    device.poll_all(10.0, 12.03)
    device.offset_j = -device.register_j(round(12.03 * S))
    device.poll_all(12.03, 12.53)
    device.edges.finish(round(12.53 * S))
    assert device.curve.end_ns == round(12.53 * S)
    assert missing_s(device.curve) == pytest.approx(0.53, abs=0.01)


def test_behind_a_missing_time_nobody_shares_out_the_update_that_it_ends_in():
    """A part of its joules was spent in the missing time, and nobody knows which: whole updates count alone."""
    device = Device()
    device.poll_all(10.0, 12.03)
    device.offset_j = -device.register_j(round(12.03 * S))
    device.poll_all(12.03, 14.5)
    assert device.notes == "its energy counter went backwards"
    rises_j = [b - a for a, b in pairwise(device.curve.knots().energy_j)]
    assert {round(rise_j, 9) for rise_j in rises_j} == {0.0, 20.0}
    assert missing_s(device.curve) == pytest.approx(1.1, abs=0.01)  # from the update at 12.0 to that at 13.1


def test_a_counter_that_returns_zero_for_a_while():
    device = Device()
    device.poll_all(10.0, 11.0)
    for i in range(50):
        device.poll(11_004_000_000 + i * 4_000_000, register_j=0.0)
    device.poll_all(11.208, 13.0)
    total = device.curve.energy_between(10 * S, 13 * S)
    assert 0.2 <= total.missing_s <= 0.6
    assert total.energy_j <= 3.0 * 200.0
    assert total.energy_j == pytest.approx(200.0 * (3.0 - total.missing_s), rel=0.05)


@pytest.mark.parametrize("hole_s", [0.3, 2.0, 5.0])
def test_a_hole_in_the_polls_loses_nothing(hole_s):
    """The process was stopped, or the thread starved: the counter went on, and is believed."""
    device = Device()
    device.poll_all(10.0, 12.0)
    device.poll_all(12.0 + hole_s, 15.0 + hole_s)
    total = device.curve.energy_between(device.curve.start_ns, device.curve.end_ns)
    assert total.missing_s == 0
    assert total.energy_j == pytest.approx(200.0 * total.duration_s, rel=0.01)


@pytest.mark.parametrize(("silence_s", "lost"), [(0.5, False), (3.0, True)])
def test_a_short_silence_is_bridged_and_a_long_one_is_missing(silence_s, lost):
    device = Device()
    device.poll_all(10.0, 12.0)
    now_s = 12.0
    while now_s < 12.0 + silence_s:
        device.edges.silent(round(now_s * S))
        now_s += 0.1
    device.poll_all(12.0 + silence_s, 14.0 + silence_s)
    total = device.curve.energy_between(10 * S, device.curve.end_ns)
    assert (total.missing_s > 0) == lost
    assert total.missing_s <= silence_s + 0.2
    assert total.energy_j == pytest.approx(200.0 * (total.duration_s - total.missing_s), rel=0.02)


def test_a_device_that_never_answers_is_missing_from_the_first_moment():
    device = Device()
    for i in range(5):
        device.edges.silent(10 * S + i * S // 10)
    total = device.curve.energy_between(10 * S, 10 * S + 4 * S // 10)
    assert total.energy_j is None


def test_one_edge_alone_says_when_but_not_how_much():
    device = Device()
    device.poll_all(10.05, 10.15)
    assert device.curve.end_ns is None
    device.edges.finish()
    assert missing_s(device.curve) > 0
    assert device.curve.end_j == 0.0


def test_a_reading_without_a_register_is_refused():
    device = Device()
    with pytest.raises(ValueError, match="integrate its power"):
        device.edges.feed(Reading(0, 1, power_w=3.0))


def test_refined_edges_are_closer_than_the_polls():
    """With a regular counter the fitted times beat the middle of a wide bracket."""
    errors = {}
    for refine in (False, True):
        clock = VirtualClock()
        meter = ReplayMeter(200.0, counter_period_s=0.1, clock=clock, info=INFO)
        channel = Channel(meter, meter.open(), clock=clock, refine=refine)
        start_ns = clock.now_ns
        drive(channel, clock, start_ns + 30 * S, late_s=0.006, seed=3)
        times = channel.curve.knots().time_ns[80:]
        phases_s = ((times - start_ns) * 1e-9 + 0.05) % 0.1 - 0.05
        errors[refine] = math.sqrt(sum(p * p for p in phases_s) / len(phases_s))
    assert errors[True] < 0.7 * errors[False]


@pytest.mark.slow
@pytest.mark.parametrize("late_s", [0.0001, 0.03, 0.1])
def test_windows_from_the_first_moment_on_are_covered_however_late_the_polls(late_s):
    """An interpreter that is busy at the start (imports, compilation) keeps the first polls apart for many updates."""
    inside, n = 0, 0
    for period_s in (0.01, 0.02, 0.1):
        for seed in range(30):
            rng = random.Random(seed)
            clock = VirtualClock()
            meter = ReplayMeter([(0.213, 400.0), (0.104, 80.0)], counter_period_s=period_s, clock=clock, info=SEEING)
            meter.open()
            clock.now_ns += rng.randrange(S)
            channel = Channel(meter, SEEING, clock=clock)
            a_ns = clock.now_ns + round(rng.uniform(0, 0.1) * S)
            b_ns = a_ns + round(rng.uniform(0.05, 2.0) * S)
            drive(channel, clock, b_ns + 3 * S // 10, late_s=late_s, seed=seed)
            channel.finish()
            energy = channel.curve.energy_between(a_ns, b_ns)
            if energy.energy_j is not None and energy.missing_s == 0:
                n += 1
                inside += abs(energy.energy_j - meter.true_energy_j(a_ns, b_ns)) <= 2 * energy.u_j
    assert n >= 60  # the shortest windows of the latest polls are missing
    assert inside / n >= 0.92


def test_a_long_first_wait_does_not_set_the_period():
    """The first poll, then nothing for half a second: the period is that of the edges that were polled sharply."""
    device = Device(period_ns=S // 50)
    device.poll(10 * S)
    device.poll_all(10.47, 11.0, every_s=0.002)
    assert device.edges.period.s == pytest.approx(0.02, rel=0.02)
    true_j = 200.0 * 0.9
    energy = device.curve.energy_between(10 * S, 10 * S + round(0.9 * S))
    assert abs(energy.energy_j - true_j) <= 2 * energy.u_j
    assert energy.u_j < 200.0 * 0.02


@pytest.mark.slow
@pytest.mark.parametrize("period_s", [0.02, 0.1])
def test_a_second_without_polls_soon_after_the_first_does_not_spoil_the_first_point(period_s):
    """A process that was to poll has died, say: edges around such a hole tell little of the period."""
    within = 0
    for seed in range(100):
        rng, clock, lock = random.Random(seed), VirtualClock(), threading.RLock()
        meter = ReplayMeter(100.0, counter_period_s=period_s, clock=clock, info=SEEING)
        meter.open()
        clock.now_ns += rng.randrange(S)
        channel, hole_ns, end_ns = Channel(meter, SEEING, clock=clock), clock.now_ns + rng.randrange(S // 2), None
        while end_ns is None or (channel.curve.end_ns or 0) < end_ns:
            clock.now_ns = max(channel.due_ns, clock.now_ns)
            if end_ns is None and clock.now_ns > hole_ns:
                clock.now_ns += S
                end_ns = clock.now_ns + S // 4
            channel.poll(lock)
        start_ns = channel.curve.start_ns
        found = channel.curve.energy_between(start_ns, end_ns)
        assert found.missing_s == 0
        within += abs(found.energy_j - meter.true_energy_j(start_ns, end_ns)) <= 2 * found.u_j
    assert within >= 97


@pytest.mark.slow
@pytest.mark.parametrize("period_s", [0.02, 0.1])
def test_polls_that_all_come_late_leave_no_figure_far_surer_than_it_is(period_s):
    """A board of 20 ms that is polled five times a second has any period: none of them may narrow its points."""
    ratios = []
    for seed in range(100):
        rng, clock, lock = random.Random(seed), VirtualClock(), threading.RLock()
        meter = ReplayMeter(100.0, counter_period_s=period_s, clock=clock, info=SEEING)
        meter.open()
        clock.now_ns += rng.randrange(S)
        channel, start_ns = Channel(meter, SEEING, clock=clock), clock.now_ns
        while (channel.curve.end_ns or 0) < start_ns + 2 * S:
            clock.now_ns = max(channel.due_ns, clock.now_ns) + round(rng.expovariate(1 / 0.2) * S)
            channel.poll(lock)
        start_ns = max(start_ns, channel.curve.start_ns)
        for end_ns in (start_ns + S // 3, start_ns + S):
            found = channel.curve.energy_between(start_ns, end_ns)
            assert found.missing_s == 0
            ratios.append(abs(found.energy_j - meter.true_energy_j(start_ns, end_ns)) / found.u_j)
    assert max(ratios) <= 3.0
    assert sum(ratio <= 2.0 for ratio in ratios) >= 0.95 * len(ratios)


def test_powers_that_share_out_a_first_interval_are_no_surer_than_its_beginning():
    """The register moved once before two seconds without polls: its period may be as long."""
    clock, lock = VirtualClock(), threading.RLock()
    meter = ReplayMeter([(0.213, 400.0), (0.104, 80.0)], counter_period_s=0.1, clock=clock, info=SEEING)
    meter.open()
    clock.now_ns += S + 800_000
    channel, begin_ns, is_over = Channel(meter, SEEING, clock=clock), clock.now_ns, False
    while (channel.curve.end_ns or 0) < begin_ns + 4 * S:
        clock.now_ns = max(channel.due_ns, clock.now_ns + S // 50_000)
        if not is_over and clock.now_ns > begin_ns + S // 5:
            is_over, clock.now_ns = True, clock.now_ns + 2 * S
            channel.plan.begin_anew()
        channel.poll(lock)
    found = channel.curve.energy_between(begin_ns, begin_ns + 4 * S)
    assert abs(found.energy_j - meter.true_energy_j(begin_ns, begin_ns + 4 * S)) <= 2 * found.u_j


class SlowAtFirst(ReplayMeter):
    """Its first calls take up to 30 ms, at whose end they look."""

    def __init__(self, seed, clock):
        super().__init__(100.0, counter_period_s=0.02, clock=clock, info=SEEING)
        self.clock, self.rng, self.slow_calls = clock, random.Random(seed), 3

    def read(self):
        start_ns = self.clock.now_ns
        if self.slow_calls:
            self.slow_calls -= 1
            self.clock.now_ns += self.rng.randrange(S // 1000, S * 3 // 100)
        return dataclasses.replace(super().read(), start_ns=start_ns)


def test_a_first_call_that_takes_long_may_have_seen_a_move_until_its_end():
    for seed in range(30):
        clock, lock = VirtualClock(), threading.RLock()
        meter = SlowAtFirst(seed, clock)
        meter.open()
        clock.now_ns += random.Random(seed).randrange(S)
        channel, begin_ns = Channel(meter, SEEING, clock=clock), clock.now_ns
        while (channel.curve.end_ns or 0) < begin_ns + S // 2:
            clock.now_ns = max(channel.due_ns, clock.now_ns + S // 50_000)
            channel.poll(lock)
        start_ns, end_ns = channel.curve.start_ns, begin_ns + S // 2
        found = channel.curve.energy_between(start_ns, end_ns)
        assert abs(found.energy_j - meter.true_energy_j(start_ns, end_ns)) <= 2.5 * found.u_j


def test_the_first_point_of_a_register_that_was_read_seldom_at_first_is_as_sure_as_it_says():
    """Between the first polls it moves once or twice, and which of both may not be known."""
    away_ns, half_ns = [], []
    for seed in range(300):
        rng, curve, begin_ns = random.Random(seed), Curve(INFO), 10**12
        phase = rng.random()
        updates_ns = sorted(begin_ns + round((k - 3 + phase + 0.02 * rng.random()) * 0.02 * S) for k in range(100))
        edges, now_ns = CounterEdges(INFO, curve), begin_ns
        for poll in range(200):
            edges.feed(Reading(now_ns, now_ns + 50_000, register_j=2.0 * bisect.bisect(updates_ns, now_ns)))
            now_ns += round((rng.uniform(0.3, 1.3) if poll < 6 else rng.uniform(0.05, 0.2)) * 0.02 * S)
        edges.finish()
        first = curve.knots(0, 1)
        away_ns.append(abs(int(first.time_ns[0]) - updates_ns[bisect.bisect(updates_ns, begin_ns) - 1]))
        half_ns.append(int(first.half_width_ns[0]))
    assert np.mean(np.array(away_ns) <= np.array(half_ns)) > 0.79
    assert np.mean(np.array(away_ns) <= 2 * np.array(half_ns)) > 0.94


def test_an_update_that_came_early_before_a_late_poll_is_not_taken_for_the_one_before_it():
    """Updates stray by milliseconds, and a poll that comes a little before one of them may have seen it."""
    rng, curve, begin_ns = random.Random(1), Curve(INFO), 10**12
    updates_ns = [begin_ns + round((k * 0.1 + rng.uniform(-0.004, 0.004)) * S) for k in range(40)]
    updates_ns.append(begin_ns + round((40 * 0.1 - 0.004) * S))
    edges = CounterEdges(INFO, curve)
    polls_ns = [t + step_ns for t in updates_ns[:38] for step_ns in (-600_000, 600_000)]
    for now_ns in [*polls_ns, updates_ns[40] + 500_000]:  # two updates were not seen
        edges.feed(Reading(now_ns, now_ns + 50_000, register_j=20.0 * bisect.bisect(updates_ns, now_ns)))
    last = curve.knots(len(curve) - 1)
    assert abs(int(last.time_ns[0]) - updates_ns[40]) <= int(last.half_width_ns[0])


@pytest.mark.parametrize("fault_j", [-1000.0, 1e6])
def test_a_total_with_missing_time_inside_is_as_unsure_as_the_updates_around_it(fault_j):
    """Joules near them may lie in the missing time."""
    within = []
    for seed in range(60):
        rng, device, now_s = random.Random(seed), Device(), 10.0
        while now_s < 15.0:
            device.offset_j = fault_j if now_s > 12.0 else 0.0
            device.poll(round(now_s * S))
            is_watched = not 11.5 < now_s < 13.7  # else an interpreter keeps the polls apart
            now_s += 0.004 if is_watched else rng.uniform(0.02, 0.1)
        found = device.curve.energy_between(round(10.5 * S), round(14.5 * S))
        assert found.missing_s > 0
        within.append(abs(found.energy_j - 200.0 * (4.0 - found.missing_s)) <= 2 * found.u_j)
    assert sum(within) >= 57
