from __future__ import annotations

import pytest
import torch
from torch.utils.data import DataLoader

from lightning_energy.ledger.batch_source import Source
from lightning_energy.ledger.counts import Counts, StageCounts, UnitCount
from lightning_energy.ledger.session import Session
from lightning_energy.ledger.step_marks import BatchMarks
from lightning_energy.meters import ReplayMeter, open_meters

X, SCALAR = torch.zeros(5, 3), torch.tensor(0.5)
PAIR = [X, torch.zeros(5)]
DISAGREE = [X, torch.zeros(7)]


@pytest.mark.parametrize("batch", [[SCALAR, X], (SCALAR, X), {"weight": SCALAR, "x": X}])
def test_a_tensor_without_dimensions_in_front_is_passed_over_in_every_batch(batch):
    source = Source(DataLoader([*range(50)], batch_size=5, collate_fn=list))  # without a size it may be one sample
    counts = Counts(sources=lambda _stage: source)
    marks = BatchMarks(counts)
    session = Session(open_meters([ReplayMeter(100.0)], device=torch.device("cpu")))
    marks.enter(session, 0, "train")
    for i in range(10):
        marks.end_batch(batch, i)
    session.close()
    assert counts.units["train"] == {"samples": 50}


@pytest.mark.parametrize(
    ("fn", "problem"),
    [
        (lambda batch: batch["n"], "f raised KeyError: 'n'"),
        (lambda batch: None, "f raised TypeError"),
        (lambda batch: -1, "f gave -1 for a batch (a dict): give a whole number"),
        (lambda batch: 1.5, "f gave 1.5"),
        (lambda batch: 10**400, "f gave 100000"),
        (lambda batch: 1e15 + 1, "f gave 1000000000000001.0 for a batch (a dict): give a whole number up to 1e+15"),
        (lambda batch: float("nan"), "f raised ValueError"),
        (lambda batch: torch.zeros(3), "f raised "),
    ],
)
def test_a_function_that_gives_no_number_is_told(fn, problem):
    count = UnitCount(fn, "f")
    count.add({}, 0)
    count.add({"n": 3}, 1)
    assert count.n is None
    assert count.problem.startswith(problem)


def test_an_error_without_a_text_is_told_by_its_name():
    class SilentError(Exception):
        def __str__(self):
            raise RuntimeError("no text")

    def fail(_batch):
        raise SilentError

    count = UnitCount(fail, "f")
    count.add(PAIR, 0)
    assert (count.n, count.problem) == (None, "f raised SilentError")


def test_a_function_may_give_any_whole_number():
    count = UnitCount(lambda batch: batch, "f")
    for n in (0, 3, torch.tensor(4), 5.0, True):
        count.add(n, 0)
    assert count.n == 13


def test_units_are_counted_by_stage():
    counts = Counts(per={"tokens": lambda batch: batch[0].numel()})
    counts.of("train").add(PAIR, 0)
    for i in range(2):
        counts.of("test").add(PAIR, i)
    assert counts.units == {"train": {"samples": 5, "tokens": 15}, "test": {"samples": 10, "tokens": 30}}
    assert counts.of("tune") is counts.of("sanity_check") is None
    assert counts.problems == []


def test_all_ranks_know_the_units_before_a_batch_has_come():
    assert Counts(per={"tokens": len}).units == {"train": {"samples": 0, "tokens": 0}}


def test_a_unit_that_fails_leaves_the_others_alone():
    counts = Counts(per={"tokens": lambda batch: batch.ids, "frames": lambda batch: 2})
    counts.of("train").add(PAIR, 0)
    assert counts.units["train"] == {"samples": 5, "tokens": None, "frames": 2}
    (problem,) = counts.problems
    assert problem.startswith("tokens of train were not counted: per['tokens'] raised AttributeError")


def test_a_reason_is_told_once_for_all_stages():
    counts = Counts()
    for stage in ("train", "validate"):
        counts.of(stage).add(DISAGREE, 0)
    (problem,) = counts.problems
    assert problem == (
        "Samples of train and validate were not counted: the first dimensions of the tensors in a batch (a list of 2: "
        "Tensor, Tensor) differ: 5, 7. Give EnergyCallback(batch_size_fn=…), a function of the batch that returns its "
        "number of samples"
    )


def test_batches_are_looked_at_directly_where_nobody_else_does():
    assert Counts().of("train").samples is not None
    assert Counts(len).of("train").samples is None
    assert Counts(per={"tokens": len}).of("train").samples is None
    StageCounts({"samples": UnitCount(len, "batch_size_fn")}).look_again()


def test_sources_are_asked_for_by_stage():
    asked = []
    counts = Counts(sources=lambda stage: asked.append(stage) or Source())
    counts.of("test").add(PAIR, 0)
    assert asked == ["test"]
