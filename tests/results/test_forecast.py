"""Forecasts: arithmetic on stretches of a run, and how often their intervals hold."""

from __future__ import annotations

import json
import math

import pytest

from benchmarks import forecast as benchmark
from lightning_energy.results.carbon import Conversion
from lightning_energy.results.forecast import Left, Seen, Stretch, forecast, validations_between
from tests.test_docs import ROOT


def steady(stretches: int = 10, per_epoch: float = 100) -> Seen:
    """Stretches of 10 batches of 50 J and 0.2 s, the first of which is slow."""
    seen = Seen()
    seen.add_batches(Stretch(10, 2000.0, 9.0), per_epoch)
    for _ in range(stretches - 1):
        seen.add_batches(Stretch(10, 500.0, 2.0), per_epoch)
    return seen


def test_a_steady_run_is_told_after_one_epoch_without_its_warm_up():
    """2000 + 9 * 500 J were spent; 900 batches of 50 J are to come, 9 validations of 400 J and 9 gaps of 20 J."""
    seen = steady()
    seen.validations.append(Stretch(0, 400.0, 1.5))
    seen.between.append(Stretch(0, 20.0, 0.1))
    left = Left(100, 900, validations=9, epochs=9, per_epoch=100, limit="max_epochs=10")
    found = forecast(seen, left, spent_j=6920.0)
    assert found.energy_j.value == pytest.approx(6920.0 + 45_000.0 + 3600.0 + 180.0)
    assert found.left_s.value == pytest.approx(180.0 + 13.5 + 0.9)
    assert found.energy_j.low < 55_700.0 < found.energy_j.high
    assert 0.05 < found.energy_j.width < 0.3
    assert "about 15.5 Wh (" in found.text()
    assert found.text().endswith("by max_epochs=10, 3.24 min more")
    # 30 kJ: 23 080 of the 48 780 J to come, which are 426 batches behind the first 100
    assert found.epoch_at(30_000.0) == 5
    assert found.epoch_at(60_000.0) is None


def test_a_drift_that_is_seen_is_carried_on():
    """From 50 J a batch at the beginning to 60 J after half of the run: 65 J on average in the other half."""
    seen = Seen()
    for i in range(50):
        seen.add_batches(Stretch(10, 500.0 * (1 + 0.2 * (i + 0.5) / 50), 2.0), 100)
    found = forecast(seen, Left(500, 500, per_epoch=100, limit="max_epochs=10"), spent_j=27_500.0)
    assert found.energy_j.value == pytest.approx(27_500.0 + 500 * 65.0, rel=0.02)
    assert found.energy_j.low < 60_000.0 < found.energy_j.high


def test_the_end_may_be_one_of_time():
    """50 J per 0.2 s: 250 W; 60 s are left, whatever the number of epochs, and half a batch until that is seen."""
    found = forecast(steady(), Left(100, 10_000, seconds=60.0, limit="max_time"), spent_j=6500.0)
    assert found.left_s.value == 60.1
    assert found.energy_j.value == pytest.approx(6500.0 + 250.0 * 60.1, rel=1e-6)
    over = forecast(steady(), Left(100, 0, seconds=-1.0, limit="max_time"), spent_j=6500.0)
    assert (over.left_s.value, over.energy_j.value) == (0.0, 6500.0)


def test_a_time_limit_waits_for_the_least_number_of_batches_and_causes_a_validation():
    """60 s are 300 batches, of 0.2 s and 50 J; 500 are asked for. Else a validation of 400 J and 1.5 s follows."""
    seen = steady()
    seen.validations.append(Stretch(0, 400.0, 1.5))
    left = Left(100, 10_000, seconds=60.0, limit="max_time", closing=1.0)
    found = forecast(seen, left._replace(least=500), spent_j=6900.0)
    assert (found.left_s.value, found.energy_j.value) == pytest.approx((100.0, 6900.0 + 25_000.0))
    found = forecast(seen, left, spent_j=6900.0)
    assert (found.left_s.value, found.energy_j.value) == pytest.approx((60.0 + 0.1 + 1.5, 6900.0 + 15_000 + 25 + 400))
    half = forecast(seen, left._replace(closing=0.5), spent_j=6900.0)  # in every second epoch
    assert half.energy_j.value == pytest.approx(found.energy_j.value - 200.0)
    assert half.left_s.high - half.left_s.low > 2 * 1.5


