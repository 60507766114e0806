"""Answers of meters that can be: any other would be a wrong figure, or end the thread that reads all meters."""

from __future__ import annotations

import math
import reprlib

from lightning_energy.meters.base import Reading
from lightning_energy.meters.units import NS

__all__ = ["believed", "believed_w"]

OLDEST_NS = 60_000_000_000  # age of an answer that a meter of the user's may have kept, at most
ADVICE = "A meter's read() returns a Reading of time.monotonic_ns(), joules and watts"


def believed(  # noqa: PLR0911 - each reason is told
    reading: object, before_ns: int, after_ns: int, last_ns: int
) -> tuple[Reading | None, str]:
    """A reading with plain numbers, or ``None`` and the reason why it cannot be.

    Args:
        reading: a meter's answer.
        before_ns: the moment just before the meter was asked.
        after_ns: the moment just after it answered.
        last_ns: end of its last reading that was believed.
    """
    if not isinstance(reading, Reading):
        return None, f"it gives {reprlib.repr(reading)} for a reading. {ADVICE}"
    try:
        start_ns, end_ns = int(reading.start_ns), int(reading.end_ns)
    except (TypeError, ValueError, OverflowError):
        return None, f"its reading is from {reading.start_ns!r} to {reading.end_ns!r} ns. {ADVICE}"
    if not (start_ns <= end_ns <= after_ns and end_ns >= last_ns and before_ns - start_ns <= OLDEST_NS):
        when = _when(start_ns, end_ns, before_ns, after_ns, last_ns)
        return None, f"its reading has an impossible time: {when}. {ADVICE}"
    register_j, power_w = reading.register_j, reading.power_w
    if type(register_j) is float and power_w is None and type(reading.start_ns) is int and math.isfinite(register_j):
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


def _when(start_ns: int, end_ns: int, before_ns: int, after_ns: int, last_ns: int) -> str:
    if end_ns < start_ns:
        return f"it ends {(start_ns - end_ns) * NS:.3g} s before it begins"
    if end_ns > after_ns:
        return f"it lies {(end_ns - after_ns) * NS:.3g} s in the future"
    if before_ns - start_ns > OLDEST_NS:
        return f"it is {(before_ns - start_ns) * NS:.3g} s old"
    return f"it is {(last_ns - end_ns) * NS:.3g} s older than the one before it"
