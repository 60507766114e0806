"""From readings to knots: where the register moved, and what a device without a register spent.

A coarse counter (NVIDIA: one update every 20 to 100 ms) says most by *when it moves*: a reading between two
updates is an old value. So a knot is placed only where the value changed, in the middle of the bracket of
the two polls around the change. Whatever cannot be true (a register that falls, freezes or leaps) becomes a
``missing`` interval with its length, never a joule.
"""

from __future__ import annotations

import math
from collections import deque
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lightning_energy.curves.curve import NS

if TYPE_CHECKING:
    from lightning_energy.curves.curve import Curve
    from lightning_energy.meters.base import MeterInfo, Quality, Reading

__all__ = ["CounterEdges", "PowerIntegral"]

UNKNOWN_PERIOD_S = 0.1  # the longest that is known of a GPU's counter
UNKNOWN_MAX_W = 10_000.0  # no single board draws more; only used when the meter knows no limit
PLAUSIBLE = 1.15  # the meter's power_max_w already has 15 % above the limit: together about 1.3 x
BRIDGE_NS = 1_000_000_000  # a device silent for less than this is bridged by its register, if plausible
EARLY_EDGES = 12  # edges, and time, after which the period is taken as it is
EARLY_NS = 1_500_000_000
AGREE = 0.25  # of an interval: two intervals that differ by less are one period
SHARP = 0.35  # of an interval: brackets that are narrower were polled often enough
FIT_EDGES = 64  # edges that the straight line through the update times sees
FIT_MINIMUM = 8
FIT_EVERY = 4
MOST = 0.8  # of the edges stray from the line by less than the residual
SPREAD = 2.0  # of the residual, which 80 % stray less than: if normally distributed, one edge in 200 comes sooner
FEW = 8.0  # edges from which the residual is known by half
STRAYS = 3.0  # residuals: a line that an edge strays from by more, after one that came too soon, is given up
RUNNING = 2  # as many edges that came too soon make a line doubtful; that were seen narrowly and stray, a wrong one
# Half a bracket that is no smaller tells a good line nothing, and a line whose edges stray by more says less of the
# next edge than the last edge does. Of the period; and up to as much again for the time of a call, as no poll can go
# below that.
SMALL = 0.05
KNOWN = 0.1  # of the period: a line whose edges stray by less knows the period
LONGER = 1.1  # a register that stood still for this many periods has a longer period,
LONGER_EDGES = 3  # where a line said otherwise: if as many edges running say so
POINTS_OF_A_LINE = 2
CHANGES = 8  # readings of the power over which its changes are averaged


