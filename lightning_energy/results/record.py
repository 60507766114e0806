"""A run as it is kept on disk: one JSON document, whose layout is ``record.schema.json`` beside this file."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from lightning_energy.results.best import best_of, epoch_of, why_no_metric
from lightning_energy.results.figures import Spread
from lightning_energy.results.machine import Machine, describe_machine
from lightning_energy.results.plain import plain
from lightning_energy.results.report import Report
from lightning_energy.results.run_page import render_run
from lightning_energy.results.upgrade import VERSION
from lightning_energy.results.verdict.evidence import Evidence, Run
from lightning_energy.results.verdict.judge import judge

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lightning_energy.curves.energy import Energy
    from lightning_energy.curves.resolution import Resolution
    from lightning_energy.ledger.phases import PhaseEnergy
    from lightning_energy.results.carbon import Derived
    from lightning_energy.results.figures import Device, FirstWaits, Missing, Outcome
    from lightning_energy.results.notes import Note
    from lightning_energy.results.rows import EpochRow, Evaluation, SessionRow
    from lightning_energy.results.verdict.explanation import Explanation
    from lightning_energy.scores.metric import Metric

__all__ = ["FORMAT", "NAME", "Record", "Samples", "Score", "Steps", "make_record"]

FORMAT = "lightning-energy-record"
NAME = "energy.json"
PER_UNIT = "per_unit"
"""The field of a document that says what other fields say, and is not read."""
OPTIONAL = {
    "units",
    "phases",
    "phases_by_rank",
    "first_waits",
    "above_idle_u",
    "seed",
    "global_seed",
    "n_val",
    "n_test",
}  # fields that are not there where they are empty


@dataclass(frozen=True)
class Score:
    """A score.

    Attributes:
        value: the score.
        formula: its formula with the constants.
        energy_kwh: the energy of the training up to the validation that was scored; ``None`` unknown.
        u: its standard uncertainty by the energy alone; ``None`` unknown.
    """

    value: float
    formula: str
    energy_kwh: float | None
    u: float | None = None


@dataclass(frozen=True)
class Steps:
    """Training steps whose energy is known.

    Attributes:
        n: their number.
        mean_j: their mean energy in joules, each from its start to the start of the next; ``None`` unknown.
        u_j: standard uncertainty of ``mean_j`` without the gain of the sensors.
        u_absolute_j: the same with it.
    """

    n: int
    mean_j: float | None
    u_j: float | None = None
    u_absolute_j: float | None = None


@dataclass(frozen=True)
class Samples:
    """Samples that were trained on in a session, all ranks together.

    Attributes:
        n: their number; ``None`` when not all could be counted.
        mean_j: joules of training per sample; ``None`` unknown.
        u_j: standard uncertainty of ``mean_j`` without the gain of the sensors.
        u_absolute_j: the same with it.
    """

    n: int | None
    mean_j: float | None
    u_j: float | None = None
    u_absolute_j: float | None = None


@dataclass(frozen=True, kw_only=True)
class Record:
    """A run on disk, as one of its sessions left it. Its fields are those of the JSON document.

    Attributes:
        run_id: equal in all sessions and ranks of a run; empty where there is none.
        outcome: ``running``, ``completed`` or ``interrupted``.
        started_unix_s: beginning of the session in seconds since 1970.
        updated_unix_s: time of writing.
        what: the training: module, parameters, hyperparameters, precision, batch size, devices, strategy.
        where: the machine.
        rank: the rank that wrote it: 0 for the run's own.
        ranks: number of ranks that the energies are of.
        absent_ranks: number of other ranks whose energy since the last epoch is not known.
        devices: the devices that were measured in this session.
        session: energy of this session, all ranks together.
        stages: energy of this session by stage.
        resolutions: by stage, its resolution by the slowest sensor.
        before: energy of earlier sessions; ``None`` in a first session.
        total: energy of ``fit`` over all sessions; ``None`` when nothing was fitted.
        steps: training steps of rank zero.
        samples: samples of all ranks that were trained on.
        units: by stage the numbers of samples and of the user's own units in this session, all ranks together; ``None``
            for one of which not all could be counted. Empty in records of releases that did not count them.
        gaps: energy of training between its steps.
        phases: by stage that is divided its phases, whose energies together are the stage's; empty where none is.
        phases_by_rank: the phases of training of each rank, in their order; empty where it is not divided, of one rank,
            and where a rank is not known.
        first_waits: the waits for the first batches of epochs; ``None`` where training is not divided.
        missing: stretches of time in which the energy of one of the devices is not known.
        above_idle_j: joules of this session above the devices' idle power; ``None`` when that was not watched.
        above_idle_u: its uncertainty; ``None`` unknown.
        seed: the seed of the run: of its hyperparameters, or that of Lightning's ``seed_everything``; ``None`` unknown.
        global_seed: that of ``seed_everything``, whatever the hyperparameters name; ``None`` unknown, and in records of
            earlier releases.
        n_val: number of samples in a validation, all ranks together: in the last one that ended. ``None`` unknown, and
            of several loaders.
        n_test: the same of a test.
        metric: the last value of the metric of quality.
        score: its score.
        no_score: the reason why there is none, with what to do; empty where there is one, or was none asked for.
        derived: CO2e and cost of ``total``, or of ``session`` when nothing was fitted; ``None`` unless asked for.
        epochs: a row per training epoch.
        sessions: a row per earlier session, and one of this session when it has ended.
        evaluations: a row per validation, test or prediction outside of ``fit``.
        notes: remarks about what is missing or doubtful.
    """

    run_id: str
    outcome: Outcome
    started_unix_s: float
    updated_unix_s: float
    what: Mapping[str, Any]
    where: Machine
    rank: int
    ranks: int
    absent_ranks: int
    devices: Sequence[Device]
    session: Energy
    stages: Mapping[str, Energy]
    resolutions: Mapping[str, Resolution]
    before: Energy | None
    total: Energy | None
    steps: Steps
    samples: Samples
    gaps: Energy | None
    missing: Sequence[Missing]
    above_idle_j: float | None
    metric: Metric | None
    score: Score | None
    derived: Derived | None
    epochs: Sequence[EpochRow] = field(default_factory=list)
    sessions: Sequence[SessionRow] = field(default_factory=list)
    evaluations: Sequence[Evaluation] = field(default_factory=list)
    notes: Sequence[Note] = field(default_factory=list)
    no_score: str = ""
    units: Mapping[str, Mapping[str, int | None]] = field(default_factory=dict)
    above_idle_u: Spread | None = None
    seed: int | None = None
    n_val: int | None = None
    n_test: int | None = None
    phases: Mapping[str, Sequence[PhaseEnergy]] = field(default_factory=dict)
    phases_by_rank: Sequence[Sequence[PhaseEnergy]] = ()
    first_waits: FirstWaits | None = None
    global_seed: int | None = None

    @property
    def has_ended(self) -> bool:
        """False where its session has no row: it still runs, or was killed before it could say how it ended."""
        return any(row.started_unix_s >= self.started_unix_s for row in self.sessions)

    @property
    def devices_by_session(self) -> list[Sequence[Device]]:
        """The devices of each session of the run, this one the last; none where they are not known."""
        earlier = self.sessions[:-1] if self.has_ended else self.sessions
        return [*(row.devices for row in earlier), self.devices]

    @property
    def report(self) -> Report:
        """The report that it was made of, with the verdict on it."""
        return replace(self._figures, verdict=self.verdict())

    def verdict(self, beside: Record | None = None) -> Explanation:
        """The changes that would have saved energy in it; see :func:`~lightning_energy.explain`.

        Args:
            beside: a run of the same training with another precision or batch size.
        """
        other = None if beside is None else Run(beside.report, beside.epochs, beside.what)
        return judge(Evidence(self._figures, self.epochs, self.what, other))

    @property
    def _figures(self) -> Report:
        score, metric = self.score, self.metric
        return Report(
            outcome=self.outcome,
            stages={**self.stages},
            session=self.session,
            total=self.total,
            sessions=len(self.sessions),
            devices=self.devices,
            ranks=self.ranks,
            resolutions=self.resolutions,
            steps=self.steps.n,
            step_j=self.steps.mean_j,
            step_u=_spread(self.steps),
            samples=self.samples.n,
            sample_j=self.samples.mean_j,
            sample_u=_spread(self.samples),
            units=self.units,
            n_val=self.n_val,
            n_test=self.n_test,
            gaps=self.gaps,
            phases=self.phases,
            phases_by_rank=self.phases_by_rank,
            first_waits=self.first_waits,
            between=self._own.between if self._own is not None else None,
            missing=self.missing,
            absent_ranks=self.absent_ranks,
            above_idle_j=self.above_idle_j,
            above_idle_u=self.above_idle_u,
            metric=metric,
            metric_epoch=epoch_of(self.epochs, metric),
            best=best_of(self.epochs, metric),
            score=None if score is None else score.value,
            score_u=None if score is None else score.u,
            score_kwh=None if score is None else score.energy_kwh,
            score_name="" if score is None else score.formula,
            no_score=self.no_score,
            no_metric=why_no_metric(self.epochs),
            derived=self.derived,
            notes=self.notes,
        )

    @property
    def _own(self) -> SessionRow | None:
        """The row of the session that left this record, once it has ended."""
        row = self.sessions[-1] if self.sessions and self.total is not None else None
        return row if row is not None and row.energy == self.session else None

    def to_html(self, *, title: str | None = None) -> str:
        """A page of its own that loads nothing: see :func:`~lightning_energy.results.run_page.render_run`.

        Args:
            title: its heading; by default that of the module.

        Returns:
            The document, to be written as UTF-8.
        """
        return render_run(
            self.report,
            epochs=self.epochs,
            devices=self.devices_by_session,
            what=self.what,
            where=self.where,
            started_unix_s=self.started_unix_s,
            title=title,
        )

    def to_plain(self) -> dict[str, Any]:
        """The document in plain types, for JSON."""
        empty = [f.name for f in fields(self) if f.name in OPTIONAL and getattr(self, f.name) in (None, {}, [], ())]
        known = (f.name for f in fields(self) if f.name not in empty)
        row = {"format": FORMAT, "version": VERSION} | {name: _plain(getattr(self, name)) for name in known}
        if per_unit := [asdict(row) for row in self.report.per_unit]:
            row[PER_UNIT] = per_unit
        is_judged = self.total is not None and self.outcome != "running"
        return row | ({"verdict": self.verdict().to_plain()} if is_judged else {})


def make_record(
    report: Report,
    *,
    started_unix_s: float,
    run_id: str = "",
    rank: int = 0,
    before: Energy | None = None,
    what: Mapping[str, Any] | None = None,
    where: Machine | None = None,
    epochs: Sequence[EpochRow] = (),
    sessions: Sequence[SessionRow] = (),
    evaluations: Sequence[Evaluation] = (),
    seed: int | None = None,
    global_seed: int | None = None,
) -> Record:
    """The record of a report, written now.

    Args:
        report: the figures.
        started_unix_s: beginning of the session.
        run_id: equal in all sessions and ranks of a run.
        rank: the rank whose record it is: 0 for the run's, others where each keeps its own.
        before: energy of earlier sessions, all ranks together.
        what: a description of the training.
        where: the machine; by default this one.
        epochs: a row per epoch.
        sessions: a row per earlier session of the run, and one of this session when it has ended.
        evaluations: a row per validation, test or prediction outside of ``fit``.
        seed: the seed of the run; ``None`` unknown.
        global_seed: that of Lightning's ``seed_everything``; ``None`` unknown.
    """
    return Record(
        run_id=run_id,
        outcome=report.outcome,
        started_unix_s=started_unix_s,
        updated_unix_s=time.time(),
        what=plain({**what} if what else {}),
        where=where or describe_machine(report),
        rank=rank,
        ranks=report.ranks,
        absent_ranks=report.absent_ranks,
        devices=[*report.devices],
        session=report.session,
        stages={**report.stages},
        resolutions={**report.resolutions},
        before=before if before is not None and before.duration_s > 0 else None,
        total=report.total,
        steps=Steps(report.steps, report.step_j, *_both(report.step_u)),
        samples=Samples(report.samples, report.sample_j, *_both(report.sample_u)),
        gaps=report.gaps,
        missing=[*report.missing],
        above_idle_j=report.above_idle_j,
        metric=report.metric,
        score=None if report.score is None else _score(report),
        derived=report.derived,
        epochs=[*epochs],
        sessions=[*sessions],
        evaluations=[*evaluations],
        notes=[*report.notes],
        no_score=report.no_score,
        units={stage: {**row} for stage, row in report.units.items()},
        above_idle_u=report.above_idle_u,
        seed=seed,
        global_seed=global_seed,
        n_val=report.n_val,
        n_test=report.n_test,
        phases={stage: [*phases] for stage, phases in report.phases.items()},
        phases_by_rank=[[*phases] for phases in report.phases_by_rank],
        first_waits=report.first_waits,
    )


def _score(report: Report) -> Score:
    return Score(report.score or 0.0, report.score_name, report.score_kwh, report.score_u)


def _both(spread: Spread | None) -> tuple[float | None, float | None]:
    return (None, None) if spread is None else (spread.u_j, spread.u_absolute_j)


def _spread(figure: Steps | Samples) -> Spread | None:
    known = figure.u_j is not None and figure.u_absolute_j is not None
    return Spread(figure.u_j or 0.0, figure.u_absolute_j or 0.0) if known else None


def _plain(value: Any) -> Any:
    """A field of a record in plain types."""
    if hasattr(value, "to_plain"):
        return value.to_plain()
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return asdict(value) if hasattr(value, "__dataclass_fields__") else value
