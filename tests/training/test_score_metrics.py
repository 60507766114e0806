from __future__ import annotations

import math

import pytest
import torch
from torchmetrics.classification import BinaryAccuracy

from lightning_energy import EnergyPenalizedAccuracy
from lightning_energy.training import score_metrics
from lightning_energy.training.run_memory import RunMemory
from lightning_energy.training.score_metrics import ScoreMetrics
from tests.training.parts import books_of, joules, replay, spend, two_ranks


class Module(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = torch.nn.ModuleList([EnergyPenalizedAccuracy(BinaryAccuracy()), torch.nn.Linear(1, 1)])
        self.score = EnergyPenalizedAccuracy(BinaryAccuracy())


@pytest.fixture
def measured():
    """Books of a rank that has spent something and goes on."""
    books = books_of(replay())
    spend(books.session)
    yield books
    books.close()


def test_they_are_found_wherever_they_are_and_anew(measured):
    metrics, module = ScoreMetrics(measured), Module()
    metrics.find(module)
    assert metrics.found == [module.inner[0], module.score]
    module.score = EnergyPenalizedAccuracy(BinaryAccuracy())
    metrics.find(module)
    assert metrics.found == [module.inner[0], module.score]
    metrics.drop()
    assert metrics.found == []


def test_they_learn_what_this_rank_spent(measured):
    metrics, module = ScoreMetrics(measured), Module()
    metrics.find(module)
    least_j = measured.own(measured.session.totals()).energy_j
    metrics.feed()
    most = measured.own(measured.session.totals())
    for metric in metrics.found:
        assert least_j - 1e-5 <= metric.energy_j <= most.energy_j + 1e-5
        assert metric.energy_u_j is not None


def test_the_run_is_all_of_its_sessions():
    memory = RunMemory(before=joules(1000.0))
    for rank, least_j in ((0, 1000.0), (1, 0.0)):
        books = books_of(replay(), memory=memory, ranks=two_ranks(rank))
        spend(books.session)
        metrics = ScoreMetrics(books)
        metrics.find(module := Module())
        metrics.feed()
        books.close()
        assert least_j <= module.score.energy_j < least_j + 500.0


def test_unknown_energy_is_not_given():
    books = books_of()
    metrics, module = ScoreMetrics(books), Module()
    metrics.find(module)
    metrics.feed()
    books.close()
    assert module.score.energy_j is None


def test_a_rank_whose_device_another_one_reads_gives_zero():
    books = books_of(ranks=two_ranks(1))
    metrics, module = ScoreMetrics(books), Module()
    metrics.find(module)
    metrics.feed()
    books.close()
    assert module.score.energy_j == 0.0


def test_closed_books_feed_nobody(measured):
    metrics, module = ScoreMetrics(measured), Module()
    metrics.find(module)
    measured.close()
    metrics.feed()
    assert module.score.energy_j is None


class Counts(ScoreMetrics):
    fed = 0

    def feed(self) -> None:
        self.fed += 1


@pytest.mark.parametrize(
    ("batches", "every_s", "fed"),
    [
        (5, 0.0, 1),  # at the last one
        (8, 0.0, 0),
        (math.inf, 1e9, 1),  # at the first one, and then now and then
        (math.inf, -1.0, 5),
    ],
)
def test_they_are_fed_when_a_value_may_be_computed(monkeypatch, measured, batches, every_s, fed):
    monkeypatch.setattr(score_metrics, "FEED_EVERY_S", every_s)
    metrics = Counts(measured)
    metrics.find(Module())
    for batch_idx in range(5):
        metrics.feed_at_end(batches, batch_idx)
    assert metrics.fed == fed


def test_without_metrics_no_clock_is_looked_at(monkeypatch, measured):
    monkeypatch.setattr(score_metrics.time, "monotonic", lambda: 1 / 0)
    ScoreMetrics(measured).feed_at_end(1, 0)
