"""One run of a hand-written loop, apart from its measurement: samples, the metric, its total, its record."""

from __future__ import annotations

import math
import operator
import reprlib
import time
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args
from uuid import uuid4

from lightning_energy.curves.energy import Energy
from lightning_energy.ledger.arguments import slip_in_stage
from lightning_energy.ledger.counts import MOST
from lightning_energy.meters.handlers import raised_by_handler
from lightning_energy.meters.units import J_PER_KWH, SAMPLES
from lightning_energy.results.best import best_of, epoch_of, why_no_metric
from lightning_energy.results.brief import Place
from lightning_energy.results.notes import Note
from lightning_energy.results.own_files import chosen_place, free_place
from lightning_energy.results.read import read_record
from lightning_energy.results.record import NAME
from lightning_energy.results.rows import EpochRow, SessionRow
from lightning_energy.results.summary import summarize
from lightning_energy.results.verdict.evidence import Evidence
from lightning_energy.results.verdict.judge import judge
from lightning_energy.scores.metric import Metric, Mode, Scale
from lightning_energy.scores.metric_name import says_error
from lightning_energy.training.epoch_rows import EpochEnds
from lightning_energy.training.later import Later
from lightning_energy.training.recorder import Recorder, keep_other_run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lightning_energy.ledger.ranks import Ranks
    from lightning_energy.ledger.session import Session
    from lightning_energy.ledger.totals import Totals
    from lightning_energy.results.figures import Outcome
    from lightning_energy.results.report import Report

__all__ = ["FOLDER", "LoopRun", "metric_of"]

FOLDER = "energy_runs"
TRAIN, VALIDATE = "train", "validate"
EVALUATIONS = frozenset({"test", "predict"})  # stages that are no part of a training
SHORT_ID = 6  # letters: two runs that begin in the same second have folders of their own


def metric_of(name: str, value: Any, mode: Mode | None, scale: Scale | None) -> tuple[Metric | None, str]:
    """A metric, or ``None`` where its value is none; and a warning, if there is one.

    Args:
        name: its name.
        value: its value.
        mode: its better direction; ``None``: less is better where the name says an error, else more is.
        scale: its unit; ``None``: that of an accuracy where more is better, else none.

    Raises:
        TypeError: the name is no text, or the value no number.
        ValueError: direction or scale are unknown.
    """
    if not isinstance(name, str) or not name:
        raise TypeError(f"name={name!r}: give the name of the metric, such as 'val_acc'")
    for argument, given, known in (("mode", mode, get_args(Mode)), ("scale", scale, get_args(Scale))):
        if given not in (None, *known):
            raise ValueError(f"{argument}={given!r}: give {' or '.join(map(repr, known))}")
    try:
        number = float(value)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:  # RuntimeError: a tensor of several values
        raise TypeError(f"value={value!r}: give a number, the value of {name}") from error
    if not math.isfinite(number):
        return None, f"{name} = {number} is left out, as it is not finite"
    problem = ""
    if mode is None and says_error(name):
        mode, problem = "min", f"{name} is taken for one of which less is better, as its name says: give mode='min'"
    mode = mode or "max"
    scale = scale or ("fraction" if mode == "max" else "raw")
    metric = Metric(name, number, mode, scale)
    if not metric.is_accuracy or metric.accuracy is not None:
        return metric, problem
    top, cure = ("1", "scale='percent' for a percentage, else ") if scale == "fraction" else ("100", "")
    return None, f"{name} = {number:g} is left out, as it is no {scale} in [0, {top}]: give {cure}scale='raw'"


