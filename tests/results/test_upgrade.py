"""Files that version 1 wrote (``tests/data/v1``): each is read, reported, compared and resumed from."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import jsonschema
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

import lightning_energy
from lightning_energy import compare, load_record
from lightning_energy.commands import main as cli
from lightning_energy.results.formats import FORMATS, render
from lightning_energy.results.read import read_record
from lightning_energy.results.rows import EPOCH_COLUMNS
from lightning_energy.results.upgrade import VERSION, VersionError, upgrade
from lightning_energy.training.run_memory import RunMemory
from tests.modules import Working, energy_callback, loader, make_trainer

V1 = Path(__file__).parents[1] / "data" / "v1"
RECORDS = sorted(V1.glob("*/energy*.json"))
RUNS = sorted({file.parent for file in RECORDS})
SCHEMA = json.loads((Path(lightning_energy.__file__).parent / "results/record.schema.json").read_text())
KINDS = {
    "Incomplete: these are the figures of rank 0 alone": "incomplete",
    "Incomplete: 1 rank(s) left no record; what they spent is missing": "incomplete",
    "An earlier session was killed: what it spent after its last record is not in the total": "killed_session",
    "What earlier sessions spent is not known, and not in the total: the checkpoint's energy": "unknown_before",
    "NVIDIA H100 (GPU-1): gone, since 0.1 s ago. What it spends … is missing from all totals": "sensor",
    "the sampler stopped (OSError: x): from now on energy is missing": "sensor",
    "NVIDIA A100: its sensor looks at 25 % of the time, and steps of 102 ms may …: aliasing risk": "aliasing",
    "CPU: steps of 1 ms …: their mean is right, single steps are unresolved": "unresolved",
    "No idle baseline for NVIDIA H100: its power was not steady": "measuring",
    "NVIDIA H100: shared with 1 other process(es) at the end; its energy is the whole board's": "sharing",
    "3 marks have the host's time, not the device's": "measuring",
    "The device's clock could not be tied to the host's: steps are cut at the host's times": "measuring",
    "Samples were not counted: the batch raised RuntimeError: closed": "samples",
    "Put together from the records of ranks 0, 1, as the run did not complete": "merged_ranks",
    "Rank 1 cannot tell more: OSError: x": "rank_details",
    "CPU: /sys/class/powercap does not exist": "absent_meter",
    "anything else": "other",
}


def test_there_are_files_of_all_kinds():
    assert [run.name for run in RUNS] == ["derived", "evaluation", "fit", "killed", "ranks", "resumed", "running"]
    assert all(json.loads(file.read_text())["version"] == 1 for file in [*RECORDS, V1 / "fit" / "state.json"])


@pytest.mark.parametrize("file", RECORDS, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_a_record_keeps_its_figures(file):
    old, record = json.loads(file.read_text()), read_record(file)
    new = record.to_plain()
    jsonschema.Draft202012Validator(SCHEMA).validate(new)
    assert new["version"] == VERSION
    assert new["session"] == old["run"]
    assert [note["text"] for note in new["notes"]] == old["notes"]
    assert {note["kind"] for note in new["notes"]} <= {"incomplete", "unresolved", "killed_session"}
    for row, before in zip(new["epochs"], old["epochs"], strict=True):
        assert row.pop("metric") == before.pop("accuracy")
        assert {name: row[name] for name in before} == before
        assert not any(value for name, value in row.items() if name not in before)  # unknown, not 0
    metric = old["accuracy"]
    assert new["metric"] == (None if metric is None else metric | {"mode": "max", "scale": "fraction"})
    same = new.keys() & old.keys() - {"version", "notes", "epochs", "sessions"}
    assert len(same) == len(old) - 6  # run and accuracy have new names
    for key in ("steps", "samples"):
        assert [new[key].pop(name) for name in ("u_j", "u_absolute_j")] == [None, None]
    if new["score"] is not None:
        assert new["score"].pop("u") is None
    assert {key: new[key] for key in same} == {key: old[key] for key in same}
    for row, before in zip(new["sessions"], old["sessions"], strict=True):
        assert row == {"samples": None} | before  # unknown, not 0


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_it_is_reported_in_every_format(run, capsys):
    assert cli.main(["report", str(run)]) == 0
    assert "Energy" in capsys.readouterr().out
    for name in FORMATS:
        if name != "model-card" or run.name == "derived":
            assert render(load_record(run), name)


def test_ranks_of_version_1_are_put_together():
    zero, one = (read_record(V1 / "ranks" / name) for name in ("energy.json", "energy.rank1.json"))
    run = load_record(V1 / "ranks")
    assert run.session.energy_j == pytest.approx(zero.session.energy_j + one.session.energy_j)
    assert [note.kind for note in run.notes if note.kind == "incomplete"] == []
    assert run.notes[0].kind == "merged_ranks"


def test_they_are_compared():
    comparison = compare(V1)
    runs = {run.name: run for run in comparison.runs}
    assert {*runs} == {run.name for run in RUNS} - {"evaluation"}  # of no training
    assert all(run.is_comparable for run in runs.values())
    assert runs["fit"].energy_kwh == json.loads((V1 / "fit" / "energy.json").read_text())["total"]["energy_j"] / 3.6e6
    assert runs["fit"].caveats == ()
    assert any(caveat.startswith("An earlier session was killed") for caveat in runs["killed"].caveats)


@pytest.mark.parametrize(("text", "kind"), KINDS.items())
def test_a_sentence_gets_its_kind(text, kind):
    new = upgrade({"format": "lightning-energy-record", "version": 1, "notes": [text]})
    assert new["notes"] == [{"kind": kind, "text": text}]


@pytest.mark.parametrize("version", [VERSION + 1, 99, 0, None, "1", True])
def test_an_unknown_version_is_refused(version):
    with pytest.raises(VersionError, match=rf"^has version {re.escape(repr(version))}, this .* knows {VERSION}$"):
        upgrade({"version": version})


def test_a_loss_that_was_taken_for_an_accuracy_is_none():
    score = {"value": 1.6, "formula": "energy_penalized_accuracy(alpha=5, beta=5, reference_kwh=1)", "energy_kwh": 0.1}
    document = {"format": "lightning-energy-record", "version": 1, "accuracy": {"name": "val_loss", "value": 0.8}}
    found = upgrade({**document, "score": score})
    assert found["metric"] == {"name": "val_loss", "value": 0.8, "mode": "min", "scale": "raw"}
    assert found["score"] is None


def test_a_document_stays_as_it_is_and_unknown_columns_are_none():
    document = {"version": 1, "history": [{"epoch": 0, "accuracy": 0.5}], "sessions": [{}]}
    before = json.loads(json.dumps(document))
    new = upgrade(document)
    assert document == before
    assert new["history"] == [dict.fromkeys(EPOCH_COLUMNS) | {"epoch": 0, "metric": 0.5}]
    assert new["sessions"] == [{"samples": None}]
    assert upgrade(new) == new


def state() -> dict:
    return json.loads((V1 / "fit" / "state.json").read_text())


def test_a_checkpoints_state_is_read():
    spent = RunMemory()
    spent.load(state())
    assert (spent.run_id, spent.before.to_plain()) == (state()["run_id"], state()["total"])
    assert [row.metric for row in spent.history] == [row["accuracy"] for row in state()["history"]]
    (session,) = spent.sessions
    assert (session.outcome, session.samples, session.energy.energy_j) == ("checkpoint", None, spent.before.energy_j)
    assert spent.notes == []


@pytest.mark.parametrize("change", [{"total": {}}, {"history": [{}]}, {"sessions": None}, {"run_id": 3}])
def test_a_damaged_state_is_named(change):
    with pytest.raises(ValueError, match=r"^the checkpoint's energy is damaged \("):
        RunMemory().load(state() | change)


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
@pytest.mark.parametrize("left", ["record", "nothing"])
def test_a_training_resumes_from_a_checkpoint_of_version_1(tmp_path, left):
    saving = ModelCheckpoint(tmp_path, filename="{epoch}", save_top_k=-1)
    first = make_trainer(tmp_path, max_epochs=1, enable_checkpointing=True, callbacks=[energy_callback(), saving])
    first.fit(Working(), loader(), loader(8))
    path = tmp_path / "epoch=0.ckpt"
    checkpoint = torch.load(path, weights_only=False)
    checkpoint["callbacks"]["EnergyCallback"] = state()
    torch.save(checkpoint, path)
    if left == "record":  # what the run spent after its checkpoint stands in its record
        shutil.copy(V1 / "fit" / "energy.json", tmp_path / "energy.json")
    energy = energy_callback(record=str(tmp_path))
    make_trainer(tmp_path, max_epochs=2, callbacks=[energy]).fit(Working(), loader(), loader(8), ckpt_path=path)
    known = read_record(V1 / "fit").total.energy_j if left == "record" else state()["total"]["energy_j"]
    assert energy.report.total.energy_j == pytest.approx(known + energy.report.session.energy_j, rel=1e-9)
    record = read_record(tmp_path)
    assert json.loads((tmp_path / "energy.json").read_text())["version"] == VERSION
    assert record.run_id == state()["run_id"]
    assert [row.outcome for row in record.sessions] == ["completed" if left == "record" else "checkpoint", "completed"]
    assert [row.epoch for row in record.epochs] == ([0, 1, 1] if left == "record" else [0, 1])
    assert record.epochs[0].metric == state()["history"][0]["accuracy"]
