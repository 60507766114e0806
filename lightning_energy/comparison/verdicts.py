"""Verdicts between groups of repeated trainings, at a stated level for all of them together.

For two groups A and B there are two questions: which one spends less energy, and which one has the better metric. Each
is a null hypothesis of no difference between two means:

- *energy*: the mean logarithms of the energies are equal, as spreads and differences of energies are shares of them:
  savings are of geometric means, which are less than the arithmetic means of tables, the more so the more runs scatter.
  Where the order of these is the opposite one, nothing is decided, here as in the metric;
- *metric*: the mean metrics are equal; or, with a margin that was stated beforehand, one is worse than the other by the
  margin or more (a test of non-inferiority).

**Dominated** means: not worse in one, and better in the other. A test that finds no difference of the metrics does not
show that there is none, so that it is no ground for "not worse". Both must therefore be shown: A is dominated by B if B
is cheaper *and* better (with a margin: cheaper and not worse by it). The null hypothesis is that at least one of both
is not so; it is rejected where each of both tests rejects, which keeps the level of one test (intersection-union test:
Berger 1982, *Technometrics* 24, 295-300). The p-values of all tests of all pairs are corrected together (Holm 1979,
*Scandinavian Journal of Statistics* 6, 65-70): whatever the dependence between the tests, the probability that even one
hypothesis is rejected that is true is at most the level. A difference is read with its direction, so that each side is
a hypothesis of its own in this correction: four for two groups, and six with a margin.

Where every group is compared with one alone, a baseline that was chosen beforehand, the pairs with it are all there
are, and the correction is for their tests: for eight groups those of seven pairs, not of 28.

A test is Student's, paired by the seed where seeds are shared: paired runs had the same data order and, in a study in
randomized blocks, the same time of day. Where some seeds alone are shared, three or more and at least half, the test is
of these; the others count for nothing, but that nothing is decided where the means of all runs, which tables have, do
not have the order of the pairs, or with a margin differ by a loss that large. Without shared seeds it is Welch's (1947,
*Biometrika* 34, 28-35), whose level depends little on unequal spreads where groups are of equal size. Of a baseline
that scatters a sixth to a tenth as much as all others it grows with their number: instead of 5 % up to 6.6 % with
seven, 7.1 % with nine, 8.4 % with 19, and 9.6 % with 39. Between groups of unequal size it depends on spreads, in the
far tail by more than ten times: their degrees of freedom are those of the smaller group alone (Hsu
1938, *Statistical Research Memoirs* 2, 1-24), with which no spread exceeds the level. The repeatability of the meters
is added to the error of the difference of energies as if it did not average out over repeats: part of it does, and is
in their scatter, too, so that this is cautious. It makes repeats that scatter little by chance no surer: see
:func:`~lightning_energy.comparison.student.tail_with`.

Accuracies are counts of samples: no mean of them is surer than the step from one count to the next. Where no repeat of
either group differs, that step is no spread, and nothing is decided; likewise where those of one group do not, and
their seeds are not known to be different, and where it is their energies. With different seeds, values that count no
samples are taken to scatter as the other group's do. Nothing is decided about the metric of a group, either, in which
one seed comes twice as far as records say, whatever their settings: such runs do not show what another seed brings, but
how the machine scatters, and what other settings make of it where these differ. Nor is it where a seed, as of a split
of the data, is one in all runs of one group and not the same one in all of the other. What is decided about its energy
is for these seeds; and nothing is where not all runs are known to have had as many epochs, as with early stopping:
where that hangs on the seed, so does the energy.

Energies of trainings that stop early (EarlyStopping, a budget) come in steps: of an epoch, or of all epochs from one
validation to the next where they end at one. That all runs of a group stop after as many epochs by chance shows no
spread; so the mean of their logarithms is taken to be no surer than that step allows, wherever a run had fewer epochs
than it was allowed. Without it, all pairs of eight configurations that stop after five or six steps, and are alike,
showed something in 40 % of studies of three runs each, and in 16 % of four. Nor does the spread within lumps show what
trainings scatter by of which some stop early and others reach their limit: where all runs of one group have one number
of epochs, and all of the other another, the p-value is no smaller than the probability of that, :math:`4^{-n}` on each
side for two groups of n that are alike.

Runs that were put together by some settings may differ in others. What is decided is then about this mixture, of pairs
about that of the pairs, and nothing is where the other group has another one: see
:func:`~lightning_energy.comparison.mixtures.other_shares`.

The level holds if repeats are independent and scatter roughly normally. Where a run in ten collapses, five runs have
none in six of ten cases, and seem better than they are on average. Their number must be fixed before they are seen. It
is of what repeats scatter by: other seeds on this machine, with these data. How the samples of a validation set were
drawn is not in it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING, Any, Literal

from lightning_energy.comparison.binomial import counts_samples
from lightning_energy.comparison.mixtures import OTHER_SHARES, other_shares
from lightning_energy.comparison.seeds import fixed_otherwise, may_pair
from lightning_energy.comparison.student import FEWEST, repeats_needed, tail, tail_with

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_energy.comparison.groups import Group
    from lightning_energy.comparison.run import Run

__all__ = [
    "FEWEST",
    "FEW_DEAR",
    "FOR_THAT_SEED",
    "LEVEL",
    "SHOWS_NOTHING",
    "Difference",
    "Facts",
    "Kind",
    "Test",
    "Verdict",
    "are_mixed_alike",
    "by_means",
    "constant_words",
    "energy_differences",
    "example",
    "hang_on_seeds",
    "judge",
    "metric_difference",
    "of_shared_seeds",
    "of_some",
    "one_seed_words",
    "pairs_of",
    "unlike",
]

LEVEL = 0.05
ROUNDING = 1e-12  # relative, of differences of numbers
Flaw = Literal[
    "", "no spread", "one alike", "same pairs", "one seed", "other split", "seeds stop", "two means", "others"
]
Obstacle = Literal[Flaw, "missing", "constant", "spread"]
"""The reason why no number of repeats decides a question; empty where some number does, or it is decided.

