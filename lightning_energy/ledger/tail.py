"""The time behind a curve's last knot, about which nothing is known yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lightning_energy.curves.energy import MISSING
from lightning_energy.ledger.accounts import OUTSIDE
from lightning_energy.ledger.spans import joined
from lightning_energy.ledger.uncertainty import SQRT3
from lightning_energy.meters.units import NS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lightning_energy.curves.curve import Curve
    from lightning_energy.ledger.marks import Marks
    from lightning_energy.ledger.spans import Span
    from lightning_energy.ledger.sums import Sums

__all__ = ["Tail"]

LONGEST_TAIL_NS = 2_500_000_000  # longest wait that is no silence: the slowest sensors are read every two seconds


class Tail:
    """The time behind a curve's last knot: the last power is assumed to go on for a while, and the rest is missing.

    Args:
        curve: the curve.
        since_ns: its beginning; ``None``: that of the first account.
        code: the account that is in force there.
        marks: the marks since then.
        now_ns: the moment up to which the last power is assumed to go on.
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
        group, is_inside = groups[self._code], self._code != OUTSIDE
        sums.u_account_j += np.bincount(self._code, u_piece_j, n)
        sums.u2_account_j2 += np.bincount(self._code, edge_j2, n)
        # the assumed power is wrong in the same way for all pieces
        sums.u2_group_j2 += np.bincount(group, u_piece_j, n) ** 2 + np.bincount(group, edge_j2, n)
        sums.u2_total_j2 += float(u_piece_j[is_inside].sum()) ** 2 + float(edge_j2[is_inside].sum())

    def missing_ns(self, before: list[Span]) -> list[Span]:
        """The stretches of missing time: those before the last knot, and those behind it."""
        if not self._piece_s.size:
            return before
        return joined(before, self._cut_ns, (self._quality == MISSING) & (self._code != OUTSIDE))

    def _pieces(self) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
        """Energy, quality, uncertainty (of the power) and variance (of the last knot's moment) of each piece."""
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
