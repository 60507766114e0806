"""The stages of a run, and the searches within it, which have a stage of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from lightning_energy.ledger.accounts import OTHER
from lightning_energy.ledger.phases import NAMES
from lightning_energy.ledger.step_marks import BatchMarks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from lightning_energy.ledger.counts import Counts
    from lightning_energy.ledger.session import Session
    from lightning_energy.ledger.step_marks import HooksOf
    from lightning_energy.results.figures import FirstWaits
    from lightning_energy.results.notes import Note
    from lightning_energy.training.step_phases import StepPhases

__all__ = ["OF_A_FIT", "TUNE", "BatchHooks", "Stages"]

OF_A_FIT = ("tune", "sanity_check", "train", "validate")  # in the order in which they come
TUNE = "tune"  # searches for a learning rate or a batch size; Lightning has no name for this stage


class BatchHooks(NamedTuple):
    """The closures that the hooks of a batch call: every object a hook goes by costs it time.

    Attributes:
        begin: a step begins.
        end: a step ends, with its batch and the batch's number; true where there is more to do after a training step.
        direct_of: makes the hooks of a training step themselves, given a function that attends to a batch, so that
            there is no call between; ``None`` while nobody takes marks.
    """

    begin: Callable[[], None]
    end: Callable[[Any, int], bool]
    direct_of: HooksOf | None


class Stages:
    """The stage that is in force on this rank, with its marks.

    Attributes:
        is_fit: whether the run is a ``fit``.
        is_training: whether a training is under way: searches and the sanity check are over.
        marks: the marks of steps.
        counts: the samples, and the user's own units, of the batches that were marked.

    Args:
        counts: see there.
        stage: Lightning's name of the run: ``fit``, ``validate``, ``test``, ``predict``.
        searches: whether a callback of the Trainer searches for a learning rate or a batch size.
        phases: marks the phases of training steps; ``None``: they are not divided.
    """

    def __init__(
        self, counts: Counts, stage: str = "fit", *, searches: bool = False, phases: StepPhases | None = None
    ) -> None:
        self.is_fit = stage == "fit"
        self.is_training = False
        self.counts = counts
        self.marks = BatchMarks(counts)
        self._main = "train" if self.is_fit else stage
        self._searches = searches
        self._phases = phases
        self._apart: int | None = None
        self._stage = self._main

    def epoch(self, current: int) -> int:
        """The epoch that a validation belongs to: Lightning's current one in a ``fit``, none in other runs."""
        return current if self.is_fit else -1

    def begin(self, session: Session) -> BatchHooks:
        """Begin the run: with its searches, if it has any.

        A finder stands first in the list of callbacks, and searches before our next hook is called.
        """
        if self._phases is not None:
            self._phases.watch()
        return self.enter(session, -1, TUNE if self._searches else self._main)

    def enter(self, session: Session | None, epoch: int, stage: str) -> BatchHooks:
        """Let time belong to this stage of this epoch from now on.

        Args:
            session: takes the marks; ``None`` takes none, and batches are still counted.
            epoch: the epoch; -1 outside of epochs.
            stage: the stage.

        Returns:
            The closures for the hooks of a batch.
        """
        self._stage = stage
        if session is None:
            return self.leave()
        session.synchronize()
        self._mark(session, epoch, stage)
        return self.hooks

    def leave(self) -> BatchHooks:
        """Take no more marks; batches are still counted."""
        if self._phases is not None:
            self._phases.leave()
        self.marks.leave(self._stage)
        return self.hooks

    @property
    def phase_names(self) -> Sequence[str]:
        """The phases that training is divided into; none where it is not."""
        return () if self._phases is None else NAMES

    @property
    def first_waits(self) -> FirstWaits | None:
        """The waits for the first batches of epochs; ``None`` where training is not divided."""
        return None if self._phases is None else self._phases.first_waits.waits

    @property
    def remarks(self) -> Sequence[Note]:
        """The phases that this training does not let one tell apart."""
        return () if self._phases is None else self._phases.remarks

    def close(self) -> None:
        """Watch the Trainer no more."""
        if self._phases is not None:
            self._phases.close()

    @property
    def hooks(self) -> BatchHooks:
        """The closures for the hooks of a batch."""
        return BatchHooks(self.marks.begin, self.marks.end_batch, self.marks.hooks_of)

    def end_epoch(self, session: Session) -> int:
        """End the epoch's accounts, as its row ends: logging and checkpoints are between epochs.

        Returns:
            The account that follows, opened for this: all older ones are of the time before.
        """
        self._mark(session, -1, "train", apart=True)
        return self.marks.gap_code

    def _mark(self, session: Session, epoch: int, stage: str, *, apart: bool = False) -> None:
        """Let time belong to this stage of this epoch from now on, that of training by phases if they are wanted."""
        phases = self._phases
        if phases is not None:
            phases.leave()
        is_divided = phases is not None and stage == "train"
        self.marks.enter(session, epoch, stage, apart=apart, rest=OTHER if is_divided else "")
        if phases is not None and is_divided:
            phases.enter(session, epoch, self.marks.gap_code, apart=apart)

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
