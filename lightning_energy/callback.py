"""EnergyCallback: Lightning's hooks, each translated into a call of the parts in ``training``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lightning.pytorch import Callback, LightningModule, Trainer

from lightning_energy.curves.energy import NOTHING
from lightning_energy.ledger.ranks import Ranks
from lightning_energy.results.notes import Note
from lightning_energy.scores.formula import REFERENCE_KWH
from lightning_energy.training.callback_order import stand_before_monitors
from lightning_energy.training.error_guard import WarnOnce, never_fatal
from lightning_energy.training.run_memory import RunMemory
from lightning_energy.training.settings import Settings
from lightning_energy.training.trainer_run import TrainerRun, is_fitting

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lightning_energy.meters.find import Meters
    from lightning_energy.results.figures import Outcome
    from lightning_energy.results.report import Report
    from lightning_energy.results.trace_files import TraceFormat
    from lightning_energy.training.stages import BatchHooks

__all__ = ["EnergyCallback"]

OF_LIGHTNING = {"log", "log_dict"}  # methods of the module that a Trainer sets on its callbacks: they keep both alive


def _no_mark() -> None:
    """Take no mark: nothing is measured."""


def _no_end(_batch: Any, _batch_idx: int) -> bool:
    """Take no mark, with nothing more to do."""
    return False


# attributes of a run (threads, handles, closures) while there is none; in the instance alone, since a default in the
# class costs 0.4 us more per hook where memory is cold
IDLE: dict[str, Any] = {
    "_run": None,
    "_begin_batch": _no_mark,
    "_end_batch": _no_mark,
    "_end_training_batch": _no_end,
}


class EnergyCallback(Callback):
    """Measure the energy of a training, log it, and score the accuracy by it.

    Logs the names of :mod:`lightning_energy.training.log_keys` to every logger of the Trainer. ``energy/score`` is in
    ``trainer.callback_metrics`` in the epoch it belongs to, so that ``EarlyStopping(monitor="energy/score",
    mode="max")`` and ``ModelCheckpoint`` can act on it. After a run, :attr:`report` holds the figures.

    Args:
        meters: the meters: ``"auto"`` (the device this rank trains on, plus the node's CPU packages and DRAM
            where they can be read), names (``"nvml"``, ``"rapl"``, ``"estimate"``), :class:`~lightning_energy.Meter`
            objects, or a list of these.
        accuracy: name of the logged metric that the score uses. By default the one logged validation metric
            whose name says accuracy; see :func:`~lightning_energy.scores.metric_name.find_accuracy` for the rule.
        score: a function of (accuracy, energy_kwh). By default
            :func:`~lightning_energy.functional.energy_penalized_accuracy` with ``reference_kwh``.
        reference_kwh: the energy in kWh at which the default score's penalty begins to bite. The default of
            1 kWh suits runs that cost about as much; give a short run its own scale.
        batch_size_fn: a function from a batch to its number of samples, for the energy per sample. By default the
            first dimension of the first tensor in it; see :func:`~lightning_energy.ledger.batch_size.size_of`.
        idle_s: seconds to watch the idle devices in ``setup``, for a second figure, the energy above idle; 0
            leaves it out.
        allow_estimate: whether ``"auto"`` may fall back to a model of the CPU (labelled ``estimated``) on a
            machine where nothing can be measured. If not, such a machine raises in ``setup``.
        print_report: whether to print the report after the run, on rank zero. By default where the Trainer prints as
            well: not if both its progress bar and its model summary are disabled.
        record: whether to keep a record of the run on disk, ``energy.json`` beside the files of the first logger (none
            without a logger or in a ``fast_dev_run``); or the path of the file or its folder.
        trace: ``"csv"`` or ``"parquet"`` to keep every point of the curves and every step and gap beside the record, so
            that any figure can be recomputed; see :class:`~lightning_energy.results.trace_files.TraceFiles`.
            By default not.
        carbon_intensity: grams of CO2e per kWh of your electricity, or the code of a country (``"DEU"``, ``"de"``) of
            the shipped table; see :func:`~lightning_energy.results.carbon.find_intensity`. With it CO2e, of earlier
            sessions too, is logged and reported as a derived figure; by default it is not.
        pue: the power usage effectiveness of the facility, from 1 on. CO2e and cost are multiplied by it; the energies
            are not: they are those of the devices. 1 is IT energy only.
        price: price of a kWh in your currency, for a derived cost.
        dashboards: whether TensorBoard, Weights & Biases and MLflow also get curves over energy, the run's
            configuration and outcome, and the report. The logged names go to every logger in any case.
        progress_bar: whether to show watts and kWh so far in Lightning's progress bar: as of the last logging step,
            or of the last epoch if there are several ranks.
        log_uncertainty: whether to log the total's absolute uncertainty, too, as ``energy/total_u_wh``.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument has an impossible value.
        ModuleNotFoundError: an argument asks for an extra that is not installed.

    Example:
        >>> from lightning_energy import EnergyCallback
        >>> callback = EnergyCallback(accuracy="val_acc", reference_kwh=0.01)
    """

    report: Report | None
    _run: TrainerRun | None
    _begin_batch: Callable[[], None]
    _end_batch: Callable[[], None]
    _end_training_batch: Callable[[Any, int], bool]

    def __init__(
        self,
        *,
        meters: Meters = "auto",
        accuracy: str | None = None,
        score: Callable[[float, float], float] | None = None,
        reference_kwh: float = REFERENCE_KWH,
        batch_size_fn: Callable[[Any], int] | None = None,
        idle_s: float = 0.0,
        allow_estimate: bool = True,
        print_report: bool | None = None,
        record: bool | str | Path = True,
        trace: TraceFormat | None = None,
        carbon_intensity: float | str | None = None,
        pue: float = 1.0,
        price: float | None = None,
        dashboards: bool = True,
        progress_bar: bool = False,
        log_uncertainty: bool = False,
    ) -> None:
        super().__init__()
        self.meters = meters
        self.accuracy = accuracy
        self.score = score
        self.reference_kwh = reference_kwh
        self.batch_size_fn = batch_size_fn
        self.idle_s = idle_s
        self.allow_estimate = allow_estimate
        self.print_report = print_report
        self.record = record
        self.trace = trace
        self.carbon_intensity = carbon_intensity
        self.pue = pue
        self.price = price
        self.dashboards = dashboards
        self.progress_bar = progress_bar
        self.log_uncertainty = log_uncertainty
        Settings.of(self)  # raises where one of them is wrong
        self.report = None
        self._memory = RunMemory()
        self._warn = WarnOnce()
        self._forget_run()

    def __getstate__(self) -> dict[str, Any]:
        """Settings and memory; a copy has no run."""
        return {name: value for name, value in self.__dict__.items() if name not in OF_LIGHTNING} | IDLE

    @property
    def history(self) -> list[dict[str, Any]]:
        """One row per training epoch, as logged: its energies, the total, the metric and the score."""
        return [row.to_plain() for row in self._memory.history]

    # ------------------------------------------------------------------------------------- begin and end of a run

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Open the meters and start measuring.

        Raises:
            MeterUnavailable: a meter that was asked for cannot be read, or none can and an estimate is refused.
        """
        self._drop()
        self._memory.refuse()
        if stage == "fit":
            self._memory.return_borrowed()
        if trainer.barebones:
            self._warn("barebones", "Trainer(barebones=True) logs nothing: EnergyCallback is off for this run")
            return
        stand_before_monitors(self, trainer)
        self._memory = trainer.strategy.broadcast(self._memory)  # after an exception ranks may know different things
        self._run = run = TrainerRun(
            trainer, pl_module, stage, Settings.of(self), self._memory, warn=self._warn, left=self._leave
        )
        run.begin(pl_module, self.idle_s)
        self._follow(run.stages.hooks)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Stop measuring, and make the report."""
        self._end("completed")

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Report an interrupted run, without collectives: other ranks may not come."""
        if self._run is not None:
            self._run.books.leave_ranks()
        self._end("interrupted")

    def _end(self, outcome: Outcome) -> None:
        try:
            if self._run is not None and self._run.books.is_ours:
                self._finish(self._run)
                self._report(outcome)
        finally:
            self._drop()
            for name in OF_LIGHTNING:
                self.__dict__.pop(name, None)

    @never_fatal
    def _finish(self, run: TrainerRun) -> None:
        """Finish the books apart from the report: whatever fails, this rank comes to the reduction that follows."""
        run.books.finish()

    @never_fatal
    def _report(self, outcome: Outcome) -> None:
        report = None if self._run is None else self._run.end(outcome)
        if self._run is not None and report is not None:
            self.report = report
            self._run.reporter.publish(report)

    def _give_up(self, where: str, error: Exception) -> None:
        if self._run is not None:
            self._run.books.give_up(where, error)

    def _drop(self) -> None:
        """Drop the run, and close everything it owns."""
        run = self._run
        self._forget_run()
        if run is not None:
            run.books.close()

    def _forget_run(self) -> None:
        for name, value in IDLE.items():
            setattr(self, name, value)

    def _leave(self) -> None:
        """Take no more marks: the session is over. The run stays to its end, and knows that a training is under way."""
        if self._run is not None:
            self._follow(self._run.stages.hooks)

    def _follow(self, hooks: BatchHooks) -> None:
        self._begin_batch, self._end_batch, self._end_training_batch = hooks

    def _enter(self, epoch: int, stage: str) -> None:
        """Let time belong to this stage of this epoch from now on."""
        if self._run is not None:
            self._follow(self._run.enter(epoch, stage))

    # ------------------------------------------------------------------------------------- checkpoints

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Decide whether the state that follows counts; a search in the middle of a run may end here."""
        run = self._run
        self._memory.decide(is_fit=is_fitting(trainer), is_training=run is not None and run.stages.is_training)
        self._end_search()

    @never_fatal
    def _end_search(self) -> None:
        if self._run is not None:
            self._run.stages.end_search(self._run.books.session)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Set the energy of earlier sessions."""
        if not self._memory.accepts:
            return
        try:
            (self._memory if self._run is None else self._run).load(state_dict)
        except ValueError as error:
            note = Note("unknown_before", f"The energy of earlier sessions is not known, and not in the total: {error}")
            self._memory.begin_anew(note)
            self._warn("state", f"EnergyCallback: {note.text}")

    def state_dict(self) -> dict[str, Any]:
        """Energy of the run so far, in plain types."""
        return self._memory.state(NOTHING, Ranks()) if self._run is None else self._run.state()

    # ------------------------------------------------------------------------------------- batches

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Mark the beginning of a step."""
        self._begin_batch()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Mark the end of a step; at logging steps, log those that became known."""
        if self._end_training_batch(batch, batch_idx):
            self._attend(trainer, batch_idx)

    @never_fatal
    def _attend(self, trainer: Trainer, batch_idx: int) -> None:
        if self._run is not None:
            self._run.steps.attend(trainer, batch_idx)

    def _batch_start(self, *args: Any, **kwargs: Any) -> None:
        """Mark the beginning of a step."""
        self._begin_batch()

    on_validation_batch_start = on_test_batch_start = on_predict_batch_start = _batch_start

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Mark the end of a validation step."""
        self._end_batch()
        if self._run is not None and self._run.metrics.found:
            self._feed_at_end(trainer.num_val_batches[dataloader_idx], batch_idx)

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Mark the end of a test step."""
        self._end_batch()
        if self._run is not None and self._run.metrics.found:
            self._feed_at_end(trainer.num_test_batches[dataloader_idx], batch_idx)

    def on_predict_batch_end(self, *args: Any, **kwargs: Any) -> None:
        """Mark the end of a prediction step."""
        self._end_batch()

    @never_fatal
    def _feed_at_end(self, batches: float, batch_idx: int) -> None:
        if self._run is not None:
            self._run.metrics.feed_at_end(batches, batch_idx)

    # ------------------------------------------------------------------------------------- stages

    @never_fatal
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Enter the training: searches, if any, are over. Lightning logs hyperparameters next."""
        self._enter(-1, "train")
        if self._run is not None:
            self._run.announce(trainer, early=True)

    @never_fatal
    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Enter the sanity check, a stage of its own."""
        self._enter(-1, "sanity_check")

    @never_fatal
    def on_sanity_check_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Return to the time before the first epoch."""
        self._enter(-1, "train")

    @never_fatal
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note that the training is under way."""
        if self._run is not None:
            self._run.begin_training(trainer)

    @never_fatal
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Enter an epoch."""
        if self._run is not None:
            self._run.announce(trainer)
            self._enter(trainer.current_epoch, "train")
            self._run.metrics.feed()

    @never_fatal
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the epoch's training energy, and the total when no validation did."""
        if self._run is not None:
            self._run.end_epoch(trainer, pl_module)
        if self._run is not None:
            self._follow(self._run.stages.hooks)

    @never_fatal
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Enter the time after the last epoch."""
        self._enter(-1, "train")

    @never_fatal
    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Enter a validation; that of the sanity check was entered before."""
        if self._run is not None:
            if not trainer.sanity_checking:
                self._enter(self._run.stages.epoch(trainer.current_epoch), "validate")
            self._run.begin_validation(trainer, pl_module)

    @never_fatal
    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the validation's energy, and the score if the accuracy is here already."""
        if self._run is not None and not trainer.sanity_checking:
            self._run.end_validation_epoch(trainer, pl_module)

    @never_fatal
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Score an accuracy that was logged after our ``on_validation_epoch_end``, by the module itself for example.

        Raises:
            AccuracyError: the sanity check shows that it is no fraction.
        """
        if self._run is not None:
            self._run.end_validation(trainer)
            if self._run.stages.is_fit and not trainer.sanity_checking:
                self._enter(trainer.current_epoch, "train")

    @never_fatal
    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Enter a test."""
        self._enter(-1, "test")
        if self._run is not None:
            self._run.metrics.feed()

    @never_fatal
    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the test's energy."""
        if self._run is not None:
            self._run.end_test(trainer, pl_module)

    @never_fatal
    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Enter a prediction."""
        self._enter(-1, "predict")

    @never_fatal
    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the prediction's energy."""
        if self._run is not None:
            self._run.end_predict(trainer)
