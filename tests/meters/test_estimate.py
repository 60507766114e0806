from __future__ import annotations

from collections import namedtuple

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_energy.meters import CpuEstimateMeter, MeterLost

Times = namedtuple("Times", "user system idle iowait guest")  # noqa: PYI024 - psutil's own shape


@pytest.fixture
def machine(monkeypatch):
    """Four threads whose times and clock are set by hand."""

    class Machine:
        now_ns = 10**12
        times = Times(100.0, 10.0, 1000.0, 5.0, 0.0)

        def pass_time(self, seconds: float, busy_s: float) -> None:
            self.now_ns += round(seconds * 1e9)
            t = self.times
            self.times = t._replace(user=t.user + busy_s, idle=t.idle + 4 * seconds - busy_s)

    machine = Machine()
    monkeypatch.setattr(psutil, "cpu_times", lambda: machine.times)
    monkeypatch.setattr(psutil, "cpu_count", lambda logical: 4)
    return machine


@pytest.mark.parametrize(("busy_s", "power_w"), [(0.0, 4.0), (40.0, 40.0), (20.0, 22.0)])
def test_power_rises_straight_from_idle_to_full(machine, busy_s, power_w):
    meter = CpuEstimateMeter(max_w=40.0, clock=lambda: machine.now_ns)
    info = meter.open()
    assert (info.power_min_w, info.power_max_w, info.quality) == (4.0, 40.0, "estimated")
    machine.pass_time(10.0, busy_s)
    assert meter.read().register_j == pytest.approx(10.0 * power_w)
    meter.close()


def test_unknown_cpu_has_four_watts_per_thread(machine):
    info = CpuEstimateMeter(clock=lambda: machine.now_ns).open()
    assert info.power_max_w == 16.0
    assert "assumption" in info.note
    assert info.calibration_u == 0.5


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(-5, 60)), max_size=20))
def test_never_falls_and_never_leaves_its_bounds(steps):
    machine = type("M", (), {"now_ns": 0, "times": Times(0.0, 0.0, 0.0, 0.0, 0.0)})()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(psutil, "cpu_times", lambda: machine.times)
        patch.setattr(psutil, "cpu_count", lambda logical: 4)
        meter = CpuEstimateMeter(clock=lambda: machine.now_ns)
        meter.open()
        last_j = 0.0
        for seconds, busy_s in steps:
            machine.now_ns += round(seconds * 1e9)
            machine.times = machine.times._replace(user=machine.times.user + busy_s)
            register_j = meter.read().register_j
            assert last_j <= register_j <= 16.0 * machine.now_ns * 1e-9 + 1e-6
            last_j = register_j


def test_kernel_that_does_not_answer(machine, monkeypatch):
    meter = CpuEstimateMeter(clock=lambda: machine.now_ns)
    meter.open()

    def fail():
        raise OSError("no /proc")

    monkeypatch.setattr(psutil, "cpu_times", fail)
    with pytest.raises(MeterLost, match="no /proc"):
        meter.read()


def test_on_this_machine():
    meter = CpuEstimateMeter()
    meter.open()
    first, second = meter.read(), meter.read()
    assert 0 <= first.register_j <= second.register_j


@pytest.mark.parametrize("settings", [{"max_w": 0}, {"max_w": -1.0}, {"idle_share": 1.0}, {"idle_share": -0.1}])
def test_bad_settings(settings):
    with pytest.raises(ValueError, match="give"):
        CpuEstimateMeter(**settings)
