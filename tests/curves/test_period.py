from __future__ import annotations

import pickle

import pytest

from lightning_energy.curves.period import Period

MS = 10**6
# seconds: nanoseconds, continuous, oldest, apart, small in seconds, roughly, late, overdue
PERIODS = {
    None: (None, False, 0, 0, 0.0, 100 * MS, 0, 5000 * MS),
    0.0: (0, True, 0, 0, 0.0, 100 * MS, 250 * MS, 500 * MS),
    0.001: (MS, True, 1.02 * MS, 0.5 * MS, 5e-5, 100 * MS, 250 * MS, 500 * MS),
    0.1: (100 * MS, False, 102 * MS, 50 * MS, 0.005, 100 * MS, 250 * MS, 500 * MS),
    0.2: (200 * MS, False, 204 * MS, 100 * MS, 0.01, 200 * MS, 400 * MS, 1000 * MS),
    0.5: (500 * MS, False, 510 * MS, 250 * MS, 0.025, 500 * MS, 0, 2500 * MS),
}


def times(period: Period) -> tuple:
    """Everything that follows from a period."""
    waits = period.roughly_ns, period.late_ns, period.overdue_ns
    return (period.ns, period.is_continuous, period.oldest_ns, period.apart_ns, period.small_s, *waits)


@pytest.mark.parametrize("period_s", PERIODS)
def test_all_times_follow_from_the_period_also_in_another_process(period_s):
    period = Period(period_s)
    assert period.s == period_s
    assert times(period) == tuple(None if x is None else pytest.approx(x, rel=1e-12) for x in PERIODS[period_s])
    assert times(pickle.loads(pickle.dumps(period))) == times(period)
