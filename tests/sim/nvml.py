"""An NVML that the real ``pynvml`` talks to, at NVML's C interface.

``SimulatedNvml`` stands where ``pynvml`` keeps the loaded library: every symbol is a C function pointer with NVML's
own signature, which writes through the pointers it is given. So struct layouts, error codes and missing symbols are
those of the real thing. Each board has a power that is known at every moment, and a counter that moves now and then.
"""

from __future__ import annotations

import ctypes as c
import random
import threading
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pynvml

from lightning_energy.meters import nvml as meter
from lightning_energy.meters import nvml_library as ours

SUCCESS = pynvml.NVML_SUCCESS
Power = float | Sequence[tuple[float, float]] | str


class Script:
    """Power over time with its exact integral: ``(duration_s, watts)`` pieces that repeat for ever."""

    def __init__(self, pieces: Sequence[tuple[float, float]]) -> None:
        self._pieces = [*pieces]
        self._ends_s, self._ends_j, t, e = [], [], 0.0, 0.0
        for duration_s, power_w in self._pieces:
            t, e = t + duration_s, e + duration_s * power_w
            self._ends_s.append(t)
            self._ends_j.append(e)

    def energy_j(self, at_s: float) -> float:
        cycles, rest_s = divmod(at_s, self._ends_s[-1])
        i = min(bisect_right(self._ends_s, rest_s), len(self._pieces) - 1)
        return cycles * self._ends_j[-1] + self._ends_j[i] - (self._ends_s[i] - rest_s) * self._pieces[i][1]

    def power_w(self, at_s: float) -> float:
        return self._pieces[min(bisect_right(self._ends_s, at_s % self._ends_s[-1]), len(self._pieces) - 1)][1]


class Driven:
    """Power that the test sets while it runs, as a training does."""

    def __init__(self, idle_w: float) -> None:
        self._changes: list[tuple[float, float, float]] = [(0.0, idle_w, 0.0)]  # since, watts, joules by then
        self._times: list[float] = [0.0]

    def set(self, at_s: float, power_w: float) -> None:
        self._changes.append((at_s, power_w, self.energy_j(at_s)))
        self._times.append(at_s)

    def energy_j(self, at_s: float) -> float:
        since_s, power_w, energy_j = self._changes[bisect_right(self._times, at_s) - 1]
        return energy_j + (at_s - since_s) * power_w

    def power_w(self, at_s: float) -> float:
        return self._changes[bisect_right(self._times, at_s) - 1][1]


