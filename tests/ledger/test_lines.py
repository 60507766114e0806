from __future__ import annotations

import numpy as np
import pytest

from lightning_energy.ledger.lines import line_shares
from lightning_energy.ledger.pieces import Marked, Pieces
from tests.ledger.plays import START, S
from tests.ledger.test_held import held_of

GROUPS = np.array([0, 1, 1])


def shares(by_line, **kwargs):
    """Three seconds of 100 W, the second one missing; account 1 from 0.5 s on, 2 from 2.25 s on."""
    knots = held_of("m-m").knots
    pieces = Pieces.of(Marked(knots, START + np.array([S // 2, 9 * S // 4]), np.array([1, 2])), 0)
    return line_shares(knots, pieces, GROUPS, (0.0, 400.0), by_line=np.array(by_line), **kwargs)


def test_straight_lines_share_by_time():
    found = shares([True, True, True])
    assert found.used.tolist() == [0, 1, 2]
    assert found.energy_j == pytest.approx([50.0, 75.0, 75.0])
    assert found.time_s[0] == pytest.approx([0.5, 0.75, 0.75])
    assert found.time_s[3] == pytest.approx([0.0, 1.0, 0.0])
    # half a second of 100 W cannot be off by more than its 50 J; a quarter by no more than 75 J
    assert found.uncertainty.account_j == pytest.approx(np.array([50.0, 125.0, 75.0]) / np.sqrt(3))
    assert found.uncertainty.total_j == pytest.approx(50.0 / np.sqrt(3))


def test_intervals_that_are_shared_otherwise_have_their_time_only():
    found = shares([False, True, True])
    assert found.energy_j == pytest.approx([0.0, 25.0, 75.0])
    assert found.time_s.sum(axis=0) == pytest.approx([0.5, 1.75, 0.75])
    assert found.uncertainty.account_j == pytest.approx(np.array([0.0, 75.0, 75.0]) / np.sqrt(3))


def test_times_that_were_added_before_are_not_added_again():
    found = shares([True, False, False], with_time=False)
    assert found.time_s.tolist() == np.zeros((4, 3)).tolist()
    assert found.energy_j == pytest.approx([50.0, 50.0, 0.0])
