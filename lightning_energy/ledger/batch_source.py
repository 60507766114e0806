"""The source of a stage's batches, and the sizes that it promises before a batch is seen."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    WeightedRandomSampler,
    default_collate,
)

__all__ = ["Promised", "Source", "claimed", "expected", "promised"]

# that give as many samples as they say
SAMPLERS = (SequentialSampler, RandomSampler, SubsetRandomSampler, WeightedRandomSampler, DistributedSampler)


class Source(NamedTuple):
    """The source of the batches of a stage.

    Attributes:
        loaders: the DataLoader, or the list, tuple or mapping of them; ``None`` where they are not known.
        is_changed: whether a hook of the user's stands between them and a step, which may change a batch.
        is_taken: whether a step takes its batches itself, from an iterator, and as many as it likes.
        is_together: whether several loaders give their batches together, not one loader after the other.
        at_work: the one of several loaders that gives the batches now; ``None`` where it is not known.
    """

    loaders: Any = None
    is_changed: bool = False
    is_taken: bool = False
    is_together: bool = False
    at_work: Any = None


class Promised(NamedTuple):
    """The sizes of all batches of a pass.

    Attributes:
        size: of all but the last.
        batches: their number.
        last: size of the last one.
    """

    size: int
    batches: int
    last: int

    def at(self, batch_idx: int) -> int | None:
        """The size of a batch, given its number; ``None`` where there is none.

        Example:
            >>> [Promised(4, 3, 2).at(i) for i in range(4)]
            [4, 4, 2, None]
        """
        if batch_idx >= self.batches:
            return None
        return self.last if batch_idx == self.batches - 1 else self.size


def promised(source: Source) -> Promised | None:
    """The sizes of a source's batches where they are sure, if its dataset does not grow; else ``None``.

    They are those of a DataLoader as PyTorch makes it for a dataset of known length: with its own samplers and its own
    way to collate, and with nothing that changes its batches.

    Example:
        >>> import torch
        >>> from torch.utils.data import TensorDataset
        >>> promised(Source(DataLoader(TensorDataset(torch.zeros(10, 1)), batch_size=4)))
        Promised(size=4, batches=3, last=2)
        >>> promised(Source(DataLoader(TensorDataset(torch.zeros(10, 1)), batch_size=4, collate_fn=list))) is None
        True
    """
    loader = source.loaders
    if type(loader) is not DataLoader:
        return None
    dataset = loader.dataset
    while type(dataset) is Subset:
        dataset = dataset.dataset
    # one that fetches a batch at once may leave some of it out
    if loader.collate_fn is not default_collate or hasattr(dataset, "__getitems__"):
        return None
    return _joined(source, loader)


def expected(source: Source, loader: Any, batch_idx: int) -> int | None:
    """The samples that a DataLoader joins to a batch, if its own way to collate keeps them all; ``None`` unknown.

    Args:
        source: the source of the batches.
        loader: the DataLoader that this one comes from; ``None`` where it is not known.
        batch_idx: number of the batch.

    Example:
        >>> loader = DataLoader(range(10), batch_size=4, collate_fn=list)
        >>> [expected(Source(loader), loader, i) for i in range(3)], expected(Source(loader), None, 0)
        ([4, 4, 2], None)
    """
    if type(loader) is not DataLoader or (sizes := _joined(source, loader)) is None:
        return None
    return sizes.at(batch_idx)


def claimed(loader: Any, batch_idx: int) -> int | None:
    """The samples of a batch as a DataLoader's sampler, whichever it is, says: to doubt others, not to be believed.

    Example:
        >>> loader = DataLoader(range(10), batch_size=4, sampler=[*range(10)])
        >>> [claimed(loader, i) for i in range(3)], expected(Source(loader), loader, 0), claimed(None, 0)
        ([4, 4, 2], None, None)
        >>> claimed(DataLoader(range(10), batch_size=None), 0), claimed(DataLoader(iter(range(10)), batch_size=4), 0)
        (1, None)
    """
    if not isinstance(loader, DataLoader):
        return None
    if loader.batch_sampler is None:  # it gives what stands at each place
        return 1 if type(loader.sampler) in SAMPLERS else None
    sizes = _given(loader)
    return None if sizes is None else sizes.at(batch_idx)


def _joined(source: Source, loader: DataLoader[Any]) -> Promised | None:
    """The numbers of samples that PyTorch's own samplers give for each batch; ``None`` where others do."""
    if source.is_changed or source.is_taken or type(loader.batch_sampler) is not BatchSampler:
        return None
    return _given(loader) if type(loader.batch_sampler.sampler) in SAMPLERS else None


def _given(loader: DataLoader[Any]) -> Promised | None:
    """The numbers of samples that a sampler says that it gives for each batch; ``None`` where it says none."""
    sampler, size = loader.batch_sampler, loader.batch_size
    if type(sampler) is not BatchSampler or sampler.batch_size != size:
        return None
    try:
        samples, batches = len(sampler.sampler), len(sampler)  # type: ignore[arg-type]  # not each has a length
    except TypeError:
        return None
    return Promised(size, batches, min(size, samples - size * (batches - 1)))
