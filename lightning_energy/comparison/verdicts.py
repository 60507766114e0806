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
from itertools import combinations
from typing import TYPE_CHECKING, Any, Literal

from lightning_energy.comparison.difference import LEVEL
from lightning_energy.comparison.facts import Facts, example, pairs_of, unlike
from lightning_energy.comparison.mean_tests import energy_test, metric_difference, not_worse
from lightning_energy.comparison.mixtures import OTHER_SHARES, other_shares
from lightning_energy.comparison.student import FEWEST, repeats_needed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_energy.comparison.difference import Difference
    from lightning_energy.comparison.groups import Group
    from lightning_energy.comparison.mean_tests import Test

__all__ = [
    "FEW_DEAR",
    "FOR_THAT_SEED",
    "NOT_SHARED",
    "SHOWS_NOTHING",
    "Kind",
    "Verdict",
    "constant_words",
    "judge",
    "of_shared_seeds",
    "of_some",
    "one_seed_words",
]

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
    draft.energy = energy_test(one, other, pairs)
    metric = metric_difference(one, other, pairs)
    draft.metric = metric.opposed
    if margin:
        draft.not_worse = tuple(not_worse(metric, sign, margin) for sign in (-1, 1))
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


def _correct(tests: Sequence[Test]) -> int:
    """Give all tests their p-values by Holm's correction over the hypotheses of one side; return how many these are."""
    hypotheses, largest = sum(test.sides for test in tests), 0.0
    for k, test in enumerate(sorted(tests, key=lambda t: t.p)):
        largest = max(largest, min(1.0, (hypotheses - k) * test.p / 2))
        test.holm = largest
    return hypotheses
