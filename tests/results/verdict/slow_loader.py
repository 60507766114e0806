"""examples/slow_loader.py on a simulated board, in virtual time.

    python -m tests.results.verdict.slow_loader FILE  # writes the record that docs/what-to-do-about-it.md shows

A real Trainer tells what comes after what. How long each part takes, and what the board draws in it, is drawn from a
seed, and the board's counter is watched through NVML's interface in virtual time: a busy machine changes nothing.
"""

from __future__ import annotations

import runpy
import sys
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from lightning_energy import EnergyCallback, load_record
from lightning_energy.results.write import write_record
from tests.results.verdict.trainings import Trained, trained
from tests.sim.virtual_run import Pieces, Sensor, Work
from tests.sim.watched import by_channels
from tests.test_repository import ROOT
from tests.training.parts import replay

if TYPE_CHECKING:
    from lightning_energy.results.record import Record

DELAY_S = 0.1  # of every batch
SHOWN = 3  # epochs of the record that is shown
PARTS = {  # seconds and watts
    "forward": (0.014, 270.0), "backward": (0.021, 330.0), "optimizer": (0.005, 210.0), "other": (0.001, 110.0),
    "data": (0.001, 80.0), "copy": (0.0015, 140.0), "saving": (0.02, 90.0), "": (0.02, 200.0),
}  # fmt: skip


class Example(NamedTuple):
    """A training of the example.

    Attributes:
        accounts: its parts in their order: (epoch, stage, kind, phase).
        record: its record, whose energies are of no board.
    """

    accounts: list[tuple[int, str, str, str]]
    record: Record


def run_example(folder: Path, epochs: int) -> Example:
    """Train it, without its delay: that is played."""
    before = [*sys.path]
    sys.path.insert(0, str(ROOT / "examples"))
    try:
        example = runpy.run_path(str(ROOT / "examples/slow_loader.py"))
    finally:
        sys.path[:] = before
        sys.modules.pop("quickstart", None)
    energy = EnergyCallback(meters=replay(), phases=True, trace="csv", record=folder / "energy.json", score=None)
    example["train"](energy, 0.0, epochs, accelerator="cpu", logger=False, default_root_dir=folder)
    rows = pd.read_csv(folder / "energy.steps.csv.gz", keep_default_na=False)
    accounts = rows[["epoch", "stage", "kind", "phase"]].itertuples(index=False, name=None)
    return Example([*accounts], load_record(folder))


def play_parts(rng: np.random.Generator, work: Work, *, accounts: list, delay_s: float) -> Pieces:
    """The parts with the same scatter, whatever the delay is."""
    means_s, watts = np.array([PARTS[phase] for *_, phase in accounts]).T
    late_s = delay_s * np.array([phase == "data" for *_, phase in accounts])
    durations, powers = (x * (1 + 0.05 * rng.standard_normal(len(accounts))) for x in (means_s + late_s, watts))
    (before_s, after_s), idle_w = work.idle_s, work.watts[0]
    return Pieces(np.r_[before_s, durations, after_s], np.r_[idle_w, powers, idle_w], [None, *accounts, None])


def on_board(example: Example, delay_s: float) -> Trained:
    """The example with a delay of every batch, on a simulated board with a counter that moves every 20 ms."""
    epochs = 1 + max(epoch for epoch, *_ in example.accounts)
    work = Work(epochs=epochs, phases=tuple((name, "step", 0.0, w) for name, (_, w) in PARTS.items() if name))
    script = partial(play_parts, accounts=example.accounts, delay_s=delay_s)
    metrics = [row.metric for row in example.record.epochs]
    what = {"module": example.record.what["module"], "precision": "32-true", "batch_size": 32}
    sensor = Sensor(0.02, lag_s=0.03)
    return trained(work, seed=7, sensor=sensor, script=script, watch=by_channels(), metrics=metrics, what=what)


def main() -> None:
    """Write the record that is shown."""
    with tempfile.TemporaryDirectory() as folder:
        record = on_board(run_example(Path(folder), SHOWN), DELAY_S).record
    write_record(Path(sys.argv[1]), replace(record, started_unix_s=0.0, updated_unix_s=0.0))


if __name__ == "__main__":
    main()
