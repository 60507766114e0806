from __future__ import annotations

import threading
import time

import pytest
import torch
from lightning.pytorch.callbacks import BatchSizeFinder, LearningRateFinder
from lightning.pytorch.tuner import Tuner
from torch.utils.data import DataLoader

from lightning_energy.ledger import watch
from lightning_energy.results.read import read_record
from tests.modules import Classifier, Numbers, energy_callback, loader, make_trainer, meter

QUIET = pytest.mark.filterwarnings("ignore::UserWarning:lightning", "ignore::FutureWarning")


class Breaks(Classifier):
    """Its fourth training step fails, also where a search makes it."""

    def __init__(self, error: type[BaseException] = OSError) -> None:
        super().__init__()
        self.lr, self.batch_size, self.steps, self.error = 0.1, 4, 0, error

    def training_step(self, batch, batch_idx):
        self.steps += 1
        if self.steps == 4:
            raise self.error("a broken disk")
        return super().training_step(batch, batch_idx)

    def train_dataloader(self):
        return DataLoader(Numbers(), batch_size=self.batch_size)

    def val_dataloader(self):
        return loader(8)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.lr)


def find(tmp_path, how, energy, error=OSError):
    finders = {"a LearningRateFinder": LearningRateFinder(), "a BatchSizeFinder": BatchSizeFinder()}
    callbacks = [energy, finders[how]] if how in finders else [energy]
    trainer, module = make_trainer(tmp_path, callbacks=callbacks), Breaks(error)
    if how == "lr_find":
        Tuner(trainer).lr_find(module)
    elif how == "scale_batch_size":
        Tuner(trainer).scale_batch_size(module)
    else:
        trainer.fit(module)


WAYS = ["lr_find", "scale_batch_size", "a LearningRateFinder", "a BatchSizeFinder"]


def wait_for(condition) -> None:
    deadline = time.monotonic() + 60.0
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.001)


def sampling() -> bool:
    return any(thread.name == "lightning-energy-sampler" for thread in threading.enumerate())


@QUIET
@pytest.mark.filterwarnings("ignore:EnergyCallback. the training stopped in a search")
@pytest.mark.parametrize(("how", "error"), [*((how, OSError) for how in WAYS), (WAYS[0], SystemExit)])
def test_a_search_that_raises_ends_the_run(tmp_path, monkeypatch, how, error):
    """In it Lightning has taken the callbacks out of the Trainer, so that no hook of ours says so."""
    monkeypatch.setattr(watch, "ABANDONED_S", 1e9)
    replay = meter()
    energy = energy_callback(meters=replay, record=tmp_path / "energy.json")
    with pytest.raises(error, match="disk"):
        find(tmp_path, how, energy, error)
    assert energy.report.outcome == "interrupted"
    assert [*energy.report.stages] == ["tune"]
    assert energy.report.session.duration_s > 0
    assert not sampling()
    assert not replay.is_open
    assert read_record(tmp_path / "energy.json").outcome == "interrupted"


@QUIET
@pytest.mark.filterwarnings("ignore:EnergyCallback. the training stopped in a search")
def test_nobody_has_to_ask_for_the_report(tmp_path, monkeypatch):
    monkeypatch.setattr(watch, "ABANDONED_S", 1e9)
    replay = meter()
    energy = energy_callback(meters=replay)
    with pytest.raises(OSError, match="disk"):
        find(tmp_path, "lr_find", energy)
    wait_for(lambda: energy._run is None)
    assert energy._last_report.outcome == "interrupted"
    wait_for(lambda: "lightning-energy-end" not in [t.name for t in threading.enumerate()])
    assert not sampling()
    assert not replay.is_open


@QUIET
@pytest.mark.filterwarnings("ignore:EnergyCallback. the training stopped in a search")
def test_the_next_fit_begins_after_it(tmp_path):
    energy = energy_callback()
    with pytest.raises(OSError, match="disk"):
        find(tmp_path, "lr_find", energy)
    trainer = make_trainer(tmp_path, max_epochs=1, callbacks=[energy])
    trainer.fit(Classifier(), loader(8), loader(8))
    assert energy.report.outcome == "completed"
    assert "tune" not in energy.report.stages


@pytest.mark.slow
def test_a_program_that_ends_by_it_has_its_report(warm, tmp_path):
    code = """
import sys, warnings
warnings.simplefilter("ignore")
from lightning_energy import EnergyCallback
from tests.modules import meter
from tests.training.test_ending import find
find(sys.argv[1], "lr_find", EnergyCallback(meters=meter(), record=sys.argv[1], print_report=True))
"""
    done = warm.run(code, tmp_path)
    assert done.returncode == 1
    assert "a broken disk" in done.stderr
    assert done.stderr.count("Traceback") == 1
    assert done.stdout.count("Energy until the run was interrupted") == 1
    assert read_record(tmp_path).outcome == "interrupted"
