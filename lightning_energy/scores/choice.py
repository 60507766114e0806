"""The user's choice of the metric of quality, and of the score that is made of it."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from lightning_energy.scores.formula import EnergyPenalized, Formula, Sustainable, check_positive
from lightning_energy.scores.metric import Mode, Scale
from lightning_energy.scores.metric_name import find_accuracy, says_error

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["OF_THE_RUN", "MetricChoice", "ScoreName", "ScoreRule", "ScoreSetting", "choose_metric", "choose_score"]

ScoreName = Literal["penalized", "sustainable"]
"""The scores that have a name: the default, and that of "Watt For What"."""

ScoreSetting: TypeAlias = "ScoreName | Callable[[float, float], float] | Callable[[float, float], float | None] | None"
"""A named score, the user's own function of (logged value, energy in kWh), or none."""

OF_THE_RUN = "run"
"""The reference that is the run's own energy at its first validation."""


@dataclass(frozen=True)
class MetricChoice:
    """The metric of quality that is asked for.

    Attributes:
        name: its logged name; ``None`` to find the accuracy among the logged metrics.
        mode: its better direction.
        scale: its scale as the user gave it; ``None`` to judge it by the values of the run.
        argument: the argument that named it.
        is_accuracy: true when it is meant to be an accuracy: a value above 1 then shows a percentage.
    """

    name: str | None = None
    mode: Mode = "max"
    scale: Scale | None = None
    argument: str = "accuracy"
    is_accuracy: bool = True

    @property
    def code(self) -> str:
        """The arguments that ask for it, as they stand in a call."""
        return f"{self.argument}={self.name!r}" if self.name else ""


def choose_metric(accuracy: Any = None, metric: Any = None, mode: Any = None, scale: Any = None) -> MetricChoice:
    """Check the arguments that name a metric, and bring them together.

    Args:
        accuracy: the name of a logged accuracy; short for ``metric`` with ``mode="max"`` and ``scale="fraction"``,
            where a percentage is found out.
        metric: the name of any logged metric.
        mode: ``"max"`` or ``"min"``; by default ``"max"``, but a name that says an error wants it said.
        scale: ``"fraction"``, ``"percent"`` or ``"raw"``.

    Raises:
        TypeError: a name is no text.
        ValueError: the arguments contradict each other, or ``mode`` is missing.

    Example:
        >>> choose_metric(metric="val_ppl", mode="min").scale
        'raw'
        >>> choose_metric(accuracy="val_acc").scale is None
        True
    """
    for argument, name in (("accuracy", accuracy), ("metric", metric)):
        if name is not None and (not isinstance(name, str) or not name):
            raise TypeError(f"{argument}={name!r}: give the name of a logged metric, such as 'val_acc', or None")
    for argument, value, known in (("mode", mode, get_args(Mode)), ("scale", scale, get_args(Scale))):
        if value is not None and value not in known:
            raise ValueError(f"{argument}={value!r}: give one of {', '.join(map(repr, known))}, or omit it")
    if accuracy is not None and metric is not None:
        raise ValueError(f"accuracy={accuracy!r} and metric={metric!r} are both given: give one of them")
    if metric is not None:
        return _any_metric(metric, mode, scale)
    given = f"accuracy={accuracy!r}" if accuracy else "a metric without a name"
    if mode == "min" or scale == "raw":
        wrong = f"mode={mode!r}" if mode == "min" else f"scale={scale!r}"
        raise ValueError(
            f"{wrong} does not go with {given}: name the metric, EnergyCallback(metric={accuracy or '…'!r}, "
            f"{wrong}{_min(accuracy, mode)})"
        )
    if accuracy is not None and says_error(accuracy):
        raise ValueError(
            f"accuracy={accuracy!r}: its name says that less is better, so it is no accuracy. Give "
            f"EnergyCallback(metric={accuracy!r}, mode='min')"
        )
    return MetricChoice(accuracy, "max", scale)


def _any_metric(name: str, mode: Mode | None, scale: Scale | None) -> MetricChoice:
    if mode is None and says_error(name):
        raise ValueError(
            f"metric={name!r}: its name says that less is better. Give mode='min', or mode='max' if more is better"
        )
    is_accuracy = mode != "min" and find_accuracy([name]) is not None
    if scale is None and mode == "min":
        scale = "raw"
    return MetricChoice(name, mode or "max", scale, "metric", is_accuracy)


