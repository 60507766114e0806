"""Cost of measuring a real training step: EnergyCallback and Zeus beside a no-op callback.

Run by benchmarks/gpu.py on a machine with a GPU, and by its ``--cpu-selfcheck`` on any machine, over a simulated NVML.
Convolutions with residuals and a transformer, eager and compiled, and a small network whose steps the host cannot issue
as fast as the device does them; in bfloat16 where there is a GPU. The first epoch warms up; then an epoch's time is
taken from one synchronization to the next, the same for all. Configurations take turns.
"""

from __future__ import annotations

import contextlib
import io
import statistics
import tempfile
import time

import lightning as L
import numpy as np
import torch
from torch import nn

from benchmarks.rivals import NoOp, Zeus, ZeusSteps, installed
from benchmarks.training import bare_trainer, batches, wait
from lightning_energy import EnergyCallback
from lightning_energy.meters import NvmlMeter

MODELS = ("resnet-like", "transformer-like", "small")
CONFIGURATIONS = ("no-op", "EnergyCallback", "Zeus epochs", "Zeus steps")


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x + self.body(x))


def resnet_like(width: int, depth: int) -> nn.Module:
    blocks = [Block(width) for _ in range(depth)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10)]
    return nn.Sequential(nn.Conv2d(3, width, 3, padding=1), *blocks, *head)


class TransformerLike(nn.Module):
    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(width, 8, 4 * width, dropout=0.0, batch_first=True)
        self.body = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.head = nn.Linear(width, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x).mean(dim=1))


def build(name: str, *, small: bool) -> tuple[nn.Module, tuple[int, ...]]:
    """A model, and the shape of its batches."""
    if name == "resnet-like":
        return (resnet_like(8, 2), (2, 3, 16, 16)) if small else (resnet_like(64, 4), (64, 3, 56, 56))
    if name == "small":
        return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)), (32, 64)
    return (TransformerLike(32, 2), (2, 16, 32)) if small else (TransformerLike(768, 4), (16, 512, 768))


class Module(L.LightningModule):
    """A real step: forward, loss, backward, SGD; the batch stays on the device."""

    def __init__(self, name: str, *, compiled: bool, small: bool) -> None:
        super().__init__()
        self.model, self.shape = build(name, small=small)
        self.call = torch.compile(self.model) if compiled else self.model

    def setup(self, stage: str) -> None:
        self.x = torch.randn(self.shape, device=self.device)
        self.y = torch.randint(10, (self.shape[0],), device=self.device)

    def training_step(self, batch, batch_idx):
        return nn.functional.cross_entropy(self.call(self.x), self.y)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1e-4)


class Clock(L.Callback):
    """Notes when each epoch began and ended on the device, and each step on the host; stands first in the list."""

    def __init__(self) -> None:
        self.epochs_s, self.cpu_s, self.starts_ns = [], [], []

    @staticmethod
    def now_s(module) -> float:
        wait(module.device)
        return time.perf_counter()

    def on_train_epoch_start(self, trainer, pl_module) -> None:
        self.begin_s, self.begin_cpu_s = self.now_s(pl_module), time.process_time()

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        if trainer.current_epoch:
            self.starts_ns.append(time.perf_counter_ns())

    def on_train_epoch_end(self, trainer, pl_module) -> None:
        self.cpu_s.append(time.process_time() - self.begin_cpu_s)  # without the wait for the device
        self.epochs_s.append(self.now_s(pl_module) - self.begin_s)


def make(name: str, uuid: str, index: int, *, sync: bool) -> L.Callback:
    if name == "EnergyCallback":
        return EnergyCallback(meters=NvmlMeter(uuid), print_report=False)
    if name == "no-op":
        return NoOp()
    return (ZeusSteps if name == "Zeus steps" else Zeus)(index, sync=sync)


def run(callback: L.Callback, module: Module, device: torch.device, steps: int, epochs: int) -> dict:
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        precision = "bf16-mixed" if device.type == "cuda" else "32-true"
        trainer = bare_trainer(folder, [clock, callback], device, max_epochs=epochs + 1, precision=precision)
        start_s = time.perf_counter()
        trainer.fit(module, batches(steps))
        fit_s = time.perf_counter() - start_s
    return {
        "step_ms": statistics.median(s / steps * 1e3 for s in clock.epochs_s[1:]),
        "cpu_ms": statistics.median(s / steps * 1e3 for s in clock.cpu_s[1:]),
        "around_ms": (fit_s - sum(clock.epochs_s)) * 1e3,
        "host_step_ms": float(np.median(np.diff(clock.starts_ns)) * 1e-6),
    }


def check_cost(
    device: torch.device, uuid: str, *, steps: int = 70, epochs: int = 3, repeats: int = 3, most_s: float = 600.0
) -> list[dict]:
    """Milliseconds per model, mode and configuration, and their difference from the no-op callback's.

    They are those of a step, of a step on the host, of processor time per step, and of a fit outside its epochs.
    """
    small = device.type != "cuda"
    names = [n for n in CONFIGURATIONS if not n.startswith("Zeus") or installed("zeus")]
    rows, begin_s = [], time.perf_counter()
    for model in MODELS:
        many = 10 if model == "small" and not small else 1  # its steps are short
        for compiled in (False, True) if model != "small" else (False,):
            start_s = time.perf_counter()
            found: dict[str, list[dict]] = {name: [] for name in names}
            module = Module(model, compiled=compiled, small=small)  # one for all, so that it is compiled once
            if compiled:
                run(NoOp(), module, device, steps, epochs)  # compiled anew until all that may change has changed
            for repeat in range(repeats):
                if time.perf_counter() - begin_s > most_s:
                    break
                for name in names if repeat % 2 else names[::-1]:
                    callback = make(name, uuid, device.index or 0, sync=device.type == "cuda")
                    found[name].append(run(callback, module, device, steps * many, epochs))
            if not found["no-op"]:
                continue
            print(f"{model}, compiled={compiled}: {time.perf_counter() - start_s:.0f} s", flush=True)
            for name in names:
                row = {"model": model, "mode": "compiled" if compiled else "eager", "tool": name}
                row["repetitions"] = len(found[name])
                for what in ("step_ms", "host_step_ms", "cpu_ms", "around_ms"):
                    row[what] = statistics.median(r[what] for r in found[name])
                    pairs = zip(found[name], found["no-op"], strict=True)
                    added = [r[what] - base[what] for r, base in pairs]
                    row[f"added_{what}"], row[f"spread_{what}"] = (
                        statistics.median(added),
                        (max(added) - min(added)) / 2,
                    )
                rows.append(row)
    return rows


def print_costs(rows: list[dict]) -> None:
    print("added to the no-op callback's, ± half the range over the repetitions")
    print(f"{'':<18}{'':<10}{'':<16}{'step ms':>10}{'added us':>14}{'CPU us':>14}{'around fit ms':>16}")
    for r in rows:
        us = [f"{1e3 * r[f'added_{what}']:.0f}±{1e3 * r[f'spread_{what}']:.0f}" for what in ("step_ms", "cpu_ms")]
        ms = f"{r['added_around_ms']:.0f}±{r['spread_around_ms']:.0f}"
        print(f"{r['model']:<18}{r['mode']:<10}{r['tool']:<16}{r['step_ms']:>10.3f}{us[0]:>14}{us[1]:>14}{ms:>16}")
    if not installed("zeus"):
        print("Zeus is not installed, and left out: pip install '.[benchmark]'")
