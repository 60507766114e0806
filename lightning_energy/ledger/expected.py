"""Totals that are expected in a moment: bookings wait until they were asked for."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lightning_energy.ledger.booking import no_pause

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lightning_energy.ledger.booking import Pause

__all__ = ["Expected"]

LONGEST_NS = 800_000_000  # longest time for which they are expected: a batch may take longer than those before
DEFECTS = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError)  # not of who pauses
LOOK_S = 0.05  # time between two looks of a booking that waits: what follows on the totals takes some milliseconds


class Expected:
    """The expectation that totals will be asked for in a moment.

    Attributes:
        is_new: true until what they need is worked out.
        failure: a defect of ours in that; ``None`` without one. Then all is worked out when totals are asked for.

    Args:
        clock: the monotonic clock in nanoseconds.

    Example:
        >>> expected = Expected(lambda: 0)
        >>> expected.begin()
        >>> expected.is_new
        True
        >>> expected.end()
        >>> expected.is_new
        False
    """

    def __init__(self, clock: Callable[[], int]) -> None:
        self.is_new = False
        self.failure: Exception | None = None
        self._clock = clock
        self._since_ns: int | None = None
        self._asked = 0  # how often they were asked for

    def begin(self) -> None:
        """Note that they will be."""
        if self.failure is None:
            self.is_new, self._since_ns = True, self._clock()

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Work out what they need: a defect must not end the thread that shares joules out, too."""
        self.is_new = False
        try:
            yield
        except DEFECTS as error:
            self.failure = error

    def end(self) -> None:
        """Note that they were asked for."""
        self.is_new, self._since_ns = False, None
        self._asked += 1

    @property
    def _is_near(self) -> bool:
        since_ns = self._since_ns
        return since_ns is not None and self._clock() - since_ns < LONGEST_NS

    def let_pass(self, foresee: Callable[[Pause], None], pause: Pause) -> None:
        """Wait until they were asked for, or are expected no more.

        Others may be expected by then, where epochs are short: a booking that waited for these, too, might never come.

        Args:
            foresee: works out what they need, once.
            pause: called now and then; without one, nothing is waited for.
        """
        asked = self._asked
        while pause is not no_pause and self._is_near and self._asked == asked:
            foresee(pause)
            time.sleep(LOOK_S)
            pause()
