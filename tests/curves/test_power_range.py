from __future__ import annotations

import math

import pytest

from lightning_energy.curves.power_range import PowerRange
from lightning_energy.meters import MeterInfo

S = 10**9


def range_of(power_max_w: float | None = None, power_min_w: float = 0.0) -> PowerRange:
    return PowerRange(MeterInfo("d", "device", "measured", "gpu", power_max_w=power_max_w, power_min_w=power_min_w))


def looked_at(*looks_w: float) -> PowerRange:
    power = range_of(500.0, 50.0)
    for power_w in looks_w:
        power.look(power_w)
    return power


def test_without_any_knowledge_the_means_are_halved_and_doubled():
    power = range_of()
    assert power.bounds_w() == (0.0, 0.0)
    for mean_w in (100.0, 200.0):
        power.add(mean_w, S, 0)
    assert power.bounds_w() == (50.0, 400.0)


def test_the_meters_bounds_hold_until_there_were_enough_looks():
    assert looked_at(*[100.0, 200.0] * 24).bounds_w() == (50.0, 500.0)
    assert looked_at(*[100.0, 200.0] * 25).bounds_w() == (pytest.approx(96.0), pytest.approx(204.0))
    assert looked_at(*[51.0, 499.0] * 25).bounds_w() == (50.0, 500.0)  # no further than the meter's


@pytest.mark.parametrize("power_w", [-1.0, math.inf, math.nan])
def test_an_impossible_look_is_none(power_w):
    assert looked_at(power_w).looks == 0


@pytest.mark.parametrize(
    ("mean_w", "edges_ns", "looks"), [(150.0, 0, 50), (208.0, 0, 50), (250.0, 0, 0), (250.0, S // 4, 50)]
)
def test_a_mean_outside_of_what_was_seen_begins_a_new_load(mean_w, edges_ns, looks):
    power = looked_at(*[100.0, 200.0] * 25)
    power.add(mean_w, S, edges_ns)
    assert power.looks == looks
