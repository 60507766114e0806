"""The number of samples in the batches of a stage, counted so that a hook of a step makes no call for it."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from lightning_energy.ledger.batch_size import describe, first_size, look, place_of_size
from lightning_energy.ledger.batch_source import Source, promised
from lightning_energy.meters.handlers import forgive, raised_by_handler

if TYPE_CHECKING:
    from collections.abc import Callable

    from lightning_energy.ledger.batch_source import Promised

__all__ = ["SEVERAL", "SampleCount", "told"]

FIRST_LOOKS = 4
LOOK_EVERY = 256
SINCE, UNTIL, ABOUT = slice(1, 3), 3, slice(4, 7)  # of what is seen: see there
SEVERAL = "a step takes none or several batches from its iterator at times, and only the last of them is known"
ADVICE = "Give EnergyCallback(batch_size_fn=…), a function of the batch that returns its number of samples"


def told(error: Exception) -> str:
    """The name of an error, and its text where it has one."""
    name = type(error).__name__
    with suppress(Exception):  # it may have no text: this must not raise in the middle of a training
        name += f": {error}"
    return name


class SampleCount:
    """Counts the samples of batches; once a batch cannot be counted, the number is not known any more.

    The first batches, the first of every epoch, and one of 256 are looked at carefully; see
    :func:`~lightning_energy.ledger.batch_size.size_of` for the rule. Of the others, the first tensor is taken; they are
    not looked at where their source promises their size. A batch of another size than promised, when one is looked at,
    makes the number unknown, as others may have been so before.

    Attributes:
        problem: the reason why samples could not be counted; empty when they could.
        seen: in one list, so that a hook adds a usual batch to it without a call: the number of the batch that the hook
            attends to next; the samples so far, and the shapes of first tensors that are not among them yet, since
            PyTorch takes longer to give a shape's first number than the shape; the number of the batch that is looked
            at next, the type of the last one that was, the place of its first tensor (``None``: elsewhere), and the
            size of all until the next look where that is sure (else 0). Also when the number is not known any more:
            then :attr:`n` is ``None``.

    Args:
        source: gives the source of the batches.
        together: whether several loaders give their batches together, as those of a training do.

    Example:
        >>> import torch
        >>> count = SampleCount()
        >>> count.add([torch.zeros(4, 2), torch.zeros(4)], 0)
        >>> count.n
        4
    """

    def __init__(self, source: Callable[[], Source] = Source, *, together: bool = False) -> None:
        self.problem = ""
        self.seen: list[Any] = [math.inf, 0, [], 0, None, None, 0]
        self._source = source
        self._together = together
        self._looks = 0
        self._last = -1  # the number of the batch that was looked at last
        self._has_been_full = False
        self._promise: Promised | None = None  # before the pass began
        self._next_promise: Promised | None = None
        self._is_relied_on = False
        self._is_broken = False

    @property
    def n(self) -> int | None:
        """The number of samples; ``None`` when it is not known."""
        return None if self.problem else self._so_far()

    def _so_far(self) -> int:
        n, shapes = self.seen[SINCE]
        so_far: int = n + sum(shape[0] for shape in shapes)
        return so_far

    def look_again(self) -> None:
        """Look carefully at the next batch, with which a pass may begin. Never raises."""
        self.seen[UNTIL] = 0
        self._next_promise = None
        with forgive(Exception):  # a loader that cannot be asked is told with the batch
            self._next_promise = promised(self._source())

    def add(self, batch: Any, batch_idx: int) -> None:
        """Count one batch. Never raises."""
        if self.problem:
            return
        try:
            n = None
            if 0 < batch_idx < self.seen[UNTIL]:
                kind, _place, size = self.seen[ABOUT]
                n = size or (first_size(batch) if type(batch) is kind else None)
            self._add(self._look(batch, batch_idx) if n is None else n)
        except Exception as error:  # a batch that cannot be looked into
            if raised_by_handler(error):
                raise
            self.problem = f"a batch (a {type(batch).__name__}) raised {told(error)}. {ADVICE}"

    def _add(self, n: int) -> None:
        self.seen[SINCE] = self._so_far() + n, []  # at once: a signal's handler may raise wherever it likes

    def _look(self, batch: Any, batch_idx: int) -> int:
        self.seen[ABOUT] = None, None, 0
        self._looks += 1
        source, before, self._last = self._source(), self._last, batch_idx
        self.seen[UNTIL] = batch_idx + (1 if self._looks < FIRST_LOOKS else LOOK_EVERY)
        if source.is_taken:
            self.seen[UNTIL] = batch_idx  # look at each
            if batch_idx not in {0, before + 1}:
                return self._end(SEVERAL, "")
        n, is_full = look(batch, source.loaders, together=self._together, is_sure=self._has_been_full)
        self._has_been_full |= is_full
        if isinstance(n, str):
            return self._end(n)
        self.seen[ABOUT] = type(batch), place_of_size(batch), 0
        return (
            n
            if self._keeps_promise(source, n, batch_idx)
            else self._end(
                f"a batch ({describe(batch)}) has other samples than its DataLoader gives, and so may others before it"
            )
        )

    def _end(self, problem: str, advice: str = f". {ADVICE}") -> int:
        self.seen[ABOUT] = None, None, 0
        self.problem = problem + advice
        return 0

    def _keeps_promise(self, source: Source, n: int, batch_idx: int) -> bool:
        """Rely on what the source promises of the batches that follow; false where it was relied on, and is broken."""
        was_relied_on = self._is_relied_on
        if batch_idx == 0:
            self._promise, was_relied_on = self._next_promise, False
        promise, now = self._promise, promised(source)
        if was_relied_on and promise is not None and now is None:  # a loader that was made another within a pass
            return False
        if promise is None or self._is_broken or promise != now:  # the latter: a dataset that grows
            return True
        if n != promise.at(batch_idx):
            self._is_broken = True
            return not self._is_relied_on
        if batch_idx < promise.batches - 1:
            self._is_relied_on = True
            self.seen[UNTIL] = min(self.seen[UNTIL], promise.batches - 1)  # the last one may be smaller
            self.seen[ABOUT] = None, None, promise.size
        return True
