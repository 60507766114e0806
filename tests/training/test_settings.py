from __future__ import annotations

import copy
import dataclasses
import inspect
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_energy import EnergyCallback
from lightning_energy.training.settings import Settings
from tests.records import put

DEFAULTS = {name: p.default for name, p in inspect.signature(EnergyCallback).parameters.items()}


def settings(**changed) -> Settings:
    return Settings(**(DEFAULTS | changed))


def test_they_are_the_arguments_of_the_callback():
    assert [field.name for field in dataclasses.fields(Settings)] == [*DEFAULTS]
    assert Settings.of(EnergyCallback(accuracy="val_acc", pue=1.2)) == settings(accuracy="val_acc", pue=1.2)


def test_they_are_read_from_attributes():
    owner = SimpleNamespace(**DEFAULTS, other=1)
    owner.price = 0.3
    assert Settings.of(owner).price == 0.3


@pytest.mark.parametrize(
    ("changed", "error", "match"),
    [
        ({"accuracy": ""}, TypeError, "the name of a logged metric"),
        ({"accuracy": 1}, TypeError, "the name of a logged metric"),
        ({"score": 3}, TypeError, "score=3"),
        ({"score": lambda accuracy: accuracy}, TypeError, "can be called as score"),
        ({"score": max, "reference_kwh": 2.0}, ValueError, "belongs to score='penalized'"),
        ({"reference_kwh": "1"}, ValueError, "1 does not exist. Give a number of kWh, 'run', or the record"),
        ({"price": "0.3"}, TypeError, "price='0.3': give a number from 0 on: the price of a kWh in your currency"),
        ({"reference_kwh": True}, TypeError, "a number above 0"),
        ({"mode": "min"}, ValueError, "name the metric"),
        ({"metric": "val_loss"}, ValueError, "mode='min'"),
        ({"batch_size_fn": 4}, TypeError, "a function of a batch"),
        ({"per": ["tokens"]}, TypeError, "such as {'tokens': count_tokens}"),
        ({"per": {3: len}}, TypeError, "the name 3 of a unit is no text"),
        ({"per": {"": len}}, ValueError, "'' cannot be the name of a unit"),
        ({"per": {"samples": len}}, ValueError, "samples are counted anyway"),
        ({"per": {"tokens": 4}}, TypeError, "the number of tokens in it"),
        ({"idle_s": -1}, ValueError, "idle_s"),
        ({"allow_estimate": "no"}, TypeError, "allow_estimate='no'"),
        ({"helper": 1}, TypeError, "helper=1"),
        ({"dashboards": 1}, TypeError, "dashboards=1"),
        ({"progress_bar": None}, TypeError, "progress_bar=None"),
        ({"print_report": "yes"}, TypeError, "as quiet as the Trainer"),
        ({"record": ""}, TypeError, "the path of a file or folder"),
        ({"record": 0}, TypeError, "the path of a file or folder"),
        ({"trace": "xlsx"}, ValueError, "trace='xlsx'"),
        ({"meters": []}, ValueError, "at least one of"),
        ({"meters": 4}, TypeError, "meters=4"),
        ({"pue": 0.9}, ValueError, "pue=0.9"),
        ({"price": -1.0}, ValueError, "price=-1.0"),
        ({"carbon_intensity": "XYZ"}, ValueError, "no such country"),
    ],
)
def test_a_wrong_one_is_refused_with_what_to_do(changed, error, match):
    with pytest.raises(error, match=match):
        settings(**changed)


@pytest.mark.parametrize("record", [True, False, "energy.json", Path("folder")])
def test_places_of_a_record(record):
    assert settings(record=record).record == record


@given(st.floats())
def test_a_reference_is_finite_and_above_zero(reference_kwh):
    if 0 < reference_kwh < math.inf:
        assert settings(reference_kwh=reference_kwh).reference_kwh == reference_kwh
    else:
        with pytest.raises(ValueError, match="a finite number above 0"):
            settings(reference_kwh=reference_kwh)


def test_a_conversion_is_there_when_it_is_asked_for():
    assert settings().conversion is None
    assert settings(price=0.5).conversion.price_per_kwh == 0.5
    assert settings(carbon_intensity=400).conversion.co2eq_g(2.0) == 800.0


def test_they_do_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings().price = 1.0


def test_a_record_is_read_once(tmp_path):
    """A run goes on with its reference, whatever becomes of the file: its own record may take the place of it."""
    file = put(tmp_path, 2.0)
    energy = EnergyCallback(reference_kwh=file)
    file.unlink()
    assert copy.deepcopy(energy).reference_kwh == 2.0
    assert Settings.of(energy).score_rule.reference_kwh == 2.0
