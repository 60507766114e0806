"""Files of records come from anywhere: everything wrong is one line that names the file, the field and what to do."""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lightning_energy import load_record
from lightning_energy.results import read
from lightning_energy.results.notes import Note
from lightning_energy.results.read import RecordError, read_record
from lightning_energy.results.rows import SessionRow
from lightning_energy.results.write import write_record
from tests.records import energy, put, record

FULL = replace(
    record(epochs=(0.5, None), samples=None, notes=[Note("measuring", "x")]),
    sessions=[SessionRow(1.0, "completed", energy(1.0), 10)],
    gaps=energy(0.5),
    seed=3,
    global_seed=4,
    n_val=540,
    n_test=360,
)


def refusal(file: Path) -> str:
    with pytest.raises(RecordError) as error:
        read_record(file)
    text = str(error.value)
    assert str(file) in text
    assert text.isprintable()
    return text


def test_a_record_comes_back_as_it_was_written(tmp_path):
    file = tmp_path / "energy.json"
    write_record(file, FULL)
    assert read_record(file) == read_record(tmp_path) == load_record(str(tmp_path)) == FULL
    assert read_record(file).report == FULL.report


def changed(path: str, value: Any) -> dict[str, Any]:
    document = row = json.loads(json.dumps(FULL.to_plain()))
    *keys, last = [int(key) if key.isdigit() else key for key in path.split(".")]
    for key in keys:
        row = row[key]
    row[last] = value
    return document


ADDED: dict[str, Any] = {"no_score": "", "seed": None, "global_seed": None, "n_val": None, "n_test": None}
"""Fields that the first records of version 2 do not have, and their values then."""


@pytest.mark.parametrize(
    ("path", "value", "text"),
    [
        ("outcome", "checkpoint", "outcome='checkpoint' is not one of running, completed, interrupted"),
        ("outcome", "done", "outcome='done' is not one of"),
        ("session.quality", "magic", "session.quality='magic' is not one of measured, integrated, estimated, missing"),
        ("session.energy_j", -1.0, "session.energy_j=-1.0 is not a finite number from 0 on"),
        ("total.u_absolute_j", 1e308, "total.u_absolute_j=1e+308 is not a number up to 1e+100"),
        ("absent_ranks", 10**101, "absent_ranks=1000"),
        ("session.u_j", None, "session.u_j=None is not a finite number from 0 on"),
        ("total.duration_s", float("inf"), "total.duration_s=inf is not a finite number from 0 on"),
        ("stages.train.missing_s", float("nan"), "stages.train.missing_s=nan is not a finite number from 0 on"),
        ("devices.0.scope", "moon", "devices[0].scope='moon' is not one of gpu, board"),
        ("devices.0.rank", 1.5, "devices[0].rank=1.5 is not a whole number from 0 on"),
        ("resolutions", {"train": "sharp"}, "resolutions.train='sharp' is not one of resolved, coarse, unresolved"),
        ("metric.mode", "up", "metric.mode='up' is not one of max, min"),
        ("metric.scale", "%", "metric.scale='%' is not one of fraction, percent, raw"),
        ("score", {"value": 1.0}, "score.formula is not there"),
        ("epochs.1.epoch", None, "epochs[1].epoch=None is not a whole number from 0 on"),
        ("epochs.0.train_j", "1", "epochs[0].train_j='1' is not a finite number from 0 on"),
        ("epochs.0", [], "epochs[0]=[] is not an object"),
        ("epochs", {}, "epochs={} is not an array"),
        ("sessions.0.outcome", "lost", "sessions[0].outcome='lost' is not one of"),
        ("notes", ["text"], "notes[0]='text' is not an object"),
        ("where.cpu_threads", "many", "where.cpu_threads='many' is not a whole number from 0 on"),
        ("what.module", 3, "what.module=3 is not a text"),
        ("ranks", 0, "ranks=0 is not a whole number from 1 on"),
        ("run_id", None, "run_id=None is not a text"),
        ("n_val", 1.5, "n_val=1.5 is not a whole number from 0 on"),
        ("seed", "x", "seed='x' is not a whole number from 0 on"),
        ("global_seed", -1, "global_seed=-1 is not a whole number from 0 on"),
        ("devices.0.condition", {"sm_clock_mhz": -1}, "devices[0].condition.sm_clock_mhz=-1 is not a finite number"),
    ],
)
def test_a_wrong_field_is_named_with_its_value(tmp_path, path, value, text):
    file = tmp_path / "energy.json"
    file.write_text(json.dumps(changed(path, value)))
    refused = refusal(file)
    assert refused.startswith(f"{file} is damaged ({text}")
    assert refused.endswith("): use another copy, or train again")


