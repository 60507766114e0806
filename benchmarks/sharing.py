"""Errors of runs, stages, epochs, steps and gaps by straight lines between a counter's updates and by fitted powers.

    python benchmarks/sharing.py                     # prints the table; some fifteen minutes
    python benchmarks/sharing.py --quick             # two runs of a few cases; seconds
    python benchmarks/sharing.py --json FILE         # and writes it, with seeds and machine
    python benchmarks/sharing.py --only "80 ms" --runs 4 --processes 2

Run from the repository's root, with the test extra installed. A training and a counter are played in virtual time
through the real ledger: trainings of steps, gaps and validations between idle times, on counters that are coarse,
late, smooth, look at a part of the time, or round. Truth is the training's own integral. The straight line's shares
are worked out here, from the very same updates and marks.

For each case and kind of window: bias and root mean square of the relative error for both, the shares of errors of
the fit within u and within 2 u, and how many times the median error the median u is. Windows:
  run            the whole run
  train          all training of the run
  validation     all validation of the run
  epoch          each epoch
  epoch x stage  each epoch's training and validation
  step/gap       all training steps, and all gaps between them
  single step    each training step, from its start to the next one's
The last third of the runs of each case has other powers than those the model was made with. A case falls short
where, by more than chance explains, not 55 to 88 % of the errors are within u, or fewer than 93 % within 2 u, or the
median u is more than three times the median error, or a stage's bias is more than 0.3 %; a stage whose u is above 1 %
is not resolved.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import sys
import zlib
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from lightning_energy import __version__
from tests.sim.virtual_run import Result, Sensor, Watch, Work, at_brackets, play

KINDS = ("run", "train", "validation", "epoch", "epoch x stage", "step/gap", "single step")
MANY = ("epoch", "epoch x stage", "single step")  # kinds of which a run has many
STAGES = ("train", "validation")
WITHIN_U, WITHIN_2U, WIDEST = (0.55, 0.88), 0.93, 3.0  # what a standard uncertainty must be
BIAS, RESOLVED = 0.003, 0.01  # relative: greatest bias of a stage, and greatest u of one that counts as resolved
FEW = 5  # the largest of so many values bounds their median in 97 % of cases
SEEDS = (1, 2, 3)
OTHER_W = (60.0, 390.0, 150.0, 230.0, 60.0)
"""Powers of idle, step, gap, validation and idle for the last of the base seeds."""


class Case(NamedTuple):
    """A training, a counter, and the number of boards."""

    work: Work
    sensor: Sensor
    boards: int = 1


BASE = Work()
COARSE, FINE = Sensor(), Sensor(update_s=0.02)
BUSY_6, BUSY_30 = replace(BASE, epochs=3, validate_s=0.0), replace(BASE, epochs=15, validate_s=0.0)
LONG = replace(BASE, train_s=30.0, validate_s=3.0)


TWO_KINDS = ((1.3, 1.0), (0.5, 1.0))  # power and duration of steps in turns, relative to the usual
LONG_AND_SHORT = ((1.2, 1.3), (0.6, 0.7))
FOURTH = ((1.0, 1.0), (1.0, 1.0), (1.0, 1.0), (0.4, 1.2))


def late(sensor: Sensor, lag_ms: float, ema_ms: float = 0.0) -> Sensor:
    return replace(sensor, lag_s=lag_ms * 1e-3, ema_s=ema_ms * 1e-3)


def cases() -> dict[str, Case]:
    """All cases. A training is 12 x (2 s + 0.5 s of validation) in steps of 37 ms unless the name says otherwise."""
    result: dict[str, Case] = {}
    for u_ms, sensor in ((100, COARSE), (20, FINE)):
        rows = {
            "12 x (2 + 0.5 s)": Case(BASE, sensor),
            "50 epochs": Case(replace(BASE, epochs=50), sensor),
            "5 x (30 + 3 s)": Case(replace(LONG, epochs=5), sensor),
            "20 x (30 + 3 s)": Case(replace(LONG, epochs=20), sensor),
            "validations of 80 ms": Case(replace(BASE, validate_s=0.08), sensor),
            "3 epochs": Case(replace(BASE, epochs=3), sensor),
            "busy 6 s between idle": Case(BUSY_6, sensor),
            "busy 30 s between idle": Case(BUSY_30, sensor),
            "stages open with 0.1 s idle": Case(replace(BASE, opening=(0.1, 60.0)), sensor),
            "50 ms steps": Case(replace(BASE, step_s=0.05), sensor),
            "50 ms steps, locked to the period": Case(replace(BASE, step_s=0.05, regular=True), sensor),
            "200 ms steps": Case(replace(BASE, step_s=0.2), sensor),
        }
        rows |= {f"{ms} ms late": Case(BASE, late(sensor, ms)) for ms in (10, 25, 50, 200)}
        rows |= {f"busy 6 s, {ms} ms late": Case(BUSY_6, late(sensor, ms)) for ms in (10, 25, 50, 200)}
        rows |= {
            "50 epochs, 25 ms late": Case(replace(BASE, epochs=50), late(sensor, 25)),
            "smooths over 20 ms": Case(BASE, late(sensor, 0, 20)),
            "smooths over 50 ms": Case(BASE, late(sensor, 0, 50)),
            "smooths over 50 ms, 50 ms late": Case(BASE, late(sensor, 50, 50)),
            "looks at 25 %": Case(BASE, replace(sensor, look=0.25)),
            "busy 30 s, looks at 25 %": Case(BUSY_30, replace(sensor, look=0.25)),
            "whole watts x period": Case(BASE, replace(sensor, whole_w=1.0)),
            "updates jitter by 0.5 ms": Case(BASE, replace(sensor, jitter_s=0.0005)),
            "drift of 10 %": Case(replace(BASE, drift=0.1), sensor),
            "drift of 40 %": Case(replace(BASE, drift=0.4), sensor),
            "half power for 50 steps, 3 epochs": Case(replace(BASE, epochs=3, cold_steps=50), sensor),
            "scatter correlated by 0.95": Case(replace(BASE, correlated=0.95), sensor),
            "idle 95 W afterwards": Case(replace(BASE, watts=(60.0, 300.0, 90.0, 120.0, 95.0)), sensor),
            "4 boards": Case(BASE, sensor, 4),
            "8 boards": Case(BASE, sensor, 8),
            "busy 6 s, 4 boards": Case(BUSY_6, sensor, 4),
            "busy 6 s, 8 boards": Case(BUSY_6, sensor, 8),
        }
        for ms in (20, 50, 200):
            turns = replace(BASE, train_s=5.0, step_s=ms * 1e-3)
            rows |= {
                f"{ms} ms steps, two kinds": Case(replace(turns, kinds=TWO_KINDS), sensor),
                f"{ms} ms steps, long and short": Case(replace(turns, kinds=LONG_AND_SHORT), sensor),
            }
        rows |= {
            "50 ms steps, every fourth another": Case(replace(BASE, train_s=5.0, step_s=0.05, kinds=FOURTH), sensor),
            "50 ms steps, two kinds, locked": Case(
                replace(BASE, train_s=5.0, step_s=0.05, kinds=TWO_KINDS, regular=True), sensor
            ),
        }
        result |= {f"{u_ms} ms: {name}": case for name, case in rows.items()}
    result["600 ms: 12 x (2 + 0.5 s)"] = Case(BASE, Sensor(update_s=0.6))
    return result


QUICK = ("100 ms: 3 epochs", "20 ms: busy 6 s between idle", "100 ms: busy 6 s, 4 boards")


class Windows(NamedTuple):
    """The windows of one run: kind, joules found, standard uncertainty, truth, and joules by straight lines."""

    case: str
    kind: np.ndarray
    found_j: np.ndarray
    u_j: np.ndarray
    true_j: np.ndarray
    line_j: np.ndarray
    lag_s: float
    u_lag_s: float
    ema_s: float
    conserved: float


def one_run(task: tuple[str, int, int]) -> Windows:
    """One run of a case: its name, the base seed, and the number of the run."""
    return windows_of(task[0], played(cases()[task[0]], task))


def played(case: Case, task: tuple[str, int, int], watch: Watch = at_brackets) -> Result:
    """Play a run of a case; ``watch``: how the updates of its counters are seen."""
    name, base_seed, number = task
    work, sensor, boards = case
    if base_seed == SEEDS[-1]:
        work = replace(work, watts=(*OTHER_W[:4], max(work.watts[4], OTHER_W[4])))
    seed = zlib.crc32(f"{name} {base_seed} {number}".encode())  # each run has a training of its own
    return play(seed, work, sensor, boards=boards, settle_s=1.0, watch=watch)


def windows_of(name: str, run: Result) -> Windows:
    """The windows of a run."""
    kind, stages = np.array(run.kind, dtype="U16"), iter(("train", "validation"))
    for place in np.flatnonzero(kind == "stage"):
        kind[place] = next(stages)
    known = [book.sharing.found for book in run.ledger.books]
    return Windows(
        name,
        kind,
        *(np.asarray(x) for x in (run.found_j, run.u_j, run.true_j, run.line_j)),
        float(np.mean([k.kernel.lag_s for k in known])),
        float(np.mean([k.u_lag_s for k in known])),
        float(np.mean([k.kernel.ema_s for k in known])),
        float(np.abs(run.booked_j / run.rise_j - 1).max()),
    )


def summary(runs: list[Windows], kind: str) -> dict | None:
    """Errors and coverage of a kind of window over some runs; ``None`` if there are none."""
    found_j, u_j, true_j, line_j = (
        np.concatenate([getattr(run, f)[run.kind == kind] for run in runs])
        for f in ("found_j", "u_j", "true_j", "line_j")
    )
    if not true_j.size:
        return None
    error_j, relative, of_line = np.abs(found_j - true_j), found_j / true_j - 1, line_j / true_j - 1
    per_run = [np.mean((run.found_j / run.true_j - 1)[run.kind == kind]) for run in runs if (run.kind == kind).any()]
    return {
        "runs": len(per_run),
        "windows": len(true_j),
        "line_bias": float(of_line.mean()),
        "line_rms": float(np.sqrt(np.mean(of_line**2))),
        "bias": float(relative.mean()),
        "u_bias": float(np.std(per_run, ddof=1) / math.sqrt(len(per_run))) if len(per_run) > 1 else None,
        "rms": float(np.sqrt(np.mean(relative**2))),
        "within_u": float((error_j <= u_j).mean()),
        "within_2u": float((error_j <= 2 * u_j).mean()),
        "median_u": float(np.median(u_j / true_j)),
        "u_over_error": float(np.median(u_j) / np.median(error_j)),
        "u_over_error_least": float(np.median(u_j) / _median_at_most(error_j)),
    }


def _median_at_most(values: np.ndarray) -> float:
    """The 95 % bound from above of the median of what the values were drawn from; of a few values there is none."""
    n = len(values)
    if n < FEW:
        return math.inf
    return float(np.sort(values)[min(math.ceil(n / 2 + 0.98 * math.sqrt(n)), n - 1)])


def falls_short(x: dict, kind: str) -> list[str]:
    """What is not as it should be with a kind of window of a case, by more than chance (95 %) explains."""
    n = x["windows"] if kind in MANY else x["runs"]
    least, most = wilson(x["within_u"], n)
    found = []
    if most < WITHIN_U[0] or least > WITHIN_U[1]:
        found.append(f"{x['within_u']:.0%} within u")
    if wilson(x["within_2u"], n)[1] < WITHIN_2U:
        found.append(f"{x['within_2u']:.0%} within 2 u")
    if x["u_over_error_least"] > WIDEST:
        found.append(f"u {x['u_over_error']:.1f} times the error")
    if kind in STAGES:
        if abs(x["bias"]) - 2 * (x["u_bias"] or 0.0) > BIAS:
            found.append(f"bias {x['bias']:+.2%}")
        if x["median_u"] > RESOLVED:
            found.append(f"not resolved: u {x['median_u']:.1%}")
    return found


def wilson(share: float, n: int) -> tuple[float, float]:
    """The interval of 95 % for a share that was counted among n (Wilson, J. Am. Stat. Assoc. 22:209, 1927)."""
    z = 1.96
    middle, half = share + z * z / (2 * n), z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)


def table(runs: list[Windows]) -> list[dict]:
    """A row for each case, and one for each kind of window over all cases."""
    names = [*dict.fromkeys(run.case for run in runs)]
    rows = []
    for name in [*names, "all"]:
        of_case = [run for run in runs if name in {run.case, "all"}]
        row: dict = {"case": name, "runs": len(of_case)}
        if name != "all":
            row |= {f: float(np.mean([getattr(run, f) for run in of_case])) for f in ("lag_s", "u_lag_s", "ema_s")}
        row |= {kind: summary(of_case, kind) for kind in KINDS}
        row["short"] = {k: s for k in KINDS if row[k] is not None and (s := falls_short(row[k], k))}
        rows.append(row)
    return rows


def shown(row: dict) -> str:
    cells = []
    for kind in KINDS:
        x = row[kind]
        if x is not None:
            cells.append(
                f"{kind} {100 * x['line_rms']:.2f}>{100 * x['rms']:.2f} b{100 * x['bias']:+.2f} "
                f"{100 * x['within_u']:.0f}/{100 * x['within_2u']:.0f} "
                f"x{x['u_over_error']:.1f} u{100 * x['median_u']:.2f}"
            )
    lag = f"{1e3 * row['lag_s']:.1f}±{1e3 * row['u_lag_s']:.1f}, {1e3 * row['ema_s']:.0f}" if "lag_s" in row else ""
    return f"{row['case']:42} {lag:14} | " + " | ".join(cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two runs of a few cases")
    parser.add_argument("--runs", type=int, default=3, help="of each case and base seed")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS, help=f"base seeds; {SEEDS[-1]}: other powers")
    parser.add_argument("--only", nargs="+", default=[], metavar="TEXT", help="cases with one of these in their name")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    names = [n for n in cases() if not args.only or any(text in n for text in args.only)]
    seeds, runs = args.seeds, args.runs
    if args.quick:
        names, seeds, runs = [*QUICK], args.seeds[:1], 2
    tasks = [(name, seed, number) for name in names for seed in seeds for number in range(runs)]
    print("relative errors in %: straight line > fit (rms), bias, within u / 2 u, median u / median error, median u\n")
    done: list[Windows] = []
    if args.processes > 1:
        os.environ["OPENBLAS_NUM_THREADS"] = "1"
        with ProcessPoolExecutor(args.processes) as pool:
            found = pool.map(one_run, tasks, chunksize=1)
            done = collected(found, len(seeds) * runs)
    else:
        done = collected(map(one_run, tasks), len(seeds) * runs)
    rows = table(done)
    print(shown(rows[-1]))
    worst = max(run.conserved for run in done)
    print(f"all accounts of a board together differ from its curve's rise by {worst:.1e} of it at most")
    if args.json:
        result = {
            "what": "benchmarks/sharing.py",
            "date": datetime.now(timezone.utc).date().isoformat(),
            "lightning_energy": __version__,
            "python": platform.python_version(),
            "machine": f"{platform.machine()}; virtual time, no GPU",
            "seeds": [*seeds],
            "runs": len(done),
            "conserved": worst,
            "rows": rows,
        }
        args.json.write_text(json.dumps(rounded(result), indent=1) + "\n")


def collected(found: object, per_case: int) -> list[Windows]:
    """All runs; each case is printed when it is complete."""
    done: list[Windows] = []
    for run in found:
        done.append(run)
        if len(done) % per_case == 0:
            print(shown(table(done[-per_case:])[0]), flush=True)
    return done


def rounded(x: object) -> object:
    """Floats with four significant digits: the rest is noise of the seeds."""
    if isinstance(x, dict):
        return {k: rounded(v) for k, v in x.items()}
    if isinstance(x, list):
        return [rounded(v) for v in x]
    return float(f"{x:.4g}") if isinstance(x, float) else x


if __name__ == "__main__":
    main()
