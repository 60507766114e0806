"""The uncertainty that accounts get from the intervals of a curve that they share."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lightning_energy.curves.curve import shape_bound_j
from lightning_energy.curves.energy import MISSING, OF_A_REGISTER
from lightning_energy.ledger.accounts import OUTSIDE
from lightning_energy.ledger.distinct import distinct_places, is_one_of
from lightning_energy.meters.units import NS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lightning_energy.curves.curve import Knots
    from lightning_energy.ledger.pieces import Pieces

__all__ = ["SQRT3", "Uncertainty", "uncertainty_of"]

SQRT3 = math.sqrt(3)  # a rectangular limit of half-width a has the standard uncertainty a/sqrt(3) (GUM 4.3.7)
AT_ONCE = 100_000  # intervals times accounts in one array; more wait only after a thread was stopped
ROUNDING = 1e-12  # share of an interval that is a rounding error, not time, at most


class Uncertainty(NamedTuple):
    """The addition of shared intervals, by used account and by group; see :class:`~lightning_energy.ledger.sums.Sums`.

    Attributes:
        account_j: per used account, its bounds, summed linearly: where the load changes, lines err the same way.
        account_j2: per used account, its independent part as a variance.
        groups: the groups of the used accounts, each by its first account.
        group_j: bounds of each of these groups.
        group_j2: independent part of each of these groups.
        total_j: bounds of all that is within accounts.
        total_j2: independent part of that.
        account_alike_j2: the part of ``account_j2`` that is the same for all devices: by the delay of their counters.
        group_alike_j2: the part of ``group_j2``.
        total_alike_j2: the part of ``total_j2``.
    """

    account_j: NDArray[np.float64]
    account_j2: NDArray[np.float64]
    groups: NDArray[np.int64]
    group_j: NDArray[np.float64]
    group_j2: NDArray[np.float64]
    total_j: float
    total_j2: float
    account_alike_j2: NDArray[np.float64]
    group_alike_j2: NDArray[np.float64]
    total_alike_j2: float

    @classmethod
    def nothing(cls, used: NDArray[np.int64]) -> Uncertainty:
        """No addition."""
        zeros, none = np.zeros(len(used)), np.zeros(0)
        return cls(zeros, zeros, np.zeros(0, dtype=np.int64), none, none, 0.0, 0.0, zeros, none, 0.0)


class _Columns(NamedTuple):
    """The used accounts, then their groups, then all that is within accounts: one column for each.

    Attributes:
        groups: the groups, each by its first account.
        belongs: 1 where a used account (row) is part of a column.
    """

    groups: NDArray[np.int64]
    belongs: NDArray[np.float64]

    @classmethod
    def of(cls, used: NDArray[np.int64], groups: NDArray[np.int64]) -> _Columns:
        used_groups, group = distinct_places(groups[used])
        in_group, is_inside = group[:, None] == np.arange(len(used_groups)), (used != OUTSIDE)[:, None]
        return cls(used_groups, np.concatenate([np.eye(len(used)), in_group, is_inside], axis=1))


class _Intervals(NamedTuple):
    """The intervals of a stretch of a curve.

    Attributes:
        length_s: seconds of each.
        mean_w: mean power of each.
        own_j2: variance of each that its knots carry themselves.
        edge_j2: variance of a cut in each, as its knots lie somewhere within brackets.
        delay_j2: variance of a cut in each, as it is not known how late a register shows an energy.
        is_known: false for missing ones, and for those that are not asked for.
    """

    length_s: NDArray[np.float64]
    mean_w: NDArray[np.float64]
    own_j2: NDArray[np.float64]
    edge_j2: NDArray[np.float64]
    delay_j2: NDArray[np.float64]
    is_known: NDArray[np.bool_]

    @classmethod
    def of(cls, knots: Knots, wanted: NDArray[np.bool_], u_delay_s: float) -> _Intervals:
        length_s, is_known = np.diff(knots.time_ns) * NS, (knots.quality[1:] != MISSING) & wanted
        mean_w = np.diff(knots.energy_j) / length_s
        half2_ns2 = np.maximum(knots.half_width_ns[1:], knots.half_width_ns[:-1]) ** 2.0
        edge_j2 = np.where(is_known, (mean_w * NS) ** 2 * half2_ns2 / 3, 0.0)
        is_late = is_known & is_one_of(knots.quality[1:], OF_A_REGISTER)
        delay_j2 = np.where(is_late, (mean_w * u_delay_s) ** 2, 0.0)
        return cls(length_s, mean_w, np.diff(knots.variance_j2) * wanted, edge_j2, delay_j2, is_known)


def uncertainty_of(
    knots: Knots,
    pieces: Pieces,
    groups: NDArray[np.int64],
    bounds_w: tuple[float, float],
    wanted: NDArray[np.bool_] | None = None,
    *,
    u_delay_s: float = 0.0,
) -> Uncertainty:
    """The uncertainty of straight lines: only an interval that several accounts share adds to it.

    Args:
        knots: the knots of the intervals.
        pieces: the pieces of them.
        groups: for each account, the first one of its group.
        bounds_w: least and greatest power that the device may have had.
        wanted: the intervals that count; by default all.
        u_delay_s: standard uncertainty of the delay with which a register shows an energy.
    """
    n = len(pieces.used)
    wanted = np.ones(len(knots.time_ns) - 1, dtype=bool) if wanted is None else wanted
    used_groups, belongs = _Columns.of(pieces.used, groups)
    length_s, mean_w, own_j2, edge_j2, delay_j2, is_known = _Intervals.of(knots, wanted, u_delay_s)
    bound_j, u2_j2, alike_j2 = np.zeros((3, belongs.shape[1]))
    at_once = max(AT_ONCE // belongs.shape[1], 1)
    for first in range(0, len(length_s), at_once):
        k = slice(first, first + at_once)
        p = slice(*np.searchsorted(pieces.interval, [first, first + at_once]))
        whole_s, rows = length_s[k, None], len(length_s[k])
        place = (pieces.interval[p] - first) * n + pieces.account[p]
        share_s = np.bincount(place, pieces.duration_s[p], rows * n).reshape(rows, n) @ belongs
        rest_s = np.maximum(whole_s - share_s, 0.0)
        is_shared = (share_s > 0) & (rest_s > ROUNDING * whole_s) & is_known[k, None]
        bounds_j = is_shared * shape_bound_j(share_s, rest_s, mean_w[k, None], *bounds_w) / SQRT3
        quad_j2 = is_shared * edge_j2[k, None] + own_j2[k, None] * (share_s / whole_s) ** 2
        bound_j += bounds_j.sum(axis=0)
        u2_j2 += quad_j2.sum(axis=0)
        alike_j2 += (is_shared * delay_j2[k, None]).sum(axis=0)
    u2_j2 += alike_j2
    return Uncertainty(
        bound_j[:n],
        u2_j2[:n],
        used_groups,
        bound_j[n:-1],
        u2_j2[n:-1],
        float(bound_j[-1]),
        float(u2_j2[-1]),
        alike_j2[:n],
        alike_j2[n:-1],
        float(alike_j2[-1]),
    )
