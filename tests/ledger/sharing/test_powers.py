from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_energy.ledger.sharing.powers import PRIOR, Fourth, Normals, fit, median

TRUE_W = np.array([300.0, 90.0, 120.0])


def normals(seconds, rise_j) -> Normals:
    seconds = np.array(seconds, dtype=float)
    length_s = seconds.sum(axis=1)
    return Normals.of(seconds, np.array(rise_j, dtype=float), length_s, 1 / length_s)


def shares(n: int, seed: int = 0, width: int = 3):
    return np.random.default_rng(seed).dirichlet(np.ones(width), n) * 0.1


@given(seed=st.integers(0, 99), n=st.integers(12, 60), unit=st.sampled_from([1e-3, 1.0, 1e7]))
def test_powers_of_exact_data_are_found(seed, n, unit):
    seconds = shares(n, seed)
    powers = fit([normals(seconds, seconds @ TRUE_W * unit)])
    assert powers.overall_w == pytest.approx(TRUE_W * unit, rel=1e-4)


def test_normal_equations_add_up():
    seconds = shares(20)
    rise_j = seconds @ TRUE_W + np.linspace(-1, 1, 20)
    once, parts = normals(seconds, rise_j), normals(seconds[:7, :2], rise_j[:7]) + normals(seconds[7:], rise_j[7:])
    first = np.pad(normals(seconds[:7, :2], rise_j[:7]).a, (0, 1))
    assert parts.a == pytest.approx(first + normals(seconds[7:], rise_j[7:]).a)  # with room for what came later
    together = normals(seconds[:7], rise_j[:7]) + normals(seconds[7:], rise_j[7:])
    for name in ("a", "b", "c", "n", "rise_j", "length_s", "mean_w"):
        assert getattr(together, name) == pytest.approx(getattr(once, name))
    assert once.squares(TRUE_W) == pytest.approx(float((np.linspace(-1, 1, 20) ** 2).sum() / 0.1))


def test_they_never_change():
    one = two = normals([[0.1]], [20.0])
    two += one
    wide = one.grown(2)
    assert (one.n, two.n, one.a.tolist(), two.a.tolist()) == (1, 2, [[0.1]], [[0.2]])
    assert (one.a.shape, wide.a.shape, wide.b.tolist()) == ((1, 1), (2, 2), [20.0, 0.0])


def test_of_a_class_that_never_ran_only_the_prior_is_known():
    powers = fit([normals([[0.1, 0.0]] * 9, [20.0] * 9)])
    assert powers.overall_w == pytest.approx([200.0, 200.0])
    assert powers.covariance_w2[1, 1] == pytest.approx((PRIOR * 200) ** 2)
    wide = powers.wide(4)
    assert wide.overall_w == pytest.approx([200.0] * 4)
    assert np.diag(wide.covariance_w2)[2:] == pytest.approx([160.0**2] * 2)
    assert powers.wide(1) is powers


def test_classes_that_always_come_together_are_not_told_apart():
    powers = fit([normals([[0.06, 0.04]] * 30, np.tile([20.0, 20.2, 19.8], 10))])
    assert powers.overall_w @ [0.6, 0.4] == pytest.approx(200.0, rel=1e-3)  # together they are known
    apart = np.array([1.0, -1.0])
    assert np.sqrt(apart @ powers.covariance_w2 @ apart) > 100.0  # W: what one takes of the other is not
    both = np.array([0.6, 0.4])
    assert np.sqrt(both @ powers.covariance_w2 @ both) < 2.0


@pytest.mark.parametrize("blocks", [1, 5])
def test_a_register_that_stays_at_zero(blocks):
    powers = fit([normals(shares(32, k), np.zeros(32)) for k in range(blocks)])
    assert powers.power_w.tolist() == [[0.0] * 3] * blocks
    assert np.isfinite(powers.covariance_w2).all()


def test_powers_are_not_negative():
    seconds = shares(40, width=2)
    rise_j = seconds @ [500.0, -80.0]
    powers = fit([normals(seconds, np.maximum(rise_j, 0.0))])
    assert powers.overall_w.min() >= 0.0
    assert powers.overall_w.max() > 400.0


