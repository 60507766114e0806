"""Two real processes over gloo: totals are sums over devices, and all ranks agree."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = '''
import json, sys, time, warnings
from pathlib import Path

warnings.simplefilter("error")
# what Lightning and torch say about each other and about this machine is not what is tested
warnings.filterwarnings("ignore", message=".*LeafSpec.*")
warnings.filterwarnings("ignore", message=".*does not have many workers.*")
warnings.filterwarnings("ignore", message=".*sync_dist=True.*val_acc.*")
warnings.filterwarnings("ignore", message=".*DistributedSampler.*")
warnings.filterwarnings("ignore", message="EnergyCallback")

import torch
import torch.distributed as dist
from lightning.pytorch.callbacks import Callback, EarlyStopping

from lightning_energy import EnergyPenalizedAccuracy, ReplayMeter
from tests.modules import Classifier, MemoryLogger, energy_callback, loader, make_trainer

out, mode = Path(sys.argv[1]), sys.argv[2]


class OfThisRank(ReplayMeter):
    """A device of its own for each rank, or the one device of the node."""

    def __init__(self):
        super().__init__(100.0, counter_period_s=0.01)

    def open(self):
        from dataclasses import replace

        rank = dist.get_rank()
        self._powers = [100.0 * (1 + rank)]
        self._energies_j = [self._powers[0]]
        name = "shared" if mode in ("shared", "nodes") else f"device-{rank}"
        info = super().open()
        return replace(info, device_id=name, power_max_w=1000.0)


class Module(Classifier):
    def value(self):
        return 0.5 + self.validations / 10 if self.validations < 4 else 0.2 + 0.2 * self.global_rank

    def validation_step(self, batch, batch_idx):
        self.log("val_acc", self.value(), on_epoch=True, sync_dist=True, batch_size=1)


class Begin(Callback):
    """Stands after EnergyCallback: its setup ends when measuring has begun."""

    def setup(self, trainer, pl_module, stage):
        self.ns = time.monotonic_ns()


class End(Callback):
    """Stands before EnergyCallback: its teardown ends when the books are closed."""

    def teardown(self, trainer, pl_module, stage):
        self.ns = time.monotonic_ns()


device, begin, end = OfThisRank(), Begin(), End()
energy, logger = energy_callback(meters=device), MemoryLogger()
stopping = EarlyStopping("energy/score", mode="max", patience=1)
if mode == "nodes":  # ranks 0 and 1 on one node, rank 2 on another; a node is told by its boot id
    import os
    import lightning_energy.ranks
    node = "a" if int(os.environ.get("LOCAL_RANK", 0)) < 2 else "b"
    lightning_energy.ranks.node_identity = lambda: node
devices = 3 if mode == "nodes" else 2
callbacks = [end, energy, begin, stopping]
trainer = make_trainer(out, max_epochs=20, strategy="ddp", devices=devices, logger=logger, callbacks=callbacks)
if mode == "dies":
    class Dies(Module):
        def on_train_batch_start(self, batch, batch_idx):
            if self.global_rank == 1 and self.current_epoch == 2:
                raise RuntimeError("rank 1 dies")
    Module = Dies
if mode == "logger":
    def refuse(metrics, step=None):
        if "energy/power_w" in metrics:
            raise ConnectionError("no network")
    if trainer.global_rank == 0:
        trainer.loggers[0].log_metrics = refuse
    energy._log = lambda *args: None  # what goes through self.log is between Lightning and the logger
    trainer.callbacks = [c for c in trainer.callbacks if c is not stopping]
    trainer.fit_loop.max_epochs = 4
if mode == "defect":
    class Breaks(Module):
        def on_train_epoch_start(self):
            if self.global_rank == 1 and self.current_epoch == 1:
                energy._session.totals = lambda: 1 / 0
    Module = Breaks
try:
    trainer.fit(Module(), loader(32), loader(16))
finally:
    report = energy.report
    result = {
        "epochs": trainer.current_epoch,
        "outcome": report.outcome,
        "run_j": report.run.energy_j,
        "missing_s": report.run.missing_s,
        "true_j": device.true_energy_j(begin.ns, end.ns) if report.outcome == "completed" else None,
        "text": str(report),
        "devices": [(d.device_id, d.energy.energy_j) for d in report.devices],
        "metrics": {k: float(v) for k, v in trainer.callback_metrics.items()},
        "score": logger.points("energy/score"),
    }
    (out / f"rank{trainer.global_rank}.json").write_text(json.dumps(result))
'''


def run(tmp_path: Path, mode: str) -> tuple[int, list[dict]]:
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    root = Path(__file__).parent.parent
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1"}
    result = subprocess.run(
        [sys.executable, str(script), str(tmp_path), mode],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    ranks = [json.loads(p.read_text()) for p in sorted(tmp_path.glob("rank*.json"))]
    # gloo's threads sometimes abort the process at exit, after all is done: 3 of 40 runs without any callback
    aborted = "terminate called without an active exception" in result.stderr and len(ranks) >= 2
    if mode != "dies" and not aborted:
        assert result.returncode == 0, result.stdout + result.stderr
    return result.returncode, ranks


@pytest.mark.parametrize("mode", ["own", "shared"])
def test_two_ranks_agree_and_count_each_device_once(tmp_path, mode):
    _, (zero, one) = run(tmp_path, mode)
    for key in ("energy/score", "energy/total_kwh", "energy/train_j", "energy/accuracy"):
        assert zero["metrics"][key] == one["metrics"][key], key
    assert zero["run_j"] == pytest.approx(one["run_j"], rel=1e-12)
    assert zero["epochs"] == one["epochs"] == 4  # all ranks stop together, one epoch after the accuracy fell
    assert "Covers the devices of 2 ranks, of which this one has: " in zero["text"]
    own = [dict(r["devices"]) for r in (zero, one)]
    assert zero["run_j"] == pytest.approx(sum(j for devices in own for j in devices.values()), rel=1e-9)
    if mode == "own":
        assert [*own[0], *own[1]] == ["device-0", "device-1"]
        true_j = zero["true_j"] + one["true_j"]
        assert zero["run_j"] == pytest.approx(true_j, rel=0.005)
        assert own[1]["device-1"] == pytest.approx(2 * own[0]["device-0"], rel=0.3)
    else:
        assert (list(own[0]), own[1]) == (["shared"], {})


def test_three_ranks_on_two_nodes_read_a_device_once_on_each(tmp_path):
    _, ranks = run(tmp_path, "nodes")
    own = [dict(r["devices"]) for r in ranks]
    assert [[*devices] for devices in own] == [["shared"], [], ["shared"]]
    total_j = sum(j for devices in own for j in devices.values())
    assert all(r["run_j"] == pytest.approx(total_j, rel=1e-9) for r in ranks)
    assert len({r["metrics"]["energy/score"] for r in ranks}) == 1
    assert {r["epochs"] for r in ranks} == {4}


@pytest.mark.parametrize("mode", ["logger", "defect"])
def test_trouble_on_one_rank_leaves_no_other_waiting(tmp_path, mode):
    """A logger that raises, or a defect of ours, on one rank: the other's reductions find their partner."""
    _, (zero, one) = run(tmp_path, mode)
    assert zero["epochs"] == one["epochs"] == 4
    assert zero["run_j"] == pytest.approx(one["run_j"], rel=1e-12)
    if mode == "defect":
        assert zero["missing_s"] > 0  # what the broken rank spends is not known
        assert zero["metrics"]["energy/total_kwh"] > 0


def test_a_rank_that_dies_takes_no_collective_with_it(tmp_path):
    code, ranks = run(tmp_path, "dies")
    assert code != 0
    assert any(r["outcome"] == "interrupted" and r["run_j"] > 0 for r in ranks)
