"""The forecasts of a run's end: made, logged, shown in the bar, and kept for a report of a run that is interrupted."""

from __future__ import annotations

import math
import time
from functools import partial
from typing import TYPE_CHECKING

from lightning_energy.meters.units import J_PER_WH
from lightning_energy.results.notes import Note
from lightning_energy.training import log_keys
from lightning_energy.training.error_guard import never_fatal
from lightning_energy.training.forecaster import Forecaster
from lightning_energy.training.logged import to_loggers
from lightning_energy.training.spent_joules import SpentJoules

if TYPE_CHECKING:
    from collections.abc import Callable

    from lightning.pytorch import Trainer

    from lightning_energy.curves.energy import Energy
    from lightning_energy.results.carbon import Conversion
    from lightning_energy.results.forecast import Forecast
    from lightning_energy.training.error_guard import Warn
    from lightning_energy.training.outputs import Outputs
    from lightning_energy.training.rank_books import RankBooks
    from lightning_energy.training.run_memory import RunMemory

__all__ = ["Forecasts"]

EVERY_S = 1.0  # between two forecasts within an epoch, at least
SHARE = 0.02  # of the time since the training began, where that is more: a forecast takes a millisecond
DERIVED = {"co2eq_g": log_keys.FORECAST_CO2EQ_G, "cost": log_keys.FORECAST_COST}


