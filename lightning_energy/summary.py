"""From what a session measured to what its report says: the part that Trainers and hand-written loops share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lightning_energy.quality import aliasing_risk, resolution
from lightning_energy.report import Device, Report

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_energy.curve import Energy
    from lightning_energy.ledger import Totals
    from lightning_energy.quality import Resolution
    from lightning_energy.ranks import Ranks
    from lightning_energy.session import Session

__all__ = ["StepSums", "summarize"]


@dataclass
class StepSums:
    """The training steps whose energy has become known.

    Attributes:
        n: how many.
        energy_j: their joules.
        duration_s: their seconds, each from its start to the start of the next.
    """

    n: int = 0
    energy_j: float = 0.0
    duration_s: float = 0.0

    def take(self, session: Session) -> StepSums | None:
        """Add the steps that became known since the last call, and say what was added; ``None`` when none did."""
        steps = session.take_steps()
        if steps is None:
            return None
        news = StepSums(len(steps.energy_j), float(steps.energy_j.sum()), float(steps.duration_s.sum()))
        self.n += news.n
        self.energy_j += news.energy_j
        self.duration_s += news.duration_s
        return news


def summarize(
    session: Session,
    totals: Totals,
    steps: StepSums,
    ranks: Ranks,
    *,
    outcome: str,
    stages: Sequence[str] | None = None,
    run: Energy | None = None,
) -> Report:
    """The report of a session, all ranks together. All ranks take part, unless this one had to go on alone.

    Args:
        session: the session.
        totals: what its ledger holds.
        steps: its training steps on this rank.
        ranks: the ranks.
        outcome: ``running``, ``completed`` or ``interrupted``.
        stages: the stages that there can be; by default the ranks tell each other.
        run: what this rank spent in this session, if ``totals`` do not say all of it.
    """
    names = ranks.union(totals.stages) if stages is None else [*stages]
    sums, _ = ranks.sum([run or totals.energy(), *(totals.energy(stage=s) for s in names)])
    return Report(
        outcome=outcome,
        stages={name: energy for name, energy in zip(names, sums[1:], strict=True) if energy.duration_s > 0},
        run=sums[0],
        total=None,
        sessions=0,
        devices=[
            Device(c.info.name, c.info.device_id, c.info.scope, totals.energy(device=d), c.period_s, c.info.note)
            for d, c in enumerate(session.channels)
        ],
        ranks=ranks.size,
        resolutions=_resolutions(session, totals),
        steps=steps.n,
        step_j=steps.energy_j / steps.n if steps.n else None,
        above_idle_j=session.above_idle_j(totals) if session.idle_w and ranks.size == 1 else None,
        notes=[
            *_notes_on_ranks(ranks),
            *session.absent,
            *session.troubles,
            *session.notes,
            *_notes_on_steps(session, steps),
        ],
    )


def _resolutions(session: Session, totals: Totals) -> dict[str, Resolution]:
    """How finely the slowest sensor resolves a stage, by the mean length of its stretches (one per epoch)."""
    period_s = max((c.period_s or 0.0 for c in session.channels), default=0.0)
    found = {}
    for stage in totals.stages:
        stretches = len({a.epoch for a in totals.accounts if a.stage == stage})
        label = resolution(totals.energy(stage=stage).duration_s / stretches, period_s)
        if label is not None:
            found[stage] = label
    return found


def _notes_on_ranks(ranks: Ranks) -> list[str]:
    if not ranks.left:
        return []
    text = (
        f"Incomplete: these are the figures of rank {ranks.rank} alone; what {ranks.left} other rank(s) spent since "
        f"the last epoch is not known"
    )
    return [text]


def _notes_on_steps(session: Session, steps: StepSums) -> list[str]:
    if not steps.n:
        return []
    step_s = steps.duration_s / steps.n
    notes = []
    for channel in session.channels:
        name, period_s = channel.info.name, channel.period_s
        if aliasing_risk(step_s, period_s, channel.info.coverage):
            notes.append(
                f"{name}: its sensor looks at {100 * (channel.info.coverage or 0):.0f} % of the time, and steps of "
                f"{step_s * 1e3:.0f} ms may beat against its {(period_s or 0) * 1e3:.0f} ms: aliasing risk"
            )
        if resolution(step_s, period_s) == "unresolved":
            notes.append(
                f"{name}: steps of {step_s * 1e3:.1f} ms are shorter than its update "
                f"({(period_s or 0) * 1e3:.0f} ms): their mean is right, single steps are unresolved"
            )
    return notes
