"""Accuracies of two runs in samples: what their difference is when nothing but counting is known."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightning_energy.comparison.run import Run

__all__ = ["in_samples", "standard_error"]


def standard_error(accuracy: float, n: int) -> float:
    """The standard error of an accuracy on ``n`` samples that were drawn at random, by the binomial distribution.

    Example:
        >>> round(standard_error(0.9, 100), 3)
        0.03
    """
    return math.sqrt(accuracy * (1 - accuracy) / n)


def in_samples(run: Run, other: Run) -> str | None:
    """Say by how many samples the other run is better, beside what chance makes of it; ``None`` where that is unknown.

    Chance is that of the drawing of the samples: the standard deviation of the difference if both runs err
    independently. On the same samples they err partly alike, and it is smaller.

    Args:
        run: a run.
        other: a run of the same metric that is at least as good.
    """
    n = run.metric_n
    if not n or n != other.metric_n or run.scale == "raw" or run.mode != "max":
        return None
    if run.metric is None or other.metric is None:
        return None
    more = round((other.metric - run.metric) * n)
    chance = n * math.hypot(standard_error(run.metric, n), standard_error(other.metric, n))
    difference = f"better by {more} sample{'s' * (more != 1)} of {n}" if more else f"as good on {n} samples"
    return (
        f"{other.name} is {difference}; if both erred independently, the choice of the samples would make "
        f"±{chance:.2g} (binomial, one standard deviation); on the same samples it is usually less"
    )
