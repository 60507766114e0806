"""The withdrawal of scores that turn out to be wrong: from the history, from callback metrics, from monitors."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from lightning_energy.training import log_keys
from lightning_energy.training.lightning_private import is_checkpoint
from lightning_energy.training.monitor_checks import monitors_of

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

    from lightning_energy.training.run_memory import RunMemory

__all__ = ["forget_best", "withdraw_scores"]


def withdraw_scores(trainer: Trainer, memory: RunMemory) -> str:
    """Withdraw the scores that this run has had so far, as the accuracy turned out to be a percentage.

    Monitors of the score and of the accuracy begin anew. Points that loggers have drawn stay where they are.

    Returns:
        The files that monitors saved by them, in a sentence; empty where there are none.
    """
    memory.history = [replace(row, score=None) for row in memory.history]
    monitors = monitors_of(trainer, log_keys.SCORE, log_keys.ACCURACY)
    left = [file for callback in monitors for file in forget_best(callback)]
    return f" Checkpoints that were chosen by them stay on disk: {', '.join(left)}." if left else ""


def forget_best(monitor: Any) -> list[str]:
    """Let an EarlyStopping or a ModelCheckpoint begin anew, through its public attributes.

    Returns:
        The files that a ModelCheckpoint saved as the best, which stay on disk.
    """
    worst = torch.tensor(-torch.inf if monitor.mode == "max" else torch.inf)
    if not is_checkpoint(monitor):
        monitor.best_score, monitor.wait_count = worst, 0
        return []
    left = [*dict.fromkeys(file for file in (*monitor.best_k_models, monitor.best_model_path) if file)]
    monitor.best_k_models, monitor.kth_best_model_path, monitor.kth_value = {}, "", worst
    monitor.best_model_path, monitor.best_model_score = "", None
    return left
