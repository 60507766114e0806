"""The score Metrics of the user's module, fed with the energy of the training."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from lightning_energy.scores.metrics import energy_scores

if TYPE_CHECKING:
    from torch.nn import Module

    from lightning_energy.scores.metrics import EnergyScore
    from lightning_energy.training.rank_books import RankBooks

__all__ = ["ScoreMetrics"]

FEED_EVERY_S = 0.1  # between two feeds while no batch is known to be the last


class ScoreMetrics:
    """The :class:`~lightning_energy.EnergyScore` Metrics of a module.

    Attributes:
        found: the Metrics.

    Args:
        books: this rank's books, which know its energy.
    """

    def __init__(self, books: RankBooks) -> None:
        self.found: list[EnergyScore] = []
        self._books = books
        self._fed_s = -math.inf

    def find(self, module: Module) -> None:
        """Look for them anew: a MetricTracker makes a new one every epoch."""
        self.found = [*energy_scores(module)]

    def drop(self) -> None:
        """Let them go."""
        self.found = []

    def feed(self) -> None:
        """Give them this rank's energy; they sum over ranks themselves."""
        books = self._books
        if books.session is None or not self.found:
            return
        energy = books.own(books.session.totals())
        energy_j = energy.energy_j
        if energy_j is None and books.ranks.size > 1 and not books.session.channels:
            energy_j = 0.0  # every device of this rank is read by another one
        if energy_j is not None:
            for metric in self.found:
                metric.set_energy(energy_j, u_j=energy.u_j)

    def feed_at_end(self, batches: float, batch_idx: int) -> None:
        """Feed them at the last batch; or now and then, while none is known to be the last.

        Args:
            batches: their number; infinite when unknown.
            batch_idx: the number of this one.
        """
        if not self.found:
            return
        now_s = time.monotonic()
        if batch_idx + 1 == batches or (batches == math.inf and now_s - self._fed_s > FEED_EVERY_S):
            self._fed_s = now_s
            self.feed()
