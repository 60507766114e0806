"""One device's side of the ledger: the differences of its curve by account."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lightning_energy.curves.curve import Knots
from lightning_energy.curves.energy import MISSING, QUALITIES
from lightning_energy.ledger.accounts import OUTSIDE
from lightning_energy.ledger.marks import AtMarks
from lightning_energy.ledger.pieces import Due, Pieces
from lightning_energy.ledger.spans import joined
from lightning_energy.ledger.sums import Shares, Sums
from lightning_energy.ledger.tail import Tail
from lightning_energy.ledger.uncertainty import uncertainty_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lightning_energy.curves.curve import Curve
    from lightning_energy.ledger.marks import Marks
    from lightning_energy.ledger.spans import Span

__all__ = ["Book", "Booking", "Pause", "no_pause"]

Pause = Callable[[], None]


def no_pause() -> None:
    """Go on at once."""


class Booking(NamedTuple):
    """Everything that :meth:`Book.commit` needs to book intervals.

    Attributes:
        due: the intervals and marks.
        shares: the additions to the accounts.
        at_marks: the state of the curve at the marks.
        missing_s: seconds that are missing up to the end.
        missing_ns: stretches of missing time up to the end.
    """

    due: Due
    shares: Shares
    at_marks: AtMarks
    missing_s: float
    missing_ns: list[Span]


class Book:
    """Differences of one curve, by account.

    Attributes:
        curve: the curve.
        sums: the contents of the accounts.
        settled_ns: the last knot that is booked; ``None`` before the first booking.
        code: the account that is in force there.
        passed: how many marks of the run are booked.
        missing_s: seconds that are missing so far.
        missing_ns: stretches of missing time within accounts.

    Args:
        curve: the curve; knots that are booked are forgotten.
        trace: called with knots when they are booked, and with how many of them were before.
    """

    def __init__(self, curve: Curve, trace: Callable[[Knots, int], None] | None = None) -> None:
        self.curve = curve
        self.sums = Sums.zeros()
        self.settled_ns: int | None = None
        self.code = OUTSIDE
        self.passed = 0
        self.missing_s = 0.0
        self.missing_ns: list[Span] = []
        self._trace = trace
        self._at_marks = AtMarks.none()  # of marks that were passed and not taken

    @property
    def untaken(self) -> int:
        """The number of marks that were passed and not taken yet."""
        return len(self._at_marks.energy_j)

    def take_passed(self, n: int) -> AtMarks:
        """The state of the curve at the first ``n`` marks that were passed; drops them."""
        taken, self._at_marks = self._at_marks.part(slice(n)), self._at_marks.part(slice(n, None))
        return taken

    def due(self, marks: Marks, until_ns: int | None) -> Due | None:
        """The intervals of the curve that are complete, up to its last knot not after ``until_ns``; ``None`` if none.

        The lock is held.
        """
        begin = self.passed - marks.dropped
        knots = self._knots(marks.time_ns[begin:], until_ns)
        if knots is None:
            return None
        end = int(np.searchsorted(marks.time_ns, knots.time_ns[-1], side="right"))
        return Due(knots, marks.time_ns[begin:end], marks.code[begin:end])

    def work_out(self, due: Due, groups: NDArray[np.int64], pause: Pause = no_pause) -> Booking:
        """Work out the sums of intervals that are due. Changes nothing, and needs no lock.

        Args:
            due: from :meth:`due`.
            groups: for each account, the first one of its group.
            pause: called in the middle of the work, which takes about a millisecond on a cold processor.
        """
        pieces = Pieces.of(due, self.code)
        energy_j = self.curve.energy_at(pieces.cut_ns, due.knots)
        n, is_missing = len(pieces.used), pieces.quality == MISSING
        by_quality_s = np.bincount(pieces.quality * n + pieces.account, pieces.duration_s, n * len(QUALITIES))
        pause()
        uncertainty = uncertainty_of(due.knots, pieces, groups, self.curve.power_bounds_w())
        at_marks, u_j = np.searchsorted(pieces.cut_ns, due.marks_ns), self.curve.u_at(due.marks_ns, due.knots)
        missing_s, spans = np.full(len(pieces.cut_ns), self.missing_s), self.missing_ns
        if is_missing.any():
            missing_s[1:] += np.cumsum(np.where(is_missing, pieces.duration_s, 0.0))
            spans = joined(spans, pieces.cut_ns, is_missing & (pieces.code != OUTSIDE))
        shares = Shares(
            pieces.used,
            np.bincount(pieces.account, np.diff(energy_j), n).astype(np.float64, copy=False),
            by_quality_s.reshape(len(QUALITIES), n).astype(np.float64, copy=False),
            uncertainty,
        )
        there = AtMarks(energy_j[at_marks], missing_s[at_marks], u_j**2)
        return Booking(due, shares, there, float(missing_s[-1]), spans)

    def commit(self, booking: Booking, accounts: int) -> None:
        """Book it. The lock is held.

        Args:
            booking: from :meth:`work_out`.
            accounts: how many accounts there were then.
        """
        knots, _, codes = booking.due
        self.sums.add(booking.shares, accounts)
        self.missing_s, self.missing_ns = booking.missing_s, booking.missing_ns
        self._at_marks = self._at_marks.followed_by(booking.at_marks)
        if self._trace is not None:
            self._trace(knots, 0 if self.settled_ns is None else 1)
        self.settled_ns = int(knots.time_ns[-1])
        if len(codes):
            self.code = int(codes[-1])
        self.passed += len(codes)
        self.curve.forget_before(self.settled_ns)

    def totals(self, marks: Marks, groups: NDArray[np.int64], now_ns: int) -> tuple[Sums, list[Span]]:
        """The contents of the accounts at a moment, and the missing time. Books nothing; the lock is held.

        Args:
            marks: the marks that not every book has passed.
            groups: for each account, the first one of its group.
            now_ns: the moment. Behind the last knot the last power is assumed to go on.
        """
        sums, passed = self.sums.copy(), self.passed
        since_ns, code, missing_ns = self.settled_ns, self.code, self.missing_ns
        due = self.due(marks, now_ns)
        if due is not None:
            booking = self.work_out(due, groups)
            sums.add(booking.shares, len(groups))
            since_ns, missing_ns = int(due.knots.time_ns[-1]), booking.missing_ns
            code = int(due.marks_code[-1]) if len(due.marks_code) else code
            passed += len(due.marks_code)
        sums.grow(len(groups))
        tail = Tail(self.curve, since_ns, code, marks.after(passed), now_ns)
        tail.add_to(sums, groups)
        return sums, tail.missing_ns(missing_ns)

    def _knots(self, marks_ns: NDArray[np.int64], until_ns: int | None) -> Knots | None:
        """The knots from the settled one to the last that may be booked; ``None`` without a new interval."""
        knots = self.curve.knots()
        if until_ns is not None:
            keep = int(np.searchsorted(knots.time_ns, until_ns, side="right"))
            knots = Knots(*(getattr(knots, f)[:keep] for f in Knots.__slots__))
        if not knots.time_ns.size:
            return None
        if self.settled_ns is None and marks_ns.size and marks_ns[0] < knots.time_ns[0]:
            knots = _missing_since(int(marks_ns[0]), knots)
        return knots if knots.time_ns.size > 1 else None


def _missing_since(first_ns: int, knots: Knots) -> Knots:
    """Knots of a curve that begins after the first mark: the energy until then is missing."""
    return Knots(
        np.concatenate([[first_ns], knots.time_ns]),
        np.concatenate([knots.energy_j[:1], knots.energy_j]),
        np.concatenate([[0], knots.half_width_ns]),
        np.concatenate([[0, MISSING], knots.quality[1:]]),
        np.concatenate([knots.variance_j2[:1], knots.variance_j2]),
    )
