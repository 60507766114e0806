"""The idle baseline: the power of each device while nothing is asked of it."""

from __future__ import annotations

import statistics
import threading
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from lightning_energy.meters.units import NS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_energy.curves.channel import Channel
    from lightning_energy.curves.curve import Curve
    from lightning_energy.ledger.totals import Totals
    from lightning_energy.meters.base import MeterInfo

__all__ = ["IdleBaseline", "Look", "idle_power_w"]

LOOKS = 10
ENOUGH_LOOKS = 3
STEADY = 0.1  # largest share by which an idle device's power strays


class Look(NamedTuple):
    """The end of a curve at one moment.

    Attributes:
        time_ns: its last knot.
        energy_j: the energy there.
        is_known: false before the curve's first interval, and in missing time.
    """

    time_ns: int
    energy_j: float
    is_known: bool

    @classmethod
    def at(cls, curve: Curve) -> Look:
        """A look at a curve."""
        return cls(curve.end_ns or 0, curve.end_j, curve.last_power_w() is not None)


class IdleBaseline:
    """Idle powers of devices, and the energy above them.

    Attributes:
        power_w: by identity of the device; ``None`` for one that was not idle, nothing before :meth:`watch`.

    Args:
        channels: the devices.
        lock: guards their curves.
    """

    def __init__(self, channels: Sequence[Channel], lock: threading.RLock) -> None:
        self.power_w: dict[str, float | None] = {}
        self._channels = channels
        self._lock = lock

    def watch(self, seconds: float) -> list[str]:
        """Watch the devices before any account is open. Waits that long.

        Returns:
            A note on each device without a baseline: its power is not steady, or others use it.
        """
        looks: list[list[Look]] = [[] for _ in self._channels]
        for look in range(LOOKS + 1):
            if look:
                threading.Event().wait(seconds / LOOKS)
            with self._lock:
                for seen, channel in zip(looks, self._channels, strict=True):
                    seen.append(Look.at(channel.curve))
        notes = []
        for seen, channel in zip(looks, self._channels, strict=True):
            self.power_w[channel.info.device_id], problem = idle_power_w(channel.info, seen)
            if problem:
                notes.append(f"No idle baseline for {channel.info.name}: {problem}")
        return notes

    def above_j(self, totals: Totals) -> float | None:
        """Joules above the idle power of all devices; ``None`` when it is not known of one."""
        above_j = []
        for d, channel in enumerate(self._channels):
            energy, idle_w = totals.energy(device=d), self.power_w.get(channel.info.device_id)
            if idle_w is None or energy.energy_j is None:
                return None
            above_j.append(energy.energy_j - idle_w * (energy.duration_s - energy.missing_s))
        return sum(above_j) if above_j else None


def idle_power_w(info: MeterInfo, looks: Sequence[Look]) -> tuple[float | None, str]:
    """Mean power in watts between looks at a device, or ``None`` and the reason.

    Args:
        info: the device.
        looks: in the order of time.
    """
    if info.scope == "board":
        return None, "other programs use it"
    ends = [look for look in looks if look.is_known]
    steps = [(b.time_ns - a.time_ns, b.energy_j - a.energy_j) for a, b in pairwise(ends) if b.time_ns > a.time_ns]
    if len(steps) < ENOUGH_LOOKS:
        return None, "its power could not be seen often enough; watch for longer"
    powers_w = [energy_j / (time_ns * NS) for time_ns, energy_j in steps]
    mean_w = sum(e for _, e in steps) / (sum(t for t, _ in steps) * NS)
    if statistics.pstdev(powers_w) > STEADY * max(mean_w, 1.0):
        return None, f"its power was not steady ({min(powers_w):.0f} to {max(powers_w):.0f} W): it was not idle"
    return mean_w, ""
