"""The number of samples in the batches of a stage, counted so that a hook of a step makes no call for it."""

from __future__ import annotations

import math
import weakref
from contextlib import suppress
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from lightning_energy.ledger.batch_size import describe, first_size, look, only_loader, other_sizes, place_of_size
from lightning_energy.ledger.batch_source import Source, claimed, expected, promised
from lightning_energy.meters.handlers import forgive, raised_by_handler

if TYPE_CHECKING:
    from collections.abc import Callable

    from lightning_energy.ledger.batch_source import Promised

__all__ = ["KEPT", "SEVERAL", "SampleCount", "told"]

FIRST_LOOKS = 4
LOOK_EVERY = 256
NEXT_AT, LAST, UNTIL = 1, 2, 6  # places in what is seen: see there
COUNTED = slice(2, 8)  # those that say how many samples there are
UNCOUNTED = -1, None, None, None, math.inf, (0, -1, 0)  # the same where no batch is to be looked at
SEVERAL = "a step takes none or several batches from its iterator at times, and only the last of them is known"
KEPT = (
    "some batches did not come to EnergyCallback. Let the hooks at the ends of batches, in the class that derives from "
    "it, call those of super() for every batch"
)
EITHER = "may have its samples along the first dimension or along another: both were as large until now"
BROKEN = "has other samples than its DataLoader gives, and so may others before it"
ADVICE = "Give EnergyCallback(batch_size_fn=…), a function of the batch that returns its number of samples"


def told(error: Exception) -> str:
    """The name of an error, and its text where it has one."""
    name = type(error).__name__
    with suppress(Exception):  # it may have no text: this must not raise in the middle of a training
        name += f": {error}"
    return name


def _weak(loader: Any) -> Callable[[], Any]:
    """The loader as long as it lives; ``None`` of one that cannot be referred to weakly."""
    try:
        return weakref.ref(loader)
    except TypeError:
        return lambda: None


