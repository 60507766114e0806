from __future__ import annotations

import warnings

import pytest
import torch
from lightning.pytorch.callbacks import Callback, Checkpoint, EarlyStopping, ModelCheckpoint

from lightning_energy import ReplayMeter
from lightning_energy.meters import MeterLost
from tests.modules import POWER_W, Classifier, energy_callback, loader, make_trainer

SCORE = "energy/score"


class Dead(ReplayMeter):
    """A meter that is lost as soon as it is open, and comes back when it is told to."""

    def __init__(self) -> None:
        super().__init__(POWER_W, counter_period_s=0.0)
        self.is_dead = True

    def read(self):
        if self.is_dead:
            raise MeterLost("the board fell off the bus")
        return super().read()


class Planned(Classifier):
    """Lowers its learning rate by a monitor."""

    def configure_optimizers(self):
        optimizer = super().configure_optimizers()
        plan = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="max")
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": plan, "monitor": SCORE}}


MONITORS = {
    "a checkpoint": lambda path: ModelCheckpoint(path, "{epoch}", SCORE, mode="max"),
    "each step's checkpoint": lambda path: ModelCheckpoint(path, "{step}", SCORE, mode="max", every_n_train_steps=1),
    "the epoch's checkpoint": lambda path: ModelCheckpoint(path, "{epoch}", SCORE, save_on_train_epoch_end=True),
    "an early stopping": lambda path: EarlyStopping(SCORE, mode="max", patience=0),
    "the epoch's stopping": lambda path: EarlyStopping(SCORE, mode="max", check_on_train_epoch_end=True),
    "a stopping by the total": lambda path: EarlyStopping("energy/total_wh", mode="min"),
    "a checkpoint by the epoch's joules": lambda path: ModelCheckpoint(path, "{epoch}", "energy/train_j"),
}


class OwnCheckpoint(Checkpoint):
    """Saves by a value that it takes for granted."""

    def __init__(self, path) -> None:
        self.path, self.monitor, self.best, self.seen = path, SCORE, None, 0

    def on_validation_end(self, trainer, pl_module) -> None:
        self.seen += 1
        score = trainer.callback_metrics[self.monitor]
        if self.best is None or score > self.best:
            self.best = score
            trainer.save_checkpoint(self.path / "own.ckpt")


class OwnStopping(Callback):
    """Another's monitor of a name of ours, in whatever attribute and hook; the value may be ``None`` to it."""

    def __init__(self, hook, name="key") -> None:
        setattr(self, name, SCORE)
        setattr(self, hook, self.act)

    def act(self, trainer, *_) -> None:
        if trainer.callback_metrics.get(SCORE) > 2.0:
            trainer.should_stop = True


class NoTopK(ModelCheckpoint):
    """A subclass that hides the attribute by which Lightning's does without a value."""

    @property
    def save_top_k(self) -> int:
        return 1

    @save_top_k.setter
    def save_top_k(self, value) -> None:
        pass


OWN = {
    "a checkpoint of one's own": OwnCheckpoint,
    "a ModelCheckpoint that keeps its k": lambda path: NoTopK(path, "{epoch}", SCORE, mode="max"),
    "another callback after a validation": lambda _: OwnStopping("on_validation_end"),
    "after an epoch": lambda _: OwnStopping("on_train_epoch_end", "monitor"),
    "after a batch": lambda _: OwnStopping("on_train_batch_end", "metric_name"),
    "in a validation epoch's end": lambda _: OwnStopping("on_validation_epoch_end"),
}


