"""Accelerators that no meter of this package reads, and what would read them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import torch

__all__ = ["unread"]

OF_THE_USER: Final = "give a Meter that reads it: meters=[meter, 'auto']"
AMD: Final = (
    "GPU: {device} is an AMD GPU (ROCm {version}), whose energy is not measured here. The kernel shows its power "
    "(power1_average or power1_input in /sys/bus/pci/devices/ADDRESS/hwmon/hwmon*, in uW): " + OF_THE_USER + "."
)
UNREAD: Final[dict[str, str]] = {
    "mps": "GPU: the energy of this Apple chip's GPU and memory ({device}) is not measured here. The package "
    "zeus-apple-silicon reads it: " + OF_THE_USER + ".",
    "xpu": "GPU: {device} is an Intel GPU, whose energy is not measured here. The kernel counts that of discrete ones "
    "(energy1_input in /sys/bus/pci/devices/ADDRESS/hwmon/hwmon*, in uJ): " + OF_THE_USER + ".",
    "hpu": "Accelerator: {device} is a Gaudi, whose energy is not measured here. The package pyhlml reads it: "
    + OF_THE_USER
    + ".",
    "xla": "Accelerator: the energy of {device} is not measured: there is no public way to read that of a TPU.",
}
UNKNOWN: Final = (
    "Accelerator: the energy of devices of type {kind!r} ({device}) is not measured here: " + OF_THE_USER + "."
)


def unread(device: torch.device, known: set[str]) -> str:
    """A sentence on a device whose energy is not measured, and on what would read it; empty for any other.

    Args:
        device: the device that is trained on. ROCm's are of type ``cuda``.
        known: types of the devices that sources read.

    Example:
        >>> import torch
        >>> unread(torch.device("cpu"), {"cuda"})
        ''
    """
    import torch  # noqa: PLC0415 - meters are read without torch, too

    version = getattr(torch.version, "hip", None)
    if device.type == "cuda" and version is not None:
        return AMD.format(device=device, version=version)
    if device.type == "cpu" or device.type in known:
        return ""
    return UNREAD.get(device.type, UNKNOWN).format(device=device, kind=device.type)
