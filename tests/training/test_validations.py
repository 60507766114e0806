from __future__ import annotations

import math

import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from lightning_energy.curves.energy import NOTHING
from lightning_energy.ledger.ranks import Ranks
from lightning_energy.results.carbon import Conversion
from lightning_energy.results.rows import EpochRow
from lightning_energy.scores.choice import choose_metric, choose_score
from lightning_energy.scores.metric import Metric
from lightning_energy.scores.scorer import AccuracyError, Scorer
from lightning_energy.training import log_keys
from lightning_energy.training.run_memory import RunMemory
from lightning_energy.training.validations import Validations
from tests.modules import MemoryLogger
from tests.training.parts import ModuleLike, TwoRanks, Warned, books_of, joules, replay, spend, trainer_like, two_ranks

TOTALS = {log_keys.TOTAL_WH}
SCORED = {log_keys.ACCURACY, log_keys.SCORE}


class Run:
    """Validations of one run, with a Trainer that is not there."""

    def __init__(self, accuracy="val_acc", score="penalized", meters=None, choice=None, **kwargs) -> None:
        self.warn, self.logger = Warned(), MemoryLogger()
        self.trainer = trainer_like(loggers=[self.logger], **kwargs.pop("trainer", {}))
        self.module = ModuleLike(self.trainer)
        conversion = kwargs.pop("conversion", None)
        self.memory = kwargs.setdefault("memory", RunMemory(before=joules(3.6e6)))
        reference = kwargs.pop("reference", 1.0)
        self.books = books_of(*([replay()] if meters is None else meters), **kwargs)
        spend(self.books.session, epoch=0 if self.books.is_fit else -1, stage="validate")
        scorer = Scorer(
            choose_metric(accuracy, **(choice or {})), choose_score(score, reference if score == "penalized" else 1.0)
        )
        self.validations = Validations(self.books, scorer, kwargs["memory"], self.warn, conversion)

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


@pytest.mark.parametrize(("missing_s", "is_told"), [(0.0, False), (0.05, False), (5.0, True)])
def test_a_reference_of_a_run_whose_first_energy_is_known_in_part_says_so(run, missing_s, is_told):
    """The scale of all scores is too small then; to have none would end a run that monitors the score."""
    before = joules(3.6e6, duration_s=100.0, missing_s=missing_s)
    one = run(reference="run", memory=RunMemory(before=before))
    for epoch in range(2):
        assert one.validate(epoch, early={"val_acc": 0.75})[log_keys.SCORE] > 0
    assert one.warn.topics.count("reference_part") == is_told
    notes = [note.text for note in one.memory.notes]
    assert len(notes) == is_told
    if is_told:
        assert notes[0].startswith("reference_kwh='run' is 1 kWh, the known part of the energy up to the first score:")
        assert f"EnergyCallback: {notes[0]}" in [text for _, text in one.warn]


def test_energy_and_score_are_logged_with_the_accuracy(run):
    one = run(conversion=Conversion.of(price=0.5))
    logged = one.validate(early={"val_acc": 0.75})
    assert {*logged} == TOTALS | SCORED | {log_keys.VAL_J, log_keys.COST}
    assert logged[log_keys.TOTAL_WH] >= 1000  # with what was spent before
    assert logged[log_keys.ACCURACY] == 0.75
    last = one.validations.last
    assert (last.metric.name, last.metric.value, last.score) == ("val_acc", 0.75, logged[log_keys.SCORE])
    assert last.energy_kwh == pytest.approx(logged[log_keys.TOTAL_WH] / 1000)
    ((_, row),) = one.logger.rows  # a logger of the user's gets them from us
    assert row == {**logged, "epoch": 0}
    assert one.warn == []


def test_an_accuracy_that_comes_late_is_scored_at_the_total_that_was_logged(run):
    one = run()
    logged = one.validate(late={"val_acc": 0.75})
    assert {*logged} == TOTALS | {log_keys.VAL_J}
    assert one.validations.last.energy_kwh == pytest.approx(logged[log_keys.TOTAL_WH] / 1000)
    assert one.metric(log_keys.SCORE) == pytest.approx(one.validations.last.score, rel=1e-6)
    (_, early), (_, late) = one.logger.rows
    assert early == {**logged, "epoch": 0}
    assert {*late} == SCORED | {"epoch"}


def test_while_the_choice_is_open_all_that_is_logged_is_looked_at(run):
    one = run(accuracy=None)
    logged = one.validate(early={"acc": 0.5}, late={"val_acc": 0.75})
    assert not SCORED & {*logged}
    assert one.validations.last.metric.name == "val_acc"
    assert log_keys.SCORE in one.validate(1, early={"val_acc": 0.8})  # then it is known


