"""The place of the checkpoint that a budget leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightning_energy.meters.handlers import raised_by_handler
from lightning_energy.training.lightning_private import is_checkpoint

if TYPE_CHECKING:
    from lightning.pytorch import Trainer
    from lightning.pytorch.callbacks import ModelCheckpoint

    from lightning_energy.training.error_guard import Warn

__all__ = ["free_path", "leave_checkpoint"]


def leave_checkpoint(trainer: Trainer, name: str, warn: Warn) -> None:
    """Save a checkpoint in the folder of the first ModelCheckpoint; without one, none. All ranks take part.

    Where it cannot be written, a warning says so, and the training is not ended by that. Of several ranks it is: those
    that saved their part wait for this one.

    Args:
        trainer: the Trainer.
        name: the name of the file, where no other has it.
        warn: takes a topic's first warning.
    """
    first = next((c for c in trainer.callbacks if is_checkpoint(c) and c.dirpath), None)  # type: ignore[attr-defined]
    if first is None or trainer.fast_dev_run:  # type: ignore[attr-defined]  # set by a connector, both
        return
    path = free_path(first, trainer, name)
    try:
        trainer.save_checkpoint(path)
    except Exception as error:
        if trainer.world_size > 1 or raised_by_handler(error):
            raise
        warn(
            "checkpoint",
            f"EnergyBudget: {path} cannot be written ({type(error).__name__}: {error}): the end of this training is in "
            f"no checkpoint but your own. Give ModelCheckpoint a folder with room",
        )


def free_path(checkpoints: ModelCheckpoint, trainer: Trainer, name: str) -> str:
    """A path in the folder of a ModelCheckpoint that no file has: another name where it exists, as Lightning's own.

    All ranks take part, and come to the same one.

    Args:
        checkpoints: the callback; it has a folder.
        trainer: the Trainer.
        name: the name of the file; with ``-v1`` before its ending where it exists, ``-v2`` where that does, too.
    """
    stem, _, ending = f"{checkpoints.dirpath}/{name}".rpartition(".")
    path, version = f"{stem}.{ending}", 0
    while checkpoints.file_exists(path, trainer):
        version += 1
        path = f"{stem}-v{version}.{ending}"
    return path
