"""EnergyCallback: translates Lightning's hooks into marks, and what the ledger knows into logged values.

The only file that knows the Trainer. It does no arithmetic on joules.
"""

from __future__ import annotations

import functools
import inspect
import math
import time
import weakref
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn

from lightning_energy.curves.curve import Energy
from lightning_energy.ledger.batch_size import SampleCount
from lightning_energy.ledger.device_clock import clock_of
from lightning_energy.ledger.ledger import Account, Totals
from lightning_energy.ledger.ranks import Ranks
from lightning_energy.ledger.session import Session, check_idle, check_switches
from lightning_energy.ledger.step_marks import BatchMarks
from lightning_energy.meters.find import Meters, OpenMeters, check_meters, open_meters
from lightning_energy.results.carbon import Conversion
from lightning_energy.results.notes import Note
from lightning_energy.results.rows import EpochRow
from lightning_energy.results.summary import StepSums, summarize
from lightning_energy.results.trace_files import TraceFormat, check_trace
from lightning_energy.scores.metrics import energy_scores
from lightning_energy.scores.scorer import AccuracyError, Scorer
from lightning_energy.training import log_keys
from lightning_energy.training.lightning_private import ends_without, is_monitor, logger_step, searches
from lightning_energy.training.outputs import Outputs
from lightning_energy.training.run_memory import NOTHING, Spent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lightning_energy.results.figures import Outcome
    from lightning_energy.results.report import Report
    from lightning_energy.scores.metrics import EnergyScore

__all__ = ["EnergyCallback"]

P = ParamSpec("P")
R = TypeVar("R")

EMPTY = Totals([Account(-1, "outside", "gap")], [], [], [])
# threads, handles, the user's objects
LIVING = ("_session", "_step", "_begin_batch", "_end_batch", "_scorer", "_ranks", "_metrics", "_outputs")
STAGES = ("tune", "sanity_check", "train", "validate")  # of a fit, in the order of their coming
FITTING = {"fit", "TrainerFn.FITTING"}  # Lightning's state, as its enum's text differs over versions of Python
TUNE = "tune"  # the stage of searches for a learning rate or a batch size; Lightning has no name for it
KEEP_UP_EVERY = 256  # batches
FEED_EVERY_S = 0.1  # how often Metrics learn the energy while no batch is known to be the last


def _never_fatal(hook: Callable[P, R]) -> Callable[P, R | None]:
    """Our defect must not end the user's training: tell it once, stop measuring."""

    @functools.wraps(hook)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R | None:
        try:
            return hook(*args, **kwargs)
        except (AccuracyError, Warning):  # a warning is raised where the user made warnings errors
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the training goes on
            callback = args[0]
            if isinstance(callback, EnergyCallback):
                callback._give_up(hook.__name__, error)  # noqa: SLF001 - this module's own class
            return None

    return guarded


