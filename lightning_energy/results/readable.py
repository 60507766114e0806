"""Numbers and names as a person reads them."""

from __future__ import annotations

from lightning_energy.meters.units import J_PER_WH

__all__ = ["duration", "joules", "one_line", "percent", "scale", "si", "watt_hours"]

PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"))
HOUR_S, MINUTE_S = 3600, 60
SMALL_WH, LARGE_WH = 1e-3, 1e3  # between them energies stand in Wh, the unit of the logged total


def si(value: float, unit: str, digits: int = 4) -> str:
    """Some significant digits with a prefix.

    Args:
        value: the number, in ``unit``.
        unit: the unit without a prefix.
        digits: the number of significant digits.

    Example:
        >>> si(12_340, "J"), si(0.4115, "J"), si(0.0, "J")
        ('12.34 kJ', '411.5 mJ', '0 J')
        >>> si(12_340, "J", digits=3), si(999.9, "J", digits=3)
        ('12.3 kJ', '1 kJ')
    """
    rounded = float(f"{value:.{digits}g}")
    factor, prefix = scale(rounded)
    number = rounded / factor
    return f"{number:.{max(digits, len(f'{abs(number):.0f}'))}g} {prefix}{unit}"


def joules(energy_j: float, u_j: float | None = None) -> str:
    """Joules with their standard uncertainty.

    Args:
        energy_j: the energy.
        u_j: its uncertainty; ``None``: it is not known.

    Example:
        >>> joules(12_340, 56.7), joules(12_340)
        ('12.34 kJ ± 57 J', '12.34 kJ')
    """
    return si(energy_j, "J") if u_j is None else f"{si(energy_j, 'J')} ± {si(u_j, 'J', digits=2)}"


def scale(value: float) -> tuple[float, str]:
    """The factor and the prefix that suit a value: micro at least, and none for zero."""
    if value == 0:
        return 1.0, ""
    return next(((f, p) for f, p in PREFIXES if abs(value) >= f), PREFIXES[-1])


def watt_hours(energy_j: float) -> str:
    """Joules in watt-hours, the unit in which the total is logged; very small and large ones with a prefix.

    Example:
        >>> watt_hours(712), watt_hours(7.2e6), watt_hours(1)
        ('0.198 Wh', '2 kWh', '278 µWh')
    """
    wh = energy_j / J_PER_WH
    return f"{wh:.3g} Wh" if SMALL_WH <= wh < LARGE_WH else si(wh, "Wh", digits=3)


def percent(share: float) -> str:
    """A share in percent, whole from 1 % on.

    Example:
        >>> percent(0.943), percent(0.0043), percent(0.0002), percent(0)
        ('94 %', '0.4 %', '< 0.1 %', '0 %')
    """
    if share == 0:
        return "0 %"
    per_cent = 100 * share
    return f"{per_cent:.0f} %" if per_cent >= 1 else f"{per_cent:.1f} %" if per_cent >= 0.1 else "< 0.1 %"  # noqa: PLR2004 - in the docstring


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


def one_line(text: str) -> str:
    r"""``text`` without line breaks and control characters.

    Records come from anywhere: nothing in a name may steer a terminal or break a table.

    Example:
        >>> one_line("a\nb\x1b[2J")
        'a b?[2J'
    """
    return "".join(sign if sign.isprintable() else "?" for sign in " ".join(text.split()))
