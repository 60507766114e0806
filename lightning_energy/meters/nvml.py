"""NVIDIA GPUs, through the driver's NVML library.

Devices are found by UUID: NVML ignores ``CUDA_VISIBLE_DEVICES`` and numbers them in another order than CUDA.
Nothing here touches CUDA before the Trainer did, and nothing touches NVML before a meter is opened.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lightning_energy.meters.base import (
    Meter,
    MeterError,
    MeterInfo,
    MeterLost,
    MeterUnavailable,
    Reading,
    Source,
    Survey,
)
from lightning_energy.meters.clock import monotonic_ns
from lightning_energy.meters.gains import NVIDIA_U
from lightning_energy.meters.units import NS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch

    from lightning_energy.meters.base import Scope

__all__ = ["Gpu", "NvmlMeter", "NvmlSource", "driver_version", "list_gpus", "resolve_visible", "uuid_of_torch_device"]

MW = 1e-3  # NVML gives milliwatts and millijoules
ABOVE_LIMIT = 1.15  # boards exceed their limit for moments: a real 3090 drew 463 W at a limit of 420 W
# boards whose sensor looks at a share of the time only (same source)
PART_TIME = (("A100", 0.25), ("H100", 0.25))
MODULE_MATCH = 0.1  # largest share by which a module of the GPU alone draws more than the GPU
SLOPE_S = 0.25  # time for which a counter is watched to see its slope

# the newest names in use; other packages with the name pynvml lack some of them
NEEDED = ("nvmlInitWithFlags", "nvmlDeviceGetFieldValues", "NVML_FI_DEV_POWER_INSTANT", "NVML_POWER_SCOPE_MODULE")

_lock = threading.Lock()
_initialised_by: int | None = None  # NVML is initialised once per process, and not inherited by a fork


def _nvml() -> Any:
    """The initialised ``pynvml``.

    Raises:
        MeterUnavailable: there is no NVML here; the text says what is missing.
    """
    global _initialised_by  # noqa: PLW0603 - a process has one NVML; a second init hangs on some drivers
    try:
        import pynvml  # noqa: PLC0415 - importing lightning_energy must not load it
    except ImportError as error:
        raise MeterUnavailable(f"GPU: pynvml cannot be imported ({error}): pip install nvidia-ml-py.") from error
    if not all(hasattr(pynvml, name) for name in NEEDED):
        raise MeterUnavailable(
            "GPU: the module pynvml is not NVIDIA's, or too old: pip uninstall pynvml; pip install -U nvidia-ml-py."
        )
    with _lock:
        if _initialised_by != os.getpid():
            try:
                pynvml.nvmlInit()
            except pynvml.NVMLError as error:
                raise MeterUnavailable(f"GPU: NVML cannot be used: {_why(pynvml, error)}.") from error
            _initialised_by = os.getpid()
    return pynvml


def _why(nvml: Any, error: Any) -> str:
    """Meaning of an NVML error, with a remedy where there is one."""
    remedies = {
        nvml.NVML_ERROR_LIBRARY_NOT_FOUND: "no libnvidia-ml.so.1 here; install the NVIDIA driver, or start the "
        "container with `docker run --gpus all`",
        nvml.NVML_ERROR_DRIVER_NOT_LOADED: "the driver is not loaded; `nvidia-smi` must work first",
        nvml.NVML_ERROR_NO_PERMISSION: "no permission; the device files /dev/nvidia* must be readable",
        nvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: "driver and library have different versions; reboot or reload",
        nvml.NVML_ERROR_GPU_IS_LOST: "the GPU fell off the bus or was reset",
        nvml.NVML_ERROR_FUNCTION_NOT_FOUND: "the driver is too old for this function",
    }
    remedy = remedies.get(error.value)
    return f"{error}" + (f" ({remedy})" if remedy else "")


class NvmlMeter(Meter):
    """Reads one NVIDIA board.

    Its source is the energy counter where the board has one (Volta and newer), else the power sensor. A MIG instance
    has no sensor of its own: its whole board is read, and the scope says ``board``.

    Args:
        uuid: ``GPU-…`` or ``MIG-…``, as ``nvidia-smi -L`` shows it.

    Raises:
        ValueError: it is no UUID.

    Example:
        >>> NvmlMeter("GPU-8932f937-d72c-4106-c12f-20bd9faed9f6").uuid
        'GPU-8932f937-d72c-4106-c12f-20bd9faed9f6'
    """

    def __init__(self, uuid: str) -> None:
        if not isinstance(uuid, str) or not uuid.startswith(("GPU-", "MIG-")):
            raise ValueError(f"uuid={uuid!r}: give a UUID as `nvidia-smi -L` shows it, GPU-… or MIG-…, not an index")
        self.uuid = uuid
        self._nvml: Any = None
        self._handle: Any = None
        self._pid = 0
        self._has_counter = False
        self._has_instant = False

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_nvml": None, "_handle": None}  # a copy is closed: it may go to another process

    def twin(self) -> NvmlMeter:
        """A closed meter of the same board."""
        return NvmlMeter(self.uuid)

    def open(self) -> MeterInfo:
        """Find the board and its sensors.

        Raises:
            MeterUnavailable: no NVML, no such board, or a board that reports neither energy nor power.
        """
        nvml = _nvml()
        try:
            handle = nvml.nvmlDeviceGetHandleByUUID(self.uuid)
            if self.uuid.startswith("MIG-"):
                handle = nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(handle)
            board, name = nvml.nvmlDeviceGetUUID(handle), nvml.nvmlDeviceGetName(handle)
        except nvml.NVMLError as error:
            raise MeterUnavailable(f"GPU {self.uuid}: {_why(nvml, error)}.") from error
        self._nvml, self._handle, self._pid = nvml, handle, os.getpid()
        self._has_counter = _asked(nvml, nvml.nvmlDeviceGetTotalEnergyConsumption, handle) is not None
        self._has_instant = self._field_w(nvml.NVML_FI_DEV_POWER_INSTANT) is not None
        if not self._has_counter and self._power_w() is None:
            self.close()
            raise MeterUnavailable(f"GPU {name} ({board}): it reports neither energy nor power (Jetson, some vGPUs).")
        scope, note = self._scope()
        return MeterInfo(
            device_id=board,
            name=name,
            quality="measured" if self._has_counter else "integrated",
            scope=scope,
            per_node=scope == "module",
            power_max_w=self._limit_w(),
            calibration_u=NVIDIA_U,
            instant_power=self._has_instant,
            coverage=next((share for model, share in PART_TIME if model in name), None),
            note=note,
        )

    def read(self) -> Reading:
        """Read the counter, or the power where there is none.

        Raises:
            MeterLost: the board does not answer.
        """
        nvml = self._open_nvml()
        start_ns = monotonic_ns()
        try:
            if self._has_counter:
                register_j = nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle) * MW
                return Reading(start_ns, monotonic_ns(), register_j=register_j)
            power_w = self._field_w(nvml.NVML_FI_DEV_POWER_INSTANT) if self._has_instant else None
            if power_w is None:
                power_w = nvml.nvmlDeviceGetPowerUsage(self._handle) * MW
        except nvml.NVMLError as error:
            raise MeterLost(f"GPU {self.uuid}: {_why(nvml, error)}") from error
        return Reading(start_ns, monotonic_ns(), power_w=power_w)

    def read_power_w(self) -> float | None:
        """The instantaneous power in watts where the driver reports it, else ``power.draw``; ``None`` if neither."""
        self._open_nvml()
        return self._power_w()

    def close(self) -> None:
        """Forget the board. NVML stays initialised: a second initialisation is slow, and hangs on some drivers."""
        self._handle = self._nvml = None

    def other_processes(self) -> list[int] | None:
        """Other processes that compute on the board; ``None`` when they are unknown. Slow: not in a loop."""
        nvml = self._open_nvml()
        found = _asked(nvml, nvml.nvmlDeviceGetComputeRunningProcesses, self._handle)
        return None if found is None else sorted({p.pid for p in found} - {os.getpid()})

    def _open_nvml(self) -> Any:
        if self._nvml is None:
            raise MeterError(f"GPU {self.uuid} was read before it was opened: call open() first")
        if os.getpid() != self._pid:
            raise MeterLost(f"GPU {self.uuid}: NVML does not survive a fork; open the meter in this process")
        return self._nvml

    def _power_w(self) -> float | None:
        power_w = self._field_w(self._nvml.NVML_FI_DEV_POWER_INSTANT) if self._has_instant else None
        if power_w is not None:
            return power_w
        power_mw = _asked(self._nvml, self._nvml.nvmlDeviceGetPowerUsage, self._handle)
        return None if power_mw is None else float(power_mw) * MW

    def _field_w(self, field: int, scope: int | None = None) -> float | None:
        """One power field in watts; ``None`` where it is not supported."""
        nvml = self._nvml
        question = [field if scope is None else (field, scope)]
        values = _asked(nvml, nvml.nvmlDeviceGetFieldValues, self._handle, question)
        if values is None or values[0].nvmlReturn != nvml.NVML_SUCCESS:
            return None
        return float(values[0].value.uiVal) * MW

    def _limit_w(self) -> float | None:
        limit_mw = _asked(self._nvml, self._nvml.nvmlDeviceGetEnforcedPowerLimit, self._handle)
        if limit_mw is None:
            return None
        range_mw = _asked(self._nvml, self._nvml.nvmlDeviceGetPowerManagementLimitConstraints, self._handle)
        # the limit may be raised while we look: a plausible power is one below the highest possible limit
        return float(max(limit_mw, range_mw[1] if range_mw else 0)) * MW * ABOVE_LIMIT

    def _scope(self) -> tuple[Scope, str]:
        if self.uuid.startswith("MIG-"):
            return "board", "a MIG instance has no sensor: this is the whole board, all its instances together"
        gpu_w = self._field_w(self._nvml.NVML_FI_DEV_POWER_INSTANT, self._nvml.NVML_POWER_SCOPE_GPU)
        module_w = self._field_w(self._nvml.NVML_FI_DEV_POWER_INSTANT, self._nvml.NVML_POWER_SCOPE_MODULE)
        if module_w is None or (gpu_w is not None and module_w <= gpu_w * (1 + MODULE_MATCH)):
            return self._alone()
        slope_w = self._slope_w()
        # no documentation says whether the counter covers the module: its slope shows it
        if slope_w is not None and (gpu_w is None or abs(slope_w - module_w) < abs(slope_w - gpu_w)):
            return "module", "the counter covers the whole module: GPU, CPU and memory together"
        return self._alone()

    def _alone(self) -> tuple[Scope, str]:
        others = self.other_processes()
        if others:
            return "board", f"shared: {len(others)} other process(es) compute on this board"
        return "gpu", ""

    def _slope_w(self) -> float | None:
        """Mean power in watts by the counter, over a quarter of a second; only asked of boards in a module."""
        if not self._has_counter:
            return None
        try:
            first = self.read()
            time.sleep(SLOPE_S)
            last = self.read()
        except MeterLost:
            return None
        rise_j = (last.register_j or 0.0) - (first.register_j or 0.0)
        return rise_j / ((last.start_ns - first.start_ns) * NS) if rise_j > 0 else None


def _asked(nvml: Any, function: Any, *arguments: Any) -> Any:
    """The answer, or ``None`` where the driver does not give one, or is too old for pynvml's newest version of it."""
    try:
        return function(*arguments)
    except (nvml.NVMLError, getattr(nvml, "NVMLLibraryMismatchError", nvml.NVMLError)):
        return None


