"""The bare Trainer that benchmarks measure in: nothing is shown, nothing is checkpointed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import lightning as L
import torch
from torch.utils.data import DataLoader, TensorDataset

if TYPE_CHECKING:
    from collections.abc import Sequence

CPU = torch.device("cpu")


def bare_trainer(folder: str, callbacks: Sequence[L.Callback], device: torch.device = CPU, **kwargs: Any) -> L.Trainer:
    """Make a Trainer on one device."""
    place = {"accelerator": "gpu", "devices": [device.index or 0]} if device.type == "cuda" else {"accelerator": "cpu"}
    return L.Trainer(
        **{"devices": 1, **place},
        default_root_dir=folder,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[*callbacks],
        **kwargs,
    )


def batches(steps: int) -> DataLoader:
    """As many batches as steps, with nothing in them."""
    return DataLoader(TensorDataset(torch.zeros(steps, 1)), batch_size=1)


def wait(device: torch.device) -> None:
    """Wait until the device has done all that was issued."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
