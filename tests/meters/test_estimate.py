from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import time

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_energy.meters import CpuEstimateMeter, MeterError, MeterLost


@pytest.fixture
def process(monkeypatch):
    """A process without children whose CPU time and clock are set by hand, on four threads."""

    class Process:
        now_ns = 10**12
        cpu_s = 100.0

        def pass_time(self, seconds: float, cpu_s: float) -> None:
            self.now_ns += round(seconds * 1e9)
            self.cpu_s += cpu_s

    process = Process()
    monkeypatch.setattr(time, "process_time", lambda: process.cpu_s)
    monkeypatch.setattr(os, "times", lambda: os.times_result((0.0, 0.0, 0.0, 0.0, 0.0)))
    monkeypatch.setattr(psutil, "cpu_count", lambda logical: 4)
    return process


@pytest.mark.parametrize(("cpu_s", "energy_j"), [(0.0, 0.0), (40.0, 400.0), (20.0, 200.0)])
def test_energy_is_cpu_time_by_the_power_of_a_thread(process, cpu_s, energy_j):
    meter = CpuEstimateMeter(max_w=40.0, clock=lambda: process.now_ns)
    info = meter.open()
    assert (info.power_min_w, info.power_max_w, info.quality, info.scope) == (0.0, 40.0, "estimated", "processes")
    assert "10 W per hardware thread (40 W on 4 threads, as given)" in info.note
    process.pass_time(10.0, cpu_s)
    assert meter.read().register_j == pytest.approx(energy_j)
    meter.close()


def test_wall_time_alone_costs_nothing(process):
    meter = CpuEstimateMeter(clock=lambda: process.now_ns)
    meter.open()
    process.pass_time(3600.0, 1.0)
    assert meter.read().register_j == pytest.approx(4.0)


def test_unknown_cpu_has_four_watts_per_thread(process):
    info = CpuEstimateMeter(clock=lambda: process.now_ns).open()
    assert info.power_max_w == 16.0
    assert info.name == "CPU model, 4 W per thread"
    for words in ("4 W per hardware thread (an assumption)", "the training's own processes", "idle power (some 1.6 W"):
        assert words in info.note
    assert info.calibration_u == 0.5


def test_cpu_time_that_is_learnt_late_comes_no_faster_than_all_threads_can_take_it(process):
    meter = CpuEstimateMeter(clock=lambda: process.now_ns)
    meter.open()
    process.pass_time(0.5, 5.0)  # a child of which nothing was known until it ended
    assert meter.read().register_j == pytest.approx(4.0 * 2.0)
    process.pass_time(0.5, 0.1)
    assert meter.read().register_j == pytest.approx(4.0 * 4.0)
    process.pass_time(0.5, 0.1)
    assert meter.read().register_j == pytest.approx(4.0 * 5.2)


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(-5, 60)), max_size=20))
def test_never_falls_and_never_leaves_its_bounds(steps):
    process = type("P", (), {"now_ns": 0, "cpu_s": 0.0})()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "process_time", lambda: process.cpu_s)
        patch.setattr(psutil, "cpu_count", lambda logical: 4)
        meter = CpuEstimateMeter(clock=lambda: process.now_ns)
        meter.open()
        last_j = 0.0
        for seconds, cpu_s in steps:
            process.now_ns += round(seconds * 1e9)
            process.cpu_s += cpu_s
            register_j = meter.read().register_j
            assert last_j <= register_j <= 16.0 * process.now_ns * 1e-9 + 1e-6
            last_j = register_j


def test_kernel_that_does_not_answer(process, monkeypatch):
    meter = CpuEstimateMeter(clock=lambda: process.now_ns)
    meter.open()

    def fail():
        raise OSError("no clock")

    monkeypatch.setattr(time, "process_time", fail)
    with pytest.raises(MeterLost, match="no clock"):
        meter.read()


def test_on_this_machine():
    meter = CpuEstimateMeter()
    meter.open()
    first, second = meter.read(), meter.read()
    assert 0 <= first.register_j < second.register_j  # reading takes CPU time, too
    for twin in (meter.twin(), copy.deepcopy(meter), pickle.loads(pickle.dumps(meter))):
        with pytest.raises(MeterError, match=r"call open\(\) first"):
            twin.read()
    meter.close()
    meter.close()


def test_children_count():
    script = "import time\nwhile time.process_time() < 0.3: pass\nprint(flush=True); input()"
    meter = CpuEstimateMeter()
    meter.open()
    child = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with child:
        child.stdout.readline()
        assert meter.read().register_j > 4.0 * 0.3
        child.communicate(b"\n")
    meter.close()


@pytest.mark.parametrize("max_w", [0, -1.0])
def test_bad_settings(max_w):
    with pytest.raises(ValueError, match="give watts above 0"):
        CpuEstimateMeter(max_w=max_w)


FAULTS = [
    psutil.NoSuchProcess(1),
    psutil.AccessDenied(1),
    FileNotFoundError(2, "No such file or directory", "/proc/stat"),
    RuntimeError("line 'btime' not found in /proc/stat"),
]


@pytest.mark.parametrize("error", FAULTS, ids=lambda e: type(e).__name__)
def test_where_processes_cannot_be_listed_this_one_is_counted_and_the_note_says_so(process, monkeypatch, error):
    def refuse(*args):
        raise error

    monkeypatch.setattr(psutil, "Process", refuse)
    meter = CpuEstimateMeter(max_w=40.0, clock=lambda: process.now_ns)
    note = meter.open().note
    assert "processes cannot be listed here" in note
    assert "its children are counted when they have ended" in note
    process.pass_time(10.0, cpu_s=20.0)
    assert meter.read().register_j == pytest.approx(200.0)
    monkeypatch.setattr(os, "times", lambda: os.times_result((0.0, 0.0, 1.5, 0.5, 0.0)))
    process.pass_time(10.0, cpu_s=0.0)
    assert meter.read().register_j == pytest.approx(220.0)
    meter.close()
