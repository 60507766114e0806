"""Sums for pairs of accounts that share intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lightning_energy.ledger.distinct import distinct_places

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Pairs"]


class Pairs:
    """Sums for pairs of accounts, sparse: only neighbours share intervals. Arrays are never changed, only replaced.

    Attributes:
        first: the first account of each pair.
        second: the second account.
        values: the sums, shape (pairs, 3): of a Brownian bridge between the updates in seconds, of cuts in J², and of
            changes of stage.
    """

    def __init__(self) -> None:
        self.first, self.second = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
        self.values = np.empty((0, 3))

    def add(self, first: NDArray[np.int64], second: NDArray[np.int64], values: NDArray[np.float64]) -> None:
        """Add values of shape (n, 3) to n pairs."""
        first, second = np.concatenate([self.first, first]), np.concatenate([self.second, second])
        key, place = distinct_places((first << 32) + second)
        sums = np.zeros((len(key), 3))
        np.add.at(sums, place, np.concatenate([self.values, values]))
        self.first, self.second, self.values = key >> 32, key & 0xFFFFFFFF, sums

    def copy(self) -> Pairs:
        """The same, which may change by itself."""
        result = Pairs.__new__(Pairs)
        result.first, result.second, result.values = self.first, self.second, self.values
        return result

    @property
    def neighbours(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Pairs of two accounts that share intervals, and how much they share, in seconds."""
        other = self.first != self.second
        return self.first[other], self.second[other], np.maximum(-self.values[other, 0], 0.0)

    def within(self, wanted: NDArray[np.bool_]) -> NDArray[np.float64]:
        """The quadratic form for a set of accounts: shape (3,)."""
        both = wanted.take(self.first) & wanted.take(self.second)
        result: NDArray[np.float64] = np.add.reduce(self.values.compress(both, axis=0))
        return result
