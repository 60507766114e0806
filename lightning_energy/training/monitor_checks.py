"""Warnings about monitors of the score that would not do what their user expects."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from lightning_energy.scores.formula import EnergyPenalized
from lightning_energy.training import log_keys
from lightning_energy.training.lightning_private import is_early_stopping, is_monitor

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

    from lightning_energy.scores.choice import ScoreRule

__all__ = [
    "advice_on_absence",
    "advice_on_direction",
    "advice_on_names",
    "advice_on_reference",
    "forecast_kwh",
    "monitors_of",
    "name_of",
    "plans_of",
    "waiting_for_score",
]

FAR_BELOW = 100.0
"""Ratio of the reference to an energy that it penalizes by 0.4 %: ``log10(1 + 1 / 100)``."""

PREFIXES = tuple({f"{key.name.partition('/')[0]}/": None for key in log_keys.ALL})
NEAR = 0.85  # likeness of a mistyped name; names with a prefix in common are alike by 0.7 already


def monitors_of(trainer: Trainer, *keys: str) -> list[Any]:
    """The callbacks of a Trainer that monitor one of these logged names; by default the score."""
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]  # set by a connector
    of_keys = (c for c in callbacks if is_monitor(c) and getattr(c, "monitor", None) in (keys or (log_keys.SCORE,)))
    return [c for c in of_keys if hasattr(c, "mode")]


def plans_of(trainer: Trainer, *keys: str) -> list[Any]:
    """The configurations of learning rate schedulers that follow one of these logged names."""
    plans = getattr(trainer, "lr_scheduler_configs", ())
    return [plan for plan in plans if plan.reduce_on_plateau and plan.monitor in keys]


def name_of(monitor: Any) -> str:
    """The name of a monitor's class; of a plan's, that of its scheduler."""
    return type(getattr(monitor, "scheduler", monitor)).__name__


def advice_on_direction(trainer: Trainer, rule: ScoreRule) -> str:
    """A warning about monitors that take the lowest score for the best; empty where there is none.

    A score of the user's own may be better the lower it is.
    """
    if rule.formula is None:
        return ""
    wrong = [type(c).__name__ for c in monitors_of(trainer) if c.mode == "min"]
    if not wrong:
        return ""
    return (
        f"mode='min', Lightning's default, of {' and '.join(wrong)} takes the lowest {log_keys.SCORE} for the best, "
        f"but it is better the higher it is: give mode='max'"
    )


def waiting_for_score(trainer: Trainer) -> list[Any]:
    """All that can do nothing without a score: monitors of it, and learning rates that follow it."""
    return [*monitors_of(trainer), *plans_of(trainer, log_keys.SCORE)]


def advice_on_absence(trainer: Trainer, why: str, instead: tuple[str, str] | None = None) -> str:
    """A warning about monitors of a score that there is not; empty where nothing monitors it.

    Args:
        trainer: the Trainer.
        why: the reason why there is no score; empty where none was asked for.
        instead: name and mode of a logged metric without a score, to be monitored itself; ``None`` without one.
    """
    waiting = waiting_for_score(trainer)
    if not waiting:
        return ""
    names = [*dict.fromkeys(map(name_of, waiting))]
    who, because = " and ".join(names), why or "score=None asks for none"
    other = "" if instead is None else f", or let {who} monitor {instead[0]!r} with mode={instead[1]!r}"
    they_wait = "they wait" if len(names) > 1 else "it waits"
    saves = any(is_monitor(monitor) and not is_early_stopping(monitor) for monitor in waiting)
    for_checkpoints = ". For checkpoints in any case, add a ModelCheckpoint() without a monitor" if saves else ""
    return (
        f"{who} can do nothing while there is no {log_keys.SCORE}, as {because}{other}. The training goes on, and "
        f"{they_wait} for a score{for_checkpoints}"
    )


def advice_on_names(trainer: Trainer, *, may_follow: bool = False) -> list[str]:
    """Warnings about monitors of names like ours that are none of ours, and that nothing else has logged either.

    A user may log names under our prefixes, so that a typo shows only once all have had the time to log theirs.

    Args:
        trainer: the Trainer.
        may_follow: whether the values of an epoch of training may still follow: only what looks like a typo is told.
    """
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]  # set by a connector
    absent: dict[str, list[str]] = {}
    for monitor in filter(is_monitor, callbacks):
        name = getattr(monitor, "monitor", None)
        if isinstance(name, str) and name not in log_keys.NAMES and name not in trainer.callback_metrics:
            absent.setdefault(name, []).append(name_of(monitor))
    if not absent:
        return []
    ours = [key.name for key in log_keys.ALL]
    logged = ", ".join(repr(name) for name in ours if name in trainer.callback_metrics)
    texts = []
    for name, who in absent.items():
        near = difflib.get_close_matches(name, ours, 1, NEAR)
        if near or (name.startswith(PREFIXES) and not may_follow):
            cure = f"Did you mean {near[0]!r}?" if near else f"Give one that is logged{logged and f': {logged}'}"
            of = " and ".join(dict.fromkeys(who))
            text = (
                f"monitor={name!r} of {of} is no name that EnergyCallback logs, and nothing else has logged it so far"
            )
            texts.append(f"{text}. {cure}")
    return texts


def forecast_kwh(trainer: Trainer, spent_kwh: float, epochs: int) -> float | None:
    """The energy of the whole training if it goes on as it began; ``None`` where its length is not known.

    Args:
        trainer: the Trainer.
        spent_kwh: energy of the training so far.
        epochs: number of epochs that took it.
    """
    shares = []
    if trainer.max_epochs is not None and trainer.max_epochs > 0:
        shares.append(epochs / trainer.max_epochs)
    if trainer.max_steps > 0 and trainer.global_step > 0:
        shares.append(trainer.global_step / trainer.max_steps)
    return spent_kwh / min(max(shares), 1.0) if shares else None


def advice_on_reference(trainer: Trainer, rule: ScoreRule, spent_kwh: float | None, epochs: int) -> str:
    """A warning about a score that ignores the energy of this run, if something monitors it; empty where it does not.

    Args:
        trainer: the Trainer.
        rule: the score.
        spent_kwh: energy of the training so far; ``None`` unknown.
        epochs: number of epochs that took it.

    Returns:
        A sentence with a reference at which the penalty is felt.
    """
    if trainer.fast_dev_run:  # type: ignore[attr-defined]  # set by a connector
        return ""  # a batch or two tell nothing of a training
    if not spent_kwh or not isinstance(rule.formula, EnergyPenalized) or not monitors_of(trainer):
        return ""
    kwh, reference_kwh = forecast_kwh(trainer, spent_kwh, epochs), rule.reference_kwh
    if kwh is None or reference_kwh is None or kwh >= reference_kwh / FAR_BELOW:
        return ""
    penalty = rule.formula.penalty(kwh) - 1.0
    return (
        f"this training will spend about {kwh:.2g} kWh, far less than the {reference_kwh:g} kWh of the score's "
        f"reference: its penalty stays below {100 * penalty:.1g} %, so {log_keys.SCORE} follows the accuracy alone, "
        f"and whatever monitors it never stops for the energy. Give EnergyCallback(reference_kwh={kwh:.1g}), or "
        f"reference_kwh='run' to take this run's own scale"
    )
