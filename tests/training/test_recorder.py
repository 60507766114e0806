from __future__ import annotations

import json
import math
import os
import platform
import signal
import threading
import time
import warnings
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import jsonschema
import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

import lightning_energy
from lightning_energy import EnergyCallback, energy_penalized_accuracy
from lightning_energy.commands import main as cli
from lightning_energy.curves.power_series import PowerSeries
from lightning_energy.ledger.ranks import Ranks
from lightning_energy.meters import MeterInfo
from lightning_energy.meters.clock import Anchor
from lightning_energy.results import own_files, read
from lightning_energy.results.brief import Place
from lightning_energy.results.plain import plain
from lightning_energy.results.read import RecordError, read_record
from lightning_energy.results.record import NAME
from lightning_energy.results.rendering import as_text
from lightning_energy.results.upgrade import VERSION
from lightning_energy.results.write import write_record
from lightning_energy.training import recorder, step_log
from lightning_energy.training.loop_run import LoopRun
from tests.modules import Classifier, MemoryLogger, energy_callback, loader, make_trainer, meter

if TYPE_CHECKING:
    from lightning_energy.results.record import Record

pytestmark = pytest.mark.slow

SCHEMA = json.loads((Path(lightning_energy.__file__).parent / "results/record.schema.json").read_text())
CLOCK = (Anchor(0, 10**18),)


def valid(record: Record) -> Record:
    jsonschema.Draft202012Validator(SCHEMA).validate(record.to_plain())
    return record


class Slow(Classifier):
    """Epochs of some 100 ms, so that a counter sees them; with hyperparameters of all kinds."""

    def __init__(self, width: int = 4, rate: float = 0.1, **more) -> None:
        super().__init__()
        self.save_hyperparameters()

    def training_step(self, batch, batch_idx):
        time.sleep(0.012)
        return super().training_step(batch, batch_idx)


def fit(tmp_path, energy=None, module=None, **kwargs):
    energy = energy or energy_callback()
    settings = {"logger": CSVLogger(tmp_path), "callbacks": [energy], "max_epochs": 4}
    trainer = make_trainer(tmp_path, **(settings | kwargs))
    trainer.fit(module or Slow(), loader(), loader(8))
    return energy, trainer


def test_a_run_leaves_a_record(tmp_path):
    module = Slow(width=8, nothing=None, rate=math.inf, shape=(1, 2), where=Path("data"), nested={"a": [1.5]})
    energy, trainer = fit(tmp_path, module=module)
    record = valid(read_record(trainer.log_dir))
    assert record.outcome == "completed"
    assert record.report == energy.report
    assert str(record.report) == str(energy.report)
    assert [row.epoch for row in record.epochs] == [0, 1, 2, 3]
    assert record.epochs[-1].train_s > 0
    assert record.total.energy_j == pytest.approx(sum(e.energy_j for e in record.stages.values()))
    assert record.sessions[0].energy == record.session
    assert record.what["module"] == "tests.training.test_recorder.Slow"
    assert record.what["parameters"] == 10
    hyper = record.what["hyperparameters"]
    assert hyper == {
        "width": 8, "nothing": None, "rate": "inf", "shape": [1, 2], "where": "data", "nested": {"a": [1.5]}
    }  # fmt: skip
    assert record.where.versions["torch"]
    assert record.devices[0].device_id == "replay-0"
    text = json.dumps(record.where.to_plain())
    assert platform.node() not in text or len(platform.node()) < 4


@pytest.mark.parametrize("logger", [CSVLogger, TensorBoardLogger])
def test_it_lies_beside_what_the_logger_writes(tmp_path, logger):
    _, trainer = fit(tmp_path, logger=[logger(tmp_path), MemoryLogger()])
    assert (Path(trainer.log_dir) / "energy.json").is_file()
    assert not list(Path(trainer.log_dir).glob(".energy*"))


def test_a_logger_with_a_folder_for_all_runs_has_one_for_each(tmp_path):
    class Shared(MemoryLogger):
        save_dir = str(tmp_path)
        version = 7

    fit(tmp_path, logger=Shared())
    assert (tmp_path / "memory" / "version_7" / "energy.json").is_file()


