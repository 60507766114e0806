from __future__ import annotations

import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_energy.curves.call_budget import CallBudget

S = 10**9
BEGIN_NS = 10**15


def spent(*calls_s: float, pause_s: float = 1.0) -> tuple[CallBudget, int]:
    budget, now_ns = CallBudget(), BEGIN_NS
    for call_s in calls_s:
        end_ns = now_ns + round(call_s * S)
        budget.spend(now_ns, end_ns)
        now_ns = end_ns + round(pause_s * S)
    return budget, now_ns - round(pause_s * S)


@given(st.integers(0, 150), st.integers(0, 10**6))
def test_the_median_is_that_of_the_last_calls(n, seed):
    rng = random.Random(seed)
    budget, _ = spent(*(rng.choice([0.001, 0.002, rng.random()]) for _ in range(n)))
    assert len(budget.latency_s) == min(n, 64)
    assert budget.call_s == (statistics.median_high(budget.latency_s) if n >= 5 else 0.0)


def test_the_first_calls_say_nothing_of_the_others():
    budget, _ = spent(0.3, 0.3, 0.3, 0.3)
    assert (budget.call_s, budget.floor_s, budget.close_s) == (0.0, 0.001, 0.001)


@pytest.mark.parametrize(
    ("call_s", "floor_s", "close_s"), [(0.00002, 0.001, 0.001), (0.0034, 0.068, 0.0034), (0.05, 1.0, 1.0)]
)
def test_slow_calls_are_far_apart_on_average_and_for_a_while_close(call_s, floor_s, close_s):
    budget, _ = spent(*[call_s] * 5)
    assert (budget.floor_s, budget.close_s) == (pytest.approx(floor_s), pytest.approx(close_s))


def test_time_is_saved_up_and_spent():
    budget, now_ns = spent(0.1, pause_s=0.0)
    assert budget.saved_s(now_ns) == pytest.approx(0.2)
    assert budget.saved_s(now_ns + S) == pytest.approx(0.25)
    assert budget.saved_after_s(1.0) == pytest.approx(0.25)
    assert budget.saved_s(now_ns + 60 * S) == 0.3  # and no more
    assert budget.time_to_save_s(0.05) == pytest.approx(1.0)


def test_a_call_with_a_look_costs_two():
    budget = CallBudget()
    budget.spend(BEGIN_NS, BEGIN_NS + S // 20, calls=2)
    assert budget.saved_s(BEGIN_NS + S // 20) == pytest.approx(0.2)


def test_debts_are_forgiven_but_for_a_part():
    budget, now_ns = spent(*[1.0] * 5, pause_s=0.0)
    assert budget.saved_s(now_ns) == pytest.approx(-0.02)


def test_polls_are_close_only_while_time_is_saved():
    budget, now_ns = spent(*[0.01] * 40, pause_s=0.0)
    assert budget.fine_s(now_ns) == budget.floor_s == pytest.approx(0.2)
    assert budget.fine_s(now_ns + S) == budget.close_s == pytest.approx(0.01)
    budget.is_free = True
    assert budget.fine_s(now_ns) == budget.close_s
