from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from lightning_energy.comparison.gate import gate
from lightning_energy.comparison.student import quantile
from lightning_energy.comparison.verdicts import judge
from tests.comparison.groups import repeats

DECIDED = {"dominated", "trade-off", "cheaper", "better"}
LEVEL = 0.05


def most_by_chance(n: int) -> float:
    """Errors in n trials at the level that are no sign of more: three standard deviations above their mean."""
    return LEVEL * n + 3 * math.sqrt(LEVEL * (1 - LEVEL) * n)


@pytest.mark.parametrize("paired", [True, False])
def test_identical_configurations_are_told_apart_at_the_level_at_most(paired):
    """The family is all decisions about three configurations: three pairs, energy and metric of each."""
    rng = np.random.default_rng(17)
    errors, trials = 0, 0
    for n in (2, 3, 5, 10):
        for spread in (0.002, 0.01, 0.03):
            for _ in range(40):
                seeds = None if paired else [None] * n
                groups = [
                    repeats(
                        str(g),
                        np.exp(rng.normal(0, spread, n)),
                        np.round(rng.normal(0.9, 0.003, n) * 540) / 540,  # as counted on 540 samples
                        seeds=seeds,
                        metric_n=540,
                    )
                    for g in range(3)
                ]
                kinds = {verdict.kind for verdict in judge(groups, level=LEVEL)}
                assert n > 2 or kinds == {"by the meter"}
                errors += bool(kinds & DECIDED)
                trials += n > 2
    assert errors <= most_by_chance(trials)


def test_against_a_baseline_alone_errors_are_at_the_level_at_most():
    """Five configurations alike, paired by seed with the first: four pairs, and so sixteen tests."""
    rng, errors, trials = np.random.default_rng(23), 0, 0
    for n in (3, 5):
        for _ in range(100):
            groups = [repeats(name, np.exp(rng.normal(0, 0.01, n)), rng.normal(0.9, 0.003, n)) for name in "abcde"]
            verdicts = judge(groups, level=LEVEL, baseline="a")
            assert len(verdicts) == 4
            assert all("a" in {v.one, v.other} for v in verdicts)
            assert sum(v.tests for v in verdicts) == 16
            errors += any(v.kind in DECIDED for v in verdicts)
            trials += 1
    assert errors <= most_by_chance(trials)
    assert judge(groups, baseline="none") == []


def test_a_baseline_decides_with_repeats_that_leave_all_pairs_open():
    """Seven of eight are 2.3 % dearer and 0.65 points worse: 4.6 standard errors, the roots of 2/5 of 0.79 % and 0.22.

    With 8 degrees of freedom the first of 28 one-sided tests takes a t of 4.1, of 112 one of 5.1.
    """
    groups = [group("a"), *(group(name, 1.0233 + k / 1e5, -0.0065) for k, name in enumerate("bcdefgh"))]
    alone, all_ = judge(groups, baseline="a"), judge(groups)
    assert {v.kind for v in alone} == {"dominated"}
    assert {v.kind for v in all_} == {"undecided"}


def test_a_dearer_and_better_one_is_dominated_at_the_level_at_most():
    """Truly 0.3 points better and 5 % dearer, with a spread of 1 % and 0.3 points: a trade-off."""
    rng = np.random.default_rng(3)
    wrong = 0
    for _ in range(300):
        cheap = repeats("cheap", np.exp(rng.normal(0, 0.01, 5)), rng.normal(0.900, 0.003, 5))
        better = repeats("better", np.exp(rng.normal(math.log(1.05), 0.01, 5)), rng.normal(0.903, 0.003, 5))
        (verdict,) = judge([cheap, better], level=LEVEL)
        wrong += verdict.kind == "dominated"
    assert wrong <= most_by_chance(300)


def test_a_loss_as_large_as_the_margin_is_taken_for_none_at_the_level_at_most():
    """Truly cheaper, and worse by just the margin that was stated."""
    rng = np.random.default_rng(11)
    wrong = 0
    for _ in range(300):
        cheap = repeats("cheap", np.exp(rng.normal(0, 0.01, 5)), rng.normal(0.897, 0.003, 5))
        better = repeats("better", np.exp(rng.normal(math.log(1.1), 0.01, 5)), rng.normal(0.900, 0.003, 5))
        (verdict,) = judge([cheap, better], level=LEVEL, margin=0.003)
        wrong += verdict.kind == "dominated"
    assert wrong <= most_by_chance(300)


