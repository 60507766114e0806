"""Limits of the period of a register, as polls saw its values stand still, and gone."""

from __future__ import annotations

import math

__all__ = ["PeriodLimits"]

AMBIGUOUS = 1.5  # ratio of the limits from which on several periods may explain the edges


class PeriodLimits:
    """The shortest and the longest that the period may be by all intervals, and how far single ones differ.

    Attributes:
        least_ns: the shortest that it may be, as a value was seen standing still for so long.
        most_ns: the longest, as a value can have lasted no longer.
        stood_ns: the longest interval took so long at least.
        gone_ns: the shortest took so long at most.
    """

    __slots__ = ("gone_ns", "least_ns", "most_ns", "stood_ns")

    def __init__(self) -> None:
        self.least_ns, self.most_ns = 0.0, math.inf
        self.stood_ns, self.gone_ns = 0.0, math.inf

    def add(self, still_ns: float, lasted_ns: float) -> None:
        """Take an interval between two updates; where it contradicts the others, the period has changed.

        Args:
            still_ns: how long the register was seen standing still.
            lasted_ns: how long it can have stood still, at most.
        """
        self.stood_ns, self.gone_ns = max(self.stood_ns, still_ns), min(self.gone_ns, lasted_ns)
        if still_ns > self.most_ns:
            self.most_ns = lasted_ns
        if lasted_ns < self.least_ns:
            self.least_ns = still_ns
        self.least_ns, self.most_ns = max(self.least_ns, still_ns), min(self.most_ns, lasted_ns)

    def forget_intervals(self) -> None:
        """Forget the longest and the shortest interval: the register stood still, or was reset."""
        self.stood_ns, self.gone_ns = 0.0, math.inf

    def nearest(self, period_ns: float) -> float:
        """The period within the limits that is nearest to ``period_ns``."""
        return min(max(period_ns, self.least_ns), self.most_ns)

    def half_ns(self, period_ns: float) -> float:
        """Distance of a period from the limit that is farther, where these are far apart; else 0.

        Several periods explain the edges then: one of them says nothing of the others.
        """
        if not self.most_ns > AMBIGUOUS * self.least_ns:
            return 0.0
        return max(min(self.most_ns, 2.0 * period_ns) - period_ns, period_ns - self.least_ns)

    def away_ns(self, period_ns: float | None) -> float:
        """Distance of a period from the interval that differs most from it; a single edge says nothing of one."""
        period_ns = period_ns or self.stood_ns
        return max(self.stood_ns - period_ns, period_ns - self.gone_ns)
