"""The update period of a register, with everything that follows from it."""

from __future__ import annotations

from lightning_energy.meters.units import NS

__all__ = ["CONTINUOUS_S", "UNKNOWN_PERIOD_S", "Period"]

UNKNOWN_PERIOD_S = 0.1
"""Assumed time between two updates of a register whose period is not known: the longest known of a GPU's counter."""

CONTINUOUS_S = 0.005
"""Longest period, in seconds, of a register whose edges need no hunt."""

OLDEST = 1.02  # upper limit of the age of the present value, in periods
APART = 0.5  # least time between two updates, in periods
# Upper limit, as a share of the period, of a half bracket that improves a good line, and of the residual of a line that
# predicts better than the last edge does. The duration of a call adds up to as much again, as no poll can be sharper.
SMALL = 0.05
FROZEN_PERIODS = 5  # periods for which a frozen register has stood still, at least
FROZEN_S = 0.5  # seconds for which a frozen register has stood still, at least
LATE_S = 0.25  # seconds, and periods, for which a register has stood still that is late
LATE_PERIODS = 2.0
SLOWEST_S = 5.0  # time for which a frozen register has stood still whose period is not known
SLOW_S = 0.5  # period of a register beside which the power is read


class Period:
    """A period, known or not, and the times that follow from it: each poll asks for some of them.

    They are worked out once, here; another period is another object.

    Args:
        s: time between two updates in seconds; ``None`` unknown.

    Attributes:
        s: the same.
        ns: the same in nanoseconds; ``None`` unknown.
        is_continuous: the register moves at any poll.
        oldest_ns: upper limit of the age of its value.
        apart_ns: least time between two updates; 0 unknown.
        small_s: see ``SMALL``; 0 unknown.
        roughly_ns: the period as it may be, where that is not known.
        late_ns: time for which the register has stood still when its power is read as well.
        overdue_ns: time for which it has stood still when it does not move any more.
    """

    __slots__ = ("apart_ns", "is_continuous", "late_ns", "ns", "oldest_ns", "overdue_ns", "roughly_ns", "s", "small_s")

    def __init__(self, s: float | None) -> None:
        self.s = s
        known_s = s or 0.0
        self.ns = None if s is None else round(s / NS)
        self.is_continuous = s is not None and s <= CONTINUOUS_S
        self.oldest_ns = round(OLDEST * known_s / NS)
        self.apart_ns = round(APART * known_s / NS)
        self.small_s = SMALL * known_s
        self.roughly_ns = max(known_s, UNKNOWN_PERIOD_S) / NS
        is_slow = s is None or s >= SLOW_S
        self.late_ns = 0 if is_slow else round(max(LATE_S, LATE_PERIODS * known_s) / NS)
        self.overdue_ns = round((SLOWEST_S if s is None else max(FROZEN_S, FROZEN_PERIODS * s)) / NS)

    def __reduce__(self) -> tuple[type[Period], tuple[float | None]]:
        """Travel to other processes as the period alone."""
        return Period, (self.s,)
