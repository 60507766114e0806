"""The question whether a Trainer is in a ``fit``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

__all__ = ["is_fitting"]

FITTING = {"fit", "TrainerFn.FITTING"}  # texts of Lightning's state, which differ over versions of Python


def is_fitting(trainer: Trainer) -> bool:
    """True while the Trainer is in a ``fit``."""
    return str(trainer.state.fn) in FITTING
