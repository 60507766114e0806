"""How often a forecast's interval holds, and how wide it is: simulated runs with drift and early stopping.

    python benchmarks/forecast.py                    # prints, some seconds
    python benchmarks/forecast.py --json benchmarks/results/forecast.json

Run from the repository's root. Each run draws its number of epochs and batches, its schedule of validations, a slow
warm-up, a drift of the energy and of the duration of a batch over the run by up to a fifth in either direction, a
thermal ramp, scatter that is correlated from epoch to epoch, epochs in which another program slows it down, and the
error of a meter. Between two epochs, and behind the last one, a checkpoint is saved, say: for 2 to 200 ms, and a part
of the epoch's time. A third of the runs has early stopping, and stops somewhere. Forecasts are made after the first
epoch, before the first such time was seen, then as the second one begins, and after a quarter and a half of the epochs;
nothing but what a training can know then goes in.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np

from lightning_energy import __version__
from lightning_energy.results.forecast import Forecast, Left, Seen, Stretch, forecast, validations_between

RUNS = 300
CHUNKS = 8  # of an epoch; those of the first are stretches that are seen, a later epoch is one
MOMENTS = ("after the first epoch", "as the second begins", "after a quarter", "after a half")


@dataclass(frozen=True)
class Work:
    """A run as it was planned.

    Attributes:
        epochs: their number.
        batches: of an epoch.
        step_j, step_s: of a batch, before any drift.
        every_epochs, every_batches: the schedule of validations.
        validation: a validation's energy and time, relative to those of an epoch's batches.
        between: the same for the time between two epochs.
        between_s: its seconds beside that, whatever the epoch.
        stops_after: the epoch after which early stopping ends it; ``None`` without.
    """

    epochs: int
    batches: int
    step_j: float
    step_s: float
    every_epochs: int
    every_batches: int
    validation: float
    between: float
    between_s: float
    stops_after: int | None


def plan(rng: np.random.Generator, *, stops: bool) -> Work:
    epochs, batches = int(rng.integers(4, 100)), int(rng.integers(40, 600))
    step_s = float(np.exp(rng.uniform(np.log(0.02), np.log(2.0))))
    schedule = rng.integers(3)
    return Work(
        epochs,
        batches,
        step_s * rng.uniform(80, 600),
        step_s,
        every_epochs=int(rng.integers(2, 6)) if schedule == 1 else 1,
        every_batches=max(1, batches // 4) if schedule == 2 else batches,
        validation=rng.uniform(0.02, 0.3),
        between=rng.uniform(0.0, 0.02),
        between_s=float(np.exp(rng.uniform(np.log(0.002), np.log(0.2)))),
        stops_after=int(rng.integers(2, epochs)) if stops else None,
    )


def rates(rng: np.random.Generator, work: Work) -> np.ndarray:
    """Energy and time of a batch, relative to the plan, for each chunk of each epoch: (2, epochs, chunks)."""
    n = work.epochs * CHUNKS
    progress = np.arange(n) / n
    ramp = rng.uniform(0.0, 0.06) * (1 - np.exp(-progress * n / rng.uniform(1, 4 * CHUNKS)))
    both = []
    of_epochs, rho = rng.uniform(0.003, 0.03), rng.uniform(0.0, 0.8)
    slow = rng.random(work.epochs) < rng.choice([0.0, 0.1])
    for _ in range(2):
        drift = rng.uniform(-0.2, 0.2) * progress
        z = np.empty(work.epochs)
        z[0] = rng.standard_normal()
        for k in range(1, work.epochs):
            z[k] = rho * z[k - 1] + np.sqrt(1 - rho**2) * rng.standard_normal()
        scatter = np.repeat(of_epochs * z + 0.15 * slow, CHUNKS) + 0.02 * rng.standard_normal(n)
        both.append(1 + drift + ramp + scatter)
    found = np.array(both).reshape(2, work.epochs, CHUNKS)
    found[:, 0, 0] *= rng.uniform(1.0, 4.0)  # warm-up
    return found


def play(seed: int) -> dict:
    """One run: for each moment the forecast beside the truth."""
    rng = np.random.default_rng(seed)
    work = plan(rng, stops=seed % 3 == 0)
    of_batches, meter = rates(rng, work), 1 + 0.003 * rng.standard_normal()
    size = work.batches / CHUNKS
    unit = np.array([work.step_j, work.step_s])
    scale = work.batches * unit
    last_epoch = work.epochs if work.stops_after is None else work.stops_after
    seen, spent, rows = Seen(), np.zeros(2), {}
    moments = {1: MOMENTS[0], max(2, work.epochs // 4): MOMENTS[2], max(3, work.epochs // 2): MOMENTS[3]}
    schedule = {"every_batches": work.every_batches, "every_epochs": work.every_epochs}

    def told(epoch: int, *, begins: bool = False) -> tuple[Forecast | None, np.ndarray]:
        done, last = (epoch + 1) * work.batches, work.epochs * work.batches
        left = Left(
            done,
            last - done,
            validations_between(done, last, work.batches, **schedule),
            work.epochs - epoch - begins,
            validation_batches=round(work.batches * 0.2),
            per_epoch=work.batches,
        )
        is_at_most = work.stops_after is not None
        return forecast(seen, left, spent[0] * meter, is_at_most=is_at_most), spent.copy()

    for epoch in range(last_epoch):
        of_epoch = np.zeros(2)
        for chunk in range(CHUNKS):
            amount = of_batches[:, epoch, chunk] * size * unit
            spent += amount
            of_epoch += amount
            if epoch == 0:
                seen.add_batches(Stretch(round(size * (chunk + 1)) - round(size * chunk), *amount), work.batches)
        if epoch:
            seen.add_batches(Stretch(work.batches, *of_epoch), work.batches)
        first, last = epoch * work.batches, (epoch + 1) * work.batches
        for _ in range(validations_between(first, last, work.batches, **schedule) or 0):
            amount = work.validation * scale * (1 + 0.03 * rng.standard_normal(2))
            spent += amount
            seen.validations.append(Stretch(0, *amount))
        is_last = epoch + 1 == last_epoch
        if epoch + 1 in moments and not is_last:
            rows[moments[epoch + 1]] = told(epoch)
        amount = work.between * scale + work.between_s * np.array([work.step_j / work.step_s, 1.0])
        amount *= np.exp(0.3 * rng.standard_normal()) * (1 + 0.1 * rng.standard_normal(2))
        spent += amount
        if not is_last:
            seen.between.append(Stretch(0, *amount))
        if epoch == 0 and not is_last:
            rows[MOMENTS[1]] = told(epoch, begins=True)
    return {"work": work, "spent": spent, "rows": rows}


def judged(runs: list[dict], moment: str, *, stopped: bool | None = None) -> dict:
    """Coverage of energy and of time left, and widths, of all runs or of those with or without early stopping."""
    energy, time, widths, errors = [], [], [], []
    for run in runs:
        if moment not in run["rows"] or (stopped is not None and stopped != (run["work"].stops_after is not None)):
            continue
        found, then = run["rows"][moment]
        energy.append(run["spent"][0] in found.energy_j)
        time.append(run["spent"][1] - then[1] in found.left_s)
        widths.append(found.energy_j.width)
        errors.append(abs(found.energy_j.value / run["spent"][0] - 1))
    return {
        "runs": len(energy),
        "covers_energy": statistics.mean(energy),
        "covers_time": statistics.mean(time),
        "median_width": statistics.median(widths),
        "median_error": statistics.median(errors),
    }


def main(arguments: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the figures into this file")
    parser.add_argument("--runs", type=int, default=RUNS)
    args = parser.parse_args(arguments)
    runs = [play(seed) for seed in range(args.runs)]
    result = {"version": __version__, "runs": args.runs, "moments": {}}
    for moment in MOMENTS:
        kinds = {"all": None, "without early stopping": False, "with early stopping": True}
        result["moments"][moment] = {name: judged(runs, moment, stopped=kind) for name, kind in kinds.items()}
        for name, row in result["moments"][moment].items():
            print(f"{moment:>22} {name:>23}: " + ", ".join(f"{key} {value:.3g}" for key, value in row.items()))
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")
    return result


if __name__ == "__main__":
    main()
