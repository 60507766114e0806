from __future__ import annotations

import math
import weakref

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_energy.ledger.counts import Counts
from lightning_energy.ledger.marks import Inbox
from lightning_energy.ledger.session import Session
from lightning_energy.ledger.step_marks import NOWHERE, BatchMarks, StepMarks, marker
from lightning_energy.meters import ReplayMeter, open_meters

BATCH = [torch.zeros(4, 2), torch.zeros(4)]


def opened() -> Session:
    return Session(open_meters([ReplayMeter(100.0)], device=torch.device("cpu")))


def accounts(session: Session) -> list[tuple]:
    session.finish()
    totals = session.totals()
    session.close()
    return [tuple(a)[:3] for a in totals.accounts[1:] if totals.energy(kind=a.kind, epoch=a.epoch).duration_s > 0]


def test_without_a_session_marks_go_nowhere():
    for step in (StepMarks(), BatchMarks(Counts())):
        step.begin()
        step.end()
        assert step.account == NOWHERE == (-1, "train")
    assert step.attend_at == math.inf
    assert step.end_batch(BATCH, 10**9) is False


def test_a_session_takes_the_marks_until_it_is_left():
    session, counts = opened(), Counts()
    step = BatchMarks(counts)
    step.enter(session, 3, "train")
    step.begin()
    assert step.end_batch(BATCH, 0) is True  # the first batch of a stage is attended to
    assert step.account == (3, "train")
    assert counts.units == {"train": {"samples": 4}}
    step.leave()
    step.begin()
    assert step.end_batch(BATCH, 1) is False
    assert (step.account, step.gap_code, step.attend_at) == (NOWHERE, 0, math.inf)
    assert counts.units == {"train": {"samples": 8}}  # a number that stopped in the middle would be wrong
    assert accounts(session) == [(3, "train", "gap"), (3, "train", "step")]


def test_a_batch_is_attended_to_when_it_is_time():
    session, step = opened(), BatchMarks(Counts())
    step.enter(session, 0, "train")
    step.attend_at = 5
    assert [step.end_batch(BATCH, i) for i in (3, 4, 5, 6)] == [False, False, True, True]
    step.attend_at = 8
    assert [step.end_batch(BATCH, i) for i in (7, 8)] == [False, True]
    session.close()


@pytest.mark.parametrize("make", [StepMarks, lambda: BatchMarks(Counts())])
def test_the_end_of_a_step_opens_the_gap_whatever_was_entered(make):
    """Between epochs as well: the code of the gap cannot be set apart from the functions that mark it."""
    session, step = opened(), make()
    for epoch in (0, -1, 1):
        step.enter(session, epoch, "train")
        assert step.gap_code == session.code(epoch, "train", "gap")
        ends = [step.end, *([lambda: step.end_batch(BATCH, 0)] if isinstance(step, BatchMarks) else [])]
        for end in ends:
            with session.ledger.lock:  # so that nobody takes it away
                end()
                assert session.inbox.marks[-1] == step.gap_code
    with pytest.raises(AttributeError):
        step.gap_code = 3
    session.close()


@pytest.mark.parametrize("stamp", [None, lambda now_ns: ("stamp", now_ns)])
@pytest.mark.parametrize("batch_size_fn", [None, lambda batch: 7])
def test_what_is_left_in_the_inbox_and_what_is_counted(stamp, batch_size_fn):
    """Whichever way is taken: directly, or by a call."""
    left, times = [], iter(range(100, 200))

    class Inboxed:
        inbox = Inbox(left, lambda: next(times), stamp)

        def code(self, epoch, stage, kind, phase):
            return {"step": 1, "gap": 2}[kind]

    counts = Counts(batch_size_fn)
    step = BatchMarks(counts)
    step.enter(Inboxed(), 0, "train")
    batches = [BATCH, [torch.tensor(3.0)], [torch.nn.Parameter(BATCH[0])], ({"x": BATCH[0]},), BATCH[0]]
    for batch_idx, batch in enumerate(batches):
        step.begin()
        step.end_batch(batch, batch_idx)
    marker(Inboxed.inbox, 9)()
    codes, times_ns = [2, *([1, 2] * len(batches)), 9], range(100, 200)
    stamps = [(stamp(t),) if stamp else () for t in times_ns]
    assert left == [value for t, c, s in zip(times_ns, codes, stamps, strict=False) for value in (t, c, *s)]
    n = 7 * 5 if batch_size_fn else 4 + 1 + 4 + 4 + 4
    assert counts.units == {"train": {"samples": n}}


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("odd", ["empty", "text", "none", "nested"])
def test_a_batch_that_cannot_be_counted_ends_the_counting(odd):
    session, counts = opened(), Counts()
    step = BatchMarks(counts)
    step.enter(session, 0, "train")
    batches = {"empty": [], "text": ["text"], "none": None, "nested": [torch.nested.nested_tensor([BATCH[0]])]}
    for batch_idx, batch in enumerate((BATCH, batches[odd], BATCH), 8):
        step.end_batch(batch, batch_idx)
    session.close()
    assert counts.units == {"train": {"samples": None}}


