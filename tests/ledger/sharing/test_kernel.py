from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_energy.ledger.sharing.kernel import AT_ONCE, Kernel
from lightning_energy.ledger.sharing.timeline import Timeline

HALVES = Timeline(np.array([-9.0, 0.5]), np.array([0, 1]), 2)  # column 1 from half a second on
SECOND_S = np.array([0.0, 1.0])


@pytest.mark.parametrize(
    ("kernel", "expected_s"),
    [
        (AT_ONCE, [0.5, 0.5]),
        (Kernel(lag_s=0.2), [0.7, 0.3]),  # shows the time from -0.2 to 0.8 s
        (Kernel(lag_s=-0.2), [0.3, 0.7]),
        (Kernel(look=0.25), [1.0, 0.0]),  # looks from 0 to 0.25 s
        (Kernel(lag_s=-0.4, look=0.25), [0.4, 0.6]),  # looks from 0.4 to 0.65 s
        (Kernel(ema_s=0.1), [0.5 + 0.1 * (1 - np.exp(-5)), 0.5 - 0.1 * (1 - np.exp(-5))]),
    ],
    ids=["at once", "late", "early", "part", "late part", "smoothed"],
)
def test_seconds_that_a_rise_stands_for(kernel, expected_s):
    assert kernel.seconds(SECOND_S, HALVES)[0, 0] == pytest.approx(expected_s)


def test_many_delays_at_once():
    seconds = AT_ONCE.seconds(SECOND_S, HALVES, np.array([0.0, 0.1, 0.2]))
    assert seconds[:, 0, 1] == pytest.approx([0.5, 0.4, 0.3])


@given(
    lag_s=st.floats(-0.02, 0.25),
    ema_s=st.sampled_from([0.0, 0.01, 0.14]),
    look=st.sampled_from([1.0, 0.5, 0.1]),
    lengths_s=st.lists(st.floats(0.001, 3.0), min_size=1, max_size=20),
    changes=st.lists(st.floats(-1, 10), max_size=20),
)
def test_the_seconds_of_an_interval_are_its_length(lag_s, ema_s, look, lengths_s, changes):
    start_s = np.concatenate([[-9.0], np.sort(np.array(changes))])
    timeline = Timeline(start_s, np.arange(len(start_s)) % 3, 3)
    knot_s = np.concatenate([[0.0], np.cumsum(lengths_s)])
    seconds = Kernel(lag_s, ema_s if look == 1 else 0.0, look).seconds(knot_s, timeline)[0]
    assert seconds.sum(axis=1) == pytest.approx(np.array(lengths_s), abs=1e-9)
    assert seconds.min() >= -1e-9


def test_time_before_an_update_that_it_depends_on():
    assert Kernel(0.2, 0.05).memory_s == pytest.approx(0.6)
    assert Kernel(-0.02).memory_s == 0.0
