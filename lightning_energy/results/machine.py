"""The hardware and software that figures come from."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_energy._version import __version__
from lightning_energy.meters.base import MeterError
from lightning_energy.meters.nvml_boards import driver_version

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lightning_energy.results.figures import Figures

__all__ = ["Machine", "describe_machine"]

PACKAGES = ("torch", "lightning", "pytorch-lightning", "torchmetrics", "nvidia-ml-py")


@dataclass(frozen=True)
class Machine:
    """A machine, without names of hosts or users.

    Attributes:
        system: operating system and its release.
        machine: the processor's architecture.
        cpu: the processor's name.
        cpu_threads: its threads; ``None`` unknown.
        nvidia_driver: the driver's version; ``None`` without one.
        versions: versions of Python and of packages, by name.
    """

    system: str
    machine: str
    cpu: str
    cpu_threads: int | None
    nvidia_driver: str | None
    versions: Mapping[str, str]

    def to_plain(self) -> dict[str, Any]:
        """The same in plain types."""
        return asdict(self)


def describe_machine(figures: Figures) -> Machine:
    """This machine, as far as it matters for the figures of a run."""
    driver = None
    if any(d.scope in {"gpu", "board", "module"} for d in figures.devices):
        with suppress(MeterError):
            driver = driver_version()
    versions = {"lightning-energy": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return Machine(
        system=f"{platform.system()} {platform.release()}",
        machine=platform.machine(),
        cpu=_cpu_name(),
        cpu_threads=os.cpu_count(),
        nvidia_driver=driver,
        versions=versions,
    )


def _cpu_name() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"