def test_every_stage_has_its_counts_and_a_search_has_none():
    session, counts = opened(), Counts(per={"tokens": lambda batch: batch[0].numel()})
    step = BatchMarks(counts)
    for stage, n in (("sanity_check", 2), ("tune", 1), ("train", 3), ("validate", 2), ("train", 1)):
        step.enter(session, 0, stage)
        for batch_idx in range(n):
            step.begin()
            step.end_batch(BATCH, batch_idx)
    step.leave("validate")
    step.end_batch(BATCH, 2)
    step.leave("sanity_check")
    step.end_batch(BATCH, 3)
    session.close()
    assert counts.units == {"train": {"samples": 16, "tokens": 32}, "validate": {"samples": 12, "tokens": 24}}


@pytest.mark.parametrize(("at", "is_seen"), [(0, True), (1, True), (3, True), (4, False), (258, False), (259, True)])
def test_a_hook_looks_carefully_now_and_then(at, is_seen):
    """At the first batches, at one of 256 after them, and at the first one of every later epoch."""
    session, counts = opened(), Counts()
    step = BatchMarks(counts)
    odd = [BATCH[0], torch.zeros(9)]
    step.enter(session, 0, "train")
    for batch_idx in range(260):
        step.end_batch(odd if batch_idx == at else BATCH, batch_idx)
    assert counts.units == {"train": {"samples": None if is_seen else 1040}}
    step.enter(session, 1, "train")
    step.end_batch(odd, 50)  # resumed in the middle of it
    session.close()
    assert counts.units == {"train": {"samples": None}}


def hooked():
    """The hooks of steps after four careful looks at pairs of 4 samples, and their counts."""
    session, counts = opened(), Counts()
    step = BatchMarks(counts)
    step.enter(session, 0, "train")
    _, end = step.hooks_of(lambda _trainer, _batch_idx: None)
    for batch_idx in range(4):
        end(None, None, None, BATCH, batch_idx)
    session.close()
    return end, counts


@pytest.mark.parametrize(
    ("batch", "n"),
    [
        ([torch.zeros(7, 2), torch.zeros(7)], 7),
        ([torch.zeros(0, 2), torch.zeros(0)], 0),
        ([torch.zeros(7)], 7),
        ((torch.zeros(7, 2), torch.zeros(7)), 7),
        ([torch.tensor(3.0), torch.zeros(7)], 7),  # the first tensor that has a dimension counts
        (["text", torch.zeros(7, 2)], 7),
        ([torch.nn.Parameter(torch.zeros(7, 2))], 7),
        ({"x": torch.zeros(7, 2)}, 7),
        (torch.zeros(7, 2), 7),
        ({0: torch.zeros(7, 2), "x": torch.zeros(8)}, None),  # 0 is a place in pairs
        ([], None),
    ],
)
def test_a_hook_counts_a_batch_of_another_size_or_structure_as_such(batch, n):
    end, counts = hooked()
    end(None, None, None, BATCH, 4)
    assert counts.units == {"train": {"samples": 20}}  # to be asked in between changes nothing
    end(None, None, None, batch, 5)
    end(None, None, None, BATCH, 6)
    assert counts.units == {"train": {"samples": None if n is None else 24 + n}}


@given(st.lists(st.integers(0, 9), min_size=300, max_size=600))
@settings(max_examples=10)
def test_a_hook_counts_batches_of_any_sizes(sizes):
    """Across careful looks, too."""
    end, counts = hooked()
    for batch_idx, n in enumerate(sizes, 4):
        end(None, None, None, [torch.zeros(n, 1), torch.zeros(n)], batch_idx)
    assert counts.units == {"train": {"samples": 4 * 4 + sum(sizes)}}


def test_a_hook_keeps_no_batch_alive():
    end, counts = hooked()
    tensor = torch.zeros(4, 2)
    is_alive = weakref.ref(tensor)
    end(None, None, None, [tensor], 4)
    del tensor
    assert is_alive() is None
    assert counts.units == {"train": {"samples": 20}}
