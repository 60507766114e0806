from __future__ import annotations

import math

import numpy as np
import pytest

from lightning_energy.comparison.student import quantile, quantile_with, repeats_needed, tail, tail_with

# upper quantiles as tables of the t distribution print them (Abramowitz and Stegun, table 26.10)
PRINTED = [
    (0.975, 1, 12.706),
    (0.975, 2, 4.303),
    (0.975, 4, 2.776),
    (0.95, 5, 2.015),
    (0.995, 8, 3.355),
    (0.9995, 10, 4.587),
    (0.975, 30, 2.042),
    (0.975, 120, 1.980),
]


@pytest.mark.parametrize(("p", "df", "printed"), PRINTED)
def test_quantiles_are_those_of_printed_tables(p, df, printed):
    assert quantile(p, df) == pytest.approx(printed, abs=6e-4)
    assert quantile(1 - p, df) == -quantile(p, df)
    assert tail(quantile(p, df), df) == pytest.approx(1 - p, rel=1e-8)


def test_it_agrees_with_scipy():
    stats = pytest.importorskip("scipy.stats")
    for df in (1, 2, 3, 4, 7, 30, 101, 1000):
        for t in (-40.0, -1.0, 0.0, 0.3, 2.5, 9.0):
            assert tail(t, df) == pytest.approx(stats.t.sf(t, df), rel=1e-9, abs=1e-14)


def test_degrees_of_freedom_are_rounded_down_and_bounded():
    assert tail(2.0, 4.9) == tail(2.0, 4)
    assert tail(2.0, 0.3) == tail(2.0, 1)
    assert tail(2.0, 1e9) == tail(2.0, 1000) > 0.0227501  # no less than that of the normal distribution
    assert (tail(math.inf, 3), tail(-math.inf, 3)) == (0.0, 1.0)


@pytest.mark.parametrize(("difference", "n"), [(0.03, 4), (0.01, 10)])
def test_the_repeats_of_pairs_see_a_difference_four_times_in_five(difference, n):
    assert repeats_needed(difference, 0.01, 0.025, paired=True) == n
    drawn = np.random.default_rng(0).normal(difference, 0.01, (4000, n))
    t = drawn.mean(1) / (drawn.std(1, ddof=1) / math.sqrt(n))
    assert (t > quantile(0.975, n - 1)).mean() > 0.78


@pytest.mark.parametrize("ratio", [1.0, 3.0])
@pytest.mark.parametrize(("tests", "needed"), [(2, 3), (4, 4), (112, 5)])
def test_the_repeats_of_two_groups_see_it_four_times_in_five_by_welchs_test(ratio, tests, needed):
    """Whose degrees of freedom hang on spreads that a handful of repeats show by chance: not those of equal spreads.

    With these, three runs, or five in a family of 112, would see it in 0.6 of all studies, not in 0.8.
    """
    level, squares = 0.05 / tests, (2 / (1 + ratio**2), 2 * ratio**2 / (1 + ratio**2))
    spreads = sum(squares) ** 2 / (squares[0] ** 2 + squares[1] ** 2)
    least = next(d for d in np.arange(30, 0, -0.02) if repeats_needed(d - 0.02, 1.0, level, spreads=spreads) > needed)
    rng = np.random.default_rng(0)
    one, other = (rng.normal(0, math.sqrt(square), (8000, needed)) for square in squares)
    va, vb = one.var(1, ddof=1), other.var(1, ddof=1)
    limits = np.array([quantile(1 - level, df) for df in range(1, 2 * needed - 1)])
    df = ((va + vb) ** 2 / (va**2 + vb**2) * (needed - 1)).astype(int)
    t = (other.mean(1) + least - one.mean(1)) / np.sqrt((va + vb) / needed)
    assert (t > limits[df - 1]).mean() > 0.78


@pytest.mark.parametrize(("tests", "needed"), [(4, 5), (28, 6), (112, 7)])
def test_the_first_of_many_tests_of_pairs_sees_it_four_times_in_five_too(tests, needed):
    """At the level of the first of Holm's tests t is far out, where a sum of quantiles tells 0.8 of what is 0.69."""
    level = 0.05 / tests
    least = next(d for d in np.arange(0.01, 0.2, 0.0005) if repeats_needed(d, 0.01, level, paired=True) == needed)
    drawn = np.random.default_rng(0).normal(least, 0.01, (20_000, needed))
    t = drawn.mean(1) / (drawn.std(1, ddof=1) / math.sqrt(needed))
    assert (t > quantile(1 - level, needed - 1)).mean() == pytest.approx(0.80, abs=0.025)


