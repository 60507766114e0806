"""What a board's energy counter counts, seen from a known load: how late it is, and whether it looks all the time.

Run by benchmarks/gpu.py. *Late*: the board works for a second and rests for a second; the joules at the counter's
updates are compared with when the device worked, by its own events, for every supposed delay. *Looks*: work and rest
take turns with a period a little longer than an update; a sensor that looks at a part of the time only sees now the
one and now the other, and the power between two updates scatters.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import torch

from lightning_energy.clock import CudaEvents, DeviceClock
from lightning_energy.meters import NvmlMeter

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

SIZE = 8192
DELAYS_S = np.arange(-0.05, 0.3, 0.0005)


def wave(
    device: torch.device, meter: NvmlMeter, piece: Callable[[], object], pieces: int, rest_s: float, rounds: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Updates of the counter as (seconds, joules), and when the device worked as (from, until) in seconds."""
    clock = DeviceClock(CudaEvents(device), ring=4 * rounds)
    time.sleep(1.1)
    clock.anchor()  # the second one shows the drift
    tokens, updates = [], []
    before = meter.read()

    def look() -> None:
        nonlocal before
        now = meter.read()
        if now.register_j != before.register_j:
            updates.append(((before.start_ns + now.end_ns) / 2 * 1e-9, now.register_j))
        before = now

    for _ in range(rounds):
        tokens.append(clock.stamp(time.monotonic_ns()))
        for _ in range(pieces):
            piece()
        tokens.append(clock.stamp(time.monotonic_ns()))
        while not tokens[-1].event.query():
            look()
        end_s = time.monotonic() + rest_s
        while time.monotonic() < end_s:
            look()
    worked = np.array([clock.resolve(t) for t in tokens], dtype=float).reshape(-1, 2) * 1e-9
    return np.array(updates), worked


def worked_before(t_s: NDArray[np.float64], worked: NDArray[np.float64]) -> NDArray[np.float64]:
    """Seconds of work until each moment."""
    begin, end = worked[:, 0], worked[:, 1]
    return np.clip(t_s[:, None], begin, end).sum(axis=1) - begin.sum()


def fit_delay(updates: NDArray[np.float64], worked: NDArray[np.float64]) -> dict[str, float]:
    """The delay at which idle power and work's power explain the updates best."""
    t_s, joules = updates[:, 0], updates[:, 1] - updates[0, 1]
    best: dict[str, float] = {}
    for delay_s in DELAYS_S:
        columns = np.stack([np.ones_like(t_s), t_s - t_s[0], worked_before(t_s - delay_s, worked)], axis=1)
        found, *_ = np.linalg.lstsq(columns, joules, rcond=None)
        rms_j = float(np.sqrt(np.mean((columns @ found - joules) ** 2)))
        if not best or rms_j < best["rms_j"]:
            best = {"delay_ms": delay_s * 1e3, "rms_j": rms_j, "rest_w": found[1], "work_w": found[1] + found[2]}
    return {name: float(value) for name, value in best.items()}


def check_counter(device: torch.device, uuid: str) -> dict:
    meter = NvmlMeter(uuid)
    info = meter.open()
    x = torch.randn(SIZE, SIZE, device=device, dtype=torch.bfloat16)
    y = torch.empty_like(x)

    def piece() -> None:
        torch.matmul(x, x, out=y)

    for _ in range(200):
        piece()
    torch.cuda.synchronize(device)
    start_s = time.perf_counter()
    for _ in range(200):
        piece()
    torch.cuda.synchronize(device)
    piece_s = (time.perf_counter() - start_s) / 200
    updates, worked = wave(device, meter, piece, round(1.0 / piece_s), 1.0, 4)
    gaps_s = np.diff(updates[:, 0])
    result = {"device": info.name, "updates": len(updates), "period_ms": float(np.median(gaps_s)) * 1e3}
    result["late"] = fit_delay(updates, worked)
    half_s = 0.55 * float(np.median(gaps_s))
    fast, worked = wave(device, meter, piece, round(half_s / piece_s), half_s, 40)
    power_w = np.diff(fast[:, 1]) / np.diff(fast[:, 0])
    share = np.diff(worked_before(fast[:, 0] - result["late"]["delay_ms"] * 1e-3, worked)) / np.diff(fast[:, 0])
    inside = slice(5, -5)
    expected_w = result["late"]["rest_w"] + (result["late"]["work_w"] - result["late"]["rest_w"]) * share
    result["looks"] = {
        "intervals": len(power_w[inside]),
        "mean_w": float(power_w[inside].mean()),
        "scatter_w": float(power_w[inside].std()),
        "expected_scatter_w": float(expected_w[inside].std()),
        "correlation": float(np.corrcoef(power_w[inside], expected_w[inside])[0, 1]),
    }
    result["raw"] = {
        "slow_s_j": (updates - updates[0]).round(5).tolist(),
        "fast_s_w_expected": np.stack([fast[1:, 0] - fast[0, 0], power_w, expected_w], axis=1).round(4).tolist(),
    }
    return result


def print_counter(found: dict) -> None:
    late, looks = found["late"], found["looks"]
    print(f"counter of {found['device']}: an update every {found['period_ms']:.1f} ms")
    print(
        f"late by {late['delay_ms']:.1f} ms (rms of what is left {late['rms_j']:.2f} J; "
        f"rest {late['rest_w']:.0f} W, work {late['work_w']:.0f} W)"
    )
    print(
        f"work and rest in turns: {looks['mean_w']:.0f} W, scatter {looks['scatter_w']:.0f} W between updates; "
        f"a sensor that looks all the time would give {looks['expected_scatter_w']:.0f} W"
    )
