from __future__ import annotations

import gc
import threading
import time

import pytest

from lightning_energy.meters import MeterInfo, ReplayMeter
from tests.ledger.plays import session_of


def test_a_session_that_nobody_closes_leaves_no_thread():
    session = session_of(ReplayMeter(100.0, counter_period_s=0.01))
    meter = session.channels[0].meter
    assert meter.is_open
    del session
    gc.collect()
    assert not [t for t in threading.enumerate() if t.name == "lightning-energy-sampler"]
    assert not meter.is_open


def test_the_power_of_each_device_is_thinned_and_a_models_is_not_seen():
    estimate = MeterInfo("cpu", "a model", "estimated", "processes")
    session = session_of(ReplayMeter(100.0, counter_period_s=0.001), ReplayMeter(50.0, info=estimate))
    session.mark(session.code(0, "train", "step"))
    end_s = time.monotonic() + 0.1
    while time.monotonic() < end_s:
        pass
    session.finish()
    power, none = session.power()
    run_s = session.totals().energy(device=0).duration_s
    session.close()
    assert none is None
    assert power.energy_j == pytest.approx(session.channels[0].curve.end_j, rel=1e-4)
    assert sum(power.known_s) > run_s
    assert max(power.clock[0].monotonic_ns, power.start_ns) < power.clock[-1].monotonic_ns
    assert abs(power.clock[-1].unix_ns - time.time_ns()) < 60 * 10**9


@pytest.mark.slow
@pytest.mark.parametrize("how", ["pass", "raise SystemExit(0)", "import os; os.fork() or os._exit(0)"])
def test_a_process_that_ends_without_closing_ends_quietly(warm, how):
    """Neither the thread nor the clean-up at exit gets in the way, in a forked child neither."""
    code = f"""
import torch
from lightning_energy.meters import ReplayMeter, open_meters
from lightning_energy.ledger.session import Session
session = Session(open_meters([ReplayMeter(100.0)], device=torch.device("cpu")))
{how}
"""
    done = warm.run(code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
