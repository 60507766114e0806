"""From readings of an energy register to knots, which stand where the register moved.

A coarse counter (NVIDIA: one update every 20 to 100 ms) says most by *when it moves*: a reading between two
updates is an old value. So a knot is placed only where the value changed, in the middle of the bracket of
the two polls around the change. An impossible reading (of a register that falls, freezes or leaps)
becomes a ``missing`` interval with its length, never a joule.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lightning_energy.curves.beside import PowerBeside
from lightning_energy.curves.curve import shape_bound_j
from lightning_energy.curves.doubts import Doubts
from lightning_energy.curves.next_edge import NextEdge, is_regular, small_s
from lightning_energy.curves.period import CONTINUOUS_S, UNKNOWN_PERIOD_S, Period
from lightning_energy.curves.power import plausible_w
from lightning_energy.curves.segment import Fallen, Segment, is_settled
from lightning_energy.curves.update_times import UpdateLine
from lightning_energy.meters.units import NS

if TYPE_CHECKING:
    from lightning_energy.curves.curve import Curve
    from lightning_energy.curves.segment import Edge
    from lightning_energy.meters.base import MeterInfo, Quality, Reading

__all__ = ["CounterEdges"]

LONGEST_PERIOD_NS = 5_000_000_000  # longest period of a register that is read as one
BRIDGE_NS = 1_000_000_000  # longest silence of a device that its register bridges, if plausible
STRAYS = 3.0  # distance from the line, in residuals, beyond which an edge is none of its updates
SHORTEST_S = 0.4  # shortest interval whose joules are shared out by the power: it has some readings in it
LATE_POWER_S = 0.2  # lateness of an instantaneous power, at most: boards take up to 0.29 s to show a step
LATE_SHARE = 0.25  # the same at most as a share of the interval whose joules it shares out
OURS = {"curve", "_info", "next_edge"}  # attributes that are not of the register's state, or follow from it


class _Interval(NamedTuple):
    """The interval that ends at an edge: its joules, their quality, and their standard uncertainty."""

    rise_j: float
    quality: Quality
    u_j: float = 0.0


NOT_KNOWN = _Interval(0.0, "missing")


class CounterEdges:
    """Builds a curve from readings of a cumulative register.

    Args:
        info: the meter's description of itself.
        curve: the curve that takes the knots.
        refine: true to refine edge times by a fitted period where the fit's residuals allow it.

    Attributes:
        line: the straight line through the register's updates.
        beside: powers that were read meanwhile, which tell how the joules of an interval lie in time.
        note: the reason why the last poll broke off the segment; empty when it did not.
        period: time between two updates of the register, as known or measured.
        next_edge: everything that is known of its next move, after each move, and whatever else changes that.
    """

    def __init__(self, info: MeterInfo, curve: Curve, *, refine: bool = True) -> None:
        self.curve = curve
        self.line, self.beside = UpdateLine(), PowerBeside()
        self.note, self.period = "", Period(info.update_period_s)
        self._info, self._refine = info, refine
        self._max_w = plausible_w(info)
        self._segment: Segment | None = None  # none before the first poll, and after a break
        self._doubts = Doubts()
        self._fallen: Fallen | None = None  # while the register is below where it had been
        self._was_silent = False  # the device did not answer since the last poll
        self._stood = False  # two polls saw the same value: the period is not just that of the polls
        self.next_edge = NextEdge()

    @property
    def state(self) -> dict[str, Any]:
        """Everything that was learned of the register: no copy."""
        return {name: value for name, value in vars(self).items() if name not in OURS}

    @state.setter
    def state(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._look_ahead()

    def still_ns(self, now_ns: int) -> int:
        """Time for which the register surely stands still, or was read before its first move; 0 without a segment."""
        return 0 if self._segment is None else self._segment.still_ns(now_ns)

    def age_ns(self, now_ns: int) -> int:
        """Time since the register was first read; 0 while no segment has begun."""
        return 0 if self._segment is None else now_ns - self._segment.first_ns

    @property
    def first_edge_ns(self) -> int | None:
        """Time of the first move, while it waits until the period is known."""
        early = self._segment.early if self._segment is not None else None
        return (early[0].low_ns + early[0].high_ns) // 2 if early else None

    def heed(self, period_s: float | None, line_ns: tuple[float | None, float]) -> None:
        """Heed what polls that were made elsewhere have shown.

        Args:
            period_s: the register's period in seconds.
            line_ns: period and residual of the line through its updates.
        """
        self.period, (self.line.period_ns, self.line.residual_ns) = Period(period_s), line_ns
        self._look_ahead()

    def _look_ahead(self) -> None:
        self.next_edge.look(self._segment, self.line, self._doubts, self.period)

    def came_too_soon(self) -> None:
        """Note that the last edge was seen by a poll that should have come before it."""
        self._doubts.came_too_soon()
        self._look_ahead()

    def feed(self, reading: Reading) -> bool:
        """Take one poll; true when the register had moved, or broke off."""
        register_j = reading.register_j
        if register_j is None:
            raise ValueError(f"{self._info.name}: a reading without a register; integrate its power instead")
        self.note = ""
        was_silent, self._was_silent = self._was_silent, False
        if self._fallen is not None:
            if self._fallen.goes_on(register_j, reading.end_ns):
                return False
            self._fallen = None
            return self._break(reading, "")
        segment = self._segment
        if segment is None:
            self._segment = Segment(reading)
            return False
        fault = self._fault(segment, reading, was_silent=was_silent)
        if fault:
            return self._break(reading, fault)
        if register_j == segment.register_j:
            self.stood(reading.start_ns, reading.end_ns)
            return False
        edge = segment.edge(reading, register_j)
        if segment.early is None:
            self._place(segment, edge)
        else:
            self._wait(segment, segment.early, edge)
        self._look_ahead()
        return True

    @property
    def is_waiting(self) -> bool:
        """True while a poll that sees nothing new says no more than that."""
        return self._segment is not None and not self._was_silent

    def is_move(self, register_j: float) -> bool:
        """Return true if a value is another than the one that was seen last."""
        return self._segment is not None and register_j != self._segment.register_j

    def stood(self, start_ns: int, end_ns: int) -> None:
        """Take a poll, from its begin to its end, that saw what the one before it saw."""
        segment = self._segment
        if segment is not None:
            segment.last_ns, segment.last_end_ns, self._stood = start_ns, end_ns, True

    def _fault(self, segment: Segment, reading: Reading, *, was_silent: bool) -> str:
        """The reason why a reading does not go on from the last one; empty when it does."""
        register_j = reading.register_j or 0.0
        if was_silent and reading.start_ns - segment.last_end_ns > BRIDGE_NS:
            return "it did not answer"
        if register_j < segment.register_j:
            self._fallen = Fallen(segment.register_j, register_j, reading.end_ns)
            return "its energy counter went backwards"
        elapsed_ns = reading.end_ns - segment.old_seen_ns
        if self.period.s is None and segment.edge_ns is None:
            elapsed_ns += LONGEST_PERIOD_NS  # judged again once the period is known
        if self._is_implausible(register_j - segment.register_j, elapsed_ns):
            return "its energy counter leapt by more than its power limit allows"
        return ""

    def _is_implausible(self, rise_j: float, elapsed_ns: int) -> bool:
        """Return true for more than the device can draw since a period before the last poll of the old value."""
        return rise_j > self._max_w * (elapsed_ns + self.period.roughly_ns) * NS  # a period is known late, and roughly

    def silent(self, now_ns: int) -> bool:
        """Note that the device did not answer at ``now_ns``: bridged by its register for a second, then missing.

        Returns:
            True when time is missing.
        """
        self._was_silent = True
        if self._segment is not None and now_ns - self._segment.last_end_ns <= BRIDGE_NS:
            return False
        self.break_off(now_ns)
        return True

    def break_off(self, now_ns: int) -> None:
        """Book the time between the last knot and ``now_ns`` as missing; the next poll starts a new segment."""
        segment = self._segment
        self.leave()
        if self.curve.end_ns is None:
            self.curve.add(min(now_ns if segment is None else segment.first_ns, now_ns - 1), 0.0)
        if self.curve.end_ns is not None and now_ns > self.curve.end_ns:
            self.curve.add(now_ns, self.curve.end_j, quality="missing")

    def leave(self) -> None:
        """End the segment at its last edge; the next poll starts a new one."""
        self.finish()
        self._segment = None
        self.line.restart()
        self.line.limits.forget_intervals()
        self._look_ahead()

    def _break(self, reading: Reading, why: str) -> bool:
        """Book the time between the last knot and now as missing, and start a new segment."""
        self.note = why
        self.break_off(reading.end_ns)
        self._segment = Segment(reading) if self._fallen is None else None
        return True

    def finish(self, now_ns: int | None = None) -> None:
        """Place the edges that wait; at the end of polls, now, nothing is known any more since a register fell."""
        segment = self._segment
        if self._fallen is not None and now_ns is not None:
            self.break_off(now_ns)
        early = segment.take_early() if segment is not None else []
        if segment is None or not early:
            return
        if self.period.s is None and self.line.period_ns is not None:
            self.period = Period(self.line.period_ns * NS)
        if self.period.s is None and self.beside.is_known:
            return  # how much of its rise was before the first poll is not known: the power tells all of it
        self.line.restart()  # the period stays, the edges are counted anew by it
        for edge in early:
            self._place(segment, edge)
        self._look_ahead()

    def _wait(self, segment: Segment, early: list[Edge], edge: Edge) -> None:
        """Let an edge wait until the period is settled."""
        segment.edge_ns, segment.half_ns = time_ns, half_ns = _bracket(edge, self.period, self.line)
        early.append(edge)
        self._learn(time_ns, half_ns, edge)
        if self._info.update_period_s is not None or (self.period.s is not None and is_settled(early)):
            self.finish()

    def _learn(self, time_ns: int, half_ns: int, edge: Edge) -> None:
        """Let the line go through an edge as well."""
        self.line.add(time_ns, half_ns, edge.still_ns, edge.lasted_ns)
        if self._info.update_period_s is None and self.line.period_ns is not None:
            period_s = self.line.period_ns * NS
            # few edges may be close by chance: no reason to poll as if the register moved all the time
            if period_s != self.period.s and (period_s > CONTINUOUS_S or not self.line.is_guess):
                self.period = Period(period_s)

    def _place(self, segment: Segment, edge: Edge) -> None:
        """Put the knot of one edge; the first of a segment also says when the value before it began."""
        time_ns, half_ns = segment.edge_ns, segment.half_ns = self._dated(segment, edge)
        before = None
        if segment.placed_ns is None:
            segment.first_edge = segment.first_edge or (time_ns, half_ns, edge.last_ns)
            before = segment.before = self._before(segment, *segment.first_edge)
        if segment.is_vague(time_ns, half_ns, self.period.oldest_ns, is_held_up=edge.is_held_up):
            return
        curve, rise_j, quality, u_j = self.curve, edge.register_j - segment.placed_j, self._info.quality, 0.0
        if before is not None:
            interval = _begin(curve, _Interval(rise_j, quality), *before, time_ns)
            if self.period.s is None or self._is_implausible(interval.rise_j, edge.high_ns - segment.first_ns):
                interval = NOT_KNOWN
            if interval is NOT_KNOWN:
                interval = _Interval(0.0, "missing", _at_edge_j(rise_j, time_ns - before[0], half_ns))
            rise_j, quality, u_j = interval
        end_ns, end_j = time_ns - 1, rise_j
        if curve.last is not None:
            end_ns, end_j = curve.last.time_ns, curve.last.energy_j + rise_j
        if time_ns <= end_ns:
            time_ns = end_ns + 1
        if quality != "missing" and (time_ns - end_ns) * NS >= SHORTEST_S:
            # how many joules of a first interval there are to share out is no surer than when it began
            least_half_ns = 0 if before is None else before[1]
            _share_out(curve, self.beside, self._info, time_ns, rise_j, least_half_ns=least_half_ns)
            end_j = max(end_j, curve.end_j)
        curve.add(time_ns, end_j, half_width_ns=half_ns, quality=quality, u_j=u_j)
        segment.placed_ns, segment.placed_j = time_ns, edge.register_j

    def _dated(self, segment: Segment, edge: Edge) -> tuple[int, int]:
        """Time of an edge and half its bracket, by the line where that says more."""
        time_ns, half_ns = _bracket(edge, self.period, self.line)
        by_line = self._by_line(segment, edge, time_ns, half_ns)
        if by_line is not None and by_line[1] < half_ns:
            return by_line
        oldest_ns = self.line.oldest_ns if self._info.update_period_s is None else 0.0
        if oldest_ns:  # a period that no good line shows says too little of how old the value is
            low_ns, high_ns = max(edge.low_ns, edge.start_ns - oldest_ns), time_ns + half_ns
            if low_ns < time_ns - half_ns:
                return round((low_ns + high_ns) / 2), math.ceil((high_ns - low_ns) / 2)
        return time_ns, half_ns

    def _before(self, segment: Segment, time_ns: int, half_ns: int, last_ns: int) -> tuple[int, int]:
        """Time of the update before a segment's first edge, and half its bracket; see :func:`_previous_update`."""
        period_ns = (self.period.s or UNKNOWN_PERIOD_S) / NS
        spread_ns = self.line.interval_half_ns if self._stood else period_ns  # it may well move more often
        return _previous_update(segment, time_ns, half_ns, last_ns, period_ns=period_ns, spread_ns=spread_ns)

    def _by_line(self, segment: Segment, edge: Edge, time_ns: int, half_ns: int) -> tuple[int, int] | None:
        """Date an edge by the line, and let the line learn from the edge.

        Returns:
            The time of the line's update and its half width; ``None`` where the line may not place the edge.
        """
        line, doubts, limit_s = self.line, self._doubts, small_s(self.period, segment)
        follows_line = is_regular(line, doubts, limit_s)
        nearest = None
        if self._refine:
            nearest = self._nearest_on_line(segment, edge, time_ns, half_ns, is_regular=follows_line)
        strays = line.stray_ns(time_ns) > STRAYS * line.residual_ns + half_ns
        is_narrow = half_ns * NS < (limit_s or math.inf)
        verdict = doubts.judge(strays=strays, is_narrow=is_narrow, is_regular=follows_line)
        if verdict == "wrong":
            line.restart()
        is_rough = half_ns * NS < 0.5 * (self.period.s or math.inf)
        if is_narrow or (is_rough and not is_regular(line, doubts, limit_s)) or line.is_longer(edge.still_ns):
            self._learn(time_ns, half_ns, edge)
        return nearest if verdict == "good" else None

    def _nearest_on_line(
        self, segment: Segment, edge: Edge, time_ns: int, half_ns: int, *, is_regular: bool
    ) -> tuple[int, int] | None:
        """The line's last update within an edge's bracket, and its half width; ``None`` where there is none."""
        line = self.line
        low_ns, high_ns = time_ns - half_ns, time_ns + half_ns
        if segment.placed_ns is not None:  # the last update was another one
            next_ns = segment.placed_ns + self.period.apart_ns
            if next_ns > low_ns:
                low_ns = next_ns
        stray_ns = STRAYS * line.residual_ns
        updates, last_ns = line.updates(low_ns, high_ns)
        if updates < 1:  # it was seen a little before the line's moment
            away_ns = line.stray_ns(high_ns)
            is_near = is_regular and away_ns <= stray_ns
            return (high_ns, max(line.half_ns(high_ns), math.ceil(away_ns))) if is_near else None
        to_next_ns = (line.period_ns or math.inf) - stray_ns
        is_late = (updates > 1 or not line.is_within) and last_ns + to_next_ns < high_ns
        if is_late or (updates > 1 and last_ns + stray_ns > edge.start_ns):
            return None  # a poll at the moment of an update may have seen that one or the one before
        # the register may be read at any moment of a call, and always at the same
        half_ns, read_ns = line.half_ns(last_ns), (edge.high_ns - edge.start_ns) // 2
        return round(last_ns), half_ns if half_ns > read_ns else read_ns


