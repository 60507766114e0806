"""Validations: their energy, the accuracy that is fresh, and its score in the epoch it belongs to."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from lightning_energy.curves.energy import NOTHING
from lightning_energy.scores.scorer import AccuracyError
from lightning_energy.training import log_keys
from lightning_energy.training.lightning_private import ends_without
from lightning_energy.training.logged import log, log_late, read_metrics, total_values

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer

    from lightning_energy.curves.energy import Energy
    from lightning_energy.results.carbon import Conversion
    from lightning_energy.scores.scorer import Scorer
    from lightning_energy.training.error_guard import Warn
    from lightning_energy.training.rank_books import RankBooks

__all__ = ["Scored", "Validations"]


class Scored(NamedTuple):
    """A scored accuracy.

    Attributes:
        name: the name it was logged by.
        accuracy: the accuracy, a fraction.
        score: its score.
        energy_kwh: the energy that it was scored with, in kWh.
    """

    name: str
    accuracy: float
    score: float
    energy_kwh: float


class Validations:
    """The validations of a run, one after the other.

    Attributes:
        scorer: finds the accuracy and scores it.
        last: the last score; ``None`` before there is one.

    Args:
        books: this rank's books.
        scorer: finds the accuracy and scores it.
        warn: takes a topic's first warning.
        conversion: the inputs of CO2e and cost.
        log_uncertainty: whether to log the total's uncertainty, too.
    """

    def __init__(
        self,
        books: RankBooks,
        scorer: Scorer,
        warn: Warn,
        conversion: Conversion | None = None,
        *,
        log_uncertainty: bool = False,
    ) -> None:
        self.scorer = scorer
        self.last: Scored | None = None
        self._books = books
        self._warn = warn
        self._conversion = conversion
        self._log_uncertainty = log_uncertainty
        self._is_scored = False  # this validation
        self._epoch = -1  # of the last validation
        self._total = NOTHING  # logged with the last validation

    def begin(self, trainer: Trainer) -> None:
        """Remember the metrics that are logged already, to know fresh values from old ones."""
        self.scorer.begin(trainer.callback_metrics)
        self._is_scored = False

    def end_epoch(self, trainer: Trainer, module: LightningModule, epoch: int) -> None:
        """Log the validation's energy, and the score if the accuracy is here already.

        Args:
            trainer: the Trainer.
            module: logs the values.
            epoch: the epoch that the validation belongs to; -1 outside of ``fit``.
        """
        books = self._books
        read_metrics(trainer, books.ranks)
        # while the choice is open, a metric that is logged after us may fit better: see end
        found = self.scorer.find(trainer.callback_metrics) if self.scorer.is_settled else None
        totals, (session, validation), accuracy = books.reduce(
            lambda t: [books.of_fit(t), t.energy(stage="validate", epoch=epoch)], found and found[1]
        )
        self._total = total = books.total_of(session, totals)
        values = total_values(total, self._conversion, log_uncertainty=self._log_uncertainty)
        if validation.energy_j is not None:
            values[log_keys.VAL_J] = validation.energy_j
        if found is not None and accuracy is not None:
            values |= self._score(found[0], accuracy, total)
        log(module, values, books.ranks)

    def end(self, trainer: Trainer) -> None:
        """Score an accuracy that was logged after :meth:`end_epoch`, by the module itself for example.

        Raises:
            AccuracyError: the sanity check shows that it is no fraction.
        """
        found = self.scorer.find(trainer.callback_metrics, final=True)
        if trainer.sanity_checking:
            self._check_sanity(found)
            return
        if not self._is_scored:
            self._score_late(trainer, found)
        if not self._is_scored:
            _forget_score(trainer)
        self.scorer.forget()
        self._epoch = trainer.current_epoch

    def has_logged(self, epoch: int) -> bool:
        """True if a validation in this epoch logged the run's total."""
        return self._epoch == epoch

    def scored_in(self, epoch: int) -> Scored | None:
        """The score of this epoch's last validation, if it has one."""
        return self.last if self._is_scored and self._epoch == epoch else None

    def _check_sanity(self, found: tuple[str, float] | None) -> None:
        """Raise now, while nothing is lost; by the mean of all ranks, so that all of them end together."""
        accuracy = self._books.mean(found and found[1])
        if found is None or accuracy is None or not math.isfinite(accuracy):
            return
        wrong = self.scorer.check(found[0], accuracy)
        if wrong:
            raise AccuracyError(wrong)

    def _score_late(self, trainer: Trainer, found: tuple[str, float] | None) -> None:
        accuracy = self._books.mean(found and found[1])
        if found is not None and accuracy is not None:
            log_late(trainer, self._score(found[0], accuracy, self._total), self._warn)
        elif self._total.energy_j is not None:
            advice = self.scorer.advice(trainer.callback_metrics)
            self._warn("no accuracy", f"EnergyCallback: no {log_keys.SCORE}, as {advice}")

    def _score(self, name: str, accuracy: float, total: Energy) -> dict[str, float]:
        """The values of a score at the total that was logged with this validation; none where there is no score."""
        wrong = self.scorer.check(name, accuracy)
        if wrong:
            self._warn("accuracy", f"EnergyCallback: no {log_keys.SCORE}, as {wrong}")
            return {}
        if total.energy_kwh is None:
            self._warn("no energy", f"EnergyCallback: no {log_keys.SCORE}, as the energy of the training is unknown")
            return {}
        score = self.scorer.score(accuracy, total.energy_kwh)
        if score is None:
            at = f"accuracy={accuracy:g} and energy_kwh={total.energy_kwh:g}"
            self._warn(
                "undefined",
                f"EnergyCallback: {self.scorer.name} is not defined at {at}{self.scorer.reason}; it is not logged",
            )
            return {}
        self._is_scored = True
        self.last = Scored(name, accuracy, score, total.energy_kwh)
        return {log_keys.ACCURACY: accuracy, log_keys.SCORE: score}


def _forget_score(trainer: Trainer) -> None:
    """Remove an earlier validation's score where this one has none, unless its absence would end the run."""
    for key in (log_keys.SCORE, log_keys.ACCURACY):
        if not any(ends_without(c, key) for c in trainer.callbacks):  # type: ignore[attr-defined]  # by a connector
            trainer.callback_metrics.pop(key, None)
            trainer.logged_metrics.pop(key, None)