@pytest.mark.parametrize("name", sorted(FULL.to_plain().keys() - {"format", "version", "verdict", *ADDED}))
def test_every_field_must_be_there(tmp_path, name):
    file = tmp_path / "energy.json"
    file.write_text(json.dumps({k: v for k, v in FULL.to_plain().items() if k != name}))
    assert f"is damaged ({name} is not there)" in refusal(file)


@pytest.mark.parametrize("name", ADDED)
def test_a_field_that_came_later_may_be_absent(tmp_path, name):
    file = tmp_path / "energy.json"
    file.write_text(json.dumps({k: v for k, v in FULL.to_plain().items() if k != name}))
    assert getattr(read_record(file), name) == ADDED[name]


def test_later_fields_and_kinds_of_notes_are_no_hindrance(tmp_path):
    file = tmp_path / "energy.json"
    later = changed("notes", [{"kind": "of a later release", "text": "y", "since": 3}]) | {"phases": {}}
    later["epochs"][0]["phase_j"] = 1.0
    file.write_text(json.dumps(later))
    assert read_record(file) == replace(FULL, notes=[Note("other", "y")])


def test_a_pipe_a_folder_and_a_device_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.json")
    assert "is no regular file: give a record" in refusal(tmp_path / "pipe.json")
    (tmp_path / "run" / "energy.json").mkdir(parents=True)
    assert "is no regular file" in refusal(tmp_path / "run")
    with pytest.raises(RecordError, match="^/dev/zero is no regular file"):
        read_record("/dev/zero")


def test_a_file_that_is_too_large(tmp_path, monkeypatch):
    file = put(tmp_path)
    monkeypatch.setattr(read, "MOST_BYTES", file.stat().st_size - 1)
    assert "has more than 0 MB, so it is no record" in refusal(file)
    monkeypatch.setattr(read, "MOST_BYTES", file.stat().st_size)
    read_record(file)


@pytest.mark.parametrize("levels", [40, 100_000])
def test_json_that_nests_too_deeply(tmp_path, levels):
    file = tmp_path / "energy.json"
    text = json.dumps(FULL.to_plain())
    file.write_text(text[:-1] + f', "deep": {"[" * levels}{"]" * levels}}}')
    assert "nests too deeply for a record" in refusal(file)


@pytest.mark.parametrize("version", [3, 0, -1, True, None, 2.0, "2", [2], "x" * 1000])
def test_an_unknown_version_is_refused_in_one_line(tmp_path, version):
    file = tmp_path / "energy.json"
    file.write_text(json.dumps(FULL.to_plain() | {"version": version}))
    text = refusal(file)
    assert re.fullmatch(
        re.escape(f"{file} has version ") + ".*, this lightning-energy knows 2: upgrade lightning-energy", text
    )
    assert len(text) < len(str(file)) + 150


def test_names_of_files_cannot_move_the_cursor(tmp_path):
    with pytest.raises(RecordError) as error:
        read_record(tmp_path / "a\x1b[2J\nb.json")
    assert str(error.value).isprintable()
    with pytest.raises(RecordError, match="cannot be read"):
        read_record("null\0byte")


def test_the_block_on_the_page_runs(tmp_path, monkeypatch, capsys):
    page = (Path(__file__).parents[2] / "docs" / "what-a-run-leaves.md").read_text()
    block = page.split("```python\n")[1].split("```")[0]
    put(tmp_path / "runs" / "version_0", 2.0)
    monkeypatch.chdir(tmp_path)
    exec(block, {})
    out = capsys.readouterr().out
    assert out.startswith("2.0 []\n")
    assert str(load_record("runs/version_0").report) in out


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.slow
@given(st.sampled_from(sorted(FULL.to_plain())), JSON)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_stands_in_a_field_is_read_or_refused_and_never_breaks(tmp_path, name, value):
    file = tmp_path / "energy.json"
    file.write_text(json.dumps(FULL.to_plain() | {name: value}))
    with suppress(RecordError):
        read = read_record(file)
        assert str(read.report)
        write_record(file, read)
        assert read_record(file) == read
