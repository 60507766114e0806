from __future__ import annotations

import math
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.classification import BinaryAccuracy

from lightning_energy import EnergyPenalizedAccuracy, ReplayMeter
from lightning_energy.ledger.steps import SumsOfSteps
from lightning_energy.results.read import read_record
from lightning_energy.results.record import NAME
from lightning_energy.training import log_keys, recorder, step_log
from lightning_energy.training.progress import ENERGY, POWER, BarFigures
from lightning_energy.training.step_log import TRIES
from tests.modules import MemoryLogger
from tests.training.parts import INFO, POWER_W, Looked, Parts, replay, spend, trainer_like, two_ranks

BATCH = [torch.zeros(4, 2), torch.zeros(4)]
KEEP_UP = 8


def train(parts, trainer, epochs: int, batches: int, accumulate: int = 1) -> list[tuple[int, int]]:
    """Go through batches as Lightning does; those at which a look at every batch would have logged."""
    wanted, loop = [], trainer.fit_loop.epoch_loop
    for epoch in range(epochs):
        trainer.current_epoch = epoch
        hooks = parts.stages.enter(parts.session, epoch, "train")
        for batch_idx in range(batches):
            hooks.begin()
            if hooks.end(BATCH, batch_idx):
                parts.steps.attend(trainer, batch_idx)
            every = trainer.log_every_n_steps
            if every and (loop._batches_that_stepped + 1) % every == 0:
                wanted.append((epoch, batch_idx))
            if (batch_idx + 1) % accumulate == 0 or batch_idx + 1 == batches:
                loop._batches_that_stepped += 1
    return wanted


