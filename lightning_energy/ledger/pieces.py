"""The time of a booking, cut wherever a curve has a knot or the training left a mark."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lightning_energy.ledger.distinct import distinct, distinct_places
from lightning_energy.meters.units import NS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lightning_energy.curves.curve import Knots

__all__ = ["Marked", "Pieces"]


class Marked(NamedTuple):
    """Whole intervals of a curve that may be booked, and the marks up to their end (time and account)."""

    knots: Knots
    marks_ns: NDArray[np.int64]
    marks_code: NDArray[np.int64]


class Pieces(NamedTuple):
    """Stretches of time between two cuts (knots and marks), each within one interval of the curve and one account.

    Attributes:
        cut_ns: the cuts, one more than pieces.
        interval: the interval of each piece.
        code: the account of each piece.
        used: the accounts that have a piece: few of many, so that only these are summed over.
        account: the account of each piece, as a place in ``used``.
        duration_s: seconds of each piece.
        quality: index of the quality of each piece.
    """

    cut_ns: NDArray[np.int64]
    interval: NDArray[np.intp]
    code: NDArray[np.int64]
    used: NDArray[np.int64]
    account: NDArray[np.intp]
    duration_s: NDArray[np.float64]
    quality: NDArray[np.int64]

    @classmethod
    def of(cls, due: Marked, code: int) -> Pieces:
        """Cut the intervals that are due.

        Args:
            due: intervals and marks.
            code: the account that is in force at the first knot.
        """
        knots, marks_ns, marks_code = due
        cut_ns = distinct(np.concatenate([knots.time_ns, marks_ns]))
        interval = np.searchsorted(knots.time_ns, cut_ns[:-1], side="right") - 1
        codes = np.concatenate([[code], marks_code])
        codes_of_pieces = codes[np.searchsorted(marks_ns, cut_ns[:-1], side="right")]
        used, account = distinct_places(codes_of_pieces)
        duration_s = np.diff(cut_ns) * NS
        return cls(cut_ns, interval, codes_of_pieces, used, account, duration_s, knots.quality[1:][interval])
