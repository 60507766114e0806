from __future__ import annotations

import numpy as np
import pytest

from lightning_energy.ledger.sharing import delay as module
from lightning_energy.ledger.sharing.delay import ENOUGH, EXACT, UNKNOWN, Belief, Found
from lightning_energy.ledger.sharing.kernel import Kernel
from lightning_energy.ledger.sharing.stretch import Stretch
from lightning_energy.ledger.sharing.timeline import Timeline

WATTS = np.array([60.0, 300.0, 120.0])


def stretch_of(kernel: Kernel, turns: int = 8, *, seed: int = 0, watts=WATTS, half_s: float = 0.001) -> Stretch:
    """A second of idle time, turns of 0.73 s and 0.31 s, and a second of idle time, as a 100 ms counter shows them."""
    rng = np.random.default_rng(seed)
    start_s = np.concatenate([[-9.0], 1.0 + np.cumsum([0.0, *np.tile([0.73, 0.31], turns)])])
    column = np.array([0, *np.tile([1, 2], turns), 0])
    timeline = Timeline(start_s, column, 3)
    update_s = np.arange(0.037, start_s[-1] + 1, 0.1)
    rise_j = kernel.seconds(update_s, timeline)[0] @ np.array(watts)
    rise_j = rise_j + rng.normal(0, 0.05, len(rise_j))
    knot_s = update_s + half_s * rng.uniform(-1, 1, len(update_s))
    known = np.ones(len(rise_j), dtype=bool)
    return Stretch(knot_s, rise_j, np.full(len(knot_s), half_s), known, timeline, np.arange(3))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("lag_s", [0.0, 0.03, 0.2])
def test_a_delay_is_found_within_its_uncertainty(lag_s, seed):
    found = Belief().find(stretch_of(Kernel(lag_s), seed=seed))
    assert abs(found.kernel.lag_s + found.kernel.ema_s - lag_s) <= 3 * found.u_lag_s
    assert found.u_lag_s < 0.003
    assert found.kernel.ema_s < 0.003
    assert found.kernel.look == 1.0


def test_smoothing_is_told_from_delay():
    found = Belief().find(stretch_of(Kernel(0.0, 0.05), 12))
    assert found.kernel.ema_s == pytest.approx(0.05, abs=0.01)
    assert found.kernel.lag_s == pytest.approx(0.0, abs=0.01)


def test_a_sensor_that_looks_at_a_part_of_the_time():
    assert Belief().find(stretch_of(Kernel(look=0.25), 12)).kernel.look == 0.25


def test_without_a_change_of_load_the_usual_is_believed():
    found = Belief().find(stretch_of(Kernel(0.1), watts=[200.0] * 3))
    assert found.u_lag_s > 0.02
    assert not found.is_enough
    assert Belief().found() is UNKNOWN


def test_a_register_that_stays_at_zero_tells_nothing():
    stretch = stretch_of(Kernel(), watts=[0.0] * 3)
    found = Belief().find(stretch._replace(rise_j=np.zeros(len(stretch.rise_j))))
    assert np.isfinite(found.covariance_s2).all()
    assert found.u_lag_s > 0.02


def test_a_few_intervals_tell_nothing():
    stretch = stretch_of(Kernel())
    few = stretch._replace(is_known=np.arange(len(stretch.rise_j)) < ENOUGH - 1)
    assert Belief().find(few) is None
    assert Belief().find(stretch._replace(is_known=np.arange(len(stretch.rise_j)) < ENOUGH)) is not None


def test_one_wild_interval_does_not_rule():
    stretch = stretch_of(Kernel(0.03))
    rise_j = stretch.rise_j.copy()
    rise_j[40] += 500.0
    found = Belief().find(stretch._replace(rise_j=rise_j))
    assert abs(found.kernel.lag_s - 0.03) <= 3 * found.u_lag_s


def test_what_the_axes_say():
    assert EXACT.axes_s @ EXACT.axes_s.T == pytest.approx(np.diag([1e-6, 1e-10]), abs=1e-11)
    assert EXACT.is_enough
    assert not UNKNOWN.is_enough
    assert (EXACT.u_lag_s, EXACT.u_ema_s) == pytest.approx((0.001, 1e-5))


def test_directions_that_disagree_widen_the_uncertainty():
    agree, disagree = (Found(Kernel(), np.diag([1e-6, 1e-10]), split_s, 0.003) for split_s in (0.002, 0.005))
    assert agree.widening == 1.0
    assert disagree.widening == pytest.approx(1 + (25e-6 - 9e-6) / 4 / 1e-6)


def steps_of(n: int, lag_s: float) -> Stretch:
    """Steps of some 50 ms in three phases, in n intervals of a 20 ms counter."""
    rng = np.random.default_rng(0)
    length_s = (np.array([0.014, 0.026, 0.01]) * (1 + 0.04 * rng.standard_normal((n, 3)))).ravel()
    start_s = np.cumsum([-1.0, *length_s])
    timeline = Timeline(start_s, np.tile([0, 1, 2], n + 1)[: len(start_s)], 3)
    update_s = 1.0 + 0.02 * np.arange(n + 1)
    rise_j = Kernel(lag_s).seconds(update_s, timeline)[0] @ np.array([270.0, 330.0, 90.0])
    rise_j = rise_j + rng.normal(0, 0.1, n)
    knot_s = update_s + 0.0003 * rng.uniform(-1, 1, n + 1)
    return Stretch(knot_s, rise_j, np.full(n + 1, 0.0003), np.ones(n, dtype=bool), timeline, np.arange(3))


def test_a_fine_look_goes_on_from_what_fewer_intervals_told(monkeypatch):
    few, many, profile, tried = Belief(), steps_of(1200, 0.0302), module._profile, []

    def counted(kernel, rises, lags_s, *args, **more):
        tried.append(len(lags_s))
        return profile(kernel, rises, lags_s, *args, **more)

    monkeypatch.setattr(module, "_profile", counted)
    assert few.find(steps_of(300, 0.0302), is_fine=True).fine_n == 300
    sum_s, u_s = few.finely_s
    assert abs(sum_s - 0.0302) < 3 * u_s
    tried.clear()
    anew, of_anew = Belief().find(many, Belief(few.table), is_fine=True), sum(tried)
    tried.clear()
    found = Belief().find(many, few, is_fine=True)
    assert found.kernel.lag_s + found.kernel.ema_s == pytest.approx(anew.kernel.lag_s + anew.kernel.ema_s, abs=1e-4)
    assert found.covariance_s2.sum() ** 0.5 < 1.5e-4
    assert sum(tried) < 0.8 * of_anew  # the part-time looks are the same


@pytest.mark.parametrize("astray_s", [-0.01, 0.0013])
def test_a_fine_look_that_fewer_intervals_led_astray_finds_back(astray_s):
    few, many = Belief(), steps_of(1200, 0.0302)
    few.find(steps_of(300, 0.0302), is_fine=True)
    few.finely_s = 0.0302 + astray_s, 0.0001
    found = Belief().find(many, few, is_fine=True)
    assert found.kernel.lag_s + found.kernel.ema_s == pytest.approx(0.0302, abs=3e-4)
