from __future__ import annotations

from collections import OrderedDict, defaultdict

import pytest
import torch
from torch.nn.utils.rnn import pack_sequence
from torch.utils.data import BatchSampler, DataLoader, Subset, TensorDataset, default_collate

from lightning_energy.ledger.batch_source import Source
from lightning_energy.ledger.counts import Counts
from lightning_energy.ledger.sample_count import SampleCount
from lightning_energy.ledger.session import Session
from lightning_energy.ledger.step_marks import BatchMarks
from lightning_energy.meters import ReplayMeter, open_meters
from tests.modules import Numbers

X = torch.zeros(5, 3)
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
    count = SampleCount(lambda: Source(loader))
    count.add(full, 0)
    count.add(last, 1)
    assert count.n == 3
    count = SampleCount(lambda: Source(loader))
    count.add(last, 0)
    assert count.n is None


def test_packed_sequences_are_counted_not_their_time_steps():
    count = SampleCount()
    for i, lengths in enumerate([(5,), (5, 3), (2, 2, 1)]):
        count.add(pack_sequence([torch.zeros(n, 2) for n in lengths]), i)
    assert (count.n, count.problem) == (6, "")


def test_a_loader_that_cannot_be_asked_is_told():
    count = SampleCount(lambda: 1 / 0)
    count.add(PAIR, 0)
    assert "ZeroDivisionError" in count.problem


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
    counts = Counts(sources=lambda _stage: Source(loader))
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


def pass_of(count: SampleCount, sizes: list[int], *, first: int = 0) -> int | None:
    """The number of samples after a pass through batches of these sizes, the first of which has this number."""
    count.look_again()
    for i, n in enumerate(sizes, first):
        count.add([torch.zeros(n, 3)], i)
    return count.n


def test_batches_that_a_hook_changes_are_looked_at():
    """Once the first ones were as large as the loader says, the others were not looked at."""
    sizes = [4, 4, 4, 4, 1, 2]
    assert pass_of(SampleCount(lambda: Source(DataLoader(DATA, batch_size=4), is_changed=True)), sizes) == sum(sizes)


def test_a_batch_that_breaks_what_was_relied_on_makes_the_number_unknown():
    """A step that removes samples in place: of the batches before the last one, nobody knows."""
    count = SampleCount(lambda: Source(DataLoader(DATA, batch_size=4)))
    assert pass_of(count, [4, 4, 4, 4, 1, 1]) is None
    assert "a batch (a list of 1: Tensor) has other samples than its DataLoader gives" in count.problem


def test_a_sampler_that_is_given_another_size_within_a_pass_makes_the_number_unknown():
    loader = DataLoader(DATA, batch_size=4)
    count = SampleCount(lambda: Source(loader))
    count.look_again()
    for i, n in enumerate([4, 4, 4, 4, 2, 2, 2]):
        loader.batch_sampler.batch_size = n
        count.add([torch.zeros(n, 3)], i)
    assert count.n is None


def test_batches_of_a_loader_that_broke_its_promise_before_it_was_relied_on_are_looked_at():
    sizes = [3, 4, 4, 4, 1, 2]
    assert pass_of(SampleCount(lambda: Source(DataLoader(DATA, batch_size=4))), sizes) == sum(sizes)


def test_batches_of_a_dataset_that_grows_are_looked_at():
    """A pass has as many batches as the dataset had at its beginning: a small one comes before the last of now."""
    rows = [*torch.zeros(22, 3)]
    count = SampleCount(lambda: Source(DataLoader(rows, batch_size=4)))
    count.look_again()
    for i, n in enumerate([4, 4, 4, 4, 4, 2]):
        rows.extend(torch.zeros(40, 3))
        count.add([torch.zeros(n, 3)], i)
    assert count.n == 22
    count = SampleCount(lambda: Source(DataLoader(rows, batch_size=4)))
    assert pass_of(count, [4] * 65 + [2]) == 262  # what has grown before a pass is no matter


def test_the_last_batch_of_a_pass_that_went_on_from_its_middle_may_be_full():
    """A DataLoader begins anew then, and its own last batch never comes."""
    count = SampleCount(lambda: Source(DataLoader(DATA, batch_size=4)))
    assert pass_of(count, [4, 4, 4], first=3) == 12
    assert pass_of(count, [4] * 5 + [2]) == 12 + 22


@pytest.mark.parametrize("fold", [False, True])
@pytest.mark.parametrize(("left_out", "is_known"), [(None, True), (6, False), (258, False)])
def test_a_batch_that_did_not_come_is_missed_at_the_next_look(fold, left_out, is_known):
    """The hook of a step adds shapes; ``add`` adds their sums. A run that goes on within an epoch begins at any."""
    count = SampleCount()
    for i in range(3, 300):
        if i == left_out:
            continue
        if count.seen[3] is not None and count.seen[2] < i < count.seen[6] and not fold:
            count.seen[3].append(X.shape)
        else:
            count.add(PAIR, i)
    assert (count.n is not None) == is_known
    assert count.n == (5 * 297 if is_known else None)


