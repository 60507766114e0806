from __future__ import annotations

from types import SimpleNamespace

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


class Woken:
    """Stands in for the thread that books."""

    def __init__(self, *, has_thread: bool = True) -> None:
        self.times, self.has_thread = 0, has_thread
        self.failure: Exception | None = None

    def wake(self) -> bool:
        self.times += 1
        return self.has_thread

    def end(self) -> None:
        """End nothing."""


@pytest.mark.parametrize("has_thread", [True, False])
def test_bookings_become_rare_and_many_marks_are_booked_at_once(meters, monkeypatch, has_thread):
    """Called every half second for 20 s: at 0.4 of the time so far, and from 12.5 s on every 5 s."""
    now_s, woken = [100.0], Woken(has_thread=has_thread)
    monkeypatch.setattr(watch_module, "time", SimpleNamespace(monotonic=lambda: now_s[0]))
    ledger = Ledger([Curve(INFO)])
    watch = Watch(ledger, meters, lambda: False, lambda: None)
    watch.booker = woken
    watch.sampler = SimpleNamespace(is_in_thread=True, take_news=lambda: None)
    times = []
    for half in range(1, 41):
        now_s[0] = 100.0 + half / 2
        watch()
        if len(times) < woken.times:
            times.append(half / 2)
    assert times == [0.5, 1.0, 2.0, 3.5, 6.0, 10.0, 15.0, 20.0]
    for _ in range(watch_module.MANY):
        ledger.mark(0)
    watch()
    assert woken.times == len(times) + 1
    assert ledger.waiting == (watch_module.MANY if has_thread else 0)  # nobody else takes them


@pytest.mark.parametrize("thread", ["lives", "cannot be started", "has failed"])
def test_the_training_books_itself_only_where_nobody_else_does(meters, thread):
    """It has come to call the time of a board that hangs missing: it holds the lock, and the others wait for it."""
    ledger, woken = Ledger([Curve(INFO)]), Woken(has_thread=thread == "lives")
    woken.failure = ValueError() if thread == "has failed" else None
    watch = Watch(ledger, meters, lambda: False, lambda: None)
    watch.booker, watch.sampler = woken, SimpleNamespace(is_in_thread=False)
    ledger.mark(0)
    watch()
    assert ledger.waiting == (thread == "lives")
    assert woken.times == (thread != "has failed")
