"""What leaves the marks of steps in the training thread, for the callback and for the monitor.

Everything here is closures, and few of them. Between two hooks a training touches more memory than the processor's
caches hold, so that every object a hook goes by costs its way from memory again: with steps of 10 ms some 0.1 us for a
function's cell, and a microsecond for a method of another object. What a step needs therefore stands in the cells of
one function, which does all of it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from lightning_energy.ledger.batch_size import SampleCount
    from lightning_energy.ledger.ledger import Inbox
    from lightning_energy.ledger.session import Session

__all__ = ["NOWHERE", "BatchMarks", "StepMarks", "marker"]

NOWHERE = (-1, "train")


def marker(inbox: Inbox, code: int) -> Callable[[], None]:
    """What leaves a mark: from its time on, joules belong to that account.

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
    """What ends a training batch: leaves a mark, counts its samples, tells whether it is time to attend."""
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
        except Exception:  # noqa: BLE001 - nested tensors have no shape; what fails here fails there, too, and is told
            count(batch)
        return batch_idx >= plan[0]

    return end if stamp or samples.asks_user else end_at_once


def _no_mark() -> None:
    """Without a session there is nobody to take it."""


class StepMarks:
    """The account that is in force, and how to mark its steps; without a session marks go nowhere.

    Attributes:
        account: epoch and stage.
        gap_code: the code of the time between steps.
        begin: marks the beginning of a step.
        end: marks its end.
    """

    __slots__ = ("account", "begin", "end", "gap_code")
    begin: Callable[[], None]
    end: Callable[[], None]

    def __init__(self) -> None:
        self.leave()

    def enter(self, session: Session, epoch: int, stage: str) -> None:
        """From now on, time belongs to this stage of this epoch."""
        self.account = (epoch, stage)
        self.gap_code = session.code(epoch, stage, "gap")
        self.begin = marker(session.inbox, session.code(epoch, stage, "step"))
        self.end = marker(session.inbox, self.gap_code)
        self.end()

    def leave(self) -> None:
        """The session is over: who still marks steps marks nothing."""
        self.account, self.gap_code = NOWHERE, 0
        self.begin = self.end = _no_mark


class BatchMarks(StepMarks):
    """For training batches, which are counted as well.

    Attributes:
        end_batch: called with a batch and its number in the epoch instead of :attr:`end`: marks the end, counts the
            samples, and tells whether there is more to do.

    Args:
        samples: counts them.
    """

    __slots__ = ("_plan", "_samples", "end_batch")
    end_batch: Callable[[Any, int], bool]

    def __init__(self, samples: SampleCount) -> None:
        self._samples = samples
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
        """From now on, time belongs to this stage of this epoch, whose first batch is attended to."""
        super().enter(session, epoch, stage)
        self._plan[0] = 0
        self.end_batch = _batch_end(session.inbox, self.gap_code, self._samples, self._plan)

    def leave(self) -> None:
        """The session is over. Batches are still counted: a number that stops in the middle would be wrong."""
        super().leave()
        self._plan[0] = math.inf
        self.end_batch = self._only_count

    def _only_count(self, batch: Any, _: int) -> bool:
        self._samples.add(batch)
        return False
