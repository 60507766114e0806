"""Checks that need a real NVIDIA GPU: run wherever one is at hand, and commit what it prints.

    python benchmarks/gpu.py                    # prints
    python benchmarks/gpu.py --json FILE        # and writes, with the device's name and date
    python benchmarks/gpu.py --cpu-selfcheck    # on any machine: whether the script itself works

Run from the repository's root, with the benchmark extra for Zeus. Where there is no GPU it says so and ends with exit
code 1: nothing is claimed. The self-check runs tiny models on the CPU over a simulated NVML; it claims nothing, either.

1  doctor: period, latency and power of the board's counter.
2  clock: how far marks timed by CUDA events lie from the end of the work as a synchronizing host sees it, while the
   host is made to run far ahead.
3  capture: whether a CUDA graph can be captured in the default mode while another thread asks for events.
4  fit: EnergyCallback on a training whose steps take different times; its total against the counter read by hand, its
   steps against the power of long, synchronized runs of the same work.
5  cost: what EnergyCallback and Zeus add to a real training step, eager and compiled (benchmarks/gpu_cost.py).
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections import deque
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path

import lightning as L
import numpy as np
import torch
from torch.utils.data import DataLoader, TensorDataset

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.gpu_cost import check_cost, has_zeus, print_costs
from lightning_energy import EnergyCallback, __version__
from lightning_energy.clock import CudaEvents, DeviceClock
from lightning_energy.doctor import diagnose
from lightning_energy.meters import NvmlMeter
from lightning_energy.meters.nvml import uuid_of_torch_device

SIZE = 4096


def work(x: torch.Tensor, times: int) -> torch.Tensor:
    for _ in range(times):
        x = torch.tanh(x @ x)
    return x


def check_clock(device: torch.device, rounds: int = 40) -> dict:
    """Many pieces of work in the queue; each ends with a mark. The truth is known for the last of each round."""
    clock, x, late_us, lead_ms = DeviceClock(CudaEvents(device)), torch.randn(SIZE, SIZE, device=device), [], []
    time.sleep(1.1)
    clock.anchor()
    for _ in range(rounds):
        torch.cuda.synchronize(device)
        for _ in range(20):
            work(x, 4)
        token = clock.stamp(time.monotonic_ns())
        issued_ns = time.monotonic_ns()
        torch.cuda.synchronize(device)
        done_ns = time.monotonic_ns()
        late_us.append((done_ns - clock.resolve(token)) * 1e-3)
        lead_ms.append((done_ns - issued_ns) * 1e-6)
    return {
        "rounds": rounds,
        "host_lead_ms_median": float(np.median(lead_ms)),
        "synchronize_returned_later_by_us_median": float(np.median(late_us)),
        "synchronize_returned_later_by_us_min": min(late_us),
        "synchronize_returned_later_by_us_max": max(late_us),
        "anchor_half_width_us": (clock.half_width_ns or 0) * 1e-3,
        "failure": str(clock.failure or ""),
    }


def check_capture(device: torch.device) -> dict:
    """Another thread resolves marks all the time, as the sampler does, while graphs are captured."""
    clock, stop, x = DeviceClock(CudaEvents(device)), threading.Event(), torch.randn(256, 256, device=device)
    tokens: deque = deque()
    asked = 0

    def ask() -> None:
        nonlocal asked
        clock.enter_thread()
        while not stop.is_set():
            for token in list(tokens):
                clock._events.is_done(token.event)
                asked += 1

    thread = threading.Thread(target=ask)
    thread.start()
    captured, failures = 0, []
    for _ in range(20):
        tokens.clear()
        tokens.extend(clock.stamp(time.monotonic_ns()) for _ in range(4))
        try:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                work(x, 50)
            graph.replay()
            captured += 1
        except RuntimeError as error:
            failures.append(str(error).splitlines()[0])
    stop.set()
    thread.join()
    torch.cuda.synchronize(device)
    return {"captured": captured, "of": 20, "asked": asked, "failures": failures[:3], "clock": str(clock.failure or "")}


class Model(L.LightningModule):
    """Steps of two kinds in turn: short and long."""

    def __init__(self, times: tuple[int, int]) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.times = times

    def setup(self, stage: str) -> None:
        self.x = torch.randn(SIZE, SIZE, device=self.device)

    def training_step(self, batch, batch_idx):
        work(self.x, self.times[batch_idx % 2])
        return (self.weight * batch[0].sum()).mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


def check_fit(device: torch.device, steps: int = 2000) -> dict:
    meter = NvmlMeter(uuid_of_torch_device(device))
    meter.open()
    energy = EnergyCallback(meters="nvml", print_report=False)

    class Around(L.Callback):
        def setup(self, trainer, pl_module, stage) -> None:
            self.first = meter.read()

        def teardown(self, trainer, pl_module, stage) -> None:
            self.last = meter.read()

    before = Around()
    trainer = L.Trainer(
        accelerator="gpu",
        devices=[device.index or 0],
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        callbacks=[before, energy],
    )
    trainer.fit(Model((4, 16)), DataLoader(TensorDataset(torch.zeros(steps, 1)), batch_size=1))
    run = energy.report.run
    by_hand_j = (before.last.register_j or 0.0) - (before.first.register_j or 0.0)
    return {
        "report": str(energy.report),
        "run": asdict(run),
        "counter_by_hand_j": by_hand_j,
        "run_over_by_hand": (run.energy_j or 0.0) / by_hand_j if by_hand_j else None,
        "step_j": energy.report.step_j,
    }


def selfcheck() -> int:
    """What can be tried without a GPU: the tables of part 5, from tiny models on the CPU."""
    from tests.sim.nvml import SimulatedGpu, SimulatedNvml

    uuid = "GPU-bbbbbbbb-0000-0000-0000-000000000001"
    with SimulatedNvml([SimulatedGpu(100.0, uuid=uuid)]):
        rows = check_cost(torch.device("cpu"), uuid, steps=5, epochs=1, repeats=1)
    print_costs(rows)
    expected = 2 * 2 * (4 if has_zeus() else 2)
    print(f"self-check: {len(rows)} of {expected} rows; no GPU was measured, nothing is claimed")
    return 0 if len(rows) == expected else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--cpu-selfcheck", action="store_true")
    args = parser.parse_args()
    if args.cpu_selfcheck:
        return selfcheck()
    if not torch.cuda.is_available():
        print("No CUDA device here: nothing was measured, nothing is claimed.")
        return 1
    device = torch.device("cuda", torch.cuda.current_device())
    result = {
        "what": "benchmarks/gpu.py",
        "device": torch.cuda.get_device_name(device),
        "date": datetime.now(timezone.utc).date().isoformat(),
        "torch": torch.__version__,
        "lightning_energy": __version__,
        "doctor": diagnose(3.0).to_plain(),
        "clock": check_clock(device),
        "capture": check_capture(device),
        "fit": check_fit(device),
        "cost": check_cost(device, uuid_of_torch_device(device)),
    }
    print_costs(result["cost"])
    print(json.dumps(result, indent=1, default=str))
    if args.json:
        args.json.write_text(json.dumps(result, indent=1, default=str) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
