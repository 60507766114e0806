"""Two real processes over gloo: totals are sums over devices, and all ranks agree."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lightning_energy import load_record
from lightning_energy.results.read import read_record
from lightning_energy.results.record import Samples
from tests.warm import assert_ended

if TYPE_CHECKING:
    from pathlib import Path

    from tests.warm import Warm

pytestmark = pytest.mark.slow

SCRIPT = '''
import json, sys
from pathlib import Path

from tests.of_others import errors_but

errors_but("EnergyCallback")

import torch
import torch.distributed as dist
from lightning.pytorch.callbacks import Callback, EarlyStopping, TQDMProgressBar
from lightning.pytorch.loggers import TensorBoardLogger

from lightning_energy import EnergyPenalizedAccuracy
from lightning_energy.ledger.ranks import Ranks
from tests.modules import (
    Begin, Classifier, End, MemoryLogger, OfThisRank, energy_callback, loader, make_trainer, spent_j
)

out, mode = Path(sys.argv[1]), sys.argv[2]


class Module(Classifier):
    def value(self):
        return 0.5 + self.validations / 10 if self.validations < 4 else 0.2 + 0.2 * self.global_rank

    def validation_step(self, batch, batch_idx):
        self.log("val_acc", self.value(), on_epoch=True, sync_dist=True, batch_size=1)


def make_energy():
    return energy_callback(meters=device, record=str(out), progress_bar=True, per={"numbers": lambda b: b[0].numel()})


device, begin, end = OfThisRank("shared" if mode in ("shared", "nodes") else ""), Begin(), End()
energy, logger = make_energy(), MemoryLogger()
board = TensorBoardLogger(out, name="", version="board")
reductions = []  # ours: Lightning's own are of single values
whole = Ranks._reduce
Ranks._reduce = lambda self, *args: (reductions.append(1) if self.size > 1 else None, whole(self, *args))[1]
stopping = EarlyStopping("energy/score", mode="max", patience=1)
at_epoch_ends = []


class Look(Callback):
    """Reads what lies there when an epoch has ended."""

    def on_train_epoch_end(self, trainer, pl_module):
        if trainer.is_global_zero:
            energy._run.outputs.flush()
            record = json.loads((out / "energy.json").read_text())
            total, run = record["total"], record["session"]
            missing_s, total_kwh = (total["missing_s"], run["missing_s"]), record["epochs"][-1]["total_kwh"]
            at_epoch_ends.append((total["energy_j"], run["energy_j"], *missing_s, total_kwh))
        if trainer.current_epoch == 2 and mode in ("own", "shared"):
            trainer.save_checkpoint(out / "one.ckpt")


if mode == "nodes":  # ranks 0 and 1 on one node, rank 2 on another; a node is told by its boot id
    import os
    import lightning_energy.ledger.ranks
    node = "a" if int(os.environ.get("LOCAL_RANK", 0)) < 2 else "b"
    lightning_energy.ledger.ranks.node_identity = lambda: node
devices = 3 if mode == "nodes" else 2
callbacks = [end, energy, begin, stopping, Look()]
if mode == "bar":  # on rank zero alone it reads what is logged, and so has it reduced, before we have our turn
    callbacks.insert(0, TQDMProgressBar())
    class Synced(Module):
        def training_step(self, batch, batch_idx):
            loss = super().training_step(batch, batch_idx)
            self.log("train_loss", loss, on_step=False, on_epoch=True, sync_dist=True, prog_bar=True, batch_size=1)
            return loss
    Module = Synced
settings = {"strategy": "ddp", "devices": devices, "enable_progress_bar": True}
trainer = make_trainer(out, max_epochs=20, logger=[logger, board], callbacks=callbacks, **settings)
if mode == "dies":
    class Dies(Module):
        def on_train_batch_start(self, batch, batch_idx):
            if self.global_rank == 1 and self.current_epoch == 2:
                raise RuntimeError("rank 1 dies")
    Module = Dies
if mode == "zero":
    class OfZero(Module):
        def validation_step(self, batch, batch_idx):
            if self.trainer.is_global_zero:
                self.log("val_acc", 0.5 + self.validations / 10, batch_size=1, rank_zero_only=True)
    Module = OfZero
    trainer.fit_loop.max_epochs = 2
if mode == "logger":
    def refuse(metrics, step=None):
        if "energy/power_w" in metrics:
            raise ConnectionError("no network")
    if trainer.global_rank == 0:
        trainer.loggers[0].log_metrics = refuse
    trainer.callbacks = [c for c in trainer.callbacks if c is not stopping]
    trainer.fit_loop.max_epochs = 4
if mode == "defect":
    class Breaks(Module):
        def on_train_epoch_start(self):
            if self.global_rank == 1 and self.current_epoch == 1:
                energy._run.books.session.totals = lambda: 1 / 0
    Module = Breaks
try:
    trainer.fit(Module(), loader(32), loader(16))
finally:
    report = energy.report
    result = {
        "epochs": trainer.current_epoch,
        "outcome": report.outcome,
        "run_j": report.session.energy_j,
        "missing_s": report.session.missing_s,
        "spent_j": spent_j(device, begin, end) if report.outcome == "completed" else None,
        "text": report.details(),
        "kinds": [note.kind for note in report.notes],
        "reductions": len(reductions),
        "at_epoch_ends": at_epoch_ends,
        "devices": [(d.device_id, d.energy.energy_j, d.rank) for d in report.devices],
        "samples": report.samples,
        "units": report.units,
        "metrics": {k: float(v) for k, v in trainer.callback_metrics.items()},
        "score": logger.points("energy/score"),
        "bar": {k: v for k, v in trainer.progress_bar_metrics.items() if isinstance(v, str)},
    }
    (out / f"result{trainer.global_rank}.json").write_text(json.dumps(result))
'''


EACH = """
import runpy, sys
from pathlib import Path
from lightning_energy.ledger.ranks import Ranks

