from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_energy.ledger.sharing.parts import MOST_PARTS, Parts, cut, ends_of

seconds = st.floats(1e-4, 3.0)


@given(mean_s=st.lists(seconds, min_size=1, max_size=9), update_s=st.floats(0.01, 0.2))
def test_phases_are_cut_into_equal_parts_and_not_too_many(mean_s, update_s):
    ends = ends_of(mean_s, update_s)
    assert sum(len(e) + 1 for e in ends if e) <= MOST_PARTS
    for each in ends:
        assert np.diff([0.0, *each, 1.0]) == pytest.approx(1 / (len(each) + 1))
    by_length = [n for _, n in sorted(zip(mean_s, map(len, ends), strict=True))]
    assert by_length == sorted(by_length)


def test_parts_are_short_beside_the_counters_updates_and_beside_the_step():
    assert [len(e) + 1 for e in ends_of([0.021, 0.030, 0.001], 0.02)] == [7, 10, 1]  # of 3.25 ms
    assert [len(e) + 1 for e in ends_of([0.021, 0.030, 0.349], 0.02)][:2] == [2, 2]  # of 5 ms, but for many


def test_steps_much_shorter_than_an_update_are_not_cut():
    assert ends_of([0.002, 0.0025], 0.02) == [(), ()]
    assert any(ends_of([0.003, 0.0025], 0.02))


@given(
    begin_ns=st.lists(st.integers(0, 10**10), min_size=1, max_size=20, unique=True).map(sorted),
    of_class=st.lists(st.integers(0, 4), min_size=20, max_size=20),
)
def test_parts_begin_within_their_stretch_and_the_last_stretch_stays_whole(begin_ns, of_class):
    time_ns, classes = np.array(begin_ns), np.array(of_class[: len(begin_ns)])
    parts = (Parts((0.25, 0.5), (1, 5, 6)), Parts((0.5,), (3, 7)))
    found_ns, found, stretch = cut(parts, time_ns, classes)
    assert (np.diff(found_ns) >= 0).all()
    assert (np.diff(stretch) >= 0).all()
    assert {*stretch.tolist()} == {*range(len(time_ns))}
    whole = {5: 1, 6: 1, 7: 3}
    assert [whole.get(c, c) for c in found.tolist()] == classes[stretch].tolist()
    assert (stretch == len(time_ns) - 1).sum() == 1
    for i, (start_ns, end_ns) in enumerate(pairwise(time_ns)):
        mine = found_ns[stretch == i]
        ends = {1: [0.25, 0.5], 3: [0.5]}.get(int(classes[i]), [])
        assert mine == pytest.approx([start_ns + x * (end_ns - start_ns) for x in [0.0, *ends]], abs=1)


def test_lengths_and_middles():
    parts = Parts((0.25, 0.5), (1, 5, 6))
    assert parts.lengths == (0.25, 0.25, 0.5)
    assert parts.middles == (-0.75, -0.25, 0.5)
