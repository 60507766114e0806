"""A clock that moves only on demand, and polls of a channel along it: hours of sampling in a second."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightning_energy.curves.channel import Channel


class VirtualClock:
    """A monotonic clock in nanoseconds; each look at it takes ``tick_ns``."""

    def __init__(self, now_ns: int = 10**15, tick_ns: int = 500) -> None:
        self.now_ns = now_ns
        self.tick_ns = tick_ns

    def __call__(self) -> int:
        self.now_ns += self.tick_ns
        return self.now_ns


def drive(channel: Channel, clock: VirtualClock, until_ns: int, *, late_s: float = 0.0001, seed: int = 0) -> None:
    """Poll ``channel`` when it wants to be polled, each time up to ``late_s`` late, until ``until_ns``."""
    rng = random.Random(seed)
    lock = threading.RLock()
    while True:
        due_ns = max(channel.due_ns, clock.now_ns) + round(rng.random() * late_s * 1e9)
        if due_ns > until_ns:
            break
        clock.now_ns = due_ns
        channel.poll(lock)
    clock.now_ns = max(clock.now_ns, until_ns)