@dataclass(frozen=True)
class Gpu:
    """A board of this machine.

    Attributes:
        uuid: its UUID; empty when the board does not answer (it keeps its place in NVML's order).
        name: its model.
        mig: UUIDs of its MIG instances.
    """

    uuid: str
    name: str
    mig: tuple[str, ...] = ()


def list_gpus() -> list[Gpu]:
    """The boards that NVML sees, whatever ``CUDA_VISIBLE_DEVICES`` says.

    Raises:
        MeterUnavailable: there is no NVML here.
    """
    nvml = _nvml()
    return [_gpu(nvml, index) for index in range(_asked(nvml, nvml.nvmlDeviceGetCount) or 0)]


def _gpu(nvml: Any, index: int) -> Gpu:
    handle = _asked(nvml, nvml.nvmlDeviceGetHandleByIndex, index)
    uuid = None if handle is None else _asked(nvml, nvml.nvmlDeviceGetUUID, handle)
    if uuid is None:
        return Gpu("", f"GPU {index}")
    instances = range(_asked(nvml, nvml.nvmlDeviceGetMaxMigDeviceCount, handle) or 0)
    mig = [_mig_uuid(nvml, handle, i) for i in instances]
    name = _asked(nvml, nvml.nvmlDeviceGetName, handle) or "NVIDIA GPU"
    return Gpu(uuid, name, tuple(u for u in mig if u))


