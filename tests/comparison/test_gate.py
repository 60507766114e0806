from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from lightning_energy.comparison.course import Validation
from lightning_energy.comparison.gate import GateError, gate
from lightning_energy.comparison.groups import Group
from tests.comparison.groups import repeats
from tests.comparison.test_verdicts import even, skewed

NOISE = (1.00, 1.01, 0.99, 1.005, 0.995)
ACCURACIES = (0.900, 0.903, 0.897, 0.901, 0.899)


def side(name, kwh=1.0, accuracy=0.0, scatter=1.0, **more):
    energies = [kwh * (1 + scatter * (e - 1)) for e in NOISE]
    more = {"seeds": [None] * 5} | more
    return repeats(name, energies, [a + accuracy for a in ACCURACIES], **more)


@pytest.mark.parametrize(
    ("new", "outcome"),
    [
        (side("new"), "fine"),
        (side("new", 0.8), "fine"),
        (side("new", 1.10), "worse"),
        (side("new", 1.03), "cannot tell"),
        (side("new", 1.0, scatter=9), "cannot tell"),
        (side("new", 0.8, -0.05), "worse"),
        (side("new", slack_kwh=math.inf), "cannot tell"),
    ],
)
def test_outcomes(new, outcome):
    assert gate(side("base"), new, 0.03).outcome == outcome


def test_figures():
    """Equal runs: the error is the root of 2/5 of 0.79 %, t of 8 degrees of freedom 2.306: ±1.15 %."""
    answer = gate(side("base"), side("new"), 0.03)
    assert answer.increase == pytest.approx(0, abs=1e-12)
    assert (answer.low, answer.high) == pytest.approx((-0.0115, 0.0116), abs=1e-4)
    assert answer.reason == "the energy rose by no more than 3 %: by 1.2 % at most"
    wide = gate(side("base", scatter=3), side("new", scatter=3), 0.03)
    # (t of 2.5 % + t of 20 %)^2 * 2 * (2.37 % / 2.96 %)^2 = 10.1, and some for t
    assert wide.reason == (
        "at least 12 runs per side are needed to see 3 % with this spread, if the true increase is about 0"
    )


def test_the_repeats_are_those_for_the_increase_that_was_seen():
    """1 % below the limit: 0.98 % with an sd of 0.79 %, (z of 2.5 % + z of 20 %)^2 * 2 * 0.65 = 10.2, for t 12."""
    answer = gate(side("base"), side("new", 1.02), 0.03)
    assert (answer.outcome, answer.repeats) == ("cannot tell", 12)
    assert answer.reason == (
        "if the increase is the +2 % that was seen, some 12 runs per side would show on which side of 3 % it is (with "
        "probability 0.8)"
    )
    assert gate(side("base"), side("new", 1.03), 0.03).reason == (
        "the increase is +3 %: no number of runs up to 10,000 shows on which side of 3 % it is"
    )
    missing = gate(side("base"), side("new", 1.02, slack_kwh=0.02), 0.03)
    assert missing.repeats is None
    assert missing.reason == (
        "energy of some runs is missing, and repeats do not replace it: at the runs' mean power, the increase may be "
        "from +2 % to +4 %"
    )
    unknown = gate(side("base", slack_kwh=math.inf), side("new", 1.05), 0.03)
    assert (unknown.outcome, unknown.repeats) == ("cannot tell", None)
    assert unknown.reason == "a run may have spent more than is known, as energy of it is missing"


def test_a_metric_without_any_spread_shows_nothing():
    """A model that collapsed has one and the same accuracy in all repeats."""
    base = repeats("base", NOISE, [0.9] * 5, seeds=[None] * 5)
    fell = gate(base, repeats("new", NOISE, [0.5] * 5, seeds=[None] * 5), 0.03)
    assert (fell.outcome, fell.gain, fell.gain_low, fell.gain_high) == ("cannot tell", pytest.approx(-0.4), None, None)
    assert fell.reason == "the metric is worse by 0.4 in all repeats, without any spread: were they trained anew?"
    assert gate(base, repeats("new", NOISE, [0.9] * 5, seeds=[None] * 5), 0.03).outcome == "fine"
    assert gate(base, repeats("new", NOISE, [0.88] * 5, seeds=[None] * 5), 0.03, max_loss=0.03).outcome == "cannot tell"
    assert gate(base, repeats("new", [2 * e for e in NOISE], [0.5] * 5, seeds=[None] * 5), 0.03).outcome == "worse"


