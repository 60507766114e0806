"""EnergyEfficiencyStopping: the end of a training whose next point of quality is too dear."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from lightning.pytorch.utilities import rank_zero_info

from lightning_energy.ledger.arguments import named_arguments
from lightning_energy.scores.formula import check_positive
from lightning_energy.scores.stopping import POINT, WINDOW, Reached, check_window, point_kwh
from lightning_energy.training.callback_base import CallbackBase
from lightning_energy.training.ended import EndsTraining
from lightning_energy.training.error_guard import WarnOnce
from lightning_energy.training.fitting import is_fitting
from lightning_energy.training.forecaster import most_validations
from lightning_energy.training.price_of_a_point import point_of, with_validation

if TYPE_CHECKING:
    from lightning.pytorch import Callback, LightningModule, Trainer

    from lightning_energy.training.scored import Scored

__all__ = ["EnergyEfficiencyStopping"]

OF_ENERGY = "omit it: the metric, its direction and its scale are those of EnergyCallback(metric=…, mode=…, scale=…)"
OTHER_NAMES = {"monitor": OF_ENERGY, "metric": OF_ENERGY, "accuracy": OF_ENERGY, "mode": OF_ENERGY, "scale": OF_ENERGY,
               "min_delta": "omit it: max_kwh_per_point says which gain is too small for its energy",
               "threshold": ("max_kwh_per_point",), "window": ("patience",)}  # fmt: skip


class EnergyEfficiencyStopping(EndsTraining):
    """Stop a training when the next point of quality costs more than a stated number of kWh.

    The price of the next point is that of the last ones: after each validation, the energy that the last ``patience``
    validations took with the training before each, divided by the points that the best value so far has risen by in
    them, see :mod:`lightning_energy.scores.stopping`. With any limit it stops where Lightning's ``EarlyStopping`` with
    this patience would, or earlier.

    It needs an :class:`~lightning_energy.EnergyCallback` in the same Trainer, which knows the energy, and whose metric
    it goes by: any metric, in its own direction. The place in the list does not matter. All ranks stop together, as
    with ``EarlyStopping``, and ``min_epochs`` and ``min_steps`` of the Trainer win. Where some energy is missing, the
    price is a lower bound: it never stops too early. The energies and the best value go on in checkpoints.

    Args:
        max_kwh_per_point: the kWh that a point may cost, above 0.
        point: the size of a point, above 0: 0.01, a percentage point, for accuracies (percentages are taken as
            fractions); in the unit of other metrics as they are logged.
        patience: the number of validations over which the price is taken, from 1 on.

    Attributes:
        kwh_per_point: the price of a point at the last validation; infinite where the best value did not change,
            ``None`` where it is not known.
        stopped_epoch: the epoch in which it stopped the training, counted from 0; ``None`` while it did not.
        reason: the reason why it stopped, a sentence with its figures; empty while it did not.

    Raises:
        TypeError: an argument is no number.
        ValueError: an argument is not finite, or not above 0.

    Example:
        >>> from lightning_energy import EnergyEfficiencyStopping
        >>> stopping = EnergyEfficiencyStopping(max_kwh_per_point=0.05, patience=5)
    """

    may_stop_early = True
    """A forecast that sees it in the Trainer is one of the most that may be spent."""

    @named_arguments("EnergyEfficiencyStopping", lambda _value: "max_kwh_per_point", OTHER_NAMES)
    def __init__(self, *, max_kwh_per_point: float, point: float = POINT, patience: int = WINDOW) -> None:
        super().__init__()
        check_positive(max_kwh_per_point=max_kwh_per_point, point=point)
        check_window(patience=patience)
        self.max_kwh_per_point = max_kwh_per_point
        self.point = point
        self.patience = patience
        self.kwh_per_point: float | None = None
        self.stopped_epoch: int | None = None
        self._reached: list[Reached] = []
        self._accepts = True
        self._warn = WarnOnce()

    @property
    def state_key(self) -> str:
        """The key of its state in checkpoints: two with different settings may stand in one Trainer."""
        return self._generate_state_key(
            max_kwh_per_point=self.max_kwh_per_point, point=self.point, patience=self.patience
        )

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Stand behind the EnergyCallback, which must have seen a validation first; say so where there is none."""
        if stage != "fit" or self._refuses(trainer):
            return
        self.reason = ""
        if trainer.global_step == 0 and trainer.current_epoch == 0:  # a new training; a checkpoint is loaded later
            self._reached, self.kwh_per_point, self.stopped_epoch = [], None, None
            self._warn.begin_anew()
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]  # set by a connector
        last = max((i for i, c in enumerate(callbacks) if isinstance(c, CallbackBase)), default=None)
        if last is None:
            self._warn(
                "energy",
                "EnergyEfficiencyStopping stops nothing, as the Trainer has no EnergyCallback, which measures the "
                "energy: write callbacks=[EnergyCallback(), EnergyEfficiencyStopping(…)]",
            )
        elif callbacks.index(self) < last:  # a new list: Lightning is iterating over the old one
            before, behind = callbacks[: last + 1], callbacks[last + 1 :]
            trainer.callbacks = [*(c for c in before if c is not self), self, *behind]  # type: ignore[attr-defined]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say so where nothing will be validated, or too seldom for a price."""
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]  # set by a connector
        if trainer.fast_dev_run or not any(isinstance(c, CallbackBase) for c in callbacks):  # type: ignore[attr-defined]
            return
        if not trainer.enable_validation:
            self._warn(
                "validation",
                "EnergyEfficiencyStopping stops nothing, as this training has no validation: give the Trainer "
                "validation data and the module a validation_step, or limit the energy with EnergyBudget(max_kwh=…)",
            )
            return
        needed, to_come = self.patience + 1, most_validations(trainer)
        if to_come is not None and len(self._reached) + to_come < needed:
            has = f"{to_come or 'no'} validation{'s' if to_come > 1 else ''}"
            more = " more" if self._reached else ""
            self._warn(
                "validation",
                f"EnergyEfficiencyStopping stops nothing, as this training has {has}{more} and a price takes {needed}: "
                f"validate more often (check_val_every_n_epoch, val_check_interval), or give a smaller patience",
            )

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Judge the price of a point, and stop all ranks where it is too dear on one."""
        if trainer.state.fn != "fit" or trainer.sanity_checking or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]  # set by a connector
        energies = [c for c in callbacks if isinstance(c, CallbackBase)]
        now = next((found for found in (c.last_validation for c in energies) if found is not None), None)
        if now is not None:
            self._take(now)
            self._say_unknown()
        elif name := next((named for named in map(_named, energies) if named), ""):
            value = float(trainer.callback_metrics.get(name, 0.0))
            is_number = math.isfinite(value)  # of this validation, or an earlier one
            why = f"EnergyCallback took no value of {name} in it" if is_number else f"{name}={value} is no number"
            self._warn("no value", f"EnergyEfficiencyStopping passes over a validation: {why}")
        elif energies:
            self._warn(
                "metric",
                "EnergyEfficiencyStopping has nothing to go by, as EnergyCallback found no metric in this validation: "
                "name one with EnergyCallback(accuracy=…) or EnergyCallback(metric=…, mode=…)",
            )
        is_too_dear = now is not None and self.kwh_per_point is not None and self.kwh_per_point > self.max_kwh_per_point
        # ranks know the same, but they must also do the same
        if not trainer.strategy.reduce_boolean_decision(is_too_dear, all=False):
            return
        trainer.should_stop = True
        self.stopped_epoch = trainer.current_epoch
        self.reason = self._words()
        rank_zero_info(f"EnergyEfficiencyStopping: {self.reason}")

    def _take(self, now: Scored) -> None:
        """Add a validation. An energy below that of the one before is that of another run: then all begins anew."""
        kwh = now.energy_kwh
        known = [r.kwh for r in self._reached if r.kwh is not None]
        so_far = [] if kwh is not None and known and kwh < known[-1] else self._reached
        self._reached = with_validation(so_far, now, self.patience)
        self.kwh_per_point = point_kwh(self._reached, window=self.patience, point=point_of(now, self.point))

    def _say_unknown(self) -> None:
        """Warn where no energy is known: a first validation may come before a sensor has moved, a second does not."""
        if [r.kwh for r in self._reached[-2:]] == [None, None]:
            self._warn(
                "unknown",
                "EnergyEfficiencyStopping stops nothing while the energy of the training is not known: see the trouble "
                "of the sensors, or stop by the metric alone with EarlyStopping",
            )

    def _words(self) -> str:
        """The reason why it stops."""
        price = self.kwh_per_point
        if price is None:
            return f"stopped in epoch {self.stopped_epoch}, as another rank did"
        last = "the last validation, with the training before it,"
        if self.patience > 1:
            last = f"the last {self.patience} validations, with the training before each,"
        spent_kwh = (self._reached[-1].kwh or 0.0) - (self._reached[0].kwh or 0.0)
        cost = "without a better value" if math.isinf(price) else f"{price:.3g} kWh per point of {self.point:g}"
        return (
            f"stopped in epoch {self.stopped_epoch}: {last} took {spent_kwh:.3g} kWh, {cost}; "
            f"max_kwh_per_point={self.max_kwh_per_point:g}"
        )

    def state_dict(self) -> dict[str, Any]:
        """The results of the last validations, in plain types."""
        if self._is_saved_by_other():
            return {}
        return {"reached": [[*row] for row in self._reached]}

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Decide on the state that follows: a test with the weights of an earlier epoch does not undo later ones."""
        self._accepts = is_fitting(trainer)

    def refuse_state(self) -> None:
        """Take no state from the checkpoint that is loaded: it is of a Trainer that it does not end."""
        self._accepts = False

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with what was reached in an earlier session."""
        if not self._accepts:
            return
        try:
            rows = [Reached(float(best), None if kwh is None else float(kwh), float(missing_s))
                    for best, kwh, missing_s in state_dict["reached"]]  # fmt: skip
        except (KeyError, TypeError, ValueError) as error:
            self._warn(
                "state",
                f"EnergyEfficiencyStopping: its state in the checkpoint is damaged ({type(error).__name__}: {error}), "
                f"so that its {self.patience} validations begin anew",
            )
            return
        self._reached = rows[-1 - self.patience :]


def _named(energy: CallbackBase) -> str:
    """The metric that an EnergyCallback was given by name; empty where it looks for one."""
    return getattr(energy, "metric", None) or getattr(energy, "accuracy", None) or ""
