"""The questions that are asked of one NVIDIA board: its powers, its limit, and the programs on it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from lightning_energy.meters.base import Condition
from lightning_energy.meters.nvml_counter import Counter
from lightning_energy.meters.nvml_library import MW, TRIES, Answer, ask

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Board"]

ABOVE_LIMIT = 1.15  # boards exceed their limit for moments: a real 3090 drew 463 W at a limit of 420 W
NOT_AVAILABLE = 2**32 - 1  # milliwatts, where there are none
MODULE_MATCH = 0.1  # largest share by which a module of the GPU alone draws more than the GPU


class Board:
    """A board that NVML has found.

    Args:
        nvml: the initialised ``pynvml``.
        handle: NVML's handle of the board.

    Attributes:
        nvml: the same.
        handle: the same.
        counter: its energy counter, where it has one.
    """

    def __init__(self, nvml: Any, handle: Any) -> None:
        self.nvml, self.handle = nvml, handle
        self.counter = Counter(nvml, handle)

    def ask(self, function: Callable[..., Any], *arguments: Any, tries: int = TRIES) -> Answer:
        """Ask one of NVML's functions about the board."""
        return ask(self.nvml, function, self.handle, *arguments, tries=tries)

    def average_w(self, *, tries: int = TRIES) -> Answer:
        """``power.draw`` in watts: on most boards the mean over the last second."""
        return _power_of(self.ask(self.nvml.nvmlDeviceGetPowerUsage, tries=tries))

    def instant_w(self, scope: int | None = None, *, tries: int = TRIES) -> Answer:
        """The power of the moment in watts.

        Args:
            scope: the part that is meant, where the board is in a module.
            tries: largest number of calls.
        """
        return _power_of(self.ask(self._field, self.nvml.NVML_FI_DEV_POWER_INSTANT, scope, tries=tries))

    def module_w(self, *, tries: int = TRIES) -> Answer:
        """The power in watts of the module that the board is in: GPU, CPU and memory."""
        return self.instant_w(self.nvml.NVML_POWER_SCOPE_MODULE, tries=tries)

    def limit_w(self) -> Answer:
        """The power in watts above which a reading is implausible."""
        limit = self.ask(self.nvml.nvmlDeviceGetEnforcedPowerLimit)
        if not limit.is_known:
            return limit
        bounds = self.ask(self.nvml.nvmlDeviceGetPowerManagementLimitConstraints)
        # the limit may be raised while we look: a plausible power is one below the highest possible limit
        highest_mw = max(limit.value, bounds.value[1] if bounds.is_known else 0)
        return Answer(float(highest_mw) * MW * ABOVE_LIMIT, bounds.fault)

    def others(self) -> Answer:
        """Other processes that compute on the board, as a list. Slow."""
        answer = self.ask(self.nvml.nvmlDeviceGetComputeRunningProcesses)
        return Answer(sorted({p.pid for p in answer.value} - {os.getpid()})) if answer.is_known else answer

    def is_in_module(self) -> Answer:
        """Answer with true where a module draws more than its GPU."""
        scope = self.nvml.NVML_POWER_SCOPE_GPU
        module = self.module_w()
        if not module.is_known:
            return module
        before, module, after = self.instant_w(scope), self.module_w(), self.instant_w(scope)
        if not module.is_known:
            return module
        gpu_w = max((a.value for a in (before, after) if a.is_known), default=0.0)  # the load may change meanwhile
        return Answer(bool(module.value > gpu_w * (1 + MODULE_MATCH)))

    def condition(self) -> Condition | None:
        """The board's settings and temperature now; ``None`` when it says nothing of them.

        Each call is made once, and one that fails costs its own field.
        """
        nvml = self.nvml
        asked = (
            self.ask(nvml.nvmlDeviceGetEnforcedPowerLimit, tries=1),
            self.ask(nvml.nvmlDeviceGetTemperature, nvml.NVML_TEMPERATURE_GPU, tries=1),
            self.ask(nvml.nvmlDeviceGetClockInfo, nvml.NVML_CLOCK_SM, tries=1),
            self.ask(nvml.nvmlDeviceGetMaxClockInfo, nvml.NVML_CLOCK_SM, tries=1),
            self.ask(nvml.nvmlDeviceGetClockInfo, nvml.NVML_CLOCK_MEM, tries=1),
        )
        limit_mw, *others = (float(a.value) if a.is_known else None for a in asked)
        found = Condition(None if limit_mw is None else limit_mw * MW, *others)
        return None if found == Condition() else found

    def _field(self, handle: Any, field: int, scope: int | None) -> int:
        (value,) = self.nvml.nvmlDeviceGetFieldValues(handle, [field if scope is None else (field, scope)])
        if value.nvmlReturn != self.nvml.NVML_SUCCESS:
            raise self.nvml.NVMLError(value.nvmlReturn)
        return int(value.value.uiVal)


def _power_of(answer: Answer) -> Answer:
    """Watts of an answer in milliwatts; none where the sensor shows nothing, as no board draws no power."""
    if not answer.is_known:
        return answer
    if not 0 < answer.value < NOT_AVAILABLE:
        return Answer(error="it reads 0 W" if answer.value == 0 else "it reads N/A")
    return Answer(float(answer.value) * MW)
