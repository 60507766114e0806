"""The idle power of the devices, in a process that has a CUDA context as a training has, and does nothing."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

from lightning_energy.meters.find import SOURCES, open_meters
from lightning_energy.study.child import MODULE
from lightning_energy.study.manifest import Idle

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_energy.meters.base import Meter
    from lightning_energy.meters.find import MeterName

__all__ = ["main", "measure_idle"]

IDLE_S = 10.0
STARTS_S = 120.0  # longest time that such a process takes to start


def measure_idle(seconds: float = IDLE_S) -> list[Idle]:
    """Watch the idle devices of this machine in a process of its own; nothing where no sensor can be read.

    Args:
        seconds: the time to watch them.
    """
    if not seconds or not any(source.survey().meters for source in SOURCES):
        return []
    command = [sys.executable, "-m", MODULE, "idle", str(seconds)]
    try:
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds + STARTS_S)  # noqa: S603 - our own
        return [Idle(**row) for row in json.loads(done.stdout.splitlines()[-1])]
    except (subprocess.SubprocessError, OSError, ValueError, IndexError):
        return []


def main(seconds: float, meters: Sequence[MeterName | Meter] = ("auto",)) -> list[Idle]:
    """Watch the devices that a training here would be measured on: the first GPU where there is one, and the node.

    Args:
        seconds: the time to watch them.
        meters: the meters, as for :class:`~lightning_energy.EnergyCallback`.
    """
    import torch  # noqa: PLC0415 - here, the watching process

    from lightning_energy.ledger.session import Session  # noqa: PLC0415 - loads torch
    from lightning_energy.results.summary import devices_of  # noqa: PLC0415 - same

    device = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    torch.zeros(1, device=device)
    session = Session(open_meters(meters, device=device))
    try:
        session.mark(session.code(-1, "train", "gap"))
        threading.Event().wait(seconds)
        session.finish()
        devices = devices_of(session, session.totals())
    finally:
        session.close()
    return [
        Idle(d.device_id, d.name, d.energy.power_w, d.energy.duration_s)
        for d in devices
        if d.energy.quality != "estimated"
    ]