def test_some_differences_no_number_of_repeats_shows():
    assert repeats_needed(0.0, 0.01, 0.025) is None
    assert repeats_needed(1e-5, 0.01, 0.025) is None
    assert repeats_needed(0.01, 0.001, 0.025, constant=0.01) is None  # the meters differ by as much
    assert repeats_needed(0.05, 0.0, 0.025) == 3


def test_intervals_by_resampling_are_no_better_for_a_handful():
    """How often intervals of 95 % hold the mean: Student's, of percentiles, and by a resampled t."""

    def holds(draw, true, n, trials=600, resampled=399):
        rng = np.random.default_rng(2)
        runs = draw(rng, (trials, n))
        mean, error = runs.mean(1), runs.std(1, ddof=1) / math.sqrt(n)
        again = np.take_along_axis(runs[:, None, :], rng.integers(0, n, (trials, resampled, n)), axis=2)
        means, errors = again.mean(2), again.std(2, ddof=1) / math.sqrt(n)
        with np.errstate(all="ignore"):
            t = np.quantile(np.nan_to_num((means - mean[:, None]) / errors), (0.025, 0.975), axis=1)
        ends = np.quantile(means, (0.025, 0.975), axis=1)
        return (
            (np.abs(mean - true) <= quantile(0.975, n - 1) * error).mean(),
            ((ends[0] <= true) & (true <= ends[1])).mean(),
            ((mean - t[1] * error <= true) & (true <= mean - t[0] * error)).mean(),
        )

    def collapsing(rng, shape):
        return np.where(rng.random(shape) < 0.05, 0.1, rng.normal(0.9, 0.003, shape))

    lognormal = (lambda rng, shape: np.exp(rng.normal(0, 0.1, shape)), math.exp(0.005))
    student, percentiles, _ = holds(*lognormal, 5)
    assert (student, percentiles) == (pytest.approx(0.95, abs=0.03), pytest.approx(0.83, abs=0.05))
    student, _, by_t = holds(*lognormal, 20)
    assert (student, by_t) == (pytest.approx(0.95, abs=0.03), pytest.approx(0.95, abs=0.03))
    student, _, by_t = holds(lambda rng, shape: rng.exponential(1, shape), 1.0, 20)
    assert (student, by_t) == (pytest.approx(0.92, abs=0.03), pytest.approx(0.94, abs=0.03))
    assert max(holds(collapsing, 0.86, 20)) < 0.85


def test_a_tail_with_a_known_uncertainty_is_students_without_one_and_normal_without_the_other():
    for df in (1, 2, 4, 30, 1000):
        for t in (-2.0, 0.0, 1.0, 5.0, 30.0):
            assert tail_with(t, 1.0, df, 0.0) == tail(t, df)
            assert tail_with(t, 1.0, df, 1e-6) == pytest.approx(tail(t, df), rel=1e-4, abs=1e-12)
            normal = math.erfc(t / math.sqrt(2)) / 2
            assert tail_with(t, 1e-9, df, 1.0) == pytest.approx(normal, rel=1e-6, abs=1e-9)
    assert tail_with(math.inf, 1.0, 3, 1.0) == 0.0
    for p in (0.6, 0.975, 0.9995):
        assert tail_with(quantile_with(p, 2.0, 3, 1.5), 2.0, 3, 1.5) == pytest.approx(1 - p, rel=1e-6)


@pytest.mark.parametrize("of_meters", [0.05, 0.2, 1.0])
def test_a_known_uncertainty_keeps_the_level_however_little_three_runs_scatter(of_meters):
    """Three that scatter little by chance are no surer for it: with Satterthwaite's df 1.9 times the level."""
    rng, level = np.random.default_rng(8), 0.0125
    pairs = rng.normal(0, math.sqrt(2), (8000, 3)) + rng.normal(0, of_meters, (8000, 1))
    errors, values = pairs.std(1, ddof=1) / math.sqrt(3), np.abs(pairs.mean(1))
    p = [tail_with(value, error, 2, of_meters) for value, error in zip(values, errors, strict=True)]
    assert (np.array(p) < level).mean() < 2 * level + 3 * math.sqrt(2 * level / 8000)
