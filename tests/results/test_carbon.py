from __future__ import annotations

import math
import re
import socket
from dataclasses import replace
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch.loggers import CSVLogger

from lightning_energy import EnergyCallback
from lightning_energy.curves.energy import Energy
from lightning_energy.results.carbon import Conversion, Derived, Intensity, find_intensity, read_table
from lightning_energy.results.read import read_record
from tests.modules import Classifier, MemoryLogger, Working, energy_callback, loader, make_trainer
from tests.test_callback import Mute
from tests.training.test_recorder import valid

ENERGY = Energy(7.2e6, 1.8e4, 3.6e5, 3600.0, 0.0, "measured", 2000.0)  # 2 kWh, 5 % of it u
POSITIVE = st.floats(1e-9, 1e9)

# ------------------------------------------------------------------------------------------------ the table


def test_every_row_of_the_table_is_usable():
    table = read_table()
    assert len(table) > 200
    assert len({row["alpha2"] for row in table.values()}) == len(table)
    for code, row in table.items():
        assert re.fullmatch("[A-Z]{3}", code)
        assert re.fullmatch("[A-Z]{2}", row["alpha2"])
        assert 20 <= float(row["g_per_kwh"]) < 1500  # never 0: nothing has no life cycle
        assert 2021 <= int(row["year"]) <= 2023
        assert row["country"].strip() == row["country"]
        assert find_intensity(code) == find_intensity(row["alpha2"].lower())


@pytest.mark.parametrize(
    ("code", "published"),
    [("USA", 369), ("DEU", 381), ("FRA", 56), ("CHN", 582), ("IND", 713), ("NOR", 30), ("POL", 662)],
)
def test_the_values_that_were_published(code, published):
    found = find_intensity(code)
    assert round(found.g_per_kwh) == published
    assert (found.region, found.year) == (code, 2023)
    assert "Ember" in found.source


def test_the_table_says_where_it_is_from():
    text = resources.files("lightning_energy.results").joinpath("carbon_intensity.csv").read_text(encoding="utf-8")
    header = " ".join(line for line in text.splitlines() if line.startswith("#"))
    for word in ("Ember", "Our World in Data", "CC BY 4.0", "life cycle", "Left out"):
        assert word in header


@pytest.mark.parametrize("text", ["de", "DE", "DEU", "deu", " Deu "])
def test_a_country_by_either_code(text):
    assert find_intensity(text) == Intensity(380.95, "DEU", find_intensity("DEU").source, 2023)


@pytest.mark.parametrize(
    ("text", "near"),
    [("UK", "GBR (United Kingdom)"), ("Germany", "DEU (Germany)"), ("GER", "DEU (Germany)"), ("frX", "FRA (France)")],
)
def test_an_unknown_country_is_told_with_those_that_are_near(text, near):
    with pytest.raises(ValueError, match=re.escape(f"carbon_intensity={text!r}: no such country")) as error:
        find_intensity(text)
    assert f"Did you mean {near}" in str(error.value)


@pytest.mark.parametrize("text", ["", "??", "QQ"])
def test_nothing_is_near(text):
    with pytest.raises(ValueError, match="Nothing there is similar"):
        find_intensity(text)


@pytest.mark.parametrize("text", ["381", " 3.81e2"])
def test_the_text_of_a_number_is_the_number(text):
    assert find_intensity(text) == find_intensity(381.0)
    with pytest.raises(ValueError, match=re.escape("give grams of CO2e per kWh from 1 on (381, not 0.381)")):
        find_intensity("0.381")


@pytest.mark.parametrize("value", [math.nan, -math.inf, "nan", "inf"])
def test_an_intensity_that_is_not_finite(value):
    with pytest.raises(ValueError, match=re.escape(f"carbon_intensity={float(value)!r}: give a finite number")):
        find_intensity(value)


@pytest.mark.parametrize("value", [0, 0.381, -1, math.nan, math.inf])
def test_an_impossible_intensity(value):
    with pytest.raises(ValueError, match=re.escape(f"carbon_intensity={value!r}: give")):
        find_intensity(value)


