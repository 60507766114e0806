"""From opened meters to closed ones: one stretch of measuring."""

from __future__ import annotations

import os
import threading
import time
import weakref
from typing import TYPE_CHECKING

from lightning_energy.curve import NS
from lightning_energy.ledger import OUTSIDE, Kind, Ledger, Steps, Totals
from lightning_energy.sampler import Channel, Sampler

if TYPE_CHECKING:
    from collections.abc import Callable

    from lightning_energy.meters.base import MeterInfo
    from lightning_energy.meters.find import OpenMeters

__all__ = ["Session"]

LONGEST_WAIT_S = 0.5  # for the last knots, at the end
UNKNOWN_PERIOD_S = 0.1


class Session:
    """Meters, their sampler and their ledger, running.

    Args:
        meters: open meters; closed by :meth:`close`.

    Example:
        >>> import torch
        >>> from lightning_energy.meters import ReplayMeter, open_meters
        >>> session = Session(open_meters([ReplayMeter(100.0)], device=torch.device("cpu")))
        >>> session.mark(session.code(0, "train", "step"))
        >>> session.finish()
        >>> session.totals().energy(stage="train").quality
        'measured'
        >>> session.close()
    """

    def __init__(self, meters: OpenMeters) -> None:
        self.started_unix_s = time.time()
        self._meters = meters
        self._pid = os.getpid()
        self._seen = False
        self._told: set[str] = set()
        self.troubles: list[str] = []  # all that new_troubles has told
        lock = threading.RLock()
        self._channels = [Channel(meter, info) for meter, info in meters.meters]
        self._ledger = Ledger([c.curve for c in self._channels], lock=lock)
        self._sampler = Sampler(self._channels, self._ledger.settle, lock)
        self._sampler.start()
        # a second net: when neither teardown nor on_exception is called, the thread must not outlive us
        self._finalizer = weakref.finalize(self, _stop, self._sampler, meters)
        self.mark: Callable[[int], None] = self._ledger.mark
        self.code: Callable[[int, str, Kind], int] = self._ledger.code

    @property
    def infos(self) -> list[MeterInfo]:
        """What is measured."""
        return [c.info for c in self._channels]

    @property
    def absent(self) -> list[str]:
        """What could not be measured from the start, and what would change that."""
        return self._meters.absent

    @property
    def channels(self) -> list[Channel]:
        """The channels, for who wants to know periods and latencies."""
        return self._channels

    @property
    def is_ours(self) -> bool:
        """False in a forked child, where neither thread nor handles live."""
        return os.getpid() == self._pid

    def totals(self) -> Totals:
        """What the accounts hold now.

        Does not wait, but once: a run that asks before the first updates of its sensors were seen (a first epoch
        of less than some 0.2 s) would have no figure at all.
        """
        now_ns = time.monotonic_ns()
        if not self._seen:
            self._seen = True
            if any(c.curve.last_power_w() is None for c in self._channels):
                self._sampler.wait_until_known(now_ns, LONGEST_WAIT_S)
        self._sampler.check(now_ns)
        return self._ledger.totals()

    def take_steps(self) -> Steps | None:
        """Training steps that became known since the last call."""
        return self._ledger.take_steps()

    def new_troubles(self) -> list[str]:
        """Sentences about sensors that failed since the last call; each trouble is told once."""
        news = []
        for channel in self._channels:
            if channel.trouble is not None and channel.info.device_id not in self._told:
                self._told.add(channel.info.device_id)
                ago_s = (time.monotonic_ns() - channel.trouble_since_ns) * NS
                news.append(
                    f"{channel.info.name} ({channel.info.device_id}): {channel.trouble}, since {ago_s:.1f} s ago. "
                    f"What it spends while it cannot be read is missing from all totals"
                )
        failure = self._sampler.failure
        if failure is not None and "sampler" not in self._told:
            self._told.add("sampler")
            news.append(f"the sampler stopped ({type(failure).__name__}: {failure}): from now on energy is missing")
        self.troubles += news
        return news

    def finish(self) -> None:
        """End the last account now, and wait shortly until what it spent is known."""
        self.mark(OUTSIDE)
        now_ns = time.monotonic_ns()
        periods_s = [c.period_s or UNKNOWN_PERIOD_S for c in self._channels]
        self._sampler.finish(now_ns, min(2.5 * max(periods_s, default=0.0) + 0.05, LONGEST_WAIT_S))
        self._ledger.settle(final=True)

    def close(self) -> None:
        """Stop the sampler and close the meters. Idempotent."""
        if self.is_ours:
            self._finalizer()
        else:
            self._finalizer.detach()


def _stop(sampler: Sampler, meters: OpenMeters) -> None:
    sampler.stop()
    meters.close()
