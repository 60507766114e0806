"""Cost and errors of measuring: EnergyCallback beside the tools that people use instead.

    python benchmarks/overhead.py                    # prints the table, about ten minutes
    python benchmarks/overhead.py --json FILE        # and writes it, with versions and machine
    python benchmarks/overhead.py --quick            # about two minutes, for a first look

Run from the repository's root, with the benchmark extra installed; a tool that is not there is named and left out. A
simulated GPU stands beneath the real pynvml (its counter moves every 100 ms), and the training drives its power. Truth
is the simulator's own integral, over the same time that the tool was measuring.

The loop is a real Lightning Trainer with Lightning's default logger. A step does a *fixed amount* of torch work that is
calibrated once for all processes, so that it lasts about 2, 10 or 50 ms. A step of fixed *duration* would hide the time
that a background thread takes from it: the step would end on time all the same. Each configuration runs in a process of
its own, they take turns, and the whole is repeated. Each process gives the medians of its steps; the table shows the
median of the repetitions, with the lowest and the highest. Costs are differences from the no-op callback's median.
"""

from __future__ import annotations

import argparse
import compileall
import json
import math
import os
import platform
import random
import stat
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
import warnings
from datetime import datetime, timezone
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
warnings.filterwarnings("ignore", message="The pynvml package is deprecated")  # CodeCarbon installs it, torch sees it

from benchmarks.overhead_run import calibrate, run_one
from benchmarks.rivals import TOOLS, Tool

STEPS = {"2 ms": (0.002, 2.5), "10 ms": (0.01, 4.0), "50 ms": (0.05, 4.0)}  # name: seconds of a step, of a training
BASE = {1: "no-op, log 1", 10: "no-op, log 10", 50: "no-op"}
REPEATS = 3
TIMEOUT_S = 600

COLUMNS = {  # key: (heading, what, digits)
    "hook_us": ("hook", "us per step that is not logged, in the tool's own batch hooks, median", 1),
    "hook_p99_us": ("p99", "the same, 99th percentile", 1),
    "hook_cpu_us": (
        "CPU",
        "training-thread CPU time in its batch hooks, us per step, mean of all steps, logged or not",
        1,
    ),
    "logged_us": ("logged", "us per step that is logged, in the same hooks, beyond the loggers' own time, median", 1),
    "loop_us": ("loop", "added to the time from step to step, us, median", 0),
    "epoch_ms": ("epoch", "added between two epochs, ms", 1),
    "epoch_hook_ms": ("at end", "in its hook at the end of an epoch, beyond Lightning's own logging, ms, median", 2),
    "first_epoch_ms": ("first", "the same at the end of a training's first epoch, ms", 2),
    "other_cpu": ("bg %", "CPU time of all other threads and child processes, % of a core", 2),
    "calls_per_s": ("NVML/s", "NVML calls per second", 1),
    "calls_in_thread": ("in thr.", "of them in the training thread, per step", 2),
    "rss_mib": ("MiB", "memory added by importing and running, MiB", 1),
    "import_ms": ("import", "beyond importing Lightning, ms", 0),
    "start_ms": ("start", "from making the tool to the first batch, ms", 0),
    "stop_ms": ("stop", "from the end of training to the end of fit, ms", 0),
}
ERRORS = {
    "step_error": ("step", "energy per step: rms error, % of the mean step"),
    "epoch_error": ("epoch", "energy per epoch: rms error, %"),
    "total_error": ("total", "energy of the training: error, %"),
}


