from __future__ import annotations

import math

import pytest

from lightning_energy.curves.curve import Curve
from lightning_energy.curves.power import PowerIntegral
from lightning_energy.meters import MeterInfo, Reading

S = 10**9


class Watts:
    def __init__(self, quality="integrated", **kwargs) -> None:
        info = MeterInfo("d", "device", quality, "gpu", power_max_w=460.0, **kwargs)
        self.curve = Curve(info)
        self.power = PowerIntegral(info, self.curve)

    def feed(self, now_s: float, power_w: float | None) -> bool:
        return self.power.feed(Reading(round(now_s * S), round(now_s * S) + 2, power_w=power_w))


def test_power_is_integrated_by_the_trapezoidal_rule():
    watts = Watts()
    for now_s, power_w in ((1.0, 100.0), (1.1, 200.0), (1.3, 200.0)):
        assert watts.feed(now_s, power_w)
    energy = watts.curve.energy_between(S, round(1.3 * S))
    assert energy.energy_j == pytest.approx(15.0 + 40.0, rel=1e-6)
    assert energy.quality == "integrated"
    assert energy.u_j == pytest.approx(
        math.hypot(100.0 * 0.1, math.sqrt(7 / 64) * 100.0 * 0.2) / math.sqrt(2), rel=1e-3
    )


@pytest.mark.parametrize("value", [None, -1.0, 0.0, 1e5, math.nan, math.inf])
def test_an_impossible_power_is_missing(value):
    watts = Watts()
    watts.feed(1.0, 100.0)
    watts.feed(1.1, 100.0)
    assert not watts.feed(1.2, value)
    assert "its power reads" in watts.power.note
    watts.feed(1.3, 100.0)
    watts.feed(1.4, 100.0)
    energy = watts.curve.energy_between(S, round(1.4 * S))
    assert energy.missing_s == pytest.approx(0.2, abs=1e-6)
    assert energy.energy_j == pytest.approx(20.0, rel=1e-6)


def test_a_long_gap_between_readings_is_missing():
    watts = Watts()
    for now_s in (1.0, 1.1, 4.0, 4.1):
        watts.feed(now_s, 100.0)
    energy = watts.curve.energy_between(S, round(4.1 * S))
    assert energy.missing_s == pytest.approx(2.9, abs=1e-6)
    assert energy.energy_j == pytest.approx(20.0, rel=1e-6)


def test_a_model_may_say_that_nothing_is_spent():
    watts = Watts("estimated")
    assert all(watts.feed(now_s, 0.0) for now_s in (1.0, 1.1))
    assert watts.curve.energy_between(S, round(1.1 * S)).energy_j == 0.0


def test_a_sensor_of_zeros_measures_nothing():
    watts = Watts()
    for k in range(20):
        assert not watts.feed(1.0 + 0.1 * k, 0.0)
    energy = watts.curve.energy_between(S, round(2.9 * S))
    assert (energy.energy_j, energy.quality) == (None, "missing")


def test_the_ends_of_a_late_sensor_are_as_uncertain():
    """A reading that may be a second late: 100 W times 1 s at either end, as rectangular limits."""
    watts = Watts(power_lag_s=1.0)
    for k in range(101):
        watts.feed(1.0 + 0.1 * k, 100.0)
    energy = watts.curve.energy_between(S, 11 * S)
    assert energy.u_j == pytest.approx(100.0 * math.sqrt(2 / 3), rel=1e-3)