@pytest.mark.parametrize("paired", [True, False])
def test_five_repeats_decide_between_five_percent_and_a_point(paired):
    rng = np.random.default_rng(5)
    seeds = None if paired else [None] * 5
    decided = 0
    for _ in range(300):
        one = repeats("one", np.exp(rng.normal(0, 0.01, 5)), rng.normal(0.90, 0.003, 5), seeds=seeds)
        other = repeats("other", np.exp(rng.normal(math.log(1.05), 0.01, 5)), rng.normal(0.89, 0.003, 5), seeds=seeds)
        (verdict,) = judge([one, other], level=LEVEL)
        decided += (verdict.kind, verdict.one) == ("dominated", "one")
    assert decided >= 0.9 * 300


ACCURACIES = (0.900, 0.903, 0.897, 0.901, 0.899)
NOISE = (1.00, 1.01, 0.99, 1.005, 0.995)


def group(name, kwh=1.0, accuracy=0.0, **more):
    """Five repeats, whose seeds are not known unless given."""
    return repeats(name, [kwh * e for e in NOISE], [a + accuracy for a in ACCURACIES], **({"seeds": [None] * 5} | more))


@pytest.mark.parametrize(
    ("kwh", "accuracy", "kind"),
    [
        (1.5, -0.05, "dominated"),
        (1.5, 0.05, "trade-off"),
        (1.5, 0.0, "cheaper"),
        (1.0, -0.05, "better"),
        (1.0, 0.0, "undecided"),
    ],
)
def test_kinds_of_verdicts(kwh, accuracy, kind):
    (verdict,) = judge([group("a"), group("b", kwh, accuracy)])
    assert (verdict.kind, verdict.one) == (kind, "a")
    (turned,) = judge([group("b", kwh, accuracy), group("a")])
    assert turned.kind == kind
    assert kind == "undecided" or turned.one == "a"


def test_of_a_loss_less_is_better():
    (verdict,) = judge([group("a", mode="min"), group("b", 1.5, 0.05, mode="min")])
    assert (verdict.kind, verdict.one) == ("dominated", "a")


def test_a_margin_that_was_stated_takes_proof_too():
    same = group("a"), group("b", 1.5)
    assert judge(same)[0].kind == "cheaper"
    assert judge(same, margin=0.01)[0].kind == "dominated"
    assert judge(same, margin=0.0001)[0].kind == "cheaper"  # the spread leaves more than this open


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"metric_n": 360}, "their metrics are of different numbers of validation samples (540; 360)"),
        ({"covers": "cpu + gpu"}, "their joules cover different parts (gpu; cpu + gpu)"),
        ({"quality": "estimated"}, "their energies are of different quality (measured; estimated)"),
        ({"metric_name": "val_top5_acc"}, "their metrics are different ones (val_acc; val_top5_acc)"),
        ({"sensors": "b"}, "they were measured by different sensors, whose gains differ"),
        ({"sensors": ""}, "the sensors of one are not known, or changed between its sessions"),
    ],
)
def test_unlike_things_are_incomparable(other, reason):
    (verdict,) = judge([group("a", metric_n=540), group("b", 9.0, -0.5, **other)])
    assert (verdict.kind, verdict.energy) == ("incomparable", None)
    assert reason in verdict.reasons


def test_an_unknown_number_of_samples_is_one_number_everywhere():
    """Ranked with the 540 that most have, and not beside 360 as if it were that, too; without others it may be any."""
    known, unknown, few = (
        group(name, kwh, accuracy, metric_n=n, kind=kind)
        for name, kwh, accuracy, n, kind in (("a", 1.0, 0, 540, 0), ("b", 1.5, -0.05, None, 0), ("c", 2, -0.1, 360, 1))
    )
    kinds = {(v.one, v.other): (v.kind, v.reasons) for v in judge([known, unknown, few])}
    assert kinds["a", "b"] == ("dominated", ())
    kind, (reason,) = kinds["b", "c"]
    assert (kind, reason[:58]) == ("incomparable", "the number of validation samples of some runs is not known")


def test_the_meters_uncertainty_does_not_average_out():
    kinds = [judge([group("a", u=u), group("b", 1.05, -0.05, u=u)])[0].kind for u in (0.0, 0.05)]
    assert kinds == ["dominated", "better"]
    estimated = group("a", quality="estimated"), group("b", 1.5, -0.05, quality="estimated")
    assert judge(estimated)[0].kind == "better"  # an estimate may be wrong by half or more
    far = group("a", quality="estimated"), group("b", 90.0, -0.05, quality="estimated")
    assert judge(far)[0].kind == "dominated"


def test_an_uncertainty_that_is_added_makes_nothing_surer():
    """Pairs that differ by 1.0 to 1.2 %: t of 19 with 2 degrees of freedom, of which unsure meters make no more."""
    energies = (1.010, 1.011, 1.012)
    p, high = [], []
    for u in (0.0, 1e-6, 1e-4, 3e-4, 1e-3, 1e-2):
        one, other = repeats("a", [1.0] * 3, [0.9, 0.91, 0.92], u=u), repeats("b", energies, [0.9, 0.92, 0.91], u=u)
        one = replace(one, runs=tuple(replace(r, energy_kwh=1 + i / 1e9) for i, r in enumerate(one.runs)))
        (verdict,) = judge([one, other])
        p.append(verdict.energy.p)
        high.append(gate(one, other, 0.03).high)
        assert verdict.energy.df == 2
    assert p[0] == pytest.approx(0.0027, rel=0.05)
    assert all(after >= 0.999 * before for before, after in pairwise(p))
    assert all(after >= 0.999999 * before for before, after in pairwise(high))


