"""From logged metrics to a score; the callback's tests cover the schedules of Lightning."""

from __future__ import annotations

import math

import pytest

from lightning_energy.scores.formula import EnergyPenalized, LogPenalized
from lightning_energy.scores.scorer import ROUNDING, Scorer


def mine(accuracy, energy_kwh):
    return accuracy / (1 + energy_kwh)


@pytest.mark.parametrize(
    ("score", "name", "value"),
    [
        (None, "energy_penalized_accuracy(alpha=5, beta=5, reference_kwh=0.25)", EnergyPenalized(reference_kwh=0.25)),
        (mine, "mine", mine),
        (LogPenalized(beta=1), "log_penalized_accuracy(alpha=5, beta=1, reference_kwh=1)", LogPenalized(beta=1)),
    ],
)
def test_a_score_is_named_with_its_constants(score, name, value):
    scorer = Scorer("val_acc", score, 0.25)
    assert scorer.name == name
    assert scorer.score(0.9, 2.0) == value(0.9, 2.0)
    assert scorer.score(1 + ROUNDING, 2.0) == value(1.0, 2.0)


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
    scorer = Scorer("val_acc", score, 1.0)
    assert scorer.score(0.9, 2.0) is None
    assert scorer.reason == reason


def test_an_accuracy_of_an_earlier_validation_is_not_taken():
    scorer = Scorer(None, None, 1.0)
    logged = {"val_acc": 0.5, "energy/score": 1.0}
    assert not scorer.is_settled
    assert scorer.find(logged, final=True) == ("val_acc", 0.5)
    assert scorer.is_settled
    scorer.begin(logged)
    assert scorer.find(logged) is None
    assert scorer.find({**logged, "val_acc": 0.75}) == ("val_acc", 0.75)


@pytest.mark.parametrize(
    ("accuracy", "wrong"),
    [(0.0, ""), (1.0005, ""), (-0.0005, ""), (91.2, "divided by 100"), (-1.0, "no accuracy"), (math.nan, "not finite")],
)
def test_what_is_no_fraction_is_said(accuracy, wrong):
    said = Scorer.check("val_acc", accuracy)
    assert wrong in said
    assert bool(said) == bool(wrong)
