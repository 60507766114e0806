from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_energy.curves.curve import Curve, Knots, shape_bound_j
from lightning_energy.meters import MeterInfo

S = 10**9
INFO = MeterInfo("d", "device", "measured", "gpu", power_max_w=500.0, power_min_w=50.0, calibration_u=0.05)


def plain(time_ns, energy_j, half_width_ns, quality, variance_j2) -> bytes:
    whole, real = [np.array(each, dtype=np.int64) for each in (time_ns, half_width_ns, quality)], np.float64
    return Knots(whole[0], np.array(energy_j, real), whole[1], whole[2], np.array(variance_j2, real)).plain()


intervals = st.lists(
    st.tuples(st.integers(1_000_000, S), st.floats(50, 500), st.booleans()), min_size=1, max_size=20
)  # (length, watts, missing)


def curve_of(rows, info=INFO) -> tuple[Curve, list[int]]:
    curve = Curve(info)
    time_ns, energy_j = 10**15, 0.0
    curve.add(time_ns, energy_j)
    times = [time_ns]
    for length_ns, power_w, missing in rows:
        time_ns += length_ns
        energy_j += 0.0 if missing else power_w * length_ns * 1e-9
        curve.add(time_ns, energy_j, quality="missing" if missing else "measured")
        times.append(time_ns)
    return curve, times


