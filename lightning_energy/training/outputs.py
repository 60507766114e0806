"""The outputs of a run besides its logged values: record, trace, dashboards, progress bar, terminal.

A failure here gives one warning, and the training goes on.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lightning_energy.meters.handlers import forgive, raised_by_handler
from lightning_energy.results.brief import Place
from lightning_energy.results.rendering import show
from lightning_energy.results.trace_files import TraceFiles
from lightning_energy.training import log_keys
from lightning_energy.training.dashboards import Dashboards
from lightning_energy.training.found_records import records_from
from lightning_energy.training.later import Later
from lightning_energy.training.left_records import contains
from lightning_energy.training.lightning_private import is_quiet
from lightning_energy.training.progress import BarFigures
from lightning_energy.training.recorder import (
    Recorder,
    batch_size_of,
    keep_other_run,
    look_at_place,
    what_is_trained,
    where_to_record,
    workers_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from lightning.pytorch import LightningModule, Trainer

    from lightning_energy.curves.energy import Energy
    from lightning_energy.ledger.ranks import Ranks
    from lightning_energy.ledger.session import Session
    from lightning_energy.results.record import Record
    from lightning_energy.results.report import Report
    from lightning_energy.results.trace_files import TraceFormat
    from lightning_energy.scores.metric import Metric
    from lightning_energy.training.run_memory import RunMemory

__all__ = ["Outputs"]

TRACED_ROWS = 20_000  # of a trace in memory, some megabytes


def _nobody(topic: str, text: str) -> None:
    """Take no warning."""


class Outputs:
    """The outputs of one run of a Trainer on one rank; made by :meth:`of`, and without it they go nowhere.

    Attributes:
        bar: the figures of the progress bar; ``None`` shows none.
        left: the record that an earlier session left where this one's will lie; ``None`` without one.
        of_checkpoint: the records that lie where the checkpoint says that its run's record lies.
    """

    def __init__(self, warn: Callable[[str, str], None] = _nobody) -> None:
        self.bar: BarFigures | None = None
        self.left: Record | None = None
        self.of_checkpoint: list[Record] = []
        self._warn = warn
        self._recorder: Recorder | None = None
        self._trace: TraceFiles | None = None
        self._is_traced = False
        self._is_branch = False  # the record in our place is of another resumption of the same checkpoint
        self._dashboards = Dashboards()
        self._is_lost = False  # the last figures could not be written to the record
        self._prints = False
        self._later = Later()
        self._untold: list[tuple[str, str]] = []  # warnings of the thread that writes, which nobody would see there

    @classmethod
    def of(
        cls,
        trainer: Trainer,
        module: LightningModule,
        ranks: Ranks,
        warn: Callable[[str, str], None],
        *,
        is_fit: bool,
        record: bool | str | Path,
        trace: TraceFormat | None,
        dashboards: bool,
        progress_bar: bool,
        print_report: bool | None,
    ) -> Outputs:
        """The outputs that the settings ask for. All ranks take part.

        Args:
            trainer: the Trainer.
            module: the module that it trains.
            ranks: the ranks.
            warn: takes a topic's first warning.
            is_fit: whether this is a ``fit``: others have no trace, no dashboards and no bar.
            record: the setting of the callback, as all that follow.
            trace: same.
            dashboards: same.
            progress_bar: same.
            print_report: same.
        """
        outputs = cls(warn)
        wanted = where_to_record(trainer, record)
        path, left = look_at_place(trainer, wanted)
        if path != wanted:
            warn(
                "foreign",
                f"EnergyCallback: {wanted} is no record of lightning-energy, and stays as it is: this run's record is "
                f"{path}. Give another place: EnergyCallback(record=…)",
            )
        outputs.left = left if is_fit else None
        outputs._recorder = recorder = Recorder(path, what_is_trained(trainer, module), ranks.rank, left)
        outputs._prints = ranks.is_zero and (not is_quiet(trainer) if print_report is None else print_report)
        if not is_fit:
            return outputs
        if trace is not None and recorder.path is not None:
            outputs._trace = TraceFiles(recorder.path, trace)
        elif trace is not None:
            warn("trace", f"EnergyCallback: no trace={trace!r}, as the run has no record: give record='path'")
        if ranks.is_zero:
            outputs._dashboards = Dashboards(trainer.loggers if dashboards else (), warn)
            outputs.bar = BarFigures() if progress_bar else None
        return outputs

    @property
    def place(self) -> Path | None:
        """The file of the run's record, on all ranks that of rank zero; ``None`` without one."""
        return None if self._recorder is None else self._recorder.place

    def look_back(self, trainer: Trainer, state: Any) -> None:
        """Find the record of the run that a checkpoint is of. All ranks take part, and get the same.

        Args:
            trainer: the Trainer, which loads it.
            state: the callback's state in it; ``None`` where it has none.
        """
        place = state.get("record") if isinstance(state, dict) else None
        if place is not None:
            found = records_from(trainer.ckpt_path, place) if trainer.is_global_zero else []
            self.of_checkpoint = trainer.strategy.broadcast(found)

    def hand_over(self, memory: RunMemory) -> None:
        """Give a run that goes on from a checkpoint the records that may know what was spent after it."""
        left = [] if self.left is None else [self.left]
        self._is_branch = any(r.run_id == memory.run_id and not contains(r, memory.sessions) for r in left)
        memory.take_in([*left, *self.of_checkpoint])

    @property
    def what(self) -> Mapping[str, Any]:
        """The description of the training; empty where no record is kept."""
        return {} if self._recorder is None else self._recorder.what

    @property
    def is_traced(self) -> bool:
        """True where curves and steps are to be kept."""
        return self._trace is not None

    @property
    def is_due(self) -> bool:
        """True when the record is a minute old."""
        return self._recorder is not None and self._recorder.is_due and not self._later.is_busy

    def abandon(self) -> None:
        """Close the record of a run that nobody will end. From any thread."""
        self._later.close()
        if self._recorder is not None:
            self._recorder.abandon()

    def close(self) -> None:
        """Let the loggers and the bar go. The record may still be written."""
        self._dashboards, self.bar = Dashboards(), None

    def end_writing(self) -> None:
        """Write nothing any more."""
        self._later.close()

    def begin(self, trainer: Trainer, run_id: str) -> None:
        """Begin the training: its DataLoader is there, and an earlier session's record has been taken in."""
        recorder = self._recorder
        if recorder is None:
            return
        if recorder.rank == 0:
            self._keep_other_run(recorder, run_id)
            recorder.forget_other_ranks()  # none of them writes before the end of an epoch, or of a minute
        with forgive(Exception):  # whatever the user's loaders are
            recorder.what["batch_size"] = batch_size_of(trainer)
            recorder.what |= workers_of(trainer)
        if recorder.path is not None:
            self._later.begin()  # else the first epoch's end would

    def _keep_other_run(self, recorder: Recorder, run_id: str) -> None:
        """Keep the record and the trace of another run that lie where those of this run will."""
        try:
            place = keep_other_run(recorder.path, self.left, "" if self._is_branch else run_id)
            if place is None:
                return
            if self._trace is not None:
                self._trace.keep(place)
        except OSError as error:
            text = f"the record of another run cannot be kept ({type(error).__name__}: {error}), and is replaced"
        else:
            text = f"the record of another run lay where that of this run will, and is now {place}"
        self._warn(
            "place",
            f"EnergyCallback: {text}. Give each run a logger with a version of its own, or another "
            f"EnergyCallback(record=…)",
        )

    def announce(
        self,
        trainer: Trainer,
        session: Session,
        score_name: str,
        *,
        early: bool,
        figures: Sequence[str] = (log_keys.ACCURACY, log_keys.SCORE),
    ) -> None:
        """Give the dashboards the configuration: module, hyperparameters, meters, score and the figures to judge by."""
        if self._recorder is not None:
            meters = "; ".join(channel.info.name for channel in session.channels)
            run = {**self._recorder.what, "meters": meters, "score": score_name}
            self._dashboards.announce(trainer, run, early=early, figures=figures, has_power=session.is_power_seen)

    def point(
        self, trainer: Trainer, axis: str | None, total_kwh: float, metric: Metric, score: float | None
    ) -> str | None:
        """Add a point to the curves over energy; returns the unit of their axis, to be kept with the run."""
        return self._dashboards.point(trainer, axis, total_kwh=total_kwh, metric=metric, score=score)

    def write_so_far(self, report: Callable[[], Report], spent: RunMemory, before: Energy) -> None:
        """Bring the record of a ``fit`` up to date soon, in a thread of its own.

        Args:
            report: makes the figures of this session so far, in that thread.
            spent: the run's history and sessions, as they are now.
            before: energy of earlier sessions, all ranks together.
        """
        if self._recorder is None:
            return
        run_id, history, sessions, note = spent.run_id, [*spent.history], [*spent.sessions], self._note

        def write(recorder: Recorder = self._recorder) -> None:
            figures = report()
            with _told_of_records(note):
                recorder.write(figures, run_id=run_id, before=before, epochs=history, sessions=sessions)

        self._tell()
        self._later.do("record", write)

    def write_record(self, report: Report, spent: RunMemory, before: Energy, *, is_fit: bool) -> None:
        """Bring the record up to date at the end of a run, after all that was written so far.

        Args:
            report: the figures of this session.
            spent: the run's history and sessions.
            before: energy of earlier sessions, all ranks together.
            is_fit: whether this is a ``fit``; others are added to its record.
        """
        recorder = self._recorder
        if recorder is None:
            return
        try:
            self.flush()
        finally:
            self._is_lost = True
            with _told_of_records(self._warn):
                if is_fit and report.outcome == "completed" and recorder.rank:
                    recorder.discard()
                elif is_fit:
                    recorder.write(
                        report, run_id=spent.run_id, before=before, epochs=spent.history, sessions=spent.sessions
                    )
                elif recorder.rank == 0:
                    recorder.add_evaluation(report)
                self._is_lost = False

    def flush(self) -> None:
        """Wait until all is written so far."""
        self._later.flush()
        self._tell()

    def _note(self, topic: str, text: str) -> None:
        """Keep a warning until the training's own thread comes by."""
        self._untold.append((topic, text))

    def _tell(self) -> None:
        while self._untold:
            self._warn(*self._untold.pop(0))

    def write_trace_later(self, session: Session, spent: RunMemory, *, if_many: bool = False) -> None:
        """Write the news of curves and steps soon, in a thread of its own.

        Args:
            session: the session.
            spent: knows the number of the session.
            if_many: write only if they take much memory by now.
        """
        if not session.is_traced or (if_many and session.traced_rows <= TRACED_ROWS):
            return
        number = len(spent.sessions)
        self._tell()
        self._later.do("trace", lambda: self._write_trace(session, number, self._note))

    def write_trace(self, session: Session, spent: RunMemory) -> None:
        """Write the last news of curves and steps.

        Args:
            session: the session.
            spent: knows the number of the session.
        """
        self.flush()
        self._write_trace(session, len(spent.sessions), self._warn)

    def _write_trace(self, session: Session, number: int, warn: Callable[[str, str], None]) -> None:
        try:
            news = session.take_trace()  # also where no file takes it any more: it must not pile up
            if self._trace is None or news is None:
                return
            if not self._is_traced and number == 0:
                self._trace.remove()
            self._is_traced = True
            self._trace.write(number, *news)
        except Exception as error:  # as for the record
            if raised_by_handler(error):
                raise
            self._trace = None
            warn(
                "trace",
                f"EnergyCallback: the trace cannot be written ({type(error).__name__}: {error}); the training goes on "
                f"without more of it. Give another place: EnergyCallback(record=…)",
            )

    def end(self, report: Report) -> None:
        """Give the outcome to the dashboards and, where it is printed, to the terminal."""
        self._dashboards.end(report)
        problem = show(report, self._place(report)) if self._prints else ""
        if problem:
            self._warn("print", f"EnergyCallback: {problem}; it is in callback.report")

    def _place(self, report: Report) -> Place:
        """The place of the record; the details of a test or prediction beside a training are not in it."""
        path = None if self._recorder is None else self._recorder.path
        details = "callback.report.details()" if report.is_of_fit else "callback.evaluations[-1].details()"
        if path is not None and self._is_lost:
            return Place(details=details, why_none=f"these figures could not be written to {path}")
        return Place.of_record(path) if path is not None and report.is_of_fit else Place(path, details)


@contextmanager
def _told_of_records(warn: Callable[[str, str], None]) -> Iterator[None]:
    """Turn the fault of a full or read-only disk, which must not end the training, into a warning."""
    try:
        yield
    except Exception as error:
        if raised_by_handler(error):
            raise
        warn(
            "record",
            f"EnergyCallback: the record cannot be written ({type(error).__name__}: {error}); the training goes "
            f"on, and the next write tries again. Give another place: EnergyCallback(record=…)",
        )
