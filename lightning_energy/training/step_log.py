"""Steps whose energy became known: logged at logging steps, and kept up with in long epochs."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from lightning_energy.training.foresight import Foresight
from lightning_energy.training.lightning_private import logger_step
from lightning_energy.training.log_keys import POWER_W, STEP_J
from lightning_energy.training.logged import give

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

    from lightning_energy.ledger.session import Session
    from lightning_energy.ledger.step_marks import BatchMarks
    from lightning_energy.ledger.steps import SumsOfSteps
    from lightning_energy.training.error_guard import Warn
    from lightning_energy.training.outputs import Outputs
    from lightning_energy.training.progress import BarFigures
    from lightning_energy.training.rank_books import RankBooks
    from lightning_energy.training.reporter import Reporter
    from lightning_energy.training.score_metrics import ScoreMetrics

__all__ = ["StepLog"]

KEEP_UP_EVERY = 256  # batches
KEEP_UP_S = 10.0  # after which a logging step does so, too, where batches take long
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
        self._reporter, self._forecasts = reporter, reporter.forecasts
        self._outputs = outputs
        self._warn = warn
        self._unlogged: SumsOfSteps | None = None
        self._last_step = -1  # of the logger
        self._keep_up_at_s, self._due_s = time.monotonic() + KEEP_UP_S, 0.0
        self._epoch_end, self._validation_end = Foresight(), Foresight()
        self._epoch_end_at, self._look_ahead_at = math.inf, 0.0

    def attend(self, trainer: Trainer, batch_idx: int) -> None:
        """Log at logging steps, keep up now and then, and plan the next step that does either.

        Lightning's step rises by at most one per batch, so that none of the steps in between has to be looked at. A
        ``log_every_n_steps`` that is changed meanwhile counts from then on.

        The training waits for it, and for all that it calls, with processor caches that hold little of ours: a call
        takes a microsecond and more, so that there are few.
        """
        if self._outputs.bar is not None:
            self._outputs.bar.after_batch(trainer)  # its figures are there from the first batch on
        every = trainer.log_every_n_steps  # type: ignore[attr-defined]  # set by a connector
        step = logger_step(trainer)
        since = (step + 1) % every if every else 1
        if since == 0 and step != self._last_step:  # several micro-batches share a step
            self._last_step = step
            self.log(trainer, step)
            now_s = time.monotonic()
            if now_s >= self._due_s or batch_idx >= self._forecasts.attend_at:
                self._look_around(trainer, batch_idx, now_s)
        elif batch_idx % KEEP_UP_EVERY == KEEP_UP_EVERY - 1:
            self.keep_up()
        if self._metrics.found:  # whose batches are all looked at
            self._metrics.feed_at_end(trainer.num_training_batches, batch_idx)
            return
        attend_at: float = batch_idx + KEEP_UP_EVERY - (batch_idx + 1) % KEEP_UP_EVERY
        if every and batch_idx + every - since < attend_at:
            attend_at = batch_idx + every - since
        if not self._books.ended_lately:  # else all that an epoch's end asks for is known from its validation's
            if not 0 < batch_idx < self._look_ahead_at:
                self._look_ahead(trainer.num_training_batches, batch_idx)
            if self._epoch_end_at < attend_at:  # noqa: PLR1730 - `min` is a call
                attend_at = self._epoch_end_at
        self._marks.plan[0] = attend_at

    def _look_ahead(self, batches: float, batch_idx: int) -> None:
        """Plan the batch shortly before the end of an epoch, and to look again halfway to it: the pace may change."""
        self._epoch_end_at = at = self._epoch_end.attend(batches, batch_idx, self._books.foresee)
        self._look_ahead_at = (batch_idx + at) / 2 if at < math.inf else 0.0

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
        before, news = self._unlogged, self._books.take_steps()
        self._unlogged = news if before is None else before if news is None else before.followed_by(news)

    def log(self, trainer: Trainer, step: int) -> None:
        """Log the steps that became known since the last logging step.

        Args:
            trainer: the Trainer.
            step: the loggers' step.
        """
        known, news = self._books.known, self._unlogged
        if known.found.end != known.taken:
            more = known.take_sums()
            news = more if news is None else news if more is None else news.followed_by(more)
        if news is None:
            return
        n, energy_j, duration_s, _ = news
        self._unlogged = power_w = None
        row = {STEP_J: energy_j / n}
        if self._books.is_power_seen:
            row[POWER_W] = power_w = energy_j / duration_s
        row["epoch"] = trainer.current_epoch
        give(trainer, row, step, self._warn)
        if self._outputs.bar is not None and self._books.session is not None:
            self._show(self._outputs.bar, self._books.session, power_w)

    def _look_around(self, trainer: Trainer, batch_idx: int, now_s: float) -> None:
        """Do what few logging steps do: forecast, and keep up where batches take long."""
        forecasts = self._forecasts
        if forecasts.attend_at < math.inf:
            forecasts.after_step(trainer, batch_idx, self._warn)
        if now_s >= self._keep_up_at_s:
            self._keep_up_at_s = now_s + KEEP_UP_S
            self.keep_up()
        self._due_s = min(self._keep_up_at_s, forecasts.due_s)

    def _show(self, bar: BarFigures, session: Session, power_w: float | None) -> None:
        """Bring the progress bar up to date, if it has our figures."""
        if power_w is not None:
            bar.show_power(power_w)
        if bar.is_due and self._books.ranks.size == 1:  # what other ranks spent is known at an epoch's end
            bar.show_energy(self._books.own(session.totals()))

    def _write_if_due(self) -> None:
        session = self._books.session
        if session is None:
            return
        if self._outputs.is_due:
            self._reporter.so_far(session.totals(), self._books.ranks.alone())
        self._reporter.write_trace(if_many=True)
