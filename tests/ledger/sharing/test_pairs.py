from __future__ import annotations

import numpy as np

from lightning_energy.ledger.sharing.pairs import Pairs


def pairs_of(*rows) -> Pairs:
    """Pairs with (first, second, bridge)."""
    pairs = Pairs()
    for first, second, bridge in rows:
        pairs.add(np.array([first]), np.array([second]), np.array([[bridge, 1.0, 0.0]]))
    return pairs


def test_sums_of_a_pair_add_up():
    pairs = pairs_of((1, 1, 0.5), (1, 2, -0.5), (2, 1, -0.5), (2, 2, 0.5), (1, 2, -0.25))
    first, second, weight = pairs.neighbours
    assert [*zip(first.tolist(), second.tolist(), weight.tolist(), strict=True)] == [(1, 2, 0.75), (2, 1, 0.5)]
    assert pairs.within(np.array([False, True, False])).tolist() == [0.5, 1.0, 0.0]
    assert pairs.within(np.array([False, True, True])).tolist() == [-0.25, 5.0, 0.0]


def test_a_copy_changes_by_itself():
    one = pairs_of((1, 1, 0.5))
    two = one.copy()
    two.add(np.array([1]), np.array([1]), np.ones((1, 3)))
    assert (one.values.tolist(), two.values.tolist()) == ([[0.5, 1.0, 0.0]], [[1.5, 2.0, 1.0]])
