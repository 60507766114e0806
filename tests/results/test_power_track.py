"""Tracks of power in a profile: their times, their values, and what is unknown."""

from __future__ import annotations

import csv
import gzip
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from lightning_energy.ledger.how_shared import HowShared
from lightning_energy.meters.clock import Anchor
from lightning_energy.results.power_track import OURS, TrackError, merge, read_profile
from lightning_energy.results.rows import SessionRow
from tests.records import energy
from tests.results.profiles import BASE, DAY, MONOTONIC, S, counters, profile_of, run_of, series

if TYPE_CHECKING:
    from pathlib import Path

    from lightning_energy.results.record import Record


def unknown(document: dict[str, Any]) -> list[tuple[float, float]]:
    slices = [e for e in document["traceEvents"] if e.get("name") == "power unknown"]
    return [(round(e["ts"] / 1e6 - 1000, 6), e["dur"] / 1e6) for e in slices]


def merged(made: Record, document: dict[str, Any], folder: Path) -> dict[str, Any]:
    return merge(document, folder / "trace.json", made, folder / "energy.json").document


def test_bins_are_values_where_the_profile_is(tmp_path):
    # the run: 100 W from 12 s of the day on, unknown from 13, 300 W from 14 to 14.5
    made = run_of(series(100.0, None, 300.0, known=((2, 0.5),)))
    document = merged(made, profile_of(12.25, 16.0), tmp_path)
    assert counters(document) == [(12.25, 100.0), (14.0, 300.0)]
    assert unknown(document) == [(13.0, 1.0), (14.5, 1.5)]
    added = document["traceEvents"][1:]
    assert {e["pid"] for e in added} == {1}  # none of the profile's
    assert added[0]["args"] == {"name": OURS}
    assert {**document, "traceEvents": document["traceEvents"][:1]} == profile_of(12.25, 16.0)
    assert json.loads(json.dumps(document, allow_nan=False)) == document


