"""A meter that replays a script, for our tests and our users' tests."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

from lightning_energy.meters.base import Meter, MeterError, MeterInfo, Reading
from lightning_energy.meters.clock import monotonic_ns
from lightning_energy.meters.units import NS

__all__ = ["ReplayMeter"]

Clock = Callable[[], int]


class ReplayMeter(Meter):
    """A scripted device with a known true energy.

    Args:
        script: the power over time, as ``(duration_s, power_w)`` pieces that repeat for ever, or one number
            for a constant power in watts.
        counter_period_s: time between two updates of the energy register in seconds. ``0`` makes a register
            that always moves; ``None`` makes a device without a register, whose power is read instead.
        device_id: identity of the device; two meters with one identity are one device.
        info: its description; by default that of a GPU with a counter, or with a power sensor.
        clock: the monotonic clock in nanoseconds.

    Example:
        >>> now = [0]
        >>> meter = ReplayMeter([(1.0, 300.0), (1.0, 100.0)], counter_period_s=0, clock=lambda: now[0])
        >>> _ = meter.open()
        >>> now[0] = 3_000_000_000
        >>> meter.read().register_j, meter.true_energy_j(0, now[0])
        (700.0, 700.0)
    """

    def __init__(
        self,
        script: float | Sequence[tuple[float, float]] = 100.0,
        *,
        counter_period_s: float | None = 0.1,
        device_id: str = "replay-0",
        info: MeterInfo | None = None,
        clock: Clock = monotonic_ns,
    ) -> None:
        pieces = [(1.0, float(script))] if isinstance(script, (int, float)) else [*script]
        if not pieces or any(not d > 0 or not (p >= 0 and math.isfinite(p)) for d, p in pieces):
            raise ValueError(
                f"script={script!r}: give watts >= 0, or (duration_s > 0, power_w >= 0) pieces, at least one"
            )
        if counter_period_s is not None and not counter_period_s >= 0:
            raise ValueError(f"counter_period_s={counter_period_s!r}: give seconds >= 0, or None for no register")
        self._powers = [p for _, p in pieces]
        self._ends_s = list(accumulate(d for d, _ in pieces))
        self._energies_j = list(accumulate(d * p for d, p in pieces))
        self.counter_period_s = counter_period_s
        self._clock = clock
        self._info = info or MeterInfo(
            device_id=device_id,
            name="replayed device",
            quality="integrated" if counter_period_s is None else "measured",
            scope="gpu",
            power_max_w=max(self._powers) * 1.15 or None,
            power_min_w=min(self._powers),
            instant_power=True,
        )
        self._epoch_ns: int | None = None
        self.is_open = False

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "is_open": False}  # a copy is closed

    def open(self) -> MeterInfo:
        """Start the script at its first opening; later openings go on with it."""
        if self._epoch_ns is None:
            self._epoch_ns = self._clock()
        self.is_open = True
        return self._info

    def close(self) -> None:
        """Stop."""
        self.is_open = False

    def _register_j(self, elapsed_s: float) -> float:
        cycles, rest = divmod(elapsed_s, self._ends_s[-1])
        piece = min(bisect_right(self._ends_s, rest), len(self._powers) - 1)
        after = self._ends_s[piece] - rest
        return cycles * self._energies_j[-1] + self._energies_j[piece] - after * self._powers[piece]

    def _elapsed_s(self, time_ns: int) -> float:
        if self._epoch_ns is None:
            raise MeterError("ReplayMeter was read before it was opened: call open() first")
        return (time_ns - self._epoch_ns) * NS

    def true_energy_j(self, start_ns: int, end_ns: int) -> float:
        """True energy in joules between two moments of the meter's clock."""
        return self._register_j(self._elapsed_s(end_ns)) - self._register_j(self._elapsed_s(start_ns))

    def true_power_w(self, time_ns: int) -> float:
        """True power in watts at one moment of the meter's clock."""
        rest = self._elapsed_s(time_ns) % self._ends_s[-1]
        return self._powers[min(bisect_right(self._ends_s, rest), len(self._powers) - 1)]

    def read(self) -> Reading:
        """Read the register as its last update left it, or the power where there is no register."""
        start_ns = self._clock()
        elapsed_s = self._elapsed_s(start_ns)
        if self.counter_period_s is None:
            return Reading(start_ns, self._clock(), power_w=self.true_power_w(start_ns))
        if self.counter_period_s > 0:
            elapsed_s = math.floor(elapsed_s / self.counter_period_s) * self.counter_period_s
        return Reading(start_ns, self._clock(), register_j=self._register_j(elapsed_s))

    def read_power_w(self) -> float | None:
        """Read the power in watts."""
        return self.true_power_w(self._clock())
