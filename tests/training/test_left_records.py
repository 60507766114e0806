"""What a killed session left is found by the checkpoint that the next one goes on from, wherever that one logs."""

from __future__ import annotations

import json
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger

from lightning_energy import load_record
from lightning_energy.commands import main as cli
from lightning_energy.results.own_files import kept_place
from lightning_energy.results.read import read_record
from lightning_energy.results.write import write_record
from tests.modules import Classifier, energy_callback, loader, make_trainer

if TYPE_CHECKING:
    from tests.warm import Warm

RESUMED = pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
AFTER = "after_checkpoint"

KILLED = """
import os, signal, sys, warnings
import lightning as L
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from tests.modules import Working, energy_callback, loader, make_trainer

class Die(L.Callback):
    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.current_epoch == 2 and batch_idx == 2:
            if trainer.world_size > 1:
                trainer.strategy.barrier()
            os.kill(os.getpid(), int(sys.argv[2]))

warnings.simplefilter("ignore")
out, ranks = sys.argv[1], int(sys.argv[3])
settings = {"strategy": "ddp", "devices": 2} if ranks == 2 else {}
saving = ModelCheckpoint(filename="{epoch}", save_top_k=-1)
trainer = make_trainer(
    out, logger=CSVLogger(out), enable_checkpointing=True, callbacks=[energy_callback(), saving, Die()], **settings
)
trainer.fit(Working(), loader(), loader(8))
"""


def killed(warm: Warm, out: Path, number: signal.Signals = signal.SIGKILL, ranks: int = 1) -> Path:
    """A process that was killed in its third epoch; its checkpoint of the first."""
    script = out / "train.py"
    script.write_text(KILLED)
    done = warm.run_ranks(script, ranks, out, int(number), ranks, cwd=out)
    script.unlink()
    checkpoint = out / "lightning_logs/version_0/checkpoints/epoch=0.ckpt"
    assert checkpoint.exists(), done
    return checkpoint


@pytest.fixture(scope="session")
def all_killed() -> dict[signal.Signals, Path]:
    """Filled as they are asked for: tests come in any order."""
    return {}


@pytest.fixture(params=[signal.SIGKILL, signal.SIGTERM], ids=["SIGKILL", "SIGTERM"])
def of_killed(request, all_killed, warm, tmp_path_factory) -> Path:
    if request.param not in all_killed:
        folder = tmp_path_factory.mktemp("killed")
        killed(warm, folder, request.param)
        all_killed[request.param] = folder
    return all_killed[request.param]


@pytest.fixture
def checkpoint(of_killed, tmp_path) -> Path:
    """The same in a folder of its own: moved with all that lies around it."""
    shutil.copytree(of_killed, tmp_path / "moved")
    return tmp_path / "moved/lightning_logs/version_0/checkpoints/epoch=0.ckpt"


def resume(out: Path, checkpoint: Path, **settings):
    energy = energy_callback(**settings)
    trainer = make_trainer(out, logger=CSVLogger(out), callbacks=[energy])
    trainer.fit(Classifier(), loader(), loader(8), ckpt_path=str(checkpoint))
    return energy, Path(trainer.log_dir)


def saved_j(checkpoint: Path) -> float:
    return torch.load(checkpoint, weights_only=True)["callbacks"]["EnergyCallback"]["total"]["energy_j"]


def kinds(figures) -> list[str]:
    return [note.kind for note in figures.notes if note.lowers_total]


def is_said(energy, run: Path, text: str, capsys) -> None:
    """Report, record and details say it."""
    assert text in str(energy.report)
    capsys.readouterr()
    assert cli.main(["report", str(run), "--details"]) == 0
    said = capsys.readouterr().out
    assert text in said
    assert "Missing: nothing" not in said


@pytest.mark.slow
@RESUMED
def test_a_new_version_folder_takes_in_what_the_killed_process_spent(checkpoint, capsys):
    out = checkpoint.parents[3]
    left = read_record(checkpoint.parents[1])
    energy, run = resume(out, checkpoint)
    report = energy.report
    assert run.name == "version_1"
    assert left.total.energy_j > saved_j(checkpoint)
    assert report.total.energy_j == pytest.approx(left.total.energy_j + report.session.energy_j, rel=1e-9)
    record = load_record(run)
    assert (record.run_id, record.total) == (left.run_id, report.total)
    assert [row.outcome for row in record.sessions] == ["interrupted", "completed"]
    assert [row.epoch for row in record.epochs] == [0, 1, 1, 2]  # what was done again was spent again
    if left.outcome == "running":  # nobody could say what was spent after the last record
        assert kinds(report) == kinds(record) == ["killed_session"]
        is_said(energy, run, "part of a killed session", capsys)
    else:
        assert kinds(report) == kinds(record) == []


