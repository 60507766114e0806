"""The idle baseline: the power of each device while nothing is asked of it."""

from __future__ import annotations

import math
import statistics
import threading
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from lightning_energy.ledger.uncertainty import SQRT3
from lightning_energy.meters.units import NS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_energy.curves.channel import Channel
    from lightning_energy.curves.curve import Curve
    from lightning_energy.ledger.totals import Totals
    from lightning_energy.meters.base import MeterInfo

__all__ = ["AboveIdle", "IdleBaseline", "IdlePower", "Look", "idle_power"]

LOOKS = 10
ENOUGH_LOOKS = 3
STEADY = 0.1  # largest share by which an idle device's power strays
DYNAMIC_U = 0.73 / SQRT3
"""Relative standard uncertainty of energies above idle by sensors on a chip. Their mean error was up to 73 %, and no
calibration took it away (Fahad et al., Energies 12:2204, 2019, two kernels on three CPUs, two GPUs and a Xeon Phi): a
limit, with a rectangular distribution (GUM 4.3.7)."""


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


class IdlePower(NamedTuple):
    """The power of an idle device.

    Attributes:
        power_w: its mean in watts.
        u_w: standard deviation of the power between two looks: an idle device may stray as far while the run goes on.
    """

    power_w: float
    u_w: float


class AboveIdle(NamedTuple):
    """Energy above the idle power of all devices.

    Attributes:
        energy_j: joules.
        u_j: standard uncertainty (k=1) in joules without what the sensors' gain and kind add: repeatability.
        u_absolute_j: standard uncertainty (k=1) in joules with the gain, and with :data:`DYNAMIC_U`.
    """

    energy_j: float
    u_j: float
    u_absolute_j: float


class IdleBaseline:
    """Idle powers of devices, and the energy above them.

    Attributes:
        power: by identity of the device; ``None`` for one that was not idle, nothing before :meth:`watch`.

    Args:
        channels: the devices.
        lock: guards their curves.
    """

    def __init__(self, channels: Sequence[Channel], lock: threading.RLock) -> None:
        self.power: dict[str, IdlePower | None] = {}
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
            self.power[channel.info.device_id], problem = idle_power(channel.info, seen)
            if problem:
                notes.append(f"No idle baseline for {channel.info.name}: {problem}")
        return notes

    def above(self, totals: Totals) -> AboveIdle | None:
        """Joules above the idle power of all devices; ``None`` when it is not known of one.

        Repeatabilities of the devices add as elsewhere; those of idle powers, the gains and :data:`DYNAMIC_U` are
        common to a device's whole time, and may be to all devices: linearly.
        """
        above_j, u_idle_j, u_gain_j = [], 0.0, 0.0
        for d, channel in enumerate(self._channels):
            energy, idle = totals.energy(device=d), self.power.get(channel.info.device_id)
            if idle is None or energy.energy_j is None:
                return None
            known_s = energy.duration_s - energy.missing_s
            above_j.append(energy.energy_j - idle.power_w * known_s)
            u_idle_j += idle.u_w * known_s
            gain_u = math.sqrt(max(energy.u_absolute_j**2 - energy.u_j**2, 0.0)) / (energy.energy_j or 1.0)
            u_gain_j += math.hypot(gain_u, DYNAMIC_U) * abs(above_j[-1])
        if not above_j:
            return None
        repeated_j = math.hypot(totals.energy().u_j, u_idle_j)
        return AboveIdle(sum(above_j), repeated_j, math.hypot(repeated_j, u_gain_j))


def idle_power(info: MeterInfo, looks: Sequence[Look]) -> tuple[IdlePower | None, str]:
    """Mean power between looks at a device, or ``None`` and the reason.

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
    u_w = statistics.pstdev(powers_w)
    if u_w > STEADY * max(mean_w, 1.0):
        return None, f"its power was not steady ({min(powers_w):.0f} to {max(powers_w):.0f} W): it was not idle"
    return IdlePower(mean_w, u_w), ""
