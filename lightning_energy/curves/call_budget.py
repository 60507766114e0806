"""The time that calls of meters may take: a small share of all time, saved up and spent closely where it counts.

All times are whole nanoseconds: this is gone through at every poll.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["PROCESS", "CallBudget", "TimeShares"]

FINE_POLL_NS = 1_000_000  # least distance of planned polls
SLOW_CALL = 20  # mean distance of polls, in durations of a call
CLOSE_CALL_NS = 30_000_000  # limit of calls that may be made closely, in a search and near an edge, with time saved
SAVED_NS = 300_000_000  # most time that can be saved up; there at the beginning, as the period is searched for then
DEBT_NS = 10_000_000  # most time that has to be saved up again, however long a single call took
DEBT_CALLS = 8  # the same in usual calls, if that is more
COST_CALLS = 8  # most usual calls that a poll counts as: what takes longer waits for the interpreter's lock
LATENCIES = 64  # calls that the median duration looks back on
FIRST_CALLS = 5  # fewest calls with a median; of fewer it is the least, as the first may well take longer
MEDIAN_EVERY = 8  # calls between two looks at the median
LEAST_CALL_NS = 10_000  # duration by which the fastest calls count where time is shared out
CHANGE = 0.25  # relative change of a duration from which on time is shared out anew


class CallBudget:
    """Durations of a meter's calls, and the time that may be spent in further ones.

    Attributes:
        latency_ns: durations of the last calls.
        call_ns: their median, as of one of the last calls; 0 after the first one, which says nothing of the others.
        floor_ns: least distance of polls on average: slow calls are made more rarely.
        close_ns: least distance of polls for a while, in a search or near an edge.
        is_free: nothing has to be saved up for any more.

    Whatever follows from :attr:`call_ns` and the share of the time is set where these are, in ``_set_distances``.
    """

    def __init__(self) -> None:
        self.latency_ns: deque[int] = deque(maxlen=LATENCIES)
        self.call_ns = 0
        self.floor_ns = self.close_ns = FINE_POLL_NS
        self.is_free = False
        self._calls = 0
        self._saved_ns = 0
        self._called_ns = 0  # when the last call ended
        self._share = 1.0  # of the time that all may take
        self._most_ns = SAVED_NS
        self._slow = SLOW_CALL  # time in which one nanosecond of calls is saved up
        self._shares: TimeShares | None = None
        self._most_cost_ns = self._debt_ns = 0  # most that a call counts as, and most that is owed; 0 at first

    def spend(self, start_ns: int, end_ns: int, cost_ns: int | None = None) -> None:
        """Note a call.

        Args:
            start_ns: when it began.
            end_ns: when it ended.
            cost_ns: the time to be saved up again, where other calls were made beside it.
        """
        took_ns = end_ns - start_ns
        if not self._calls:
            self._called_ns, self._saved_ns = start_ns, self._most_ns
        saved_ns = self.saved_ns(start_ns)
        self._calls += 1
        self.latency_ns.append(took_ns)
        if not self._calls % MEDIAN_EVERY or self._calls <= FIRST_CALLS:
            self._set_median()
        if cost_ns is None:
            cost_ns = took_ns
        if self.call_ns and cost_ns > self._most_cost_ns:
            cost_ns = self._most_cost_ns
        saved_ns -= cost_ns
        self._saved_ns = saved_ns if saved_ns > -self._debt_ns else -self._debt_ns
        self._called_ns = end_ns

    def _set_median(self) -> None:
        ordered = sorted(self.latency_ns)
        n = len(ordered)
        self.learn(0 if n == 1 else ordered[0] if n < FIRST_CALLS else ordered[n // 2])

    def learn(self, call_ns: int) -> None:
        """Heed the usual duration of calls, wherever they were made."""
        if call_ns == self.call_ns:
            return
        is_other = abs(call_ns - self.call_ns) > CHANGE * self.call_ns
        self.call_ns = call_ns
        self._set_distances()
        if is_other and self._shares is not None:
            self._shares.share_out()

    def _set_distances(self) -> None:
        self.floor_ns = max(FINE_POLL_NS, self._slow * self.call_ns)
        is_fast = self.call_ns < CLOSE_CALL_NS
        self.close_ns = max(FINE_POLL_NS, self.call_ns) if is_fast else self.floor_ns
        self._most_cost_ns = COST_CALLS * self.call_ns
        self._debt_ns = max(DEBT_NS, DEBT_CALLS * self.call_ns) if self.call_ns else 0

    def take_part(self, shares: TimeShares | None, share: float = 1.0) -> None:
        """Keep to a share of the time that calls may take in all; ``None``: the time is not shared any more."""
        self._shares = shares
        self._share, self._most_ns = share, round(SAVED_NS * share)
        self._slow = round(SLOW_CALL / share)
        self._set_distances()

    def saved_ns(self, time_ns: int) -> int:
        """Time in calls that will have been saved up by a moment, without calls until then."""
        if self.is_free:
            return SAVED_NS
        saved_ns = self._saved_ns + (time_ns - self._called_ns) // self._slow
        return saved_ns if saved_ns < self._most_ns else self._most_ns

    def time_to_save_ns(self, short_ns: int) -> int:
        """Time in which so much time in calls is saved up; negative for what is left over."""
        return short_ns * self._slow

    def fine_ns(self, time_ns: int) -> int:
        """Least distance of polls from a moment on, behind the last call: the close one while time is saved for it."""
        if self._saved_ns > 0:  # then there is some later, too
            return self.close_ns
        saved_ns = self.saved_ns(time_ns)
        return self.close_ns if saved_ns > 0 else max(self.floor_ns, self.time_to_save_ns(-saved_ns))


class TimeShares:
    """The budgets among which the time of one process for calls is shared out.

    Each gets as much as lets it be polled as often as the others. Any thread may come by, and the garbage collector
    within one: whatever is gone through is a copy.
    """

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._turn = threading.RLock()  # held while one joins or leaves
        self._budgets: tuple[weakref.ref[CallBudget], ...] = ()

    def _present(self) -> list[CallBudget]:
        """The budgets that take part; none of those that a fork has copied."""
        if os.getpid() != self._pid:
            self._pid, self._budgets = os.getpid(), ()
        return [budget for ref in self._budgets if (budget := ref()) is not None]

    def has(self, budget: CallBudget) -> bool:
        """Return true if a budget takes part."""
        return budget in self._present()

    def join(self, budgets: Iterable[CallBudget]) -> None:
        """Let more budgets take part."""
        with self._turn:
            self._budgets = tuple(weakref.ref(budget) for budget in {*self._present(), *budgets})
        self.share_out()

    def leave(self, budgets: Iterable[CallBudget]) -> None:
        """Let budgets have all of the time again: they have stopped."""
        gone = {*budgets}
        with self._turn:
            self._budgets = tuple(weakref.ref(budget) for budget in {*self._present()} - gone)
        for budget in gone:
            budget.take_part(None)
        self.share_out()

    def share_out(self) -> None:
        """Give each its share anew."""
        budgets = self._present()
        known = [b.call_ns for b in budgets if b.call_ns]
        supposed_ns = max(known, default=LEAST_CALL_NS)  # of one that was not called yet
        weights = [max(b.call_ns or supposed_ns, LEAST_CALL_NS) for b in budgets]
        for budget, weight in zip(budgets, weights, strict=True):
            budget.take_part(self, weight / sum(weights))


PROCESS = TimeShares()
"""The budgets of the meters that this process polls now."""
