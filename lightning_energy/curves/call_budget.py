"""The time that calls of a meter may take: a small share of all time, saved up and spent closely where it counts."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque

from lightning_energy.meters.units import NS

__all__ = ["CallBudget"]

FINE_POLL_S = 0.001  # least distance of planned polls
SLOW_CALL = 20.0  # mean distance of polls, in durations of a call
CLOSE_CALL_S = 0.03  # limit of calls that may be made closely, in a search and near an edge, while time is saved
SAVED_S = 0.3  # most time that can be saved up, and the time saved at the beginning
DEBT_S = 0.02  # most time that has to be saved up again, however much was spent
LATENCIES = 64  # calls that the median latency looks back on
FIRST_CALLS = 5  # fewest calls with a median: the first call may well take longer


class CallBudget:
    """Durations of a meter's calls, and the time that may be spent in further ones.

    Attributes:
        latency_s: durations of the last calls in seconds.
        call_s: their median in seconds; 0 until there were enough calls.
        floor_s: least distance of polls on average, in seconds: slow calls are made more rarely.
        close_s: least distance of polls for a while, in a search or near an edge, in seconds.
        is_free: nothing has to be saved up for any more.
    """

    def __init__(self) -> None:
        self.latency_s: deque[float] = deque(maxlen=LATENCIES)
        self.call_s = 0.0
        self.floor_s = self.close_s = FINE_POLL_S
        self.is_free = False
        self._sorted_s: list[float] = []  # the same durations in order, as sorting at every poll would take long
        self._saved_s = SAVED_S
        self._called_ns = 0  # when the last call ended

    def spend(self, start_ns: int, end_ns: int, calls: int = 1) -> None:
        """Note a call, or several in a row of which one was timed.

        Args:
            start_ns: when the timed call began.
            end_ns: when it ended.
            calls: how many calls there were, each taking as long.
        """
        latency_s, ordered_s = (end_ns - start_ns) * NS, self._sorted_s
        if len(self.latency_s) == LATENCIES:
            del ordered_s[bisect_left(ordered_s, self.latency_s[0])]
        self.latency_s.append(latency_s)
        insort(ordered_s, latency_s)
        if len(ordered_s) >= FIRST_CALLS and ordered_s[len(ordered_s) // 2] != self.call_s:
            self._set_median(ordered_s[len(ordered_s) // 2])
        self._saved_s = max(self.saved_s(start_ns) - calls * latency_s, -DEBT_S)
        self._called_ns = end_ns

    def _set_median(self, call_s: float) -> None:
        self.call_s = call_s
        self.floor_s = max(FINE_POLL_S, SLOW_CALL * call_s)
        self.close_s = max(FINE_POLL_S, call_s) if call_s < CLOSE_CALL_S else self.floor_s

    def saved_s(self, time_ns: int) -> float:
        """Seconds in calls that will have been saved up by a moment, without calls until then."""
        if self.is_free:
            return SAVED_S
        return min(self._saved_s + (time_ns - self._called_ns) * NS / SLOW_CALL, SAVED_S)

    def saved_after_s(self, wait_s: float) -> float:
        """Seconds in calls that will have been saved up so long after the last call."""
        return self.saved_s(self._called_ns + round(wait_s / NS))

    @staticmethod
    def time_to_save_s(short_s: float) -> float:
        """Time in which so many seconds in calls are saved up; negative for what is left over."""
        return short_s * SLOW_CALL

    def fine_s(self, time_ns: int) -> float:
        """Least distance of polls from a moment on, in seconds: the close one while time is saved for it."""
        return self.close_s if self.saved_s(time_ns) > 0.0 else self.floor_s
