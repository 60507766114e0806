"""The private parts of Lightning that we use are still what we take them for."""

from __future__ import annotations

import ast
from pathlib import Path

import lightning as L
from lightning.pytorch.callbacks import (
    BatchSizeFinder,
    Checkpoint,
    EarlyStopping,
    LearningRateFinder,
    ModelCheckpoint,
    Timer,
)

import lightning_energy
from lightning_energy._lightning import is_finder, is_monitor, logger_step
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


def test_private_names_stand_in_one_place():
    """``something._name`` of foreign objects occurs in ``_lightning.py`` alone."""
    for path in Path(lightning_energy.__file__).parent.rglob("*.py"):
        if path.name == "_lightning.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
                owner = ast.unparse(node.value)
                assert not owner.startswith(("trainer", "pl_module", "torch", "L.")), (
                    f"{path.name}: {owner}.{node.attr}"
                )
