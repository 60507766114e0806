"""One device's side of the ledger: the differences of its curve by account."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lightning_energy.curves.curve import Knots
from lightning_energy.curves.energy import MISSING
from lightning_energy.ledger.accounts import OUTSIDE
from lightning_energy.ledger.held import Held
from lightning_energy.ledger.lines import line_shares
from lightning_energy.ledger.marks import AtMarks
from lightning_energy.ledger.pieces import Marked, Pieces
from lightning_energy.ledger.sharing.contents import Contents
from lightning_energy.ledger.sharing.delay import ENOUGH, EXACT, UNKNOWN, Belief, Found
from lightning_energy.ledger.sharing.kernel import AT_ONCE
from lightning_energy.ledger.sharing.powers import Powers, fit
from lightning_energy.ledger.sharing.split import Split, kernels_of
from lightning_energy.ledger.spans import joined
from lightning_energy.ledger.sums import Sums
from lightning_energy.ledger.tail import Tail
from lightning_energy.ledger.told import energy_at_marks
from lightning_energy.meters.units import NS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lightning_energy.curves.curve import Curve
    from lightning_energy.ledger.marks import Marks
    from lightning_energy.ledger.sharing.classes import Classes
    from lightning_energy.ledger.sharing.kernel import Kernel
    from lightning_energy.ledger.spans import Span

__all__ = ["Book", "Booking", "Due", "Pause", "Sharing", "no_pause"]

Pause = Callable[[], None]

MOST_HELD = 1024  # intervals that are held until the counter's delay is known, at most
LOOKS_AT = (64, 256, MOST_HELD)  # numbers of intervals at which the delay is looked for
CHUNK = 64  # intervals that are booked together
HISTORY_NS = 3_000_000_000  # time before the intervals to book, whose marks are kept: counters are late, and remember
PATIENCE_NS = 10_000_000_000  # longest time for which steps are not told, until the counter's delay is known
FIT_AGAIN = 1.1  # factor by which the intervals grow until powers are fitted anew
EXACT_S = 0.005  # longest period of a register that shows the energy at once


def no_pause() -> None:
    """Go on at once."""


class Due(NamedTuple):
    """Knots and marks that are known.

    Attributes:
        held: all of them that are kept.
        stage: the stage of each class.
        passed: how many marks of the run are among them, or were.
        until_ns: the end of the time whose marks are all known; ``None``: all.
        is_all: true to book every interval now.
    """

    held: Held
    stage: NDArray[np.int64]
    passed: int
    until_ns: int | None
    is_all: bool

    @property
    def is_last(self) -> bool:
        """True where nothing comes any more."""
        return self.is_all and self.until_ns is None

    def last(self, lag_ns: int) -> int:
        """The number of the last knot all of whose marks are known, with a counter that is late by ``lag_ns``."""
        times_ns = self.held.knots.time_ns
        if not times_ns.size or self.is_last:
            return self.held.n
        limit_ns = int(times_ns[-1]) if self.until_ns is None else self.until_ns
        if not self.is_all:
            limit_ns = min(limit_ns, int(times_ns[-1]))
        return max(int(np.searchsorted(times_ns - lag_ns, limit_ns, side="right")) - 1, 0)


class Sharing(NamedTuple):
    """The way in which a device's joules are shared out.

    Attributes:
        booked: the kernel of the split.
        known: what is known of it now.
        powers: fitted powers; ``None`` before they can be fitted: straight lines.
        looked: number of intervals when the delay was looked for last.
        is_final: true when the kernel of the split does not change any more.
    """

    booked: Found = UNKNOWN._replace(kernel=AT_ONCE)
    known: Found = UNKNOWN
    powers: Powers | None = None
    looked: int = 0
    is_final: bool = False

    @property
    def late_s(self) -> float:
        """Seconds until the counter has shown nearly all of the energy of a moment."""
        kernel = self.known.kernel
        return max(kernel.lag_s, 0.0) + 5 * kernel.ema_s

    @property
    def lag_ns(self) -> int:
        """The delay by which intervals are booked."""
        return round(self.booked.kernel.lag_s / NS)


class Booking(NamedTuple):
    """Everything that :meth:`Book.commit` needs to book intervals.

    Attributes:
        due: the knots and marks.
        held: those that are kept.
        sums: times of the accounts, and joules of intervals that are shared out by straight lines.
        split: the other intervals.
        sharing: how these are shared out.
        joined: how often blocks of the split were joined when powers were fitted.
        at_marks: the state of the curve at marks that were not told before.
        missing_ns: stretches of missing time up to the end.
    """

    due: Due
    held: Held
    sums: Sums
    split: Split
    sharing: Sharing
    joined: int
    at_marks: AtMarks
    missing_ns: list[Span]


class Book:
    """Differences of one curve, by account.

    Attributes:
        curve: the curve.
        held: knots and marks that are kept.
        sums: see :class:`Booking`.
        split: see there.
        sharing: see there.
        settled_ns: the moment up to which the curve is known; ``None`` before the first booking.
        passed: how many marks of the run are in :attr:`held`, or were.
        missing_ns: stretches of missing time within accounts.

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
        self.held = Held.empty()
        self.sums = Sums.zeros()
        self.split = Split([AT_ONCE])
        self.sharing = Sharing()
        self.settled_ns: int | None = None
        self.passed = 0
        self.missing_ns: list[Span] = []
        self._classes = classes
        self._trace = trace
        self._is_exact = is_exact or self._moves_at_any_poll
        self._belief = Belief()
        self._joined = 0
        self._at_marks = AtMarks.none()  # of marks that were told and not taken

    @property
    def untaken(self) -> int:
        """The number of marks whose energy was told and not taken yet."""
        return len(self._at_marks.energy_j)

    @property
    def code(self) -> int:
        """The account that is in force at the end of what is kept."""
        return self.held.end.code

    def take_passed(self, n: int) -> AtMarks:
        """The state of the curve at the first ``n`` marks that were told; drops them."""
        taken, self._at_marks = self._at_marks.part(slice(n)), self._at_marks.part(slice(n, None))
        return taken

    def due(self, marks: Marks, until_ns: int | None, *, is_all: bool = False) -> Due | None:
        """Knots and marks that became known, with those that are kept; ``None`` if there is no new knot.

        The lock is held.

        Args:
            marks: the marks that not every book has passed.
            until_ns: the end of the time whose marks are all known; ``None``: all.
            is_all: true to book every interval now, and to take marks behind the last knot.
        """
        begin = self.passed - marks.dropped
        times, codes = marks.time_ns[begin:], marks.code[begin:]
        knots = self._new_knots(times, until_ns)
        if not is_all:
            if not len(knots.time_ns):
                return None
            end = int(np.searchsorted(times, knots.time_ns[-1], side="right"))
            times, codes = times[:end], codes[:end]
        classes, position = self._classes.of(codes, self.held.end)
        held = self.held.followed_by(knots, times, codes, classes, position)
        if held.n == 0 and not is_all:
            return None
        return Due(held, self._classes.stage, self.passed + len(times), until_ns, is_all)

    def late_s(self, due: Due) -> float:
        """Seconds until the counter has shown nearly all of the energy of a moment; 0 where that cannot be told.

        Needs no lock, and changes nothing.
        """
        return self._looked(due._replace(is_all=True, until_ns=None), due.held.is_known)[0].late_s

    def work_out(self, due: Due, groups: NDArray[np.int64], pause: Pause = no_pause) -> Booking:
        """Work out the sums of intervals that are due. Changes nothing, and needs no lock.

        Args:
            due: from :meth:`due`.
            groups: for each account, the first one of its group.
            pause: called between parts of the work.
        """
        held, is_known = due.held, due.held.is_known
        sharing, is_anew = self._looked(due, is_known)
        pause()
        if sharing.is_final and is_anew and is_known.sum() < ENOUGH:
            is_known = np.zeros(held.n, dtype=bool)  # too few to fit anything: straight lines
        lag_ns = sharing.lag_ns
        first, last = 0 if is_anew else held.booked, due.last(lag_ns)
        if not (is_anew or due.is_all or last - first >= CHUNK):
            last = first
        sums = Sums.zeros() if is_anew else self.sums
        split = Split(_kernels(sharing)) if is_anew or not self.split.n else self.split
        missing_ns = [] if is_anew else self.missing_ns
        if last > first:
            rows = slice(first, last)
            sums, split = sums.copy(), split.copy()
            pieces = self._add_lines(sums, held, rows, lag_ns, groups, ~is_known)
            is_missing = (pieces.quality == MISSING) & (pieces.code != OUTSIDE)
            missing_ns = joined(missing_ns, pieces.cut_ns, is_missing) if is_missing.any() else missing_ns
            pause()
            self._add_split(split, due, rows, is_known, sharing)
            pause()
        sharing, joins = self._fitted(split, sharing, is_last=due.is_last)
        told = held.told
        if held.n and _may_tell(held, sharing, is_known, is_last=due.is_last):
            until_ns = int(held.knots.time_ns[-1]) - (0 if due.is_last else max(lag_ns, 0))
            told = max(int(np.searchsorted(held.time_ns, until_ns, side="right")), told)
        bounds_w = self.curve.power_bounds_w()
        at_marks = energy_at_marks(held, slice(held.told, told), due.stage, sharing.booked, sharing.powers, bounds_w)
        kept = _trimmed(held._replace(booked=max(last, first), told=told), lag_ns, sharing)
        return Booking(due, kept, sums, split, sharing, joins, at_marks, missing_ns)

    def commit(self, booking: Booking, accounts: int) -> None:
        """Book it. The lock is held.

        Args:
            booking: from :meth:`work_out`.
            accounts: how many accounts there were then.
        """
        knots, was = booking.due.held.knots, self.held.knots.time_ns
        if self._trace is not None:
            since = int(np.searchsorted(knots.time_ns, was[-1])) if was.size else 0
            self._trace(Knots(*(getattr(knots, f)[since:] for f in Knots.__slots__)), min(was.size, 1))
        self.held, self.sums, self.split = booking.held, booking.sums, booking.split
        self.sums.grow(accounts)
        self.sharing, self._joined = booking.sharing, booking.joined
        self.missing_ns, self.passed = booking.missing_ns, booking.due.passed
        self._at_marks = self._at_marks.followed_by(booking.at_marks)
        if not len(knots.time_ns):
            return
        self.settled_ns = int(knots.time_ns[-1])
        self.curve.forget_before(self.settled_ns)

    def totals(self, marks: Marks, groups: NDArray[np.int64], now_ns: int) -> tuple[Sums, list[Span]]:
        """The contents of the accounts at a moment, and the missing time. Books nothing; the lock is held.

        Args:
            marks: the marks that not every book has passed.
            groups: for each account, the first one of its group.
            now_ns: the moment. Behind the last knot the power is assumed to go on.
        """
        due = self.due(marks, now_ns, is_all=True)
        booking = self.work_out(due, groups)
        held, sums, split, sharing = due.held, booking.sums.copy(), booking.split, booking.sharing
        sums.grow(len(groups))
        lag_ns = sharing.lag_ns
        since_ns = int(held.knots.time_ns[due.last(lag_ns)]) - lag_ns if held.n else None
        tail = Tail(self.curve, held, since_ns, now_ns)
        tail.add_time(sums)
        if sharing.powers is None:
            if split.n:  # too few to fit powers to: straight lines, for now
                rows = slice(0, due.last(lag_ns))
                self._add_lines(sums, held, rows, lag_ns, groups, held.is_known, with_time=False)
            tail.add_line(sums, groups)
        else:
            ahead = tail.ahead(len(due.stage))
            sums.fitted = Contents(split, sharing.powers, sharing.booked, sharing.known, ahead)
        return sums, tail.missing_ns(booking.missing_ns)

    def _new_knots(self, marks_ns: NDArray[np.int64], until_ns: int | None) -> Knots:
        """The knots that are not held yet, up to the last that may be booked."""
        knots, held_ns = self.curve.knots(), self.held.knots.time_ns
        first = int(np.searchsorted(knots.time_ns, held_ns[-1], side="right")) if held_ns.size else 0
        end = len(knots.time_ns) if until_ns is None else int(np.searchsorted(knots.time_ns, until_ns, side="right"))
        news = Knots(*(getattr(knots, f)[first : max(first, end)] for f in Knots.__slots__))
        if not held_ns.size and news.time_ns.size and marks_ns.size and marks_ns[0] < news.time_ns[0]:
            return _missing_since(int(marks_ns[0]), news)
        return news

    def _looked(self, due: Due, is_known: NDArray[np.bool_]) -> tuple[Sharing, bool]:
        """The way to share, and whether intervals that are held are to be booked anew by it."""
        sharing, held, n = self.sharing, due.held, int(is_known.sum())
        if sharing.is_final:
            return sharing, False
        is_full = held.n >= MOST_HELD
        if self._is_exact():
            return Sharing(EXACT, EXACT, looked=n, is_final=n >= CHUNK or is_full), sharing.booked is not EXACT
        is_last = due.is_last and n >= ENOUGH and n > sharing.looked
        if not (is_full or is_last or any(sharing.looked < number <= n for number in LOOKS_AT)):
            return sharing, False
        origin_ns = int(held.knots.time_ns[0])
        found = Belief().find(held.stretch(origin_ns, due.stage, origin_ns - HISTORY_NS))
        if found is None:
            return sharing._replace(is_final=is_full), is_full
        return Sharing(found, found, looked=n, is_final=is_full or found.is_enough), True

    def _add_lines(
        self,
        sums: Sums,
        held: Held,
        rows: slice,
        lag_ns: int,
        groups: NDArray[np.int64],
        by_line: NDArray[np.bool_],
        *,
        with_time: bool = True,
    ) -> Pieces:
        """Add times, and the joules of some intervals by straight lines, to ``sums``."""
        knots = _shifted(held.knots, rows, lag_ns)
        begin, end = (int(x) for x in np.searchsorted(held.time_ns, knots.time_ns[[0, -1]], side="right"))
        due = Marked(knots, held.time_ns[begin:end], held.code[begin:end])
        pieces = Pieces.of(due, held.code_before(int(knots.time_ns[0])))
        bounds_w = self.curve.power_bounds_w()
        sums.add(line_shares(knots, pieces, groups, bounds_w, by_line=by_line[rows], with_time=with_time), len(groups))
        return pieces

    def _add_split(self, split: Split, due: Due, rows: slice, is_known: NDArray[np.bool_], sharing: Sharing) -> None:
        """Add intervals whose joules are shared out by fitted powers to ``split``."""
        held = due.held
        origin_ns = int(held.knots.time_ns[rows.start])
        since_ns = origin_ns - HISTORY_NS
        stretch = held.stretch(origin_ns, due.stage, since_ns)._replace(is_known=is_known)
        timeline, columns = held.timeline(origin_ns, since_ns)
        powers = sharing.powers or self.sharing.powers
        split.add(stretch, columns, timeline, rows, None if powers is None else powers.overall_w)

    def _fitted(self, split: Split, sharing: Sharing, *, is_last: bool) -> tuple[Sharing, int]:
        """The sharing with powers that are fitted anew where enough has come since."""
        old = sharing.powers
        if split.n < ENOUGH:
            return sharing._replace(powers=None), split.joined
        is_new = old is None or split.joined != self._joined or split.n >= FIT_AGAIN * old.n
        if not is_new and not (is_last and split.n > old.n):
            return sharing, split.joined
        powers = fit([block.normals for block in split.blocks], self.curve.power_bounds_w()[1])
        return sharing._replace(powers=powers), split.joined

    def _moves_at_any_poll(self) -> bool:
        info = self.curve.info
        return info.quality == "estimated" or (info.update_period_s is not None and info.update_period_s <= EXACT_S)


