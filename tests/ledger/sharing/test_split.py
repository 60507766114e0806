from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_energy.ledger.sharing.delay import EXACT, UNKNOWN
from lightning_energy.ledger.sharing.kernel import AT_ONCE, Kernel
from lightning_energy.ledger.sharing.powers import Normals
from lightning_energy.ledger.sharing.split import BLOCK, MOST_BLOCKS, Columns, Split, kernels_of
from lightning_energy.ledger.sharing.stretch import Stretch
from lightning_energy.ledger.sharing.timeline import Timeline


def intervals(knot_s, rise_j, change_s, codes, *, of_class=None, stage=None, is_known=None, half_s=0.0):
    """What :meth:`Split.add` takes: a change of account at each time, the class of each account being its number."""
    knot_s, rise_j = np.array(knot_s, dtype=float), np.array(rise_j, dtype=float)
    used, column = np.unique(codes, return_inverse=True)
    of_class = used if of_class is None else np.array(of_class)[used]
    stage = np.arange(int(of_class.max()) + 1) if stage is None else np.array(stage)
    timeline = Timeline(np.array(change_s, dtype=float), column, len(used))
    known = np.ones(len(rise_j), dtype=bool) if is_known is None else np.array(is_known)
    in_classes = Timeline(timeline.start_s, of_class[column], len(stage))
    stretch = Stretch(knot_s, rise_j, np.full(len(knot_s), half_s), known, in_classes, stage)
    return stretch, Columns(used, of_class), timeline


def shared(split: Split, power_w) -> np.ndarray:
    """Joules by account with some powers, the same in all blocks."""
    result = split.line_j[0].copy()
    for block in split.blocks:
        result[block.code] += block.d @ np.array(power_w, dtype=float)[: block.d.shape[1]]
    return result


def added(*stretches, kernels=(AT_ONCE,), parts=None) -> Split:
    split = Split([*kernels])
    for stretch, columns, timeline in stretches:
        ends = parts or [0, len(stretch.rise_j)]
        for first, last in pairwise(ends):
            split.add(stretch, columns, timeline, slice(first, last), None)
    return split


def test_one_interval_by_hand():
    """A second of 150 J: a quarter of it 300 W, then 100 W. By time 37.5 J and 112.5 J; D = 1/4 * 3/4 s."""
    split = added(intervals([0, 1], [150], [-9, 0.25], [0, 1]))
    assert split.line_j[0, :2] == pytest.approx([37.5, 112.5])
    assert split.blocks[0].d == pytest.approx(np.array([[0.1875, -0.1875], [-0.1875, 0.1875]]))
    assert shared(split, [300, 100])[:2] == pytest.approx([75.0, 75.0])
    assert shared(split, [200, 200])[:2] == pytest.approx([37.5, 112.5])  # no difference of powers: straight line
    assert split.seconds_s[:2] == pytest.approx([0.25, 0.75])
    assert split.pairs.within(np.arange(8) == 0) == pytest.approx([0.1875, 0.0, 1.0])  # bridge, brackets, changes
    assert split.pairs.within(np.ones(8, dtype=bool)) == pytest.approx([0.0, 0.0, 0.0], abs=1e-12)
    assert split.normals[0].a == pytest.approx(np.array([[0.0625, 0.1875], [0.1875, 0.5625]]))
    assert (split.n, split.stages.changes.n, split.normals[0].mean_w) == (1, 1, pytest.approx(150.0))


def test_an_update_seen_late_moves_joules_to_where_they_are_shared_otherwise():
    """150 W, a bracket of 2 ms: variance (150 W)^2 (2 ms)^2 / 3, of which the account has 1 before and 1/4 after."""
    split = added(intervals([0, 1, 2], [150, 150], [-9, 1.25], [0, 1], half_s=0.002))
    assert split.pairs.within(np.arange(8) == 0)[1] == pytest.approx(0.75**2 * 0.03)
    assert split.pairs.within(np.ones(8, dtype=bool))[1] == pytest.approx(0.0, abs=1e-12)


def test_intervals_that_are_not_known_are_left_out():
    split = added(intervals([0, 1, 2], [150, 1e6], [-9, 0.25], [0, 1], is_known=[True, False]))
    assert shared(split, [300, 100]).sum() == pytest.approx(150.0)
    assert split.n == 1
    assert added(intervals([0, 1], [5], [-9], [0], is_known=[False])).n == 0


def test_accounts_and_classes_that_appear_later():
    split = added(intervals([0, 1], [150], [-9, 0.25], [0, 1]), intervals([1, 2], [90], [-9, 1.5], [1, 40]))
    joules = shared(split, np.full(41, 90.0))
    assert joules[[0, 1, 40]] == pytest.approx([37.5, 157.5, 45.0])
    assert split.copy().line_j.tolist() == split.line_j.tolist()


