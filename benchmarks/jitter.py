"""Effect of the sampler's thread on the training beside it, compared with that of a helper process.

    python benchmarks/jitter.py                    # prints, about three minutes on a quiet machine
    python benchmarks/jitter.py --json FILE        # and writes
    python benchmarks/jitter.py --quick

Run from the repository's root, with the test extra installed and a C compiler at hand: the simulated board's counter is
compiled (benchmarks/driver.c), as a driver in Python would hold the interpreter's lock, and a real one does not. Three
arms take turns: nobody measures; the sampler's thread, as EnergyCallback has it; a helper process that polls the same
(simulated) board in the same way and sends its readings through a pipe. The helper is a prototype of this script alone:
how it would start beside CUDA, and end when the training dies, is left out. Two loads:
  pipeline  a pure-Python data pipeline, which holds the interpreter's lock all the time: items per second
  step      2 ms of torch work: median, 99th percentile, and share of the steps that take over 1.5 times the median
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import sys
import threading
import time
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import torch

from benchmarks.driver import CompiledNvml
from benchmarks.overhead_run import SIZE, calibrate
from lightning_energy import __version__
from lightning_energy.curves.channel import Channel
from lightning_energy.ledger.session import Session
from lightning_energy.meters import NvmlMeter
from lightning_energy.meters.find import OpenMeters

UUID = "GPU-bbbbbbbb-0000-0000-0000-000000000000"
ARMS = ("nobody", "thread", "process")


def poll_elsewhere(pipe) -> None:
    """The helper: polls as the sampler does, and sends the knots twice a second."""
    with CompiledNvml(1, UUID):
        meter, lock = NvmlMeter(UUID), threading.RLock()
        channel = Channel(meter, meter.open())
        sent_ns = time.monotonic_ns()
        pipe.send("ready")
        while True:
            if pipe.poll(max(channel.due_ns - time.monotonic_ns(), 0) * 1e-9):
                return
            channel.poll(lock)
            if time.monotonic_ns() - sent_ns > 5 * 10**8:
                sent_ns = time.monotonic_ns()
                knots = channel.curve.knots()
                pipe.send_bytes(knots.time_ns.tobytes() + knots.energy_j.tobytes())
                channel.curve.forget_before(sent_ns)


@contextmanager
def measuring(arm: str):
    """Measure as one of the arms does; begins once the counter's period is known."""
    if arm == "thread":
        with CompiledNvml(1, UUID):
            meter = NvmlMeter(UUID)
            session = Session(OpenMeters([(meter, meter.open())]))
            time.sleep(2.0)  # the period is known now
            yield
            session.close()
    elif arm == "process":
        here, there = multiprocessing.get_context("spawn").Pipe()
        helper = multiprocessing.get_context("spawn").Process(target=poll_elsewhere, args=(there,), daemon=True)
        helper.start()
        assert here.recv() == "ready"
        time.sleep(2.0)
        yield
        while here.poll():
            here.recv_bytes()
        here.send("end")
        helper.join()
    else:
        time.sleep(2.0)
        yield


def pipeline(seconds: float) -> dict:
    """Items are parsed, filtered and batched, in Python alone."""
    end_s, items, batch = time.monotonic() + seconds, 0, []
    begin_s = time.monotonic()
    while time.monotonic() < end_s:
        text = ",".join(str(i * items % 997) for i in range(24))
        row = {f"f{i}": int(v) for i, v in enumerate(text.split(",")) if v[-1] != "7"}
        batch.append(sorted(row.values()))
        if len(batch) == 32:
            batch = []
        items += 1
    return {"items_per_s": items / (time.monotonic() - begin_s)}


def steps(seconds: float, products: int) -> dict:
    x, durations_ns, end_s = torch.randn(SIZE, SIZE), [], time.monotonic() + seconds
    while time.monotonic() < end_s:
        begin_ns = time.perf_counter_ns()
        for _ in range(products):
            x @ x
        durations_ns.append(time.perf_counter_ns() - begin_ns)
    us = np.array(durations_ns) * 1e-3
    median_us = float(np.median(us))
    return {
        "step_median_us": median_us,
        "step_p99_us": float(np.quantile(us, 0.99)),
        "late_percent": float(100 * (us > 1.5 * median_us).mean()),
    }


def compare(rows: list[dict], key: str) -> dict:
    """Per arm the median and the range of the repetitions, and the gain of the process over the thread."""
    by_arm = {arm: [r[key] for r in rows if r["arm"] == arm] for arm in ARMS}
    found = {arm: {"median": statistics.median(v), "low": min(v), "high": max(v)} for arm, v in by_arm.items()}
    sign = -1 if key == "items_per_s" else 1
    gains = [sign * (t - p) for t, p in zip(by_arm["thread"], by_arm["process"], strict=True)]
    noise = statistics.pstdev(by_arm["nobody"]) or 0.0
    found["process_is_better_by"] = statistics.median(gains)
    found["noise"] = noise
    found["beyond_noise"] = statistics.median(gains) > 2 * noise and min(gains) > 0
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    seconds, repeats = (1.0, 2) if args.quick else (3.0, 5)
    products, rows = round(0.002 / calibrate()), []
    for repeat in range(repeats):
        for arm in ARMS[repeat % 3 :] + ARMS[: repeat % 3]:
            with measuring(arm):
                rows.append({"arm": arm, "repeat": repeat, **pipeline(seconds), **steps(seconds, products)})
    result = {key: compare(rows, key) for key in ("items_per_s", "step_median_us", "step_p99_us", "late_percent")}
    for key, found in result.items():
        arms = "   ".join(f"{a} {found[a]['median']:.5g} ({found[a]['low']:.5g}..{found[a]['high']:.5g})" for a in ARMS)
        better = "better than the thread beyond noise" if found["beyond_noise"] else "no better beyond noise"
        print(
            f"{key:<15} {arms}   the process is {better} ({found['process_is_better_by']:.3g} ± {found['noise']:.2g})"
        )
    if args.json:
        out = {
            "what": "benchmarks/jitter.py",
            "date": datetime.now(timezone.utc).date().isoformat(),
            "lightning_energy": __version__,
            "python": platform.python_version(),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores; simulated NVML with a compiled counter, no GPU",
            "repeats": repeats,
            **result,
        }
        args.json.write_text(json.dumps(out, indent=1) + "\n")


if __name__ == "__main__":
    main()