def in_process(tool: Tool, plan: dict, folder: Path) -> dict | None:
    """One configuration in a fresh interpreter; ``None`` after a failure, which is printed."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # else our own modules alone would be compiled at every import
    command = [sys.executable, __file__, "--run", tool.name, json.dumps(plan)]
    with tempfile.TemporaryDirectory(dir=folder) as own:
        try:
            done = subprocess.run(
                [*command, own],
                env=environment,
                cwd=own,
                capture_output=True,
                text=True,
                timeout=TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            print(f"{tool.name}: no end within {TIMEOUT_S} s; left out", flush=True)
            return None
        result = Path(own, "result.json")
        if done.returncode or not result.exists():
            print(f"{tool.name}: failed, left out\n{textwrap.indent(done.stderr[-1500:], '    ')}", flush=True)
            return None
        return json.loads(result.read_text())


def fake_nvidia_smi(folder: Path) -> None:
    """Make a program of this name: CodeCarbon looks for a GPU only where one runs, and asks it nothing."""
    path = folder / "bin" / "nvidia-smi"
    path.parent.mkdir()
    path.write_text("#!/bin/sh\nexit 0\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def measure(repeats: int, share: float, only: list[str]) -> tuple[list[dict], list[str]]:
    """All repetitions of all configurations, in an order that changes; and the names of those left out."""
    per_product_s = calibrate()
    plan = {
        name: {"products": max(1, round(step_s / per_product_s)), "steps": max(40, round(share * seconds / step_s))}
        for name, (step_s, seconds) in STEPS.items()
    }
    tools = [t for t in TOOLS if not only or t.name in only or t.name in BASE.values()]
    missing = [t.name for t in tools if t.version is None]
    tools = [t for t in tools if t.version is not None]
    runs, rng = [], random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        fake_nvidia_smi(Path(folder))
        for repeat in range(repeats):
            for tool in rng.sample(tools, len(tools)):
                begin = time.monotonic()
                found = in_process(tool, plan, Path(folder))
                if found is not None:
                    runs.append({"tool": tool.name, "repeat": repeat, **found})
                    print(f"  {repeat + 1}/{repeats} {tool.name}: {time.monotonic() - begin:.0f} s", flush=True)
    return runs, missing


def summarize(runs: list[dict]) -> list[dict]:
    """Per tool and step length: the median over repetitions of each column, with the lowest and the highest."""
    rows = []
    for tool in TOOLS:
        mine = [r for r in runs if r["tool"] == tool.name]
        for step in STEPS if mine else ():
            row = {"tool": tool.name, "step": step, "measures": tool.measures, "repeats": len(mine)}
            for key in COLUMNS:
                bases = [value(r, step, key) for r in runs if r["tool"] == BASE[tool.log_every_n_steps]]
                base = statistics.median(bases) if bases else math.nan
                row[key] = spread([value(run, step, key) - base for run in mine])
            for key in ERRORS:
                row[key] = spread([run["steps"][step][key] for run in mine if run["steps"][step][key] is not None])
            rows.append(row)
    return rows


def value(run: dict, step: str, key: str) -> float:
    """A column that belongs to the process, or to one of its trainings."""
    return run["steps"][step][key] if key in run["steps"][step] else run[key]


def spread(values: list[float]) -> dict | None:
    if not values:
        return None
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def cell(value: dict | None, digits: int) -> str:
    """The median, and half the distance from the lowest to the highest."""
    if value is None:
        return "-"
    half = (value["high"] - value["low"]) / 2
    return f"{value['median']:.{digits}f}±{half:.{digits}f}"


def print_tables(rows: list[dict]) -> None:
    for step in STEPS:
        print(f"\nSteps of about {step}: added over the no-op callback, median ± half the spread of the repetitions\n")
        print(f"{'':<23}" + "".join(f"{heading:>14}" for heading, _, _ in COLUMNS.values()))
        for row in (r for r in rows if r["step"] == step):
            cells = "".join(f"{cell(row[key], digits):>14}" for key, (_, _, digits) in COLUMNS.items())
            print(f"{row['tool']:<23}{cells}")
        print(f"\n{'':<23}" + "".join(f"{heading:>14}" for heading, _ in ERRORS.values()) + "   error in %")
        for row in (r for r in rows if r["step"] == step and r["measures"]):
            print(f"{row['tool']:<23}" + "".join(f"{cell(row[key], 2):>14}" for key in ERRORS))
    print()
    for heading, what, *_ in (*COLUMNS.values(), *ERRORS.values()):
        print(f"  {heading:<7} {what}")


NOTES = """
Use of each tool, and differences from its documentation:
  all             A file called nvidia-smi that does nothing is on the PATH (CodeCarbon looks for it). No network.
  CodeCarbon      OfflineEmissionsTracker(country_iso_code="USA"), log_level="error"; start/stop, or a task per epoch
                  without start, as in its guide. Its GPU energy is compared, not its models of CPU and RAM.
  Zeus            ZeusMonitor(gpu_indices=[0]); a window per epoch, and in "Zeus steps" one per step as well, as in its
                  guide. sync_execution=False: without CUDA its synchronization raises. On a GPU it would wait for
                  the device twice per window (benchmarks/gpu.py measures that).
  carbontracker   CarbonTracker(epochs=..., components="gpu", log_dir=...); its figures are divided by the PUE of 1.58.
  eco2AI          start_training / new_epoch / stop_training, alpha_2_code="US"; its GPU part, from its GPU object.
  bare            takes two time stamps per step, and gives loggers two values at each logging step: the least there
                  can be. Of a training of 50 ms steps, one step in 50 is a single one: "log 10" shows more of them.
                  With tuples, whose sizes no DataLoader promises, it also keeps the shape of each batch.
  DeviceStatsMonitor  reports no energy. On a CPU it logs CPU statistics.
  EnergyCallback  meters=NvmlMeter(uuid): "auto" looks where torch trains, and that is a CPU here. On a GPU each mark
                  also records a CUDA event (benchmarks/gpu.py measures that).
