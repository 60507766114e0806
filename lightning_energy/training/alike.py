"""Settings of all ranks: those that decide what ranks tell each other are rank zero's."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lightning_energy.training.error_guard import warn_here

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lightning.pytorch import Trainer

    from lightning_energy.scores.choice import ScoreSetting
    from lightning_energy.training.error_guard import Warn
    from lightning_energy.training.settings import Settings

__all__ = ["as_on_rank_zero"]

DIFFER = "EnergyCallback has other settings on rank zero, which count on all ranks: "
OF_METRIC = ("metric", "accuracy", "mode", "scale")
PLAIN = (*OF_METRIC, "carbon_intensity", "pue", "price", "log_uncertainty", "phases")
"""Settings that ranks can send to each other."""
A_FUNCTION = "a function"  # stands for a score that cannot be sent


def as_on_rank_zero(trainer: Trainer, settings: Settings, warn: Warn) -> Settings:
    """The settings of this rank, as far as ranks must agree those of rank zero. All ranks take part.

    Ranks with other numbers in a reduction end the training, or take each other's numbers for something else.

    Args:
        trainer: the Trainer.
        settings: those of this rank.
        warn: told of on the rank whose settings were others.
    """
    if trainer.world_size == 1:
        return settings
    score = settings.score if settings.score is None or isinstance(settings.score, str) else A_FUNCTION
    mine = {**{name: getattr(settings, name) for name in PLAIN}, "per": [*(settings.per or ())], "score": score}
    plain: Mapping[str, Any] = trainer.strategy.broadcast(mine)
    names = [name for name, value in plain.items() if value != mine[name]]
    if not names:
        return settings
    warn_here(warn, f"{DIFFER}{', '.join(names)}")
    own = settings.per or {}
    per = {name: own.get(name, _is_not_there) for name in plain["per"]}
    of_rank_zero: ScoreSetting = _known_on_rank_zero if score != A_FUNCTION else settings.score
    score_here = of_rank_zero if plain["score"] == A_FUNCTION else plain["score"]
    return replace(settings, **{name: plain[name] for name in PLAIN}, score=score_here, per=per or None)


def _known_on_rank_zero(_quality: float, _energy_kwh: float) -> float:
    """Stand for a function that cannot be sent: the score is rank zero's."""
    return math.nan


def _is_not_there(_batch: Any) -> int:
    raise LookupError("this rank was given no function for it")
