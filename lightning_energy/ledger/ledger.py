"""Books the joules of every curve to accounts: epoch x stage x step-or-gap, perhaps by phases.

The training thread only leaves marks (a time stamp and an account). Later, in the sampler's thread, each
mark is looked up on each curve, and the energy between two neighbouring marks goes to the account that was in
force between them. Every account is a difference on a curve, so together they are the curve's rise exactly.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from functools import partial
from itertools import zip_longest
from typing import TYPE_CHECKING

from lightning_energy.ledger.accounts import NO_ACCOUNT, Accounts
from lightning_energy.ledger.book import Book
from lightning_energy.ledger.booking import no_pause, work_out
from lightning_energy.ledger.elsewhere import Task
from lightning_energy.ledger.expected import Expected
from lightning_energy.ledger.foreseen import Foreseen
from lightning_energy.ledger.forks import without_forks
from lightning_energy.ledger.marks import AtMarks, Inbox
from lightning_energy.ledger.marks_by_clock import MarksByClock
from lightning_energy.ledger.sharing.classes import Classes
from lightning_energy.ledger.steps import KnownSteps
from lightning_energy.ledger.totals import Totals
from lightning_energy.meters.clock import monotonic_ns

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lightning_energy.curves.curve import Curve, Knots
    from lightning_energy.ledger.accounts import Kind
    from lightning_energy.ledger.booking import Booking, Due, Pause
    from lightning_energy.ledger.device_clock import DeviceClock
    from lightning_energy.ledger.elsewhere import Answer, Elsewhere
    from lightning_energy.ledger.news import News
    from lightning_energy.ledger.spans import Span
    from lightning_energy.ledger.steps import Steps
    from lightning_energy.ledger.sums import Sums
    from lightning_energy.ledger.trace import Columns, Trace

__all__ = ["Ledger"]

LATE_NS = 20_000_000  # longest time from a mark's time stamp to its arrival in the inbox


class _BesideError(Exception):
    """The process beside takes work from now on: a search for the counter's delay takes long here, and little there."""


