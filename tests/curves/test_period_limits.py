from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from lightning_energy.curves.period_limits import PeriodLimits

INTERVALS = st.lists(st.tuples(st.floats(0.0, 1e9), st.floats(0.0, 1e9)).map(sorted), min_size=1, max_size=20)


def limits_of(*intervals) -> PeriodLimits:
    limits = PeriodLimits()
    for still_ns, lasted_ns in intervals:
        limits.add(still_ns, lasted_ns)
    return limits


def test_limits_are_those_of_all_intervals():
    limits = limits_of((60.0, 120.0), (80.0, 140.0), (70.0, 110.0))
    assert (limits.least_ns, limits.most_ns) == (80.0, 110.0)
    assert [limits.nearest(x) for x in (10.0, 95.0, 500.0)] == [80.0, 95.0, 110.0]


def test_limits_that_contradict_give_way_to_the_last():
    assert limits_of((90, 110), (190, 210)).most_ns == 210
    limits = limits_of((90, 110), (190, 210), (40, 60), (55, 70))
    assert (limits.least_ns, limits.most_ns) == (55, 60)


@given(INTERVALS)
def test_the_period_of_the_last_interval_is_always_possible(intervals):
    limits = limits_of(*intervals)
    still_ns, lasted_ns = intervals[-1]
    assert limits.least_ns <= limits.most_ns
    assert limits.least_ns <= lasted_ns
    assert limits.most_ns >= still_ns


def test_a_period_is_as_unsure_as_its_limits_are_far_apart():
    assert limits_of((80.0, 110.0)).half_ns(100.0) == 0.0  # one period alone explains the intervals
    assert limits_of((20.0, 110.0)).half_ns(100.0) == 80.0
    assert limits_of((20.0, math.inf)).half_ns(100.0) == 100.0  # no more than the period, where nothing limits it
    assert limits_of((20.0, 150.0)).half_ns(50.0) == 50.0


def test_single_intervals_may_differ_from_the_period():
    limits = limits_of((90.0, 105.0), (190.0, 205.0))
    assert limits.away_ns(100.0) == 90.0
    assert limits.away_ns(None) == 85.0  # of the longest, where no period is known
    limits.forget_intervals()
    assert limits.away_ns(100.0) < 0.0
