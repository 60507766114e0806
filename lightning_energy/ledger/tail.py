"""The time behind a curve's last knot, about which nothing is known yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lightning_energy.curves.energy import MISSING
from lightning_energy.ledger.accounts import OUTSIDE
from lightning_energy.ledger.distinct import distinct
from lightning_energy.ledger.sharing.contents import Ahead
from lightning_energy.ledger.since import Since
from lightning_energy.ledger.spans import joined
from lightning_energy.ledger.uncertainty import SQRT3
from lightning_energy.meters.units import NS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from lightning_energy.ledger.held import Held
    from lightning_energy.ledger.spans import Span
    from lightning_energy.ledger.sums import Sums

__all__ = ["LONGEST_TAIL_NS", "Tail"]

LONGEST_TAIL_NS = 2_500_000_000  # longest wait that is no silence: the slowest sensors are read every two seconds


class Tail:
    """The time behind the last interval that is booked: power is assumed to go on for a while, and the rest is missing.

    Args:
        held: knots and marks.
        since_ns: the beginning; ``None``: that of the first account.
        now_ns: the moment up to which power is assumed to go on.
        power_w: mean power of the last interval; ``None`` when it is not known.
        bounds_w: least and greatest power that the device may have.
        half_width_ns: half the bracket of the beginning.
    """

    def __init__(
        self,
        held: Held,
        since_ns: int | None,
        now_ns: int,
        power_w: float | None,
        bounds_w: tuple[float, float],
        *,
        half_width_ns: int = 0,
    ) -> None:
        marks_ns = held.time_ns
        start_ns = since_ns if since_ns is not None else int(marks_ns[0]) if marks_ns.size else now_ns
        end_ns = max(now_ns, start_ns)
        until_ns = (start_ns if since_ns is None else since_ns) + LONGEST_TAIL_NS
        first, end = marks_ns.searchsorted([start_ns, end_ns], side="right").tolist()
        inside_ns = marks_ns[first:end]
        cut_ns = distinct(np.concatenate([[start_ns, end_ns, min(until_ns, end_ns)], inside_ns]))
        codes = np.concatenate([[held.code[first - 1] if first else held.begin.code], held.code[first:end]])
        self._code = codes[inside_ns.searchsorted(cut_ns[:-1], side="right")]
        self._held, self._cut_ns, self._piece_s = held, cut_ns, (cut_ns[1:] - cut_ns[:-1]) * NS
        self._half_width_ns = half_width_ns
        self._power_w, self._bounds_w = power_w, bounds_w
        is_silent = since_ns is None or power_w is None or not held.n
        last_quality = MISSING if is_silent else held.knots.quality.item(-1)
        self._known = (cut_ns[:-1] < until_ns) & (last_quality != MISSING)
        self._quality = np.where(self._known, last_quality, MISSING)

    def ahead(self, width: int, ema_s: float = 0.0, since: Since | None = None, later_s: Sequence[float] = ()) -> Ahead:
        """The seconds of classes in it, for powers to go on with, parts of phases apart.

        Args:
            width: the number of classes.
            ema_s: time constant of the counter's smoothing: the last of what was before is still to be shown.
            since: the same time, where it was looked at already.
            later_s: how much later the counter is by each kernel than by the first; empty where there is only that.
        """
        known_ns = self._cut_ns[1:][self._known]
        if not known_ns.size:
            return Ahead(np.empty(0, dtype=np.int64), np.empty((0, width)))
        at_ns, until_ns = self._cut_ns.item(0), known_ns.item(-1)
        since = Since.of(self._held, at_ns, ema_s) if since is None else since
        return since.ahead(until_ns - at_ns, width, later_s)

    def add_time(self, sums: Sums) -> None:
        """Add its times to ``sums``."""
        np.add.at(sums.time_s, (self._quality, self._code), self._piece_s)

    def add_line(self, sums: Sums, groups: NDArray[np.int64]) -> None:
        """Add joules to ``sums``, as if the power of the last interval went on."""
        known = self._known
        if not known.any() or self._power_w is None:
            return
        n, power_w, (low_w, high_w) = sums.energy_j.shape[0], self._power_w, self._bounds_w
        energy_j = np.where(known, power_w * self._piece_s, 0.0)
        u_piece_j = np.where(known, max(high_w - power_w, power_w - low_w) * self._piece_s / SQRT3, 0.0)
        edge_j2 = np.zeros(len(energy_j))  # all behind the last knot moves with it, whose moment lies within a bracket
        edge_j2[0] = (power_w * NS * self._half_width_ns) ** 2 / 3
        sums.energy_j += np.bincount(self._code, energy_j, n)
        group, is_inside = groups[self._code], self._code != OUTSIDE
        # the assumed power is wrong in the same way for all pieces, but not as lines between knots are wrong
        sums.u2_account_j2 += np.bincount(self._code, u_piece_j, n) ** 2 + np.bincount(self._code, edge_j2, n)
        sums.u2_group_j2 += np.bincount(group, u_piece_j, n) ** 2 + np.bincount(group, edge_j2, n)
        sums.u2_total_j2 += float(u_piece_j[is_inside].sum()) ** 2 + float(edge_j2[is_inside].sum())

    def missing_ns(self, before: list[Span]) -> list[Span]:
        """The stretches of missing time: those before, and those behind it."""
        if self._known.all():
            return before
        return joined(before, self._cut_ns, ~self._known & (self._code != OUTSIDE))
