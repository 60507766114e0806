"""EnergyCallback: Lightning's hooks, each translated into a call of the parts in ``training``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lightning_energy.curves.energy import NOTHING
from lightning_energy.ledger.arguments import named_arguments
from lightning_energy.ledger.ranks import Ranks
from lightning_energy.results.notes import Note
from lightning_energy.scores.formula import REFERENCE_KWH
from lightning_energy.training.callback_base import OF_LIGHTNING, OTHER_NAMES, CallbackBase, meant_by, of_an_object
from lightning_energy.training.callback_order import stand_before_monitors
from lightning_energy.training.ended import by_exception
from lightning_energy.training.ending import conclude
from lightning_energy.training.error_guard import never_fatal
from lightning_energy.training.fitting import is_fitting
from lightning_energy.training.lightning_private import goes_on_within_epoch, saving
from lightning_energy.training.one_trainer import state_of_refused
from lightning_energy.training.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from lightning.pytorch import LightningModule, Trainer

    from lightning_energy.meters.find import Meters
    from lightning_energy.results.figures import Outcome
    from lightning_energy.results.trace_files import TraceFormat
    from lightning_energy.scores.choice import ScoreSetting
    from lightning_energy.scores.metric import Mode, Scale
    from lightning_energy.training.trainer_run import TrainerRun

__all__ = ["EnergyCallback"]


class EnergyCallback(CallbackBase):
    """Measure the energy of a training, log it, and score the accuracy by it.

    Logs the names of :mod:`lightning_energy.training.log_keys` to every logger of the Trainer. ``energy/score`` is in
    ``trainer.callback_metrics`` in the epoch it belongs to, so that ``EarlyStopping(monitor="energy/score",
    mode="max")`` and ``ModelCheckpoint`` can act on it. After a run, :attr:`report` holds the figures.

    Each ``fit`` from the start of a Trainer is a run of its own; a further ``fit`` of the same Trainer, and one with
    ``ckpt_path``, goes on with its run. A copy, or what was pickled, has the settings and has spent nothing.

    Args:
        meters: the meters: ``"auto"`` (the device this rank trains on, plus the node's CPU packages and DRAM
            where they can be read), names (``"nvml"``, ``"rapl"``, ``"estimate"``), :class:`~lightning_energy.Meter`
            objects, or a list of these.
        metric: name of the logged metric of quality, whatever it is. By default the one logged validation metric
            whose name says accuracy; see :func:`~lightning_energy.scores.metric_name.find_accuracy` for the rule.
        accuracy: the same for an accuracy: short for ``metric`` with ``mode="max"`` and ``scale="fraction"``.
        mode: ``"max"`` where more is better (the default), ``"min"`` where less is.
        scale: ``"fraction"`` or ``"percent"`` of an accuracy, ``"raw"`` for any other number. By default judged over
            the run: a value above 1 of an accuracy shows that all of its values are percentages.
        score: ``"penalized"``, :func:`~lightning_energy.functional.energy_penalized_accuracy` with ``reference_kwh``;
            ``"sustainable"``, :func:`~lightning_energy.functional.sustainable_accuracy`, above 1 kWh only; a function
            of (the value as it was logged, energy_kwh), the higher the better, which may return ``None``; or ``None``
            for no score.
        reference_kwh: the energy in kWh at which the penalty begins to bite. The default of 1 kWh suits runs that cost
            about as much. ``"run"`` takes what the run has spent at its first score: then the penalty is felt in any
            run, but scores of different runs do not compare. Or the path of a finished run's record, for its energy.
        batch_size_fn: a function from a batch to its number of samples, for the energy per sample. By default the
            first dimension of its tensors where they agree; see :func:`~lightning_energy.ledger.batch_size.size_of`.
        per: units of your own beside samples, ``{"tokens": count_tokens}``: each a name and a function from a batch to
            the number of them in it, for the energy per unit. It is called after every batch, so let it be cheap.
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
        progress_bar: whether Lightning's progress bar shows watts, kWh and the forecast: as of the last logging step,
            or of the last epoch if there are several ranks.
        log_uncertainty: whether to log the total's absolute uncertainty, too, as ``energy/total_u_wh``.
        phases: whether to divide training into its phases, each with its energy: waiting for data, copying it, forward,
            backward, optimizer, saving, and the rest. By default not: on a GPU a step then records nine more events,
            and the background has more to do.
        helper: whether processes beside the training do most of the work of our threads, on Linux, in runs of more than
            five seconds: one reads its NVIDIA boards, one shares the joules out. Steps that keep Python busy are then
            hardly held up. Each takes some 40 MiB of memory per rank. Where none can be started, or it ends, the
            threads do all of it; with ``False``, too.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument has an impossible value.
        ModuleNotFoundError: an argument asks for an extra that is not installed.

    Example:
        >>> from lightning_energy import EnergyCallback
        >>> callback = EnergyCallback(accuracy="val_acc", reference_kwh=0.01)
    """

    @named_arguments("EnergyCallback", meant_by, OTHER_NAMES)
    def __init__(
        self,
        *,
        meters: Meters = "auto",
        metric: str | None = None,
        accuracy: str | None = None,
        mode: Mode | None = None,
        scale: Scale | None = None,
        score: ScoreSetting = "penalized",
        reference_kwh: float | str | Path = REFERENCE_KWH,
        batch_size_fn: Callable[[Any], int] | None = None,
        per: Mapping[str, Callable[[Any], int]] | None = None,
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
        phases: bool = False,
        helper: bool = True,
    ) -> None:
        super().__init__()
        self.meters = meters
        self.metric = metric
        self.accuracy = accuracy
        self.mode = mode
        self.scale = scale
        self.score = score
        self.reference_kwh = reference_kwh
        self.batch_size_fn = batch_size_fn
        self.per = per
        self.idle_s = idle_s
        self.allow_estimate = allow_estimate
        self.print_report = print_report
        self.record = record
        self.trace = trace
        self.carbon_intensity, self.pue, self.price = carbon_intensity, pue, price
        self.dashboards = dashboards
        self.progress_bar = progress_bar
        self.log_uncertainty, self.phases, self.helper = log_uncertainty, phases, helper
        self.reference_kwh = Settings.of(self).reference  # raises where one of them is wrong; reads a record once

    # ------------------------------------------------------------------------------------- begin and end of a run

    @of_an_object
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Open the meters and start measuring.

        Raises:
            MeterUnavailable: a meter that was asked for cannot be read, or none can and an estimate is refused.
            RuntimeError: the Trainer has two EnergyCallbacks of yours; one from an entry point stands aside.
        """
        if self._refuses(trainer):
            return
        self._end_last()
        if not self._enter_trainer(trainer, is_fit=stage == "fit"):
            return
        if trainer.barebones:
            self._warn("barebones", "Trainer(barebones=True) logs nothing: EnergyCallback is off for this run")
            return
        # whatever a run needs is loaded here, and not where a callback is made
        from lightning_energy.training.trainer_run import TrainerRun  # noqa: PLC0415

        stand_before_monitors(self, trainer)
        self._memory = trainer.strategy.broadcast(self._memory)  # after an exception ranks may know different things
        self._run = run = TrainerRun(
            trainer, pl_module, stage, Settings.of(self), self._memory,
            warn=self._warn, left=self._leave, end=self._end_left_out, key=self.state_key,
        )  # fmt: skip
        run.begin(pl_module, self.idle_s)
        self._follow(run.stages.hooks)

    @of_an_object
    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Stop measuring, and make the report."""
        self._end("completed")

    @of_an_object
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Report an interrupted run, without collectives: other ranks may not come."""
        if self._run is not None:
            self._run.books.leave_ranks()
            self._run.reporter.ended = [by_exception(exception)]
        self._end("interrupted")

    def _end_last(self) -> None:
        """End a run whose Trainer ended without a word to us."""
        of_next = {name: self.__dict__[name] for name in OF_LIGHTNING & {*self.__dict__}}  # the new Trainer's
        self._end_left_out()
        if self._run is not None and self._run.books.is_ours and not self._run.ending.is_over():
            self._run.books.leave_ranks()
            self._end("interrupted")
        self.__dict__.update(of_next)
        self._drop()

    def _end(self, outcome: Outcome) -> None:
        try:
            if self._run is not None and self._run.books.is_ours:
                conclude(self._report, outcome, self._run.books.leave_ranks)
        finally:
            self._drop()
            self._others.unwatch(self)
            for name in OF_LIGHTNING:
                self.__dict__.pop(name, None)

    @never_fatal
    def _finish(self, run: TrainerRun) -> None:
        """Finish the books apart from the report: whatever fails, this rank comes to the reduction that follows."""
        run.books.finish()

    @never_fatal
    def _report(self, outcome: Outcome) -> None:
        if (run := self._run) is not None:
            self._finish(run)
            if (report := run.end(outcome)) is not None:
                self._keep(report, is_fit=run.stages.is_fit)
                run.reporter.publish(report)

    def _give_up(self, where: str, error: Exception) -> None:
        if self._run is not None:
            self._run.books.give_up(where, error)
        elif isinstance(error, TypeError):  # a hook with the arguments of a Fabric's program
            self._measure_nothing()

    def _drop(self) -> None:
        """Drop the run, and close everything it owns."""
        run = self._run
        self._forget_run()
        if run is not None:
            run.close()

    def _leave(self) -> None:
        """Take no more marks: the session is over. The run stays to its end, and knows that a training is under way."""
        if self._run is not None:
            self._follow(self._run.stages.hooks)

    def _enter(self, epoch: int, stage: str) -> None:
        """Let time belong to this stage of this epoch from now on."""
        if self._run is not None:
            self._follow(self._run.enter(epoch, stage))

    # ------------------------------------------------------------------------------------- checkpoints

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Decide whether the state that follows counts; a search in the middle of a run may end here."""
        run = self._run
        self._memory.decide(is_fit=is_fitting(trainer), is_training=run is not None and run.stages.is_training)
        self._restore(trainer, checkpoint.get("callbacks", {}).get(self.state_key))

    @never_fatal
    def _restore(self, trainer: Trainer, state: Any) -> None:
        if self._run is not None:
            self._run.restore(trainer, state)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Set the energy of earlier sessions."""
        if self._is_aside or not self._memory.accepts:
            return
        try:
            (self._memory if self._run is None else self._run).load(state_dict)
        except ValueError as error:
            note = Note("unknown_before", f"The energy of earlier sessions is not known, and not in the total: {error}")
            self._memory.begin_anew(note)
            self._warn("state", f"EnergyCallback: {note.text}")

    def state_dict(self) -> dict[str, Any]:
        """Energy of the run so far, in plain types."""
        if self._is_aside:
            return {}
        if saving()[0] in self._others:
            return state_of_refused()
        return self._memory.state(NOTHING, Ranks()) if self._run is None else self._run.state()

    # ------------------------------------------------------------------------------------- batches

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Mark the beginning of a step."""
        self._begin_batch()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Mark the end of a step; at logging steps, log those that became known."""
        if self._end_batch(batch, batch_idx):
            self._attend(trainer, batch_idx)

    @never_fatal
    def _attend(self, trainer: Trainer, batch_idx: int) -> None:
        if self._run is not None:
            self._run.steps.attend(trainer, batch_idx)

    @never_fatal
    def _attend_validation(self, trainer: Trainer, batch_idx: int) -> None:
        if self._run is not None:
            self._run.steps.attend_validation(trainer, batch_idx)

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
        if self._end_batch(batch, batch_idx):
            self._attend_validation(trainer, batch_idx)
        if self._run is not None and self._run.metrics.found:
            self._feed_at_end(trainer.num_val_batches[dataloader_idx], batch_idx)

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Mark the end of a test step."""
        self._end_batch(batch, batch_idx)
        if self._run is not None and self._run.metrics.found:
            self._feed_at_end(trainer.num_test_batches[dataloader_idx], batch_idx)

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Mark the end of a prediction step."""
        self._end_batch(batch, batch_idx)

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
        """Note that the training is under way, and enter the epoch within which it goes on from a checkpoint."""
        if self._run is not None:
            self._run.begin_training(trainer)
            if goes_on_within_epoch(trainer):
                self.on_train_epoch_start(trainer, pl_module)

    @never_fatal
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Enter an epoch."""
        if self._run is not None:
            self._run.announce(trainer)
            self._run.waiting.tell_strange_names(trainer)
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
        if self._run is not None:
            self._run.waiting.tell_strange_names(trainer)

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
            self._run.begin_test()

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
            self._run.stages.counts.end_pass("predict")
            self._run.end_predict(trainer)
