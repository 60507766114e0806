"""The one clock of all readings, marks and curves."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Anchor", "Anchors", "anchor", "fine_clock", "monotonic_ns", "unix_ns"]

COARSE_S = 0.001  # longest step of a clock that tells the updates of a sensor apart


def fine_clock() -> Callable[[], int]:
    """The monotonic clock of this Python, or its performance counter where that clock moves in steps of 15 ms.

    These are the steps of Windows before Python 3.13.
    """
    return time.perf_counter_ns if time.get_clock_info("monotonic").resolution > COARSE_S else time.monotonic_ns


monotonic_ns: Final = fine_clock()
"""Nanoseconds since a fixed moment; never falls. ``time.monotonic_ns`` wherever that is fine enough.

Example:
    >>> start_ns = monotonic_ns()
    >>> monotonic_ns() >= start_ns
    True
"""

TRIES = 3  # of reading both clocks at one moment
EVERY_NS = 60_000_000_000  # between two moments that are kept
MOST = 16  # moments that are kept of a session


class Anchor(NamedTuple):
    """A moment by both clocks.

    Attributes:
        monotonic_ns: that of all readings.
        unix_ns: nanoseconds since 1970, by the clock of the day, which may be set at any time.
    """

    monotonic_ns: int
    unix_ns: int


def anchor() -> Anchor:
    """Now, by both clocks.

    Example:
        >>> moment = anchor()
        >>> abs(unix_ns([moment], moment.monotonic_ns + 5) - moment.unix_ns)
        5
    """
    tries = [(monotonic_ns(), time.time_ns(), monotonic_ns()) for _ in range(TRIES)]
    before, at_unix_ns, after = min(tries, key=lambda t: t[2] - t[0])
    return Anchor((before + after) // 2, at_unix_ns)


def unix_ns(anchors: Sequence[Anchor], time_ns: int) -> int:
    """A moment by the clock of the day: between two anchors by a straight line.

    Args:
        anchors: one at least, by rising time.
        time_ns: the moment by the monotonic clock.

    Example:
        >>> anchors = [Anchor(0, 1000), Anchor(100, 1200)]
        >>> [unix_ns(anchors, t) for t in (-10, 0, 50, 100, 110)]
        [990, 1000, 1100, 1200, 1210]
    """
    later = next((i for i, a in enumerate(anchors) if a.monotonic_ns > time_ns), len(anchors))
    start = anchors[max(later - 1, 0)]
    since_ns = time_ns - start.monotonic_ns
    if 0 < later < len(anchors):
        end = anchors[later]
        since_ns = since_ns * (end.unix_ns - start.unix_ns) // (end.monotonic_ns - start.monotonic_ns)
    return start.unix_ns + since_ns


class Anchors:
    """The moments of a session by both clocks: its beginning, some between, and now.

    Attributes:
        started: its beginning.
    """

    def __init__(self) -> None:
        self.started = anchor()
        self._between: tuple[Anchor, ...] = ()
        self._every_ns = EVERY_NS

    def until_now(self) -> tuple[Anchor, ...]:
        """The moments up to now, of which some are kept for later."""
        now, kept = anchor(), self._between
        if now.monotonic_ns - (kept or (self.started,))[-1].monotonic_ns >= self._every_ns:
            self._between = (*kept, now)
            if len(self._between) >= MOST:
                self._between, self._every_ns = self._between[1::2], 2 * self._every_ns
        return (self.started, *(a for a in kept if a.monotonic_ns < now.monotonic_ns), now)
