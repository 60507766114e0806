"""A stretch of a run as a function of time: which column (an account, or a class of work) is in force."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lightning_energy.meters.units import NS

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Places", "Smoothed", "Timeline", "in_seconds", "ones", "recurrence"]

LARGEST_POWER = 300.0  # of e: far from overflow
SHORTEST_S = 1e-9  # a shorter lag changes nothing, and would overflow
NOTHING = 1e-18  # part of what came before that changes no figure of double precision
PIECE = 128  # fewest rows, on average, of a piece of a recurrence that is worth its own sum


def in_seconds(time_ns: NDArray[np.int64]) -> NDArray[np.float64]:
    """Differences of times in seconds, exact up to months."""
    return time_ns.astype(np.float64) * NS


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
        one, length_s = self.one, self.start_s[1:] - self.start_s[:-1]
        total_s = np.zeros(one.shape)
        np.add.accumulate(one[:-1] * length_s[:, None], axis=0, out=total_s[1:])
        return Smoothed(self, one, total_s, 0.0, None).behind(ema_s)


class Places(NamedTuple):
    """Moments on a timeline: the last start before each, and the seconds since that, negative before the first."""

    start: NDArray[np.intp]
    since_s: NDArray[np.float64]


class Smoothed(NamedTuple):
    """The cumulative seconds of a timeline's columns, or of all but the last, behind a first-order lag."""

    timeline: Timeline
    one: NDArray[np.float64]
    total_s: NDArray[np.float64]
    ema_s: float
    state: NDArray[np.float64] | None

    @property
    def but_last(self) -> Smoothed:
        """The same without the last column, which is what is left of the time."""
        state = None if self.state is None else self.state[:, :-1].copy()
        return self._replace(one=self.one[:, :-1].copy(), total_s=self.total_s[:, :-1].copy(), state=state)

    def behind(self, ema_s: float) -> Smoothed:
        """The same behind another lag."""
        if ema_s < SHORTEST_S:
            return self._replace(ema_s=0.0, state=None)
        start_s = self.timeline.start_s
        fade = np.concatenate([[0.0], np.exp((start_s[:-1] - start_s[1:]) / ema_s)])
        fresh = self.one[:-1] * (1 - fade[1:, None])
        return self._replace(ema_s=ema_s, state=recurrence(fade, np.concatenate([self.one[:1], fresh])))

    def at(self, time_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Seconds up to moments of any shape: shape (..., columns)."""
        return self.at_places(self.timeline.places(time_s))

    def at_places(self, places: Places) -> NDArray[np.float64]:
        """The same for moments that were looked up before."""
        k, since_s = places.start, places.since_s[..., None]
        one = self.one.take(k, axis=0)
        result: NDArray[np.float64] = self.total_s.take(k, axis=0) + one * since_s
        if self.state is not None:
            fade = np.exp(-np.maximum(since_s, 0.0) / self.ema_s)
            result -= self.ema_s * (self.state.take(k, axis=0) * fade + one * (1 - fade))
        return result


def recurrence(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """All ``s[k] = a[k] * s[k - 1] + b[k]`` at once.

    Args:
        a: shape (n,), at most 1.
        b: shape (n, m).
    """
    if len(a) >= PIECE and a.min() >= 0:
        with np.errstate(divide="ignore"):
            power = np.cumsum(np.minimum(-np.log(a), 2 * LARGEST_POWER))
        ends = np.flatnonzero(np.diff(power // LARGEST_POWER)) + 1
        if len(ends) * PIECE < len(a):
            return _by_powers(a, b, power, [0, *ends.tolist(), len(a)])
    return _by_doubling(a, b)


def _by_powers(
    a: NDArray[np.float64], b: NDArray[np.float64], power: NDArray[np.float64], ends: list[int]
) -> NDArray[np.float64]:
    """The recurrence as a sum, by the products of ``a`` as powers of e; each piece ends before these overflow."""
    result, before = np.empty_like(b), np.zeros(b.shape[1])
    for first, end in pairwise(ends):
        grown = np.exp(power[first:end] - power[first])[:, None]
        part = grown * b[first:end]
        part[0] += a[first] * before
        np.cumsum(part, axis=0, out=result[first:end])
        result[first:end] /= grown
        before = result[end - 1]
    return result


def _by_doubling(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """The recurrence by doubling (Hillis and Steele, CACM 29:1170, 1986), until what is left of the past is nothing."""
    a, b, step = a.copy()[:, None], b.copy(), 1
    while step < len(a) and np.abs(a[step:]).max() > NOTHING:
        b[step:] = b[step:] + a[step:] * b[:-step]
        a[step:] = a[step:] * a[:-step]
        step *= 2
    return b
