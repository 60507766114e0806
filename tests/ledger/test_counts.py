from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from torch.nn.utils.rnn import pack_sequence
from torch.utils.data import DataLoader, Subset, TensorDataset, default_collate

from lightning_energy.ledger.counts import Counts, SampleCount, StageCounts, UnitCount
from lightning_energy.ledger.session import Session
from lightning_energy.ledger.step_marks import BatchMarks
from lightning_energy.meters import ReplayMeter, open_meters
from tests.modules import Numbers

X, SCALAR = torch.zeros(5, 3), torch.tensor(0.5)
PAIR = [X, torch.zeros(5)]
DISAGREE = [X, torch.zeros(7)]


def test_samples_are_added_up():
    count = SampleCount()
    for i, batch in enumerate([PAIR, PAIR, [torch.zeros(2, 3), torch.zeros(2)]]):
        count.add(batch, i)
    assert (count.n, count.problem) == (12, "")


@pytest.mark.parametrize("odd", [None, [], "text", DISAGREE])
def test_one_batch_that_cannot_be_counted_makes_the_number_unknown(odd):
    count = SampleCount()
    for i, batch in enumerate((PAIR, PAIR, odd, PAIR)):
        count.add(batch, i)
    assert count.n is None
    assert "Give EnergyCallback(batch_size_fn=…), a function of the batch" in count.problem


def test_a_batch_that_cannot_be_looked_into_is_told():
    class Closed(OrderedDict):
        def values(self):
            raise RuntimeError("closed")

    count = SampleCount()
    count.add(Closed(), 0)
    assert count.n is None
    assert "a batch (a Closed) raised RuntimeError: closed" in count.problem


@pytest.mark.parametrize(
    ("at", "is_seen"), [(0, True), (1, True), (2, True), (3, True), (4, False), (258, False), (259, True), (515, True)]
)
def test_which_batches_are_looked_at(at, is_seen):
    """The first four, and one of 256 after them; a batch in between whose second tensor disagrees is not noticed."""
    count = SampleCount()
    for i in range(516):
        count.add(DISAGREE if i == at else PAIR, i)
    assert (count.n is None) == is_seen
    if not is_seen:
        assert count.n == 2580


def test_the_first_batch_of_an_epoch_and_another_type_are_looked_at():
    for odd, idx in ((DISAGREE, 0), (tuple(DISAGREE), 9)):
        count = SampleCount()
        for i in range(10):
            count.add(PAIR, i)
        count.add(odd, idx)
        assert count.n is None


def test_a_last_batch_is_believed_after_full_ones():
    """Two columns of one rank, two samples in a batch: the last, of one, may be a list of samples for itself."""
    full, last = [torch.zeros(2, 3), torch.zeros(2, 3)], [torch.zeros(1, 3), torch.zeros(1, 3)]
    loader = DataLoader(Numbers(3), batch_size=2)
    count = SampleCount(lambda: loader)
    count.add(full, 0)
    count.add(last, 1)
    assert count.n == 3
    count = SampleCount(lambda: loader)
    count.add(last, 0)
    assert count.n is None


@pytest.mark.parametrize("batch", [[SCALAR, X], (SCALAR, X), {"weight": SCALAR, "x": X}])
def test_a_tensor_without_dimensions_in_front_is_passed_over_in_every_batch(batch):
    counts = Counts()
    marks = BatchMarks(counts)
    session = Session(open_meters([ReplayMeter(100.0)], device=torch.device("cpu")))
    marks.enter(session, 0, "train")
    for i in range(10):
        marks.end_batch(batch, i)
    session.close()
    assert counts.units["train"] == {"samples": 50}


def test_packed_sequences_are_counted_not_their_time_steps():
    count = SampleCount()
    for i, lengths in enumerate([(5,), (5, 3), (2, 2, 1)]):
        count.add(pack_sequence([torch.zeros(n, 2) for n in lengths]), i)
    assert (count.n, count.problem) == (6, "")


def test_a_loader_that_cannot_be_asked_is_told():
    count = SampleCount(lambda: 1 / 0)
    count.add(PAIR, 0)
    assert "ZeroDivisionError" in count.problem


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


def test_loaders_are_asked_for_by_stage():
    asked = []
    counts = Counts(loaders=asked.append)
    counts.of("test").add(PAIR, 0)
    assert asked == ["test"]


class Fetches(TensorDataset):
    """Fetches a batch at once, and may leave some of it out."""

    def __getitems__(self, places):
        return [self[place] for place in places]


DATA = TensorDataset(torch.zeros(22, 3))


@pytest.mark.parametrize(
    ("loader", "is_sure"),
    [
        (DataLoader(DATA, batch_size=4), True),
        (DataLoader(Subset(DATA, range(22)), batch_size=4, shuffle=True), True),
        (DataLoader(DATA, batch_size=4, collate_fn=default_collate, sampler=range(22)), False),
        (DataLoader(DATA, batch_size=4, collate_fn=lambda rows: default_collate(rows[:])), False),
        (DataLoader(Fetches(torch.zeros(22, 3)), batch_size=4), False),
        (DataLoader(Subset(Fetches(torch.zeros(22, 3)), range(22)), batch_size=4), False),
        ({"a": DataLoader(DATA, batch_size=4)}, False),
    ],
)
def test_batches_of_a_regular_loader_are_counted_without_a_look_but_for_the_last(loader, is_sure):
    """22 samples in batches of four: for the fifth of six, the hook is shown what cannot be counted."""
    counts = Counts(loaders=lambda _stage: loader)
    session = Session(open_meters([ReplayMeter(100.0)], device=torch.device("cpu")))
    marks = BatchMarks(counts)
    marks.enter(session, 0, "train")
    _, on_end = marks.hooks_of(lambda *_: None)
    full = {"a": [torch.zeros(4, 3)]} if isinstance(loader, dict) else [torch.zeros(4, 3)]
    for batch_idx in range(4):
        on_end(None, None, None, full, batch_idx)
    on_end(None, None, None, object(), 4)
    on_end(None, None, None, [torch.zeros(2, 3)], 5)
    assert counts.units == {"train": {"samples": 22 if is_sure else None}}
    session.close()
