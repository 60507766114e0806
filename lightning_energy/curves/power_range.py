"""The least and the greatest power that a device could have had, from everything that was seen of it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightning_energy.meters.base import MeterInfo

__all__ = ["PowerRange"]

ENOUGH_LOOKS = 50  # looks that see a state of a tenth of the time with 99.5 % probability
SPAN_MARGIN = 0.04  # share of the span seen that is added at its ends: sensors average over milliseconds
NEWS = 0.05  # share of its mean power by which an interval of a new load lies outside the span seen


def _known(power_w: float | None) -> float | None:
    """Return a bound, or ``None`` for an infinite one, which bounds nothing."""
    return power_w if power_w is not None and math.isfinite(power_w) else None


class PowerRange:
    """Power of a device, seen as means of intervals and in looks at single moments.

    Args:
        info: the meter's description of itself, whose bounds hold until there were enough looks.

    Attributes:
        looks: number of looks since the load was last found to be a new one.
    """

    def __init__(self, info: MeterInfo) -> None:
        self.looks = 0
        self._least_w, self._most_w = _known(info.power_min_w), _known(info.power_max_w)
        self._lowest_mean_w, self._highest_mean_w = math.inf, 0.0  # of any interval
        self._lowest_w, self._highest_w = math.inf, -math.inf  # of any look

    @property
    def seen(self) -> tuple[int, float, float, float, float]:
        """Everything that was seen so far, as plain values: to be set where another process saw it."""
        return self.looks, self._lowest_mean_w, self._highest_mean_w, self._lowest_w, self._highest_w

    @seen.setter
    def seen(self, seen: tuple[int, float, float, float, float]) -> None:
        self.looks, self._lowest_mean_w, self._highest_mean_w, self._lowest_w, self._highest_w = seen

    def look(self, power_w: float) -> None:
        """Take the power of one moment: only such looks show the power inside an interval."""
        if not 0 <= power_w < math.inf:
            return
        self.looks += 1
        if power_w < self._lowest_w:
            self._lowest_w = power_w
        if power_w > self._highest_w:
            self._highest_w = power_w

    def add(self, mean_w: float, length_ns: int, edges_ns: int) -> None:
        """Take the mean power of one interval.

        A mean outside the span seen begins a new load (training after loading data, say), whose extremes are not known
        yet: the looks are counted anew.

        Args:
            mean_w: the mean power in watts.
            length_ns: length of the interval.
            edges_ns: half the brackets of its two ends, together.
        """
        if mean_w < self._lowest_mean_w:
            self._lowest_mean_w = mean_w
        if mean_w > self._highest_mean_w:
            self._highest_mean_w = mean_w
        slack_w = mean_w * (NEWS + edges_ns / length_ns)
        if self.looks and not self._lowest_w - slack_w <= mean_w <= self._highest_w + slack_w:
            self.looks = 0

    def bounds_w(self) -> tuple[float, float]:
        """Least and greatest power the device could have had inside an interval, in watts.

        The span seen, if there were enough looks, with some of it added; else the meter's own bounds where it knows
        them; else half the lowest and twice the highest mean power of any interval so far. The mean of an interval may
        lie outside: its ends are known no better than the polls stood.
        """
        low = self._least_w or (0.5 * self._lowest_mean_w if math.isfinite(self._lowest_mean_w) else 0.0)
        high = self._most_w or 2.0 * self._highest_mean_w
        if self.looks >= ENOUGH_LOOKS:
            margin_w = SPAN_MARGIN * (self._highest_w - self._lowest_w)
            return max(low, self._lowest_w - margin_w), min(high, self._highest_w + margin_w)
        return low, high
