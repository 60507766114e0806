"""Numbers as a person reads them."""

from __future__ import annotations

__all__ = ["duration", "scale", "si"]

PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"))
HOUR_S, MINUTE_S = 3600, 60


def si(value: float, unit: str) -> str:
    """Four significant digits with a prefix.

    Args:
        value: the number, in ``unit``.
        unit: the unit without a prefix.

    Example:
        >>> si(12_340, "J"), si(0.4115, "J"), si(0.0, "J")
        ('12.34 kJ', '411.5 mJ', '0 J')
    """
    factor, prefix = scale(value)
    return f"{value / factor:.4g} {prefix}{unit}"


def scale(value: float) -> tuple[float, str]:
    """The factor and the prefix that suit a value: micro at least, and none for zero."""
    if value == 0:
        return 1.0, ""
    return next(((f, p) for f, p in PREFIXES if abs(value) >= f), PREFIXES[-1])


def duration(seconds: float) -> str:
    """A time in hours, minutes or seconds.

    Args:
        seconds: the time in seconds.

    Example:
        >>> duration(5400), duration(90), duration(0.25)
        ('1.50 h', '1.5 min', '0.25 s')
    """
    if seconds >= HOUR_S:
        return f"{seconds / HOUR_S:.2f} h"
    return f"{seconds / MINUTE_S:.1f} min" if seconds >= MINUTE_S else f"{seconds:.2f} s"
