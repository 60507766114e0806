"""A model of the CPU's power, for machines where nothing can be measured. Every figure of it is marked as estimated."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import psutil

from lightning_energy.meters.base import Meter, MeterError, MeterInfo, MeterLost, Reading, Source, Survey
from lightning_energy.meters.clock import monotonic_ns
from lightning_energy.meters.gains import ESTIMATE_U
from lightning_energy.meters.process_tree import OwnProcess, ProcessTree
from lightning_energy.meters.units import NS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch

__all__ = ["CpuEstimateMeter", "EstimateSource"]

WATTS_PER_THREAD = 4.0  # other tools' assumption for an unknown CPU, too; no better figure is public
IDLE_SHARE = 0.1  # of the full power; other tools' assumption, too; shown beside the estimate, and not in it


class CpuEstimateMeter(Meter):
    """Estimates the energy that a training's own processes spend on the CPU, from their CPU time.

    The energy is ``max_w / threads`` times the CPU seconds of this process and of all that it started, ended ones
    included (DataLoader workers, their children). Other ranks count their own. Neither other programs nor the idle
    machine are in it, nor memory and accelerators: it does not depend on what else the machine does, as far as the
    CPU time of the same work does not. A machine's idle power goes on with time, whoever uses the machine: the note
    of the figure has it.

    Args:
        max_w: power of all CPUs of the machine at full load in watts (the TDP); ``None`` for 4 W per hardware thread.
        clock: the monotonic clock in nanoseconds.

    Raises:
        ValueError: an argument is out of range.

    Example:
        >>> meter = CpuEstimateMeter(max_w=65.0)
        >>> meter.open().quality
        'estimated'
    """

    def __init__(self, *, max_w: float | None = None, clock: Callable[[], int] = monotonic_ns) -> None:
        if max_w is not None and not max_w > 0:
            raise ValueError(f"max_w={max_w!r}: give watts above 0 (the CPU's TDP), or None")
        self.max_w = max_w
        self._clock = clock
        self._tree: ProcessTree | OwnProcess | None = None
        self._threads = 1
        self._thread_w = 0.0
        self._start_s = 0.0  # CPU time
        self._cpu_s = 0.0
        self._last_ns = 0

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_tree": None}  # a copy is closed: it may go to another process

    def open(self) -> MeterInfo:
        """Start the model."""
        self._threads = _threads()
        max_w = self.max_w or WATTS_PER_THREAD * self._threads
        self._thread_w = max_w / self._threads
        limits = ""
        try:
            self._tree = ProcessTree()
            self._start_s = self._tree.cpu_s()
        except Exception as error:  # noqa: BLE001 - whatever the system does not tell, its own time a process knows
            self._tree = OwnProcess()
            self._start_s = self._tree.cpu_s()
            problem = f"{type(error).__name__}: {error}"
            limits = f"; processes cannot be listed here ({problem}): its children are counted when they have ended"
        self._cpu_s, self._last_ns = 0.0, self._clock()
        origin = f"{max_w:g} W on {self._threads} threads, as given" if self.max_w else "an assumption"
        return MeterInfo(
            device_id="cpu-estimate",
            name=f"CPU model, {self._thread_w:.3g} W per thread",
            quality="estimated",
            scope="processes",
            power_max_w=max_w,
            update_period_s=0.001,  # reading it takes CPU time, so it moves at every look
            calibration_u=ESTIMATE_U,
            note=f"a model, no measurement: {self._thread_w:.3g} W per hardware thread ({origin}) times the CPU time "
            f"of the training's own processes; without memory, accelerators and the machine's idle power (some "
            f"{IDLE_SHARE * max_w:.2g} W, by the usual {100 * IDLE_SHARE:g} % of full power){limits}",
        )

    def read(self) -> Reading:
        """The model's energy since it was opened."""
        if self._tree is None:
            raise MeterError("CpuEstimateMeter was read before it was opened: call open() first")
        start_ns = self._clock()
        try:
            total_s = self._tree.cpu_s()
        except (OSError, psutil.Error) as error:
            raise MeterLost(f"the kernel does not say how much CPU time this process took: {error}") from error
        end_ns = self._clock()
        # a process is seen up to a second after its start, or when it has ended: its CPU time then comes at once
        most_s = max(start_ns - self._last_ns, 0) * NS * self._threads
        self._cpu_s += max(min(total_s - self._start_s - self._cpu_s, most_s), 0.0)  # the difference rounds
        self._last_ns = start_ns
        return Reading(start_ns, end_ns, register_j=self._thread_w * self._cpu_s)

    def close(self) -> None:
        """Forget the processes."""
        self._tree = None


def _threads() -> int:
    """The number of hardware threads; 1 where nobody knows it."""
    with suppress(Exception):  # whatever a system does not tell
        return psutil.cpu_count(logical=True) or os.cpu_count() or 1
    return os.cpu_count() or 1


class EstimateSource(Source):
    """The model, which is always there."""

    name = "estimate"

    def of(self, device: torch.device) -> Sequence[Meter]:  # noqa: ARG002 - the model is of this rank's processes
        """The model of this rank's processes on the CPU."""
        return [CpuEstimateMeter()]

    def survey(self) -> Survey:
        """The model of this process on the CPU."""
        return Survey([CpuEstimateMeter()])
