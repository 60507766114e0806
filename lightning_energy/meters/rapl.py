"""RAPL: the energy of CPU packages and their memory, as the kernel's powercap tree shows it.

One meter reads one zone. Zones are chosen by their *name*: ``package-N`` and, beneath it, ``dram`` (which lies
outside the package); or ``psys``, which contains both. ``core`` and ``uncore`` are parts of the package, and the
tree ``intel-rapl-mmio`` shows the packages a second time. AMD's packages appear in the same tree.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

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
from lightning_energy.meters.units import NS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from lightning_energy.meters.base import Scope

__all__ = ["POWERCAP", "RaplMeter", "RaplSource", "explain_rapl", "find_rapl"]

POWERCAP = Path("/sys/class/powercap")
UPDATE_PERIOD_S = 0.001  # Intel SDM vol. 3B, 15.10: the status registers are updated about every millisecond
PACKAGE_MAX_W = 1500.0  # more than any socket draws; used only where the zone gives no limit
PERMISSION = (
    "the kernel lets only root read it (since CVE-2020-8694). `sudo chmod a+r "
    "/sys/class/powercap/*-rapl:*/energy_uj` makes it readable until the next boot, a udev rule for good"
)
# relative standard uncertainties (k=1): RAPL follows the voltage regulator on packages, a model on DRAM
# (Desrochers et al., MEMSYS 2016)
CALIBRATION_U: dict[Scope, float] = {"package": 0.05, "dram": 0.15, "psys": 0.05}


class RaplMeter(Meter):
    """Reads one RAPL zone.

    Args:
        zone: its folder, such as ``/sys/class/powercap/intel-rapl:0``.

    Example:
        >>> meter = RaplMeter("/sys/class/powercap/intel-rapl:0")
        >>> meter.zone.name
        'intel-rapl:0'
    """

    def __init__(self, zone: Path | str) -> None:
        self.zone = Path(zone)
        self._file: int | None = None
        self._range_uj = 0
        self._max_w = PACKAGE_MAX_W
        self._last: tuple[int, int] | None = None  # raw register and when it was read
        self._wrapped_uj = 0

    def open(self) -> MeterInfo:
        """Open the zone's register.

        Raises:
            MeterUnavailable: it is absent or may not be read.
        """
        name = _name(self.zone)
        scope = _scope(name)
        if name is None or scope is None:
            raise MeterUnavailable(f"{self.zone}: there is no RAPL zone for a package, DRAM or psys")
        self.close()
        self._last, self._wrapped_uj = None, 0
        path = self.zone / "energy_uj"
        try:
            self._file = os.open(path, os.O_RDONLY)
            self._range_uj = int((self.zone / "max_energy_range_uj").read_text(encoding="ascii"))
            self._register_uj()
        except PermissionError as error:
            self.close()
            raise MeterUnavailable(f"{path}: {PERMISSION}") from error
        except (OSError, ValueError) as error:
            self.close()
            raise MeterUnavailable(f"{path}: {error}") from error
        limit_w = _limit_w(self.zone)
        self._max_w = 2.0 * limit_w if limit_w else PACKAGE_MAX_W
        return MeterInfo(
            device_id=_device_id(self.zone, name),
            name={"package": f"CPU {name}", "dram": "DRAM", "psys": "CPU, DRAM and chipset"}[scope],
            quality="measured",
            scope=scope,
            per_node=True,
            power_max_w=self._max_w,
            update_period_s=UPDATE_PERIOD_S,
            calibration_u=CALIBRATION_U[scope],
            coverage=1.0,
            note="" if scope != "dram" else "on many machines a model of the memory, not a sensor",
        )

    def read(self) -> Reading:
        """Read the register, unwrapped.

        Raises:
            MeterLost: it cannot be read any more.
        """
        if self._file is None:
            raise MeterError(f"{self.zone} was read before it was opened: call open() first")
        start_ns = monotonic_ns()
        try:
            raw_uj = self._register_uj()
        except (OSError, ValueError) as error:
            raise MeterLost(f"{self.zone / 'energy_uj'}: {error}") from error
        end_ns = monotonic_ns()
        if self._may_have_wrapped_twice(end_ns):
            silent_s = (end_ns - self._last[1]) * NS if self._last else 0.0
            self._last = (raw_uj, end_ns)
            raise MeterLost(
                f"{self.zone / 'energy_uj'}: it was not read for {silent_s:.0f} s, and may have wrapped twice"
            )
        register_j = (self._unwrap_uj(raw_uj, end_ns) + raw_uj) * 1e-6
        return Reading(start_ns, end_ns, register_j=register_j)

    def close(self) -> None:
        """Close the register."""
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):
                os.close(file)

    def _register_uj(self) -> int:
        return int(os.pread(self._file or 0, 64, 0))

    def _may_have_wrapped_twice(self, now_ns: int) -> bool:
        """Return true after a long stop of the process, when the number of wraps cannot be known."""
        return self._last is not None and self._max_w * (now_ns - self._last[1]) * NS > self._range_uj * 1e-6

    def _unwrap_uj(self, raw_uj: int, now_ns: int) -> int:
        """Energy of the wraps so far. A fall that is no plausible wrap is a reset, which the curve books as missing."""
        last, self._last = self._last, (raw_uj, now_ns)
        if last is not None and raw_uj < last[0]:
            rise_j = (raw_uj + self._range_uj - last[0]) * 1e-6
            if rise_j <= self._max_w * (now_ns - last[1]) * NS:
                self._wrapped_uj += self._range_uj
        return self._wrapped_uj


def find_rapl(root: Path | str = POWERCAP) -> list[RaplMeter]:
    """The zones that together cover the node's CPUs and memory once.

    Packages with their DRAM where there are packages; else psys, whose coverage differs between machines.

    Args:
        root: the powercap folder.
    """
    zones = {zone: _scope(_name(zone)) for zone in _zones(Path(root))}
    chosen = [z for z, scope in zones.items() if scope in {"package", "dram"}]
    if "package" not in zones.values():
        chosen = [z for z, scope in zones.items() if scope == "psys"] or chosen
    return [RaplMeter(zone) for zone in chosen]


def explain_rapl(root: Path | str = POWERCAP) -> list[str]:
    """Reasons why the CPU's energy cannot be read, with remedies; empty when it can be.

    Args:
        root: the powercap folder.
    """
    root = Path(root)
    if not root.is_dir():
        text = (
            f"CPU: {root} does not exist: this kernel has no powercap (not Linux, or a container that hides it; "
            f"`docker run --privileged -v /sys/class/powercap:/sys/class/powercap:ro` shows it)."
        )
        return [text]
    meters = find_rapl(root)
    if not meters:
        text = (
            f"CPU: {root} has no RAPL zone. In a virtual machine or cloud instance there is none; on a machine of "
            f"your own, `modprobe intel_rapl_common intel_rapl_msr` may bring it."
        )
        return [text]
    reasons = []
    for meter in meters:
        try:
            meter.open()
        except MeterUnavailable as error:
            reasons.append(f"CPU: {error}.")
        finally:
            meter.close()
    return reasons


class RaplSource(Source):
    """The node's CPU packages and their memory.

    Args:
        root: the powercap folder.
    """

    name = "rapl"

    def __init__(self, root: Path | str = POWERCAP) -> None:
        self._root = root

    def of(self, device: torch.device) -> Sequence[Meter]:  # noqa: ARG002 - all devices of a node share its CPUs
        """The zones of this node.

        Raises:
            MeterUnavailable: there are none.
        """
        zones = find_rapl(self._root)
        if not zones:
            raise MeterUnavailable(" ".join(explain_rapl(self._root)))
        return zones

    def survey(self) -> Survey:
        """The zones of this node."""
        zones = find_rapl(self._root)
        return Survey(zones, [] if zones else explain_rapl(self._root))

    def explain(self, error: MeterUnavailable) -> str:
        """The zone's error, as a sentence about the CPU."""
        return f"CPU: {error}."


