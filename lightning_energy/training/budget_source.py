"""The joules that a budget is about: those of an EnergyCallback of the Trainer, or of a session of its own."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from lightning_energy.training.callback_base import CallbackBase
from lightning_energy.training.spent_joules import SpentJoules

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

    from lightning_energy.ledger.ranks import Ranks
    from lightning_energy.ledger.session import Session
    from lightning_energy.training.rank_books import RankBooks

__all__ = ["Source", "problem_of", "source_of"]


class Source(NamedTuple):
    """The joules that a budget is about.

    Attributes:
        joules: this rank's joules in this session; ``None`` where nobody measures.
        before_j: joules before it that an EnergyCallback knows.
        of_search: whether these were spent by a Tuner's search alone.
    """

    joules: SpentJoules | None = None
    before_j: float = 0.0
    of_search: bool = False


def source_of(trainer: Trainer, session: Session | None) -> Source:
    """The joules that a budget is about.

    Args:
        trainer: the Trainer.
        session: the budget's own session; ``None`` where an EnergyCallback is to measure.
    """
    if session is not None:
        return Source(SpentJoules.of_totals(session))
    for callback in trainer.callbacks:  # type: ignore[attr-defined]  # set by a connector
        run = callback._run if isinstance(callback, CallbackBase) else None  # noqa: SLF001 - one of ours
        if run is not None and run.ending.trainer is trainer and run.books.session is not None:
            memory = callback._memory  # noqa: SLF001 - same
            joules = SpentJoules.of_totals(run.books.session, partial(_is_closed, run.books, run.books.session))
            of_search = 0 < memory.searches == len(memory.sessions)
            return Source(joules, memory.before.energy_j or 0.0, of_search)
    return Source()


def problem_of(ranks: Ranks, joules: SpentJoules | None, failure: str = "") -> str:
    """The reason why no budget can be kept; empty where there is none. All ranks take part.

    Args:
        ranks: the ranks.
        joules: this rank's joules; ``None`` where nobody measures.
        failure: the reason why this rank has none, in words.
    """
    here = joules is not None
    dead = [failure] if failure else [] if joules is None else joules.dead
    everyone = ranks.gather((here, joules.devices if joules else 0, joules.boards if joules else 0, dead))
    dead = [name for *_, names in everyone for name in names]
    if not dead and not (all(row[0] for row in everyone) and any(row[1] for row in everyone)):
        return (
            "nothing is measured, so that no budget can be kept. Give the Trainer an EnergyCallback of its own, with "
            "meters=… that can be read here; see `lightning-energy doctor`"
        )
    if dead:
        return (
            f"the energy of {', '.join(dead)} is missing, so that no budget can be kept. See `lightning-energy "
            f"doctor`, or leave it out by EnergyCallback(meters=…)"
        )
    if ranks.device.type != "cpu" and not any(row[2] for row in everyone):
        return (
            f"the accelerator ({ranks.device.type}) is not measured, so that no budget can be kept. See "
            f"`lightning-energy doctor`, or give a Meter of it: EnergyCallback(meters=…)"
        )
    return ""


def _is_closed(books: RankBooks, session: Session) -> bool:
    return books.session is not session
