"""One process of benchmarks/overhead.py: trains with one tool at each step length, and looks closely."""

from __future__ import annotations

import contextlib
import gc
import importlib
import io
import math
import random
import threading
import time
import warnings
from functools import partial
from typing import TYPE_CHECKING

import lightning as L
import numpy as np
import psutil
import torch
from lightning.pytorch.callbacks import Callback
from torch.utils.data import DataLoader, TensorDataset, default_collate

from benchmarks.rivals import OURS

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.rivals import Reported, Tool

UUID = "GPU-bbbbbbbb-0000-0000-0000-000000000001"
BUSY_W, IDLE_W = 300.0, 80.0
SIZE = 128
EPOCHS = 4
FIRST = 20  # steps at the beginning that are warm-up
MIB = 2.0**20
BATCHES = {
    "list": default_collate,
    "tuple": lambda rows: tuple(default_collate(rows)),
    "dict": lambda rows: {"x": default_collate(rows)[0]},
}


def calibrate() -> float:
    """Seconds that one product of matrices takes here, at best."""
    torch.set_num_threads(1)
    x, best_s = torch.randn(SIZE, SIZE), float("inf")
    for _ in range(60):
        begin = time.perf_counter()
        for _ in range(50):
            x @ x
        best_s = min(best_s, (time.perf_counter() - begin) / 50)
    return best_s


class Work(L.LightningModule):
    """A fixed number of products per step; the board is busy for the first nine tenths of them, then idles."""

    def __init__(self, gpu, products: int) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.gpu, self.products = [gpu], products
        self.random = random.Random(1)
        self.logging = [Own()]  # a list, so that it is no part of the module

    def log(self, *args, **kwargs) -> None:
        self.logging[0].timed(super().log, *args, **kwargs)

    def log_dict(self, *args, **kwargs) -> None:
        self.logging[0].timed(super().log_dict, *args, **kwargs)

    def setup(self, stage: str) -> None:
        self.x = torch.randn(SIZE, SIZE)

    def training_step(self, batch, batch_idx):
        (gpu,), x, busy = self.gpu, self.x, max(1, round(0.9 * self.products))
        gpu.set_power(BUSY_W * (1 + 0.05 * self.random.gauss(0, 1)))
        for _ in range(busy):
            x @ x
        gpu.set_power(IDLE_W)
        for _ in range(self.products - busy):
            x @ x
        return (self.weight * batch["x" if isinstance(batch, dict) else 0]).mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


class Own:
    """The time that Lightning's logging and its loggers take themselves, whoever calls them."""

    def __init__(self) -> None:
        self.ns, self._is_under_way = 0, False

    def timed(self, log, *args, **kwargs) -> None:
        """Call it; a call from within another one is in that one's time."""
        if self._is_under_way:
            log(*args, **kwargs)
            return
        self._is_under_way, begin_ns = True, time.monotonic_ns()
        try:
            log(*args, **kwargs)
        finally:
            self.ns += time.monotonic_ns() - begin_ns
            self._is_under_way = False

    def watch(self, logger) -> None:
        logger.log_metrics = partial(self.timed, logger.log_metrics)


class Stamps(Callback):
    """Stands first or last in the list: the tool's hooks run between the two."""

    def __init__(self, own: Own) -> None:
        self.own, self.logged_ns, self.epoch_ns = own, [], []
        self.start: list[int] = []
        self.end: list[int] = []
        self.start_cpu: list[int] = []
        self.end_cpu: list[int] = []
        self.epoch_of: list[int] = []
        self.train_end_ns = 0

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        self.start_cpu.append(time.thread_time_ns())
        self.start.append(time.monotonic_ns())
        self.epoch_of.append(trainer.current_epoch)

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        self.end.append(time.monotonic_ns())
        self.end_cpu.append(time.thread_time_ns())
        self.logged_ns.append(self.own.ns)

    def on_train_epoch_end(self, trainer, pl_module) -> None:
        self.epoch_ns.append(time.monotonic_ns() - self.own.ns)

    def on_train_end(self, trainer, pl_module) -> None:
        self.train_end_ns = time.monotonic_ns()


