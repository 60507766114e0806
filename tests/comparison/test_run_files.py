from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_energy.comparison.run_files import find_records, short_names
from lightning_energy.results.plain import printable
from tests.records import put


def test_folders_files_and_patterns_each_record_once(tmp_path, monkeypatch):
    files = [put(tmp_path / name / "version_0") for name in ("a", "b", "c")]
    mine = tmp_path / "mine.json"
    mine.write_text(files[0].read_text())
    (tmp_path / "a" / "version_0" / "metrics.csv").write_text("x")
    assert find_records([tmp_path]) == (sorted(files), [])
    assert find_records([tmp_path / "a", files[0], str(tmp_path / "a" / "**"), mine]) == ([files[0], mine], [])
    monkeypatch.chdir(tmp_path)
    assert find_records(["[ab]"]) == ([Path("a/version_0/energy.json"), Path("b/version_0/energy.json")], [])
    (tmp_path / "mine.rank1.json").write_text("{}")
    assert find_records(["*.json"]) == ([Path("mine.json")], [])
    put(tmp_path / "[ab]")
    assert find_records(["[ab]"]) == ([Path("[ab]/energy.json")], [])  # what exists is no pattern


def test_a_link_to_the_latest_run_is_no_further_run(tmp_path):
    file = put(tmp_path / "version_0")
    (tmp_path / "latest").symlink_to(tmp_path / "version_0")
    (tmp_path / "round").symlink_to(tmp_path)
    assert find_records([tmp_path]) == ([file], [])
    assert find_records([tmp_path, tmp_path / "latest"])[1] == []
    assert len(find_records([tmp_path, tmp_path / "latest"])[0]) == 1


@pytest.mark.parametrize(
    ("path", "match"),
    [
        ("nowhere", "nowhere does not exist: give a record"),
        ("empty", "no energy.json in empty or below it: give the log directory"),
        ("nowhere*", r"nowhere\* matches no record and no folder with one: check the pattern"),
        ("x" * 300, "xxx cannot be read: .*too long"),
        ("a\0b", "a\N{REPLACEMENT CHARACTER}b"),
    ],
)
def test_paths_without_records_are_named(tmp_path, monkeypatch, path, match):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty" / "deeper").mkdir(parents=True)
    good = put(tmp_path / "good")
    files, (problem,) = find_records([path, good])
    assert files == [good]
    assert re.search(match, problem), problem


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    good, closed = put(tmp_path / "good"), put(tmp_path / "closed")
    scandir = os.scandir

    def refusing(path):  # root, who runs the tests in containers, may read everything
        if Path(path) == closed.parent:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    files, problems = find_records([tmp_path])
    assert files == [good]
    assert problems == [f"{closed.parent} cannot be read: Permission denied; its records are left out"]


def test_what_is_no_path_is_an_error():
    with pytest.raises(TypeError, match="3 is no path"):
        find_records([3])


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["runs/cnn/version_0/energy.json", "runs/mlp/version_0/energy.json"], ["cnn", "mlp"]),
        (["runs/lightning_logs/version_0/energy.json"], ["lightning_logs/version_0"]),
        (["runs/cnn/energy.json"], ["cnn"]),
        (["runs/cnn.json", "runs/mlp.json"], ["cnn", "mlp"]),
        (["r/v/version_0/energy.json", "r/v/version_10/energy.json"], ["version_0", "version_10"]),
        (
            ["lr1/logs/version_0/energy.json", "lr1/logs/version_1/energy.json", "lr2/logs/version_0/energy.json"],
            ["lr1/version_0", "lr1/version_1", "lr2/version_0"],
        ),
        (["2026/1/energy.json", "2025/2/energy.json"], ["1", "2"]),
        (["runs/energy.json", "runs/a/energy.json"], ["runs", "runs/a"]),
        (["1/energy.json", "1/1/energy.json", "2/1/energy.json"], ["1", "1/1", "2/1"]),
        (["a/energy.json", "a/b/c/energy.json", "d/energy.json"], ["a", "a/b/c", "d"]),
        ([], []),
    ],
)
def test_names_are_short(files, names):
    assert short_names([Path(f) for f in files]) == names


part = st.text("ab1", min_size=1, max_size=2)
paths = st.lists(st.lists(part, min_size=1, max_size=4).map("/".join), unique=True, max_size=8)


@settings(deadline=None)
@given(paths, st.sampled_from(["energy.json", "x.json"]))
def test_names_are_unique_and_part_of_their_path(folders, file):
    files = [Path(folder, file) for folder in folders]
    names = short_names(files)
    assert len({*names}) == len(files)
    assert all(names)
    for name, path in zip(names, files, strict=True):
        assert {*name.split("/")} <= {*path.absolute().with_suffix("").parts}


def test_a_file_and_a_folder_of_one_name():
    names = short_names([Path("runs/a.json"), Path("runs/a/energy.json")])
    assert len({*names}) == 2
    assert [name.endswith(("runs/a.json (1)", "runs/a/energy.json (2)")) for name in names] == [True, True]


def test_names_that_only_unprintable_characters_tell_apart_stay_unique():
    names = short_names([Path("a\n/energy.json"), Path("a\r/energy.json")])
    assert len({*names}) == 2
    assert all(name.isprintable() for name in names)


def test_nothing_moves_a_cursor_or_breaks_an_encoding():
    assert printable("<b>é\x1b[2J\n\udcff") == "<b>é\N{REPLACEMENT CHARACTER}[2J" + 2 * "\N{REPLACEMENT CHARACTER}"


def test_a_pattern_passes_over_the_other_files_of_a_study(tmp_path):
    put(tmp_path / "runs" / "a", 1.0, 0.9)
    for name in ("study.json", "runs/job.json", "runs/result.json", "runs/notes.json"):
        (tmp_path / name).write_text("{}")
    (tmp_path / "runs" / "a" / "energy.json").rename(tmp_path / "runs" / "a" / "result.json")  # a record, so called
    found, problems = find_records([str(tmp_path / "**")])
    assert [file.relative_to(tmp_path).as_posix() for file in found] == ["runs/a/result.json", "runs/notes.json"]
    assert problems == []