class Ledger:
    """Accounts of a run.

    Attributes:
        inbox: takes the marks, the only part that the training thread uses at every step.
        lock: guards the curves and everything here except :attr:`inbox`.
        accounts: the table of accounts.
        classes: the classes of work, each of which has a mean power.
        marks: the marks that are not booked everywhere.
        books: one per curve.
        steps: the training steps that became known.
        expected: whether totals will be asked for in a moment: no booking comes between.
        trace: collects the booked knots and marks; ``None`` where nothing is collected.

    Args:
        curves: one per device; the sampler appends to them under ``lock``.
        lock: see there; by default one of its own.
        clock: the monotonic clock in nanoseconds.
        device_clock: says when a device that runs behind the host reached a mark; ``None`` without one.
        on_device: for each curve, true where marks count when that device reached them; by default nowhere.
        is_exact: for each curve, asked for a register that shows the energy at once; by default the meter's description
            decides.
        trace: see there.
        elsewhere: works out bookings in a process beside; ``None``: in the thread that settles.

    Example:
        >>> from lightning_energy.curves.curve import Curve
        >>> from lightning_energy.meters import ReplayMeter
        >>> curve, now = Curve(ReplayMeter(100.0).open()), iter([10**9, 2 * 10**9, 4 * 10**9])
        >>> ledger = Ledger([curve], clock=lambda: next(now))
        >>> ledger.mark(ledger.code(0, "train", "step"))  # at 1 s
        >>> ledger.mark(ledger.code(0, "train", "gap"))  # at 2 s
        >>> for second in range(6):
        ...     curve.add(second * 10**9, 100.0 * second)
        >>> ledger.settle(final=True)
        >>> ledger.totals(4 * 10**9).energy(kind="step").energy_j
        100.0
    """

    def __init__(
        self,
        curves: Sequence[Curve],
        *,
        lock: threading.RLock | None = None,
        clock: Callable[[], int] = monotonic_ns,
        device_clock: DeviceClock | None = None,
        on_device: Sequence[bool] = (),
        is_exact: Sequence[Callable[[], bool]] = (),
        trace: Trace | None = None,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        self._elsewhere = elsewhere
        self.lock = lock or threading.RLock()
        self.trace = trace
        self.accounts = Accounts(self.lock)
        self.classes = Classes(self.accounts)
        self.books = [
            Book(curve, self.classes, _tap(trace, device), exact)
            for device, (curve, exact) in enumerate(zip_longest(curves, is_exact))
        ]
        self.marks = MarksByClock([*on_device] or [False] * len(self.books), device_clock)
        self.steps = KnownSteps()
        stamp = None if device_clock is None else device_clock.stamp
        self.inbox = Inbox([], clock, stamp) if self.books else Inbox.nowhere(clock)
        self._clock = clock
        self._turn = 0
        self._answer: Answer | None = None  # while it is taken
        self._completed = 0  # how many marks of the run every book has passed
        self.expected = Expected(clock)
        self._last: Totals | list[Callable[[], tuple[Sums, list[Span]]]] = Totals([NO_ACCOUNT], [], [], [])

    def mark(self, code: int) -> None:
        """Let joules belong to an account from now on (0: none). Takes no lock."""
        marks, clock, stamp = self.inbox
        now_ns = clock()
        marks.extend((now_ns, code) if stamp is None else (now_ns, code, stamp(now_ns)))

    def code(self, epoch: int, stage: str, kind: Kind, phase: str = "") -> int:
        """The number that stands for an account in :meth:`mark`."""
        return self.accounts.code(epoch, stage, kind, phase)

    def apart(self, code: int) -> int:
        """A new account beside ``code``, of the same epoch and stage, which :meth:`rename` may move later."""
        return self.accounts.apart(code)

    def rename(self, code: int, stage: str) -> None:
        """Move an account from :meth:`apart`, with all that was and will be booked to it, to another stage."""
        self.accounts.rename(code, stage)

    @property
    def has_device_clock(self) -> bool:
        """True where marks count when a device reached them."""
        return self.inbox.stamp is not None

    @property
    def waiting(self) -> int:
        """The number of marks that were left and not read."""
        return len(self.inbox.marks) // self.inbox.width

    def read_marks(self) -> None:
        """Take the marks that were left; they are booked later."""
        with self.lock:
            self.marks.read(self.inbox)

    def settle(self, *, final: bool = False, pause: Pause = no_pause) -> None:
        """Book the intervals that became known since the last call; holds the lock at its beginning and end only.

        Of calls that overlap, the last to begin books. Totals that are expected in a moment come first: what was
        foreseen of them does not hold after a booking.

        Args:
            pause: called between parts of the work; without it, totals that are expected are not waited for.
            final: no mark is on its way any more (nothing else runs), so that the very last knots count, too.
        """
        self.expected.let_pass(self.foresee, pause)
        with self.lock:
            self._take()
            # the time before the inbox is read: later marks are later than this
            until_ns = None if final else self._clock() - LATE_NS
            self.marks.read(self.inbox)
        beside = None if final else self.beside
        if beside is None:  # with a process beside, a pause costs more than what it parts
            pause()
        with self.lock:
            groups = self.accounts.arrays.group
            self._turn = turn = self._turn + 1
            news = self._news(until_ns, is_last=final)
            task = (
                None
                if beside is None or all(n is None or n.is_cheap for n in news)
                else _task(self, news, self._completed)
            )
            due = self._due(news) if task is None else []
        answer = None if beside is None or task is None else beside.work_out(task, pause)
        if answer is None and task is not None:
            with self.lock:
                due = self._due(news)
        bookings: list[tuple[Book, Booking]] = []
        if answer is None:
            between = pause if beside is not None or final else partial(_pause_here, self, pause)
            turn_taken = without_forks(between, is_background=pause is not no_pause)
            with suppress(_BesideError), turn_taken as let_fork:  # the rest is its own, at the next call
                let_fork()
                for book, each in due:
                    bookings.append((book, work_out(each, groups, let_fork)))
            pause()
        self.expected.let_pass(self.foresee, pause)
        with self.lock:
            if turn != self._turn:  # another call began meanwhile, as this thread had been given up: it books
                return
            self._answer = answer
            self._take()
            for book, booking in bookings:
                book.commit(booking, len(groups))
            self._complete()
            if bookings or answer is not None:
                self._last = [book.as_booked(groups) for book in self.books]

    def totals(self, now_ns: int | None = None) -> Totals:
        """The contents of the accounts at ``now_ns``. Waits for nothing.

        Behind a curve's last knot its last power is assumed to go on, with the uncertainty of that; marks that the
        device has not reached count as reached now. Where :attr:`is_interrupted`, the last contents that were whole.
        """
        if self.is_interrupted:
            last = self._last
            return last if isinstance(last, Totals) else _totals(self, [as_booked() for as_booked in last])
        with self.lock:
            self.expected.end()
            self._take()
            now_ns = self._clock() if now_ns is None else now_ns
            self.marks.read(self.inbox)
            groups = self.accounts.arrays.group
            marks = self.marks.as_if_reached(now_ns)
            found = [book.totals(of_book, groups, now_ns) for book, of_book in zip(self.books, marks, strict=True)]
            self._last = totals = _totals(self, found)
            return totals

    def foresee(self, pause: Pause = no_pause) -> None:
        """Work out now what totals that are expected need, once; holds the lock at its beginning and end only.

        Args:
            pause: called between parts of the work.
        """
        if self.expected.is_new:
            with self.expected.attempt():
                self._foresee(pause)

    def _foresee(self, pause: Pause) -> None:
        with self.lock:
            now_ns = self._clock() - LATE_NS  # as in a booking: a mark of before may be on its way
            self.marks.read(self.inbox)
            groups = self.accounts.arrays.group
            marks, soon = self.marks, []
            for curve, book in enumerate(self.books):  # without marks that the device has not reached: they will move
                known_ns = marks.limit_ns(curve, now_ns)
                soon.append((book, book.soon(marks.of_curve(curve), groups, known_ns or now_ns)))
        for book, of_book in soon:
            pause()
            with without_forks(pause, is_background=pause is not no_pause) as let_fork:
                foreseen = Foreseen.of(of_book, groups, let_fork)
            pause()
            with self.lock:
                book.foresee(foreseen)

    @property
    def is_interrupted(self) -> bool:
        """True where this thread holds the lock already: in a signal handler, amidst work that is half done."""
        try:
            threading.Condition(self.lock).notify(0)
        except RuntimeError:  # it does not hold it
            return False
        return True

    def latest_s(self) -> float:
        """The longest time in seconds after which a counter shows the energy of a moment, as far as it can be told."""
        with self.lock:
            self._take()
            self.marks.read(self.inbox)
            due = [(b, b.due(self.marks.of_curve(d), None, is_all=True)) for d, b in enumerate(self.books)]
        return max((book.late_s(news) for book, news in due if news is not None), default=0.0)

    def take_steps(self) -> Steps | None:
        """The training steps that became known since the last call, without those of missing time; ``None``: none."""
        with self.lock:
            self._take()
            return self.steps.take()

    def take_trace(self) -> tuple[Columns, Columns] | None:
        """Curve and steps since the last call; ``None`` without a :class:`~lightning_energy.ledger.trace.Trace`."""
        with self.lock:
            self._take()
            if self.trace is None:
                return None
            return self.trace.take_curve(), self.trace.take_steps(self.accounts.rows)

    @property
    def beside(self) -> Elsewhere | None:
        """The process beside, where it takes work; it is started where there may be some."""
        elsewhere = self._elsewhere
        if elsewhere is None or all(book.is_cheap for book in self.books):
            return None
        return elsewhere if elsewhere.is_there else None

    def _news(self, until_ns: int | None, *, is_last: bool) -> list[News | None]:
        """For each book what is to be booked, if anything; from now on no late mark moves into it."""
        found: list[News | None] = []
        for curve, book in enumerate(self.books):
            marks = self.marks.of_curve(curve)
            news = book.news(marks, self.marks.limit_ns(curve, until_ns), is_all=is_last)
            found.append(news if is_last or news.is_due else None)
            if found[-1] is not None and news.end_ns is not None:
                marks.close(news.end_ns)
        return found

    def _due(self, news: Sequence[News | None]) -> list[tuple[Book, Due]]:
        """The same, with what is kept. The lock is held."""
        return [(b, each.due(self.classes)) for b, each in zip(self.books, news, strict=True) if each is not None]

    def _take(self) -> None:
        """Take an answer of a process beside; the rest of it where a signal handler raised before all was taken."""
        answer = self._answer
        if answer is None:
            return
        for number, (news, kept, told) in answer.books.items():
            self.books[number].take(news, kept, told)
        first, end, marks = answer.first, answer.completed, self.marks.slowest
        if end > first and end > self._completed:
            if self.trace is not None and answer.at_marks is not None:
                rows = slice(first - marks.dropped, end - marks.dropped)
                self.trace.add_marks(marks.time_ns[rows], marks.code[rows], answer.at_marks, first=first)
            self.steps.go_on(answer.looked, answer.look)
            self._completed = end
        self.marks.drop_before(self._completed)
        for book in self.books:
            book.forget_told(self._completed)
        self._answer = None

    def _complete(self) -> None:
        """Turn marks that every book has passed into steps, and forget them."""
        first = self._completed
        self.marks.drop_before(first)  # where a signal handler raised before they were forgotten
        marks = self.marks.slowest
        end = min((b.told for b in self.books), default=marks.dropped + len(marks.code))
        if end <= first:
            return
        if self.books:
            time_ns, code = marks.time_ns[: end - first], marks.code[: end - first]
            at_marks = AtMarks.together([b.at_told(first, end) for b in self.books])
            if self.trace is not None:
                self.trace.add_marks(time_ns, code, at_marks, first=first)
            self.steps.find(time_ns, code, at_marks, self.accounts.arrays, first=first)
        self._completed = end
        self.marks.drop_before(end)


def _pause_here(ledger: Ledger, pause: Pause) -> None:
    """Pause amidst the work in this thread, perhaps to look ahead; end it once the process beside is there."""
    pause()
    ledger.foresee(pause)
    if ledger.beside is not None:
        raise _BesideError


def _task(ledger: Ledger, news: Sequence[News | None], completed: int) -> Task:
    """All that a process beside has to know. The lock is held."""
    by_clock = ledger.marks.by_clock
    if any(each is not None and each.code.size for each in news):  # else none is asked for yet, as in this thread
        ledger.classes.extend()
    return Task(
        [(book.kept, book.so_far) for book in ledger.books],
        news,
        by_clock,
        [int(is_device) for is_device in ledger.marks.on_device],
        len(by_clock) - 1,
        completed,
        ledger.steps.look,
        ledger.classes,
        ledger.accounts.arrays,
        tells_all=ledger.trace is not None,
    )


def _totals(ledger: Ledger, found: Sequence[tuple[Sums, Sequence[Span]]]) -> Totals:
    """Totals of the books' sums, which are given away, and of their missing time. The lock is held."""
    rows, infos = ledger.accounts.rows, [book.curve.info for book in ledger.books]
    for sums, _ in found:
        sums.grow(len(rows))
    return Totals(
        rows,
        [sums for sums, _ in found],
        [info.calibration_u for info in infos],
        [info.name for info in infos],
        [missing_ns for _, missing_ns in found],
        columns=ledger.accounts.columns,
    )


def _tap(trace: Trace | None, device: int) -> Callable[[Knots, int], None] | None:
    return None if trace is None else lambda knots, told: trace.add_knots(device, knots, told=told)