@pytest.mark.parametrize("value", [True, [381], b"DE"])
def test_an_intensity_of_the_wrong_type(value):
    with pytest.raises(TypeError, match="give g CO2e per kWh"):
        find_intensity(value)


def test_norway_in_yaml():
    with pytest.raises(TypeError, match="Write 'NO' in quotes, or NOR"):
        find_intensity(value=False)


# ------------------------------------------------------------------------------------------------ arithmetic


@given(kwh=POSITIVE, intensity=st.floats(1, 2000), pue=st.floats(1, 5), price=st.floats(0, 1e3))
def test_the_formulas(kwh, intensity, pue, price):
    energy = replace(ENERGY, energy_j=kwh * 3.6e6, u_absolute_j=0.05 * kwh * 3.6e6)
    derived = Conversion.of(intensity, pue, price).derive(energy)
    assert derived.facility_kwh == pytest.approx(kwh * pue, rel=1e-12)
    assert derived.co2eq_g == pytest.approx(kwh * pue * intensity, rel=1e-12)
    assert derived.cost == pytest.approx(kwh * pue * price, rel=1e-12)
    assert derived.co2eq_u_g == pytest.approx(0.05 * derived.co2eq_g, rel=1e-9)
    assert derived.cost_u == pytest.approx(0.05 * derived.cost, rel=1e-9)
    assert Derived.from_plain(derived.to_plain()) == derived
    assert derived.conversion.derive(energy) == derived


def test_by_hand():
    """2 kWh at 381 g/kWh in a facility of PUE 1.5 are 1143 g, and at 0.30 per kWh cost 0.90."""
    derived = Conversion.of(381, 1.5, 0.30).derive(ENERGY)
    assert (derived.facility_kwh, derived.co2eq_g) == (3.0, 1143.0)
    assert derived.cost == pytest.approx(0.90)
    assert derived.co2eq_u_g == pytest.approx(57.15)


def test_unknown_energy_is_no_zero():
    derived = Conversion.of("DE", 1.5, 0.30).derive(Energy(None, 0.0, 0.0, 9.0, 9.0, "missing"))
    assert (derived.facility_kwh, derived.co2eq_g, derived.co2eq_u_g, derived.cost, derived.cost_u) == (None,) * 5
    assert (derived.region, derived.pue, derived.price_per_kwh) == ("DEU", 1.5, 0.30)


def test_only_what_was_asked_for():
    assert Conversion.of() is None
    assert Conversion.of(pue=1) is None
    price = Conversion.of(price=0.0)
    assert price.row(2.0) == {"cost": 0.0}
    assert price.derive(ENERGY).co2eq_g is None
    pue = Conversion.of(pue=1.2)
    assert pue.row(2.0) == {}
    assert pue.derive(ENERGY).facility_kwh == pytest.approx(2.4)
    assert Conversion.of("FR").row(None) == {"co2eq_g": None}


@pytest.mark.parametrize(
    ("inputs", "error"),
    [
        ({"pue": 0.9}, ValueError),
        ({"pue": math.nan}, ValueError),
        ({"pue": math.inf}, ValueError),
        ({"pue": "1.2"}, TypeError),
        ({"pue": True}, TypeError),
        ({"pue": None}, TypeError),
        ({"price": -0.1}, ValueError),
        ({"price": math.nan}, ValueError),
        ({"price": "0.3"}, TypeError),
        ({"price": True}, TypeError),
        ({"carbon_intensity": "Atlantis"}, ValueError),
    ],
)
def test_wrong_inputs_are_told_at_construction(inputs, error):
    ((name, value),) = inputs.items()
    with pytest.raises(error, match=re.escape(f"{name}={value!r}")):
        EnergyCallback(**inputs)


# ------------------------------------------------------------------------------------------------ in a Trainer


