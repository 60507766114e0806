"""Answers of meters that can be: any other would be a wrong figure, or end the thread that reads the meters."""

from __future__ import annotations

import math
import reprlib

from lightning_energy.meters.base import MeterInfo, Reading
from lightning_energy.meters.units import NS

__all__ = ["LONGEST_READ_S", "believed", "believed_info", "believed_w", "not_returned"]

LONGEST_READ_S = 2.0
"""Longest duration of a read whose answer is used, in seconds: what took longer is said to hang."""

OLDEST_S = 10.0  # age at which a reading (of a service that asks its sensor now and then) is by another clock
EARLIEST_S = 1.0  # the same of one that lies ahead
ADVICE = "A meter's read() returns a Reading of lightning_energy.meters.monotonic_ns(), joules and watts"
OTHER_CLOCK = (
    "its reading is from another clock ({:.3g} s {} the call): take the times of a Reading from "
    "lightning_energy.meters.monotonic_ns(), before and after the device is asked"
)


def not_returned(for_s: float) -> str:
    """A sentence about a read that hangs, or hung, for so many seconds."""
    return f"its read has not returned for {for_s:.0f} s"


def believed(  # noqa: PLR0911 - each reason is told
    reading: object, before_ns: int, after_ns: int, last_ns: int
) -> tuple[Reading | None, str]:
    """A reading with plain numbers, or ``None`` and the reason why it cannot be, or says nothing.

    Args:
        reading: a meter's answer.
        before_ns: the moment just before the meter was asked.
        after_ns: the moment just after it answered.
        last_ns: end of its last reading that was believed.
    """
    if (after_ns - before_ns) * NS > LONGEST_READ_S:
        return None, not_returned((after_ns - before_ns) * NS)
    if type(reading) is not Reading and not isinstance(reading, Reading):
        return None, f"it gives {reprlib.repr(reading)} for a reading. {ADVICE}"
    try:
        start_ns, end_ns = int(reading.start_ns), int(reading.end_ns)
    except (TypeError, ValueError, OverflowError):
        return None, f"its reading is from {reading.start_ns!r} to {reading.end_ns!r} ns. {ADVICE}"
    if not (start_ns <= end_ns <= after_ns and end_ns >= last_ns and (before_ns - start_ns) * NS <= OLDEST_S):
        return None, _when(start_ns, end_ns, before_ns, after_ns, last_ns)
    register_j, power_w = reading.register_j, reading.power_w
    if (
        type(register_j) is float
        and power_w is None
        and type(reading.start_ns) is int
        and -math.inf < register_j < math.inf
    ):
        return reading, ""  # the usual answer
    try:
        register_j = None if register_j is None else float(register_j)
        power_w = None if power_w is None else float(power_w)
    except (TypeError, ValueError, RuntimeError, OverflowError):  # RuntimeError: a tensor of several values
        return None, f"its reading is {reprlib.repr(register_j)} J and {reprlib.repr(power_w)} W. {ADVICE}"
    if register_j is not None and not math.isfinite(register_j):
        return None, f"its energy counter reads {register_j} J"
    if register_j is None and power_w is not None and not 0 <= power_w < math.inf:
        return None, f"its power reads {power_w:g} W"
    return Reading(start_ns, end_ns, register_j, power_w), ""


def believed_w(power_w: object) -> float | None:
    """A power in watts that can be; ``None`` for any other answer."""
    try:
        number = None if power_w is None else float(power_w)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return None
    return number if number is not None and 0 <= number < math.inf else None


def believed_info(info: object) -> tuple[MeterInfo | None, str]:
    """A meter's new description, or ``None``; and what is wrong with one that is none."""
    if info is None or isinstance(info, MeterInfo):
        return info, ""
    return None, f"its revised() returned {reprlib.repr(info)}, not a MeterInfo or None"


def _when(start_ns: int, end_ns: int, before_ns: int, after_ns: int, last_ns: int) -> str:
    """The reason why the time of a reading is impossible."""
    before_s, after_s = (before_ns - start_ns) * NS, (end_ns - after_ns) * NS
    if before_s > OLDEST_S:
        return OTHER_CLOCK.format(before_s, "before")
    if after_s > EARLIEST_S:
        return OTHER_CLOCK.format(after_s, "after")
    if end_ns < start_ns:
        when = f"ends {(start_ns - end_ns) * NS:.3g} s before it begins"
    elif end_ns > after_ns:
        when = f"lies {after_s:.3g} s in the future"
    else:
        when = f"is {(last_ns - end_ns) * NS:.3g} s older than the one before it"
    return f"its reading has an impossible time: it {when}. {ADVICE}"
