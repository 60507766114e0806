"""Behaviour of a board's energy counter under a known load: its lateness, and the share of time that it looks at.

Run by benchmarks/gpu.py. *Late*: the board works for a second and rests for a second; the rise of the counter between
the updates around each beginning and end is compared with the time of work, by the device's own events. *Looks*: work
and rest take turns with a period a little longer than an update. A sensor that looks at a quarter of each interval
would see now the one and now the other: the scatter that its figures would have is computed from the times of work.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

import numpy as np
import torch

from lightning_energy.ledger.device_clock import DeviceClock
from lightning_energy.ledger.device_events import CudaEvents
from lightning_energy.meters import NvmlMeter

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

SIZE = 8192
CHUNK, CHUNKS_AHEAD = 3, 3  # pieces of work issued at a time: the device never waits, and the host can look
WIDEST_S = 0.02  # widest distance of the two looks around an update that is used
LOOKS = 0.25  # share of an interval that some boards' sensors are said to look at (arXiv 2312.02741)


def wave(
    device: torch.device, meter: NvmlMeter, piece: Callable[[], object], work_s: float, rest_s: float, rounds: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Updates of the counter as (no sooner than, no later than, joules), and the times of work as (from, until)."""
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


def updates_of(rows: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Times of updates, the rise of the counter until the next, and true where both ends were seen narrowly."""
    narrow = rows[:, 1] - rows[:, 0] < WIDEST_S
    return rows[:, :2].mean(axis=1), np.diff(rows[:, 2]), narrow[1:] & narrow[:-1]


def lateness(rows: NDArray[np.float64], worked: NDArray[np.float64]) -> dict[str, float]:
    """Lateness of the counter, from the intervals with one end of a stretch of work and the powers of the others."""
    time_s, rise_j, is_fine = updates_of(rows)
    interval_s, worked_s = np.diff(time_s), np.diff(worked_before(time_s, worked))
    rest_w = float(np.median((rise_j / interval_s)[is_fine & (worked_s == 0.0)]))
    work_w = float(np.median((rise_j / interval_s)[is_fine & (worked_s > 0.999 * interval_s)]))
    more_s = (rise_j - rest_w * interval_s) / (work_w - rest_w) - worked_s  # seconds of work beyond those there were
    begins, ends = (
        is_fine & ((moments >= time_s[:-1, None]) & (moments < time_s[1:, None])).any(axis=1) for moments in worked.T
    )
    late_ms = np.concatenate([-more_s[begins], more_s[ends]]) * 1e3
    return {
        "rest_w": rest_w,
        "work_w": work_w,
        "ends": len(late_ms),
        "late_ms": float(late_ms.mean()),
        "standard_error_ms": float(late_ms.std(ddof=1) / len(late_ms) ** 0.5),
    }


def looks(rows: NDArray[np.float64], worked: NDArray[np.float64], power_w: float) -> dict[str, float]:
    """Scatter of the power between updates, and that by a sensor that looks at a quarter of each interval.

    ``power_w`` is the power of work beyond that of rest.
    """
    time_s, rise_j, is_fine = updates_of(rows)
    is_fine &= (time_s[:-1] > worked[3, 0]) & (time_s[1:] < worked[-3, 1])
    interval_s = np.diff(time_s)
    seen_w = (rise_j / interval_s)[is_fine]
    scatters_w = []
    for place in np.arange(0.0, 1.0 - LOOKS + 0.01, LOOKS):
        begin_s, end_s = time_s[:-1] + place * interval_s, time_s[:-1] + (place + LOOKS) * interval_s
        share = (worked_before(end_s, worked) - worked_before(begin_s, worked)) / (end_s - begin_s)
        scatters_w.append(power_w * share[is_fine].std())
    share = np.diff(worked_before(time_s, worked)) / interval_s
    return {
        "intervals": int(is_fine.sum()),
        "mean_w": float(seen_w.mean()),
        "scatter_w": float(seen_w.std()),
        "scatter_all_the_time_w": float(power_w * share[is_fine].std()),
        "scatter_a_quarter_of_the_time_w": [float(w) for w in scatters_w],
    }


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
    late = lateness(slow, slow_worked)
    fast, fast_worked = wave(device, meter, piece, 0.55 * period_s, 0.55 * period_s, 40)
    seen = looks(fast, fast_worked, late["work_w"] - late["rest_w"])
    begin_s = slow[0, 0]
    raw = {
        "slow_updates": (slow - [begin_s, begin_s, slow[0, 2]]).round(4).tolist(),
        "slow_worked": (slow_worked - begin_s).round(5).tolist(),
        "fast_updates": (fast - [begin_s, begin_s, fast[0, 2]]).round(4).tolist(),
        "fast_worked": (fast_worked - begin_s).round(5).tolist(),
    }
    found = {"device": info.name, "updates": len(slow), "period_ms": period_s * 1e3, "late": late, "looks": seen}
    return found | {"raw": raw}


def print_counter(found: dict) -> None:
    late, seen = found["late"], found["looks"]
    print(f"counter of {found['device']}: an update every {found['period_ms']:.1f} ms")
    print(f"rest {late['rest_w']:.0f} W, work {late['work_w']:.0f} W")
    print(f"late by {late['late_ms']:.1f} ± {late['standard_error_ms']:.1f} ms, from {late['ends']} ends of work")
    quarter = " to ".join(f"{f(seen['scatter_a_quarter_of_the_time_w']):.0f}" for f in (min, max))
    print(f"work and rest in turns: {seen['mean_w']:.0f} W, between updates it scatters by {seen['scatter_w']:.0f} W")
    print(f"  a sensor that looks all the time: {seen['scatter_all_the_time_w']:.0f} W, a quarter of it: {quarter} W")