def skewed(name, **more):
    """Eighteen runs of half a kWh and two of six: less than 1 kWh by the geometric mean, 1.05 kWh by the mean."""
    energies = [0.5 + i / 1e4 for i in range(18)] + [6.0, 6.001]
    return repeats(name, energies, [0.9 + i / 1e4 for i in range(20)], seeds=[None] * 20, **more)


def even(name, accuracy=0.0):
    accuracies = [0.9 + accuracy + i / 1e4 for i in range(20)]
    return repeats(name, [1 + i / 1e4 for i in range(20)], accuracies, seeds=[None] * 20)


def test_what_is_cheaper_by_one_mean_and_dearer_by_the_other_is_not_decided():
    """By the logarithms -0.445 with a standard error of 0.171: t of 2.6."""
    for groups in ((skewed("a"), even("b", -0.05)), (even("b", -0.05), skewed("a"))):
        (verdict,) = judge(groups)
        assert (verdict.kind, verdict.one, verdict.energy.sign) == ("better", "a", 0)
        assert (verdict.energy.obstacle, verdict.energy.repeats) == ("two means", None)
        (reason,) = verdict.reasons
        assert reason == (
            "by the geometric mean, which is tested, one costs less, and by the mean the other: a few runs that cost "
            "far more than the others decide that"
        )
    (missing,) = judge([skewed("a", slack_kwh=0.01), even("b", -0.05)])
    assert missing.energy.obstacle == "two means"
    cheap = replace(skewed("a"), runs=tuple(replace(r, energy_kwh=min(r.energy_kwh, 4.0)) for r in skewed("a").runs))
    assert judge([cheap, even("b", -0.05)])[0].kind == "dominated"  # 0.85 kWh by the mean


def test_missing_time_may_have_cost_more():
    for slack, kind in ((0.1, "dominated"), (0.6, "better"), (math.inf, "better")):
        (verdict,) = judge([group("a", slack_kwh=slack), group("b", 1.5, -0.05)])
        assert verdict.kind == kind
    assert judge([group("a"), group("b", 1.5, -0.05, slack_kwh=9.0)])[0].kind == "dominated"


def early(group, *epochs, step=1):
    """The runs stopped early, after so many epochs of some more, at a validation that comes once in some epochs."""
    runs = [
        (run, replace(run.source, stopped_after=n, stop_step=step)) for run, n in zip(group.runs, epochs, strict=True)
    ]
    return replace(group, runs=tuple(replace(run, source=source) for run, source in runs))


def test_energies_of_trainings_that_stop_early_are_no_surer_than_an_epoch():
    """Three that all stop after five epochs and three after six, one of eight such groups by chance: no spread is seen.

    With a step of a fifth and of a sixth, sd 0.0577 and 0.0481 of the logarithms, and so an error of the means of
    0.0434, for a difference of 0.182.
    """
    five, six = (repeats(name, [kwh * e for e in (1, 1.002, 0.998)], ACCURACIES[:3], seeds=seeds)
                 for name, kwh, seeds in (("a", 1.0, (0, 1, 2)), ("b", 1.2, (3, 4, 5))))  # fmt: skip
    rest = [repeats(name, [1.0, 1.2, 1.003], ACCURACIES[:3], seeds=[None] * 3) for name in "cdefgh"]
    fixed = next(v for v in judge([five, six, *rest]) if {v.one, v.other} == {"a", "b"})
    assert (fixed.energy.sign, fixed.energy.error) == (1, pytest.approx(0.00163, rel=0.01))
    stopped = next(
        v for v in judge([early(five, 5, 5, 5), early(six, 6, 6, 6), *rest]) if {v.one, v.other} == {"a", "b"}
    )
    assert (stopped.energy.sign, stopped.energy.error) == (0, pytest.approx(0.0434, rel=0.01))
    paired = replace(six, seeds=five.seeds, runs=tuple(
        replace(r, source=replace(r.source, seed=i)) for i, r in enumerate(six.runs)))  # fmt: skip
    (pairs,) = judge([early(five, 5, 5, 5), early(paired, 6, 6, 6)])
    assert (pairs.pairs, pairs.energy.error) == (3, pytest.approx(0.0434, rel=0.01))
    wide = gate(early(five, 5, 5, 5), early(paired, 6, 6, 6), 0.03), gate(five, six, 0.03)
    assert [answer.outcome for answer in wide] == ["cannot tell", "worse"]


