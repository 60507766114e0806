"""The number of samples in a batch: known where the batch says it plainly, and unknown elsewhere."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.utils.rnn import PackedSequence
from torch.utils.data import BatchSampler, DataLoader, default_collate

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

__all__ = ["describe", "first_size", "look", "only_loader", "other_sizes", "place_of_size", "size_of"]

CHANNELS = {1, 3, 4}  # of images, where they stand first
MOST_PARTS = 10_000  # of a batch that are looked at
NAMED_PARTS = 3
EITHER = "may have its samples along the first dimension or along another"
PLAIN = (bool, int, float, complex, str, bytes)  # that stand for one sample, beside its tensors


def size_of(batch: Any, batch_size: int | None = None) -> int | None:
    """Samples in a batch: the first dimension of its tensors, where it is the same for all of them.

    Tensors are found in lists, tuples, mappings and dataclasses at any depth; tensors without dimensions are passed
    over where others have some, and a ``PackedSequence`` has as many samples as sequences. The number is unknown where
    the first dimensions differ (clips or boxes of several lengths, time first, several loaders), where there are no
    tensors (graphs), and where a list may be one of single samples: of images, whose first dimension is their
    channels, or of waveforms; without a batch size of the DataLoader also where all may be one sample: a lone row, or
    tensors with a number or a text beside them.

    Args:
        batch: from a DataLoader.
        batch_size: of that DataLoader, which a first dimension cannot exceed; ``None`` when not known.

    Returns:
        The number, or ``None`` when it is not known.

    Example:
        >>> size_of({"id": ["a", "b"], "image": torch.zeros(2, 3, 8, 8)}), size_of([torch.zeros(4, 2), torch.zeros(4)])
        (2, 4)
        >>> size_of([torch.zeros(3, 8, 8), torch.zeros(3, 8, 8)]) is None
        True
    """
    found = _look(batch, Sizes({batch_size}), is_sure=False)
    return found if isinstance(found, int) else None


def look(
    batch: Any,
    loaders: Any = None,
    *,
    together: bool = False,
    expected: int | None = None,
    claimed: int | None = None,
    is_sure: bool = False,
    is_changed: bool = True,
) -> tuple[int | str, bool]:
    """Look carefully at a batch.

    Args:
        batch: the batch.
        loaders: the DataLoader that it comes from, or the list, tuple or mapping of them.
        together: whether several loaders give their batches together, as those of a training do.
        expected: the samples that the DataLoader joins to this batch, where that is known: as large a first dimension
            is right, whatever it is.
        claimed: the same as a sampler says that need not be right: another first dimension is doubted by it.
        is_sure: whether an earlier batch was seen to be as large as its DataLoader says.
        is_changed: whether something else may have changed it. If not, PyTorch's own ``default_collate`` puts samples
            first.

    Returns:
        The number of samples, or the reason why it is not known; and whether it is that of the DataLoader.
    """
    each = [*_loaders(loaders)]
    if len(each) > 1 and _is_of_all(batch, loaders, together=together):
        return f"a batch comes from {len(each)} loaders together", False
    sizes = Sizes.of(each)
    is_sure = is_sure or (expected is None and sizes.is_batched and not sizes.may_join and not is_changed)
    found = _look(batch, sizes, expected=expected, claimed=claimed, is_sure=is_sure)
    return found, found == sizes.batch_size


def only_loader(loaders: Any) -> Any:
    """The loader that all batches come from; ``None`` where there are several, or none.

    Example:
        >>> only_loader(["a"]), only_loader({"x": "a", "y": "b"})
        ('a', None)
    """
    each = [*_loaders(loaders)]
    return each[0] if len(each) == 1 else None


def other_sizes(batch: Any, loaders: Any, *, is_changed: bool = False) -> list[int | None]:
    """Numbers that may be that of samples as well as the first dimension: not where ``default_collate`` made the batch.

    They are the second dimension, if all tensors have the same, as with time first (else ``None``), and rows are as
    long; and the lengths of lists that may have one part for each sample.

    Example:
        >>> from torch.utils.data import DataLoader
        >>> other_sizes(torch.zeros(4, 3), DataLoader([1], collate_fn=list)), other_sizes(torch.zeros(4, 3), None)
        ([3], [])
    """
    if not (is_changed or Sizes.of([*_loaders(loaders)]).may_join):
        return []
    return _Tensors(batch).others


def first_size(batch: Any) -> int | None:
    """The first dimension of the first tensor in a batch: its samples, once :func:`look` has seen one like it.

    Tensors without dimensions are passed over, as :func:`look` does.
    """
    if isinstance(batch, torch.Tensor):
        return batch.shape[0] if batch.ndim else None
    for part in _parts(batch):
        n = first_size(part)
        if n is not None:
            return n
    return None


def place_of_size(batch: Any) -> Any:
    """The key of the first tensor with dimensions, where it stands right in a list, a tuple or a dict; else ``None``.

    Of a mapping that makes what it lacks, as a ``defaultdict`` does, there is none: it would grow when asked.

    Example:
        >>> place_of_size({"id": "a", "image": torch.zeros(2, 3)}), place_of_size([[torch.zeros(2)]])
        ('image', None)
    """
    if isinstance(batch, PackedSequence) or not isinstance(batch, (list, tuple, Mapping)):
        return None
    if hasattr(batch, "__missing__"):
        return None
    for key, part in batch.items() if isinstance(batch, Mapping) else enumerate(batch):
        if type(part) is torch.Tensor and part.ndim:
            return key
        if first_size(part) is not None:
            return None
    return None


def describe(batch: Any) -> str:
    """The type of a batch, as an error message names it.

    Example:
        >>> describe([torch.zeros(3), "text"]), describe({})
        ('a list of 2: Tensor, str', 'a dict')
    """
    kind = type(batch)
    plain = kind.__module__ in {"builtins", "torch", "collections"}
    text = f"a {kind.__qualname__ if plain else f'{kind.__module__}.{kind.__qualname__}'}"
    if not isinstance(batch, (list, tuple)) or not batch:
        return text
    more = ", …" if len(batch) > NAMED_PARTS else ""
    return f"{text} of {len(batch)}: {', '.join(type(part).__qualname__ for part in batch[:NAMED_PARTS])}{more}"


def _parts(batch: Any) -> Collection[Any]:
    if isinstance(batch, PackedSequence):  # the first dimensions of its tensors are numbers of time steps
        return (torch.empty(int(batch.batch_sizes[0]), 1),)
    if isinstance(batch, (list, tuple)):
        return batch
    if isinstance(batch, Mapping):
        return batch.values()
    if dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        return [getattr(batch, field.name) for field in dataclasses.fields(batch)]
    return ()


class Sizes:
    """The sizes of batches, as far as their DataLoaders tell.

    Attributes:
        batch_size: that of all of them; ``None`` where it is not known, or differs.
        is_batched: whether each of them makes its batches out of several samples, so that none is one sample.
        may_join: whether one of them has a way of its own to do so, which may make one row of all samples.

    Args:
        batch_sizes: see there.
        is_batched: see there.
        may_join: see there.
    """

    def __init__(self, batch_sizes: set[int | None], *, is_batched: bool = False, may_join: bool = False) -> None:
        self.batch_size = batch_sizes.pop() if len(batch_sizes) == 1 else None
        self.is_batched = is_batched
        self.may_join = may_join

    @classmethod
    def of(cls, each: list[Any]) -> Sizes:
        """Ask loaders of whatever type."""
        batched = [loader for loader in each if isinstance(loader, DataLoader) and loader.batch_sampler is not None]
        return cls(
            {_batch_size(loader) for loader in each},
            is_batched=bool(batched) and len(batched) == len(each),
            may_join=any(loader.collate_fn is not default_collate for loader in batched),
        )


def _batch_size(loader: Any) -> int | None:
    if not isinstance(loader, DataLoader):
        return None
    sampler = loader.batch_sampler
    # a DataLoader that is given a batch sampler has no size of its own
    return sampler.batch_size if loader.batch_size is None and type(sampler) is BatchSampler else loader.batch_size


class _Tensors:
    """The tensors of a batch, what stands beside them, and the lists that hold nothing but tensors of one rank.

    And ``alike``: the lengths of lists whose parts are of one form and hold tensors, as samples do that nobody has
    joined.
    """

    def __init__(self, batch: Any) -> None:
        self.sized: list[torch.Tensor] = []
        self.scalars = self.plain = 0
        self.lists: list[list[torch.Tensor]] = []
        self.alike: list[int] = []
        self._parts = 0
        self._take(batch)

    @property
    def second(self) -> int | None:
        """The number of samples if they stand along the second dimension, as with time first; ``None``: they do not."""
        sizes, ranks = {t.shape[:2][-1] for t in self.sized}, {t.ndim for t in self.sized}
        if len(sizes) > 1 or ranks <= {1} or (ranks == {1, 4} and sizes <= CHANNELS):  # the latter: images and classes
            return None
        return sizes.pop()

    @property
    def others(self) -> list[int | None]:
        """Numbers that may be that of samples as well as the first dimension: see :func:`other_sizes`."""
        return [self.second, *self.alike, *map(len, self.lists)]

    def _take(self, part: Any) -> None:
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise ValueError(f"it has more than {MOST_PARTS} parts")
        if isinstance(part, torch.Tensor):
            if part.ndim:
                self.sized.append(part)
            else:
                self.scalars += 1
            return
        parts = _parts(part)
        is_list = isinstance(part, (list, tuple)) and not hasattr(part, "_fields")
        if is_list and _are_alike(part):
            self.alike.append(len(part))
        if is_list and parts and all(isinstance(p, torch.Tensor) for p in parts) and len({p.ndim for p in parts}) == 1:
            self.lists.append([*parts])
        if not is_list or any(isinstance(p, torch.Tensor) for p in parts):  # else a list with one for each sample
            self.plain += sum(isinstance(p, PLAIN) for p in parts)
        for p in parts:
            self._take(p)


def _form(part: Any) -> Any:
    """The form of what holds tensors, and the ranks of these; ``None``, which is like nothing, where it has none."""
    if isinstance(part, torch.Tensor):
        return part.ndim
    keys = (*part,) if isinstance(part, Mapping) else ()
    forms = (*map(_form, _parts(part)),)
    return (type(part), keys, forms) if any(form is not None for form in forms) else None


def _are_alike(parts: list[Any] | tuple[Any, ...]) -> bool:
    """True for several things of one form that have tensors, and are none."""
    if not 1 < len(parts) < MOST_PARTS or isinstance(parts[0], torch.Tensor):
        return False
    form = _form(parts[0])
    return form is not None and all(_form(part) == form for part in parts)


def _look(
    batch: Any, sizes: Sizes, *, expected: int | None = None, claimed: int | None = None, is_sure: bool
) -> int | str:
    """The number of samples, or the reason why it is not known."""
    tensors, batch_size = _Tensors(batch), sizes.batch_size
    first = sorted({t.shape[0] for t in tensors.sized})
    if not first:
        is_one = tensors.scalars == 1 and (batch_size == 1 or not sizes.may_join)
        return 1 if is_one else f"a batch ({describe(batch)}) has no tensors with a first dimension"
    if len(first) > 1:
        shown = ", ".join(map(str, first[: NAMED_PARTS + 1])) + (", …" if len(first) > NAMED_PARTS + 1 else "")
        return f"the first dimensions of the tensors in a batch ({describe(batch)}) differ: {shown}"
    (n,) = first
    if batch_size is not None and n > batch_size:
        return (
            f"the first dimension of the tensors in a batch ({describe(batch)}) is {n}, and the DataLoader's "
            f"batch_size is {batch_size}"
        )
    if n == expected or is_sure or (n == batch_size and (expected is None or n <= expected)):
        return n
    doubt = _doubt_joined(tensors, n, batch_size) if sizes.may_join else ""
    if sizes.may_join or not sizes.is_batched:
        doubt = doubt or _doubt_alike(tensors, n)
    if batch_size is None:
        doubt = doubt or _doubt_without(tensors, n, is_batched=sizes.is_batched)
    else:
        doubt = doubt or _doubt(tensors, n, batch_size)
    if claimed is not None:
        doubt = doubt or _doubt_claimed(tensors, n, claimed)
    if sizes.may_join and batch_size is not None:
        doubt = doubt or _doubt_second(tensors, n, batch_size if claimed is None else claimed)
    return f"a batch ({describe(batch)}) {doubt}" if doubt else n


def _doubt(tensors: _Tensors, n: int, batch_size: int) -> str:
    """The reason to doubt a first dimension that is smaller than the DataLoader's batch size; empty without one."""
    if any(t.ndim > 1 and t.shape[1] == batch_size for t in tensors.sized):
        return f"has tensors whose second dimension is the DataLoader's batch_size of {batch_size}; the first is {n}"
    for parts in tensors.lists:
        if len(parts) == batch_size or (len(parts) > 1 and n in CHANNELS and parts[0].ndim > 2):  # noqa: PLR2004
            return f"may be made of single samples, whose first dimension is {n}"
    return ""


