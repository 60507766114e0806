from __future__ import annotations

import math

import numpy as np
import pytest

from lightning_energy.curves.curve import Curve
from lightning_energy.ledger import uncertainty
from lightning_energy.ledger.pieces import Marked, Pieces
from lightning_energy.ledger.uncertainty import uncertainty_of
from tests.ledger.plays import INFO, S

GROUPS = np.array([0, 1, 1, 3])  # outside, two accounts of one epoch, one of another
BOUNDS_W = (50.0, 500.0)


def found(rows, marks, code=1, u_delay_s=0.0):
    """The uncertainty of one-second intervals.

    Args:
        rows: mean power and quality of each interval.
        marks: times in seconds, and accounts.
        code: the account before them.
        u_delay_s: uncertainty of the register's delay.
    """
    curve, energy_j = Curve(INFO), 0.0
    curve.add(0, 0.0, half_width_ns=10**6)
    for second, (power_w, quality) in enumerate(rows, 1):
        energy_j += power_w
        curve.add(second * S, energy_j, half_width_ns=10**6, quality=quality)
    times = np.array([round(s * S) for s, _ in marks], dtype=np.int64)
    codes = np.array([c for _, c in marks], dtype=np.int64)
    pieces = Pieces.of(Marked(curve.knots(), times, codes), code)
    return pieces.used, uncertainty_of(curve.knots(), pieces, GROUPS, BOUNDS_W, u_delay_s=u_delay_s)


def test_an_interval_of_one_account_is_certain():
    _, u = found([(100.0, "measured")] * 3, [(1.0, 2), (2.0, 1)])  # marks at knots
    assert u.account_j.tolist() == [0.0, 0.0]
    assert u.account_j2.tolist() == [0.0, 0.0]
    assert (u.group_j2.tolist(), u.total_j2) == ([0.0], 0.0)


def test_two_accounts_that_share_an_interval_err_by_the_same():
    used, u = found([(100.0, "measured")], [(0.25, 3)])
    assert used.tolist() == [1, 3]
    bound_j = max(min(0.25 * 400.0, 0.75 * 50.0), min(0.25 * 50.0, 0.75 * 400.0)) / math.sqrt(3)
    edge_j2 = (100.0 * 1e-3) ** 2 / 3
    assert u.account_j.tolist() == pytest.approx([bound_j] * 2)
    assert u.account_j2.tolist() == pytest.approx([edge_j2] * 2)
    assert u.groups.tolist() == [1, 3]
    assert u.group_j.tolist() == pytest.approx([bound_j] * 2)
    assert u.group_j2.tolist() == pytest.approx([edge_j2] * 2)
    assert u.total_j2 == 0.0  # together they are the interval


@pytest.mark.parametrize(("quality", "is_late"), [("measured", True), ("integrated", False)])
def test_a_cut_is_as_uncertain_as_the_delay_of_a_register_on_all_devices_alike(quality, is_late):
    rows, marks = [(100.0, quality), (300.0, quality)], [(0.25, 3), (1.5, 0)]
    (used, plain), (_, late) = (found(rows, marks, u_delay_s=u_s) for u_s in (0.0, 0.02))
    assert used.tolist() == [0, 1, 3]
    more_j2 = np.array([(300.0 * 0.02) ** 2, (100.0 * 0.02) ** 2, (100.0 * 0.02) ** 2 + (300.0 * 0.02) ** 2])
    more_j2 *= is_late
    assert (late.account_j2 - plain.account_j2).tolist() == pytest.approx(more_j2.tolist())
    assert late.account_alike_j2.tolist() == pytest.approx(more_j2.tolist())
    assert late.group_alike_j2.tolist() == pytest.approx(more_j2.tolist())
    assert late.total_alike_j2 == pytest.approx(late.total_j2 - plain.total_j2)
    assert late.total_alike_j2 == pytest.approx(more_j2[0])  # that of its end
    assert np.array_equal(late.account_j, plain.account_j)


def test_an_interval_within_a_group_adds_to_its_accounts_alone():
    _, u = found([(100.0, "measured")], [(0.25, 2)])
    assert (u.account_j > 0).all()
    assert (u.group_j2.tolist(), u.total_j2) == ([0.0], 0.0)


def test_the_outer_end_of_a_run_adds_to_the_total():
    _, u = found([(100.0, "measured")], [(0.25, 0)])
    assert u.total_j == pytest.approx(u.group_j[1]) != 0.0
    assert u.total_j2 == pytest.approx(u.group_j2[1]) != 0.0


def test_the_bounds_of_all_changes_of_load_add_up():
    """Straight lines err the same way wherever the load changes, so that no error cancels another."""
    _, one = found([(100.0, "measured")], [(0.25, 3)])
    _, two = found([(100.0, "measured")] * 2, [(0.25, 3), (1.0, 1), (1.25, 3)])
    assert two.group_j.tolist() == pytest.approx((2 * one.group_j).tolist())


def test_only_the_wanted_intervals_count():
    curve = Curve(INFO)
    for second in range(3):
        curve.add(second * S, 100.0 * second)
    pieces = Pieces.of(Marked(curve.knots(), np.array([S // 4, S + S // 4]), np.array([2, 3])), 1)
    wanted = np.array([False, True])
    both, one = (uncertainty_of(curve.knots(), pieces, GROUPS, BOUNDS_W, w) for w in (None, wanted))
    assert one.account_j.sum() == pytest.approx(both.account_j[1:].sum() / 2 + both.account_j[2] / 2)


def test_a_missing_interval_has_no_joules_to_be_wrong_about():
    _, u = found([(0.0, "missing")], [(0.25, 3)])
    assert u.account_j.tolist() == u.account_j2.tolist() == [0.0, 0.0]


def test_the_same_is_found_in_small_portions(monkeypatch):
    rng = np.random.default_rng(0)
    rows = [(power_w, "measured") for power_w in rng.uniform(50, 500, 40)]
    marks = [(s, int(rng.integers(0, 4))) for s in np.sort(rng.uniform(0, 40, 60))]
    _, whole = found(rows, marks)
    monkeypatch.setattr(uncertainty, "AT_ONCE", 21)
    _, parts = found(rows, marks)
    for one, other in zip(whole, parts, strict=True):
        assert np.asarray(one) == pytest.approx(np.asarray(other), rel=1e-12)
