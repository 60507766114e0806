from __future__ import annotations

from types import SimpleNamespace

import pytest
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from lightning_energy.scores.choice import choose_score
from lightning_energy.training import log_keys
from lightning_energy.training.monitor_checks import (
    advice_on_absence,
    advice_on_direction,
    advice_on_names,
    advice_on_reference,
    forecast_kwh,
)

SCORE = "energy/score"
STOPPING = EarlyStopping(SCORE, mode="max")


def trainer(*callbacks, max_epochs=10, max_steps=-1, global_step=0, fast_dev_run=False, logged=()):
    return SimpleNamespace(
        callbacks=[*callbacks],
        max_epochs=max_epochs,
        max_steps=max_steps,
        global_step=global_step,
        fast_dev_run=fast_dev_run,
        callback_metrics=dict.fromkeys(logged, 1.0),
    )


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


@pytest.mark.parametrize("fast", [True, 1, 3])
def test_some_batches_for_a_look_give_no_advice_on_a_reference(fast):
    assert advice_on_reference(trainer(STOPPING, fast_dev_run=fast), choose_score("penalized", 1.0), 4e-5, 1) == ""


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
        f"EarlyStopping can do nothing while there is no energy/score, as {because}. The training goes on, and it "
        f"waits for a score"
    )


CHECKPOINT = ModelCheckpoint(monitor=SCORE, mode="max")
FOR_CHECKPOINTS = ". For checkpoints in any case, add a ModelCheckpoint() without a monitor"


@pytest.mark.parametrize(
    ("callbacks", "who", "end"),
    [
        ([STOPPING], "EarlyStopping", "it waits for a score"),
        ([STOPPING, EarlyStopping(SCORE)], "EarlyStopping", "it waits for a score"),
        ([CHECKPOINT], "ModelCheckpoint", f"it waits for a score{FOR_CHECKPOINTS}"),
        ([STOPPING, CHECKPOINT], "EarlyStopping and ModelCheckpoint", f"they wait for a score{FOR_CHECKPOINTS}"),
    ],
)
def test_the_advice_is_for_those_who_wait(callbacks, who, end):
    assert advice_on_absence(trainer(*callbacks), "there is a loss alone", ("val_loss", "min")) == (
        f"{who} can do nothing while there is no energy/score, as there is a loss alone, or let {who} monitor "
        f"'val_loss' with mode='min'. The training goes on, and {end}"
    )


@pytest.mark.parametrize(
    ("name", "cure"),
    [
        ("energy/scor", "Did you mean 'energy/score'?"),
        ("energy_score", "Did you mean 'energy/score'?"),
        ("energy_phase/backwards_j", "Did you mean 'energy_phase/backward_j'?"),
        ("energy/per_class", "Give one that is logged: 'energy/val_j', 'energy/total_wh'"),
    ],
)
def test_a_name_like_ours_that_nobody_logs_is_told_with_the_nearest(name, cure):
    logged = ["energy/total_wh", "energy/val_j", "val_acc"]
    told = advice_on_names(trainer(EarlyStopping(name), ModelCheckpoint(monitor=name), logged=logged))
    problem = f"monitor={name!r} of EarlyStopping and ModelCheckpoint is no name that EnergyCallback logs"
    assert told == [f"{problem}, and nothing else has logged it so far. {cure}"]
    is_typo = "mean" in cure
    assert bool(advice_on_names(trainer(EarlyStopping(name), logged=logged), may_follow=True)) == is_typo
    assert advice_on_names(trainer(EarlyStopping(name), logged=[*logged, name])) == []  # the user logs it


def test_nothing_is_said_of_our_names_whatever_the_settings_and_of_names_that_are_none_like_ours():
    ours = [EarlyStopping(key.name) for key in log_keys.ALL]
    others = [EarlyStopping("val_loss"), ModelCheckpoint(monitor="val/score_epoch"), ModelCheckpoint()]
    assert advice_on_names(trainer(*ours, *others)) == []
