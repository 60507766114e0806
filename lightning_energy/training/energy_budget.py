"""EnergyBudget: stops a training that has spent its energy, as ``max_time`` stops one that has spent its time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args
from uuid import uuid4

from lightning.pytorch.utilities import rank_zero_info

from lightning_energy.ledger.arguments import named_arguments
from lightning_energy.ledger.ranks import Ranks
from lightning_energy.meters.base import MeterUnavailable
from lightning_energy.meters.handlers import raised_by_handler
from lightning_energy.meters.units import J_PER_KWH
from lightning_energy.scores.budget_rule import Budget
from lightning_energy.training.budget_checkpoint import leave_checkpoint
from lightning_energy.training.budget_source import Source, problem_of, source_of
from lightning_energy.training.budget_state import BudgetState, states_in
from lightning_energy.training.budget_watch import BudgetWatch
from lightning_energy.training.budget_words import BudgetWords, lower_limits
from lightning_energy.training.callback_base import CallbackBase
from lightning_energy.training.ended import EndsTraining
from lightning_energy.training.error_guard import WarnOnce, never_fatal
from lightning_energy.training.fitting import is_fitting
from lightning_energy.training.forecaster import Forecaster
from lightning_energy.training.spent_joules import open_session

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer

    from lightning_energy.ledger.session import Session
    from lightning_energy.meters.find import Meters

__all__ = ["CHECKPOINT", "EnergyBudget", "OnExceed"]

OnExceed = Literal["stop", "warn"]
"""The consequences of a budget that is spent."""

CHECKPOINT = "energy-budget.ckpt"
"""The file that a stop within a reserve leaves beside the checkpoints of the first ModelCheckpoint."""

OF_A_RUN: dict[str, Any] = {
    "_watch": None,
    "_forecaster": None,
    "_session": None,
    "_is_over": False,
    "reason": "",
    "_before_j": 0.0,
    "_last": ("", 0.0),
}

OTHER_NAMES = {"budget": ("max_kwh",), "kwh": ("max_kwh",), "joules": ("max_j",), "reserve": ("reserve_kwh",)}
"""The names that others may expect for the arguments."""


class EnergyBudget(EndsTraining):
    """Stop a training gracefully when it has spent its budget of energy.

    As ``max_time`` does, it asks the Trainer to stop: all ranks stop after the same step, and validation, checkpoints
    and loggers finish. It looks at what was spent about every two seconds, after every validation, and the more often
    the less is left: one rank in the end after every step, several at the step at which the budget is expected to be
    reached. No sensor is read for it: behind the last update of a counter its last power is supposed to go on. So the
    budget is exceeded by one step at most, unless steps come to take four times the energy within two seconds; with
    several ranks by what they spend between two looks at most. What comes after the last step, such as the validation
    that the stop causes, is within the budget only where ``reserve_kwh`` covers it.

    With an :class:`~lightning_energy.EnergyCallback` in the Trainer, before or behind it in the list, the budget is
    about the energy that that one measures: the total of ``fit``, earlier sessions included. Without one it measures by
    itself, from ``setup`` on, what ``EnergyCallback(meters="auto")`` would measure. What was spent is in checkpoints,
    and a training that is resumed goes on with it, with any limit; where both remember earlier sessions, the greater
    energy counts.

    After the first epoch of a session a warning says in which epoch the budget will be spent, if the forecast is that
    it will not last. Lightning's ``min_epochs`` and ``min_steps`` win over the budget; a warning says so when the
    training begins. A device whose energy gets lost on the way leaves a warning, and what is counted is a lower bound
    from then on.

    Args:
        max_kwh: the budget in kWh.
        max_j: the budget in joules; give one of the two.
        on_exceed: ``"stop"``, or ``"warn"`` for a warning alone.
        reserve_kwh: the part of the budget, in kWh, that is kept for the end: training stops when the rest is spent. A
            stop with a reserve leaves a checkpoint, ``energy-budget.ckpt``, in the folder of the first
            ``ModelCheckpoint``, after the last validation; where that exists, ``energy-budget-v1.ckpt``, and so on.

    Attributes:
        is_exceeded: true once the last ``fit`` had spent the budget, without its reserve.
        reason: the reason why it ended the last ``fit``, with its figures; empty while it did not.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: both limits, or neither, or an impossible value.

    Example:
        >>> from lightning_energy import EnergyBudget
        >>> budget = EnergyBudget(max_kwh=1.5, reserve_kwh=0.1)
    """

    _meters: Meters = "auto"  # without an EnergyCallback

    @named_arguments("EnergyBudget", lambda _: "max_kwh", OTHER_NAMES)
    def __init__(
        self,
        *,
        max_kwh: float | None = None,
        max_j: float | None = None,
        on_exceed: OnExceed = "stop",
        reserve_kwh: float = 0.0,
    ) -> None:
        super().__init__()
        self._budget = Budget.of(max_kwh, max_j, reserve_kwh)
        self._words = BudgetWords(self._budget, "max_kwh" if max_j is None else "max_j")
        if on_exceed not in get_args(OnExceed):
            raise ValueError(f"on_exceed={on_exceed!r}: give 'stop' or 'warn'")
        self.on_exceed = on_exceed
        self._warn = WarnOnce()
        self._run_id = uuid4().hex
        self._watch: BudgetWatch | None
        self._forecaster: Forecaster | None
        self._session: Session | None
        self._is_over: bool
        self._before_j: float
        self._last: tuple[str, float]
        self.__dict__.update(OF_A_RUN)

    @property
    def state_key(self) -> str:
        """The key of its state in checkpoints: a Trainer may have one that warns and one that stops."""
        return self._generate_state_key(on_exceed=self.on_exceed)

    @property
    def is_exceeded(self) -> bool:
        """True once the last ``fit`` had spent the budget, without its reserve."""
        return bool(self._is_over)

    @property
    def spent_kwh(self) -> float:
        """Energy of the run so far in kWh, as far as this rank knows: a lower bound where some is missing."""
        return self._spent_j() / J_PER_KWH

    def __getstate__(self) -> dict[str, Any]:
        """The settings alone: a copy has spent nothing."""
        return {**super().__getstate__(), **OF_A_RUN, "_run_id": uuid4().hex}

    # ------------------------------------------------------------------------------------- begin and end

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Measure from now on, where no EnergyCallback does.

        Raises:
            MeterUnavailable: nothing can be measured.
        """
        if stage != "fit" or self._refuses(trainer):
            return
        self._close()
        self.reason = ""
        if trainer.global_step == 0 and trainer.current_epoch == 0:  # a run of its own, unless a checkpoint is loaded
            self._last = (self._run_id, self._before_j)
            self._run_id, self._before_j = uuid4().hex, 0.0
            self._warn.begin_anew()
        if trainer.barebones or not any(isinstance(c, CallbackBase) for c in trainer.callbacks):  # type: ignore[attr-defined]
            self._session = open_session(Ranks.of(trainer), self._meters)
            announcement = self._session.announcement()
            if announcement:
                self._warn("announcement", f"EnergyBudget: {announcement}")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to watch; end at once where earlier sessions have spent the budget.

        Raises:
            MeterUnavailable: the energy of a device is not known, so that no budget can be kept.
        """
        self._is_over = False
        problem = self._begin(trainer)
        if problem:
            raise MeterUnavailable(f"EnergyBudget: {problem}")

    @never_fatal
    def _begin(self, trainer: Trainer) -> str:
        ranks = Ranks.of(trainer)
        source, problem = Source(), ""
        try:
            source = source_of(trainer, self._session)
        except Exception as error:  # whatever it is, the other ranks wait for this one
            if raised_by_handler(error):
                raise
            problem = f"a device ({type(error).__name__}: {error})"
        joules, of_search = source.joules, source.of_search and self._before_j <= source.before_j
        problem = problem_of(ranks, joules, problem)
        if problem or joules is None:
            return problem
        self._before_j = before_j = trainer.strategy.broadcast(max(self._before_j, source.before_j))
        self._watch = BudgetWatch(self._budget, ranks, joules.now_and_soon, before_j)
        self._watch.look()
        self._forecaster = Forecaster(joules.now_caught_up)
        self._forecaster.begin(trainer)
        least, stops = lower_limits(trainer), self.on_exceed == "stop"
        if self._budget.is_reached(before_j):
            self._is_over = True
            over = self._words.spent_before(before_j, of_search=of_search)
            self._warn("over", f"EnergyBudget: {over}: {self._words.what_follows(least, stops=stops)}")
            self.reason = over if stops else ""
            trainer.should_stop = trainer.should_stop or stops
        elif least and stops:
            wins = "wins" if len(least) == 1 else "win"
            self._warn("least", f"EnergyBudget: {' and '.join(least)} of the Trainer {wins} over {self._words}")
        return ""

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep what was spent; leave a checkpoint where the budget ended the training, and has a reserve for it."""
        self._before_j = self._spent_j()
        if not (self._is_over and self.on_exceed == "stop" and self._budget.reserve_j):
            return
        leave_checkpoint(trainer, CHECKPOINT, self._warn)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Stop measuring."""
        self._close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Stop measuring."""
        self._close()

    @never_fatal
    def _close(self) -> None:
        self._before_j = self._spent_j()
        session, self._session, self._watch, self._forecaster = self._session, None, None, None
        if session is not None:
            session.close()

    def _give_up(self, where: str, error: Exception) -> None:
        self._warn(
            "defect",
            f"EnergyBudget: {type(error).__name__} in {where}: {error}. The training goes on, perhaps without a "
            f"budget; please report this as a bug of lightning-energy",
        )
        self._forecaster = None
        if self._watch is not None and self._watch.is_alone:  # other ranks wait for this one's looks
            self._watch = None

    # ------------------------------------------------------------------------------------- during the training

    @never_fatal
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Warn, after the first epoch of this session, of a budget that will not last."""
        watch, forecaster, found = self._watch, self._forecaster, None
        if watch is None or forecaster is None:
            return
        forecaster.begin_epoch(trainer)
        if forecaster.has_epoch and not self._is_over and (scale := watch.scale) is not None:
            found = forecaster.forecast(trainer, watch.spent_j(), scale=scale, begins=True)
        if found is not None and (epoch := found.epoch_at(self._budget.stop_j)) is not None:
            self._warn("forecast", f"EnergyBudget: {self._words.will_not_last(found, epoch)}")

    @never_fatal
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End an epoch of the forecast."""
        if self._forecaster is not None:
            self._forecaster.end_epoch(trainer)

    @never_fatal
    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin a validation of the forecast."""
        if self._forecaster is not None and not trainer.sanity_checking:
            self._forecaster.begin_validation(trainer)

    @never_fatal
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop after this step if the budget is spent."""
        if self._watch is not None and self._watch.after_step():
            self._act(trainer)
            if self._forecaster is not None:
                self._forecaster.after_batches(trainer)

    @never_fatal
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop after this validation if the budget is spent."""
        if self._watch is not None and not trainer.sanity_checking:
            self._watch.look()
            self._act(trainer)
            if self._forecaster is not None:
                self._forecaster.end_validation(trainer)

    def _act(self, trainer: Trainer) -> None:
        watch = self._watch
        if watch is None:
            return
        if watch.agreed.unknown:
            self._warn(
                "missing",
                f"EnergyBudget: the energy of {watch.agreed.unknown} device(s) is missing since about step "
                f"{trainer.global_step}: what counts against {self._words} is a lower bound. See the notes of "
                f"EnergyCallback's report for the cause",
            )
        if self._is_over or not watch.is_reached:
            return
        self._is_over = True
        if self.on_exceed == "warn":
            self._warn("over", f"EnergyBudget: {self._figures()} at step {trainer.global_step}; the training goes on")
        else:
            trainer.should_stop = True
            self.reason = f"{self._figures()} at step {trainer.global_step}"
            rank_zero_info(f"EnergyBudget: {self.reason}: the training stops")

    def _figures(self) -> str:
        return self._words.spent(0.0 if self._watch is None else self._watch.agreed.spent_j)

    # ------------------------------------------------------------------------------------- checkpoints

    def _spent_j(self) -> float:
        return self._before_j if self._watch is None else max(self._before_j, self._watch.spent_j())

    def state_dict(self) -> dict[str, Any]:
        """The energy that the run has spent so far, in joules."""
        if self._is_saved_by_other():
            return {}
        return BudgetState(self._spent_j(), self._run_id).to_plain()

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Go on with what earlier sessions have spent, under whatever limit they did it.

        A checkpoint of the run that this process has gone on with knows less than we do: what was spent stays spent.
        """
        if self._watch is not None or not is_fitting(trainer):  # a search, or a test with the weights of a training
            return
        for state in states_in(checkpoint, type(self).__qualname__):
            try:
                spent_j, run_id = BudgetState.of(state)
            except (KeyError, TypeError, ValueError) as error:
                self._warn(
                    "state",
                    f"EnergyBudget: its state in the checkpoint is damaged ({type(error).__name__}: {error}): what "
                    f"earlier sessions spent counts only where an EnergyCallback remembers it",
                )
                continue
            if run_id == self._last[0]:
                spent_j = max(spent_j, self._last[1])
            self._before_j, self._run_id = max(self._before_j, spent_j), run_id
