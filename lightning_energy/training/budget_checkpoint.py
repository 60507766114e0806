"""The place of the checkpoint that a budget leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightning.pytorch import Trainer
    from lightning.pytorch.callbacks import ModelCheckpoint

__all__ = ["free_path"]


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
