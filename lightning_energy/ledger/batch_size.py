"""How many samples were trained on: what makes the energies of runs with other batch sizes comparable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["SampleCount", "size_of"]


def size_of(batch: Any) -> int | None:
    """Samples in a batch: the first dimension of the first tensor in it, as Lightning reads it, too.

    Args:
        batch: what a DataLoader gave: a tensor, or lists, tuples and mappings around tensors.

    Returns:
        The number, or ``None`` for a batch of other things.

    Example:
        >>> size_of({"id": ["a", "b"], "image": torch.zeros(2, 3, 8, 8)}), size_of("abc")
        (2, None)
    """
    if isinstance(batch, torch.Tensor):
        return batch.shape[0] if batch.ndim else 1
    if isinstance(batch, (list, tuple)):
        parts: Any = batch
    elif isinstance(batch, Mapping):
        parts = batch.values()
    else:
        return None
    for part in parts:
        n = size_of(part)
        if n is not None:
            return n
    return None


class SampleCount:
    """Counts samples; once one batch cannot be counted, the number is not known any more.

    Attributes:
        problem: why samples could not be counted; empty when they could, or when a batch has no size.
        asks_user: whether every batch goes through ``batch_size_fn``.
        seen: the samples so far, in a list of one: a hook that sees a usual batch adds to it without a call,
            also when the number is not known any more (:attr:`n` tells).

    Args:
        batch_size_fn: the user's way to count a batch; by default :func:`size_of`.

    Example:
        >>> count = SampleCount()
        >>> count.add([torch.zeros(4, 2), torch.zeros(4)])
        >>> count.n
        4
    """

    def __init__(self, batch_size_fn: Callable[[Any], int] | None = None) -> None:
        self.problem = ""
        self.asks_user = batch_size_fn is not None
        self.seen = [0]
        self._is_known = True
        self._size_of: Callable[[Any], int | None] = batch_size_fn or size_of
        self._who = "batch_size_fn" if batch_size_fn else "the batch"

    @property
    def n(self) -> int | None:
        """How many samples; ``None`` when that is not known."""
        return self.seen[0] if self._is_known else None

    def add(self, batch: Any) -> None:
        """Count one batch. Never raises."""
        if not self._is_known:
            return
        try:
            n = self._size_of(batch)
            if n is None:
                self._is_known = False
            else:
                self.seen[0] += int(n)
        except Exception as error:  # noqa: BLE001 - the user's function, or a batch that cannot be looked into
            self._is_known = False
            self.problem = f"Samples were not counted: {self._who} raised {type(error).__name__}: {error}"
