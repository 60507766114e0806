from __future__ import annotations

import math
import sys
import threading
from functools import partial
from itertools import count

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_energy.curves.curve import Curve
from lightning_energy.ledger.accounts import Accounts
from lightning_energy.ledger.ledger import Ledger
from lightning_energy.ledger.marks import AtMarks
from lightning_energy.ledger.steps import KnownSteps, Look, Steps
from tests.ledger.plays import INFO, START, Clock, S, constant


def test_a_step_runs_to_the_start_of_the_next_and_ends_with_its_stage():
    ledger, at, grow, _ = constant()
    at(0.0, (0, "train", "gap"))
    at(1.0, (0, "train", "step"))
    at(1.8, (0, "train", "gap"))
    at(2.0, (0, "train", "step"))  # the first step lasted 1 s
    at(2.5, (0, "train", "gap"))
    at(3.0, (0, "validate", "gap"))  # the second 1 s, up to the validation
    at(3.5, (0, "validate", "step"))
    at(4.0, (0, "train", "gap"))
    at(5.0, (0, "train", "step"))
    at(5.2, (0, "train", "gap"))
    at(5.5, (1, "train", "gap"))  # the third 0.5 s, up to the next epoch
    at(6.0, (1, "train", "step"))
    at(6.5, None)  # the fourth 0.5 s
    grow(7.0)
    ledger.settle(final=True)
    steps = ledger.take_steps()
    assert list(steps.duration_s) == pytest.approx([1.0, 1.0, 0.5, 0.5])
    assert list(steps.energy_j) == pytest.approx([100.0, 100.0, 50.0, 50.0])
    assert ledger.take_steps() is None


def test_steps_with_missing_time_have_no_figure():
    clock = Clock()
    curve = Curve(INFO)
    ledger = Ledger([curve], clock=clock)
    curve.add(START, 0.0)
    for i in range(4):
        clock.now_ns = START + i * S
        ledger.mark(ledger.code(0, "train", "step"))
        quality = "missing" if i == 1 else "measured"
        curve.add(START + (i + 1) * S, curve.end_j + (0.0 if i == 1 else 100.0), quality=quality)
    clock.now_ns = START + 4 * S
    ledger.mark(0)
    curve.add(START + 5 * S, 400.0)
    ledger.settle(final=True)
    steps = ledger.take_steps()
    assert list(steps.energy_j) == pytest.approx([100.0, 100.0, 100.0])
    total = ledger.totals().energy()
    assert (total.energy_j, total.missing_s) == (pytest.approx(300.0), pytest.approx(1.0))


@pytest.mark.parametrize("at_once", [1, 2, 3, 7])
def test_steps_are_the_same_however_many_marks_come_at_once(at_once):
    accounts = Accounts(threading.RLock())
    step, gap, end = (accounts.code(0, *key) for key in (("train", "step"), ("train", "gap"), ("validate", "gap")))
    code = np.array([step, gap, step, gap, step, gap, end])
    time_ns = np.arange(7) * S
    there = AtMarks(np.arange(7) * 100.0, np.zeros(7), np.arange(7) / 4, np.zeros(7))
    known = KnownSteps()
    for first in range(0, 7, at_once):
        rows = slice(first, first + at_once)
        known.find(time_ns[rows], code[rows], there.part(rows), accounts.arrays)
    assert known.n == 3
    steps = known.take()
    assert steps.energy_j.tolist() == [200.0] * 3
    assert steps.duration_s.tolist() == pytest.approx([2.0] * 3)
    assert known.n == 0
    assert known.take() is None


STEPS = st.lists(st.tuples(st.floats(0.0, 1e6), st.floats(1e-6, 1e3)), min_size=1, max_size=5)
BOOKED = st.lists(st.tuples(STEPS, st.floats(0.0, 1e3)), max_size=4)


@given(BOOKED)
def test_sums_of_steps_are_those_of_the_steps(booked):
    """The training thread takes these, and no arrays."""
    one, other = KnownSteps(), KnownSteps()
    for steps, u_j in booked:
        news = Steps.of(*np.array(steps).T, u_j)
        for known in (one, other):
            known.go_on(0, Look((news,)))
    steps, sums = one.take(), other.take_sums()
    assert (other.news, other.look) == ((), Look())
    if not booked:
        assert (steps, sums) == (None, None)
        return
    assert sums == other.found.sums
    assert sums.n == steps.sums.n == len(steps.energy_j)
    assert sums.energy_j == pytest.approx(math.fsum(steps.energy_j))
    assert sums.duration_s == pytest.approx(math.fsum(steps.duration_s))
    assert sums.u2_j2 == pytest.approx(steps.u_j**2)
    assert other.take_sums() is None


def before_line(n: int, other, function) -> bool:
    """Call another function before the n-th line in the file of KnownSteps that one comes to; false: it has fewer."""
    left = n

    def trace(frame, event, _argument):
        nonlocal left
        if not frame.f_code.co_filename.endswith("ledger/steps.py"):
            return None
        if event == "line":
            left -= 1
            if left == -1:
                other()
        return trace

    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(None)
    return left < 0


@pytest.mark.parametrize("is_taken_amidst", [True, False])
def test_steps_are_taken_once_while_another_thread_finds_more(is_taken_amidst):
    """Neither holds a lock: between any two lines of one, the other may come."""
    for line in count():
        known, taken = KnownSteps(), []

        def find(energy_j, known=known) -> None:
            known.go_on(0, Look((Steps.of(np.array([energy_j]), np.array([1.0]), 0.0),)))

        def take(known=known, taken=taken) -> None:
            taken.append(known.take_sums())

        find(1.0), find(2.0), take(), find(4.0), find(8.0)
        if not before_line(line, *((take, partial(find, 16.0)) if is_taken_amidst else (partial(find, 16.0), take))):
            break
        find(32.0), take()
        assert sum(sums.energy_j for sums in taken if sums is not None) == 63.0
        assert known.found.sums == (6, 63.0, 6.0, 0.0)
        assert (known.n, known.take_sums()) == (0, None)
    assert line > 5


def test_an_open_step_is_not_known_and_one_with_missing_time_is_none():
    accounts = Accounts(threading.RLock())
    step = accounts.code(0, "train", "step")
    known = KnownSteps()
    missing_s = np.array([0.0, 0.0, 0.5, 0.5])
    there = AtMarks(np.arange(4) * 100.0, missing_s, np.array([1.0, 4.0, 9.0, 16.0]), np.zeros(4))
    known.find(np.arange(4) * S, np.full(4, step), there, accounts.arrays)
    steps = known.take()
    assert steps.energy_j.tolist() == [100.0, 100.0]  # the first and the third; the fourth has not ended
    assert steps.u_j == pytest.approx(np.sqrt(1.0 + 4.0 + 9.0 + 16.0))  # the ends of both