``missing``: energy of some runs is missing, and could turn the direction. ``constant``: the uncertainty of the meters
or estimates does not average out, or is taken not to. ``spread``: with this spread it would take more than 10,000 runs.
``no spread``: all repeats gave the same figure. ``one alike``: those of one group did, and nothing shows that they were
trained anew with different seeds. ``same pairs``: all pairs differ by the same figure. ``one seed``: a group has one
seed in several runs, so that these do not show what another seed brings to the metric. ``other split``: a seed, as of a
split of the data, is one in all runs of a group, and not in all of the other, and what it brings, to the number of
epochs also, in no spread.
``seeds stop``: a group has one seed in several runs, and not all had as many epochs, so that their energies do not show
what another seed brings either. ``two means``: the geometric means of the
energies have one order, and the arithmetic means the other. ``others``: only some seeds are shared, and the means of
all runs do not have the order of those of the pairs, which are tested.
"""
FOR_THAT_SEED = (
    "for these seeds: where the length of a training hangs on them, as with early stopping, others may differ"
)
UNKNOWN_N = (
    "the number of validation samples of some runs is not known, and taken for that of most, which the others do not "
    "have"
)
FEW_DEAR = "a few runs that cost far more than the others decide that"
NOT_SHARED = "runs whose seeds are not shared count for nothing in a test of pairs: share all seeds, or none"
SHOWS_NOTHING = {
    "no spread": "all repeats gave the same figure, which shows no spread: were they trained anew?",
    "one alike": "all repeats of one group gave the same figure, which shows no spread: were they trained anew, each "
    "with a seed of its own?",
    "same pairs": "all pairs differ by the same figure, which shows no spread",
    "two means": "by the geometric mean, which is tested, one costs less, and by the mean the other: " + FEW_DEAR,
    "other split": "a seed, as of a split of the data, is one in all runs of one group, and not the same one in all of "
    "the other: what it brings is in the difference, and in no spread: give both the same",
    "seeds stop": "a group has one seed in several runs, as far as records say, and not all runs are known to have had "
    "as many epochs: where that hangs on the seed, so does the energy",
    "others": "the pairs of shared seeds, which are tested, have one order, and the means of all runs do not: "
    + NOT_SHARED,
}
Kind = Literal["dominated", "trade-off", "cheaper", "better", "undecided", "by the meter", "incomparable"]
"""The verdict on two groups.

