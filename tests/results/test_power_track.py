"""Tracks of power in a profile: their times, their values, and what is unknown."""

from __future__ import annotations

import csv
import gzip
import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile, record_function

from lightning_energy import EnergyMonitor, ReplayMeter
from lightning_energy.commands.main import main
from lightning_energy.curves.power_series import PowerSeries
from lightning_energy.ledger.how_shared import HowShared
from lightning_energy.meters.clock import Anchor
from lightning_energy.results.power_track import OURS, TrackError, merge, read_profile
from lightning_energy.results.record_ranks import load_record
from lightning_energy.results.rows import SessionRow
from lightning_energy.results.write import write_record
from tests.records import energy, record

if TYPE_CHECKING:
    from pathlib import Path

    from lightning_energy.results.record import Record

S = 10**9
DAY = 1_700_000_000 * S
BASE = DAY - 1000 * S
MONOTONIC = 5000 * S


def series(*mean_w: float | None, known: tuple[tuple[int, float], ...] = (), at_s: int = 0) -> PowerSeries:
    """Bins of a second from 2 s after the session began at 10 s of the day, or later by ``at_s``."""
    clock = tuple(Anchor(MONOTONIC + (at_s + s) * S, DAY + (10 + at_s + s) * S) for s in (0, 9))
    return PowerSeries(MONOTONIC + (2 + at_s) * S, 1.0, mean_w, known, clock)


def run_of(*power: PowerSeries | None, **more: Any) -> Record:
    made = record(scopes=("gpu",) * len(power), **more)
    pairs = enumerate(zip(made.devices, power, strict=True))
    devices = [replace(device, device_id=f"GPU-{i}", power=p) for i, (device, p) in pairs]
    return replace(made, devices=devices)


def profile_of(start_s: float, end_s: float, **more: Any) -> dict[str, Any]:
    """A profile of a kernel, in seconds of the day as in :func:`series`."""
    times = {"ts": (1000 + start_s) * 1e6, "dur": (end_s - start_s) * 1e6}
    event = {"ph": "X", "name": "kernel", "pid": 0, "tid": 7, **times}
    return {"schemaVersion": 1, "baseTimeNanoseconds": BASE, "traceEvents": [event], **more}


def counters(document: dict[str, Any], name: str = "NVIDIA A100 power") -> list[tuple[float, float]]:
    """Seconds of the day, and watts."""
    events = [e for e in document["traceEvents"] if e["ph"] == "C" and e["name"] == name]
    return [(round(e["ts"] / 1e6 - 1000, 6), e["args"]["W"]) for e in events]


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


def test_the_command_writes_beside_the_trace_and_never_over_it(tmp_path, capsys):
    write_record(tmp_path / "energy.json", run_of(series(100.0, 200.0)))
    trace = tmp_path / "my.pt.trace.json.gz"
    trace.write_bytes(gzip.compress(json.dumps(profile_of(0.0, 60.0)).encode()))
    before = trace.read_bytes()
    assert main(["trace", str(tmp_path), "--merge", str(trace)]) == 0
    out = tmp_path / "my.pt.trace.power.json.gz"
    assert capsys.readouterr().err == f"wrote {out}: the power of 1 device in 2 values, 1 s apart\n"
    assert counters(read_profile(out)) == [(12.0, 100.0), (13.0, 200.0)]
    assert main(["trace", str(tmp_path / "energy.json"), "--merge", str(trace), "-o", str(tmp_path / "out.json")]) == 0
    assert json.loads((tmp_path / "out.json").read_text())["traceEvents"] == read_profile(out)["traceEvents"]
    capsys.readouterr()
    (tmp_path / "link.json").symlink_to(trace)
    for arguments, text in (
        ([str(tmp_path), "--merge", str(trace), "-o", str(trace)], "is the trace itself, which stays as it is"),
        ([str(tmp_path), "--merge", str(trace), "-o", str(tmp_path / "link.json")], "is the trace itself"),
        ([str(tmp_path), "--merge", str(trace), "-o", str(tmp_path)], "is a folder: give the name of another file"),
        ([str(tmp_path), "--merge", str(tmp_path / "none.json")], "No such file or directory: give another"),
        ([str(tmp_path / "none"), "--merge", str(trace)], "does not exist"),
        ([str(tmp_path), "--merge", str(tmp_path / "energy.json")], "is no Chrome trace of PyTorch (no traceEvents)"),
    ):
        assert main(["trace", *arguments]) == 2
        err = capsys.readouterr().err
        assert text in err
        assert err.count("\n") == 1
    assert trace.read_bytes() == before


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the profiler's own
def test_a_real_profile_and_the_clock_of_the_day_agree(tmp_path):
    """Blocks begin when time.time_ns() says so, and power changes where the profile has the change."""
    meter = ReplayMeter([(0.5, 100.0), (100.0, 300.0)], counter_period_s=0.02)
    began_ns = []
    with (
        EnergyMonitor(meters=meter, record=str(tmp_path), print_report=False) as monitor,
        profile(activities=[ProfilerActivity.CPU]) as profiler,
        monitor.stage("train", 0),
    ):
        for number in range(50):
            with record_function(f"block {number}"):
                began_ns.append(time.time_ns())
                torch.ones(8).sum()
            with monitor.step():
                end_s = time.monotonic() + 0.02
                while time.monotonic() < end_s:
                    torch.ones(100).sum()
    trace, out = tmp_path / "trace.json", tmp_path / "out.json"
    profiler.export_chrome_trace(str(trace))
    assert main(["trace", str(tmp_path), "--merge", str(trace), "-o", str(out)]) == 0
    document = json.loads(out.read_text())
    base_ns = document["baseTimeNanoseconds"]
    starts_us = {e["name"]: e["ts"] for e in document["traceEvents"] if str(e.get("name")).startswith("block ")}
    late_s = [began / 1e9 - (base_ns / 1e9 + starts_us[f"block {n}"] / 1e6) for n, began in enumerate(began_ns)]
    assert abs(min(late_s, key=abs)) < 0.002  # the thread may be kept waiting between the two, but not 50 times
    values = [(e["ts"], e["args"]["W"]) for e in document["traceEvents"] if e["ph"] == "C"]
    (changed_us, _) = next(value for value in values if value[1] > 250)
    # the meter's own time: 0.5 s after it was opened, which is within moments of the session's beginning
    started_s = load_record(tmp_path).started_unix_s
    power = load_record(tmp_path).devices[0].power
    assert changed_us / 1e6 + base_ns / 1e9 - power.clock[0].unix_ns / 1e9 == pytest.approx(0.5, abs=0.1)
    assert abs(started_s - power.clock[0].unix_ns / 1e9) < 1.0