def test_where_validations_are_seldom_the_step_is_from_one_to_the_next():
    """All stop after 10 epochs, or all after 15, as each fifth is validated: with steps of a half and a third, the
    error is 0.100, for a difference of 0.405."""
    ten, fifteen = (repeats(name, [kwh * e for e in (1, 1.002, 0.998)], ACCURACIES[:3], seeds=seeds)
                    for name, kwh, seeds in (("a", 1.0, (0, 1, 2)), ("b", 1.5, (3, 4, 5))))  # fmt: skip
    rest = [repeats(name, [1.0, 1.5, 1.003], ACCURACIES[:3], seeds=[None] * 3) for name in "cdefgh"]
    verdicts = judge([early(ten, 10, 10, 10, step=5), early(fifteen, 15, 15, 15, step=5), *rest])
    energy = next(v for v in verdicts if {v.one, v.other} == {"a", "b"}).energy
    assert (energy.sign, energy.error) == (0, pytest.approx(0.1002, rel=0.01))


def test_missing_time_makes_nothing_surer():
    """Runs of 0.70 to 0.96 kWh, of which each may have spent 0.96: if they did not, they scatter by 13 %."""
    energies = [0.70, 0.80, 0.90, 0.96]
    runs = repeats("a", energies, ACCURACIES[:4], seeds=[1, 2, 3, 4]).runs
    most = [replace(r, source=replace(r.source, slack_kwh=0.961 - r.energy_kwh)) for r in runs]
    filled = replace(repeats("a", energies, ACCURACIES[:4], seeds=[1, 2, 3, 4]), runs=tuple(most))
    other = repeats("b", [1.00, 1.01, 0.99, 1.005], ACCURACIES[:4], seeds=[5, 6, 7, 8])
    (known,) = judge([replace(filled, runs=runs), other])
    (verdict,) = judge([filled, other])
    assert (known.energy.sign, verdict.energy.sign) == (0, 0)
    assert verdict.energy.worst == pytest.approx(math.log(1.00122 / 0.961), abs=1e-4)
    assert verdict.energy.p > known.energy.p
    assert gate(other, filled, 0.03).high > gate(other, replace(filled, runs=runs), 0.03).high


def test_pairs_are_formed_where_enough_seeds_are_shared():
    def pairs(*seeds):
        return judge([group("a", seeds=range(5)), group("b", 1.5, seeds=seeds)])[0].pairs

    assert pairs(0, 1, 2, 3, 4) == pairs(4, 3, 2, 1, 0) == 5
    assert pairs(0, 1, 2, 8, 9) == 3
    assert pairs(0, 1, 7, 8, 9) == pairs(5, 6, 7, 8, 9) == pairs(0, 0, 1, 2, 3) == pairs(0, 1, 2, 3, None) == 0


def test_pairs_take_out_what_seeds_share():
    """Energies that scatter by 20 % from block to block, and by 1 % within one."""
    blocks = [1.0, 1.2, 0.8, 1.1, 0.9]
    one = repeats("one", [b * e for b, e in zip(blocks, NOISE, strict=True)], ACCURACIES)
    other = repeats("other", [b * 1.05 for b in blocks], [a - 0.02 for a in ACCURACIES[::-1]])
    assert judge([one, other])[0].kind == "dominated"
    apart = repeats("other", [b * 1.05 for b in blocks], [a - 0.02 for a in ACCURACIES], seeds=[None] * 5)
    assert judge([one, apart])[0].kind == "better"


def test_copies_decide_nothing():
    shifted = judge([group("a", seeds=range(5)), group("b", 1.5, -0.05, seeds=range(5))])[0]
    assert shifted.kind == "undecided"  # pairs that differ alike to the last digit
    for u in (0.0, 0.001):  # the meters' uncertainty is none of repeats
        one, other = repeats("one", [1.0] * 3, [0.9] * 3, u=u), repeats("other", [2.0] * 3, [0.8] * 3, u=u)
        (verdict,) = judge([one, other])
        assert verdict.energy.obstacle == "no spread"
    assert (verdict.kind, verdict.metric.obstacle) == ("undecided", "no spread")
    assert verdict.reasons == ("all repeats gave the same figure, which shows no spread: were they trained anew?",)
    assert verdict.repeats is None


