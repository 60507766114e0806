"""Cost of EnergyCallback beside its limits, target by target.

    python benchmarks/scale.py                    # prints, about four minutes
    python benchmarks/scale.py --json FILE        # and writes
    python benchmarks/scale.py --quick            # a first look

Run from the repository's root, with the test extra installed and a C compiler at hand. A simulated NVML stands beneath
the real pynvml, with counters that move every 100 ms, up to 2 ms late; where the sampler's CPU time is measured they
are compiled (benchmarks/driver.c), as a driver in Python would take most of it. Times are wall-clock times of this
machine, so that what else runs on it is in them.
"""

from __future__ import annotations

import argparse
import compileall
import contextlib
import io
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from datetime import datetime, timezone
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import lightning as L
import torch

from benchmarks.driver import CompiledNvml
from benchmarks.neighbours import children_cpu_s, helped
from benchmarks.overhead_run import UUID as DRIVEN
from benchmarks.overhead_run import calibrate, rss_mib, train
from benchmarks.rivals import TOOLS
from benchmarks.training import bare_trainer, batches
from lightning_energy import EnergyCallback, __version__
from lightning_energy.ledger.session import Session
from lightning_energy.meters import NvmlMeter
from lightning_energy.meters.find import OpenMeters
from tests.modules import MemoryLogger
from tests.sim.nvml import SimulatedGpu, SimulatedNvml

UUID = "GPU-bbbbbbbb-0000-0000-0000-000000000000"
PERIOD_S = 0.1  # of the counters
WARM_S = 18.0  # helpers are at work then, and what they do at the beginning is done

IMPORT = """
import time
import lightning.pytorch
begin = time.perf_counter()
from lightning_energy import EnergyCallback
print((time.perf_counter() - begin) * 1e3)
"""


class TimedLogger(MemoryLogger):
    """Knows the time that it took itself."""

    def __init__(self) -> None:
        super().__init__()
        self.own_ns = 0

    def log_metrics(self, metrics, step=None) -> None:
        begin_ns = time.perf_counter_ns()
        super().log_metrics(metrics, step)
        self.own_ns += time.perf_counter_ns() - begin_ns


class Watched(EnergyCallback):
    """Keeps the durations of its setup and of its logging steps."""

    def setup(self, trainer, pl_module, stage) -> None:
        begin_s = time.perf_counter()
        super().setup(trainer, pl_module, stage)
        self.setup_ms = (time.perf_counter() - begin_s) * 1e3
        self.logged_us = []
        self._run.steps.log = self._timed(self._run.steps.log)

    def _timed(self, log):
        def timed(trainer, step) -> None:
            begin_ns, own_ns = time.perf_counter_ns(), sum(logger.own_ns for logger in trainer.loggers)
            log(trainer, step)
            own_ns = sum(logger.own_ns for logger in trainer.loggers) - own_ns
            self.logged_us.append((time.perf_counter_ns() - begin_ns - own_ns) * 1e-3)

        return timed


class Tiny(L.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch, batch_idx):
        return (self.weight * batch[0]).mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


def boards(n: int = 1) -> list[SimulatedGpu]:
    load = [(0.213, 300.0), (0.104, 90.0)]
    return [SimulatedGpu(load, uuid=f"{UUID[:-1]}{i}", phase_s=0.013 * i, jitter_s=0.002) for i in range(n)]


def opened(gpus: list[SimulatedGpu], *, helper: bool = False) -> OpenMeters:
    meters = [NvmlMeter(gpu.uuid, helper=helper) for gpu in gpus]
    return OpenMeters([(meter, meter.open()) for meter in meters])


def fit(callbacks: list[L.Callback], steps: int, epochs: int = 1, loggers: list | bool = False) -> None:
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        trainer = bare_trainer(folder, callbacks, max_epochs=epochs, logger=loggers)
        trainer.fit(Tiny(), batches(steps))


