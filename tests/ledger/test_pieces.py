from __future__ import annotations

import numpy as np
import pytest

from lightning_energy.curves.curve import Curve
from lightning_energy.curves.energy import QUALITIES
from lightning_energy.ledger.pieces import Marked, Pieces
from tests.ledger.plays import INFO, S


def test_time_is_cut_at_knots_and_marks():
    curve = Curve(INFO)
    curve.add(0, 0.0)
    curve.add(2 * S, 200.0)
    curve.add(3 * S, 200.0, quality="missing")
    due = Marked(curve.knots(), np.array([S, 2 * S, 2 * S]), np.array([7, 5, 3]))
    pieces = Pieces.of(due, 4)
    assert pieces.cut_ns.tolist() == [0, S, 2 * S, 3 * S]
    assert pieces.interval.tolist() == [0, 0, 1]
    assert pieces.code.tolist() == [4, 7, 3]  # of marks at one time the last is in force
    assert pieces.used.tolist() == [3, 4, 7]
    assert pieces.used[pieces.account].tolist() == pieces.code.tolist()
    assert pieces.duration_s.tolist() == pytest.approx([1.0, 1.0, 1.0])
    assert [QUALITIES[q] for q in pieces.quality] == ["measured", "measured", "missing"]
