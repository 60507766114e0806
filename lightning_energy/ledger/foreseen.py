"""A booking for a moment that is worked out shortly before the contents of the accounts are asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lightning_energy.ledger.booking import (
    contents,
    hides_phases,
    is_of_same,
    kernels_to_book_by,
    no_pause,
    work_out,
)
from lightning_energy.ledger.sharing.contents import Contents
from lightning_energy.ledger.since import LONGEST_NS, Since
from lightning_energy.meters.units import NS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lightning_energy.ledger.booking import Booking, Due, Pause, State
    from lightning_energy.ledger.spans import Span
    from lightning_energy.ledger.sums import Sums

__all__ = ["Foreseen", "foreseeable_ns"]


def foreseeable_ns(state: State, now_ns: int, half_width_ns: int) -> int:
    """The moment up to which knots can be booked now as they will be later: all marks that they look at are known.

    Args:
        state: what is booked.
        now_ns: the moment up to which all marks are known, and what they began.
        half_width_ns: greatest half bracket of the knots.
    """
    kernels = state.split.kernels if state.split.n else kernels_to_book_by(state.sharing)
    return now_ns + min(round(min(kernel.lag_s for kernel in kernels) / NS), 0) - half_width_ns


class Foreseen(NamedTuple):
    """A booking, and the contents of the accounts without the time since.

    Attributes:
        booking: the booking.
        known: the contents.
    """

    booking: Booking
    known: Contents

    @classmethod
    def of(cls, due: Due, groups: NDArray[np.int64], pause: Pause = no_pause) -> Foreseen | None:
        """Work it out; ``None`` where nothing can be foreseen, as no powers are known. Needs no lock.

        Args:
            due: knots whose marks are all known, and marks.
            groups: for each account, the first one of its group.
            pause: called between parts of the work.
        """
        booking = work_out(due, groups, pause)
        state = booking.state
        if state.sharing.powers is None or state.sharing.found.kernel.look < 1:
            return None
        pause()
        powers = state.sharing.powers.wide(len(due.stage))
        known = Contents(state.split, state.sharing, powers, hides=hides_phases(due, state.sharing))
        known.variance_j2(np.ones(len(known.energy_j), dtype=bool))  # it keeps what all such questions need
        return cls(booking, known)

    def contents(self, due: Due, groups: NDArray[np.int64], now_ns: int) -> tuple[Sums, list[Span]] | None:
        """The contents at a moment, and the missing time; ``None`` where all has to be booked anew.

        Args:
            due: knots and marks, those behind the last knot included.
            groups: for each account, the first one of its group.
            now_ns: the moment.
        """
        since = self._since(due, groups)
        return None if since is None else contents(due, self.booking, groups, now_ns, (since, self.known))

    def _since(self, due: Due, groups: NDArray[np.int64]) -> Since | None:
        """The time since the booking; ``None`` where its powers have to be asked again."""
        held, sharing, first = due.held, self.booking.state.sharing, self.booking.booked
        last = due.last(sharing.lag_ns)
        if sharing.powers is None or not 0 < first <= last:
            return None
        from_ns, to_ns = held.knots.time_ns[[first, last]].tolist()
        if to_ns - from_ns > LONGEST_NS or not is_of_same(self.booking, due, groups):
            return None
        if not held.is_known[first:last].all():
            return None
        from_j, to_j = held.knots.energy_j[[first, last]].tolist()
        ema_s = sharing.found.kernel.ema_s
        since = Since.of(held, from_ns - sharing.lag_ns, ema_s, to_j - from_j, (to_ns - from_ns) * NS)
        known_w = sharing.powers.wide(len(due.stage)).overall_w
        return since if since.is_as_foreseen(groups, known_w, sharing.powers.scatter) else None
