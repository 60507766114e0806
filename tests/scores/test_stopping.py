"""The rules that end a training, by hand, and against Lightning's own."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning.pytorch.callbacks import EarlyStopping

from lightning_energy.scores.budget_rule import Budget
from lightning_energy.scores.stopping import (
    Reached,
    check_window,
    ends_by_patience,
    ends_by_price,
    point_kwh,
    reached,
    validations_within,
)

# sixteenths and their multiples: every figure is exact
VALUES = [0.25, 0.5, 0.75, 0.625, 0.8125, 0.8125, 0.8125]
KWH = [1.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0]


def test_the_best_so_far():
    assert [r.best for r in reached(VALUES, KWH)] == [0.25, 0.5, 0.75, 0.75, 0.8125, 0.8125, 0.8125]
    assert [r.best for r in reached([9.0, 10.0, 8.0], [None] * 3, "min")] == [9.0, 9.0, 8.0]


def test_the_price_of_a_point_by_hand():
    """A point of 1/16: over two validations, from 0.25 to 0.75 are 8 points for 3 kWh, and so on."""
    so_far = reached(VALUES, KWH)
    prices = [point_kwh(so_far[: i + 1], window=2, point=0.0625) for i in range(7)]
    assert prices == [None, None, 3 / 8, 4 / 4, 4 / 1, 4 / 1, math.inf]
    errors = [Reached(-r.best, r.kwh) for r in so_far]
    assert point_kwh(errors[:3], window=2, point=0.0625) == 3 / 8
    assert point_kwh(so_far[:5]) == 6 / ((0.8125 - 0.5) / 0.01)  # three validations, points of 0.01


def test_a_price_that_is_not_known():
    assert point_kwh([]) is None
    assert point_kwh([Reached(0.5, None), Reached(0.6, 2.0)], window=1) is None
    assert point_kwh([Reached(0.5, 1.0), Reached(0.6, None)], window=1) is None
    assert point_kwh([Reached(0.5, 1.0), Reached(0.5, 1.0)], window=1) is None  # nothing for nothing
    assert point_kwh([Reached(0.5, 1.0), Reached(0.6, 1.0)], window=1) == 0.0
    assert point_kwh([Reached(0.5, 2.0), Reached(0.6, 1.0)], window=1) is None  # of another run


@pytest.mark.parametrize(("limit", "place"), [(0.3, 2), (0.375, 3), (1.0, 4), (4.0, 6), (1e300, 6)])
def test_the_end_by_the_price(limit, place):
    so_far = reached(VALUES, KWH)
    assert ends_by_price(so_far, max_kwh_per_point=limit, patience=2, point=0.0625) == place
    assert ends_by_price(so_far[:place], max_kwh_per_point=limit, patience=2, point=0.0625) is None


def test_budgets():
    assert [validations_within(KWH, budget) for budget in (0.5, 1.0, 5.0, 11.9, 12.0, 99.0)] == [0, 1, 3, 6, None, None]
    assert validations_within([None, 2.0, None, 4.0], 3.0) == 3
    assert validations_within([None], 1.0) is None


@pytest.mark.parametrize("limit_j", range(1, 13))
def test_a_budget_is_spent_in_a_replay_where_it_is_in_a_training(limit_j):
    """Steps of 1 J, and validations at the joules of ``KWH``: also where one ends with exactly the budget."""
    spent_j = next(j for j in range(13) if Budget(limit_j).is_reached(j))
    validations = sum(spent_j >= j for j in KWH)
    assert (validations_within(KWH, limit_j) or len(KWH) * (limit_j == 12)) == validations


@pytest.mark.parametrize(("wrong", "error"), [(0, ValueError), (-1, ValueError), (2.0, TypeError), (True, TypeError)])
def test_a_window_is_a_whole_number_from_1_on(wrong, error):
    with pytest.raises(error, match=f"patience={wrong}: give a whole number of validations from 1 on"):
        check_window(patience=wrong)


def lightnings(values: list[float], **kwargs) -> int | None:
    stopping = EarlyStopping("x", **kwargs)
    stops = (stopping._evaluate_stopping_criteria(torch.tensor(v, dtype=torch.float64))[0] for v in values)
    return next((i for i, stop in enumerate(stops) if stop), None)


VALUE = st.integers(-8, 8).map(lambda n: n / 8) | st.sampled_from([math.nan, math.inf])


@settings(max_examples=60)
@given(
    st.lists(VALUE, max_size=12), st.integers(0, 4), st.sampled_from([0.0, 0.125, 0.3]), st.sampled_from(["max", "min"])
)
def test_patience_is_lightnings(values, patience, min_delta, mode):
    expected = lightnings(values, patience=patience, min_delta=min_delta, mode=mode)
    assert ends_by_patience(values, patience=patience, min_delta=min_delta, mode=mode) == expected


@settings(max_examples=60)
@given(st.lists(st.integers(0, 8).map(float), min_size=1, max_size=12), st.integers(1, 4))
def test_with_a_high_limit_the_price_ends_where_patience_does(values, patience):
    so_far = reached(values, [float(i) for i in range(len(values))])
    by_price = ends_by_price(so_far, max_kwh_per_point=1e9, patience=patience)
    assert by_price == ends_by_patience(values, patience=patience)


def test_a_validation_without_a_score_is_passed_over():
    assert ends_by_patience([None, 0.5, None, 0.4, 0.3], patience=2) == 4