def _mig_uuid(nvml: Any, handle: Any, index: int) -> str | None:
    instance = _asked(nvml, nvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, index)
    return None if instance is None else _asked(nvml, nvml.nvmlDeviceGetUUID, instance)


def driver_version() -> str:
    """Version of the NVIDIA driver.

    Raises:
        MeterUnavailable: there is no NVML here.
    """
    nvml = _nvml()
    return str(_asked(nvml, nvml.nvmlSystemGetDriverVersion) or "unknown")


def uuid_of_torch_device(device: torch.device) -> str:
    """UUID of a CUDA device as PyTorch numbers it.

    Args:
        device: a CUDA device; one without an index is the current one.

    Raises:
        MeterUnavailable: its board cannot be determined.
    """
    import torch  # noqa: PLC0415 - meters are read without torch, too

    index = torch.cuda.current_device() if device.index is None else device.index
    uuid = getattr(torch.cuda.get_device_properties(index), "uuid", None)
    if uuid is None:
        # an older torch does not give the UUID: CUDA's order is undone by hand
        return resolve_visible(index, os.environ)
    text = str(uuid)
    return text if text.startswith(("GPU-", "MIG-")) else f"GPU-{text}"


def resolve_visible(index: int, environment: Mapping[str, str]) -> str:
    """UUID of the ``index``-th device that CUDA sees, by ``CUDA_VISIBLE_DEVICES``, without touching CUDA.

    An entry is an index in NVML's order (CUDA's with ``CUDA_DEVICE_ORDER=PCI_BUS_ID``), or the beginning of a UUID of
    a board or MIG instance.

    Args:
        index: CUDA's index.
        environment: the environment that may hold ``CUDA_VISIBLE_DEVICES``.

    Raises:
        MeterUnavailable: there is no such device.
    """
    gpus = list_gpus()
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    entries = [str(i) for i in range(len(gpus))] if visible is None else [e.strip() for e in visible.split(",")]
    entry = entries[index] if 0 <= index < len(entries) else ""
    if entry.isdigit() and int(entry) < len(gpus) and gpus[int(entry)].uuid:
        return gpus[int(entry)].uuid
    known = [uuid for gpu in gpus for uuid in (gpu.uuid, *gpu.mig)]
    matches = [uuid for uuid in known if entry and not entry.isdigit() and uuid.startswith(entry)]
    if len(matches) != 1:
        raise MeterUnavailable(
            f"GPU: cuda:{index} with CUDA_VISIBLE_DEVICES={visible!r} is no board here; "
            f"NVML shows {', '.join(known) or 'none'}."
        )
    return matches[0]


