"""The plan of a meter's polls: state and arithmetic only, with no meter, no clock and no thread.

Its times are whole nanoseconds: this is gone through at every poll.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Protocol

from lightning_energy.curves.call_budget import CallBudget

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["SLOW_POLL_NS", "Outlook", "PollPlan"]

SLOW_POLL_NS = 100_000_000
"""Time between polls of power sensors and of registers that move at any poll: ten knots a second."""

SEARCH_POLL_NS = 2_000_000  # time between polls while the period is not known
SEARCH_POLLS = 8  # polls of a register, in a search, while it stands still: more are not made where calls are slow
HUNT_EVERY = 16  # edges of which one is watched closely on average, where not every one is
HUNT_SHARP_EVERY = 8  # the same of edges that a line tells as sharply as a hunt
LOOKS_AT_FIRST = 100  # number of looks at the power of a new load before they become rare
LOOK_EVERY = 8  # edges of which one has a look at the power before it, once looks are rare
SLACK = 0.3  # share of a period for which a poll may wait for others, if it only sees that an edge came
LATEST_LEAD = 0.15  # largest share of a period by which a poll comes before an edge
MUCH_TOO_LATE = 2  # periods in which an overdue edge is half a period late: from then on it is watched ever more slowly
SLOWER = 10  # part of the lateness by which the polls of such an edge are further apart
SINGLE_POLLS = 8  # most single polls in a row: then updates are left out until there is time to watch one closely
LATE_POLLS = 16  # polls over which the lateness is averaged
RETRY_NS = (50_000_000, 250_000_000)  # first and last time between tries to reach a lost device
FAST_CALL_NS = 500_000  # calls up to which a search need not be thrifty
SLOW_CALL_NS = 10_000_000  # calls up to which they follow each other closely in a search
JITTER = 0.25  # largest share of a wait by which it is made longer or shorter


class Outlook(Protocol):
    """Everything the plan asks of a register: when it moves next, and how well that is known."""

    @property
    def period_ns(self) -> int | None:
        """Time between two updates; ``None`` while unknown."""

    @property
    def next_edge_ns(self) -> int | None:
        """Time of the next update; ``None`` while unknown."""

    @property
    def spread_ns(self) -> int:
        """Time by which the update may come sooner."""

    @property
    def is_sure(self) -> bool:
        """True while the time of an update is known even if it is not watched closely."""

    @property
    def is_sharp(self) -> bool:
        """True while it is known as sharply as if it were."""


class Edge:
    """The update that is expected next: all is 0 while nothing is known of it.

    Attributes:
        next_ns: its time.
        period_ns: time between two updates.
        lead_ns: time by which the first poll that waits for it comes sooner.
        first_ns: time of that poll.
        turn: number of moves after which the next edge is hunted.
    """

    __slots__ = ("first_ns", "lead_ns", "next_ns", "period_ns", "turn")

    def __init__(self) -> None:
        self.next_ns = self.period_ns = self.lead_ns = self.first_ns = self.turn = 0

    def is_odd(self, now_ns: int, due_ns: int, *, is_before_edge: bool) -> bool:
        """Return true if it came too soon, or was seen a period later than a poll was wanted: do others?"""
        wanted_ns = due_ns if due_ns > self.next_ns else self.next_ns  # some updates are left out on purpose
        return (is_before_edge and now_ns < self.next_ns) or now_ns > wanted_ns + self.period_ns


class Search:
    """Polls of a register whose period is not known.

    Attributes:
        moved_ns: time of the register's last move, or of the first poll.
    """

    def __init__(self) -> None:
        self.moved_ns = 0
        self._stood_ns = 0  # the longest standstill

    def wait_ns(self, now_ns: int, calls: CallBudget) -> int:
        """Time until the next poll: where calls are slow, the longer, the longer the register stood still."""
        self.moved_ns = self.moved_ns or now_ns
        self._stood_ns = max(self._stood_ns, now_ns - self.moved_ns)
        slowly_ns = self._stood_ns // SEARCH_POLLS if calls.call_ns > FAST_CALL_NS else 0
        is_close = FAST_CALL_NS < calls.call_ns < SLOW_CALL_NS and calls.saved_ns(now_ns) > 0
        fine_ns = 0 if is_close else calls.fine_ns(now_ns)
        return max(SEARCH_POLL_NS, fine_ns, min(slowly_ns, calls.floor_ns))


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
        looks: the next poll should look at the power.
    """

    def __init__(self, *, can_look: bool = False) -> None:
        self.due_ns = 0
        self.slack_ns = 0
        self.hunts_always = True
        self.calls = CallBudget()
        self.is_before_edge = self.looks = False
        self._can_look = can_look
        self._moves = 0
        self._edge = Edge()  # that is waited for
        self._search = Search()
        self._hunt_ns = 0  # the edge that is hunted; 0 when none is
        self._single_polls = 0  # in a row: moves seen by one poll each, which says little of when they were
        self._late_ns = 0  # mean lateness of the polls, as the thread was busy or had to wait for its turn
        self._retry_ns = RETRY_NS[0]
        self._random: Callable[[], float] = random.Random(0).random  # noqa: S311 - against phase locking, not secrecy

    def begin_anew(self) -> None:
        """Poll at once: the register has moved on since the last poll was planned."""
        self.due_ns, self.slack_ns, self._hunt_ns = 0, 0, 0
        self.is_before_edge = self.looks = False

    def take_look(self) -> bool:
        """Return true, once, if the poll that is made now should look at the power."""
        look, self.looks = self.looks, False
        return look

    def hurry(self) -> None:
        """Poll at once, watch the next edges closely and save no time any more: the end is near."""
        self.calls.is_free, self.due_ns, self.slack_ns = True, 0, 0

    def polled(self, start_ns: int, end_ns: int, cost_ns: int | None = None) -> None:
        """Note a poll that was answered.

        Args:
            start_ns: when its call began.
            end_ns: when it ended.
            cost_ns: time that all calls of the poll took, where the power was asked for as well.
        """
        if self.due_ns and not self.slack_ns:
            late_ns = start_ns - self.due_ns
            self._late_ns += ((late_ns if late_ns > 0 else 0) - self._late_ns) // LATE_POLLS
        self.calls.spend(start_ns, end_ns, cost_ns)
        self._retry_ns = RETRY_NS[0]

    def retry(self, now_ns: int) -> None:
        """Plan the next poll of a device that did not answer at ``now_ns``: at once, then slower."""
        self.slack_ns, self.is_before_edge, self._hunt_ns, self._edge.turn = 0, False, 0, 0
        self.due_ns = now_ns + self._retry_ns
        self._retry_ns = min(2 * self._retry_ns, RETRY_NS[1])

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
        if moved and self._edge.is_odd(now_ns, self.due_ns, is_before_edge=self.is_before_edge):
            self._edge.turn = 0
        self.slack_ns, self.is_before_edge = 0, False
        if outlook is None:
            self.due_ns = now_ns + self._jittered(max(SLOW_POLL_NS, self.calls.floor_ns))
            return
        self._aim(now_ns, outlook)
        if moved:
            self._search.moved_ns = now_ns
        edge = self._edge
        ahead_ns = edge.first_ns - now_ns
        if edge.next_ns and ahead_ns > self.calls.close_ns and not self._hunt_ns:
            self.is_before_edge = True
            self.due_ns = now_ns + self._wait_before_ns(outlook, ahead_ns, moved=moved, looks=looks)
        else:
            self.wait_on(now_ns)

    def wait_on(self, now_ns: int) -> None:
        """Plan the next poll after one that saw nothing new: the same edge is waited for."""
        is_free = self.calls.is_free
        ahead_ns, period_ns = self._edge.first_ns - now_ns, self._edge.period_ns
        self.is_before_edge, self.slack_ns = False, 0
        if not period_ns:
            due_ns = now_ns + self._jittered(self._search.wait_ns(now_ns, self.calls))
        elif ahead_ns > self.calls.close_ns:
            self.is_before_edge, due_ns = True, now_ns + ahead_ns
        else:
            wait_ns = self.calls.fine_ns(now_ns)
            overdue_ns = -ahead_ns - period_ns // MUCH_TOO_LATE
            if overdue_ns > 0:
                wait_ns = max(wait_ns, min(wait_ns + overdue_ns // SLOWER, period_ns))
            due_ns = now_ns + self._jittered(wait_ns)
        self.due_ns = due_ns if is_free is self.calls.is_free else 0  # another thread may have told to hurry

    def _jittered(self, wait_ns: int) -> int:
        return int(wait_ns * (1.0 - JITTER + 2.0 * JITTER * self._random()))

    def _aim(self, now_ns: int, outlook: Outlook) -> None:
        """Note when the register moves next, and how much sooner the first poll should come."""
        period_ns, next_ns = outlook.period_ns, outlook.next_edge_ns
        if period_ns is None or next_ns is None:
            self._edge = Edge()
            return
        spread_ns, fine_ns = outlook.spread_ns, self.calls.fine_ns(now_ns)
        # its answer is to come before the edge, and the poll may be late
        lead_ns = (spread_ns if spread_ns > fine_ns else fine_ns) + self.calls.call_ns + self._late_ns
        most_ns = int(LATEST_LEAD * period_ns)
        if lead_ns > most_ns:
            lead_ns = most_ns
        edge = self._edge
        edge.next_ns, edge.period_ns, edge.lead_ns, edge.first_ns = next_ns, period_ns, lead_ns, next_ns - lead_ns

    def _wait_before_ns(self, outlook: Outlook, ahead_ns: int, *, moved: bool, looks: int) -> int:
        """Time until the first poll near the next edge, or the only one that sees it."""
        calls, call_ns = self.calls, self.calls.call_ns
        edge = self._edge
        next_ns, lead_ns = edge.next_ns, edge.lead_ns
        self._moves += moved
        # calls around the edge, which may come sooner or later
        hunt_ns = 2 * call_ns + 2 * lead_ns * call_ns // (calls.close_ns + call_ns)
        spare_ns = calls.saved_ns(next_ns) - hunt_ns
        self.looks = moved and spare_ns >= 2 * call_ns and self._wants_look(looks)
        if self.looks:  # at a random moment: the load may be locked to the register's period
            return int(self._random() * ahead_ns)
        if not calls.is_free and outlook.is_sure and self._is_spared(spare_ns, is_sharp=outlook.is_sharp):
            if spare_ns < 0 or not self.hunts_always:
                self.slack_ns = round(SLACK * edge.period_ns)
            return self._wait_past_ns(ahead_ns)
        every = HUNT_SHARP_EVERY if self.hunts_always else HUNT_EVERY
        # never at the same distance, as updates may be early and late in turns
        self._edge.turn = self._moves + every // 2 + int(self._random() * (every + 1))
        skipped_ns = self._periods_to_save_ns(-spare_ns)
        self._single_polls, self._hunt_ns = 0, next_ns + skipped_ns
        if skipped_ns:  # this poll sees the moves that were left out, so it comes sooner before the edge
            return ahead_ns + skipped_ns - call_ns - lead_ns
        return ahead_ns

    def _wants_look(self, looks: int) -> bool:
        every = LOOK_EVERY if self.hunts_always else HUNT_EVERY
        return self._can_look and (looks < LOOKS_AT_FIRST or self._moves % every == 0)

    def _is_spared(self, spare_ns: int, *, is_sharp: bool) -> bool:
        """Return true if the next edge is not hunted: its turn has not come, or time is short."""
        if (is_sharp or not self.hunts_always) and self._moves < self._edge.turn:
            return True
        return spare_ns < 0 and self._single_polls < SINGLE_POLLS * (2 if is_sharp else 1)

    def _wait_past_ns(self, ahead_ns: int) -> int:
        """Time until a single poll that sees that the register moved; the line says when it did."""
        self.is_before_edge = False
        self._single_polls += 1
        edge = self._edge
        short_ns = self.calls.call_ns - self.calls.saved_ns(edge.next_ns + edge.lead_ns)
        return ahead_ns + 2 * edge.lead_ns + self._periods_to_save_ns(short_ns)

    def _periods_to_save_ns(self, short_ns: int) -> int:
        """The least number of whole periods in which so much time in calls is saved up; 0 where there is enough."""
        if short_ns <= 0:
            return 0
        return -(-self.calls.time_to_save_ns(short_ns) // self._edge.period_ns) * self._edge.period_ns
