"""A training of examples/ with a slow DataLoader: the verdict names it, and promises what mending it truly saves.

A real Trainer tells what comes after what; how long each part takes, and what a simulated board draws in it, is drawn
from a seed, and the board is watched in virtual time: a busy machine changes nothing.
"""

from __future__ import annotations

import sys
from functools import partial

import lightning as L
import numpy as np
import pandas as pd
import pytest

from lightning_energy import EnergyCallback, explain
from tests.results.verdict.trainings import Trained, trained
from tests.sim.virtual_run import Pieces, Sensor, Work
from tests.sim.watched import by_channels
from tests.test_repository import ROOT
from tests.training.parts import replay

pytestmark = pytest.mark.slow

EPOCHS = 3
DELAY_S = 0.03  # of every batch
PARTS = {  # seconds and watts
    "forward": (0.014, 270.0), "backward": (0.021, 330.0), "optimizer": (0.005, 210.0), "other": (0.001, 110.0),
    "data": (0.001, 80.0), "copy": (0.0015, 140.0), "saving": (0.02, 90.0), "": (0.02, 200.0),
}  # fmt: skip


@pytest.fixture(scope="module")
def accounts(tmp_path_factory) -> list[tuple[int, str, str, str]]:
    """The parts of the training in their order."""
    folder = tmp_path_factory.mktemp("example")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "examples")
        from quickstart import Digits, DigitsNet

        energy = EnergyCallback(meters=replay(), phases=True, trace="csv", record=folder / "energy.json")
        trainer = L.Trainer(
            accelerator="cpu", devices=1, max_epochs=EPOCHS, callbacks=[energy], default_root_dir=folder, logger=False,
            enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip
        trainer.fit(DigitsNet(width=2), Digits())
    sys.modules.pop("quickstart", None)
    rows = pd.read_csv(folder / "energy.steps.csv.gz", keep_default_na=False)
    return [*rows[["epoch", "stage", "kind", "phase"]].itertuples(index=False, name=None)]


def play_parts(rng: np.random.Generator, work: Work, *, accounts: list, delay_s: float) -> Pieces:
    """The same parts with the same scatter, whatever the delay is."""
    means_s, watts = np.array([PARTS[phase] for *_, phase in accounts]).T
    late_s = delay_s * np.array([phase == "data" for *_, phase in accounts])
    durations, powers = (x * (1 + 0.05 * rng.standard_normal(len(accounts))) for x in (means_s + late_s, watts))
    (before_s, after_s), idle_w = work.idle_s, work.watts[0]
    return Pieces(np.r_[before_s, durations, after_s], np.r_[idle_w, powers, idle_w], [None, *accounts, None])


def of_delay(accounts: list, delay_s: float) -> Trained:
    work = Work(epochs=EPOCHS, phases=tuple((name, "step", 0.0, w) for name, (_, w) in PARTS.items() if name))
    script = partial(play_parts, accounts=accounts, delay_s=delay_s)
    return trained(work, seed=7, sensor=Sensor(0.02, lag_s=0.03), script=script, watch=by_channels())


@pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers")
def test_a_slow_loader_is_named_and_its_saving_is_true(accounts):
    slow, mended = (of_delay(accounts, delay_s) for delay_s in (DELAY_S, 0.0))
    found = explain(slow.record)
    waiting = found.savings[0]
    assert waiting.rule == "waiting"
    truly_saved_j = slow.true_j() - mended.true_j()
    assert abs(waiting.energy_j - truly_saved_j) < 2 * waiting.u_j < 0.2 * truly_saved_j
    assert "waiting" not in {s.rule for s in explain(mended.record).savings}
    assert str(found).startswith("What would have saved energy in this run of ")