def import_ms(times: int) -> float:
    """Best of fresh interpreters, with bytecode, as an installed package has it."""
    compileall.compile_dir(ROOT / "lightning_energy", quiet=1)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-c", IMPORT]
    return min(
        float(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
        for _ in range(times)
    )


def hooks(seconds: float, repeats: int) -> dict:
    """Cost of steps of 2 ms, and of the ends of epochs, beyond the no-op callback's.

    A training's figures are over its steps (median, 99th percentile); each is compared with the training without us
    that ran beside it, and the median of these differences is given. Wall-clock times include the machine's other
    work; the thread's CPU time does not, but leaves out waits for the interpreter's lock as well.
    """
    tools = {t.name: t for t in TOOLS if t.name in {"no-op", "EnergyCallback"}}
    products, found = round(0.002 / calibrate()), {name: [] for name in tools}
    gpu = SimulatedGpu("driven", uuid=DRIVEN, jitter_s=0.002)
    with SimulatedNvml([gpu]) as nvml:
        for _ in range(repeats):
            for name, tool in tools.items():
                with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
                    found[name].append(train(tool, gpu, nvml, products, round(seconds / 0.002), Path(folder)))

    pairs = [*zip(found["EnergyCallback"], found["no-op"], strict=True)]

    def added(key: str) -> float:
        return statistics.median(ours[key] - base[key] for ours, base in pairs)

    keys = ("hook_us", "hook_p99_us", "hook_cpu_median_us", "hook_cpu_p99_us", "logged_us", "epoch_hook_ms")
    first_ms = pairs[0][0]["first_epoch_ms"] - pairs[0][1]["first_epoch_ms"]
    return {"first_epoch_ms": first_ms, **{key.removeprefix("hook_"): added(key) for key in keys}}


def logging_us(steps: int) -> dict:
    """Median time of a logging step beyond the loggers' own, with one and with four of them."""
    found = {}
    with SimulatedNvml(boards()):
        for n in (1, 4):
            callback = Watched(meters=NvmlMeter(UUID[:-1] + "0"), print_report=False, record=False)
            fit([callback], steps, loggers=[TimedLogger() for _ in range(n)])
            found[n] = statistics.median(callback.logged_us)
    return {"one_logger_us": found[1], "four_loggers_us": found[4], "per_logger_us": (found[4] - found[1]) / 3}


def background_percent(n: int, seconds: float, *, helper: bool) -> dict:
    """CPU time of all background work, in percent of a core, while the main thread sleeps and marks steps of 10 ms."""

    def look() -> tuple[float, float, int]:
        own_s = time.process_time() - time.thread_time()
        return own_s, children_cpu_s(), sum(c.reads for c in session.channels)

    with CompiledNvml(n, UUID, PERIOD_S) as nvml, helped(n, PERIOD_S):
        session = Session(opened(nvml.gpus, helper=helper), helper=helper)
        step, gap = session.code(0, "train", "step"), session.code(0, "train", "gap")
        mark_until(session, step, gap, WARM_S)
        begin = look()
        mark_until(session, step, gap, seconds)
        own_s, beside_s, reads = (b - a for a, b in zip(begin, look(), strict=True))
        session.close()
    percent, beside = 100 * own_s / seconds, 100 * beside_s / seconds
    return {"gpus": n, "helper": helper, "percent": percent, "percent_beside": beside, "reads_per_s": reads / seconds}


def mark_until(session: Session, step: int, gap: int, seconds: float) -> None:
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        session.mark(step)
        time.sleep(0.01)
        session.mark(gap)


def memory_of_marks(steps: int, *, helper: bool) -> dict:
    """The result of :func:`added_by_marks` in a process of its own: here, memory that was given back is used anew."""
    call = f"added_by_marks({steps}, helper={helper})"
    code = f"import json; from benchmarks.scale import added_by_marks; print(json.dumps({call}))"
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def added_by_marks(steps: int, *, helper: bool) -> dict:
    """Steps of 50 us, a tenth of what Lightning's loop alone takes: MiB since before the session, without helpers' own.

    They are taken every 50 steps, as the callback does.
    """
    gpus = boards()
    with SimulatedNvml(gpus):
        before_mib, early_mib, taken = rss_mib(), 0.0, 0
        session = Session(opened(gpus), helper=helper)
        step, gap = session.code(0, "train", "step"), session.code(0, "train", "gap")
        begin_ns = time.monotonic_ns()
        for i in range(steps):
            session.mark(step)
            while time.monotonic_ns() < begin_ns + 50_000 * i:
                pass
            session.mark(gap)
            if i % 50 == 0:
                news = session.ledger.take_steps()
                taken += len(news.energy_j) if news else 0
            if i == steps // 10:
                early_mib = rss_mib()
        late_mib, knots = rss_mib(), max(len(c.curve) for c in session.channels)
        session.finish()
        news = session.ledger.take_steps()
        taken += len(news.energy_j) if news else 0
        session.close()
    added = {"added_mib": late_mib - before_mib, "after_a_tenth_mib": late_mib - early_mib}
    return {"steps": steps, "helper": helper, **added, "knots_kept": knots, "steps_booked": taken}


def memory_of_a_trainer(steps: int) -> dict:
    """A real Trainer: MiB that come after the first tenth, without the callback and with it."""
    found = {}

    class Look(L.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
            if batch_idx in {steps // 10, steps - 1}:
                self.mib = [*getattr(self, "mib", []), rss_mib()]

    with SimulatedNvml(boards()):
        for name in ("without", "with"):
            look, energy = Look(), EnergyCallback(meters=NvmlMeter(UUID[:-1] + "0"), print_report=False, record=False)
            fit([look] if name == "without" else [energy, look], steps)
            found[f"{name}_mib"] = look.mib[-1] - look.mib[0]
    return {"steps": steps, **found}


def record_bytes(steps: int, epochs: int) -> int:
    with SimulatedNvml(boards()), tempfile.TemporaryDirectory() as folder:
        fit([EnergyCallback(meters=NvmlMeter(UUID[:-1] + "0"), print_report=False, record=folder)], steps, epochs)
        return Path(folder, "energy.json").stat().st_size


def setup_ms(times: int) -> list[float]:
    found = []
    for _ in range(times):
        callback = Watched(meters=NvmlMeter(UUID[:-1] + "0"), print_report=False)
        with SimulatedNvml(boards()):
            fit([callback], 1)
        found.append(callback.setup_ms)
    return found


def ranks_ms() -> float | None:
    """Result of benchmarks/ranks.py for an epoch of two ranks, with Lightning's reductions for our self.log."""
    path = ROOT / "benchmarks/results/ranks.json"
    rows = json.loads(path.read_text())["rows"] if path.exists() else []
    return next((r["epoch_ours_ms"] + r["epoch_logged_ms"] for r in rows if r["ranks"] == 2), None)


def measure(share: float) -> dict:
    """All measurements, at ``share`` of their full length."""
    first_ms, *later_ms = setup_ms(5)
    marks = round(1_000_000 * share)
    short, long = record_bytes(20, 3), record_bytes(400, 3)
    return {
        "import_ms": import_ms(max(3, round(8 * share))),
        "setup_ms": {"first": first_ms, "later": statistics.median(later_ms)},
        "hooks": hooks(3.0 * share, 10),
        "logging_step": logging_us(round(20_000 * share)),
        "background": [
            background_percent(n, max(6.0, 20.0 * share), helper=helper) for helper in (True, False) for n in (1, 8)
        ],
        "memory_of_marks": [memory_of_marks(marks, helper=helper) for helper in (True, False)],
        "memory_of_a_trainer": memory_of_a_trainer(round(40_000 * share)),
        "record_bytes": {"20 steps in 3 epochs": short, "400 steps in 3 epochs": long},
        "epoch_at_two_ranks_ms": ranks_ms(),
    }


def targets(r: dict) -> list[tuple[str, float, float, str]]:
    """(what, measured, at most, unit)."""
    one, eight, one_by_threads, eight_by_threads = r["background"]
    memory, memory_by_threads = r["memory_of_marks"]
    rows = [
        ("training thread per non-logging step, median", r["hooks"]["us"], 5, "us"),
        ("the same, its CPU time", r["hooks"]["cpu_median_us"], 5, "us"),
        ("training thread per non-logging step, 99th percentile", r["hooks"]["p99_us"], 25, "us"),
        ("the same, its CPU time", r["hooks"]["cpu_p99_us"], 25, "us"),
        ("logging step (one in 50), beyond the loggers' own time, median", r["hooks"]["logged_us"], 60, "us"),
        ("each further logger, beyond its own time", r["logging_step"]["per_logger_us"], 20, "us"),
        ("end of an epoch, beyond Lightning's own logging, median", r["hooks"]["epoch_hook_ms"], 2, "ms"),
        ("the same, the first of a process", r["hooks"]["first_epoch_ms"], 5, "ms"),
        ("background with one GPU, in the training's process", one["percent"], 0.5, "% of a core"),
        ("the same with eight GPUs", eight["percent"], 1.5, "% of a core"),
        ("background with one GPU, helper processes included", sum_of(one), 1, "% of a core"),
        ("the same with eight GPUs", sum_of(eight), 3, "% of a core"),
        ("background with one GPU, by threads alone", one_by_threads["percent"], 1, "% of a core"),
        ("the same with eight GPUs", eight_by_threads["percent"], 3, "% of a core"),
        (f"memory over {memory['steps']:,} steps, in the training's process", memory["added_mib"], 20, "MiB"),
        ("the same, by threads alone", memory_by_threads["added_mib"], 20, "MiB"),
        ("setup before the first batch, the first in a process", r["setup_ms"]["first"], 200, "ms"),
        ("import of EnergyCallback after lightning", r["import_ms"], 50, "ms"),
    ]
    if r["epoch_at_two_ranks_ms"] is not None:
        rows.append(("epoch at 2 ranks (benchmarks/ranks.py)", r["epoch_at_two_ranks_ms"], 10, "ms"))
    return rows


def sum_of(background: dict) -> float:
    return background["percent"] + background["percent_beside"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    found = measure(0.1 if args.quick else 1.0)
    print(f"\n{'':<60}{'measured':>10}{'at most':>10}")
    rows = []
    for what, value, limit, unit in targets(found):
        missed = "" if value <= limit else "   MISSED"
        print(f"{what:<60}{value:>10.2f}{limit:>10g} {unit}{missed}")
        rows.append({"target": what, "measured": value, "at_most": limit, "unit": unit, "met": value <= limit})
    print(json.dumps(found, indent=1))
    if args.json:
        result = {
            "what": "benchmarks/scale.py",
            "date": datetime.now(timezone.utc).date().isoformat(),
            "lightning_energy": __version__,
            "lightning": L.__version__,
            "python": platform.python_version(),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores; simulated NVML, no GPU",
            "targets": rows,
            "details": found,
        }
        args.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
