"""From the parts of a run to its reports and its record: after every epoch, every minute, and at the end."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from lightning_energy.curves.energy import NOTHING
from lightning_energy.results.best import best_of, epoch_of, why_no_metric
from lightning_energy.results.notes import Note
from lightning_energy.results.summary import summarize
from lightning_energy.results.verdict.evidence import Evidence
from lightning_energy.results.verdict.judge import judge
from lightning_energy.training.forecasts import Forecasts
from lightning_energy.training.stages import OF_A_FIT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lightning_energy.curves.energy import Energy
    from lightning_energy.ledger.ranks import Ranks
    from lightning_energy.ledger.session import Session
    from lightning_energy.ledger.totals import Totals
    from lightning_energy.results.carbon import Conversion
    from lightning_energy.results.figures import Outcome
    from lightning_energy.results.report import Report
    from lightning_energy.training.outputs import Outputs
    from lightning_energy.training.rank_books import RankBooks
    from lightning_energy.training.run_memory import RunMemory
    from lightning_energy.training.stages import Stages
    from lightning_energy.training.validations import Validations

__all__ = ["Reporter"]


class Reporter:
    """Makes the reports of a run and hands them to its outputs.

    Attributes:
        forecasts: the forecasts of its end.
        ended: the causes that ended it before its limit.

    Args:
        books: this rank's books.
        stages: the stages.
        validations: the scores.
        memory: the energy of the run over its sessions.
        outputs: record, trace, dashboards, terminal.
        conversion: the inputs of CO2e and cost.
    """

    def __init__(
        self,
        books: RankBooks,
        stages: Stages,
        validations: Validations,
        *,
        memory: RunMemory,
        outputs: Outputs,
        conversion: Conversion | None = None,
    ) -> None:
        self._books = books
        self._stages = stages
        self._validations = validations
        self._memory = memory
        self._outputs = outputs
        self._conversion = conversion
        self._before = NOTHING
        self.ended: list[Note] = []
        self.forecasts = Forecasts(books, outputs, conversion, memory)

    def so_far(self, totals: Totals, ranks: Ranks) -> None:
        """Bring the record up to date: a run that is killed leaves one that is no older. Each rank keeps its own.

        Args:
            totals: the totals of this rank's accounts.
            ranks: those that come here now: all at an epoch's end, this one alone in between.
        """
        session = self._books.session
        if session is None:
            return
        total = self._memory.total(self._books.live(totals), self._books.ranks)
        summary = self._summary(session, totals, ranks, "running", OF_A_FIT)
        complete = self._complete(total, self.forecasts.notes_later)
        if ranks.size > 1:  # all of them sum up together, here and now
            of_all = summary()
            alone = self._summary(session, totals, ranks.alone(), "running", OF_A_FIT)
            report = complete(of_all if self._books.ranks.is_zero else alone())
            self._outputs.write_so_far(lambda: report, self._memory, self._memory.before)
        else:
            self._outputs.write_so_far(lambda: complete(summary()), self._memory, self._memory.before)
        self.write_trace()

    def final(self, session: Session, outcome: Outcome) -> Report:
        """The last report of this session, which is then one of the run's earlier ones. All ranks take part.

        Args:
            session: the session, finished.
            outcome: its end.
        """
        totals = session.totals()
        if self._stages.is_fit and self._memory.has_ended:  # a signal handler raised after that: it counts once
            outcome = self._memory.sessions[-1].outcome
        report = self._summary(session, totals, self._books.ranks, outcome)()
        forecasts = self.forecasts.notes if outcome == "interrupted" else []
        report = replace(report, notes=[*report.notes, *self.ended, *forecasts])
        if not self._keeps_old_record and self._books.session is not None:
            self._outputs.write_trace(self._books.session, self._memory)
        if self._stages.is_fit and not self._memory.has_ended:
            self._before = self._memory.before
            samples = None if self._books.ranks.left else report.samples
            between = self.know_rows_better(totals, is_final=True)
            self._memory.end_session(
                report.session,
                self._books.ranks,
                started_unix_s=session.started_unix_s,
                outcome=outcome,
                samples=samples,
                is_search=outcome == "completed" and not self._stages.is_training,
                between=between,
                devices=report.devices if report.has_all_devices else (),
            )
            report = replace(report, between=between)
        total = self._memory.before
        report = self._complete(total if self._stages.is_fit and total != NOTHING else None)(report)
        if not self._stages.is_fit:
            return report
        return replace(report, verdict=judge(Evidence(report, self._memory.history, self._outputs.what)))

    def know_rows_better(self, totals: Totals, *, is_final: bool = False) -> Energy | None:
        """Give the rows of this session's epochs the energies that are known now.

        Args:
            totals: the totals of this rank's accounts.
            is_final: true at the end of the session, where all ranks take part; else this rank must be the only one.

        Returns:
            The energy of this session that is in none of these rows; ``None`` where that is not known.
        """
        books, memory = self._books, self._memory
        derive = None if self._conversion is None else self._conversion.row
        if is_final:
            known = books.epochs.final(
                memory.history,
                totals,
                books.ranks,
                after=memory.after,
                derive=derive,
                is_known=not books.has_given_up,
            )
        else:
            known = books.epochs.now(memory.history, totals, memory.after, derive)
        memory.history = known.rows
        return known.between

    def publish(self, report: Report) -> None:
        """Write a final report to the record, and show it."""
        if not self._keeps_old_record:
            self._outputs.write_record(report, self._memory, self._before, is_fit=self._stages.is_fit)
        self._outputs.end(report)

    def write_trace(self, *, if_many: bool = False) -> None:
        """Write the news of curves and steps soon; with ``if_many`` only if they take much memory by now."""
        if self._books.session is not None:
            self._outputs.write_trace_later(self._books.session, self._memory, if_many=if_many)

    @property
    def _keeps_old_record(self) -> bool:
        """True where this ``fit`` failed to start: an earlier session's record in its place says more."""
        return self._stages.is_fit and not self._stages.is_training and self._outputs.left is not None

    def _summary(
        self, session: Session, totals: Totals, ranks: Ranks, outcome: Outcome, stages: Sequence[str] | None = None
    ) -> Callable[[], Report]:
        """A function that sums a session up as it is now, in whatever thread."""
        counts, steps = self._stages.counts, self._books.steps
        counts.steps = steps.n
        return partial(
            summarize,
            session,
            totals,
            steps,
            ranks,
            outcome=outcome,
            stages=stages,
            energy=self._books.live(totals),
            units=counts.units,
            passes={**counts.passes},
            notes=[*self._books.notes, *self._stages.remarks],
        )

    def _complete(
        self, total: Energy | None, forecasts: Callable[[], Sequence[Note]] = tuple
    ) -> Callable[[Report], Report]:
        """A function that adds the figures of the run, as they are now, to a session's report, in whatever thread."""
        last, history, sessions = self._validations.last, [*self._memory.history], len(self._memory.sessions)
        metric, score = (None, None) if last is None else (last.metric, last.score)
        rule, conversion = self._validations.scorer.rule, self._conversion
        no_score = self._validations.no_score if self._stages.is_fit and score is None else ""
        notes = [*self._memory.notes, *(Note("samples", p) for p in self._stages.counts.problems)]
        first_waits = self._stages.first_waits

        def complete(report: Report) -> Report:
            return replace(
                report,
                total=total,
                sessions=0 if total is None else sessions,
                metric=metric,
                metric_epoch=epoch_of(history, metric),
                best=best_of(history, metric),
                score=score,
                score_u=None if last is None else last.u,
                score_kwh=None if last is None else last.energy_kwh,
                score_name=rule.name,
                no_score=no_score,
                no_metric=why_no_metric(history),
                first_waits=first_waits,
                derived=conversion.derive(total or report.session) if conversion else None,
                notes=[*notes, *report.notes, *forecasts()],
            )

        return complete
