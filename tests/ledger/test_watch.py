from __future__ import annotations

import pytest

from lightning_energy.curves.curve import Curve
from lightning_energy.curves.sampler import Sampler
from lightning_energy.ledger import watch as watch_module
from lightning_energy.ledger.ledger import Ledger
from lightning_energy.ledger.watch import Watch
from lightning_energy.meters import ReplayMeter, open_meters
from tests.ledger.plays import INFO, START, Clock, S


@pytest.fixture
def meters():
    import torch

    found = open_meters([ReplayMeter(100.0)], device=torch.device("cpu"))
    yield found
    found.close()


def test_it_settles(meters):
    clock, curve = Clock(), Curve(INFO)
    ledger = Ledger([curve], clock=clock)
    ledger.mark(ledger.code(0, "train", "step"))
    for second in range(3):
        curve.add(START + second * S, 100.0 * second)
    clock.now_ns += 10 * S
    Watch(ledger, meters, lambda: False, lambda: None)()
    assert ledger.books[0].settled_ns == START + 2 * S


def test_a_run_that_is_over_for_long_is_abandoned(meters, monkeypatch):
    monkeypatch.setattr(watch_module, "ABANDONED_S", -1.0)
    over, calls = [False], []
    watch = Watch(Ledger([]), meters, lambda: over[0], lambda: calls.append("abandoned"))
    watch.sampler = Sampler([], watch)
    meter = meters.meters[0][0]
    watch()
    over[0] = True
    watch()  # from now on it counts
    over[0] = False
    watch()  # it goes on, after all
    over[0] = True
    watch()
    assert (calls, meter.is_open) == ([], True)
    watch()
    assert (calls, meter.is_open) == (["abandoned"], False)


def test_a_run_that_has_just_ended_is_left_to_others(meters):
    calls = []
    watch = Watch(Ledger([]), meters, lambda: True, lambda: calls.append("abandoned"))
    watch.sampler = Sampler([], watch)
    for _ in range(3):
        watch()
    assert calls == []