class SimulatedGpu:
    """A board.

    Args:
        power: watts, pieces that repeat, or ``"driven"`` (set by :meth:`set_power`, beginning at ``idle_w``).
        counter_period_s: time between two updates of the energy counter; ``None`` for a board without one.
        jitter_s: updates come up to so much later than the period says.
        lag_s: an update shows the energy of so long ago.
    """

    def __init__(
        self,
        power: Power = 100.0,
        *,
        uuid: str = "GPU-00000000-0000-0000-0000-000000000000",
        name: str = "Simulated GPU",
        counter_period_s: float | None = 0.1,
        phase_s: float = 0.013,
        jitter_s: float = 0.0,
        has_instant: bool = True,
        has_power: bool = True,
        limit_w: float = 400.0,
        idle_w: float = 60.0,
        mig: Sequence[str] = (),
        pids: Sequence[int] = (),
        latency_s: float = 0.0,
        module_extra_w: float | None = None,
        counts_module: bool = False,
        has_gpu_scope: bool = True,
        counter_gain: float = 1.0,
        lag_s: float = 0.0,
    ) -> None:
        self.uuid, self.name, self.mig, self.pids = uuid, name, [*mig], [*pids]
        self.counter_period_s, self.phase_s, self.jitter_s = counter_period_s, phase_s, jitter_s
        self.has_instant, self.has_power, self.limit_w = has_instant, has_power, limit_w
        self.latency_s, self.module_extra_w, self.counts_module = latency_s, module_extra_w, counts_module
        self.has_gpu_scope, self.counter_gain, self.lag_s = has_gpu_scope, counter_gain, lag_s
        self.instant: Callable[[float], float] | None = None  # watts that the two power readings show instead, as a
        self.average: Callable[[float], float] | None = None  # function of seconds
        if power == "driven":
            self.power: Script | Driven = Driven(idle_w)
        else:
            pieces = [(1.0, power)] if isinstance(power, (int, float)) else power
            self.power = Script(pieces)  # type: ignore[arg-type]
        self.temperature_c = 50
        self.error = SUCCESS  # result of every call to this board
        self.counter_error = SUCCESS  # result of the counter's call
        self.frozen_at_s: float | None = None
        self.offset_j = 1234.567  # the counter counts since the driver was loaded
        self.zero = False
        self.clock: Callable[[], int] = time.monotonic_ns
        self.start_ns = 0
        self._lock = threading.Lock()

    # ---- truth

    def now_s(self) -> float:
        return (self.clock() - self.start_ns) * 1e-9

    def set_power(self, power_w: float) -> None:
        assert isinstance(self.power, Driven)
        with self._lock:
            self.power.set(self.now_s(), power_w)

    def true_energy_j(self, start_ns: int, end_ns: int) -> float:
        with self._lock:
            first, last = ((t - self.start_ns) * 1e-9 for t in (start_ns, end_ns))
            return self.power.energy_j(last) - self.power.energy_j(first)

    # ---- faults

    def lose(self) -> None:
        self.error = pynvml.NVML_ERROR_GPU_IS_LOST

    def restore(self) -> None:
        self.error = SUCCESS

    def freeze(self) -> None:
        self.frozen_at_s = self.now_s()

    def thaw(self) -> None:
        self.frozen_at_s = None

    # ---- the driver's answers

    def counter_mj(self) -> int:
        if self.zero:
            return 0
        now_s = self.now_s() if self.frozen_at_s is None else self.frozen_at_s
        with self._lock:
            at_s = max(self._last_update_s(now_s) - self.lag_s, 0.0)
            return max(0, round((self._counter_j(at_s) + self.offset_j) * 1e3))

    def _counter_j(self, at_s: float) -> float:
        extra_w = (self.module_extra_w or 0.0) if self.counts_module else 0.0
        return self.counter_gain * (self.power.energy_j(at_s) + extra_w * at_s)

    def _last_update_s(self, now_s: float) -> float:
        assert self.counter_period_s is not None
        if self.counter_period_s == 0:
            return max(now_s, 0.0)
        k = int((now_s - self.phase_s) // self.counter_period_s)
        update_s = self._update_s(k)
        return max(update_s if update_s <= now_s else self._update_s(k - 1), 0.0)

    def _update_s(self, k: int) -> float:
        assert self.counter_period_s is not None
        late = random.Random(k).random() * self.jitter_s
        return self.phase_s + k * self.counter_period_s + late

    def power_mw(self) -> int:
        if self.instant is not None:
            return round(self.instant(self.now_s()) * 1e3)
        with self._lock:
            return round(self.power.power_w(self.now_s()) * 1e3)

    def average_mw(self) -> int:
        """Mean power over the last second, as ``power.draw`` is on most boards."""
        now_s = self.now_s()
        if self.average is not None:
            return round(self.average(now_s) * 1e3)
        with self._lock:
            return round((self.power.energy_j(now_s) - self.power.energy_j(now_s - 1.0)) * 1e3)


def _put(kind: Any, pointer: int, value: Any) -> None:
    c.cast(pointer, c.POINTER(kind))[0] = value


def _put_text(pointer: int, size: int, text: str) -> int:
    data = text.encode() + b"\0"
    if len(data) > size:
        return pynvml.NVML_ERROR_INSUFFICIENT_SIZE
    c.memmove(pointer, data, len(data))
    return SUCCESS


class SimulatedNvml:
    """The library, for the time of a ``with`` statement.

    Args:
        gpus: the boards, in NVML's order.
        init_error: result of ``nvmlInit``; ``"missing"`` for a machine without the library.
        missing: symbols that this library lacks.
        clock: the monotonic clock in nanoseconds.
    """

    def __init__(
        self,
        gpus: Sequence[SimulatedGpu] = (),
        *,
        init_error: int | str = SUCCESS,
        missing: Sequence[str] = (),
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.gpus = [*gpus]
        self.init_error = init_error
        self.calls: Counter[str] = Counter()
        # by symbol, or "field <number> of scope <number>": the error of every call, or of the next ones
        self.faults: dict[str, int | list[int]] = {}
        self.hangs: dict[str, threading.Event] = {}  # by symbol: its calls return once this is set
        self.calls_by_thread: Counter[int] = Counter()  # by thread identifier
        now_ns = clock()
        for gpu in self.gpus:
            gpu.clock, gpu.start_ns = clock, now_ns - 10**10  # ten seconds old
        self._library = None if init_error == "missing" else self._symbols(missing)

    def __enter__(self):
        self._saved = pynvml.nvmlLib, ours._initialised_by, pynvml.CDLL
        self._swap(self._library, None)
        if self._library is None:

            def no_library(name: str, *_: Any) -> None:
                raise OSError(f"{name}: cannot open shared object file")

            pynvml.CDLL = no_library
        return self

    def __exit__(self, *_: object) -> None:
        library, pid, pynvml.CDLL = self._saved
        self._swap(library, pid)

    @staticmethod
    def _swap(library: Any, pid: int | None) -> None:
        pynvml.nvmlLib = library
        pynvml._nvmlGetFunctionPointer_cache.clear()
        ours._initialised_by = pid
        meter._covers_module.clear()

    # ---- handles: 1 + index for boards; 1000 * (1 + index) + j for MIG instances

    def _gpu(self, handle: int | None) -> SimulatedGpu | None:
        index = (handle or 0) // 1000 - 1 if (handle or 0) >= 1000 else (handle or 0) - 1
        return self.gpus[index] if 0 <= index < len(self.gpus) else None

    def _symbols(self, missing: Sequence[str]) -> Any:
        u, p = c.c_uint, c.c_void_p
        signatures: dict[str, tuple[Any, tuple[Any, ...]]] = {
            "nvmlInitWithFlags": (self._init, (u,)),
            "nvmlShutdown": (lambda: SUCCESS, ()),
            "nvmlErrorString": (None, ()),
            "nvmlSystemGetDriverVersion": (lambda at, size: _put_text(at, size, "570.00.sim"), (p, u)),
            "nvmlDeviceGetCount_v2": (self._count, (p,)),
            "nvmlDeviceGetHandleByIndex_v2": (self._by_index, (u, p)),
            "nvmlDeviceGetHandleByUUID": (self._by_uuid, (c.c_char_p, p)),
            "nvmlDeviceGetDeviceHandleFromMigDeviceHandle": (self._parent, (p, p)),
            "nvmlDeviceGetMaxMigDeviceCount": (self._mig_count, (p, p)),
            "nvmlDeviceGetMigDeviceHandleByIndex": (self._mig_by_index, (p, u, p)),
            "nvmlDeviceGetUUID": (self._uuid, (p, p, u)),
            "nvmlDeviceGetName": (self._name, (p, p, u)),
            "nvmlDeviceGetTotalEnergyConsumption": (self._energy, (p, p)),
            "nvmlDeviceGetPowerUsage": (self._power, (p, p)),
            "nvmlDeviceGetFieldValues": (self._fields, (p, c.c_int, p)),
            "nvmlDeviceGetEnforcedPowerLimit": (self._limit, (p, p)),
            "nvmlDeviceGetPowerManagementLimitConstraints": (self._limits, (p, p, p)),
            "nvmlDeviceGetComputeRunningProcesses_v3": (self._processes, (p, p, p)),
            "nvmlDeviceGetTemperature": (self._temperature, (p, u, p)),
            "nvmlDeviceGetClockInfo": (self._clock_mhz, (p, u, p)),
            "nvmlDeviceGetMaxClockInfo": (lambda _, __, at: self._fact(at, 1980), (p, u, p)),
            # only other tools ask for these
            "nvmlDeviceGetGraphicsRunningProcesses_v3": (lambda _, count, __: self._fact(count, 0), (p, p, p)),
            "nvmlDeviceGetArchitecture": (lambda _, at: self._fact(at, pynvml.NVML_DEVICE_ARCH_AMPERE), (p, p)),
            "nvmlDeviceGetComputeMode": (lambda _, at: self._fact(at, 0), (p, p)),
            "nvmlDeviceGetUtilizationRates": (lambda _, at: self._fact(at, 90, 40), (p, p)),
            "nvmlDeviceGetMemoryInfo": (self._memory, (p, p)),
            "nvmlDeviceGetC2cModeInfoV": (lambda *_: pynvml.NVML_ERROR_NOT_SUPPORTED, (p, p)),
        }
        library = type("Library", (), {})()
        for name, (function, arguments) in signatures.items():
            if name in missing:
                continue
            if name == "nvmlErrorString":
                texts = {v: k.encode() for k, v in vars(pynvml).items() if k.startswith("NVML_ERROR_")}
                setattr(library, name, c.CFUNCTYPE(c.c_char_p, u)(lambda code, t=texts: t.get(code, b"unknown error")))
                library.nvmlErrorString.restype = c.c_char_p
            else:
                setattr(library, name, c.CFUNCTYPE(u, *arguments)(self._counted(name, function)))
        return library

    def _counted(self, name: str, function: Callable[..., int]) -> Callable[..., int]:
        def call(*arguments: Any) -> int:
            self.calls[name] += 1
            self.calls_by_thread[threading.get_ident()] += 1
            if name in self.hangs:
                self.hangs[name].wait(60)
            return self._fault(name) or function(*arguments)

        return call

    def _fault(self, name: str) -> int:
        fault = self.faults.get(name, SUCCESS)
        if isinstance(fault, list):
            return fault.pop(0) if fault else SUCCESS
        return fault

    def _board(self, handle: int) -> tuple[SimulatedGpu | None, int]:
        gpu = self._gpu(handle)
        if gpu is None:
            return None, pynvml.NVML_ERROR_INVALID_ARGUMENT
        if gpu.latency_s:
            time.sleep(gpu.latency_s)  # a slow driver, not a way to wait for something
        return gpu, gpu.error

    # ---- the functions

    def _init(self, _flags: int) -> int:
        return int(self.init_error)

    def _count(self, at: int) -> int:
        _put(c.c_uint, at, len(self.gpus))
        return SUCCESS

    def _by_index(self, index: int, at: int) -> int:
        if index >= len(self.gpus):
            return pynvml.NVML_ERROR_INVALID_ARGUMENT
        _put(c.c_void_p, at, 1 + index)
        return SUCCESS

    def _by_uuid(self, uuid: bytes, at: int) -> int:
        for i, gpu in enumerate(self.gpus):
            if gpu.uuid.encode() == uuid:
                _put(c.c_void_p, at, 1 + i)
                return gpu.error
            if uuid.decode() in gpu.mig:
                _put(c.c_void_p, at, 1000 * (1 + i) + gpu.mig.index(uuid.decode()))
                return gpu.error
        return pynvml.NVML_ERROR_NOT_FOUND

    def _parent(self, handle: int, at: int) -> int:
        _put(c.c_void_p, at, handle // 1000)
        return SUCCESS if handle >= 1000 else pynvml.NVML_ERROR_INVALID_ARGUMENT

    def _mig_count(self, handle: int, at: int) -> int:
        gpu, error = self._board(handle)
        if gpu is not None:
            _put(c.c_uint, at, 7 if gpu.mig else 0)
        return error

    def _mig_by_index(self, handle: int, index: int, at: int) -> int:
        gpu, error = self._board(handle)
        if gpu is None or index >= len(gpu.mig):
            return error or pynvml.NVML_ERROR_NOT_FOUND
        _put(c.c_void_p, at, 1000 * handle + index)
        return error

    def _uuid(self, handle: int, at: int, size: int) -> int:
        gpu, error = self._board(handle)
        if gpu is None or error:
            return error
        return _put_text(at, size, gpu.mig[handle % 1000] if handle >= 1000 else gpu.uuid)

    def _name(self, handle: int, at: int, size: int) -> int:
        gpu, error = self._board(handle)
        return error if gpu is None or error else _put_text(at, size, gpu.name)

    def _energy(self, handle: int, at: int) -> int:
        gpu, error = self._board(handle)
        if gpu is None or error or gpu.counter_error:
            return error or (gpu.counter_error if gpu else 0)
        if gpu.counter_period_s is None or handle >= 1000:
            return pynvml.NVML_ERROR_NOT_SUPPORTED
        _put(c.c_ulonglong, at, gpu.counter_mj())
        return SUCCESS

    def _power(self, handle: int, at: int) -> int:
        gpu, error = self._board(handle)
        if gpu is None or error:
            return error
        if not gpu.has_power:
            return pynvml.NVML_ERROR_NOT_SUPPORTED
        _put(c.c_uint, at, gpu.average_mw())
        return SUCCESS

    def _fields(self, handle: int, count: int, at: int) -> int:
        gpu, error = self._board(handle)
        if gpu is None or error:
            return error
        for value in c.cast(at, c.POINTER(pynvml.c_nvmlFieldValue_t * count)).contents:
            self._field(gpu, value)
        return SUCCESS

    def _field(self, gpu: SimulatedGpu, value: Any) -> None:
        value.timestamp = time.time_ns() // 1000
        name = f"field {value.fieldId} of scope {value.scopeId}"
        self.calls[name] += 1
        fault = self._fault(name)
        value.nvmlReturn = fault or pynvml.NVML_ERROR_NOT_SUPPORTED
        if fault or value.fieldId != pynvml.NVML_FI_DEV_POWER_INSTANT or not (gpu.has_power and gpu.has_instant):
            return
        extra_w = {
            pynvml.NVML_POWER_SCOPE_GPU: 0.0 if gpu.has_gpu_scope else None,
            pynvml.NVML_POWER_SCOPE_MODULE: gpu.module_extra_w,
        }.get(value.scopeId)
        if extra_w is not None:
            value.valueType, value.nvmlReturn = pynvml.NVML_VALUE_TYPE_UNSIGNED_INT, SUCCESS
            value.value.uiVal = gpu.power_mw() + round(extra_w * 1e3)

    def _limit(self, handle: int, at: int) -> int:
        gpu, error = self._board(handle)
        if gpu is not None and not error:
            _put(c.c_uint, at, round(gpu.limit_w * 1e3))
        return error

    def _limits(self, handle: int, low: int, high: int) -> int:
        gpu, error = self._board(handle)
        if gpu is not None and not error:
            _put(c.c_uint, low, round(gpu.limit_w * 250))
            _put(c.c_uint, high, round(gpu.limit_w * 1e3))
        return error

    def _temperature(self, handle: int, _sensor: int, at: int) -> int:
        gpu, error = self._board(handle)
        if gpu is not None and not error:
            _put(c.c_uint, at, gpu.temperature_c)
        return error

    def _clock_mhz(self, handle: int, kind: int, at: int) -> int:
        gpu, error = self._board(handle)
        if gpu is not None and not error:
            _put(c.c_uint, at, {pynvml.NVML_CLOCK_SM: 345, pynvml.NVML_CLOCK_MEM: 2619}[kind])
        return error

    @staticmethod
    def _fact(at: int, *values: int) -> int:
        """Give the same answer for every board."""
        for i, value in enumerate(values):
            _put(c.c_uint, at + i * c.sizeof(c.c_uint), value)
        return SUCCESS

    @staticmethod
    def _memory(_handle: int, at: int) -> int:
        memory = c.cast(at, c.POINTER(pynvml.c_nvmlMemory_t))[0]
        memory.total, memory.free, memory.used = 16 * 2**30, 12 * 2**30, 4 * 2**30
        return SUCCESS

    def _processes(self, handle: int, count: int, at: int | None) -> int:
        gpu, error = self._board(handle)
        if gpu is None or error:
            return error
        room = c.cast(count, c.POINTER(c.c_uint))[0]
        _put(c.c_uint, count, len(gpu.pids))
        if not gpu.pids:
            return SUCCESS
        if at is None or room < len(gpu.pids):
            return pynvml.NVML_ERROR_INSUFFICIENT_SIZE
        rows = c.cast(at, c.POINTER(pynvml.c_nvmlProcessInfo_t * len(gpu.pids))).contents
        for row, pid in zip(rows, gpu.pids, strict=True):
            row.pid, row.usedGpuMemory = pid, 2**30
        return SUCCESS
