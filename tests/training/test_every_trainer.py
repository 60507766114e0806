"""LIGHTNING_ENERGY=1 measures every Trainer of an environment, and never ends one."""

from __future__ import annotations

import sys
import warnings
from importlib import metadata

import lightning as L
import pytest

from lightning_energy import EnergyCallback, load_record
from lightning_energy.meters.base import MeterUnavailable
from lightning_energy.training import every_trainer
from tests.modules import Classifier, energy_callback, loader, make_trainer
from tests.test_repository import PROJECT

DECLARED = PROJECT["project"]["entry-points"]


@pytest.fixture
def declared(monkeypatch):
    """The entry points of pyproject.toml, whatever the installed package has."""
    real = metadata.entry_points

    def entry_points(**kwargs):
        ours = [
            metadata.EntryPoint(n, v, kwargs.get("group")) for n, v in DECLARED.get(kwargs.get("group"), {}).items()
        ]
        return [*(e for e in real(**kwargs) if e.module.partition(".")[0] != "lightning_energy"), *ours]

    for package in ("lightning.fabric", "lightning_fabric"):
        monkeypatch.setattr(f"{package}.utilities.registry.entry_points", entry_points)


def ours(trainer) -> list[EnergyCallback]:
    return [c for c in trainer.callbacks if isinstance(c, EnergyCallback)]


@pytest.mark.parametrize("value", [None, "", "0"])
def test_without_the_switch_there_is_nothing(declared, monkeypatch, value):
    monkeypatch.delenv(every_trainer.SWITCH, raising=False)
    if value is not None:
        monkeypatch.setenv(every_trainer.SWITCH, value)
    assert ours(L.Trainer(logger=False)) == []


def test_with_the_switch_a_run_leaves_its_record(declared, monkeypatch, tmp_path):
    monkeypatch.setenv(every_trainer.SWITCH, "1")
    logger = L.pytorch.loggers.CSVLogger(tmp_path, name="")
    trainer = make_trainer(tmp_path, callbacks=[], logger=logger)
    (energy,) = ours(trainer)
    energy.meters = energy_callback().meters
    trainer.fit(Classifier(), loader(), loader(8))
    assert load_record(logger.log_dir).outcome == "completed"
    assert "energy/total_wh" in trainer.callback_metrics


def test_pytorch_lightning_has_its_own_entry_point(declared, monkeypatch):
    import pytorch_lightning as pl

    monkeypatch.setenv(every_trainer.SWITCH, "1")
    expected = tuple(int(part) for part in pl.__version__.split(".")[:2]) >= every_trainer.TAKES_OURS
    assert len(ours(pl.Trainer(logger=False))) == expected


@pytest.mark.parametrize(
    ("value", "text"),
    [("true", "LIGHTNING_ENERGY='true' switches nothing on: set it to 1"), ("1", "EnergyCallback cannot be made")],
)
@pytest.mark.parametrize("are_errors", [False, True])
def test_whatever_is_wrong_is_a_warning(monkeypatch, value, text, are_errors):
    monkeypatch.setenv(every_trainer.SWITCH, value)
    monkeypatch.setitem(sys.modules, "lightning_energy.callback", None)  # as where a dependency is broken
    monkeypatch.delitem(vars(sys.modules["lightning_energy"]), "EnergyCallback", raising=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("error" if are_errors else "always")
        assert every_trainer.callbacks() == []
    assert are_errors or text in str(caught[0].message)


@pytest.mark.parametrize("what", ["warnings are errors", "no meter", "a defect at the start", "a defect at the end"])
def test_a_training_that_has_not_asked_for_us_is_never_ended_by_us(declared, monkeypatch, tmp_path, what):
    monkeypatch.setenv(every_trainer.SWITCH, "1")
    trainer = make_trainer(tmp_path, callbacks=[], max_epochs=1)
    (energy,) = ours(trainer)
    energy.print_report = False

    def refuse(*_: object, **__: object) -> None:
        raise MeterUnavailable("none") if what == "no meter" else ZeroDivisionError

    place = {"no meter": "open_meters", "a defect at the start": "Session", "a defect at the end": "Outputs.close"}
    if what in place:
        monkeypatch.setattr(f"lightning_energy.training.trainer_run.{place[what]}", refuse)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("error" if what not in place else "always")
        warnings.filterwarnings("ignore", module=r"(lightning|torch)\b(?!_energy)")
        trainer.fit(Classifier(), loader(), loader(8))
    assert trainer.current_epoch == 1
    text = "EnergyCallback gives up on this run: " + {"no meter": "MeterUnavailable: none"}.get(
        what, "ZeroDivisionError"
    )
    assert any(text in str(w.message) for w in caught) == (what in place)
