"""Rows of epochs are final: with what lies between epochs they are the run, and record and trace recompute them."""

from __future__ import annotations

import json
import math
import time

import pandas as pd
import pytest
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from lightning_energy import EnergyMonitor, load_record
from lightning_energy.meters import NvmlMeter
from lightning_energy.meters.clock import unix_ns
from lightning_energy.training import rank_books
from lightning_energy.training.rank_books import RankBooks
from tests.modules import Classifier, energy_callback, loader, make_trainer
from tests.recomputed import accounts_of
from tests.sim.nvml import SimulatedGpu, SimulatedNvml

UUID = "GPU-cccccccc-0000-0000-0000-000000000000"
TRAIN_W, VALIDATE_W, IDLE_W = 300.0, 120.0, 70.0


class Worker(Classifier):
    """Its steps and validations drive a board's power, and it knows what each took."""

    def __init__(self, gpu: SimulatedGpu, step_s: float = 0.03) -> None:
        super().__init__()
        self.gpu, self.step_s = [gpu], step_s

    def _work(self, power_w: float) -> None:
        (gpu,) = self.gpu
        gpu.set_power(power_w)
        time.sleep(self.step_s)  # as a host waits for its board
        gpu.set_power(IDLE_W)

    def training_step(self, batch, batch_idx):
        self._work(TRAIN_W)
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        self._work(VALIDATE_W)
        super().validation_step(batch, batch_idx)


