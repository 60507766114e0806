"""A recorded ``/sys/class/powercap`` of a two-socket server, with the other zones of such trees."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

RANGE_UJ = 262_143_328_850

ZONES = {
    "intel-rapl:0": "package-0",
    "intel-rapl:0:0": "core",
    "intel-rapl:0:1": "dram",
    "intel-rapl:1": "package-1",
    "intel-rapl:1:0": "uncore",
    "intel-rapl:1:1": "dram",
    "intel-rapl:2": "psys",
    "intel-rapl-mmio:0": "package-0",
}


def let_move(monkeypatch: pytest.MonkeyPatch, power_w: float = 50.0, still: str = "") -> None:
    """Let every register that is read from now on move with time, but those of zones whose folder has this name."""
    really, start_ns = os.pread, time.monotonic_ns()

    def pread(file: int, n: int, offset: int) -> bytes:
        raw = really(file, n, offset)
        path = Path(f"/proc/self/fd/{file}").readlink()
        if path.name != "energy_uj" or path.parent.name == still:
            return raw
        return b"%d" % (int(raw) + round((time.monotonic_ns() - start_ns) * power_w * 1e-3))

    monkeypatch.setattr(os, "pread", pread)


class Powercap:
    """Such a tree beneath ``root``; the kernel shows zones and their parts side by side."""

    def __init__(self, root: Path, zones: dict[str, str] = ZONES, *, limit_uw: int | None = 205_000_000) -> None:
        self.root = root
        (root / "intel-rapl").mkdir(parents=True)
        for folder, name in zones.items():
            zone = root / folder
            zone.mkdir()
            (zone / "name").write_text(name + "\n")
            (zone / "max_energy_range_uj").write_text(f"{RANGE_UJ}\n")
            (zone / "energy_uj").write_text("1000000\n")
            if limit_uw is not None and name.startswith("package"):
                (zone / "constraint_0_max_power_uw").write_text(f"{limit_uw}\n")

    def set(self, folder: str, energy_uj: int) -> None:
        # in place, as a register changes beneath an open file
        with (self.root / folder / "energy_uj").open("r+") as file:
            file.write(f"{energy_uj}\n")
            file.truncate()
