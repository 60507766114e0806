from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_energy.curves.channel import Channel
from lightning_energy.meters import CalibratedMeter, ReplayMeter
from tests.sim.clock import VirtualClock, drive

S = 10**9


@pytest.mark.slow
@pytest.mark.parametrize("period_s", [0.1, None])
@given(gain=st.floats(0.8, 1.3), offset_w=st.floats(0, 20))
def test_energy_is_corrected_by_gain_and_offset(period_s, gain, offset_w):
    clock = VirtualClock()
    replay = ReplayMeter(200.0, counter_period_s=period_s, clock=clock)
    meter = CalibratedMeter(replay, gain=gain, offset_w=offset_w, u=0.02)
    channel = Channel(meter, meter.open(), clock=clock)
    start_ns = clock.now_ns
    drive(channel, clock, start_ns + 4 * S)
    energy = channel.curve.energy_between(start_ns + S, start_ns + 3 * S)
    assert energy.energy_j == pytest.approx(2 * (200.0 * gain + offset_w), rel=0.01)
    assert energy.u_absolute_j == pytest.approx(0.02 * energy.energy_j, rel=0.2)
    if period_s:
        assert channel.period_s == pytest.approx(0.1, rel=0.01)  # the offset does not make the counter move
    assert meter.read_power_w() == pytest.approx(200.0 * gain + offset_w)
    meter.close()
    assert not replay.is_open


def test_it_says_what_it_is():
    info = CalibratedMeter(ReplayMeter(100.0), gain=1.1, offset_w=5.0, u=0.01).open()
    assert (info.calibration_u, info.note) == (0.01, "calibrated: gain 1.1, offset 5 W")
    assert info.power_max_w == pytest.approx(115.0 * 1.1 + 5)
    assert CalibratedMeter(ReplayMeter(100.0)).other_processes() is None


@pytest.mark.parametrize(
    "settings", [{"gain": 0}, {"gain": float("nan")}, {"offset_w": -1}, {"u": 1.0}, {"u": -0.1}, {"gain": -1}]
)
def test_bad_settings(settings):
    with pytest.raises(ValueError, match="give"):
        CalibratedMeter(ReplayMeter(100.0), **settings)
    with pytest.raises(TypeError, match="Meter"):
        CalibratedMeter("nvml")


def test_a_power_of_zero_is_no_power_to_correct():
    """A sensor that shows nothing must not become one that shows the offset."""
    meter = CalibratedMeter(ReplayMeter(0.0, counter_period_s=None), offset_w=5.0)
    meter.open()
    assert meter.read().power_w == 0.0
    assert meter.read_power_w() == 0.0


def test_nothing_new_is_nothing_new_corrected():
    class Says(ReplayMeter):
        says = True

        def is_unchanged(self) -> bool:
            return self.says

    inner = Says(100.0)
    meter = CalibratedMeter(inner, gain=2.0)
    assert meter.is_unchanged()
    inner.says = False
    assert not meter.is_unchanged()