@pytest.mark.parametrize("sd_of_three", [0.1, 1.0, 10.0])
def test_groups_of_unequal_size_keep_the_level_far_out(sd_of_three):
    """Three runs beside thirty have two degrees of freedom, whatever Welch's approximation makes of their spreads."""
    three = repeats("three", [1.0, 1.01, 1.02], [0.9, 0.91, 0.92], seeds=[None] * 3)
    thirty = repeats("thirty", [1 + i / 100 for i in range(30)], [0.9 + i / 999 for i in range(30)], seeds=[None] * 30)
    (verdict,) = judge([three, thirty])
    assert (verdict.energy.df, verdict.metric.df) == (2, 2)
    rng, level, n = np.random.default_rng(0), 0.05 / 56, 100_000
    few, many = rng.normal(0, sd_of_three, (n, 3)), rng.normal(0, 1, (n, 30))
    error = np.sqrt(few.var(1, ddof=1) / 3 + many.var(1, ddof=1) / 30)
    wrong = (np.abs(few.mean(1) - many.mean(1)) > quantile(1 - level / 2, 2) * error).mean()
    assert wrong <= level + 3 * math.sqrt(level / n)


def test_the_correction_is_holms():
    """Of three groups three pairs with two tests of two sides each: the least p-value of a side counts twelve times."""
    groups = [group("a"), group("b", 1.011), group("c", 1.5)]
    verdicts = judge(groups)
    assert sum(verdict.tests for verdict in verdicts) == 12
    tests = sorted((d for v in verdicts for d in (v.energy, v.metric)), key=lambda d: d.p)
    assert tests[0].holm == pytest.approx(12 * tests[0].p / 2)
    assert tests[1].holm == pytest.approx(max(tests[0].holm, 11 * tests[1].p / 2))
    assert [t.holm for t in tests] == sorted(t.holm for t in tests)


def test_with_a_margin_the_test_of_the_metric_is_of_the_family():
    """Two sides of the energy, two of the metric, and one that each is not worse: of six, both latter are far out."""
    (verdict,) = judge([group("a"), group("b", 1.004, 0.0015)], margin=0.1)
    assert verdict.tests == 6
    first, second = sorted((verdict.energy, verdict.metric), key=lambda d: d.p)
    assert first.holm == pytest.approx(4 * first.p / 2)
    assert second.holm == pytest.approx(3 * second.p / 2)


def test_the_repeats_that_it_takes_are_said():
    (verdict,) = judge([group("a"), group("b", 1.5, -0.002)])
    assert (verdict.kind, verdict.energy.repeats, verdict.energy.obstacle) == ("cheaper", None, "")
    # the metrics differ by 0.002 with an sd of 0.00224: (z of 1.25 % + z of 20 %)^2 * 2 * 1.25 = 23.7, and some for t
    assert 24 <= verdict.metric.repeats <= 28
    assert verdict.repeats == verdict.metric.repeats


def test_each_open_question_says_what_keeps_it_open():
    """Estimates 20 % apart, with half of each unsure; a metric that more runs would tell."""
    (verdict,) = judge([group("a", quality="estimated"), group("b", 1.2, -0.002, quality="estimated")])
    assert (verdict.energy.repeats, verdict.energy.obstacle) == (None, "constant")
    assert 24 <= verdict.metric.repeats <= 28
    assert verdict.repeats is None
    (verdict,) = judge([group("a"), group("b", 1.000001, -0.05)])
    assert (verdict.kind, verdict.energy.repeats, verdict.energy.obstacle) == ("better", None, "spread")
    assert verdict.to_plain()["log_energy"]["obstacle"] == "spread"
    (verdict,) = judge([group("a", u=1e-6), group("b", 1.00002, -0.05, u=1e-6)])
    assert verdict.energy.obstacle == "spread"  # the meters alone would leave it to be seen


def test_repeats_do_not_replace_missing_energy():
    """a may have spent all of the 3 % that it seems to be cheaper, or 2 of them, or more than is known."""
    for slack in (0.04, math.inf):
        (verdict,) = judge([group("a", slack_kwh=slack), group("b", 1.03, -0.05)])
        assert (verdict.energy.sign, verdict.energy.repeats, verdict.energy.obstacle) == (0, None, "missing")
        assert verdict.energy.worst == 0.0
    (alike,) = judge([group("a", slack_kwh=math.inf), group("b", slack_kwh=math.inf)])
    assert (alike.energy.value, alike.energy.worst, alike.energy.obstacle) == (0, 0.0, "missing")
    (verdict,) = judge([group("a", slack_kwh=0.02), group("b", 1.03, -0.05)])
    assert verdict.energy.worst == pytest.approx(math.log(1.03 / 1.02), abs=1e-4)
    # 0.98 % with an sd of 0.79 %: (z of 1.25 % + z of 20 %)^2 * 2 * 0.65 = 12.3, and some for t
    assert 13 <= verdict.energy.repeats <= 16
    assert judge([group("b", 1.03, -0.05), group("a", slack_kwh=0.02)])[0].energy == verdict.energy


MSE = (0.00100, 0.00101, 0.00099, 0.001005, 0.000995)


