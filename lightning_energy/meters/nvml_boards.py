"""The NVIDIA boards of this machine, and which of them a training runs on.

Devices are found by UUID: NVML ignores ``CUDA_VISIBLE_DEVICES`` and numbers them in another order than CUDA.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lightning_energy.meters.base import MeterUnavailable
from lightning_energy.meters.nvml_library import Answer, ask, library

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

__all__ = [
    "Gpu",
    "driver_version",
    "handle_of",
    "list_gpus",
    "mig_instances",
    "resolve_visible",
    "uuid_of_torch_device",
]


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
        MeterUnavailable: there is no NVML here, or it cannot tell how many boards there are.
    """
    nvml = library()
    count = ask(nvml, nvml.nvmlDeviceGetCount)
    if not count.is_known:
        raise MeterUnavailable(f"GPU: the boards cannot be listed: {count.error}.")
    return [_gpu(nvml, index) for index in range(count.value)]


def _gpu(nvml: Any, index: int) -> Gpu:
    handle = ask(nvml, nvml.nvmlDeviceGetHandleByIndex, index)
    uuid = ask(nvml, nvml.nvmlDeviceGetUUID, handle.value) if handle.is_known else handle
    if not uuid.is_known:
        return Gpu("", f"GPU {index}")
    name = ask(nvml, nvml.nvmlDeviceGetName, handle.value).value or "NVIDIA GPU"
    return Gpu(uuid.value, name, mig_instances(nvml, handle.value).value or ())


def mig_instances(nvml: Any, handle: Any) -> Answer:
    """The UUIDs of a board's MIG instances, as a tuple."""
    most = ask(nvml, nvml.nvmlDeviceGetMaxMigDeviceCount, handle)
    if not most.is_known:
        return most
    found = []
    for index in range(most.value):
        instance = ask(nvml, nvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, index)
        uuid = ask(nvml, nvml.nvmlDeviceGetUUID, instance.value) if instance.is_known else instance
        if uuid.is_known:
            found.append(uuid.value)
        elif uuid.fault and uuid.code != nvml.NVML_ERROR_NOT_FOUND:  # not found: there are fewer than there could be
            return uuid
    return Answer(tuple(found))


def handle_of(nvml: Any, uuid: str) -> Answer:
    """NVML's handle of a board, or of the board of a MIG instance.

    Args:
        nvml: the result of :func:`~lightning_energy.meters.nvml_library.library`.
        uuid: UUID of the board or the instance.
    """
    handle = ask(nvml, nvml.nvmlDeviceGetHandleByUUID, uuid)
    if not uuid.startswith("MIG-"):
        return handle
    if handle.is_known:
        return ask(nvml, nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle, handle.value)
    if handle.code == nvml.NVML_ERROR_NOT_FOUND:  # some drivers find an instance by its board alone
        board = next((gpu.uuid for gpu in list_gpus() if uuid in gpu.mig), None)
        return handle if board is None else ask(nvml, nvml.nvmlDeviceGetHandleByUUID, board)
    return handle


def driver_version() -> str:
    """Version of the NVIDIA driver.

    Raises:
        MeterUnavailable: there is no NVML here.
    """
    nvml = library()
    return str(ask(nvml, nvml.nvmlSystemGetDriverVersion).value or "unknown")


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
    return _with_prefix(str(uuid))


def _with_prefix(uuid: str) -> str:
    """UUID as NVML writes it, of one that torch gives without the prefix: a board's, or a MIG instance's."""
    if uuid.startswith(("GPU-", "MIG-")):
        return uuid
    with suppress(MeterUnavailable):  # said when the meter is opened
        if any(f"MIG-{uuid}" in gpu.mig for gpu in list_gpus()):
            return f"MIG-{uuid}"
    return f"GPU-{uuid}"


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
