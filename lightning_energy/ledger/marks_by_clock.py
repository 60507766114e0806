"""Marks by the host's clock, and by the clock of a device that runs behind the host."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from itertools import repeat
from typing import TYPE_CHECKING

import numpy as np

from lightning_energy.ledger.marks import Marks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_energy.ledger.device_clock import DeviceClock
    from lightning_energy.ledger.marks import Inbox, Mark

__all__ = ["MarksByClock"]


class MarksByClock:
    """The marks of a run that not every book has passed, twice: by the host's clock, and by the device's.

    Attributes:
        on_device: for each curve, true where marks count when the device reached them.
        host: the marks by the host's clock.
        device: the marks that the device has reached, by its clock; empty where no curve counts by it.

    Args:
        on_device: see there.
        device_clock: says when the device reached a mark; ``None`` without one.
    """

    def __init__(self, on_device: Sequence[bool], device_clock: DeviceClock | None) -> None:
        self.on_device = [*on_device]
        self.host, self.device = Marks(), Marks()
        self._waiting: deque[Mark] = deque()  # marks that the device has not reached
        self._taken: tuple[int | None, int] = (None, 0)  # what was read and is to be removed: its first value, how many
        self._clock = device_clock
        self._is_two = any(self.on_device)

    @property
    def slowest(self) -> Marks:
        """The marks by the clock that knows of them last."""
        return self.device if self._is_two else self.host

    @property
    def by_clock(self) -> list[Marks]:
        """The marks as they are now, by the host's clock and, where a curve counts by it, by the device's."""
        return [replace(self.host), replace(self.device)] if self._is_two else [replace(self.host)]

    def of_curve(self, curve: int) -> Marks:
        """The marks by the clock of a curve."""
        return self.device if self.on_device[curve] else self.host

    def limit_ns(self, curve: int, until_ns: int | None) -> int | None:
        """The end of the time whose marks are all known by the clock of a curve.

        Args:
            curve: its number.
            until_ns: the same by the host's clock; ``None`` when no mark is on its way any more.
        """
        if not self.on_device[curve] or not self._waiting:
            return until_ns
        first_ns = self._waiting[0][0]  # the device reaches this mark no sooner than the host set it
        return first_ns if until_ns is None else min(until_ns, first_ns)

    def read(self, inbox: Inbox) -> None:
        """Take the marks that were left in the inbox."""
        left, width = inbox.marks[:], inbox.width
        taken, n = self._taken
        begin = n if left and left[0] is taken else 0  # else they were removed when they had been taken
        if inbox.stamp is None:
            values = np.fromiter(left, np.int64, len(left))
            times_ns, codes = values[begin::width], values[begin + 1 :: width]
        else:
            times_ns, codes = (np.array(left[begin + k :: width], dtype=np.int64) for k in range(2))
        host = self.host.followed_by_more(times_ns, codes)
        device, waiting = self.device, self._waiting
        if self._is_two:
            tokens = left[begin + 2 :: width] if inbox.stamp else repeat(None)
            waiting, reached = deque([*waiting, *zip(times_ns.tolist(), codes.tolist(), tokens, strict=False)]), []
            while waiting:
                host_ns, code, token = waiting[0]
                time_ns = self._clock.resolve(token) if self._clock and token else host_ns
                if time_ns is None:
                    break
                waiting.popleft()
                reached.append((time_ns, code))
            device = device.followed_by_more(*np.array(reached, dtype=np.int64).reshape(-1, 2).T)
        self.__dict__.update(host=host, device=device, _waiting=waiting, _taken=(left[0] if left else None, len(left)))
        del inbox.marks[: len(left)]  # and not those that were left meanwhile
        self._taken = (None, 0)

    def as_if_reached(self, now_ns: int) -> list[Marks]:
        """The marks of each curve; those that the device has not reached count as reached now."""
        if not self._is_two:
            return [self.host] * len(self.on_device)
        device = self.device.followed_by(Marks.of([(now_ns, code) for _, code, _ in self._waiting]))
        return [device if on_device else self.host for on_device in self.on_device]

    def drop_before(self, number: int) -> None:
        """Forget the marks before the one of this number in the run, which every book has passed."""
        self.host.drop_before(number)
        if self._is_two:
            self.device.drop_before(number)
