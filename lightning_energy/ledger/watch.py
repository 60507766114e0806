"""Background work of a session: settle the ledger, and end a run that was abandoned."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from lightning_energy.ledger.booking import no_pause

if TYPE_CHECKING:
    from collections.abc import Callable

    from lightning_energy.curves.sampler import Sampler
    from lightning_energy.ledger.ledger import Ledger
    from lightning_energy.meters.find import OpenMeters

__all__ = ["Watch"]

PAUSE_S = 0.002  # pause between the parts of one booking, which then delay different steps, each by little
ABANDONED_S = 10.0  # time for others to clean up before it is our turn


class Watch:
    """Settles the ledger in the sampler's thread, and ends that thread when nobody else will.

    When another callback's clean-up fails, Lightning calls neither our ``on_exception`` nor ``teardown``, and its
    signal handlers keep the Trainer alive. Does not know the session, which may be collected meanwhile.

    Attributes:
        sampler: its sampler, once there is one.

    Args:
        ledger: the ledger to settle.
        meters: closed when the run was abandoned.
        is_over: true once the run has ended.
        abandoned: called after everything was stopped and closed.
        over: called whenever the run is seen to be over: it may be ended at once.
    """

    def __init__(
        self,
        ledger: Ledger,
        meters: OpenMeters,
        is_over: Callable[[], bool],
        abandoned: Callable[[], None],
        over: Callable[[], None] = lambda: None,
    ) -> None:
        self.sampler: Sampler | None = None
        self._ledger, self._meters = ledger, meters
        self._is_over, self._abandoned, self._over = is_over, abandoned, over
        self._over_since_s: float | None = None

    def __call__(self) -> None:
        """Settle, and look whether the run was abandoned."""
        in_thread = self.sampler is not None and self.sampler.is_in_thread
        self._ledger.settle(pause=self._let_others_run if in_thread else no_pause)
        if not self._is_over():
            self._over_since_s = None
            return
        self._over()
        now_s = time.monotonic()
        if self._over_since_s is None:
            self._over_since_s = now_s
        elif now_s - self._over_since_s > ABANDONED_S and self.sampler is not None:
            self.sampler.end()
            self._meters.close(but=self.sampler.disown())
            self._abandoned()

    def _let_others_run(self) -> None:
        """Give up the interpreter's lock: a training thread that wants it would else wait for all of the booking.

        Once per device, and no counter is read meanwhile: together no longer than for one.
        """
        time.sleep(PAUSE_S / max(len(self._meters.meters), 1))
