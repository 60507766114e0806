"""A timeline cut at a counter's updates: the seconds of columns in each interval, many columns at the price of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lightning_energy.ledger.sharing.timeline import SHORTEST_S, recurrence

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lightning_energy.ledger.sharing.kernel import Kernel

__all__ = ["Cut"]


class Cut:
    """Pieces in which one thing is in force, between moments at which a kernel asks for the seconds up to them.

    A kernel's smoothing goes on from moment to moment, so that each piece counts with one weight at the next of them.

    Args:
        start_s: starts of what is in force, never falling, from well before the first update on.
        knot_s: times of the updates, shape (n + 1,).
        kernel: of the counter.
    """

    def __init__(self, start_s: NDArray[np.float64], knot_s: NDArray[np.float64], kernel: Kernel) -> None:
        at_s = knot_s - kernel.lag_s
        if kernel.look < 1:
            at_s = np.stack([at_s[:-1], at_s[:-1] + kernel.look * np.diff(at_s)], axis=1).ravel()
        at_s = np.maximum(at_s, start_s[0])
        self._n, self._look = len(at_s), kernel.look
        self._ema_s = kernel.ema_s if kernel.ema_s >= SHORTEST_S else 0.0
        edge_s = np.sort(np.concatenate([start_s, at_s]))
        edge_s = edge_s[: np.searchsorted(edge_s, at_s[-1]) + 1]
        begin_s, self._length_s = edge_s[:-1], np.diff(edge_s)
        self._start = np.searchsorted(start_s, begin_s, side="right") - 1
        self._next = np.searchsorted(at_s, begin_s, side="right")  # the moment behind each piece
        self._fade = self._weight = np.empty(0)
        if self._ema_s:
            behind_s = np.maximum(at_s[self._next] - edge_s[1:], 0.0)
            self._weight = np.exp(-behind_s / self._ema_s) * -np.expm1(-self._length_s / self._ema_s)
            self._fade = np.exp(-np.diff(at_s, prepend=start_s[:1]) / self._ema_s)

    def seconds(self, column: NDArray[np.int64], width: int) -> NDArray[np.float64]:
        """Seconds of every column that the counter's rise in each interval stands for: shape (n, columns).

        Args:
            column: the one in force from each start on; below 0: none.
            width: the number of columns.
        """
        of = column[self._start]
        mine = of >= 0
        place = self._next[mine] * width + of[mine]
        result = np.cumsum(self._summed(place, self._length_s[mine], width), axis=0)
        if self._ema_s:
            fresh = self._summed(place, self._weight[mine], width)
            if column[0] >= 0:  # it also counts before the first start
                fresh[0, column[0]] += self._fade[0]
            fade = np.concatenate([[0.0], self._fade[1:]])
            result -= self._ema_s * recurrence(fade, fresh)
        if self._look < 1:
            return (result[1::2] - result[::2]) / self._look
        return np.diff(result, axis=0)

    def _summed(self, place: NDArray[np.int64], weight: NDArray[np.float64], width: int) -> NDArray[np.float64]:
        return np.bincount(place, weight, self._n * width).astype(np.float64, copy=False).reshape(self._n, width)
