"""The next move of a register, as the line through its updates, the doubts about that and the last move say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightning_energy.meters.units import NS

if TYPE_CHECKING:
    from lightning_energy.curves.doubts import Doubts
    from lightning_energy.curves.period import Period
    from lightning_energy.curves.segment import Segment
    from lightning_energy.curves.update_times import UpdateLine

__all__ = ["NextEdge", "is_regular", "small_s"]

SPREAD = 2.0  # residuals (80 % of edges stray less than one): if normally distributed, one edge in 200 comes sooner
FEW = 8.0  # number of edges that doubles the spread: few do not show the residual well
EARLY = 0.1  # share of the period by which an update may come sooner where the line does not say when
SHARP_NS = 250_000  # upper limit of the residual of a line that says more than polls a millisecond apart
SHARP_EDGES = 16  # fewest edges of such a line


def small_s(period: Period, segment: Segment) -> float:
    """Time in seconds that is small beside the period, or a call; 0 for a period that is not known."""
    call_s, small = segment.call_ns * NS, period.small_s
    return small + (call_s if call_s < small else small)


def is_regular(line: UpdateLine, doubts: Doubts, small_s: float) -> bool:
    """Return true while the line says when the next edge comes.

    Args:
        line: the straight line through the last edges.
        doubts: the doubts about it.
        small_s: see the function of that name.
    """
    return not doubts.is_raised and line.residual_ns * NS < small_s


class NextEdge:
    """Everything that the plan of polls asks of a register: worked out once, after each move.

    Attributes:
        period_ns: time between two updates; ``None`` while unknown.
        next_edge_ns: time of the next update; ``None`` while unknown: then the others say nothing.
        spread_ns: time before that within which it may come: seldom further.
        is_sure: the line also says when an edge came that was not watched closely.
        is_sharp: it says so as sharply as a close watch.

    All are set in :meth:`look` alone.
    """

    __slots__ = ("is_sharp", "is_sure", "next_edge_ns", "period_ns", "spread_ns")

    def __init__(self) -> None:
        self.period_ns: int | None = None
        self.next_edge_ns: int | None = None
        self.spread_ns, self.is_sure, self.is_sharp = 0, False, False

    def look(self, segment: Segment | None, line: UpdateLine, doubts: Doubts, period: Period) -> None:
        """Work it out anew.

        Args:
            segment: the register's readings since the last break; ``None`` where there are none.
            line: the straight line through its updates.
            doubts: the doubts about it.
            period: the register's.
        """
        self.period_ns, self.next_edge_ns = period.ns, None
        if segment is None or segment.edge_ns is None or segment.early is not None or period.ns is None:
            return
        follows_line = is_regular(line, doubts, small_s(period, segment))
        self.is_sure = follows_line and not doubts.strayed
        self.is_sharp = line.edges >= SHARP_EDGES and (line.is_within or line.residual_ns < SHARP_NS)
        if follows_line:
            self.next_edge_ns = line.next_ns(segment.edge_ns)
            spread_s = SPREAD * (1.0 + FEW / line.edges) * line.residual_ns * NS
        else:
            spread_s = segment.half_ns * NS + EARLY * (period.s or 0.0)
        if self.next_edge_ns is None:
            self.next_edge_ns = segment.edge_ns + period.ns
        self.spread_ns = round(spread_s / NS)
