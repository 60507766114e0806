"""The plan of a meter's polls: state and arithmetic only, with no meter, no clock and no thread."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, Protocol

from lightning_energy.curves.call_budget import CallBudget
from lightning_energy.meters.units import NS

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Outlook", "PollPlan"]

SLOW_POLL_S = 0.1  # time between polls of power sensors and of registers that move at any poll: ten knots a second
SEARCH_POLL_S = 0.002  # time between polls while the period is not known
HUNT_EVERY = 16  # edges of which one is watched closely, where not every one is
LOOKS_AT_FIRST = 100  # number of looks at the power of a new load before they become rare
LOOK_EVERY = 8  # edges of which one has a look at the power before it, once looks are rare
SLACK = 0.3  # share of a period for which a poll may wait for others, if it only sees that an edge came
LATEST_LEAD = 0.15  # largest share of a period by which a poll comes before an edge
MUCH_TOO_LATE = 0.5  # share of a period after which an overdue edge is watched ever more slowly
SINGLE_POLLS = 8  # most single polls in a row: then updates are left out until there is time to watch one closely
LATE_POLLS = 16  # polls over which the lateness is averaged
RETRY_S = (0.05, 0.25)  # first and last time between tries to reach a lost device
JITTER = 0.25  # largest share of a wait by which it is made longer or shorter


class Outlook(Protocol):
    """Everything the plan asks of a register: when it moves next, and how well that is known."""

    @property
    def period_s(self) -> float | None:
        """Time between two updates in seconds; ``None`` while unknown."""

    @property
    def next_edge_ns(self) -> int | None:
        """Time of the next update; ``None`` while unknown."""

    @property
    def spread_s(self) -> float:
        """Time in seconds by which the update may come sooner."""

    @property
    def is_sure(self) -> bool:
        """True while the time of an update is known even if it is not watched closely."""


class PollPlan:
    """Decides when the next poll is due.

    A register is polled just before its next edge and then finely until the edge comes (a *hunt*), or, where time is to
    be saved, once after the edge. Polls are jittered: a fixed distance that divides the period would never refine it.

    Args:
        can_look: true when the meter also shows the power of the moment: the plan then looks at it now and then.

    Attributes:
        due_ns: time of the next poll.
        slack_ns: time by which it may come later.
        hunts_always: every edge is hunted, not one in so many.
        calls: the time that calls may take.
        is_before_edge: the next poll should come before the register moves.
    """

    def __init__(self, *, can_look: bool = False) -> None:
        self.due_ns = 0
        self.slack_ns = 0
        self.hunts_always = True
        self.calls = CallBudget()
        self.is_before_edge = False
        self._can_look = can_look
        self._look = False  # at the power, at the next poll
        self._moves = 0
        self._hunt_ns = 0  # the edge that is hunted; 0 when none is
        self._single_polls = 0  # in a row: moves seen by one poll each, which says little of when they were
        self._late_s = 0.0  # mean lateness of the polls, as the thread was busy or had to wait for its turn
        self._retry_s = RETRY_S[0]
        self._random: Callable[[], float] = random.Random(0).random  # noqa: S311 - against phase locking, not secrecy

    def take_look(self) -> bool:
        """Return true, once, if the poll that is made now should look at the power."""
        look, self._look = self._look, False
        return look

    def hurry(self) -> None:
        """Poll at once, watch the next edges closely and save no time any more: the end is near."""
        self.calls.is_free, self.due_ns, self.slack_ns = True, 0, 0

    def polled(self, start_ns: int, end_ns: int, calls: int = 1) -> None:
        """Note a poll that was answered.

        Args:
            start_ns: when its call began.
            end_ns: when it ended.
            calls: 2 when the power was asked for as well, which takes as long.
        """
        if self.due_ns and not self.slack_ns:
            self._late_s += (max((start_ns - self.due_ns) * NS, 0.0) - self._late_s) / LATE_POLLS
        self.calls.spend(start_ns, end_ns, calls)
        self._retry_s = RETRY_S[0]

    def retry(self, now_ns: int) -> None:
        """Plan the next poll of a device that did not answer at ``now_ns``: at once, then slower."""
        self.slack_ns, self.is_before_edge, self._hunt_ns = 0, False, 0
        self.due_ns = now_ns + round(self._retry_s / NS)
        self._retry_s = min(2 * self._retry_s, RETRY_S[1])

    def come_by(self, time_ns: int) -> None:
        """Poll by a moment at the latest, whenever the register may move."""
        if self.due_ns + self.slack_ns > time_ns:
            self.due_ns, self.slack_ns = min(self.due_ns, time_ns), 0

    def go_on(self, now_ns: int, outlook: Outlook | None, *, moved: bool, looks: int) -> None:
        """Plan the next poll after one that was answered.

        Args:
            now_ns: when it was answered.
            outlook: the register; ``None`` where any poll gives a knot, with no edge to wait for.
            moved: the register had moved.
            looks: how often the power of the present load was looked at.
        """
        if moved and now_ns >= self._hunt_ns:
            self._hunt_ns = 0
        self.slack_ns, self.is_before_edge = 0, False
        jitter = 1.0 + JITTER * (2.0 * self._random() - 1.0)
        if outlook is None:
            wait_s = max(SLOW_POLL_S, self.calls.floor_s) * jitter
        else:
            wait_s = self._wait_s(now_ns, outlook, jitter, moved=moved, looks=looks)
        self.due_ns = now_ns + round(wait_s / NS)

    def _wait_s(self, now_ns: int, outlook: Outlook, jitter: float, *, moved: bool, looks: int) -> float:
        """Seconds until the next poll: just before the next expected edge, then finely until it comes."""
        calls, period_s, next_ns = self.calls, outlook.period_s, outlook.next_edge_ns
        fine_s = calls.fine_s(now_ns)
        if period_s is None or next_ns is None:
            return max(SEARCH_POLL_S, fine_s) * jitter
        # its answer is to come before the edge, and the poll may be late
        lead_s = min(max(outlook.spread_s, fine_s) + calls.call_s + self._late_s, LATEST_LEAD * period_s)
        ahead_s = (next_ns - now_ns) * NS - lead_s
        if ahead_s > calls.close_s:
            self.is_before_edge = True
            if self._hunt_ns:
                return ahead_s
            return self._wait_before_s(outlook, next_ns, ahead_s, lead_s, period_s, moved=moved, looks=looks)
        overdue_s = max(-ahead_s - MUCH_TOO_LATE * period_s, 0.0)
        return min(fine_s + 0.1 * overdue_s, max(period_s, calls.floor_s)) * jitter

    def _wait_before_s(
        self,
        outlook: Outlook,
        next_ns: int,
        ahead_s: float,
        lead_s: float,
        period_s: float,
        *,
        moved: bool,
        looks: int,
    ) -> float:
        """Seconds until the first poll near the edge expected at ``next_ns``, or the only one that sees it."""
        calls, call_s = self.calls, self.calls.call_s
        self._moves += moved
        hunted = 2.0 + 2.0 * lead_s / (calls.close_s + call_s)  # calls around the edge, which may come sooner or later
        spare_s = calls.saved_s(next_ns) - hunted * call_s
        self._look = moved and self._wants_look(looks) and spare_s >= 2.0 * call_s
        if self._look:  # at a random moment: the load may be locked to the register's period
            return self._random() * ahead_s
        if not calls.is_free and outlook.is_sure and self._is_spared(spare_s):
            return self._wait_past_s(ahead_s, lead_s, period_s)
        skipped_s = _whole_periods_s(calls.time_to_save_s(-spare_s), period_s)
        self._single_polls, self._hunt_ns = 0, next_ns + round(skipped_s / NS)
        if skipped_s:  # this poll sees the moves that were left out, so it comes sooner before the edge
            return ahead_s + skipped_s - call_s - lead_s
        return ahead_s

    def _wants_look(self, looks: int) -> bool:
        every = LOOK_EVERY if self.hunts_always else HUNT_EVERY
        return self._can_look and (looks < LOOKS_AT_FIRST or self._moves % every == 0)

    def _is_spared(self, spare_s: float) -> bool:
        """Return true if the next edge is not hunted: its turn has not come, or time is short."""
        is_of_many = not self.hunts_always and self._moves % HUNT_EVERY != 0
        return is_of_many or (spare_s < 0.0 and self._single_polls < SINGLE_POLLS)

    def _wait_past_s(self, ahead_s: float, lead_s: float, period_s: float) -> float:
        """Seconds until a single poll that sees that the register moved; the line says when it did."""
        self.is_before_edge = False
        self._single_polls += 1
        self.slack_ns = round(SLACK * period_s / NS)
        wait_s = ahead_s + 2.0 * lead_s
        short_s = self.calls.call_s - self.calls.saved_after_s(wait_s)
        return wait_s + _whole_periods_s(self.calls.time_to_save_s(short_s), period_s)


def _whole_periods_s(time_s: float, period_s: float) -> float:
    """The least number of whole periods that take so long, in seconds; 0 for less than no time."""
    return max(math.ceil(time_s / period_s), 0) * period_s
