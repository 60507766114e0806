"""Marks of steps, left in the training thread by the callback and by the monitor.

Everything here is closures, and few of them. Between two hooks a training touches more memory than the processor's
caches hold, so that every object that a hook touches has to be fetched from memory again: with steps of 10 ms this
takes some 0.1 us for a function's cell, and a microsecond for a method of another object. Everything a step needs
therefore stands in the cells of one function, which does all of it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from lightning_energy.ledger.accounts import OUTSIDE

if TYPE_CHECKING:
    from collections.abc import Callable

    from lightning_energy.ledger.batch_size import SampleCount
    from lightning_energy.ledger.marks import Inbox
    from lightning_energy.ledger.session import Session

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
        marks.append((clock(), code, None))

    if stamp is None:
        return mark

    def mark_on_device() -> None:
        now_ns = clock()
        marks.append((now_ns, code, stamp(now_ns)))

    return mark_on_device


def _batch_end(inbox: Inbox, code: int, samples: SampleCount, plan: list[float]) -> Callable[[Any, int], bool]:
    """A function that ends a training batch: leaves a mark, counts samples, returns true when it is time to attend."""
    marks, clock, stamp = inbox
    mark, count, n = marker(inbox, code), samples.add, samples.seen
    of_lists, of_tensors = list, torch.Tensor

    def end(batch: Any, batch_idx: int) -> bool:
        mark()
        count(batch)
        return batch_idx >= plan[0]

    def end_at_once(batch: Any, batch_idx: int) -> bool:
        """The same for the most usual batch, a list of tensors, without a call."""
        marks.append((clock(), code, None))
        try:
            if type(batch) is of_lists and batch and type(batch[0]) is of_tensors:
                shape = batch[0].shape
                n[0] += shape[0] if shape else 1
            else:
                count(batch)
        except Exception:  # noqa: BLE001 - nested tensors have no shape; they fail in `count`, too, which notes it
            count(batch)
        return batch_idx >= plan[0]

    return end if stamp or samples.asks_user else end_at_once


def _no_mark() -> None:
    """Leave none: without a session there is nobody to take it."""


class StepMarks:
    """The account that is in force, and the functions that mark its steps; without a session marks go nowhere.

    Attributes:
        account: epoch and stage.
        begin: marks the beginning of a step.
        end: marks its end, from which on time belongs to :attr:`gap_code`.
    """

    __slots__ = ("_gap_code", "account", "begin", "end")
    begin: Callable[[], None]
    end: Callable[[], None]

    def __init__(self) -> None:
        self.leave()

    @property
    def gap_code(self) -> int:
        """The code of the time between steps. Changes together with :attr:`end`, by :meth:`enter` alone."""
        return self._gap_code

    def enter(self, session: Session, epoch: int, stage: str) -> None:
        """Let time belong to this stage of this epoch from now on."""
        self.account = (epoch, stage)
        self._gap_code = session.code(epoch, stage, "gap")
        self.begin = marker(session.inbox, session.code(epoch, stage, "step"))
        self.end = marker(session.inbox, self._gap_code)
        self.end()

    def leave(self) -> None:
        """Forget a session that is over: later steps leave no marks."""
        self.account, self._gap_code = NOWHERE, OUTSIDE
        self.begin = self.end = _no_mark


class BatchMarks(StepMarks):
    """Marks of training batches, which are counted as well.

    Attributes:
        samples: counts them.
        end_batch: called with a batch and its number in the epoch instead of :attr:`end`: marks the end, counts the
            samples, and returns true when there is more to do.

    Args:
        samples: see there.
    """

    __slots__ = ("_plan", "end_batch", "samples")
    end_batch: Callable[[Any, int], bool]

    def __init__(self, samples: SampleCount) -> None:
        self.samples = samples
        self._plan: list[float] = [math.inf]  # a list, which the closures share
        super().__init__()

    @property
    def attend_at(self) -> float:
        """The next batch of the epoch after which there is more to do than to leave a mark."""
        return self._plan[0]

    @attend_at.setter
    def attend_at(self, batch_idx: float) -> None:
        self._plan[0] = batch_idx

    def enter(self, session: Session, epoch: int, stage: str) -> None:
        """Let time belong to this stage of this epoch from now on; the first batch is attended to."""
        super().enter(session, epoch, stage)
        self._plan[0] = 0
        self.end_batch = _batch_end(session.inbox, self.gap_code, self.samples, self._plan)

    def leave(self) -> None:
        """Forget a session that is over. Batches are still counted: a number that stops midway would be wrong."""
        super().leave()
        self._plan[0] = math.inf
        self.end_batch = self._only_count

    def _only_count(self, batch: Any, _: int) -> bool:
        self.samples.add(batch)
        return False
