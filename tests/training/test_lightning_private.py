"""The private parts of Lightning that we use are still what we take them for."""

from __future__ import annotations

import ast
from datetime import timedelta
from inspect import signature
from pathlib import Path

import lightning as L
import pytest
import torch.distributed as dist
from lightning.pytorch.callbacks import (
    BatchSizeFinder,
    Checkpoint,
    EarlyStopping,
    LearningRateFinder,
    ModelCheckpoint,
    RichModelSummary,
    Timer,
)
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import lightning_energy
from lightning_energy.training.lightning_private import (
    called_in,
    collective_s,
    is_finder,
    is_logger,
    is_monitor,
    is_summary,
    keeps_batches,
    logged_hyperparameters,
    logged_name,
    logger_step,
    saving,
    store_of_ranks,
    writes_hparams,
)
from tests.modules import Classifier, MemoryLogger, loader, make_trainer


def test_logger_step_is_the_step_of_lightnings_own_points(tmp_path):
    seen = []

    class Spy(L.Callback):
        def on_train_batch_end(self, trainer, *args) -> None:
            seen.append(logger_step(trainer))

    class Logs(Classifier):
        def training_step(self, batch, batch_idx):
            loss = super().training_step(batch, batch_idx)
            self.log("loss", loss)
            return loss

    logger = MemoryLogger()
    trainer = make_trainer(tmp_path, max_epochs=2, logger=logger, log_every_n_steps=1, callbacks=[Spy()])
    trainer.fit(Logs(), loader(), loader(8))
    assert seen == [step for step, _ in logger.points("loss")] == list(range(16))


def test_monitors_of_both_packages():
    import pytorch_lightning as pl

    for callback in (
        EarlyStopping("x"),
        ModelCheckpoint(),
        pl.callbacks.EarlyStopping("x"),
        pl.callbacks.ModelCheckpoint(),
    ):
        assert is_monitor(callback)
    assert issubclass(ModelCheckpoint, Checkpoint)
    assert not is_monitor(Timer())
    for finder in (LearningRateFinder, BatchSizeFinder, pl.callbacks.LearningRateFinder, pl.callbacks.BatchSizeFinder):
        assert is_finder(finder())
    assert not is_finder(Timer())
    for summary in (RichModelSummary(), pl.callbacks.ModelSummary()):
        assert is_summary(summary)
    assert not is_summary(Timer())


def test_hooks_around_the_copy_of_both_packages():
    import pytorch_lightning as pl

    for of in (L.LightningModule, L.LightningDataModule, pl.LightningModule, pl.LightningDataModule):
        owner = of()
        assert keeps_batches(owner)
        owner.on_after_batch_transfer = lambda batch, dataloader_idx: batch
        assert not keeps_batches(owner)
        changing = type("Changing", (of,), {"on_before_batch_transfer": lambda self, batch, dataloader_idx: batch})
        assert not keeps_batches(changing())


def test_loggers_of_both_packages(tmp_path):
    import pytorch_lightning as pl

    for package in (L.pytorch, pl):
        assert is_logger(package.loggers.TensorBoardLogger(tmp_path), "TensorBoardLogger")
        assert not is_logger(package.loggers.CSVLogger(tmp_path), "TensorBoardLogger")
    assert not is_logger(MemoryLogger(), "TensorBoardLogger")


@pytest.mark.parametrize("prefix", ["", "night"])
def test_a_loggers_prefix_is_part_of_the_name(tmp_path, prefix):
    logger = CSVLogger(tmp_path, prefix=prefix)
    logger.log_metrics({"energy/score": 1.0}, step=0)
    logger.save()
    header = Path(logger.log_dir, "metrics.csv").read_text().splitlines()[0]
    assert logged_name(logger, "energy/score") in header.split(",")


@pytest.mark.parametrize("own", [True, False])
def test_who_writes_hparams(tmp_path, own):
    logger = TensorBoardLogger(tmp_path, default_hp_metric=own)
    assert writes_hparams(logger) == own
    logger.log_hyperparams({"lr": 0.1})
    events = EventAccumulator(logger.log_dir)
    logger.finalize("success")
    assert (Path(logger.log_dir).is_dir() and "hp_metric" in events.Reload().Tags()["scalars"]) == own


