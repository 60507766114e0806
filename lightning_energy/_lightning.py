"""The private parts of Lightning that cannot be avoided, all of them, each with its reason.

``tests/test_lightning_private.py`` fails when one of them changes.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from lightning.pytorch.callbacks import BatchSizeFinder, Checkpoint, EarlyStopping, LearningRateFinder

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

__all__ = ["ends_without", "is_finder", "is_monitor", "logger_step"]


def logger_step(trainer: Trainer) -> int:
    """The step that Lightning itself gives its loggers now.

    There is no public name for it: ``global_step`` counts every optimizer's steps. Lightning's own monitors
    (LearningRateMonitor, DeviceStatsMonitor) read this name, too.
    """
    return trainer.fit_loop.epoch_loop._batches_that_stepped  # noqa: SLF001 - the reason stands above


def is_monitor(callback: Any) -> bool:
    """Whether a callback stops or saves by a monitored value, of either of Lightning's two packages."""
    return isinstance(callback, (EarlyStopping, Checkpoint, *_twins("EarlyStopping", "Checkpoint")))


def ends_without(callback: Any, key: str) -> bool:
    """Whether a callback ends the run when ``key`` is not there: a checkpoint on it, or a strict early stopping."""
    return is_monitor(callback) and callback.monitor == key and getattr(callback, "strict", True)


def is_finder(callback: Any) -> bool:
    """Whether a callback searches for a learning rate or batch size, of either of Lightning's two packages."""
    twins = _twins("LearningRateFinder", "BatchSizeFinder")
    return isinstance(callback, (LearningRateFinder, BatchSizeFinder, *twins))


def _twins(*names: str) -> tuple[type, ...]:
    """The classes of ``pytorch_lightning`` are not those of ``lightning.pytorch``.

    They are looked up without importing a package that nobody uses.
    """
    twin = sys.modules.get("pytorch_lightning.callbacks")
    return tuple(getattr(twin, name) for name in names) if twin else ()