class EnergyCallback(Callback):
    """Measure what a training costs in energy, log it, and score the accuracy by it.

    Logs the names of :mod:`lightning_energy.training.log_keys` to every logger of the Trainer. ``energy/score`` is in
    ``trainer.callback_metrics`` in the epoch it belongs to, so that ``EarlyStopping(monitor="energy/score",
    mode="max")`` and ``ModelCheckpoint`` can act on it. After a run, :attr:`report` holds the figures.

    Args:
        meters: what to measure: ``"auto"`` (the device this rank trains on, plus the node's CPU packages and DRAM
            where they can be read), names (``"nvml"``, ``"rapl"``, ``"estimate"``), :class:`~lightning_energy.Meter`
            objects, or a list of these.
        accuracy: name of the logged metric that the score uses. By default the one logged validation metric
            whose name says accuracy; see :func:`~lightning_energy.scores.metric_name.find_accuracy` for the rule.
        score: a function of (accuracy, energy_kwh). By default
            :func:`~lightning_energy.functional.energy_penalized_accuracy` with ``reference_kwh``.
        reference_kwh: the energy in kWh at which the default score's penalty begins to bite. The default of
            1 kWh suits runs that cost about as much; give a short run its own scale.
        batch_size_fn: a function of a batch that says how many samples it has, for the energy per sample. By default
            the first dimension of the first tensor in it; see :func:`~lightning_energy.ledger.batch_size.size_of`.
        idle_s: seconds to watch the idle devices in ``setup``, for a second figure ``above idle``; by default not.
        allow_estimate: whether ``"auto"`` may fall back to a model of the CPU (labelled ``estimated``) on a
            machine where nothing can be measured. If not, such a machine raises in ``setup``.
        print_report: whether to print a short table after the run, on rank zero. By default where the Trainer prints as
            well: not if both its progress bar and its model summary are disabled.
        record: whether to keep a record of the run on disk, ``energy.json`` beside what the first logger writes (none
            without a logger or in a ``fast_dev_run``); or the path of the file or its folder.
        trace: ``"csv"`` or ``"parquet"`` to keep every knot of the curves and every step and gap beside the record, so
            that any figure can be recomputed; see :class:`~lightning_energy.results.trace_files.TraceFiles`.
            By default not.
        carbon_intensity: grams of CO2e per kWh of your electricity, or the code of a country (``"DEU"``, ``"de"``) of
            the table that is shipped; see :func:`~lightning_energy.results.carbon.find_intensity`. With it CO2e is
            logged and reported as a derived figure, by default not. What earlier sessions spent is converted with this
            one's, too.
        pue: the power usage effectiveness of the facility, from 1 on. CO2e and cost are multiplied by it; the energies
            are not, they are what the devices spent. 1 is IT energy only.
        price: price of a kWh in your currency, for a derived cost.
        dashboards: whether TensorBoard, Weights & Biases and MLflow also get curves over energy, the run's
            configuration and outcome, and the report, from their loggers in the Trainer. The logged names of
            :mod:`lightning_energy.training.log_keys` go to every logger in any case.
        progress_bar: whether to show watts and kWh so far in Lightning's progress bar: as of the last logging step,
            or of the last epoch where other ranks must be asked.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument has an impossible value.
        ModuleNotFoundError: an argument asks for an extra that is not installed.

    Example:
        >>> from lightning_energy import EnergyCallback
        >>> callback = EnergyCallback(accuracy="val_acc", reference_kwh=0.01)
    """

    def __init__(
        self,
        *,
        meters: Meters = "auto",
        accuracy: str | None = None,
        score: Callable[[float, float], float] | None = None,
        reference_kwh: float = 1.0,
        batch_size_fn: Callable[[Any], int] | None = None,
        idle_s: float = 0.0,
        allow_estimate: bool = True,
        print_report: bool | None = None,
        record: bool | str = True,
        trace: TraceFormat | None = None,
        carbon_intensity: float | str | None = None,
        pue: float = 1.0,
        price: float | None = None,
        dashboards: bool = True,
        progress_bar: bool = False,
    ) -> None:
        super().__init__()
        _check_settings(accuracy, score, reference_kwh)
        check_idle(idle_s)
        check_switches(allow_estimate=allow_estimate, dashboards=dashboards, progress_bar=progress_bar)
        if not isinstance(record, (bool, str, Path)) or record == "":
            raise TypeError(f"record={record!r}: give True, False, or the path of a file or folder")
        if batch_size_fn is not None and not callable(batch_size_fn):
            raise TypeError(f"batch_size_fn={batch_size_fn!r}: give a function of a batch, or None")
        if print_report is not None and not isinstance(print_report, bool):
            raise TypeError(f"print_report={print_report!r}: give True, False, or None to be as quiet as the Trainer")
        check_meters(meters)
        self.meters = meters
        self.accuracy = accuracy
        self.score = score
        self.reference_kwh = float(reference_kwh)
        self.batch_size_fn = batch_size_fn
        self.idle_s = float(idle_s)
        self.allow_estimate = allow_estimate
        self.print_report = print_report
        self.record = record
        self.trace = check_trace(trace)
        self.carbon_intensity = carbon_intensity
        self.pue = pue
        self.price = price
        self._conversion = Conversion.of(carbon_intensity, pue, price)
        self.dashboards = dashboards
        self.progress_bar = progress_bar
        self.report: Report | None = None
        self._spent = Spent()
        self._borrowed = False
        self._warned: set[str] = set()
        self._axis: str | None = None
        self._scorer = Scorer(accuracy, score, self.reference_kwh)
        self._forget_run()

    def _forget_run(self) -> None:
        """What lives from ``setup`` to ``teardown`` only."""
        self._session: Session | None = None
        self._scorer = Scorer(self.accuracy, self.score, self.reference_kwh, self._scorer.chosen)
        self._given_up: tuple[Energy, int] | None = None
        self._ranks = Ranks()
        self._metrics: list[EnergyScore] = []
        self._stage = "train"
        self._searches = False
        self._apart: int | None = None
        self._last_logged_step = -1
        self._scored_by: str | None = None
        self._last_score: tuple[str, float, float, float] | None = None  # name, accuracy, score, kWh
        self._validated_epoch = -1
        self._validated_total = NOTHING
        self._training = False
        self._fed_s = -math.inf
        self._accept_state = False
        self._steps, self._unlogged = StepSums(), StepSums()
        self._samples = SampleCount(self.batch_size_fn)
        self._step = BatchMarks(self._samples)
        self._follow()
        self._outputs = Outputs()

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        for name in ("log", "log_dict"):  # set by the Trainer; they would take the whole module along
            state.pop(name, None)
        for name in LIVING:
            state.pop(name)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._session, self._step, self._ranks = None, BatchMarks(self._samples), Ranks()
        self._metrics, self._outputs = [], Outputs()
        self._scorer = Scorer(self.accuracy, self.score, self.reference_kwh)
        self._follow()

    # ------------------------------------------------------------------------------------- begin and end

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Open the meters and start measuring.

        Raises:
            MeterUnavailable: what was asked for cannot be read, or nothing can and an estimate is refused.
        """
        self._close()
        self._forget_run()
        if stage == "fit" and self._borrowed:  # what a validation's checkpoint had spent is not of this training
            self._spent, self._borrowed = Spent(), False
        if trainer.barebones:
            self._warn("barebones", "Trainer(barebones=True) logs nothing: EnergyCallback is off for this run")
            return
        self._stand_before_monitors(trainer)
        self._ranks = ranks = Ranks.of(trainer)
        self._spent = trainer.strategy.broadcast(self._spent)  # after an exception ranks may know different things
        self._outputs = outputs = Outputs.of(
            trainer,
            pl_module,
            ranks,
            self._warn,
            is_fit=str(trainer.state.fn) in FITTING,
            record=self.record,
            trace=self.trace,
            dashboards=self.dashboards,
            progress_bar=self.progress_bar,
            print_report=self.print_report,
        )
        wanted = check_meters(self.meters)
        meters = ranks.claim(lambda: open_meters(wanted, device=ranks.device, allow_estimate=self.allow_estimate))
        clock, problem = clock_of(ranks.device)
        self._session = session = Session(
            meters,
            clock,
            is_over=_when_interrupted(trainer),
            abandoned=outputs.abandon,
            trace=outputs.is_traced,
        )
        for topic, text in (("clock", problem), ("announcement", session.announcement())):
            if text:
                self._warn(topic, f"EnergyCallback: {text}")
        if self.idle_s:
            session.watch_idle(self.idle_s)
        self._metrics = [*energy_scores(pl_module)]
        self._stage = "train" if stage == "fit" else stage
        # a finder stands first in the list and searches before our next hook, with our callback out of the way
        self._searches = searches(trainer, in_fit=stage == "fit")
        self._enter(-1, TUNE if self._searches else self._stage)

    def _stand_before_monitors(self, trainer: Trainer) -> None:
        """EarlyStopping in ``on_validation_end`` must find the score. A new list: Lightning iterates the old."""
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]  # set by a connector
        mine = next((i for i, c in enumerate(callbacks) if c is self), None)
        first = next((i for i, c in enumerate(callbacks) if is_monitor(c)), None)
        if mine is None or first is None or mine < first:
            return
        others = [c for c in callbacks if c is not self]
        trainer.callbacks = [*others[:first], self, *others[first:]]  # type: ignore[attr-defined]

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Close the books: the last figures, the report."""
        self._end("completed")

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Close the books of an interrupted run. No collectives: other ranks may not come."""
        self._ranks = self._ranks.alone()
        self._end("interrupted")

    def _end(self, outcome: Outcome) -> None:
        if self._session is None:
            return
        try:
            if self._session.is_ours:
                self._finish(self._session)
                if self._session is not None:
                    self._report(self._session, self._session.totals(), outcome)
        except Warning:
            raise
        except Exception as error:  # noqa: BLE001 - as in _never_fatal
            self._give_up("the end of the run", error)
        finally:
            self._close()

    @_never_fatal
    def _finish(self, session: Session) -> None:
        """Apart from the report, so that whatever fails here this rank comes to the reduction that follows."""
        session.finish()
        self._tell_troubles()
        self._steps.take(session)

    def _report(self, session: Session, totals: Totals, outcome: Outcome) -> None:
        report = self._summary(session, totals, self._ranks, outcome)
        before, is_fit = self._spent.before, self._stage == "train"
        keeps = is_fit and not self._training and self._outputs.left is not None
        if not keeps:  # else it failed to start, and what an earlier session left there says more
            self._outputs.write_trace(session, self._spent)
        if is_fit:
            samples = None if self._ranks.left else report.samples
            started_unix_s = session.started_unix_s
            self._spent.end_session(
                report.session, self._ranks, started_unix_s=started_unix_s, outcome=outcome, samples=samples
            )
        total = self._spent.before
        self.report = self._complete(report, total if total != NOTHING else None)
        if not keeps:
            self._outputs.write_record(self.report, self._spent, before, is_fit=is_fit)
        self._outputs.end(self.report)

    def _summary(
        self, session: Session, totals: Totals, ranks: Ranks, outcome: Outcome, stages: Sequence[str] | None = None
    ) -> Report:
        samples, live = self._samples.n if self._stage == "train" else None, self._live(totals)
        text = f"Rank {self._ranks.rank} gave up measuring: what it spent since then is missing"
        notes = [] if self._given_up is None else [Note("gave_up", text)]
        return summarize(
            session,
            totals,
            self._steps,
            ranks,
            outcome=outcome,
            stages=stages,
            energy=live,
            samples=samples,
            notes=notes,
        )

    def _complete(self, report: Report, total: Energy | None) -> Report:
        """A session's report with what is known of the run."""
        name, accuracy, score, score_kwh = self._last_score or ("", 0.0, 0.0, 0.0)
        return replace(
            report,
            total=total,
            sessions=len(self._spent.sessions),
            accuracy=(name, accuracy) if self._last_score else None,
            score=score if self._last_score else None,
            score_kwh=score_kwh if self._last_score else None,
            score_name=self._scorer.name,
            derived=self._conversion.derive(total or report.session) if self._conversion else None,
            notes=[*self._spent.notes, *self._notes_on_samples(), *report.notes],
        )

    def _notes_on_samples(self) -> list[Note]:
        return [Note("samples", self._samples.problem)] if self._samples.problem else []

    def _record_so_far(self, session: Session, totals: Totals, ranks: Ranks) -> None:
        """Every epoch, and every minute: who is killed leaves a record that is no older. Each rank keeps its own."""
        report = self._summary(session, totals, ranks, "running", STAGES)
        if not self._ranks.is_zero and ranks.size > 1:
            report = self._summary(session, totals, ranks.alone(), "running", STAGES)
        report = self._complete(report, self._spent.total(self._live(totals), self._ranks))
        self._outputs.write_record(report, self._spent, self._spent.before, is_fit=True)
        self._outputs.write_trace(session, self._spent)

    def _close(self) -> None:
        session, self._session = self._session, None
        self._step.leave()
        self._follow()
        self._metrics = []
        self._outputs.close()
        self._scorer.forget()
        if session is not None:
            session.close()

    def _give_up(self, where: str, error: Exception) -> None:
        self._warn(
            "defect",
            f"EnergyCallback stops measuring after {type(error).__name__} in {where}: {error}. The training goes "
            f"on; please report this as a bug of lightning-energy",
        )
        known = NOTHING
        with suppress(Exception):
            known = self._live(self._session.totals()) if self._session else NOTHING
        self._close()
        self._given_up = known, time.monotonic_ns()
        if self._ranks.size > 1:  # the other ranks would wait for ever: go on coming, with nothing to say
            self._session = Session(OpenMeters())

    def _live(self, totals: Totals) -> Energy:
        """What this rank spent in this session; since it gave up, that is not known."""
        if self._given_up is None:
            return totals.energy()
        known, since_ns = self._given_up
        silent_s = (time.monotonic_ns() - since_ns) * 1e-9
        return Energy.sequence([known, Energy(None, 0.0, 0.0, silent_s, silent_s, "missing")])

    def _measured(self, wanted: Callable[[Totals], list[Energy]]) -> tuple[Totals, list[Energy]]:
        """This rank's part of a reduction. Whatever fails, there is one, as the other ranks wait for it."""
        session = self._session
        try:
            self._tell_troubles()
            totals = session.totals() if session else EMPTY
            return totals, wanted(totals)
        except Warning:
            raise
        except Exception as error:
            if self._ranks.size == 1:
                raise
            self._give_up("a reduction", error)
            return EMPTY, wanted(EMPTY)

    def _read_metrics(self, trainer: Trainer) -> None:
        """Before a reduction of ours, as Lightning reduces what is logged when it is read first.

        A progress bar that stands before us has read it already, but on rank zero only: the ranks would meet in
        different reductions.
        """
        if self._ranks.size > 1:
            _ = trainer.callback_metrics

    def _to_loggers(self, trainer: Trainer, values: dict[str, float]) -> None:
        for logger in trainer.loggers:
            try:
                logger.log_metrics(values, step=logger_step(trainer))
            except Exception as error:  # noqa: BLE001 - a logger's fault must not end the training at our call
                text = f"{type(logger).__name__} did not take {', '.join(values)} ({type(error).__name__}: {error})"
                self._warn(f"logger {id(logger)}", f"EnergyCallback: {text}")

    def _warn(self, topic: str, text: str) -> None:
        if topic not in self._warned:
            self._warned.add(topic)
            rank_zero_warn(text, stacklevel=4)

    def _tell_troubles(self) -> None:
        for text in self._session.new_troubles() if self._session else ():
            self._warn(text, f"EnergyCallback: {text}")

    # ------------------------------------------------------------------------------------- state

    @property
    def history(self) -> list[dict[str, Any]]:
        """One row per training epoch, as logged: its energies, the total, the metric and the score."""
        return [row.to_plain() for row in self._spent.history]

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Decide whether the state that follows counts.

        ``test(ckpt_path=…)`` after ``fit`` must not undo what fit measured; a search (learning rate, batch size)
        that restores its own checkpoint in the middle of a run must not, either.
        """
        fitting = str(trainer.state.fn) in FITTING
        self._accept_state = not self._training and (fitting or self._spent.before == NOTHING)
        if self._accept_state:  # a state that is refused changes nothing of where the last one came from
            self._borrowed = not fitting
        self._end_search()

    @_never_fatal
    def _end_search(self) -> None:
        """A search in the middle of a run began with its checkpoint, and is over when that is restored."""
        if self._session is not None and self._apart is not None:
            self._session.rename(self._apart, TUNE)
            self._session.mark(self._step.gap_code)
            self._apart = None

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Set what was spent before this session."""
        if not self._accept_state:
            return
        try:
            self._spent.load(state_dict)
            self._take_in()
            self._scorer.chosen = self._scorer.chosen or state_dict.get("accuracy")
            self._axis = state_dict.get("axis")
        except ValueError as error:
            text = f"What earlier sessions spent is not known, and not in the total: {error}"
            self._spent = Spent(notes=[Note("unknown_before", text)])
            self._warn("state", f"EnergyCallback: {text}")

    def _take_in(self) -> None:
        """What was left by a session that a checkpoint does not know to its end."""
        if self._outputs.left is None:
            return
        try:
            self._spent.take_in(self._outputs.left)
        except Exception as error:  # noqa: BLE001 - whatever lies there, the training goes on
            self._warn(
                "left",
                f"EnergyCallback: what lies in the place of this run's record cannot be understood "
                f"({type(error).__name__}: {error}): what was spent after the checkpoint is not in the total",
            )

    def state_dict(self) -> dict[str, Any]:
        """What the run has spent so far, in plain types."""
        chosen = {"accuracy": self._scorer.chosen, "axis": self._axis}
        if self._session is None or not self._training:
            return self._spent.state(NOTHING, self._ranks) | chosen
        started_unix_s = self._session.started_unix_s  # the session is gone after a defect
        live = self._spent_by_now(self._session)
        return self._spent.state(live, self._ranks, started_unix_s=started_unix_s) | chosen

    def _spent_by_now(self, session: Session) -> Energy:
        """For a checkpoint, which our defect must not prevent."""
        try:
            if self._searches:  # this may be a checkpoint, or the beginning of a search in the middle of the run
                self._apart = session.apart(self._step.gap_code)
                session.mark(self._apart)
            return self._live(session.totals())
        except Warning:
            raise
        except Exception as error:  # noqa: BLE001 - as in _never_fatal
            self._give_up("a checkpoint", error)
            return self._live(EMPTY)

    # ------------------------------------------------------------------------------------- marks

    def _enter(self, epoch: int, stage: str) -> None:
        """From now on, time belongs to this stage of this epoch."""
        session = self._session
        if session is None:
            return
        session.synchronize()
        self._step.enter(session, epoch, stage)
        self._follow()

    def _follow(self) -> None:
        """The hooks of a training step find here what they call: every object that they go by costs them time."""
        self._begin_batch, self._end_batch = self._step.begin, self._step.end_batch

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Searches, if any, are over. What comes next in a fit is that Lightning logs hyperparameters."""
        self._enter(-1, "train")
        self._announce(trainer, early=True)

    @_never_fatal
    def _announce(self, trainer: Trainer, *, early: bool = False) -> None:
        if self._session is not None:
            self._outputs.announce(trainer, self._session, self._scorer.name, early=early)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Training is under way."""
        self._training = True
        self._outputs.begin(trainer)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """A step begins."""
        self._begin_batch()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """A step ends; at logging steps, log those that became known."""
        if self._end_batch(batch, batch_idx):
            self._attend(trainer, batch_idx)

    def _attend(self, trainer: Trainer, batch_idx: int) -> None:
        """What some steps do: at logging steps, log; now and then, keep up. Plans the next step of that kind.

        Lightning's step rises by at most one per batch, so that none of the steps in between has to be looked at. A
        ``log_every_n_steps`` that is changed meanwhile counts from then on.
        """
        self._outputs.find_bar(trainer)
        every = trainer.log_every_n_steps  # type: ignore[attr-defined]  # set by a connector
        since = (logger_step(trainer) + 1) % every if every else 1
        if since == 0:
            self._log_steps(trainer)
        elif batch_idx % KEEP_UP_EVERY == KEEP_UP_EVERY - 1:
            self._keep_up()
        if self._metrics:  # whose batches are all looked at
            self._feed_at_end(trainer.num_training_batches, batch_idx)
            return
        self._step.attend_at = batch_idx + KEEP_UP_EVERY - (batch_idx + 1) % KEEP_UP_EVERY
        if every:
            self._step.attend_at = min(self._step.attend_at, batch_idx + every - since)

    @_never_fatal
    def _log_steps(self, trainer: Trainer) -> None:
        step = logger_step(trainer)
        if step == self._last_logged_step:  # several micro-batches share a step
            return
        self._last_logged_step = step
        self._sum_up_steps()
        news, self._unlogged = self._unlogged, StepSums()
        if news.n:
            values = {log_keys.POWER_W: news.energy_j / news.duration_s, log_keys.STEP_J: news.energy_j / news.n}
            self._to_loggers(trainer, values)
            self._show_in_bar(news.energy_j / news.duration_s)
        self._write_if_due()

    @_never_fatal
    def _keep_up(self) -> None:
        """In a long epoch, too, the record is young and memory is bounded, however rarely steps are logged."""
        self._sum_up_steps()
        self._write_if_due()

    def _write_if_due(self) -> None:
        if self._session is not None and self._outputs.is_due:
            self._record_so_far(self._session, self._session.totals(), self._ranks.alone())
        if self._session is not None:
            self._outputs.write_trace(self._session, self._spent, if_many=True)

    def _sum_up_steps(self) -> None:
        """Single steps are not kept for longer than an epoch, however rarely they are logged."""
        news = self._steps.take(self._session) if self._session else None
        if news is not None:
            self._unlogged.add(news)

    def _show_in_bar(self, power_w: float) -> None:
        bar, session = self._outputs.bar, self._session
        if bar is not None and session is not None:
            bar.show_power(power_w)
            if bar.is_due and self._ranks.size == 1:  # what other ranks spent is known at an epoch's end
                bar.show_energy(self._own(session.totals()))

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """An epoch begins."""
        self._announce(trainer)
        self._enter(trainer.current_epoch, "train")
        self._feed()

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The sanity check is a stage of its own."""
        self._enter(-1, "sanity_check")

    def on_sanity_check_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Back to the time before the first epoch."""
        self._enter(-1, "train")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """After the last epoch."""
        self._enter(-1, "train")

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A test begins."""
        self._enter(-1, "test")
        self._feed()

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A prediction begins."""
        self._enter(-1, "predict")

    def _batch_start(self, *args: Any, **kwargs: Any) -> None:
        """A step begins."""
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
        """A validation step ends."""
        self._batch_end()
        if self._metrics:
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
        """A test step ends."""
        self._batch_end()
        if self._metrics:
            self._feed_at_end(trainer.num_test_batches[dataloader_idx], batch_idx)

    def _batch_end(self, *args: Any, **kwargs: Any) -> None:
        """A step ends."""
        self._step.end()

    on_predict_batch_end = _batch_end

    # ------------------------------------------------------------------------------------- Metrics of the module

    @_never_fatal
    def _feed(self) -> None:
        """Tell the module's score Metrics what this rank spent; they sum over ranks themselves."""
        if self._session is None or not self._metrics:
            return
        energy = self._own(self._session.totals())
        energy_j = energy.energy_j
        if energy_j is None and self._ranks.size > 1 and not self._session.channels:
            energy_j = 0.0  # all that this rank could read is read by another rank
        if energy_j is not None:
            for metric in self._metrics:
                metric.set_energy(energy_j, u_j=energy.u_j)

    def _own(self, totals: Totals) -> Energy:
        """This rank's part of the energy that a score is about: all of ``fit``."""
        return self._spent.own(self._of_fit(totals), self._ranks)

    def _of_fit(self, totals: Totals) -> Energy:
        """What this rank spent in this session of ``fit``; nothing in other runs."""
        return self._live(totals) if self._stage == "train" else NOTHING

    def _total_of(self, session: Energy, totals: Totals) -> Energy:
        """The run's energy from a reduction of this session; checkpoints and records go on from there."""
        if self._stage == "train":
            self._spent.remember(session, self._live(totals))
        return self._spent.after(session)

    def _feed_at_end(self, batches: float, batch_idx: int) -> None:
        """Fed at the last batch; or now and then, while none is known to be the last."""
        now_s = time.monotonic()
        if batch_idx + 1 == batches or (batches == math.inf and now_s - self._fed_s > FEED_EVERY_S):
            self._fed_s = now_s
            self._feed()

    # ------------------------------------------------------------------------------------- epochs

    @_never_fatal
    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remember what is logged already, to know fresh values from old ones."""
        if self._session is None:
            return
        if not trainer.sanity_checking:
            self._enter(self._epoch(trainer), "validate")
        self._scorer.begin(trainer.callback_metrics)
        self._scored_by = None
        self._metrics = [*energy_scores(pl_module)]  # anew: a MetricTracker makes a new one every epoch
        self._feed()

    def _epoch(self, trainer: Trainer) -> int:
        return trainer.current_epoch if self._stage == "train" else -1

    @_never_fatal
    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the validation's energy, and the score if the accuracy is here already."""
        if self._session is None or trainer.sanity_checking:
            return
        self._read_metrics(trainer)
        # while the choice is open, what is logged after us may fit better: see on_validation_end
        found = self._scorer.find(trainer.callback_metrics) if self._scorer.is_settled else None
        epoch = self._epoch(trainer)
        totals, mine = self._measured(lambda t: [self._of_fit(t), t.energy(stage="validate", epoch=epoch)])
        (session, val), accuracy = self._ranks.sum(mine, found and found[1])
        self._validated_total = total = self._total_of(session, totals)
        values = self._total_values(total)
        if val.energy_j is not None:
            values[log_keys.VAL_J] = val.energy_j
        if found is not None and accuracy is not None:
            values |= self._score_values(found[0], accuracy, total)
        self._log(pl_module, values)

    @_never_fatal
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Score an accuracy that was logged after our ``on_validation_epoch_end``, by the module itself for example.

        Raises:
            AccuracyError: the sanity check shows that it is no fraction.
        """
        if self._session is None:
            return
        found = self._scorer.find(trainer.callback_metrics, final=True)
        if trainer.sanity_checking:
            self._check_sanity(found)
            return
        if self._scored_by is None:
            self._score_late(trainer, found)
        if self._scored_by is None:
            self._forget_score(trainer)
        self._scorer.forget()
        if self._stage == "train":
            self._validated_epoch = trainer.current_epoch
            self._draw_point(trainer)
            self._enter(trainer.current_epoch, "train")

    def _draw_point(self, trainer: Trainer) -> None:
        """A point of the curve over energy, at the total that was logged with this validation."""
        total_kwh = self._validated_total.energy_kwh
        if self._scored_by is not None and self._last_score is not None and total_kwh is not None:
            _, accuracy, score, _ = self._last_score
            self._axis = self._outputs.point(trainer, self._axis, total_kwh, accuracy, score)

    def _check_sanity(self, found: tuple[str, float] | None) -> None:
        """Told now, while nothing is lost; by the mean of all ranks, so that all of them end together."""
        _, accuracy = self._ranks.sum([], found and found[1])
        if found is None or accuracy is None or not math.isfinite(accuracy):
            return
        wrong = self._scorer.check(found[0], accuracy)
        if wrong:
            raise AccuracyError(wrong)

    def _score_late(self, trainer: Trainer, found: tuple[str, float] | None) -> None:
        """What ``self.log`` would do, in a hook where it is not allowed."""
        _, accuracy = self._ranks.sum([], found and found[1])
        total = self._validated_total  # the one that was logged with this validation
        if found is None or accuracy is None:
            if total.energy_j is not None:
                advice = self._scorer.advice(trainer.callback_metrics)
                self._warn("no accuracy", f"EnergyCallback: no {log_keys.SCORE}, as {advice}")
            return
        values = self._score_values(found[0], accuracy, total)
        for key, value in values.items():
            trainer.callback_metrics[key] = trainer.logged_metrics[key] = torch.tensor(value)
        if values:
            self._to_loggers(trainer, values)

    @staticmethod
    def _forget_score(trainer: Trainer) -> None:
        """A validation without a score leaves none of an earlier one, unless its absence would end the run."""
        for key in (log_keys.SCORE, log_keys.ACCURACY):
            if not any(ends_without(c, key) for c in trainer.callbacks):  # type: ignore[attr-defined]
                trainer.callback_metrics.pop(key, None)
                trainer.logged_metrics.pop(key, None)

    def _score_values(self, name: str, accuracy: float, total: Energy) -> dict[str, float]:
        wrong = self._scorer.check(name, accuracy)
        if wrong:
            self._warn("accuracy", f"EnergyCallback: no {log_keys.SCORE}, as {wrong}")
            return {}
        if total.energy_kwh is None:
            self._warn("no energy", f"EnergyCallback: no {log_keys.SCORE}, as the energy of the training is unknown")
            return {}
        score = self._scorer.score(accuracy, total.energy_kwh)
        if score is None:
            kwh = f"accuracy={accuracy:g} and energy_kwh={total.energy_kwh:g}"
            self._warn(
                "undefined",
                f"EnergyCallback: {self._scorer.name} is not defined at {kwh}{self._scorer.reason}; it is not logged",
            )
            return {}
        self._scored_by = name
        self._last_score = (name, accuracy, score, total.energy_kwh)
        return {log_keys.ACCURACY: accuracy, log_keys.SCORE: score}

    def _total_values(self, total: Energy) -> dict[str, float]:
        if total.energy_kwh is None:
            return {}
        return {
            log_keys.TOTAL_KWH: total.energy_kwh,
            log_keys.TOTAL_U_KWH: total.u_absolute_j / 3.6e6,
            log_keys.MISSING_S: total.missing_s,
            **self._derived_values(total.energy_kwh),
        }

    def _derived_values(self, energy_kwh: float) -> dict[str, float]:
        row = self._conversion.row(energy_kwh) if self._conversion else {}
        keys = {"co2eq_g": log_keys.CO2EQ_G, "cost": log_keys.COST}
        return {keys[name]: value for name, value in row.items() if value is not None}

    def _log(self, pl_module: LightningModule, values: dict[str, float]) -> None:
        for key, value in values.items():  # float64: a float would become float32 on its way
            tensor = torch.tensor(value, dtype=torch.float64, device=_float64_device(self._ranks.device))
            pl_module.log(key, tensor, batch_size=1, sync_dist=self._ranks.size > 1)

    @_never_fatal
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the epoch's training energy, and the total when no validation did."""
        session = self._session
        if session is None:
            return
        epoch = trainer.current_epoch
        # the epoch's account ends here, as its row does: what follows (logging, checkpoints) is between epochs
        self._step.gap_code = session.code(-1, "train", "gap")
        session.mark(self._step.gap_code)
        self._sum_up_steps()
        self._read_metrics(trainer)
        totals, mine = self._measured(
            lambda t: [
                t.energy(stage="train", epoch=epoch),
                self._of_fit(t),
                t.energy(stage="validate", epoch=epoch),
            ]
        )
        (train, so_far, val), _ = self._ranks.sum(mine)
        total = self._total_of(so_far, totals)
        values = {} if train.energy_j is None else {log_keys.TRAIN_J: train.energy_j}
        if self._validated_epoch != epoch:
            values |= self._total_values(total)
        self._log(pl_module, values)
        if self._outputs.bar is not None:
            self._outputs.bar.show_energy(total)
        _, accuracy, score, _ = self._last_score or ("", None, None, None)
        validated = self._validated_epoch == epoch and self._scored_by is not None
        self._spent.history.append(
            EpochRow(
                session=len(self._spent.sessions),
                epoch=epoch,
                train_j=train.energy_j,
                train_u_j=train.u_j,
                train_s=train.duration_s,
                val_j=val.energy_j,
                val_u_j=val.u_j,
                val_s=val.duration_s,
                missing_s=train.missing_s + val.missing_s,
                total_kwh=total.energy_kwh,
                total_u_kwh=total.u_absolute_j / 3.6e6,
                metric=accuracy if validated else None,
                score=score if validated else None,
                derived=self._conversion.row(total.energy_kwh) if self._conversion else {},
            )
        )
        self._record_so_far(self._session or session, totals, self._ranks)

    @_never_fatal
    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the test's energy."""
        if self._session is not None:
            self._read_metrics(trainer)
            (energy,), _ = self._ranks.sum(self._measured(lambda t: [t.energy(stage="test")])[1])
            if energy.energy_j is not None:
                self._log(pl_module, {log_keys.TEST_J: energy.energy_j})

    @_never_fatal
    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the prediction's energy. Lightning allows no ``self.log`` here: it goes to the loggers."""
        if self._session is None:
            return
        (energy,), _ = self._ranks.sum(self._measured(lambda t: [t.energy(stage="predict")])[1])
        if energy.energy_j is not None:
            self._to_loggers(trainer, {log_keys.PREDICT_J: energy.energy_j})


