"""What a rank has spent, from the ends of its curves, beside what the accounts hold."""

from __future__ import annotations

import time

import pytest

from lightning_energy.ledger.ranks import Ranks
from lightning_energy.meters import MeterLost, ReplayMeter
from lightning_energy.training.spent_joules import Spending, SpentJoules, open_session
from tests.training.parts import INFO, replay, session_of, spend


def test_it_is_what_the_accounts_hold_and_the_last_power_goes_on():
    session = session_of(replay(200.0))
    spend(session, steps=3)
    joules = SpentJoules.of_totals(session)
    before = joules.now()
    known_j = session.totals().energy().energy_j
    time.sleep(0.02)
    after = joules.now()
    after_j = session.totals().energy().energy_j
    assert before.spent_j <= known_j + 1.0
    assert after.spent_j - before.spent_j >= 200.0 * 0.02 * 0.99
    assert after.spent_j <= after_j + 1.0
    assert (after.power_w, after.unknown) == (pytest.approx(200.0, rel=0.05), 0)
    assert (joules.devices, joules.boards, joules.dead) == (1, 1, [])
    session.close()


def test_a_session_that_has_ended_keeps_its_last_figure():
    ended: list[bool] = []
    session = session_of(replay(200.0))
    joules = SpentJoules(session, lambda: bool(ended))
    last = joules.now()
    ended.append(True)
    assert joules.now() == Spending(last.spent_j, 0.0, 1)
    session.close()


class Lost(ReplayMeter):
    def read(self):
        raise MeterLost("it is gone")


def test_a_dead_device_is_told_apart_from_one_that_has_but_not_moved():
    session = session_of(Lost(100.0, info=INFO))
    joules = SpentJoules.of_totals(session)
    assert joules.dead == ["replayed device (it is gone)"]
    assert joules.now().unknown == 1
    session.close()
    session = session_of(ReplayMeter(100.0, counter_period_s=1e6))  # its first update comes in days
    assert SpentJoules(session).dead == []
    assert SpentJoules(session).now().unknown == 0
    session.close()


def test_a_session_of_its_own_counts_from_its_beginning():
    session = open_session(Ranks(), replay(100.0))
    joules = SpentJoules.of_totals(session)
    assert joules.now().spent_j >= 0.0
    assert session.totals().energy(stage="train").energy_j is not None
    session.close()