class SampleCount:
    """Counts the samples of batches; once a batch cannot be counted, the number is not known any more.

    The first batches, the first of every epoch, one of 256, and all until it is clear which dimension is that of
    samples, are looked at carefully; see :func:`~lightning_energy.ledger.batch_size.size_of` for the rule. Of the
    others, the first tensor is taken; they are not looked at where their source promises their size. A batch of
    another size than promised, when one is looked at, makes the number unknown, as others may have been so before.

    Attributes:
        problem: the reason why samples could not be counted; empty when they could.
        seen: in one list, so that a hook adds a usual batch to it without a call, and touches few of its items:
            the number of the batch that the hook attends to next; that of the next one that is not usual, as the hook
            attends to it or it is looked at, or sooner; that of the last one that is counted; the shapes of first
            tensors that are not counted yet, since PyTorch takes longer to give a shape's first number than the shape,
            or ``None`` where all batches until the next look have a size that is sure; the type of the last batch that
            was looked at; the place of its first tensor (``None``: elsewhere); the number of the batch that is looked
            at next; and the samples up to some batch, its number, and the size of each that follows where it is sure;
            without one, each shape that waits stands for one batch behind that number.

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
        self.seen: list[Any] = [math.inf, 0, -1, [], None, None, 0, (0, -1, 0)]
        self._source = source
        self._together = together
        self._looks = 0
        self._last = -1  # the number of the batch that was looked at last
        self._has_been_full = False
        self._full: int | None = None  # the size of a full batch that could be told by another number as well
        self._others: list[int | None] = []  # those of that batch
        self._loader: Callable[[], Any] = _weak(None)  # of the pass that they are of
        self._promise: Promised | None = None  # before the pass began
        self._next_promise: Promised | None = None
        self._is_relied_on = False
        self._is_broken = False
        self._is_whole = False  # whether the pass began with its first batch

    @property
    def n(self) -> int | None:
        """The number of samples; ``None`` when it is not known."""
        return None if self.problem else self._so_far()

    def _so_far(self) -> int:
        last, shapes, _kind, _place, _until, (n, number, size) = self.seen[COUNTED]
        so_far: int = n + (size * (last - number) if shapes is None else sum(shape[0] for shape in shapes))
        return so_far

    def _newest(self) -> int:
        """The number of the newest batch, if none was left out since the last look; -1 without any."""
        last, shapes, _kind, _place, _until, (_n, number, _size) = self.seen[COUNTED]
        newest: int = last if shapes is None else number + len(shapes)
        return newest

    def look_again(self) -> None:
        """Look carefully at the next batch, with which a pass may begin. Never raises."""
        self.seen[NEXT_AT] = self.seen[UNTIL] = 0
        self._next_promise = None
        with forgive(Exception):  # a loader that cannot be asked is told with the batch
            self._next_promise = promised(self._source())

    def add(self, batch: Any, batch_idx: int) -> None:
        """Count one batch. Never raises."""
        last, shapes, kind, place, until, _before = self.seen[COUNTED]
        if self.problem:
            self.seen[COUNTED] = UNCOUNTED
            return
        try:
            if not last < batch_idx < until:
                self._look(batch, batch_idx)
            elif shapes is None:
                self.seen[LAST] = batch_idx
            else:
                n = first_size(batch) if type(batch) is kind else None
                if n is None:
                    self._look(batch, batch_idx)
                else:  # at once: a signal's handler may raise wherever it likes
                    number = self._newest() + 1
                    self.seen[COUNTED] = last, [], kind, place, until, (self._so_far() + n, number, 0)
        except Exception as error:  # a batch that cannot be looked into
            if raised_by_handler(error):
                raise
            self._end(f"a batch (a {type(batch).__name__}) raised {told(error)}")

    def _look(self, batch: Any, batch_idx: int) -> None:
        so_far, newest = self._so_far(), self._newest()
        self._looks += 1
        source, before, self._last = self._source(), self._last, batch_idx
        until = batch_idx + (1 if self._looks < FIRST_LOOKS else LOOK_EVERY)
        if source.is_taken:
            until = batch_idx  # look at each
            if batch_idx not in {0, before + 1}:
                self._end(SEVERAL, "")
                return
        loader = only_loader(source.loaders) if source.at_work is None else source.at_work
        # not -1 but before the first batch: a run may begin within a pass
        if batch_idx and newest not in {-1, batch_idx - 1}:
            self._end(KEPT, "")
            return
        self._is_whole = batch_idx == 0 or (self._is_whole and newest != -1)
        if batch_idx == 0 and (loader is None or loader is not self._loader()):  # perhaps a pass through another one
            self._has_been_full, self._full = False, None
            self._loader = _weak(loader)
        place = batch_idx if self._is_whole else 0  # of a pass that went on from its middle, the loader began anew
        loaders, size = source.loaders if loader is None else loader, expected(source, loader, place)
        n, is_full = look(
            batch,
            loaders,
            together=self._together or source.is_together,
            expected=size,
            claimed=claimed(loader, place),
            is_sure=self._has_been_full or self._is_told(batch, source, loaders),
            is_changed=source.is_changed,
        )
        if isinstance(n, str):
            self._end(n)
            return
        doubt = self._notice_full(n, batch, source, loaders, size) if is_full or self._full is not None else ""
        if self._full is not None:
            until = batch_idx  # look at each
        promise = doubt or self._kept(source, n, batch_idx)
        if isinstance(promise, str):
            self._end(f"a batch ({describe(batch)}) {promise}")
        elif promise is None:
            place, before_this = place_of_size(batch), (so_far + n, batch_idx, 0)
            self.seen[COUNTED] = batch_idx, [], type(batch), place, until, before_this
        else:
            until = min(until, promise.batches - 1)  # the last one may be smaller
            self.seen[COUNTED] = batch_idx, None, None, None, until, (so_far + n, batch_idx, promise.size)

    def _end(self, problem: str, advice: str = f". {ADVICE}") -> None:
        self.problem = problem + advice
        self.seen[COUNTED] = UNCOUNTED

    def _is_told(self, batch: Any, source: Source, loaders: Any) -> bool:
        """True where full batches could be told by another number, and this one cannot: its rows show its samples."""
        return self._full is not None and not any(other_sizes(batch, loaders, is_changed=source.is_changed))

    def _notice_full(self, n: int, batch: Any, source: Source, loaders: Any, size: int | None) -> str:
        """Notice whether a batch is surely full; a sentence where it may be smaller by another dimension.

        Where its size is known, ``size``, another first dimension is that of samples only if no other is as large.
        """
        if self._has_been_full:
            return ""
        others, full = other_sizes(batch, loaders, is_changed=source.is_changed), self._full
        if size is not None and n != size:
            if size in others:
                return EITHER
        elif size is None and full is not None:
            pairs = zip_longest(self._others, others, fillvalue=0)
            if any(was == full and now is not None and now < full for was, now in pairs):
                return EITHER
        is_clear = n == 1 or n not in others  # none is smaller than 1
        self._full, self._others, self._has_been_full = (None, [], True) if is_clear else (n, others, False)
        return ""

    def _kept(self, source: Source, n: int, batch_idx: int) -> Promised | str | None:
        """The promise on which the batches that follow may rely; a sentence where one was relied on, and is broken."""
        was_relied_on = self._is_relied_on
        if batch_idx == 0:
            self._promise, was_relied_on = self._next_promise, False
        promise, now = self._promise, promised(source)
        if was_relied_on and promise is not None and now is None:  # a loader that was made another within a pass
            return BROKEN
        if promise is None or self._is_broken or promise != now:  # the latter: a dataset that grows
            return None
        if n != promise.at(batch_idx):
            self._is_broken = True
            return BROKEN if self._is_relied_on else None
        if batch_idx >= promise.batches - 1:
            return None
        self._is_relied_on = True
        return promise
