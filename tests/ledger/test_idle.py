from __future__ import annotations

import math
import re

import pytest

from lightning_energy.curves.energy import QUALITIES
from lightning_energy.ledger.accounts import NO_ACCOUNT, Account
from lightning_energy.ledger.idle import IdlePower, Look, idle_power
from lightning_energy.ledger.sums import Sums
from lightning_energy.ledger.totals import Totals
from lightning_energy.meters import MeterInfo, NvmlMeter, ReplayMeter
from tests.ledger.plays import INFO, S, session_of
from tests.modules import Classifier, energy_callback, loader, make_trainer
from tests.sim.nvml import SimulatedGpu, SimulatedNvml

UUID = "GPU-eeeeeeee-0000-0000-0000-000000000000"


@pytest.mark.slow
def test_idle_baseline(tmp_path):
    energy = energy_callback(meters=ReplayMeter(60.0, counter_period_s=0.02), idle_s=1.0)
    make_trainer(tmp_path, callbacks=[energy]).fit(Classifier(), loader(), loader(8))
    report = energy.report
    assert report.above_idle_j == pytest.approx(0.0, abs=0.1 * report.session.energy_j)
    assert "Above idle" in report.details()


@pytest.mark.slow
def test_a_device_that_is_not_idle_has_no_baseline(tmp_path):
    busy = ReplayMeter([(0.13, 300.0), (0.14, 60.0)], counter_period_s=0.02)
    energy = energy_callback(meters=busy, idle_s=1.0)
    make_trainer(tmp_path, callbacks=[energy]).fit(Classifier(), loader(), loader(8))
    assert energy.report.above_idle_j is None
    assert any("not steady" in note.text for note in energy.report.notes)


def test_a_shared_device_has_no_baseline_and_is_noticed():
    with SimulatedNvml([SimulatedGpu(uuid=UUID, pids=[4711], counter_period_s=0.02)]):
        session = session_of(NvmlMeter(UUID))
        session.watch_idle(0.1)
        assert "other programs use it" in session.notes[0]
        session.close()


def test_without_a_baseline_there_is_no_figure_above_idle():
    session = session_of(ReplayMeter(100.0))
    assert session.above_idle(session.totals()) is None
    session.close()


def test_the_energy_above_idle_is_less_sure_than_the_total():
    """1000 J in 10 s, 600 J of which an idle device takes: 30 J for the 3 W that it strays, 42 % of the rest."""
    session = session_of(ReplayMeter(100.0, info=INFO))
    session._idle.power = {INFO.device_id: IdlePower(60.0, 3.0)}
    sums = Sums.zeros(2)
    sums.energy_j[1], sums.time_s[QUALITIES.index("measured"), 1], sums.u2_total_j2 = 1000.0, 10.0, 1600.0
    above = session.above_idle(Totals([NO_ACCOUNT, Account(0, "train", "step")], [sums], [0.05], ["a"]))
    session.close()
    assert above.energy_j == pytest.approx(400.0)
    assert above.u_j == pytest.approx(math.hypot(40.0, 30.0))
    assert above.u_absolute_j == pytest.approx(math.hypot(50.0, 0.05 * 400, 0.73 / 3**0.5 * 400))


def looks(*powers_w: float | None) -> list[Look]:
    """One look per second; ``None`` is a second of which nothing is known."""
    seen = [Look(0, 0.0, is_known=True)]
    for power_w in powers_w:
        last = seen[-1]
        seen.append(Look(last.time_ns + S, last.energy_j + (power_w or 0.0), power_w is not None))
    return seen


def test_the_idle_power_is_the_mean_of_a_steady_one():
    idle, problem = idle_power(INFO, looks(58.0, 62.0, 60.0, 60.0))
    assert problem == ""
    assert idle.power_w == pytest.approx(60.0)
    assert idle.u_w == pytest.approx(2**0.5)  # two of four looks are 2 W away


def test_looks_between_which_the_curve_did_not_move_count_once():
    steady = [look for look in looks(60.0, 60.0, 60.0) for _ in range(3)]
    assert idle_power(INFO, steady)[0].power_w == pytest.approx(60.0)


@pytest.mark.parametrize(
    ("seen", "problem"),
    [
        (looks(60.0, 60.0), "could not be seen often enough"),
        (looks(60.0, None, 60.0, 60.0)[:4], "could not be seen often enough"),
        (looks(60.0, 300.0, 60.0, 300.0), r"was not steady \(60 to 300 W\)"),
    ],
)
def test_without_a_baseline_there_is_a_reason(seen, problem):
    idle, why = idle_power(INFO, seen)
    assert idle is None
    assert re.search(problem, why)


def test_a_board_that_others_use_has_no_baseline_however_steady():
    board = MeterInfo("d", "device", "measured", "board", power_max_w=500.0)
    assert idle_power(board, looks(60.0, 60.0, 60.0)) == (None, "other programs use it")
