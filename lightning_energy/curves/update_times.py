"""The straight line through the update times of a register that moves periodically."""

from __future__ import annotations

import math
from collections import deque
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

import numpy as np

from lightning_energy.curves.period_limits import PeriodLimits

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["UpdateLine"]

FIT_EDGES = 64  # number of last edges that the line goes through
FIT_MINIMUM = 8  # fewest edges of a line
FIT_EVERY = 8  # updates between two fits, once there are many edges
MOST = 0.8  # share of the edges that stray from the line by less than the residual
KNOWN = 0.1  # upper limit, as a share of the period, of the residual of a line that knows the period
LONGER = 1.1  # longest standstill of a register, in periods: a longer one shows a longer period
STRAYS = 3.0  # residuals by which it is longer than that where one such edge overrules a line that edges stray from
LONGER_EDGES = 3  # edges in a row, each after a longer standstill, that overrule any line
POINTS_OF_A_LINE = 2
BENDS = 3.0  # distance of a part of the edges from the line, in standard errors, that shows that the updates bend
BEND_EDGES = 16  # most edges that show no bend
MOST_BRACKETS = 2.0  # halves of its bracket, for which an edge counts at most there
SHARP = 3.0  # brackets, in those of the sharpest interval's ends, of intervals that tell the period of few edges
LEAST_HALF_NS = 1e4  # added to each bracket, so that none weighs without limit


class _LastFit:
    """Everything that the last fit leaves to others.

    Attributes:
        index: of its last edge.
        bend: of the updates, see :meth:`UpdateLine.half_ns`.
        has_bent: the updates did, and the line does not go through as many again yet.
        center_ns: mean of the edges' times.
        spread_ns: their standard deviation.
    """

    __slots__ = ("bend", "center_ns", "has_bent", "index", "spread_ns")

    def __init__(self) -> None:
        self.index, self.bend, self.has_bent = 0, 0.0, False
        self.center_ns, self.spread_ns = 0.0, 1.0


