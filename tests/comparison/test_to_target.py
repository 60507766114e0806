from __future__ import annotations

import math
from dataclasses import replace

import pytest

from lightning_energy.comparison.course import Validation
from lightning_energy.comparison.target_table import of_group
from lightning_energy.comparison.to_target import OfRuns, ToTarget, of_runs, to_target

COURSE = [Validation(1.0, 0.70, 0.05), Validation(2.0, 0.85, 0.06), Validation(3.0, 0.80, 0.07)]
DARK = [Validation(1.0, 0.70, 0.05), Validation(None, 0.75, None), Validation(None, 0.85, None)]


def reached(*energies: float, over_kwh: float = 0.0) -> list[ToTarget]:
    return [ToTarget(0.9, kwh, 0.01, over_kwh) for kwh in energies]


def failed(*energies: float) -> list[ToTarget]:
    return [ToTarget(0.9, None, None, kwh, is_reached=False) for kwh in energies]


@pytest.mark.parametrize(
    ("course", "target", "mode", "expected"),
    [
        (COURSE, 0.7, "max", (1.0, 0.05, 0.0, True)),  # by the first validation: it was passed somewhere before
        (COURSE, 0.8, "max", (2.0, 0.06, 1.0, True)),  # nothing between 1 and 2 kWh is interpolated
        (COURSE, 0.9, "max", (None, None, 3.0, False)),  # more than 3 kWh
        (COURSE, 0.85 * (1 + 9e-7), "max", (2.0, 0.06, 1.0, True)),  # the rounding of single precision
        (COURSE, 0.86, "max", (None, None, 3.0, False)),
        (COURSE, 0.75, "min", (1.0, 0.05, 0.0, True)),
        (COURSE, 0.6, "min", (None, None, 3.0, False)),
        (DARK, 0.8, "max", (None, None, 1.0, True)),  # at an energy that is not known, but above 1
        (DARK, 0.9, "max", (None, None, 1.0, False)),
        ([Validation(None, 0.5)], 0.9, "max", (None, None, None, False)),
    ],
)
def test_the_energy_is_that_of_the_epoch_and_its_bound_that_of_the_one_before(course, target, mode, expected):
    found = to_target(course, target, mode)
    assert replace(found, validation=None) == ToTarget(target, *expected[:3], is_reached=expected[3])
    assert (found.validation is None) == (not expected[3])


def test_without_validations_nobody_knows():
    assert to_target([], 0.9) is None
    assert of_runs([None, None], target=0.9) == OfRuns(0.9, 0, 0, 2)
    assert of_runs([]) is None


def test_runs_that_never_reach_it_count():
    """Of 5 runs three reached it at 0.2, 0.3 and 0.4 kWh, two ended at 0.5 without it.

    The third of five is the median: 0.4. The mean up to 0.5 is (0.2 + 0.3 + 0.4 + 0.5 + 0.5) / 5 = 0.38, its standard
    error sqrt(0.068 / 4 / 5) = 0.0583; three successes took 0.2 + 0.3 + 0.4 + 2 * 0.5 = 1.9 kWh.
    """
    found = of_runs([*failed(0.5), *reached(0.4, 0.2), *failed(0.5), *reached(0.3)])
    assert (found.n, found.n_reached, found.unknown) == (5, 3, 0)
    assert (found.median_kwh, found.over_kwh, found.low_kwh, found.high_kwh) == (0.4, None, 0.2, None)
    assert (found.mean_kwh, found.budget_kwh) == (pytest.approx(0.38), 0.5)
    assert found.u_mean_kwh == pytest.approx(math.sqrt(0.068 / 4 / 5))
    assert found.per_success_kwh == pytest.approx(1.9 / 3)


