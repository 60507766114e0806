"""The command ``lightning-energy trace``: its files and its messages."""

from __future__ import annotations

import gzip
import json
import time

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.demos.boring_classes import BoringModel
from torch.profiler import ProfilerActivity, profile, record_function

from lightning_energy import EnergyCallback, EnergyMonitor, ReplayMeter
from lightning_energy.commands.main import main
from lightning_energy.results.power_track import read_profile
from lightning_energy.results.record_ranks import load_record
from lightning_energy.results.write import write_record
from tests.results.profiles import counters, profile_of, run_of, series


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
        ([str(tmp_path), "--merge", str(trace), "-o", str(tmp_path / "energy.json")], "is a record, which stays as"),
        ([str(tmp_path), "--merge", str(tmp_path / "none.json")], "No such file or directory: give another"),
        ([str(tmp_path / "none"), "--merge", str(trace)], "does not exist"),
        ([str(tmp_path), "--merge", str(tmp_path / "energy.json")], "is no Chrome trace of PyTorch (no traceEvents)"),
    ):
        assert main(["trace", *arguments]) == 2
        err = capsys.readouterr().err
        assert text in err
        assert err.count("\n") == 1
    assert trace.read_bytes() == before


def test_a_trace_too_large_for_the_memory_is_told_in_one_line(tmp_path, capsys, monkeypatch):
    write_record(tmp_path / "energy.json", run_of(series(100.0)))
    (tmp_path / "t.json").write_text(json.dumps(profile_of(0.0, 60.0)))

    def refuse(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(json, "loads", refuse)
    assert main(["trace", str(tmp_path / "energy.json"), "--merge", str(tmp_path / "t.json")]) == 2
    err = capsys.readouterr().err
    assert "t.json needs more memory than there is: profile fewer steps" in err
    assert err.count("\n") == 1


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
                time.sleep(0.02)  # that is the step
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


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the profiler's own
@pytest.mark.parametrize("kept", ["csv", "parquet"])
def test_steps_lie_where_the_profile_has_them(tmp_path, capsys, kept):
    """What PyTorch saw in training_step lies in a slice of the forward phase."""
    if kept == "parquet":
        pytest.importorskip("pyarrow")

    class Net(BoringModel):
        def training_step(self, batch, batch_idx):
            with record_function("in forward"):
                return super().training_step(batch, batch_idx)

    energy = EnergyCallback(
        meters=ReplayMeter([(100.0, 100.0)], counter_period_s=0.02), phases=True, trace=kept, metric=None,
        record=tmp_path / "energy.json", print_report=False,
    )  # fmt: skip
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        Trainer(max_epochs=1, limit_train_batches=4, limit_val_batches=1, logger=False, callbacks=[energy],
                enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu").fit(Net())  # fmt: skip
    trace, out = tmp_path / "trace.json", tmp_path / "out.json"
    profiler.export_chrome_trace(str(trace))
    assert main(["trace", str(tmp_path), "--merge", str(trace), "-o", str(out)]) == 0
    assert "slices of stages, steps and phases" in capsys.readouterr().err
    events = json.loads(out.read_text())["traceEvents"]
    spans = {name: [(e["ts"], e["ts"] + e["dur"]) for e in events if e.get("name") == name and e["ph"] == "X"]
             for name in ("in forward", "forward")}  # fmt: skip
    assert len(spans["in forward"]) == len(spans["forward"]) == 4
    for (start, end), (first, last) in zip(spans["in forward"], spans["forward"], strict=True):
        assert first - 2000 < start < end < last + 2000  # microseconds
