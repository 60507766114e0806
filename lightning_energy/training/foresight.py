"""The batch shortly before an end at which totals are asked for: then the background begins to work them out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from lightning_energy.meters.clock import monotonic_ns
from lightning_energy.meters.units import NS

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Foresight"]

LEAD_S = 0.2  # seconds before the end at which the work is begun
LEAST_S, MOST_S = 0.08, 0.35  # the least and the most of them for which it is worth it


class Foresight:
    """Plans, from the time that batches take, which one is attended to before the last of a pass.

    Args:
        clock: the monotonic clock in nanoseconds.

    Example:
        >>> times_ns = iter([0, 2 * 10**9, 10**10])
        >>> foresight = Foresight(clock=lambda: next(times_ns))
        >>> begin = lambda: print("begin")
        >>> foresight.attend(100, 0, begin)  # nothing is known of the time of a batch
        inf
        >>> foresight.attend(100, 20, begin)
        97
        >>> foresight.attend(100, 97, begin)
        begin
        inf
    """

    def __init__(self, clock: Callable[[], int] = monotonic_ns) -> None:
        self._clock = clock
        self._last = 0, 0  # the batch that was attended to last, and when
        self._batch_s = math.inf
        self._is_new = self._is_done = False

    def attend(self, batches: float, batch_idx: int, begin: Callable[[], None]) -> float:
        """Let the work begin where it is time; the next batch to attend to, infinity for none.

        Args:
            batches: the number of batches of the pass.
            batch_idx: the number of this one in it.
            begin: begins the work.
        """
        (last_idx, last_ns), now_ns = self._last, self._clock()
        self._last = batch_idx, now_ns
        if batch_idx == 0:
            self._is_new, self._is_done = True, False
        elif batch_idx > last_idx:  # a validation in between makes them seem to take longer
            batch_s = (now_ns - last_ns) * NS / (batch_idx - last_idx)
            self._batch_s = batch_s if self._is_new else min(batch_s, self._batch_s)
            self._is_new = False
        if self._is_done or not 0.0 < self._batch_s < math.inf or not batches < math.inf:
            return math.inf
        left = int(batches) - 1 - batch_idx
        if LEAST_S <= left * self._batch_s <= MOST_S:
            self._is_done = True
            begin()
            return math.inf
        lead = max(1, round(LEAD_S / self._batch_s))
        return int(batches) - 1 - lead if lead < left and lead * self._batch_s <= MOST_S else math.inf
