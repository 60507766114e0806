"""The rule of an energy budget: plain arithmetic of joules and steps, for trainings that run and that have ended."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any

from lightning_energy.meters.units import J_PER_KWH

__all__ = ["EVERY_S", "MARGIN", "Budget"]

EVERY_S = 2.0
"""Seconds between two looks at what all ranks together have spent, about."""


MARGIN = 4.0
"""Growth of a step's energy within seconds by which one rank would look too late."""


@dataclass(frozen=True)
class Budget:
    """A limit of energy, and the part of it that is kept for what comes after the last step.

    Attributes:
        limit_j: the limit in joules.
        reserve_j: the part of the limit that training steps leave untouched, in joules.

    Example:
        >>> budget = Budget.of(max_kwh=2.0, reserve_kwh=0.5)
        >>> budget.stop_j, budget.is_reached(5.4e6)
        (5400000.0, True)
    """

    limit_j: float
    reserve_j: float = 0.0

    @classmethod
    def of(cls, max_kwh: Any = None, max_j: Any = None, reserve_kwh: Any = 0.0) -> Budget:
        """Check the user's numbers, and make a budget of them.

        Args:
            max_kwh: the limit in kWh; ``None`` where it is given in joules.
            max_j: the limit in joules; ``None`` where it is given in kWh.
            reserve_kwh: the reserve in kWh, below the limit.

        Raises:
            TypeError: a number is none.
            ValueError: both limits, or neither, or an impossible number.
        """
        if (max_kwh is None) == (max_j is None):
            raise ValueError(
                f"max_kwh={max_kwh!r}, max_j={max_j!r}: give one of the two, such as max_kwh=1.5 (1 kWh = 3.6e6 J)"
            )
        name, given, factor = ("max_j", max_j, 1.0) if max_kwh is None else ("max_kwh", max_kwh, J_PER_KWH)
        limit_j = factor * _number(name, given)
        if not 0 < limit_j < math.inf:
            raise ValueError(f"{name}={given!r}: give a finite number above 0")
        reserve_j = J_PER_KWH * _number("reserve_kwh", reserve_kwh)
        if not 0 <= reserve_j < limit_j:
            raise ValueError(
                f"reserve_kwh={reserve_kwh!r}: give a number from 0 on that is less than the budget of "
                f"{limit_j / J_PER_KWH:.4g} kWh"
            )
        return cls(limit_j, reserve_j)

    @property
    def stop_j(self) -> float:
        """The energy in joules at which a training stops: the limit without the reserve."""
        return self.limit_j - self.reserve_j

    def is_reached(self, spent_j: float) -> bool:
        """True where a training that has spent so many joules is to stop: all of it, or more."""
        return spent_j >= self.stop_j

    def steps_to_look(self, spent_j: float, power_w: float, step_s: float, last: int, *, is_alone: bool = False) -> int:
        """The number of steps after which ranks look again at what they have spent together.

        About :data:`EVERY_S` seconds of steps, growing to no more than twice the last number, as first steps are slow;
        and no later than the step at which the budget will be reached if power and pace go on. A rank that is alone
        looks so soon that no step overshoots unless steps take :data:`MARGIN` times the energy meanwhile.

        Args:
            spent_j: joules of all ranks so far.
            power_w: their power together in watts.
            step_s: duration of a step in seconds.
            last: the last such number.
            is_alone: true for one rank, whose looks cost little.

        Returns:
            The number, from 1 on; the same on all ranks where the arguments are.

        Example:
            >>> Budget(1000.0).steps_to_look(spent_j=0.0, power_w=100.0, step_s=0.1, last=64)  # 2 s of steps
            20
            >>> Budget(1000.0).steps_to_look(spent_j=955.0, power_w=100.0, step_s=0.1, last=64)  # 45 J left, 10 J each
            5
        """
        most = max(1, min(2 * last, round(EVERY_S / step_s) if step_s > 0 else 1))
        left_j, step_j = self.stop_j - spent_j, power_w * step_s
        if is_alone and left_j > 0:
            return max(1, min(most, int(left_j / (MARGIN * step_j)) if step_j > 0 else most))
        if left_j <= 0 or left_j > most * step_j:
            return most
        return max(1, math.ceil(left_j / step_j))


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name}={value!r}: give a number")
    try:
        return float(value)
    except OverflowError:  # a whole number may be larger than any float
        return math.inf
