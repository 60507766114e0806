"""Joules of accounts that share intervals, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from lightning_energy.ledger.sharing.limits import Limits
from lightning_energy.ledger.sharing.pairs import Pairs


def limits_of(spent_s, rise_j, slack_j=0.0, groups=None):
    """Limits, lines and pairs of accounts 0 and on."""
    spent_s, rise_j = np.array(spent_s), np.array(rise_j)
    n = spent_s.shape[1]
    limits, pairs, used = Limits(), Pairs(), np.arange(n)
    limits.add(used, spent_s, rise_j, np.full(len(rise_j), slack_j), groups)
    length_s = spent_s.sum(axis=1)
    bridge = np.diag(spent_s.sum(axis=0)) - spent_s.T @ (spent_s / length_s[:, None])
    x, y = np.nonzero(bridge)
    pairs.add(x, y, np.stack([bridge[x, y], 0 * bridge[x, y], 0 * bridge[x, y]], axis=1))
    return limits, rise_j @ (spent_s / length_s[:, None]), pairs


def moved(energy_j, limits, line_j, pairs):
    moves_j = limits.moves_j(np.array(energy_j), line_j, pairs)
    return energy_j if moves_j is None else (np.array(energy_j) + moves_j).tolist()


HALVES = [[0.1, 0.0], [0.05, 0.05], [0.0, 0.1]]  # 30 J, 20 J for both, 12 J


@pytest.mark.parametrize(
    ("energy_j", "expected_j"),
    [
        ([38.0, 24.0], [38.0, 24.0]),
        ([30.0, 32.0], [30.0, 32.0]),
        ([28.0, 34.0], [30.0, 32.0]),
        ([55.0, 7.0], [50.0, 12.0]),
    ],
)
def test_an_account_has_its_own_intervals_and_between_nothing_and_all_of_those_it_shares(energy_j, expected_j):
    assert moved(energy_j, *limits_of(HALVES, [30.0, 20.0, 12.0])) == pytest.approx(expected_j)


def test_what_an_updates_time_leaves_open_is_within_the_limits():
    assert moved([29.0, 33.0], *limits_of(HALVES, [30.0, 20.0, 12.0], 1.0)) == [29.0, 33.0]
    assert moved([28.0, 34.0], *limits_of(HALVES, [30.0, 20.0, 12.0], 1.0)) == pytest.approx([29.0, 33.0])


def test_an_account_gets_from_those_that_it_shares_intervals_with():
    """The middle one lacks 1 J, which its neighbours have too much of; those behind them do not touch it."""
    spent_s = [[0.1, 0.0, 0.0, 0.0], [0.05, 0.05, 0.0, 0.0], [0.0, 0.02, 0.08, 0.0], [0.0, 0.0, 0.0, 0.1]]
    found_j = moved([20.6, -1.0, 10.4, 10.0], *limits_of(spent_s, [10.0, 10.0, 10.0, 10.0]))
    assert found_j == pytest.approx([20.0, 0.0, 10.0, 10.0], abs=0.02)


def test_a_group_is_limited_though_its_accounts_are_not():
    """Steps and gaps share each interval, which is wholly their group's; the third account shares the last one."""
    spent_s = [[0.09, 0.01, 0.0], [0.09, 0.01, 0.0], [0.045, 0.005, 0.05]]
    limits, line_j, pairs = limits_of(spent_s, [30.0, 30.0, 20.0], groups=np.array([0, 0, 2]))
    found_j = moved([50.0, 4.0, 26.0], limits, line_j, pairs)
    assert found_j[0] + found_j[1] == pytest.approx(60.0)
    assert found_j[2] == pytest.approx(20.0)
    assert moved([61.0, -3.0, 22.0], limits, line_j, pairs)[1] >= -1e-9  # and accounts within it


def test_what_neighbours_cannot_give_goes_the_straight_lines_way():
    """Without pairs nothing can move: the largest part of the powers' correction that is possible stays."""
    limits, line_j, _ = limits_of(HALVES, [30.0, 20.0, 12.0])
    assert line_j.tolist() == [40.0, 22.0]
    assert moved([28.0, 34.0], limits, line_j, Pairs()) == pytest.approx([30.0, 32.0])


def test_joules_are_conserved_whatever_the_powers_were():
    rng = np.random.default_rng(0)
    for _ in range(20):
        spent_s = np.zeros((40, 12))
        for k, row in enumerate(spent_s):
            row[k * 11 // 40], row[k * 11 // 40 + 1] = (0.1, 0.0) if k % 3 else rng.dirichlet([1, 1]) / 10
        rise_j = rng.uniform(2, 40, 40)
        limits, line_j, pairs = limits_of(spent_s, rise_j, groups=np.arange(12) // 2 * 2)
        away_j = rng.normal(0, 20, 12)
        found_j = np.array(moved((line_j + away_j - away_j.mean()).tolist(), limits, line_j, pairs))
        assert found_j.sum() == pytest.approx(rise_j.sum(), rel=1e-9)
        assert np.abs(limits._beyond_j(found_j, 0)).max() < 1e-6
        assert np.abs(limits._beyond_j(found_j, 1)).max() < 1e-6


def test_a_copy_changes_by_itself():
    limits, _, _ = limits_of(HALVES, [30.0, 20.0, 12.0])
    other = limits.copy()
    other.add(np.array([0]), np.array([[0.1]]), np.array([5.0]), np.zeros(1), None)
    assert (limits.low_j[0, 0], other.low_j[0, 0]) == (30.0, 35.0)