@pytest.mark.parametrize("settings", [{"logger": False}, {"fast_dev_run": True}, {"logger": MemoryLogger()}])
def test_no_record_where_there_is_no_place_for_it(tmp_path, settings):
    fit(tmp_path, **settings)
    assert not list(tmp_path.rglob("energy.json"))


@pytest.mark.parametrize("folder", ["s3://bucket/runs", "gs://bucket/runs", "file:///runs"])
def test_a_remote_folder_of_a_logger_is_no_folder_here(tmp_path, monkeypatch, folder):
    class Remote(MemoryLogger):
        save_dir = folder

    monkeypatch.chdir(tmp_path)
    assert recorder.where_to_record(make_trainer(tmp_path, logger=Remote()), record=True) is None


def test_not_wanted_or_elsewhere(tmp_path):
    fit(tmp_path / "a", energy_callback(record=False))
    assert not list(tmp_path.rglob("energy.json"))
    fit(tmp_path / "b", energy_callback(record=str(tmp_path / "c" / "mine.json")), logger=False)
    valid(read_record(tmp_path / "c" / "mine.json"))
    fit(tmp_path / "b", energy_callback(record=str(tmp_path / "d")), logger=False)
    valid(read_record(tmp_path / "d"))


@pytest.mark.parametrize("record", [None, 3, "", "s3://bucket/runs"])
def test_a_wrong_place_is_told_at_construction(record):
    with pytest.raises(TypeError, match="path of a file or folder"):
        energy_callback(record=record)


def test_which_uncertainty_a_row_of_an_epoch_has(tmp_path):
    info = MeterInfo("d", "d", "measured", "gpu", power_max_w=230.0, power_min_w=190.0, calibration_u=0.5)
    energy = energy_callback(record=str(tmp_path), meters=meter(info=info))
    make_trainer(tmp_path, max_epochs=1, callbacks=[energy]).fit(Slow(), loader(128), loader(8))
    row = valid(read_record(tmp_path)).epochs[0]
    gain_kwh, most = 0.5 * row.total_kwh, 0.3  # on a busy machine the last update may be far from the end
    assert gain_kwh <= row.total_u_kwh <= math.hypot(gain_kwh, most * row.total_kwh)  # with the gain
    assert 0 < row.train_u_j <= most * row.train_j  # without


