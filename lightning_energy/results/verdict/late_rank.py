"""The joules of ranks that wait for a slower one, from the balance of their boards.

Ranks wait in the backward pass, where they exchange gradients. A wait draws less than the work around it, and no fit of
a mean power to the whole pass tells the two apart. The balance does: all ranks take as long for a step, and their
boards do the same work, so that what a waiting rank has spent beyond the work of the last one is its waiting. The work
of the last one is all that it has spent but for what makes it late: the phases that take it longer than the others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lightning_energy.ledger.phases import BACKWARD, PhaseEnergy
from lightning_energy.meters.base import BOARDS
from lightning_energy.results.readable import duration
from lightning_energy.results.verdict.evidence import NOT_DIVIDED, TRAIN, Amount, Evidence
from lightning_energy.results.verdict.saving import Blind, Stake

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["slower_ranks"]

LATE = 0.01  # part of the time of training by which a phase of the last rank is longer where it makes it late
UNLIKE = 0.05
"""Relative standard uncertainty of the joules that boards of one model take for the same work; not measured."""
NEXT = "give all ranks as much work per batch, and as fast a loader: samples by length, workers"


@dataclass(frozen=True)
class _Rank:
    """The training of a rank on its boards.

    Attributes:
        number: the rank.
        energy_j: joules.
        u_j: their standard uncertainty without the gain of the sensors.
        gain: its relative standard uncertainty.
        phases: the phases.
        amounts: their joules on boards.
    """

    number: int
    energy_j: float
    u_j: float
    gain: float
    phases: Mapping[str, PhaseEnergy]
    amounts: Mapping[str, Amount]

    def seconds_s(self, phase: str) -> float:
        return self.phases[phase].energy.duration_s if phase in self.phases else 0.0

    def work(self, but: set[str]) -> Amount:
        """Its joules without some phases."""
        without = [self.amounts[name] for name in but if name in self.amounts]
        u_j = math.hypot(self.u_j, *(amount.u_j for amount in without))
        return Amount(self.energy_j - math.fsum(amount.energy_j for amount in without), u_j)


def slower_ranks(run: Evidence) -> Stake | Blind | None:
    """Joules of ranks that wait in the backward pass for the last one to arrive there."""
    report, train = run.report, run.report.stages.get(TRAIN)
    if report.ranks == 1 or train is None:
        return None
    if not report.phases_by_rank:
        return Blind("it has no phases of each rank", NOT_DIVIDED.remedy)
    if len({device.name for device in report.devices if device.scope in BOARDS}) > 1:
        return Blind("its ranks have boards of several models")
    ranks: list[_Rank] = []
    for number in range(len(report.phases_by_rank)):
        rank = _rank(run, number)
        if isinstance(rank, Blind):
            return rank
        ranks.append(rank)
    last = min(ranks, key=lambda rank: rank.seconds_s(BACKWARD))
    others = [rank for rank in ranks if rank is not last]
    energy_j, u2_j2, u_last_j, unlike_j = 0.0, 0.0, 0.0, 0.0
    for rank in others:
        late = {p for p in last.phases if p != BACKWARD and _is_late(last, rank, p, train.duration_s)}
        for name in late:
            known = run.seen(last.phases[name]) or run.resolved(last.phases[name])
            if isinstance(known, Blind):
                return known
        mine, its = rank.work(late), last.work(late)
        energy_j += mine.energy_j - its.energy_j
        u2_j2 += mine.u_j**2 + (UNLIKE * its.energy_j) ** 2
        u_last_j += its.u_j  # the same for all
        unlike_j += UNLIKE * its.energy_j  # same
    u_j = math.hypot(math.sqrt(u2_j2), u_last_j, unlike_j, last.gain * energy_j)
    longest = duration(max(rank.seconds_s(BACKWARD) for rank in others))
    because = (
        f"backward passes took {longest} on a rank that waits and {duration(last.seconds_s(BACKWARD))} on rank "
        f"{last.number}, the last to arrive{run.in_session}"
    )
    return Stake(energy_j, u_j, because, NEXT)


def _is_late(last: _Rank, other: _Rank, phase: str, train_s: float) -> bool:
    return last.seconds_s(phase) - other.seconds_s(phase) > LATE * train_s


def _rank(run: Evidence, number: int) -> _Rank | Blind:
    phases = {phase.name: phase for phase in run.report.phases_by_rank[number]}
    boards = [d for d in run.report.devices if d.scope in BOARDS and d.rank == number]
    whole_j = math.fsum(d.energy.energy_j or 0.0 for d in boards)
    if BACKWARD not in phases or not whole_j or any(p.energy.missing_s for p in phases.values()):
        return Blind("the energy of some rank is not known, or it has no backward pass")
    amounts: dict[str, Amount] = {}
    for name, phase in phases.items():
        amount = run.on_boards(phase, number)
        if isinstance(amount, Blind):
            return amount
        amounts[name] = amount
    energy_j = math.fsum(amount.energy_j for amount in amounts.values())
    if not energy_j:
        return Blind("the boards of some rank took nothing in training")
    share = energy_j / whole_j
    u_j = share * math.fsum(d.energy.u_j for d in boards)
    absolute_j = share * math.fsum(d.energy.u_absolute_j for d in boards)
    return _Rank(number, energy_j, u_j, math.sqrt(max(absolute_j**2 - u_j**2, 0.0)) / energy_j, phases, amounts)