def test_one_side_without_any_spread_shows_nothing_unless_its_seeds_differ():
    base = side("base", seeds=range(5))
    fell = gate(base, repeats("new", NOISE, [0.1] * 5, seeds=[None] * 5), 0.03)
    assert fell.outcome == "cannot tell"
    assert fell.reason == (
        "the metric is worse by 0.8, but all repeats of one group gave the same figure, which shows no spread: were "
        "they trained anew, each with a seed of its own?"
    )
    assert gate(base, repeats("new", NOISE, [0.1] * 5, seeds=range(5, 10)), 0.03).outcome == "worse"
    copies = gate(base, repeats("new", [2.0] * 5, ACCURACIES, seeds=range(5, 10)), 0.03)
    assert copies.outcome == "cannot tell"
    assert copies.reason == "all repeats of one side cost the same to the last digit: were they trained anew?"


def validated(group, epochs):
    """The group with so many validations of each run."""
    course = tuple(Validation((i + 1) / epochs, 0.9) for i in range(epochs))
    return replace(group, runs=tuple(replace(r, source=replace(r.source, course=course)) for r in group.runs))


@pytest.mark.parametrize("n", [None, 540])
def test_runs_with_one_seed_show_nothing_of_the_metric(n):
    """A gate with a fixed seed: one sample of 540 less in each repeat is no loss that is shown, nor are 20 points."""
    base = repeats("base", NOISE, [486 / 540] * 5, seeds=[42] * 5, metric_n=n)
    for lost in (1 / 540, 0.2):
        answer = gate(base, repeats("new", NOISE, [486 / 540 - lost] * 5, seeds=[42] * 5, metric_n=n), 0.03)
        assert (answer.outcome, answer.gain_low) == ("cannot tell", None)
        assert answer.reason == (
            f"the metric is worse by {lost:.4g}, but base and new have one seed in several runs, as far as records "
            "say, and runs of one seed do not show what another one brings"
        )
    same = repeats("new", NOISE, [486 / 540] * 5, seeds=[42] * 5, metric_n=n)
    assert gate(validated(base, 20), validated(same, 20), 0.03).outcome == "fine"
    answer = gate(base, same, 0.03)  # which may have been of different lengths
    assert answer.outcome == "cannot tell"
    assert "not all had as many epochs, or that is not known" in answer.reason
    collapsed = gate(repeats("base", NOISE[:3], [0.9] * 3, metric_n=n), repeats("new", NOISE[2:], [0.5] * 3,
                     seeds=(7, 8, 9), metric_n=n), 0.5)  # fmt: skip
    assert (collapsed.outcome, collapsed.reason) == (
        "cannot tell", "the metric is worse by 0.4 in all repeats, without any spread: were they trained anew?",
    )  # fmt: skip


