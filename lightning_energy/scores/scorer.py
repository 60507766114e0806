"""From logged metrics and energy to the score of this epoch: never from an old accuracy."""

from __future__ import annotations

import difflib
import math
from typing import TYPE_CHECKING, Any

from lightning_energy.scores.formula import EnergyPenalized, Formula
from lightning_energy.scores.metric_name import find_accuracy, of_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["AccuracyError", "Scorer"]

OURS = "energy/"
ROUNDING = 1e-3  # excess over 1 of a mean in bfloat16: less than half of its spacing there


class AccuracyError(ValueError):
    """The accuracy is no fraction: a wrong setting, reported by the sanity check, before energy is spent on it."""


class Scorer:
    """Finds the accuracy among logged metrics and scores it.

    Args:
        accuracy: the name that the user gave, or ``None`` to find it.
        score: the user's function of (accuracy, energy_kwh), or ``None`` for the default.
        reference_kwh: reference of the default score.
        chosen: the name that was found in an earlier run; kept if it is logged again.

    Attributes:
        chosen: the name that was found, or ``None``.
        reason: the error that made the last :meth:`score` ``None``, in brackets behind a space; empty without one.
    """

    def __init__(
        self,
        accuracy: str | None,
        score: Callable[[float, float], float] | None,
        reference_kwh: float,
        chosen: str | None = None,
    ) -> None:
        self._accuracy = accuracy
        self._score = EnergyPenalized(reference_kwh=reference_kwh) if score is None else score
        self._before: dict[str, Any] = {}
        self._confirmed = False  # the choice was made, or seen again, in this run
        self.chosen = chosen
        self.reason = ""

    @property
    def name(self) -> str:
        """The formula with its constants; of a user's function its name."""
        if isinstance(self._score, Formula):
            return str(self._score)
        return getattr(self._score, "__name__", type(self._score).__name__)

    @property
    def is_settled(self) -> bool:
        """True when the accuracy's name is known before all of a validation is logged."""
        return self._accuracy is not None or self.chosen is not None

    def begin(self, metrics: Mapping[str, Any]) -> None:
        """Begin a validation: everything that is logged by now is old."""
        self._before = {**metrics}

    def forget(self) -> None:
        """Drop the references to old metrics."""
        self._before = {}

    def fresh(self, metrics: Mapping[str, Any]) -> list[str]:
        """List the names logged since :meth:`begin`: a stale entry is still the same object."""
        return [n for n, v in metrics.items() if v is not self._before.get(n) and not n.startswith(OURS)]

    def find(self, metrics: Mapping[str, Any], *, final: bool = False) -> tuple[str, float] | None:
        """Find name and value of this validation's accuracy, or ``None``.

        Args:
            metrics: ``trainer.callback_metrics``.
            final: everything of this validation is logged, so that a choice is a choice for good.
        """
        fresh = self.fresh(metrics)
        if self._accuracy is None and final and not self._confirmed:
            self.chosen = self.chosen if self.chosen in fresh else find_accuracy(fresh)
            self._confirmed = self.chosen is not None
        name = of_name(self._accuracy, fresh) if self._accuracy else self.chosen
        if name is None or name not in fresh:
            return None
        return name, float(metrics[name])

    @staticmethod
    def check(name: str, accuracy: float) -> str:
        """Say why an accuracy cannot be scored; empty when it can."""
        if not math.isfinite(accuracy):
            return f"{name}={accuracy} is not finite"
        if -ROUNDING <= accuracy <= 1.0 + ROUNDING:
            return ""
        return (
            f"{name}={accuracy:g} is not a fraction in [0, 1]. If it is a percentage, log it divided by 100; "
            f"if it is no accuracy, name the right metric: EnergyCallback(accuracy=…)"
        )

    def score(self, accuracy: float, energy_kwh: float) -> float | None:
        """Score, or give ``None`` where the score is not defined or not finite: a NaN would end the run."""
        accuracy = min(max(accuracy, 0.0), 1.0)
        self.reason = ""
        try:
            value = self._score(accuracy, energy_kwh)
            score = math.nan if value is None else float(value)  # it may return None where it is not defined
        except Warning:
            raise
        except Exception as error:  # noqa: BLE001 - the user's function may raise anything; the training goes on
            self.reason = f" ({type(error).__name__}: {error})"
            return None
        return score if math.isfinite(score) else None

    def advice(self, metrics: Mapping[str, Any]) -> str:
        """Say why there is no score, and how to get one."""
        fresh = sorted(self.fresh(metrics))
        log_one = f"Log one, e.g. self.log({self._accuracy or 'val_acc'!r}, …) in validation_step"
        if self._accuracy:
            near = difflib.get_close_matches(self._accuracy, fresh, 1)
            hint = f". Did you mean {near[0]!r}?" if near else "" if fresh else f". {log_one}"
            return f"accuracy={self._accuracy!r} was not logged by this validation. Logged: {_listed(fresh)}{hint}"
        if not fresh:
            return f"no metric was logged by this validation. {log_one}"
        return (
            f"none of the logged validation metrics is plainly the accuracy. Logged: {_listed(fresh)}. "
            f"Choose one: EnergyCallback(accuracy=…)"
        )


def _listed(names: list[str]) -> str:
    return ", ".join(map(repr, names)) or "nothing"
