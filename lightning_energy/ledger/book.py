"""One device's side of the ledger: where the joules of its curve went, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lightning_energy.curves.curve import Knots, shape_bound_j
from lightning_energy.curves.energy import MISSING, QUALITIES, Energy
from lightning_energy.meters.units import NS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from lightning_energy.curves.curve import Curve

__all__ = ["Book", "Marks", "Pause", "Span", "Sums", "Tail", "joined", "no_pause"]

Pause = Callable[[], None]
Span = tuple[int, int]  # from, to in nanoseconds of the monotonic clock

MOST_SPANS = 1000  # of missing time are told one by one; sums know them all
LONGEST_TAIL_NS = 2_500_000_000  # the slowest sensors are read every two seconds: what comes later is silence
AT_ONCE = 100_000  # intervals times accounts: what waits to be booked is little, but for a thread that was stopped
ROUNDING = 1e-12  # of an interval: less is a rounding error, not time
SQRT3 = math.sqrt(3)  # a rectangular limit of half-width a has the standard uncertainty a/sqrt(3) (GUM 4.3.7)


def no_pause() -> None:
    """Goes on at once."""


def _grown(array: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """``array`` with at least ``n`` columns; twice as many when it has to grow, as epochs keep coming."""
    if array.shape[-1] >= n:
        return array
    result = np.zeros((*array.shape[:-1], max(n, 2 * array.shape[-1])))
    result[..., : array.shape[-1]] = array
    return result


@dataclass
class Marks:
    """Boundaries in time that not every book has passed yet.

    Attributes:
        time_ns: when, ``int64``, never falling.
        code: the account that begins there, ``int64``.
        dropped: how many marks came before the first of these.
    """

    time_ns: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    code: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    dropped: int = 0

    @classmethod
    def of(cls, rows: Sequence[tuple[int, int]]) -> Marks:
        """Marks from (time, account) rows."""
        marks = cls()
        marks.add(rows, 0)
        return marks

    def add(self, rows: Sequence[tuple[int, int]], floor_ns: int) -> None:
        """Append marks; none comes before ``floor_ns`` or before the last one."""
        if not rows:
            return
        news = np.array(rows, dtype=np.int64)
        times = np.concatenate([self.time_ns, np.maximum(news[:, 0], floor_ns)])
        self.time_ns = np.maximum.accumulate(times)
        self.code = np.concatenate([self.code, news[:, 1]])

    def drop(self, n: int) -> None:
        """Forget the first ``n``."""
        self.time_ns, self.code, self.dropped = self.time_ns[n:], self.code[n:], self.dropped + n

    def followed_by(self, others: Marks) -> Marks:
        """These and then those, which are not before them."""
        times = np.concatenate([self.time_ns, others.time_ns])
        return Marks(np.maximum.accumulate(times), np.concatenate([self.code, others.code]), self.dropped)


@dataclass
class Sums:
    """Accumulated per account (last axis: its code) and per group of accounts (epoch x stage).

    Attributes:
        energy_j: shape (codes,).
        time_s: seconds by quality, shape (qualities, codes).
        u_account_j: uncertainty of an account; linear, as steps may be locked to the register's period.
        u2_account_j2: the independent part of it, as a variance.
        u2_group_j2: variance of a group.
        u2_total_j2: variance of everything together: only the outer ends of the run add to it, and what
            integrated knots carry themselves.
    """

    energy_j: NDArray[np.float64]
    time_s: NDArray[np.float64]
    u_account_j: NDArray[np.float64]
    u2_account_j2: NDArray[np.float64]
    u2_group_j2: NDArray[np.float64]
    u2_total_j2: float = 0.0

    @classmethod
    def zeros(cls, n: int = 8) -> Sums:
        """Nothing booked yet."""
        return cls(np.zeros(n), np.zeros((len(QUALITIES), n)), np.zeros(n), np.zeros(n), np.zeros(n))

    def grow(self, n: int) -> None:
        """Make room for ``n`` accounts."""
        for name in ("energy_j", "time_s", "u_account_j", "u2_account_j2", "u2_group_j2"):
            setattr(self, name, _grown(getattr(self, name), n))

    def energy(self, wanted: NDArray[np.bool_], level: str, calibration_u: float) -> Energy:
        """Joules of the wanted accounts (mask of shape (accounts,)); ``level`` picks the uncertainty."""
        n = len(wanted)
        time_s = self.time_s[:, :n][:, wanted].sum(axis=1)
        duration_s, missing_s = float(time_s.sum()), float(time_s[MISSING])
        present = np.flatnonzero(time_s[:MISSING] > 0)
        if not present.size:
            return Energy(None, 0.0, 0.0, duration_s, missing_s, "missing")
        energy_j = math.fsum(self.energy_j[:n][wanted])
        u_j = self._u_j(wanted, level)
        return Energy.of_device(
            energy_j,
            u_j,
            calibration_u=calibration_u,
            duration_s=duration_s,
            missing_s=missing_s,
            quality=QUALITIES[int(present.max())],
        )

    def _u_j(self, wanted: NDArray[np.bool_], level: str) -> float:
        n = len(wanted)
        if level == "total":
            return math.sqrt(self.u2_total_j2)
        if level == "account":
            return math.hypot(
                float(self.u_account_j[:n][wanted].sum()), math.sqrt(self.u2_account_j2[:n][wanted].sum())
            )
        return math.sqrt(self.u2_group_j2[:n][wanted].sum())

    def add(self, booking: Booking, accounts: int) -> None:
        """Add what was found.

        Args:
            booking: from :meth:`Book.work_out`.
            accounts: how many accounts there were then.
        """
        used, u = booking.used, booking.uncertainty
        self.grow(accounts)
        self.energy_j[used] += booking.energy_j
        self.time_s[:, used] += booking.time_s
        self.u_account_j[used] += u.account_j
        self.u2_account_j2[used] += u.account_j2
        self.u2_group_j2[u.groups] += u.group_j2
        self.u2_total_j2 += u.total_j2


def joined(spans: list[Span], cut_ns: NDArray[np.int64], wanted: NDArray[np.bool_]) -> list[Span]:
    """``spans`` and the wanted pieces between cuts; neighbours become one, and the shortest are dropped for room."""
    result = [*spans]
    for start_ns, end_ns in zip(cut_ns[:-1][wanted].tolist(), cut_ns[1:][wanted].tolist(), strict=True):
        if result and result[-1][1] == start_ns:
            result[-1] = (result[-1][0], end_ns)
        else:
            result.append((start_ns, end_ns))
    if len(result) > MOST_SPANS:
        long = sorted(sorted(result, key=lambda s: s[0] - s[1])[:MOST_SPANS])
        # the last one may go on
        return long if long[-1] == result[-1] else [*long, result[-1]]
    return result


class Due(NamedTuple):
    """What may be booked of a curve: whole intervals, and the marks up to their end (time and account)."""

    knots: Knots
    marks_ns: NDArray[np.int64]
    marks_code: NDArray[np.int64]


class _Pieces(NamedTuple):
    """What lies between two cuts (knots and marks) each: within one interval of the curve and one account.

    Attributes:
        interval: which interval.
        used: the accounts that have a piece; few of many, so that sums are made over those.
        account: the piece's account, as a place in ``used``.
        duration_s: its seconds.
    """

    interval: NDArray[np.intp]
    used: NDArray[np.int64]
    account: NDArray[np.intp]
    duration_s: NDArray[np.float64]


class _Uncertainty(NamedTuple):
    """What intervals that are shared add, by used account and by group; see :class:`Sums`."""

    account_j: NDArray[np.float64]
    account_j2: NDArray[np.float64]
    groups: NDArray[np.int64]
    group_j2: NDArray[np.float64]
    total_j2: float


class Booking(NamedTuple):
    """What :meth:`Book.work_out` found, for :meth:`Book.commit`."""

    due: Due
    used: NDArray[np.int64]
    energy_j: NDArray[np.float64]
    time_s: NDArray[np.float64]
    uncertainty: _Uncertainty
    at_marks: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]  # J, s missing so far, J²
    missing_s: float
    missing_ns: list[Span]


class Book:
    """Differences of one curve, by account.

    Args:
        curve: the curve; knots that are booked are forgotten.
        trace: called with knots when they are booked, and with how many of them were before.
    """

    def __init__(self, curve: Curve, trace: Callable[[Knots, int], None] | None = None) -> None:
        self.curve = curve
        self._trace = trace
        self.sums = Sums.zeros()
        self.settled_ns: int | None = None
        self.code = 0
        self.passed = 0  # absolute number of marks that are booked
        self.missing_s = 0.0
        self.missing_ns: list[Span] = []  # when, within accounts
        self.passed_j = np.empty(0)
        self._passed_missing_s = np.empty(0)
        self._passed_u2_j2 = np.empty(0)

    def take_passed(self, n: int) -> tuple[NDArray[np.float64], ...]:
        """Energy (J), missing time so far (s) and variance (J²) at the first ``n`` marks; drops them."""
        result = self.passed_j[:n], self._passed_missing_s[:n], self._passed_u2_j2[:n]
        self.passed_j = self.passed_j[n:]
        self._passed_missing_s = self._passed_missing_s[n:]
        self._passed_u2_j2 = self._passed_u2_j2[n:]
        return result

    def due(self, marks: Marks, until_ns: int | None) -> Due | None:
        """The intervals of the curve that are complete, up to its last knot not after ``until_ns``; ``None`` if none.

        With the lock held, as the following steps need what is here now.
        """
        begin = self.passed - marks.dropped
        knots = self._knots(marks.time_ns[begin:], until_ns)
        if knots is None:
            return None
        end = int(np.searchsorted(marks.time_ns, knots.time_ns[-1], side="right"))
        return Due(knots, marks.time_ns[begin:end], marks.code[begin:end])

    def work_out(self, due: Due, groups: NDArray[np.int64], pause: Pause = no_pause) -> Booking:
        """The sums of what is due. Changes nothing, and needs no lock.

        Args:
            due: from :meth:`due`.
            groups: for each account, the first one of its group.
            pause: called in the middle of the work, which takes about a millisecond on a cold processor.
        """
        knots, marks_ns, marks_code = due
        cut_ns = np.unique(np.concatenate([knots.time_ns, marks_ns]))
        energy_j = self.curve.energy_at(cut_ns, knots)
        interval = np.searchsorted(knots.time_ns, cut_ns[:-1], side="right") - 1
        codes = np.concatenate([[self.code], marks_code])
        codes_of_pieces = codes[np.searchsorted(marks_ns, cut_ns[:-1], side="right")]
        used, account = np.unique(codes_of_pieces, return_inverse=True)
        piece_s = np.diff(cut_ns) * NS
        quality = knots.quality[1:][interval]
        n, is_missing = len(used), quality == MISSING
        by_quality_s = np.bincount(quality * n + account, piece_s, n * len(QUALITIES))
        pause()
        uncertainty = self._uncertainty(knots, _Pieces(interval, used, account, piece_s), groups)
        missing_s = self.missing_s + np.concatenate([[0.0], np.cumsum(np.where(is_missing, piece_s, 0.0))])
        at_marks = np.searchsorted(cut_ns, marks_ns)
        spans = self.missing_ns
        if is_missing.any():
            spans = joined(spans, cut_ns, is_missing & (codes_of_pieces != 0))
        return Booking(
            due,
            used,
            np.bincount(account, np.diff(energy_j), n).astype(np.float64),
            by_quality_s.reshape(len(QUALITIES), n).astype(np.float64),
            uncertainty,
            (energy_j[at_marks], missing_s[at_marks], self.curve.u_at(marks_ns, knots) ** 2),
            float(missing_s[-1]),
            spans,
        )

    def commit(self, booking: Booking, accounts: int) -> None:
        """Book it. With the lock held.

        Args:
            booking: from :meth:`work_out`.
            accounts: how many accounts there were then.
        """
        knots = booking.due.knots
        self.sums.add(booking, accounts)
        self.missing_s, self.missing_ns = booking.missing_s, booking.missing_ns
        energy_j, missing_s, u2_j2 = booking.at_marks
        self.passed_j = np.concatenate([self.passed_j, energy_j])
        self._passed_missing_s = np.concatenate([self._passed_missing_s, missing_s])
        self._passed_u2_j2 = np.concatenate([self._passed_u2_j2, u2_j2])
        if self._trace is not None:
            self._trace(knots, 0 if self.settled_ns is None else 1)
        self.settled_ns = int(knots.time_ns[-1])
        if len(booking.due.marks_code):
            self.code = int(booking.due.marks_code[-1])
        self.passed += len(booking.due.marks_code)
        self.curve.forget_before(self.settled_ns)

    def totals(self, marks: Marks, groups: NDArray[np.int64], now_ns: int) -> tuple[Sums, list[Span]]:
        """What the accounts hold at a moment, and when the energy is missing. Books nothing; with the lock held.

        Args:
            marks: the marks that not every book has passed.
            groups: for each account, the first one of its group.
            now_ns: the moment. Behind the last knot the last power is supposed to go on.
        """
        sums, begin = deepcopy(self.sums), self.passed - marks.dropped
        since_ns, code, missing_ns = self.settled_ns, self.code, self.missing_ns
        due = self.due(marks, now_ns)
        if due is not None:
            sums.add(booking := self.work_out(due, groups), len(groups))
            since_ns, missing_ns = int(due.knots.time_ns[-1]), booking.missing_ns
            code = int(due.marks_code[-1]) if len(due.marks_code) else code
            begin += len(due.marks_code)
        sums.grow(len(groups))
        tail = Tail(self.curve, since_ns, code, Marks(marks.time_ns[begin:], marks.code[begin:]), now_ns)
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
        if self.settled_ns is None and marks_ns.size:
            first_ns = int(marks_ns[0])
            if first_ns < knots.time_ns[0]:  # the curve begins after the first mark: missing until then
                knots = Knots(
                    np.concatenate([[first_ns], knots.time_ns]),
                    np.concatenate([knots.energy_j[:1], knots.energy_j]),
                    np.concatenate([[0], knots.half_width_ns]),
                    np.concatenate([[0, MISSING], knots.quality[1:]]),
                    np.concatenate([knots.variance_j2[:1], knots.variance_j2]),
                )
        return knots if knots.time_ns.size > 1 else None

    def _uncertainty(self, knots: Knots, pieces: _Pieces, groups: NDArray[np.int64]) -> _Uncertainty:
        """Only an interval that several accounts share adds to their uncertainty."""
        interval, used, account, piece_s = pieces
        n = len(used)
        used_groups, group = np.unique(groups[used], return_inverse=True)
        # one column for each account, then for each group, then for all that is within accounts
        belongs = np.concatenate(
            [np.eye(n), group[:, None] == np.arange(len(used_groups)), (used != 0)[:, None]], axis=1
        )
        length_s = np.diff(knots.time_ns) * NS
        mean_w = np.diff(knots.energy_j) / length_s
        own_j2 = np.diff(knots.variance_j2)
        half2_ns2 = np.maximum(knots.half_width_ns[1:], knots.half_width_ns[:-1]) ** 2.0
        edge_j2 = np.where(knots.quality[1:] == MISSING, 0.0, (mean_w * NS) ** 2 * half2_ns2 / 3)
        low_w, high_w = self.curve.power_bounds_w()
        bound_j, u2_j2 = np.zeros(belongs.shape[1]), np.zeros(belongs.shape[1])
        at_once = max(AT_ONCE // belongs.shape[1], 1)
        for first in range(0, len(length_s), at_once):
            k = slice(first, first + at_once)
            p = slice(*np.searchsorted(interval, [first, first + at_once]))
            whole_s, rows = length_s[k, None], len(length_s[k])
            place = (interval[p] - first) * n + account[p]
            share_s = np.bincount(place, piece_s[p], rows * n).reshape(rows, n) @ belongs
            rest_s = np.maximum(whole_s - share_s, 0.0)
            is_shared = (share_s > 0) & (rest_s > ROUNDING * whole_s) & (knots.quality[1:][k, None] != MISSING)
            bounds_j = is_shared * shape_bound_j(share_s, rest_s, mean_w[k, None], low_w, high_w) / SQRT3
            quad_j2 = is_shared * edge_j2[k, None] + own_j2[k, None] * (share_s / whole_s) ** 2
            bound_j += bounds_j.sum(axis=0)
            u2_j2 += quad_j2.sum(axis=0)
            u2_j2[n:] += (bounds_j[:, n:] ** 2).sum(axis=0)  # an account's bounds are summed linearly, see Sums
        return _Uncertainty(bound_j[:n], u2_j2[:n], used_groups, u2_j2[n:-1], float(u2_j2[-1]))


class Tail:
    """The time behind a curve's last knot, where the last power is supposed to go on for a while, and then missing.

    Args:
        curve: the curve.
        since_ns: where it begins; ``None`` where the first account does.
        code: the account that is in force there.
        marks: the marks since then.
        now_ns: the moment up to which the last power is supposed to go on.
    """

    def __init__(self, curve: Curve, since_ns: int | None, code: int, marks: Marks, now_ns: int) -> None:
        self._curve = curve
        marks_ns = marks.time_ns
        start_ns = since_ns if since_ns is not None else int(marks_ns[0]) if marks_ns.size else now_ns
        end_ns = max(now_ns, start_ns)
        knots_ns = self._curve.knots().time_ns
        last_ns = knots_ns[-1:] + LONGEST_TAIL_NS
        cut_ns = np.unique(np.clip(np.concatenate([[start_ns, end_ns], marks_ns, knots_ns, last_ns]), start_ns, end_ns))
        codes = np.concatenate([[code], marks.code])
        self._code = codes[np.searchsorted(marks_ns, cut_ns[:-1], side="right")]
        self._piece_s = np.diff(cut_ns) * NS
        self._cut_ns = cut_ns
        self._energy_j, self._quality, self._u_piece_j, self._edge_j2 = self._pieces()

    def add_to(self, sums: Sums, groups: NDArray[np.int64]) -> None:
        """Add it to ``sums``."""
        if not self._piece_s.size:
            return
        n, u_piece_j, edge_j2 = sums.energy_j.shape[0], self._u_piece_j, self._edge_j2
        sums.energy_j += np.bincount(self._code, self._energy_j, n)
        np.add.at(sums.time_s, (self._quality, self._code), self._piece_s)
        group, is_inside = groups[self._code], self._code != 0
        sums.u_account_j += np.bincount(self._code, u_piece_j, n)
        sums.u2_account_j2 += np.bincount(self._code, edge_j2, n)
        # the power that is supposed is wrong in the same way for all pieces
        sums.u2_group_j2 += np.bincount(group, u_piece_j, n) ** 2 + np.bincount(group, edge_j2, n)
        sums.u2_total_j2 += float(u_piece_j[is_inside].sum()) ** 2 + float(edge_j2[is_inside].sum())

    def missing_ns(self, before: list[Span]) -> list[Span]:
        """When the energy is not known: what was before, and what is behind."""
        if not self._piece_s.size:
            return before
        return joined(before, self._cut_ns, (self._quality == MISSING) & (self._code != 0))

    def _pieces(self) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
        """Energy, quality, uncertainty (by what the power may be) and variance (by where the last knot is) of each."""
        knots, power_w = self._curve.knots(), self._curve.last_power_w()
        n = len(self._piece_s)
        energy_j, u_j, edge_j2 = np.zeros(n), np.zeros(n), np.zeros(n)
        quality = np.full(n, MISSING, dtype=np.int64)
        if knots.time_ns.size > 1:
            inside = (self._cut_ns[:-1] >= knots.time_ns[0]) & (self._cut_ns[1:] <= knots.time_ns[-1])
            k = np.clip(np.searchsorted(knots.time_ns, self._cut_ns[:-1], side="right"), 1, knots.time_ns.size - 1)
            energy_j[inside] = np.diff(self._curve.energy_at(self._cut_ns, knots))[inside]
            quality[inside] = knots.quality[k][inside]
        if power_w is not None:
            low_w, high_w = self._curve.power_bounds_w()
            begin_ns = self._cut_ns[:-1]
            behind = (begin_ns >= knots.time_ns[-1]) & (begin_ns < knots.time_ns[-1] + LONGEST_TAIL_NS)
            energy_j[behind] = power_w * self._piece_s[behind]
            u_j[behind] = max(high_w - power_w, power_w - low_w) * self._piece_s[behind] / SQRT3
            quality[behind] = knots.quality[-1]
            if behind.any():  # all behind it moves with the last knot, whose moment lies within a bracket
                edge_j2[np.argmax(behind)] = (power_w * NS * int(knots.half_width_ns[-1])) ** 2 / 3
        return energy_j, quality, u_j, edge_j2
