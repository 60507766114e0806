"""The sources of a Trainer's batches, by stage."""

from __future__ import annotations

import inspect
import weakref
from typing import TYPE_CHECKING, Any, NamedTuple

from lightning_energy.ledger.batch_source import Source
from lightning_energy.training.lightning_private import gives_together, keeps_batches, loader_at_work

if TYPE_CHECKING:
    from collections.abc import Callable

    from lightning.pytorch import Trainer

__all__ = ["sources_of"]


class OfStage(NamedTuple):
    """The names of a stage in Lightning.

    Attributes:
        loaders: an attribute of the Trainer.
        step: a method of the module.
        loop: an attribute of the Trainer.
    """

    loaders: str
    step: str
    loop: str


STAGES = {
    "train": OfStage("train_dataloader", "training_step", "fit_loop"),
    "validate": OfStage("val_dataloaders", "validation_step", "validate_loop"),
    "test": OfStage("test_dataloaders", "test_step", "test_loop"),
    "predict": OfStage("predict_dataloaders", "predict_step", "predict_loop"),
}


def sources_of(trainer: Trainer) -> Callable[[str], Source]:
    """Make a function that gives the source of a stage's batches; it does not keep the Trainer alive."""
    weak = weakref.ref(trainer)
    handling: dict[str, tuple[bool, bool]] = {}  # by stage; the modules of a run do not change

    def of(stage: str) -> Source:
        strong = weak()
        if strong is None or stage not in STAGES:
            return Source()
        if stage not in handling:
            handling[stage] = _handling(strong, STAGES[stage].step)
        loaders, _step, loop = STAGES[stage]
        together, at_work = gives_together(strong, loop), loader_at_work(strong, loop)
        return Source(getattr(strong, loaders), *handling[stage], is_together=together, at_work=at_work)

    return of


def _handling(trainer: Trainer, step: str) -> tuple[bool, bool]:
    """Two facts: batches may be changed before a step; it takes them itself."""
    module, data = trainer.lightning_module, trainer.datamodule  # type: ignore[attr-defined]  # set by a connector
    is_kept = keeps_batches(module) and (data is None or keeps_batches(data))
    return not is_kept, _takes_batches(getattr(module, step, None))


def _takes_batches(step: Any) -> bool:
    """True for a step that is given an iterator, of which Lightning knows by the name of the argument."""
    try:
        return "dataloader_iter" in inspect.signature(step).parameters
    except (TypeError, ValueError):  # none, or one that Python cannot tell the arguments of
        return False