``dominated``: the winner is cheaper and better, or with a margin worse by less. ``trade-off``: one is cheaper,
the other better. ``cheaper`` and ``better``: that one of the two is shown, and the other is not. ``undecided``: neither
is. ``by the meter``: a group has fewer than three runs, so that figures can be set side by side and nothing follows.
``incomparable``: unlike things.
"""


@dataclass(frozen=True)
class Difference:
    """A difference between two groups, ``other`` minus ``one``.

    Attributes:
        value: the difference of the means; of energies that of their logarithms.
        error: its standard error, ``constant`` included.
        df: degrees of freedom of its scatter.
        p: p-value, two-sided, before any correction.
        sd: standard deviation of a run, of pairs that of their differences, as for ``worst``; no smaller than the step
            between two counts of samples, or epochs of trainings that stopped early, allows.
        constant: standard uncertainty of ``value`` that no number of runs makes smaller.
        holm: the same as ``p``, corrected for all tests that were made.
        sign: -1 or 1 where the direction is decided, else 0.
        worst: the value that ``p`` is of: of energies with what the cheaper group spent in missing time if it did so at
            its mean power, 0 where that turns the direction.
        missing: energy is missing that could turn the direction.
        level: the level of its test, one-sided, if it were the first of Holm's.
        paired: runs are paired.
        flaw: the reason why its repeats show nothing; empty where they do.
        spreads: number of groups whose spreads make up ``sd``: 2 where both scatter alike, 1 where one alone does.
        fewest: runs of each without which nothing is decided: more than three where all of one group stopped after as
            many epochs, and all of the other after another number, which may be chance.
    """

    value: float
    error: float
    df: float
    p: float
    sd: float
    constant: float = 0.0
    holm: float = 1.0
    sign: int = 0
    worst: float = 0.0
    missing: bool = False
    level: float = LEVEL / 2
    paired: bool = False
    flaw: Flaw = ""
    spreads: float = 2.0
    fewest: int = FEWEST

    @cached_property
    def repeats(self) -> int | None:
        """Runs of each that would probably (0.8) decide it, all trained anew; ``None``: it is, or no number does.

        It is for the difference and the spread that were seen.
        """
        if self.sign or self.missing or self.flaw:
            return None
        needed = repeats_needed(
            self.worst, self.sd, self.level, paired=self.paired, constant=self.constant, spreads=self.spreads
        )
        return None if needed is None else max(needed, self.fewest)

    @property
    def obstacle(self) -> Obstacle:
        """The reason why no number of repeats decides it."""
        if self.sign or self.repeats is not None:
            return ""
        if self.missing:
            return "missing"
        if self.flaw:
            return self.flaw
        without_spread = repeats_needed(self.worst, 0.0, self.level, constant=self.constant)
        return "constant" if self.constant and without_spread is None else "spread"

    def to_plain(self) -> dict[str, Any]:
        """The same in JSON's types."""
        own = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**own, "repeats": self.repeats, "obstacle": self.obstacle}