@pytest.mark.slow
@RESUMED
def test_two_resumes_of_one_checkpoint_are_counted_once_each(checkpoint):
    out = checkpoint.parents[3]
    left = read_record(checkpoint.parents[1])
    for version in (1, 2):
        energy, run = resume(out, checkpoint)
        session = energy.report.session
        assert run.name == f"version_{version}"
        assert energy.report.total.energy_j == pytest.approx(left.total.energy_j + session.energy_j, rel=1e-9)
        assert energy.report.sessions == 2
    assert read_record(checkpoint.parents[1]) == left


def alone(checkpoint: Path) -> Path:
    folder = checkpoint.parents[4] / "alone"
    folder.mkdir()
    return Path(shutil.copy(checkpoint, folder))


def foreign(checkpoint: Path) -> Path:
    file = checkpoint.parents[1] / "energy.json"
    write_record(file, replace(read_record(file), run_id="another"))
    return checkpoint


def damaged(checkpoint: Path) -> Path:
    file = checkpoint.parents[1] / "energy.json"
    file.write_text(file.read_text().replace('"quality"', '"qualty"'))
    return checkpoint


def broken_off(checkpoint: Path) -> Path:
    file = checkpoint.parents[1] / "energy.json"
    file.write_text(file.read_text()[:500])
    return checkpoint


def pipe(checkpoint: Path) -> Path:
    file = checkpoint.parents[1] / "energy.json"
    file.unlink()
    os.mkfifo(file)
    return checkpoint


def older(checkpoint: Path) -> Path:
    file = checkpoint.parents[1] / "energy.json"
    record = read_record(file)
    write_record(file, replace(record, total=replace(record.total, energy_j=0.001)))
    return checkpoint


def change_place(checkpoint: Path, place) -> Path:
    content = torch.load(checkpoint, weights_only=True)
    content["callbacks"]["EnergyCallback"]["record"] = place
    torch.save(content, checkpoint)
    return checkpoint


LOSE = {
    "alone": alone,
    "foreign": foreign,
    "damaged": damaged,
    "broken off": broken_off,
    "pipe": pipe,
    "older": older,
    "number": lambda c: change_place(c, 7),
    "null byte": lambda c: change_place(c, "\0"),
    "long": lambda c: change_place(c, "x" * 100_000),
    "absolute": lambda c: change_place(c, str(c.parents[1] / "energy.json")),
}


@pytest.mark.slow
@RESUMED
@pytest.mark.parametrize(
    ("of_killed", "lose"),
    [(signal.SIGKILL, alone), *((signal.SIGTERM, lose) for lose in LOSE.values())],
    ids=["SIGKILL alone", *LOSE],
    indirect=["of_killed"],
)
def test_where_it_cannot_be_found_the_total_is_a_lower_bound(of_killed, tmp_path, capsys, lose):
    shutil.copytree(of_killed, tmp_path / "moved")
    checkpoint = lose(tmp_path / "moved/lightning_logs/version_0/checkpoints/epoch=0.ckpt")
    energy, run = resume(tmp_path / "new", checkpoint)
    report = energy.report
    assert report.total.energy_j == pytest.approx(saved_j(checkpoint) + report.session.energy_j, rel=1e-9)
    assert kinds(report) == kinds(load_record(run)) == [AFTER]
    is_said(energy, run, "what was spent after the checkpoint", capsys)
    again, _ = resume(tmp_path / "again", run_checkpoint(tmp_path, energy))
    assert kinds(again.report) == [AFTER]  # it is so for the run, in all sessions that follow


def run_checkpoint(tmp_path: Path, energy) -> Path:
    """A checkpoint that was written when the run had ended: nothing was spent after it."""
    trainer = make_trainer(tmp_path, callbacks=[energy], max_epochs=1)
    module = Classifier()
    trainer.strategy.connect(module)
    file = tmp_path / "ended.ckpt"
    state = {"EnergyCallback": energy.state_dict()}
    content = torch.load(next(tmp_path.rglob("epoch=0.ckpt")), weights_only=True)
    torch.save(content | {"callbacks": state}, file)
    return file


@pytest.mark.slow
@RESUMED
def test_a_record_that_made_room_for_another_run_is_found(checkpoint):
    left = read_record(checkpoint.parents[1])
    file = checkpoint.parents[1] / "energy.json"
    file.rename(kept_place(file, left.started_unix_s))
    write_record(file, replace(left, run_id="another"))
    energy, _ = resume(checkpoint.parents[3], checkpoint)
    assert energy.report.total.energy_j == pytest.approx(left.total.energy_j + energy.report.session.energy_j, rel=1e-9)


@pytest.mark.slow
@RESUMED
def test_a_sibling_in_the_same_place_is_not_mixed_in_and_stays(checkpoint, tmp_path):
    """Two resumes of a checkpoint that was moved alone keep one place: neither knows what the other spent."""
    file = tmp_path / "one place/energy.json"
    lonely = alone(checkpoint)
    first, _ = resume(tmp_path / "a", lonely, record=str(file))
    with pytest.warns(UserWarning, match="the record of another run lay where that of this run will, and is now"):
        second, _ = resume(tmp_path / "b", lonely, record=str(file))
    for energy in (first, second):
        spent_j = saved_j(lonely) + energy.report.session.energy_j
        assert energy.report.total.energy_j == pytest.approx(spent_j, rel=1e-9)
    assert read_record(file).total == second.report.total
    (kept,) = file.parent.glob("energy.20*.json")
    assert read_record(kept).total == first.report.total