class _Periodic:
    """Update times of a periodic register: t = phase + k * period, fitted over the last edges."""

    def __init__(self) -> None:
        self._index: deque[int] = deque(maxlen=FIT_EDGES)
        self._time_ns: deque[int] = deque(maxlen=FIT_EDGES)
        self._half_width_ns: deque[int] = deque(maxlen=FIT_EDGES)
        self.period_ns: float | None = None
        self.period_half_ns = 0.0  # half the bracket of the period
        self.residual_ns = math.inf
        self._phase_ns = 0.0
        self._center_ns, self._spread_ns = 0.0, 1.0  # mean of the edges' times, and their standard deviation
        self._added = 0
        self._is_known = False  # the period: a straight line went well through edges enough
        self._longer_ns: list[int] = []  # how long the register stood still, if for too long, before the last edges

    def add(self, time_ns: int, half_width_ns: int, still_ns: int = 0) -> None:
        """Take one edge; edges that skip updates count them by the period known so far.

        Before the edge the register was seen standing still for ``still_ns``.
        """
        if self.is_longer(still_ns):
            self._longer_ns.append(still_ns)
            if not self._is_known or len(self._longer_ns) >= LONGER_EDGES:
                self._count_anew(min(self._longer_ns))
        else:
            self._longer_ns.clear()
        if self._time_ns:
            elapsed = time_ns - self._time_ns[-1]
            self._index.append(self._index[-1] + max(1, round(elapsed / (self.period_ns or elapsed))))
        else:
            self._index.append(0)
        self._time_ns.append(time_ns)
        self._half_width_ns.append(half_width_ns)
        self._added += 1
        self._fit()

    def _fit(self) -> None:
        if len(self._time_ns) < POINTS_OF_A_LINE:
            return
        if len(self._time_ns) > 2 * FIT_MINIMUM and self._added % FIT_EVERY:
            return  # the line barely moves with one more point
        origin = self._time_ns[0]
        t = np.array([x - origin for x in self._time_ns], dtype=np.float64)
        k = np.array(self._index, dtype=np.float64) - self._index[0]
        if self.period_ns is None or len(t) < FIT_MINIMUM:
            if self._is_known:
                return
            intervals_ns = np.diff(t)
            one_ns = float(np.median(intervals_ns / np.diff(k)))
            # how many updates a long interval had is not sure yet: only those of one update count
            single = np.round(intervals_ns / one_ns) == 1
            self.period_ns = float(intervals_ns[single].mean()) if single.any() else one_ns
            ends = np.concatenate([single, [False]]) | np.concatenate([[False], single])
            widest_ns = float(np.max(np.array(self._half_width_ns), where=ends, initial=0.0)) or one_ns
            self.period_half_ns = 2.0 * widest_ns / max(int(single.sum()), 1)
            return
        # weighted least squares, written out: numpy's own take several times as long, twenty times a second
        weight = (np.array(self._half_width_ns, dtype=np.float64) + 1e4) ** -2.0
        share = weight / weight.sum()
        mean_k, mean_t = float(share @ k), float(share @ t)
        from_mean = share * (k - mean_k)
        variance_k = float(from_mean @ (k - mean_k))
        slope = float(from_mean @ (t - mean_t)) / variance_k
        intercept = mean_t - slope * mean_k
        residual = np.sort(np.abs(t - (intercept + slope * k)))
        self.period_ns = slope
        self.period_half_ns = float(residual[-1]) / len(t)
        self._center_ns, self._spread_ns = origin + mean_t, slope * math.sqrt(variance_k)
        self._phase_ns = origin + intercept - slope * self._index[0]
        self.residual_ns = float(residual[math.ceil(MOST * (len(t) - 1))])
        self._is_known = self.residual_ns < KNOWN * self.period_ns

    def is_longer(self, still_ns: int) -> bool:
        """Whether the period must be longer than it is thought to be."""
        return self.period_ns is not None and still_ns > LONGER * self.period_ns

    def _count_anew(self, period_ns: float) -> None:
        """The period is no shorter than this: edges seen too roughly had a shorter one fit as well."""
        if self._is_known:  # it was another one: the edges so far tell nothing of what it is now
            self.restart()
        self.period_ns, self.residual_ns, self._is_known = period_ns, math.inf, False
        self._longer_ns.clear()
        times_ns = [*self._time_ns]
        steps = (max(round((b - a) / period_ns), 1) for a, b in pairwise(times_ns))
        self._index = deque(accumulate(steps, initial=0) if times_ns else (), maxlen=FIT_EDGES)

    def restart(self) -> None:
        """Forget the phase, keep the period: the device was silent or reset."""
        for column in (self._index, self._time_ns, self._half_width_ns):
            column.clear()
        self.residual_ns = math.inf

    @property
    def edges(self) -> int:
        """How many edges the line goes through."""
        return len(self._time_ns)

    def next_ns(self, edge_ns: int) -> int | None:
        """When the update after the one at ``edge_ns`` should come; ``None`` before the fit is good."""
        if self.period_ns is None or not math.isfinite(self.residual_ns):
            return None
        updates = math.ceil((edge_ns - self._phase_ns) / self.period_ns + 0.5)
        return round(self._phase_ns + updates * self.period_ns)

    def half_ns(self, time_ns: float) -> int:
        """How far an update near ``time_ns`` may be from the line, as sure as the residual is.

        More away from the line's edges: the standard error of a prediction by a straight line.
        """
        away = (time_ns - self._center_ns) / self._spread_ns
        return max(round(self.residual_ns * math.sqrt(1.0 + (1.0 + away * away) / self.edges)), 1)

    def stray_ns(self, edge_ns: int) -> float:
        """How far an edge is from the nearest update of the line."""
        if self.period_ns is None or not math.isfinite(self.residual_ns):
            return 0.0
        return abs(math.remainder(edge_ns - self._phase_ns, self.period_ns))

    def updates_ns(self, low_ns: float, high_ns: float) -> list[float]:
        """The line's updates between two moments."""
        period_ns = self.period_ns or math.inf
        first, last = ((moment - self._phase_ns) / period_ns for moment in (low_ns, high_ns))
        return [self._phase_ns + k * period_ns for k in range(math.ceil(first), math.floor(last) + 1)]