def test_with_one_seed_and_early_stopping_the_energy_is_that_of_the_seed():
    """One seed stops after 20 epochs and the other after 22: a tenth more energy, by chance."""

    def of_length(name, kwh, epochs):
        return validated(repeats(name, [kwh * e for e in NOISE], [0.9] * 5, seeds=[42] * 5), epochs)

    for kwh in (1.1, 0.9):
        answer = gate(of_length("base", 1.0, 20), of_length("new", kwh, round(20 * kwh)), 0.03)
        assert (answer.outcome, answer.repeats) == ("cannot tell", None)
        assert answer.reason == (
            "base and new have one seed in several runs, as far as records say, and runs of one seed do not show what "
            "another one brings; not all had as many epochs, and where that hangs on the seed, so does the energy: "
            "train each with a seed of its own"
        )
    open_ = gate(of_length("base", 1.0, 20), of_length("new", 1.02, 21), 0.03)
    assert (open_.outcome, open_.low, open_.high, open_.repeats) == ("cannot tell", None, None, None)
    assert "have one seed in several runs" in open_.reason
    open_ = gate(of_length("base", 1.0, 20), of_length("new", 1.02, 20), 0.03)
    assert (open_.outcome, open_.repeats, open_.low is None) == ("cannot tell", 12, False)
    assert open_.reason.endswith(
        "(with probability 0.8) (for these seeds: where the length of a training hangs on them, as with early "
        "stopping, others may differ)"
    )
    same = gate(of_length("base", 1.0, 20), of_length("new", 1.1, 20), 0.03)
    assert same.outcome == "worse"
    assert same.reason == (
        "the energy rose by more than 3 %: by 8.7 % at least (for these seeds: where the length of a training hangs on "
        "them, as with early stopping, others may differ)"
    )


def test_a_loss_that_rose_by_a_third_is_seen():
    """The number of samples makes no steps between losses."""
    mse, more = (0.00100, 0.00101, 0.00099, 0.001005, 0.000995), {"metric_name": "val_mse", "mode": "min"}
    sides = [repeats(name, NOISE, [k * m for m in mse], metric_n=540, scale="raw", seeds=[None] * 5, **more)
             for name, k in (("base", 1.0), ("new", 1.3))]  # fmt: skip
    answer = gate(*sides, 0.03)
    assert (answer.outcome, answer.reason) == ("worse", "the metric is significantly worse")


def test_a_run_on_both_sides_is_refused():
    """With the new runs in the base as well, a rise of 8 % is half of that."""

    def with_ids(group, ids):
        runs = (replace(r, source=replace(r.source, run_id=i)) for r, i in zip(group.runs, ids, strict=True))
        return replace(group, runs=tuple(runs))

    base, new = with_ids(side("base"), "abcde"), with_ids(side("new", 1.08), "fghij")
    assert gate(base, new, 0.03).outcome == "worse"
    with pytest.raises(GateError, match="they have a run in common: give the records of each side alone"):
        gate(base, with_ids(side("new", 1.08), "fghia"), 0.03)


def of_models(group, *models, **more):
    settings = [{"model": model, **more} for model in models]
    runs = zip(group.runs, settings, strict=True)
    return replace(group, runs=tuple(replace(run, source=replace(run.source, settings=s)) for run, s in runs))


def test_a_mixture_in_other_shares_is_refused():
    """Three small and two large models before, five small ones now: what fell is the share of the large."""
    small, large = side("base", scatter=30), side("new", 0.7)
    with pytest.raises(GateError, match=r"in other shares on both sides \(model: 3 and 2 against 5 and 0\)"):
        gate(of_models(small, *"aaabb"), of_models(large, *"aaaaa"), 0.03)
    for commits in ({}, {}), ({"commit": 1}, {"commit": 2}):
        before, now = (
            of_models(s, *m, **c) for s, m, c in zip((small, large), ("aaabb", "aabbb"), commits, strict=True)
        )
        with pytest.raises(GateError, match=r"in other shares on both sides \(model: 3 and 2 against 2 and 3\)"):
            gate(before, now, 0.03)
    assert gate(of_models(small, *"aaabb"), of_models(large, *"babaa"), 0.03).outcome == "fine"
    assert gate(of_models(small, *"aaabb"), of_models(large, *"cdccd"), 0.03).outcome == "fine"
    assert gate(of_models(side("base"), *"abcde"), of_models(side("new"), *"fffff"), 0.03).outcome == "fine"  # labels


def test_what_does_not_average_out_is_the_cause():
    answer = gate(side("base", quality="estimated"), side("new", 1.5, quality="estimated"), 0.03)
    assert answer.reason == (
        "the increase is +50 %: no number of runs up to 10,000 shows on which side of 3 % it is, as the uncertainty of "
        "the estimates does not average out"
    )
    measured = gate(side("base", u=0.05), side("new", 1.05, u=0.05), 0.03)
    assert measured.reason.endswith("as the uncertainty of the meters is taken not to average out")


