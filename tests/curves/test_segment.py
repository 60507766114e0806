from __future__ import annotations

import pytest

from lightning_energy.curves.segment import Edge, Segment, is_settled
from lightning_energy.meters import Reading

MS = 10**6


def edges(times_ms, width_ms: float) -> list[Edge]:
    """Edges in the middle of brackets of one width."""
    half_ms = width_ms / 2
    return [
        Edge(0.0, round((t - half_ms) * MS), 0, round((t + half_ms) * MS), round((t + half_ms) * MS), 0)
        for t in times_ms
    ]


@pytest.mark.parametrize(
    ("times_ms", "width_ms", "settled"),
    [
        ([100], 2, False),
        ([100, 200], 2, False),
        ([100, 200, 300], 2, True),
        ([100, 200, 420], 2, False),  # the intervals disagree
        ([100, 200, 420, 520, 620], 2, True),  # the last two agree
        ([100, 200, 300], 50, False),  # polled too rarely
        ([100 * k for k in range(12)], 50, True),  # it will not get better
        ([100, 1700], 50, True),
    ],
)
def test_the_period_is_settled_by_sharp_edges_that_agree_or_after_a_while(times_ms, width_ms, settled):
    assert is_settled(edges(times_ms, width_ms)) is settled


def test_an_edge_lies_between_the_last_poll_of_the_old_value_and_the_first_of_the_new():
    readings = [Reading(t * MS, t * MS + 1000, register_j=j) for t, j in ((0, 5.0), (4, 5.0), (8, 6.0), (12, 6.0))]
    segment = Segment(readings[0])
    segment.last_ns, segment.last_end_ns = readings[1].start_ns, readings[1].end_ns
    edge = segment.edge(readings[2], 6.0)
    assert edge == Edge(6.0, 4 * MS, 4 * MS + 1000, 8 * MS, 8 * MS + 1000, 4 * MS - 1000)
    assert (segment.register_j, segment.old_seen_ns, segment.call_ns) == (6.0, 4 * MS, 1000)
    segment.last_ns, segment.last_end_ns = readings[3].start_ns, readings[3].end_ns
    later = segment.edge(Reading(16 * MS, 16 * MS + 1000), 7.0)
    assert later.still_ns == 12 * MS - (8 * MS + 1000)


def test_edges_wait_until_they_are_taken():
    segment = Segment(Reading(0, 1000, register_j=5.0))
    waiting = edges([100, 200], 2)
    segment.early.extend(waiting)
    assert segment.take_early() == waiting
    assert segment.early is None
    assert segment.take_early() == []


def placed(*, at_ms: float) -> Segment:
    segment = Segment(Reading(0, 0, register_j=1.0))
    segment.placed_ns = round(at_ms * MS)
    return segment


@pytest.mark.parametrize(
    ("time_ms", "half_ms", "vague"),
    [
        (200, 1, False),
        (151, 49, True),  # anywhere since the last knot
        (190, 49, False),
        (600, 480, True),  # a call was held up for many periods: it looked at one of its ends
        (600, 90, False),
    ],
)
def test_an_edge_that_may_be_anywhere_since_the_last_knot_is_vague(time_ms, half_ms, vague):
    assert placed(at_ms=100).is_vague(time_ms * MS, half_ms * MS, 102 * MS) is vague


def test_an_edge_that_a_call_saw_which_was_held_up_for_periods_is_vague_as_sharper_ones_follow():
    """A knot of it would be off by more than the time to the next one, and the power between them would be any."""
    edge = Edge(2.0, 400 * MS, 401 * MS, 402 * MS, 802 * MS, 0)
    assert edge.is_held_up
    assert not Edge(2.0, 100 * MS, 500 * MS, 402 * MS, 802 * MS, 0).is_held_up  # all take so long
    assert placed(at_ms=100).is_vague(600 * MS, 200 * MS, 102 * MS, is_held_up=True)
    assert not placed(at_ms=100).is_vague(600 * MS, 200 * MS, 102 * MS)
    assert not placed(at_ms=100).is_vague(600 * MS, 100 * MS, 102 * MS, is_held_up=True)


@pytest.mark.parametrize(("before_half_ms", "vague"), [(40, False), (50, True)])
def test_the_first_interval_of_a_segment_is_vague_where_its_ends_are_not_known_well(before_half_ms, vague):
    segment = Segment(Reading(0, 0, register_j=1.0))
    segment.before = (0, before_half_ms * MS)
    assert segment.is_vague(100 * MS, 5 * MS, 102 * MS) is vague


def test_a_register_stands_still_from_when_it_surely_has_moved():
    segment = Segment(Reading(0, 0, register_j=1.0))
    assert segment.still_ns(500 * MS) == 500 * MS
    segment.edge_ns, segment.half_ns = 500 * MS, 480 * MS
    assert segment.still_ns(1100 * MS) == 120 * MS
