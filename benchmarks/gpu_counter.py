"""What a board's energy counter counts, seen from a known load: how late it is, and whether it looks all the time.

Run by benchmarks/gpu.py. *Late*: the board works for a second and rests for a second; the joules at the counter's
updates are compared with when the device worked, by its own events, for every supposed delay and length of a moving
mean. *Looks*: work and rest take turns with a period a little longer than an update; a sensor that looks at a part of
the time only sees now the one and now the other, and the power between two updates scatters.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

import numpy as np
import torch

from lightning_energy.clock import CudaEvents, DeviceClock
from lightning_energy.meters import NvmlMeter

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

SIZE = 8192
CHUNK, CHUNKS_AHEAD = 3, 3  # pieces of work issued at a time: the device never waits, and the host can look
WIDEST_S = 0.02  # an update seen between two looks further apart tells little
EARLY_S = 0.15  # of each stretch of work: a board may draw more until it is throttled
DELAYS_S = np.arange(-0.05, 0.2, 0.002)
MEANS_S = np.arange(0.0, 0.21, 0.01)


def wave(
    device: torch.device, meter: NvmlMeter, piece: Callable[[], object], work_s: float, rest_s: float, rounds: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Updates of the counter as (no sooner than, no later than, joules), and when the device worked (from, until)."""
    clock = DeviceClock(CudaEvents(device), ring=4 * rounds)
    time.sleep(1.1)
    clock.anchor()  # the second one shows the drift
    tokens, updates = [], []
    before = meter.read()

    def look() -> None:
        nonlocal before
        now = meter.read()
        if now.register_j != before.register_j:
            updates.append((before.start_ns * 1e-9, now.end_ns * 1e-9, now.register_j))
        before = now

    for _ in range(rounds):
        tokens.append(clock.stamp(time.monotonic_ns()))
        end_s = time.monotonic() + work_s
        ahead: deque[torch.cuda.Event] = deque()
        while time.monotonic() < end_s:
            while ahead and ahead[0].query():
                ahead.popleft()
            if len(ahead) < CHUNKS_AHEAD:
                for _ in range(CHUNK):
                    piece()
                ahead.append(torch.cuda.Event())
                ahead[-1].record()
            else:
                look()
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


def smoothed(t_s: NDArray[np.float64], worked: NDArray[np.float64], mean_s: float) -> NDArray[np.float64]:
    """The same, as a moving mean over the last ``mean_s`` shows it."""
    if not mean_s:
        return worked_before(t_s, worked)
    return np.mean([worked_before(t_s - s, worked) for s in np.linspace(0.0, mean_s, 9)], axis=0)


def fit_delay(updates: NDArray[np.float64], worked: NDArray[np.float64]) -> dict[str, float]:
    """The delay, and length of a moving mean, with which powers of rest and work explain the updates best."""
    updates = updates[updates[:, 1] - updates[:, 0] < WIDEST_S]
    t_s, joules = updates[:, :2].mean(axis=1), updates[:, 2] - updates[0, 2]
    early = np.stack([worked[:, 0], np.minimum(worked[:, 1], worked[:, 0] + EARLY_S)], axis=1)
    best: dict[str, float] = {}
    for delay_s in DELAYS_S:
        for mean_s in MEANS_S:
            parts = [smoothed(t_s - delay_s, w, mean_s) for w in (worked, early)]
            columns = np.stack([np.ones_like(t_s), t_s - t_s[0], *parts], axis=1)
            found, *_ = np.linalg.lstsq(columns, joules, rcond=None)
            rms_j = float(np.sqrt(np.mean((columns @ found - joules) ** 2)))
            if not best or rms_j < best["rms_j"]:
                best = {"delay_ms": delay_s * 1e3, "mean_over_ms": mean_s * 1e3, "rms_j": rms_j}
                best |= {"rest_w": found[1], "work_w": found[1] + found[2], "early_w": found[1:].sum()}
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
    slow, slow_worked = wave(device, meter, piece, 1.0, 1.0, 5)
    period_s = float(np.median(np.diff(slow[:, :2].mean(axis=1))))
    late = fit_delay(slow, slow_worked)
    fast, fast_worked = wave(device, meter, piece, 0.55 * period_s, 0.55 * period_s, 40)
    t_s = fast[:, :2].mean(axis=1)
    power_w = np.diff(fast[:, 2]) / np.diff(t_s)
    share = np.diff(smoothed(t_s - late["delay_ms"] * 1e-3, fast_worked, late["mean_over_ms"] * 1e-3)) / np.diff(t_s)
    fine = (fast[:, 1] - fast[:, 0] < WIDEST_S) & (t_s > t_s[0] + 0.5) & (t_s < t_s[-1] - 0.5)
    fine = fine[1:] & fine[:-1]
    slope_w, rest_w = np.polyfit(share[fine], power_w[fine], 1)
    looks = {
        "intervals": int(fine.sum()),
        "mean_w": float(power_w[fine].mean()),
        "scatter_w": float(power_w[fine].std()),
        "scatter_of_share": float(share[fine].std()),
        "scatter_that_the_share_explains_w": float(abs(slope_w) * share[fine].std()),
        "work_less_rest_w": float(slope_w),
        "rest_w": float(rest_w),
        "correlation": float(np.corrcoef(power_w[fine], share[fine])[0, 1]),
    }
    begin_s = slow[0, 0]
    raw = {
        "slow_updates": (slow - [begin_s, begin_s, slow[0, 2]]).round(4).tolist(),
        "slow_worked": (slow_worked - begin_s).round(5).tolist(),
        "fast_updates": (fast - [begin_s, begin_s, fast[0, 2]]).round(4).tolist(),
        "fast_worked": (fast_worked - begin_s).round(5).tolist(),
    }
    return {"device": info.name, "updates": len(slow), "period_ms": period_s * 1e3, "late": late, "looks": looks} | {
        "raw": raw
    }


def print_counter(found: dict) -> None:
    late, looks = found["late"], found["looks"]
    print(f"counter of {found['device']}: an update every {found['period_ms']:.1f} ms")
    print(
        f"late by {late['delay_ms']:.0f} ms, as a mean over {late['mean_over_ms']:.0f} ms; left: {late['rms_j']:.2f} J"
    )
    print(f"rest {late['rest_w']:.0f} W, work {late['work_w']:.0f} W, at first {late['early_w']:.0f} W")
    print(
        f"work and rest in turns: {looks['mean_w']:.0f} W, scatter {looks['scatter_w']:.0f} W between updates, of which"
    )
    explained_w, r = looks["scatter_that_the_share_explains_w"], looks["correlation"]
    print(f"{explained_w:.0f} W by the share of work (correlation {r:.2f})")