def _min(accuracy: str | None, mode: str | None) -> str:
    return ", mode='min'" if accuracy and mode != "min" and says_error(accuracy) else ""


@dataclass(frozen=True)
class ScoreRule:
    """The score that is made of the metric and the energy.

    Attributes:
        function: a formula of (accuracy as a fraction, kWh), the user's function of (logged value, kWh), or ``None``.
        is_of_run: true while its reference is to be the run's own energy, which is not known yet.
    """

    function: Formula | Callable[[float, float], float | None] | None = field(default_factory=EnergyPenalized)
    is_of_run: bool = False

    @property
    def formula(self) -> Formula | None:
        """The formula; ``None`` for a user's function or none."""
        return self.function if isinstance(self.function, Formula) else None

    @property
    def reference_kwh(self) -> float | None:
        """The reference of its formula; ``None`` where it has none, or is not known yet."""
        return None if self.is_of_run else getattr(self.formula, "reference_kwh", None)

    @property
    def name(self) -> str:
        """The formula with its constants; of a user's function its name; empty without one."""
        if self.function is None:
            return ""
        if self.formula is None:
            return getattr(self.function, "__name__", type(self.function).__name__)
        text = str(self.formula)
        return f"{text[: text.rindex('=')]}={OF_THE_RUN})" if self.is_of_run else text

    def with_reference(self, energy_kwh: float) -> ScoreRule:
        """The same with an energy as its reference, if it waits for one."""
        if not self.is_of_run or not energy_kwh > 0:
            return self
        return replace(self, function=EnergyPenalized(reference_kwh=energy_kwh), is_of_run=False)


def choose_score(score: Any, reference_kwh: Any) -> ScoreRule:
    """Check the arguments of the score, and bring them together.

    Args:
        score: a name, a function, or ``None``.
        reference_kwh: a number, or ``"run"``.

    Raises:
        TypeError: one has the wrong type, or the function cannot be called with two numbers.
        ValueError: one has an impossible value, or they do not go together.

    Example:
        >>> choose_score("penalized", 0.01).name
        'energy_penalized_accuracy(alpha=5, beta=5, reference_kwh=0.01)'
        >>> choose_score("penalized", "run").name
        'energy_penalized_accuracy(alpha=5, beta=5, reference_kwh=run)'
    """
    default = EnergyPenalized().reference_kwh
    if isinstance(reference_kwh, str) and reference_kwh != OF_THE_RUN:
        raise TypeError(f"reference_kwh={reference_kwh!r}: give a number of kWh above 0, 'run', or a record's path")
    if not isinstance(reference_kwh, str):
        check_positive(reference_kwh=reference_kwh)
    if isinstance(score, str) and score not in get_args(ScoreName):
        names = ", ".join(map(repr, get_args(ScoreName)))
        raise ValueError(f"score={score!r}: give {names}, a function of (value, energy_kwh), or None for no score")
    if score == "penalized":
        if reference_kwh == OF_THE_RUN:
            return ScoreRule(EnergyPenalized(), is_of_run=True)
        return ScoreRule(EnergyPenalized(reference_kwh=reference_kwh))
    if reference_kwh != default:
        raise ValueError(
            f"reference_kwh={reference_kwh!r} belongs to score='penalized': omit it beside "
            f"score={score if score is None or isinstance(score, str) else getattr(score, '__name__', '…')!r}"
        )
    if score == "sustainable":
        return ScoreRule(Sustainable())
    if score is not None and not callable(score):
        raise TypeError(f"score={score!r}: give a name, a function of (value, energy_kwh), or None for no score")
    if score is not None:
        _check_call(score)
    return ScoreRule(score)


def _check_call(score: Callable[..., Any]) -> None:
    try:
        signature = inspect.signature(score)
    except (TypeError, ValueError):  # some that are written in C have none
        return
    try:
        signature.bind(0.0, 0.0)
    except TypeError as error:
        raise TypeError(
            f"score={score!r}: give a function that can be called as score(value, energy_kwh); this one: {error}"
        ) from error