class LoopRun:
    """One run of a loop on one rank. Only rank zero writes.

    Args:
        record: whether to leave a record, or its place.
        ranks: the ranks.
        fabric: the ``Fabric`` of the loop, for the record; ``None`` without.
        warn: takes warnings.
    """

    def __init__(self, record: bool | str | Path, ranks: Ranks, fabric: Any, warn: Callable[[str], None]) -> None:
        self._run_id = uuid4().hex
        self._warn = warn
        self._counted = self._uncounted = self._samples = 0
        self._stages: set[str] = set()
        self._epoch = -1  # of the last stage that had one
        self._metric: Metric | None = None
        self._epochs: list[EpochRow] = []
        self._ends = EpochEnds()
        self._later = Later()
        self._untold: list[str] = []  # warnings of the thread that writes
        what: dict[str, Any] = {"devices": ranks.size, "data_parallel_replicas": ranks.size}
        if fabric is not None:
            what["strategy"] = type(fabric.strategy).__name__
        self._recorder = Recorder(self._free_place(record) if ranks.is_zero else None, what)

    @property
    def path(self) -> Path | None:
        """The file of the record; ``None`` for none."""
        return self._recorder.path

    @property
    def place(self) -> Place:
        """The place of the record, for the printed report."""
        path = self.path
        return Place(None, "monitor.report.details()") if path is None else Place.of_record(path)

    def _free_place(self, record: bool | str | Path) -> Path | None:
        """The place of the record, where nothing of others and no other run's record lies."""
        wanted = place = _place(record, self._run_id)
        if wanted is None:
            return None
        with suppress(OSError, ValueError):  # no record is there; trouble is told when the record is written
            place = free_place(wanted)
            if place != wanted:
                self._warn(f"{wanted} is no record of lightning-energy, and stays as it is: the record is {place}")
            kept = keep_other_run(place, read_record(place), self._run_id)
            if kept is not None:
                self._warn(f"the record of another run lay where that of this run will, and is now {kept}")
        return place

    def enter(self, stage: str, epoch: int) -> None:
        """Note a stage that the loop enters, and warn once of a name that was probably meant for one of ours.

        Args:
            stage: its name.
            epoch: its epoch; -1 without one.
        """
        if stage not in self._stages and (slip := slip_in_stage(stage)):
            self._warn(slip)
        self._stages.add(stage)
        if epoch >= 0:
            self._epoch = epoch

    def count(self, stage: str, samples: int | None) -> None:
        """Count the samples of a step.

        Raises:
            TypeError: no whole number.
            ValueError: a negative one, or no possible one.
        """
        if stage != TRAIN:
            return
        if samples is None:
            self._uncounted += 1
            return
        try:
            n = operator.index(samples)
        except TypeError as error:
            raise TypeError(f"samples={samples!r}: give the number of samples in the step") from error
        if not 0 <= n <= MOST:
            raise ValueError(f"samples={reprlib.repr(n)}: give the number of samples in the step, from 0 to {MOST:g}")
        self._samples += n
        self._counted += 1

    def log_metric(
        self, name: str, metric: Metric | None, epoch: int, session: Session, ranks: Ranks, *, why_not: str = ""
    ) -> None:
        """Keep the last value of the metric, with a row for the epoch, whose energies one rank alone cannot know.

        Args:
            name: its name.
            metric: the metric; ``None`` where the value is none of it.
            epoch: the epoch; -1 outside of stages, for that of the last stage that had one.
            session: the session.
            ranks: the ranks.
            why_not: the reason why the value is none.
        """
        if self._metric is not None and self._metric.name != name:
            if metric is None:
                return
            self._epochs.clear()  # values of one metric only
            self._ends.clear()
        self._metric = metric or self._metric
        epoch = epoch if epoch >= 0 else self._epoch
        value, no_metric = (None, why_not) if metric is None else (metric.value, None)
        of_metric: dict[str, Any] = {"session": 0, "metric": value, "no_metric": no_metric, "validations": 1}
        row = EpochRow(epoch=epoch if epoch >= 0 else len(self._epochs), **of_metric)
        if ranks.size == 1:
            totals = session.totals()
            total = self._total(totals)
            row = replace(row, total_kwh=total.energy_kwh, total_u_kwh=total.u_absolute_j / J_PER_KWH)
            if epoch >= 0:
                train, validation = (totals.energy(stage=s, epoch=epoch) for s in (TRAIN, VALIDATE))
                row = EpochRow.of(epoch, train, validation, total, **of_metric)
            row = replace(row, logged_train_j=row.train_j, logged_val_j=row.val_j, logged_total_kwh=row.total_kwh)
        if epoch >= 0:
            self._ends.add(epoch, len(self._epochs))
        self._epochs.append(row)

    def report(self, session: Session, ranks: Ranks, outcome: Outcome) -> Report:
        """The report of the loop so far. All ranks take part, unless this one goes on alone.

        With the last one the rows of epochs become final, but for their totals, which end where a metric was logged.
        """
        session.take_sums_of_steps()  # or they would be kept one by one
        totals, between = session.totals(), None
        if outcome != "running":
            known = self._ends.final(self._epochs, totals, ranks, without=EVALUATIONS)
            self._epochs, between = known.rows, known.between
        is_training = bool(session.steps.n or not self._stages or self._stages - EVALUATIONS)
        problem = self._problem()
        report = summarize(
            session,
            totals,
            session.steps,
            ranks,
            outcome=outcome,
            stages=totals.stages if outcome == "running" else None,
            units={TRAIN: {SAMPLES: self._samples if self._counted and not problem else None}},
            notes=[Note("samples", problem)] if problem else (),
        )
        (total,), _ = ranks.sum([self._total(totals)])
        report = replace(
            report,
            total=total if is_training else None,
            sessions=int(is_training),
            between=between if is_training else None,
            metric=self._metric,
            metric_epoch=epoch_of(self._epochs, self._metric),
            best=best_of(self._epochs, self._metric),
            no_metric=why_no_metric(self._epochs),
        )
        if outcome == "running" or not is_training:
            return report
        return replace(report, verdict=judge(Evidence(report, self._epochs, self._recorder.what)))

    def write_if_due(self, session: Session, ranks: Ranks) -> None:
        """Bring the record up to date soon when it is a minute old: a loop that is killed leaves one. Never raises."""
        self._tell()
        if not self._recorder.is_due or self._later.is_busy or not session.is_ours:
            return
        try:
            report = self.report(session, ranks.alone() if ranks.size > 1 else ranks, "running")
            self._later.do("record", partial(self._write, report, [*self._epochs], [], self._untold.append))
        except Exception as error:  # our defect must not end the loop
            if raised_by_handler(error):
                raise
            self._recorder.path = None
            self._warn(f"no record, as {type(error).__name__}: {error}; please report this as a bug")

    def write(self, report: Report, session: Session) -> None:
        """Write the last record, after all that was written so far. A disk that does not take it gives a warning."""
        rows = []
        if report.total is not None:
            devices = report.devices if report.has_all_devices else ()
            row = SessionRow(
                session.started_unix_s, report.outcome, report.total, report.samples, report.between, tuple(devices)
            )
            rows = [row]
        self._later.flush()
        self._later.close()
        self._tell()
        self._write(report, self._epochs, rows, self._warn)

    def _write(
        self, report: Report, epochs: Sequence[EpochRow], rows: Sequence[SessionRow], warn: Callable[[str], None]
    ) -> None:
        try:
            self._recorder.write(report, run_id=self._run_id, epochs=epochs, sessions=rows)
        except Exception as error:  # whatever becomes of the record, there is a report
            if raised_by_handler(error):
                raise
            if report.outcome != "running":  # there is none
                self._recorder.path = None
            warn(
                f"the record cannot be written ({type(error).__name__}: {error}): give another place, "
                f"EnergyMonitor(record=…)"
            )

    def _tell(self) -> None:
        while self._untold:
            self._warn(self._untold.pop(0))

    def _total(self, totals: Totals) -> Energy:
        """This rank's energy of all stages that are part of the training."""
        stages = totals.stages
        if not EVALUATIONS & {*stages}:
            return totals.energy()
        return Energy.sequence(totals.energy(stage=stage) for stage in stages if stage not in EVALUATIONS)

    def _problem(self) -> str:
        """The reason why samples are not known although some were given."""
        if not self._counted or not self._uncounted:
            return ""
        steps = self._counted + self._uncounted
        return f"Samples were not counted: {self._uncounted} of {steps} steps were without monitor.step(samples=…)"


def _place(record: bool | str | Path, run_id: str) -> Path | None:
    """The file of the record: where the user says, or a new folder of its own, so that nothing is overwritten."""
    if isinstance(record, bool):
        if not record:
            return None
        record = Path(FOLDER, f"{time.strftime('%Y-%m-%d_%H-%M-%S')}_{run_id[:SHORT_ID]}", NAME)
    return chosen_place(record)
