from __future__ import annotations

import json
from dataclasses import replace

import pytest

from lightning_energy import compare
from lightning_energy.commands import main as cli
from lightning_energy.comparison.run_files import find_records
from lightning_energy.comparison.study_folders import without_discarded
from lightning_energy.study.manifest import Attempt, Manifest
from tests.records import put


def kept(*given):
    files, sentences = without_discarded(find_records(given)[0], given)
    return files, sentences


@pytest.fixture
def study(tmp_path):
    """Three runs of one configuration, one of which failed at first, a warm-up, and the trials of a search."""
    folder = tmp_path / "study"
    attempts = [Attempt("warm-up", "small", 0, "warm-up/small/seed-0", "done", 0.0)]
    attempts += [Attempt("run", "small", seed, f"runs/small/seed-{seed}", "done", 1.0) for seed in (0, 1, 2)]
    attempts += [Attempt("run", "small", 1, "failed/small/seed-1", "failed", 1.0)]
    for k, attempt in enumerate(attempts):
        what = {"hyperparameters": {"width": 8}}
        put(folder / attempt.folder / "logs", 1 + k / 100, 0.9 + k / 1000, seed=attempt.seed, run_id=str(k), what=what)
    put(folder / "runs" / "small" / "seed-0" / "tuning" / "trial", 9.0, 0.5, run_id="trial")
    manifest = Manifest("train.py:train", {"small": {}}, (0, 1, 2), "randomized blocks", 0, (), 1, None, "", 0.0)
    replace(manifest, attempts=attempts).write(folder)
    return folder


WORDS = "left out (1 of a search, 1 of runs that failed or did not end, 1 of warm-ups): `lightning-energy study report`"


@pytest.mark.parametrize("where", [".", "..", "runs/small/seed-0/../../.."])
def test_what_is_no_repeat_is_left_out_and_said(study, where):
    files, (sentence,) = kept(study / where)
    assert [file.parent.parent.name for file in files] == ["seed-0", "seed-1", "seed-2"]
    assert sentence == f"records of {study} are {WORDS} shows them"


def test_a_comparison_has_the_repeats_alone(study, capsys):
    comparison = compare(study)
    (group,) = comparison.groups
    assert (group.n, [*group.seeds], group.repeats_a_seed) == (3, [0, 1, 2], False)
    assert any(WORDS in caveat for caveat in comparison.caveats)
    assert "are left out (1 of a search, 1 of runs that failed or did not end, 1 of warm-ups)" in comparison.to_latex()
    for i in range(3):
        put(study.parent / "new" / str(i), 1 + i / 100, 0.901 + i / 1000, run_id=f"new{i}")
    assert cli.main(["gate", "--base", str(study), "--new", str(study.parent / "new"), "--max-increase", "50%"]) == 0
    out = capsys.readouterr().out
    assert "| base | 3 |" in out
    assert "(1 of a search, 1 of runs that failed or did not end, 1 of warm-ups)" in out


def test_what_was_asked_for_itself_stays(study):
    trial = study / "runs" / "small" / "seed-0" / "tuning"
    warm = study / "warm-up" / "small" / "seed-0"
    for given in (trial, trial / "trial", warm, warm / "logs" / "energy.json"):
        assert len(kept(given)[0]) == 1
        assert kept(given)[1] == []
    assert len(kept(study / "runs")[0]) == 3


def test_another_file_of_that_name_leaves_nothing_out(study):
    manifest = study / "study.json"
    for document in ({"format": "another"}, [1]):
        manifest.write_text(json.dumps(document))
        assert (len(kept(study)[0]), kept(study)[1]) == (6, [])
    manifest.write_text("{")
    files, (sentence,) = kept(study)
    assert len(files) == 6
    assert sentence == (
        f"{manifest} cannot be read: if it is a study's, warm-ups and failed runs of it may be among these runs"
    )
    edited = {"format": "lightning-energy-study", "attempts": [1, {"folder": 3}, {"folder": "../x"}, {"folder": "/"}]}
    manifest.write_text(json.dumps(edited))
    assert len(kept(study)[0]) == 6
    manifest.write_text(json.dumps({"format": "lightning-energy-study", "attempts": 3}))
    assert len(kept(study)[0]) == 6