@pytest.mark.parametrize("logged", [True, False])
@pytest.mark.parametrize("autolog", [True, False])
def test_hyperparameters_that_lightning_gives_its_loggers(tmp_path, logged, autolog):
    class Module(Classifier):
        def __init__(self, width: int = 3) -> None:
            super().__init__()
            self.save_hyperparameters(logger=logged)

    class Data(L.LightningDataModule):
        def __init__(self, size: int = 8) -> None:
            super().__init__()
            self.save_hyperparameters(logger=logged)

        def train_dataloader(self):
            return loader()

        def val_dataloader(self):
            return loader(8)

    class Logger(MemoryLogger):
        given = None

        def log_hyperparams(self, params) -> None:
            self.given = params

    logger = Logger()
    if not autolog and "enable_autolog_hparams" not in signature(L.Trainer).parameters:
        pytest.skip("this Lightning always logs hyperparameters")
    settings = {} if autolog else {"enable_autolog_hparams": False}
    trainer = make_trainer(tmp_path, max_epochs=1, logger=logger, **settings)
    trainer.fit(Module(), datamodule=Data())
    assert logged_hyperparameters(trainer) == logger.given
    assert (logger.given == {"width": 3, "size": 8}) == (logged and autolog)


def test_two_functions_are_known_while_they_work():
    """By the names that Lightning has for them, in either of its packages."""
    from lightning.fabric.utilities import registry
    from lightning.pytorch.trainer.connectors import callback_connector

    assert callable(registry._load_external_callbacks)
    assert callable(callback_connector._validate_callbacks_list)
    seen = []

    class Seen(L.Callback):
        def state_dict(self) -> dict:
            return {}

        @property
        def state_key(self) -> str:
            seen.append((called_in("_validate_callbacks_list"), called_in("_load_external_callbacks")))
            return "seen"

    callback_connector._validate_callbacks_list([Seen()])
    assert {*seen} == {(True, False)}

    def _validate_callbacks_list():  # somebody else's
        return called_in("_validate_callbacks_list")

    assert not _validate_callbacks_list()


def test_who_saves_a_checkpoint_and_where_is_known_while_states_are_asked_for(tmp_path):
    class Asks(L.Callback):
        seen = ()

        def state_dict(self) -> dict:
            self.seen = (*self.seen, saving())
            return {}

    asks = Asks()
    trainer = make_trainer(tmp_path, max_epochs=1, callbacks=[asks])
    trainer.fit(Classifier(), loader(8), loader(8))
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    asks.state_dict()

    def save_checkpoint(filepath):  # somebody else's
        return saving()

    assert save_checkpoint("b.ckpt") == (None, None)
    assert asks.seen == ((trainer, tmp_path / "a.ckpt"), (None, None))


@pytest.mark.slow
def test_private_names_stand_in_one_place():
    """``something._name`` of foreign objects occurs in ``lightning_private.py`` alone."""
    for path in Path(lightning_energy.__file__).parent.rglob("*.py"):
        if path.name == "lightning_private.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
                owner = ast.unparse(node.value)
                assert not owner.startswith(("trainer", "pl_module", "torch", "L.")), (
                    f"{path.name}: {owner}.{node.attr}"
                )


def test_the_time_of_a_collective_and_the_store_of_the_ranks(tmp_path):
    assert collective_s(make_trainer(tmp_path)) == 1800
    strategy = L.pytorch.strategies.DDPStrategy(timeout=timedelta(seconds=30))
    assert collective_s(make_trainer(tmp_path, strategy=strategy)) == 30
    assert store_of_ranks() is None
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        store = store_of_ranks()
        assert store.compare_set("lightning_energy", "", "one") == b"one"
        assert store.compare_set("lightning_energy", "", "two") == b"one"
        assert store.check(["lightning_energy"])
        assert not store.check(["lightning_energy", "none"])
    finally:
        dist.destroy_process_group()