def test_a_loss_that_is_allowed_takes_proof():
    assert gate(side("base"), side("new", 0.9), 0.03, max_loss=0.01).outcome == "fine"
    assert gate(side("base"), side("new", 0.9), 0.03, max_loss=0.001).outcome == "cannot tell"
    assert gate(side("base"), side("new", 0.9, -0.005), 0.03, max_loss=0.02).outcome == "fine"


def test_pairs_are_narrower():
    base = side("base", scatter=9, seeds=[0, 1, 2, 3, 4])
    energies = [run.energy_kwh * e for run, e in zip(base.runs, (1.001, 0.999, 1.0, 1.0005, 0.9995), strict=True)]
    answer = gate(base, repeats("new", energies, ACCURACIES, u=0.001), 0.03)
    assert (answer.outcome, answer.pairs) == ("fine", 5)
    copies = gate(base, side("new", scatter=9, seeds=[0, 1, 2, 3, 4], u=0.001), 0.03)
    assert copies.reason == "all pairs differ by the same to the last digit: were they trained anew?"


def test_wrong_answers_are_rare():
    rng = np.random.default_rng(0)
    fine = worse = 0
    for _ in range(400):
        base = repeats("base", np.exp(rng.normal(0, 0.01, 5)), rng.normal(0.9, 0.003, 5), seeds=[None] * 5)
        new = repeats("new", np.exp(rng.normal(math.log(1.03), 0.01, 5)), rng.normal(0.9, 0.003, 5), seeds=[None] * 5)
        outcome = gate(base, new, 0.03).outcome  # exactly at the limit: neither is right
        fine, worse = fine + (outcome == "fine"), worse + (outcome == "worse")
    assert fine <= 0.025 * 400 + 3 * math.sqrt(0.025 * 400)
    assert worse <= 0.05 * 400 + 3 * math.sqrt(0.05 * 400)


def test_few_runs_cannot_tell():
    answer = gate(repeats("base", [1.0], [0.9]), repeats("new", [2.0], [0.9]), 0.03)
    assert (answer.outcome, answer.increase, answer.low) == ("cannot tell", pytest.approx(1.0), None)
    assert answer.reason == "1 and 1 runs do not show how repeats scatter: give at least 3 per side"
    copies = gate(repeats("base", [1.0] * 3, [0.9] * 3), repeats("new", [1.0] * 3, [0.9] * 3), 0.03)
    assert (copies.outcome, copies.low, copies.high, copies.repeats) == ("cannot tell", None, None, None)


def test_unlike_sides_are_refused():
    with pytest.raises(GateError, match="cannot be set against each other: their joules cover different parts"):
        gate(side("base"), side("new", covers="cpu"), 0.03)
    with pytest.raises(GateError, match=r"of different numbers of validation samples \(540; 360\)"):
        gate(side("base", metric_n=540), side("new", metric_n=360), 0.03)
    for base, new in ((540, None), (None, 540)):
        with pytest.raises(GateError, match="number of validation samples of 5 of 10 runs is not known") as refused:
            gate(side("base", metric_n=base), side("new", metric_n=new), 0.03)
        assert "that of others is 540" in str(refused.value)
    mixed = side("base", metric_n=540)
    mixed = replace(mixed, runs=(*mixed.runs[:4], replace(mixed.runs[4], metric_n=None)))
    with pytest.raises(GateError, match="of 1 of 10 runs is not known"):
        gate(mixed, side("new", metric_n=540), 0.03)
    with pytest.raises(GateError, match="new has no run that ended"):
        gate(side("base"), Group("new", ()), 0.03)


def test_a_run_unlike_all_others_is_not_told_as_missing_energy():
    huge = side("new")
    huge = replace(huge, runs=(replace(huge.runs[0], energy_kwh=1e84), *huge.runs[1:]))
    answer = gate(side("base"), huge, 0.03)
    assert (answer.outcome, answer.repeats) == ("cannot tell", None)
    assert answer.reason == (
        "the runs differ so much that the energy may have changed by any factor: look for one among them that is no "
        "repeat of the others"
    )