def _bracket(edge: Edge, period: Period, line: UpdateLine) -> tuple[int, int]:
    """Middle of the two moments between which the register took this value, and half their distance."""
    low_ns, high_ns = edge.low_ns, edge.high_ns
    if period.s is not None:  # it is the *last* update, so it is at most one period old
        oldest_ns = edge.start_ns - period.oldest_ns
        if oldest_ns > low_ns:
            low_ns = max(low_ns, oldest_ns - line.longer_ns)
    if low_ns > high_ns:
        low_ns = high_ns
    return (low_ns + high_ns) // 2, (high_ns - low_ns + 1) // 2


def _begin(curve: Curve, whole: _Interval, before_ns: int, before_half_ns: int, time_ns: int) -> _Interval:
    """Put the knot of the update before a segment's first edge.

    Returns:
        The interval from the last knot to ``time_ns``. Where that lies behind the update before, only a part of the
        rise belongs to it, and nobody knows which: behind a time that is missing, it is missing, too.
    """
    if curve.end_ns is None:
        curve.add(before_ns, 0.0, half_width_ns=before_half_ns)
    elif before_ns > curve.end_ns:
        u_j = _at_edge_j(whole.rise_j, time_ns - before_ns, before_half_ns)
        curve.add(before_ns, curve.end_j, half_width_ns=before_half_ns, quality="missing", u_j=u_j)
    else:
        return _by_time(curve, whole, before_ns, before_half_ns, time_ns)
    return whole


