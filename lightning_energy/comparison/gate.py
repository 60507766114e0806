"""A gate for continuous integration: do new runs cost more energy than those before?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from lightning_energy.comparison.facts import Facts, example, pairs_of, unlike
from lightning_energy.comparison.groups import one_length
from lightning_energy.comparison.mean_tests import (
    ROUNDING,
    by_means,
    energy_differences,
    hang_on_seeds,
    metric_difference,
)
from lightning_energy.comparison.mixtures import OTHER_SHARES, other_shares
from lightning_energy.comparison.student import FEWEST, quantile_with, repeats_needed
from lightning_energy.comparison.verdicts import (
    FEW_DEAR,
    FOR_THAT_SEED,
    NOT_SHARED,
    SHOWS_NOTHING,
    constant_words,
    one_seed_words,
)
from lightning_energy.results.prefixes import per_cent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_energy.comparison.groups import Group
    from lightning_energy.comparison.mean_tests import Test
    from lightning_energy.comparison.run import Run

__all__ = ["IN_COMMON", "Gate", "GateError", "gate"]

IN_COMMON = "they have a run in common: give the records of each side alone"
LEVEL = 0.05
NEAR_0 = 0.1  # of the limit: an increase that is told as none

Outcome = Literal["fine", "worse", "cannot tell"]


class GateError(ValueError):
    """The runs of both sides must not be set against each other."""


@dataclass(frozen=True)
class Gate:
    """The answer of a gate.

    Attributes:
        outcome: ``fine``: the upper end of the 95 % interval of the increase is within the limit, and the metric not
            shown to be worse. ``worse``: its lower end is above the limit, or the metric is shown to be worse. Else
            ``cannot tell``, also where the increase of the arithmetic means, of the pairs or of all runs, is on the
            other side of the limit, or the metric of all runs has another answer than that of the pairs.
        reason: the reason, a sentence.
        increase: the increase of the energy, of the typical (geometric mean) run, as a share; ``None`` unknown.
        low: lower end of its 95 % interval, which reaches to what missing time cost at the runs' mean power, an
            assumption; ``None`` unknown, also where repeats show no spread, or share a seed and are not known to have
            had as many epochs.
        high: upper end of it; ``None`` likewise.
        gain: the new metric minus the one before, in the better direction; ``None`` unknown.
        gain_low: lower end of its 95 % interval; ``None`` unknown, also where repeats show no spread.
        gain_high: upper end of it; ``None`` likewise.
        pairs: number of seeds that the runs were paired by, so that increase and gain are of these alone; 0: they are
            not.
        repeats: runs on each side, all trained anew, that would show with the probability 0.8 on which side of the
            limit the increase is, if it is the one that was seen, with this spread; ``None``: no number is known.
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
    the energy, as many by the metric), if runs are independent, scatter roughly normally, and their number was fixed
    before they were seen.

    Args:
        base: the runs before.
        new: the runs now.
        max_increase: the increase of the energy that is allowed, as a share: 0.03 for 3 %.
        max_loss: the loss of the metric that is allowed, in the unit in which it is shown. With it, "fine" takes proof
            that the metric lost no more; by default it only takes that no loss is shown.

    Raises:
        GateError: a side has no run, the sides are unlike, or have a run in common.
    """
    for side in (base, new):
        if not side.runs:
            raise GateError(f"{side.name} has no run that ended with a metric and an energy: give records of such runs")
    one, other = Facts.of(base), Facts.of(new)
    reasons = (*unlike(example(base), example(new)), *one.own, *other.own)
    pairs = pairs_of(one, other)
    reasons = reasons or (*_unknown_samples([*base.runs, *new.runs]), *_mixed(other_shares(base, new, pairs)))
    if reasons:
        raise GateError(f"the runs cannot be set against each other: {'; '.join(reasons)}")
    if one.records & other.records:
        raise GateError(IN_COMMON)
    if min(base.n, new.n) < FEWEST:
        return Gate(
            "cannot tell",
            f"{base.n} and {new.n} runs do not show how repeats scatter: give at least {FEWEST} per side",
            math.exp(math.fsum(other.log_kwh) / new.n - math.fsum(one.log_kwh) / base.n) - 1,
        )
    middle, least, most = energy_differences(one, other, pairs)
    low = _share(least.value - _half(least))
    high = _share(most.value + _half(most))
    metric = metric_difference(one, other, pairs)
    half = _half(metric)
    gap = _gap(middle, least, most, math.log1p(max_increase))
    repeats = None
    if gap and middle.error:
        repeats = repeats_needed(
            gap, middle.sd, LEVEL / 2, paired=bool(pairs), constant=middle.constant, spreads=middle.spreads
        )
    loss = max_loss or 0.0
    rounding = ROUNDING * max(map(abs, (*one.good, *other.good)))
    lost = -metric.value if not metric.error and metric.value < -loss - rounding else 0.0
    bounds = _Bounds(
        low,
        high,
        _share(middle.value),
        (_share(least.value), _share(most.value)) if gap is None else None,
        max_increase,
        by_means=by_means(one, other, pairs) - 1,
        of_all=by_means(one, other, ()) - 1,
        metric=_OfMetric(metric, half, max_loss),
        is_assumed=least is not most,
        is_unbounded=math.isinf(least.value) or math.isinf(most.value),
        lost=f"worse by {lost:.4g}{_but(metric, base, new)}" if lost else "",
        constant=constant_words(estimates=base.runs[0].quality == "estimated") if middle.constant else "",
    )
    outcome, reason = bounds.answer(repeats)
    if not middle.error:
        what = {"same pairs": "pairs differ by", "one alike": "repeats of one side cost"}.get(
            middle.flaw, "repeats cost"
        )
        outcome, reason = "cannot tell", f"all {what} the same to the last digit: were they trained anew?"
    is_open = outcome == "cannot tell" and -1 < low <= max_increase < high < math.inf
    is_open = is_open and not (lost or bounds.metric.is_worse)
    shows = bool(middle.error)
    if shows and not lost and hang_on_seeds(base, new) == "other split":
        why = "not all had as many epochs, which may hang on that, or it is not known"
        outcome, reason = "cannot tell", f"{SHOWS_NOTHING['other split']} ({why})"
        shows = is_open = False
    if (seeds := one_seed_words(base, new)) and shows and not lost:
        reason, shows = _for_that_seed(reason, seeds, base.lengths | new.lengths)
        outcome, is_open = (outcome, is_open) if shows else ("cannot tell", False)
    return Gate(
        outcome,
        reason,
        _share(middle.value),
        low if shows else None,
        high if shows else None,
        metric.value,
        metric.value - half if metric.error else None,
        metric.value + half if metric.error else None,
        len(pairs),
        repeats if is_open else None,
    )


def _unknown_samples(runs: Sequence[Run]) -> tuple[str, ...]:
    """Say that some runs may be of another validation set; nothing where no run knows the number of its samples."""
    known = [run.metric_n for run in runs if run.metric_n]
    if not known or len(known) == len(runs):
        return ()
    which = f"{len(runs) - len(known)} of {len(runs)} runs is not known, and that of others is {known[0]}"
    why = "nothing shows that they had one validation set: train these anew, with this version"
    return (f"the number of validation samples of {which}, so that {why}",)


def _mixed(shares: str) -> tuple[str, ...]:
    return (f"{OTHER_SHARES} ({shares}): give those of one",) if shares else ()


def _but(metric: Test, base: Group, new: Group) -> str:
    """The reason why a loss of the metric shows nothing."""
    if metric.flaw == "one seed":
        return f", but {one_seed_words(base, new)}"
    if metric.flaw in {"one alike", "other split"}:
        return f", but {SHOWS_NOTHING[metric.flaw]}"
    where = "pairs alike" if metric.flaw == "same pairs" else "repeats, without any spread"
    return f" in all {where}: were they trained anew?"


def _for_that_seed(reason: str, seeds: str, lengths: frozenset[tuple[int | None, int]]) -> tuple[str, bool]:
    """Say that an answer is for some seeds, or why there is none, where trainings were of different lengths.

    Returns:
        The reason of the answer, and whether energies show anything.
    """
    if one_length(lengths):
        return f"{reason} ({FOR_THAT_SEED})", True
    unknown = ", or that is not known" if (None, 0) in lengths else ""
    why = f"not all had as many epochs{unknown}, and where that hangs on the seed, so does the energy"
    return f"{seeds}; {why}: train each with a seed of its own", False


def _gap(middle: Test, least: Test, most: Test, limit: float) -> float | None:
    """The way from the increase to the limit, the shortest that missing energy allows; ``None``: it may be none."""
    if least.value < limit < most.value:
        return None
    return limit - (most.value if middle.value < limit else least.value)


class _OfMetric(NamedTuple):
    """The difference of the metrics with half of its interval: of pairs, where seeds are shared, beside that of all."""

    test: Test
    half: float
    max_loss: float | None

    @property
    def loss(self) -> float:
        return self.max_loss or 0.0

    @property
    def is_worse(self) -> bool:
        return self.test.error > 0 and self.test.value + self.half < -self.loss

    @property
    def is_kept(self) -> bool:
        return self.max_loss is None or (self.test.error > 0 and self.test.value - self.half >= -self.loss)

    @property
    def is_worse_in_all(self) -> bool:
        return self.test.of_all is None or self.test.of_all < -self.loss

    @property
    def is_kept_in_all(self) -> bool:
        """True where the means of all runs differ by no loss beyond the limit; without one, beyond the interval."""
        if self.test.of_all is None:
            return True
        least = min(0.0, self.test.value - self.half) if self.max_loss is None else -self.loss
        return self.test.of_all >= least - ROUNDING * abs(self.test.of_all)

    def contradiction(self, of_pairs: str) -> str:
        """Say that the means of all runs have another answer."""
        lost = -(self.test.of_all or 0.0)
        of_all = f"{'worse' if lost > 0 else 'better'} by {abs(lost):.4g} by the means of all runs"
        return f"the metric {of_pairs} in the runs with shared seeds, but {of_all}: {NOT_SHARED}"


class _Bounds(NamedTuple):
    """The bounds of an increase, the limit, and what is shown of the metric."""

    low: float
    high: float
    seen: float
    between: tuple[float, float] | None
    max_increase: float
    by_means: float
    of_all: float
    metric: _OfMetric
    is_unbounded: bool
    is_assumed: bool
    lost: str
    constant: str

    def answer(self, repeats: int | None) -> tuple[Outcome, str]:
        limit = f"{100 * self.max_increase:g} %"
        if_so = ", if missing time was spent at mean power" if self.is_assumed else ""
        means = (self.by_means, self.of_all)
        if self.low > self.max_increase and min(means) > self.max_increase:
            return "worse", f"the energy rose by more than {limit}: by {per_cent(self.low)} at least{if_so}"
        if self.metric.is_worse and self.metric.is_worse_in_all:
            return "worse", "the metric is significantly worse"
        is_kept = self.metric.is_kept and self.metric.is_kept_in_all and not self.metric.is_worse
        if self.high <= self.max_increase and max(means) <= self.max_increase and is_kept and not self.lost:
            fell = f"the energy fell, by {per_cent(-self.high)} at least{if_so}; allowed was a rise of {limit}"
            rose = f"the energy rose by no more than {limit}: by {per_cent(self.high)} at most{if_so}"
            return "fine", fell if self.high < 0 else rose
        return "cannot tell", self._cause(limit, repeats)

    def _cause(self, limit: str, repeats: int | None) -> str:
        """Say why neither is shown."""
        if self.lost:
            return f"the metric is {self.lost}"
        if self.metric.is_worse:
            return self.metric.contradiction("is worse")
        if self.low <= self.max_increase < self.high:
            return self._open(limit, repeats)
        if cause := self._of_means(limit):
            return cause
        if not self.metric.is_kept_in_all:
            return self.metric.contradiction("is not shown to be worse")
        return "the energy is within the limit, but the metric may have lost more than is allowed"

    def _of_means(self, limit: str) -> str:
        """Say that arithmetic means are on the other side of the limit; empty where they are not."""
        is_over = self.low > self.max_increase
        typical = f"rose by more than {limit}" if is_over else f"is within {limit}"
        for increase, of, mean, why in (
            (self.by_means, "typical run (geometric mean)", "the mean", FEW_DEAR),
            (self.of_all, "runs with shared seeds", "the mean of all runs", NOT_SHARED),
        ):
            if is_over != (increase > self.max_increase):
                by = f"{'rose' if increase > 0 else 'fell'} by {per_cent(abs(increase))}"
                return f"the energy of the {of} {typical}, but that of {mean} {by}: {why}"
        return ""

    def _open(self, limit: str, repeats: int | None) -> str:
        """Say what it takes to answer, and for which true increase that holds."""
        if self.is_unbounded:
            return "a run may have spent more than is known, as energy of it is missing"
        if math.isinf(self.high) or self.low <= -1:
            return (
                "the runs differ so much that the energy may have changed by any factor: look for one among them "
                "that is no repeat of the others"
            )
        if self.between is not None:
            least, most = (per_cent(share, 3, "+") for share in self.between)
            return (
                f"energy of some runs is missing, and repeats do not replace it: at the runs' mean power, the increase "
                f"may be from {least} to {most}"
            )
        seen = per_cent(self.seen, 3, "+")
        if repeats is None:
            shows = f"no number of runs up to 10,000 shows on which side of {limit} it is"
            cause = f", as {self.constant}" if self.constant else ""
            return f"the increase is {seen}: {shows}{cause}"
        if abs(self.seen) <= NEAR_0 * self.max_increase:
            needed = f"at least {repeats} runs per side are needed to see {limit} with this spread"
            return f"{needed}, if the true increase is about 0"
        return (
            f"if the increase is the {seen} that was seen, some {repeats} runs per side would show on which side of "
            f"{limit} it is (with probability 0.8)"
        )


def _half(test: Test) -> float:
    return quantile_with(1 - LEVEL / 2, test.scatter, test.df, test.constant) if test.error else 0.0


def _share(logarithm: float) -> float:
    return math.expm1(logarithm) if logarithm < math.log(1e6) else math.inf
