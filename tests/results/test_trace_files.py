"""Any figure of a report can be recomputed from what a run leaves."""

from __future__ import annotations

import csv
import gzip
import json
import resource
import signal
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from lightning_energy import EnergyCallback, MeterLost, ReplayMeter
from lightning_energy.curves.energy import NOTHING
from lightning_energy.ledger import watch
from lightning_energy.results.plain import cell
from lightning_energy.results.read import read_record
from lightning_energy.results.rows import SessionRow
from lightning_energy.results.trace_files import TraceFiles
from lightning_energy.training import outputs, step_log
from tests.curves.test_sampler import wait_for
from tests.modules import Classifier, energy_callback, loader, make_trainer, meter
from tests.recomputed import accounts_of
from tests.test_docs import ROOT


class Slow(Classifier):
    def training_step(self, batch, batch_idx):
        for _ in range(40):
            loss = super().training_step(batch, batch_idx)
        return loss


def fit(tmp_path, energy=None, ckpt_path=None, **kwargs):
    energy = energy or energy_callback(record=str(tmp_path), trace="csv")
    trainer = make_trainer(tmp_path, callbacks=[energy, *kwargs.pop("callbacks", [])], **kwargs)
    trainer.fit(Slow(), loader(), loader(8), ckpt_path=ckpt_path)
    return energy


def tables(tmp_path, trace="csv"):
    if trace == "csv":
        return [pd.read_csv(tmp_path / f"energy.{name}.csv.gz") for name in ("curve", "steps")]
    return [pd.read_parquet(tmp_path / f"energy.{name}.parquet") for name in ("curve", "steps")]


def shared_in(tmp_path):
    return json.loads((tmp_path / "energy.json").read_text())["devices"][0]["shared"]


@pytest.mark.slow
@pytest.mark.parametrize("trace", ["csv", "parquet"])
def test_figures_of_the_report_can_be_recomputed(tmp_path, trace):
    energy = fit(tmp_path, energy_callback(record=str(tmp_path), trace=trace))
    curve, steps = tables(tmp_path, trace)
    assert set(steps.kind) == {"step", "gap"}
    assert not steps.energy_j.isna().any()
    accounts = accounts_of(shared_in(tmp_path), curve, steps)
    for stage, figure in energy.report.stages.items():
        assert sum(j for (_, s, _), j in accounts.items() if s == stage) == pytest.approx(figure.energy_j, rel=1e-4)
        rows = steps[steps.stage == stage]
        assert rows.duration_s.sum() == pytest.approx(figure.duration_s, abs=1e-6)
    for row in energy.history:
        of_epoch = steps[(steps.stage == "train") & (steps.epoch == row["epoch"])]
        assert (of_epoch.kind == "step").sum() == 8
        of_epoch_j = [accounts[row["epoch"], "train", kind] for kind in ("step", "gap")]
        assert sum(of_epoch_j) == pytest.approx(row["train_j"], rel=1e-4)
    assert steps.start_s.to_numpy()[1:] == pytest.approx((steps.start_s + steps.duration_s).to_numpy()[:-1], abs=2e-9)
    assert (np.diff(curve.time_s) > 0).all()
    assert curve.quality.isna().to_numpy().nonzero()[0].tolist() == [0]  # nothing ends at the first knot
    assert set(curve.quality.dropna()) == {"measured"}
    assert set(curve.device_id) == {"replay-0"}


class Reset(ReplayMeter):
    is_due, lost_j = False, 0.0

    def read(self):
        reading = super().read()
        if self.is_due and not self.lost_j:
            self.lost_j = reading.register_j
        return replace(reading, register_j=reading.register_j - self.lost_j)


class Resets(Slow):
    def on_train_batch_start(self, batch, batch_idx):
        self.meter.is_due = self.trainer.global_step >= 3

    def training_step(self, batch, batch_idx):
        time.sleep(0.03)  # the sampler comes to see it
        return super().training_step(batch, batch_idx)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:EnergyCallback")  # of the reset