def test_an_old_accuracy_is_never_scored(run):
    one = run()
    one.validate(0, early={"val_acc": 0.75})
    assert one.validations.of_epoch(0) is one.validations.last
    one.validate(1)
    assert one.validations.of_epoch(1) is one.validations.of_epoch(0) is None
    assert one.validations.last.metric.value == 0.75  # the last one there was
    assert one.warn.topics == ["no accuracy"]
    assert "'val_acc' was not logged by this validation" in one.warn[0][1]


@pytest.mark.parametrize("strict", [True, False])
def test_no_score_leaves_no_old_one(run, strict):
    stopping = EarlyStopping(log_keys.SCORE, mode="max", strict=strict)
    one = run(trainer={"callbacks": [stopping]})
    one.validate(0, early={"val_acc": 0.75})
    one.validate(1)
    assert one.metric(log_keys.SCORE) is None
    assert one.metric(log_keys.ACCURACY) is None


def test_which_epoch_logged_the_total(run):
    one = run()
    assert not one.validations.has_logged(0)
    one.validate(2, early={"val_acc": 0.75})
    assert one.validations.has_logged(2)
    assert not one.validations.has_logged(3)


# ------------------------------------------------------------------------------------------------ the sanity check


def test_a_percentage_is_an_error_of_the_sanity_check(run):
    with pytest.raises(AccuracyError, match="scale='percent'"):
        run().validate(sanity=True, early={"val_acc": 75.0})


@pytest.mark.parametrize("early", [{}, {"val_acc": 0.75}, {"val_acc": math.nan}])
def test_what_may_still_become_an_accuracy_is_none(run, early):
    one = run()
    assert one.validate(sanity=True, early=early) == {}
    assert one.validations.last is None
    assert not one.validations.has_logged(0)
    assert one.warn == []


# ------------------------------------------------------------------------------------------------ no score


def test_a_value_above_1_shows_a_percentage(run):
    one = run()
    logged = one.validate(early={"val_acc": 75.0})
    assert logged[log_keys.ACCURACY] == 0.75
    assert one.validations.last.metric == Metric("val_acc", 75.0, scale="percent")
    assert one.warn == []  # nothing was scored before
    assert one.validate(1, early={"val_acc": 0.5})[log_keys.ACCURACY] == 0.005  # half a percent


def test_scores_that_took_a_percentage_for_a_fraction_are_withdrawn(run):
    checkpoint, stopping = (
        ModelCheckpoint(monitor=log_keys.SCORE, mode="max"),
        EarlyStopping(log_keys.SCORE, mode="max"),
    )
    one = run(trainer={"callbacks": [stopping, checkpoint]})
    one.validate(0, early={"val_acc": 0.6})
    one.memory.history = [EpochRow(epoch=0, metric=0.6, score=one.validations.last.score)]
    checkpoint.best_k_models, checkpoint.best_model_path = {"a.ckpt": torch.tensor(0.4)}, "a.ckpt"
    stopping.best_score, stopping.wait_count = torch.tensor(0.4), 2
    logged = one.validate(1, early={"val_acc": 14.0})
    assert logged[log_keys.ACCURACY] == 0.14
    assert one.memory.history == [EpochRow(epoch=0, metric=0.6, score=None)]
    assert one.memory.found.scales == {"val_acc": "percent"}
    assert (checkpoint.best_k_models, checkpoint.best_model_path, stopping.wait_count) == ({}, "", 0)
    assert float(stopping.best_score) == float(checkpoint.kth_value) == -math.inf
    ((topic, text),) = one.warn
    assert topic == "withdrawn"
    assert "val_acc=14 shows that val_acc is a percentage" in text
    assert "stay on disk: a.ckpt" in text
    (note,) = one.memory.notes
    assert (note.kind, note.text) == ("withdrawn", text.removeprefix("EnergyCallback: "))


def test_a_value_that_is_neither_fraction_nor_percentage_is_a_warning(run):
    one = run()
    logged = one.validate(early={"val_acc": 912.0})
    assert not SCORED & {*logged}
    assert {*one.warn.topics} == {"accuracy"}
    assert one.validations.no_score == (
        "val_acc=912 is no fraction in [0, 1]. If it is no accuracy, say so: EnergyCallback(metric='val_acc', "
        "scale='raw')"
    )