class NvmlSource(Source):
    """NVIDIA's boards."""

    name = "nvml"
    accelerator = "cuda"

    def of(self, device: torch.device) -> Sequence[Meter]:
        """The board that ``device`` is, or is part of.

        Raises:
            MeterUnavailable: it is no CUDA device, or its board cannot be determined.
        """
        if device.type != self.accelerator:
            raise MeterUnavailable(f"the training runs on {device}: train on a GPU, or use meters='auto'")
        return [NvmlMeter(uuid_of_torch_device(device))]

    def survey(self) -> Survey:
        """All boards, whatever ``CUDA_VISIBLE_DEVICES`` says."""
        try:
            version, gpus = driver_version(), list_gpus()
        except MeterUnavailable as error:
            return Survey(absent=[str(error)])
        absent = [
            f"{gpu.name} does not answer (fallen off the bus?); `nvidia-smi` or a reboot may help."
            for gpu in gpus
            if not gpu.uuid
        ]
        if not gpus:
            absent.append(f"GPU: the NVIDIA driver {version} is here, but shows no board.")
        notes = {
            gpu.uuid: f"split into {len(gpu.mig)} MIG instance(s): an instance has no sensor, so a training on one is "
            f"given the whole board's energy, all instances together"
            for gpu in gpus
            if gpu.mig
        }
        meters = [NvmlMeter(gpu.uuid) for gpu in gpus if gpu.uuid]
        return Survey(meters, absent, f"NVIDIA driver {version}", notes)
