"""The course of a training: the metric of each validation against the energy spent until then.

Plain figures, without records: :mod:`~lightning_energy.comparison.to_target` and pictures are made of these.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lightning_energy.scores.metric import PERCENT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from lightning_energy.results.rows import EpochRow
    from lightning_energy.scores.metric import Mode, Scale

__all__ = [
    "Band",
    "Validation",
    "area",
    "band",
    "best_so_far",
    "common_budget_kwh",
    "course_of",
    "hypervolume",
    "worst_value",
]


class Validation(NamedTuple):
    """A validation at the end of an epoch.

    Attributes:
        kwh: energy of the training up to the end of the epoch in kWh; ``None`` unknown.
        value: the metric.
        u_kwh: absolute standard uncertainty of ``kwh``; ``None`` unknown.
    """

    kwh: float | None
    value: float
    u_kwh: float | None = None


class Band(NamedTuple):
    """The courses of a configuration's runs together: the best value so far, at rising energies.

    Attributes:
        kwh: energies in kWh at which the best value of a run changes.
        low: the smallest of the runs' best values up to each energy.
        mean: their mean.
        high: the largest.
        n: the number of runs.
    """

    kwh: NDArray[np.float64]
    low: NDArray[np.float64]
    mean: NDArray[np.float64]
    high: NDArray[np.float64]
    n: int


def course_of(epochs: Sequence[EpochRow], scale: Scale = "fraction") -> tuple[Validation, ...]:
    """The validations of a training, from the rows of its epochs; an epoch without one has none.

    Args:
        epochs: the rows, in the order of time.
        scale: the scale of the logged values; percentages become fractions.
    """
    divisor = PERCENT if scale == "percent" else 1.0
    return tuple(
        Validation(row.total_kwh, row.metric / divisor, row.total_u_kwh) for row in epochs if row.metric is not None
    )


def best_so_far(course: Sequence[Validation], mode: Mode = "max") -> list[tuple[float, float]]:
    """The steps of a course: energies in kWh at which a value better than all before was seen, with that value.

    Nothing is interpolated: between two validations nobody has looked, and the step stands at the later one.
    Validations whose energy is not known have no place.

    Example:
        >>> best_so_far([Validation(1.0, 0.7), Validation(2.0, 0.6), Validation(3.0, 0.9)])
        [(1.0, 0.7), (3.0, 0.9)]
    """
    steps: list[tuple[float, float]] = []
    for kwh, value, _ in course:
        if kwh is not None and (not steps or (value > steps[-1][1] if mode == "max" else value < steps[-1][1])):
            steps.append((kwh, value))
    return steps


def band(courses: Sequence[Sequence[Validation]], mode: Mode = "max") -> Band | None:
    """The best values so far of several runs of one configuration: mean, smallest and largest.

    It begins where the last of them has a first value. A run that ended keeps its best value: that model is at hand
    for no more energy.

    Args:
        courses: the courses of the runs, in the metric's own unit.
        mode: the better direction.

    Returns:
        The band; ``None`` where a run has no validation with a known energy.

    Example:
        >>> two = band([[Validation(1.0, 0.6), Validation(2.0, 0.8)], [Validation(1.5, 0.7)]])
        >>> two.kwh.tolist(), two.low.tolist(), two.high.tolist()
        ([1.5, 2.0], [0.6, 0.7], [0.7, 0.8])
    """
    steps = [best_so_far(course, mode) for course in courses]
    if not steps or not all(steps):
        return None
    begin = max(run[0][0] for run in steps)
    energies = np.array(sorted({kwh for run in steps for kwh, _ in run if kwh >= begin}))
    values = np.array([_at(run, energies) for run in steps])
    return Band(energies, values.min(axis=0), values.mean(axis=0), values.max(axis=0), len(steps))


def common_budget_kwh(courses: Sequence[Sequence[Validation]]) -> float | None:
    """The energy of the longest of some courses in kWh: with it, no validation of any is left out.

    Returns:
        The energy; ``None`` where none is known.
    """
    energies = [validation.kwh for course in courses for validation in course if validation.kwh is not None]
    return max(energies, default=None)


def worst_value(courses: Sequence[Sequence[Validation]], mode: Mode = "max") -> float | None:
    """The worst value that any of some courses had.

    Returns:
        The value; ``None`` where there is none.
    """
    values = [validation.value for course in courses for validation in course]
    return (min if mode == "max" else max)(values, default=None)


def area(course: Sequence[Validation], budget_kwh: float, floor: float, mode: Mode = "max") -> float:
    r"""The area between a course's best values so far and a floor, from 0 to a budget.

    It is the hypervolume of the course's validations with the reference point (``budget_kwh``, ``floor``). Divided by
    the budget and added to the floor (subtracted from it, where less is better), it is the mean of the best value
    that was at hand while the budget was spent; until the first validation that is the floor.

    Args:
        course: the validations.
        budget_kwh: the energy to which it is taken, the same for all that are compared, above 0.
        floor: the value that counts as nothing: 0 for accuracies, else one that is worse than all.
        mode: the better direction.

    Returns:
        The area in kWh times the metric's unit.

    Raises:
        ValueError: the budget is not above 0.

    Example:
        >>> area([Validation(1.0, 0.5), Validation(3.0, 0.9)], 4.0, 0.0)
        1.9
    """
    return hypervolume(best_so_far(course, mode), budget_kwh, floor, mode)


def hypervolume(points: Sequence[tuple[float, float]], budget_kwh: float, floor: float, mode: Mode = "max") -> float:
    """The area that points of energy and metric dominate, up to a reference point.

    Zitzler and Thiele (1998), the size of the space covered: a figure of a whole set of runs. It depends on the
    reference point, without which it means nothing.

    Args:
        points: energies in kWh, and values of the metric.
        budget_kwh: energy of the reference point, above 0; points beyond it count nothing.
        floor: metric of the reference point; points that are no better count nothing.
        mode: the better direction.

    Returns:
        The area in kWh times the metric's unit.

    Raises:
        ValueError: the budget is not above 0.

    Example:
        >>> hypervolume([(1.0, 0.5), (3.0, 0.9), (2.0, 0.4)], 4.0, 0.0)
        1.9
        >>> hypervolume([(1.0, 30.0), (3.0, 20.0)], 4.0, 40.0, "min")
        40.0
    """
    if not (budget_kwh > 0 and math.isfinite(budget_kwh)):
        raise ValueError(f"budget_kwh={budget_kwh!r}: give a finite number above 0")
    sign = 1 if mode == "max" else -1
    total, height = 0.0, 0.0
    for kwh, value in sorted(points, key=lambda point: point[0]):
        rise = sign * (value - floor) - height
        if kwh < budget_kwh and rise > 0:
            total += rise * (budget_kwh - kwh)
            height += rise
    return total


def _at(steps: Sequence[tuple[float, float]], energies: NDArray[np.float64]) -> NDArray[np.float64]:
    """The best value so far at energies at or after the first step."""
    at, values = zip(*steps, strict=True)
    return np.array(values)[np.searchsorted(np.array(at), energies, side="right") - 1]
