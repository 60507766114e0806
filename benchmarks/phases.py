"""Energy of the phases of training steps, by fitted powers, against the truth: errors, uncertainties, and resolution.

    python benchmarks/phases.py                      # prints the table; some minutes
    python benchmarks/phases.py --quick              # one short run of two cases; seconds
    python benchmarks/phases.py --json FILE          # and writes it, with seeds and machine
    python benchmarks/phases.py --only "50 ms steps" --runs 4 --processes 2

Run from the repository's root, with the test extra installed. A training and a counter are played in virtual time
through the real ledger: epochs of 30 s of training and 3 s of validation, steps that are not locked to the counter's
period (durations of phases scatter by 3 %, powers by 5 %), of six phases: forward (28 % of a step), backward (42 %),
optimizer (10 %), the rest (5 %), waiting for data (12 %) and copying it (3 %); in steps of 85 ms that are all alike
29, 33, 6, 3, 27 and 2 %, and power that varies within phases in the same order each step. In some cases steps are of
kinds: of two batch sizes, in turns or at random, of two powers in turns, or with an optimizer's step in every fourth
only. Truth is the training's own integral. Each update is seen somewhere in a bracket of 3 ms; in the cases named
"polled" it is a simulated board's, polled as the sampler does.

For each case: over all phases and runs the shares of errors within u and 2 u, and how many of the phases that take at
least a tenth of a step are resolved; by phase the median of the relative error and of the relative u. A case falls
short where by more than chance explains fewer than 93 % of the errors are within 2 u.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import zlib
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import datetime, timezone
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.sharing import rounded, wilson
from lightning_energy import __version__
from tests.sim.virtual_run import PHASES, Sensor, Work, at_brackets, play
from tests.sim.watched import by_channels

EPOCH_S, VALIDATE_S = 30.0, 3.0
LARGE = 0.1  # part of a step from which on a phase must be resolved
WITHIN_2U = 0.93
BASE = Work(train_s=EPOCH_S, validate_s=VALIDATE_S, phases=PHASES)
OTHER_W = {"forward": 330, "backward": 390, "optimizer": 260, "other": 180, "data": 150, "copy": 200}
"""Other powers, for every second run."""
WAITING = replace(
    BASE,
    step_s=0.085,
    phases=tuple(
        (name, kind, part, w)
        for (name, kind, _, w), part in zip(PHASES, (0.29, 0.33, 0.06, 0.03, 0.27, 0.02), strict=True)
    ),
)
"""Steps that wait for data for longer."""


def halves(by: float) -> dict[str, Any]:
    """More power in the first half of each pass, and less in the second."""
    return {"profiles": tuple((name, ((0.5, 1 + by), (0.5, 1 - by))) for name in ("forward", "backward"))}


def ramps(by: float) -> dict[str, Any]:
    """Power that rises during the forward pass, and falls during the backward pass, in eight parts."""
    rise = tuple((1 / 8, 1 + by * ((k + 0.5) / 4 - 1)) for k in range(8))
    return {"profiles": (("forward", rise), ("backward", rise[::-1]))}


def rises(by: float) -> dict[str, Any]:
    """Less power in the first half of each phase, and more in the second."""
    return {"profiles": tuple((name, ((0.5, 1 - by), (0.5, 1 + by))) for name, *_ in PHASES)}


VARYING: dict[str, dict[str, Any]] = {
    "a long wait": {},
    "halves of 10 %": halves(0.1),
    "halves of 20 %": halves(0.2),
    "ramps of 20 %": ramps(0.2),
    "a burst at its end": {"profiles": (("optimizer", ((0.7, 0.8), (0.3, 1.47))),)},
    "a slower rank": {"profiles": (("backward", ((0.75, 1.0), (0.25, 0.45))),)},
}
"""Ways in which power varies within phases, in the same order each step."""

SIZES = ((1.0, 1.0), (0.8, 0.5))
"""A batch, and one of half the size."""
TWO = ((1.3, 1.0), (0.5, 1.0))
"""Steps that draw more than a steady load does, and less."""
OF_KINDS: dict[str, dict[str, Any]] = {
    "two batch sizes in turns, rises of 20 %": {"step_s": 0.05, "kinds": SIZES, **rises(0.2)},
    "two batch sizes at random, halves of 20 %": {
        "step_s": 0.085,
        "kinds": tuple(SIZES[k] for k in np.random.default_rng(1).integers(0, 2, 1024)),
        **halves(0.2),
    },
    "two kinds in turns, rises of 20 %": {"step_s": 0.085, "kinds": TWO, **rises(0.2)},
    "an optimizer's step every fourth, halves of 20 %": {"step_s": 0.085, "optimizes_every": 4, **halves(0.2)},
}
"""Ways in which steps differ, beside power that varies within phases in all of them."""


class Case(NamedTuple):
    """A training and a counter, which the sampler polls, or whose updates are seen in brackets."""

    work: Work
    sensor: Sensor
    is_polled: bool = False


class Found(NamedTuple):
    """The phases of one run, shape (phases,) each: joules, uncertainties, truths, resolved ones, factors of length."""

    case: str
    found_j: np.ndarray
    u_j: np.ndarray
    true_j: np.ndarray
    resolved: np.ndarray
    longer: np.ndarray
    sums_to: float


def cases() -> dict[str, Case]:
    """All cases."""
    result = {}
    for u_ms, step_ms, lag_ms in product((20, 100), (20, 50, 200), (0, 50)):
        work = replace(BASE, epochs=2, step_s=step_ms * 1e-3)
        name = f"{u_ms} ms counter, {lag_ms} ms late: {step_ms} ms steps, 1 min"
        result[name] = Case(work, Sensor(update_s=u_ms * 1e-3, lag_s=lag_ms * 1e-3))
    for name, sensor, profiles in (
        ("20 ms counter, 0 ms late", Sensor(0.02), [*VARYING]),
        ("20 ms counter, 50 ms late", Sensor(0.02, lag_s=0.05), ["a long wait", "halves of 20 %", "a slower rank"]),
        ("100 ms counter, 0 ms late", Sensor(0.1), ["a long wait", "halves of 10 %", "a slower rank"]),
        ("20 ms counter, smooths over 10 ms", Sensor(0.02, ema_s=0.01), ["a long wait", "halves of 10 %"]),
    ):
        for profile in profiles:
            work = replace(WAITING, epochs=2, **VARYING[profile])
            result[f"{name}: 85 ms steps, {profile}, 1 min"] = Case(work, sensor)
    for name, varying in OF_KINDS.items():
        work = replace(BASE, epochs=2, **varying)
        result[f"20 ms counter, 0 ms late: {work.step_s * 1e3:.0f} ms steps, {name}, 1 min"] = Case(work, Sensor(0.02))
    usual, slow = replace(BASE, step_s=0.05), replace(BASE, step_s=0.2)
    return result | {
        "20 ms counter, 0 ms late: 50 ms steps, 10 min": Case(replace(usual, epochs=20), Sensor(0.02)),
        "100 ms counter, 0 ms late: 200 ms steps, 10 min": Case(replace(slow, epochs=20), Sensor(0.1)),
        "100 ms counter, 0 ms late: 50 ms steps locked to it, 1 min": Case(
            replace(usual, epochs=2, regular=True), Sensor(0.1)
        ),
        "20 ms counter, 0 ms late, polled: 50 ms steps, 10 min": Case(
            replace(usual, epochs=20), Sensor(0.02), is_polled=True
        ),
        "20 ms counter, 50 ms late, polled: 50 ms steps, 10 min": Case(
            replace(usual, epochs=20), Sensor(0.02, lag_s=0.05), is_polled=True
        ),
        "100 ms counter, 0 ms late, polled: 200 ms steps, 10 min": Case(
            replace(slow, epochs=20), Sensor(0.1), is_polled=True
        ),
        "20 ms counter, 0 ms late, polled: 85 ms steps, halves of 10 %, 1 min": Case(
            replace(WAITING, epochs=2, **halves(0.1)), Sensor(0.02), is_polled=True
        ),
        "20 ms counter, 0 ms late: 85 ms steps, halves of 10 %, 10 min": Case(
            replace(WAITING, epochs=20, **halves(0.1)), Sensor(0.02)
        ),
        "20 ms counter, 0 ms late: 85 ms steps, a burst at its end, 10 min": Case(
            replace(WAITING, epochs=20, **VARYING["a burst at its end"]), Sensor(0.02)
        ),
        "100 ms counter, 0 ms late: 200 ms steps, a slower rank, 10 min": Case(
            replace(slow, epochs=20, **VARYING["a slower rank"]), Sensor(0.1)
        ),
        "20 ms counter, smooths over 10 ms: 50 ms steps, halves of 20 %, 1 min": Case(
            replace(usual, epochs=2, **halves(0.2)), Sensor(0.02, ema_s=0.01)
        ),
        "20 ms counter, smooths over 5 ms: 50 ms steps, 10 min": Case(
            replace(usual, epochs=20), Sensor(0.02, ema_s=0.005)
        ),
        "20 ms counter, 0 ms late: 50 ms steps, halves of 10 %, 1 min": Case(
            replace(usual, epochs=2, **halves(0.1)), Sensor(0.02)
        ),
        "20 ms counter, 50 ms late: 200 ms steps, halves of 20 %, 1 min": Case(
            replace(slow, epochs=2, **halves(0.2)), Sensor(0.02, lag_s=0.05)
        ),
        "100 ms counter, 0 ms late: 200 ms steps, ramps of 20 %, 1 min": Case(
            replace(slow, epochs=2, **ramps(0.2)), Sensor(0.1)
        ),
        "20 ms counter, 0 ms late: 50 ms steps, drift of 10 %, 1 min": Case(
            replace(usual, epochs=2, drift=0.1), Sensor(0.02)
        ),
        "20 ms counter, 0 ms late: 50 ms steps, two kinds in turns, 1 min": Case(
            replace(usual, epochs=2, kinds=((1.3, 1.0), (0.5, 1.0))), Sensor(0.02)
        ),
    }


def one_run(task: tuple[str, int]) -> Found:
    """One run of a case: its name, and the number of the run."""
    name, number = task
    work, sensor, is_polled = cases()[name]
    if number % 2:
        work = replace(work, phases=tuple((*row[:3], OTHER_W[row[0]]) for row in work.phases))
    seed = zlib.crc32(f"{name} {number}".encode())
    run = play(seed, work, sensor, settle_s=1.0, watch=by_channels() if is_polled else at_brackets)
    phases = {phase.name: phase for phase in run.phases}
    order = [phases[row[0]] for row in work.phases]
    true_j = np.array([j for kind, j in zip(run.kind, run.true_j, strict=True) if kind == "phase"])
    whole_j = run.totals.energy(stage="train").energy_j or 0.0
    return Found(
        name,
        np.array([p.energy.energy_j or 0.0 for p in order]),
        np.array([p.energy.u_j for p in order]),
        true_j,
        np.array([p.resolved for p in order]),
        np.array([p.longer or np.inf for p in order]),
        abs(sum(p.energy.energy_j or 0.0 for p in order) / whole_j - 1),
    )


def row_of(name: str, runs: list[Found]) -> dict:
    """A row of the table."""
    error, u = (np.array([(r.found_j / r.true_j - 1) for r in runs]), np.array([r.u_j / r.true_j for r in runs]))
    resolved, longer = np.array([r.resolved for r in runs]), np.array([r.longer for r in runs])
    part = np.array([row[2] for row in cases()[name].work.phases])
    within_2u, n = float((np.abs(error) <= 2 * u).mean()), error.size
    least = float(np.median(longer[:, part >= LARGE].max(axis=1)))
    return {
        "case": name,
        "runs": len(runs),
        "within_u": float((np.abs(error) <= u).mean()),
        "within_2u": within_2u,
        "within_2u_of_resolved": float((np.abs(error) <= 2 * u)[resolved].mean()) if resolved.any() else None,
        "large_resolved": float(resolved[:, part >= LARGE].mean()),
        "large_u": float(np.median(u[:, part >= LARGE].max(axis=1))),
        "longer": least if np.isfinite(least) else None,
        "falls_short": wilson(within_2u, n)[1] < WITHIN_2U,
        "phases": {
            name: {
                "rms": float(np.sqrt((error[:, k] ** 2).mean())),
                "median_u": float(np.median(u[:, k])),
                "resolved": float(resolved[:, k].mean()),
            }
            for k, (name, *_) in enumerate(PHASES)
        },
    }


def shown(row: dict) -> str:
    """A row as text."""
    each = ", ".join(
        f"{name} {100 * x['rms']:.1f}±{100 * x['median_u']:.1f}{'' if x['resolved'] > 0.5 else '?'}"
        for name, x in row["phases"].items()
    )
    longer = "never" if row["longer"] is None else f"x{row['longer']:.1f}"
    return (
        f"{row['case']:66} {100 * row['within_u']:3.0f}/{100 * row['within_2u']:3.0f} resolved "
        f"{100 * row['large_resolved']:3.0f} u {100 * row['large_u']:.1f} {longer:6} | {each}"
    )


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one short run of two cases")
    parser.add_argument("--runs", type=int, default=4, help="of each case")
    parser.add_argument("--only", nargs="+", default=[], metavar="TEXT", help="cases with one of these in their name")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    names = [n for n in cases() if not args.only or any(text in n for text in args.only)]
    runs = args.runs
    if args.quick:
        names, runs = [n for n in names if "85 ms steps" in n][:2], 1
    tasks = [(name, number) for name in names for number in range(runs)]
    print("within u / 2 u, resolved large phases, their greatest u, times the length that would tell all of them")
    print("by phase: rms error ± median u in %; ?: not resolved\n")
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    done: list[Found] = []
    rows = []
    with ProcessPoolExecutor(args.processes) as pool:
        for found in pool.map(one_run, tasks, chunksize=1):
            done.append(found)
            if len(done) % runs == 0:
                rows.append(row_of(found.case, done[-runs:]))
                print(shown(rows[-1]), flush=True)
    sums_to = max(run.sums_to for run in done)
    z = np.concatenate([np.abs(run.found_j - run.true_j) / run.u_j for run in done])
    of_resolved = z[np.concatenate([run.resolved for run in done])]
    print(f"all: {100 * (z <= 1).mean():.0f} % within u, {100 * (z <= 2).mean():.0f} % within 2 u")
    print(f"resolved: {100 * (of_resolved <= 2).mean():.0f} % within 2 u, {of_resolved.max():.1f} u at most")
    print(f"all phases together differ from their stage by {sums_to:.1e} of it at most")
    if args.json:
        result = {
            "what": "benchmarks/phases.py",
            "date": datetime.now(timezone.utc).date().isoformat(),
            "lightning_energy": __version__,
            "python": platform.python_version(),
            "machine": f"{platform.machine()}; virtual time, no GPU",
            "runs": len(done),
            "within_u": float((z <= 1).mean()),
            "within_2u": float((z <= 2).mean()),
            "within_2u_of_resolved": float((of_resolved <= 2).mean()),
            "most_u_of_resolved": float(of_resolved.max()),
            "sums_to_stage": sums_to,
            "rows": rows,
        }
        args.json.write_text(json.dumps(rounded(result), indent=1) + "\n")


if __name__ == "__main__":
    main()
