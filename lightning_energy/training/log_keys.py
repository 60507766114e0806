"""Every name that is logged, with its unit and meaning, in one place.

A name never changes its meaning within a major version.
"""

from __future__ import annotations

from typing import NamedTuple

from lightning_energy.ledger import accounts, phases

__all__ = [
    "ACCURACY",
    "ALL",
    "CO2EQ_G",
    "COST",
    "FORECAST_CO2EQ_G",
    "FORECAST_COST",
    "FORECAST_HIGH_WH",
    "FORECAST_LEFT_S",
    "FORECAST_LOW_WH",
    "FORECAST_WH",
    "METRIC",
    "MISSING_S",
    "NAMES",
    "PHASE_J",
    "POINT_WH",
    "POWER_W",
    "PREDICT_J",
    "SCORE",
    "STEP_J",
    "TEST_J",
    "TOTAL_U_WH",
    "TOTAL_WH",
    "TRAIN_J",
    "VAL_J",
    "LogKey",
]

POWER_W = "energy/power_w"
STEP_J = "energy/step_j"
TRAIN_J = "energy/train_j"
VAL_J = "energy/val_j"
TEST_J = "energy/test_j"
PREDICT_J = "energy/predict_j"
TOTAL_WH = "energy/total_wh"
TOTAL_U_WH = "energy/total_u_wh"
MISSING_S = "energy/missing_s"
CO2EQ_G = "energy/co2eq_g"
COST = "energy/cost"
FORECAST_WH = "energy/forecast_wh"
FORECAST_LOW_WH = "energy/forecast_low_wh"
FORECAST_HIGH_WH = "energy/forecast_high_wh"
FORECAST_LEFT_S = "energy/forecast_left_s"
FORECAST_CO2EQ_G = "energy/forecast_co2eq_g"
FORECAST_COST = "energy/forecast_cost"
ACCURACY = "energy/accuracy"
METRIC = "energy/metric"
SCORE = "energy/score"
POINT_WH = "energy/point_wh"
PHASE_J = {name: f"energy_phase/{name}_j" for name in phases.NAMES}
"""The names of the phases of training, by phase."""


class LogKey(NamedTuple):
    """A logged name.

    Attributes:
        name: the name.
        unit: its unit; ``1`` for a pure number.
        when: the moment at which it is logged.
        meaning: its meaning.
    """

    name: str
    unit: str
    when: str
    meaning: str


OF_PHASES = {
    phases.DATA: "energy of waiting for data in this epoch",
    phases.COPY: "energy of copying batches to the device in this epoch",
    phases.FORWARD: "energy of the forward passes in this epoch, with the loss",
    phases.BACKWARD: "energy of the backward passes in this epoch",
    phases.OPTIMIZER: "energy of the optimizers' steps in this epoch",
    accounts.SAVING: "energy of saving checkpoints in this epoch, until it ends",
    accounts.OTHER: "energy of training in this epoch that is none of these",
}
_STEP = "every `log_every_n_steps`, where a sensor has moved since the last point"
_VAL = "after each validation"
_EPOCH = "after each training epoch"
_FORECAST = f"{_EPOCH} but the last, within the first, and as the second begins"

ALL: tuple[LogKey, ...] = (
    LogKey(POWER_W, "W", _STEP, "mean power over the steps that became known since the last point; not of an estimate"),
    LogKey(STEP_J, "J", _STEP, "mean energy of those steps, each from its start to the start of the next"),
    LogKey(TRAIN_J, "J", _EPOCH, "energy of training in this epoch: steps and the gaps between them"),
    LogKey(VAL_J, "J", _VAL, "energy of validation in this epoch, until this is logged"),
    LogKey(TEST_J, "J", "after a test", "energy of the test, until this is logged"),
    LogKey(
        PREDICT_J, "J", "after a prediction", "energy of the prediction, until this is logged (to the loggers only)"
    ),
    LogKey(TOTAL_WH, "Wh", f"{_VAL}, or epoch without one", "energy of `fit` so far, all stages and sessions"),
    LogKey(TOTAL_U_WH, "Wh", "with the total, if `log_uncertainty=True`", "its absolute standard uncertainty (k=1)"),
    LogKey(
        MISSING_S, "s", "with the total, where some is missing", "time whose energy is not known and not in the total"
    ),
    LogKey(CO2EQ_G, "g", "with the total, if `carbon_intensity` is given", "derived: CO2e of the total"),
    LogKey(COST, "as `price`", "with the total, if `price` is given", "derived: cost of the total"),
    LogKey(FORECAST_WH, "Wh", _FORECAST, "expected total at the end of the run"),
    LogKey(FORECAST_LOW_WH, "Wh", _FORECAST, "lower bound of it; the total so far where a callback may stop early"),
    LogKey(FORECAST_HIGH_WH, "Wh", _FORECAST, "upper bound of it"),
    LogKey(FORECAST_LEFT_S, "s", _FORECAST, "expected time to the end of the run"),
    LogKey(FORECAST_CO2EQ_G, "g", "with the forecast, if `carbon_intensity` is given", "derived: CO2e of the forecast"),
    LogKey(FORECAST_COST, "as `price`", "with the forecast, if `price` is given", "derived: cost of the forecast"),
    LogKey(ACCURACY, "1", _VAL, "the accuracy, as a fraction"),
    LogKey(METRIC, "its own", _VAL, "the metric of quality, where it is no accuracy (a loss, a perplexity, …)"),
    LogKey(SCORE, "1", _VAL, "the energy-penalized accuracy, or the score of your own function"),
    LogKey(
        POINT_WH,
        "Wh",
        f"{_VAL}, if `accuracy` or `metric` is given",
        "energy that a further point (0.01) cost over the last three validations, by the best value so far",
    ),
    *(
        LogKey(PHASE_J[name], "J", f"{_EPOCH}, if `phases=True`, where it is resolved", OF_PHASES[name])
        for name in PHASE_J
    ),
)

NAMES = frozenset(key.name for key in ALL)
"""The names alone."""
