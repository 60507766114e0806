"""One run of a Trainer: the parts that live from ``setup`` to ``teardown``, made together and dropped together."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lightning_energy.curves.energy import NOTHING
from lightning_energy.ledger.counts import Counts
from lightning_energy.ledger.device_clock import clock_of
from lightning_energy.ledger.ranks import Ranks
from lightning_energy.ledger.session import Session
from lightning_energy.meters.find import check_meters, open_meters
from lightning_energy.meters.handlers import raised_by_handler
from lightning_energy.results.rows import known_j, of_energy
from lightning_energy.results.summary import devices_of
from lightning_energy.scores.scorer import Scorer
from lightning_energy.training import log_keys
from lightning_energy.training.alike import as_on_rank_zero
from lightning_energy.training.batch_sources import sources_of
from lightning_energy.training.ended import by_callbacks
from lightning_energy.training.ending import Ending
from lightning_energy.training.fitting import is_fitting
from lightning_energy.training.lightning_private import searches
from lightning_energy.training.logged import (
    epoch_phases,
    log,
    phase_energies,
    phase_values,
    read_metrics,
    to_loggers,
    total_values,
)
from lightning_energy.training.monitor_checks import advice_on_direction, advice_on_reference
from lightning_energy.training.outputs import Outputs
from lightning_energy.training.rank_books import EMPTY, RankBooks
from lightning_energy.training.reporter import Reporter
from lightning_energy.training.score_metrics import ScoreMetrics
from lightning_energy.training.stages import Stages
from lightning_energy.training.step_log import StepLog
from lightning_energy.training.step_phases import StepPhases
from lightning_energy.training.validations import Validations
from lightning_energy.training.waiting_monitors import WaitingMonitors

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lightning.pytorch import LightningModule, Trainer

    from lightning_energy.curves.energy import Energy
    from lightning_energy.ledger.totals import Totals
    from lightning_energy.results.figures import Outcome
    from lightning_energy.results.report import Report
    from lightning_energy.training.error_guard import Warn
    from lightning_energy.training.run_memory import RunMemory
    from lightning_energy.training.settings import Settings
    from lightning_energy.training.stages import BatchHooks

__all__ = ["TrainerRun"]


class TrainerRun:
    """The parts of one run on one rank, and their common work.

    Attributes:
        books: this rank's session and ranks.
        stages: the stage that is in force.
        metrics: the module's score Metrics.
        validations: accuracies and scores.
        waiting: monitors that wait for a value.
        steps: logged steps.
        reporter: reports and the record.
        outputs: record, trace, dashboards, progress bar, terminal.
        ending: knows whether an exception has ended the run, perhaps without a word to us.

    Args:
        trainer: the Trainer.
        module: the module that it runs.
        stage: Lightning's name of its work: ``fit``, ``validate``, ``test``, ``predict``.
        settings: the callback's settings.
        memory: the energy of the run over its sessions.
        warn: takes a topic's first warning.
        left: called when nobody takes marks any more.
        end: a method of the callback that ends the run where Lightning does not call it any more.
        key: the name by which the Trainer calls the callback.

    Raises:
        MeterUnavailable: a meter that was asked for cannot be read, or nothing can and an estimate is refused.
    """

    def __init__(
        self,
        trainer: Trainer,
        module: LightningModule,
        stage: str,
        settings: Settings,
        memory: RunMemory,
        *,
        warn: Warn,
        left: Callable[[], None],
        end: Callable[[], None],
        key: str = "",
    ) -> None:
        settings = as_on_rank_zero(trainer, settings, warn)
        is_fit, ranks, conversion = stage == "fit", Ranks.of(trainer), settings.conversion
        self._memory, self._conversion, self._warn, self._left = memory, conversion, warn, left
        self._log_uncertainty = settings.log_uncertainty
        self.ending = Ending(trainer, end)
        self.outputs = Outputs.of(
            trainer,
            module,
            ranks,
            warn,
            is_fit=is_fitting(trainer),
            record=settings.record,
            trace=settings.trace,
            dashboards=settings.dashboards,
            progress_bar=settings.progress_bar,
            print_report=settings.print_report,
        )
        if is_fit:
            memory.record = self.outputs.place
        counts = Counts(settings.batch_size_fn, settings.per, sources_of(trainer))
        scorer = Scorer(settings.choice, settings.score_rule, ours=log_keys.NAMES)
        phases = StepPhases(trainer, module, key) if is_fit and settings.phases else None
        self.stages = Stages(counts, stage, searches=searches(trainer, in_fit=is_fit), phases=phases)
        wanted, allow, helper = check_meters(settings.meters), settings.allow_estimate, settings.helper
        meters = ranks.claim(lambda: open_meters(wanted, device=ranks.device, allow_estimate=allow, helper=helper))
        clock, self._clock_problem = clock_of(ranks.device)
        session = Session(
            meters,
            clock,
            is_over=self.ending.is_over,
            over=self.ending.look,
            abandoned=self.outputs.abandon,
            trace=self.outputs.is_traced,
            has_phases=phases is not None,
            helper=helper,
        )
        self.books = RankBooks(session, ranks, memory, warn, is_fit=is_fit, left=self._leave)
        self.metrics = ScoreMetrics(self.books)
        self.validations = Validations(
            self.books, scorer, memory, warn, conversion, log_uncertainty=settings.log_uncertainty
        )
        self.validations.resume(memory)
        self.waiting = WaitingMonitors(warn)
        self.reporter = Reporter(
            self.books, self.stages, self.validations, memory=memory, outputs=self.outputs, conversion=conversion
        )
        self.steps = StepLog(
            self.books, self.stages.marks, self.metrics, reporter=self.reporter, outputs=self.outputs, warn=warn
        )

    def begin(self, module: LightningModule, idle_s: float) -> None:
        """Report devices that are not measured, watch idle ones for ``idle_s`` seconds, and enter the first stage."""
        session = self.books.session
        if session is None:
            return
        for topic, text in (("clock", self._clock_problem), ("announcement", session.announcement())):
            if text:
                self._warn(topic, f"EnergyCallback: {text}")
        if idle_s:
            session.watch_idle(idle_s)
        if self.stages.is_fit:
            self.waiting.guard(module.trainer)
        self.metrics.find(module)
        self.stages.begin(session)

    def enter(self, epoch: int, stage: str) -> BatchHooks:
        """Let time belong to this stage of this epoch from now on."""
        return self.stages.enter(self.books.session, epoch, stage)

    def begin_training(self, trainer: Trainer) -> None:
        """Note that searches and the sanity check are over: the training is under way."""
        self.stages.is_training = self._memory.is_begun = True
        advice = advice_on_direction(trainer, self.validations.scorer.rule)
        if advice:
            self._warn("direction", f"EnergyCallback: {advice}")
        self.outputs.begin(trainer, self._memory.run_id)
        self.reporter.forecasts.begin(trainer)

    def begin_validation(self, trainer: Trainer, module: LightningModule) -> None:
        """Remember the metrics that are logged already, and feed the module's score Metrics."""
        if self.books.session is None:
            return
        self.validations.begin(trainer)
        self.reporter.forecasts.begin_validation(trainer)
        self.stages.counts.begin_pass("validate")
        self.metrics.find(module)
        self.metrics.feed()

    def end_validation_epoch(self, trainer: Trainer, module: LightningModule) -> None:
        """Log the validation's energy, and the score if the accuracy is here already."""
        self.stages.counts.end_pass("validate", is_one=len(trainer.num_val_batches) == 1)
        if self.books.session is not None:
            self.validations.end_epoch(trainer, module, self.stages.epoch(trainer.current_epoch))

    def announce(self, trainer: Trainer, *, early: bool = False) -> None:
        """Give the dashboards the configuration; ``early`` is before Lightning logs hyperparameters."""
        if self.books.session is not None:
            name, figures = self.validations.scorer.name, self.validations.figures
            self.outputs.announce(trainer, self.books.session, name, early=early, figures=figures)
            if not early:
                self.reporter.forecasts.begin_epoch(trainer, self._warn)

    def end_validation(self, trainer: Trainer) -> None:
        """Score a late accuracy, keep the choice of the accuracy, and draw the point of the curve over energy."""
        try:
            if self.books.session is not None:
                self._end_validation(trainer)
        finally:  # also after a defect: monitors act next
            if self.stages.is_fit and not trainer.sanity_checking:
                self.waiting.end_validation(trainer, is_measured=self.books.session is not None)

    def _end_validation(self, trainer: Trainer) -> None:
        self.validations.end(trainer)
        self.reporter.forecasts.end_validation(trainer)
        now = self.validations.of_epoch(trainer.current_epoch)
        if self.stages.is_fit and now is not None and now.energy_kwh is not None and not trainer.sanity_checking:
            self._memory.axis = self.outputs.point(trainer, self._memory.axis, now.energy_kwh, now.metric, now.score)

    def end_epoch(self, trainer: Trainer, module: LightningModule) -> None:
        """Log the epoch's training energy, and the total when no validation did; keep its row."""
        try:
            if self.books.session is not None:
                self._end_epoch(self.books.session, trainer, module)
        finally:  # same
            self.waiting.end_epoch(trainer, is_measured=self.books.session is not None)

    def _end_epoch(self, session: Session, trainer: Trainer, module: LightningModule) -> None:
        books, epoch, names = self.books, trainer.current_epoch, self.stages.phase_names
        next_code = self.stages.end_epoch(session)
        self.steps.sum_up()
        read_metrics(trainer, books.ranks)
        told = books.reduce(_of_epoch(books, epoch, names), or_lately=True)
        totals, (train, so_far, validation, *of_phases), _ = told
        total = books.total_of(so_far, totals)
        train_j = known_j(train.energy_j)
        values = ({} if train_j is None else {log_keys.TRAIN_J: train_j}) | phase_values(names, of_phases)
        if not self.validations.has_logged(epoch):
            values |= total_values(total, self._conversion, log_uncertainty=self._log_uncertainty)
        log(module, values, books.ranks, self._warn, is_fit=True, is_training=True)
        if advice := _of_reference(self.validations, trainer, total):
            self._warn("reference", f"EnergyCallback: {advice}")
        if self.outputs.bar is not None:
            self.outputs.bar.show_energy(total)
        row = self.validations.row(epoch, train, validation, total, session=len(self._memory.sessions))
        self.books.epochs.add(epoch, len(self._memory.history), next_code)
        row = replace(row, phases=of_energy(epoch_phases(names, of_phases), row.train_j)) if names else row
        self._memory.history.append(row)
        self.reporter.forecasts.end_epoch(trainer, total, so_far, books.of_fit(totals), self._warn)
        self.reporter.so_far(totals, books.ranks)

    def begin_test(self) -> None:
        """Begin a pass of its samples, and feed the module's score Metrics."""
        self.stages.counts.begin_pass("test")
        self.metrics.feed()

    def end_test(self, trainer: Trainer, module: LightningModule) -> None:
        """Log the energy of a test."""
        self.stages.counts.end_pass("test", is_one=len(trainer.num_test_batches) == 1)
        if self.books.session is None:
            return
        read_metrics(trainer, self.books.ranks)
        _, (energy,), _ = self.books.reduce(lambda t: [t.energy(stage="test")])
        if energy.energy_j is not None:
            log(module, {log_keys.TEST_J: energy.energy_j}, self.books.ranks, self._warn)

    def end_predict(self, trainer: Trainer) -> None:
        """Log the energy of a prediction. Lightning allows no ``self.log`` here: it goes to the loggers."""
        if self.books.session is None:
            return
        _, (energy,), _ = self.books.reduce(lambda t: [t.energy(stage="predict")])
        if energy.energy_j is not None:
            to_loggers(trainer, {log_keys.PREDICT_J: energy.energy_j}, self._warn)

    def state(self) -> dict[str, Any]:
        """Energy of the run so far, for a checkpoint, which our defect must not prevent."""
        books, session = self.books, self.books.of_report
        if session is None or not self.stages.is_training:
            return self._memory.state(NOTHING, books.ranks)
        between, devices = None, []
        try:
            if not session.ledger.is_interrupted:
                self.stages.maybe_begin_search(session)
            totals = session.totals()
            live = books.live(totals)
            if books.ranks.size + books.ranks.left == 1:  # what other ranks spent is known at the end
                between, devices = self.reporter.know_rows_better(totals), devices_of(session, totals)
        except Warning:
            raise
        except Exception as error:  # as in never_fatal
            if raised_by_handler(error):
                raise
            books.give_up("a checkpoint", error)
            live, between, devices = books.live(EMPTY), None, []
        return self._memory.state(
            live, books.ranks, started_unix_s=session.started_unix_s, between=between, devices=devices
        )

    def restore(self, trainer: Trainer, state: Any) -> None:
        """Prepare for a state from a checkpoint: a search may end here, and the run's record is looked for.

        Args:
            trainer: the Trainer.
            state: the state; ``None`` where the checkpoint has none of ours.
        """
        self.stages.end_search(self.books.session)
        if self.stages.is_fit and self._memory.accepts:
            self.outputs.look_back(trainer, state)

    def load(self, state: dict[str, Any]) -> None:
        """Set the energy of earlier sessions, from a checkpoint and from a record that knows more.

        Raises:
            ValueError: the state was written by a newer version, or is damaged.
        """
        self._memory.load(state)
        try:
            if self.stages.is_fit:
                self.outputs.hand_over(self._memory)
        except Exception as error:  # whatever lies there, the training goes on
            if raised_by_handler(error):
                raise
            self._warn(
                "left",
                f"EnergyCallback: the earlier record in the place of this run's cannot be used "
                f"({type(error).__name__}: {error}): energy spent after the checkpoint is not in the total",
            )
        self.validations.resume(self._memory)

    def close(self) -> None:
        """Close everything, for good."""
        self.stages.close()
        self.ending.close()
        self.waiting.release()
        self.outputs.end_writing()
        self.books.close()

    def end(self, outcome: Outcome) -> Report | None:
        """Make the last report; ``None`` where there is none. All ranks take part, unless this one left them."""
        session, trainer = self.books.of_report, self.ending.trainer
        if self.stages.is_fit and trainer is not None and not self.reporter.ended:
            self.reporter.ended = by_callbacks(trainer.callbacks)  # type: ignore[attr-defined]  # set by a connector
        return None if session is None else self.reporter.final(session, outcome)

    def _leave(self) -> None:
        """Let go of all that holds on to the Trainer: nobody takes marks any more."""
        self.stages.leave()
        self.metrics.drop()
        self.outputs.close()
        self.validations.scorer.forget()
        self._left()


def _of_epoch(books: RankBooks, epoch: int, names: Sequence[str]) -> Callable[[Totals], list[Energy]]:
    """The energies of an epoch on this rank: training, the run so far, validation, and the phases of training."""
    return lambda t: [
        t.energy(stage="train", epoch=epoch),
        books.of_fit(t),
        t.energy(stage="validate", epoch=epoch),
        *phase_energies(t, epoch, names),
    ]


def _of_reference(validations: Validations, trainer: Trainer, total: Energy) -> str:
    """Advice on the reference of the score at an epoch's end; empty without a score."""
    last = validations.last
    if last is None or last.score is None:
        return ""
    return advice_on_reference(trainer, validations.scorer.rule, total.energy_kwh, trainer.current_epoch + 1)
