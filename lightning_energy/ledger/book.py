"""One device's side of the ledger: the differences of its curve by account."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lightning_energy.curves.curve import Knots
from lightning_energy.curves.energy import MISSING
from lightning_energy.curves.power_series import ThinnedPower
from lightning_energy.ledger.booking import State, contents, still_holds, way_to_share, work_out
from lightning_energy.ledger.foreseen import Soon, foreseeable_ns
from lightning_energy.ledger.held import Held
from lightning_energy.ledger.kept import Kept
from lightning_energy.ledger.marks import AtMarks, Marks, Told
from lightning_energy.ledger.news import News

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from lightning_energy.curves.curve import Curve
    from lightning_energy.ledger.booking import Booking, Due
    from lightning_energy.ledger.foreseen import Foreseen
    from lightning_energy.ledger.sharing.classes import Classes
    from lightning_energy.ledger.sharing.sharing import Sharing
    from lightning_energy.ledger.spans import Span
    from lightning_energy.ledger.sums import Sums

__all__ = ["Book"]

NOTHING = Held.empty()
EXACT_S = 0.005  # longest period of a register that shows the energy at once


class Book:
    """Differences of one curve, by account.

    Attributes:
        curve: the curve.
        kept: what is booked, replaced as a whole: a signal handler in the middle of a booking sees the one before.
        so_far: the state of the curve at marks that were told and are not forgotten.
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
        self.kept = Kept(State.empty())
        self.so_far = Told(AtMarks.none())
        self.power = ThinnedPower()
        self._classes = classes
        self._trace = trace
        self._is_exact = is_exact or self._moves_at_any_poll
        self._for_now: Booking | None = None  # the last one for contents
        self._foreseen: Foreseen | None = None  # the last one that was made in time

    @property
    def told(self) -> int:
        """The number of marks of the run whose energy was told."""
        return self.so_far.end

    @property
    def is_cheap(self) -> bool:
        """True where nothing is looked for, or fitted, as the register shows the energy at once."""
        return self._is_exact() or self.kept.facts.is_exact

    @property
    def state(self) -> State:
        """Everything that is booked."""
        return self.kept.state

    @property
    def sharing(self) -> Sharing:
        """The way in which the joules are shared out."""
        return self.state.sharing

    @property
    def settled_ns(self) -> int | None:
        """The moment up to which the curve is known; ``None`` before the first booking."""
        return self.kept.facts.settled_ns

    def at_told(self, first: int, end: int) -> AtMarks:
        """The state of the curve at marks that were told; forgets those before.

        Args:
            first: number of the first one in the run.
            end: number behind the last one.
        """
        self.forget_told(first)
        return self.so_far.until(end)

    def forget_told(self, first: int) -> None:
        """Forget the state of the curve at marks before the one of this number in the run."""
        self.so_far = self.so_far.behind(first)

    def news(self, marks: Marks, until_ns: int | None, *, is_all: bool = False, since: Kept | None = None) -> News:
        """Knots and marks that became known, as :meth:`due`, since what is booked or was foreseen."""
        kept = self.kept if since is None else since
        facts = kept.facts
        begin = facts.passed - marks.dropped
        times, codes = marks.time_ns[begin:], marks.code[begin:]
        run, before = self._run(times, until_ns, facts.settled_ns)
        if not is_all:
            end = facts.settled_ns if len(run.time_ns) == before else int(run.time_ns[-1])
            n = 0 if end is None else int(np.searchsorted(times, end, side="right"))
            times, codes = times[:n], codes[:n]
        bounds_w, power_w = self.curve.power_bounds_w(), self.curve.last_power_w()
        tells_all = self._trace is not None
        return News(
            kept,
            run,
            before,
            times,
            codes,
            until_ns,
            is_all,
            self._is_exact(),
            bounds_w,
            power_w,
            tells_all=tells_all,
        )

    def due(self, marks: Marks, until_ns: int | None, *, is_all: bool = False) -> Due | None:
        """Knots and marks that became known, with those that are kept; ``None`` if there is no new knot.

        The lock is held.

        Args:
            marks: the marks that not every book has passed.
            until_ns: the end of the time whose marks are all known; ``None``: all.
            is_all: true to book every interval now, and to take marks behind the last knot.
        """
        news = self.news(marks, until_ns, is_all=is_all)
        return news.due(self._classes) if is_all or news.is_due else None

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
        knots, was = booking.due.held.knots, self.settled_ns
        since = 0 if was is None else int(np.searchsorted(knots.time_ns, was))
        state = booking.state
        if len(state.sums.energy_j) < accounts:
            sums = state.sums.copy()
            sums.grow(accounts)
            state = state._replace(sums=sums)
        told = self.so_far.followed_by(booking.at_marks)
        self._take(knots.part(slice(since, None)), int(was is not None), Kept(state), told)

    def take(self, news: News, kept: Kept, told: Told) -> None:
        """Book what was worked out of news elsewhere, once. The lock is held.

        Args:
            news: the news.
            kept: what is booked then.
            told: the state of the curve at marks that were told since.
        """
        if self.kept is news.kept:
            self._take(news.run, news.before, kept, self.so_far.continued(told))

    def _take(self, knots: Knots, before: int, kept: Kept, told: Told) -> None:
        """Replace what is booked, as knots are, the first ``before`` of which were."""
        if self._trace is not None:
            self._trace(knots, before)
        self.power.add(knots)
        # at once: a signal handler may raise between any two lines
        self.__dict__.update(kept=kept, so_far=told, _for_now=None, _foreseen=None)
        if knots.time_ns.size:
            self.curve.forget_before(int(knots.time_ns[-1]))

    def totals(self, marks: Marks, groups: NDArray[np.int64], now_ns: int) -> tuple[Sums, list[Span]]:
        """The contents of the accounts at a moment, and the missing time. Books nothing; the lock is held.

        Args:
            marks: the marks that not every book has passed.
            groups: for each account, the first one of its group.
            now_ns: the moment. Behind the last knot the power is assumed to go on.
        """
        foreseen = self._foreseen_of(marks, groups)
        if foreseen is not None:
            due = self.news(marks, now_ns, is_all=True, since=foreseen.kept).due(self._classes)
            found = foreseen.contents(due, groups, now_ns)
            if found is not None:
                return found
        due = self.news(marks, now_ns, is_all=True).due(self._classes)
        if self._for_now is None or not still_holds(self._for_now, due, groups):
            self._for_now = work_out(due, groups)
        return contents(due, self._for_now, groups, now_ns)

    def soon(self, marks: Marks, groups: NDArray[np.int64], now_ns: int) -> Soon:
        """Knots whose marks are all known, and marks, for :meth:`foresee`. The lock is held.

        Args:
            marks: the marks that not every book has passed.
            groups: for each account, the first one of its group.
            now_ns: the moment up to which all marks are known.
        """
        foreseen = self._foreseen_of(marks, groups)
        since = foreseen.kept if foreseen is not None and foreseen.is_base else None
        state = self.state if since is None else since.state
        until_ns = foreseeable_ns(state, now_ns, int(self.curve.knots().half_width_ns.max(initial=0)))
        if state.held.rules or state.held.parts:
            open_ns = self.news(marks, now_ns, is_all=True, since=since).due(self._classes).held.open_ns
            until_ns = until_ns if open_ns is None else min(until_ns, foreseeable_ns(state, open_ns - 1, 0))
        news = self.news(marks, until_ns, is_all=True, since=since)
        return Soon(self.kept, news, news.due(self._classes))

    def _foreseen_of(self, marks: Marks, groups: NDArray[np.int64]) -> Foreseen | None:
        """The contents that were foreseen, where they still hold."""
        found = self._foreseen
        if found is None or not found.holds(self.kept, marks, groups, is_exact=self._is_exact()):
            return None
        return found

    def foresee(self, foreseen: Foreseen | None) -> None:
        """Keep what was worked out for :meth:`totals` shortly after it. The lock is held.

        Args:
            foreseen: of :meth:`soon`.
        """
        self._foreseen = foreseen

    def as_booked(self, groups: NDArray[np.int64]) -> Callable[[], tuple[Sums, list[Span]]]:
        """A function that gives the contents as they are booked now, whenever it is called. The lock is held."""
        now_ns, held = self.settled_ns or 0, NOTHING
        bounds_w, power_w, is_exact = self.curve.power_bounds_w(), self.curve.last_power_w(), self._is_exact()
        news = News(
            self.kept,
            held.knots,
            0,
            held.time_ns,
            held.code,
            now_ns,
            is_all=True,
            is_exact=is_exact,
            bounds_w=bounds_w,
            power_w=power_w,
            tells_all=True,
        )

        def found() -> tuple[Sums, list[Span]]:
            due = news.due(self._classes)
            return contents(due, work_out(due, groups), groups, now_ns)

        return found

    def _run(self, marks_ns: NDArray[np.int64], until_ns: int | None, held_ns: int | None) -> tuple[Knots, int]:
        """The knots that are not held yet, up to the last that may be booked, behind that before them, if any."""
        curve = self.curve
        first = 0 if held_ns is None else curve.place_after(held_ns)
        end = len(curve) if until_ns is None else curve.place_after(until_ns)
        before = min(first, 1)
        run = curve.knots(first - before, max(first, end))
        if held_ns is None and run.time_ns.size and marks_ns.size and marks_ns[0] < run.time_ns[0]:
            return _missing_since(int(marks_ns[0]), run), 0
        return run, before

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