@dataclass(frozen=True)
class Verdict:
    """The verdict on two groups.

    Attributes:
        one: name of the first group: of a verdict that is decided the one that wins it (cheaper, or else better).
        other: name of the second group.
        kind: the verdict.
        reasons: the reasons why they are not comparable, or why nothing can be decided, in sentences.
        energy: difference of the logarithms of their energies; ``None`` where none was tested.
        metric: difference of their metrics, better is more; ``None`` where none was tested.
        pairs: number of seeds that they were paired by; 0: they are not paired.
        unpaired: where they are paired, number of runs of both whose seeds are not shared: they count for nothing in
            what is decided, but that nothing is decided where the means of all runs do not have its order.
        tests: number of its one-sided tests, which were corrected for with those of all other pairs.
        repeats_for_margin: with a margin, and where one is shown to be cheaper alone: runs of each that would probably
            (0.8) show that it is not worse by the margin; ``None``: it seems to be, or no number is known.
    """

    one: str
    other: str
    kind: Kind
    reasons: tuple[str, ...] = ()
    energy: Difference | None = None
    metric: Difference | None = None
    pairs: int = 0
    tests: int = 0
    repeats_for_margin: int | None = None
    unpaired: int = 0

    @property
    def basis(self) -> str:
        """Say of which runs it is, where seeds are shared; empty where they are not."""
        return of_shared_seeds(self.pairs, self.unpaired)

    def to_plain(self) -> dict[str, Any]:
        """The same in JSON's types."""
        return {
            "one": self.one,
            "other": self.other,
            "kind": self.kind,
            "reasons": [*self.reasons],
            "log_energy": None if self.energy is None else self.energy.to_plain(),
            "metric": None if self.metric is None else self.metric.to_plain(),
            "pairs": self.pairs,
            "unpaired": self.unpaired,
            "basis": self.basis,
            "tests": self.tests,
            "repeats": self.repeats,
            "repeats_for_margin": self.repeats_for_margin,
        }

    @property
    def repeats(self) -> int | None:
        """Runs of each that would probably decide what is open; ``None``: nothing is, or no number decides all of it.

        The probability is 0.8 for each of both questions by itself, for both together some 0.64, if differences and
        spreads are those that were seen.
        """
        if self.energy is None or self.metric is None or self.kind in {"dominated", "trade-off"}:
            return None
        needed = [d.repeats for d in (self.energy, self.metric) if not d.sign]
        known = [n for n in needed if n is not None]
        return max(known) if known and len(known) == len(needed) else None


def judge(
    groups: Sequence[Group], *, level: float = LEVEL, margin: float = 0.0, baseline: str | None = None
) -> list[Verdict]:
    """Judge every pair of groups, or every group against one.

    Args:
        groups: groups of one metric.
        level: the probability that at least one of all decisions is false, at most, if repeats are independent and
            scatter roughly normally, and their number was fixed beforehand.
        margin: the loss of the metric that counts as none, in its unit; to be stated before the runs are seen.
        baseline: the name of a group; only pairs with it are judged then, so that there are fewer tests to correct for.
            To be chosen before the runs are seen, too.

    Returns:
        A verdict for each pair of groups that have a run.
    """
    if not 0 < level < 1:
        raise ValueError(f"level={level!r}: give a probability between 0 and 1, such as 0.05")
    if not 0 <= margin < math.inf:
        raise ValueError(f"margin={margin!r}: give a loss of the metric that counts as none, at least 0")
    facts = [Facts.of(group) for group in groups if group.runs]
    pairs = [pair for pair in combinations(facts, 2) if baseline is None or baseline in {f.group.name for f in pair}]
    drafts = [_draft(one, other, margin) for one, other in pairs]
    tests = _correct([test for draft in drafts for test in draft.tests])
    return [draft.verdict(level, tests) for draft in drafts]


def unlike(one: Run, other: Run) -> tuple[str, ...]:
    """Say why the energies or metrics of two runs must not be set against each other; empty if they may be.

    Args:
        one: a run.
        other: another run.
    """
    of_samples = bool(one.metric_n and other.metric_n and one.metric_n != other.metric_n)
    if one.likeness == other.likeness and one.source.sensors and not of_samples:
        return ()
    reasons = []
    if one.covers != other.covers:
        reasons.append(f"their joules cover different parts ({one.covers}; {other.covers})")
    if one.quality != other.quality:
        reasons.append(f"their energies are of different quality ({one.quality}; {other.quality})")
    if one.metric_kind != other.metric_kind:
        reasons.append(f"their metrics are different ones ({one.metric_name}; {other.metric_name})")
    if of_samples:
        reasons.append(
            f"their metrics are of different numbers of validation samples ({one.metric_n}; {other.metric_n})"
        )
    if not one.source.sensors or not other.source.sensors:
        reasons.append("the sensors of one are not known, or changed between its sessions")
    elif one.source.sensors != other.source.sensors:
        reasons.append("they were measured by different sensors, whose gains differ")
    return tuple(reasons)