def _kernels(sharing: Sharing) -> list[Kernel]:
    """The kernels to book by: that of a register which shows the energy at once has no neighbours."""
    return [sharing.booked.kernel] if sharing.booked is EXACT else kernels_of(sharing.booked)


def _may_tell(held: Held, sharing: Sharing, is_known: NDArray[np.bool_], *, is_last: bool) -> bool:
    """True unless the counter's delay will be known soon: single steps are told once, and late ones would be wrong."""
    if sharing.looked or is_last or not is_known.any():
        return True
    needs_ns = LOOKS_AT[0] * float(np.diff(held.knots.time_ns)[is_known].mean())
    return needs_ns > PATIENCE_NS or held.knots.time_ns[-1] - held.knots.time_ns[0] >= PATIENCE_NS


def _shifted(knots: Knots, rows: slice, lag_ns: int) -> Knots:
    """The knots of some intervals, at the moments whose energy they show."""
    part = Knots(*(getattr(knots, f)[rows.start : rows.stop + 1] for f in Knots.__slots__))
    return replace(part, time_ns=part.time_ns - lag_ns)


def _trimmed(held: Held, lag_ns: int, sharing: Sharing) -> Held:
    """What must be kept: all until the delay is known, then what is not booked or told, and a little before."""
    if not sharing.is_final or held.n == 0:
        return held
    first_ns = int(held.knots.time_ns[held.booked]) - HISTORY_NS
    if held.told < len(held.time_ns):
        first_ns = min(first_ns, int(held.time_ns[held.told]) - HISTORY_NS)
    keep = max(min(int(np.searchsorted(held.knots.time_ns, first_ns)), held.booked) - 1, 0)
    return held.trimmed(keep, int(held.knots.time_ns[keep]) - lag_ns - HISTORY_NS)


def _missing_since(first_ns: int, knots: Knots) -> Knots:
    """Knots of a curve that begins after the first mark: the energy until then is missing."""
    return Knots(
        np.concatenate([[first_ns], knots.time_ns]),
        np.concatenate([knots.energy_j[:1], knots.energy_j]),
        np.concatenate([[0], knots.half_width_ns]),
        np.concatenate([[0, MISSING], knots.quality[1:]]),
        np.concatenate([knots.variance_j2[:1], knots.variance_j2]),
    )
