"""A counter that moves rarely, and a power sensor that tells how its joules lie in time."""

from __future__ import annotations

import threading
from itertools import pairwise

import pytest

from lightning_energy.curves.beside import PowerBeside
from lightning_energy.curves.channel import Channel
from lightning_energy.meters import Reading, ReplayMeter
from tests.sim.clock import VirtualClock, drive

S = 10**9
STEP = [(7.3, 100.0), (7.3, 300.0)]


def test_the_joules_of_an_interval_lie_where_the_power_was():
    beside = PowerBeside()
    for k in range(11):
        beside.add(k * S // 10, 100.0 if k < 5 else 300.0)
    inner = beside.between(0, S, 400.0)  # the counter says twice what the sensor does: it is believed
    assert [t for t, _ in inner] == [k * S // 10 for k in range(1, 10)]
    by_half_j = dict(inner)[S // 2]
    # up to 0.5 s: 0.4 s at 100 W and 0.1 s at 200 W on average, 60 of 210 J
    assert by_half_j == pytest.approx(400.0 * 60.0 / 210.0)
    assert all(b > a for (_, a), (_, b) in pairwise(inner))


@pytest.mark.parametrize("powers_w", [[], [0.0, 0.0, 0.0]])
def test_without_a_power_the_line_stays_straight(powers_w):
    beside = PowerBeside()
    for k, power_w in enumerate(powers_w):
        beside.add((k + 1) * S // 10, power_w)
    assert beside.between(0, S, 100.0) == []


def run(period_s, seconds=31.7, *, script=STEP, meter=ReplayMeter):
    clock = VirtualClock()
    meter = meter(script, counter_period_s=period_s, clock=clock)
    channel = Channel(meter, meter.open(), clock=clock)
    begin_ns = clock.now_ns
    drive(channel, clock, begin_ns + round(seconds * S))
    channel.finish()
    return meter, channel, begin_ns, clock.now_ns


@pytest.mark.parametrize("period_s", [0.1, 0.4, 0.6, 1.0, 2.0, 4.7])
@pytest.mark.parametrize("seconds", [0.9, 3.3, 31.7])
def test_of_a_slow_counter_nothing_is_missing(period_s, seconds):
    meter, channel, begin_ns, end_ns = run(period_s, seconds)
    whole = channel.curve.energy_between(begin_ns + S // 5, end_ns - S // 5)
    assert whole.missing_s == pytest.approx(0.0, abs=1e-6)
    true_j = meter.true_energy_j(begin_ns + S // 5, end_ns - S // 5)
    assert whole.energy_j == pytest.approx(true_j, abs=2.0 * whole.u_j + 0.005 * true_j)
    assert channel.trouble is None


@pytest.mark.parametrize("period_s", [1.0, 2.0])
def test_where_the_counter_moved_it_is_right(period_s):
    """Knots of the counter stay the truth, although the sensor shows a fifth too little."""

    class Weak(ReplayMeter):
        def read_power_w(self):
            return 0.8 * super().read_power_w()

    meter, channel, begin_ns, end_ns = run(period_s, meter=Weak)
    first_ns = begin_ns + 4 * S
    last_ns = begin_ns + round((end_ns - begin_ns) / S // period_s * period_s - period_s) * S
    told = channel.curve.energy_between(first_ns, last_ns)
    assert told.quality == "measured"
    assert told.energy_j == pytest.approx(meter.true_energy_j(first_ns, last_ns), rel=0.002)
    tail = channel.curve.energy_between(end_ns - S // 2, end_ns - S // 10)
    assert tail.quality == "integrated"


@pytest.mark.parametrize("period_s", [1.0, 2.0])
def test_inside_an_interval_the_sensor_tells(period_s):
    """A change of the load in the middle of an interval: a straight line is up to 200 W times half a period off."""
    meter, channel, begin_ns, _ = run(period_s)
    change_ns = begin_ns + round(7.3 * S)
    for window in ((change_ns - S // 2, change_ns), (change_ns, change_ns + S // 2)):
        told = channel.curve.energy_between(*window)
        assert told.energy_j == pytest.approx(meter.true_energy_j(*window), abs=12.0)
        assert abs(told.energy_j - meter.true_energy_j(*window)) <= 2 * told.u_j


class Silent(ReplayMeter):
    """A counter without a power sensor."""

    def read_power_w(self):
        return None


@pytest.mark.parametrize("period_s", [0.6, 1.0, 2.0])
def test_a_slow_counter_alone_is_read_as_one(period_s):
    _, channel, begin_ns, end_ns = run(period_s, meter=Silent)
    whole = channel.curve.energy_between(begin_ns, end_ns)
    assert whole.missing_s <= 1.1 * period_s  # behind its last update
    assert channel.trouble is None


def test_a_counter_that_never_moves_is_replaced_by_the_sensor():
    meter, channel, begin_ns, end_ns = run(1e6)
    assert channel.trouble == "its energy counter does not move"
    whole = channel.curve.energy_between(begin_ns + S // 5, end_ns - S // 5)
    assert (whole.missing_s, whole.quality) == (pytest.approx(0.0, abs=1e-6), "integrated")
    assert whole.energy_j == pytest.approx(meter.true_energy_j(begin_ns + S // 5, end_ns - S // 5), rel=0.01)


def test_what_the_sensor_told_is_not_counted_again_when_the_counter_moves():
    class Stops(ReplayMeter):
        """Stands still for eight seconds, and then shows all of it at once."""

        def read(self):
            reading = super().read()
            at_s = self._elapsed_s(reading.start_ns)
            if 5.0 < at_s < 13.0:
                return Reading(reading.start_ns, reading.end_ns, register_j=self._register_j(5.0))
            return reading

    meter, channel, begin_ns, end_ns = run(0.1, 25.0, meter=Stops)
    whole = channel.curve.energy_between(begin_ns + S // 5, end_ns - S // 5)
    assert channel.trouble == "its energy counter does not move"
    assert whole.energy_j == pytest.approx(meter.true_energy_j(begin_ns + S // 5, end_ns - S // 5), rel=0.01)
    assert whole.missing_s < 0.3


def test_the_sensor_is_asked_ten_times_a_second_at_most():
    class Counting(ReplayMeter):
        asked = 0

        def read_power_w(self):
            self.asked += 1
            return super().read_power_w()

    meter, channel, _, _ = run(2.0, 60.0, meter=Counting)
    assert 400 < meter.asked < 700
    assert channel.reads < 60 * 80
    fast, _, _, _ = run(0.1, 60.0, meter=Counting)
    assert fast.asked < 200  # looks at the power, as ever


def test_a_sensor_that_fails_is_only_less():
    class Broken(ReplayMeter):
        def read_power_w(self):
            raise RuntimeError("no such sensor")

    _, channel, begin_ns, end_ns = run(1.0, meter=Broken)
    assert channel.curve.energy_between(begin_ns, end_ns).missing_s < 1.1
    channel.poll(threading.RLock())


@pytest.mark.parametrize("period_s", [0.6, 2.0, 4.7, 1e6])
def test_a_power_is_known_after_half_a_second(period_s):
    clock = VirtualClock()
    meter = ReplayMeter(100.0, counter_period_s=period_s, clock=clock)
    meter.open()
    clock.now_ns += round(0.35 * S)  # a first move comes 0.25 s after the first poll, where the period is 0.6 s
    channel = Channel(meter, meter.open(), clock=clock)
    drive(channel, clock, clock.now_ns + round(0.7 * S))
    assert channel.curve.last_power_w() == pytest.approx(100.0, rel=0.01)


def test_a_first_move_that_is_a_leap_is_none():
    """A leap within the joules of a slow counter's first move is found out once the period is known."""

    class Leaps(ReplayMeter):
        def read(self):
            reading = super().read()
            leap_j = 300.0 if self._elapsed_s(reading.start_ns) > 0.15 else 0.0
            return Reading(reading.start_ns, reading.end_ns, register_j=reading.register_j + leap_j)

    clock = VirtualClock()
    meter = Leaps(100.0, counter_period_s=0.1, clock=clock)
    meter.open()
    clock.now_ns += round(0.11 * S)
    channel = Channel(meter, meter.open(), clock=clock)
    begin_ns = clock.now_ns
    drive(channel, clock, begin_ns + 5 * S)
    channel.finish()
    whole = channel.curve.energy_between(begin_ns, clock.now_ns)
    assert whole.energy_j == pytest.approx(100.0 * (whole.duration_s - whole.missing_s), rel=0.03)
    assert whole.missing_s < 0.5
