"""The stages of a run, and the searches within it, which have a stage of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from lightning_energy.ledger.step_marks import BatchMarks

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from lightning_energy.ledger.batch_size import SampleCount
    from lightning_energy.ledger.session import Session

__all__ = ["OF_A_FIT", "TUNE", "BatchHooks", "Stages"]

OF_A_FIT = ("tune", "sanity_check", "train", "validate")  # in the order in which they come
TUNE = "tune"  # searches for a learning rate or a batch size; Lightning has no name for this stage


class BatchHooks(NamedTuple):
    """The closures that the hooks of a batch call: every object a hook goes by costs it time.

    Attributes:
        begin: a step begins.
        end: a step of an evaluation ends.
        end_training: a training step ends, with its batch and the batch's number; true where there is more to do.
    """

    begin: Callable[[], None]
    end: Callable[[], None]
    end_training: Callable[[Any, int], bool]


class Stages:
    """The stage that is in force on this rank, with its marks.

    Attributes:
        is_fit: whether the run is a ``fit``.
        is_training: whether a training is under way: searches and the sanity check are over.
        marks: the marks of steps.
        samples: the samples of the batches that were marked.

    Args:
        samples: counts the samples of training batches.
        stage: Lightning's name of the run: ``fit``, ``validate``, ``test``, ``predict``.
        searches: whether a callback of the Trainer searches for a learning rate or a batch size.
    """

    def __init__(self, samples: SampleCount, stage: str = "fit", *, searches: bool = False) -> None:
        self.is_fit = stage == "fit"
        self.is_training = False
        self.samples = samples
        self.marks = BatchMarks(samples)
        self._main = "train" if self.is_fit else stage
        self._searches = searches
        self._apart: int | None = None

    def epoch(self, current: int) -> int:
        """The epoch that a validation belongs to: Lightning's current one in a ``fit``, none in other runs."""
        return current if self.is_fit else -1

    def begin(self, session: Session) -> BatchHooks:
        """Begin the run: with its searches, if it has any.

        A finder stands first in the list of callbacks, and searches before our next hook is called.
        """
        return self.enter(session, -1, TUNE if self._searches else self._main)

    def enter(self, session: Session | None, epoch: int, stage: str) -> BatchHooks:
        """Let time belong to this stage of this epoch from now on.

        Args:
            session: takes the marks; ``None`` takes none.
            epoch: the epoch; -1 outside of epochs.
            stage: the stage.

        Returns:
            The closures for the hooks of a batch.
        """
        if session is not None:
            session.synchronize()
            self.marks.enter(session, epoch, stage)
        return self.hooks

    def leave(self) -> BatchHooks:
        """Take no more marks; batches are still counted."""
        self.marks.leave()
        return self.hooks

    @property
    def hooks(self) -> BatchHooks:
        """The closures for the hooks of a batch."""
        return BatchHooks(self.marks.begin, self.marks.end, self.marks.end_batch)

    def end_epoch(self, session: Session) -> None:
        """End the epoch's account, as its row ends: logging and checkpoints are between epochs."""
        self.marks.enter(session, -1, "train")

    def maybe_begin_search(self, session: Session) -> None:
        """Set time apart from now on: a checkpoint is written, perhaps as the beginning of a search within the run."""
        if self._searches:
            self._apart = session.apart(self.marks.gap_code)
            session.mark(self._apart)

    def end_search(self, session: Session | None) -> None:
        """Give the time set apart to the search that began with a checkpoint: it is restored."""
        if session is not None and self._apart is not None:
            session.rename(self._apart, TUNE)
            session.mark(self.marks.gap_code)
            self._apart = None