def constant(power_w: float = 100.0, n: int = 10, step_ns: int = S // 10, info=INFO) -> Curve:
    curve = Curve(info)
    for i in range(n + 1):
        curve.add(i * step_ns, power_w * i * step_ns * 1e-9)
    return curve


@given(intervals, st.data())
def test_windows_add_up_and_never_fall(rows, data):
    curve, times = curve_of(rows)
    a, b, c = sorted(data.draw(st.integers(times[0], times[-1])) for _ in range(3))
    first, second, both = curve.energy_between(a, b), curve.energy_between(b, c), curve.energy_between(a, c)
    total = math.fsum(e.energy_j or 0.0 for e in (first, second))
    assert total == pytest.approx(both.energy_j or 0.0, rel=1e-9, abs=1e-9)
    assert first.missing_s + second.missing_s == pytest.approx(both.missing_s, abs=1e-9)
    assert min(e.energy_j or 0.0 for e in (first, second, both)) >= 0
    assert (both.energy_j is None) == (both.missing_s >= both.duration_s - 1e-12)


def test_outside_the_curve_is_missing():
    curve = constant()
    energy = curve.energy_between(-S, 2 * S)
    assert energy.energy_j == pytest.approx(100.0)
    assert (energy.duration_s, energy.missing_s) == (pytest.approx(3.0), pytest.approx(2.0))
    assert energy.power_w == pytest.approx(100.0)
    assert energy.energy_kwh == pytest.approx(100.0 / 3.6e6)
    nothing = curve.energy_between(2 * S, 3 * S)
    assert (nothing.energy_j, nothing.quality, nothing.power_w, nothing.energy_kwh) == (None, "missing", None, None)
    assert Curve(INFO).energy_between(0, S).energy_j is None
    assert Curve(INFO).last_power_w() is None


def test_the_worst_quality_is_told():
    curve = Curve(INFO)
    curve.add(0, 0.0)
    curve.add(S, 100.0, quality="measured")
    curve.add(2 * S, 200.0, quality="integrated", u_j=3.0)
    curve.add(3 * S, 200.0, quality="missing")
    assert curve.energy_between(0, S).quality == "measured"
    assert curve.energy_between(0, 3 * S).quality == "integrated"
    assert curve.energy_between(0, 2 * S).u_j == pytest.approx(3.0)  # a whole interval carries its own uncertainty
    assert curve.last_power_w() is None


@pytest.mark.parametrize(("time_ns", "energy_j"), [(S, 200.0), (S // 2, 200.0), (2 * S, 99.0)])
def test_a_curve_does_not_run_backwards(time_ns, energy_j):
    curve = Curve(INFO)
    curve.add(0, 0.0)
    curve.add(S, 100.0)
    with pytest.raises(ValueError, match="time must rise and energy must not fall"):
        curve.add(time_ns, energy_j)


def test_missing_time_has_no_joules():
    curve = constant()
    with pytest.raises(ValueError, match="missing interval"):
        curve.add(10 * S, 1e6, quality="missing")
    with pytest.raises(ValueError, match="earlier moment first"):
        curve.energy_between(S, 0)


@given(intervals, st.data())
def test_a_curve_that_gets_anothers_points_at_once_is_the_same(rows, data):
    curve, times = curve_of(rows)
    other, known_ns = Curve(INFO), 0
    for time_ns in sorted(data.draw(st.lists(st.sampled_from(times)))):
        other.extend(curve.knots(curve.place_after(known_ns), curve.place_after(time_ns)).plain())
        assert other.end_ns == max(known_ns, time_ns)
        known_ns = other.end_ns
    other.extend(curve.knots(curve.place_after(known_ns)).plain())
    assert other.last == curve.last
    assert other.knots().plain() == curve.knots().plain()
    assert other.power.bounds_w() == Curve(INFO).power.bounds_w()  # that is left alone
    other.extend(curve.knots(curve.place_after(times[-1])).plain())
    assert len(other) == len(curve)


@pytest.mark.parametrize(
    ("times_ns", "energies_j", "qualities"),
    [
        ([S, 2 * S], [60.0, 70.0], [0, 0]),  # back in time
        ([S + 2, S + 2], [110.0, 120.0], [0, 0]),
        ([S + 1, S + 2], [99.0, 120.0], [0, 0]),  # below the last
        ([S + 1, S + 2], [120.0, 110.0], [0, 0]),
        ([S + 1, S + 2], [110.0, 110.0], [3, 3]),  # joules in missing time
        ([S + 1, S + 2], [100.0, 110.0], [3, 3]),
    ],
)
def test_points_that_are_wrong_are_refused_all_together(times_ns, energies_j, qualities):
    curve = constant()
    before, last = curve.knots().plain(), curve.last
    with pytest.raises(ValueError, match=r"backwards|missing"):
        curve.extend(plain(times_ns, energies_j, [0, 0], qualities, [0.0, 0.0]))
    assert (curve.knots().plain(), curve.last) == (before, last)


def test_the_first_point_of_all_may_end_missing_time():
    curve = Curve(INFO)
    curve.extend(plain([S, 2 * S], [7.0, 8.0], [0, 0], [3, 0], [0.0, 0.0]))
    assert curve.energy_between(S, 2 * S).energy_j == 1.0


@given(intervals, st.data())
def test_forgetting_changes_no_answer(rows, data):
    curve, times = curve_of(rows)
    a, b = sorted(data.draw(st.integers(times[0], times[-1])) for _ in range(2))
    before = curve.energy_between(a, b)
    curve.forget_before(data.draw(st.integers(times[0], a)))
    after = curve.energy_between(a, b)
    assert (after.missing_s, after.quality) == (before.missing_s, before.quality)
    assert after.energy_j == before.energy_j
    assert after.u_j == pytest.approx(before.u_j)


@given(st.lists(st.tuples(st.floats(0.001, 1.0), st.floats(50, 500)), min_size=1, max_size=8), st.floats(0, 1))
def test_no_load_beats_the_bound_of_its_shape(pieces, share):
    """Whatever the power did inside an interval, the straight line is not further off than the bound."""
    length_s = sum(d for d, _ in pieces)
    energy_j = sum(d * p for d, p in pieces)
    at_s = share * length_s
    true_j, left_s = 0.0, at_s
    for duration_s, power_w in pieces:
        true_j += power_w * min(duration_s, max(left_s, 0.0))
        left_s -= duration_s
    bound_j = shape_bound_j(
        np.array([at_s]), np.array([length_s - at_s]), np.array([energy_j / length_s]), 50.0, 500.0
    )[0]
    assert abs(true_j - energy_j * share) <= bound_j + 1e-9


def test_uncertainty_of_a_boundary_is_the_published_formula():
    curve = Curve(INFO)
    u_s, power_w, half_ns = 0.1, 300.0, 500_000
    for i in range(3):
        curve.add(i * S // 10, power_w * u_s * i, half_width_ns=half_ns)
    theta = 0.25
    at_ns = S // 10 + round(theta * S // 10)
    u = curve.u_at(np.array([at_ns]))
    h_s = 2 * half_ns * 1e-9
    edge = power_w * h_s / math.sqrt(12) * math.hypot(1 - theta, theta)
    up, down = 500.0 - power_w, power_w - 50.0
    before_s, after_s = theta * u_s, (1 - theta) * u_s
    shape = max(min(before_s * up, after_s * down), min(before_s * down, after_s * up)) / math.sqrt(3)
    assert u[0] == pytest.approx(math.hypot(edge, shape))
    peak = max(curve.u_at(np.linspace(S // 10, 2 * S // 10, 101).astype(np.int64)))
    assert peak <= math.hypot(u_s * up * down / 450.0 / math.sqrt(3), power_w * h_s / math.sqrt(12)) + 1e-9


def test_a_counters_joules_before_missing_time_are_as_unsure_as_its_last_update():
    """How much of them lies in the missing time is known no better than when that update was."""
    curve = Curve(INFO)
    curve.add(0, 0.0)
    curve.add(S, 200.0, half_width_ns=30_000_000)
    curve.add(3 * S, 200.0, quality="missing")
    curve.add(4 * S, 500.0)
    assert curve.energy_between(0, 4 * S).u_j == pytest.approx(200.0 * 0.030 / math.sqrt(3))


def test_short_windows_are_capped():
    curve = constant(300.0)
    energy = curve.energy_between(250_000_000, 250_100_000)  # 0.1 ms
    assert energy.u_j <= 1e-4 * 250.0 / math.sqrt(3) + 1e-12


def test_absolute_adds_the_gain():
    energy = constant().energy_between(0, S)
    assert energy.u_absolute_j == pytest.approx(math.hypot(energy.u_j, 5.0))


def test_bounds_of_a_device_without_limits():
    curve = constant(info=MeterInfo("d", "device", "measured", "gpu"))
    assert curve.power_bounds_w() == (pytest.approx(50.0), pytest.approx(200.0))


@pytest.mark.parametrize("limit_w", [math.inf, math.nan])
def test_a_limit_that_is_no_number_bounds_nothing_and_spoils_no_uncertainty(limit_w):
    curve = Curve(MeterInfo("d", "device", "measured", "gpu", power_max_w=limit_w, power_min_w=limit_w))
    for second in range(4):
        curve.add(second * 10**9, 100.0 * second)
    assert curve.power_bounds_w() == (50.0, 200.0)
    energy = curve.energy_between(500_000_000, 2_500_000_000)
    assert energy.energy_j == pytest.approx(200.0)
    assert 0 < energy.u_j < 200
