"""The seeds of a run: that of Lightning's ``seed_everything``, and those among its hyperparameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning_energy.results.record import Record

__all__ = ["SEEDS", "global_seed_of", "seed_among"]

SEEDS = ("seed", "random_seed", "random_state", "global_seed")
"""Hyperparameters that name the seed of a run."""


def seed_among(hyperparameters: Mapping[str, Any]) -> int | None:
    """The seed that hyperparameters name, which may be that of a split of the data alone; ``None``: they name none.

    Args:
        hyperparameters: those of a run, in plain types.

    Example:
        >>> seed_among({"seed": 3, "lr": 0.1})
        3
    """
    for name in SEEDS:
        value = hyperparameters.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
    return None


def global_seed_of(record: Record) -> int | None:
    """The seed of Lightning's ``seed_everything`` that a record has; ``None`` unknown.

    Earlier releases kept one seed alone: it is this one where the hyperparameters name none.

    Args:
        record: the record.
    """
    if record.global_seed is not None:
        return record.global_seed
    own = record.what.get("hyperparameters")
    is_own = isinstance(own, Mapping) and seed_among(own) is not None
    return None if is_own else record.seed
