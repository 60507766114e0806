"""Shares of intervals by straight lines: times of all accounts, and joules where nothing better is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lightning_energy.curves.energy import QUALITIES
from lightning_energy.ledger.sums import Shares
from lightning_energy.ledger.uncertainty import Uncertainty, uncertainty_of
from lightning_energy.meters.units import NS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lightning_energy.curves.curve import Knots
    from lightning_energy.ledger.pieces import Pieces

__all__ = ["line_shares"]


def line_shares(
    knots: Knots,
    pieces: Pieces,
    groups: NDArray[np.int64],
    bounds_w: tuple[float, float],
    *,
    by_line: NDArray[np.bool_],
    with_time: bool = True,
    u_delay_s: float = 0.0,
) -> Shares:
    """The shares of the accounts in some intervals.

    Args:
        knots: the knots of the intervals.
        pieces: the pieces of them.
        groups: for each account, the first one of its group.
        bounds_w: least and greatest power that the device may have had.
        by_line: the intervals whose joules are shared out here.
        with_time: false where the times were added before.
        u_delay_s: standard uncertainty of the delay with which the knots show an energy.
    """
    n = len(pieces.used)
    power_w = np.where(by_line, np.diff(knots.energy_j) / (np.diff(knots.time_ns) * NS), 0.0)
    energy_j = np.bincount(pieces.account, pieces.duration_s * power_w[pieces.interval], n)
    spent_s = pieces.duration_s * float(with_time)
    time_s = np.bincount(pieces.quality * n + pieces.account, spent_s, n * len(QUALITIES))
    return Shares(
        pieces.used,
        energy_j.astype(np.float64, copy=False),
        time_s.astype(np.float64, copy=False).reshape(len(QUALITIES), n),
        uncertainty_of(knots, pieces, groups, bounds_w, by_line, u_delay_s=u_delay_s)
        if by_line.any()
        else Uncertainty.nothing(pieces.used),
    )