@pytest.mark.slow
@RESUMED
def test_unknown_time_after_the_checkpoint_is_taken_in_as_well(checkpoint):
    """The sensor died after the checkpoint: no joule more, but time of which nothing is known."""
    file = checkpoint.parents[1] / "energy.json"
    state = torch.load(checkpoint, weights_only=True)["callbacks"]["EnergyCallback"]
    left = read_record(file)
    known_j = state["total"]["energy_j"]
    write_record(file, replace(left, total=replace(left.total, energy_j=known_j, missing_s=100.0, duration_s=101.0)))
    energy, _ = resume(checkpoint.parents[3], checkpoint)
    assert energy.report.total.missing_s >= 100.0


@pytest.mark.slow
@RESUMED
def test_a_fit_that_went_on_after_its_checkpoint_is_known_too(tmp_path):
    """The checkpoint was written between two fits of one Trainer: the second one was spent after it."""
    energy = energy_callback()
    trainer = make_trainer(tmp_path, logger=CSVLogger(tmp_path), callbacks=[energy], max_epochs=1)
    trainer.fit(Classifier(), loader(), loader(8))
    trainer.save_checkpoint(tmp_path / "between.ckpt")
    trainer.fit_loop.max_epochs = 2
    trainer.fit(Classifier(), loader(), loader(8))
    spent_j = energy.report.total.energy_j
    resumed, run = resume(tmp_path, tmp_path / "between.ckpt")
    assert run.name == "version_1"
    assert resumed.report.total.energy_j == pytest.approx(spent_j + resumed.report.session.energy_j, rel=1e-9)


@pytest.mark.slow
@RESUMED
def test_the_place_is_relative_to_the_checkpoint(tmp_path):
    energy = energy_callback()
    saving = ModelCheckpoint(tmp_path / "elsewhere/deep", filename="{epoch}")
    trainer = make_trainer(
        tmp_path, logger=CSVLogger(tmp_path), callbacks=[energy, saving], enable_checkpointing=True, max_epochs=1
    )
    trainer.fit(Classifier(), loader(), loader(8))
    state = torch.load(tmp_path / "elsewhere/deep/epoch=0.ckpt", weights_only=True)["callbacks"]["EnergyCallback"]
    assert state["record"] == "../../lightning_logs/version_0/energy.json"


@pytest.mark.slow
@RESUMED
def test_of_several_ranks_all_records_are_taken_in(warm, tmp_path):
    """Both ranks are killed by SIGKILL; each left a record of its own."""
    checkpoint = killed(warm, tmp_path, signal.SIGKILL, ranks=2)
    left = load_record(checkpoint.parents[1])
    energy, run = resume(tmp_path, checkpoint)
    assert run.name == "version_1"
    assert energy.report.total.energy_j == pytest.approx(left.total.energy_j + energy.report.session.energy_j, rel=1e-9)
    assert kinds(energy.report) == ["killed_session"]


DDP_RESUME = """
import json, sys, warnings
from pathlib import Path
from lightning.pytorch.loggers import CSVLogger
from tests.modules import Classifier, energy_callback, loader, make_trainer

warnings.simplefilter("ignore")
out, checkpoint = Path(sys.argv[1]), sys.argv[2]
energy = energy_callback()
settings = {"strategy": "ddp", "devices": 2}
trainer = make_trainer(out, logger=CSVLogger(out), callbacks=[energy], max_epochs=3, **settings)
trainer.fit(Classifier(), loader(), loader(8), ckpt_path=checkpoint)
report = energy.report
row = {"total_j": report.total.energy_j, "session_j": report.session.energy_j, "run": energy._memory.run_id,
       "score": float(trainer.callback_metrics["energy/score"])}
(out / f"rank{trainer.global_rank}.txt").write_text(json.dumps(row))
"""


@pytest.mark.slow
@pytest.mark.parametrize("of_killed", [signal.SIGTERM], ids=["SIGTERM"], indirect=True)
def test_all_ranks_go_on_from_the_same(checkpoint, warm, tmp_path):
    left = read_record(checkpoint.parents[1])
    script = tmp_path / "resume.py"
    script.write_text(DDP_RESUME)
    done = warm.run_ranks(script, 2, tmp_path, checkpoint, cwd=tmp_path)
    rows = [json.loads(file.read_text()) for file in sorted(tmp_path.glob("rank*.txt"))]
    assert len(rows) == 2, done
    assert rows[0] == rows[1]
    assert rows[0]["total_j"] == pytest.approx(left.total.energy_j + rows[0]["session_j"], rel=1e-9)
