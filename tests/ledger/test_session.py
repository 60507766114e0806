from __future__ import annotations

import gc
import subprocess
import sys
import threading

import pytest
import torch

from lightning_energy.ledger.device_clock import DeviceClock
from lightning_energy.ledger.session import Session
from lightning_energy.meters import MeterInfo, NvmlMeter, ReplayMeter, open_meters
from tests.modules import Classifier, energy_callback, loader, make_trainer
from tests.sim.clock import VirtualClock
from tests.sim.device import SimulatedEvents
from tests.sim.nvml import SimulatedGpu, SimulatedNvml

CPU = torch.device("cpu")
UUID = "GPU-eeeeeeee-0000-0000-0000-000000000000"


def session_of(*meters, **kwargs) -> Session:
    return Session(open_meters(meters, device=CPU), **kwargs)


def test_a_session_that_nobody_closes_leaves_no_thread():
    session = session_of(ReplayMeter(100.0, counter_period_s=0.01))
    meter = session.channels[0].meter
    assert meter.is_open
    del session
    gc.collect()
    assert not [t for t in threading.enumerate() if t.name == "lightning-energy-sampler"]
    assert not meter.is_open


def test_idle_baseline(tmp_path):
    energy = energy_callback(meters=ReplayMeter(60.0, counter_period_s=0.02), idle_s=1.0)
    make_trainer(tmp_path, callbacks=[energy]).fit(Classifier(), loader(), loader(8))
    report = energy.report
    assert report.above_idle_j == pytest.approx(0.0, abs=0.1 * report.run.energy_j)
    assert "Above idle" in str(report)


def test_a_device_that_is_not_idle_has_no_baseline(tmp_path):
    busy = ReplayMeter([(0.13, 300.0), (0.14, 60.0)], counter_period_s=0.02)
    energy = energy_callback(meters=busy, idle_s=1.0)
    make_trainer(tmp_path, callbacks=[energy]).fit(Classifier(), loader(), loader(8))
    assert energy.report.above_idle_j is None
    assert any("not steady" in note for note in energy.report.notes)


def test_a_shared_device_has_no_baseline_and_is_noticed():
    with SimulatedNvml([SimulatedGpu(uuid=UUID, pids=[4711], counter_period_s=0.02)]):
        session = session_of(NvmlMeter(UUID))
        session.watch_idle(0.1)
        assert "other programs use it" in session.notes[0]
        session.close()


def test_who_comes_later_is_noticed_at_the_end():
    gpu = SimulatedGpu(uuid=UUID, counter_period_s=0.02)
    with SimulatedNvml([gpu]):
        session = session_of(NvmlMeter(UUID))
        gpu.pids.append(4711)
        session.finish()
        assert any("shared with 1 other process" in note for note in session.notes)
        session.close()


def test_without_a_baseline_there_is_no_figure_above_idle():
    session = session_of(ReplayMeter(100.0))
    assert session.above_idle_j(session.totals()) is None
    session.close()


def test_the_devices_clock_is_used_and_its_trouble_told():
    clock = VirtualClock()
    events = SimulatedEvents(clock, anchor_ns=5_000_000)
    session = session_of(
        ReplayMeter(100.0, counter_period_s=0.01),
        ReplayMeter(
            50.0, counter_period_s=0, device_id="c", info=MeterInfo("c", "cpu", "measured", "package", power_max_w=80.0)
        ),
        device_clock=DeviceClock(events, clock=clock, ring=8),
    )
    assert session._ledger._on_device == [True, False]
    session.mark(session.code(0, "train", "step"))
    session.finish()
    assert events.syncs == 1
    assert any("could not be tied" in note for note in session.notes)
    session.close()


def test_marks_without_an_event_are_counted():
    clock = VirtualClock()
    events = SimulatedEvents(clock, lead_ns=0)
    session = session_of(ReplayMeter(100.0), device_clock=DeviceClock(events, clock=clock, ring=8))
    events.capturing = True
    session.mark(session.code(0, "train", "step"))
    events.capturing = False
    session.finish()
    assert any(note.startswith("1 marks have the host's time") for note in session.notes)
    session.close()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["pass", "raise SystemExit(0)", "import os; os.fork() or os._exit(0)"])
def test_a_process_that_ends_without_closing_ends_quietly(how):
    """Neither the thread nor the clean-up at exit gets in the way, in a forked child neither."""
    code = f"""
import torch
from lightning_energy.meters import ReplayMeter, open_meters
from lightning_energy.ledger.session import Session
session = Session(open_meters([ReplayMeter(100.0)], device=torch.device("cpu")))
{how}
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
