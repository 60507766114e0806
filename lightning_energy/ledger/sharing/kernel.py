"""The way a counter looks at a device: how late it is, how it smooths, and which part of the time it sees."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lightning_energy.ledger.sharing.timeline import Smoothed, Timeline

__all__ = ["AT_ONCE", "Kernel"]


class Kernel(NamedTuple):
    """The rise of a counter between two updates: that of the time ``lag_s`` ago, smoothed, or of a part of it.

    Attributes:
        lag_s: delay between an energy and the update that shows it, in seconds.
        ema_s: time constant of a first-order lag that smooths what the counter shows, in seconds.
        look: part of each period that the sensor looks at, from its beginning on.
    """

    lag_s: float = 0.0
    ema_s: float = 0.0
    look: float = 1.0

    def seconds(
        self, knot_s: NDArray[np.float64], timeline: Timeline, lags_s: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64]:
        """Seconds of every column that the counter's rise in each interval stands for.

        Args:
            knot_s: times of the updates, shape (n + 1,).
            timeline: the columns in force, from well before the first update on.
            lags_s: delays to try instead of :attr:`lag_s`.

        Returns:
            Shape (delays, n, columns).
        """
        return self.seconds_of(timeline.smoothed(self.ema_s), knot_s, lags_s)

    def seconds_of(
        self, smoothed: Smoothed, knot_s: NDArray[np.float64], lags_s: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64]:
        """The same from a timeline that is smoothed already."""
        lags = np.array([self.lag_s]) if lags_s is None else lags_s
        at_s = knot_s[None, :] - lags[:, None]
        cumulative = smoothed.at
        if self.look < 1:
            seen_s = at_s[:, :-1] + self.look * np.diff(at_s, axis=1)
            return (cumulative(seen_s) - cumulative(at_s[:, :-1])) / self.look
        seconds_s = cumulative(at_s)
        result: NDArray[np.float64] = seconds_s[:, 1:] - seconds_s[:, :-1]
        return result

    def shown_scatter(self, length_s: float) -> float:
        """Part of the scatter of power that intervals of some length show: smoothing hides the rest."""
        if not self.ema_s:
            return 1.0
        return 1 - self.ema_s / length_s * (1 - math.exp(-length_s / self.ema_s))

    @property
    def memory_s(self) -> float:
        """Seconds before an update that it still depends on, its own interval apart."""
        return max(self.lag_s, 0.0) + 8 * self.ema_s


AT_ONCE = Kernel()
"""The kernel of a counter that shows the energy at once."""
