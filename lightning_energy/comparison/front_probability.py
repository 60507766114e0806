"""The posterior probability that a configuration is on the Pareto front, by the scatter of its repeats alone."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from lightning_energy.comparison.groups import Group

__all__ = ["DRAWS", "FEWEST", "front_probabilities", "is_estimated", "probability_words", "shows_scatter"]

DRAWS = 4000  # the share of them is right to 0.016 at most (k=2)
FEWEST = 3
"""Number of runs below which a configuration has no probability: two tell next to nothing of their scatter."""
SEED = 20231025
UNLIKELY = 0.01


def front_probabilities(groups: Sequence[Group]) -> list[float | None]:
    """Find, for each configuration, the posterior probability that its mean is on the front of those with three runs.

    The means are drawn 4000 times around those that were seen: metric and energy together, with their covariance over
    the runs of the configuration divided by their number, from Student's t distribution with one degree of freedom
    fewer than runs: the posterior under a flat prior, and no test. Draws of different configurations are independent:
    seeds that they share, which make differences surer than that, are not used. Neither is the uncertainty of meters.
    What their scatter does not show is left out: estimates, which err by half, missing energy, a figure without any
    spread, runs that all stopped early after as many epochs, the metric of runs with one seed, and runs of several
    settings, which may be mixed differently elsewhere. The same groups give the same figures.

    Args:
        groups: configurations with known means; those that do not show their scatter are left out of the draws.

    Returns:
        For each the probability; ``None`` with fewer than three runs, with an estimated or missing energy, where energy
        or metric have no spread, all stopped early after as many epochs, a seed comes twice, or runs differ in a
        setting, where it is the only one that is left, or where the means of one that has none are ahead of its own,
        unless it is below 0.01 all the same.
    """
    chosen = [i for i, group in enumerate(groups) if shows_scatter(group)]
    found: list[float | None] = [None] * len(groups)
    if len(chosen) < 2:  # noqa: PLR2004 - one is alone on its front
        return found
    rng = np.random.default_rng(SEED)
    draws = [_means(groups[i], rng) for i in chosen]
    energies, values = (np.stack(column, axis=1) for column in zip(*draws, strict=True))
    order = np.lexsort((-values, energies), axis=1)
    ordered = np.take_along_axis(values, order, axis=1)
    before = np.maximum.accumulate(ordered, axis=1)
    is_on = np.ones_like(ordered, dtype=np.bool_)
    is_on[:, 1:] = ordered[:, 1:] > before[:, :-1]
    shares = np.zeros(len(chosen))
    np.add.at(shares, order.ravel(), is_on.ravel())
    others = [group for i, group in enumerate(groups) if i not in chosen]
    for i, share in zip(chosen, shares / DRAWS, strict=True):
        is_bound = share < UNLIKELY  # one more ahead only makes it smaller
        found[i] = float(share) if is_bound or not any(_is_ahead(other, groups[i]) for other in others) else None
    return found


def _is_ahead(one: Group, other: Group) -> bool:
    """True when the mean of the first group is at least as good and as cheap, and better in one."""
    if one.energy is None or one.metric is None or other.energy is None or other.metric is None:
        return False
    gain = (one.metric.mean - other.metric.mean) * (1 if other.mode == "max" else -1)
    saved = other.energy.mean - one.energy.mean
    return min(gain, saved) >= 0 and max(gain, saved) > 0


def shows_scatter(group: Group) -> bool:
    """True when all that its means may err by, but the gain of the meters, shows in the scatter of its runs."""
    if group.n < FEWEST or group.repeats_a_seed or is_estimated(group) or group.differs_in:
        return False
    if any(run.source.slack_kwh for run in group.runs) or group.stops_alike:
        return False
    return all(mean is not None and mean.low is not None for mean in (group.energy, group.metric))


def is_estimated(group: Group) -> bool:
    """True when the energy of a run of the configuration is a model's."""
    return any(run.quality == "estimated" for run in group.runs)


def probability_words(p: float) -> str:
    """Write a probability, none as certain.

    Example:
        >>> probability_words(0.9999), probability_words(0.5), probability_words(0.0)
        ('> 0.99', '= 0.50', '< 0.01')
    """
    return "> 0.99" if p > 1 - UNLIKELY else "< 0.01" if p < UNLIKELY else f"= {p:.2f}"


def _means(group: Group, rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Means that might be true: of the energy, and of the metric with a sign by which more is better."""
    sign = 1.0 if group.mode == "max" else -1.0
    energy = np.array([run.energy_kwh for run in group.runs], dtype=np.float64)
    good = sign * np.array([run.metric for run in group.runs], dtype=np.float64)
    n = group.n
    normal = rng.standard_normal((2, DRAWS)) / np.sqrt(rng.chisquare(n - 1, DRAWS) / (n - 1))
    s_energy, s_good = energy.std(ddof=1), good.std(ddof=1)
    product = s_energy * s_good
    r = float(np.clip(np.cov(energy, good)[0, 1] / product, -1, 1)) if product > 0 else 0.0
    of_good = r * normal[0] + math.sqrt(1 - r * r) * normal[1]
    root = math.sqrt(n)
    return energy.mean() + s_energy / root * normal[0], good.mean() + s_good / root * of_good