def example(group: Group) -> Run:
    """A run of a group that others are compared with: the first whose number of samples is known, if there is one.

    Args:
        group: a group with a run.
    """
    return next((run for run in group.runs if run.metric_n), group.runs[0])


@dataclass(frozen=True)
class Facts:
    """Everything of a group that tests are made of.

    Attributes:
        group: the group.
        log_kwh: the logarithm of each run's energy.
        log_most: the same with the energy that it may have spent in missing time.
        good: the metric of each run, of which more is better.
        seeds: index of each seed; empty where they are not all known, or one comes twice.
        u: relative standard uncertainty of an energy that is taken not to average out over its repeats.
        grid: step between two values of a metric that counts samples; 0 for others.
        epoch: share of an epoch, or of the epochs from one validation to the next, in the energy of a training that
            stopped early; 0 where none did.
        own: reasons why its runs do not belong together.
        records: files of its runs, and their ids as far as they are known.
    """

    group: Group
    log_kwh: list[float]
    log_most: list[float]
    good: list[float]
    seeds: dict[int | str, int]
    u: float
    grid: float
    epoch: float
    own: tuple[str, ...]
    records: frozenset[str]

    @classmethod
    def of(cls, group: Group) -> Facts:
        """Gather them."""
        runs = group.runs
        energies = [run.energy_kwh or 0.0 for run in runs]
        known = all(e > 0 for e in energies)
        seeds = {seed: i for i, seed in enumerate(group.seeds) if seed is not None}
        own = [] if known else ["an energy of 0 kWh is no share of anything"]
        first = example(group)
        mixed = next((reasons for run in runs if (reasons := unlike(first, run)) and run is not first), ())
        own += [f"of the runs of {group.name}, {reason}" for reason in mixed]
        sign = 1.0 if group.mode == "max" else -1.0
        return cls(
            group,
            [math.log(e) for e in energies] if known else [],
            [math.log(e + run.source.slack_kwh) for e, run in zip(energies, runs, strict=True)] if known else [],
            [sign * (run.metric or 0.0) for run in runs],
            seeds if len(seeds) == len(runs) and not group.repeats_a_seed else {},
            max((_relative_u(run) for run in runs), default=0.0) if known else 0.0,
            max(1 / (run.metric_n or 1) for run in runs) if runs and all(map(counts_samples, runs)) else 0.0,
            max((r.source.stop_step / r.source.stopped_after for r in runs if r.source.stopped_after), default=0.0),
            tuple(own),
            frozenset({text for run in runs for text in (run.path, run.source.run_id)} - {""}),
        )


def _relative_u(run: Run) -> float:
    """Between runs on the same sensors a gain cancels; the error of a model does not, as it depends on the work."""
    u_kwh = run.u_kwh if run.quality == "estimated" else run.u_repeat_kwh
    return (u_kwh or 0.0) / (run.energy_kwh or math.inf)


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


