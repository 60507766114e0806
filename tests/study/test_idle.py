"""The idle power of devices, told by a real session."""

from __future__ import annotations

import json

import pytest

from lightning_energy import ReplayMeter
from lightning_energy.study.idle import main, measure_idle
from tests.sim.nvml import SimulatedNvml


def test_the_power_of_a_device_that_does_nothing():
    (row,) = main(0.5, [ReplayMeter(70.0, counter_period_s=None)])
    assert row.power_w == pytest.approx(70.0, rel=1e-6)
    assert row.seconds >= 0.5
    assert json.dumps(row.__dict__)


def test_an_estimate_is_no_measurement():
    assert main(0.1, ["estimate"]) == []


def test_no_process_is_started_where_nothing_is_asked_for():
    with SimulatedNvml(init_error="missing"):
        assert measure_idle(0.0) == []
