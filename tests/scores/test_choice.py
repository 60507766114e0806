from __future__ import annotations

import pytest

from lightning_energy.scores.choice import MetricChoice, ScoreRule, choose_metric, choose_score
from lightning_energy.scores.formula import EnergyPenalized, LogPenalized, Sustainable


@pytest.mark.parametrize(
    ("given", "choice"),
    [
        ({}, MetricChoice()),
        ({"accuracy": "val_acc"}, MetricChoice("val_acc")),
        ({"accuracy": "val_acc", "scale": "percent"}, MetricChoice("val_acc", scale="percent")),
        ({"scale": "percent"}, MetricChoice(scale="percent")),
        ({"metric": "val_acc"}, MetricChoice("val_acc", argument="metric")),
        ({"metric": "val_f1"}, MetricChoice("val_f1", argument="metric", is_accuracy=False)),
        (
            {"metric": "val_f1", "scale": "fraction"},
            MetricChoice("val_f1", scale="fraction", argument="metric", is_accuracy=False),
        ),
        ({"metric": "val_ppl", "mode": "min"}, MetricChoice("val_ppl", "min", "raw", "metric", is_accuracy=False)),
        ({"metric": "val_loss", "mode": "max"}, MetricChoice("val_loss", "max", None, "metric", is_accuracy=False)),
    ],
)
def test_the_metric_that_is_asked_for(given, choice):
    assert choose_metric(**given) == choice


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ({"accuracy": 1}, TypeError, "accuracy=1: give the name of a logged metric, such as 'val_acc', or None"),
        ({"metric": ""}, TypeError, "metric='': give the name of a logged metric, such as 'val_acc', or None"),
        ({"mode": "up"}, ValueError, "mode='up': give one of 'max', 'min', or omit it"),
        ({"scale": "%"}, ValueError, "scale='%': give one of 'fraction', 'percent', 'raw', or omit it"),
        (
            {"accuracy": "a", "metric": "b"},
            ValueError,
            "accuracy='a' and metric='b' are both given: give one of them",
        ),
        (
            {"mode": "min"},
            ValueError,
            (
                "mode='min' does not go with a metric without a name: name the metric, "
                "EnergyCallback(metric='…', mode='min')"
            ),
        ),
        (
            {"accuracy": "val_psnr", "scale": "raw"},
            ValueError,
            (
                "scale='raw' does not go with accuracy='val_psnr': name the metric, EnergyCallback(metric='val_psnr', "
                "scale='raw')"
            ),
        ),
        (
            {"accuracy": "val_loss"},
            ValueError,
            (
                "accuracy='val_loss': its name says that less is better, so it is no accuracy. Give "
                "EnergyCallback(metric='val_loss', mode='min')"
            ),
        ),
        (
            {"metric": "val_loss"},
            ValueError,
            "metric='val_loss': its name says that less is better. Give mode='min', or mode='max' if more is better",
        ),
    ],
)
def test_what_does_not_go_together_is_said_with_what_to_write(given, error, text):
    with pytest.raises(error) as caught:
        choose_metric(**given)
    assert str(caught.value) == text


def mine(value, energy_kwh):
    return value


@pytest.mark.parametrize(
    ("score", "reference_kwh", "rule", "name"),
    [
        (
            "penalized",
            0.25,
            ScoreRule(EnergyPenalized(reference_kwh=0.25)),
            "energy_penalized_accuracy(alpha=5, beta=5, reference_kwh=0.25)",
        ),
        (
            "penalized",
            "run",
            ScoreRule(is_of_run=True),
            "energy_penalized_accuracy(alpha=5, beta=5, reference_kwh=run)",
        ),
        ("sustainable", 1.0, ScoreRule(Sustainable()), "sustainable_accuracy(alpha=5, beta=5)"),
        (LogPenalized(), 1.0, ScoreRule(LogPenalized()), "log_penalized_accuracy(alpha=5, beta=5, reference_kwh=1)"),
        (mine, 1.0, ScoreRule(mine), "mine"),
        (None, 1.0, ScoreRule(None), ""),
    ],
)
def test_the_score_that_is_asked_for(score, reference_kwh, rule, name):
    chosen = choose_score(score, reference_kwh)
    assert chosen == rule
    assert chosen.name == name


@pytest.mark.parametrize(
    ("score", "reference_kwh", "error", "text"),
    [
        ("best", 1.0, ValueError, "score='best': give 'penalized', 'sustainable', a function"),
        (3, 1.0, TypeError, "score=3: give a name, a function"),
        (mine, 2.0, ValueError, "reference_kwh=2.0 belongs to score='penalized': omit it beside score='mine'"),
        (None, "run", ValueError, "reference_kwh='run' belongs to score='penalized': omit it beside score=None"),
        ("penalized", "other", TypeError, "reference_kwh='other': give a number of kWh above 0, 'run', or"),
        ("penalized", 0.0, ValueError, "reference_kwh=0.0: give a finite number above 0"),
        ("penalized", True, TypeError, "reference_kwh=True: give a number above 0"),
        (lambda value: value, 1.0, TypeError, "can be called as score(value, energy_kwh); this one: "),
    ],
)
def test_a_wrong_score_is_refused_with_what_to_do(score, reference_kwh, error, text):
    with pytest.raises(error) as caught:
        choose_score(score, reference_kwh)
    assert text in str(caught.value)


def test_a_reference_of_the_run_is_settled_once():
    rule = choose_score("penalized", "run")
    assert rule.reference_kwh is None
    assert rule.with_reference(0.0) is rule
    settled = rule.with_reference(0.125)
    assert settled.reference_kwh == 0.125
    assert settled.with_reference(7.0) is settled
