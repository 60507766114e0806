from __future__ import annotations

import threading

import pytest

from lightning_energy.curves.curve import Curve
from lightning_energy.ledger.accounts import NO_ACCOUNT, OUTSIDE, Account, Accounts
from lightning_energy.ledger.ledger import Ledger
from tests.ledger.plays import INFO, START, Clock, S


def test_an_account_has_one_code_for_ever():
    accounts = Accounts(threading.RLock())
    assert accounts.rows[OUTSIDE] == NO_ACCOUNT
    step, gap = accounts.code(0, "train", "step"), accounts.code(0, "train", "gap")
    assert (step, gap) == (1, 2)
    assert accounts.code(0, "train", "step") == step
    assert accounts.rows[1:] == [Account(0, "train", "step"), Account(0, "train", "gap")]


def test_accounts_of_an_epoch_and_stage_are_a_group():
    accounts = Accounts(threading.RLock())
    for epoch, stage, kind in [(0, "train", "gap"), (0, "validate", "step"), (0, "train", "step"), (1, "train", "gap")]:
        accounts.code(epoch, stage, kind)
    apart = accounts.apart(3)
    assert accounts.rows[apart] == Account(0, "train", "gap")
    group, is_step, is_gap, is_inner = accounts.arrays
    assert not is_inner.any()
    assert group.tolist() == [0, 1, 2, 1, 4, apart]
    assert is_step.tolist() == [False, False, False, True, False, False]
    assert is_gap.tolist() == [False, True, False, False, True, True]
    assert accounts.arrays is accounts.arrays
    accounts.rename(apart, "tune")
    assert accounts.rows[apart] == Account(0, "tune", "gap")
    assert accounts.arrays.is_gap.tolist() == [False, True, False, False, True, False]


def test_an_account_apart_may_move_to_another_stage():
    clock, curve = Clock(), Curve(INFO)
    ledger = Ledger([curve], clock=clock)
    gap = ledger.code(0, "train", "gap")
    first = ledger.apart(gap)
    second = ledger.apart(gap)
    for second_s, code in enumerate([gap, first, gap, second, gap, 0]):
        clock.now_ns = START + second_s * S
        ledger.mark(code)
    for second_s in range(8):
        curve.add(START + second_s * S, 100.0 * second_s)
    ledger.settle(final=True)  # what is booked moves along
    before_j = ledger.totals(clock.now_ns).energy().energy_j
    ledger.rename(second, "tune")
    totals = ledger.totals(clock.now_ns)
    assert totals.energy(stage="tune").energy_j == pytest.approx(100.0)
    assert totals.energy(stage="train", epoch=0).energy_j == pytest.approx(400.0)
    assert totals.energy().energy_j == before_j == pytest.approx(500.0)
    assert ledger.code(0, "train", "gap") == gap
