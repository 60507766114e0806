"""A stretch of a run as a function of time: which column (an account, or a class of work) is in force."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lightning_energy.meters.units import NS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["Places", "Smoothed", "Timeline", "in_seconds", "ones", "recurrence"]

LARGEST_POWER = 300.0  # of e: far from overflow
SHORTEST_S = 1e-9  # a shorter lag changes nothing, and would overflow
NOTHING = 1e-18  # part of what came before that changes no figure of double precision
PIECE = 128  # fewest rows, on average, of a piece of a recurrence that is worth its own sum
AT_A_TIME = 2**15  # rows of tables that are worked on together: short steps make hundreds of thousands


def in_seconds(time_ns: NDArray[np.int64]) -> NDArray[np.float64]:
    """Differences of times in seconds, exact up to months."""
    time_s = time_ns.astype(np.float64)
    time_s *= NS
    return time_s


def ones(column: NDArray[np.int64], width: int) -> NDArray[np.float64]:
    """1 in one column of each row, and 0 elsewhere: shape (n, width)."""
    result = np.zeros((len(column), width))
    result[np.arange(len(column)), column] = 1.0
    return result


class Timeline(NamedTuple):
    """Columns in force over time.

    Attributes:
        start_s: the moments from which columns are in force, never falling; the first column also counts before.
        column: the column that is in force from each moment on.
        width: the number of columns.
    """

    start_s: NDArray[np.float64]
    column: NDArray[np.int64]
    width: int

    @property
    def one(self) -> NDArray[np.float64]:
        """1 where a column (last axis) is in force from a moment (first axis) on."""
        return ones(self.column, self.width)

    @property
    def compact(self) -> Timeline:
        """The same without columns that are never in force; the one that is longest in force is the last."""
        place = np.zeros(self.width, dtype=np.int64)
        place[self.by_length] = np.arange(len(self.by_length))
        return Timeline(self.start_s, place[self.column], len(self.by_length))

    @property
    def by_length(self) -> NDArray[np.int64]:
        """The columns that are ever in force; the one that is longest in force is the last."""
        used, column = np.unique(self.column, return_inverse=True)
        length_s = np.bincount(column[:-1], np.diff(self.start_s), len(used))
        result: NDArray[np.int64] = used[np.argsort(length_s, kind="stable")]
        return result

    def places(self, time_s: NDArray[np.float64]) -> Places:
        """Look up moments of any shape."""
        start = np.maximum(self.start_s.searchsorted(time_s, side="right") - 1, 0)
        return Places(start, time_s - self.start_s.take(start))

    def smoothed(self, ema_s: float = 0.0) -> Smoothed:
        """Seconds of the columns up to any moment, as a sensor shows them that smooths over ``ema_s``."""
        length_s, total_s = self.start_s[1:] - self.start_s[:-1], np.zeros((len(self.column), self.width))
        for rows in _rows(0, len(length_s)):
            part = _is_one(self.column[rows], self.width) * length_s[rows, None]
            part[0] += total_s[rows.start]
            np.add.accumulate(part, axis=0, out=total_s[rows.start + 1 : rows.stop + 1])
        return Smoothed(self, self.width, total_s, 0.0, None).behind(ema_s)


class Places(NamedTuple):
    """Moments on a timeline: the last start before each, and the seconds since that, negative before the first."""

    start: NDArray[np.intp]
    since_s: NDArray[np.float64]


class Smoothed(NamedTuple):
    """The cumulative seconds of a timeline's columns, or of all but the last, behind a first-order lag."""

    timeline: Timeline
    width: int
    total_s: NDArray[np.float64]
    ema_s: float
    state: NDArray[np.float64] | None

    @property
    def but_last(self) -> Smoothed:
        """The same without the last column, which is what is left of the time."""
        state = None if self.state is None else self.state[:, :-1].copy()
        return self._replace(width=self.width - 1, total_s=self.total_s[:, :-1].copy(), state=state)

    def behind(self, ema_s: float) -> Smoothed:
        """The same behind another lag."""
        if ema_s < SHORTEST_S:
            return self if self.state is None else self._replace(ema_s=0.0, state=None)
        start_s, column = self.timeline.start_s, self.timeline.column
        fade = np.zeros(len(start_s))
        for rows in _rows(1, len(start_s)):
            fade[rows] = np.exp((start_s[rows.start - 1 : rows.stop - 1] - start_s[rows]) / ema_s)
        fresh = np.empty((len(column), self.width))
        fresh[:1] = _is_one(column[:1], self.width)
        for rows in _rows(1, len(column)):
            before = column[rows.start - 1 : rows.stop - 1]
            np.multiply(_is_one(before, self.width), 1 - fade[rows, None], out=fresh[rows])
        return self._replace(ema_s=ema_s, state=recurrence(fade, fresh))

    def at(self, time_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Seconds up to moments of any shape: shape (..., columns)."""
        return self.at_places(self.timeline.places(time_s))

    def at_places(self, places: Places) -> NDArray[np.float64]:
        """The same for moments that were looked up before."""
        k, since_s = places.start, places.since_s[..., None]
        one = _is_one(self.timeline.column.take(k), self.width)
        result: NDArray[np.float64] = self.total_s.take(k, axis=0) + one * since_s
        if self.state is not None:
            fade = np.exp(-np.maximum(since_s, 0.0) / self.ema_s)
            result -= self.ema_s * (self.state.take(k, axis=0) * fade + one * (1 - fade))
        return result


def _is_one(column: NDArray[np.int64], width: int) -> NDArray[np.bool_]:
    """True where a column (last axis) is in force: an eighth of the memory of :func:`ones`."""
    result: NDArray[np.bool_] = column[..., None] == np.arange(width)
    return result


def _rows(first: int, end: int) -> Iterator[slice]:
    """Rows of a table, so many at a time that what is made of them takes little memory."""
    return (slice(start, min(start + AT_A_TIME, end)) for start in range(first, end, AT_A_TIME))


def recurrence(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """All ``s[k] = a[k] * s[k - 1] + b[k]`` at once.

    Args:
        a: shape (n,), at most 1.
        b: shape (n, m); the result may take its place.
    """
    if len(a) >= PIECE and a.min() >= 0:
        power = np.empty(len(a))
        with np.errstate(divide="ignore"):
            np.minimum(-np.log(a), 2 * LARGEST_POWER, out=power)
        np.cumsum(power, out=power)
        ends = [end for rows in _rows(1, len(a)) for end in _ends(power, rows)]
        if len(ends) * PIECE < len(a):
            return _by_powers(a, b, power, [0, *ends, len(a)])
    return _by_doubling(a, b)


def _ends(power: NDArray[np.float64], rows: slice) -> list[int]:
    """The rows at which a further piece begins."""
    number = power[rows.start - 1 : rows.stop] // LARGEST_POWER
    ends: list[int] = (np.flatnonzero(np.diff(number)) + rows.start).tolist()
    return ends


def _by_powers(
    a: NDArray[np.float64], b: NDArray[np.float64], power: NDArray[np.float64], ends: list[int]
) -> NDArray[np.float64]:
    """The recurrence as a sum, by the products of ``a`` as powers of e; each piece ends before these overflow."""
    before = np.zeros(b.shape[1])
    for first, end in pairwise(ends):
        so_far = a[first] * before
        for rows in _rows(first, end):
            grown = np.exp(power[rows] - power[first])[:, None]
            part = grown * b[rows]
            part[0] += so_far
            np.cumsum(part, axis=0, out=b[rows])
            so_far = b[rows.stop - 1].copy()
            b[rows] /= grown
        before = b[end - 1]
    return b


def _by_doubling(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """The recurrence by doubling (Hillis and Steele, CACM 29:1170, 1986), until what is left of the past is nothing."""
    a, b, step = a.copy()[:, None], b.copy(), 1
    while step < len(a) and np.abs(a[step:]).max() > NOTHING:
        b[step:] = b[step:] + a[step:] * b[:-step]
        a[step:] = a[step:] * a[:-step]
        step *= 2
    return b