def test_a_loss_has_no_step_between_two_values():
    """Losses a hundred times smaller than 1/540, 30 % apart with a spread of 0.8 %: whatever they are a mean of."""
    loss = {"metric_name": "val_mse", "mode": "min", "scale": "raw", "seeds": [None] * 5}
    for n in (None, 540):
        one = repeats("a", NOISE, MSE, metric_n=n, **loss)
        (verdict,) = judge([one, repeats("b", [1.3 * e for e in NOISE], [1.3 * m for m in MSE], metric_n=n, **loss)])
        assert (verdict.kind, verdict.one) == ("dominated", "a")
        assert verdict.metric.error == pytest.approx(5.8e-6, rel=0.01)  # the root of 1e-5^2 * 0.625 * (1 + 1.69) / 5


def test_the_number_of_repeats_knows_the_step_between_two_values():
    """Counts on 10 samples, of one run in five another one: sd 0.045, but a step of 0.1 is an error of 0.029 each."""
    counts = [0.9, 0.9, 0.9, 0.9, 0.9]
    one = repeats("a", NOISE, counts, metric_n=10, seeds=range(5))
    other = repeats("b", NOISE, [0.9, 0.9, 0.9, 0.9, 0.8], metric_n=10, seeds=range(5, 10))
    (verdict,) = judge([one, other])
    assert verdict.metric.sd == pytest.approx(math.sqrt(0.002 / 2))
    fine = repeats("b", NOISE, [0.9, 0.9, 0.9, 0.9, 0.8999999999], metric_n=10, seeds=range(5, 10))
    (verdict,) = judge([one, fine])
    assert verdict.metric.sd == pytest.approx(0.1 / math.sqrt(12))  # the root of two steps' variances, halved
    assert verdict.metric.error == pytest.approx(0.1 / math.sqrt(12) * math.sqrt(2 / 5))


@pytest.mark.parametrize("n", [None, 540])
def test_without_two_values_the_step_between_them_is_no_spread(n):
    """One training, five times, or one that always comes out alike: nothing shows what another seed would bring."""
    one = repeats("a", NOISE, [486 / 540] * 5, metric_n=n)
    other = repeats("b", NOISE[::-1], [485 / 540] * 5, metric_n=n, seeds=range(9, 14))
    (verdict,) = judge([one, other])
    assert (verdict.metric.sign, verdict.metric.error, verdict.metric.obstacle) == (0, 0.0, "no spread")


def test_one_group_without_two_values_shows_no_spread_either():
    """Five times one training beside five of another seed each; five collapsed ones with seeds of their own."""
    rising = (0.920, 0.921, 0.922, 0.923, 0.924)
    for n, seeds in ((None, [None] * 5), (540, [None] * 5)):
        alike = repeats("a", NOISE, [486 / 540] * 5, metric_n=n, seeds=seeds)
        for groups in ((alike, repeats("b", NOISE[::-1], rising)), (repeats("b", NOISE[::-1], rising), alike)):
            (verdict,) = judge(groups)
            assert (verdict.metric.sign, verdict.metric.error, verdict.metric.obstacle) == (0, 0.0, "one alike")
    collapsed = repeats("a", NOISE, [0.1] * 5)
    for seeds in (range(5), range(5, 10)):  # with the spread of the other for both: sd 0.00158, of pairs 0.00224
        (verdict,) = judge([collapsed, repeats("b", NOISE[::-1], rising, seeds=seeds)])
        assert verdict.metric.error == pytest.approx(0.0015811 * math.sqrt(2 / 5), rel=1e-4)
        assert verdict.kind == "better"


def test_one_group_of_copies_decides_nothing_about_energy():
    for seeds in (range(5), range(5, 10)):
        (verdict,) = judge([group("a", seeds=seeds), repeats("b", [1.5] * 5, ACCURACIES)])
        assert (verdict.energy.sign, verdict.energy.obstacle) == (0, "one alike")


def test_runs_with_one_seed_decide_nothing_about_the_metric():
    """They scatter by the machine alone, 0.03 points where seeds make 0.3; the energies are repeats all the same."""
    scatter = (0.0003, -0.0003, 0.0, 0.0001, -0.0001)
    one = repeats("a", NOISE, [0.9 + d for d in scatter], metric_n=10_000, seeds=[42] * 5, epochs=9)
    other = repeats("b", [1.5 * e for e in NOISE], [0.89 + d for d in scatter], seeds=range(5), epochs=9)
    for groups in ((one, other), (other, one)):
        (verdict,) = judge(groups)
        assert (verdict.kind, verdict.one, verdict.metric.obstacle) == ("cheaper", "a", "one seed")
        assert (verdict.metric.sign, verdict.repeats) == (0, None)
    assert judge([one, other], margin=0.5)[0].kind == "cheaper"
    unknown = [replace(r, source=replace(r.source, epochs=None)) for r in one.runs]
    (verdict,) = judge([replace(one, runs=tuple(unknown)), other])  # nor can their lengths be shown not to differ
    assert (verdict.kind, verdict.energy.obstacle) == ("undecided", "seeds stop")
    rng = np.random.default_rng(4)
    for n in (540, 10_000):
        decided = 0
        for _ in range(60):
            same = [
                repeats(name, np.exp(rng.normal(0, 0.01, 5)), [round(rng.normal(0.9, 0.003) * n) / n] * 5,
                        seeds=[42] * 5, metric_n=n)
                for name in "ab"
            ]  # fmt: skip
            decided += judge(same)[0].kind in DECIDED
        assert decided <= most_by_chance(60)


