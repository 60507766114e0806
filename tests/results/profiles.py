"""Profiles of PyTorch and runs of their time, of which nobody trained any."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lightning_energy.curves.power_series import PowerSeries
from lightning_energy.meters.clock import Anchor
from tests.records import record

if TYPE_CHECKING:
    from lightning_energy.results.record import Record

S = 10**9
DAY = 1_700_000_000 * S
BASE = DAY - 1000 * S
MONOTONIC = 5000 * S


def series(*mean_w: float | None, known: tuple[tuple[int, float], ...] = (), at_s: int = 0) -> PowerSeries:
    """Bins of a second from 2 s after the session began at 10 s of the day, or later by ``at_s``."""
    clock = tuple(Anchor(MONOTONIC + (at_s + s) * S, DAY + (10 + at_s + s) * S) for s in (0, 9))
    return PowerSeries(MONOTONIC + (2 + at_s) * S, 1.0, mean_w, known, clock)


def run_of(*power: PowerSeries | None, **more: Any) -> Record:
    made = record(scopes=("gpu",) * len(power), **more)
    pairs = enumerate(zip(made.devices, power, strict=True))
    devices = [replace(device, device_id=f"GPU-{i}", power=p) for i, (device, p) in pairs]
    return replace(made, devices=devices)


def profile_of(start_s: float, end_s: float, **more: Any) -> dict[str, Any]:
    """A profile of a kernel, in seconds of the day as in :func:`series`."""
    times = {"ts": (1000 + start_s) * 1e6, "dur": (end_s - start_s) * 1e6}
    event = {"ph": "X", "name": "kernel", "pid": 0, "tid": 7, **times}
    return {"schemaVersion": 1, "baseTimeNanoseconds": BASE, "traceEvents": [event], **more}


def counters(document: dict[str, Any], name: str = "NVIDIA A100 power") -> list[tuple[float, float]]:
    """Seconds of the day, and watts."""
    events = [e for e in document["traceEvents"] if e["ph"] == "C" and e["name"] == name]
    return [(round(e["ts"] / 1e6 - 1000, 6), e["args"]["W"]) for e in events]