def test_without_half_of_them_there_is_no_median_but_a_bound():
    """That of 0.3 kWh had not reached it at its validation at 0.2 kWh, and may have at any energy after it."""
    found = of_runs([*reached(0.3, over_kwh=0.2), *failed(0.5, 0.1)])
    assert (found.median_kwh, found.over_kwh) == (None, 0.2)
    assert of_runs([*reached(0.2), *failed(0.5, 0.1)]).over_kwh == 0.1
    assert of_runs([*reached(0.2), *failed(0.5, 0.5, 0.4)]).over_kwh == 0.4
    none = of_runs(failed(0.5, 0.1, 0.6))
    assert (none.median_kwh, none.over_kwh, none.low_kwh, none.per_success_kwh) == (None, 0.5, None, None)
    assert none.mean_kwh == none.budget_kwh == 0.6


def test_a_bound_of_nothing_is_a_dash():
    assert of_group(of_runs([*reached(0.2), *failed(0.5, 0.0)]), lambda kwh, _: f"{kwh:g}") == "\N{EN DASH} (1 of 3)"
    assert of_group(of_runs([*reached(0.2), *failed(0.5, 0.1)]), lambda kwh, _: f"{kwh:g}") == "≥ 0.1 (1 of 3)"


def test_where_none_reached_it_below_the_budget_the_mean_has_no_standard_error():
    """All are counted as the budget: that they do not scatter says nothing."""
    assert of_runs(failed(0.5, 0.1, 0.6)).u_mean_kwh is None
    assert of_runs([*reached(2.0), *failed(0.5)], budget_kwh=1.0).u_mean_kwh is None
    assert of_runs([*reached(1.2), *failed(1.0, 1.1)]).u_mean_kwh is None  # at the longest course, the budget
    assert of_runs([*reached(0.5), *failed(0.5)], budget_kwh=1.0).u_mean_kwh == pytest.approx(0.25)


def test_where_all_reached_it_at_one_validation_the_mean_has_no_standard_error():
    """They scatter by half a per cent, and a validation more or less is the whole energy once more."""

    def at(*validations):
        courses = [
            [Validation(k + 1 + i / 200, 0.9 if k + 1 == n else 0.5) for k in range(n)]
            for i, n in enumerate(validations)
        ]
        return [to_target(course, 0.9) for course in courses]

    assert [found.validation for found in at(1, 2)] == [1, 2]
    assert of_runs(at(1, 1, 1), budget_kwh=10.0).u_mean_kwh is None
    assert of_runs(at(2, 2)).u_mean_kwh is None
    assert of_runs(at(1, 1, 2), budget_kwh=10.0).u_mean_kwh == pytest.approx(0.335, abs=0.01)
    assert of_runs([*at(1, 1), *failed(3.0)]).u_mean_kwh == pytest.approx(0.666, abs=0.01)
    assert of_runs(at(1, 1, 2), budget_kwh=1.5).u_mean_kwh is not None


def test_the_mean_of_runs_that_all_reached_it_is_the_mean():
    found = of_runs(reached(1.0, 3.0))
    assert (found.mean_kwh, found.u_mean_kwh, found.high_kwh) == (2.0, 1.0, 3.0)
    assert of_runs(reached(1.0, 3.0), budget_kwh=2.0).mean_kwh == 1.5
    assert of_runs(reached(1.0)).u_mean_kwh is None


def test_runs_that_do_not_tell_are_counted_apart():
    at_an_unknown_energy = ToTarget(0.9, None, None, 1.0)
    found = of_runs([None, at_an_unknown_energy, *reached(2.0)])
    assert (found.n, found.n_reached, found.unknown, found.mean_kwh) == (1, 1, 2, 2.0)


@pytest.mark.parametrize("budget_kwh", [0.0, -1.0, math.inf, math.nan])
def test_a_budget_is_a_finite_energy(budget_kwh):
    with pytest.raises(ValueError, match=r"budget_kwh=.*give a finite number above 0"):
        of_runs(reached(1.0), budget_kwh=budget_kwh)


def test_two_targets_are_not_mixed():
    with pytest.raises(ValueError, match=r"different targets \(0\.8, 0\.9\)"):
        of_runs([*reached(1.0), ToTarget(0.8, 1.0, 0.0, 0.0)])
