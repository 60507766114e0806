"""The times of the waits for the first batches of epochs, taken beside the marks of these waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightning_energy.meters.units import NS
from lightning_energy.results.figures import FirstWaits

if TYPE_CHECKING:
    from collections.abc import Callable

    Mark = Callable[[], None]

__all__ = ["FirstWaitTimer"]


class FirstWaitTimer:
    """Times the first wait of each epoch of a session.

    Example:
        >>> timer, times, again = FirstWaitTimer(), iter([10**9, 3 * 10**9]), []
        >>> begin, end = timer.marks(0, lambda: None, lambda: None, times.__next__, lambda: again.append(1))
        >>> begin(), end(), timer.waits, again
        (None, None, FirstWaits(n=1, duration_s=2.0, first_s=2.0), [1])
        >>> timer.marks(0, lambda: None, lambda: None, times.__next__, lambda: None) is None
        True
    """

    def __init__(self) -> None:
        self._epoch = -1
        self._waits_ns: list[int] = []

    def marks(
        self, epoch: int, begin: Mark, end: Mark, clock: Callable[[], int], after: Callable[[], None]
    ) -> tuple[Mark, Mark] | None:
        """The marks of the first wait of an epoch, with its time; ``None`` where it has been waited for.

        Args:
            epoch: the epoch; -1 outside of epochs.
            begin: marks the beginning of a wait.
            end: marks its end.
            clock: the clock of the marks in nanoseconds.
            after: called behind that wait.
        """
        if epoch in {-1, self._epoch}:
            return None
        self._epoch = epoch
        began_ns: list[int] = []

        def begin_first() -> None:
            began_ns.append(clock())
            begin()

        def end_first() -> None:
            end()
            if began_ns:
                self._waits_ns.append(clock() - began_ns.pop())
                after()

        return begin_first, end_first

    @property
    def waits(self) -> FirstWaits:
        """The waits so far."""
        return FirstWaits(len(self._waits_ns), sum(self._waits_ns) * NS, sum(self._waits_ns[:1]) * NS)