whole, folder = Ranks._reduce, Path(sys.argv[1])
for mode in sys.argv[2:]:
    Ranks._reduce = whole
    sys.argv[1:] = [str(folder / mode), mode]
    runpy.run_path(str(folder / "train.py"))
"""


def run(warm: Warm, folder: Path, *modes: str) -> None:
    """Train in processes that ``torchrun`` might have started, in one mode after the other."""
    (folder / "train.py").write_text(SCRIPT)
    for mode in modes:
        (folder / mode).mkdir()
    for done in warm.run_ranks(EACH, 3 if "nodes" in modes else 2, folder, *modes, cwd=folder):
        assert_ended(done)


@pytest.fixture(scope="module")
def of_modes(warm, tmp_path_factory) -> Path:
    """A folder for each mode of two ranks; two processes have trained in all of them."""
    folder = tmp_path_factory.mktemp("ranks")
    run(warm, folder, "own", "shared", "bar", "zero", "logger", "defect")
    return folder


def results(tmp_path: Path) -> list[dict]:
    return [json.loads(p.read_text()) for p in sorted(tmp_path.glob("result*.json"))]


def of_each(ranks: list[dict]) -> list[dict]:
    """What each rank read, as all of them report it."""
    assert all(r["devices"] == ranks[0]["devices"] for r in ranks)
    return [{d: j for d, j, rank in ranks[0]["devices"] if rank == n} for n in range(len(ranks))]


@pytest.mark.parametrize("mode", ["own", "shared"])
def test_two_ranks_agree_and_count_each_device_once(of_modes, mode):
    tmp_path = of_modes / mode
    zero, one = results(tmp_path)
    for key in ("energy/score", "energy/total_wh", "energy/train_j", "energy/accuracy"):
        assert zero["metrics"][key] == one["metrics"][key], key
    assert zero["run_j"] == pytest.approx(one["run_j"], rel=1e-12)
    assert zero["epochs"] == one["epochs"] == 4  # all ranks stop together, one epoch after the accuracy fell
    assert "Covers, read by 2 ranks: " in zero["text"]
    own = of_each([zero, one])
    assert zero["samples"] == one["samples"] == 4 * 32
    assert (
        zero["units"]
        == one["units"]
        == {"train": {"samples": 128, "numbers": 512}, "validate": {"samples": 64, "numbers": 256}}
    )
    record = load_record(tmp_path)
    assert record.n_val == 16  # of both ranks, in each of four validations
    train = record.stages["train"]
    assert record.samples == Samples(128, *(j / 128 for j in (train.energy_j, train.u_j, train.u_absolute_j)))
    assert all(row.is_final for row in record.epochs)
    rows_j = [row.train_j + row.val_j for row in record.epochs]
    assert sum(rows_j) + record.sessions[0].between.energy_j == pytest.approx(record.total.energy_j, rel=1e-9)
    assert record.sessions[0].devices == tuple(record.devices)
    assert [(d.device_id, d.rank) for d in record.devices] == [(d, n) for n, ds in enumerate(own) for d in ds]
    # at every epoch's end: a record, and so a checkpoint, knows all that all ranks had spent
    assert len(zero["at_epoch_ends"]) == 4
    for total_j, known_j, missing_s, known_missing_s, history_kwh in zero["at_epoch_ends"]:
        assert total_j == pytest.approx(known_j, rel=1e-9)
        assert total_j == pytest.approx(history_kwh * 3.6e6, rel=1e-9)
        assert missing_s == pytest.approx(known_missing_s)  # and not all the time of the other rank
    checkpoint = torch.load(tmp_path / "one.ckpt", weights_only=True)["callbacks"]["EnergyCallback"]
    (row,) = checkpoint["sessions"]
    assert row["energy_j"] == pytest.approx(checkpoint["total"]["energy_j"])  # of both ranks, as the total
    assert not [*tmp_path.glob("energy.rank*")]  # what a rank keeps for itself while the run goes on
    # rank zero alone writes to dashboards, and shows the energy of all
    (events,) = tmp_path.glob("board/events*")
    points = EventAccumulator(str(events)).Reload().Scalars("energy_axis/score_by_micro_wh")
    assert [p.value for p in points] == pytest.approx([score for _, score in zero["score"]])
    shown_wh, logged_wh = 1e3 * float(zero["bar"]["energy"].removesuffix(" kWh")), zero["metrics"]["energy/total_wh"]
    assert shown_wh == pytest.approx(logged_wh, rel=0.5)
    assert shown_wh > (1 - 1e-3) * logged_wh  # a validation logs the total, the epoch's end shows that or some more
    assert one["bar"] == {}
    assert zero["run_j"] == pytest.approx(sum(j for devices in own for j in devices.values()), rel=1e-9)
    # three an epoch, one for the sanity check, two at the end; none for a step
    assert zero["reductions"] == one["reductions"] == 3 * 4 + 3
    if mode == "own":
        assert [*own[0], *own[1]] == ["device-0", "device-1"]
        least_j, most_j = (sum(both) for both in zip(zero["spent_j"], one["spent_j"], strict=True))
        assert 0.995 * least_j <= zero["run_j"] <= 1.005 * most_j
        assert own[1]["device-1"] == pytest.approx(2 * own[0]["device-0"], rel=0.3)
    else:
        assert (list(own[0]), own[1]) == (["shared"], {})


def test_three_ranks_on_two_nodes_read_a_device_once_on_each(tmp_path, warm):
    run(warm, tmp_path, "nodes")
    ranks = results(tmp_path / "nodes")
    own = of_each(ranks)
    assert [[*devices] for devices in own] == [["shared"], [], ["shared"]]
    total_j = sum(j for devices in own for j in devices.values())
    assert all(r["run_j"] == pytest.approx(total_j, rel=1e-9) for r in ranks)
    assert len({r["metrics"]["energy/score"] for r in ranks}) == 1
    assert {r["epochs"] for r in ranks} == {4}


def test_a_progress_bar_before_us_reads_what_is_logged_on_rank_zero_only(of_modes):
    """Lightning reduces what is logged when it is read first: our own reductions must not meet that one."""
    zero, one = results(of_modes / "bar")
    assert zero["epochs"] == one["epochs"] == 4
    for key in ("train_loss", "energy/score", "energy/total_wh"):
        assert zero["metrics"][key] == one["metrics"][key], key


def test_a_metric_of_rank_zero_alone_is_scored_on_all(of_modes):
    zero, one = results(of_modes / "zero")
    assert zero["metrics"]["energy/accuracy"] == one["metrics"]["energy/accuracy"] == pytest.approx(0.7)
    assert zero["metrics"]["energy/score"] == one["metrics"]["energy/score"]
    assert "val_acc" not in one["metrics"]
    assert [row.metric for row in load_record(of_modes / "zero").epochs] == pytest.approx([0.6, 0.7])


@pytest.mark.parametrize("mode", ["logger", "defect"])
def test_trouble_on_one_rank_leaves_no_other_waiting(of_modes, mode):
    """A logger that raises, or a defect of ours, on one rank: the other's reductions find their partner."""
    zero, one = results(of_modes / mode)
    assert zero["epochs"] == one["epochs"] == 4
    assert zero["run_j"] == pytest.approx(one["run_j"], rel=1e-12)
    if mode == "defect":
        assert zero["missing_s"] > 0  # what the broken rank spends is not known
        assert "gave_up" in zero["kinds"]
        assert "Note: Rank 1 gave up measuring: its energy since then is missing" in zero["text"]
        assert zero["metrics"]["energy/total_wh"] > 0


def test_a_rank_that_dies_takes_no_collective_with_it(tmp_path, warm):
    """Rank zero starts the other one, as Lightning does where nobody else has, and is ended by it."""
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    assert warm.run(script, tmp_path, "dies", cwd=tmp_path).returncode != 0
    assert any(r["outcome"] == "interrupted" and r["run_j"] > 0 for r in results(tmp_path))
    own = read_record(tmp_path / "energy.rank1.json")
    assert (own.rank, own.outcome, own.absent_ranks) == (1, "interrupted", 1)
    assert [d.device_id for d in own.devices] == ["device-1"]
    record = load_record(tmp_path)
    # of both, or of both until the last epoch, after which rank one may go on for long
    assert (record.session.power_w, own.session.power_w) == (pytest.approx(300, rel=0.1), pytest.approx(200, rel=0.1))
    assert record.ranks == 2
