"""The updates of a counter that came since a booking: shared out as one interval until the next one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lightning_energy.ledger.accounts import OUTSIDE
from lightning_energy.ledger.distinct import distinct_places
from lightning_energy.ledger.sharing.contents import Ahead, Later
from lightning_energy.meters.units import NS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from lightning_energy.ledger.held import Held
    from lightning_energy.ledger.sharing.split import Columns
    from lightning_energy.ledger.sharing.timeline import Smoothed

__all__ = ["LONGEST_NS", "Since"]

LONGEST_NS = 700_000_000  # longest time that is shared out as one interval
LONGEST_MEMORY = 25  # time constants after which smoothing has forgotten, to a float
ODD = 4.0  # standard deviations from the rise that powers lead one to expect, from which on it is another kind of work
REACH_NS = 100_000_000  # time before it that is looked at, as the last update may show less than it seems to
NOTHING = 1e-9  # part of the time that is a rounding error


class _Closed(NamedTuple):
    """The intervals since a booking, as one.

    Attributes:
        seconds_s: seconds of the columns in it, as the counter shows them.
        rise_j: its joules.
    """

    seconds_s: NDArray[np.float64]
    rise_j: float


class Since(NamedTuple):
    """The time since the last interval that is booked.

    Attributes:
        columns: the accounts and classes in force.
        plain: their seconds up to any moment.
        shown_s: the seconds of each column that the last update shows.
        length_s: seconds up to the moment whose energy it shows.
        closed: the intervals up to that update, where they are not booked.
    """

    columns: Columns
    plain: Smoothed
    shown_s: NDArray[np.float64]
    length_s: float = 0.0
    closed: _Closed | None = None

    @classmethod
    def of(cls, held: Held, at_ns: int, ema_s: float, rise_j: float = 0.0, length_s: float = 0.0) -> Since:
        """That since a moment.

        Args:
            held: knots and marks.
            at_ns: the moment, whose energy the last update shows that is booked.
            ema_s: time constant of the counter's smoothing: the last of what was before is still to be shown.
            rise_j: the joules of the intervals that are not booked.
            length_s: their seconds.
        """
        timeline, columns = held.timeline(at_ns, at_ns - max(round(LONGEST_MEMORY * ema_s / NS), REACH_NS))
        plain = timeline.smoothed()
        shown_s = plain.behind(ema_s).at(np.array([0.0, length_s] if length_s else [0.0]))
        closed = _Closed(shown_s[1] - shown_s[0], rise_j) if length_s else None
        return cls(columns, plain, shown_s[-1], length_s, closed)

    def ahead(self, until_ns: int, width: int, later_s: Sequence[float] = ()) -> Ahead:
        """The time up to some moment after the last booking: what is known of it, and what powers have to tell.

        Args:
            until_ns: nanoseconds from there.
            width: the number of classes.
            later_s: how much later the counter is by each kernel than by the first; empty where there is only that.
        """
        moments_s = np.array([until_ns * NS, *later_s])
        if later_s:
            moments_s[1:] = self.length_s - moments_s[1:]
        at_s = self.plain.at(moments_s)
        open_s = at_s[0] - self.shown_s
        code, account = distinct_places(self.columns.code)
        n, of_class = len(code), self.columns.of_class
        seconds_s = np.zeros((n, width))
        seconds_s[account, of_class] = open_s  # of each pair there is one column
        later = Later(at_s[1] - at_s[1:], account, of_class) if later_s else None
        if self.closed is None:
            return Ahead(code, seconds_s, later=later)
        mine_s, rise_j = self.closed
        all_s, shared_s = np.add.reduce(mine_s), np.bincount(account, mine_s, n).astype(np.float64, copy=False)
        behind_s = seconds_s.sum(axis=1)
        seconds_s[account, of_class] += mine_s
        seconds_s -= (shared_s / all_s)[:, None] * np.bincount(of_class, mine_s, width)
        return Ahead(code, seconds_s, shared_s * (rise_j / all_s), behind_s, shared_s, later)

    def is_as_foreseen(self, groups: NDArray[np.int64], power_w: NDArray[np.float64], scatter: float) -> bool:
        """True where its intervals belong to one epoch's stage, and cost what powers lead one to expect.

        Args:
            groups: for each account, the first one of its group.
            power_w: the power of each class.
            scatter: variance of an interval's rise, in J² per second.
        """
        if self.closed is None:
            return True
        mine_s, rise_j = self.closed
        all_s = float(np.add.reduce(mine_s))
        used = groups[self.columns.code[mine_s > NOTHING * all_s]]
        if used[0] == OUTSIDE or (used != used[0]).any():
            return False
        return bool(abs(rise_j - mine_s @ power_w[self.columns.of_class]) <= ODD * math.sqrt(scatter * all_s))
