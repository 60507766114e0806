"""One device's side of the ledger: where the joules of its curve went, and how sure that is."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from lightning_energy.curve import MISSING, NS, QUALITIES, Energy, Knots, shape_bound_j

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from lightning_energy.curve import Curve

__all__ = ["Book", "Marks", "Sums", "Tail"]

LONGEST_TAIL_NS = 2_500_000_000  # the slowest sensors are read every two seconds: what comes later is silence
ROUNDING = 1e-12  # of an interval: less is a rounding error, not time
SQRT3 = math.sqrt(3)  # a rectangular limit of half-width a has the standard uncertainty a/sqrt(3) (GUM 4.3.7)


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

    def plus(self, tail: Tail, groups: NDArray[np.int64]) -> Sums:
        """A copy with the time behind the last knot added."""
        result = Sums(
            self.energy_j.copy(),
            self.time_s.copy(),
            self.u_account_j.copy(),
            self.u2_account_j2.copy(),
            self.u2_group_j2.copy(),
            self.u2_total_j2,
        )
        result.grow(len(groups))
        tail.add_to(result, groups)
        return result


def _first_of_group(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """For every account, the first account of its group: where the group's variance is kept."""
    _, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
    return first[inverse].astype(np.int64)


class Book:
    """Differences of one curve, by account.

    Args:
        curve: the curve; knots that are booked are forgotten.
    """

    def __init__(self, curve: Curve) -> None:
        self.curve = curve
        self.sums = Sums.zeros()
        self.settled_ns: int | None = None
        self.code = 0
        self.passed = 0  # absolute number of marks that are booked
        self.missing_s = 0.0
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

    def settle(self, marks: Marks, groups: NDArray[np.int64], until_ns: int | None) -> None:
        """Book the intervals of the curve that are complete, up to its last knot not after ``until_ns``."""
        begin = self.passed - marks.dropped
        knots = self._knots(marks.time_ns[begin:], until_ns)
        if knots is None:
            return
        end = int(np.searchsorted(marks.time_ns, knots.time_ns[-1], side="right"))
        marks_ns, marks_code = marks.time_ns[begin:end], marks.code[begin:end]
        cut_ns = np.unique(np.concatenate([knots.time_ns, marks_ns]))
        energy_j, _ = self.curve.at(cut_ns, knots)
        interval = np.searchsorted(knots.time_ns, cut_ns[:-1], side="right") - 1
        codes = np.concatenate([[self.code], marks_code])
        piece_code = codes[np.searchsorted(marks_ns, cut_ns[:-1], side="right")]
        piece_s = np.diff(cut_ns) * NS
        quality = knots.quality[1:][interval]
        self.sums.grow(len(groups))
        n = self.sums.energy_j.shape[0]
        self.sums.energy_j += np.bincount(piece_code, np.diff(energy_j), n)
        np.add.at(self.sums.time_s, (quality, piece_code), piece_s)
        self._uncertainty(knots, interval, piece_code, piece_s, groups)
        self._pass(knots, marks_ns, cut_ns, np.where(quality == MISSING, piece_s, 0.0))
        self.settled_ns, self.code = int(knots.time_ns[-1]), int(codes[-1])
        self.passed += end - begin
        self.curve.forget_before(self.settled_ns)

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

    def _uncertainty(
        self,
        knots: Knots,
        interval: NDArray[np.intp],
        piece_code: NDArray[np.int64],
        piece_s: NDArray[np.float64],
        groups: NDArray[np.int64],
    ) -> None:
        """Only an interval that several accounts share adds to their uncertainty."""
        length_s = np.diff(knots.time_ns) * NS
        mean_w = np.diff(knots.energy_j) / length_s
        own_j2 = np.diff(knots.variance_j2)
        known = knots.quality[1:] != MISSING
        edge_j2 = (mean_w * NS) ** 2 * np.maximum(knots.half_width_ns[1:], knots.half_width_ns[:-1]) ** 2.0 / 3
        low_w, high_w = self.curve.power_bounds_w()
        n = self.sums.energy_j.shape[0]
        keys = (piece_code, _first_of_group(groups)[piece_code], (piece_code != 0).astype(np.int64))
        for level, key_of_piece in enumerate(keys):
            pair, inverse = np.unique(interval * n + key_of_piece, return_inverse=True)
            k, key = pair // n, pair % n
            share_s = np.bincount(inverse, piece_s).astype(np.float64)
            rest_s: NDArray[np.float64] = np.maximum(length_s[k] - share_s, 0.0)
            shared = known[k] & (rest_s > ROUNDING * length_s[k])
            bound_j = np.where(shared, shape_bound_j(share_s, rest_s, mean_w[k], low_w, high_w), 0.0) / SQRT3
            quad_j2 = np.where(shared, edge_j2[k], 0.0) + own_j2[k] * (share_s / length_s[k]) ** 2
            if level == 0:
                self.sums.u_account_j += np.bincount(key, bound_j, n)
                self.sums.u2_account_j2 += np.bincount(key, quad_j2, n)
            elif level == 1:
                self.sums.u2_group_j2 += np.bincount(key, bound_j**2 + quad_j2, n)
            else:
                self.sums.u2_total_j2 += float(np.bincount(key, bound_j**2 + quad_j2, 2)[1])

    def _pass(
        self,
        knots: Knots,
        marks_ns: NDArray[np.int64],
        cut_ns: NDArray[np.int64],
        piece_missing_s: NDArray[np.float64],
    ) -> None:
        """Keep the curve at the marks, for the steps between them."""
        missing_s = self.missing_s + np.concatenate([[0.0], np.cumsum(piece_missing_s)])
        self.missing_s = float(missing_s[-1])
        if not marks_ns.size:
            return
        energy_j, u_j = self.curve.at(marks_ns, knots)
        self.passed_j = np.concatenate([self.passed_j, energy_j])
        at_marks_s = missing_s[np.searchsorted(cut_ns, marks_ns)]
        self._passed_missing_s = np.concatenate([self._passed_missing_s, at_marks_s])
        self._passed_u2_j2 = np.concatenate([self._passed_u2_j2, u_j**2])


