"""Readings of a power sensor beside a counter that moves rarely: they tell how its joules lie in time."""

from __future__ import annotations

from collections import deque
from itertools import accumulate, pairwise

from lightning_energy.meters.units import NS

__all__ = ["PowerBeside"]

MOST_READINGS = 1000  # a hundred seconds of them
FEWEST = 4  # readings inside an interval that tell how its joules lie: a single one may be of any part of a step


class PowerBeside:
    """Keeps the powers that were read since the counter's last move.

    The counter alone says how many joules there were between two of its moves; the powers say when.

    Attributes:
        last_ns: time of the last reading; 0 before the first.
    """

    def __init__(self) -> None:
        self.last_ns = 0
        self._readings: deque[tuple[int, float]] = deque(maxlen=MOST_READINGS)

    @property
    def is_known(self) -> bool:
        """True while there are readings."""
        return bool(self._readings)

    def add(self, time_ns: int, power_w: float | None) -> None:
        """Take one reading; ``None`` where the sensor did not answer."""
        self.last_ns = time_ns
        if power_w is not None:
            self._readings.append((time_ns, power_w))

    def between(self, start_ns: int, end_ns: int, rise_j: float) -> list[tuple[int, float]]:
        """Share the joules of an interval among the readings inside it.

        Args:
            start_ns: beginning of the interval.
            end_ns: its end.
            rise_j: the joules between the two, by the counter.

        Returns:
            Moments inside, each with the joules since the beginning; empty where too few powers are known.
        """
        inside = [(t, w) for t, w in self._readings if start_ns < t < end_ns]
        if len(inside) < FEWEST or rise_j <= 0.0:
            return []
        ends = [(start_ns, inside[0][1]), *inside, (end_ns, inside[-1][1])]
        sums_j = [*accumulate(0.5 * (a_w + b_w) * (b_ns - a_ns) * NS for (a_ns, a_w), (b_ns, b_w) in pairwise(ends))]
        if not sums_j[-1] > 0.0:
            return []
        return [(t, rise_j * sum_j / sums_j[-1]) for (t, _), sum_j in zip(inside, sums_j, strict=False)]

    def take(self, after_ns: int, until_ns: int | None = None) -> list[tuple[int, float]]:
        """Give up the readings behind a moment: nothing else tells the energy there.

        Args:
            after_ns: that moment.
            until_ns: readings behind this one are kept; ``None`` for none.
        """
        taken = [(t, w) for t, w in self._readings if t > after_ns and (until_ns is None or t <= until_ns)]
        kept = [(t, w) for t, w in self._readings if until_ns is not None and t > until_ns]
        self._readings = deque(kept, maxlen=MOST_READINGS)
        return taken