def _when_interrupted(trainer: Trainer) -> Callable[[], bool]:
    """Whether an exception ended the run; the Trainer is not kept alive by asking."""
    weak = weakref.ref(trainer)

    def is_over() -> bool:
        strong = weak()
        return strong is None or strong.interrupted

    return is_over


def _check_settings(accuracy: Any, score: Any, reference_kwh: Any) -> None:
    if accuracy is not None and (not isinstance(accuracy, str) or not accuracy):
        raise TypeError(f"accuracy={accuracy!r}: give the name of a logged metric, such as 'val_acc', or None")
    if score is not None and not callable(score):
        raise TypeError(f"score={score!r}: give a function of (accuracy, energy_kwh), or None")
    if score is not None:
        _check_call(score)
    if isinstance(reference_kwh, bool) or not isinstance(reference_kwh, (int, float)):
        raise TypeError(f"reference_kwh={reference_kwh!r}: give a number of kWh above 0")
    if not 0 < reference_kwh < math.inf:
        raise ValueError(f"reference_kwh={reference_kwh!r}: give a finite number of kWh above 0")
    if score is not None and reference_kwh != 1.0:
        raise ValueError("reference_kwh belongs to the default score: leave it out when you give your own score")


def _check_call(score: Callable[..., Any]) -> None:
    try:
        signature = inspect.signature(score)
    except (TypeError, ValueError):  # some that are written in C have none
        return
    try:
        signature.bind(0.0, 0.0)
    except TypeError as error:
        raise TypeError(
            f"score={score!r}: give a function that can be called as score(accuracy, energy_kwh); this one: {error}"
        ) from error


def _float64_device(device: torch.device) -> torch.device:
    """Apple's MPS knows no float64."""
    return torch.device("cpu") if device.type == "mps" else device