def test_a_clock_that_was_set_and_times_since_1970(tmp_path):
    """The clock of the day went on by 18 s within 9: a bin of a second took two of its seconds."""
    power = replace(series(100.0, 200.0), clock=(Anchor(MONOTONIC, DAY), Anchor(MONOTONIC + 9 * S, DAY + 18 * S)))
    old = profile_of(0.0, 60.0)
    old["traceEvents"][0]["ts"] = DAY // 1000  # before PyTorch 2.4
    del old["baseTimeNanoseconds"]
    document = merged(run_of(power), old, tmp_path)
    found = [(e["ts"] - DAY // 1000, e["args"]["W"]) for e in document["traceEvents"] if e["ph"] == "C"]
    assert found == [(4e6, 100.0), (6e6, 200.0)]


def test_a_counter_that_is_late_has_its_track_where_the_energy_was_spent(tmp_path):
    made = run_of(series(100.0, 200.0))
    for u_s, starts in ((0.1, [11.75, 12.75]), (0.15, [12.0, 13.0])):  # 0.25 ± 0.15 s says nothing of a delay
        shared = HowShared("fitted", delay_s=0.25, delay_u_s=u_s)
        late = replace(made, devices=[replace(made.devices[0], shared=shared)])
        assert [second for second, _ in counters(merged(late, profile_of(0.0, 60.0), tmp_path))] == starts


def test_devices_and_sessions_have_tracks_and_no_two_one_name(tmp_path):
    made = run_of(series(100.0), series(50.0), None)
    rows = [
        SessionRow(0.0, "interrupted", energy(1.0), devices=made.devices),
        SessionRow(1.0, "completed", made.session, devices=made.devices),
    ]
    later = [replace(d, power=None if d.power is None else series(70.0, at_s=20)) for d in made.devices]
    made = replace(made, sessions=rows, devices=later)
    document = merged(made, profile_of(0.0, 60.0), tmp_path)
    assert counters(document, "NVIDIA A100, GPU-0 power") == [(12.0, 100.0), (32.0, 70.0)]
    assert counters(document, "NVIDIA A100, GPU-1 power") == [(12.0, 50.0), (32.0, 70.0)]
    assert counters(document, "NVIDIA A100, GPU-2 power") == []
    ranks = replace(made, devices=[replace(d, rank=i) for i, d in enumerate(later)], sessions=[])
    names = {e["name"] for e in merged(ranks, profile_of(0.0, 60.0), tmp_path)["traceEvents"] if e["ph"] == "C"}
    assert names == {"NVIDIA A100, rank 0 power", "NVIDIA A100, rank 1 power"}


def test_points_of_the_trace_of_the_run_are_finer(tmp_path):
    made = run_of(series(100.0, None, 300.0))
    rows = [(0, "GPU-0", 2.0, 0.0, ""), (0, "GPU-0", 2.5, 40.0, "measured"), (0, "GPU-0", 3.0, 100.0, "measured")]
    rows += [(0, "GPU-0", 4.0, 100.0, "missing"), (0, "GPU-0", 5.0, 400.0, "measured"), (1, "GPU-0", 0.0, 0.0, "")]

    def put(points: list[tuple[Any, ...]]) -> None:
        with gzip.open(tmp_path / "energy.curve.csv.gz", "wt", newline="") as file:
            csv.writer(file).writerows([("session", "device_id", "time_s", "energy_j", "quality"), *points])

    put(rows)
    document = merged(made, profile_of(0.0, 60.0), tmp_path)
    assert counters(document) == [(12.0, 80.0), (12.5, 120.0), (14.0, 300.0)]
    assert (13.0, 1.0) in unknown(document)
    put([(session, device, time_s + 1.0, *rest) for session, device, time_s, *rest in rows])  # another session's
    assert counters(merged(made, profile_of(0.0, 60.0), tmp_path)) == [(12.0, 100.0), (14.0, 300.0)]
    put([*rows[:2], (0, "GPU-0", 3.0, "inf", "measured"), (0, "GPU-0", 4.0, "nan", "measured")])  # damaged
    document = merged(made, profile_of(0.0, 60.0), tmp_path)
    assert counters(document) == [(12.0, 80.0)]
    assert json.dumps(document, allow_nan=False)
    (tmp_path / "energy.curve.csv.gz").write_bytes(b"\x1f\x8bno")
    assert counters(merged(made, profile_of(0.0, 60.0), tmp_path)) == [(12.0, 100.0), (14.0, 300.0)]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"traceEvents": []}, "has no events with a time: give the file that torch.profiler's"),
        ({"traceEvents": [{"ph": "X"}, 3]}, "has no events with a time"),
        ({"baseTimeNanoseconds": None}, "does not say when its time begins (no baseTimeNanoseconds)"),
        ({"baseTimeNanoseconds": 0}, "is not of the time of the run"),
        ({"baseTimeNanoseconds": BASE + 3600 * S}, "is not of the time of the run"),
    ],
)
def test_a_profile_that_does_not_fit_is_refused(tmp_path, change, text):
    with pytest.raises(TrackError) as error:
        merged(run_of(series(100.0)), profile_of(0.0, 60.0) | change, tmp_path)
    assert str(error.value).startswith(f"{tmp_path / 'trace.json'} {text}")


def test_a_record_without_power_and_a_profile_that_has_it_are_refused(tmp_path):
    with pytest.raises(TrackError, match="has no power over time"):
        merged(run_of(None), profile_of(0.0, 60.0), tmp_path)
    made = run_of(series(100.0))
    with pytest.raises(TrackError, match="has tracks of power already"):
        merged(made, merged(made, profile_of(0.0, 60.0), tmp_path), tmp_path)


NO_PROFILES = (b"", b"{", b"[]", b'{"traceEvents": 3}', b"\x1f\x8b\x08", b"\xff\xfe", b"[" * 10**5)


@pytest.mark.parametrize("content", NO_PROFILES)
def test_what_is_no_profile_is_told_in_one_line(tmp_path, content):
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(TrackError, match=r"x.json is no .*: give the file that torch.profiler's") as error:
        read_profile(tmp_path / "x.json")
    assert "\n" not in str(error.value)