def _zones(root: Path) -> list[Path]:
    """Zones by name of folder: ``intel-rapl:0`` and its parts ``intel-rapl:0:1``; no mirror in ``…-mmio``."""
    if not root.is_dir():
        return []
    return sorted(z for z in root.iterdir() if re.fullmatch(r"(intel|amd)-rapl:\d+(:\d+)?", z.name))


def _name(zone: Path) -> str | None:
    with suppress(OSError, UnicodeDecodeError):
        return (zone / "name").read_text(encoding="ascii").strip()
    return None


def _scope(name: str | None) -> Scope | None:
    if name is None:
        return None
    if name.startswith("package"):
        return "package"
    return {"dram": "dram", "psys": "psys"}.get(name)  # type: ignore[return-value]  # literals, by construction


def _device_id(zone: Path, name: str) -> str:
    """``package-0``, ``psys-0``, and ``dram-0`` for the memory of the first socket: every socket has a ``dram``."""
    if name.startswith("package"):
        return name
    return f"{name}-{zone.name.split(':')[1]}"


def _limit_w(zone: Path) -> float | None:
    """The zone's own power limit in watts; some machines report 0."""
    with suppress(OSError, ValueError):
        return int((zone / "constraint_0_max_power_uw").read_text(encoding="ascii")) * 1e-6 or None
    return None
