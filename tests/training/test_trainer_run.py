"""The parts of a run come and go together: what is left after it, after a defect, and after a run that nobody ended."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from lightning.pytorch.callbacks import Callback

from lightning_energy import EnergyCallback
from lightning_energy.training.callback_base import IDLE
from tests.modules import Classifier, energy_callback, loader, make_trainer, meter

pytestmark = pytest.mark.slow


class Logs(EnergyCallback):
    """Logs a value of its own by the method that Lightning sets on callbacks."""

    def on_train_epoch_end(self, trainer, pl_module) -> None:
        super().on_train_epoch_end(trainer, pl_module)
        self.log("mine", 1.0)


def logs() -> Logs:
    return Logs(meters=meter(), print_report=False)


class Breaks(Callback):
    """A defect of ours in the second epoch; ``then`` is called afterwards."""

    def __init__(self, energy, then=lambda trainer: None) -> None:
        self.energy, self.then = energy, then

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        if trainer.current_epoch == 1 and batch_idx == 2:
            self.energy._give_up("a test", ZeroDivisionError("ours"))
            self.then(trainer)


def state_of(trainer, energy, path) -> dict:
    trainer.save_checkpoint(path)
    return torch.load(path, weights_only=True)["callbacks"]["EnergyCallback"]


# ------------------------------------------------------------------------------------------------ after a run


class Watch(Callback):
    """Knows the run without keeping it."""

    def __init__(self, energy) -> None:
        self.energy = energy

    def on_train_start(self, trainer, pl_module) -> None:
        run = self.energy._run
        self.known = [weakref.ref(part) for part in (run, run.books, run.books.session, run.reporter)]


def test_a_run_is_gone_when_it_is_over(tmp_path):
    """At once, without a search for circles."""
    energy = energy_callback()
    watch = Watch(energy)
    trainer = make_trainer(tmp_path, callbacks=[energy, watch])
    gc.disable()
    try:
        trainer.fit(Classifier(), loader(), loader(8))
        assert [known() for known in watch.known] == [None] * 4
    finally:
        gc.enable()


def test_a_callback_keeps_no_trainer_alive(tmp_path):
    energy = energy_callback()

    def fit() -> weakref.ref:
        trainer = make_trainer(tmp_path, callbacks=[energy])
        trainer.fit(Classifier(), loader(), loader(8))
        return weakref.ref(trainer)

    trainer = fit()
    gc.collect()
    assert trainer() is None
    assert energy.report.outcome == "completed"


def test_after_a_run_settings_and_memory_are_left(tmp_path):
    energy = energy_callback()
    before = {*vars(energy)}
    make_trainer(tmp_path, callbacks=[energy]).fit(Classifier(), loader(), loader(8))
    assert {*vars(energy)} == before | {"state_key"}
    assert {name: getattr(energy, name) for name in IDLE} == IDLE


def test_no_step_goes_by_a_default_of_the_class():
    """It costs more than a look into the instance, where memory is cold."""
    assert not {*IDLE} & {*vars(EnergyCallback)}


def test_a_run_that_nobody_ended_takes_nothing_from_the_next(tmp_path):
    class FailsAtTheEnd(Callback):
        def on_fit_end(self, trainer, pl_module) -> None:
            raise ValueError("the user's")

        def on_exception(self, trainer, pl_module, exception) -> None:
            raise RuntimeError("again")

    energy = logs()
    with pytest.raises(RuntimeError, match="again"):
        make_trainer(tmp_path, callbacks=[FailsAtTheEnd(), energy]).fit(Classifier(), loader(), loader(8))
    trainer = make_trainer(tmp_path, callbacks=[energy])
    trainer.fit(Classifier(), loader(), loader(8))
    assert trainer.callback_metrics["mine"] == 1.0


# ------------------------------------------------------------------------------------------------ after a defect


def test_a_subclass_goes_on_logging_after_a_defect(tmp_path):
    energy = logs()
    trainer = make_trainer(tmp_path, callbacks=[energy, Breaks(energy)])
    with pytest.warns(UserWarning, match="stops measuring after ZeroDivisionError in a test"):
        trainer.fit(Classifier(), loader(), loader(8))
    assert trainer.callback_metrics["mine"] == 1.0


@pytest.mark.filterwarnings("ignore:EnergyCallback stops measuring")
def test_after_a_defect_a_search_still_changes_nothing(tmp_path):
    """A search (learning rate, batch size) in the middle of a run restores the checkpoint that it began with."""
    energy = energy_callback()

    def restore(trainer) -> None:
        energy.on_load_checkpoint(trainer, trainer.lightning_module, {})
        energy.load_state_dict(known)

    class Saves(Callback):
        def on_train_epoch_end(self, trainer, pl_module) -> None:
            nonlocal known
            known = state_of(trainer, energy, tmp_path / "one.ckpt")

    known: dict = {}
    trainer = make_trainer(tmp_path, callbacks=[energy, Saves(), Breaks(energy, restore)])
    trainer.fit(Classifier(), loader(), loader(8))
    (row,) = energy.state_dict()["sessions"]  # this session, and not one of the search's beside it
    assert row["missing_s"] > 0
    assert energy.state_dict()["total"]["energy_j"] == row["energy_j"] == energy.report.session.energy_j


@pytest.mark.filterwarnings("ignore:EnergyCallback stops measuring")
def test_after_a_defect_nothing_more_is_logged(tmp_path):
    energy = energy_callback()

    class Clears(Callback):
        def on_train_epoch_start(self, trainer, pl_module) -> None:
            if trainer.current_epoch == 2:
                for name in [n for n in trainer.callback_metrics if n.startswith("energy/")]:
                    del trainer.callback_metrics[name]

    trainer = make_trainer(tmp_path, callbacks=[energy, Breaks(energy), Clears()])
    trainer.fit(Classifier(), loader(), loader(8))
    assert not [n for n in trainer.callback_metrics if n.startswith("energy/")]
    report = energy.report
    assert [note.kind for note in report.notes].count("gave_up") == 1
    assert 0 < report.session.missing_s < report.session.duration_s
    assert report.total == report.session
    assert len(energy.history) == 1  # of the epoch before the defect


# ------------------------------------------------------------------------------------------------ states


def test_a_state_counts_only_where_a_checkpoint_is_loaded(tmp_path):
    """That one run took a state in says nothing about the next."""
    energy, other = energy_callback(), energy_callback()
    trainer = make_trainer(tmp_path, callbacks=[other])
    trainer.fit(Classifier(), loader(), loader(8))
    foreign = state_of(trainer, other, tmp_path / "one.ckpt")

    class Loads(Callback):
        def setup(self, trainer, pl_module, stage) -> None:
            energy.load_state_dict(foreign)

    energy.on_load_checkpoint(make_trainer(tmp_path), Classifier(), {})
    make_trainer(tmp_path, callbacks=[energy, Loads()]).fit(Classifier(), loader(), loader(8))
    assert energy.report.sessions == 1


@pytest.mark.filterwarnings("ignore:EnergyCallback. no energy/score")
def test_a_damaged_state_of_a_validation_is_no_note_on_a_later_training(tmp_path):
    energy = energy_callback(accuracy="val_acc")
    first = make_trainer(tmp_path, callbacks=[energy_callback()])
    first.fit(Classifier(), loader(), loader(8))
    first.save_checkpoint(tmp_path / "one.ckpt")
    checkpoint = torch.load(tmp_path / "one.ckpt", weights_only=False)
    checkpoint["callbacks"]["EnergyCallback"].pop("total")
    torch.save(checkpoint, tmp_path / "one.ckpt")
    with pytest.warns(UserWarning, match="is damaged"):
        make_trainer(tmp_path, callbacks=[energy]).validate(
            Classifier(), loader(8), ckpt_path=tmp_path / "one.ckpt", verbose=False
        )
    make_trainer(tmp_path, callbacks=[energy]).fit(Classifier(), loader(), loader(8))
    assert not [note for note in energy.report.notes if "earlier sessions" in note.text]
