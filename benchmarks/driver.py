"""The simulated NVML with its sensors in C, for measurements of CPU time and of the interpreter's lock."""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.sim.nvml import SimulatedGpu, SimulatedNvml

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["NAME", "CompiledNvml"]

SOURCE = Path(__file__).with_name("driver.c")
NAME = "nvmlDeviceGetTotalEnergyConsumption"
COMPILED = (NAME, "nvmlDeviceGetPowerUsage", "nvmlDeviceGetFieldValues")
BOARD_W = 300.0  # as in the C source
CALLS = 65536  # same


class CompiledNvml(SimulatedNvml):
    """As :class:`~tests.sim.nvml.SimulatedNvml`, with sensors by ``driver.c``. Needs a C compiler named ``cc``.

    Args:
        n: number of boards, at most ten.
        uuid: of the first; the others differ in the last digit.
        period_s: time between two updates of their counters.
    """

    def __init__(self, n: int, uuid: str, period_s: float = 0.1) -> None:
        gpus = [SimulatedGpu(BOARD_W, uuid=f"{uuid[:-1]}{i}") for i in range(n)]
        super().__init__(gpus)
        ctypes.c_double.in_dll(self.compiled, "period_s").value = period_s

    def _symbols(self, missing: Sequence[str]) -> Any:
        library = super()._symbols(missing)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "driver.so")
            subprocess.run(["cc", "-O2", "-shared", "-fPIC", str(SOURCE), "-o", str(path), "-lm"], check=True)
            self.compiled = ctypes.CDLL(str(path))  # stays mapped when the file is gone
        for name in COMPILED:
            setattr(library, name, getattr(self.compiled, name))
        return library

    def sample(self, wake_ups_per_s: float, boards: int, *ring_and_end: Any) -> None:
        """Read so many boards again and again by a compiled loop: arguments as in ``driver.c``."""
        self.compiled.sample.argtypes = (
            ctypes.c_double,
            ctypes.c_int64,
            ctypes.c_void_p,
            ctypes.c_int64,
            ctypes.c_void_p,
        )
        self.compiled.sample.restype = None
        self.compiled.sample(wake_ups_per_s, boards, *ring_and_end)

    @property
    def n_calls(self) -> int:
        """How often the compiled functions were called."""
        return int(ctypes.c_int64.in_dll(self.compiled, "calls").value)

    def calls_ns(self) -> list[int]:
        """When the compiled functions were called, the last 65536 times at most."""
        n = self.n_calls
        ring = (ctypes.c_int64 * CALLS).in_dll(self.compiled, "called_ns")
        return [ring[k % CALLS] for k in range(max(n - CALLS, 0), n)]