def _doubt_claimed(tensors: _Tensors, n: int, claimed: int) -> str:
    """The same where a sampler says how many there are."""
    if n != claimed and claimed in tensors.others:
        return EITHER
    return f"has a first dimension of {n}, and its DataLoader's sampler gives {claimed} samples" if n > claimed else ""


def _doubt_second(tensors: _Tensors, n: int, most: int) -> str:
    """The same where no more than ``most`` samples may stand along the second dimension, if it is not of channels."""
    second = tensors.second
    is_of_images = second in CHANNELS and all(t.ndim == 4 for t in tensors.sized)  # noqa: PLR2004 - samples first
    return "" if second is None or second == n or second > most or is_of_images else EITHER


def _doubt_joined(tensors: _Tensors, n: int, batch_size: int | None) -> str:
    """The same where samples of several lengths may have been joined into one row, as for attention without padding."""
    is_row = batch_size is None and all(t.ndim == 1 for t in tensors.sized)
    if is_row or (n == 1 and any(t.numel() > 1 for t in tensors.sized)):
        return "may be samples that were joined into one row"
    return ""


def _doubt_alike(tensors: _Tensors, n: int) -> str:
    """The same where parts that are alike may be samples, which nobody has joined."""
    return f"may be made of single samples, whose first dimension is {n}" if {*tensors.alike} - {n} else ""


