"""The energy counter of one NVIDIA board, read again and again: by its symbol, without pynvml's wrapper."""

from __future__ import annotations

import ctypes
import sys
from typing import TYPE_CHECKING, Any

from lightning_energy.meters.base import Reading
from lightning_energy.meters.nvml_library import MW

if TYPE_CHECKING:
    from collections.abc import Callable

    Clock = Callable[[], int]

__all__ = ["Counter"]

NAME = "nvmlDeviceGetTotalEnergyConsumption"
ALWAYS_NS = -sys.maxsize  # before any time: from then on, a reading is to be taken in any case


class Counter:
    """Reads a counter into one buffer.

    pynvml's wrapper makes a new number and looks its symbol up at each call, which takes longer than a fast driver.
    So the symbol is taken, once, from the library that pynvml has loaded. Where that is not to be had (another version
    of pynvml may keep it elsewhere, or an old driver lacks the symbol), the wrapper is called, whose errors are known.

    Args:
        nvml: the initialised ``pynvml``.
        handle: NVML's handle of the board.

    Attributes:
        is_bound: true where the symbol was found.
    """

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml, self._handle = nvml, handle
        self._value = ctypes.c_ulonglong()
        self._at = ctypes.byref(self._value)
        # undocumented, and used nowhere else: ``pynvml.nvmlLib`` is what ctypes gave for libnvidia-ml
        symbol: Callable[[Any, Any], int] | None = getattr(getattr(nvml, "nvmlLib", None), NAME, None)
        self.is_bound = symbol is not None
        self._read = symbol or self._by_wrapper
        self._taken_mj: int | None = None
        self._kept: tuple[int, int, int] | None = None  # a reading that is to be taken: begin, end, NVML's result

    def has_stood(self, clock: Clock, until_ns: int) -> bool:
        """Read the counter, and return true if it shows what was taken last.

        Else, or if it is too late, what was read is kept for :meth:`take`.

        Args:
            clock: the monotonic clock in nanoseconds.
            until_ns: time from which on a reading is to be taken in any case.
        """
        start_ns = clock()
        result = self._read(self._handle, self._at)
        end_ns = clock()
        if not result and self._value.value == self._taken_mj and end_ns < until_ns:
            return True
        self._kept = start_ns, end_ns, result
        return False

    def take(self, clock: Clock) -> Reading:
        """The reading that was kept, or a new one.

        Args:
            clock: the monotonic clock in nanoseconds.

        Raises:
            pynvml.NVMLError: the counter cannot be read.
        """
        kept, self._kept = self._kept, None
        if kept is None:
            self.has_stood(clock, ALWAYS_NS)
            return self.take(clock)
        start_ns, end_ns, result = kept
        if result:
            raise self._nvml.NVMLError(result)
        self._taken_mj = self._value.value
        return Reading(start_ns, end_ns, float(self._taken_mj) * MW)

    def _by_wrapper(self, handle: Any, _at: Any) -> int:
        try:
            self._value.value = self._nvml.nvmlDeviceGetTotalEnergyConsumption(handle)
        except self._nvml.NVMLError as error:
            return int(error.value)
        return 0
