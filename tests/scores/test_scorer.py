"""From logged metrics to a score; the callback's tests cover the schedules of Lightning."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_energy.scores.choice import ScoreRule, choose_metric, choose_score
from lightning_energy.scores.formula import EnergyPenalized, LogPenalized
from lightning_energy.scores.metric import Metric
from lightning_energy.scores.scorer import Scorer


def mine(value, energy_kwh):
    return value / (1 + energy_kwh)


@pytest.mark.parametrize(
    ("score", "value"),
    [("penalized", EnergyPenalized()), (mine, mine), (LogPenalized(beta=1), LogPenalized(beta=1))],
)
def test_a_score_is_that_of_its_rule(score, value):
    scorer = Scorer(choose_metric("val_acc"), choose_score(score, 1.0))
    assert scorer.name == choose_score(score, 1.0).name
    assert scorer.score(Metric("val_acc", 0.9), 2.0) == value(0.9, 2.0)


def test_a_formula_gets_the_fraction_and_a_function_the_value_as_it_was_logged():
    metric = Metric("val_acc", 75.0, scale="percent")
    assert Scorer(rule=ScoreRule(EnergyPenalized())).score(metric, 0.0) == 1.1865234375  # 5 * 0.75**5
    assert Scorer(rule=ScoreRule(mine)).score(metric, 2.0) == 25.0


def fails(accuracy, energy_kwh):
    raise ZeroDivisionError("by zero")


@pytest.mark.parametrize(
    ("score", "reason"),
    [
        (lambda a, e: math.nan, ""),
        (lambda a, e: None, ""),
        (lambda a, e: math.inf, ""),
        (fails, " (ZeroDivisionError: by zero)"),
    ],
)
def test_where_there_is_no_score_nothing_is_invented(score, reason):
    scorer = Scorer(choose_metric("val_acc"), choose_score(score, 1.0))
    assert scorer.score(Metric("val_acc", 0.9), 2.0) is None
    assert scorer.reason == reason


def test_a_metric_of_an_earlier_validation_is_not_taken():
    scorer = Scorer(ours={"energy/score"})
    logged = {"val_acc": 0.5, "energy/score": 1.0}
    assert not scorer.is_settled
    assert scorer.find(logged, final=True) == ("val_acc", 0.5)
    assert scorer.is_settled
    scorer.begin(logged)
    assert scorer.find(logged) is None
    assert scorer.find({**logged, "val_acc": 0.75}) == ("val_acc", 0.75)


def test_names_of_the_users_own_beside_ours_are_theirs():
    scorer = Scorer(ours={"energy/score", "energy/accuracy"})
    assert scorer.find({"energy/accuracy": 0.5, "energy/val_acc": 0.75}, final=True) == ("energy/val_acc", 0.75)


# ------------------------------------------------------------------------------------------------ the scale


def judged(scorer, *values, **kwargs):
    return [scorer.judge("val_acc", value, **kwargs) for value in values]


def test_the_scale_is_one_of_the_run():
    scorer = Scorer()
    first, second, third, fourth = judged(scorer, 0.6, 14.0, 0.5, 30.0)
    assert first.metric == Metric("val_acc", 0.6)  # nothing says otherwise yet
    assert second.metric == Metric("val_acc", 14.0, scale="percent")
    assert third.metric == Metric("val_acc", 0.5, scale="percent")
    assert fourth.metric.accuracy == 0.3
    assert [j.withdraws for j in (first, second, third, fourth)] == [False, True, False, False]


@given(st.lists(st.floats(0.0, 100.0).filter(lambda value: not 1.001 < value <= 1.01), min_size=1))
def test_a_run_of_percentages_is_never_scored_as_fractions_after_the_first_above_1(values):
    scorer = Scorer()
    results = judged(scorer, *values)
    shown = next((i for i, value in enumerate(values) if value > 1.01), len(values))
    assert all(j.metric.scale == ("fraction" if i < shown else "percent") for i, j in enumerate(results))
    assert sum(j.withdraws for j in results) == (shown < len(values))


def test_a_class_that_promises_a_fraction_is_believed():
    (one, wrong) = judged(Scorer(), 0.5, 1.5, is_promised=True)
    assert one.metric == Metric("val_acc", 0.5)
    assert wrong.metric is None
    metric = Scorer(choose_metric(metric="val_f1")).judge("val_f1", 0.5, is_promised=True).metric
    assert metric == Metric("val_f1", 0.5)


@pytest.mark.parametrize(
    ("choice", "value", "metric"),
    [
        ({"metric": "val_f1"}, 0.5, Metric("val_f1", 0.5, "max", "raw")),
        ({"metric": "val_f1", "scale": "fraction"}, 0.5, Metric("val_f1", 0.5)),
        ({"metric": "val_f1", "scale": "percent"}, 0.5, Metric("val_f1", 0.5, scale="percent")),
        ({"metric": "val_psnr", "scale": "raw"}, -3.0, Metric("val_psnr", -3.0, scale="raw")),
        ({"metric": "val_ppl", "mode": "min"}, 30.0, Metric("val_ppl", 30.0, "min", "raw")),
        ({"metric": "val_acc"}, 30.0, Metric("val_acc", 30.0, scale="percent")),
    ],
)
def test_the_scale_that_is_said_or_follows(choice, value, metric):
    judged = Scorer(choose_metric(**choice)).judge(metric.name, value)
    assert (judged.metric, judged.problem) == (metric, "")


@pytest.mark.parametrize(
    ("choice", "value", "problem"),
    [
        ({"accuracy": "val_acc"}, math.nan, "val_acc=nan is not finite"),
        ({"accuracy": "val_acc"}, -1.0, "val_acc=-1 is no fraction in [0, 1]"),
        (
            {"accuracy": "val_acc", "scale": "fraction"},
            91.2,
            (
                "val_acc=91.2 is no fraction in [0, 1]. If it is a percentage, say so: "
                "EnergyCallback(accuracy='val_acc', scale='percent')"
            ),
        ),
        (
            {"scale": "percent"},
            912.0,
            (
                "val_acc=912 is no percentage in [0, 100]. If it is no accuracy, say so: "
                "EnergyCallback(metric='val_acc', scale='raw')"
            ),
        ),
    ],
)
def test_a_value_out_of_range_is_none_and_says_why(choice, value, problem):
    judged = Scorer(choose_metric(**choice)).judge("val_acc", value)
    assert (judged.metric, judged.problem) == (None, problem)


@pytest.mark.parametrize(
    ("choice", "refuses"),
    [
        ({}, False),  # a guess never ends a training
        ({"accuracy": "val_acc"}, True),
        ({"scale": "fraction"}, True),
        ({"accuracy": "val_acc", "scale": "percent"}, False),
        ({"metric": "val_acc"}, False),
        ({"metric": "val_acc", "scale": "raw"}, False),
    ],
)
def test_the_sanity_check_refuses_what_the_user_named_as_a_fraction(choice, refuses):
    scorer = Scorer(choose_metric(**choice))
    assert bool(scorer.refusal("val_acc", 91.2)) is refuses
    assert not any(scorer.refusal("val_acc", value) for value in (0.912, -1.0, math.nan))


def test_a_metric_that_is_no_accuracy_says_why_it_has_no_score():
    loss, f1 = Metric("val_loss", 0.5, "min", "raw"), Metric("val_f1", 0.5, scale="raw")
    assert Scorer().why_unscored(loss) == (
        "val_loss is no accuracy (the less, the better). Its values over the energy are logged and kept. Give a score "
        "of your own with EnergyCallback(score=…), a function of (value, energy_kwh)"
    )
    assert "give scale='fraction' or 'percent'" in Scorer().why_unscored(f1)
    assert Scorer(rule=ScoreRule(mine)).why_unscored(loss) == ""
    assert Scorer(rule=ScoreRule(None)).why_unscored(loss) == ""
    assert Scorer().why_unscored(Metric("val_acc", 50.0, scale="percent")) == ""


@pytest.mark.parametrize("epoch_kwh", [1e-5, 0.02, 1.5])
def test_with_the_runs_own_reference_the_best_epoch_is_an_inner_one_in_a_run_of_any_size(epoch_kwh):
    """A saturating accuracy over 100 epochs: the score is highest at the 27th, and early stopping acts on it."""
    scorer = Scorer(rule=choose_score("penalized", "run"))
    accuracies = [0.92 - 0.6 * math.exp(-t / 6) for t in range(1, 101)]
    scores = [scorer.score(Metric("val_acc", a), epoch_kwh * t) for t, a in enumerate(accuracies, start=1)]
    assert scores.index(max(scores)) + 1 == 27


@pytest.mark.parametrize("value", [torch.tensor([0.1, 0.2]), "high", {"a": 1}, 10**400])
def test_what_is_no_number_is_not_finite(value):
    scorer = Scorer(choose_metric("val_acc"))
    name, number = scorer.find({"val_acc": value})
    judged = scorer.judge(name, number)
    assert (judged.metric, judged.problem) == (None, "val_acc=nan is not finite")


@pytest.mark.parametrize("value", [1.002, 1.0078])
def test_a_mean_in_bfloat16_is_no_sign_of_percent(value):
    scorer = Scorer()
    judged = scorer.judge("val_acc", value)
    assert (judged.metric, judged.withdraws, scorer.scale) == (None, False, None)
    assert scorer.judge("val_acc", 0.5).metric == Metric("val_acc", 0.5)


def test_a_score_is_as_uncertain_as_its_energy():
    scorer = Scorer(rule=ScoreRule(EnergyPenalized()))
    metric = Metric("val_acc", 1.0)
    # 5 / 2 at 9 kWh and 5 / 3 at 99 kWh
    assert scorer.u_of_score(metric, 54.0, 45.0) == pytest.approx((2.5 - 5 / 3) / 2)
    assert scorer.u_of_score(metric, 9.0, 0.0) == 0.0
    # from 0 kWh on it is one-sided: 5 and 5 / 2 over 9 kWh, for 4.5 kWh
    assert scorer.u_of_score(metric, 0.0, 9.0) == pytest.approx(2.5)
    assert scorer.u_of_score(metric, None, 1.0) is None


def test_a_function_of_the_users_is_not_asked_for_the_uncertainty():
    assert Scorer(rule=ScoreRule(fails)).u_of_score(Metric("val_acc", 0.9), 2.0, 0.1) is None


def test_below_where_a_score_is_defined_its_uncertainty_is_of_the_other_side():
    scorer = Scorer(choose_metric("val_acc"), choose_score("sustainable", 1.0))
    metric, u_kwh = Metric("val_acc", 1.0), 0.5
    difference = scorer.score(metric, 1.25) - scorer.score(metric, 1.75)
    assert scorer.u_of_score(metric, 1.25, u_kwh) == pytest.approx(difference)