@pytest.mark.parametrize("within", [1.0, 0.25])
@pytest.mark.parametrize("is_whole", [True, False])
def test_the_mean_energy_per_step_can_be_recomputed(tmp_path, within, is_whole):
    device = Reset(200.0, counter_period_s=0.01)
    module = Slow() if is_whole else Resets()
    module.meter = device
    energy = energy_callback(record=str(tmp_path), trace="csv", meters=device)
    trainer = make_trainer(tmp_path, max_epochs=2, callbacks=[energy], val_check_interval=within)
    trainer.fit(module, loader(), loader(8))
    page = (ROOT / "docs/what-a-run-leaves.md").read_text()
    blocks = (block.split("```")[0] for block in page.split("```python\n")[1:])
    read, of_kinds, recipe = (block for block in blocks if "steps" in block)
    names = {}
    exec((read + of_kinds).replace("runs/version_0", str(tmp_path)) + recipe, names)
    assert len(names["per_step_j"]) == energy.report.steps
    assert (energy.report.steps == 16) == is_whole
    assert names["per_step_j"].mean() == pytest.approx(energy.report.step_j, rel=1e-6)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
def test_a_run_that_goes_on_adds_to_it_and_a_new_run_begins_anew(tmp_path):
    checkpoint = ModelCheckpoint(tmp_path / "checkpoints", save_last=True)
    fit(tmp_path, max_epochs=2, callbacks=[checkpoint], enable_checkpointing=True)
    again = energy_callback(record=str(tmp_path), trace="csv")
    fit(tmp_path, again, tmp_path / "checkpoints" / "last.ckpt", max_epochs=3)
    curve, steps = tables(tmp_path)
    assert set(steps.session) == set(curve.session) == {0, 1}
    assert set(steps[(steps.session == 1) & (steps.kind == "step") & (steps.stage == "train")].epoch) == {2}
    second = read_record(tmp_path).session.energy_j
    tables_of_1 = (table[table.session == 1] for table in (curve, steps))
    assert sum(accounts_of(shared_in(tmp_path), *tables_of_1).values()) == pytest.approx(second, rel=1e-4)
    with pytest.warns(UserWarning, match="the record of another run lay where that of this run will, and is now"):
        fit(tmp_path, max_epochs=1)
    assert {session for table in tables(tmp_path) for session in table.session} == {0}
    (kept,) = tmp_path.glob("energy.20*.json")
    assert read_record(kept).session.energy_j == second
    old = pd.read_csv(kept.with_name(f"{kept.stem}.steps.csv.gz"))
    assert old.energy_j.tolist() == steps.energy_j.tolist()


@pytest.mark.parametrize("trace", ["csv", "parquet"])
def test_what_is_no_trace_of_ours_stays(tmp_path, trace):
    suffix = {"csv": "csv.gz", "parquet": "parquet"}[trace]
    if trace == "csv":
        (tmp_path / f"energy.curve.{suffix}").mkdir()
        (tmp_path / f"energy.curve.{suffix}" / "mine").write_text("mine")
    else:
        (tmp_path / f"energy.steps.{suffix}").write_text("mine")
    with pytest.warns(UserWarning, match="is no trace of lightning-energy, and stays as it is"):
        fit(tmp_path, energy_callback(record=str(tmp_path), trace=trace), max_epochs=1)
    mine = tmp_path / (f"energy.curve.{suffix}/mine" if trace == "csv" else f"energy.steps.{suffix}")
    assert mine.read_text() == "mine"
    assert read_record(tmp_path).outcome == "completed"


@pytest.mark.slow
def test_memory_is_bounded_within_an_epoch(tmp_path, monkeypatch):
    monkeypatch.setattr(outputs, "TRACED_ROWS", 3)
    monkeypatch.setattr(step_log, "KEEP_UP_S", 0.0)
    monkeypatch.setattr(watch, "SHARE", 0.0)  # booked as often as the sampler asks for it
    waiting = []

    class Look(Classifier):
        def on_train_batch_start(self, batch, batch_idx):
            waiting.append(energy._run.books.session.traced_rows)

        def training_step(self, batch, batch_idx):
            time.sleep(0.02)  # an epoch of several settlings
            return super().training_step(batch, batch_idx)

    energy = energy_callback(record=str(tmp_path), trace="parquet", meters=meter(counter_period_s=0.005))
    trainer = make_trainer(tmp_path, callbacks=[energy], max_epochs=1, log_every_n_steps=1)
    trainer.fit(Look(), loader(512), loader(8))
    parts = [*(tmp_path / "energy.steps.parquet").glob("part-*")]
    assert len(parts) > 2  # not only at the end of the epoch
    assert max(waiting) < 400
    _, steps = tables(tmp_path, "parquet")
    assert (steps[steps.stage == "train"].kind == "step").sum() == 128


