from __future__ import annotations

import json
import os
import stat
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_energy.results.read import read_record
from lightning_energy.results.write import compact, remove_leftovers, write_record
from tests.records import record


def mode(file) -> int:
    return stat.S_IMODE(file.stat().st_mode)


@pytest.mark.parametrize(("umask", "expected"), [(0o022, 0o644), (0o077, 0o600)])
def test_a_new_file_has_the_mode_of_the_umask(tmp_path, umask, expected):
    file = tmp_path / "energy.json"
    before = os.umask(umask)
    try:
        write_record(file, record())
    finally:
        os.umask(before)
    assert mode(file) == expected


def test_a_mode_that_somebody_set_is_kept(tmp_path):
    file = tmp_path / "energy.json"
    write_record(file, record())
    file.chmod(0o600)
    write_record(file, record(2.0))
    assert mode(file) == 0o600
    assert read_record(file).total.energy_kwh == 2.0


def test_a_link_that_was_planted_is_not_followed(tmp_path, monkeypatch):
    target = tmp_path / "target"
    target.write_text("mine")
    monkeypatch.setattr("lightning_energy.results.write.token_hex", lambda n: "00000000")
    (tmp_path / ".energy.json.00000000").symlink_to(target)
    with pytest.raises(FileExistsError):
        write_record(tmp_path / "energy.json", record())
    assert target.read_text() == "mine"


def test_files_that_a_killed_process_left_are_removed(tmp_path):
    old = [tmp_path / ".energy.json.12345", tmp_path / ".energy.json.0123abcd"]
    others = [tmp_path / ".energy.json.bak", tmp_path / ".other.json.12345", tmp_path / ".energy.json.89abcdef"]
    for file in (*old, *others):
        file.write_text("")
    for file in (*old, *others[:2]):
        os.utime(file, (time.time() - 7200, time.time() - 7200))
    remove_leftovers(tmp_path / "energy.json")
    assert {*tmp_path.iterdir()} == {*others}


BEGUN = '{\n "format": "lightning-energy-record",\n "version": 2,'


@pytest.mark.parametrize(
    ("content", "is_ours"),
    [("", True), ('{\n "for', True), (BEGUN, True), ("my notes", False), ("{}", False), ('{\n "format": "x"', False)],
)
def test_an_old_file_of_that_name_is_removed_only_where_its_content_is_ours(tmp_path, content, is_ours):
    write_record(tmp_path / "energy.json", record())
    assert (tmp_path / "energy.json").read_text().startswith(BEGUN)
    file, linked = tmp_path / ".energy.json.0123abcd", tmp_path / ".energy.json.4567"
    file.write_text(content)
    linked.symlink_to(file)
    for path in (file, linked):
        os.utime(path, (1.0, 1.0), follow_symlinks=False)
    remove_leftovers(tmp_path / "energy.json")
    assert file.exists() is not is_ours
    assert linked.is_symlink()


def test_nothing_is_left_where_a_record_cannot_be_written(tmp_path):
    (tmp_path / "energy.json").mkdir()
    with pytest.raises(OSError, match="energy.json"):
        write_record(tmp_path / "energy.json", record())
    assert [file.name for file in tmp_path.iterdir()] == ["energy.json"]


@given(st.recursive(
    st.none() | st.integers() | st.floats(allow_nan=False) | st.text(st.sampled_from('[]{}", \\n1')),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
))  # fmt: skip
@settings(max_examples=50, deadline=None)
def test_numbers_in_one_line_say_the_same(value):
    text = compact(json.dumps({"x": value, "y": [1.5, None, -2]}, indent=1))
    assert json.loads(text) == {"x": value, "y": [1.5, None, -2]}
    assert '"y": [1.5, null, -2]' in text
