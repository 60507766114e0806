"""Marks of steps, left in the training thread by the callback and by the monitor.

Everything here is closures, and few of them. Between two hooks a training touches more memory than the processor's
caches hold, so that every object that a hook touches has to be fetched from memory again: with steps of 10 ms this
takes some 0.1 us for a function's cell, and a microsecond for a method of another object. Everything a step needs
therefore stands in the cells of one function, which does all of it.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from lightning_energy.ledger.accounts import OUTSIDE
from lightning_energy.meters.handlers import raised_by_handler

if TYPE_CHECKING:
    from collections.abc import Callable

    from lightning_energy.ledger.counts import Counts, StageCounts
    from lightning_energy.ledger.marks import Inbox
    from lightning_energy.ledger.sample_count import SampleCount
    from lightning_energy.ledger.session import Session

    StartHook = Callable[[Any, Any, Any, int], None]
    EndHook = Callable[[Any, Any, Any, Any, int], None]
    HooksOf = Callable[[Callable[[Any, int], None]], tuple[StartHook, EndHook]]

__all__ = ["NOWHERE", "BatchMarks", "StepMarks", "marker"]

NOWHERE = (-1, "train")


def marker(inbox: Inbox, code: int) -> Callable[[], None]:
    """A function that leaves a mark: from its time on, joules belong to that account.

    Args:
        inbox: of the ledger.
        code: of the account.
    """
    marks, clock, stamp = inbox

    def mark() -> None:
        marks.extend((clock(), code))

    if stamp is None:
        return mark

    def mark_on_device() -> None:
        now_ns = clock()
        marks.extend((now_ns, code, stamp(now_ns)))

    return mark_on_device


def _batch_end(inbox: Inbox, code: int, counts: StageCounts | None, plan: list[Any]) -> Callable[[Any, int], bool]:
    """A function that ends a step: leaves a mark, counts the batch, returns true when it is time to attend."""
    mark = marker(inbox, code)
    if counts is None:

        def end_uncounted(_batch: Any, batch_idx: int) -> bool:
            mark()
            return bool(batch_idx >= plan[0])

        return end_uncounted
    count = counts.add

    def end(batch: Any, batch_idx: int) -> bool:
        mark()
        count(batch, batch_idx)
        return bool(batch_idx >= plan[0])

    return end


def _hooks(
    inbox: Inbox,
    codes: tuple[int, int],
    counts: StageCounts | None,
    plan: list[Any],
    attend: Callable[[Any, int], None],
) -> tuple[StartHook, EndHook]:
    """The hooks of a training step themselves, so that there is no call between Lightning and the marks.

    Args:
        inbox: of the ledger.
        codes: of the account of steps, and of that of the gaps between them.
        counts: counts the batches; ``None``: they are not counted.
        plan: its first is the next batch that is attended to; those of ``counts.samples`` where there are such.
        attend: called with the Trainer and the number of such a batch.
    """
    if counts is None or counts.samples is None:
        return _start_hook(inbox, codes[0]), _plain_end_hook(_batch_end(inbox, codes[1], counts, plan), attend)
    return _start_hook(inbox, codes[0]), _end_hook(inbox, codes[1], counts.samples, attend)


def _start_hook(inbox: Inbox, code: int) -> StartHook:
    marks, clock, stamp = inbox

    def on_start(trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:  # noqa: ARG001 - Lightning's names
        """Mark the beginning of a step."""
        now_ns = clock()
        marks.extend((now_ns, code, stamp(now_ns)) if stamp else (now_ns, code))

    return on_start


def _plain_end_hook(end: Callable[[Any, int], bool], attend: Callable[[Any, int], None]) -> EndHook:
    def on_end(trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:  # noqa: ARG001 - same
        """Mark the end of a step; at logging steps, log those that became known."""
        if end(batch, batch_idx):
            attend(trainer, batch_idx)

    return on_end


def _end_hook(inbox: Inbox, code: int, samples: SampleCount, attend: Callable[[Any, int], None]) -> EndHook:
    marks, clock, stamp = inbox
    count, seen, of_tensors = samples.add, samples.seen, torch.Tensor

    def on_end(trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:  # noqa: ARG001 - same
        """Mark the end of a step; at logging steps, log those that became known."""
        now_ns = clock()
        marks.extend((now_ns, code, stamp(now_ns)) if stamp else (now_ns, code))
        # plain places in the list, as names of them would have to be fetched as well: see sample_count.py
        is_usual = seen[2] < batch_idx < seen[1]
        try:  # such a batch is counted without a call
            if not (is_usual or seen[2] < batch_idx < seen[6]):
                count(batch, batch_idx)
            elif (shapes := seen[3]) is None:  # its size is sure, without a look
                seen[2] = batch_idx
            elif (
                (place := seen[5]) is not None
                and type(batch) is seen[4]
                and type(part := batch[place]) is of_tensors
                and (shape := part.shape)
            ):
                shapes.append(shape)
            else:
                count(batch, batch_idx)
        except Exception as error:  # nested tensors have no shape; they fail in `count`, too, which notes it
            if raised_by_handler(error):
                raise
            count(batch, batch_idx)
        if not is_usual:
            if batch_idx >= seen[0]:
                attend(trainer, batch_idx)
            attend_at, until = seen[0], seen[6]
            seen[1] = attend_at if attend_at < until else until  # noqa: FURB136 - `min` is a call

    return on_end


def _no_mark() -> None:
    """Leave none: without a session there is nobody to take it."""


def _no_count(_batch: Any, _batch_idx: int) -> None:
    """Count none: the batches of this stage are only tried."""


class StepMarks:
    """The account that is in force, and the functions that mark its steps; without a session marks go nowhere.

    Attributes:
        account: epoch and stage.
        begin: marks the beginning of a step.
        end: marks its end, from which on time belongs to :attr:`gap_code`.
    """

    __slots__ = ("_codes", "account", "begin", "end")
    begin: Callable[[], None]
    end: Callable[[], None]

    def __init__(self) -> None:
        self.leave()

    @property
    def gap_code(self) -> int:
        """The code of the time between steps. Changes together with :attr:`end`, by :meth:`enter` alone."""
        return self._codes[1]

    def enter(self, session: Session, epoch: int, stage: str, *, apart: bool = False, rest: str = "") -> None:
        """Let time belong to this stage of this epoch from now on.

        Args:
            session: takes the marks.
            epoch: the epoch.
            stage: the stage.
            apart: true to open an account of its own for what lies between steps.
            rest: the phase that steps and gaps begin with, where they are divided.
        """
        self.account = (epoch, stage)
        gap_code, inbox = session.code(epoch, stage, "gap", rest), session.inbox
        gap_code = session.apart(gap_code) if apart else gap_code
        step_code = session.code(epoch, stage, "step", rest)
        self._codes = step_code, gap_code
        self.begin, self.end = marker(inbox, step_code), marker(inbox, gap_code)
        self.end()

    def leave(self) -> None:
        """Forget a session that is over: later steps leave no marks."""
        self.account, self._codes = NOWHERE, (OUTSIDE, OUTSIDE)
        self.begin = self.end = _no_mark


class BatchMarks(StepMarks):
    """Marks of batches, which are counted as well.

    Attributes:
        counts: counts them, by stage.
        plan: its first is :attr:`attend_at`, for those who have no time for a call.
        end_batch: called with a batch and its number in the epoch instead of :attr:`end`: marks the end, counts the
            batch, and returns true when there is more to do after a batch of the training.
        hooks_of: makes the hooks of a training step themselves, given a function that attends to a batch; ``None``
            while nobody takes marks.

    Args:
        counts: see there.
    """

    __slots__ = ("counts", "end_batch", "hooks_of", "plan")
    end_batch: Callable[[Any, int], bool]
    hooks_of: HooksOf | None

    def __init__(self, counts: Counts) -> None:
        self.counts = counts
        self.plan: list[Any] = [math.inf, 0]  # a list, which the closures share; as that of SampleCount begins
        super().__init__()

    @property
    def attend_at(self) -> float:
        """The next batch of the epoch after which there is more to do than to leave a mark."""
        attend_at: float = self.plan[0]
        return attend_at

    @attend_at.setter
    def attend_at(self, batch_idx: float) -> None:
        self.plan[:2] = batch_idx, 0  # the next batch asks

    def enter(self, session: Session, epoch: int, stage: str, *, apart: bool = False, rest: str = "") -> None:
        """Let time belong to this stage of this epoch from now on; the first batch is attended to, and looked at.

        What lies apart is the time between two epochs, which has no batches.
        """
        super().enter(session, epoch, stage, apart=apart, rest=rest)
        counts, inbox = self.counts.of(stage), session.inbox
        if counts is not None and not apart:
            counts.look_again()
        # the hooks of steps read it there, so that they touch no list of its own
        self.plan = [0, 0] if counts is None or counts.samples is None else counts.samples.seen
        self.attend_at = 0
        self.end_batch = _batch_end(inbox, self._codes[1], counts, self.plan)
        self.hooks_of = partial(_hooks, inbox, self._codes, counts, self.plan)

    def leave(self, stage: str = NOWHERE[1]) -> None:
        """Forget a session that is over. Batches are still counted: a number that stops midway would be wrong.

        Args:
            stage: the stage of the batches that come.
        """
        super().leave()
        self.hooks_of = None
        self.attend_at = math.inf
        counts = self.counts.of(stage)
        count = _no_count if counts is None else counts.add

        def only_count(batch: Any, batch_idx: int) -> bool:
            count(batch, batch_idx)
            return False

        self.end_batch = only_count
