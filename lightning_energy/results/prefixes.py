"""Figures of many runs: a unit in which they can be read, and as many digits as their uncertainty leaves."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from lightning_energy.meters.units import J_PER_KWH
from lightning_energy.results.readable import scale

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["WH_PER_KWH", "Figures", "count", "energy_unit", "per_cent", "plus_minus", "saved", "significant"]

LARGE = 1e4  # first number that takes more than a glance to read
NEAR = 1e3  # largest ratio of figures under one prefix
DECIMALS = 6  # the most that mean anything on any meter
WH_PER_KWH = 1e3


def energy_unit(energies_kwh: Sequence[float | None]) -> tuple[str, float]:
    """Choose the unit in which energies read well: J for small runs, else Wh.

    Args:
        energies_kwh: energies in kWh; ``None`` is unknown.

    Returns:
        The unit, and the number of them in a kWh.

    Example:
        >>> energy_unit([1e-5, None]), energy_unit([0.2, 40.0])
        (('J', 3600000.0), ('Wh', 1000.0))
    """
    middle = _middle(energies_kwh)
    return ("J", J_PER_KWH) if middle and middle * WH_PER_KWH < 1 else ("Wh", WH_PER_KWH)


def count(number: int) -> str:
    """Write a number of parameters as Lightning's model summary does: K, M, B, T.

    Example:
        >>> count(900), count(25_600_000)
        ('900', '25.6 M')
    """
    size = min((len(str(number)) - 1) // 3, 4)
    return f"{number / 1000**size:.4g} {' KMBT'[size]}".strip()


def significant(value: float, digits: int, sign: str = "") -> str:
    """Write a number with so many significant digits, and with all before the point where these are more.

    Args:
        value: a number.
        digits: the number of significant digits.
        sign: ``+`` to write that of a number above 0, too.

    Example:
        >>> significant(136.9, 2), significant(0.01369, 2), significant(12345.6, 4), significant(1.5, 3, "+")
        ('137', '0.014', '12346', '+1.5')
    """
    return f"{value:{sign}.{max(digits, len(f'{abs(value):.0f}'))}g}"


def per_cent(share: float, digits: int = 2, sign: str = "") -> str:
    """Write a share in percent with so many significant digits; see :func:`significant`.

    Example:
        >>> per_cent(0.1234), per_cent(11.03), per_cent(0.02, 3, "+")
        ('12 %', '1103 %', '+2 %')
    """
    return f"{significant(100 * share, digits, sign)} %"


def saved(logarithm: float) -> str:
    """Write the share that is saved in percent: two digits of it or, beyond 99 %, of what is left.

    Args:
        logarithm: the logarithm of the larger energy over the smaller one.

    Example:
        >>> saved(math.log(1.5)), saved(math.log(300)), saved(math.log(5000))
        ('33 %', '99.67 %', '99.980 %')
    """
    left = 100 * math.exp(-abs(logarithm))
    if left >= 1 or not left:
        return per_cent(1 - left / 100)
    return f"{100 - left:.{_decimals(left, 2)}f} %"


@dataclass(frozen=True)
class Figures:
    """The figures of one column: under one prefix where they are near enough to each other to be read so.

    Attributes:
        unit: the unit that is shown.
        factor: the number of these units in one unit of ``values``.
        values: all figures of the column; ``None`` is unknown.
    """

    unit: str
    factor: float
    values: Sequence[float | None]

    def show(self, value: float, u: float | None = None) -> str:
        """Write one of the figures, with its standard uncertainty where it is known."""
        prefix_factor, prefix = self._common or scale(value * self.factor)
        ratio = self.factor / prefix_factor
        return f"{plus_minus(value * ratio, None if u is None else u * ratio)} {prefix}{self.unit}"

    @cached_property
    def _common(self) -> tuple[float, str] | None:
        known = [v * self.factor for v in self.values if v]
        if not known or max(known) > NEAR * min(known):
            return None
        common = scale(_middle(known) or 0.0)
        return common if max(known) < LARGE * common[0] else scale(max(known))


def plus_minus(value: float, u: float | None) -> str:
    """Write the uncertainty with two significant digits, the value with as many decimals; four digits without one.

    Example:
        >>> plus_minus(12.3456, 0.0123), plus_minus(12.3, None), plus_minus(1234.5, 67.8), plus_minus(2.0, 0.0)
        ('12.346 ± 0.012', '12.30', '1234 ± 68', '2.000 ± 0')
    """
    decimals = _decimals(u, 2) if u else _decimals(value, 4)
    shown = f"{value:.{decimals}f}"
    return shown if u is None else f"{shown} ± {u:.{decimals if u else 0}f}"


def _decimals(value: float, digits: int) -> int:
    """Count the decimals that show so many significant digits of a value; no more than any meter has."""
    return min(max(0, digits - 1 - math.floor(math.log10(abs(value)))), DECIMALS) if value else 0


def _middle(values: Sequence[float | None]) -> float | None:
    """Find the middle of the range on a logarithmic axis."""
    known = [v for v in values if v]
    return math.sqrt(min(known)) * math.sqrt(max(known)) if known else None
