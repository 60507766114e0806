from __future__ import annotations

import math

import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping

from lightning_energy.results.carbon import Conversion
from lightning_energy.scores.scorer import AccuracyError, Scorer
from lightning_energy.training import log_keys
from lightning_energy.training.run_memory import RunMemory
from lightning_energy.training.validations import Validations
from tests.modules import MemoryLogger
from tests.training.parts import ModuleLike, Warned, books_of, joules, replay, spend, trainer_like, two_ranks

TOTALS = {log_keys.TOTAL_WH}
SCORED = {log_keys.ACCURACY, log_keys.SCORE}


class Run:
    """Validations of one run, with a Trainer that is not there."""

    def __init__(self, accuracy="val_acc", score=None, meters=None, **kwargs) -> None:
        self.warn, self.logger = Warned(), MemoryLogger()
        self.trainer = trainer_like(loggers=[self.logger], **kwargs.pop("trainer", {}))
        self.module = ModuleLike(self.trainer)
        conversion = kwargs.pop("conversion", None)
        kwargs.setdefault("memory", RunMemory(before=joules(3.6e6)))
        self.books = books_of(*([replay()] if meters is None else meters), **kwargs)
        spend(self.books.session, epoch=0 if self.books.is_fit else -1, stage="validate")
        self.validations = Validations(self.books, Scorer(accuracy, score, 1.0), self.warn, conversion)

    def validate(self, epoch=0, early=None, late=None, sanity=False) -> dict[str, float]:
        """One validation that logs metrics before or after we look; what was logged by us."""
        self.trainer.current_epoch, self.trainer.sanity_checking = epoch, sanity
        self.module.calls.clear()
        self.validations.begin(self.trainer)
        self._log(early)
        if not sanity:
            self.validations.end_epoch(self.trainer, self.module, epoch)
        self._log(late)
        self.validations.end(self.trainer)
        return self.module.logged

    def _log(self, metrics) -> None:
        for name, value in (metrics or {}).items():
            self.trainer.callback_metrics[name] = self.trainer.logged_metrics[name] = torch.tensor(value)

    def metric(self, name: str) -> float | None:
        value = self.trainer.callback_metrics.get(name)
        return None if value is None else float(value)


@pytest.fixture
def run():
    made = []

    def make(*args, **kwargs):
        made.append(Run(*args, **kwargs))
        return made[-1]

    yield make
    for one in made:
        one.books.close()


def test_energy_and_score_are_logged_with_the_accuracy(run):
    one = run(conversion=Conversion.of(price=0.5))
    logged = one.validate(early={"val_acc": 0.75})
    assert {*logged} == TOTALS | SCORED | {log_keys.VAL_J, log_keys.COST}
    assert logged[log_keys.TOTAL_WH] >= 1000  # with what was spent before
    assert logged[log_keys.ACCURACY] == 0.75
    last = one.validations.last
    assert (last.name, last.accuracy, last.score) == ("val_acc", 0.75, logged[log_keys.SCORE])
    assert last.energy_kwh == pytest.approx(logged[log_keys.TOTAL_WH] / 1000)
    assert one.logger.rows == []  # self.log is Lightning's to bring there
    assert one.warn == []


def test_an_accuracy_that_comes_late_is_scored_at_the_total_that_was_logged(run):
    one = run()
    logged = one.validate(late={"val_acc": 0.75})
    assert {*logged} == TOTALS | {log_keys.VAL_J}
    assert one.validations.last.energy_kwh == pytest.approx(logged[log_keys.TOTAL_WH] / 1000)
    assert one.metric(log_keys.SCORE) == pytest.approx(one.validations.last.score, rel=1e-6)
    ((_, row),) = one.logger.rows
    assert {*row} == SCORED | {"epoch"}