@dataclass
class _Draft:
    """A verdict before the correction for the number of tests."""

    one: Facts
    other: Facts
    kind: Kind = "undecided"
    reasons: tuple[str, ...] = ()
    pairs: int = 0
    energy: Test | None = None
    metric: Test | None = None
    not_worse: tuple[Test, ...] = ()
    margin: float = 0.0

    @property
    def tests(self) -> list[Test]:
        return [test for test in (self.energy, *self.not_worse, self.metric) if test is not None]

    def verdict(self, level: float, tests: int) -> Verdict:
        if self.energy is None or self.metric is None:
            names = [f.group.name for f in sorted((self.one, self.other), key=_mean_kwh)]
            return Verdict(names[0], names[1], self.kind, self.reasons)
        paired = self.pairs > 0
        energy = self.energy.difference(level, tests, paired=paired)
        metric = self.metric.difference(level, tests, paired=paired)
        cheaper = energy.sign  # 1: the first spends less
        better = -metric.sign  # 1: the first is better
        not_worse = [test.holm <= level for test in self.not_worse] or [better == 1, better == -1]
        if cheaper and not_worse[0 if cheaper > 0 else 1]:
            kind: Kind = "dominated"
        elif cheaper and better:
            kind = "trade-off"
        else:
            kind = "cheaper" if cheaper else "better" if better else "undecided"
        first = cheaper or better or (1 if energy.value >= 0 else -1)
        verdict = Verdict(
            self.one.group.name,
            self.other.group.name,
            kind,
            self.reasons,
            energy,
            metric,
            self.pairs,
            sum(test.sides for test in self.tests),
            _repeats_for_margin(metric, cheaper, self.margin) if kind == "cheaper" else None,
            self.one.group.n + self.other.group.n - 2 * self.pairs if paired else 0,
        )
        return verdict if first > 0 else _turned(verdict)


def _repeats_for_margin(metric: Difference, cheaper: int, margin: float) -> int | None:
    """Runs of each that would probably show that the cheaper group is not worse by a margin."""
    room = margin - cheaper * metric.value
    if not margin or room <= 0 or metric.flaw:
        return None
    return repeats_needed(room, metric.sd, metric.level, paired=metric.paired, spreads=metric.spreads)


def _turned(verdict: Verdict) -> Verdict:
    def opposite(difference: Difference | None) -> Difference | None:
        if difference is None:
            return None
        return replace(difference, value=-difference.value, sign=-difference.sign, worst=0.0 - difference.worst)

    return replace(
        verdict,
        one=verdict.other,
        other=verdict.one,
        energy=opposite(verdict.energy),
        metric=opposite(verdict.metric),
    )


def _mean_kwh(facts: Facts) -> float:
    return facts.group.energy.mean if facts.group.energy is not None else math.inf


def _draft(one: Facts, other: Facts, margin: float) -> _Draft:
    draft = _Draft(one, other, margin=margin)
    reasons = (*unlike(example(one.group), example(other.group)), *one.own, *other.own)
    reasons += ("they have a run in common",) if one.records & other.records else ()
    kinds = {run.kind for facts in (one, other) for run in facts.group.runs}
    if not reasons and len(kinds) > 1 and None not in kinds:
        reasons = (UNKNOWN_N,)
    if reasons:
        draft.kind, draft.reasons = "incomparable", reasons
        return draft
    few = [f"{f.group.name} has {f.group.n} of {FEWEST} repeats" for f in (one, other) if f.group.n < FEWEST]
    if few:
        draft.kind, draft.reasons = "by the meter", tuple(few)
        return draft
    pairs = pairs_of(one, other)
    if shares := other_shares(one.group, other.group, pairs):
        draft.kind, draft.reasons = "incomparable", (f"{OTHER_SHARES} ({shares}): group by these settings, too",)
        return draft
    draft.pairs = len(pairs)
    draft.energy = _energy_test(one, other, pairs)
    metric = metric_difference(one, other, pairs)
    draft.metric = metric.opposed
    if margin:
        draft.not_worse = tuple(_not_worse(metric, sign, margin) for sign in (-1, 1))
    flaws = dict.fromkeys(test.flaw for test in (draft.energy, draft.metric) if test.flaw)
    draft.reasons = tuple(
        one_seed_words(one.group, other.group) if f == "one seed" else SHOWS_NOTHING[f] for f in flaws
    )
    return draft


def constant_words(*, estimates: bool) -> str:
    """Say which uncertainty does not average out, or is taken not to.

    Args:
        estimates: it is that of a model, else that of meters.
    """
    if estimates:
        return "the uncertainty of the estimates does not average out"
    return "the uncertainty of the meters is taken not to average out"