class Tail:
    """The time behind a curve's last knot, where the last power is supposed to go on for a while, and then missing.

    Args:
        book: the book.
        marks: the marks that not every book has passed.
        now_ns: the moment up to which the last power is supposed to go on.
    """

    def __init__(self, book: Book, marks: Marks, now_ns: int) -> None:
        self._curve = book.curve
        begin = book.passed - marks.dropped
        marks_ns, marks_code = marks.time_ns[begin:], marks.code[begin:]
        start_ns = book.settled_ns if book.settled_ns is not None else int(marks_ns[0]) if marks_ns.size else now_ns
        end_ns = max(now_ns, start_ns)
        knots_ns = self._curve.knots().time_ns
        last_ns = knots_ns[-1:] + LONGEST_TAIL_NS
        cut_ns = np.unique(np.clip(np.concatenate([[start_ns, end_ns], marks_ns, knots_ns, last_ns]), start_ns, end_ns))
        codes = np.concatenate([[book.code], marks_code])
        self._code = codes[np.searchsorted(marks_ns, cut_ns[:-1], side="right")]
        self._piece_s = np.diff(cut_ns) * NS
        self._cut_ns = cut_ns

    def add_to(self, sums: Sums, groups: NDArray[np.int64]) -> None:
        """Add it to ``sums``."""
        if not self._piece_s.size:
            return
        n = sums.energy_j.shape[0]
        energy_j, quality, u_piece_j = self._pieces()
        sums.energy_j += np.bincount(self._code, energy_j, n)
        np.add.at(sums.time_s, (quality, self._code), self._piece_s)
        u_j = np.bincount(self._code, u_piece_j, n)
        sums.u_account_j += u_j
        sums.u2_group_j2 += np.bincount(_first_of_group(groups), u_j[: len(groups)] ** 2, n)
        sums.u2_total_j2 += float(u_piece_j[self._code != 0].sum()) ** 2

    def _pieces(self) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
        """Energy, quality and uncertainty of every piece."""
        knots, power_w = self._curve.knots(), self._curve.last_power_w()
        n = len(self._piece_s)
        energy_j, u_j = np.zeros(n), np.zeros(n)
        quality = np.full(n, MISSING, dtype=np.int64)
        if knots.time_ns.size > 1:
            inside = (self._cut_ns[:-1] >= knots.time_ns[0]) & (self._cut_ns[1:] <= knots.time_ns[-1])
            k = np.clip(np.searchsorted(knots.time_ns, self._cut_ns[:-1], side="right"), 1, knots.time_ns.size - 1)
            energy_j[inside] = np.diff(self._curve.at(self._cut_ns, knots)[0])[inside]
            quality[inside] = knots.quality[k][inside]
        if power_w is not None:
            low_w, high_w = self._curve.power_bounds_w()
            begin_ns = self._cut_ns[:-1]
            behind = (begin_ns >= knots.time_ns[-1]) & (begin_ns < knots.time_ns[-1] + LONGEST_TAIL_NS)
            energy_j[behind] = power_w * self._piece_s[behind]
            u_j[behind] = max(high_w - power_w, power_w - low_w) * self._piece_s[behind] / SQRT3
            quality[behind] = knots.quality[-1]
        return energy_j, quality, u_j
