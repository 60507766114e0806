from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_energy.ledger.sharing.timeline import Timeline, in_seconds, recurrence

TURNS = Timeline(np.array([0.0, 1.0, 3.0]), np.array([0, 1, 0]), 2)


def test_seconds_of_columns_up_to_any_moment():
    moments_s = np.array([-1.0, 0.5, 2.0, 3.0, 5.0])
    assert TURNS.smoothed().at(moments_s).tolist() == [[-1, 0], [0.5, 0], [1, 1], [1, 2], [3, 2]]
    assert TURNS.smoothed().at(moments_s[None, :, None]).shape == (1, 5, 1, 2)


def test_a_first_order_lag_shows_a_change_late():
    change = Timeline(np.array([-9.0, 0.0]), np.array([0, 1]), 2)
    # after one time constant of 0.1 s: 0.1 - 0.1 (1 - 1/e) = 0.1/e of the 0.1 s
    assert change.smoothed(0.1).at(np.array([0.1]))[0, 1] == pytest.approx(0.0367879441)


@pytest.mark.parametrize("ema_s", [5e-324, 1e-310, 1e-12])
def test_a_lag_of_next_to_nothing_is_none(ema_s):
    """The mean of what is believed of a counter's smoothing is that small where all but none is ruled out."""
    moments_s = np.array([0.5, 2.0, 5.0])
    assert TURNS.smoothed(ema_s).at(moments_s).tolist() == TURNS.smoothed().at(moments_s).tolist()


def test_a_lag_forgets_where_a_run_began():
    late = TURNS.smoothed(0.01).at(np.array([1.0, 3.0, 9.0]))
    assert np.diff(late, axis=0) == pytest.approx(np.array([[0.01, 1.99], [5.99, 0.01]]))  # 10 ms are seen later


@given(
    starts=st.lists(st.floats(0, 50), min_size=1, max_size=30),
    ema_s=st.sampled_from([0.0, 0.01, 0.3]),
    ends=st.tuples(st.floats(-5, 60), st.floats(-5, 60)),
    data=st.data(),
)
def test_together_columns_are_the_time(starts, ema_s, ends, data):
    columns = data.draw(st.lists(st.integers(0, 3), min_size=len(starts), max_size=len(starts)))
    timeline = Timeline(np.sort(np.array(starts)), np.array(columns), 4)
    at = timeline.smoothed(ema_s).at(np.array(ends))
    assert at.sum(axis=1)[1] - at.sum(axis=1)[0] == pytest.approx(ends[1] - ends[0], abs=1e-9)


@given(st.lists(st.tuples(st.floats(-1, 1), st.floats(-9, 9)), min_size=1, max_size=40))
def test_a_recurrence_at_once_is_that_step_by_step(rows):
    a, b = (np.array(column) for column in zip(*rows, strict=True))
    expected, state = [], 0.0
    for x, y in rows:
        state = x * state + y
        expected.append(state)
    assert recurrence(a * (np.arange(len(a)) > 0), b[:, None])[:, 0] == pytest.approx(expected, abs=1e-9)


def test_seconds_of_differences_in_nanoseconds():
    assert in_seconds(np.array([0, 1, 10**15])) == pytest.approx([0.0, 1e-9, 1e6])
    assert in_seconds(np.array([1])).dtype == np.float64


def test_columns_that_are_never_in_force_go_and_the_longest_is_last():
    timeline = Timeline(np.array([0.0, 1.0, 4.0]), np.array([7, 2, 5]), 9)
    # 1 s of column 7, 3 s of column 2; nothing is known of the length of column 5
    assert timeline.compact.column.tolist() == [1, 2, 0]
    assert timeline.compact.width == 3


@pytest.mark.parametrize("ema_s", [0.0, 0.2])
def test_seconds_of_all_columns_but_the_last(ema_s):
    moments_s = np.array([-1.0, 0.5, 2.0, 3.0, 5.0])
    expected = TURNS.smoothed(ema_s).at(moments_s)[:, :-1]
    assert TURNS.smoothed().but_last.behind(ema_s).at(moments_s) == pytest.approx(expected)
    assert TURNS.smoothed(ema_s).but_last.at(moments_s) == pytest.approx(expected)


def test_a_recurrence_that_forgets_at_once_looks_back_no_further():
    a, b = np.full(1000, 1e-9), np.ones((1000, 1))
    assert recurrence(a, b)[-1, 0] == pytest.approx(1 + 1e-9 + 1e-18, abs=1e-17)
