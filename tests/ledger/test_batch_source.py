from __future__ import annotations

import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from lightning_energy.ledger.batch_source import Source, promised

DATA = TensorDataset(torch.zeros(22, 3))


@pytest.mark.parametrize(
    "loader",
    [
        DataLoader(DATA, batch_size=4),
        DataLoader(DATA, batch_size=4, drop_last=True),
        DataLoader(DATA, batch_size=11),
        DataLoader(DATA, batch_size=30),
        DataLoader(DATA, batch_size=4, sampler=RandomSampler(DATA, replacement=True, num_samples=31)),
        DataLoader(DATA, batch_size=4, sampler=WeightedRandomSampler([1.0] * len(DATA), 13)),
        DataLoader(DATA, batch_size=4, sampler=SubsetRandomSampler([1, 3, 4, 5, 7])),
    ],
)
def test_what_is_promised_is_what_comes(loader):
    promise, sizes = promised(Source(loader)), [len(x) for (x,) in loader]
    assert promise.batches == len(sizes)
    assert [promise.at(i) for i in range(len(sizes) + 1)] == [*sizes, None]


@pytest.mark.parametrize(
    "source",
    [
        Source(),
        Source(DataLoader(DATA, batch_size=4), is_changed=True),
        Source(DataLoader(DATA, batch_size=4), is_taken=True),
        Source([DataLoader(DATA, batch_size=4)]),
        Source(DataLoader(DATA, batch_size=None)),
        Source(DataLoader(DATA, batch_sampler=BatchSampler(SequentialSampler(DATA), 4, drop_last=False))),
    ],
)
def test_nothing_is_promised_where_batches_may_be_others(source):
    assert promised(source) is None


def test_a_sampler_that_was_given_another_size_promises_nothing():
    loader = DataLoader(DATA, batch_size=4)
    loader.batch_sampler.batch_size = 2
    assert promised(Source(loader)) is None