def of_lengths(group, *epochs):
    """The group with runs that stopped early after so many epochs each; 100: the limit."""
    sources = [
        replace(r.source, stopped_after=n if n < 100 else None, epochs=None if n < 100 else n)
        for r, n in zip(group.runs, epochs, strict=True)
    ]
    return replace(group, runs=tuple(replace(r, source=s) for r, s in zip(group.runs, sources, strict=True)))


def test_energies_decide_nothing_where_the_length_of_a_training_may_hang_on_a_seed_that_comes_twice():
    """Two configurations alike: one has two seeds that stop after 17 and 20 epochs, the other two after 20 and 26."""
    rng = np.random.default_rng(2)

    def twice(name, *epochs, seeds=(0, 1)):
        epochs = [n for n in epochs for _ in range(3)]
        kwh = np.array(epochs) * np.exp(0.003 * rng.standard_normal(6))
        group = repeats(name, kwh, rng.normal(0.9, 0.003, 6), seeds=[s for s in seeds for _ in "abc"])
        return of_lengths(group, *epochs)

    for one, other in (((17, 20), (26, 30)), ((17, 17), (26, 26)), ((17, 17), (100, 100))):
        (verdict,) = judge([twice("a", *one), twice("b", *other, seeds=(2, 3))])
        assert (verdict.kind, verdict.energy.obstacle, verdict.energy.repeats) == ("undecided", "seeds stop", None)
    for epochs in (17, 100):
        (verdict,) = judge([twice("a", epochs, epochs), scaled(twice("b", epochs, epochs), 2.0)])
        assert verdict.kind == "cheaper"


def test_trainings_that_stop_at_once_or_never_are_no_surer_than_two_coins():
    """Half of the runs of eight configurations stop after 5 epochs, the others have all 10."""
    rng, errors = np.random.default_rng(31), 0
    for _ in range(60):
        groups = []
        for k in range(8):
            epochs = rng.choice([5, 100], 3)
            kwh = np.where(epochs == 5, 5, 10) * np.exp(0.003 * rng.standard_normal(3))
            seeds = range(10 * k, 10 * k + 3)
            groups.append(of_lengths(repeats(str(k), kwh, rng.normal(0.9, 0.003, 3), seeds=seeds), *epochs))
        errors += any(v.energy.sign for v in judge(groups))
    assert errors <= most_by_chance(60)


@pytest.mark.parametrize(("n", "kind"), [(3, "undecided"), (4, "cheaper"), (5, "cheaper")])
def test_two_numbers_of_epochs_are_told_apart_by_enough_runs(n, kind):
    """4^-n, times four tests: 0.0625 for three runs of each, 0.0156 for four; of one number the energy is as ever."""
    kwh = [1.0, 1.003, 0.997, 1.001, 0.998][:n]
    one = repeats("a", kwh, ACCURACIES[:n], seeds=range(n))
    other = repeats("b", [2.001 * e for e in reversed(kwh)], ACCURACIES[:n], seeds=range(10, 10 + n))
    (verdict,) = judge([of_lengths(one, *[5] * n), of_lengths(other, *[10] * n)])
    assert verdict.kind == kind
    assert verdict.energy.repeats == (None if verdict.energy.sign else 4)
    assert judge([of_lengths(one, *[5] * n), of_lengths(other, *[5] * n)])[0].kind == "cheaper"
    dearer = scaled(of_lengths(other, *[6] * n), 5.0)  # ten times as dear, and a fifth of that by the number of epochs
    assert judge([of_lengths(one, *[5] * n), dearer])[0].kind == "cheaper"


def scaled(group, by):
    return replace(group, runs=tuple(replace(r, energy_kwh=by * r.energy_kwh) for r in group.runs))


