"""A booking for a moment that is worked out shortly before the contents of the accounts are asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lightning_energy.ledger.booking import (
    Booking,
    contents,
    hides_phases,
    kernels_to_book_by,
    no_pause,
    work_out,
)
from lightning_energy.ledger.kept import Kept
from lightning_energy.ledger.marks import AtMarks
from lightning_energy.ledger.sharing.contents import Contents
from lightning_energy.ledger.since import LONGEST_NS, Since
from lightning_energy.ledger.tail import LONGEST_TAIL_NS
from lightning_energy.meters.units import NS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lightning_energy.ledger.booking import Due, Pause, State
    from lightning_energy.ledger.marks import Marks
    from lightning_energy.ledger.news import News
    from lightning_energy.ledger.spans import Span
    from lightning_energy.ledger.sums import Sums

__all__ = ["Foreseen", "Soon", "foreseeable_ns"]

NO_MARKS = AtMarks.none()


def foreseeable_ns(state: State, now_ns: int, half_width_ns: int) -> int:
    """The moment up to which knots can be booked now as they will be later: all marks that they look at are known.

    Args:
        state: what is booked.
        now_ns: the moment up to which all marks are known, and what they began.
        half_width_ns: greatest half bracket of the knots.
    """
    kernels = state.split.kernels if state.split.n else kernels_to_book_by(state.sharing)
    return now_ns + min(round(min(kernel.lag_s for kernel in kernels) / NS), 0) - half_width_ns


class Soon(NamedTuple):
    """Knots and marks that are booked shortly before the contents are asked for.

    Attributes:
        root: what was booked of the curve then.
        news: what is new since that, or since what was foreseen before.
        due: both together.
    """

    root: Kept
    news: News
    due: Due


class Foreseen(NamedTuple):
    """A booking for a moment, and the contents of the accounts without the time since.

    Attributes:
        kept: what was booked.
        soon: of it.
        groups: for each account, the first one of its group.
        known: the contents.
    """

    kept: Kept
    soon: Soon
    groups: NDArray[np.int64]
    known: Contents

    @classmethod
    def of(cls, soon: Soon, groups: NDArray[np.int64], pause: Pause = no_pause) -> Foreseen | None:
        """Work it out; ``None`` where nothing can be foreseen, as no powers are known. Needs no lock.

        Args:
            soon: knots whose marks are all known, and marks.
            groups: for each account, the first one of its group.
            pause: called between parts of the work.
        """
        due = soon.due
        state = work_out(due, groups, pause).state
        if state.sharing.powers is None or state.sharing.found.kernel.look < 1:
            return None
        pause()
        powers = state.sharing.powers.wide(len(due.stage))
        known = Contents(state.split, state.sharing, powers, hides=hides_phases(due, state.sharing))
        known.variance_j2(np.ones(len(known.energy_j), dtype=bool))  # it keeps what all such questions need
        return cls(Kept(state), soon, groups, known)

    @property
    def is_base(self) -> bool:
        """True where more can be booked on top of it: the powers were known before."""
        return self.soon.root.state.sharing.powers is not None

    def holds(self, root: Kept, marks: Marks, groups: NDArray[np.int64], *, is_exact: bool) -> bool:
        """True where nothing was booked since, and the marks that it looked at are still the same.

        Args:
            root: what is booked of the curve.
            marks: the marks that not every book has passed.
            groups: for each account, the first one of its group.
            is_exact: true where the curve's register shows the energy at once.
        """
        _, news, _ = self.soon
        first = news.kept.facts.passed - marks.dropped
        those = slice(first, first + len(news.time_ns))
        return (
            self.soon.root is root
            and news.is_exact == is_exact
            and first >= 0
            and marks.time_ns[those].tobytes() == news.time_ns.tobytes()
            and marks.code[those].tobytes() == news.code.tobytes()
            and groups[: len(self.groups)].tobytes() == self.groups.tobytes()
        )

    def contents(self, due: Due, groups: NDArray[np.int64], now_ns: int) -> tuple[Sums, list[Span]] | None:
        """The contents at a moment, and the missing time; ``None`` where powers are to be fitted to all intervals.

        Args:
            due: what was booked, with the knots and marks since, those behind the last knot included.
            groups: for each account, the first one of its group.
            now_ns: the moment.
        """
        since = self._since(due, groups, now_ns)
        if since is None:
            if not self.is_base:
                return None
            return contents(due, work_out(due, groups), groups, now_ns)
        booking = Booking(due, due.state, groups, due.held.booked, NO_MARKS)
        return contents(due, booking, groups, now_ns, (since, self.known))

    def _since(self, due: Due, groups: NDArray[np.int64], now_ns: int) -> Since | None:
        """The time since, as one interval; ``None`` where its powers have to be asked again."""
        held, sharing, first = due.held, due.state.sharing, due.held.booked
        last = due.last(sharing.lag_ns)
        if sharing.powers is None or not 0 < first <= last:
            return None
        time_ns, energy_j = held.knots.time_ns, held.knots.energy_j
        from_ns, to_ns = time_ns.item(first), time_ns.item(last)
        if to_ns - from_ns > LONGEST_NS or not held.is_known[first:last].all():
            return None
        if now_ns - (from_ns - sharing.lag_ns) > LONGEST_TAIL_NS:  # whose end is missing, counted from the last update
            return None
        ema_s, rise_j = sharing.found.kernel.ema_s, energy_j.item(last) - energy_j.item(first)
        since = Since.of(held, from_ns - sharing.lag_ns, ema_s, rise_j, (to_ns - from_ns) * NS)
        known_w = sharing.powers.wide(len(due.stage)).overall_w
        return since if since.is_as_foreseen(groups, known_w, sharing.powers.scatter) else None
