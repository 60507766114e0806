"""Cost of phases to a training step: EnergyCallback with phases beside itself without, in turns.

    python benchmarks/phases_cost.py                 # prints the table, about ten minutes
    python benchmarks/phases_cost.py --json FILE     # and writes it
    python benchmarks/phases_cost.py --quick         # a first look

Run from the repository's root, with the test extra installed. A simulated GPU stands beneath the real pynvml; its
counter moves every 100 ms. One training takes turns with itself: ten steps are divided into phases, ten are not, and so
on. What a machine's moods change is in both.

Phases wrap all that a Trainer tells its profiler, so that their cost is not in our hooks alone. What counts is all CPU
time of the training thread from the beginning of a step to that of the next, and the time that passed; of both what the
work within `training_step` took, which is timed apart, is left out. Divided steps are compared with the others, at the
median and, as other programs only ever add, at the lowest tenth; intervals of 95 % are from resampled turns. With
Lightning's default profiler, which does nothing, and with its SimpleProfiler, whose own time is in both.

Then longer trainings show the CPU time of all other threads, and of the training thread at the end of an epoch, with
phases and without.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import platform
import sys
import tempfile
import time
import warnings
from datetime import datetime, timezone
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import lightning as L
import numpy as np
import torch
from lightning.pytorch.profilers import SimpleProfiler

from benchmarks.overhead_run import UUID, Work, calibrate
from benchmarks.sharing import rounded
from benchmarks.training import bare_trainer, batches
from lightning_energy import EnergyCallback, __version__
from lightning_energy.meters import NvmlMeter
from tests.sim.nvml import SimulatedGpu, SimulatedNvml

AT_MOST_US = 5.0
STEPS = {"none": (0.0, 12_000), "2 ms": (0.002, 6_000), "10 ms": (0.01, 2_000)}  # seconds of work, steps
LOWEST = 0.1  # quantile that other programs change least
BACKGROUND_S = 0.01
EPOCHS = ((0.002, 43, 24), (0.02, 100, 10))  # seconds of work in a step, steps of an epoch, epochs
PROFILERS = ("none", "simple")
METHODS = ("start", "stop", "profile")  # of a profiler
TURN, FIRST = 10, 2  # steps of a turn, and those of them that are warm-up
RESAMPLED = 500


class Timed(Work):
    """Keeps the CPU time of the work of each step, and the time that passed."""

    def __init__(self, gpu: SimulatedGpu, products: int) -> None:
        super().__init__(gpu, products)
        self.own_ns: list[tuple[int, int]] = []

    def training_step(self, batch, batch_idx):
        begin_cpu_ns, begin_ns = time.thread_time_ns(), time.monotonic_ns()
        loss = super().training_step(batch, batch_idx)
        end_ns = time.monotonic_ns()
        self.own_ns.append((time.thread_time_ns() - begin_cpu_ns, end_ns - begin_ns))
        return loss


class Begins(L.Callback):
    """Stands first: the training thread's CPU time and the time at the beginning of each step; that of all threads."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, int]] = []
        self.process_s: list[float] = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        self.process_s.append(time.process_time())
        self.rows.append((time.thread_time_ns(), time.monotonic_ns()))


class EpochEnds(L.Callback):
    """Stands on both sides of the callback: the training thread's CPU time at the end of an epoch."""

    def __init__(self) -> None:
        self.at_s: list[float] = []

    def on_train_epoch_end(self, trainer, pl_module) -> None:
        self.at_s.append(time.thread_time())


class InTurns(L.Callback):
    """Stands second: takes from the profiler what phases set there, and gives it back, every ten steps."""

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        if not batch_idx:
            self.ours = {name: vars(trainer.profiler)[name] for name in METHODS if name in vars(trainer.profiler)}
        if batch_idx % TURN == 0:
            for name, function in self.ours.items():
                if batch_idx // TURN % 2:
                    setattr(trainer.profiler, name, function)
                else:
                    delattr(trainer.profiler, name)

    def on_train_epoch_end(self, trainer, pl_module) -> None:
        for name, function in self.ours.items():
            setattr(trainer.profiler, name, function)


def fit(
    gpu: SimulatedGpu, products: int, steps: int, *, profiler: str = "none", phases: bool, in_turns: bool = False
) -> tuple[Begins, Timed, EnergyCallback]:
    """The callback that watched, the module, and the callback that measured."""
    begins, module = Begins(), Timed(gpu, products)
    energy = EnergyCallback(meters=NvmlMeter(UUID), print_report=False, record=False, phases=phases)
    callbacks = [begins, *([InTurns()] if in_turns else []), energy]
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        used = SimpleProfiler(folder, "profile") if profiler == "simple" else None
        trainer = bare_trainer(folder, callbacks, max_epochs=1, logger=False, profiler=used)
        trainer.fit(module, batches(steps))
    return begins, module, energy


def added_us(turns: np.ndarray, part: float) -> dict[str, float | list[float]]:
    """What steps of every second turn take more at a quantile, and its interval; shape (turns, steps)."""
    without, divided = turns[::2], turns[1::2]

    def difference(of: np.ndarray | slice) -> float:
        return float(np.quantile(divided[of], part) - np.quantile(without[of], part))

    rng = np.random.default_rng(0)
    again = [difference(rng.integers(0, len(divided), len(divided))) for _ in range(RESAMPLED)]
    return {"added": difference(slice(None)), "interval": np.quantile(again, [0.025, 0.975]).tolist()}


