from __future__ import annotations

import math

import pytest

from lightning_energy.meters import MeterInfo, MeterUnavailable, ReplayMeter, open_meters

SETTINGS = {"device_id": "d", "name": "device", "quality": "measured", "scope": "gpu"}


@pytest.mark.parametrize("name", ["update_period_s", "calibration_u", "coverage"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0])
def test_a_description_with_impossible_numbers_is_refused(name, value):
    """They would come into every uncertainty."""
    with pytest.raises(ValueError, match=f"{name}={value!r}"):
        MeterInfo(**SETTINGS, **{name: value})


ODD = {
    **dict.fromkeys(("device_id", "name", "note", "quality", "scope"), (None, 5)),
    "power_max_w": (0.0, -5.0, "much"),
    "power_min_w": (None, "much"),
    **dict.fromkeys(("power_lag_s", "calibration_u"), (math.nan, math.inf, -1.0, "much")),
    **{name: ("much", [1]) for name in ("update_period_s", "coverage")},
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in ODD.items() for value in values])
def test_a_description_of_wrong_types_is_refused_where_it_is_made(name, value):
    """Later it would end the thread that reads, or leave a record that nobody can read."""
    with pytest.raises(ValueError, match=f"{name}="):
        MeterInfo(**(SETTINGS | {name: value}))


def test_a_sensor_of_which_all_is_missing_is_none():
    with pytest.raises(ValueError, match="quality='missing'"):
        MeterInfo(**(SETTINGS | {"quality": "missing"}))


def test_a_meter_that_does_not_describe_itself_is_closed_and_told():
    import torch

    class Mute(ReplayMeter):
        def open(self):
            super().open()

    meter = Mute(100.0)
    with pytest.raises(MeterUnavailable, match=r"Mute: its open\(\) returned None"):
        open_meters([meter], device=torch.device("cpu"))
    assert not meter.is_open
