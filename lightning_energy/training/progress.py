"""Watts and kWh in Lightning's progress bar."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

from lightning_energy.training.lightning_private import shows_progress

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

    from lightning_energy.curves.energy import Energy
    from lightning_energy.results.forecast import Forecast

__all__ = ["ENERGY", "FORECAST", "POWER", "BarFigures"]

POWER, ENERGY, FORECAST = "power", "energy", "forecast"
EVERY_S = 1.0  # between two sums of the energy so far, each of which takes up to a millisecond


class BarFigures:
    """The figures that a fit's progress bar shows, for a Tqdm or a Rich bar, or any other that shows its metrics.

    Without a bar, or with one that was disabled, nothing is shown, and nothing is summed up for it.

    A bar shows what is in ``trainer.progress_bar_metrics`` when it refreshes: the same dict for all of a fit. It is
    asked for once, after the first batch: asking makes Lightning work out what was logged, which at the end of an
    epoch may need all ranks. The figures are texts, as Rich would show 12.3e-6 kWh as 0.000.
    """

    def __init__(self) -> None:
        self._shown: dict[str, Any] | None = None
        self._summed_s = -math.inf

    @property
    def is_due(self) -> bool:
        """True when the energy that is shown is a second old."""
        return self._shown is not None and time.monotonic() - self._summed_s > EVERY_S

    def after_batch(self, trainer: Trainer) -> None:
        """Find the bar's figures, if there is a bar."""
        if self._shown is None and shows_progress(trainer):
            self._shown = trainer.progress_bar_metrics  # Lightning's bars take texts, too

    def show_power(self, power_w: float) -> None:
        """Show the mean power of the steps that became known."""
        if self._shown is not None:
            self._shown[POWER] = f"{power_w:.4g} W"

    def show_energy(self, total: Energy) -> None:
        """Show the energy of the training so far; nothing when it is not known."""
        self._summed_s = time.monotonic()
        if self._shown is None:
            return
        if total.energy_kwh is None:
            self._shown.pop(ENERGY, None)
        else:
            self._shown[ENERGY] = f"{total.energy_kwh:.4g} kWh"

    def show_forecast(self, forecast: Forecast | None) -> None:
        """Show the energy at the end of the run: its bounds, or the upper one where a callback may stop it early.

        Without a forecast the last one goes.
        """
        if self._shown is None:
            return
        if forecast is None:
            self._shown.pop(FORECAST, None)
        else:
            low, high = forecast.energy_kwh.low, forecast.energy_kwh.high
            self._shown[FORECAST] = f"<{high:.3g} kWh" if forecast.is_at_most else f"{low:.3g}-{high:.3g} kWh"
