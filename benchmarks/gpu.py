"""Checks that need a real NVIDIA GPU: run wherever one is at hand, and commit what it prints.

    python benchmarks/gpu.py                    # prints
    python benchmarks/gpu.py --json FILE        # and writes, with the device's name and date
    python benchmarks/gpu.py --parts steps cost # some of the checks only
    python benchmarks/gpu.py --cpu-selfcheck    # a trial of the script itself, on any machine

Run from the repository's root, with the benchmark extra for Zeus. Without a GPU the script says so and ends with exit
code 1: nothing is claimed. The self-check runs tiny models on the CPU over a simulated NVML; it claims nothing, either.

1  doctor: period, latency and power of the board's counter.
2  clock: how far marks timed by CUDA events lie from the end of the work as a synchronizing host sees it, while the
   host is made to run far ahead.
3  capture: whether a CUDA graph can be captured in the default mode while another thread asks for events.
4  counter: how late the board's counter is, and whether it looks all the time (benchmarks/gpu_counter.py).
5  steps: the joules of single steps of two kinds, by EnergyCallback and by Zeus, against what steady runs of the same
   work take; totals against the counter read by hand (benchmarks/gpu_steps.py).
6  cost: what EnergyCallback and Zeus add to a real training step, eager and compiled (benchmarks/gpu_cost.py).
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
import warnings
from collections import deque
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning as L
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.gpu_cost import check_cost, print_costs
from benchmarks.gpu_counter import check_counter, print_counter
from benchmarks.gpu_steps import check_steps, print_steps
from benchmarks.rivals import installed
from lightning_energy import __version__
from lightning_energy.commands.diagnosis import diagnose
from lightning_energy.ledger.device_clock import DeviceClock
from lightning_energy.ledger.device_events import CudaEvents
from lightning_energy.meters.nvml_boards import uuid_of_torch_device

if TYPE_CHECKING:
    from collections.abc import Callable

SIZE = 4096
CAPTURES = 10
PARTS = ("doctor", "clock", "counter", "steps", "cost", "capture")


def work(x: torch.Tensor, times: int) -> torch.Tensor:
    for _ in range(times):
        x = torch.tanh(x @ x)
    return x


def doctor() -> dict:
    """The findings of the doctor, without those that identify the machine."""
    found = diagnose(3.0).to_plain()
    meters = [{k: v for k, v in m.items() if k != "device_id"} for m in found["meters"]]
    return {k: found[k] for k in ("drivers", "python", "absent")} | {"meters": meters}


def check_clock(device: torch.device, rounds: int = 20) -> dict:
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
    for _ in range(CAPTURES):
        tokens.clear()
        tokens.extend(clock.stamp(time.monotonic_ns()) for _ in range(4))
        try:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                work(x, 20)
            graph.replay()
            captured += 1
        except RuntimeError as error:
            failures.append(str(error).splitlines()[0])
    stop.set()
    thread.join()
    torch.cuda.synchronize(device)
    return {
        "captured": captured,
        "of": CAPTURES,
        "asked": asked,
        "failures": failures[:3],
        "clock": str(clock.failure or ""),
    }


def selfcheck() -> int:
    """Try the part of the script that needs no GPU: the tables of parts 5 and 6, from tiny models on the CPU."""
    from tests.sim.nvml import SimulatedGpu, SimulatedNvml

    uuid = "GPU-bbbbbbbb-0000-0000-0000-000000000001"
    with SimulatedNvml([SimulatedGpu(100.0, uuid=uuid)]):
        steps = check_steps(torch.device("cpu"), uuid, steps=100, seconds=0.5, zeus=installed("zeus") is not None)
        rows = check_cost(torch.device("cpu"), uuid, steps=5, epochs=1, repeats=1)
    print_steps(steps)
    print_costs(rows)
    expected = 5 * (4 if installed("zeus") else 2)
    print(f"self-check: {len(rows)} of {expected} rows; no GPU was measured, nothing is claimed")
    return 0 if len(rows) == expected else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--cpu-selfcheck", action="store_true")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="only these")
    parser.add_argument("--cost-s", type=float, default=600.0, help="no new repetition of the cost after these seconds")
    args = parser.parse_args()
    if args.cpu_selfcheck:
        return selfcheck()
    if not torch.cuda.is_available():
        print("No CUDA device here: nothing was measured, nothing is claimed.")
        return 1
    device = torch.device("cuda", torch.cuda.current_device())
    uuid = uuid_of_torch_device(device)
    result: dict[str, Any] = {
        "what": "benchmarks/gpu.py",
        "device": torch.cuda.get_device_name(device),
        "date": datetime.now(timezone.utc).date().isoformat(),
        "torch": torch.__version__,
        "lightning": L.__version__,
        "lightning_energy": __version__,
        "zeus": installed("zeus"),
    }
    parts: dict[str, Callable[[], Any]] = {
        "doctor": doctor,
        "clock": lambda: check_clock(device),
        "capture": lambda: check_capture(device),
        "counter": lambda: check_counter(device, uuid),
        "steps": lambda: check_steps(device, uuid, zeus=installed("zeus") is not None),
        "cost": lambda: check_cost(device, uuid, most_s=args.cost_s),
    }
    show = {"counter": print_counter, "steps": print_steps, "cost": print_costs}
    for name in args.parts:
        start_s = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # advice of Lightning on data loaders and logging intervals
            result[name] = parts[name]()
        print(f"== {name}, {time.perf_counter() - start_s:.0f} s", flush=True)
        show.get(name, lambda found: print(json.dumps(found, indent=1, default=str)))(result[name])
        if args.json:  # after each part, so that a run that is stopped keeps its results so far
            args.json.write_text(json.dumps(result, indent=1, default=str) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
