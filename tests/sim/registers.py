"""Registers whose updates are known to the test, read along a virtual clock."""

from __future__ import annotations

import bisect
import random

import numpy as np

from lightning_energy.meters import Reading, ReplayMeter

S = 10**9


class Jittery(ReplayMeter):
    """A register that moves every 100 ms, up to 2 ms late; counts its reads."""

    def __init__(self, clock) -> None:
        super().__init__(100.0, counter_period_s=0.1, clock=clock)
        self.clock, self.start_ns, self.reads, self.call_ns = clock, clock.now_ns, 0, 0

    def update_ns(self, k: int) -> int:
        return self.start_ns + k * S // 10 + random.Random(k).randrange(2_000_000)

    def read(self):
        self.reads += 1
        start_ns, now_ns = self.clock.now_ns, self.clock.now_ns + self.call_ns // 2
        self.clock.now_ns += self.call_ns
        k = (now_ns - self.start_ns) // (S // 10)
        k -= self.update_ns(k) > now_ns
        return Reading(start_ns, self.clock.now_ns, register_j=10.0 * k)


class Remote(ReplayMeter):
    """A board whose calls may be slow (an H200 in a virtual machine: 3.4 ms each); one joule per update.

    ``pieces`` of updates, ``(duration_s, period_s)``, each nearly on time; ``call_s(second)``: the duration of a call.
    """

    def __init__(self, clock, pieces, call_s, *, seed: int = 0, jitter: float = 0.01, **kwargs) -> None:
        super().__init__(100.0, clock=clock, **kwargs)
        self.clock, self.call_s, self.rng = clock, call_s, random.Random(seed)
        self.start_ns, at_s = clock.now_ns, -pieces[0][1] * (1.0 + self.rng.random())
        self.calls: list[tuple[float, float]] = []  # when, and how long
        self.first = 0  # the value that was read first
        self.updates_ns, end_s = [], 0.0
        for duration_s, period_s in pieces:
            end_s += duration_s
            while at_s < end_s:
                self.updates_ns.append(self.start_ns + round((at_s + self.rng.gauss(0.0, jitter * period_s)) * S))
                at_s += period_s
        self.updates_ns.sort()

    def read(self) -> Reading:
        start_ns = self.clock()
        at_s = (start_ns - self.start_ns) / S
        call_s = self.call_s(at_s) * self.rng.uniform(0.7, 1.3)
        looked_ns = start_ns + round(self.rng.random() * call_s * S)
        self.clock.now_ns = start_ns + round(call_s * S)
        self.calls.append((at_s, call_s))
        moves = bisect.bisect(self.updates_ns, looked_ns)
        self.first = self.first or moves
        return Reading(start_ns, self.clock.now_ns, register_j=float(moves))

    def read_power_w(self) -> float:
        return 10.0  # a joule every 0.1 s

    def duty(self, from_s: float, until_s: float) -> float:
        """The share of the time that was spent in calls."""
        return sum(call_s for at_s, call_s in self.calls if from_s <= at_s < until_s) / (until_s - from_s)

    def longest_pause_s(self, from_s: float) -> float:
        """The longest time without a call."""
        end_s = (self.clock.now_ns - self.start_ns) / S
        return float(np.max(np.diff([at_s for at_s, _ in [*self.calls, (end_s, 0.0)] if at_s >= from_s])))

    def errors_s(self, channel, from_s: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """Distances of knots from their updates, and the half widths that the knots have."""
        found = channel.curve.knots()
        truth_ns = np.array(self.updates_ns)[np.round(found.energy_j).astype(int) + self.first - 1]
        late = found.time_ns > self.start_ns + from_s * S
        return (found.time_ns - truth_ns)[late] / S, found.half_width_ns[late] / S
