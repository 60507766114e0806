from __future__ import annotations

import numpy as np

from lightning_energy.ledger.spans import MOST_SPANS, joined


def test_of_very_many_missing_stretches_the_longest_are_kept():
    cut_ns = np.array([0, 1, 10, 11, 20, 25], dtype=np.int64)
    missing = np.array([True, False, True, False, True])
    assert joined([(-5, 0)], cut_ns, missing) == [(-5, 1), (10, 11), (20, 25)]
    many = [(100 * i, 100 * i + 1 + i % 7) for i in range(2 * MOST_SPANS)]
    kept = joined(many, np.array([10**6, 10**6 + 1], dtype=np.int64), np.array([True]))
    assert MOST_SPANS <= len(kept) <= MOST_SPANS + 1
    assert kept == sorted(kept)
    assert kept[-1] == (10**6, 10**6 + 1)  # it may go on
    assert {b - a for a, b in kept[:-1]} == {4, 5, 6, 7}