def one_seed_words(*groups: Group) -> str:
    """Say why nothing is decided about the metric of groups that have one seed in several runs; empty of none."""
    names = [group.name for group in groups if group.repeats_a_seed]
    has = f"{' and '.join(names)} {'have' if len(names) > 1 else 'has'}"
    words = "one seed in several runs, as far as records say, and runs of one seed do not show what another one brings"
    return f"{has} {words}" if names else ""


def of_shared_seeds(pairs: int, unpaired: int) -> str:
    """Say of which runs a test of pairs is.

    Args:
        pairs: number of seeds that are shared.
        unpaired: number of runs of both sides whose seeds are not.

    Example:
        >>> of_shared_seeds(5, 0), of_shared_seeds(3, 4)
        ('paired by 5 seeds', 'of the 3 shared seeds; the other 4 runs count for nothing here')
    """
    if not pairs:
        return ""
    if not unpaired:
        return f"paired by {pairs} seeds"
    others = "the other run counts" if unpaired == 1 else f"the other {unpaired} runs count"
    return f"of the {pairs} shared seeds; {others} for nothing here"


def of_some(verdicts: Sequence[Verdict]) -> list[tuple[str, str]]:
    """The names of each two groups of which the runs with shared seeds alone were tested.

    Args:
        verdicts: the verdicts.
    """
    return [(verdict.one, verdict.other) for verdict in verdicts if verdict.unpaired]


def pairs_of(one: Facts, other: Facts) -> list[tuple[int, int]]:
    """The runs with one seed, where these are three or more and at least half of the smaller group."""
    pairs = [(i, other.seeds[seed]) for seed, i in one.seeds.items() if seed in other.seeds]
    is_many = len(pairs) >= max(FEWEST, min(one.group.n, other.group.n) / 2)
    return pairs if is_many and may_pair(one.group.all_seeds, other.group.all_seeds) else []


def are_mixed_alike(one: Group, other: Group) -> bool:
    """True where the runs that a test of two groups is of have the same shares of settings.

    Args:
        one: a group.
        other: another group.
    """
    if not (one.differs_in or other.differs_in):
        return True
    return not other_shares(one, other, pairs_of(Facts.of(one), Facts.of(other)))


def _are_some(one: Facts, other: Facts, pairs: Sequence[tuple[int, int]]) -> bool:
    """True where some runs alone are paired."""
    return 0 < 2 * len(pairs) < one.group.n + other.group.n


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


def _no_surer(bound: Test, test: Test) -> Test:
    """A test of what may have been spent, with the scatter of what is known where that is larger."""
    if bound.error >= test.error:
        return bound
    return replace(test, value=bound.value, p=test.p_of(bound.value))


def _energy_test(one: Facts, other: Facts, pairs: Sequence[tuple[int, int]]) -> Test:
    """The test of the energies: the cheaper group may have spent more in missing time."""
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


def _not_worse(test: Test, sign: int, margin: float) -> Test:
    """Test that the first group (sign -1) or the second (sign 1) is not worse by the margin or more.

    Its p-value is doubled, like that of a test with two sides.
    """
    p = min(1.0, 2 * tail((sign * test.value + margin) / test.error, test.df)) if test.error else 1.0
    is_opposed = test.of_all is not None and sign * test.of_all + margin <= 0
    return replace(test, p=1.0 if is_opposed else p, sides=1)


def _moments(values: Sequence[float]) -> tuple[float, float]:
    """The mean, and the variance with n - 1."""
    mean = math.fsum(values) / len(values)
    return mean, math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1)


def _correct(tests: Sequence[Test]) -> int:
    """Give all tests their p-values by Holm's correction over the hypotheses of one side; return how many these are."""
    hypotheses, largest = sum(test.sides for test in tests), 0.0
    for k, test in enumerate(sorted(tests, key=lambda t: t.p)):
        largest = max(largest, min(1.0, (hypotheses - k) * test.p / 2))
        test.holm = largest
    return hypotheses
