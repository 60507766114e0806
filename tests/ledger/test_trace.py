from __future__ import annotations

import numpy as np
import pytest

from lightning_energy.curves.curve import Curve
from lightning_energy.ledger.accounts import NO_ACCOUNT, Account
from lightning_energy.ledger.marks import AtMarks
from lightning_energy.ledger.trace import Trace
from tests.ledger.plays import INFO, START, S

ACCOUNTS = [NO_ACCOUNT, Account(0, "train", "step"), Account(0, "train", "gap")]


def test_knots_are_told_once_and_the_first_of_a_device_ends_nothing():
    curve, trace = Curve(INFO), Trace(["a"], START)
    for second in range(3):
        curve.add(START + second * S, 100.0 * second, half_width_ns=1000)
    trace.add_knots(0, curve.knots(), told=0)
    assert trace.rows == 3
    first = trace.take_curve()
    assert first["time_s"].tolist() == pytest.approx([0.0, 1.0, 2.0])
    assert first["quality"].tolist() == [None, "measured", "measured"]
    curve.add(START + 3 * S, 200.0, quality="missing")
    trace.add_knots(0, curve.knots(), told=3)
    later = trace.take_curve()
    assert (later["device_id"].tolist(), later["quality"].tolist()) == (["a"], ["missing"])
    assert len(trace.take_curve()["time_s"]) == 0


def test_stretches_between_marks_go_on_over_calls():
    trace = Trace(["a"], START)
    code = np.array([1, 2, 0, 1])
    there = AtMarks(
        np.array([0.0, 100.0, 150.0, 150.0]),
        np.array([0.0, 0.0, 1.0, 1.0]),
        np.array([1.0, 3.0, 3.0, 1.0]),
        np.zeros(4),
    )
    time_ns = START + np.arange(4) * S
    trace.add_marks(time_ns[:2], code[:2], there.part(slice(2)))
    first = trace.take_steps(ACCOUNTS)
    trace.add_marks(time_ns[2:], code[2:], there.part(slice(2, None)))
    second = trace.take_steps(ACCOUNTS)
    assert (first["kind"].tolist(), second["kind"].tolist()) == (["step"], ["gap"])  # what is outside is left out
    assert first["energy_j"].tolist() == [100.0]
    assert first["u_j"].tolist() == [2.0]
    assert np.isnan(second["energy_j"]).all()  # all of it is missing
    assert second["missing_s"].tolist() == [1.0]
    assert trace.rows == 0
