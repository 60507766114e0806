"""The one clock of all readings, marks and curves."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["fine_clock", "monotonic_ns"]

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