def test_a_short_stage_that_scatters_is_not_known_by_the_quiet_of_a_long_one():
    """Beside 300 quiet intervals 30 of two classes that scatter by 0.5 J; the quiet class is as sure as it was."""
    rng = np.random.default_rng(3)
    loud_s, quiet_s = np.pad(shares(30, 4, 2), ((0, 0), (0, 1))), np.tile([0.0, 0.0, 0.1], (300, 1))
    loud = normals(loud_s, loud_s @ TRUE_W + rng.normal(0, 0.5, 30))
    quiet = normals(quiet_s, quiet_s @ TRUE_W + rng.normal(0, 0.01, 300))
    alike = np.sqrt(np.diag(fit([loud + quiet]).covariance_w2))
    apart = np.sqrt(np.diag(fit([loud + quiet], by_stage=[loud, quiet]).covariance_w2))
    assert apart[:2] / alike[:2] == pytest.approx([np.sqrt(330 / 30)] * 2, rel=0.1)
    assert apart[2] == pytest.approx(alike[2])


def test_powers_that_wander_are_followed_and_steady_ones_are_not():
    rng = np.random.default_rng(1)
    levels = np.linspace(0.7, 1.3, 12)
    noise = [rng.normal(0, 0.2, 32) for _ in levels]
    parts = [shares(32, k) for k in range(12)]
    drifts = fit([normals(s, s @ TRUE_W * x + e) for s, x, e in zip(parts, levels, noise, strict=True)])
    assert drifts.wander > 0
    assert drifts.power_w[[0, -1], 0] == pytest.approx([210.0, 390.0], rel=0.06)
    steady = fit([normals(s, s @ TRUE_W + e) for s, e in zip(parts, noise, strict=True)])
    assert steady.wander == 0.0
    assert np.ptp(steady.power_w, axis=0).max() == 0.0


def test_errors_of_times_pull_powers_together_and_half_of_that_is_undone():
    """Seconds off by 5 ms either way: variance 2 x 25 ms2 in each interval beside 833 ms2 that vary."""
    rng = np.random.default_rng(2)
    true_s = rng.uniform(0.0, 0.1, 4000)
    seen_s = np.clip(true_s + rng.normal(0, 0.01, 4000), 0, 0.1)
    seconds, rise_j = np.stack([seen_s, 0.1 - seen_s], axis=1), true_s * 300 + (0.1 - true_s) * 100
    noise = np.array([[1.0, -1.0], [-1.0, 1.0]]) * 1e-4 * 10 * 4000
    weight = np.full(4000, 10.0)
    naive, half = (fit([Normals.of(seconds, rise_j, np.full(4000, 0.1), weight, x)]) for x in (np.zeros((2, 2)), noise))
    assert naive.overall_w[0] < half.overall_w[0] < 303.0
    assert np.sqrt(half.covariance_w2[0, 0]) > abs(300.0 - half.overall_w[0]) / 2


def test_the_upper_median():
    assert median(np.array([4.0, 1.0, 3.0, 2.0])) == 3.0
    assert median(np.array([7.0])) == 7.0


def test_a_figure_is_carried_by_the_intervals_that_tell_of_it():
    """Fifty intervals hold two classes alike, of which the sum is known; two hold one more of each: the difference."""
    seconds = np.array([[0.5, 0.5]] * 50 + [[0.6, 0.4], [0.4, 0.6]])
    fourth = Fourth()
    fourth.add(np.zeros((3, 1)), np.ones(3))  # classes may come later
    fourth.add(seconds[:50], np.ones(50))
    fourth.add(seconds[50:], np.ones(2))
    found = fourth.carriers(np.array([[1.0, 1.0], [1.0, -1.0]]), seconds.T @ seconds)
    assert found == pytest.approx([52.0, 2.0])
    wider = np.pad(seconds.T @ seconds, (0, 1))  # a class that only intervals show which are booked for a moment
    assert fourth.carriers(np.array([[1.0, -1.0, 5.0]]), wider) == pytest.approx([2.0])


def test_intervals_that_are_booked_for_a_moment_widen_nothing():
    powers = fit([normals(np.eye(2), np.array([300.0, 100.0]))], fourth=Fourth())
    variance_j2 = np.array([4.0])
    assert powers.as_carried(variance_j2, np.ones((1, 2)), np.array([9.0])) is variance_j2
