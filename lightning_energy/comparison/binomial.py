"""Accuracies of two runs in samples: what their difference is when nothing but counting is known."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from lightning_energy.results.prefixes import significant
from lightning_energy.scores.metric_name import canonical

if TYPE_CHECKING:
    from lightning_energy.comparison.run import Run

__all__ = ["counts_samples", "in_samples", "standard_error"]

_COUNTED = re.compile(r"accuracy( top \d+)?")
_OF_A_LOADER = re.compile(r"/dataloader_idx_\d+$")
IN_SINGLE = 2e-7  # relative rounding of a metric that was computed in single precision, of which one step is 6e-8
NEAR_WHOLE = 0.01  # of a sample
MOST_SLACK = 0.1  # of a sample; with more, from 450,000 right ones on, too many averages over classes would pass


def counts_samples(run: Run) -> bool:
    """True when the metric of a run is the share of its samples that it was right about, as far as one can see.

    It is then named as an accuracy in validation, of all dataloaders and over all classes together, and is a whole
    number of samples: F1, areas under curves, and averages over classes or over batches of unequal size are not.

    Args:
        run: a run; ``metric_n`` is the number of samples of its validation.
    """
    name, n = run.metric_name or "", run.metric_n
    if not n or run.metric is None or run.scale == "raw" or run.mode != "max":
        return False
    if _OF_A_LOADER.search(name) or not _COUNTED.fullmatch(canonical(name)):
        return False
    right = run.metric * n
    slack = NEAR_WHOLE + IN_SINGLE * right
    return slack < MOST_SLACK and abs(right - round(right)) <= slack


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
    independently. On the same samples they err partly alike, and it is smaller. Where a run is right about all samples,
    or about none, its standard deviation would be 0, which is wrong; nothing is said of chance then.

    Args:
        run: a run.
        other: a run of the same metric that is at least as good.
    """
    n = run.metric_n
    if not n or n != other.metric_n or not (counts_samples(run) and counts_samples(other)):
        return None
    if run.metric is None or other.metric is None:
        return None
    more = round((other.metric - run.metric) * n)
    difference = f"better by {more} sample{'s' * (more != 1)} of {n}" if more else f"as good on {n} samples"
    if {run.metric, other.metric} & {0.0, 1.0}:
        return (
            f"{other.name} is {difference}; what the choice of the samples would make of it is not known, as one is "
            "right about all of them or none"
        )
    chance = n * math.hypot(standard_error(run.metric, n), standard_error(other.metric, n))
    return (
        f"{other.name} is {difference}; if both erred independently, the choice of the samples would make "
        f"±{significant(chance, 2)} (binomial, one standard deviation); on the same samples it is usually less"
    )
