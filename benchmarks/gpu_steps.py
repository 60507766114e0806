"""Errors of the joules of single steps on a real board: EnergyCallback, and Zeus's windows per step.

Run by benchmarks/gpu.py. Steps of two kinds: passes over memory, which draw most of what the board may, and sums that
few threads take, which draw little more than rest. The energy of one step of a kind is known beforehand: the board's
power while it does nothing else for seconds (its counter, read by hand at its own updates) times a step's duration.
Then a Trainer mixes them: in blocks longer than an update of the counter, and in turns, shorter than one, where no tool
can tell them apart and an honest one says so by its uncertainty.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import lightning as L
import numpy as np
import pandas as pd
import torch

from benchmarks.rivals import ZeusSteps
from benchmarks.training import bare_trainer, batches, wait
from lightning_energy import EnergyCallback
from lightning_energy.meters import NvmlMeter

if TYPE_CHECKING:
    from collections.abc import Callable

STEP_S = 0.02
AHEAD = 2  # steps in the queue, so that the device never waits
WARM = round(1.0 / STEP_S)  # steps of the first second, in which the board warms: left out
BLOCKS = (1, 25)  # steps of a kind in a row: 20 ms and 500 ms


@dataclass
class Kind:
    """One kind of step.

    Attributes:
        name: of the work.
        piece: a piece of it.
        times: pieces per step.
        power_w: of the board while it does nothing else.
        step_s: seconds on the device.
    """

    name: str
    piece: Callable[[], object]
    times: int = 1
    power_w: float = 0.0
    step_s: float = 0.0

    def step(self) -> None:
        for _ in range(self.times):
            self.piece()


def kinds(device: torch.device, *, small: bool) -> list[Kind]:
    long, rows = (1 << 10, 8) if small else (1 << 28, 20_000)
    v, w = torch.randn(long, device=device), torch.randn(rows, 32, device=device)
    sums = torch.empty_like(w)
    made = [
        Kind("passes over memory", lambda: v.mul_(0.999)),
        Kind("sums by few threads", lambda: torch.cumsum(w, 0, out=sums)),
    ]
    for kind in made:
        kind.step()
        wait(device)
        start_s = time.perf_counter()
        kind.times = 10
        kind.step()
        wait(device)
        kind.times = max(round(STEP_S / ((time.perf_counter() - start_s) / 10)), 1)
    return made


def steady(kind: Kind, meter: NvmlMeter, device: torch.device, seconds: float) -> tuple[float, float]:
    """Watts, from the first to the last update of the counter seen after a second; seconds per step, by the device."""
    seen: list[tuple[float, float]] = []
    ends: list[torch.cuda.Event] = []
    warm_s = time.perf_counter() + min(1.0, seconds / 3)
    while time.perf_counter() < warm_s + seconds:
        if device.type == "cuda":
            kind.step()
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            ends.append(event)
            while len(ends) > AHEAD and not ends[-1 - AHEAD].query():
                look(meter, seen, warm_s)
        else:
            kind.step()
        look(meter, seen, warm_s)
    wait(device)
    changes = [b for a, b in pairwise(seen) if b[1] != a[1]]
    power_w = (changes[-1][1] - changes[0][1]) / (changes[-1][0] - changes[0][0])
    if device.type != "cuda":
        return power_w, STEP_S
    warm = len(ends) // 3
    return power_w, ends[warm].elapsed_time(ends[-1]) * 1e-3 / (len(ends) - 1 - warm)


def look(meter: NvmlMeter, seen: list[tuple[float, float]], from_s: float) -> None:
    reading = meter.read()
    if time.perf_counter() >= from_s:
        seen.append((reading.start_ns * 1e-9, reading.register_j or 0.0))


class Mixed(L.LightningModule):
    """Steps of the two kinds, ``block`` of one, then as many of the other."""

    def __init__(self, made: list[Kind], block: int) -> None:
        super().__init__()
        self.made, self.block = made, block
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch, batch_idx):
        self.made[batch_idx // self.block % 2].step()
        return (self.weight * batch[0].sum()).mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


class ByHand(L.Callback):
    """Waits for an update of the counter before other callbacks are set up, or after they are torn down."""

    def __init__(self, meter: NvmlMeter) -> None:
        self.meter, self.register_j, self.time_s = meter, 0.0, 0.0

    def look(self) -> None:
        first, start_s = self.meter.read().register_j, time.perf_counter()
        while (new := self.meter.read().register_j) == first and time.perf_counter() - start_s < 1.0:
            pass
        self.register_j, self.time_s = new or 0.0, time.perf_counter()


class Before(ByHand):
    def setup(self, trainer, pl_module, stage) -> None:
        self.look()


class After(ByHand):
    def teardown(self, trainer, pl_module, stage) -> None:
        self.look()


def fit(module: Mixed, callbacks: list[L.Callback], device: torch.device, steps: int, folder: str) -> None:
    # callbacks are set up, and torn down, in this order
    bare_trainer(folder, callbacks, device, max_epochs=1, logger=False).fit(module, batches(steps))


def check_steps(device: torch.device, uuid: str, *, steps: int = 600, seconds: float = 3.0, zeus: bool = True) -> dict:
    """Truth per kind, and the figures of each tool for steps of each kind, per length of a block."""
    small = device.type != "cuda"
    made = kinds(device, small=small)
    meter = NvmlMeter(uuid)
    meter.open()
    before = [steady(kind, meter, device, seconds) for kind in made]
    rows, totals = [], []
    for block in BLOCKS:
        module = Mixed(made, block)
        which = np.arange(steps) // block % 2
        with tempfile.TemporaryDirectory() as folder:
            energy = EnergyCallback(meters=NvmlMeter(uuid), print_report=False, record=folder, trace="csv")
            first, last = Before(meter), After(meter)
            fit(module, [first, energy, last], device, steps, folder)
            table = pd.read_csv(next(Path(folder).glob("*.steps.csv.gz")))
            curve = pd.read_csv(next(Path(folder).glob("*.curve.csv.gz")))
        told = table[(table.stage == "train") & (table.kind == "step")]
        rows.append((block, "EnergyCallback", which, told.energy_j.to_numpy(), told.u_j.to_numpy()))
        duration_s = told.duration_s.to_numpy()
        run = energy.report.session
        totals.append(
            {
                "block": block,
                "tool": "EnergyCallback",
                "energy_j": run.energy_j,
                "u_j": run.u_j,
                "missing_s": run.missing_s,
                "counter_by_hand_j": last.register_j - first.register_j,
                "by_hand_s": last.time_s - first.time_s,  # longer: the callback opens the board, and waits at its end
                "duration_s": run.duration_s,
                "median_step_ms": [float(np.median(duration_s[which == i])) * 1e3 for i in (0, 1)],
                "knots_s_j_half_s": curve[["time_s", "energy_j", "half_width_s"]].round(4).to_numpy().tolist(),
                "steps_s_j_u": told[["start_s", "energy_j", "u_j"]].round(4).to_numpy().tolist(),
                "report": energy.report.details().splitlines(),
            }
        )
        if zeus:
            rival = ZeusSteps(device.index or 0, sync=not small)
            with tempfile.TemporaryDirectory() as folder:
                fit(module, [rival], device, steps, folder)
            joules = np.array([j for _, _, j in rival.reported.steps])
            rows.append((block, "Zeus steps", which, joules, np.full(steps, np.nan)))
    after = [steady(kind, meter, device, seconds) for kind in made]
    truth = []
    for kind, first, second in zip(made, before, after, strict=True):
        kind.power_w, kind.step_s = (first[0] + second[0]) / 2, (first[1] + second[1]) / 2
        truth.append({"kind": kind.name, "times": kind.times, "step_ms": kind.step_s * 1e3, "power_w": kind.power_w})
        truth[-1] |= {"power_before_after_w": [first[0], second[0]], "step_j": kind.power_w * kind.step_s}
    found = [row(made, i, *of) for of in rows for i in range(len(made))]
    result = {"truth": truth, "steps": found, "totals": totals}
    ours = (r for r in found if r["tool"] == "EnergyCallback")
    for r, limit in zip(ours, limits(result), strict=True):
        r["rms_error_of_a_perfect_curve"] = limit
    return result


def row(
    made: list[Kind], i: int, block: int, tool: str, which: np.ndarray, told_j: np.ndarray, u_j: np.ndarray
) -> dict:
    """Figures of a tool for the steps of one kind, and their errors."""
    true_j = made[i].power_w * made[i].step_s
    mine = (which == i) & (np.arange(len(which)) >= WARM)
    error = told_j[mine] - true_j
    return {
        "block": block,
        "tool": tool,
        "kind": made[i].name,
        "steps": int(mine.sum()),
        "true_j": true_j,
        "mean_j": float(told_j[mine].mean()),
        "rms_error": float(np.sqrt((error**2).mean()) / true_j),
        "median_abs_error": float(np.median(np.abs(error)) / true_j),
        "median_u": float(np.median(u_j[mine]) / true_j),
        "within_2u": float((np.abs(error) <= 2 * u_j[mine]).mean()) if not np.isnan(u_j[mine]).any() else None,
    }


def limits(found: dict) -> list[float]:
    """Per row of ``found["steps"]`` that is ours: the rms error of a curve with a perfect knot at every update.

    Between two knots even such a curve is straight, and a step that ends in between has a share of its neighbours'
    energy. The mean over where the updates may have been.
    """
    errors = []
    step_j = np.array([t["step_j"] for t in found["truth"]])
    for total in found["totals"]:
        start_s = np.array(total["steps_s_j_u"])[:, 0]
        knots_s = np.array(total["knots_s_j_half_s"])[:, 0]
        period_s = float(np.median(np.diff(knots_s)))
        which = np.arange(len(start_s)) // total["block"] % 2
        true_j = np.concatenate([[0.0], np.cumsum(step_j[which])])
        ends_s = np.append(start_s, start_s[-1] + np.median(np.diff(start_s)))
        square = np.zeros(len(start_s))
        for phase in np.arange(0.0, 1.0, 0.05):
            updates_s = np.arange(ends_s[0] - (1.0 - phase) * period_s, ends_s[-1] + period_s, period_s)
            told_j = np.diff(np.interp(ends_s, updates_s, np.interp(updates_s, ends_s, true_j)))
            square += 0.05 * (told_j - step_j[which]) ** 2
        late = np.arange(len(start_s)) >= WARM
        errors += [float(np.sqrt(square[late & (which == i)].mean()) / step_j[i]) for i in (0, 1)]
    return errors


def print_steps(found: dict) -> None:
    for t in found["truth"]:
        print(f"{t['kind']}: {t['power_w']:.1f} W x {t['step_ms']:.3f} ms = {t['step_j']:.3f} J per step")
    heads = f"{'true J':>8}{'mean J':>8}{'rms %':>8}{'limit %':>9}{'u %':>8}{'within 2u':>11}"
    print(f"{'in a row':<10}{'tool':<16}{'kind':<20}{heads}")
    for r in found["steps"]:
        inside = "" if r["within_2u"] is None else f"{r['within_2u']:.1%}"
        limit = r.get("rms_error_of_a_perfect_curve")
        limit = "" if limit is None else f"{100 * limit:.1f}"
        u = "" if np.isnan(r["median_u"]) else f"{100 * r['median_u']:.1f}"
        print(
            f"{r['block']:<10}{r['tool']:<16}{r['kind']:<20}{r['true_j']:>8.3f}{r['mean_j']:>8.3f}"
            f"{100 * r['rms_error']:>8.1f}{limit:>9}{u:>8}{inside:>11}"
        )
    for t in found["totals"]:
        print(
            f"total, {t['block']} in a row: {t['energy_j']:.1f}±{t['u_j']:.1f} J in {t['duration_s']:.2f} s; "
            f"the counter by hand: {t['counter_by_hand_j']:.1f} J in {t['by_hand_s']:.2f} s"
        )
