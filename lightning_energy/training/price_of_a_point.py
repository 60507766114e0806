"""The price of a further point of quality, as it is logged."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from lightning_energy.meters.units import J_PER_KWH, J_PER_WH
from lightning_energy.scores.metric import PERCENT
from lightning_energy.scores.stopping import POINT, WINDOW, Reached, point_kwh, reach

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_energy.training.scored import Scored

__all__ = ["point_of", "point_wh", "with_validation"]


def with_validation(before: Sequence[Reached], now: Scored, window: int = WINDOW) -> list[Reached]:
    """The results of the last validations, this one included: as many as the price of a point takes.

    Args:
        before: those of the validations before.
        now: this validation.
        window: the number of validations over which the price is taken.
    """
    own = reach(before, now.metric.value, now.energy_kwh, now.metric.mode, now.missing_s)
    return [*before, own][-1 - window :]


def point_of(now: Scored, point: float = POINT) -> float:
    """The size of a point in the unit in which the metric is logged: percentages are taken as fractions."""
    return point * PERCENT if now.metric.scale == "percent" else point


def point_wh(before: Sequence[Reached], now: Scored) -> float | None:
    """The energy in Wh that a further point cost over the last validations; ``None`` unknown, and where it is infinite.

    Where some energy is missing among them, it is not known.

    Args:
        before: the results of the validations before.
        now: this validation.
    """
    so_far = with_validation(before, now)
    kwh = point_kwh(so_far, point=point_of(now))
    if kwh is None or not math.isfinite(kwh) or so_far[-1].missing_s > so_far[0].missing_s:
        return None
    return kwh * J_PER_KWH / J_PER_WH
