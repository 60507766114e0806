"""The place of EnergyCallback among the Trainer's callbacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightning_energy.training.lightning_private import is_monitor

if TYPE_CHECKING:
    from lightning.pytorch import Callback, Trainer

__all__ = ["stand_before_monitors"]


def stand_before_monitors(callback: Callback, trainer: Trainer) -> None:
    """Move a callback before the first EarlyStopping or ModelCheckpoint, which must find its score.

    A new list is assigned: Lightning may be iterating over the old one.
    """
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]  # set by a connector
    mine = next((i for i, c in enumerate(callbacks) if c is callback), None)
    first = next((i for i, c in enumerate(callbacks) if is_monitor(c)), None)
    if mine is None or first is None or mine < first:
        return
    others = [c for c in callbacks if c is not callback]
    trainer.callbacks = [*others[:first], callback, *others[first:]]  # type: ignore[attr-defined]