def test_a_run_that_may_stop_early_is_at_most():
    found = forecast(steady(), Left(100, 900, limit="max_epochs=10"), spent_j=6500.0, is_at_most=True)
    assert found.energy_j.low == 6500.0
    assert found.left_s.low == 0.0
    assert found.text().startswith("at most 1")
    assert "less if a callback stops it early" in found.text()


def test_carbon_and_cost():
    found = forecast(steady(), Left(100, 900, limit="max_epochs=10"), spent_j=6500.0)
    derived = found.derived(Conversion.of(400.0, pue=1.5, price=0.3))
    kwh = found.energy_kwh.value
    assert derived["co2eq_g"].value == pytest.approx(kwh * 1.5 * 400.0)
    assert derived["cost"].high == pytest.approx(found.energy_kwh.high * 1.5 * 0.3)
    assert found.derived(None) == {}
    assert "g CO2e" in found.text(Conversion.of(400.0))


def test_what_cannot_be_told():
    assert forecast(Seen(), Left(0, 100), spent_j=0.0) is None
    assert forecast(steady(), Left(100, None), spent_j=0.0) is None
    only_first = steady(1)
    assert forecast(only_first, Left(10, 10), spent_j=0.0).energy_j.value == 2000.0  # better than nothing


def test_validations_not_seen_yet_are_half_of_as_many_batches():
    found = forecast(steady(), Left(100, 100, validations=1, validation_batches=20), spent_j=0.0)
    assert found.energy_j.value == pytest.approx(100 * 50.0 + 0.5 * 20 * 50.0)


@pytest.mark.parametrize(
    ("first", "last", "every_batches", "every_epochs", "expected"),
    [
        (0, 100, 10, 1, 10),
        (10, 100, 10, 1, 9),
        (0, 100, 10, 4, 2),
        (25, 100, 5, 1, 15),
        (0, 95, 5, 1, 19),
        (0, 100, 4, 1, 20),  # after 4 and 8 of each 10
        (0, 100, math.inf, 1, 10),
        (0, 100, 30, None, 3),
        (40, 100, 30, None, 2),
        (0, 100, math.inf, None, 0),
    ],
)
def test_validations_to_come(first, last, every_batches, every_epochs, expected):
    found = validations_between(first, last, 10, every_batches=every_batches, every_epochs=every_epochs)
    assert found == expected


@pytest.mark.parametrize(
    ("every_batches", "every_epochs", "expected"), [(30, None, 3), (30, 1, 3), (30, 2, None), (math.inf, 1, None)]
)
def test_validations_to_come_in_an_epoch_whose_end_is_not_known(every_batches, every_epochs, expected):
    found = validations_between(0, 100, math.inf, every_batches=every_batches, every_epochs=every_epochs)
    assert found == expected


def test_a_budget_within_a_run_that_time_ends():
    """50 J per 0.2 s, 60 s are left, which are 300 batches and 15 kJ: 5.1 kJ of them after a third."""
    left = Left(100, 10_000, seconds=60.0, per_epoch=100, limit="max_time")
    assert forecast(steady(), left, spent_j=6500.0).epoch_at(11_600.0) == 2


def test_without_any_energy_seen_nothing_is_told():
    seen = Seen()
    for _ in range(3):
        seen.add_batches(Stretch(10, 0.0, 2.0), 100)
    assert forecast(seen, Left(30, 970, limit="max_epochs=10"), spent_j=0.0) is None


def test_memory_is_bounded_and_nothing_is_lost():
    seen = Seen()
    for _ in range(1000):
        seen.add_batches(Stretch(1, 2.0, 0.5), 10)
        seen.validations.append(Stretch(0, 1.0, 0.5))
        seen.between.append(Stretch(0, 1.0, 0.5))
    assert len(seen.batches) <= 65
    assert max(len(seen.validations), len(seen.between)) <= 128  # of 100,000 epochs, say, summed up after each
    total = sum(s.batches for s in seen.batches) + seen.warm_up.batches
    assert total == 1000


def test_intervals_hold():
    """A seeded tenth of the benchmark, and its committed figures."""
    result = json.loads((ROOT / "benchmarks/results/forecast.json").read_text())
    assert result["runs"] >= 200
    for rows in result["moments"].values():
        assert min(rows["all"]["covers_energy"], rows["all"]["covers_time"]) >= 0.9
        assert rows["all"]["median_width"] <= 0.3
    here = benchmark.main(["--runs", "30"])
    for rows in here["moments"].values():
        assert rows["all"]["covers_energy"] >= 0.8  # of 30, with 95 % each: less in one of a thousand
        assert rows["all"]["median_width"] <= 0.35
