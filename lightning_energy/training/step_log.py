"""Steps whose energy became known: logged at logging steps, and kept up with in long epochs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from lightning_energy.results.summary import StepSums
from lightning_energy.training import log_keys
from lightning_energy.training.foresight import Foresight
from lightning_energy.training.lightning_private import logger_step
from lightning_energy.training.logged import to_loggers

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

    from lightning_energy.ledger.step_marks import BatchMarks
    from lightning_energy.training.error_guard import Warn
    from lightning_energy.training.outputs import Outputs
    from lightning_energy.training.rank_books import RankBooks
    from lightning_energy.training.reporter import Reporter
    from lightning_energy.training.score_metrics import ScoreMetrics

__all__ = ["StepLog"]

KEEP_UP_EVERY = 256  # batches
TRIES = 8  # batches of a first validation after which the time of one is known


class StepLog:
    """The work of some training steps besides their marks.

    Args:
        books: this rank's books.
        marks: the marks of steps, which ask for attention.
        metrics: the module's score Metrics.
        reporter: writes the record.
        outputs: shows the power, and takes the trace.
        warn: takes a topic's first warning.
    """

    def __init__(
        self,
        books: RankBooks,
        marks: BatchMarks,
        metrics: ScoreMetrics,
        *,
        reporter: Reporter,
        outputs: Outputs,
        warn: Warn,
    ) -> None:
        self._books = books
        self._marks = marks
        self._metrics = metrics
        self._reporter = reporter
        self._outputs = outputs
        self._warn = warn
        self._unlogged = StepSums()
        self._last_step = -1  # of the logger
        self._epoch_end, self._validation_end = Foresight(), Foresight()

    def attend(self, trainer: Trainer, batch_idx: int) -> None:
        """Log at logging steps, keep up now and then, and plan the next step that does either.

        Lightning's step rises by at most one per batch, so that none of the steps in between has to be looked at. A
        ``log_every_n_steps`` that is changed meanwhile counts from then on.
        """
        self._outputs.find_bar(trainer)
        every = trainer.log_every_n_steps  # type: ignore[attr-defined]  # set by a connector
        since = (logger_step(trainer) + 1) % every if every else 1
        if since == 0:
            self.log(trainer)
        elif batch_idx % KEEP_UP_EVERY == KEEP_UP_EVERY - 1:
            self.keep_up()
        if self._metrics.found:  # whose batches are all looked at
            self._metrics.feed_at_end(trainer.num_training_batches, batch_idx)
            return
        attend_at: float = batch_idx + KEEP_UP_EVERY - (batch_idx + 1) % KEEP_UP_EVERY
        if not self._books.ended_lately:  # else all that an epoch's end asks for is known from its validation's
            batches = trainer.num_training_batches
            attend_at = min(attend_at, self._epoch_end.attend(batches, batch_idx, self._books.foresee))
        self._marks.attend_at = min(attend_at, batch_idx + every - since) if every else attend_at

    def attend_validation(self, trainer: Trainer, batch_idx: int) -> None:
        """Look ahead to the end of a validation with one DataLoader, and plan the next batch that does."""
        self._marks.attend_at = math.inf
        if len(trainer.num_val_batches) == 1 and not trainer.sanity_checking:
            batches = trainer.num_val_batches[0]
            attend_at = self._validation_end.attend(batches, batch_idx, self._books.foresee)
            self._marks.attend_at = attend_at if batch_idx else min(attend_at, TRIES)

    def keep_up(self) -> None:
        """Keep the record young and memory bounded in a long epoch, however rarely steps are logged."""
        self.sum_up()
        self._write_if_due()

    def sum_up(self) -> None:
        """Take single steps in, which are kept for no longer than an epoch, however rarely they are logged."""
        news = self._books.take_steps()
        if news is not None:
            self._unlogged.add(news)

    def log(self, trainer: Trainer) -> None:
        """Log the steps that became known since the last logging step."""
        step = logger_step(trainer)
        if step == self._last_step:  # several micro-batches share a step
            return
        self._last_step = step
        self.sum_up()
        news, self._unlogged = self._unlogged, StepSums()
        if news.n:
            values = {log_keys.STEP_J: news.energy_j / news.n}
            session = self._books.session
            power_w = news.energy_j / news.duration_s if session is not None and session.is_power_seen else None
            if power_w is not None:
                values[log_keys.POWER_W] = power_w
            to_loggers(trainer, values, self._warn)
            self._show(power_w)
        self._reporter.forecasts.after_step(trainer, self._warn)
        self._write_if_due()

    def _show(self, power_w: float | None) -> None:
        """Bring the progress bar up to date, if it has our figures."""
        bar, books = self._outputs.bar, self._books
        if bar is not None and books.session is not None:
            if power_w is not None:
                bar.show_power(power_w)
            if bar.is_due and books.ranks.size == 1:  # what other ranks spent is known at an epoch's end
                bar.show_energy(books.own(books.session.totals()))

    def _write_if_due(self) -> None:
        session = self._books.session
        if session is None:
            return
        if self._outputs.is_due:
            self._reporter.so_far(session.totals(), self._books.ranks.alone())
        self._reporter.write_trace(if_many=True)
