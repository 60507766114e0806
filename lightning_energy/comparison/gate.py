"""A gate for continuous integration: do new runs cost more energy than those before?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from lightning_energy.comparison.student import FEWEST, quantile, repeats_needed
from lightning_energy.comparison.verdicts import Facts, energy_differences, metric_difference, pairs_of, unlike

if TYPE_CHECKING:
    from lightning_energy.comparison.groups import Group

__all__ = ["Gate", "GateError", "gate"]

LEVEL = 0.05

Outcome = Literal["fine", "worse", "cannot tell"]


class GateError(ValueError):
    """The runs of both sides must not be set against each other."""


@dataclass(frozen=True)
class Gate:
    """The answer of a gate.

    Attributes:
        outcome: ``fine``: the upper bound of the increase is within the limit, and the metric not shown to be worse.
            ``worse``: the lower bound is above the limit, or the metric is shown to be worse. Else ``cannot tell``.
        reason: the reason, a sentence.
        increase: the increase of the energy, of the typical (geometric mean) run, as a share; ``None`` unknown.
        low: lower end of its 95 % interval; ``None`` unknown.
        high: upper end of it.
        gain: the new metric minus the one before, in the better direction; ``None`` unknown.
        gain_low: lower end of its 95 % interval.
        gain_high: upper end of it.
        pairs: number of seeds that the runs were paired by; 0: they are not.
        repeats: runs on each side that it takes to see a change as large as the limit, with this spread.
    """

    outcome: Outcome
    reason: str
    increase: float | None = None
    low: float | None = None
    high: float | None = None
    gain: float | None = None
    gain_low: float | None = None
    gain_high: float | None = None
    pairs: int = 0
    repeats: int | None = None


def gate(base: Group, new: Group, max_increase: float, max_loss: float | None = None) -> Gate:
    """Judge new runs by their energy and their metric.

    Each bound is the end of a two-sided 95 % interval, by Student's t on the logarithms of energies, so that "fine" is
    wrong for at most one in 40 changes that are too dear, and "worse" for at most one in 20 that are not (one in 40 by
    the energy, as many by the metric).

    Args:
        base: the runs before.
        new: the runs now.
        max_increase: the increase of the energy that is allowed, as a share: 0.03 for 3 %.
        max_loss: the loss of the metric that is allowed, in the unit in which it is shown. With it, "fine" takes proof
            that the metric lost no more; by default it only takes that no loss is shown.

    Raises:
        GateError: a side has no run, or the sides are unlike.
    """
    for side in (base, new):
        if not side.runs:
            raise GateError(f"{side.name} has no run that ended with a metric and an energy: give records of such runs")
    one, other = Facts.of(base), Facts.of(new)
    reasons = (*unlike(base.runs[0], new.runs[0]), *one.own, *other.own)
    if reasons:
        raise GateError(f"the runs cannot be set against each other: {'; '.join(reasons)}")
    if min(base.n, new.n) < FEWEST:
        return Gate(
            "cannot tell",
            f"{base.n} and {new.n} runs do not show how repeats scatter: give at least {FEWEST} per side",
            math.exp(math.fsum(other.log_kwh) / new.n - math.fsum(one.log_kwh) / base.n) - 1,
        )
    pairs = pairs_of(one, other)
    middle, least, most = energy_differences(one, other, pairs)
    low = _share(least.value - _half(least.error, least.df))
    high = _share(most.value + _half(most.error, most.df))
    metric = metric_difference(one, other, pairs)
    half = _half(metric.error, metric.df)
    repeats = repeats_needed(
        math.log1p(max_increase), middle.sd, LEVEL / 2, paired=bool(pairs), constant=middle.constant
    )
    loss = max_loss or 0.0
    bounds = _Bounds(
        low,
        high,
        max_increase,
        is_worse=metric.error > 0 and metric.value + half < -loss,
        is_kept=max_loss is None or (metric.error > 0 and metric.value - half >= -loss),
    )
    outcome, reason = bounds.answer(repeats)
    if not middle.error:
        outcome, reason = "cannot tell", "all repeats cost the same to the last digit: were they trained anew?"
    return Gate(
        outcome,
        reason,
        _share(middle.value),
        low,
        high,
        metric.value,
        metric.value - half,
        metric.value + half,
        len(pairs),
        repeats,
    )


class _Bounds(NamedTuple):
    """The bounds of an increase, the limit, and what is shown of the metric."""

    low: float
    high: float
    max_increase: float
    is_worse: bool
    is_kept: bool

    def answer(self, repeats: int | None) -> tuple[Outcome, str]:
        limit = f"{100 * self.max_increase:g} %"
        if self.low > self.max_increase:
            return "worse", f"the energy rose by more than {limit}: by {100 * self.low:.2g} % at least"
        if self.is_worse:
            return "worse", "the metric is significantly worse"
        if self.high <= self.max_increase and self.is_kept:
            return "fine", f"the energy rose by no more than {limit}: by {100 * self.high:.2g} % at most"
        if self.high <= self.max_increase:
            return "cannot tell", "the energy is within the limit, but the metric may have lost more than is allowed"
        if math.isinf(self.high):
            return "cannot tell", "a run may have spent more than is known, as energy of it is missing"
        needed = "no number of runs is enough" if repeats is None else f"at least {repeats} runs per side are needed"
        return "cannot tell", f"{needed} to see {limit} with this spread"


def _half(error: float, df: float) -> float:
    return quantile(1 - LEVEL / 2, df) * error


def _share(logarithm: float) -> float:
    return math.expm1(logarithm) if logarithm < math.log(1e6) else math.inf