def test_the_row_of_an_epoch_says_why_a_value_that_was_logged_is_no_metric(run):
    """Without it, the last finite value of a run that diverged would be taken for its last."""
    one = run()
    found = {}
    for epoch, metrics in enumerate(({"val_acc": 0.5}, {"val_acc": math.nan}, {}, {"val_acc": 0.25})):
        one.validate(epoch, early=metrics if epoch == 1 else None, late=None if epoch == 1 else metrics)
        row = one.validations.row(epoch, NOTHING, NOTHING, NOTHING, session=0)
        found[epoch] = (row.metric, row.no_metric)
    assert found == {0: (0.5, None), 1: (None, "val_acc=nan is not finite"), 2: (None, None), 3: (0.25, None)}


def test_a_balanced_accuracy_below_chance_waits_for_the_next_validation(run):
    one = run(accuracy=None)
    assert not SCORED & {*one.validate(late={"val_balanced_acc": -0.02})}
    assert one.warn == []
    assert one.validations.no_score == "val_balanced_acc=-0.02 is no fraction in [0, 1]"
    assert {*one.validate(1, early={"val_balanced_acc": 0.25})} > SCORED
    assert one.validations.no_score == ""


def test_a_metric_that_is_no_accuracy_is_logged_without_a_score(run):
    one = run(accuracy=None, choice={"metric": "val_ppl", "mode": "min"})
    logged = one.validate(early={"val_ppl": 30.0})
    assert logged[log_keys.METRIC] == 30.0
    assert not SCORED & {*logged}
    assert one.validations.last.metric == Metric("val_ppl", 30.0, "min", "raw")
    assert "val_ppl is no accuracy (the less, the better)" in one.validations.no_score
    assert one.warn == []  # it was chosen
    one.validate(1, late={"val_ppl": 20.0})
    assert one.metric(log_keys.METRIC) == 20.0


def test_a_score_of_ones_own_gets_the_raw_value(run):
    one = run(accuracy=None, score=lambda value, energy_kwh: -value, choice={"metric": "val_ppl", "mode": "min"})
    logged = one.validate(early={"val_ppl": 30.0})
    assert (logged[log_keys.METRIC], logged[log_keys.SCORE]) == (30.0, -30.0)


def test_no_score_is_asked_for(run):
    one = run(score=None)
    logged = one.validate(early={"val_acc": 0.75})
    assert logged[log_keys.ACCURACY] == 0.75
    assert log_keys.SCORE not in logged
    assert (one.validations.no_score, one.warn) == ("", [])


def test_the_reference_of_a_run_is_what_it_has_spent_at_its_first_score(run):
    one = run(score="penalized", reference="run")
    assert one.validations.scorer.name == "energy_penalized_accuracy(alpha=5, beta=5, reference_kwh=run)"
    logged = one.validate(early={"val_acc": 1.0})
    reference = one.validations.scorer.rule.reference_kwh
    assert reference == one.memory.found.reference_kwh == pytest.approx(logged[log_keys.TOTAL_WH] / 1000)
    assert logged[log_keys.SCORE] == pytest.approx(3.8431089, rel=1e-6)  # 5 / (1 + log10(2))
    one.validate(1, early={"val_acc": 1.0})
    assert one.validations.scorer.rule.reference_kwh == reference


def test_a_score_that_is_not_defined_says_why(run):
    one = run(score=lambda accuracy, energy_kwh: accuracy / 0)
    assert log_keys.SCORE not in one.validate(early={"val_acc": 0.75})
    assert "is not defined at val_acc=0.75" in one.warn[0][1]
    assert "ZeroDivisionError" in one.warn[0][1]


def test_without_an_energy_there_is_no_score(run):
    one = run(meters=[], memory=RunMemory())
    logged = one.validate(early={"val_acc": 0.75})
    assert logged == {log_keys.ACCURACY: 0.75}
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


def test_a_metric_of_rank_zero_alone_stands_for_all(run):
    one = run(ranks=TwoRanks(2, 0, _sum=lambda tensor: tensor), memory=RunMemory())  # the other one has nothing
    assert one.validate(early={"val_acc": 0.75})[log_keys.ACCURACY] == 0.75


def test_ranks_that_lack_a_metric_are_named(run):
    ranks = Lacking(3, 1, _sum=lambda tensor: tensor)
    one = run(ranks=ranks, memory=RunMemory(before=joules(3.6e6)))
    one.validate(early={"val_acc": 0.75})
    assert one.validations.no_score == (
        "'val_acc' was not logged on rank 0, 2. Log it on all ranks (sync_dist=True), or on rank zero alone"
    )


class Lacking(Ranks):
    """Three ranks of which this one alone has a metric."""

    def gather(self, mine):
        return [False, mine, False]
