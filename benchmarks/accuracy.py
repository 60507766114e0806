"""Errors of the energies of steps and of runs, and coverage of their stated uncertainties.

    python benchmarks/accuracy.py --processes 2      # prints the tables; some twenty minutes
    python benchmarks/accuracy.py --json FILE        # and writes them, with seeds and machine
    python benchmarks/accuracy.py --parts schedules --json FILE  # one part only; the others stay in FILE as they are
    python benchmarks/accuracy.py --parts schedules --only "8 boards" --runs 1

Run from the repository's root, with the test extra installed. All of it is in virtual time: the package's channels
poll simulated boards through the real pynvml by the plan of one thread, and the real ledger shares out what they find.
Truth is the boards' own integral.

Table 1, per step (start to next start; power scatters by 5 % from step to step, the board idles for the last tenth
of each): relative RMS error of
  limit       straight lines between the counter's values at its true update times: no line can be better than this
  ours        this package: fitted powers between the updates that its channel found
  lines       straight lines between these updates
  edges 10 ms knots where the counter was seen to move by a poll every 10 ms
  all polls   straight lines between all values of that poll
  counter     the counter read at the beginning and end of the step
  power x t   one look at the instantaneous power per step, times its duration
All see the very same run. Its total is compared as well, and so is that of the limit: a run that begins and ends inside
an update interval with a change of load has an error there that no line can remove.
Table 2, coverage: share of random windows whose error is within 2 u.

Table 3, schedules: trainings of epochs and validations, late counters, slow calls and several boards, as in
benchmarks/sharing.py, whose windows and columns these are; errors by straight lines > by fitted powers. What that
benchmark supposes is done here: calls take their time (0.05 ms, or 3.4 ms as on a board in a virtual machine), and the
points of the curve stand where the polling thread saw the counter move. The last third of the runs has other powers.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import random
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import sharing
from benchmarks.sharing import BASE, BUSY_6, COARSE, FINE, Case, late
from lightning_energy import __version__
from lightning_energy.curves.channel import Channel
from lightning_energy.meters import MeterInfo, ReplayMeter
from tests.sim.clock import VirtualClock, drive
from tests.sim.virtual_run import Sensor, Work, play, training
from tests.sim.watched import AGE_S, FAST_CALL_S, LATE_S, by_channels

if TYPE_CHECKING:
    from tests.sim.nvml import SimulatedGpu

S = 10**9
PERIODS_S = (0.1, 0.02)
STEPS_S = (0.002, 0.01, 0.05, 0.2)
DETUNE = 1.0137  # factor on a step's duration, so that it does not divide the counter's period
BUSY_W, IDLE_W = 300.0, 80.0
POLL_S = 0.01  # of many tools
METHODS = ("limit", "ours", "lines", "edges 10 ms", "all polls", "counter", "power x t")


def updates(gpu: SimulatedGpu, start_s: float, end_s: float) -> np.ndarray:
    """True times of the counter's updates, in seconds since the board was found."""
    first = int((start_s - gpu.phase_s) // gpu.counter_period_s) - 1
    last = int((end_s - gpu.phase_s) // gpu.counter_period_s) + 2
    return np.array([gpu._update_s(k) for k in range(first, last)])


def counter_j(gpu: SimulatedGpu, at_s: np.ndarray) -> np.ndarray:
    """What the counter shows at moments."""
    values = []
    for moment_s in at_s.tolist():
        gpu.clock = lambda moment_s=moment_s: gpu.start_ns + round(moment_s * S)
        values.append(gpu.counter_mj() * 1e-3)
    return np.array(values)


def one_cell(period_s: float, step_s: float, seconds: float, seed: int) -> dict:
    """Errors of single steps by several methods, of the very same run."""
    work = Work(
        epochs=1,
        train_s=seconds,
        validate_s=0.0,
        step_s=step_s * DETUNE,
        watts=(IDLE_W, BUSY_W, IDLE_W, IDLE_W, IDLE_W),
        regular=True,
    )
    boards: list[SimulatedGpu] = []
    sensor = Sensor(update_s=period_s, jitter_s=0.02 * period_s)
    run = play(seed, work, sensor, settle_s=1.0, watch=by_channels(boards=boards))
    (gpu,) = boards
    pieces = training(np.random.default_rng(seed), work)  # the same again
    edge_s = AGE_S + np.concatenate([[0.0], np.cumsum(pieces.duration_s)])
    is_step = np.array([account is not None and account[2] == "step" for account in pieces.account])
    start_s = np.append(edge_s[:-1][is_step], edge_s[-2])
    steps, whole = (np.array(run.kind) == kind for kind in ("single step", "run"))
    truth_j = run.true_j[steps]
    update_s = updates(gpu, start_s[0], start_s[-1])
    pauses = round((seconds + 2) / POLL_S)
    poll_s = start_s[0] - 1 + np.cumsum(POLL_S + np.random.default_rng(seed).uniform(0, LATE_S, pauses))
    polled_j = counter_j(gpu, poll_s)
    moved = np.flatnonzero(np.diff(polled_j) > 0)
    at_edges_s = (poll_s[moved] + poll_s[moved + 1]) / 2
    energies = {
        "limit": np.diff(np.interp(start_s, update_s, [gpu.power.energy_j(t) for t in update_s])),
        "ours": run.found_j[steps],
        "lines": run.line_j[steps],
        "edges 10 ms": np.diff(np.interp(start_s, at_edges_s, polled_j[moved + 1])),
        "all polls": np.diff(np.interp(start_s, poll_s, polled_j)),
        "counter": np.diff(counter_j(gpu, start_s)),
        "power x t": pieces.power_w[is_step] * np.diff(start_s),
    }
    inner = slice(round(0.5 / step_s), -max(2, round(0.5 / step_s)))  # away from the ends, unseen by the others
    row = {"period_s": period_s, "step_s": step_s, "seed": seed, "steps": len(truth_j)}
    for name in METHODS:
        error_j = (energies[name] - truth_j)[inner]
        row[name] = float(np.sqrt(np.mean(error_j**2)) / truth_j[inner].mean())
    row["ours / limit"] = row["ours"] / row["limit"]
    row["total"] = float(run.found_j[whole][0] / run.true_j[whole][0] - 1)
    row["total limit"] = float(energies["limit"].sum() / truth_j.sum() - 1)
    row["total_u"] = float(run.u_j[whole][0] / run.true_j[whole][0])
    return row


LOADS = {
    "45 + 5 ms": [(0.045, 320.0), (0.005, 80.0)],
    "51 + 51 ms (near U)": [(0.051, 380.0), (0.051, 90.0)],
    "118 + 13 ms": [(0.118, 350.0), (0.013, 90.0)],
    "213 + 104 ms": [(0.213, 400.0), (0.104, 80.0)],
    "319 + 42 ms": [(0.319, 350.0), (0.042, 90.0)],
    "1.3 + 0.4 s": [(1.31, 250.0), (0.43, 60.0)],
}


def coverage(seed: int, windows: int = 300) -> list[dict]:
    """Windows of 2 ms to 3 s over loads that repeat, on a virtual clock."""
    rows = []
    rng = random.Random(seed)
    for period_s in PERIODS_S:
        for name, load in LOADS.items():
            clock = VirtualClock()
            info = MeterInfo("d", "d", "measured", "gpu", power_max_w=460.0, power_min_w=50.0, instant_power=True)
            meter = ReplayMeter(load, counter_period_s=period_s, clock=clock, info=info)
            channel = Channel(meter, meter.open(), clock=clock)
            start_ns = clock.now_ns
            drive(channel, clock, start_ns + 25 * S, late_s=0.001, seed=rng.randrange(10**6))
            channel.finish()
            errors, us = [], []
            for _ in range(windows):
                a_ns = start_ns + round(rng.uniform(3.0, 20.0) * S)
                b_ns = a_ns + round(math.exp(rng.uniform(math.log(0.002), math.log(3.0))) * S)
                energy = channel.curve.energy_between(a_ns, b_ns)
                errors.append(abs(energy.energy_j - meter.true_energy_j(a_ns, b_ns)))
                us.append(energy.u_j)
            rows.append({"period_s": period_s, "load": name, "seed": seed, "errors_j": errors, "u_j": us})
    return rows


def summary(rows: list[dict]) -> dict:
    errors, us = (np.concatenate([r[k] for r in rows]) for k in ("errors_j", "u_j"))
    return {
        "windows": len(errors),
        "within_2u": float((errors <= 2 * us).mean()),
        "median_u_over_median_error": float(np.median(us) / np.median(errors)),
    }


SLOW_CALL_S = 0.0034  # an H200 in a virtual machine
ALSO_POLLED = (  # cases of benchmarks/sharing.py
    "12 x (2 + 0.5 s)",
    "50 epochs",
    "5 x (30 + 3 s)",
    "20 x (30 + 3 s)",
    "validations of 80 ms",
    "3 epochs",
    "busy 6 s between idle",
    "busy 30 s between idle",
    "50 ms steps",
    "200 ms steps",
    *(f"{ms} ms late" for ms in (10, 25, 50, 200)),
    *(f"busy 6 s, {ms} ms late" for ms in (25, 200)),
    *(f"{n} boards" for n in (4, 8)),
    *(f"busy 6 s, {n} boards" for n in (4, 8)),
)


def schedules() -> dict[str, tuple[Case, float]]:
    """Cases, each with the duration of a call in seconds; 12 x (2 + 0.5 s) unless the name says otherwise."""
    result: dict[str, tuple[Case, float]] = {}
    of_sharing = sharing.cases()
    for u_ms, sensor in ((100, COARSE), (20, FINE)):
        fast = {name: of_sharing[f"{u_ms} ms: {name}"] for name in ALSO_POLLED}
        fast["updates up to 2 ms late"] = Case(BASE, replace(sensor, jitter_s=0.002))
        slow = {
            "slow calls": Case(BASE, sensor),
            "slow calls, validations of 80 ms": Case(replace(BASE, validate_s=0.08), sensor),
            "slow calls, busy 6 s": Case(BUSY_6, sensor),
            "slow calls, 200 ms steps": Case(replace(BASE, step_s=0.2), sensor),
            "slow calls, 50 epochs, 25 ms late": Case(replace(BASE, epochs=50), late(sensor, 25)),
            "slow calls, 200 ms late": Case(BASE, late(sensor, 200)),
            "slow calls, 4 boards": Case(BASE, sensor, 4),
            "slow calls, 8 boards": Case(BASE, sensor, 8),
            "slow calls, busy 6 s, 8 boards": Case(BUSY_6, sensor, 8),
        }
        for call_s, rows in ((FAST_CALL_S, fast), (SLOW_CALL_S, slow)):
            result |= {f"{u_ms} ms: {name}": (case, call_s) for name, case in rows.items()}
    return result


def one_schedule(task: tuple[str, int, int]) -> sharing.Windows:
    """One run of a case: its name, the base seed, and the number of the run."""
    case, call_s = schedules()[task[0]]
    return sharing.windows_of(task[0], sharing.played(case, task, by_channels(call_s)))


def schedules_of(args: argparse.Namespace) -> dict:
    """Play all runs of all cases, and print and return their table."""
    names = [n for n in schedules() if not args.only or any(text in n for text in args.only)]
    tasks = [(name, seed, number) for name in names for seed in args.seeds for number in range(args.runs)]
    print(
        "\nSchedules: relative errors in %: straight line > fit (rms), bias, within u / 2 u, median u / median error\n"
    )
    if args.processes > 1:
        os.environ["OPENBLAS_NUM_THREADS"] = "1"
        with ProcessPoolExecutor(args.processes) as pool:
            done = sharing.collected(pool.map(one_schedule, tasks, chunksize=1), len(args.seeds) * args.runs)
    else:
        done = sharing.collected(map(one_schedule, tasks), len(args.seeds) * args.runs)
    rows = sharing.table(done)
    print(sharing.shown(rows[-1]))
    found = {"date": _today(), "seeds": args.seeds, "runs": len(done), "slow_call_s": SLOW_CALL_S, "rows": rows}
    return sharing.rounded(found)


def steps_of(args: argparse.Namespace) -> list[dict]:
    """Errors per step, printed and returned."""
    print("Relative RMS error per step, in percent\n")
    print(
        f"{'U':>7} {'step':>7} {'seed':>4} "
        + " ".join(f"{m:>11}" for m in METHODS)
        + f" {'ours/limit':>10} {'total':>8} {'limit':>8} {'u':>7}"
    )
    cells = []
    for period_s in PERIODS_S:
        for step_s in STEPS_S:
            for seed in args.seeds:
                row = sharing.rounded(one_cell(period_s, step_s, args.seconds, seed))
                cells.append(row)
                methods = " ".join(f"{100 * row[m]:>11.2f}" for m in METHODS)
                print(
                    f"{period_s * 1e3:>4.0f} ms {step_s * 1e3:>4.0f} ms {seed:>4} {methods} "
                    f"{row['ours / limit']:>10.2f} {100 * row['total']:>7.3f}% {100 * row['total limit']:>7.3f}% "
                    f"{100 * row['total_u']:>6.3f}%",
                    flush=True,
                )
    return cells


def coverage_of(args: argparse.Namespace) -> list[dict]:
    """Coverage of random windows, printed and returned."""
    print("\nCoverage of the stated uncertainty by random windows\n")
    covered = []
    for seed in args.seeds:
        rows = coverage(seed)
        for row in rows:
            one = summary([row])
            print(
                f"{row['period_s'] * 1e3:>4.0f} ms {row['load']:>20} {seed:>4} "
                f"within 2u {100 * one['within_2u']:>6.1f} %  "
                f"median u / median |error| {one['median_u_over_median_error']:>6.1f}"
            )
        covered.append({"seed": seed, **summary(rows)})
    for row in covered:
        print(
            f"all, seed {row['seed']}: {row['windows']} windows, within 2u {100 * row['within_2u']:.1f} %, "
            f"median u / median |error| {row['median_u_over_median_error']:.2f}"
        )
    return covered


def _today() -> str:
    return datetime.now(timezone.utc).date().isoformat()


PARTS = {"steps": steps_of, "coverage": coverage_of, "schedules": schedules_of}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=[*PARTS])
    parser.add_argument("--seconds", type=float, default=20.0, help="length of each run of the steps")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--runs", type=int, default=4, help="of each schedule and seed: 500 of each kind of window")
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="TEXT", help="schedules with one of these in their name"
    )
    parser.add_argument("--processes", type=int, default=1, help="that play schedules")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    result = json.loads(args.json.read_text()) if args.json and args.json.exists() else {}
    found = {part: PARTS[part](args) for part in args.parts}
    if "steps" in found:
        result |= {
            "what": "benchmarks/accuracy.py",
            "date": _today(),
            "lightning_energy": __version__,
            "python": platform.python_version(),
            "machine": f"{platform.machine()}; virtual time, simulated NVML, no GPU",
            "seconds": args.seconds,
        }
    if args.json:
        args.json.write_text(json.dumps(result | found, indent=1) + "\n")


if __name__ == "__main__":
    main()
