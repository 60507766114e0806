"""A model of the CPU's power, for machines where nothing can be measured. Every figure of it is marked as estimated."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import psutil

from lightning_energy.meters.base import Meter, MeterInfo, MeterLost, Reading, Source, Survey
from lightning_energy.meters.units import NS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch

__all__ = ["CpuEstimateMeter", "EstimateSource"]

WATTS_PER_THREAD = 4.0  # other tools' assumption for an unknown CPU, too; no better figure is public
IDLE_SHARE = 0.1  # share of the full power; other tools' assumption, too
CALIBRATION_U = 0.5  # relative; figures from a TDP are wrong by tens of percent: 27-37 % on nodes in arXiv 2506.14551
IDLE_TIMES = frozenset({"idle", "iowait", "steal", "guest", "guest_nice"})  # guest time is in user time already


class CpuEstimateMeter(Meter):
    """Estimates the energy of the machine's CPUs from how busy they are.

    The power is assumed to rise linearly with the share of busy time, from ``idle_share * max_w`` to ``max_w``,
    so that the energy of any time is ``max_w * (idle_share * t + (1 - idle_share) * busy_s / threads)``. Covers
    CPUs only, and all that runs on them. The kernel counts busy time in units of about 10 ms.

    Args:
        max_w: power of all CPUs at full load in watts (the TDP); ``None`` for 4 W per hardware thread.
        idle_share: share of it that an idle machine draws.
        clock: the monotonic clock in nanoseconds.

    Raises:
        ValueError: an argument is out of range.

    Example:
        >>> meter = CpuEstimateMeter(max_w=65.0)
        >>> meter.open().quality
        'estimated'
    """

    def __init__(
        self,
        *,
        max_w: float | None = None,
        idle_share: float = IDLE_SHARE,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        if max_w is not None and not max_w > 0:
            raise ValueError(f"max_w={max_w!r}: give watts above 0 (the CPU's TDP), or None")
        if not 0 <= idle_share < 1:
            raise ValueError(f"idle_share={idle_share!r}: give a share in [0, 1)")
        self.max_w = max_w
        self.idle_share = idle_share
        self._clock = clock
        self._threads = 1
        self._power_w = 0.0
        self._start_ns = 0
        self._last_busy_s = 0.0
        self._busy_s = 0.0

    def open(self) -> MeterInfo:
        """Start the model."""
        self._threads = psutil.cpu_count(logical=True) or 1
        self._power_w = self.max_w or WATTS_PER_THREAD * self._threads
        self._start_ns = self._clock()
        self._last_busy_s, self._busy_s = _busy_s(), 0.0
        source = "its TDP as given" if self.max_w else f"{WATTS_PER_THREAD:g} W per thread (an assumption)"
        return MeterInfo(
            device_id="cpu-estimate",
            name=f"CPU model, {self._threads} threads",
            quality="estimated",
            scope="package",
            per_node=True,
            power_max_w=self._power_w,
            power_min_w=self.idle_share * self._power_w,
            update_period_s=0.001,  # its idle part moves at every look
            calibration_u=CALIBRATION_U,
            note=f"a model, no measurement: {self._power_w:g} W at full load from {source}, "
            f"{100 * self.idle_share:g} % of it idle; all programs on the machine, no memory, no accelerator",
        )

    def read(self) -> Reading:
        """The model's energy since it was opened."""
        start_ns = self._clock()
        try:
            busy_s = _busy_s()
        except OSError as error:
            raise MeterLost(f"the kernel does not say how busy the CPUs are: {error}") from error
        end_ns = self._clock()
        self._busy_s += max(busy_s - self._last_busy_s, 0.0)  # a thread that goes offline takes its time along
        self._last_busy_s = busy_s
        elapsed_s = (start_ns - self._start_ns) * NS
        busy = min(self._busy_s, elapsed_s * self._threads)
        share_s = self.idle_share * elapsed_s + (1 - self.idle_share) * busy / self._threads
        return Reading(start_ns, end_ns, register_j=self._power_w * share_s)

    def close(self) -> None:
        """Nothing to close."""


def _busy_s() -> float:
    """CPU time of all threads that was not idle since boot, in seconds."""
    times = psutil.cpu_times()._asdict()
    return float(sum(seconds for name, seconds in times.items() if name not in IDLE_TIMES))


class EstimateSource(Source):
    """The model, which is always there."""

    name = "estimate"

    def of(self, device: torch.device) -> Sequence[Meter]:  # noqa: ARG002 - the model is of the node's CPUs
        """The model of this node's CPUs."""
        return [CpuEstimateMeter()]

    def survey(self) -> Survey:
        """The model of this node's CPUs."""
        return Survey([CpuEstimateMeter()])
