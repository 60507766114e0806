"""Tests of two groups of repeated trainings: of their mean metrics, and of the mean logarithms of their energies.

The module :mod:`~lightning_energy.comparison.verdicts` says what each of them is, with sources, and what follows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lightning_energy.comparison.difference import Difference
from lightning_energy.comparison.seeds import fixed_otherwise
from lightning_energy.comparison.student import FEWEST, tail, tail_with

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_energy.comparison.difference import Flaw
    from lightning_energy.comparison.facts import Facts
    from lightning_energy.comparison.groups import Group

__all__ = [
    "ROUNDING",
    "Test",
    "by_means",
    "energy_differences",
    "energy_test",
    "hang_on_seeds",
    "metric_difference",
    "not_worse",
]

ROUNDING = 1e-12  # relative, of differences of numbers


@dataclass
class Test:
    """A test of the family: of a difference in both directions, or of one direction alone with ``p`` doubled."""

    value: float
    error: float
    df: float
    p: float
    sd: float
    constant: float = 0.0
    holm: float = 1.0
    sides: int = 2
    worst: Test | None = None
    flaw: Flaw = ""
    spreads: float = 2.0
    split: float = 0.0  # one-sided p-value by numbers of epochs alone, where each group has one
    of_all: float | None = None  # the difference of the means of all runs, where not all are paired

    @property
    def opposed(self) -> Test:
        """The same, or one that shows nothing where the means of all runs do not have its order."""
        if not self.error or self.of_all is None or self.of_all * self.value > 0:
            return self
        return replace(self, error=0.0, p=1.0, flaw="others")

    @property
    def scatter(self) -> float:
        """The part of its error that repeats show."""
        return math.sqrt((self.error - self.constant) * (self.error + self.constant))

    def p_of(self, value: float) -> float:
        """The p-value, of two sides, of a value with the same errors."""
        return min(1.0, 2 * tail_with(abs(value), self.scatter, self.df, self.constant))

    def difference(self, level: float, tests: int, *, paired: bool) -> Difference:
        """The same as a figure, decided at a level.

        Args:
            level: the level of all tests together.
            tests: number of one-sided tests in the family.
            paired: whether runs are paired.
        """
        sign = (1 if self.value > 0 else -1) if self.holm <= level else 0
        worst = self.worst or self
        missing = worst is not self and not worst.value * self.value > 0  # also where it is 0 times infinity
        return Difference(
            self.value,
            self.error,
            self.df,
            self.p,
            worst.sd,
            self.constant,
            self.holm,
            sign,
            0.0 if missing else worst.value,
            missing,
            level / tests,
            paired,
            self.flaw,
            worst.spreads,
            max(FEWEST, math.ceil(math.log(tests / level, 4))) if self.split else FEWEST,
        )


def metric_difference(one: Facts, other: Facts, pairs: Sequence[tuple[int, int]]) -> Test:
    """The difference of two groups' metrics, better is more: no surer than the step between two counts allows.

    Args:
        one: the first group.
        other: the second.
        pairs: indices of runs that belong together.
    """
    alike = [facts for facts in (one, other) if len({*facts.good}) == 1]
    steps = (one.grid, other.grid) if len(alike) < 2 else (0.0, 0.0)  # noqa: PLR2004 - both
    if len(alike) == 1 and not alike[0].grid:
        steps = (math.sqrt(12 * max(_moments(one.good)[1], _moments(other.good)[1])),) * 2
    test = _test(one.good, other.good, pairs, steps=steps)
    if _are_some(one, other, pairs):
        test = replace(test, of_all=_moments(other.good)[0] - _moments(one.good)[0])
    if one.group.repeats_a_seed or other.group.repeats_a_seed:
        return replace(test, error=0.0, p=1.0, flaw="one seed")
    if fixed_otherwise(one.group.all_seeds, other.group.all_seeds):
        return replace(test, error=0.0, p=1.0, flaw="other split")
    if len(alike) == 1 and not alike[0].seeds:
        return replace(test, error=0.0, p=1.0, flaw="one alike")
    return test


def energy_differences(one: Facts, other: Facts, pairs: Sequence[tuple[int, int]]) -> tuple[Test, Test, Test]:
    """The difference of the logarithms of two groups' energies: as known, and the least and most with missing energy.

    A run spent more than is known in time whose energy is missing: as at its mean power, which is an assumption.

    Args:
        one: the first group.
        other: the second.
        pairs: indices of runs that belong together.
    """
    constant, steps = math.hypot(one.u, other.u), (one.epoch, other.epoch)
    test = _test(one.log_kwh, other.log_kwh, pairs, constant, steps)
    if test.error and any(max(facts.log_kwh) - min(facts.log_kwh) <= ROUNDING for facts in (one, other)):
        test = replace(test, error=0.0, p=1.0, flaw="one alike")
        return test, test, test
    if one.log_most == one.log_kwh and other.log_most == other.log_kwh:
        return test, test, test
    nothing = replace(test, value=-math.inf, p=1.0)
    least = nothing if math.inf in one.log_most else _test(one.log_most, other.log_kwh, pairs, constant, steps)
    most = replace(test, value=math.inf, p=1.0)
    if math.inf not in other.log_most:
        most = _test(one.log_kwh, other.log_most, pairs, constant, steps)
    return test, _no_surer(least, test), _no_surer(most, test)


def energy_test(one: Facts, other: Facts, pairs: Sequence[tuple[int, int]]) -> Test:
    """The test of the energies: the cheaper group may have spent more in missing time.

    Args:
        one: the first group.
        other: the second.
        pairs: indices of runs that belong together.
    """
    test, least, most = energy_differences(one, other, pairs)
    if test.error and (flaw := hang_on_seeds(one.group, other.group)):
        return replace(test, error=0.0, p=1.0, flaw=flaw)
    if test.error and (by_means(one, other, pairs) - 1) * test.value < 0:
        return replace(test, error=0.0, p=1.0, flaw="two means")
    if _are_some(one, other, pairs):
        opposed = replace(test, of_all=by_means(one, other, ()) - 1).opposed
        if opposed.flaw == "others":
            return opposed
    split = _two_stops(one, other, pairs, test.value)
    if test is least:
        return replace(test, p=max(test.p, 2 * split), split=split)
    worst = least if test.value > 0 else most
    p = worst.p if worst.value * test.value > 0 else 1.0
    return replace(test, p=max(p, 2 * split), worst=worst, split=split)


def not_worse(test: Test, sign: int, margin: float) -> Test:
    """Test that the first group (sign -1) or the second (sign 1) is not worse by the margin or more.

    Its p-value is doubled, like that of a test with two sides.

    Args:
        test: of the metric, better is more.
        sign: which group.
        margin: the loss that counts as none, in the metric's unit.
    """
    p = min(1.0, 2 * tail((sign * test.value + margin) / test.error, test.df)) if test.error else 1.0
    is_opposed = test.of_all is not None and sign * test.of_all + margin <= 0
    return replace(test, p=1.0 if is_opposed else p, sides=1)


def hang_on_seeds(one: Group, other: Group) -> Flaw:
    """Tell where numbers of epochs differ, or are not known, that may hang on a seed which is in no spread; else empty.

    Such a seed comes twice in a group, or is one in all of its runs, as of a split, and not in the other group's.

    Args:
        one: a group.
        other: another group.
    """
    lengths = one.lengths | other.lengths
    has_stopped = any(stopped is not None for stopped, _ in lengths)
    if not ((has_stopped and len(lengths) > 1) or not (one.has_one_length and other.has_one_length)):
        return ""
    if one.repeats_a_seed or other.repeats_a_seed:
        return "seeds stop"
    return "other split" if fixed_otherwise(one.all_seeds, other.all_seeds) else ""


def by_means(one: Facts, other: Facts, pairs: Sequence[tuple[int, int]]) -> float:
    """The second group's mean energy as a share of the first one's, as far as it is known: of arithmetic means.

    Args:
        one: the first group.
        other: the second.
        pairs: indices of runs that belong together; the others count for nothing then. None: it is of all runs.
    """
    logs = ([one.log_kwh[i] for i, _ in pairs], [other.log_kwh[j] for _, j in pairs])
    logs = logs if pairs else (one.log_kwh, other.log_kwh)
    most = max(map(max, logs))
    means = [math.fsum(math.exp(log - most) for log in of) / len(of) for of in logs]
    return means[1] / means[0] if means[0] else math.inf


def _no_surer(bound: Test, test: Test) -> Test:
    """A test of what may have been spent, with the scatter of what is known where that is larger."""
    if bound.error >= test.error:
        return bound
    return replace(test, value=bound.value, p=test.p_of(bound.value))


def _two_stops(one: Facts, other: Facts, pairs: Sequence[tuple[int, int]], value: float) -> float:
    """The probability of two numbers of epochs, one for each group, if both are alike: the largest that it may be.

    Trainings that stop early, or else reach their limit, may come in two lumps far apart. That all n of one group are
    in one and all m of the other in the other has the probability q^n (1 - q)^m, for q = n / (n + m) at most. The
    spread within the lumps does not show it. 0 where a group has several numbers, or both have the same, or where these
    make up less than half of the difference ``value``, as where an epoch of one costs ten times as much.
    """
    chosen = [[i for i, _ in pairs], [j for _, j in pairs]] if pairs else [range(one.group.n), range(other.group.n)]
    stops = [{f.group.runs[i].source.stopped_after for i in of} for f, of in zip((one, other), chosen, strict=True)]
    if max(map(len, stops)) > 1 or stops[0] == stops[1]:
        return 0.0
    n, m = map(len, chosen)
    epochs = [f.group.runs[of[0]].source for f, of in zip((one, other), chosen, strict=True)]
    a, b = (source.epochs or source.stopped_after for source in epochs)
    if a and b and 2 * math.copysign(1.0, value) * math.log(b / a) < abs(value):
        return 0.0
    return (n / (n + m)) ** n * (m / (n + m)) ** m


def _are_some(one: Facts, other: Facts, pairs: Sequence[tuple[int, int]]) -> bool:
    """True where some runs alone are paired."""
    return 0 < 2 * len(pairs) < one.group.n + other.group.n


def _test(
    one: Sequence[float],
    other: Sequence[float],
    pairs: Sequence[tuple[int, int]],
    constant: float = 0.0,
    steps: tuple[float, float] = (0.0, 0.0),
) -> Test:
    """Test that two means are equal.

    Args:
        one: values of the first group.
        other: those of the second.
        pairs: indices of values that belong together; none: Welch's test, with Hsu's degrees of freedom where sizes
            differ.
        constant: standard uncertainty of the difference that does not average out.
        steps: steps between two values of each group, by whose rounding no variance is smaller than their square / 12.
    """
    ra, rb = (step**2 / 12 for step in steps)
    if pairs:
        n, spreads = len(pairs), 1.0
        value, variance = _moments([other[j] - one[i] for i, j in pairs])
        variance = max(variance, ra + rb)
        square, df, sd = variance / n, n - 1.0, math.sqrt(variance)
    else:
        (a, va), (b, vb) = _moments(one), _moments(other)
        value, sa, sb = b - a, va / len(one), vb / len(other)
        square, sd = max(sa + sb, ra / len(one) + rb / len(other)), math.sqrt(max(va + vb, ra + rb) / 2)
        low = sa**2 / (len(one) - 1) + sb**2 / (len(other) - 1)
        df = (sa + sb) ** 2 / low if low and len(one) == len(other) else float(min(len(one), len(other)) - 1)
        ratio = min(va, vb) / max(va, vb) if max(va, vb) else 1.0
        spreads = (1 + ratio) ** 2 / (1 + ratio**2)
    if math.sqrt(square) <= ROUNDING * max(map(abs, (*one, *other))):  # they are equal to the last digit
        spread = max(max(values) - min(values) for values in (one, other))
        flaw: Flaw = "same pairs" if pairs and spread > ROUNDING * max(map(abs, (*one, *other))) else "no spread"
        return Test(value, 0.0, df, 1.0, sd, flaw=flaw)
    test = Test(value, math.hypot(math.sqrt(square), constant), df, 1.0, sd, constant, spreads=spreads)
    return replace(test, p=test.p_of(value))


def _moments(values: Sequence[float]) -> tuple[float, float]:
    """The mean, and the variance with n - 1."""
    mean = math.fsum(values) / len(values)
    return mean, math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1)
