"""Loads that the doctor makes."""

from __future__ import annotations

import threading
import time

import pytest
import torch

from lightning_energy.commands.load import BusyThreads, MatrixProducts, NoLoadError, load_for
from lightning_energy.meters import MeterInfo


def threads_of_loads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "lightning-energy-load"]


@pytest.mark.parametrize("make", [lambda: BusyThreads(2), lambda: MatrixProducts(torch.device("cpu"), size=64)])
def test_a_load_takes_cpu_time_for_so_long_and_leaves_nothing(make):
    load = make()
    load.prepare()
    start_s, cpu_s = time.monotonic(), time.process_time()
    load.run(0.05)
    assert time.monotonic() - start_s >= 0.05
    assert time.process_time() > cpu_s
    load.close()
    assert not threads_of_loads()


def test_an_interrupted_load_ends_at_once(monkeypatch):
    join, calls = threading.Thread.join, []

    def interrupted(thread, timeout=None):
        calls.append(thread)
        if len(calls) == 1:
            raise KeyboardInterrupt
        join(thread, timeout)

    monkeypatch.setattr(threading.Thread, "join", interrupted)
    with pytest.raises(KeyboardInterrupt):
        BusyThreads(2).run(100.0)
    assert not threads_of_loads()


def test_a_device_that_takes_no_work():
    load = MatrixProducts(torch.device("cpu"), size=2**30)  # four exabytes
    with pytest.raises(NoLoadError, match="cpu takes no work"):
        load.prepare()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_board_without_cuda():
    with pytest.raises(NoLoadError, match="this PyTorch sees no CUDA device"):
        load_for(MeterInfo("GPU-1", "board", "measured", "gpu"))
    with pytest.raises(NoLoadError, match="no load is known"):
        load_for(MeterInfo("cpu", "CPU", "estimated", "processes"))