def fitted(tmp_path, *callbacks, module=None, **kwargs):
    """A training in which all of this stands before EnergyCallback, and what was told."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer = make_trainer(tmp_path, callbacks=[*callbacks], enable_checkpointing=True, max_epochs=3, **kwargs)
        trainer.fit(module or Classifier(), loader(16), loader(8))
    return trainer, [str(w.message) for w in caught if "can do nothing" in str(w.message)]


@pytest.mark.parametrize("what", MONITORS)
@pytest.mark.parametrize("every", [1.0, 0.5])
def test_no_monitor_ends_a_training_whose_energy_is_unknown(tmp_path, what, every):
    monitor = MONITORS[what](tmp_path)
    before = {name: getattr(monitor, name, None) for name in ("monitor", "strict", "save_top_k", "mode")}
    trainer, told = fitted(tmp_path, monitor, energy_callback(meters=Dead()), val_check_interval=every)
    assert trainer.current_epoch == 3
    assert [text for text in told if type(monitor).__name__ in text and monitor.monitor in text] == told[:1] != []
    assert not [*tmp_path.glob("*.ckpt")]
    assert {name: getattr(monitor, name, None) for name in before} == before


@pytest.mark.parametrize("what", OWN)
def test_no_monitor_of_ones_own_ends_a_training_whose_energy_is_unknown(tmp_path, what):
    monitor = OWN[what](tmp_path)
    before = {**vars(monitor)}
    trainer, told = fitted(tmp_path, monitor, energy_callback(meters=Dead()))
    assert trainer.current_epoch == 3
    assert len([text for text in told if type(monitor).__name__ in text and SCORE in text]) == 1
    assert {name: value for name, value in vars(monitor).items() if name.startswith("on_")} == {
        name: value for name, value in before.items() if name.startswith("on_")
    }


def test_a_checkpoint_of_ones_own_acts_once_there_is_a_score_and_its_own_faults_end_the_training(tmp_path):
    own = OwnCheckpoint(tmp_path)
    _, told = fitted(tmp_path, own, energy_callback())
    assert told == []
    assert own.seen == 4  # the sanity check's, too
    assert own.best is not None
    assert (tmp_path / "own.ckpt").exists()
    faulty = OwnCheckpoint(tmp_path / "there is no such \0 folder")
    with pytest.raises(ValueError, match="null byte"):
        fitted(tmp_path, faulty, energy_callback())


def test_a_learning_rate_that_follows_the_score_waits_for_one(tmp_path):
    module = Planned()
    trainer, told = fitted(tmp_path, energy_callback(meters=Dead()), module=module, enable_model_summary=False)
    assert trainer.current_epoch == 3
    assert len(told) == 1
    assert "ReduceLROnPlateau" in told[0]
    assert trainer.lr_scheduler_configs[0].strict


def test_once_there_is_a_score_monitors_act_by_it(tmp_path):
    meter = Dead()

    class Revive(Callback):
        def on_train_epoch_start(self, trainer, pl_module) -> None:
            meter.is_dead = trainer.current_epoch < 1

        def on_train_batch_end(self, *args) -> None:
            if not meter.is_dead:
                books = energy._run.books.session
                books._sampler.wait_until_known(books.ledger.books[0].curve.end_ns + 1, 60.0)

    energy = energy_callback(meters=meter)
    checkpoint, stopping = MONITORS["a checkpoint"](tmp_path), EarlyStopping(SCORE, mode="max", patience=9)
    trainer, _ = fitted(tmp_path, checkpoint, stopping, energy, Revive())
    assert trainer.current_epoch == 3
    assert [row["score"] is None for row in energy.history] == [True, False, False]
    assert checkpoint.best_model_score == stopping.best_score == max(row["score"] or 0.0 for row in energy.history)
    assert checkpoint.save_top_k == 1
    assert stopping.strict


def test_a_name_that_is_none_of_ours_is_lightnings_business(tmp_path):
    stopping = EarlyStopping("energy/scroe", mode="max")
    trainer = make_trainer(tmp_path, callbacks=[stopping, energy_callback()])
    with pytest.raises(RuntimeError, match="scroe"):
        trainer.fit(Classifier(), loader(8), loader(8))


class OwnNames(Classifier):
    """Logs names of its own under our prefix, one in each hook that may."""

    def training_step(self, batch, batch_idx):
        self.log("energy/in_step", 1.0, on_step=True, on_epoch=True)
        self.log("energy/of_epoch", 1.0, on_step=False, on_epoch=True)
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        super().validation_step(batch, batch_idx)
        self.log("energy/of_val", 1.0, batch_size=1)

    def on_train_epoch_end(self) -> None:
        self.log("energy/at_end", 1.0)


def told_of_names(tmp_path, *names, module=None, **kwargs):
    stops = [EarlyStopping(name, mode="max", patience=99, strict=False) for name in names]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer = make_trainer(tmp_path, callbacks=[*stops, energy_callback()], **kwargs)
        trainer.fit(module or Classifier(), loader(16), loader(8))
    return [str(w.message) for w in caught if "is no name that EnergyCallback logs" in str(w.message)]


@pytest.mark.parametrize(
    "length",
    [
        {"max_epochs": 3},
        {"max_epochs": 1},
        {"max_epochs": 4, "check_val_every_n_epoch": 2},
        {"max_epochs": 2, "limit_val_batches": 0},
        {"max_epochs": 2, "val_check_interval": 0.5},
        {"fast_dev_run": True},
    ],
)
def test_a_typo_that_strict_hides_is_told_once_and_names_of_the_users_own_are_not(tmp_path, length):
    told = told_of_names(tmp_path, "energy/scor", **length)
    problem = "EnergyCallback: monitor='energy/scor' of EarlyStopping is no name that EnergyCallback logs"
    assert told == [f"{problem}, and nothing else has logged it so far. Did you mean 'energy/score'?"]
    own = ["energy/in_step", "energy/in_step_step", "energy/in_step_epoch", "energy/of_epoch", "energy/at_end"]
    of_val = [] if "limit_val_batches" in length else ["energy/of_val"]
    assert told_of_names(tmp_path, *own, *of_val, SCORE, "energy/cost", module=OwnNames(), **length) == []


def test_a_typo_is_told_within_a_long_epoch(tmp_path):
    seen = []

    class Look(Callback):
        def on_validation_end(self, trainer, pl_module) -> None:
            seen.append(len([w for w in caught if "Did you mean 'energy/score'?" in str(w.message)]))

    stopping = EarlyStopping("energy/scor", mode="max", strict=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        callbacks = [energy_callback(), stopping, Look()]
        trainer = make_trainer(tmp_path, callbacks=callbacks, max_epochs=1, val_check_interval=1)
        trainer.fit(Classifier(), loader(16), loader(8))
    assert seen == [0, 0, 1, 1, 1]  # the sanity check's, then four of one epoch


class Losses(Classifier):
    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        self.log("val_loss", 0.8, batch_size=1)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (
            {},
            (
                "no accuracy was logged, only 'val_loss'. Give a score of your own with "
                "EnergyCallback(metric='val_loss', mode='min', score=…), a function of (value, energy_kwh)"
            ),
        ),
        (
            {"metric": "val_loss", "mode": "min"},
            (
                "val_loss is no accuracy (the less, the better). Its values over the energy are logged and kept. Give "
                "a score of your own with EnergyCallback(score=…), a function of (value, energy_kwh)"
            ),
        ),
    ],
)
def test_a_stopping_that_waits_for_a_score_of_losses_is_told_once_what_would_let_it_stop(tmp_path, settings, reason):
    energy = energy_callback(reference_kwh="run", **settings)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        stopping = EarlyStopping(SCORE, mode="max", strict=False)
        make_trainer(tmp_path, callbacks=[energy, stopping]).fit(Losses(), loader(8), loader(8))
    told = [str(w.message) for w in caught if "no energy/score" in str(w.message)]
    cure = f"{reason}, or let EarlyStopping monitor 'val_loss' with mode='min'"
    problem = "EnergyCallback: EarlyStopping can do nothing while there is no energy/score"
    assert told == [f"{problem}, as {cure}. The training goes on, and it waits for a score"]
    assert energy.report.no_score == reason


def test_the_cure_brings_a_score(tmp_path):
    energy = energy_callback(metric="val_loss", mode="min", score=lambda loss, kwh: -loss * kwh)
    _, told = fitted(tmp_path, energy, EarlyStopping(SCORE, mode="max", strict=False), module=Losses())
    assert told == []
    assert energy.report.score is not None