def test_each_interval_is_of_the_stage_that_lasts_longest_in_it():
    stretch = intervals([0, 1, 2, 3, 4], [30, 30, 10, 10], [-9, 1.75, 3.25], [0, 1, 2], stage=[0, 1, 1])
    split = added(stretch, parts=[0, 1, 4])
    assert {stage: normals.n for stage, normals in split.stages.of.items()} == {0: 2, 1: 2}
    whole = Normals()
    for normals in split.stages.of.values():
        whole += normals
    assert whole.a == pytest.approx(split.normals[0].a)
    copy = split.copy()
    copy.add(*stretch, slice(0, 4), None)
    assert split.stages.of[0].n == 2
    assert copy.stages.of[0].n == 4


def test_a_copy_changes_by_itself():
    stretch = intervals([0, 1], [150], [-9, 0.25], [0, 1])
    split = added(stretch)
    copy = split.copy()
    copy.add(*stretch, slice(0, 1), None)
    assert (shared(split, [0, 0]).sum(), shared(copy, [0, 0]).sum()) == (pytest.approx(150.0), pytest.approx(300.0))
    assert (split.n, copy.n, split.pairs.within(np.arange(8) == 0)[0]) == (1, 2, pytest.approx(0.1875))


@st.composite
def runs(draw):
    n = draw(st.integers(2, 20))
    seed = draw(st.integers(0, 10**6))
    rng = np.random.default_rng(seed)
    knot_s = np.concatenate([[0.0], np.cumsum(rng.uniform(0.01, 0.2, n))])
    changes = np.sort(rng.uniform(-1, knot_s[-1], draw(st.integers(1, 30))))
    codes = rng.integers(0, 6, len(changes))
    known = rng.random(n) < draw(st.sampled_from([1.0, 0.7]))
    known[0] = True
    rise_j = rng.uniform(0, 100, n)
    kernel = Kernel(rng.uniform(-0.02, 0.25), draw(st.sampled_from([0.0, 0.05])), draw(st.sampled_from([1.0, 0.25])))
    if kernel.look < 1:
        kernel = kernel._replace(ema_s=0.0)
    run = intervals(
        knot_s, rise_j, changes, codes, of_class=[0, 1, 2, 2, 3, 1], stage=[0, 1, 2, 2], is_known=known, half_s=0.001
    )
    return run, kernel, [0, *sorted(draw(st.sets(st.integers(1, n - 1), max_size=3))), n]


@given(runs(), st.lists(st.floats(0, 1000), min_size=4, max_size=4))
def test_accounts_together_are_the_rise(run, power_w):
    (stretch, columns, timeline), kernel, parts = run
    split = added((stretch, columns, timeline), kernels=[kernel], parts=parts)
    rise_j = stretch.rise_j[stretch.is_known].sum()
    assert shared(split, np.zeros(4)).sum() == pytest.approx(rise_j, rel=1e-9)
    if kernel.look == 1:
        assert shared(split, power_w).sum() == pytest.approx(rise_j, rel=1e-9, abs=1e-9 * max(power_w))


@settings(max_examples=40)
@given(runs())
def test_booking_in_parts_is_booking_at_once(run):
    stretch, kernel, parts = run
    kernels = kernels_of(UNKNOWN._replace(kernel=kernel._replace(look=1.0)))
    once, often = added(stretch, kernels=kernels), added(stretch, kernels=kernels, parts=parts)
    power_w = [310.0, 20.0, 150.0, 90.0]
    assert often.line_j == pytest.approx(once.line_j, abs=1e-9)
    if kernel.look < 1:  # what such a sensor did not see is evened out within each booking
        assert shared(often, power_w).sum() == pytest.approx(shared(once, power_w).sum(), abs=1e-9)
    else:
        assert shared(often, power_w) == pytest.approx(shared(once, power_w), abs=1e-9)
        assert often.d == pytest.approx(once.d, abs=1e-9)
    wanted = np.isin(np.arange(8), [1, 3])
    assert often.pairs.within(wanted) == pytest.approx(once.pairs.within(wanted), abs=1e-9)
    for mine, other in zip(often.normals, once.normals, strict=True):
        assert mine.a == pytest.approx(other.a)
        assert mine.excess == pytest.approx(other.excess, abs=1e-12)
    assert (often.n, often.stages.changes.n) == (once.n, once.stages.changes.n)


def test_blocks_are_joined_and_nothing_is_lost():
    n = (MOST_BLOCKS + 3) * BLOCK
    knot_s = np.arange(n + 1) * 0.1
    run = intervals(knot_s, np.full(n, 20.0), np.arange(-1, n) * 0.1 + 0.03, np.arange(n + 1) % 2)
    split = added(run, parts=[*range(0, n + 1, BLOCK)])
    assert (split.joined, len(split.blocks)) == (1, MOST_BLOCKS // 2 + 2)
    assert sum(block.normals.n for block in split.blocks) == n
    assert shared(split, [300, 100]).sum() == pytest.approx(20.0 * n, rel=1e-12)


def test_kernels_beside_the_one_that_counts():
    kernels = kernels_of(EXACT)
    assert kernels[0] == AT_ONCE
    assert sorted(k.lag_s for k in kernels[1:]) == pytest.approx([-0.001, 0.0, 0.0, 0.001], abs=2e-5)
    assert min(k.ema_s for k in kernels) == 0.0  # smoothing cannot be negative
