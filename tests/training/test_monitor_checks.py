from __future__ import annotations

from types import SimpleNamespace

import pytest
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from lightning_energy.scores.choice import choose_score
from lightning_energy.training.monitor_checks import (
    advice_on_absence,
    advice_on_direction,
    advice_on_reference,
    forecast_kwh,
)

SCORE = "energy/score"
STOPPING = EarlyStopping(SCORE, mode="max")


def trainer(*callbacks, max_epochs=10, max_steps=-1, global_step=0):
    return SimpleNamespace(callbacks=[*callbacks], max_epochs=max_epochs, max_steps=max_steps, global_step=global_step)


@pytest.mark.parametrize(
    ("length", "kwh"),
    [
        ({"max_epochs": 10}, 5.0),
        ({"max_epochs": 10, "max_steps": 400, "global_step": 200}, 1.0),  # the steps end it sooner
        ({"max_epochs": None, "max_steps": 400, "global_step": 100}, 2.0),
        ({"max_epochs": -1}, None),
        ({"max_epochs": 1, "max_steps": 400, "global_step": 800}, 0.5),
    ],
)
def test_the_forecast_goes_on_as_the_training_began(length, kwh):
    assert forecast_kwh(trainer(**length), 0.5, epochs=1) == kwh


def test_a_reference_far_above_the_run_is_said_with_one_that_fits():
    text = advice_on_reference(trainer(STOPPING), choose_score("penalized", 1.0), 4e-5, 1)
    assert text == (
        "this training will spend about 0.0004 kWh, far less than the 1 kWh of the score's reference: its penalty "
        "stays below 0.02 %, so energy/score follows the accuracy alone, and whatever monitors it never stops for the "
        "energy. Give EnergyCallback(reference_kwh=0.0004), or reference_kwh='run' to take this run's own scale"
    )


@pytest.mark.parametrize(
    ("callbacks", "score", "reference", "spent_kwh"),
    [
        ([], "penalized", 1.0, 4e-5),  # nothing monitors it
        ([EarlyStopping("val_loss")], "penalized", 1.0, 4e-5),
        ([STOPPING], "penalized", 1e-3, 4e-5),
        ([STOPPING], "penalized", "run", 4e-5),
        ([STOPPING], "penalized", 1.0, None),
        ([STOPPING], None, 1.0, 4e-5),
        ([STOPPING], max, 1.0, 4e-5),
    ],
)
def test_nothing_is_said_of_a_reference_that_fits(callbacks, score, reference, spent_kwh):
    assert advice_on_reference(trainer(*callbacks), choose_score(score, reference), spent_kwh, 1) == ""


def test_a_monitor_that_takes_the_lowest_score_for_the_best_is_named():
    rule = choose_score("penalized", 1.0)
    wrong = [EarlyStopping(SCORE), ModelCheckpoint(monitor=SCORE)]
    assert advice_on_direction(trainer(*wrong, STOPPING), rule) == (
        "mode='min', Lightning's default, of EarlyStopping and ModelCheckpoint takes the lowest energy/score for the "
        "best, but it is better the higher it is: give mode='max'"
    )
    assert advice_on_direction(trainer(STOPPING, EarlyStopping("val_loss")), rule) == ""
    assert advice_on_direction(trainer(*wrong), choose_score(max, 1.0)) == ""


@pytest.mark.parametrize(
    ("why", "because"),
    [("no validation was run", "no validation was run"), ("", "score=None asks for none")],
)
def test_a_monitor_of_a_score_that_there_is_not_is_told(why, because):
    assert advice_on_absence(trainer(EarlyStopping("val_loss")), why) == ""
    assert advice_on_absence(trainer(STOPPING), why) == (
        f"EarlyStopping can do nothing while there is no energy/score, as {because}. The training goes on, and they "
        f"wait for one. For checkpoints in any case, add a ModelCheckpoint() without a monitor"
    )