def test_while_the_choice_is_open_all_that_is_logged_is_looked_at(run):
    one = run(accuracy=None)
    logged = one.validate(early={"acc": 0.5}, late={"val_acc": 0.75})
    assert not SCORED & {*logged}
    assert one.validations.last.name == "val_acc"
    assert log_keys.SCORE in one.validate(1, early={"val_acc": 0.8})  # then it is known


def test_an_old_accuracy_is_never_scored(run):
    one = run()
    one.validate(0, early={"val_acc": 0.75})
    assert one.validations.scored_in(0) is one.validations.last
    one.validate(1)
    assert one.validations.scored_in(1) is one.validations.scored_in(0) is None
    assert one.validations.last.accuracy == 0.75  # the last one there was
    assert one.warn.topics == ["no accuracy"]
    assert "'val_acc' was not logged by this validation" in one.warn[0][1]


@pytest.mark.parametrize("strict", [True, False])
def test_no_score_leaves_no_old_one_unless_its_absence_ends_the_run(run, strict):
    stopping = EarlyStopping(log_keys.SCORE, mode="max", strict=strict)
    one = run(trainer={"callbacks": [stopping]})
    one.validate(0, early={"val_acc": 0.75})
    one.validate(1)
    assert (one.metric(log_keys.SCORE) is not None) is strict
    assert one.metric(log_keys.ACCURACY) is None


def test_which_epoch_logged_the_total(run):
    one = run()
    assert not one.validations.has_logged(0)
    one.validate(2, early={"val_acc": 0.75})
    assert one.validations.has_logged(2)
    assert not one.validations.has_logged(3)


# ------------------------------------------------------------------------------------------------ the sanity check


def test_a_percentage_is_an_error_of_the_sanity_check(run):
    with pytest.raises(AccuracyError, match="divided by 100"):
        run().validate(sanity=True, early={"val_acc": 75.0})


@pytest.mark.parametrize("early", [{}, {"val_acc": 0.75}, {"val_acc": math.nan}])
def test_what_may_still_become_an_accuracy_is_none(run, early):
    one = run()
    assert one.validate(sanity=True, early=early) == {}
    assert one.validations.last is None
    assert not one.validations.has_logged(0)
    assert one.warn == []


# ------------------------------------------------------------------------------------------------ no score


def test_once_the_training_runs_a_percentage_is_a_warning(run):
    one = run()
    logged = one.validate(early={"val_acc": 75.0})
    assert not SCORED & {*logged}
    assert {*one.warn.topics} == {"accuracy"}


def test_a_score_that_is_not_defined_says_why(run):
    one = run(score=lambda accuracy, energy_kwh: accuracy / 0)
    assert not SCORED & {*one.validate(early={"val_acc": 0.75})}
    assert "is not defined at accuracy=0.75" in one.warn[0][1]
    assert "ZeroDivisionError" in one.warn[0][1]


def test_without_an_energy_there_is_no_score(run):
    one = run(meters=[], memory=RunMemory())
    logged = one.validate(early={"val_acc": 0.75})
    assert logged == {}
    assert {*one.warn.topics} == {"no energy"}


def test_outside_of_a_fit_the_score_is_that_of_what_was_spent_before(run):
    one = run(is_fit=False)
    logged = one.validate(-1, early={"val_acc": 0.75})
    assert logged[log_keys.TOTAL_WH] == pytest.approx(1000.0)
    assert logged[log_keys.VAL_J] > 0


# ------------------------------------------------------------------------------------------------ several ranks


def test_ranks_share_one_total_and_one_accuracy(run):
    one = run(ranks=two_ranks(), memory=RunMemory())
    logged = one.validate(early={"val_acc": 0.75})
    own_j = one.books.own(one.books.session.totals()).energy_j
    assert 0 < logged[log_keys.TOTAL_WH] * 3600 <= 2 * own_j
    assert logged[log_keys.VAL_J] <= logged[log_keys.TOTAL_WH] * 3600 * (1 + 1e-9)
    assert logged[log_keys.ACCURACY] == 0.75
    assert all(settings["sync_dist"] for _, _, settings in one.module.calls)
