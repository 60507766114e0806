"""A stretch of a register's readings without a break, and its moves as the polls saw them."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lightning_energy.meters.units import NS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_energy.meters.base import Reading

__all__ = ["Edge", "Fallen", "Segment", "is_settled"]

RESTART_S = 1.0  # seconds below an earlier value after which a register has begun anew

EARLY_EDGES = 12  # edges after which the period is taken as it is
EARLY_NS = 1_500_000_000  # time after which the period is taken as it is
ENOUGH_EDGES = 3  # edges of two intervals, the fewest that can agree on a period
AGREE = 0.25  # share of an interval by which two intervals of one period differ, at most
# Half the bracket of an edge that gives no knot, as a share of the time since the last one: the register may have moved
# at any moment since then. The same where the call took periods: it may have looked at its begin or its end.
VAGUE, LONG = 0.9, 0.5
HELD_UP = 3.0  # length of a call that was held up, in that of the one before it: the next edge will be much sharper
FIRST = 0.5  # the same of both halves around the first interval, whose power is known no better than its length
SHARP = 0.35  # share of an interval that a bracket takes, at most, where polls were frequent enough


@dataclass(slots=True)
class Edge:
    """A move of the register between two polls.

    Attributes:
        register_j: the new value in joules.
        low_ns: when the last poll that saw the old value began.
        last_ns: when that poll ended.
        start_ns: when the poll that saw the new value began.
        high_ns: when that poll ended.
        still_ns: how long the old value had been seen.
        lasted_ns: how long the old value can have lasted, at most.
    """

    register_j: float
    low_ns: int
    last_ns: int
    start_ns: int
    high_ns: int
    still_ns: int
    lasted_ns: int = sys.maxsize

    @property
    def is_held_up(self) -> bool:
        """True where the call that saw the new value took far longer than the one before it."""
        return self.high_ns - self.start_ns > HELD_UP * (self.last_ns - self.low_ns)


def is_settled(early: Sequence[Edge]) -> bool:
    """Return true once the period is known well enough to place the first edges of a segment by it.

    A busy interpreter may keep the first polls apart for longer than a period: then the brackets are wide, and the
    intervals disagree.
    """
    if len(early) >= EARLY_EDGES or early[-1].high_ns - early[0].high_ns > EARLY_NS:
        return True
    if len(early) < ENOUGH_EDGES:
        return False
    a_ns, b_ns, c_ns = ((e.low_ns + e.high_ns) / 2 for e in early[-3:])
    widest_ns = max(e.high_ns - e.low_ns for e in early[-3:])
    short_ns, long_ns = sorted((b_ns - a_ns, c_ns - b_ns))
    return widest_ns <= SHARP * short_ns and long_ns - short_ns <= AGREE * short_ns + widest_ns


@dataclass
class Fallen:
    """A register that fell: nothing counts below its earlier value until it is evident that it began anew.

    A counter that dips and comes back would count the way back as energy.

    Attributes:
        mark_j: the value that it had before.
        last_j: its last value.
        since_ns: time since which it has not fallen further.
    """

    mark_j: float
    last_j: float
    since_ns: int

    def goes_on(self, register_j: float, now_ns: int) -> bool:
        """Return true while it is below the mark, and may come back."""
        if register_j < self.last_j:
            self.since_ns = now_ns
        self.last_j = register_j
        return register_j < self.mark_j and (now_ns - self.since_ns) * NS < RESTART_S


class Segment:
    """Readings of a register that neither fell, leapt nor fell silent meanwhile.

    Args:
        first: the first reading.

    Attributes:
        last_ns: when the previous poll began.
        last_end_ns: when it ended.
        first_ns: when the first poll began.
        first_end_ns: when it ended: it may have seen a move until then.
        register_j: value at the last edge, or at the first poll.
        edge_ns: time of the last edge, as known best; ``None`` before the first.
        half_ns: half the bracket of that time.
        call_ns: duration of the poll that saw it.
        old_seen_ns: when the poll began that last saw the value before the last edge.
        early: edges that wait until the period is settled; ``None`` from then on.
        first_edge: its time, half its bracket, and the end of the last poll of the value before; ``None`` before it.
        before: time of the update before that, and half its bracket, as known best.
        placed_ns: time of the last knot; ``None`` before the first.
        placed_j: value at that knot.
    """

    def __init__(self, first: Reading) -> None:
        self.last_ns, self.last_end_ns = first.start_ns, first.end_ns
        self.first_ns = self.old_seen_ns = first.start_ns
        self.first_end_ns = first.end_ns
        self.register_j = self.placed_j = first.register_j or 0.0
        self.edge_ns: int | None = None
        self.half_ns = 0
        self.call_ns = 0
        self.early: list[Edge] | None = []
        self.first_edge: tuple[int, int, int] | None = None
        self.before: tuple[int, int] | None = None
        self.placed_ns: int | None = None
        self._new_seen_ns = first.end_ns  # when the poll ended that first saw the present value

    def edge(self, reading: Reading, register_j: float) -> Edge:
        """Note that ``reading`` saw a new value, which the poll before it did not see yet."""
        start_ns, end_ns, last_ns = reading.start_ns, reading.end_ns, self.last_ns
        still_ns, lasted_ns = last_ns - self._new_seen_ns, sys.maxsize
        if self.edge_ns is not None:
            lasted_ns = end_ns - self.old_seen_ns
        edge = Edge(register_j, last_ns, self.last_end_ns, start_ns, end_ns, still_ns, lasted_ns)
        self._new_seen_ns, self.old_seen_ns = end_ns, last_ns
        self.register_j, self.call_ns = register_j, end_ns - start_ns
        self.last_ns, self.last_end_ns = start_ns, end_ns
        return edge

    def still_ns(self, now_ns: int) -> int:
        """Time for which the register surely stands still, or was read before its first move."""
        return now_ns - (self.first_ns if self.edge_ns is None else self.edge_ns + self.half_ns)

    def is_vague(self, time_ns: int, half_ns: int, period_ns: int, *, is_held_up: bool = False) -> bool:
        """Return true if a knot there would say less than a straight line from the last one to the next.

        One that may be off by more than a period lies nowhere between two others that are not.
        """
        if self.placed_ns is None:
            before_ns, before_half_ns = self.before or (0, 0)
            return before_half_ns + half_ns > FIRST * (time_ns - before_ns)
        if half_ns <= period_ns:
            return half_ns > VAGUE * (time_ns - self.placed_ns)
        return is_held_up or half_ns > LONG * (time_ns - self.placed_ns)

    def take_early(self) -> list[Edge]:
        """Give up the edges that waited: later ones do not wait."""
        early, self.early = self.early or [], None
        return early
