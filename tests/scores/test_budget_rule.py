"""The rule of a budget: numbers alone."""

from __future__ import annotations

import math

import pytest

from lightning_energy.scores.budget_rule import Budget


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({}, ValueError, "give one of the two"),
        ({"max_kwh": 1.0, "max_j": 1.0}, ValueError, "give one of the two"),
        ({"max_kwh": 0}, ValueError, "max_kwh=0: give a finite number above 0"),
        ({"max_j": -1.0}, ValueError, "max_j=-1.0"),
        ({"max_kwh": math.nan}, ValueError, "max_kwh=nan"),
        ({"max_kwh": math.inf}, ValueError, "max_kwh=inf"),
        ({"max_j": 10**400}, ValueError, "max_j=10+: give a finite number above 0"),
        ({"max_kwh": "1"}, TypeError, "max_kwh='1': give a number"),
        ({"max_kwh": True}, TypeError, "max_kwh=True"),
        ({"max_kwh": 1.0, "reserve_kwh": -0.1}, ValueError, "reserve_kwh=-0.1"),
        ({"max_kwh": 1.0, "reserve_kwh": math.nan}, ValueError, "reserve_kwh=nan"),
        ({"max_j": 3.6e6, "reserve_kwh": 1.0}, ValueError, "less than the budget of 1 kWh"),
    ],
)
def test_impossible_numbers_are_refused(arguments, error, says):
    with pytest.raises(error, match=says):
        Budget.of(**arguments)


def test_it_is_reached_where_all_but_the_reserve_is_spent():
    budget = Budget.of(max_kwh=2, reserve_kwh=0.5)
    assert (budget.limit_j, budget.reserve_j, budget.stop_j) == (7.2e6, 1.8e6, 5.4e6)
    assert not budget.is_reached(5.4e6 - 1)
    assert budget.is_reached(5.4e6)


def test_looks_are_seconds_apart_and_at_the_expected_end():
    budget = Budget(1000.0)
    assert budget.steps_to_look(0.0, 100.0, 0.1, last=1) == 2  # first steps are slow: it grows
    assert budget.steps_to_look(0.0, 100.0, 0.1, last=64) == 20  # 2 s
    assert budget.steps_to_look(0.0, 100.0, 10.0, last=64) == 1  # a step takes longer
    assert budget.steps_to_look(0.0, 100.0, 0.0, last=64) == 1
    assert budget.steps_to_look(955.0, 100.0, 0.1, last=64) == 5  # 45 J at 10 J a step
    assert budget.steps_to_look(910.0, 100.0, 0.1, last=64, is_alone=True) == 2  # 90 J: four times 10 J twice
    assert budget.steps_to_look(990.0, 100.0, 0.1, last=64, is_alone=True) == 1
    assert budget.steps_to_look(0.0, 100.0, 0.1, last=64, is_alone=True) == 20
    assert budget.steps_to_look(999.9, 100.0, 0.1, last=64) == 1
    assert budget.steps_to_look(1000.0, 100.0, 0.1, last=64) == 20  # it is over, and the training goes on