def _at_edge_j(rise_j: float, length_ns: int, half_ns: int) -> float:
    """Standard uncertainty of the energy at an edge at which missing time ends, by the power of an interval there."""
    return rise_j * half_ns / (max(length_ns, half_ns, 1) * math.sqrt(3))


def _by_time(curve: Curve, whole: _Interval, before_ns: int, before_half_ns: int, time_ns: int) -> _Interval:
    """The part of an interval between two updates that lies behind the last knot, by its share of the time."""
    if curve.is_missing_at_end:
        return NOT_KNOWN
    length_s, after_s = (time_ns - before_ns) * NS, max(time_ns - (curve.end_ns or before_ns), 0) * NS
    mean_w, bounds_w = whole.rise_j / length_s, curve.power_bounds_w()
    bound_j = shape_bound_j(np.array(after_s), np.array(length_s - after_s), np.array(mean_w), *bounds_w)
    u_j = math.hypot(float(bound_j), mean_w * before_half_ns * NS) / math.sqrt(3)
    return _Interval(mean_w * after_s, "integrated" if whole.quality == "measured" else whole.quality, u_j)


def _share_out(
    curve: Curve, beside: PowerBeside, info: MeterInfo, end_ns: int, rise_j: float, *, least_half_ns: int
) -> None:
    """Put knots where the power was read since the last one: the interval's joules lie as the powers say."""
    start_ns, start_j = curve.end_ns or end_ns, curve.end_j
    late_s = LATE_POWER_S if info.instant_power else max(info.power_lag_s, LATE_POWER_S)
    half_ns = max(round(min(late_s / NS, LATE_SHARE * (end_ns - start_ns))), least_half_ns)
    for time_ns, energy_j in beside.between(start_ns, end_ns, rise_j):
        curve.add(time_ns, start_j + energy_j, half_width_ns=half_ns, quality=info.quality)