@pytest.mark.slow
@given(
    every=st.integers(0, 60),
    accumulate=st.integers(1, 5),
    batches=st.integers(1, 60),
    epochs=st.integers(1, 3),
)
@settings(max_examples=60, deadline=None)
def test_only_steps_with_more_to_do_look_at_the_trainer(every, accumulate, batches, epochs):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(step_log, "KEEP_UP_EVERY", KEEP_UP)
        parts = Parts(steps=Looked)
        wanted = train(parts, trainer_like(log_every_n_steps=every), epochs, batches, accumulate)
        parts.books.close()
    steps = parts.steps
    # micro-batches that follow each other share a step, and the first of them logs it
    first = [at for i, at in enumerate(wanted) if i == 0 or (at[0], at[1] - 1) != wanted[i - 1]]
    assert {*first} <= {*steps.logged} <= {*wanted}
    due = {(epoch, batch_idx) for epoch in range(epochs) for batch_idx in range(KEEP_UP - 1, batches, KEEP_UP)}
    assert due <= {*steps.kept} | {*steps.logged}
    at_most = len(due) + epochs * (2 + (0 if every == 0 else accumulate * (1 + batches // every)))
    assert steps.seen <= at_most


def test_with_metrics_to_feed_all_batches_are_looked_at():
    parts = Parts(steps=Looked)
    parts.metrics.find(torch.nn.ModuleList([EnergyPenalizedAccuracy(BinaryAccuracy())]))
    train(parts, trainer_like(), 1, 12)
    assert parts.steps.seen == 12
    parts.books.close()


# ------------------------------------------------------------------------------------------------ at a logging step


@pytest.fixture
def parts():
    """Makes the parts of a run in which one step became known."""
    made = []

    def make(**kwargs):
        one = Parts(replay(), **kwargs)
        made.append(one)
        spend(one.session)
        one.session.finish()
        return one

    yield make
    for one in made:
        one.outputs.end_writing()
        one.books.close()


def test_steps_are_logged_once(parts):
    one, logger = parts(), MemoryLogger()
    trainer = trainer_like(loggers=[logger], step=7, log_every_n_steps=1)
    one.steps.attend(trainer, 0)
    ((step, values),) = logger.rows
    assert step == 7
    assert values[log_keys.POWER_W] == pytest.approx(POWER_W, rel=0.05)
    assert values[log_keys.STEP_J] == pytest.approx(one.books.steps.energy_j)
    one.steps._unlogged = SumsOfSteps(2, 6.0, 0.03, 0.0)
    one.steps.attend(trainer, 1)  # a micro-batch of the same step
    assert len(logger.rows) == 1
    trainer.fit_loop.epoch_loop._batches_that_stepped = 8
    one.steps.attend(trainer, 2)
    assert logger.rows[1:] == [(8, {log_keys.POWER_W: pytest.approx(200.0), log_keys.STEP_J: 3.0, "epoch": 0})]
    one.steps.log(trainer_like(loggers=[logger]), 9)
    assert len(logger.rows) == 2


def test_power_that_comes_from_a_model_alone_is_not_shown_as_if_it_were_data():
    model = replace(INFO, quality="estimated")
    one, logger = Parts(ReplayMeter(POWER_W, counter_period_s=0.0, info=model)), MemoryLogger()
    spend(one.session)
    one.session.finish()
    one.outputs.bar = BarFigures()
    trainer = trainer_like(loggers=[logger], progress_bar_callback=object(), progress_bar_metrics={})
    trainer.log_every_n_steps = 1
    one.steps.attend(trainer, 0)
    ((_, values),) = logger.rows
    assert values == {log_keys.STEP_J: pytest.approx(one.books.steps.energy_j), "epoch": 0}
    assert [*trainer.progress_bar_metrics] == [ENERGY]
    one.books.close()


def test_what_was_kept_up_with_is_logged_later(parts):
    one, logger = parts(), MemoryLogger()
    one.steps.keep_up()
    one.steps.sum_up()
    one.steps.log(trainer_like(loggers=[logger]), 0)
    assert [values[log_keys.STEP_J] for _, values in logger.rows] == pytest.approx([one.books.steps.energy_j])


def test_only_validations_with_an_end_that_is_known_are_looked_ahead_to():
    one = Parts()
    for batches, checking, expected in (([50], False, TRIES), ([50, 50], False, math.inf), ([50], True, math.inf)):
        one.stages.enter(one.session, 0, "validate")
        one.steps.attend_validation(trainer_like(num_val_batches=batches, sanity_checking=checking), 0)
        assert one.stages.marks.attend_at == expected
    one.books.close()
    one.books.foresee()  # without a session there is nothing to do


def test_without_news_nothing_is_logged():
    one, logger = Parts(), MemoryLogger()
    one.steps.log(trainer_like(loggers=[logger]), 0)
    assert logger.rows == []
    one.books.close()


def test_after_the_books_are_closed_nothing_is_logged(parts):
    one, logger = parts(), MemoryLogger()
    one.books.close()
    one.steps.attend(trainer_like(loggers=[logger], log_every_n_steps=1), 0)
    assert logger.rows == []


@pytest.mark.parametrize("alone", [True, False])
def test_the_bar_shows_power_and_what_this_rank_knows_of_the_energy(parts, alone):
    one = parts() if alone else parts(ranks=two_ranks())
    trainer = trainer_like(progress_bar_callback=object(), progress_bar_metrics={}, log_every_n_steps=1)
    one.outputs.bar = BarFigures()
    one.steps.attend(trainer, 0)
    shown = trainer.progress_bar_metrics
    assert float(shown[POWER].removesuffix(" W")) == pytest.approx(POWER_W, rel=0.05)
    assert (ENERGY in shown) is alone


def test_the_record_is_brought_up_to_date_when_it_is_due(parts, tmp_path, monkeypatch):
    one = parts(record=tmp_path / NAME, ranks=two_ranks())
    trainer = trainer_like(log_every_n_steps=1)
    one.steps.attend(trainer, 0)
    assert not (tmp_path / NAME).exists()
    monkeypatch.setattr(recorder, "EVERY_S", -1.0)
    one.steps.keep_up()
    one.outputs.flush()
    (tmp_path / NAME).unlink()
    for after_s, expected in ((0.0, False), (step_log.KEEP_UP_S, True)):
        at_s = time.monotonic() + after_s
        monkeypatch.setattr(step_log, "time", SimpleNamespace(monotonic=lambda at_s=at_s: at_s))
        trainer.fit_loop.epoch_loop._batches_that_stepped += 1
        one.steps.attend(trainer, 1)
        one.outputs.flush()
        assert (tmp_path / NAME).exists() is expected
    record = read_record(tmp_path)
    assert record.outcome == "running"
    # the other rank does not come to a reduction now
    assert record.session.energy_j == pytest.approx(one.books.live(one.session.totals()).energy_j)
