"""Steps and phases in a profile: their times, their names, and that a viewer takes them all."""

from __future__ import annotations

import csv
import gzip
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from lightning_energy.results.power_track import merge
from lightning_energy.results.work_track import WORK
from tests.results.profiles import profile_of, run_of, series

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from lightning_energy.results.record import Record

COLUMNS = ("session", "epoch", "stage", "kind", "start_s", "duration_s", "number", "phase")
ROWS = [
    (0, 0, "train", "gap", 2.0, 0.5, 0, "data"),
    (0, 0, "train", "step", 2.5, 0.25, 0, "forward"),
    (0, 0, "train", "step", 2.75, 0.25, 0, "backward"),
    (0, 0, "validate", "step", 3.0, 1.0, 0, ""),
    (0, -1, "train", "gap", 4.0, 0.5, 0, "other"),
]


def put(file: Path, rows: Sequence[Sequence[Any]], columns: Sequence[str] = COLUMNS) -> None:
    with gzip.open(file, "wt", newline="") as text:
        csv.writer(text).writerows([columns, *rows])


def slices(made: Record, folder: Path, start_s: float = 0.0, end_s: float = 60.0) -> list[tuple[str, float, float]]:
    """Name, second of the day and duration, in their order."""
    document = merge(profile_of(start_s, end_s), folder / "t.json", made, folder / "energy.json").document
    found = [e for e in document["traceEvents"] if e.get("cat") == "training"]
    return [(e["name"], e["ts"] / 1e6 - 1000, e["dur"] / 1e6) for e in found]


def test_a_phase_is_a_slice_in_its_stage_and_none_overlaps(tmp_path):
    put(tmp_path / "energy.steps.csv.gz", ROWS)
    assert slices(run_of(series(100.0, 100.0)), tmp_path) == [
        ("train, epoch 0", 12.0, 1.0),
        ("data", 12.0, 0.5),
        ("forward", 12.5, 0.25),
        ("backward", 12.75, 0.25),
        ("validate, epoch 0", 13.0, 1.0),
        ("validate step", 13.0, 1.0),
        ("train", 14.0, 0.5),
        ("other", 14.0, 0.5),
    ]
    # ends that are late by a nanosecond, and rows shorter than a microsecond
    put(tmp_path / "energy.steps.csv.gz", [(0, 0, "train", "step", i * 1.7e-7 + 2, 1.71e-7, i, "") for i in range(99)])
    found = slices(run_of(series(100.0)), tmp_path)
    assert len(found) > 10
    assert all(start + dur <= later + 1e-9 for (_, start, dur), (_, later, _) in pairwise(found[1:]))
    assert all(round(x * 1e6, 3) == round(x * 1e6) for _, start, dur in found for x in (start, dur))


def test_what_is_outside_of_the_profile_is_cut_off(tmp_path):
    put(tmp_path / "energy.steps.csv.gz", ROWS)
    assert slices(run_of(series(100.0, 100.0)), tmp_path, 12.25, 12.625) == [
        ("train, epoch 0", 12.25, 0.375),
        ("data", 12.25, 0.25),
        ("forward", 12.5, 0.125),
    ]


def test_no_slice_has_joules_and_all_say_where_they_belong(tmp_path):
    put(tmp_path / "energy.steps.csv.gz", ROWS)
    made = run_of(series(100.0, 100.0))
    merged = merge(profile_of(0.0, 60.0), tmp_path / "t.json", made, tmp_path / "energy.json")
    events = merged.document["traceEvents"]
    inner = [e["args"] for e in events if e.get("cat") == "training" and "args" in e]
    assert inner[1] == {"epoch": 0, "stage": "train", "kind": "step", "number": 0}
    assert not any("energy_j" in arguments for arguments in inner)
    assert merged.slices == 8
    (process,) = [e for e in events if e["ph"] == "M" and e["args"] == {"name": WORK}]
    assert process["pid"] not in {e["pid"] for e in events if e["ph"] == "C" or e["name"] == "kernel"}


def test_each_rank_has_a_row(tmp_path):
    made = run_of(series(100.0), series(100.0))
    made = replace(made, devices=[replace(device, rank=i) for i, device in enumerate(made.devices)])
    put(tmp_path / "energy.steps.csv.gz", ROWS[:1])
    put(tmp_path / "energy.rank1.steps.csv.gz", [(0, 0, "train", "gap", 2.0, 0.75, 0, "data")])
    document = merge(profile_of(0.0, 60.0), tmp_path / "t.json", made, tmp_path / "energy.json").document
    rows = {e["args"]["name"]: e["tid"] for e in document["traceEvents"] if e["name"] == "thread_name"}
    names = ["steps and phases, rank 0", "steps and phases, rank 1"]
    found = [(e["tid"], e["dur"]) for e in document["traceEvents"] if e["name"] == "data"]
    assert found == [(rows[names[0]], 500_000), (rows[names[1]], 750_000)]


@pytest.mark.parametrize(
    "content",
    [b"\x1f\x8bno", gzip.compress(b"session\n0\n", mtime=0), gzip.compress(b"session,epoch\n0,x\n", mtime=0)],
    ids=["no gzip", "no epochs", "an epoch that is no number"],
)
def test_without_steps_that_can_be_read_there_is_the_power_alone(tmp_path, content):
    made = run_of(series(100.0))
    assert slices(made, tmp_path) == []
    (tmp_path / "energy.steps.csv.gz").write_bytes(content)
    assert slices(made, tmp_path) == []
    put(tmp_path / "energy.steps.csv.gz", [(*ROWS[0][:4], "nan", 1.0, 0, ""), (1, *ROWS[1][1:])])  # another session's
    assert slices(made, tmp_path) == []
