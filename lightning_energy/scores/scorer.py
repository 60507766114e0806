"""From logged metrics and energy to the score of this epoch: never from an old metric."""

from __future__ import annotations

import difflib
import math
from typing import TYPE_CHECKING, Any, NamedTuple

from lightning_energy.meters.handlers import raised_by_handler
from lightning_energy.scores.choice import MetricChoice, ScoreRule
from lightning_energy.scores.metric import DOUBT, NOT_FINITE, PERCENT, ROUNDING, Metric, Scale
from lightning_energy.scores.metric_name import find_accuracy, is_loss_only, of_name

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from lightning_energy.scores.metric import Mode

__all__ = ["AccuracyError", "Judged", "Scorer"]


class AccuracyError(ValueError):
    """The accuracy is no fraction: a wrong setting, reported by the sanity check, before energy is spent on it."""


class Judged(NamedTuple):
    """A logged value as a metric.

    Attributes:
        metric: the metric; ``None`` where the value is no value of it.
        problem: the reason why it has no score, a sentence without a subject; empty if it can have one.
        withdraws: true when it shows that the run's earlier values were percentages, too: their scores were wrong.
    """

    metric: Metric | None
    problem: str = ""
    withdraws: bool = False


class Scorer:
    """Finds the metric of quality among logged metrics, judges its scale, and scores it.

    Args:
        choice: the metric that is asked for.
        rule: the score that is made of it.
        ours: the names that this library logs, which are no metrics of the user's.

    Attributes:
        rule: the score; its reference is settled by the first value where it is the run's own.
        chosen: the name that was found, in this session or an earlier one, or ``None``.
        scale: the scale as far as it is known; ``None`` while all values fit a fraction as well as a percentage.
        reason: the error that made the last :meth:`score` ``None``, in brackets behind a space; empty without one.
    """

    def __init__(
        self,
        choice: MetricChoice | None = None,
        rule: ScoreRule | None = None,
        *,
        ours: Collection[str] = (),
    ) -> None:
        self.choice = choice or MetricChoice()
        self.rule = rule or ScoreRule()
        self.chosen: str | None = None
        self.scale: Scale | None = self.choice.scale
        self.reason = ""
        self._ours = frozenset(ours)
        self._before: dict[str, Any] = {}
        self._confirmed = False  # the choice was made, or seen again, in this run

    @property
    def name(self) -> str:
        """The formula with its constants; of a user's function its name; empty without a score."""
        return self.rule.name

    @property
    def may_be_scored(self) -> bool:
        """False where it is known before the first value that there will be no score."""
        return self.rule.function is not None and (self.rule.formula is None or self.may_be_accuracy)

    @property
    def may_be_accuracy(self) -> bool:
        """False where it is known that the metric is none."""
        return self.choice.mode == "max" and self.scale != "raw"

    @property
    def is_settled(self) -> bool:
        """True when the metric's name is known before all of a validation is logged."""
        return self.choice.name is not None or self.chosen is not None

    def begin(self, metrics: Mapping[str, Any]) -> None:
        """Begin a validation: everything that is logged by now is old."""
        self._before = {**metrics}

    def forget(self) -> None:
        """Drop the references to old metrics."""
        self._before = {}

    def fresh(self, metrics: Mapping[str, Any]) -> list[str]:
        """List the names logged since :meth:`begin`: a stale entry is still the same object."""
        return [n for n, v in metrics.items() if v is not self._before.get(n) and n not in self._ours]

    def find(self, metrics: Mapping[str, Any], *, final: bool = False) -> tuple[str, float] | None:
        """Find name and value of this validation's metric, or ``None``.

        Args:
            metrics: ``trainer.callback_metrics``.
            final: everything of this validation is logged, so that a choice is a choice for good.
        """
        fresh = self.fresh(metrics)
        if self.choice.name is None and final and not self._confirmed:
            if self.chosen not in fresh:
                self.scale = self.scale if self.chosen is None else self.choice.scale  # it was another metric's
                self.chosen = find_accuracy(fresh)
            self._confirmed = self.chosen is not None
        name = of_name(self.choice.name, fresh) if self.choice.name else self.chosen
        if name is None or name not in fresh:
            return None
        return name, _number(metrics[name])

    def judge(self, name: str, value: float, *, is_promised: bool = False) -> Judged:
        """Judge a logged value by the scale of the run, which it may settle.

        The scale is one of the run, not of a value: 0.6 may be a fraction or 0.6 %. A value above 1 of an accuracy
        shows that all of the run's values are percentages.

        Args:
            name: its logged name.
            value: the value.
            is_promised: true where the class that computes it promises a fraction of which more is better.
        """
        choice = self.choice
        if not math.isfinite(value):
            return Judged(None, f"{name}={value} {NOT_FINITE}")
        if self.scale is None and not choice.is_accuracy:
            self.scale = "fraction" if is_promised else "raw"
        if self.scale == "raw" or choice.mode == "min":
            return Judged(Metric(name, value, choice.mode, self.scale or "raw"))
        if self.scale is None and is_promised:
            self.scale = "fraction"
        withdraws = self.scale is None and 1.0 + DOUBT < value <= PERCENT * (1.0 + ROUNDING)
        if withdraws:
            self.scale = "percent"
        metric = Metric(name, value, "max", self.scale or "fraction")
        if metric.accuracy is None:
            return Judged(None, self._out_of_range(metric))
        return Judged(metric, withdraws=withdraws)

    def refusal(self, name: str, value: float) -> str:
        """The sentence for a value above 1 of a metric that the user named as a fraction; else empty."""
        is_fraction = self.choice.scale == "fraction" or (
            self.choice.name is not None and self.choice.argument == "accuracy" and self.choice.scale is None
        )
        if not (is_fraction and math.isfinite(value) and value > 1.0 + ROUNDING):
            return ""
        return self._out_of_range(Metric(name, value))

    def _out_of_range(self, metric: Metric) -> str:
        top, what = (PERCENT, "percentage") if metric.scale == "percent" else (1.0, "fraction")
        text = f"{metric.name}={metric.value:g} is no {what} in [0, {top:g}]"
        if metric.value < 0:
            return text
        call = self.choice.code or f"accuracy={metric.name!r}"
        if metric.scale == "fraction" and metric.value <= PERCENT:
            return f"{text}. If it is a percentage, say so: EnergyCallback({call}, scale='percent')"
        return f"{text}. If it is no accuracy, say so: EnergyCallback(metric={metric.name!r}, scale='raw')"

    def why_unscored(self, metric: Metric) -> str:
        """The reason why a metric has no score by this rule, a sentence without a subject; empty if it has one."""
        if self.rule.function is None or self.rule.formula is None or metric.is_accuracy:
            return ""
        better = "the less, the better" if metric.mode == "min" else "it is not said to be a fraction or a percentage"
        cure = "" if metric.mode == "min" else "If it is one, give scale='fraction' or 'percent'. "
        return (
            f"{metric.name} is no accuracy ({better}). {cure}Its values over the energy are logged and kept. Give a "
            f"score of your own with EnergyCallback(score=…), a function of (value, energy_kwh)"
        )

    def unscored(self, metric: Metric | None, metrics: Mapping[str, Any]) -> tuple[str, Mode] | None:
        """Name and direction of a logged metric that the formula makes no score of; ``None`` without one.

        Args:
            metric: the metric of this validation; ``None`` where it has none.
            metrics: ``trainer.callback_metrics``.
        """
        if metric is not None:
            return (metric.name, metric.mode) if self.why_unscored(metric) else None
        loss = self.loss_alone(metrics)
        return (loss, "min") if loss and self.rule.formula is not None else None

    def score(self, metric: Metric, energy_kwh: float) -> float | None:
        """Score, or give ``None`` where the score is not defined or not finite: a NaN would end the run."""
        self.reason = ""
        self.rule = self.rule.with_reference(energy_kwh)
        value = metric.accuracy if self.rule.formula is not None else metric.value
        if self.rule.function is None or self.rule.is_of_run or value is None:
            return None
        try:
            result = self.rule.function(value, energy_kwh)
            score = math.nan if result is None else float(result)  # it may return None where it is not defined
        except Warning:
            raise
        except Exception as error:  # the user's function may raise anything; the training goes on
            if raised_by_handler(error):
                raise
            self.reason = f" ({type(error).__name__}: {error})"
            return None
        return score if math.isfinite(score) else None

    def u_of_score(self, metric: Metric, energy_kwh: float | None, u_kwh: float) -> float | None:
        """Standard uncertainty of a score by its energy alone, as the metric's own is not known.

        Half of the difference between the scores at one standard uncertainty more and less; a function of the user's
        own is not asked, as it may do other things than to score.

        Args:
            metric: the metric.
            energy_kwh: the energy in kWh.
            u_kwh: its standard uncertainty in kWh, with the gain of the sensors.

        Returns:
            The uncertainty; ``None`` where the score is the user's own, or not defined there.
        """
        formula, accuracy = self.rule.formula, metric.accuracy
        if formula is None or accuracy is None or energy_kwh is None:
            return None
        low_kwh = max(energy_kwh - u_kwh, 0.0)
        if not formula.is_defined(low_kwh):
            low_kwh = energy_kwh
        high, low = (formula(accuracy, kwh) for kwh in (low_kwh, energy_kwh + u_kwh))
        width_kwh = energy_kwh + u_kwh - low_kwh
        u = abs(high - low) * u_kwh / width_kwh if width_kwh > 0 else 0.0
        return u if math.isfinite(u) else None

    def why_undefined(self, metric: Metric, energy_kwh: float) -> str:
        """The reason why the last :meth:`score` was ``None``, a sentence without a subject."""
        formula = self.rule.formula
        if formula is not None and not formula.is_defined(energy_kwh):
            return (
                f"{formula.name} is defined above {formula.above_kwh:g} kWh only, and {energy_kwh:.3g} kWh were spent. "
                f"EnergyCallback(score='penalized'), the default, is defined at any energy"
            )
        return (
            f"{self.name} is not defined at {metric.name}={metric.value:g} and energy_kwh={energy_kwh:g}{self.reason}"
        )

    def loss_alone(self, metrics: Mapping[str, Any]) -> str:
        """The first of the losses, where no metric is named or known and this validation logged nothing else."""
        fresh = sorted(self.fresh(metrics))
        return fresh[0] if fresh and not self.is_settled and is_loss_only(fresh) else ""

    def advice(self, metrics: Mapping[str, Any], lacking: Collection[int] = (), *, waits: bool = False) -> str:
        """The reason why no metric was found in this validation, and what to do.

        Args:
            metrics: ``trainer.callback_metrics``.
            lacking: the ranks that did not log it, where others did.
            waits: whether a callback waits for a score: there is something to do, also where losses alone are logged.
        """
        fresh = sorted(self.fresh(metrics))
        name = self.choice.name or self.chosen
        if lacking and name is not None:
            return (
                f"{name!r} was not logged on rank {', '.join(map(str, lacking))}. Log it on all ranks "
                f"(sync_dist=True), or on rank zero alone"
            )
        log_one = f"Log one, e.g. self.log({self.choice.name or 'val_acc'!r}, …) in validation_step"
        if self.choice.name:
            near = difflib.get_close_matches(self.choice.name, [n for n in fresh if n != self.choice.name], 1)
            hint = f". Did you mean {near[0]!r}?" if near else "" if fresh else f". {log_one}"
            return f"{self.choice.code} was not logged by this validation. Logged: {_listed(fresh)}{hint}"
        if not fresh:
            return f"no metric was logged by this validation. {log_one}"
        if self.chosen is not None:
            return f"{self.chosen!r} was not logged by this validation. Logged: {_listed(fresh)}"
        if loss := self.loss_alone(metrics):
            return f"no accuracy was logged, only {_listed(fresh)}. {self._cure_of_losses(loss, waits=waits)}"
        return (
            f"none of the logged validation metrics is plainly the accuracy. Logged: {_listed(fresh)}. "
            f"Choose one: EnergyCallback(accuracy=…), or EnergyCallback(metric=…, mode=…) if it is none"
        )

    def _cure_of_losses(self, loss: str, *, waits: bool) -> str:
        call = f"EnergyCallback(metric={loss!r}, mode='min'"
        if not waits:
            return f"The energy is complete, and nothing needs to be done. To see one of them over the energy: {call})"
        if self.rule.formula is None:
            return f"Give your score one of them: {call}, score=…)"
        return f"Give a score of your own with {call}, score=…), a function of (value, energy_kwh)"


def _number(value: Any) -> float:
    """A logged value; NaN for what is no number: whoever writes into ``callback_metrics`` may put anything there."""
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return math.nan


def _listed(names: list[str]) -> str:
    return ", ".join(map(repr, names)) or "nothing"
