"""A device that works behind the host, with a clock of its own, as CUDA's timing events show it."""

from __future__ import annotations

from typing import Any

import numpy as np

from lightning_energy.ledger.device_events import Events


class SimulatedEvents(Events):
    """A device that reaches issued work at ``host time + lead``, and counts time with an offset and a drift.

    Args:
        clock: the host's virtual clock.
        lead_ns: how far the host runs ahead; can be changed at any time.
        offset_ns: nanoseconds that the device's clock shows more.
        drift: share by which the device's clock is fast.
        anchor_ns: how long it takes to record an event on an idle stream and wait for it.
        float32: true to give elapsed times in float32, as CUDA does.
    """

    def __init__(
        self, clock: Any, *, lead_ns: int = 150_000_000, offset_ns: int = 7 * 10**18, drift: float = 5e-5,
        anchor_ns: int = 2000, float32: bool = False,
    ) -> None:  # fmt: skip
        self.clock, self.lead_ns, self.offset_ns, self.drift = clock, lead_ns, offset_ns, drift
        self.anchor_ns, self.float32 = anchor_ns, float32
        self.reached: dict[int, int] = {}  # event -> host time
        self.capturing = False
        self.broken = self.refuses_threads = False
        self.stuck: set[int] = set()
        self.syncs = 0
        self._made = 0
        self._last_ns = 0
        self._epoch_ns = clock.now_ns

    def make(self) -> int:
        self._made += 1
        return self._made

    def _check(self) -> None:
        if self.broken:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

    def record(self, event: int) -> bool:
        self._check()
        if self.capturing:
            return False
        self._last_ns = max(self._last_ns, self.clock.now_ns + self.lead_ns)  # streams keep their order
        self.reached[event] = self._last_ns
        return True

    def is_done(self, event: int) -> bool:
        self._check()
        return event not in self.stuck and self.reached[event] <= self.clock.now_ns

    def elapsed_ms(self, first: int, second: int) -> float:
        host_ns = self.reached[second] - self.reached[first]  # exact: both clocks are read as differences
        ms = host_ns * (1 + self.drift) * 1e-6
        return float(np.float32(ms)) if self.float32 else ms

    def now(self, event: int) -> None:
        self.clock.now_ns += self.anchor_ns // 2
        self.reached[event] = self.clock.now_ns
        self.clock.now_ns += self.anchor_ns - self.anchor_ns // 2

    def enter_thread(self) -> None:
        if self.refuses_threads:
            raise RuntimeError("not in this thread")

    def synchronize(self) -> None:
        self._check()
        self.syncs += 1
        self.clock.now_ns = max(self.clock.now_ns, self._last_ns)
