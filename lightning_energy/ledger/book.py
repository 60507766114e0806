"""One device's side of the ledger: the differences of its curve by account."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lightning_energy.curves.curve import Knots
from lightning_energy.curves.energy import MISSING
from lightning_energy.curves.power_series import ThinnedPower
from lightning_energy.ledger.booking import Due, State, contents, since_booking, still_holds, way_to_share, work_out
from lightning_energy.ledger.marks import AtMarks

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from lightning_energy.curves.curve import Curve
    from lightning_energy.ledger.booking import Booking
    from lightning_energy.ledger.held import Held
    from lightning_energy.ledger.marks import Marks
    from lightning_energy.ledger.sharing.classes import Classes
    from lightning_energy.ledger.sharing.sharing import Sharing
    from lightning_energy.ledger.spans import Span
    from lightning_energy.ledger.sums import Sums

__all__ = ["Book"]

EXACT_S = 0.005  # longest period of a register that shows the energy at once


class Book:
    """Differences of one curve, by account.

    Attributes:
        curve: the curve.
        state: what is booked, replaced as a whole: a signal handler in the middle of a booking sees the one before.
        power: the power of what is booked, thinned.

    Args:
        curve: the curve; knots that are booked are forgotten.
        classes: the classes of work.
        trace: called with knots when they are booked, and with how many of them were before.
        is_exact: true when the curve's register shows the energy at once: its delay is not looked for.
    """

    def __init__(
        self,
        curve: Curve,
        classes: Classes,
        trace: Callable[[Knots, int], None] | None = None,
        is_exact: Callable[[], bool] | None = None,
    ) -> None:
        self.curve = curve
        self.state = State.empty()
        self.power = ThinnedPower()
        self._classes = classes
        self._trace = trace
        self._is_exact = is_exact or self._moves_at_any_poll
        self._at_marks = AtMarks.none()  # of marks that were told and are not forgotten
        self._forgotten = 0  # how many marks of the run were told before them
        self._for_now: Booking | None = None  # the last one for contents
        self._foreseen: Booking | None = None  # the last one that was made in time

    @property
    def told(self) -> int:
        """The number of marks of the run whose energy was told."""
        return self._forgotten + len(self._at_marks.energy_j)

    @property
    def sharing(self) -> Sharing:
        """The way in which the joules are shared out."""
        return self.state.sharing

    @property
    def settled_ns(self) -> int | None:
        """The moment up to which the curve is known; ``None`` before the first booking."""
        times_ns = self.state.held.knots.time_ns
        return int(times_ns[-1]) if times_ns.size else None

    def at_told(self, first: int, end: int) -> AtMarks:
        """The state of the curve at marks that were told; forgets those before.

        Args:
            first: number of the first one in the run.
            end: number behind the last one.
        """
        n = max(first - self._forgotten, 0)
        # at once, here and below: a signal handler may raise between any two lines
        self.__dict__.update(_at_marks=self._at_marks.part(slice(n, None)), _forgotten=self._forgotten + n)
        return self._at_marks.part(slice(end - first))

    def due(self, marks: Marks, until_ns: int | None, *, is_all: bool = False) -> Due | None:
        """Knots and marks that became known, with those that are kept; ``None`` if there is no new knot.

        The lock is held.

        Args:
            marks: the marks that not every book has passed.
            until_ns: the end of the time whose marks are all known; ``None``: all.
            is_all: true to book every interval now, and to take marks behind the last knot.
        """
        due = self._due(marks, until_ns, is_all=is_all)
        has_news = len(due.held.knots.time_ns) > len(self.state.held.knots.time_ns) and due.held.n > 0
        return due if is_all or has_news else None

    @staticmethod
    def late_s(due: Due) -> float:
        """Seconds until the counter has shown nearly all of the energy of a moment; 0 where that cannot be told.

        By the last look at the counter's delay, if there was one: the run's end takes a look of its own. Needs no lock,
        and changes nothing.
        """
        if due.state.sharing.looked:
            return due.state.sharing.late_s
        return way_to_share(due._replace(is_all=True, until_ns=None), due.held.is_known, with_kinds=False)[0].late_s

    def commit(self, booking: Booking, accounts: int) -> None:
        """Book it. The lock is held.

        Args:
            booking: of what was due.
            accounts: how many accounts there were then.
        """
        knots, was = booking.due.held.knots, self.state.held.knots.time_ns
        if self._trace is not None:
            since = int(np.searchsorted(knots.time_ns, was[-1])) if was.size else 0
            self._trace(knots.part(slice(since, None)), min(was.size, 1))
        self.power.add(knots)
        state = booking.state
        if len(state.sums.energy_j) < accounts:
            sums = state.sums.copy()
            sums.grow(accounts)
            state = state._replace(sums=sums)
        at_marks = self._at_marks.followed_by(booking.at_marks)
        self.__dict__.update(state=state, _at_marks=at_marks, _for_now=None, _foreseen=None)
        if knots.time_ns.size:
            self.curve.forget_before(int(knots.time_ns[-1]))

    def totals(self, marks: Marks, groups: NDArray[np.int64], now_ns: int) -> tuple[Sums, list[Span]]:
        """The contents of the accounts at a moment, and the missing time. Books nothing; the lock is held.

        Args:
            marks: the marks that not every book has passed.
            groups: for each account, the first one of its group.
            now_ns: the moment. Behind the last knot the power is assumed to go on.
        """
        due, foreseen = self._due(marks, now_ns, is_all=True), self._foreseen
        if self._for_now is None or not still_holds(self._for_now, due, groups):
            since = None if foreseen is None else since_booking(foreseen, due, groups)
            if foreseen is not None and since is not None:
                return contents(due, foreseen, groups, now_ns, since)
            self._for_now = work_out(due, groups)
        return contents(due, self._for_now, groups, now_ns)

    def due_now(self, marks: Marks, now_ns: int) -> Due:
        """Knots and marks that are known, for :meth:`foresee`. The lock is held.

        Args:
            marks: the marks that not every book has passed.
            now_ns: the moment.
        """
        return self._due(marks, now_ns, is_all=True)

    def foresee(self, booking: Booking) -> None:
        """Keep a booking for a moment for :meth:`totals` shortly after it. The lock is held.

        Args:
            booking: of :meth:`due_now`.
        """
        self._foreseen = booking

    def as_booked(self, groups: NDArray[np.int64]) -> Callable[[], tuple[Sums, list[Span]]]:
        """A function that gives the contents as they are booked now, whenever it is called. The lock is held."""
        due = self._as_due(self.state.held, self.state.passed, self.settled_ns or 0, is_all=True)
        return lambda: contents(due, work_out(due, groups), groups, due.until_ns or 0)

    def _due(self, marks: Marks, until_ns: int | None, *, is_all: bool) -> Due:
        """Knots and marks that are known, as :meth:`due`."""
        held, passed = self.state.held, self.state.passed
        begin = passed - marks.dropped
        times, codes = marks.time_ns[begin:], marks.code[begin:]
        knots = self._new_knots(times, until_ns)
        if not is_all:
            end = int(np.searchsorted(times, knots.time_ns[-1], side="right")) if len(knots.time_ns) else 0
            times, codes = times[:end], codes[:end]
        classes, position = self._classes.of(codes, held.end)
        held = held.followed_by(knots, times, codes, classes, position)
        return self._as_due(held, passed + len(times), until_ns, is_all=is_all)

    def _as_due(self, held: Held, passed: int, until_ns: int | None, *, is_all: bool) -> Due:
        bounds_w, power_w = self.curve.power_bounds_w(), self.curve.last_power_w()
        is_exact = self._is_exact()
        classes = self._classes
        return Due(
            self.state,
            held,
            passed,
            classes,
            classes.stage,
            until_ns,
            is_all,
            is_exact,
            bounds_w,
            power_w,
            tells_all=self._trace is not None,
        )

    def _new_knots(self, marks_ns: NDArray[np.int64], until_ns: int | None) -> Knots:
        """The knots that are not held yet, up to the last that may be booked."""
        knots, held_ns = self.curve.knots(), self.state.held.knots.time_ns
        first = int(np.searchsorted(knots.time_ns, held_ns[-1], side="right")) if held_ns.size else 0
        end = len(knots.time_ns) if until_ns is None else int(np.searchsorted(knots.time_ns, until_ns, side="right"))
        news = knots.part(slice(first, max(first, end)))
        if not held_ns.size and news.time_ns.size and marks_ns.size and marks_ns[0] < news.time_ns[0]:
            return _missing_since(int(marks_ns[0]), news)
        return news

    def _moves_at_any_poll(self) -> bool:
        info = self.curve.info
        return info.quality == "estimated" or (info.update_period_s is not None and info.update_period_s <= EXACT_S)


def _missing_since(first_ns: int, knots: Knots) -> Knots:
    """Knots of a curve that begins after the first mark: the energy until then is missing."""
    return Knots(
        np.concatenate([[first_ns], knots.time_ns]),
        np.concatenate([knots.energy_j[:1], knots.energy_j]),
        np.concatenate([[0], knots.half_width_ns]),
        np.concatenate([[0, MISSING], knots.quality[1:]]),
        np.concatenate([knots.variance_j2[:1], knots.variance_j2]),
    )
