from __future__ import annotations

import math

import numpy as np
import pytest

from lightning_energy.curves.curve import Curve
from lightning_energy.curves.energy import QUALITIES
from lightning_energy.ledger.held import Held
from lightning_energy.ledger.ledger import Ledger
from lightning_energy.ledger.marks import Marks
from lightning_energy.ledger.sharing.classes import Position
from lightning_energy.ledger.sums import Sums
from lightning_energy.ledger.tail import LONGEST_TAIL_NS, Tail
from lightning_energy.meters import MeterInfo
from tests.ledger.plays import INFO, START, Clock, S, constant
from tests.ledger.test_held import held_of as knots_of


def test_the_time_after_the_last_knot_is_supposed_to_go_on():
    ledger, at, grow, clock = constant()
    at(0.0, (0, "train", "step"))
    grow(0.5)
    ledger.settle()
    clock.now_ns = START + 2 * S
    total = ledger.totals().energy()
    assert total.energy_j == pytest.approx(200.0)
    assert total.missing_s == 0
    assert total.u_j >= 400.0 * 1.5 / math.sqrt(3) - 1e-6  # it might have drawn 500 W since
    epoch = ledger.totals().energy(stage="train", epoch=0)
    assert epoch.energy_j == pytest.approx(200.0)


def test_behind_the_last_knot_its_bracket_counts_and_accounts_of_an_epoch_err_together():
    clock = Clock()
    curve = Curve(MeterInfo("d", "device", "measured", "gpu", power_max_w=130.0, power_min_w=70.0))
    ledger = Ledger([curve], clock=clock)
    curve.add(START - S, 0.0)
    ledger.mark(ledger.code(0, "train", "step"))
    curve.add(START + S, 200.0, half_width_ns=S // 100)
    for after_s, kind in ((1.5, "gap"), (1.7, "step")):
        clock.now_ns = START + round(after_s * S)
        ledger.mark(ledger.code(0, "train", kind))
    clock.now_ns = START + 2 * S
    totals = ledger.totals()
    # GUM 4.3.7: the second before the first mark, the second behind the last knot, and twice that knot's bracket
    start_u2, tail_u2, edge_u2 = ((x / math.sqrt(3)) ** 2 for x in (30.0 * 1.0, 30.0 * 1.0, 100.0 * 0.01))
    edge_u2 += (100.0 * 0.03) ** 2  # and a delay of the counter of which nothing is known: 30 ms
    for figure in (totals.energy(), totals.energy(stage="train", epoch=0)):
        assert figure.energy_j == pytest.approx(200.0)
        assert figure.u_j == pytest.approx(math.sqrt(start_u2 + tail_u2 + 2 * edge_u2), rel=1e-6)
    gap = totals.energy(kind="gap")
    assert gap.energy_j == pytest.approx(20.0)
    assert gap.u_j == pytest.approx(30.0 * 0.2 / math.sqrt(3), rel=1e-6)


def test_behind_a_missing_interval_nothing_is_supposed():
    ledger, at, grow, clock = constant()
    at(0.0, (0, "train", "step"))
    grow(0.5)
    ledger.books[0].curve.add(START + S, ledger.books[0].curve.end_j, quality="missing")
    clock.now_ns = START + 2 * S
    total = ledger.totals().energy()
    assert (total.energy_j, total.missing_s) == (pytest.approx(50.0), pytest.approx(1.5))


def held_of(curve: Curve, begin: int, rows: list[tuple[int, int]]) -> Held:
    marks = Marks.of(rows)
    held = Held.empty().followed_by(curve.knots(), marks.time_ns, marks.code, marks.code, Position())
    return held._replace(begin=Position(begin, begin))


def test_a_tail_is_shared_by_its_marks_and_missing_after_a_while():
    curve, sums = Curve(INFO), Sums.zeros(3)
    curve.add(START, 0.0)
    curve.add(START + S, 100.0)
    now_ns = START + 11 * S
    tail = Tail(held_of(curve, 1, [(START + 2 * S, 2)]), START + S, now_ns, 100.0, curve.power_bounds_w())
    tail.add_time(sums)
    tail.add_line(sums, np.array([0, 1, 2]))
    known_s = LONGEST_TAIL_NS / S
    assert sums.energy_j.tolist() == pytest.approx([0.0, 100.0, 100.0 * (known_s - 1.0)])
    assert sums.time_s[QUALITIES.index("missing")].tolist() == pytest.approx([0.0, 0.0, 10.0 - known_s])
    assert tail.missing_ns([]) == [(START + S + LONGEST_TAIL_NS, now_ns)]
    # all pieces err alike: the group's bound is the sum of its pieces', and so is the total's
    per_s = 400.0 / math.sqrt(3)
    assert np.sqrt(sums.u2_account_j2).tolist() == pytest.approx([0.0, per_s, per_s * (known_s - 1.0)])
    assert math.sqrt(sums.u2_total_j2) == pytest.approx(per_s * known_s)


def test_in_a_tail_classes_of_work_go_on_with_their_own_powers():
    curve = Curve(INFO)
    curve.add(START, 0.0)
    curve.add(START + S, 100.0)
    tail = Tail(held_of(curve, 1, [(START + 2 * S, 2)]), START + S, START + 3 * S, 100.0, (50.0, 500.0))
    ahead = tail.ahead(4)
    assert ahead.code.tolist() == [1, 2]
    assert ahead.seconds_s.tolist() == [[0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]]


def test_no_time_is_no_tail():
    sums = Sums.zeros(1)
    tail = Tail(Held.empty(), None, START, None, (50.0, 500.0))
    tail.add_time(sums)
    tail.add_line(sums, np.array([0]))
    assert tail.missing_ns([(1, 2)]) == [(1, 2)]
    assert sums.energy_j.sum() == sums.time_s.sum() == 0


def test_a_smoothed_counter_has_yet_to_show_the_last_of_what_was():
    held = knots_of("mmmm", [(1, 5, 2)])
    tail = Tail(held, START + 4 * S, START + 4 * S + S // 2, 100.0, (0.0, 400.0))
    assert tail.ahead(3).seconds_s == pytest.approx(np.array([[0.0, 0.0, 0.5]]))
    smoothed = tail.ahead(3, 0.05)  # in force for many time constants: one of them is still to be shown
    assert (smoothed.code.tolist(), smoothed.seconds_s.tolist()) == ([5], [[0.0, 0.0, pytest.approx(0.55)]])
