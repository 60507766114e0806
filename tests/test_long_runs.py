"""Months of monotonic nanoseconds, and hours of a run: nothing gets coarser, and nothing piles up."""

from __future__ import annotations

import threading
from itertools import pairwise

import numpy as np
import pytest

from lightning_energy.curves.channel import Channel
from lightning_energy.ledger.ledger import Ledger
from lightning_energy.meters import MeterInfo, ReplayMeter
from tests.sim.clock import VirtualClock, drive

pytestmark = pytest.mark.slow

S = 10**9
DAYS_30_NS = 30 * 86_400 * S
INFO = MeterInfo("d", "device", "measured", "gpu", power_max_w=460.0, power_min_w=50.0)
LOAD = [(0.213, 400.0), (0.104, 80.0)]


class Run:
    """Steps of 0.4 s and gaps of 0.1 s for a while, on a clock that shows ``start_ns`` when it begins."""

    def __init__(self, start_ns: int, seconds: int = 30, counter_period_s: float | None = 0.1) -> None:
        clock = VirtualClock(start_ns)
        meter = ReplayMeter(LOAD, counter_period_s=counter_period_s, clock=clock, info=INFO)
        self.channel = channel = Channel(meter, meter.open(), clock=clock)
        ledger = Ledger([channel.curve], clock=clock)
        step, gap = ledger.code(0, "train", "step"), ledger.code(0, "train", "gap")
        self.knots, self.steps_j, starts_ns = [], [], []
        for _ in range(2 * seconds):
            starts_ns.append(clock.now_ns)
            ledger.mark(step)
            drive(channel, clock, clock.now_ns + S * 2 // 5)
            ledger.mark(gap)
            drive(channel, clock, clock.now_ns + S // 10)
            ledger.settle()
            news = ledger.take_steps()
            self.steps_j += [] if news is None else news.energy_j.tolist()
            self.knots.append(len(channel.curve))
        starts_ns.append(clock.now_ns)
        ledger.mark(0)
        drive(channel, clock, clock.now_ns + S // 2)
        channel.finish()
        ledger.settle(final=True)
        self.total = ledger.totals().energy()
        self.true_j = meter.true_energy_j(starts_ns[0], starts_ns[-1])
        self.true_steps_j = [meter.true_energy_j(a, b) for a, b in pairwise(starts_ns)]

    def rms_j(self) -> float:
        n = len(self.steps_j)
        return float(np.sqrt(np.mean((np.array(self.steps_j) - np.array(self.true_steps_j[:n])) ** 2)))


@pytest.mark.parametrize("counter_period_s", [0.1, 0.02, None])
def test_thirty_days_after_the_boot_figures_are_as_good(counter_period_s):
    young, old = (Run(start_ns, counter_period_s=counter_period_s) for start_ns in (S, DAYS_30_NS))
    assert old.true_j == pytest.approx(young.true_j, rel=1e-4)  # polls come at other moments, and steps end with them
    assert old.total.energy_j == pytest.approx(young.total.energy_j, rel=2e-3)
    assert abs(old.total.energy_j - old.true_j) <= 3 * old.total.u_j
    assert old.total.duration_s == pytest.approx(30.0, abs=0.01)
    assert len(old.steps_j) == len(young.steps_j) > 50
    assert old.rms_j() <= 1.3 * young.rms_j()
    if counter_period_s:
        assert old.channel.period_s == pytest.approx(counter_period_s, rel=1e-3)


def test_marks_thirty_days_apart_are_exact_to_the_nanosecond():
    clock = VirtualClock(0, tick_ns=0)
    meter = ReplayMeter(100.0, counter_period_s=0.1, clock=clock, info=INFO)
    channel = Channel(meter, meter.open(), clock=clock)
    ledger = Ledger([channel.curve], clock=clock)
    code = ledger.code(0, "train", "gap")
    for start_ns in (0, DAYS_30_NS + 1):
        clock.now_ns = start_ns
        ledger.mark(code)
        clock.now_ns = start_ns + 123_456_789
        ledger.mark(0)
    ledger.settle()
    assert ledger.marks.host.time_ns.tolist() == [0, 123_456_789, DAYS_30_NS + 1, DAYS_30_NS + 123_456_790]
    assert ledger.totals(DAYS_30_NS + S).energy(stage="train").duration_s == pytest.approx(2 * 0.123456789, abs=1e-12)


@pytest.mark.parametrize("counter_period_s", [0.1, None])
def test_the_curve_is_thinned_while_the_run_goes_on(counter_period_s):
    """What is booked is forgotten, whatever the length of the run."""
    run = Run(DAYS_30_NS, seconds=120, counter_period_s=counter_period_s)
    half = len(run.knots) // 2
    assert run.channel.reads > 1_000
    assert max(run.knots) < 40
    assert max(run.knots[half:]) <= max(run.knots[:half])


def test_hours_in_which_nothing_is_marked_pile_up_nothing():
    """One open account, say a long validation: the curve is booked to it, and forgotten."""
    clock = VirtualClock(DAYS_30_NS)
    meter = ReplayMeter(100.0, counter_period_s=None, clock=clock, info=INFO)
    channel = Channel(meter, meter.open(), clock=clock)
    ledger = Ledger([channel.curve], lock=threading.RLock(), clock=clock)
    first_ns = clock.now_ns
    ledger.mark(ledger.code(0, "validate", "step"))
    most = 0
    for _ in range(2 * 60):
        drive(channel, clock, clock.now_ns + 60 * S)
        ledger.settle()
        most = max(most, len(channel.curve))
    energy = ledger.totals().energy(stage="validate")
    assert most < 5
    assert energy.energy_j == pytest.approx(meter.true_energy_j(first_ns, clock.now_ns), rel=1e-3)
    assert energy.missing_s < 0.5
