"""The energy counter of one NVIDIA board, read again and again: by its symbol, without pynvml's wrapper."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

from lightning_energy.meters.nvml_library import MW

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Counter"]

NAME = "nvmlDeviceGetTotalEnergyConsumption"


class Counter:
    """Reads a counter into one buffer.

    pynvml's wrapper makes a new number and looks its symbol up at each call, which takes longer than a fast driver does.
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

    def read(self) -> int:
        """Read the counter.

        Returns:
            NVML's result: 0 when :attr:`millijoules` is new.
        """
        return self._read(self._handle, self._at)

    @property
    def millijoules(self) -> int:
        """The counter, as it was read last."""
        return self._value.value

    def joules(self, result: int) -> float:
        """The same in joules.

        Args:
            result: the result of :meth:`read`.

        Raises:
            pynvml.NVMLError: it was an error.
        """
        if result:
            raise self._nvml.NVMLError(result)
        return float(self._value.value) * MW

    def _by_wrapper(self, handle: Any, _at: Any) -> int:
        try:
            self._value.value = self._nvml.nvmlDeviceGetTotalEnergyConsumption(handle)
        except self._nvml.NVMLError as error:
            return int(error.value)
        return 0
