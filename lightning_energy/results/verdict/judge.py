"""From what the rules found to the verdict: the savings that are listed, in their order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightning_energy.meters.handlers import raised_by_handler
from lightning_energy.results.verdict.explanation import Explanation
from lightning_energy.results.verdict.rules import RULES
from lightning_energy.results.verdict.saving import Blind, Saving, Unseen

if TYPE_CHECKING:
    from lightning_energy.results.verdict.evidence import Evidence
    from lightning_energy.results.verdict.rules import Rule
    from lightning_energy.results.verdict.saving import Stake

__all__ = ["DEFECT", "judge"]

DEFECT = "an error of lightning-energy"


def judge(run: Evidence) -> Explanation:
    """Ask every rule about a run.

    Args:
        run: the run.
    """
    whole, gap = run.whole, run.gap
    found: list[Saving] = []
    unseen: list[Unseen] = []
    for rule in RULES:
        stake = gap or _looked(rule, run)
        if stake is None:
            continue
        if isinstance(stake, Blind):
            unseen.append(Unseen(rule.name, rule.cause, stake.why, stake.remedy))
            continue
        share = stake.energy_j / whole.energy_j if whole.energy_j else 0.0
        parts = rule.parts if stake.parts is None else stake.parts
        found.append(
            Saving(rule.name, rule.cause, stake.energy_j, stake.u_j, share, stake.because, stake.next_step, parts)
        )
    ranked = sorted(found, key=lambda s: s.energy_j, reverse=True)
    return Explanation(
        savings=tuple(s for s in ranked if s.is_worth_listing),
        small=tuple(s for s in ranked if not s.is_worth_listing),
        unseen=tuple(unseen),
        energy_j=whole.energy_j,
        quality=whole.quality,
        u_j=None if whole.energy_j is None else whole.u_absolute_j,
    )


def _looked(rule: Rule, run: Evidence) -> Stake | Blind | None:
    """The result of a rule; a defect of ours must cost a run neither its report nor its record."""
    try:
        return rule.look(run)
    except Exception as error:
        if raised_by_handler(error):
            raise
        return Blind(f"{DEFECT} ({type(error).__name__}: {error})", "report it with the record")
