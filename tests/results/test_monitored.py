"""The values that a stopping would have met, as rows of epochs know them."""

from __future__ import annotations

import math

import pytest

from lightning_energy.results.monitored import ONCE, lost_epochs, monitored, why_not_monitored
from lightning_energy.results.rows import EpochRow


def row(epoch: int, metric: float | None = None, **more) -> EpochRow:
    return EpochRow(epoch=epoch, metric=metric, **({"session": 0} | more))


@pytest.mark.parametrize(
    ("rows", "values", "argument"),
    [
        ([row(0, 0.5, validations=1), row(1, validations=0), row(2, 0.6, validations=1)], [0.5, None, 0.6], ""),
        ([row(0, 0.5, validations=2), row(1, 0.6, validations=2)], [0.5, 0.6], ONCE),
        ([row(0, 0.5), row(1, 0.6)], [0.5, 0.6], ONCE),  # of older records, which do not know how many
        (
            [row(0, 0.5, validations=1), row(1, 0.9, validations=1), row(1, 0.6, validations=1, session=1)],
            [0.5, None, 0.6],  # epoch 1 was trained again
            "",
        ),
    ],
)
def test_each_epoch_has_the_value_of_its_last_validation(rows, values, argument):
    assert why_not_monitored(rows, by_score=False) == ""
    assert monitored(rows, by_score=False) == (values, argument)


def test_a_value_that_is_not_finite_is_met_and_a_score_that_is_not_there_is_waited_for():
    rows = [row(0, 0.5, score=1.0, validations=1), row(1, no_metric="val_acc=inf is not finite", validations=1)]
    of_metric, of_score = (monitored(rows, by_score=by_score) for by_score in (False, True))
    assert math.isnan(of_metric.values[1])
    assert of_metric.best("max") == 0
    assert of_score.values == [1.0, None]
    assert monitored([], by_score=True).best("max") is None
    assert monitored(rows[:1] * 3, by_score=False).best("min") == 0  # the first of equals


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([row(0, 0.5, validations=2), row(1, validations=0)], "some of its epochs may have several validations"),
        ([row(0, 0.5, val_s=1.0), row(1, val_s=0.0)], "some of its epochs may have several validations"),
        ([row(0, 0.5, validations=1), row(1, validations=1)], "the validation of epoch 1 has no value of its metric"),
    ],
)
def test_what_nobody_knows_has_a_reason(rows, why):
    assert why_not_monitored(rows, by_score=False).startswith(why)


def test_epochs_that_a_later_session_trained_again_are_lost():
    rows = [row(0), row(1), row(2), row(1, session=1), row(2, session=1), row(2, session=2)]
    assert lost_epochs(rows) == [False, True, True, False, True, False]
