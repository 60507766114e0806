"""Validations: their energy, the metric that is fresh, and its score in the epoch it belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lightning_energy.curves.energy import NOTHING
from lightning_energy.meters.units import J_PER_KWH
from lightning_energy.results.notes import Note
from lightning_energy.results.rows import EpochRow, known_j
from lightning_energy.scores.scorer import AccuracyError
from lightning_energy.training import log_keys
from lightning_energy.training.lightning_private import forget_logged, logs_twice, promises_fraction
from lightning_energy.training.logged import log, log_late, read_metrics, total_values
from lightning_energy.training.monitor_checks import advice_on_absence, waiting_for_score
from lightning_energy.training.price_of_a_point import point_wh, with_validation
from lightning_energy.training.scored import Scored
from lightning_energy.training.withdrawal import withdraw_scores

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer

    from lightning_energy.curves.energy import Energy
    from lightning_energy.results.carbon import Conversion
    from lightning_energy.scores.metric import Metric
    from lightning_energy.scores.scorer import Judged, Scorer
    from lightning_energy.training.error_guard import Warn
    from lightning_energy.training.rank_books import RankBooks
    from lightning_energy.training.run_memory import RunMemory

__all__ = ["Validations"]

PART = 0.01  # share of the time up to the first score that may be missing without a word
OF_A_METRIC = (log_keys.ACCURACY, log_keys.METRIC, log_keys.SCORE, log_keys.POINT_WH)
NEVER = "no validation was run, and the score is of a metric that a validation logs"


@dataclass
class _Asked:
    """Answers of the ranks, which are asked once.

    Attributes:
        for_lacking: true once they were asked which of them has no metric.
        is_twice: true where the metric is logged again after we look; ``None`` before they were asked.
        is_promised: true where rank zero's class promises a fraction; ``None`` before they were asked.
    """

    for_lacking: bool = False
    is_twice: bool | None = None
    is_promised: bool | None = None


@dataclass
class _Logged:
    """Logged values of the last validation.

    Attributes:
        total: the energy of the training, logged with it.
        val_j: its own energy in joules; ``None`` unknown.
        problem: the reason why the value that it logged is no metric; empty without one.
        n: the number of validations of its epoch until then.
    """

    total: Energy = NOTHING
    val_j: float | None = None
    problem: str = ""
    n: int = 0


class Validations:
    """The validations of a run, one after the other.

    Attributes:
        scorer: finds the metric and scores it.
        last: the last metric; ``None`` before there is one.
        no_score: the reason why the last validation has no score; empty where it has one.

    Args:
        books: this rank's books.
        scorer: finds the metric and scores it.
        memory: keeps what was found of the metric for later sessions, and the scores of epochs.
        warn: takes a topic's first warning.
        conversion: the inputs of CO2e and cost.
        log_uncertainty: whether to log the total's uncertainty, too.
    """

    def __init__(
        self,
        books: RankBooks,
        scorer: Scorer,
        memory: RunMemory,
        warn: Warn,
        conversion: Conversion | None = None,
        *,
        log_uncertainty: bool = False,
    ) -> None:
        self.scorer = scorer
        self.last: Scored | None = None
        self.no_score = NEVER if scorer.rule.function is not None else ""
        self._books = books
        self._memory = memory
        self._warn = warn
        self._conversion = conversion
        self._log_uncertainty = log_uncertainty
        self._now: Scored | None = None  # of this validation
        self._epoch = -1  # of the last validation
        self._logged = _Logged()
        self._asked = _Asked()
        self._is_of_run = scorer.rule.is_of_run  # the reference of the score, also once it is known

    @property
    def figures(self) -> tuple[str, ...]:
        """The names of the figures that this training may be judged by."""
        scorer = self.scorer
        may_be_another = not scorer.may_be_accuracy or (scorer.scale is None and not scorer.choice.is_accuracy)
        return (
            *([log_keys.ACCURACY] if scorer.may_be_accuracy else []),
            *([log_keys.METRIC] if may_be_another else []),
            *([log_keys.SCORE] if scorer.may_be_scored else []),
        )

    @property
    def now(self) -> Scored | None:
        """The metric of the validation that has just ended; ``None`` where it has none."""
        return self._now

    def resume(self, memory: RunMemory) -> None:
        """Go on with what an earlier session found of the metric."""
        scorer, found = self.scorer, memory.found
        scorer.chosen = found.chosen
        scorer.scale = scorer.choice.scale or found.scales.get(scorer.choice.name or found.chosen or "")
        scorer.rule = scorer.rule.with_reference(found.reference_kwh or 0.0)

    def begin(self, trainer: Trainer) -> None:
        """Remember the metrics that are logged already, to know fresh values from old ones."""
        self.scorer.begin(trainer.callback_metrics)
        self._now, self._logged.problem = None, ""

    def end_epoch(self, trainer: Trainer, module: LightningModule, epoch: int) -> None:
        """Log the validation's energy, and the metric with its score if it is here already.

        Args:
            trainer: the Trainer.
            module: logs the values.
            epoch: the epoch that the validation belongs to; -1 outside of ``fit``.
        """
        books = self._books
        read_metrics(trainer, books.ranks)
        # while the choice is open, a metric that is logged after us may fit better: see end
        is_here = self.scorer.is_settled and not self._asked.is_twice
        found = self.scorer.find(trainer.callback_metrics) if is_here else None
        totals, (session, validation), value = books.reduce(
            lambda t: [books.of_fit(t), t.energy(stage="validate", epoch=epoch)],
            found and found[1],
            keeps=books.is_fit and trainer.is_last_batch,
        )
        self._logged.total = total = books.total_of(session, totals)
        values = total_values(total, self._conversion, log_uncertainty=self._log_uncertainty)
        self._logged.val_j = val_j = known_j(validation.energy_j)
        values |= {} if val_j is None else {log_keys.VAL_J: val_j}
        if value is not None:
            values |= self._take(trainer, found, value, total)
        log(module, values, books.ranks, self._warn, is_fit=books.is_fit)

    def end(self, trainer: Trainer) -> None:
        """Take a metric that was logged after :meth:`end_epoch`, by the module itself for example.

        Raises:
            AccuracyError: the sanity check shows that what the user named as a fraction is none.
        """
        found = self.scorer.find(trainer.callback_metrics, final=True)
        if trainer.sanity_checking:
            self._check_sanity(trainer, found)
            return
        if self._now is None or self._is_twice(trainer, self._name(found)):
            self._take_late(trainer, found)
            if self._now is not None:
                self._is_twice(trainer, self._name(found))
        if self._now is None or self._now.score is None:
            unscored = self.scorer.unscored(self._now and self._now.metric, trainer.callback_metrics)
            if waiting := advice_on_absence(trainer, self.no_score, unscored):
                self._warn("monitors", f"EnergyCallback: {waiting}")
        self._forget_old(trainer)
        if self._books.is_fit and self._now is not None:
            self._memory.found.reached = with_validation(self._memory.found.reached, self._now)
        self._keep()
        self.scorer.forget()
        self._logged.n = self._logged.n + 1 if self._epoch == trainer.current_epoch else 1
        self._epoch = trainer.current_epoch

    def has_logged(self, epoch: int) -> bool:
        """True if a validation in this epoch logged the run's total."""
        return self._epoch == epoch

    def row(self, epoch: int, train: Energy, validation: Energy, total: Energy, *, session: int) -> EpochRow:
        """The row of an epoch: its energies as they are known and as they were logged, and its last validation's score.

        Args:
            epoch: the epoch.
            train: energy of training in it.
            validation: energy of validation in it.
            total: energy of the training up to its end.
            session: number of the session.
        """
        is_here, scored = self._epoch == epoch, self.of_epoch(epoch)
        return EpochRow.of(
            epoch,
            train,
            validation,
            total,
            session=session,
            metric=None if scored is None else scored.metric.value,
            score=None if scored is None else scored.score,
            score_u=None if scored is None else scored.u,
            logged_train_j=train.energy_j,
            logged_val_j=self._logged.val_j if is_here else None,
            logged_total_kwh=(self._logged.total if is_here else total).energy_kwh,
            derived=self._conversion.row(total.energy_kwh) if self._conversion else {},
            no_metric=(self._logged.problem or None) if is_here and scored is None else None,
            validations=self._logged.n if is_here else 0,
        )

    def of_epoch(self, epoch: int) -> Scored | None:
        """The metric of this epoch's last validation, if it has one."""
        return self._now if self._epoch == epoch else None

    def _check_sanity(self, trainer: Trainer, found: tuple[str, float] | None) -> None:
        """Judge the scale now, while nothing is lost; by the mean of all ranks, so that all of them do the same."""
        value = self._books.mean(found and found[1])
        if value is None:
            return
        name = self._name(found)
        if wrong := self.scorer.refusal(name, value):
            raise AccuracyError(wrong)
        self._is_twice(trainer, name)
        self._judge(trainer, name, value)
        self._keep()

    def _take_late(self, trainer: Trainer, found: tuple[str, float] | None) -> None:
        value = self._books.mean(found and found[1])
        if value is not None:
            if self._now is not None:  # an earlier value of this validation
                forget_logged(trainer, OF_A_METRIC)
            log_late(trainer, self._take(trainer, found, value, self._logged.total), self._warn)
            return
        lacking: list[int] = []
        if not self._asked.for_lacking:
            self._asked.for_lacking = True  # on all ranks at once
            has = self._books.ranks.gather(found is not None)
            lacking = [rank for rank, has_it in enumerate(has) if not has_it] if any(has) else []
        topic = "" if waiting_for_score(trainer) else "no accuracy"  # those that wait are told with the reason
        self._have_none(self.scorer.advice(trainer.callback_metrics, lacking, waits=not topic), topic)

    def _take(self, trainer: Trainer, found: tuple[str, float] | None, value: float, total: Energy) -> dict[str, float]:
        """The values of a metric at the total that was logged with this validation, and of its score if it has one.

        Args:
            trainer: the Trainer.
            found: name and value on this rank; ``None`` where rank zero alone has it.
            value: the value of all ranks.
            total: the energy of the training.
        """
        scorer, name = self.scorer, self._name(found)
        judged = self._judge(trainer, name, value)
        metric, self._logged.problem = judged.metric, judged.problem
        if metric is None:
            waits = scorer.choice.name is None and -1.0 <= value < 0.0  # a balanced accuracy below chance
            self._have_none(judged.problem, "" if waits else "accuracy")
            return {}
        score = self._score(metric, total)
        u = None if score is None else scorer.u_of_score(metric, total.energy_kwh, total.u_absolute_j / J_PER_KWH)
        self.last = self._now = now = Scored(metric, score, total.energy_kwh, u, total.missing_s)
        values = {log_keys.METRIC: value} if metric.accuracy is None else {log_keys.ACCURACY: metric.accuracy}
        return values | ({} if score is None else {log_keys.SCORE: score}) | self._price(now)

    def _judge(self, trainer: Trainer, name: str, value: float) -> Judged:
        """Judge a value, which may show that those before it, in earlier sessions too, were no fractions."""
        judged = self.scorer.judge(name, value, is_promised=self._is_promised(trainer, name))
        if judged.withdraws and (self.last is not None or self._memory.sessions):
            self._withdraw(trainer, name, value)
        return judged

    def _score(self, metric: Metric, total: Energy) -> float | None:
        scorer = self.scorer
        if scorer.rule.function is None:
            return None
        if why := scorer.why_unscored(metric):
            self._have_none(why, "no accuracy" if scorer.choice.name is None else "")
            return None
        if total.energy_kwh is None:
            # an evaluation alone is about no training
            self._have_none("the energy of the training is unknown", "no energy" if self._books.is_fit else "")
            return None
        was_open = scorer.rule.is_of_run
        score = scorer.score(metric, total.energy_kwh)
        if was_open and not scorer.rule.is_of_run and total.missing_s > PART * total.duration_s:
            self._remark("reference_part", _of_a_part(total))
        if scorer.rule.formula is None:  # the user's function may do other things on other ranks
            score = self._books.ranks.gather(score)[0]
        if score is None:
            self._have_none(scorer.why_undefined(metric, total.energy_kwh), "undefined")
            return None
        self.no_score = ""
        return score

    def _remark(self, topic: str, note: Note) -> None:
        self._memory.notes = [*self._memory.notes, note]
        self._warn(topic, f"EnergyCallback: {note.text}")

    def _price(self, now: Scored) -> dict[str, float]:
        """The price of a further point of a metric that the user named; none while it is not known."""
        is_asked = self.scorer.choice.name is not None and self._books.is_fit
        wh = point_wh(self._memory.found.reached, now) if is_asked else None
        return {} if wh is None else {log_keys.POINT_WH: wh}

    def _have_none(self, why: str, topic: str) -> None:
        """Keep the reason why this validation has no score; warn of it once, where it is a surprise."""
        if self.scorer.rule.function is None:
            return
        self.no_score = why
        if topic and (topic != "no accuracy" or self._logged.total.energy_j is not None):
            self._warn(topic, f"EnergyCallback: no {log_keys.SCORE}, as {why}")

    def _withdraw(self, trainer: Trainer, name: str, value: float) -> None:
        left = withdraw_scores(trainer, self._memory)
        self.last = None
        text = (
            f"{name}={value:g} shows that {name} is a percentage: the scores before it took it for a fraction, and are "
            f"withdrawn (points that are drawn already stay).{left} Say it from the beginning with scale='percent', or "
            f"with scale='fraction' if this value is the wrong one"
        )
        self._remark("withdrawn", Note("withdrawn", text))

    def _keep(self) -> None:
        """Keep for later sessions what was found of the metric."""
        scorer, memory = self.scorer, self._memory.found
        memory.chosen, name = scorer.chosen, scorer.choice.name or scorer.chosen
        if name is not None and scorer.scale is not None:
            memory.scales[name] = scorer.scale
        memory.reference_kwh = scorer.rule.reference_kwh if self._is_of_run else None

    def _is_promised(self, trainer: Trainer, name: str) -> bool:
        """True where rank zero's class promises a fraction. All ranks take part, the first time."""
        if self._asked.is_promised is None:
            self._asked.is_promised = self._books.ranks.gather(promises_fraction(trainer, name))[0]
        return self._asked.is_promised

    def _is_twice(self, trainer: Trainer, name: str) -> bool:
        """True where a rank logs the metric again after we look: the later value counts. All ranks take part once."""
        if self._asked.is_twice is None:
            self._asked.is_twice = any(self._books.ranks.gather(logs_twice(trainer, name)))
        return self._asked.is_twice

    def _name(self, found: tuple[str, float] | None) -> str:
        return found[0] if found is not None else self.scorer.choice.name or self.scorer.chosen or "the metric"

    def _forget_old(self, trainer: Trainer) -> None:
        """Remove an earlier validation's values where this one has none."""
        now = self._now
        accuracy = None if now is None else now.metric.accuracy
        absent = {
            log_keys.SCORE: now is None or now.score is None,
            log_keys.ACCURACY: accuracy is None,
            log_keys.METRIC: now is None or accuracy is not None,
            log_keys.POINT_WH: now is None or not self._price(now),
        }
        for key in (key for key, is_absent in absent.items() if is_absent):
            trainer.callback_metrics.pop(key, None)
            trainer.logged_metrics.pop(key, None)


def _of_a_part(total: Energy) -> Note:
    """A remark on a reference that is the known part of an energy."""
    return Note(
        "other",
        f"reference_kwh='run' is {total.energy_kwh:.4g} kWh, the known part of the energy up to the first score: "
        f"{total.missing_s:.4g} s of it are missing, so that all scores of this run are too low. Give a number of kWh",
    )
