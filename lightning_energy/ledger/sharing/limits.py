"""Limits of what accounts can have spent, as energy never falls and is known at a counter's updates.

An account has all joules of the intervals that are wholly its own, and of each that it shares at least none and at
most all. Fitted powers know nothing of that: where the power of a moment is far from its class's mean, a share may be
negative, or more than the interval holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lightning_energy.ledger.distinct import distinct_places
from lightning_energy.ledger.room import with_room
from lightning_energy.ledger.sharing.timeline import ones

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lightning_energy.ledger.sharing.pairs import Pairs

__all__ = ["Limits"]

ROUNDS = 30  # of moving joules between neighbours; what is left over then is shared out by straight lines
ROUNDING = 1e-9  # part of an interval that is a rounding error
LEAST_J = 1e-9  # of a figure beyond its limit


class Limits:
    """Least and greatest joules of accounts and of their groups. Arrays are replaced, never changed.

    Attributes:
        low_j: least joules, shape (2, accounts): of accounts, and of groups by their first account.
        high_j: greatest joules.
        group: the first account of each account's group, shape (accounts,).
    """

    def __init__(self) -> None:
        self.low_j, self.high_j = np.zeros((2, 0)), np.zeros((2, 0))
        self.group = np.empty(0, dtype=np.int64)

    def copy(self) -> Limits:
        """The same, which may change by itself."""
        result = Limits.__new__(Limits)
        result.low_j, result.high_j, result.group = self.low_j, self.high_j, self.group
        return result

    def add(
        self,
        used: NDArray[np.int64],
        spent_s: NDArray[np.float64],
        rise_j: NDArray[np.float64],
        slack_j: NDArray[np.float64],
        groups: NDArray[np.int64] | None,
    ) -> None:
        """Add intervals.

        Args:
            used: accounts.
            spent_s: their seconds in each interval, shape (n, used).
            rise_j: of each interval.
            slack_j: joules by which a share may be beyond, as the interval's ends are not known exactly.
            groups: the first account of each account's group; ``None``: each is a group of its own.
        """
        self._grow(int(used.max()) + 1)
        group = used if groups is None else groups[used]
        self.group = self.group.copy()
        self.group[used] = group
        firsts, place = distinct_places(group)
        of_groups_s = spent_s @ ones(place, len(firsts))
        whole_s = spent_s.sum(axis=1)[:, None]
        low_j, high_j = self.low_j.copy(), self.high_j.copy()
        for level, codes, mine_s in ((0, used, spent_s), (1, firsts, of_groups_s)):
            is_in, is_whole = mine_s > ROUNDING * whole_s, mine_s >= (1 - ROUNDING) * whole_s
            is_shared = is_in & ~is_whole
            low_j[level, codes] += rise_j @ is_whole - slack_j @ is_shared
            high_j[level, codes] += rise_j @ is_in + slack_j @ is_shared
        self.low_j, self.high_j = low_j, high_j

    def moves_j(
        self,
        energy_j: NDArray[np.float64],
        line_j: NDArray[np.float64],
        pairs: Pairs,
    ) -> NDArray[np.float64] | None:
        """Find the joules that accounts have to get so that none is beyond its limits; ``None``: nothing.

        Joules move between accounts that share intervals, in proportion to how much they share, so that their sum
        stays. What that does not mend within some rounds goes the straight line's way, which is within all limits.

        Args:
            energy_j: joules of the accounts.
            line_j: the same by straight lines.
            pairs: the pairs of accounts that share intervals.
        """
        n = min(self.low_j.shape[1], len(energy_j))
        found_j = energy_j[:n].copy()
        if not n or not any(np.abs(self._beyond_j(found_j, level)).max() > LEAST_J for level in (0, 1)):
            return None
        first, second, weight = pairs.neighbours
        for _ in range(ROUNDS):
            for level in (1, 0):
                self._move(found_j, level, first, second, weight)
            if max(np.abs(self._beyond_j(found_j, level)).max() for level in (0, 1)) <= LEAST_J:
                break
        away_j = found_j - line_j[:n]
        found_j = line_j[:n] + self._part_within(line_j[:n], away_j) * away_j
        result = np.zeros(len(energy_j))
        result[:n] = found_j - energy_j[:n]
        return result

    def _beyond_j(self, energy_j: NDArray[np.float64], level: int) -> NDArray[np.float64]:
        """Joules that are missing to the next limit, of accounts or groups."""
        n = len(energy_j)
        sums_j = self._by_group(energy_j) if level else energy_j
        low_j, high_j = np.maximum(self.low_j[level, :n], 0.0), np.maximum(self.high_j[level, :n], 0.0)
        result: NDArray[np.float64] = np.minimum(np.maximum(sums_j, low_j), high_j) - sums_j
        if level:
            result[self.group[:n] != np.arange(n)] = 0.0
        return result

    def _move(
        self,
        energy_j: NDArray[np.float64],
        level: int,
        first: NDArray[np.int64],
        second: NDArray[np.int64],
        weight: NDArray[np.float64],
    ) -> None:
        """Move joules from neighbours to what is below a limit, and to them from what is above."""
        n = len(energy_j)
        of = self.group[:n] if level else np.arange(n)
        weight = np.where(of[first] != of[second], weight, 0.0)
        part = weight / np.maximum(np.bincount(of[first], weight, n), 1e-300)[of[first]]
        for sign in (1, -1):  # one after the other, as what one lacks its neighbour may have too much
            flow_j = part * np.maximum(sign * self._beyond_j(energy_j, level), 0.0)[of[first]] * sign
            np.add.at(energy_j, first, flow_j)
            np.subtract.at(energy_j, second, flow_j)

    def _part_within(self, line_j: NDArray[np.float64], away_j: NDArray[np.float64]) -> float:
        """The greatest part of what is away from straight lines that is within all limits."""
        n, part = len(line_j), 1.0
        for level in (0, 1):
            line, away = (self._by_group(x) if level else x for x in (line_j, away_j))
            low_j, high_j = np.maximum(self.low_j[level, :n], 0.0), np.maximum(self.high_j[level, :n], 0.0)
            room_j = np.where(away < 0, line - low_j, high_j - line)
            beyond = np.abs(away) > np.maximum(room_j, 0.0) + LEAST_J
            if beyond.any():
                part = min(part, float((np.maximum(room_j[beyond], 0.0) / np.abs(away[beyond])).min()))
        return part

    def _by_group(self, joules: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sums over groups, each at the place of its first account."""
        result = np.zeros(len(joules))
        np.add.at(result, self.group[: len(joules)], joules)
        return result

    def _grow(self, codes: int) -> None:
        have = self.low_j.shape[1]
        if codes > have:
            n = max(codes, 2 * have)
            self.low_j, self.high_j = with_room(self.low_j, 2, n), with_room(self.high_j, 2, n)
            self.group = np.concatenate([self.group, np.arange(have, n)])
