"""Ranks whose environment adds an EnergyCallback, and others: our collectives must wait for none that has none."""

from __future__ import annotations

import time
from itertools import count
from typing import TYPE_CHECKING, Any

from lightning_energy.training.lightning_private import collective_s, store_of_ranks

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

__all__ = ["is_on_all_ranks"]

LONGEST_S = 300.0  # time for which ranks wait for each other: they may prepare their data differently fast
PART = 0.5  # of the time for which other ranks wait in a collective of their own
LOOK_S = 0.05  # time between two looks
KEY = "lightning_energy/added"
_setups = count()  # of callbacks that were added, in this process; the same on all ranks that have them
_differ: list[bool] = []  # holds True once ranks were found to differ: nobody is waited for again


def is_on_all_ranks(trainer: Trainer) -> bool:
    """Find out whether all ranks have an EnergyCallback that their environment added. Those that have one all ask.

    Ranks that have none are in a collective of the training's meanwhile, and go on when this returns. What is found
    is found by all: the first that knows it says so for good.
    """
    store = store_of_ranks() if trainer.world_size > 1 else None
    if store is None:
        return True
    if not _differ:
        try:
            if not _are_all(store, trainer):
                _differ.append(True)
        except Exception:  # noqa: BLE001 - a store of a kind that cannot tell, on all ranks
            return True
    return not _differ


def _are_all(store: Any, trainer: Trainer) -> bool:
    place = f"{KEY}/{next(_setups)}"
    store.set(f"{place}/{trainer.global_rank}", "1")
    ranks = [f"{place}/{rank}" for rank in range(trainer.world_size)]
    end_s = time.monotonic() + min(LONGEST_S, PART * collective_s(trainer))
    while not (are_there := store.check(ranks)) and not store.check([place]) and time.monotonic() < end_s:
        time.sleep(LOOK_S)
    found: bytes = store.compare_set(place, "", "all" if are_there else "some")
    return found == b"all"
