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


def test_a_meter_that_does_not_describe_itself_is_closed_and_told():
    import torch

    class Mute(ReplayMeter):
        def open(self):
            super().open()

    meter = Mute(100.0)
    with pytest.raises(MeterUnavailable, match=r"Mute: its open\(\) returned None"):
        open_meters([meter], device=torch.device("cpu"))
    assert not meter.is_open