The simulated driver answers within some 10 us of Python, whoever asks; a real one takes tens of us to milliseconds, at
the expense of those who ask in the training thread. Trainings are short: tools that look every 10 or 15 s look once
or twice. Memory and import of CodeCarbon are loaded when it starts, and stand there.
"""


def verdict(rows: list[dict]) -> list[str]:
    """Say at what EnergyCallback is not first among the tools that report energy, and why: a line for each part."""
    lines = []
    for part, (keys, why) in PARTS.items():
        ahead = {}
        for key in keys:
            for step in STEPS:
                measured = {
                    r["tool"]: r[key] for r in rows if r["step"] == step and r["measures"] and r[key] is not None
                }
                mine = measured.get("EnergyCallback")
                for tool, theirs in measured.items():
                    if mine is not None and not tool.startswith("EnergyCallback") and better(theirs, mine, key):
                        ahead.setdefault(tool, None)
        if ahead:
            lines.append(f"{part}: behind {', '.join(ahead)}. {why}")
    return lines


def better(theirs: dict, mine: dict, key: str) -> bool:
    """Return true if theirs is lower by more than the repetitions scatter."""
    if key in ERRORS:  # how far from the truth, on either side
        return max(abs(theirs["low"]), abs(theirs["high"])) < abs(mine["median"])
    return theirs["high"] < mine["low"]


PARTS = {  # part: the columns, and why others may be first there
    "A step": (
        ("hook_us", "hook_p99_us", "hook_cpu_us", "logged_us", "loop_us"),
        (
            "It takes a time stamp at both ends of every step, and its threads share the interpreter's lock; those "
            "ahead know nothing of single steps."
        ),
    ),
    "An epoch": (
        ("epoch_ms", "epoch_hook_ms", "first_epoch_ms"),
        "It works out what the epoch took, logs it, and has a record written.",
    ),
    "The background": (
        ("other_cpu", "calls_per_s"),
        (
            "It watches the counter to see when it moves, which makes single steps known; those ahead ask once per "
            "second, step or epoch."
        ),
    ),
    "Beginning and end": (
        ("import_ms", "start_ms", "stop_ms", "calls_in_thread"),
        (
            "It opens the board and starts its threads; at the end it waits for the counter's next move, up to 0.25 s, "
            "and works out what all of the run tells of the counter."
        ),
    ),
    "Memory": (("rss_mib",), "It keeps what the counter told, and numpy's buffers."),
    "The figures": (
        (*ERRORS,),
        "In trainings of seconds a share of the counter's first and last update is left, for everyone.",
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one short repetition")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--only", nargs="+", default=[], help="names of configurations")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--run", nargs=3, help=argparse.SUPPRESS)  # the task of a child process
    args = parser.parse_args()
    if args.run:
        name, plan, folder = args.run
        tool = next(t for t in TOOLS if t.name == name)
        Path(folder, "result.json").write_text(json.dumps(run_one(tool, json.loads(plan), Path(folder))))
        return
    compileall.compile_dir(ROOT / "lightning_energy", quiet=1)
    runs, missing = measure(1 if args.quick else args.repeats, 0.4 if args.quick else 1.0, args.only)
    rows = summarize(runs)
    print_tables(rows)
    print(NOTES)
    for name in missing:
        print(f"{name}: not installed, left out; pip install '.[benchmark]'")
    behind = verdict(rows)
    print("Where EnergyCallback is not first among those that report energy:")
    print("\n".join(f"  {line}" for line in behind) or "  nowhere")
    if args.json:
        versions = {t.package: t.version for t in TOOLS if t.version}
        result = {
            "what": "benchmarks/overhead.py",
            "date": datetime.now(timezone.utc).date().isoformat(),
            "versions": versions,
            "python": platform.python_version(),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores; simulated NVML, no GPU",
            "columns": {k: f"{c[0]}: {c[1]}" for k, c in [*COLUMNS.items(), *ERRORS.items()]},
            "rows": rows,
            "not_first": behind,
            "left_out": missing,
        }
        args.json.write_text(json.dumps(rounded(result), indent=1) + "\n")


def rounded(value: object) -> object:
    """Round to four digits, which are more than a repetition repeats."""
    if isinstance(value, float):
        return float(f"{value:.4g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    return [rounded(v) for v in value] if isinstance(value, list) else value


if __name__ == "__main__":
    main()