def _doubt_without(tensors: _Tensors, n: int, *, is_batched: bool) -> str:
    """The same where no batch size is known: all may be images with their channels first, waveforms, or one sample."""
    of_images = n in CHANNELS and all(t.ndim > 2 for t in tensors.sized)  # noqa: PLR2004 - channels, height, width
    of_waves = any(len(p) > 1 and all(t.ndim == 1 and t.is_floating_point() for t in p) for p in tensors.lists)
    if of_images or of_waves:
        return f"may be made of single samples, whose first dimension is {n}"
    if is_batched:
        return ""
    if tensors.scalars or tensors.plain:
        return f"may be a single sample: beside numbers or texts it has a first dimension of {n}"
    if len(tensors.sized) == 1 and tensors.sized[0].ndim == 1 and tensors.sized[0].is_floating_point():
        return f"may be a single sample: it is a row of {n}"
    return ""


def _loaders(loaders: Any) -> Iterable[Any]:
    """Each of the loaders that stand in lists, tuples and mappings."""
    if isinstance(loaders, (list, tuple, Mapping)):
        for part in _parts(loaders):
            yield from _loaders(part)
    elif loaders is not None:
        yield loaders


def _is_of_all(batch: Any, loaders: Any, *, together: bool) -> bool:
    """True where a batch is built as its loaders are: it then has a batch of each, and is not one of them in turn."""
    if isinstance(loaders, Mapping):
        return isinstance(batch, Mapping) and {*batch} == {*loaders}
    if not isinstance(batch, (list, tuple)) or len(batch) != len(loaders):
        return False
    return together or all(isinstance(part, (list, tuple, Mapping)) for part in batch)
