"""The metric of quality that a training is judged by: its value, its better direction, its scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["DOUBT", "NOT_FINITE", "PERCENT", "ROUNDING", "Metric", "Mode", "Scale"]

Mode = Literal["max", "min"]
"""The better direction of a metric: more is better, or less is."""

Scale = Literal["fraction", "percent", "raw"]
"""The unit of a metric: a fraction in [0, 1], a percentage in [0, 100], or any number."""

PERCENT = 100.0
ROUNDING = 1e-3
"""Excess over 1 of a mean in single precision that is rounded for bfloat16."""

DOUBT = 1e-2
"""Excess over 1 up to which a value may be a mean in bfloat16, whose spacing there is 0.0078: no sign of percent."""

NOT_FINITE = "is not finite"
"""Words in the reason why a value that is NaN or infinite is no value of a metric."""


@dataclass(frozen=True)
class Metric:
    """A value of a metric of quality.

    Attributes:
        name: its logged name.
        value: the value as it was logged.
        mode: ``max`` where more is better, ``min`` where less is.
        scale: ``fraction`` for one in [0, 1], ``percent`` for one in [0, 100], ``raw`` for any other.

    Example:
        >>> Metric("val_acc", 91.2, scale="percent").accuracy
        0.912
        >>> Metric("val_loss", 0.3, "min", "raw").accuracy is None
        True
    """

    name: str
    value: float
    mode: Mode = "max"
    scale: Scale = "fraction"

    @property
    def is_accuracy(self) -> bool:
        """True for a fraction or a percentage of which more is better: these alone have a score."""
        return self.mode == "max" and self.scale != "raw"

    @property
    def accuracy(self) -> float | None:
        """The accuracy as a fraction in [0, 1], freed of rounding; ``None`` where it is none, or is out of range."""
        if not self.is_accuracy:
            return None
        fraction = self.value / PERCENT if self.scale == "percent" else self.value
        return min(max(fraction, 0.0), 1.0) if -ROUNDING <= fraction <= 1.0 + ROUNDING else None

    def is_better_than(self, other: float) -> bool:
        """Return true if its value is better than another one of the same metric."""
        return self.value > other if self.mode == "max" else self.value < other