class Fails(Callback):
    """Ends the run in an epoch, in the middle of it."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        if trainer.current_epoch == self.epoch and batch_idx == 3:
            raise RuntimeError("out of memory")


@pytest.fixture
def gpu():
    board = SimulatedGpu("driven", uuid=UUID, counter_period_s=0.1, idle_w=IDLE_W)
    with SimulatedNvml([board]):
        yield board


def fit(tmp_path, gpu, *callbacks, epochs=3, ckpt_path=None, **kwargs):
    energy = energy_callback(meters=NvmlMeter(UUID), record=str(tmp_path), trace="csv")
    trainer = make_trainer(
        tmp_path, max_epochs=epochs, callbacks=[energy, *callbacks], enable_checkpointing=bool(callbacks), **kwargs
    )
    try:
        trainer.fit(Worker(gpu), loader(), loader(8), ckpt_path=ckpt_path)
    except RuntimeError as error:
        assert str(error) == "out of memory"  # noqa: PT017 - only this test's own ends a run
    return energy


def joules_of(record, session: int) -> float:
    """The rows of a session, and what lies between them."""
    rows = [row for row in record.epochs if row.session == session]
    assert all(row.is_final for row in rows)
    return math.fsum(
        [record.sessions[session].between.energy_j, *((row.train_j or 0.0) + (row.val_j or 0.0) for row in rows)]
    )


@pytest.mark.slow
def test_rows_and_what_lies_between_them_are_the_run(tmp_path, gpu):
    energy = fit(tmp_path, gpu, epochs=5)
    record = load_record(tmp_path)
    assert joules_of(record, 0) == pytest.approx(record.total.energy_j, rel=1e-9)
    assert energy.report.between == record.report.between == record.sessions[0].between
    stages = energy.report.stages
    assert math.fsum(row.val_j for row in record.epochs) == pytest.approx(stages["validate"].energy_j, rel=1e-9)
    assert [row["train_j"] for row in energy.history] == [row.train_j for row in record.epochs]
    for row in record.epochs:
        assert (row.train_quality, row.val_quality) == ("measured", "measured")
        assert min(row.train_u_j, row.val_u_j, row.score_u) > 0
    # energies up to the end of an epoch never fall, and the last is the run but for what came after it
    totals_j = [row.total_kwh * 3.6e6 for row in record.epochs]
    assert totals_j == sorted(totals_j)
    assert record.epochs[0].train_j + record.epochs[0].val_j < totals_j[0]
    assert totals_j[-1] < record.total.energy_j
    lines = energy.report.details().split("\n")
    assert [line for line in lines if line.startswith("Outside of epochs: ")]
    (shared,) = (line for line in lines if line.startswith("Mean powers of Simulated GPU: "))
    assert "train (steps) " in shared
    assert ". The counter " in shared


@pytest.mark.slow
def test_what_was_logged_stays_beside_what_is_final(tmp_path, gpu):
    seen = {}

    class Look(Callback):
        """Stands after EnergyCallback."""

        def on_train_end(self, trainer, pl_module) -> None:
            seen["history"] = energy.history
            seen["train_j"] = float(trainer.callback_metrics["energy/train_j"])
            seen["val_j"] = float(trainer.callback_metrics["energy/val_j"])
            seen["total_wh"] = float(trainer.callback_metrics["energy/total_wh"])

    energy = energy_callback(meters=NvmlMeter(UUID), record=str(tmp_path))
    trainer = make_trainer(tmp_path, max_epochs=3, callbacks=[energy, Look()])
    trainer.fit(Worker(gpu), loader(), loader(8))
    assert not any(row["is_final"] for row in seen["history"])
    last, provisional = energy.history[-1], seen["history"][-1]
    assert last["logged_train_j"] == provisional["logged_train_j"] == pytest.approx(seen["train_j"], rel=1e-6)
    assert last["logged_val_j"] == pytest.approx(seen["val_j"], rel=1e-6)
    assert last["logged_total_kwh"] == pytest.approx(seen["total_wh"] / 1000, rel=1e-6)
    assert last["train_j"] != last["logged_train_j"]
    assert last["score"] == provisional["score"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
def test_each_session_keeps_its_own(tmp_path, gpu):
    gpu.counter_period_s = 0.02  # each session has updates enough to fit powers, also where the machine is busy
    checkpoint = ModelCheckpoint(tmp_path / "checkpoints", save_last=True)
    fit(tmp_path, gpu, checkpoint, Fails(2), epochs=4)
    first = load_record(tmp_path)
    assert first.outcome == "interrupted"
    assert joules_of(first, 0) == pytest.approx(first.total.energy_j, rel=1e-9)
    assert [row.epoch for row in first.epochs] == [0, 1]
    assert first.sessions[0].between.energy_j > 4 * 0.03 * TRAIN_W  # the epoch that did not end is in no row
    fit(tmp_path, gpu, ckpt_path=tmp_path / "checkpoints" / "last.ckpt", epochs=4)
    record = load_record(tmp_path)
    assert [(row.session, row.epoch) for row in record.epochs] == [(0, 0), (0, 1), (1, 2), (1, 3)]
    assert [*record.epochs[:2]] == [*first.epochs]
    assert joules_of(record, 0) == pytest.approx(record.sessions[0].energy.energy_j, rel=1e-9)
    assert joules_of(record, 1) == pytest.approx(record.session.energy_j, rel=1e-9)
    assert joules_of(record, 0) + joules_of(record, 1) == pytest.approx(record.total.energy_j, rel=1e-9)
    assert record.epochs[2].total_kwh > first.total.energy_kwh
    assert [[d.device_id for d in row.devices] for row in record.sessions] == [[UUID], [UUID]]
    assert all(row.devices[0].shared.method == "fitted" for row in record.sessions)
    for row in record.sessions:  # a series of power for each, which holds its joules and what is before and after
        power = row.devices[0].power
        assert row.energy.energy_j < power.energy_j < row.energy.energy_j + 0.5 * TRAIN_W
        assert abs(unix_ns(power.clock, power.start_ns) / 1e9 - row.started_unix_s) < 0.5


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
def test_a_checkpoint_has_its_rows_as_they_were_known_then(tmp_path, gpu):
    checkpoint = ModelCheckpoint(tmp_path / "checkpoints", save_last=True)
    fit(tmp_path, gpu, checkpoint, epochs=2)
    (tmp_path / "energy.json").unlink()  # so that the checkpoint alone tells
    fit(tmp_path, gpu, ckpt_path=tmp_path / "checkpoints" / "last.ckpt", epochs=3)
    record = load_record(tmp_path)
    row, rows = record.sessions[0], record.epochs[:2]
    assert (row.outcome, [r.is_final for r in rows]) == ("checkpoint", [False, False])
    known_j = math.fsum([row.between.energy_j, *(r.train_j + r.val_j for r in rows)])
    assert known_j == pytest.approx(row.energy.energy_j, rel=1e-9)
    assert rows[0].train_j != rows[0].logged_train_j
    assert row.devices[0].device_id == UUID
    assert joules_of(record, 1) == pytest.approx(record.session.energy_j, rel=1e-9)


@pytest.mark.slow
def test_rows_of_a_loop_are_final_too(tmp_path, gpu):
    def work(power_w: float, seconds: float) -> None:
        gpu.set_power(power_w)
        time.sleep(seconds)

    with EnergyMonitor(meters=NvmlMeter(UUID), record=str(tmp_path), print_report=False) as monitor:
        for epoch in range(6):
            with monitor.stage("train", epoch):
                for _ in range(8):
                    with monitor.step():
                        work(TRAIN_W, 0.03)
                monitor.log_metric("val_acc", 0.1)  # before the validation: the epoch's second row has its energy
            with monitor.stage("validate", epoch):
                work(VALIDATE_W, 0.05)
            if epoch < 5:
                with monitor.stage("validate", epoch):
                    monitor.log_metric("val_acc", 0.5 + epoch / 100)
        with monitor.stage("test"):
            work(VALIDATE_W, 0.2)
    record = load_record(tmp_path)
    assert joules_of(record, 0) == pytest.approx(record.total.energy_j, rel=1e-9)
    assert record.total.energy_j < record.session.energy_j  # without the test
    first, second = record.epochs[:2]
    assert (first.epoch, first.train_j, first.metric) == (0, None, 0.1)
    assert first.logged_train_j > 0
    assert (second.epoch, second.metric) == (0, 0.5)
    assert second.train_j > 0


@pytest.mark.slow
@pytest.mark.parametrize("period_s", [0.1, 0.02])
def test_every_account_can_be_recomputed_from_record_and_trace(tmp_path, gpu, period_s):
    gpu.counter_period_s = period_s
    energy = fit(tmp_path, gpu, epochs=6, val_check_interval=0.5)
    document = json.loads((tmp_path / "energy.json").read_text())
    curve, steps = (pd.read_csv(tmp_path / f"energy.{name}.csv.gz") for name in ("curve", "steps"))
    power = energy.report.devices[0].power
    assert power.energy_j == pytest.approx(curve.energy_j.iloc[-1] - curve.energy_j.iloc[0], rel=1e-5)
    assert load_record(tmp_path).devices[0].power == power
    assert set(curve.quality.dropna()) == {"measured"}
    accounts = accounts_of(document["devices"][0]["shared"], curve, steps)
    for stage, figure in document["stages"].items():
        recomputed_j = math.fsum(j for (_, s, _), j in accounts.items() if s == stage)
        assert recomputed_j == pytest.approx(figure["energy_j"], rel=1e-6)
    for row in document["epochs"]:
        for name, stage in (("train_j", "train"), ("val_j", "validate")):
            recomputed_j = math.fsum(j for (e, s, _), j in accounts.items() if (e, s) == (row["epoch"], stage))
            assert recomputed_j == pytest.approx(row[name], rel=1e-6)
    gaps_j = math.fsum(j for (_, s, kind), j in accounts.items() if (s, kind) == ("train", "gap"))
    assert gaps_j == pytest.approx(document["gaps"]["energy_j"], rel=1e-6)
    assert math.fsum(accounts.values()) == pytest.approx(energy.report.session.energy_j, rel=1e-9)


class Slow(Classifier):
    """Steps of a millisecond."""

    def training_step(self, batch, batch_idx):
        time.sleep(1e-3)
        return super().training_step(batch, batch_idx)


@pytest.mark.parametrize(("interval", "batches", "is_same"), [(2, 5, False), (2, 4, True), (1.0, 4, True)])
def test_the_end_of_an_epoch_knows_the_steps_after_its_last_validation(
    tmp_path, monkeypatch, interval, batches, is_same
):
    """Only where a validation came after the last batch do its totals stand for the epoch's; on a clock that stands."""
    found, totals = [], RankBooks._totals

    def noted(self, **kwargs):
        found.append(totals(self, **kwargs))
        return found[-1]

    monkeypatch.setattr(rank_books, "monotonic_ns", lambda: 0)
    monkeypatch.setattr(RankBooks, "_totals", noted)
    trainer = make_trainer(
        tmp_path,
        max_epochs=1,
        val_check_interval=interval,
        num_sanity_val_steps=0,
        callbacks=[energy_callback(record=str(tmp_path))],
    )
    trainer.fit(Slow(), loader(4 * batches), loader(4))
    assert (found[-1] is found[-2]) == is_same
