"""Phases of training steps on two ranks: real processes over gloo, each with a simulated device of its own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from lightning_energy import load_record
from lightning_energy.results.read import read_record

if TYPE_CHECKING:
    from pathlib import Path

    from lightning_energy.ledger.phases import PhaseEnergy
    from tests.warm import Warm

pytestmark = pytest.mark.slow

LATE_S, STEPS = 0.01, 6
SCRIPT = f"""
import json, sys, time
from pathlib import Path

import torch
import torch.distributed as dist

from tests.modules import Classifier, OfThisRank, energy_callback, loader, make_trainer

LATE_S, STEPS = {LATE_S}, {STEPS}
"""
SCRIPT += '''
out, mode = Path(sys.argv[1]), sys.argv[2]


class Late(Classifier):
    """Rank one is late: its forward pass goes on once rank zero is in its backward pass, and waits."""

    def training_step(self, batch, batch_idx):
        if self.global_rank:
            store.wait([f"backward {self.trainer.current_epoch} {batch_idx}"])
            time.sleep(LATE_S)
        return super().training_step(batch, batch_idx)

    def on_before_backward(self, loss):
        if not self.global_rank:
            store.set(f"backward {self.trainer.current_epoch} {self.trainer.fit_loop.epoch_loop.batch_idx}", "is begun")


class Unequal(Classifier):
    """Rank zero alone steps its optimizer, and writes a checkpoint of its own; rank one has neither phase."""

    def __init__(self):
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch, batch_idx):
        self.manual_backward(super().training_step(batch, batch_idx))
        if not self.global_rank:
            self.optimizers().step()


class Dies(Classifier):
    def training_step(self, batch, batch_idx):
        if self.global_rank == 1 and self.trainer.current_epoch == 1 and batch_idx == 1:
            raise KeyError("rank one dies")
        return super().training_step(batch, batch_idx)


store = dist.FileStore(str(out / "store"), 2)
energy = energy_callback(meters=OfThisRank(), phases=True, record=str(out))
trainer = make_trainer(out, max_epochs=2, callbacks=[energy], strategy="ddp", devices=2)
module = {"late": Late, "unequal": Unequal, "dies": Dies}[mode]()
try:
    trainer.fit(module, loader(4 * STEPS, batch_size=2), loader(8))
finally:
    report = energy.report
    found = {"details": report.details(), "outcome": report.outcome, "train_j": report.stages["train"].energy_j}
    found["phases"] = {phase.name: phase.energy.energy_j for phase in report.phases["train"]}
    (out / f"result{trainer.global_rank}.json").write_text(json.dumps(found))
'''
EACH = """
import runpy, sys
from pathlib import Path

folder = Path(sys.argv[1])
for mode in sys.argv[2:]:
    sys.argv[1:] = [str(folder / mode), mode]
    runpy.run_path(str(folder / "train.py"))
"""
WAITS = "Phases: waiting for slower ranks is part of the phase that waits, mostly of backward"
ALIKE = ["other", "data", "copy", "forward", "backward", "optimizer"]


@pytest.fixture(scope="module")
def of_modes(warm: Warm, tmp_path_factory) -> Path:
    """A folder for each mode; the same two processes have trained in all, and in the last of them one died."""
    folder = tmp_path_factory.mktemp("ranks")
    (folder / "train.py").write_text(SCRIPT)
    for mode in ("late", "unequal", "dies"):
        (folder / mode).mkdir()
    zero, one = warm.run_ranks(EACH, 2, folder, "late", "unequal", "dies", cwd=folder)
    assert "rank one dies" in one.stderr, zero.stderr + one.stderr
    return folder


def results(folder: Path) -> list[dict]:
    return [json.loads((folder / f"result{rank}.json").read_text()) for rank in range(2)]


def sum_j(phases: list[PhaseEnergy]) -> float:
    return sum(phase.energy.energy_j for phase in phases)


@pytest.mark.parametrize("mode", ["late", "unequal"])
def test_phases_of_all_ranks_are_the_stage_in_report_and_record(of_modes, mode):
    zero, one = results(of_modes / mode)
    record = load_record(of_modes / mode)
    train = record.stages["train"]
    assert record.ranks == 2
    assert sum_j(record.phases["train"]) == pytest.approx(train.energy_j, rel=1e-9)
    assert {p.name: p.energy.energy_j for p in record.phases["train"]} == zero["phases"] == one["phases"]
    assert zero["train_j"] == one["train_j"] == train.energy_j
    of_ranks = record.phases_by_rank
    assert sum(map(sum_j, of_ranks)) == pytest.approx(train.energy_j, rel=1e-9)
    for device, phases in zip(record.devices, of_ranks, strict=True):  # one for each rank
        assert 0 < sum_j(phases) <= device.energy.energy_j
    for row in record.epochs:  # of both ranks, too
        assert sum(phase.energy_j for phase in row.phases) == pytest.approx(row.train_j, rel=1e-9)
    assert sum(row.train_j for row in record.epochs) < train.energy_j * (1 + 1e-9)
    assert WAITS in record.report.details()
    assert WAITS in zero["details"]
    assert WAITS in one["details"]


def test_a_rank_that_waits_does_so_in_its_backward_pass(of_modes):
    zero, one = ({p.name: p.energy for p in phases} for phases in load_record(of_modes / "late").phases_by_rank)
    assert [*zero] == [*one] == ALIKE
    least_s = 2 * STEPS * LATE_S
    assert one["forward"].duration_s >= least_s  # sleeps there
    assert zero["backward"].duration_s >= least_s  # and this is how long the other one waits


def test_a_phase_that_one_rank_has_alone_is_all_of_it(of_modes):
    record = load_record(of_modes / "unequal")
    zero, one = ([phase.name for phase in phases] for phases in record.phases_by_rank)
    assert zero == ALIKE
    assert one == [name for name in ALIKE if name != "optimizer"]
    phases = {phase.name: phase for phase in record.phases["train"]}
    assert [*phases] == ALIKE
    alone = next(phase for phase in record.phases_by_rank[0] if phase.name == "optimizer")
    assert phases["optimizer"].energy.energy_j == pytest.approx(alone.energy.energy_j, rel=1e-12)


def test_what_is_left_of_a_rank_that_dies_has_phases_that_are_its_stage(of_modes):
    """Rank zero is ended by its lost connection; what both left is put together."""
    folder = of_modes / "dies"
    assert [r["outcome"] for r in results(folder)] == ["interrupted"] * 2
    own = [read_record(folder / name) for name in ("energy.json", "energy.rank1.json")]
    run = load_record(folder)
    for record in (*own, run):
        assert sum_j(record.phases["train"]) == pytest.approx(record.stages["train"].energy_j, rel=1e-9)
    assert run.ranks == 2
    assert sum_j(run.phases["train"]) == pytest.approx(sum(sum_j(r.phases["train"]) for r in own), rel=1e-9)
    assert [[p.name for p in phases] for phases in run.phases_by_rank] == [ALIKE] * 2
    assert WAITS in run.report.details()
