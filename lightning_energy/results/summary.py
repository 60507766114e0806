"""From a session to its report: the part that Trainers and hand-written loops share."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from lightning_energy.curves.resolution import aliasing_risk, resolution
from lightning_energy.ledger.phases import PhaseEnergy
from lightning_energy.meters.handlers import raised_by_handler
from lightning_energy.results.figures import Device, Missing, Spread
from lightning_energy.results.notes import Note
from lightning_energy.results.per_sample import per_sample_j
from lightning_energy.results.report import Report

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lightning_energy.curves.energy import Energy
    from lightning_energy.curves.resolution import Resolution
    from lightning_energy.ledger.ranks import Ranks
    from lightning_energy.ledger.session import Session
    from lightning_energy.ledger.steps import SumsOfSteps
    from lightning_energy.ledger.totals import Totals
    from lightning_energy.results.figures import Outcome

__all__ = ["StepSums", "devices_of", "summarize"]

PASSES = ("validate", "test")  # stages of which a report says the samples of a pass
SHORT_S = 1.0  # seconds of a run in which a counter of 100 ms moves often enough to tell powers


@dataclass
class StepSums:
    """The training steps whose energy has become known.

    Attributes:
        n: their number.
        energy_j: their joules.
        duration_s: their seconds, each from its start to the start of the next.
        u2_j2: variance of ``energy_j`` in J² by the moments at which rows of steps begin and end.
    """

    n: int = 0
    energy_j: float = 0.0
    duration_s: float = 0.0
    u2_j2: float = 0.0

    def take(self, session: Session) -> SumsOfSteps | None:
        """Add the steps that became known since the last call, and return them; ``None`` when none did."""
        news = session.take_sums_of_steps()
        if news is not None:
            self.add(news)
        return news

    def add(self, others: StepSums | SumsOfSteps) -> None:
        """Add other steps, at once: a signal handler may raise between any two lines."""
        self.__dict__.update(
            n=self.n + others.n,
            energy_j=self.energy_j + others.energy_j,
            duration_s=self.duration_s + others.duration_s,
            u2_j2=self.u2_j2 + others.u2_j2,
        )

    def u_of_mean(self, train: Energy) -> Spread | None:
        """The uncertainty of the mean energy of a step; ``None`` without any.

        Within an epoch the ends of neighbouring steps cancel. There remain the ends of each row of steps, and what is
        not known of all training alike: the powers, the counter's delay, the gain.

        Args:
            train: energy of training, on the same devices.
        """
        if not self.n or not train.energy_j:
            return None
        share = self.energy_j / train.energy_j
        gain_j = share * math.sqrt(max(train.u_absolute_j**2 - train.u_j**2, 0.0))
        u_j = math.hypot(math.sqrt(self.u2_j2), share * train.u_j)
        return Spread(u_j / self.n, math.hypot(u_j, gain_j) / self.n)


def summarize(
    session: Session,
    totals: Totals,
    steps: StepSums,
    ranks: Ranks,
    *,
    outcome: Outcome,
    stages: Sequence[str] | None = None,
    energy: Energy | None = None,
    units: Mapping[str, Mapping[str, int | None]] | None = None,
    passes: Mapping[str, int | None] | None = None,
    notes: Sequence[Note] = (),
) -> Report:
    """The report of a session, all ranks together. All ranks take part, unless this one had to go on alone.

    Args:
        session: the session.
        totals: the totals of its ledger.
        steps: its training steps on this rank.
        ranks: the ranks.
        outcome: ``running``, ``completed`` or ``interrupted``.
        stages: the stages that there can be; by default the ranks exchange theirs, and their devices, too.
        energy: energy of this session on this rank, if ``totals`` do not hold all of it.
        units: by stage the number of samples, and of the user's own units, of this rank; ``None`` where not all were
            counted. A stage that is not there had none. There is one at least, with the same units on all ranks.
        passes: by stage the number of samples in the last pass that ended, of this rank.
        notes: further remarks on this rank.
    """
    try:
        mine = _part(session, totals, steps, ranks)
    except Exception as error:  # whatever it is, the other ranks wait for this one
        if raised_by_handler(error):
            raise
        text = f"Rank {ranks.rank} could not list its devices: {type(error).__name__}: {error}"
        mine = _Part([], [], totals.stages, [Note("rank_details", text)], {})
    mine.notes.extend(notes)
    parts = [mine] if stages is not None else ranks.gather(mine)
    names = [*dict.fromkeys(n for p in parts for n in p.stages)] if stages is None else [*stages]
    # without an exchange ranks do not know whether others divide their stages alike
    divided = _divided(parts, names) if stages is None or ranks.size == 1 else []
    counted = _Units(units or {}, names)
    # at an epoch's end ranks exchange no more than they must
    in_passes = [(passes or {}).get(stage) for stage in PASSES] if stages is None or ranks.size == 1 else []
    (session_energy, gaps, *sums), means = ranks.sum_all(
        [
            energy or totals.energy(),
            totals.energy(stage="train", kind="gap"),
            *(totals.energy(stage=s) for s in names),
            *(totals.energy(stage=s, phase=phase) for s, phase in divided),
        ],
        [*counted.numbers, *in_passes],
    )
    of_phases, sums = sums[len(names) :], sums[: len(names)]
    by_stage = {name: part for name, part in zip(names, sums, strict=True) if part.duration_s > 0}
    numbers = [ranks.of_all(mean) for mean in means]
    n_val, n_test = numbers[len(counted.numbers) :] or (None, None)
    of_all = {s: row for s, row in counted.named(numbers[: len(counted.numbers)]).items() if s in by_stage}
    samples = of_all.get("train", {}).get("samples")
    sample_j = per_sample_j(by_stage.get("train"), samples)
    above = session.above_idle(totals) if session.idle_w and ranks.size == 1 else None
    return Report(
        outcome=outcome,
        stages=by_stage,
        session=session_energy,
        total=None,
        sessions=0,
        devices=[d for p in parts for d in p.devices],
        ranks=ranks.size,
        resolutions=_resolutions(session, totals),
        steps=steps.n,
        step_j=steps.energy_j / steps.n if steps.n else None,
        samples=samples,
        step_u=steps.u_of_mean(totals.energy(stage="train")),
        sample_j=sample_j,
        sample_u=Spread.per(by_stage["train"], samples) if sample_j is not None and samples else None,
        units={stage: row for stage, row in of_all.items() if any(n != 0 for n in row.values())},
        n_val=n_val,
        n_test=n_test,
        gaps=gaps if gaps.duration_s > 0 else None,
        phases=_phases(parts, divided, of_phases),
        phases_by_rank=_phases_by_rank(parts, ranks),
        missing=[m for p in parts for m in p.missing],
        absent_ranks=ranks.left,
        above_idle_j=None if above is None else above.energy_j,
        above_idle_u=None if above is None else Spread(above.u_j, above.u_absolute_j),
        notes=[*dict.fromkeys([*_notes_on_ranks(ranks), *(n for p in parts for n in p.notes)])],
    )


class _Units:
    """Numbers by stage and unit in one row, in the same order on all ranks.

    Args:
        units: the numbers.
        stages: the stages that there can be.
    """

    def __init__(self, units: Mapping[str, Mapping[str, int | None]], stages: Sequence[str]) -> None:
        names = dict.fromkeys(name for row in units.values() for name in row)
        self._places = [(stage, name) for stage in stages for name in names]
        self.numbers = [units.get(stage, {}).get(name, 0) for stage, name in self._places]

    def named(self, numbers: Sequence[int | None]) -> dict[str, dict[str, int | None]]:
        """Numbers in that order by stage and unit."""
        found: dict[str, dict[str, int | None]] = {}
        for (stage, name), n in zip(self._places, numbers, strict=True):
            found.setdefault(stage, {})[name] = n
        return found


class _Part(NamedTuple):
    """The part of a report that one rank knows, besides its energies."""

    devices: list[Device]
    missing: list[Missing]
    stages: list[str]
    notes: list[Note]
    phases: dict[str, list[PhaseEnergy]]


def _divided(parts: Sequence[_Part], stages: Sequence[str]) -> list[tuple[str, str]]:
    """Stages and phases of all ranks, in the same order on each."""
    return [*dict.fromkeys((s, phase.name) for s in stages for part in parts for phase in part.phases.get(s, []))]


def _phases(
    parts: Sequence[_Part], divided: Sequence[tuple[str, str]], energies: Sequence[Energy]
) -> dict[str, list[PhaseEnergy]]:
    """The phases by stage, with their energies on all ranks."""
    found: dict[str, list[PhaseEnergy]] = {}
    for (stage, name), energy in zip(divided, energies, strict=True):
        of_ranks = [phase for part in parts for phase in part.phases.get(stage, []) if phase.name == name]
        found.setdefault(stage, []).append(PhaseEnergy.together(of_ranks, energy))
    return found


def _phases_by_rank(parts: Sequence[_Part], ranks: Ranks) -> list[list[PhaseEnergy]]:
    """The phases of training of each rank; nothing where some of them are not here, or train undivided."""
    found = [part.phases.get("train", []) for part in parts]
    return found if len(found) == ranks.size > 1 and all(found) else []


def devices_of(session: Session, totals: Totals, rank: int = 0) -> list[Device]:
    """The devices of a rank, with their energies."""
    shared, power = session.how_shared(totals), session.power()
    return [
        Device(
            name=c.info.name,
            device_id=c.info.device_id,
            scope=c.info.scope,
            energy=totals.energy(device=d),
            period_s=c.period_s,
            note=c.info.note,
            rank=rank,
            shared=shared[d],
            condition=c.info.condition,
            power=power[d],
        )
        for d, c in enumerate(session.channels)
    ]


def _part(session: Session, totals: Totals, steps: StepSums, ranks: Ranks) -> _Part:
    devices = devices_of(session, totals, ranks.rank)
    missing = [Missing(*row, rank=ranks.rank) for row in session.missing(totals)]
    notes = [
        *(Note("absent_meter", text) for text in session.absent),
        *(Note("sensor", text) for text in session.troubles),
        *(Note("sharing", text) for text in session.sharing),
        *(Note("measuring", text) for text in session.notes),
        *_notes_on_steps(session, steps),
        *(_note_on_lines(d) for d in devices if _falls_back(d)),
    ]
    phases = {stage: found for stage in totals.stages if (found := totals.phases(stage))}
    return _Part(devices, missing, totals.stages, notes, phases)


def _falls_back(device: Device) -> bool:
    """True for a counter whose joules are shared out by duration, as it moved too seldom for so long a run."""
    is_counter = device.energy.quality in {"measured", "estimated"} and device.energy.duration_s > SHORT_S
    return is_counter and device.shared is not None and device.shared.method == "lines"


def _note_on_lines(device: Device) -> Note:
    why = "" if device.shared is None else device.shared.why
    text = f"{device.name}: {why}, so that energy between two updates is shared out by time alone; ± is wider for it"
    return Note("by_time", text)


def _resolutions(session: Session, totals: Totals) -> dict[str, Resolution]:
    """The resolution of each stage by the coarsest curve: of the mean length of its stretches (one per epoch)."""
    spacing_s = max((c.spacing_s or 0.0 for c in session.channels), default=0.0)
    found = {}
    for stage in totals.stages:
        stretches = len({a.epoch for a in totals.accounts if a.stage == stage})
        label = resolution(totals.energy(stage=stage).duration_s / stretches, spacing_s)
        if label is not None:
            found[stage] = label
    return found


def _notes_on_ranks(ranks: Ranks) -> list[Note]:
    if not ranks.left:
        return []
    text = (
        f"Incomplete: these are the figures of rank {ranks.rank} alone; the energy of {ranks.left} other rank(s) "
        f"since the last epoch is not known"
    )
    return [Note("incomplete", text)]


def _notes_on_steps(session: Session, steps: StepSums) -> list[Note]:
    if not steps.n:
        return []
    step_s = steps.duration_s / steps.n
    notes = []
    for channel in session.channels:
        name, period_s, spacing_s = channel.info.name, channel.period_s, channel.spacing_s
        if aliasing_risk(step_s, period_s, channel.info.coverage):
            text = (
                f"{name}: its sensor looks at {100 * (channel.info.coverage or 0):.0f} % of the time, and steps of "
                f"{step_s * 1e3:.0f} ms may beat against its {(period_s or 0) * 1e3:.0f} ms: aliasing risk"
            )
            notes.append(Note("aliasing", text))
        if resolution(step_s, spacing_s) == "unresolved":
            text = (
                f"{name}: steps of {step_s * 1e3:.1f} ms are shorter than the time between two points of its curve "
                f"({(spacing_s or 0) * 1e3:.0f} ms): their mean is right, single steps are unresolved"
            )
            notes.append(Note("unresolved", text))
    return notes