def test_energies_that_no_training_has_are_no_reason_to_fail():
    tiny = side("new")
    runs = tuple(replace(run, energy_kwh=1e-307, u_repeat_kwh=1e-100) for run in tiny.runs)
    assert gate(side("base"), replace(tiny, runs=runs), 0.03).outcome == "cannot tell"


def test_bounds_of_the_typical_run_are_no_answer_where_the_mean_says_the_opposite():
    """Half a kWh in 18 of 20 runs and six in two of them: 36 % less by the geometric mean, 5 % more by the mean."""
    answer = gate(even("base"), skewed("new"), 0.03)
    assert (answer.outcome, answer.repeats, answer.increase) == ("cannot tell", None, pytest.approx(-0.36, abs=0.01))
    assert answer.reason == (
        "the energy of the typical run (geometric mean) is within 3 %, but that of the mean rose by 5 %: a few runs "
        "that cost far more than the others decide that"
    )
    answer = gate(skewed("base"), even("new"), 0.03)
    assert (answer.outcome, answer.repeats) == ("cannot tell", None)
    assert answer.reason == (
        "the energy of the typical run (geometric mean) rose by more than 3 %, but that of the mean fell by 4.7 %: a "
        "few runs that cost far more than the others decide that"
    )
    assert gate(skewed("base"), even("new", -0.05), 0.03).reason == "the metric is significantly worse"


def test_a_fall_is_told_as_one():
    """20 % less, with ±1.15 %: 0.8 * 1.0116 = 0.809."""
    reason = gate(side("base"), side("new", 0.8), 0.03).reason
    assert reason == "the energy fell, by 19 % at least; allowed was a rise of 3 %"


def some_shared(name, kwh=(1.0, 1.01, 0.99), accuracies=(0.910, 0.912, 0.908), others=()):
    """Three seeds of both sides, and others of its own."""
    more_kwh, more = zip(*others, strict=True) if others else ((), ())
    return repeats(name, [*kwh, *more_kwh], [*accuracies, *more], seeds=range(3 + len(others)))


CHEAP, DEAR = (1.002, 1.011, 0.993), (1.072, 1.081, 1.063)
KEPT, WORSE = (0.910, 0.913, 0.908), (0.890, 0.8925, 0.888)
NOT_SHARED = "runs whose seeds are not shared count for nothing in a test of pairs: share all seeds, or none"


@pytest.mark.parametrize(
    ("new", "max_loss", "reason"),
    [
        ((CHEAP, KEPT), None, ""),
        ((CHEAP, KEPT, [(1.0, 0.91)]), None, ""),
        (
            (CHEAP, KEPT, [(1.5, 0.91), (1.6, 0.91)]),
            None,
            "is within 3 %, but that of the mean of all runs rose by 22 %",
        ),
        ((DEAR, KEPT, [(0.8, 0.91), (0.7, 0.91)]), None, "but that of the mean of all runs fell by 5.7 %"),
        ((CHEAP, KEPT, [(1.0, 0.80), (1.0, 0.78)]), None, "but worse by 0.0478 by the means of all runs"),
        ((CHEAP, KEPT, [(1.0, 0.88), (1.0, 0.88)]), 0.01, "but worse by 0.0118 by the means of all runs"),
        ((CHEAP, WORSE, [(1.0, 0.99), (1.0, 0.99)]), None, "but better by 0.0201 by the means of all runs"),
    ],
)
def test_an_answer_of_pairs_is_none_where_the_means_of_all_runs_have_another(new, max_loss, reason):
    answer = gate(some_shared("base"), some_shared("new", *new), 0.03, max_loss)
    assert (answer.outcome, answer.pairs) == ("cannot tell" if reason else "fine", 3)
    assert answer.repeats is None
    assert reason == "" or answer.reason.endswith(f"{reason}: {NOT_SHARED}")
    assert reason == "" or "in the runs with shared seeds" in answer.reason or "of the runs with" in answer.reason
