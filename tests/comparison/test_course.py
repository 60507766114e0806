from __future__ import annotations

import math

import pytest

from lightning_energy.comparison.course import (
    Validation,
    area,
    band,
    best_so_far,
    common_budget_kwh,
    course_of,
    hypervolume,
    worst_value,
)
from lightning_energy.results.rows import EpochRow

ONE = [Validation(1.0, 0.5), Validation(2.0, 0.4), Validation(3.0, 0.9)]
TWO = [Validation(0.5, 0.3), Validation(1.5, 0.7)]


def test_a_course_has_the_epochs_that_were_validated_in_the_unit_of_comparisons():
    rows = [
        EpochRow(epoch=0, metric=70.0, total_kwh=1.0, total_u_kwh=0.1),
        EpochRow(epoch=1, total_kwh=2.0),
        EpochRow(epoch=2, metric=90.0),
    ]
    assert course_of(rows, "percent") == (Validation(1.0, 0.7, 0.1), Validation(None, 0.9, None))


def test_best_values_rise_and_stay():
    assert best_so_far(ONE) == [(1.0, 0.5), (3.0, 0.9)]
    assert best_so_far(ONE, "min") == [(1.0, 0.5), (2.0, 0.4)]
    assert best_so_far([Validation(None, 0.5)]) == []


def test_a_band_is_of_all_runs_and_begins_with_the_last_of_them():
    """At 1 kWh: 0.5 and 0.3; at 1.5: 0.5 and 0.7; from 3 on: 0.9 and still 0.7."""
    found = band([ONE, TWO])
    assert found.kwh.tolist() == [1.0, 1.5, 3.0]
    assert found.low.tolist() == [0.3, 0.5, 0.7]
    assert found.high.tolist() == [0.5, 0.7, 0.9]
    assert found.mean.tolist() == pytest.approx([0.4, 0.6, 0.8])
    assert found.n == 2
    assert band([ONE, []]) is band([]) is None
    assert band([ONE, TWO], "min").low.tolist() == [0.3, 0.3]  # at 1 and 2 kWh


def test_the_area_is_the_mean_of_the_best_value_at_hand_times_the_budget():
    """To 4 kWh: nothing for 1 kWh, 0.5 for 2 kWh, 0.9 for 1 kWh."""
    assert area(ONE, 4.0, 0.0) == pytest.approx(0.5 * 2 + 0.9 * 1)
    assert area(ONE, 2.5, 0.0) == pytest.approx(0.5 * 1.5)
    assert area(ONE, 4.0, 0.5) == pytest.approx(0.4 * 1)
    assert area([Validation(1.0, 30.0), Validation(3.0, 20.0)], 4.0, 40.0, "min") == pytest.approx(10 * 3 + 10 * 1)
    assert area([], 4.0, 0.0) == 0.0


def test_the_hypervolume_counts_what_is_dominated_once():
    points = [(3.0, 0.9), (1.0, 0.5), (2.0, 0.4), (5.0, 0.99)]  # dominated: the third; beyond the budget: the last
    assert hypervolume(points, 4.0, 0.0) == pytest.approx(0.5 * 3 + 0.4 * 1)
    assert hypervolume([(1.0, 30.0), (3.0, 45.0)], 4.0, 40.0, "min") == pytest.approx(10 * 3)


@pytest.mark.parametrize("budget_kwh", [0.0, math.nan, math.inf])
def test_a_budget_is_a_finite_energy(budget_kwh):
    with pytest.raises(ValueError, match=r"budget_kwh=.*give a finite number above 0"):
        hypervolume([(1.0, 0.5)], budget_kwh, 0.0)


def test_the_reference_is_that_of_all_courses():
    assert common_budget_kwh([ONE, TWO, [Validation(None, 0.1)]]) == 3.0
    assert (worst_value([ONE, TWO]), worst_value([ONE, TWO], "min")) == (0.3, 0.9)
    assert common_budget_kwh([[]]) is worst_value([]) is None
