"""Background work of a session: have the ledger settled, and end a run that was abandoned."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from lightning_energy.curves.sampler import Sampler
    from lightning_energy.ledger.booker import Booker
    from lightning_energy.ledger.ledger import Ledger
    from lightning_energy.meters.find import OpenMeters

__all__ = ["Watch"]

EVERY_S = 4.8  # time between two bookings, at least: each has a price, whatever the number of marks. A helper process
# has news every 5 s
SHARE = 0.4  # of the time since the beginning, where that is less: a run may be short
MANY = 4096  # marks that wait, from which on they are booked at once
ABANDONED_S = 10.0  # time for others to clean up before it is our turn


class Watch:
    """Has the ledger settled while the sampler's thread goes on, and ends that thread when nobody else will.

    When another callback's clean-up fails, Lightning calls neither our ``on_exception`` nor ``teardown``, and its
    signal handlers keep the Trainer alive. Does not know the session, which may be collected meanwhile.

    Attributes:
        sampler: its sampler, once there is one.
        booker: settles the ledger; ``None``: whoever calls does.

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
        self.booker: Booker | None = None
        self._ledger, self._meters = ledger, meters
        self._is_over, self._abandoned, self._over = is_over, abandoned, over
        self._begun_s = self._settled_s = time.monotonic()
        self._over_since_s: float | None = None

    def __call__(self) -> None:
        """Have it settled, and look whether the run was abandoned."""
        self._settle()
        if not self._is_over():
            self._over_since_s = None
            return
        self._over()
        now_s = time.monotonic()
        if self._over_since_s is None:
            self._over_since_s = now_s
        elif now_s - self._over_since_s > ABANDONED_S and self.sampler is not None:
            self.sampler.end()
            if self.booker is not None:
                self.booker.end()
            self._meters.close(but=self.sampler.disown())
            self._abandoned()

    def _settle(self) -> None:
        """Settle: in the sampler's thread, let the booker do it when it is time; in others, such as the training, now.

        These wait for it where there is no booker only: they hold the lock, and a booking may take seconds.
        """
        booker = self.booker
        if booker is None or self.sampler is None or not self.sampler.is_in_thread:
            if booker is None or booker.failure is not None or not booker.wake():
                self._ledger.settle()
            return
        if self._ledger.has_device_clock:  # its events are few: marks give them back when they are read
            self._ledger.read_marks()
        now_s = time.monotonic()
        since_s, age_s = now_s - self._settled_s, now_s - self._begun_s
        if since_s >= min(SHARE * age_s, EVERY_S) or self._ledger.waiting >= MANY:
            self._settled_s = now_s
            if not booker.wake():
                self.sampler.take_news()
                self._ledger.settle()