@pytest.mark.slow
def test_a_run_logs_reports_and_records_it(tmp_path, monkeypatch):
    def no_network(*args):
        raise AssertionError("asked a network")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    memory, energy = MemoryLogger(), energy_callback(carbon_intensity="fr", pue=1.5, price=0.2)
    trainer = make_trainer(tmp_path, max_epochs=6, logger=[CSVLogger(tmp_path), memory], callbacks=[energy])
    trainer.fit(Working(), loader(), loader(8))
    kwh = [(step, wh / 1000) for step, wh in memory.points("energy/total_wh")]
    assert kwh
    assert memory.points("energy/co2eq_g") == [(step, pytest.approx(v * 1.5 * 56.039, rel=1e-6)) for step, v in kwh]
    assert memory.points("energy/cost") == [(step, pytest.approx(v * 1.5 * 0.2, rel=1e-6)) for step, v in kwh]
    assert trainer.callback_metrics["energy/co2eq_g"] > 0
    last, report = energy.history[-1], energy.report
    assert last["co2eq_g"] == pytest.approx(last["total_kwh"] * 1.5 * 56.039)
    assert last["cost"] == pytest.approx(last["total_kwh"] * 0.3)
    assert report.derived.co2eq_g == pytest.approx(report.total.energy_kwh * 1.5 * 56.039)
    for text in ("Derived, CO2e: ", "x PUE 1.5 x 56.039 g/kWh (FRA, 2023; Ember", "Derived, cost: ", "x 0.2 per kWh"):
        assert text in report.details()
    record = valid(read_record(trainer.log_dir))
    assert record.derived.region == "FRA"
    assert record.report == report
    assert record.epochs[-1].derived["co2eq_g"] == last["co2eq_g"]
    assert record.total.energy_j == report.total.energy_j  # what the devices spent, whatever the PUE


def test_off_unless_asked(tmp_path):
    memory, energy = MemoryLogger(), energy_callback()
    trainer = make_trainer(tmp_path, max_epochs=2, logger=[CSVLogger(tmp_path), memory], callbacks=[energy])
    trainer.fit(Working(), loader(), loader(8))
    names = {name for _, row in memory.rows for name in row} | {*trainer.callback_metrics} | {*energy.history[0]}
    assert not [name for name in names if "co2" in name or "cost" in name]
    assert energy.report.derived is None
    assert "Derived" not in energy.report.details()
    assert valid(read_record(trainer.log_dir)).derived is None


@pytest.mark.filterwarnings("ignore:EnergyCallback")
def test_unknown_energy_logs_nothing(tmp_path):
    energy = energy_callback(meters=Mute(100.0), carbon_intensity=400, price=1)
    trainer = make_trainer(tmp_path, max_epochs=1, callbacks=[energy])
    trainer.fit(Classifier(), loader(), loader(8))
    assert {name for name in trainer.callback_metrics if name.startswith("energy/")} == {"energy/accuracy"}
    assert energy.history[0]["co2eq_g"] is energy.history[0]["cost"] is None
    derived = "unknown = unknown energy x PUE 1 (IT energy only) x 400 g/kWh (given by the user)"
    assert f"Derived, CO2e: {derived}" in energy.report.details()


def test_a_pue_alone_tells_the_facilitys_energy(tmp_path):
    energy = energy_callback(pue=1.25)
    make_trainer(tmp_path, max_epochs=2, callbacks=[energy]).fit(Working(), loader(), loader(8))
    report = energy.report
    assert report.derived.facility_kwh == pytest.approx(1.25 * report.total.energy_kwh)
    assert "Derived, facility: " in report.details()
    assert "x PUE 1.25" in report.details()
    assert "CO2e" not in report.details()


def test_all_sessions_are_in_it(tmp_path):
    energy = energy_callback(carbon_intensity=100)
    trainer = make_trainer(tmp_path, callbacks=[energy])
    for epochs in (1, 2):
        trainer.fit_loop.max_epochs = epochs
        trainer.fit(Working(), loader(), loader(8))
    assert energy.report.derived.co2eq_g == pytest.approx(100 * energy.report.total.energy_kwh)
    assert energy.report.derived.co2eq_g > 100 * energy.report.session.energy_kwh


def test_nothing_fitted_is_about_the_run(tmp_path):
    energy = energy_callback(carbon_intensity=100)
    trainer = make_trainer(tmp_path, callbacks=[energy])
    trainer.test(Working(), loader(64), verbose=False)
    assert energy.report.total is None
    assert energy.report.derived.co2eq_g == pytest.approx(100 * energy.report.session.energy_kwh)
