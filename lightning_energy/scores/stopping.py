"""Rules that end a training: pure functions of its validations, which callbacks and replays share.

**Marginal efficiency.** The price of the next point is that of the last ones: over the last ``window`` validations the
energy that was spent, divided by the points that the best value so far has risen by. The best value so far is what a
checkpoint keeps, so that a bad validation costs nothing but its energy. Both sums are taken over the whole window: a
mean of the ratios of single validations would have no value whenever one of them brought nothing.

With any finite limit such a rule stops where ``EarlyStopping`` with ``patience=window`` would, or earlier: that one
asks whether the last validations brought anything, this one whether they brought enough for their energy.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lightning_energy.scores.metric import Mode

__all__ = [
    "POINT",
    "WINDOW",
    "Reached",
    "check_window",
    "ends_by_patience",
    "ends_by_price",
    "point_kwh",
    "reach",
    "reached",
    "validations_within",
]

POINT = 0.01
"""A point of a metric, unless said otherwise: a percentage point of an accuracy."""
WINDOW = 3
"""Validations over which the price of a point is taken."""


class Reached(NamedTuple):
    """The result of a training up to a validation.

    Attributes:
        best: the best value of the metric so far.
        kwh: energy of the training until then in kWh; ``None`` unknown.
        missing_s: seconds until then whose energy is not known and not in ``kwh``.
    """

    best: float
    kwh: float | None
    missing_s: float = 0.0


def reached(values: Iterable[float], energies_kwh: Iterable[float | None], mode: Mode = "max") -> list[Reached]:
    """The best value so far at each validation, with the energy until then.

    Args:
        values: the metric of each validation, in the order of time.
        energies_kwh: the energy of the training up to each in kWh; ``None`` unknown.
        mode: the better direction.

    Example:
        >>> [r.best for r in reached([0.5, 0.4, 0.7], [1.0, 2.0, 3.0])]
        [0.5, 0.5, 0.7]
    """
    found: list[Reached] = []
    for value, kwh in zip(values, energies_kwh, strict=True):
        found.append(reach(found, value, kwh, mode))
    return found


def reach(
    so_far: Sequence[Reached], value: float, kwh: float | None, mode: Mode = "max", missing_s: float = 0.0
) -> Reached:
    """The result up to a further validation.

    Args:
        so_far: what was reached by those before.
        value: its metric.
        kwh: the energy of the training until then in kWh; ``None`` unknown.
        mode: the better direction.
        missing_s: seconds until then whose energy is not known.
    """
    better = max if mode == "max" else min
    return Reached(better(value, so_far[-1].best) if so_far else value, kwh, missing_s)


def point_kwh(so_far: Sequence[Reached], *, window: int = WINDOW, point: float = POINT) -> float | None:
    """Marginal efficiency: the kWh that a further point cost over the last validations.

    Args:
        so_far: what was reached by each validation until now.
        window: the number of validations over which it is taken, from 1 on.
        point: the size of a point in the metric's unit, above 0.

    Returns:
        The price of a point in kWh; infinite where the best value did not change. ``None`` where it is not known: in
        the first ``window`` validations, without one of both energies, and where no energy was spent for nothing.

    Example:
        >>> so_far = [Reached(0.80, 1.0), Reached(0.81, 2.0), Reached(0.81, 3.0), Reached(0.84, 5.0)]
        >>> round(point_kwh(so_far), 9)  # 4 points for 4 kWh
        1.0
        >>> point_kwh(so_far[:3]) is None
        True
    """
    if len(so_far) <= window:
        return None
    first, last = so_far[-1 - window], so_far[-1]
    if first.kwh is None or last.kwh is None or last.kwh < first.kwh:
        return None
    spent_kwh, points = last.kwh - first.kwh, abs(last.best - first.best) / point
    if points > 0:
        return spent_kwh / points
    return math.inf if spent_kwh > 0 else None


def check_window(**settings: object) -> None:
    """Raise unless every setting is a whole number from 1 on."""
    for name, value in settings.items():
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{name}={value!r}: give a whole number of validations from 1 on")
        if value < 1:
            raise ValueError(f"{name}={value!r}: give a whole number of validations from 1 on")


def ends_by_price(
    so_far: Sequence[Reached], *, max_kwh_per_point: float, patience: int = WINDOW, point: float = POINT
) -> int | None:
    """The first validation after which a further point has become too dear.

    Args:
        so_far: what was reached by each validation.
        max_kwh_per_point: the kWh that a point may cost.
        patience: the number of validations over which the price is taken.
        point: the size of a point in the metric's unit.

    Returns:
        Its place, counted from 0; ``None`` where there is none.

    Example:
        >>> so_far = [Reached(0.8, 1.0), Reached(0.9, 2.0), Reached(0.91, 3.0), Reached(0.92, 4.0)]
        >>> ends_by_price(so_far, max_kwh_per_point=0.5, patience=1)
        2
    """
    prices = (point_kwh(so_far[: i + 1], window=patience, point=point) for i in range(len(so_far)))
    return next((i for i, kwh in enumerate(prices) if kwh is not None and kwh > max_kwh_per_point), None)


def ends_by_patience(
    values: Iterable[float | None], *, patience: int, min_delta: float = 0.0, mode: Mode = "max"
) -> int | None:
    """The validation after which Lightning's ``EarlyStopping`` ends a training.

    It waits ``patience`` validations for a value that is better than the best one by more than ``min_delta``. A value
    that is not finite ends the training at once, as ``check_finite=True`` does there.

    Args:
        values: the monitored value of each validation; ``None`` where there is none, as with ``strict=False``.
        patience: the number of validations to wait; 0 counts as 1.
        min_delta: the gain that counts as none, from 0 on.
        mode: the better direction.

    Returns:
        Its place, counted from 0; ``None`` where there is none.

    Example:
        >>> ends_by_patience([0.5, 0.6, 0.6, 0.59, 0.7], patience=2)
        3
    """
    sign = 1.0 if mode == "max" else -1.0
    best, waited = -math.inf, 0
    for i, value in enumerate(values):
        if value is None:
            continue
        if not math.isfinite(value):
            return i
        if sign * value - min_delta > best:
            best, waited = sign * value, 0
            continue
        waited += 1
        if waited >= patience:
            return i
    return None


def validations_within(energies_kwh: Sequence[float | None], budget_kwh: float) -> int | None:
    """The number of validations that a budget of energy has room for.

    A budget is spent once all of it is (:meth:`~lightning_energy.scores.budget_rule.Budget.is_reached`): a training
    stops then, and has the validation that ended with it.

    Args:
        energies_kwh: the energy of the training up to each in kWh, in the order of time; ``None`` unknown.
        budget_kwh: the budget in kWh.

    Returns:
        Their number; ``None`` where the budget lasts to the last one whose energy is known.

    Example:
        >>> validations_within([1.0, 2.0, 3.0], 2.5), validations_within([1.0, 2.0, 3.0], 3.0)
        (2, None)
    """
    return next((i for i, kwh in enumerate(energies_kwh) if kwh is not None and kwh > budget_kwh), None)
