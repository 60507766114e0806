"""Accuracies of two runs in samples: what their difference is when nothing but counting is known."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from lightning_energy.scores.metric_name import canonical

if TYPE_CHECKING:
    from lightning_energy.comparison.run import Run

__all__ = ["in_samples", "samples_of", "standard_error"]

_SHARE_OF_SAMPLES = re.compile(r"accuracy( top \d+)?")
_OF_A_LOADER = re.compile(r"/dataloader_idx_\d+$")


def samples_of(run: Run) -> int | None:
    """The number of samples of which the metric of a run counts a share; ``None`` where it is no such share.

    An accuracy is one, also a top-k; a loss, an F1 score or an average over classes is none. Of one dataloader of
    several the number is not known.

    Example:
        >>> from lightning_energy.comparison.run import Run
        >>> [samples_of(Run("a", "", metric_name=name, metric_n=540)) for name in ("val_acc", "val_f1", "macro_acc")]
        [540, None, None]
    """
    name = run.metric_name or ""
    is_share = run.scale != "raw" and _SHARE_OF_SAMPLES.fullmatch(canonical(name)) and not _OF_A_LOADER.search(name)
    return run.metric_n if is_share else None


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
    n = samples_of(run)
    if not n or n != samples_of(other) or run.mode != "max":
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