class Dead(ReplayMeter):
    def read(self):
        raise MeterLost("no answer")


@pytest.mark.filterwarnings("ignore:EnergyCallback")  # it tells that
def test_what_is_missing_is_empty_and_not_zero(tmp_path):
    energy = fit(tmp_path, energy_callback(record=str(tmp_path), trace="csv", meters=Dead()))
    assert energy.report.session.energy_j is None
    _, steps = tables(tmp_path)
    assert len(steps) > 40
    assert steps.energy_j.isna().all()
    assert steps.missing_s.to_numpy() == pytest.approx(steps.duration_s.to_numpy())


def test_a_place_that_cannot_be_written_is_told_and_the_training_goes_on(tmp_path):
    (tmp_path / "energy.curve.csv.gz").mkdir()
    (tmp_path / "energy.curve.csv.gz" / "mine").touch()
    (tmp_path / "energy.steps.csv.gz").touch()
    energy, taking = energy_callback(record=str(tmp_path), trace="csv"), []
    energy._memory.sessions.append(SessionRow(0.0, "completed", NOTHING))  # a later session adds to what is there

    class Look(Callback):
        def on_train_batch_end(self, trainer, *args):
            if trainer.current_epoch == 1:
                wait_for(lambda: energy._run.books.session.traced_rows)  # the end of an epoch writes what there is

        def on_train_end(self, trainer, pl_module):
            wait_for(lambda: not energy._run.outputs.is_traced)  # it is written in the background
            taking.append(energy._run.outputs.is_traced)

    with pytest.warns(UserWarning, match="the trace cannot be written"):
        fit(tmp_path, energy, callbacks=[Look()])
    assert energy.report.outcome == "completed"
    assert taking == [False]  # and what comes does not pile up: see Outputs.write_trace


def test_a_disk_that_becomes_full_leaves_a_trace_that_can_be_read(tmp_path):
    files = TraceFiles(tmp_path / "energy.json", "csv")
    rng = np.random.default_rng(0)

    def rows(n):
        return {"time_s": np.arange(n, dtype=float), "energy_j": rng.random(n)}

    files.write(0, rows(5), rows(5))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (files.paths["curve"].stat().st_size + 4096, limits[1]))
        with pytest.raises(OSError, match="too large"):
            files.write(0, rows(10_000), rows(1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, previous)
    files.write(1, rows(3), rows(3))
    curve, steps = tables(tmp_path)
    assert curve.session.tolist() == steps.session.tolist() == [0] * 5 + [1] * 3


def test_a_trace_needs_a_place_and_a_format(tmp_path):
    with pytest.warns(UserWarning, match="no trace='csv', as the run has no record"):
        fit(tmp_path, energy_callback(trace="csv"))
    with pytest.raises(ValueError, match="trace='xlsx': give 'csv'"):
        EnergyCallback(trace="xlsx")


def test_without_pyarrow_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ModuleNotFoundError, match="pip install pyarrow"):
        EnergyCallback(trace="parquet")


@pytest.mark.parametrize("name", ["=1+1", "+1", "-cmd", "@SUM(1)", "a\x1b[2J", "a\u202eb", "a\nb"])
def test_a_device_whose_name_a_spreadsheet_would_run_is_escaped(tmp_path, name):
    """As in every other table: a meter of the user's may give any name."""
    curve = {"device_id": np.array([name]), "time_s": np.array([-0.5])}
    TraceFiles(tmp_path / "energy.json", "csv").write(0, curve, {"epoch": np.empty(0, dtype=np.int64)})
    with gzip.open(tmp_path / "energy.curve.csv.gz", "rt", encoding="utf-8", newline="") as file:
        _, (_, device_id, time_s) = csv.reader(file)
    assert device_id == cell(name)
    assert device_id != name
    assert float(time_s) == -0.5
