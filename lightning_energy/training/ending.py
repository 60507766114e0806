"""The end of a run that Lightning does not tell us of.

While it searches for a learning rate or a batch size, Lightning takes the callbacks out of the Trainer. A training step
that fails there leaves them out: no hook says that the run is over.
"""

from __future__ import annotations

import atexit
import threading
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING

from lightning_energy.meters.handlers import raised_by_handler

if TYPE_CHECKING:
    from collections.abc import Callable

    from lightning.pytorch import Trainer

    from lightning_energy.results.figures import Outcome

__all__ = ["LEFT_OUT", "Ending", "conclude"]

LEFT_OUT = (
    "EnergyCallback: the training stopped in a search for a learning rate or a batch size, for which Lightning had "
    "taken the callbacks out of the Trainer: the run ends here, as interrupted. Make a new Trainer for the next fit, "
    "as this one may still be without them"
)


class Ending:
    """Knows whether a run is over, and ends it where the callback is not called any more.

    Keeps neither the Trainer nor the callback alive.

    Attributes:
        lock: held while a run is ended that the callback is not called for.

    Args:
        trainer: the Trainer.
        end: a method of the callback that ends the run where :attr:`is_left_out` says so.
    """

    def __init__(self, trainer: Trainer, end: Callable[[], None]) -> None:
        self.lock = threading.RLock()
        self._trainer = weakref.ref(trainer)
        self._end = weakref.WeakMethod(end)
        self._thread: threading.Thread | None = None
        atexit.register(self._end_quietly)

    @property
    def trainer(self) -> Trainer | None:
        """The Trainer, while it lives."""
        return self._trainer()

    def is_over(self) -> bool:
        """True once an exception has ended the run, perhaps without a word to us."""
        trainer = self._trainer()
        return trainer is None or trainer.interrupted

    @property
    def is_left_out(self) -> bool:
        """True once an exception has ended the run of a Trainer without the callback: nobody will call us."""
        trainer, end = self._trainer(), self._end()
        if trainer is None or end is None or not trainer.interrupted:
            return False
        callback = end.__self__  # type: ignore[attr-defined]  # it is a bound method
        return all(other is not callback for other in trainer.callbacks)  # type: ignore[attr-defined]  # by a connector

    def look(self) -> None:
        """End the run where the callback is left out; called now and then by a thread that must not wait for that."""
        if self._thread is None and self.is_left_out:
            self._thread = threading.Thread(target=self._end_quietly, name="lightning-energy-end", daemon=True)
            with suppress(RuntimeError):  # no thread can be started: it ends later, as any run that was abandoned
                self._thread.start()

    def close(self) -> None:
        """Watch no more: the run has ended."""
        atexit.unregister(self._end_quietly)

    def _end_quietly(self) -> None:
        end = self._end()
        if end is not None:
            with suppress(Exception):  # a warning, where they are errors: there is nobody to take it
                end()


def conclude(do: Callable[[Outcome], None], outcome: Outcome, leave: Callable[[], None]) -> None:
    """Conclude a run, also where a signal handler of the user's raises in the middle; then its exception goes on.

    Args:
        do: concludes it, given its outcome; what was done before must not count twice.
        outcome: its outcome.
        leave: leaves the other ranks, which may not come to what is done again.
    """
    try:
        do(outcome)
    except BaseException as error:
        if not isinstance(error, Exception) or raised_by_handler(error):
            leave()
            do("interrupted")
        raise