def test_no_other_setting_makes_another_training_of_one_seed():
    """Seed 42 in all runs: each wrote into a folder of its own, or each had a fold of its own."""

    def with_setting(name, setting, of_run):
        one = group(name, 1.0 if name == "a" else 1.5, 0.0 if name == "a" else -0.05, seeds=[42] * 5, epochs=9)
        runs = [replace(r, source=replace(r.source, settings={setting: of_run(i)})) for i, r in enumerate(one.runs)]
        return replace(one, runs=tuple(runs))

    for folder in ("runs/{}", "C:\\runs\\{}"):
        (verdict,) = judge([with_setting(name, "log_dir", folder.format) for name in "ab"])
        assert (verdict.kind, verdict.metric.obstacle) == ("cheaper", "one seed")
    (verdict,) = judge([with_setting(name, "fold", int) for name in "ab"])
    assert (verdict.kind, verdict.metric.obstacle) == ("cheaper", "one seed")


def test_pairs_that_all_differ_alike_are_told_from_copies():
    one = repeats("a", NOISE, (0.90, 0.91, 0.92, 0.90, 0.91))
    (verdict,) = judge([one, repeats("b", [1.5 * e for e in NOISE[::-1]], (0.89, 0.90, 0.91, 0.89, 0.90))])
    assert (verdict.kind, verdict.metric.obstacle) == ("cheaper", "same pairs")


@pytest.mark.parametrize("arguments", [{"level": 0.0}, {"level": 1.0}, {"margin": -1.0}, {"margin": math.nan}])
def test_arguments_out_of_range(arguments):
    with pytest.raises(ValueError, match=f"{next(iter(arguments))}="):
        judge([], **arguments)


def some_shared(name, kwh=(1.05, 1.062, 1.041), accuracies=(0.900, 0.9021, 0.898), others=((1.05, 0.9), (1.06, 0.901))):
    """Three seeds of everyone, and two of its own."""
    seeds = [0, 1, 2, *(100 * ord(name) + i for i in range(len(others)))]
    more_kwh, more = zip(*others, strict=True)
    return repeats(name, [*kwh, *more_kwh], [*accuracies, *more], seeds=seeds)


A_KWH, A = (1.0, 1.01, 0.99), (0.910, 0.912, 0.908)


def test_nothing_is_decided_that_the_means_of_all_runs_contradict():
    """Of three shared seeds a is 5 % cheaper and a point better; with its other two runs it is dearer and worse."""
    b = some_shared("b")
    agreed = judge([some_shared("a", A_KWH, A, ((1.0, 0.91), (1.0, 0.91))), b])[0]
    assert (agreed.kind, agreed.pairs, agreed.unpaired) == ("dominated", 3, 4)
    assert agreed.basis == "of the 3 shared seeds; the other 4 runs count for nothing here"
    for others, energy, metric in (
        (((1.6, 0.86), (1.7, 0.85)), "others", "others"),
        (((1.6, 0.91), (1.7, 0.91)), "others", ""),
        (((1.0, 0.86), (1.0, 0.85)), "", "others"),
    ):
        for verdict in judge([some_shared("a", A_KWH, A, others), b]):
            assert (verdict.energy.flaw, verdict.metric.flaw) == (energy, metric)
            assert (verdict.energy.sign != 0, verdict.metric.sign != 0) == (not energy, not metric)
            assert verdict.energy.obstacle == energy
    assert judge([repeats("a", A_KWH, A), repeats("b", (1.05, 1.062, 1.041), (0.9, 0.9021, 0.898))])[0].unpaired == 0


def test_with_a_margin_all_runs_lose_less_than_it():
    b = some_shared("b")
    for loss, kind in ((0.001, "dominated"), (0.2, "cheaper")):
        a = some_shared("a", A_KWH, (0.8999, 0.9022, 0.8981), ((1.0, 0.9 - loss), (1.0, 0.9 - loss)))
        assert judge([a, b], margin=0.02)[0].kind == kind


def test_tables_are_contradicted_by_no_decision():
    """Two groups of five with three seeds in common, whose energies and metrics hang on the seed almost alone."""
    rng, decided = np.random.default_rng(3), 0
    for _ in range(300):
        of_seed = rng.standard_normal(9)
        groups = {}
        for name, seeds, off in (("a", [0, 1, 2, 3, 4], 0.0), ("b", [0, 1, 2, 7, 8], 0.03)):
            z = 0.99 * of_seed[seeds] + 0.14 * rng.standard_normal(5)
            kwh, metric = (
                np.exp(0.1 * z + off),
                0.9 + 0.01 * (0.99 * of_seed[seeds] + 0.14 * rng.standard_normal(5)) - off,
            )
            groups[name] = repeats(name, kwh, metric, seeds=seeds)
        (verdict,) = judge([*groups.values()])
        one, other = groups[verdict.one], groups[verdict.other]
        assert verdict.energy.sign * (other.energy.mean - one.energy.mean) >= 0
        assert verdict.metric.sign * (other.metric.mean - one.metric.mean) >= 0
        decided += bool(verdict.energy.sign) + bool(verdict.metric.sign)
    assert decided > 60
