from __future__ import annotations

import random
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_energy.curves.call_budget import CallBudget, TimeShares
from lightning_energy.curves.channel import Channel
from lightning_energy.curves.sampler import Sampler
from lightning_energy.meters import NvmlMeter
from tests.sim.clock import VirtualClock
from tests.sim.nvml import SimulatedGpu
from tests.sim.watched import Slow, drive_all

S = 10**9
BEGIN_NS = 10**15
MS = 10**6


def spent(*calls_ms: float, pause_ms: int = 1000, budget: CallBudget | None = None) -> tuple[CallBudget, int]:
    """A budget after some calls with pauses between them, and when the last one ended."""
    budget, end_ns = budget or CallBudget(), BEGIN_NS - pause_ms * MS
    for call_ms in calls_ms:
        start_ns = end_ns + pause_ms * MS
        end_ns = start_ns + round(call_ms * MS)
        budget.spend(start_ns, end_ns)
    return budget, end_ns


@given(st.integers(0, 150), st.integers(0, 10**6))
def test_the_median_is_that_of_the_last_calls(n, seed):
    rng = random.Random(seed)
    calls_ms = [rng.choice([1.0, 2.0, 1000.0 * rng.random()]) for _ in range(n)]
    budget, _ = spent(*calls_ms)
    assert len(budget.latency_ns) == min(n, 64)
    seen = n if n <= 5 else max(n // 8 * 8, 5)  # then it looks at every eighth
    looked = [round(x * MS) for x in calls_ms[max(seen - 64, 0) : seen]]
    assert budget.call_ns == (0 if n < 2 else min(looked) if n < 5 else statistics.median_high(looked))


def test_calls_that_another_process_made_are_known_and_took_none_of_this_ones_time():
    theirs, _ = spent(*[3.0] * 20)
    ours, end_ns = spent(1.0, 1.0)
    saved_ns = ours.saved_ns(end_ns)
    ours.learn(theirs.call_ns)
    assert (ours.call_ns, ours.floor_ns, ours.close_ns) == (theirs.call_ns, theirs.floor_ns, theirs.close_ns)
    assert ours.saved_ns(end_ns) == saved_ns


def test_the_first_call_says_nothing_of_the_others():
    budget, _ = spent(300.0)
    assert (budget.call_ns, budget.floor_ns, budget.close_ns) == (0, MS, MS)
    budget, _ = spent(300.0, 0.02, 0.03)
    assert budget.call_ns == 20_000


@pytest.mark.parametrize(("call_ms", "floor_ms", "close_ms"), [(0.02, 1, 1), (3.4, 68, 3.4), (50, 1000, 1000)])
def test_slow_calls_are_far_apart_on_average_and_for_a_while_close(call_ms, floor_ms, close_ms):
    budget, _ = spent(*[call_ms] * 7)
    assert (budget.floor_ns, budget.close_ns) == (floor_ms * MS, close_ms * MS)


def test_time_is_saved_up_and_spent():
    budget, now_ns = spent(120, pause_ms=0)
    assert budget.saved_ns(now_ns) == 180 * MS
    assert budget.saved_ns(now_ns + S) - budget.saved_ns(now_ns) == 50 * MS
    assert budget.saved_ns(now_ns + 60 * S) == 300 * MS  # and no more
    assert budget.time_to_save_ns(50 * MS) == S


def test_a_call_with_others_costs_all_of_them():
    budget = CallBudget()
    budget.spend(BEGIN_NS, BEGIN_NS + 20 * MS, 50 * MS)
    assert budget.saved_ns(BEGIN_NS + 20 * MS) == 250 * MS


def test_debts_are_forgiven_but_for_a_part():
    budget, now_ns = spent(*[30] * 12, 1000, pause_ms=0)
    assert budget.saved_ns(now_ns) == -240 * MS


def test_a_call_that_waits_for_the_interpreter_costs_no_more_than_eight():
    """A training in pure Python gives its lock up every five milliseconds: that is none of the driver's time."""
    budget, now_ns = spent(1, 1, 1000, pause_ms=0)
    assert budget.saved_ns(now_ns) == (300 - 1 - 1 - 8) * MS


def test_polls_are_close_only_while_time_is_saved():
    budget, now_ns = spent(*[10] * 40, pause_ms=0)
    assert budget.floor_ns == 200 * MS
    assert budget.fine_ns(now_ns) == 20 * 80 * MS  # until the debt is paid
    assert budget.fine_ns(now_ns + S) > budget.floor_ns
    assert budget.fine_ns(now_ns + 5 * S) == budget.close_ns == 10 * MS
    budget.is_free = True
    assert budget.fine_ns(now_ns) == budget.close_ns


def test_the_time_of_a_process_is_shared_so_that_all_are_polled_equally_often():
    slow, quick, shares = CallBudget(), CallBudget(), TimeShares()
    shares.join([slow, quick])
    spent(*[3.0] * 8, budget=slow)
    spent(*[1.0] * 8, budget=quick)
    assert slow.floor_ns == pytest.approx(20 * 4 * MS, rel=0.02)
    assert quick.floor_ns == pytest.approx(slow.floor_ns, rel=0.02)
    shares.leave([slow])
    assert quick.floor_ns == 20 * MS


def test_many_that_begin_together_have_no_more_time_at_first_than_one():
    budgets, shares = [CallBudget() for _ in range(8)], TimeShares()
    shares.join(budgets)
    for budget in budgets:
        budget.spend(BEGIN_NS, BEGIN_NS)
    assert sum(b.saved_ns(BEGIN_NS) for b in budgets) == pytest.approx(300 * MS, abs=8)
    assert sum(b.saved_ns(BEGIN_NS + 4 * S) for b in budgets) <= 300 * MS


def test_what_a_fork_has_copied_takes_no_share_of_the_child(monkeypatch):
    parents, child, shares = CallBudget(), CallBudget(), TimeShares()
    shares.join([parents])
    monkeypatch.setattr("lightning_energy.curves.call_budget.os.getpid", lambda: -1)
    shares.join([child])
    spent(*[1.0] * 8, budget=child)
    assert child.floor_ns == 20 * MS


class Timed(Slow):
    """Notes when its slow calls were made, and how long each took, in seconds since ``begun_ns``."""

    def __init__(self, *args) -> None:
        self.begun_ns, self.spent = 0, []
        super().__init__(*args)

    def _counted(self, name, function):
        call = super()._counted(name, function)

        def timed(*arguments) -> int:
            start_ns = self._now.now_ns
            result = call(*arguments)
            self.spent.append(((start_ns - self.begun_ns) / S, (self._now.now_ns - start_ns) / S))
            return result

        return timed


@pytest.mark.parametrize(
    ("boards", "call_s", "most"),
    [(1, 0.001, (0.11, 0.055)), (1, 0.0034, (0.11, 0.055)), (8, 0.001, (0.12, 0.06)), (8, 0.0034, (0.13, 0.06))],
)
@pytest.mark.parametrize("period_s", [0.1, 0.02])
def test_calls_take_a_twentieth_of_the_time_of_a_process(boards, call_s, most, period_s, monkeypatch):
    """At first, with 0.3 s more for the search of the period, and after ten seconds: all boards, all that is read."""
    clock = VirtualClock(BEGIN_NS)
    monkeypatch.setattr("lightning_energy.meters.nvml.monotonic_ns", clock)
    load = [(1.0, 300.0), (0.7, 100.0)]
    gpus = [
        SimulatedGpu(load, uuid=f"GPU-{i:08}-0000-0000-0000-000000000000", counter_period_s=period_s, phase_s=0.013 * i)
        for i in range(boards)
    ]
    with Timed(gpus, clock, call_s, 1) as library:
        meters = [NvmlMeter(gpu.uuid) for gpu in gpus]
        channels = [Channel(meter, meter.open(), clock=clock) for meter in meters]
        Sampler(channels, lambda: None)  # tells them how many they are
        shares = TimeShares()
        shares.join(channel.plan.calls for channel in channels)
        library.begun_ns = clock.now_ns
        library.spent.clear()
        drive_all(channels, clock, clock.now_ns + 40 * S, random.Random(0))
    at_s, took_s = np.array(library.spent).T
    assert took_s[at_s < 5.0].sum() / 5.0 <= most[0]
    assert took_s[at_s >= 10.0].sum() / 30.0 <= most[1]
    assert all(channel.trouble is None for channel in channels)
    for channel, gpu in zip(channels, gpus, strict=True):
        start_ns, end_ns = library.begun_ns + 5 * S, channel.curve.end_ns
        total = channel.curve.energy_between(start_ns, end_ns)
        assert total.missing_s == 0.0
        assert total.energy_j == pytest.approx(gpu.true_energy_j(start_ns, end_ns), abs=3 * total.u_j)
