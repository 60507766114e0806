from __future__ import annotations

import math

import pytest

from lightning_energy.curves.curve import Curve
from lightning_energy.curves.power import PowerIntegral
from lightning_energy.meters import MeterInfo, Reading

S = 10**9


class Watts:
    def __init__(self) -> None:
        info = MeterInfo("d", "device", "integrated", "gpu", power_max_w=460.0)
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


@pytest.mark.parametrize("value", [None, -1.0, 1e5, math.nan])
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
