from __future__ import annotations

import math

import pytest

from lightning_energy import Energy
from lightning_energy.curves.energy import NOTHING


def test_sums_over_devices_and_over_time():
    one = Energy(100.0, 3.0, math.hypot(3.0, 5.0), 10.0, 1.0, "measured")
    two = Energy(50.0, 4.0, math.hypot(4.0, 2.5), 10.0, 2.0, "integrated")
    none = Energy(None, 0.0, 0.0, 10.0, 10.0, "missing")
    total = Energy.total([one, two, none])
    assert (total.energy_j, total.duration_s, total.missing_s, total.quality) == (150.0, 10.0, 10.0, "integrated")
    assert total.u_j == pytest.approx(math.sqrt(0.25 * 25 + 0.75 * 49))  # they do the same steps: correlated by 0.75
    assert total.u_absolute_j == pytest.approx(math.hypot(total.u_j, 7.5))  # gains err alike
    row = Energy.sequence([one, two])
    assert (row.energy_j, row.duration_s, row.missing_s) == (150.0, 20.0, 3.0)
    assert Energy.total([]).energy_j is None
    assert Energy.total([none]).quality == "missing"


def test_power_of_several_devices_is_of_each_over_its_own_time():
    def device(energy_j: float, missing_s: float) -> Energy:
        return Energy.of_device(
            energy_j, 1.0, calibration_u=0.05, duration_s=4.0, missing_s=missing_s, quality="measured"
        )

    whole, half, none = device(1200.0, 0.0), device(200.0, 2.0), Energy(None, 0.0, 0.0, 4.0, 4.0, "missing")
    assert half.power_w == 100.0
    assert Energy.total([whole, half]).power_w == 400.0
    assert Energy.total([whole, none]).power_w == 300.0
    assert Energy.total([none]).power_w is None
    assert device(1.0, 4.0 - 1e-15).power_w is None  # a rounding residue is no time
    twice = Energy.sequence([Energy.total([whole, half])] * 2)
    assert twice.power_w == pytest.approx(400.0)
    assert Energy.from_plain(twice.to_plain()) == twice


def test_nothing_adds_nothing_to_a_sequence():
    one = Energy(100.0, 3.0, math.hypot(3.0, 5.0), 10.0, 1.0, "measured", 100.0 / 9.0)
    assert Energy.sequence([NOTHING, one]) == one
    assert (NOTHING.energy_j, NOTHING.duration_s, NOTHING.quality) == (None, 0.0, "missing")


def test_a_time_of_which_nothing_is_known_is_missing_as_a_whole():
    unknown = Energy.unknown(4.0)
    assert (unknown.energy_j, unknown.duration_s, unknown.missing_s) == (None, 4.0, 4.0)
    assert (unknown.quality, unknown.energy_kwh) == ("missing", None)
