"""The simulated NVML with its counters in C, for measurements of CPU time and of the interpreter's lock.

The rest of the driver stays Python; the sampler calls it at one edge in eight, for the power of a moment.
"""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.sim.nvml import SimulatedGpu, SimulatedNvml

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["CompiledNvml"]

SOURCE = Path(__file__).with_name("driver.c")
NAME = "nvmlDeviceGetTotalEnergyConsumption"
BOARD_W = 300.0  # as in the C source


class CompiledNvml(SimulatedNvml):
    """As :class:`~tests.sim.nvml.SimulatedNvml`, with counters by ``driver.c``. Needs a C compiler named ``cc``.

    Args:
        n: number of boards, at most ten.
        uuid: of the first; the others differ in the last digit.
    """

    def __init__(self, n: int, uuid: str) -> None:
        gpus = [SimulatedGpu(BOARD_W, uuid=f"{uuid[:-1]}{i}") for i in range(n)]
        super().__init__(gpus)

    def _symbols(self, missing: Sequence[str]) -> Any:
        library = super()._symbols(missing)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "driver.so")
            subprocess.run(["cc", "-O2", "-shared", "-fPIC", str(SOURCE), "-o", str(path), "-lm"], check=True)
            self._compiled = ctypes.CDLL(str(path))  # stays mapped when the file is gone
        setattr(library, NAME, getattr(self._compiled, NAME))
        return library