def _previous_update(
    segment: Segment, time_ns: int, half_ns: int, last_ns: int, *, period_ns: float, spread_ns: float
) -> tuple[int, int]:
    """Time at which a register took the value that the poll at ``last_ns`` still saw, and half its bracket.

    A whole number of periods before the first edge; and no later than the end of the first poll of the segment, which
    saw that value already, but no more than a period before its begin.

    Args:
        segment: the register's.
        time_ns: time of the first edge.
        half_ns: half its bracket.
        last_ns: end of the last poll of the value before.
        period_ns: time between two updates.
        spread_ns: largest error of that.
    """
    first_ns, shortest_ns, longest_ns = segment.first_ns, max(period_ns - spread_ns, 1.0), period_ns + spread_ns
    most = max(1, math.ceil((time_ns + half_ns - last_ns) / shortest_ns))  # updates since that value was taken
    fewest = max(1, math.ceil((time_ns - half_ns - last_ns) / longest_ns))
    low_ns, high_ns = time_ns - half_ns - most * longest_ns, time_ns + half_ns - fewest * shortest_ns
    low_ns, high_ns = max(low_ns, first_ns - longest_ns), min(high_ns, segment.first_end_ns)
    if low_ns > high_ns:  # the period is less well known than it seems
        low_ns, high_ns = first_ns - period_ns, segment.first_end_ns
    return round((low_ns + high_ns) / 2), max(math.ceil((high_ns - low_ns) / 2), half_ns)
