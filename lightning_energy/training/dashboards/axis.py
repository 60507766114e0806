"""Energy as the step axis of a chart whose steps are whole numbers."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["UNITS", "AxisUnit", "axis_units"]

FEWEST_STEPS = 100  # units at the first point, where rounding to a whole step then errs by at most 0.5 %


class AxisUnit(NamedTuple):
    """A unit of an energy axis.

    Attributes:
        name: the last word of a tag. ``milli_wh``, as ``mwh`` reads like a million of them.
        symbol: its name in a chart's title.
        kwh: the unit in kWh.
    """

    name: str
    symbol: str
    kwh: float

    def steps(self, energy_kwh: float) -> int:
        """The whole step that stands for an energy."""
        return round(energy_kwh / self.kwh)


UNITS = (AxisUnit("wh", "Wh", 1e-3), AxisUnit("milli_wh", "mWh", 1e-6), AxisUnit("micro_wh", "µWh", 1e-9))


def axis_units(energy_kwh: float, axis: str | None = None) -> tuple[AxisUnit, ...]:
    """The units in which a run's curve over energy is drawn.

    The first is the coarsest of Wh, mWh and µWh of which the run's first point takes at least 100, so that rounding
    to a whole step errs by at most 0.5 % there and less later (a first point below 100 µWh = 0.36 J takes µWh all the
    same). The second is the next finer one: a run that costs up to a thousand times less has that unit in common with
    this one, so that the two can be laid over each other.

    Args:
        energy_kwh: the energy at the point.
        axis: name of the unit that the run began with, which stays; ``None`` when this is its first point.

    Example:
        >>> [unit.symbol for unit in axis_units(0.25)]
        ['Wh', 'mWh']
        >>> [unit.symbol for unit in axis_units(0.25, "milli_wh")]
        ['mWh', 'µWh']
        >>> axis_units(0.25)[0].steps(0.25)
        250
    """
    enough = (i for i, unit in enumerate(UNITS) if unit.steps(energy_kwh) >= FEWEST_STEPS)
    kept = (i for i, unit in enumerate(UNITS) if unit.name == axis)
    first = next(kept, next(enough, len(UNITS) - 1))
    return UNITS[first : first + 2]