class Usage(Callback):
    """Stands first: CPU time of all threads and children, and NVML's calls, while training."""

    def __init__(self, nvml) -> None:
        self.nvml, self.rows = nvml, []

    def look(self) -> None:
        calls = self.nvml.calls_by_thread
        row = (time.monotonic_ns(), process_cpu_s(), time.thread_time(), calls.total(), calls[threading.get_ident()])
        self.rows.append(row)

    def on_train_start(self, trainer, pl_module) -> None:
        self.look()

    def on_train_end(self, trainer, pl_module) -> None:
        self.look()


def process_cpu_s() -> float:
    children = 0.0
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            children += sum(child.cpu_times()[:2])
    return time.process_time() + children


def rss_mib() -> float:
    gc.collect()
    return psutil.Process().memory_info().rss / MIB


def run_one(tool: Tool, plan: dict, folder: Path) -> dict:
    """All trainings with one tool, and the cost of importing and running it."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    import_ms = import_mib = 0.0
    if tool.module == OURS:  # the simulation imports it, so that it comes first; the others must find a driver
        import_ms, import_mib = imported(tool.module)

    from tests.sim.nvml import SimulatedGpu, SimulatedNvml

    gpu = SimulatedGpu("driven", uuid=UUID, counter_period_s=0.1, jitter_s=0.002, idle_w=IDLE_W)
    with SimulatedNvml([gpu]) as nvml, contextlib.redirect_stdout(io.StringIO()):
        if tool.module not in {"", OURS}:
            import_ms, import_mib = imported(tool.module)
        ready_mib, steps = rss_mib(), {}
        for name, what in plan.items():
            steps[name] = train(tool, gpu, nvml, what["products"], what["steps"], folder)
        run_mib = rss_mib() - ready_mib
    return {"import_ms": import_ms, "rss_mib": import_mib + run_mib, "steps": steps}


def imported(module: str) -> tuple[float, float]:
    """Milliseconds and MiB that an import takes; pynvml's memory with it, which most tools need."""
    before_mib, begin = rss_mib(), time.perf_counter()
    importlib.import_module(module)
    import_ms = (time.perf_counter() - begin) * 1e3
    importlib.import_module("pynvml")
    return import_ms, rss_mib() - before_mib