def test_it_is_there_after_every_epoch_and_every_minute(tmp_path, monkeypatch):
    seen = []

    class Look(L.Callback):
        def on_train_epoch_end(self, trainer, pl_module) -> None:
            energy._run.outputs.flush()
            seen.append(valid(read_record(trainer.log_dir)))

    energy = energy_callback()
    fit(tmp_path / "a", energy, callbacks=[energy, Look()])
    assert [len(r.epochs) for r in seen] == [1, 2, 3, 4]
    assert {r.outcome for r in seen} == {"running"}
    known = [r.total.energy_j for r in seen if r.total.energy_j is not None]
    assert known == sorted(known)
    assert not seen[-1].sessions

    class LookAtSteps(L.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
            if (Path(trainer.log_dir) / "energy.json").exists():
                seen.append(valid(read_record(trainer.log_dir)))

    seen.clear()
    monkeypatch.setattr(recorder, "EVERY_S", 0.0)
    monkeypatch.setattr(step_log, "KEEP_UP_S", 0.0)
    energy = energy_callback()
    fit(tmp_path / "b", energy, callbacks=[energy, LookAtSteps()], max_epochs=1)
    assert seen
    assert all(not r.epochs for r in seen)


def test_an_interrupted_run_says_so(tmp_path):
    class Fails(Slow):
        def on_train_epoch_end(self) -> None:
            if self.trainer.current_epoch == 2:
                raise ValueError("mine")

    energy, logger = energy_callback(), CSVLogger(tmp_path)
    with pytest.raises(ValueError, match="mine"):
        fit(tmp_path, energy, Fails(), logger=logger)
    record = valid(read_record(logger.log_dir))
    assert record.outcome == "interrupted"
    assert record.sessions[0].outcome == "interrupted"
    assert record.session.energy_j > 0


def test_tests_are_added_and_a_second_fit_goes_on(tmp_path):
    _, trainer = fit(tmp_path)
    fitted = read_record(trainer.log_dir)
    trainer.test(Slow(), loader(64), verbose=False)
    trainer.validate(Slow(), loader(64), verbose=False)
    record = valid(read_record(trainer.log_dir))
    assert [[*e.stages] for e in record.evaluations] == [["test"], ["validate"]]
    assert record.total == fitted.total
    trainer.fit_loop.max_epochs = 6
    trainer.fit(Slow(), loader(), loader(8))
    again = valid(read_record(trainer.log_dir))
    assert len(again.sessions) == 2
    assert len(again.evaluations) == 2
    assert again.total.energy_j > record.total.energy_j


def test_a_record_that_cannot_be_read_is_not_replaced_by_that_of_a_test(tmp_path):
    """Of a newer version, or damaged: the training's figures are in it."""
    _, trainer = fit(tmp_path)
    file = Path(trainer.log_dir, NAME)
    for version in (99, 98):
        text = json.dumps(json.loads(file.read_text()) | {"version": version})
        file.write_text(text)
        trainer.test(Slow(), loader(64), verbose=False)
        assert any(kept.read_text() == text for kept in file.parent.glob("energy.*.json"))
        assert read_record(file).total is None
    assert len([*file.parent.glob("energy.*.json")]) == 2


@pytest.mark.filterwarnings("ignore:EnergyCallback. no energy/score")
def test_an_evaluation_alone_has_a_record(tmp_path):
    energy = energy_callback()
    trainer = make_trainer(tmp_path, logger=CSVLogger(tmp_path), callbacks=[energy])
    trainer.test(Slow(), loader(64), verbose=False)
    record = valid(read_record(trainer.log_dir))
    assert record.total is None
    assert [*record.stages] == ["test"]


def test_a_disk_that_cannot_be_written_is_told_once_and_the_training_goes_on(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        energy, trainer = fit(tmp_path, energy_callback(record=str(tmp_path / "file" / "energy.json")))
    assert sum("the record cannot be written" in str(w.message) for w in caught) == 1
    assert trainer.current_epoch == 4
    assert energy.report.outcome == "completed"


def test_a_disk_that_fails_once_is_tried_again(tmp_path):
    """ESTALE on a network disk: the next write succeeds, and the record is that of the end."""

    class Once(Slow):
        def on_train_epoch_start(self) -> None:
            energy._run.outputs.flush()
            if self.trainer.current_epoch == 1:
                (tmp_path / "out").rename(tmp_path / "gone")
                (tmp_path / "out").write_text("in the way")
            if self.trainer.current_epoch == 3:
                (tmp_path / "out").unlink()

    energy = energy_callback(record=str(tmp_path / "out"))
    trainer = make_trainer(tmp_path, max_epochs=4, callbacks=[energy])
    with pytest.warns(UserWarning, match="the record cannot be written .* the next write tries again"):
        trainer.fit(Once(), loader(64), loader(8))
    record = valid(read_record(tmp_path / "out"))
    assert (record.outcome, len(record.epochs)) == ("completed", 4)


@pytest.mark.parametrize("name", ["config.json", "energy.json"])
def test_a_file_that_is_not_ours_stays(tmp_path, name):
    (tmp_path / name).write_text('{"lr": 0.1}')
    (tmp_path / "energy.rankings.json").write_text("{}")
    (tmp_path / "energy-2.rank1.json").write_text("{}")
    with pytest.warns(UserWarning, match=f"{name} is no record of lightning-energy, and stays as it is") as caught:
        energy, _ = fit(tmp_path, energy_callback(record=str(tmp_path / name)))
    assert sum("stays as it is" in str(w.message) for w in caught) == 1
    assert (tmp_path / name).read_text() == '{"lr": 0.1}'
    assert (tmp_path / "energy.rankings.json").read_text() == (tmp_path / "energy-2.rank1.json").read_text() == "{}"
    record = read_record(tmp_path / f"{name.removesuffix('.json')}-2.json")
    assert record.total == energy.report.total


def test_a_second_run_in_the_same_folder_keeps_the_first(tmp_path):
    first, _ = fit(tmp_path, energy_callback(record=str(tmp_path / "out")))
    with pytest.warns(UserWarning, match="the record of another run lay where that of this run will, and is now"):
        second, _ = fit(tmp_path, energy_callback(record=str(tmp_path / "out")))
    (kept,) = (tmp_path / "out").glob("energy.20*.json")
    assert read_record(kept).total == first.report.total
    assert read_record(tmp_path / "out").total == second.report.total


def test_a_relative_place_is_that_of_the_start(tmp_path, monkeypatch):
    class Moves(Slow):
        def on_train_start(self) -> None:
            (tmp_path / "elsewhere").mkdir()
            monkeypatch.chdir(tmp_path / "elsewhere")

    monkeypatch.chdir(tmp_path)
    energy = energy_callback(record="out")
    make_trainer(tmp_path, max_epochs=2, callbacks=[energy]).fit(Moves(), loader(64), loader(8))
    assert read_record(tmp_path / "out").outcome == "completed"
    assert not [*(tmp_path / "elsewhere").iterdir()]


def test_a_working_folder_that_is_gone_ends_no_training(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    energy = energy_callback(record="energy.json", score=None)
    trainer = make_trainer(tmp_path, max_epochs=1, callbacks=[energy])
    with pytest.warns(UserWarning, match="the record cannot be written"):
        trainer.fit(Classifier(), loader(8), loader(8))
    assert energy.report.outcome == "completed"


def test_a_place_that_ends_with_a_slash_is_a_folder(tmp_path):
    for place in (f"{tmp_path}/runs/", f"{tmp_path}/runs.json/"):
        expected = Path(place) / "energy.json"
        assert recorder.where_to_record(make_trainer(tmp_path), place) == expected
        assert LoopRun(place, Ranks(), None, print).path == expected


def test_a_name_that_is_too_long_is_told_as_well(tmp_path):
    with pytest.warns(UserWarning, match="the record cannot be written"):
        _, trainer = fit(tmp_path, energy_callback(record=str(tmp_path / ("x" * 300))))
    assert trainer.current_epoch == 4


KILLED = """
import os, signal, sys, warnings
from pathlib import Path
import lightning as L
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from tests.modules import energy_callback, loader, make_trainer
from tests.training.test_recorder import Slow

class Die(L.Callback):
    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.current_epoch == 3:
            energy._run.outputs.flush()
            os.kill(os.getpid(), int(sys.argv[2]))

warnings.simplefilter("ignore")
signal.signal(signal.SIGINT, signal.default_int_handler)  # who starts the tests in the background has it ignored
energy = energy_callback()
trainer = make_trainer(sys.argv[1], logger=CSVLogger(sys.argv[1]), callbacks=[energy, Die()], max_epochs=9)
trainer.fit(Slow(), loader(), loader(8))
print("after fit")
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_process_leaves_its_last_epoch(tmp_path, warm, number):
    done = warm.run(KILLED, tmp_path, int(number))
    assert "after fit" not in done.stdout
    if number == signal.SIGTERM:
        assert "Received SIGTERM" in done.stderr  # Lightning's own handler is at work
    else:
        assert done.returncode != 0
    (path,) = tmp_path.rglob("energy.json")
    record = valid(read_record(path))
    assert len(record.epochs) == 3
    assert record.outcome == ("running" if number == signal.SIGKILL else "interrupted"), done.stderr
    assert record.total.energy_j > 0


def crashed(tmp_path, logger):
    """A run that fails in its fourth epoch, and a checkpoint of its first; what was on disk after its third, too."""

    class Fails(Slow):
        def on_train_batch_start(self, batch, batch_idx) -> None:
            if self.trainer.current_epoch == 3 and batch_idx == 4:
                energy._run.outputs.flush()
                seen.append(read_record(tmp_path))
                raise ValueError("mine")

    seen = []
    energy = energy_callback(record=str(tmp_path))
    saving = ModelCheckpoint(tmp_path, filename="{epoch}", save_top_k=-1)
    with pytest.raises(ValueError, match="mine"):
        fit(tmp_path, energy, Fails(), logger=logger, enable_checkpointing=True, callbacks=[energy, saving])
    return tmp_path / "epoch=0.ckpt", seen[0]


def resume(tmp_path, checkpoint, record):
    energy = energy_callback(record=str(record))
    trainer = make_trainer(tmp_path, logger=False, callbacks=[energy], max_epochs=4)
    trainer.fit(Slow(), loader(), loader(8), ckpt_path=checkpoint)
    saved = torch.load(checkpoint, weights_only=False)["callbacks"]["EnergyCallback"]
    return energy, saved["total"]["energy_j"]


RESUMED = pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")


@RESUMED
@pytest.mark.parametrize("killed", [False, True])
def test_a_resume_takes_in_what_was_spent_after_the_checkpoint(tmp_path, killed):
    checkpoint, while_running = crashed(tmp_path, logger=False)
    if killed:  # nobody wrote the end of the session
        write_record(tmp_path / "energy.json", while_running)
    left = read_record(tmp_path)
    energy, saved_j = resume(tmp_path, checkpoint, tmp_path)
    report = energy.report
    assert left.total.energy_j > saved_j
    assert report.total.energy_j == pytest.approx(left.total.energy_j + report.session.energy_j, rel=1e-9)
    assert report.sessions == 2
    record = valid(read_record(tmp_path))
    assert record.run_id == left.run_id
    assert [row.outcome for row in record.sessions] == ["interrupted", "completed"]
    assert record.sessions[0].energy == left.session
    assert [row.epoch for row in record.epochs] == [0, 1, 2, 1, 2, 3]  # what was done again was spent again
    assert any("was killed" in note.text for note in report.notes) == killed


@RESUMED
@pytest.mark.parametrize("place", ["of another run", "nonsense", "older"])
def test_a_record_of_something_else_is_not_taken_in(tmp_path, place):
    checkpoint, _ = crashed(tmp_path, logger=False)
    record = tmp_path / "energy.json"
    if place == "of another run":
        write_record(record, replace(read_record(record), run_id="another"))
    elif place == "nonsense":
        record.write_text("{")
    else:
        total = read_record(record).total
        write_record(record, replace(read_record(record), total=replace(total, energy_j=0.001)))
    told = {"of another run": "the record of another run lay where", "nonsense": "is no record of lightning-energy"}
    with pytest.warns(UserWarning, match=told[place]) if place in told else nullcontext():
        energy, saved_j = resume(tmp_path, checkpoint, record)
    assert energy.report.total.energy_j == pytest.approx(saved_j + energy.report.session.energy_j, rel=1e-9)
    assert [row["epoch"] for row in energy.history] == [0, 1, 2, 3]
    assert [note.kind for note in energy.report.notes if note.lowers_total] == ["after_checkpoint"]
    assert place != "nonsense" or record.read_text() == "{"


def test_a_record_that_was_left_is_read_once(tmp_path, monkeypatch):
    fit(tmp_path, energy_callback(record=str(tmp_path)))
    opened, at_setup = [], []
    whole = read.text_of

    def text_of(file, *rest):
        opened.append(file.name)
        return whole(file, *rest)

    class After(L.Callback):
        def setup(self, trainer, pl_module, stage) -> None:
            at_setup.extend(opened)

    monkeypatch.setattr(read, "text_of", text_of)
    monkeypatch.setattr(own_files, "text_of", text_of)
    energy = energy_callback(record=str(tmp_path))
    with pytest.warns(UserWarning, match="the record of another run lay where"):
        fit(tmp_path, energy, callbacks=[energy, After()])
    assert at_setup == ["energy.json"]


class FailsTwice(L.Callback):
    """Its own clean-up fails, so that Lightning calls nobody after it."""

    def on_train_epoch_end(self, trainer, pl_module) -> None:
        if trainer.current_epoch == 1:
            raise ValueError("first")

    def on_exception(self, trainer, pl_module, exception) -> None:
        raise RuntimeError("second")


@pytest.mark.parametrize("order", ["before us", "after us"])
def test_a_second_exception_leaves_no_thread_and_no_running_record(tmp_path, order, monkeypatch):
    monkeypatch.setattr("lightning_energy.ledger.watch.ABANDONED_S", 0.1)
    energy, logger = energy_callback(), CSVLogger(tmp_path)
    callbacks = [FailsTwice(), energy] if order == "before us" else [energy, FailsTwice()]
    trainer = make_trainer(tmp_path, max_epochs=4, logger=logger, callbacks=callbacks)
    with pytest.raises(RuntimeError, match="second"):
        trainer.fit(Slow(), loader(), loader(8))
    for thread in threading.enumerate():  # it ends itself, though the Trainer lives
        if thread.name == "lightning-energy-sampler":
            thread.join(10)
            assert not thread.is_alive()
    assert not energy.meters.is_open
    assert valid(read_record(logger.log_dir)).outcome == "interrupted"
    fit(tmp_path, energy)  # and it can be used again


@pytest.mark.parametrize("is_late", [False, True])
def test_the_printed_report_names_no_record_where_none_could_be_written(tmp_path, capsys, is_late):
    """Neither the file nor a command that would read it; one that was written earlier does not have these figures."""
    path = tmp_path / "out" / "energy.json"
    if not is_late:
        path.parent.write_text("in the way")

    class Blocks(Slow):
        def on_train_epoch_start(self) -> None:
            if is_late and self.trainer.current_epoch == 1:
                energy._run.outputs.flush()
                assert path.exists()
                path.parent.rename(tmp_path / "gone")
                path.parent.write_text("in the way")

    energy = EnergyCallback(meters=meter(script=0.5), print_report=True, record=str(path))
    trainer = make_trainer(tmp_path, max_epochs=2, callbacks=[energy])
    with pytest.warns(UserWarning, match="the record cannot be written"):
        trainer.fit(Blocks(), loader(64), loader(8))
    printed = capsys.readouterr().out
    assert printed.endswith(f"\nRecord: none, as these figures could not be written to {path}\n")
    has_notes = bool(energy.report.notes) or any(device.note for device in energy.report.devices)
    assert ("callback.report.details()" in printed) == has_notes
    assert "lightning-energy report" not in printed
    trainer.test(Classifier(), loader(8), verbose=False)
    printed = capsys.readouterr().out
    assert f"\nRecord: none, as these figures could not be written to {path}\n" in printed
    path.parent.unlink()
    trainer.test(Classifier(), loader(8), verbose=False)  # there it is again
    assert f"\nRecord: {path}\n" in capsys.readouterr().out


def test_the_printed_report_names_its_record(tmp_path, capsys):
    """A test's details are not in the record of the training before it: they are in Python alone."""
    energy, trainer = fit(tmp_path, EnergyCallback(meters=meter(script=0.5), print_report=True))
    folder = Path(trainer.log_dir)
    printed = capsys.readouterr().out
    assert as_text(energy.report, Place.of_record(folder / "energy.json")) in printed
    assert printed.endswith(f"\nRecord: {folder / 'energy.json'}\n")
    trainer.test(Classifier(), loader(8), verbose=False)
    (tested,) = energy.evaluations
    assert as_text(tested, Place(folder / "energy.json")) in capsys.readouterr().out


def test_the_report_is_printed_again(tmp_path, capsys):
    energy, trainer = fit(tmp_path)
    capsys.readouterr()
    assert cli.main(["report", trainer.log_dir]) == 0
    place = Place.of_record(Path(trainer.log_dir) / "energy.json", trainer.log_dir)
    assert capsys.readouterr().out == f"{as_text(energy.report, place)}\n"
    assert cli.main(["report", str(Path(trainer.log_dir) / "energy.json"), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == read_record(trainer.log_dir).to_plain()
    assert cli.main(["report", str(tmp_path / "nowhere")]) == 2
    assert "does not exist: give a record or the log directory" in capsys.readouterr().err


# ------------------------------------------------------------------------------- reading and writing


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    _, trainer = fit(tmp_path_factory.mktemp("run"), max_epochs=1)
    return read_record(trainer.log_dir)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "no JSON, or only the beginning"),
        ('{"format": "lightning-energy-record", "ver', "only the beginning"),
        ("[1, 2]", "is not a record"),
        ('{"format": "something else"}', "is not a record"),
        ('{"format": "lightning-energy-record", "version": 99}', "version 99.*upgrade"),
        ('{"format": "lightning-energy-record", "version": "x"}', "version 'x'"),
        ('{"format": "lightning-energy-record", "version": 1}', "damaged"),
    ],
)
def test_what_is_no_record_is_said_with_its_name(tmp_path, text, match):
    file = tmp_path / "some.json"
    file.write_text(text)
    with pytest.raises(RecordError, match=match) as error:
        read_record(file)
    assert str(file) in str(error.value)


def test_nothing_there_and_bytes(tmp_path):
    with pytest.raises(RecordError, match="does not exist: give a record or the log directory"):
        read_record(tmp_path)
    (tmp_path / "energy.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecordError, match="is no text file, so no record"):
        read_record(tmp_path)


def test_a_folder_above_records_names_some_of_them(tmp_path, good):
    write_record(tmp_path / "much" / "deeper" / "a" / "b" / "energy.json", good)
    with pytest.raises(RecordError, match="give a record or the log directory"):
        read_record(tmp_path)
    folders = [tmp_path / "quick[1]" / f"version_{i}" for i in range(5)]
    write_record(folders[1] / "energy.json", good)
    with pytest.raises(RecordError) as error:
        read_record(tmp_path)
    assert str(error.value) == f"{tmp_path}/energy.json does not exist: records lie below it, try {folders[1]}"
    for folder in folders:
        write_record(folder / "energy.json", good)
    with pytest.raises(RecordError) as error:
        read_record(tmp_path)
    assert str(error.value).endswith(f"try {folders[0]} or {folders[1]} or {folders[2]} (or one of 2 more)")


def test_a_write_that_fails_leaves_the_old_record(tmp_path, good, monkeypatch):
    path = tmp_path / "energy.json"
    write_record(path, good)

    def full(number, *args, **kwargs):
        os.close(number)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fdopen", full)
    with pytest.raises(OSError, match="No space"):
        write_record(path, replace(good, outcome="running"))
    monkeypatch.undo()
    assert read_record(path) == good
    assert [p.name for p in tmp_path.iterdir()] == ["energy.json"]


def test_what_json_does_not_know():
    assert plain({1: math.nan, "set": {3}, "deep": [[[[[[[[[[1]]]]]]]]]]}) == {
        "1": "nan",
        "set": [3],
        "deep": [[[[[[["[[[1]]]"]]]]]]],
    }


def test_the_schema_refuses_what_is_no_record(good):
    good = good.to_plain()
    without = {k: v for k, v in good.items() if k != "session"}
    for wrong in ({**good, "outcome": "fine"}, {**good, "version": 3}, without):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.Draft202012Validator(SCHEMA).validate(wrong)
    assert SCHEMA["properties"]["version"]["const"] == VERSION


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
@pytest.mark.parametrize("how", ["no checkpoint", "sanity check"])
def test_a_resume_that_fails_to_start_leaves_what_was_left(tmp_path, how):
    place = str(tmp_path / "run")
    fit(tmp_path, energy_callback(record=place, trace="csv"))
    before = {p.name: p.read_bytes() for p in (tmp_path / "run").iterdir()}
    assert {*before} == {"energy.json", "energy.curve.csv.gz", "energy.steps.csv.gz"}

    class Breaks(Slow):
        def validation_step(self, batch, batch_idx):
            raise RuntimeError("the user's")

    energy = energy_callback(record=place, trace="csv")
    trainer = make_trainer(tmp_path, callbacks=[energy], num_sanity_val_steps=1)
    ckpt_path = "nowhere.ckpt" if how == "no checkpoint" else None
    with pytest.raises((FileNotFoundError, RuntimeError)):
        trainer.fit(Breaks(), loader(), loader(8), ckpt_path=ckpt_path)
    assert energy.report.outcome == "interrupted"
    assert {p.name: p.read_bytes() for p in (tmp_path / "run").iterdir()} == before


@pytest.mark.parametrize("change", [{"evaluations": None}, {"run_id": []}, {"total": {"quality": "magic"}}, "deep"])
def test_whatever_lies_in_its_place_ends_no_training(tmp_path, change):
    checkpoint = ModelCheckpoint(tmp_path / "checkpoints", save_last=True)
    energy = energy_callback(record=str(tmp_path))
    fit(tmp_path, energy, callbacks=[energy, checkpoint], enable_checkpointing=True, max_epochs=1)
    file = tmp_path / "energy.json"
    text = "[" * 100_000 if change == "deep" else json.dumps({**json.loads(file.read_text()), **change})
    file.write_text(text)
    again = energy_callback(record=str(tmp_path))
    trainer = make_trainer(tmp_path, callbacks=[again], max_epochs=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(Slow(), loader(), loader(8), ckpt_path=tmp_path / "checkpoints" / "last.ckpt")
    assert trainer.current_epoch == 2
    place = tmp_path / (
        "energy-2.json" if change == "deep" else "energy.json"
    )  # what does not say that it is ours stays
    assert valid(read_record(place)).outcome == "completed"


def test_a_long_record_is_not_written_after_every_short_epoch(tmp_path, monkeypatch, good):
    now = [100.0]
    monkeypatch.setattr(recorder, "time", SimpleNamespace(monotonic=lambda: now[0], time=lambda: 0.0))
    monkeypatch.setattr(recorder, "EVERY_S", 1.5)
    path, (row, *_) = tmp_path / "energy.json", good.epochs
    report = replace(good.report, devices=[replace(device, power=None) for device in good.devices])
    writer = recorder.Recorder(path, {})

    def is_written(rows: int, outcome: str = "running", points: int = 0) -> bool:
        device = replace(report.devices[0], power=PowerSeries(0, 1.0, (100.0,) * points, clock=CLOCK))
        writer.write(replace(report, outcome=outcome, devices=[device] if points else ()), epochs=[row] * rows)
        record = read_record(path)
        return (len(record.epochs), record.outcome) == (rows, outcome)

    assert all(is_written(rows) for rows in (1, 2, recorder.SHORT_ROWS - 1, recorder.SHORT_ROWS))  # at no time at all
    assert not is_written(1000)
    now[0] += 1.001  # a thousand rows, a thousand milliseconds
    assert is_written(1000)
    assert not is_written(1001)
    assert is_written(1001, "completed")  # the end is always written
    now[0] += recorder.EVERY_S + 0.001
    assert is_written(2000)  # at the latest then
    assert not is_written(500, points=10)  # ten points of power take the time of a row
    now[0] += 0.502
    assert is_written(500, points=10)


def test_an_evaluation_beside_a_run_that_goes_on_does_not_end_it(tmp_path, good):
    path = tmp_path / "energy.json"
    write_record(path, replace(good, outcome="running"))
    other = recorder.Recorder(path, {})
    other.abandon()
    del other
    assert read_record(path).outcome == "running"


def test_the_score_says_at_which_energy(tmp_path):
    energy, trainer = fit(tmp_path)
    report = energy.report
    assert report.score == pytest.approx(energy_penalized_accuracy(report.metric.value, report.score_kwh))
    assert report.score_kwh < report.total.energy_kwh  # what came after the last validation is not in it
    assert f"at {report.score_kwh:.4g} kWh" in report.details()
    assert read_record(trainer.log_dir).score.energy_kwh == report.score_kwh