class Forecasts:
    """Forecasts of a ``fit`` on one rank: after every epoch, and now and then within the session's first.

    There it is every second at first, and later whenever the time so far has grown by a fiftieth: less changes little.

    As the second one begins there is one more: only then something is known of the time between two epochs.

    Attributes:
        last: the last one; ``None`` before the first.
        attend_at: the batch of the epoch from which on :meth:`after_step` may have something to do; infinite after
            the session's first epoch, the only one whose steps are looked at.
        due_s: the time of ``time.monotonic()`` from which on it has, too.

    Args:
        books: this rank's books.
        outputs: has the progress bar.
        conversion: the inputs of CO2e and cost.
        memory: the energy of earlier sessions.
    """

    def __init__(self, books: RankBooks, outputs: Outputs, conversion: Conversion | None, memory: RunMemory) -> None:
        self.last: Forecast | None = None
        self.attend_at = math.inf
        self._books = books
        self._memory = memory
        self._spent: SpentJoules | None = None
        self._outputs = outputs
        self._conversion = conversion
        self._forecaster: Forecaster | None = None
        self._epochs = 0
        self._at_end: tuple[float, float] | None = None  # joules of all ranks at the last epoch's end, and their scale
        self._begun_s = self.due_s = math.inf

    @never_fatal
    def begin(self, trainer: Trainer) -> None:
        """Begin the training."""
        if self._books.session is not None and self._books.is_fit:
            self._forecaster = Forecaster(SpentJoules(self._books.session).now_caught_up)
            self._forecaster.begin(trainer)
            self._begun_s = self.due_s = time.monotonic()
            self.attend_at = 0

    @never_fatal
    def begin_epoch(self, trainer: Trainer, warn: Warn) -> None:
        """Begin an epoch; forecast once, with the first time between two epochs that was seen.

        Args:
            trainer: the Trainer.
            warn: takes a topic's first warning.
        """
        if self._forecaster is None:
            return
        between = self._forecaster.begin_epoch(trainer)
        if self._epochs == 1 and between is not None and self._at_end is not None:
            spent_j, scale = self._at_end
            self._forecast(trainer, spent_j + scale * between.energy_j, scale, warn, begins=True)

    @never_fatal
    def begin_validation(self, trainer: Trainer) -> None:
        """Begin a validation."""
        if self._forecaster is not None and not trainer.sanity_checking:
            self._forecaster.begin_validation(trainer)

    @never_fatal
    def end_validation(self, trainer: Trainer) -> None:
        """End a validation."""
        if self._forecaster is not None and not trainer.sanity_checking:
            self._forecaster.end_validation(trainer)

    @never_fatal
    def after_step(self, trainer: Trainer, batch_idx: int, warn: Warn) -> None:
        """Take in the batches up to a logging step of the first epoch, and forecast.

        Args:
            trainer: the Trainer.
            batch_idx: the batch of the epoch.
            warn: takes a topic's first warning.
        """
        forecaster, books = self._forecaster, self._books
        if forecaster is None:
            return
        forecaster.after_batches(trainer)
        self.attend_at = batch_idx + forecaster.rest(trainer)
        if books.ranks.size > 1 or books.session is None:
            self.due_s = math.inf
            return
        if not forecaster.seen.batches:
            return
        now_s = time.monotonic()
        if now_s >= self.due_s:
            self.due_s = now_s + max(EVERY_S, SHARE * (now_s - self._begun_s))
            if self._spent is None:  # the accounts are summed up this once
                self._spent = SpentJoules.of_totals(books.session)
            spent_j = (self._memory.before.energy_j or 0.0) + self._spent.now().spent_j
            self._forecast(trainer, spent_j, 1.0, warn)

    @never_fatal
    def end_epoch(self, trainer: Trainer, total: Energy, session: Energy, own: Energy, warn: Warn) -> None:
        """End an epoch, and forecast.

        Args:
            trainer: the Trainer.
            total: energy of the run, all ranks and sessions.
            session: energy of this session, all ranks.
            own: energy of this session on this rank.
            warn: takes a topic's first warning.
        """
        if self._forecaster is None:
            return
        self._epochs += 1
        self.attend_at = self.due_s = math.inf
        self._forecaster.end_epoch(trainer)
        if self._books.ranks.is_zero:
            spent_j = total.energy_j if own.energy_j else None  # without energy it knows nothing of the others' pace
            scale = (session.energy_j or 0.0) / (own.energy_j or 1.0)
            self._at_end = None if spent_j is None else (spent_j, scale)
            self._forecast(trainer, spent_j, scale, warn, is_epoch_end=True)

    def _give_up(self, where: str, error: Exception) -> None:
        """Forecast no more after a defect; the energy is measured all the same."""
        self._forecaster = self.last = None
        self.attend_at = self.due_s = math.inf
        self._books.remark(f"No forecast after {type(error).__name__} in {where}: {error}. Please report this as a bug")

    @property
    def notes(self) -> list[Note]:
        """The last forecast, for the record of a run that may be killed and the report of one that was interrupted."""
        return _notes_of(self.last, self._conversion)

    @property
    def notes_later(self) -> Callable[[], list[Note]]:
        """A function that words the same notes when they are needed, in whatever thread."""
        return partial(_notes_of, self.last, self._conversion)

    def _forecast(
        self,
        trainer: Trainer,
        spent_j: float | None,
        scale: float,
        warn: Warn,
        *,
        is_epoch_end: bool = False,
        begins: bool = False,
    ) -> None:
        if self._forecaster is None or self._books.has_given_up:
            return
        found = None if spent_j is None else self._forecaster.forecast(trainer, spent_j, scale=scale, begins=begins)
        if found is not None and not found.left.batches:  # the end
            return
        self.last = found
        if self._outputs.bar is not None:
            self._outputs.bar.show_forecast(found)
        if found is None:
            return
        energy_wh = found.energy_j.scaled(1 / J_PER_WH)
        values = {
            log_keys.FORECAST_WH: energy_wh.value,
            log_keys.FORECAST_LOW_WH: energy_wh.low,
            log_keys.FORECAST_HIGH_WH: energy_wh.high,
            log_keys.FORECAST_LEFT_S: found.left_s.value,
            **{DERIVED[name]: value.value for name, value in found.derived(self._conversion).items()},
        }
        to_loggers(trainer, values, warn, is_epoch_end=is_epoch_end)


def _notes_of(last: Forecast | None, conversion: Conversion | None) -> list[Note]:
    """The last forecast as a sentence; none without one."""
    if last is None:
        return []
    return [Note("forecast", f"Last forecast, after {last.left.done:,} batches: {last.text(conversion)}")]