def train(tool: Tool, gpu, nvml, products: int, steps: int, folder: Path) -> dict:
    begin_ns = time.monotonic_ns()
    callback = tool.make(folder, EPOCHS, UUID)
    module = Work(gpu, products)
    (own,) = module.logging
    first, last, usage = Stamps(own), Stamps(own), Usage(nvml)
    data = DataLoader(TensorDataset(torch.zeros(steps // EPOCHS, 1)), batch_size=1, collate_fn=BATCHES[tool.batch])
    trainer = L.Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=EPOCHS,
        default_root_dir=str(folder),
        log_every_n_steps=tool.log_every_n_steps,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[usage, first, *([callback] if callback else []), last],
    )
    for logger in trainer.loggers:
        own.watch(logger)
    trainer.fit(module, data)
    end_ns = time.monotonic_ns()
    result = costs(first, last, usage, begin_ns, end_ns, tool.log_every_n_steps)
    return {**result, **errors(getattr(callback, "reported", None), callback, gpu, first)}


def costs(first: Stamps, last: Stamps, usage: Usage, begin_ns: int, end_ns: int, log_every: int) -> dict:
    s0, s1, e0, e1 = (np.array(c) for c in (first.start, last.start, first.end, last.end))
    cs0, cs1, ce0, ce1 = (np.array(c) for c in (first.start_cpu, last.start_cpu, first.end_cpu, last.end_cpu))
    same = np.diff(first.epoch_of) == 0
    quiet = (np.arange(1, len(s0) + 1) % log_every != 0) | (log_every == 1)
    hook_cpu_us = ((cs1 - cs0) + (ce1 - ce0)) * 1e-3
    own_ns = np.array(last.logged_ns) - np.array(first.logged_ns)
    all_us = ((s1 - s0) + (e1 - e0)) * 1e-3
    hook_us = all_us[quiet][FIRST:]
    is_logged = ~quiet if log_every > 1 else quiet
    at_ends_ms = (np.array(last.epoch_ns) - np.array(first.epoch_ns)) * 1e-6
    (t0, process0, thread0, calls0, in_thread0), (t1, process1, thread1, calls1, in_thread1) = usage.rows
    wall_s = (t1 - t0) * 1e-9
    return {
        "hook_us": float(np.median(hook_us)),
        "hook_p99_us": float(np.quantile(hook_us, 0.99)),
        "logged_us": float(np.median((all_us - own_ns * 1e-3)[is_logged])) if is_logged.any() else math.nan,
        "hook_cpu_us": float(hook_cpu_us[FIRST:].mean()),
        "hook_cpu_median_us": float(np.median(hook_cpu_us[quiet][FIRST:])),
        "hook_cpu_p99_us": float(np.quantile(hook_cpu_us[quiet][FIRST:], 0.99)),
        "loop_us": float(np.median(np.diff(s0)[same][FIRST:]) * 1e-3),
        "epoch_ms": float(np.median((s0[1:] - e1[:-1])[~same]) * 1e-6),
        "epoch_hook_ms": float(np.median(at_ends_ms[1:])),
        "first_epoch_ms": float(at_ends_ms[0]),
        "other_cpu": 100 * ((process1 - process0) - (thread1 - thread0)) / wall_s,
        "calls_per_s": (calls1 - calls0) / wall_s,
        "calls_in_thread": (in_thread1 - in_thread0) / len(s0),
        "start_ms": (first.start[0] - begin_ns) * 1e-6,
        "stop_ms": (end_ns - first.train_end_ns) * 1e-6,
    }


def errors(reported: Reported | None, callback: Callback | None, gpu, first: Stamps) -> dict:
    """Percent: rms over steps and epochs, and the total's difference; ``None`` for figures that it does not give."""
    if reported is None:
        return {"step_error": None, "epoch_error": None, "total_error": None}
    steps = reported.steps
    if hasattr(callback, "taken"):
        steps = ledger_steps(callback.taken, first)
    start_ns, end_ns, total_j = reported.total
    return {
        "step_error": rms_percent(steps, gpu),
        "epoch_error": rms_percent(reported.epochs, gpu),
        "total_error": 100 * (total_j / gpu.true_energy_j(start_ns, end_ns) - 1),
    }


def ledger_steps(taken: list, first: Stamps) -> list[tuple[int, int, float]]:
    """Steps run from their start to the next, the last of an epoch to the epoch's end."""
    if not taken:
        return []
    energy_j, duration_s = (np.concatenate([getattr(s, f) for s in taken]) for f in ("energy_j", "duration_s"))
    if len(energy_j) != len(first.start):  # a step that is missing leaves the others without their numbers
        return []
    rows = zip(first.start, energy_j.tolist(), duration_s.tolist(), strict=True)
    return [(start_ns, start_ns + round(duration_s * 1e9), energy_j) for start_ns, energy_j, duration_s in rows]


def rms_percent(rows: list[tuple[int, int, float]], gpu) -> float | None:
    if not rows:
        return None
    truth = np.array([gpu.true_energy_j(a, b) for a, b, _ in rows])
    error = np.array([j for _, _, j in rows]) - truth
    return float(100 * np.sqrt((error**2).mean()) / truth.mean())


__all__ = ["calibrate", "run_one"]