def test_a_full_batch_that_may_be_told_by_another_dimension_is_looked_at_until_one_tells():
    """As long as there are samples, once: rows of tokens of several lengths, by a sampler that may give any number."""
    loader = DataLoader(Numbers(32), batch_size=4, sampler=[*range(32)], collate_fn=list)
    for lengths, n in (([4, 9, 2, 3], 16), ([4] * 9, 36), ([4] * 7 + [3], None), ([3, 4, 2], 12)):
        count = SampleCount(lambda: Source(loader))
        for i, length in enumerate(lengths):
            count.add(torch.zeros(4, length), i)
        assert count.n == n


def padded(n: int, lengths: list[int]) -> SampleCount:
    """Rows of ``n`` samples in batches of 16, each padded to a length."""
    loader = DataLoader(Numbers(n), batch_size=16, collate_fn=list)
    count, batches = SampleCount(lambda: Source(loader)), -(-n // 16)
    for i, length in enumerate(lengths):
        count.add(torch.zeros(min(16, n - 16 * (i % batches)), length), i % batches)
    return count


@pytest.mark.parametrize("lengths", [[16] * 7 * 3, [16, 12, 9, 16, 14, 16, 8] * 3, [12, 16, 17, 16, 16, 16, 4] * 3])
def test_a_length_that_equals_the_batch_size_by_chance_costs_no_samples(lengths):
    """Where PyTorch's own samplers say how many there are."""
    assert padded(100, lengths).n == 300


@pytest.mark.parametrize(
    ("samples", "batch_size", "parts"), [(9, 2, 2), (32, 3, 3), (41, 4, 4), (42, 4, 4), (43, 4, 4)]
)
def test_as_many_tensors_as_samples_in_a_batch_cost_no_samples(samples, batch_size, parts):
    """Images and masks in batches of two, say."""
    count = SampleCount(lambda: Source(DataLoader(Numbers(samples), batch_size=batch_size, collate_fn=list)))
    for _ in range(2):
        for i in range(-(-samples // batch_size)):
            n = min(batch_size, samples - i * batch_size)
            count.add(tuple(torch.zeros(n, 1, 8, 8) for _ in range(parts)), i)
    assert count.n == 2 * samples


def test_it_is_looked_at_only_until_a_last_batch_tells():
    count = padded(100, [16] * 7)
    assert count._full is None
    assert count._has_been_full


def test_classes_of_as_many_images_as_channels_are_looked_at_no_longer_than_others():
    loader = DataLoader(Numbers(30), batch_size=3, drop_last=True, collate_fn=list)
    count = SampleCount(lambda: Source(loader))
    for i in range(8):
        count.add([torch.zeros(3, 3, 8, 8), torch.zeros(3)], i)
    assert (count.n, count._full, count.seen[6]) == (24, None, 3 + 256)


def test_time_first_that_equals_the_batch_size_by_chance_is_not_taken_for_samples():
    loader = DataLoader(Numbers(10), batch_size=4, collate_fn=list)
    count = SampleCount(lambda: Source(loader))
    for i, n in enumerate((4, 4, 2)):
        count.add(torch.zeros(4, n), i)
    assert count.n is None
    assert "along the first dimension or along another" in count.problem


def added(loader: DataLoader, batches: list[list[torch.Tensor]], *, first: int = 0, **of: bool) -> int | None:
    """The number of samples after these batches, the first of which has this number."""
    count = SampleCount(lambda: Source(loader, **of))
    for i, batch in enumerate(batches, first):
        count.add(batch, i)
    return count.n


@pytest.mark.parametrize("sampler", [None, [0, 1, 2]])
@pytest.mark.parametrize(
    "collate",
    [
        lambda rows: torch.zeros(2 * len(rows), 5),  # two views of each
        lambda rows: torch.zeros(2, len(rows), 5),  # time first
        lambda rows: torch.zeros(5, len(rows), 2),
    ],
)
def test_a_small_first_batch_is_doubted_where_its_sampler_gives_another_number(collate, sampler):
    """Three samples in one batch of up to eight, of which 6, 2 and 5 were counted."""
    loader = DataLoader(Numbers(3), batch_size=8, sampler=sampler, collate_fn=collate)
    assert added(loader, [*loader]) is None


def test_as_many_as_a_full_batch_are_too_many_for_one_that_is_not():
    loader = DataLoader(Numbers(4), batch_size=8, collate_fn=lambda rows: torch.zeros(2 * len(rows), 5))
    assert added(loader, [*loader]) is None


def test_a_small_batch_of_a_dataset_without_length_is_doubted_only_where_it_may_be_time_first():
    rows = iter(range(3))
    for batch, n in ((torch.zeros(5, 3), None), (torch.zeros(5, 9), 5), (torch.zeros(5, 3, 6, 6), 5)):
        assert added(DataLoader(rows, batch_size=8, collate_fn=list), [batch]) == n


def timed(n_time: int, n: int) -> list[torch.Tensor]:
    """A batch with time first, and a class for each sample."""
    return [torch.zeros(n_time, n, 5), torch.zeros(n)]


@pytest.mark.parametrize("sampler", [None, [*range(30)]])
@pytest.mark.parametrize("last", [timed(4, 2), timed(3, 4)])
def test_time_first_beside_classes_is_not_taken_for_samples(last, sampler):
    """As long as a batch is large, in all but one batch, behind those that are looked at anyhow."""
    loader = DataLoader(Numbers(30), batch_size=4, sampler=sampler, collate_fn=list)
    assert added(loader, [timed(4, 4)] * 7 + [last]) is None


def test_classes_tell_the_samples_of_a_batch_of_as_many_features_as_samples():
    loader = DataLoader(Numbers(32), batch_size=4, collate_fn=list)
    batches = [[torch.zeros(n, 4), torch.zeros(n)] for n in (4, 4, 4, 4, 4, 3, 4, 2)]
    assert added(loader, batches) == 29  # a collate_fn that leaves out some


def test_time_first_that_a_hook_makes_is_not_taken_for_samples():
    loader = DataLoader(Numbers(30), batch_size=4)
    assert added(loader, [timed(4, 4)[:1]] * 7 + [timed(4, 2)[:1]], is_changed=True) is None


def test_what_stands_at_one_place_of_a_dataset_is_no_batch_for_all_that_is_known():
    """Without a batch size, PyTorch's samplers give one place at a time; a sampler of lists gives a batch."""
    pair = [torch.zeros(4, 5), torch.zeros(4)]
    assert added(DataLoader(Numbers(), batch_size=None), [pair]) is None
    assert (
        added(DataLoader(Numbers(), batch_size=None, sampler=BatchSampler(range(32), 4, drop_last=False)), [pair]) == 4
    )


def test_a_pass_that_went_on_from_its_middle_has_not_the_last_batch_of_its_loader():
    """22 samples in batches of four: the sixth may have three of four samples, and none has two."""
    loader = DataLoader(DATA, batch_size=4, collate_fn=list)
    assert added(loader, [[torch.zeros(n, 3)] for n in (4, 3, 3)], first=3) == 10
    assert added(loader, [[torch.zeros(2, 4)]], first=5) is None


def test_second_dimensions_that_begin_to_differ_are_none_of_samples():
    count = SampleCount(lambda: Source([DataLoader(Numbers(8), batch_size=4, collate_fn=list)] * 2))
    for i, lengths in enumerate(((4, 4), (9, 6))):
        count.add([torch.zeros(4, length) for length in lengths], i)
    assert count.n == 8


def test_a_small_loader_of_as_many_features_as_a_batch_has_samples_is_counted():
    """PyTorch's own way to collate puts samples first."""
    loaders = [DataLoader(Numbers(n), batch_size=4) for n in (6, 3)]
    count = SampleCount(lambda: Source(loaders))
    for i, n in ((0, 4), (1, 2), (0, 3)):
        count.add(torch.zeros(n, 4), i)
    assert count.n == 9
    changed = SampleCount(lambda: Source(loaders, is_changed=True))
    changed.add(torch.zeros(3, 4), 0)
    assert changed.n is None


@pytest.mark.parametrize(("numbers", "is_known"), [([0, 1, 2, 0, 1], True), ([1, 3], False), ([0, 1, 3, 4], False)])
def test_steps_that_take_their_batches_themselves_take_one_each_or_are_not_known(numbers, is_known):
    count = SampleCount(lambda: Source(is_taken=True))
    for i in numbers:
        count.add(PAIR, i)
    assert (count.n, bool(count.problem)) == (5 * len(numbers) if is_known else None, not is_known)


def test_counting_adds_nothing_to_a_batch():
    """A dictionary that makes what it lacks: the key of the first batches is not in the later ones."""
    counts = Counts()
    session = Session(open_meters([ReplayMeter(100.0)], device=torch.device("cpu")))
    marks = BatchMarks(counts)
    marks.enter(session, 0, "train")
    _, on_end = marks.hooks_of(lambda *_: None)
    for batch_idx in range(8):
        batch = defaultdict(list, {"a" if batch_idx < 4 else "b": X})
        on_end(None, None, None, batch, batch_idx)
        assert len(batch) == 1
    assert counts.units == {"train": {"samples": 40}}
    session.close()