class _Edge(NamedTuple):
    """A move of the register, as two polls saw it."""

    register_j: float
    low_ns: int  # the last poll that saw the old value began
    last_ns: int  # and ended
    start_ns: int  # the poll that saw the new value began
    high_ns: int  # and ended
    still_ns: int  # how long the old value had been seen


class CounterEdges:
    """Builds a curve from readings of a cumulative register.

    Args:
        info: what the meter said it is.
        curve: where the knots go.
        refine: whether edge times are refined by a fitted period when the fit's residuals allow.
    """

    def __init__(self, info: MeterInfo, curve: Curve, *, refine: bool = True) -> None:
        self.curve = curve
        self.periodic = _Periodic()
        self.note = ""
        self._info = info
        self._refine = refine
        self._max_w = (info.power_max_w or UNKNOWN_MAX_W) * PLAUSIBLE
        self._last: Reading | None = None  # the previous poll of this segment
        self._first_ns = 0  # when this segment was first polled
        self._register_j = 0.0  # what the register held then, or at the last edge
        self._placed_ns: int | None = None  # the last knot of this segment
        self._placed_j = 0.0  # what it held then
        self._unplaced = True  # no edge of this segment has become a knot yet
        self._edge_ns: int | None = None  # when it last moved in this segment
        self._half_ns = 0  # half the bracket of that moment
        self._new_seen_ns = 0  # when the value that it holds was first polled
        self._call_ns = 0  # how long the call took that saw it
        self._old_seen_ns = 0  # when the value before the last edge was still polled
        self._early: list[_Edge] | None = []  # edges of this segment, until the period is settled
        self._silent_since_ns: int | None = None
        self._doubted = False  # an edge came when the line said that none would
        self._doubts = 0  # edges since then
        self._strayed = 0  # edges running that were seen narrowly, and not where the line said
        self._too_soon = 0  # edges running that came sooner than the line said
        self._seen_narrowly = False  # the last edge: between two polls that say which update it was
        self._stood = False  # two polls saw the same value: the period is not just that of the polls

    @property
    def period_s(self) -> float | None:
        """Time between two updates of the register in seconds, as known or measured."""
        if self._info.update_period_s is not None:
            return self._info.update_period_s
        return None if self.periodic.period_ns is None else self.periodic.period_ns * NS

    @property
    def last_change_ns(self) -> int:
        """When the register last moved, or was first read."""
        return self._first_ns if self._edge_ns is None else self._edge_ns

    @property
    def is_following(self) -> bool:
        """Whether a segment has begun."""
        return self._last is not None

    @property
    def next_edge_ns(self) -> int | None:
        """When the register should move next; ``None`` while that is unknown."""
        if self._edge_ns is None or self.period_s is None or self._early is not None:
            return None
        from_fit_ns = self.periodic.next_ns(self._edge_ns) if self.is_regular else None
        return self._edge_ns + round(self.period_s / NS) if from_fit_ns is None else from_fit_ns

    @property
    def is_regular(self) -> bool:
        """Whether a straight line through the last edges says when the next one comes."""
        return not self._doubted and self._is_small(self.periodic.residual_ns, self.period_s or 0.0)

    @property
    def is_sure(self) -> bool:
        """Whether the line also says when an edge came that was not watched closely."""
        return self.is_regular and not self._strayed

    def _is_small(self, time_ns: float, period_s: float) -> bool:
        return time_ns * NS < SMALL * period_s + min(self._call_ns * NS, SMALL * period_s)

    @property
    def spread_s(self) -> float:
        """How far before :attr:`next_edge_ns` the next edge may lie, in seconds: seldom further."""
        if self.is_regular:
            return SPREAD * (1.0 + FEW / self.periodic.edges) * self.periodic.residual_ns * NS
        return self._half_ns * NS + 0.1 * (self.period_s or 0.0)

    def came_too_soon(self) -> None:
        """The last edge was seen by a poll that should have come before it.

        Once, the edge was early, or the poll late. Twice running, the line may not hold any more: it is not used until
        an edge is seen narrowly, which shows whether it does, or until there were enough other ones for a new line.
        """
        if self._seen_narrowly:
            return
        self._too_soon += 1
        if self._too_soon >= RUNNING and not self._doubted:
            self._doubted, self._doubts = True, 0

    def feed(self, reading: Reading) -> bool:
        """Take one poll; whether the register had moved."""
        register_j = reading.register_j
        if register_j is None:
            raise ValueError(f"{self._info.name}: a reading without a register; integrate its power instead")
        last, self._last = self._last, reading
        was_silent, self._silent_since_ns = self._silent_since_ns is not None, None
        if last is None:
            self._begin(reading)
            return False
        if was_silent and reading.start_ns - last.end_ns > BRIDGE_NS:
            return self._break(reading, "it did not answer")
        if register_j == last.register_j:
            self._stood = True
            return False
        if register_j < self._register_j:
            return self._break(reading, "its energy counter went backwards")
        if self._implausible(register_j - self._register_j, reading.end_ns):
            return self._break(reading, "its energy counter leapt by more than its power limit allows")
        still_ns = last.start_ns - self._new_seen_ns
        self._new_seen_ns = reading.end_ns
        self._moved(_Edge(register_j, last.start_ns, last.end_ns, reading.start_ns, reading.end_ns, still_ns))
        return True

    def silent(self, now_ns: int) -> bool:
        """The device did not answer at ``now_ns``: bridged by its register for a second, then missing.

        Returns:
            Whether time is missing.
        """
        if self._silent_since_ns is None:
            self._silent_since_ns = now_ns
        if self._last is not None and now_ns - self._last.end_ns <= BRIDGE_NS:
            return False
        self.break_off(now_ns)
        return True

    def break_off(self, now_ns: int) -> None:
        """What lies between the last knot and ``now_ns`` is missing; the next poll starts a new segment."""
        self.leave(now_ns)
        if self.curve.end_ns is not None and now_ns > self.curve.end_ns:
            self.curve.add(now_ns, self.curve.end_j, quality="missing")

    def leave(self, now_ns: int) -> None:
        """The register is of no use for now: the next poll starts a new segment."""
        self.finish()
        if self.curve.end_ns is None:
            first_ns = self._first_ns if self._last is not None else now_ns
            self.curve.add(min(first_ns, now_ns - 1), 0.0)
        self._last = self._edge_ns = None
        self.periodic.restart()

    def finish(self) -> None:
        """No more edges will come: place those that wait, even if the period never settled."""
        early, self._early = self._early or [], None
        if not early:
            return
        self.periodic.restart()  # the period stays, the edges are counted anew by it
        for edge in early:
            self._place(edge)

    def _begin(self, reading: Reading) -> None:
        self._first_ns = self._old_seen_ns = reading.start_ns
        self._new_seen_ns = reading.end_ns
        self._edge_ns = self._placed_ns = None
        self._register_j = self._placed_j = reading.register_j or 0.0
        self._unplaced = True
        self._early = []

    def _break(self, reading: Reading, why: str) -> bool:
        """What lies between the last knot and now is missing; a new segment starts."""
        self.note = why
        self.break_off(reading.end_ns)
        self._last = reading
        self._begin(reading)
        return True

    def _implausible(self, rise_j: float, now_ns: int) -> bool:
        """More than the device can draw since the last old value was polled, an update period included."""
        period_ns = max(self.period_s or 0.0, UNKNOWN_PERIOD_S) / NS  # a period is known late, and roughly
        return rise_j > self._max_w * (now_ns - self._old_seen_ns + period_ns) * NS

    def _moved(self, edge: _Edge) -> None:
        time_ns, half_ns = self._bracket(edge)
        self._edge_ns, self._half_ns, self._register_j = time_ns, half_ns, edge.register_j
        self._call_ns = edge.high_ns - edge.start_ns
        self._old_seen_ns = edge.low_ns
        if self._early is None:
            self._place(edge)
            return
        self._early.append(edge)
        self.periodic.add(time_ns, half_ns, edge.still_ns)
        if self._is_settled(self._early):
            self.finish()

    def _bracket(self, edge: _Edge) -> tuple[int, int]:
        """The middle of the two moments between which the register took this value, and half their distance."""
        low_ns = edge.low_ns
        if self.period_s is not None:  # it is the *last* update, so it is at most one period old
            low_ns = max(low_ns, edge.start_ns - round(1.02 * self.period_s / NS))
        low_ns = min(low_ns, edge.high_ns)
        return (low_ns + edge.high_ns) // 2, (edge.high_ns - low_ns + 1) // 2

    def _is_settled(self, early: list[_Edge]) -> bool:
        """Whether the period is known well enough to place the first edges by it.

        A busy interpreter may keep the first polls apart for longer than a period: then the brackets are wide, and the
        intervals disagree.
        """
        if self._info.update_period_s is not None:
            return True
        if len(early) >= EARLY_EDGES or early[-1].high_ns - early[0].high_ns > EARLY_NS:
            return True
        if len(early) < 3:  # noqa: PLR2004 - three edges make two intervals
            return False
        a_ns, b_ns, c_ns = ((e.low_ns + e.high_ns) / 2 for e in early[-3:])
        widest_ns = max(e.high_ns - e.low_ns for e in early[-3:])
        short_ns, long_ns = sorted((b_ns - a_ns, c_ns - b_ns))
        return widest_ns <= SHARP * short_ns and long_ns - short_ns <= AGREE * short_ns + widest_ns

    def _place(self, edge: _Edge) -> None:
        """Put the knot of one edge; the first of a segment says when the value before it began."""
        time_ns, half_ns = self._bracket(edge)
        told = self._told_by_line(edge, time_ns, half_ns)
        if told is not None and told[1] < half_ns:
            time_ns, half_ns = told
        self._edge_ns, self._half_ns = time_ns, half_ns
        curve, rise_j, quality = self.curve, edge.register_j - self._placed_j, self._info.quality
        if self._unplaced:
            before_ns, before_half_ns = self._previous_update(time_ns, half_ns, edge.last_ns)
            if curve.end_ns is None:
                curve.add(before_ns, 0.0, half_width_ns=before_half_ns)
            elif before_ns > curve.end_ns:
                curve.add(before_ns, curve.end_j, half_width_ns=before_half_ns, quality="missing")
            else:  # the part of the update interval that lies behind the last knot is booked already
                rise_j *= max(time_ns - curve.end_ns, 0) / (time_ns - before_ns)
            if self.period_s is None:
                rise_j, quality = 0.0, "missing"
        time_ns = max(time_ns, (curve.end_ns or time_ns - 1) + 1)
        curve.add(time_ns, curve.end_j + rise_j, half_width_ns=half_ns, quality=quality)
        self._placed_ns, self._placed_j, self._unplaced = time_ns, edge.register_j, False

    def _told_by_line(self, edge: _Edge, time_ns: int, half_ns: int) -> tuple[int, int] | None:
        """The line's update within an edge's bracket and how far it may be off; ``None`` where the line does not tell.

        The line learns from the edge.
        """
        told = self._nearest_on_line(edge, time_ns, half_ns) if self._refine else None
        strays = self.periodic.stray_ns(time_ns) > STRAYS * self.periodic.residual_ns + half_ns
        self._seen_narrowly = is_narrow = self._is_small(half_ns, self.period_s or math.inf)
        if is_narrow:
            self._strayed, self._too_soon = self._strayed + 1 if strays else 0, 0
            is_over, self._doubted = self._strayed >= (1 if self._doubted else RUNNING), False
        else:
            if strays and self.is_regular:  # it moved when the line says that it could not
                self._doubted, self._doubts = True, 0
            self._doubts += 1
            # slow calls, or a late thread, see no edge narrowly: then wide ones have to do, as at the beginning
            is_over = self._doubted and self._doubts >= FIT_MINIMUM
            told = None if self._doubted or self._strayed else told
        if is_over:
            self.periodic.restart()
            self._strayed, self._doubted, told = 0, False, None
        is_rough = not self.is_regular and half_ns * NS < 0.5 * (self.period_s or math.inf)
        if is_narrow or is_rough or self.periodic.is_longer(edge.still_ns):
            self.periodic.add(time_ns, half_ns, edge.still_ns)
        return told

    def _nearest_on_line(self, edge: _Edge, time_ns: int, half_ns: int) -> tuple[int, int] | None:
        line = self.periodic
        if line.period_ns is None or not math.isfinite(line.residual_ns):
            return None
        low_ns, high_ns = time_ns - half_ns, time_ns + half_ns
        if self._placed_ns is not None:  # the last update was another one
            low_ns = max(low_ns, self._placed_ns + round(0.5 * (self.period_s or 0.0) / NS))
        stray_ns = STRAYS * line.residual_ns
        updates_ns = line.updates_ns(low_ns, high_ns)
        if not updates_ns:  # it was seen a little before the line's moment
            away_ns = line.stray_ns(high_ns)
            is_near = self.is_regular and away_ns <= stray_ns
            return (high_ns, max(line.half_ns(high_ns), math.ceil(away_ns))) if is_near else None
        if len(updates_ns) > 1 and updates_ns[-1] + stray_ns > edge.start_ns:
            return None  # a poll at the moment of an update does not tell whether it saw that one or the one before
        # nobody knows at which moment of a call the register is read, and it may always be the same
        return round(updates_ns[-1]), max(line.half_ns(updates_ns[-1]), (edge.high_ns - edge.start_ns) // 2)

    def _previous_update(self, time_ns: int, half_ns: int, last_ns: int) -> tuple[int, int]:
        """When the register took the value that the poll at ``last_ns`` still saw, and half the bracket of that.

        A whole number of periods before the first edge; and no later than the first poll of the segment, which saw
        that value already, but no more than a period earlier.
        """
        period_ns = (self.period_s or UNKNOWN_PERIOD_S) / NS
        spread_ns = self.periodic.period_half_ns if self._stood else period_ns  # it may well move more often
        updates = max(1, math.ceil((time_ns - last_ns) / period_ns))
        low_ns = time_ns - half_ns - updates * (period_ns + spread_ns)
        high_ns = time_ns + half_ns - updates * (period_ns - spread_ns)
        low_ns, high_ns = max(low_ns, self._first_ns - period_ns - spread_ns), min(high_ns, self._first_ns)
        if low_ns > high_ns:  # the period is worse known than it seems
            low_ns, high_ns = self._first_ns - period_ns, self._first_ns
        return round((low_ns + high_ns) / 2), math.ceil((high_ns - low_ns) / 2)


class PowerIntegral:
    """Builds a curve from readings of a power sensor, by the trapezoidal rule.

    Args:
        info: what the meter said it is.
        curve: where the knots go.
        longest_gap_s: readings further apart than this, in seconds, leave the time between them ``missing``.
    """

    def __init__(self, info: MeterInfo, curve: Curve, *, longest_gap_s: float = 1.0) -> None:
        self.curve = curve
        self.note = ""
        self._quality: Quality = "estimated" if info.quality == "estimated" else "integrated"
        self._longest_gap_ns = round(longest_gap_s / NS)
        self._max_w = (info.power_max_w or UNKNOWN_MAX_W) * PLAUSIBLE
        self._last: tuple[int, float] | None = None
        self._change2_w2 = 0.0  # mean square of the change between two readings

    def feed(self, reading: Reading) -> bool:
        """Take one reading of the power; whether it could be used."""
        now_ns, power_w = (reading.start_ns + reading.end_ns) // 2, reading.power_w
        if power_w is None or not 0 <= power_w <= self._max_w:
            self.note = f"its power reads {'N/A' if power_w is None else f'{power_w:g} W'}"
            self.silent(now_ns)
            return False
        last, self._last = self._last, (now_ns, power_w)
        end_ns = self.curve.end_ns
        half_ns = (reading.end_ns - reading.start_ns + 1) // 2
        if end_ns is None:
            self.curve.add(now_ns, 0.0, half_width_ns=half_ns)
        elif now_ns > end_ns and (last is None or now_ns - last[0] > self._longest_gap_ns):
            self.curve.add(now_ns, self.curve.end_j, half_width_ns=half_ns, quality="missing")
        elif now_ns > end_ns and last is not None:
            duration_s = (now_ns - end_ns) * NS
            self.curve.add(
                now_ns,
                self.curve.end_j + 0.5 * (last[1] + power_w) * duration_s,
                half_width_ns=half_ns,
                quality=self._quality,
                u_j=self._u_w(power_w - last[1]) * duration_s,
            )
        return True

    def _u_w(self, change_w: float) -> float:
        """Standard uncertainty of the mean power between two readings.

        A load that is faster than the readings makes each of them a random one: two of them then differ by
        sqrt(2) standard deviations, and each stands for a whole interval. Two readings may also be equal by chance,
        so what the last ones differed by counts as well.
        """
        change2_w2 = change_w * change_w
        self._change2_w2 += (change2_w2 - self._change2_w2) / CHANGES
        return math.sqrt(max(change2_w2, self._change2_w2) / 2.0)

    def silent(self, now_ns: int) -> bool:
        """The sensor did not answer at ``now_ns``: what follows its last answer is missing, which is true."""
        self._last = None
        if self.curve.end_ns is None or now_ns > self.curve.end_ns:
            self.curve.add(now_ns, self.curve.end_j, quality="missing")
        return True
