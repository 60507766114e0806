"""Reasons why a reading says nothing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from lightning_energy.meters.units import NS

if TYPE_CHECKING:
    from lightning_energy.meters.base import Reading

__all__ = ["LONGEST_READ_S", "not_returned", "refusal"]

LONGEST_READ_S = 2.0
"""Longest duration of a read whose answer is used, in seconds: what took longer is said to hang."""

OLDEST_S = 10.0  # age at which a reading (of a service that asks its sensor now and then) is by another clock
EARLIEST_S = 1.0  # the same of one that lies ahead
OTHER_CLOCK = (
    "its reading is from another clock ({:.3g} s {} the call): take the times of a Reading from "
    "lightning_energy.meters.monotonic_ns(), before and after the device is asked"
)


def not_returned(for_s: float) -> str:
    """A sentence about a read that hangs, or hung, for so many seconds."""
    return f"its read has not returned for {for_s:.0f} s"


def refusal(reading: Reading, begin_ns: int, end_ns: int) -> str:
    """The reason why a reading is not used; empty for one that is.

    Args:
        reading: the answer of a meter.
        begin_ns: when the meter was asked.
        end_ns: when it had answered.
    """
    if (end_ns - begin_ns) * NS > LONGEST_READ_S:
        return not_returned((end_ns - begin_ns) * NS)
    before_s, after_s = (begin_ns - reading.start_ns) * NS, (reading.end_ns - end_ns) * NS
    if before_s > OLDEST_S:
        return OTHER_CLOCK.format(before_s, "before")
    if after_s > EARLIEST_S:
        return OTHER_CLOCK.format(after_s, "after")
    if reading.end_ns < reading.start_ns:
        return f"its reading ends {(reading.start_ns - reading.end_ns) * NS:.3g} s before it begins"
    if reading.register_j is not None and not math.isfinite(reading.register_j):
        return f"its energy counter reads {reading.register_j:g} J"
    return ""