class UpdateLine:
    """Update times of a periodic register: t = phase + k * period, fitted through the last edges.

    Attributes:
        period_ns: the period; ``None`` before two edges.
        period_half_ns: half the bracket of the period.
        residual_ns: distance from the line that four in five edges keep within; infinite before the fit.
        edges: number of edges that the line goes through.
        is_within: four in five of them have the line within their own brackets: they strayed no further than they were
            seen, and closer looks at each tell less than the line does.
        is_guess: no line went through edges enough yet, since the period was first told, or raised.
        limits: those of the period.
    """

    def __init__(self) -> None:
        self.period_ns: float | None = None
        self.period_half_ns = 0.0
        self.residual_ns = math.inf
        self.edges = 0
        self.is_within, self.is_guess = False, True
        self.limits = PeriodLimits()
        self._index: deque[int] = deque(maxlen=FIT_EDGES)
        self._time_ns: deque[int] = deque(maxlen=FIT_EDGES)
        self._half_width_ns: deque[int] = deque(maxlen=FIT_EDGES)
        self._phase_ns = 0.0
        self._last_fit = _LastFit()
        self._is_known = False  # the period: a straight line went well through edges enough
        self._longer_ns: list[int] = []  # times for which the register stood still too long, before the last edges

    @property
    def is_fitted(self) -> bool:
        """True once the line has a phase and a residual, not just a period."""
        return self.period_ns is not None and self.residual_ns < math.inf

    def add(self, time_ns: int, half_width_ns: int, still_ns: int = 0, lasted_ns: float = math.inf) -> None:
        """Take one edge; between edges that skip updates, these are counted by the period known so far.

        Args:
            time_ns: the middle of the edge's bracket.
            half_width_ns: half that bracket.
            still_ns: how long the register was seen standing still before the edge.
            lasted_ns: how long it can have stood still there, at most.
        """
        self.limits.add(still_ns, lasted_ns)
        if self.is_longer(still_ns):
            self._longer_ns.append(still_ns)
            is_sure = still_ns > LONGER * (self.period_ns or 0.0) + STRAYS * self.residual_ns
            if self.is_guess or (is_sure and not self._is_known) or len(self._longer_ns) >= LONGER_EDGES:
                self._count_anew(min(self._longer_ns))
        elif self._longer_ns:
            self._longer_ns.clear()
        index = 0
        if self.edges:
            elapsed = time_ns - self._time_ns[-1]
            steps = round(elapsed / (self.period_ns or elapsed))
            index = self._index[-1] + (steps if steps > 1 else 1)
        self._index.append(index)
        self._time_ns.append(time_ns)
        self._half_width_ns.append(half_width_ns)
        if self.edges < FIT_EDGES:
            self.edges += 1
        # the line barely moves with one more point of many, unless that is far behind the others
        if self.edges >= POINTS_OF_A_LINE and (
            self.edges <= 2 * FIT_MINIMUM or index - self._last_fit.index >= FIT_EVERY
        ):
            self._fit()

    def _fit(self) -> None:
        self._last_fit.index = self._index[-1]
        # lists of numbers, as arrays of other sequences take twice as long
        t = (np.array([*self._time_ns], dtype=np.int64) - self._time_ns[0]).astype(np.float64)
        k = np.array([*self._index], dtype=np.float64) - self._index[0]
        if self.period_ns is not None and self.edges >= FIT_MINIMUM:
            self._fit_line(t, k)
        elif self.is_guess:  # else the line that was given up says more than a few edges
            self._fit_period(t, k)

    def _fit_period(self, t: NDArray[np.float64], k: NDArray[np.float64]) -> None:
        """Estimate the period from a few edges.

        The number of updates in a long interval is not sure yet, so only intervals of one update count.
        """
        intervals_ns = np.diff(t)
        half_ns = np.array([*self._half_width_ns], dtype=np.float64) + LEAST_HALF_NS
        widest_ns = np.maximum(half_ns[1:], half_ns[:-1])  # of both ends
        is_sharp = widest_ns <= SHARP * np.min(widest_ns)
        one_ns = float(np.median(intervals_ns[is_sharp] / np.diff(k)[is_sharp]))
        single = is_sharp & (np.round(intervals_ns / one_ns) == 1)
        self.period_ns = float(intervals_ns[single].mean()) if single.any() else one_ns
        most_ns = float(np.max(widest_ns, where=single, initial=0.0)) or one_ns
        self.period_half_ns = 2.0 * most_ns / max(int(single.sum()), 1)
        self.period_ns = self.limits.nearest(self.period_ns)
        self.period_half_ns = max(self.period_half_ns, self.limits.half_ns(self.period_ns))

    def _fit_line(self, t: NDArray[np.float64], k: NDArray[np.float64]) -> None:
        """Fit by weighted least squares, written out: numpy's own take several times as long, twenty times a second."""
        half_width_ns = np.array([*self._half_width_ns], dtype=np.float64)
        weight = (half_width_ns + LEAST_HALF_NS) ** -2.0
        share = weight / np.add.reduce(weight)
        mean_k, mean_t = float(share @ k), float(share @ t)
        from_mean_k = k - mean_k
        weighted = share * from_mean_k
        variance_k = float(weighted @ from_mean_k)
        slope = float(weighted @ (t - mean_t)) / variance_k
        intercept = mean_t - slope * mean_k
        residual = t - (intercept + slope * k)
        self._last_fit.bend, bends = 0.0, False
        if self.edges > BEND_EDGES:
            self._last_fit.bend, bends = _bend(residual / (half_width_ns + LEAST_HALF_NS))
        residual = np.abs(residual)
        self._last_fit.has_bent = self._last_fit.has_bent and self.edges < FIT_EDGES
        within = int(np.count_nonzero(residual <= half_width_ns))
        self.is_within = within >= MOST * self.edges and not self._last_fit.has_bent
        residual.sort()
        self.period_ns = slope
        self.period_half_ns = float(residual[-1]) / self.edges
        origin_ns = self._time_ns[0]
        self._last_fit.center_ns, self._last_fit.spread_ns = origin_ns + mean_t, slope * math.sqrt(variance_k)
        self._phase_ns = origin_ns + intercept - slope * self._index[0]
        self.residual_ns = float(residual[math.ceil(MOST * (self.edges - 1))])
        self._is_known, self.is_guess = self.residual_ns < KNOWN * self.period_ns, False
        if not self._is_known:
            self.period_half_ns = max(self.period_half_ns, self.limits.half_ns(slope))
        if bends:
            self._forget_half()

    def _forget_half(self) -> None:
        """Keep the later half of the edges, and watch what they show: the period changes."""
        for column in (self._index, self._time_ns, self._half_width_ns):
            for _ in range(self.edges // 2):
                column.popleft()
        self.edges, self._last_fit.has_bent = len(self._index), True
        self._fit()

    @property
    def longer_ns(self) -> int:
        """Time by which an interval may be longer than the period: one update is early, the next late; 0 unknown."""
        return math.ceil(2.0 * self.residual_ns) if self.residual_ns < math.inf else 0

    @property
    def oldest_ns(self) -> float:
        """Longest age of a value, where no good line tells the period; 0 where one does."""
        is_known = self._is_known or self.residual_ns < KNOWN * (self.period_ns or 0.0)
        return 0.0 if is_known else self.limits.most_ns

    @property
    def interval_half_ns(self) -> float:
        """Largest error of the period as the length of a single interval: others were seen that differ from it."""
        return max(self.period_half_ns, self.limits.away_ns(self.period_ns))

    def is_longer(self, still_ns: int) -> bool:
        """Return true if a register that stood still for so long must have a longer period than the line has."""
        return self.period_ns is not None and still_ns > LONGER * self.period_ns

    def _count_anew(self, period_ns: float) -> None:
        """Raise the period to at least this: edges that were seen too roughly had a shorter one fit as well."""
        if self._is_known:  # the register's period has changed, so the edges so far say nothing of it
            self.restart()
        self.period_ns, self.residual_ns, self._is_known = period_ns, math.inf, False
        self.is_within, self.is_guess = False, True
        self._longer_ns.clear()
        times_ns = [*self._time_ns]
        steps = (max(round((b - a) / period_ns), 1) for a, b in pairwise(times_ns))
        self._index = deque(accumulate(steps, initial=0) if times_ns else (), maxlen=FIT_EDGES)
        self._last_fit.index = -FIT_EVERY

    def restart(self) -> None:
        """Forget the phase and keep the period: the device was silent or reset."""
        for column in (self._index, self._time_ns, self._half_width_ns):
            column.clear()
        self.residual_ns, self.edges, self.is_within, self._last_fit.has_bent = math.inf, 0, False, False
        self._last_fit.index = -FIT_EVERY

    def next_ns(self, edge_ns: int) -> int | None:
        """Time at which the update after the one at ``edge_ns`` should come; ``None`` before the fit."""
        if self.period_ns is None or not self.residual_ns < math.inf:
            return None
        updates = math.ceil((edge_ns - self._phase_ns) / self.period_ns + 0.5)
        return round(self._phase_ns + updates * self.period_ns)

    def half_ns(self, time_ns: float) -> int:
        """Distance from the line within which an update near ``time_ns`` lies, as sure as the residual is.

        It grows away from the line's edges: by the standard error of a prediction by a straight line, and by the bend
        that the edges may have.
        """
        fit = self._last_fit
        away = (time_ns - fit.center_ns) / fit.spread_ns
        away *= away
        bend = fit.bend * (away - 1.0)
        return round(self.residual_ns * math.sqrt(1.0 + (1.0 + away) / self.edges + bend * bend)) or 1

    def stray_ns(self, edge_ns: int) -> float:
        """Distance of an edge from the nearest update of the line; 0 before the fit."""
        if self.period_ns is None or not self.residual_ns < math.inf:
            return 0.0
        away_ns = math.remainder(edge_ns - self._phase_ns, self.period_ns)
        return away_ns if away_ns > 0.0 else -away_ns

    def updates(self, low_ns: float, high_ns: float) -> tuple[int, float]:
        """The number of the line's updates between two moments, and the time of the last; none before the fit."""
        phase_ns, period_ns = self._phase_ns, self.period_ns
        if period_ns is None or not self.residual_ns < math.inf:
            return 0, 0.0
        first, last = math.ceil((low_ns - phase_ns) / period_ns), math.floor((high_ns - phase_ns) / period_ns)
        return last + 1 - first, phase_ns + last * period_ns


def _bend(residual: NDArray[np.float64]) -> tuple[float, bool]:
    """Measure how far the edges in the middle lie to one side of the line and those at both ends to the other.

    Args:
        residual: signed distances of the edges from the line, in halves of their brackets.

    Returns:
        The distance of a parabola from the line where it is farthest among the edges, in residuals of these, see
        :meth:`UpdateLine.half_ns`; and whether it, or the distance of the last edges from the line, is no chance.
    """
    z = np.minimum(np.maximum(residual, -MOST_BRACKETS), MOST_BRACKETS)
    n, quarter = len(z), len(z) // 4
    scatter = math.sqrt(float(z @ z) / n)
    if not scatter:
        return 0.0, False
    first, last = float(np.add.reduce(z[:quarter])) / scatter, float(np.add.reduce(z[-quarter:])) / scatter
    middle = float(np.add.reduce(z)) / scatter - first - last
    ends, limit = abs((first + last) / (2 * quarter) - middle / (n - 2 * quarter)), BENDS * 2.0 / math.sqrt(n)
    return ends / 2.0, ends > limit or abs(last / quarter) > limit
