"""RAPL: the energy of CPU packages and their memory, as the kernel's powercap tree shows it.

One meter reads one zone. Zones are chosen by their *name*: ``package-N`` and, beneath it, ``dram`` (which lies
outside the package); or ``psys``, which contains both. ``core`` and ``uncore`` are parts of the package, and the
tree ``intel-rapl-mmio`` shows the packages a second time. AMD's packages appear in the same tree. A package of several
dies has a zone for each, ``package-N-die-M``: they may all show one register (AMD Zen 1 and 2) or have one each (Intel
Cascade Lake-AP). Their values tell, not their names.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

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
from lightning_energy.meters.gains import DRAM_U, PACKAGE_U
from lightning_energy.meters.units import NS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import torch

    from lightning_energy.meters.base import Scope

__all__ = ["POWERCAP", "MirroredDies", "RaplMeter", "RaplSource", "explain_rapl", "find_rapl"]

POWERCAP = Path("/sys/class/powercap")
UNREADABLE: Final = "unreadable"
UPDATE_PERIOD_S = 0.001  # Intel SDM vol. 3B, 15.10: the status registers are updated about every millisecond
PACKAGE_MAX_W = 1500.0  # more than any socket draws; used only where the zone gives no limit
PERMISSION = (
    "the kernel lets only root read it (since CVE-2020-8694). `sudo chmod a+r "
    "/sys/class/powercap/*-rapl:*/energy_uj` makes it readable until the next boot, a udev rule for good"
)
# The registers have 32 bits. Their units are powers of 1/2 J (Intel SDM vol. 3B, 15.10.1: 61 uJ or 15.3 uJ), which the
# kernel rounds down to whole nJ: 262,143,328,850 and 65,532,610,987 uJ are what it tells of them.
RANGES_UJ = tuple((2**32 - 1) * (10**9 // 2**n) // 1000 for n in (16, 15, 14))
MIRROR_LAG_S = 0.01  # longest time by which two views of one register differ, beyond the time between their reads
PARTED_S = 1.5  # time for which dies that part are not read: longer than a register bridges, so that it is missing
CALIBRATION_U: dict[Scope, float] = {"package": PACKAGE_U, "dram": DRAM_U, "psys": PACKAGE_U}


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
        self._ranges_uj: Sequence[int] = RANGES_UJ  # one, where the kernel tells it
        self._max_w = PACKAGE_MAX_W
        self._last: tuple[int, int] | None = None  # raw register and when it was read
        self._wrapped_uj = 0

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None}  # a copy is closed: the file is the original's

    def open(self) -> MeterInfo:
        """Open the zone's register.

        Raises:
            MeterUnavailable: it is absent or may not be read.
        """
        try:
            name = _name(self.zone) if self.zone.is_dir() else ""
        except (OSError, ValueError) as error:
            raise MeterUnavailable(f"{self.zone / 'name'}: {_said(error)}") from error
        scope = _scope(name)
        if scope is None:
            raise MeterUnavailable(f"{self.zone}: there is no RAPL zone for a package, DRAM or psys")
        self.close()
        self._last, self._wrapped_uj = None, 0
        path = self.zone / "energy_uj"
        try:
            self._file = os.open(path, os.O_RDONLY)
            raw_uj = self._register_uj()
        except PermissionError as error:
            self.close()
            raise MeterUnavailable(f"{path}: {PERMISSION}") from error
        except (OSError, ValueError) as error:
            self.close()
            raise MeterUnavailable(f"{path}: {_said(error)}") from error
        self._ranges_uj, note = _ranges_uj(self.zone, raw_uj)
        limit_w = _limit_w(self.zone)
        self._max_w = 2.0 * limit_w if limit_w else PACKAGE_MAX_W
        of_dram = "on many machines a model of the memory, not a sensor" if scope == "dram" else ""
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
            note="; ".join(text for text in (of_dram, note) if text),
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
        if self._may_have_wrapped_twice(raw_uj, end_ns):
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

    def is_mirror(self, own: Reading, other: Reading) -> bool:
        """Return true if a reading of this zone and one of another, made together, may be of one register."""
        between_s = (max(own.end_ns, other.end_ns) - min(own.start_ns, other.start_ns)) * NS
        apart_j = abs((own.register_j or 0.0) - (other.register_j or 0.0))
        # one of them may have wrapped since, or before they were opened
        apart_j = min(abs(apart_j - wraps * r * 1e-6) for r in self._ranges_uj for wraps in (0, 1))
        return apart_j <= self._max_w * (between_s + MIRROR_LAG_S)

    def _may_have_wrapped_twice(self, raw_uj: int, now_ns: int) -> bool:
        """Return true after a long stop of the process, when the number of wraps cannot be known."""
        if self._last is None:
            return False
        shortest_uj = min((r for r in self._ranges_uj if r >= max(raw_uj, self._last[0])), default=0)
        return self._max_w * (now_ns - self._last[1]) * NS > shortest_uj * 1e-6

    def _unwrap_uj(self, raw_uj: int, now_ns: int) -> int:
        """Energy of the wraps so far. A fall that is no plausible wrap is a reset, which the curve books as missing."""
        last, self._last = self._last, (raw_uj, now_ns)
        if last is not None and raw_uj < last[0]:
            most_uj = self._max_w * (now_ns - last[1]) * NS * 1e6
            wraps_uj = (r for r in self._ranges_uj if 0 <= raw_uj + r - last[0] <= most_uj)
            self._wrapped_uj += next(wraps_uj, 0)
        return self._wrapped_uj


class MirroredDies(Meter):
    """Reads zones of one package that show one register, and counts it once.

    It goes on to compare them. Should they part (two registers that were alike by chance, soon after the start of a
    machine), each is counted from then on; the time around that is missing, with the reason.

    Args:
        zones: meters of the zones; the first one is counted.
        device_id: identity of the package.
    """

    def __init__(self, zones: Sequence[RaplMeter], device_id: str) -> None:
        self.zones = [*zones]
        self.device_id = device_id
        self._counted: list[RaplMeter] = [*zones[:1]]
        self._before_j = 0.0  # what the registers that are counted now add to, when they began
        self._last_j = 0.0
        self._parted: tuple[int, str] | None = None  # until when, and what is said of it

    def __getstate__(self) -> dict[str, Any]:
        zones = [copy(zone) for zone in self.zones]
        return {**self.__dict__, "zones": zones, "_counted": zones[:1]}  # a copy is closed

    def open(self) -> MeterInfo:
        """Open all zones.

        Raises:
            MeterUnavailable: one of them cannot be read.
        """
        self._counted, self._before_j, self._last_j, self._parted = self.zones[:1], 0.0, 0.0, None
        try:
            infos = [zone.open() for zone in self.zones]
        except MeterUnavailable:
            self.close()
            raise
        names = " and ".join(info.device_id for info in infos)
        note = f"{names} show one register, which counts once"
        return replace(
            infos[0],
            device_id=self.device_id,
            name=infos[0].name.replace(infos[0].device_id, self.device_id),
            note="; ".join(text for text in (infos[0].note, note) if text),
        )

    def read(self) -> Reading:
        """Read all zones, and compare them.

        Raises:
            MeterLost: one cannot be read any more, or they part.
        """
        readings = {zone: zone.read() for zone in self.zones}
        first, now_ns = readings[self._counted[0]], max(r.end_ns for r in readings.values())
        counted = self._distinct(readings)
        if len(counted) > len(self._counted):
            self._part(counted, readings, now_ns)
        if self._parted is not None:
            if now_ns < self._parted[0]:
                raise MeterLost(self._parted[1])
            self._parted = None
        self._last_j = self._before_j + sum(readings[zone].register_j or 0.0 for zone in self._counted)
        end_ns = first.end_ns if len(self._counted) == 1 else now_ns
        return Reading(first.start_ns, end_ns, register_j=self._last_j)

    def close(self) -> None:
        """Close all zones."""
        for zone in self.zones:
            zone.close()

    def _distinct(self, readings: dict[RaplMeter, Reading]) -> list[RaplMeter]:
        """The zones that are counted, and those that are no mirror of one of these."""
        found = [*self._counted]
        for zone in self.zones:
            if zone not in found and not any(other.is_mirror(readings[other], readings[zone]) for other in found):
                found.append(zone)
        return found

    def _part(self, counted: list[RaplMeter], readings: dict[RaplMeter, Reading], now_ns: int) -> None:
        new = ", ".join(_device_id(zone.zone, _name(zone.zone)) for zone in counted if zone not in self._counted)
        self._counted = counted
        self._before_j = self._last_j - sum(readings[zone].register_j or 0.0 for zone in counted)
        text = f"{new} turned out to have another register than the zones beside it: it counts from now on"
        self._parted = now_ns + round(PARTED_S / NS), text


def find_rapl(root: Path | str = POWERCAP) -> list[RaplMeter | MirroredDies]:
    """The zones that together cover the node's CPUs and memory once.

    Packages with their DRAM where there are packages; else psys, whose coverage differs between machines.

    Args:
        root: the powercap folder.
    """
    zones = {zone: _scope_of_zone(zone) for zone in _zones(Path(root))}
    wanted = {"package", "dram"} if "package" in zones.values() or "psys" not in zones.values() else {"psys"}
    groups: dict[str, list[RaplMeter]] = {}
    for zone, scope in zones.items():
        if scope in wanted or scope == UNREADABLE:
            groups.setdefault(_group(zone) if scope == "package" else zone.name, []).append(RaplMeter(zone))
    return [meter for package, group in groups.items() for meter in _merged(package, group)]


def _merged(package: str, zones: list[RaplMeter]) -> Iterable[RaplMeter | MirroredDies]:
    """The meters of a package: one for each of its registers."""
    if len(zones) == 1:
        return zones
    sets: list[list[tuple[RaplMeter, Reading]]] = []
    try:
        for zone in zones:
            zone.open()
        for zone, reading in [(zone, zone.read()) for zone in zones]:
            alike = next((s for s in sets if s[0][0].is_mirror(s[0][1], reading)), None)
            if alike is None:
                sets.append([(zone, reading)])
            else:
                alike.append((zone, reading))
    except MeterError:  # each says so when it is opened
        return zones
    finally:
        for zone in zones:
            zone.close()
    found = [[zone for zone, _ in alike] for alike in sets]
    name_of = {dies[0]: package if len(found) == 1 else _device_id(dies[0].zone, _name(dies[0].zone)) for dies in found}
    return [MirroredDies(dies, name_of[dies[0]]) if len(dies) > 1 else dies[0] for dies in found]


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


def _name(zone: Path) -> str:
    return (zone / "name").read_text(encoding="ascii").strip()


def _scope_of_zone(zone: Path) -> Scope | Literal["unreadable"] | None:
    try:
        return _scope(_name(zone))
    except (OSError, ValueError):
        return UNREADABLE


def _group(zone: Path) -> str:
    """``package-0`` for all dies of that package."""
    return _name(zone).partition("-die-")[0]


def _scope(name: str) -> Scope | None:
    if name.startswith("package"):
        return "package"
    return {"dram": "dram", "psys": "psys"}.get(name)  # type: ignore[return-value]  # literals, by construction


def _device_id(zone: Path, name: str) -> str:
    """``package-0``, ``psys-0``, and ``dram-0`` for the memory of the first socket: every socket has a ``dram``."""
    if name.startswith("package"):
        return name
    return f"{name}-{zone.name.split(':')[1]}"


def _ranges_uj(zone: Path, raw_uj: int) -> tuple[Sequence[int], str]:
    """The range of a zone's register in microjoules, or all that it may have, and the reason."""
    path = zone / "max_energy_range_uj"
    try:
        range_uj = int(path.read_text(encoding="ascii"))
    except (OSError, ValueError) as error:
        problem = f"cannot be read ({_said(error)})"
    else:
        if range_uj > 0 and range_uj >= raw_uj:
            return (range_uj,), ""
        problem = f"says {range_uj} uJ" + (f", less than the register's {raw_uj} uJ" if range_uj > 0 else "")
    return RANGES_UJ, f"{path} {problem}: its wraps are found by the width of its register"


def _said(error: Exception) -> str:
    """The text of an error without the path that it is about."""
    return getattr(error, "strerror", None) or str(error)


def _limit_w(zone: Path) -> float | None:
    """The zone's own power limit in watts; some machines report 0."""
    with suppress(OSError, ValueError):
        return int((zone / "constraint_0_max_power_uw").read_text(encoding="ascii")) * 1e-6 or None
    return None
