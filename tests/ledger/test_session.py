from __future__ import annotations

import gc
import threading

import pytest

from lightning_energy.meters import ReplayMeter
from tests.ledger.plays import session_of


def test_a_session_that_nobody_closes_leaves_no_thread():
    session = session_of(ReplayMeter(100.0, counter_period_s=0.01))
    meter = session.channels[0].meter
    assert meter.is_open
    del session
    gc.collect()
    assert not [t for t in threading.enumerate() if t.name == "lightning-energy-sampler"]
    assert not meter.is_open


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