def compared(step: str, profiler: str, share: float) -> dict:
    """A row of the table."""
    work_s, most = STEPS[step]
    products, n = round(work_s / calibrate()), 2 * round(share * most / TURN / 2)
    gpu = SimulatedGpu("driven", uuid=UUID, counter_period_s=0.1, jitter_s=0.002)
    with SimulatedNvml([gpu]):
        begins, module, energy = fit(gpu, products, n * TURN + 1, profiler=profiler, phases=True, in_turns=True)
    rows, own = np.diff(begins.rows, axis=0), np.array(module.own_ns)[:-1]
    phases = {phase.name: phase.energy.duration_s for phase in energy.report.phases["train"]}
    least_s, most_s = (x[:, 1].reshape(n, TURN)[1::2].sum() * 1e-9 for x in (own, rows))
    if not least_s <= phases["forward"] <= most_s:
        raise RuntimeError(f"forward has {phases['forward']:.2f} s instead of {least_s:.2f} to {most_s:.2f} s")
    cpu_us, time_us = np.moveaxis((rows - own).reshape(n, TURN, 2)[:, FIRST:] * 1e-3, 2, 0)
    return {
        "work": step,
        "profiler": profiler,
        "steps": cpu_us.size,
        "loop_us": float(np.median(cpu_us[::2])),
        "cpu_us": added_us(cpu_us, 0.5),
        "least_cpu_us": added_us(cpu_us, LOWEST),
        "time_us": added_us(time_us, 0.5),
    }


def background(seconds: float) -> list[dict]:
    """CPU time of all other threads in percent of a core: in the first two thirds of a training, and after."""
    result = []
    products = round(BACKGROUND_S / calibrate())
    for period_s in (0.1, 0.02):
        for phases in (False, True):
            gpu = SimulatedGpu("driven", uuid=UUID, counter_period_s=period_s, jitter_s=0.001)
            with SimulatedNvml([gpu]):
                begins, _, _ = fit(gpu, products, round(seconds / BACKGROUND_S), phases=phases)
            thread_s, at_s = np.array(begins.rows).T * 1e-9
            other_s, late = np.array(begins.process_s) - thread_s, int(len(at_s) * 2 / 3)
            percent = [100 * float((other_s[b] - other_s[a]) / (at_s[b] - at_s[a])) for a, b in ((0, late), (late, -1))]
            row = {"period_ms": 1e3 * period_s, "phases": phases, "first_percent": percent[0], "percent": percent[1]}
            result.append(row)
    return result


def epoch_ends(share: float) -> list[dict]:
    """CPU time of the training thread in the callback at the ends of epochs, but for the first of a process."""
    result = []
    for work_s, steps, epochs in EPOCHS:
        for phases in (False, True):
            gpu = SimulatedGpu("driven", uuid=UUID, counter_period_s=0.02, jitter_s=0.001)
            energy = EnergyCallback(meters=NvmlMeter(UUID), print_report=False, record=False, phases=phases)
            before, after = EpochEnds(), EpochEnds()
            with (
                SimulatedNvml([gpu]),
                tempfile.TemporaryDirectory() as folder,
                contextlib.redirect_stdout(io.StringIO()),
            ):
                n = max(round(share * epochs), 2)
                trainer = bare_trainer(folder, [before, energy, after], max_epochs=n, logger=False)
                trainer.fit(Work(gpu, round(work_s / calibrate())), batches(steps))
            taken_ms = 1e3 * (np.array(after.at_s) - np.array(before.at_s))[1:]
            row = {"work_ms": 1e3 * work_s, "steps": steps, "phases": phases}
            result.append(row | {"median_ms": float(np.median(taken_ms)), "most_ms": float(taken_ms.max())})
    return result


def shown(row: dict) -> str:
    """A row as text."""
    cells = "".join(
        "{:9.2f} ({:.2f} to {:.2f})".format(row[key]["added"], *row[key]["interval"])
        for key in ("cpu_us", "least_cpu_us", "time_us")
    )
    return f"{row['work']:>8} {row['profiler']:>7} {row['loop_us']:8.1f}{cells}"


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    print(
        "work, profiler, CPU us per step of the loop; what phases add to it, at its lowest tenth, to the time of a step"
    )
    rows = []
    for step in STEPS:
        for profiler in PROFILERS:
            rows.append(compared(step, profiler, 0.1 if args.quick else 1.0))
            print(shown(rows[-1]), flush=True)
    of_threads = background(2.0 if args.quick else 25.0)
    at_ends = epoch_ends(0.2 if args.quick else 1.0)
    for row in [*of_threads, *at_ends]:
        print(", ".join(f"{key} {value:g}" for key, value in row.items()))
    if args.json:
        result = {
            "what": "benchmarks/phases_cost.py",
            "date": datetime.now(timezone.utc).date().isoformat(),
            "lightning_energy": __version__,
            "lightning": L.__version__,
            "python": platform.python_version(),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores; simulated NVML, no GPU",
            "load": round(os.getloadavg()[0], 1),
            "at_most_us": AT_MOST_US,
            "rows": rows,
            "background": of_threads,
            "epoch_ends": at_ends,
        }
        args.json.write_text(json.dumps(rounded(result), indent=1) + "\n")


if __name__ == "__main__":
    main()
