"""Knots and marks of one curve that became known since its last booking."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from lightning_energy.curves.curve import Knots
from lightning_energy.ledger.booking import Due

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lightning_energy.ledger.kept import Kept
    from lightning_energy.ledger.sharing.classes import Classes

__all__ = ["News"]


class News(NamedTuple):
    """Knots and marks that are new, and whatever else a booking needs to know.

    Attributes:
        kept: what was booked before.
        run: the new knots, behind the last one before them.
        before: how many of these were known before: one, or at the curve's beginning none.
        time_ns: times of the new marks.
        code: their accounts.
        until_ns: the end of the time whose marks are all known; ``None``: all.
        is_all: true to book every interval now.
        is_exact: true where the curve's register shows the energy at once.
        bounds_w: least and greatest power that the device may have had.
        power_w: mean power of the last interval; ``None`` when it is not known.
        tells_all: true where the energy of every mark is asked for, ends of steps included.
    """

    kept: Kept
    run: Knots
    before: int
    time_ns: NDArray[np.int64]
    code: NDArray[np.int64]
    until_ns: int | None
    is_all: bool
    is_exact: bool
    bounds_w: tuple[float, float]
    power_w: float | None
    tells_all: bool

    def plain(self) -> tuple[Any, ...]:
        """The same, without marks and what was booked, in values that are pickled without a call of Python's."""
        return self.run.plain(), self.before, *self[5:]

    @classmethod
    def of_plain(
        cls, kept: Kept, time_ns: NDArray[np.int64], code: NDArray[np.int64], run: bytes, before: int, *others: Any
    ) -> News:
        """The news whose :meth:`plain` this is, with marks and what was booked."""
        return cls(kept, Knots.of_plain(run), before, time_ns, code, *others)

    @property
    def is_due(self) -> bool:
        """True where there is a new knot, and an interval."""
        news = len(self.run.time_ns) - self.before
        return news > 0 and self.kept.facts.knots + news > 1

    @property
    def end_ns(self) -> int | None:
        """Time of the last knot of all; ``None`` where there is no interval."""
        n = self.kept.facts.knots + len(self.run.time_ns) - self.before
        if n <= 1:
            return None
        return int(self.run.time_ns[-1]) if len(self.run.time_ns) > self.before else self.kept.facts.settled_ns

    @property
    def passed(self) -> int:
        """The number of marks of the run that were known before, or are among the new ones."""
        return self.kept.facts.passed + len(self.time_ns)

    @property
    def is_cheap(self) -> bool:
        """True where nothing is looked for, or fitted."""
        return self.is_exact or self.kept.facts.is_exact

    def due(self, classes: Classes) -> Due:
        """Everything that is kept and new, together.

        Args:
            classes: the table of classes; its lock is held.
        """
        state, n = self.kept.state, self.before
        of_class, end = classes.of(self.code, state.held.end)
        held = state.held.followed_by(self.run.part(slice(n, None)), self.time_ns, self.code, of_class, end)
        return Due(
            state,
            held,
            self.passed,
            classes,
            classes.stage,
            self.until_ns,
            self.is_all,
            self.is_exact,
            self.bounds_w,
            self.power_w,
            tells_all=self.tells_all,
        )
