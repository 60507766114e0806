"""EnergyCallback in real Trainers: what is logged, to whom, and what happens on bad days."""

from __future__ import annotations

import copy
import csv
import inspect
import itertools
import math
import pickle
import threading
import time
import warnings
from pathlib import Path

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from packaging.version import Version
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.data import DataLoader, IterableDataset
from torchmetrics.classification import MulticlassAccuracy

from lightning_energy import (
    EnergyCallback,
    EnergyPenalizedAccuracy,
    MeterInfo,
    MeterLost,
    MeterUnavailable,
    Reading,
    ReplayMeter,
    energy_penalized_accuracy,
    load_record,
)
from lightning_energy.meters.rapl import RaplSource
from lightning_energy.training import log_keys, step_log, trainer_run
from tests.modules import POWER_W, Classifier, MemoryLogger, Working, energy_callback, loader, make_trainer, meter
from tests.training.parts import Looked, replay

# since Lightning 2.6; before, checkpoints were loaded by torch's own default
WEIGHTS_ONLY = {"weights_only": True} if "weights_only" in inspect.signature(L.Trainer.fit).parameters else {}
STEP_KEYS = {"energy/power_w", "energy/step_j"}
EPOCH_KEYS = {
    "energy/train_j",
    "energy/val_j",
    "energy/total_wh",
    "energy/accuracy",
    "energy/score",
}


def sampler_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "lightning-energy-sampler"]


@pytest.fixture(autouse=True)
def _no_thread_is_left():
    yield
    assert not sampler_threads()


# ------------------------------------------------------------------------------------------------ logging


@pytest.mark.slow
def test_everything_reaches_every_logger(tmp_path):
    memory, table, board = MemoryLogger(), CSVLogger(tmp_path), TensorBoardLogger(tmp_path)
    trainer = make_trainer(tmp_path, max_epochs=16, logger=[memory, table, board], callbacks=[energy_callback()])
    trainer.fit(Working(), loader(), loader(8))
    events = EventAccumulator(board.log_dir)
    events.Reload()
    assert {*events.Tags()["scalars"]} >= STEP_KEYS | EPOCH_KEYS
    with (Path(table.log_dir) / "metrics.csv").open() as file:
        assert {*next(csv.reader(file))} >= STEP_KEYS | EPOCH_KEYS
    for key in STEP_KEYS | EPOCH_KEYS:
        points = memory.points(key)
        assert points, key
        assert [s.step for s in events.Scalars(key)] == [step for step, _ in points]
        assert [s.value for s in events.Scalars(key)] == pytest.approx([v for _, v in points], rel=1e-6)
    powers_w = [value for _, value in memory.points("energy/power_w")]
    assert sum(powers_w) / len(powers_w) == pytest.approx(POWER_W, rel=0.2)


class Wanted(Callback):
    """Knows which steps a look at every step would have logged."""

    def __init__(self, energy) -> None:
        self.energy, self.wanted = energy, []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        self.steps = self.energy._run.steps
        step = trainer.fit_loop.epoch_loop._batches_that_stepped
        if trainer.log_every_n_steps and (step + 1) % trainer.log_every_n_steps == 0:
            self.wanted.append((trainer.current_epoch, batch_idx))


@pytest.mark.slow
@pytest.mark.parametrize(("every", "accumulate"), [(0, 1), (1, 3), (3, 3), (7, 1), (50, 3)])  # all: in test_step_log
def test_only_steps_with_more_to_do_look_at_the_trainer(tmp_path, monkeypatch, every, accumulate):
    monkeypatch.setattr(step_log, "KEEP_UP_EVERY", 8)
    monkeypatch.setattr(trainer_run, "StepLog", Looked)
    energy = EnergyCallback(meters=ReplayMeter(POWER_W), record=False, print_report=False)
    look = Wanted(energy)
    trainer = make_trainer(
        tmp_path, callbacks=[look, energy], log_every_n_steps=every, accumulate_grad_batches=accumulate, max_epochs=3
    )
    trainer.fit(Classifier(), loader(80), loader(8))
    batches, wanted, steps = 3 * len(loader(80)), look.wanted, look.steps
    first_of_step = [at for i, at in enumerate(wanted) if i == 0 or not _same_step(wanted[i - 1], at)]
    assert {*first_of_step} <= {*steps.logged} <= {*wanted}
    due = {(e, b) for e in range(3) for b in range(7, len(loader(80)), 8)}
    assert due <= {*steps.kept} | {*steps.logged}
    if every in {0, 50}:
        assert steps.seen < batches / 2


def _same_step(a, b) -> bool:
    """Micro-batches that follow each other."""
    return a[0] == b[0] and b[1] == a[1] + 1


def test_logged_epochs_agree_with_the_report(tmp_path):
    memory, energy = MemoryLogger(), energy_callback()
    trainer = make_trainer(tmp_path, max_epochs=4, logger=memory, callbacks=[energy])
    trainer.fit(Working(), loader(), loader(8))
    report = energy.report
    assert sum(e.energy_j for e in report.stages.values()) == pytest.approx(report.session.energy_j, rel=1e-9)
    assert {*report.stages} == {"train", "validate", "sanity_check"}
    train_j = sum(v for _, v in memory.points("energy/train_j"))
    train = report.stages["train"]
    # the epochs are all of the steps, but not set-up, and the last moments of each may not be known at its end
    assert report.step_j * report.steps - 3 * train.u_j <= train_j <= train.energy_j + 3 * train.u_j
    assert report.step_j * report.steps <= train.energy_j


def test_points_stand_where_the_modules_own_metrics_stand(tmp_path):
    class TwoOptimizers(Working):
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = False

        def training_step(self, batch, batch_idx):
            loss = super().training_step(batch, batch_idx)
            for optimizer in self.optimizers():
                optimizer.step()
            self.log("train_loss", loss.detach())

        def configure_optimizers(self):
            return [torch.optim.SGD(self.parameters(), lr=0.1) for _ in range(2)]

    memory = MemoryLogger()
    trainer = make_trainer(tmp_path, logger=memory, callbacks=[energy_callback()])
    trainer.fit(TwoOptimizers(), loader(), loader(8))
    assert trainer.global_step == 2 * 24
    assert {s for s, _ in memory.points("energy/step_j")} <= {s for s, _ in memory.points("train_loss")}
    val_steps = [s for s, _ in memory.points("val_acc")]
    for key in ("energy/score", "energy/val_j", "energy/total_wh", "energy/train_j"):
        steps = [s for s, _ in memory.points(key)]
        assert set() < {*steps} <= {*val_steps}, key  # a first epoch whose energy is not known yet has none


def test_without_a_logger_callback_metrics_hold_the_figures(tmp_path):
    trainer = make_trainer(tmp_path, logger=False, callbacks=[energy_callback()])
    trainer.fit(Classifier(), loader(), loader(8))
    assert {*trainer.callback_metrics} >= EPOCH_KEYS


@pytest.mark.slow
def test_every_logged_name_is_documented(tmp_path):
    memory = MemoryLogger()
    energy = energy_callback(carbon_intensity="DEU", price=0.3, log_uncertainty=True)
    trainer = make_trainer(tmp_path, max_epochs=12, logger=memory, callbacks=[energy])
    model = Working()
    trainer.fit(model, loader(), loader(8))
    trainer.validate(model, loader(8), verbose=False)
    trainer.test(model, loader(8), verbose=False)
    trainer.predict(model, loader(8))
    logged = {key for _, values in memory.rows for key in values if key.startswith("energy/")}
    others = {log_keys.MISSING_S, log_keys.METRIC, log_keys.POINT_WH}
    assert not logged & others  # nothing is missing, the metric is an accuracy, and was not named
    logged |= others
    assert logged == {key.name for key in log_keys.ALL if key.name.startswith("energy/")}  # of phases: test_step_phases
    names = {value for name, value in vars(log_keys).items() if name.isupper() and isinstance(value, str)}
    assert logged == {n for n in names if n.startswith("energy/")}


def test_test_and_predict_have_their_energy(tmp_path):
    memory, energy = MemoryLogger(), energy_callback()
    trainer = make_trainer(tmp_path, logger=memory, callbacks=[energy])
    (result,) = trainer.test(Classifier(), loader(8), verbose=False)
    assert result["energy/test_j"] > 0
    assert {*energy.report.stages} == {"test"}
    assert energy.report.total is None  # nothing was fitted
    trainer.predict(Classifier(), loader(8))
    assert memory.points("energy/predict_j")[0][1] > 0


def test_total_is_logged_without_a_validation(tmp_path):
    memory = MemoryLogger()
    trainer = make_trainer(tmp_path, logger=memory, limit_val_batches=0, callbacks=[energy_callback()])
    trainer.fit(Classifier(), loader(), loader(8))
    assert len(memory.points("energy/total_wh")) == 3
    assert not memory.points("energy/score")


class Mute(ReplayMeter):
    def read(self):
        raise MeterLost("no answer")


@pytest.mark.filterwarnings("ignore:EnergyCallback")
def test_no_figure_is_not_zero(tmp_path):
    """A sensor that tells nothing knows nothing: no key, no score, no 0."""
    energy = energy_callback(meters=Mute(100.0))
    trainer = make_trainer(tmp_path, max_epochs=1, callbacks=[energy])
    trainer.fit(Classifier(), loader(), loader(8))
    assert {k for k in trainer.callback_metrics if k.startswith("energy/")} == {"energy/accuracy"}
    assert energy.report.session.energy_j is None
    assert energy.report.session.missing_s == pytest.approx(energy.report.session.duration_s)
    assert energy.history[0]["train_j"] is None
    assert "missing" in energy.report.details()


def test_report_is_printed_once_and_can_be_silenced(tmp_path, capsys):
    trainer = make_trainer(tmp_path, callbacks=[EnergyCallback(meters=meter(), print_report=True)])
    trainer.fit(Classifier(), loader(), loader(8))
    text = capsys.readouterr().out
    assert text.count("Energy: ") == 1
    for expected in ("train", "validate", "sanity check", "Wh", "measured", "score ", "val_acc"):
        assert expected in text
    trainer = make_trainer(tmp_path, callbacks=[energy_callback()])
    trainer.fit(Classifier(), loader(), loader(8))
    assert "Energy" not in capsys.readouterr().out


# ------------------------------------------------------------------------------------------------ Metrics


def test_metrics_of_the_module_are_fed(tmp_path):
    class Scored(Classifier):
        def __init__(self) -> None:
            super().__init__("nowhere")
            self.score = EnergyPenalizedAccuracy(MulticlassAccuracy(2), reference_kwh=1e-6)

        def validation_step(self, batch, batch_idx, dataloader_idx=0):
            x, y = batch
            self.score.update(self.layer(x), y)
            self.log("val_score", self.score)
            self.log("val_acc", self.score.accuracy)

    # a register that moves at every look: what is assumed of the last moment does not depend on when the looks are
    energy, memory = energy_callback(meters=replay(POWER_W), reference_kwh=1e-6), MemoryLogger()
    trainer = make_trainer(tmp_path, max_epochs=5, logger=memory, callbacks=[energy])
    trainer.fit(Scored(), loader(), loader(8))
    ours, metrics, accuracies = (memory.points(key) for key in ("energy/score", "val_score", "val_acc"))
    assert len(ours) == len(metrics) == len(accuracies) == 5
    before_kwh = 0.0
    for (step, score), (metric_step, metric), (_, accuracy), row in zip(
        ours, metrics, accuracies, energy.history, strict=True
    ):
        assert step == metric_step
        # the energy of a moment earlier, but later than that of the validation before
        most = energy_penalized_accuracy(accuracy, before_kwh, reference_kwh=1e-6)
        assert score * (1 - 1e-5) <= metric < most
        before_kwh = row["total_kwh"]


# ------------------------------------------------------------------------------------------------ settings


@pytest.mark.parametrize(
    ("settings", "error", "match"),
    [
        ({"meters": "gpu"}, ValueError, "'gpu'.*'auto'"),
        ({"meters": []}, ValueError, r"\[\].*at least one"),
        ({"meters": 3}, TypeError, "3.*Meter"),
        ({"meters": ["nvml", 3]}, TypeError, "3.*Meter"),
        ({"accuracy": ""}, TypeError, "val_acc"),
        ({"accuracy": 0.9}, TypeError, "0.9"),
        ({"score": 3}, TypeError, "function of"),
        ({"reference_kwh": 0}, ValueError, "above 0"),
        ({"reference_kwh": float("inf")}, ValueError, "finite"),
        ({"reference_kwh": "1"}, ValueError, "'1'"),
        ({"reference_kwh": True}, TypeError, "True"),
        ({"score": max, "reference_kwh": 2.0}, ValueError, "belongs to score='penalized'"),
        ({"idle_s": "10"}, TypeError, "idle_s='10': give seconds"),
        ({"idle_s": True}, TypeError, "idle_s=True"),
        ({"idle_s": -1}, ValueError, "idle_s=-1"),
        ({"idle_s": float("nan")}, ValueError, "idle_s=nan"),
        ({"progress_bar": "yes"}, TypeError, "progress_bar='yes': give True or False"),
        ({"dashboards": "tb"}, TypeError, "dashboards='tb': give True or False"),
        ({"allow_estimate": "no"}, TypeError, "allow_estimate='no'"),
    ],
)
def test_wrong_settings_are_told_at_construction(settings, error, match):
    with pytest.raises(error, match=match):
        EnergyCallback(**settings)


def test_a_refused_estimate_names_what_was_looked_for(tmp_path, monkeypatch):
    monkeypatch.setattr("lightning_energy.meters.find.SOURCES", (RaplSource(tmp_path / "powercap"),))
    trainer = make_trainer(tmp_path, callbacks=[EnergyCallback(allow_estimate=False)])
    with pytest.raises(MeterUnavailable, match=r"allow_estimate=False.*powercap"):
        trainer.fit(Classifier(), loader(), loader(8))


def test_an_estimate_is_announced_once_and_labelled(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("lightning_energy.meters.find.SOURCES", (RaplSource(tmp_path / "powercap"),))
    energy = EnergyCallback(print_report=True)
    trainer = make_trainer(tmp_path, callbacks=[energy])
    with pytest.warns(UserWarning, match="ESTIMATED.*allow_estimate=False") as caught:
        _ = [trainer.fit(Classifier(), loader(), loader(8)) for _ in range(2)]
    assert sum("ESTIMATED" in str(w.message) for w in caught) == 1
    assert energy.report.session.quality == "estimated"
    assert "estimated" in capsys.readouterr().out


def test_a_meter_read_twice_is_counted_once(tmp_path):
    energy = energy_callback(meters=[meter(), meter()])
    make_trainer(tmp_path, callbacks=[energy]).fit(Classifier(), loader(), loader(8))
    assert len(energy.report.devices) == 1


# ------------------------------------------------------------------------------------------------ bad days


class Failing(ReplayMeter):
    """Answers ``good`` times, then fails."""

    def __init__(self, good: int, error: Exception) -> None:
        super().__init__(POWER_W, counter_period_s=0.01)
        self.left = good
        self.error = error
        self.since_ns = 0

    def read(self) -> Reading:
        self.left -= 1
        if self.left < 0:
            self.since_ns = self.since_ns or time.monotonic_ns()
            raise self.error
        return super().read()


@pytest.mark.slow
@pytest.mark.parametrize("error", [MeterLost("GPU is lost"), RuntimeError("a defect")])
@pytest.mark.parametrize("good", [0, 30])
def test_a_lost_sensor_does_not_end_the_training(tmp_path, error, good):
    failing = Failing(good, error)
    energy = energy_callback(meters=failing)
    trainer = make_trainer(tmp_path, max_epochs=30, callbacks=[energy])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer.fit(Working(), loader(), loader(8))
    assert trainer.current_epoch == 30
    (told,) = [str(w.message) for w in caught if "missing from all totals" in str(w.message)]
    assert str(error) in told
    run = energy.report.session
    assert run.duration_s - run.missing_s <= (failing.since_ns - failing._epoch_ns) * 1e-9
    assert run.missing_s > 0
    assert run.quality == ("missing" if good == 0 else "measured")
    assert "missing" in energy.report.details()


def test_a_defect_of_ours_is_told_and_the_training_goes_on(tmp_path, monkeypatch):
    def broken(self):
        raise ZeroDivisionError("ours")

    monkeypatch.setattr("lightning_energy.ledger.session.Session.totals", broken)
    trainer = make_trainer(tmp_path, callbacks=[energy_callback()])
    with pytest.warns(UserWarning, match="stops measuring after ZeroDivisionError"):
        trainer.fit(Classifier(), loader(), loader(8))
    assert trainer.current_epoch == 3


@pytest.mark.filterwarnings("ignore:EnergyCallback stops measuring")
def test_after_a_defect_report_and_record_say_what_is_missing(tmp_path):
    class Breaks(Callback):
        def on_train_epoch_start(self, trainer, pl_module) -> None:
            if trainer.current_epoch == 1:
                energy._run.books.session.totals = lambda: 1 / 0

    energy = energy_callback(record=tmp_path / "out")
    make_trainer(tmp_path, callbacks=[energy, Breaks()]).fit(Classifier(), loader(), loader(8))
    record = load_record(tmp_path / "out")
    for session in (energy.report.session, record.session, record.total):
        assert session.energy_j is None
        assert session.missing_s == session.duration_s > 0  # of the time before, nothing can be read any more
    assert [note.kind for note in record.notes].count("gave_up") == 1
    assert record.outcome == "completed"


def test_a_checkpoint_after_a_defect_has_what_was_known(tmp_path):
    class Breaks(Callback):
        def on_train_epoch_end(self, trainer, pl_module) -> None:
            if trainer.current_epoch == 1:
                energy._run.books.give_up("a hook", ValueError("ours"))

    saved = []

    class Saves(Callback):
        def on_train_epoch_end(self, trainer, pl_module) -> None:
            saved.append(energy.state_dict()["total"]["energy_j"])

    energy = energy_callback()
    trainer = make_trainer(tmp_path, callbacks=[Saves(), energy, Breaks()])
    with pytest.warns(UserWarning, match="stops measuring after ValueError in a hook"):
        trainer.fit(Working(), loader(), loader(8))
    assert 0 < saved[0] < min(saved[1:])
    assert saved[1] == pytest.approx(saved[2], rel=0.5)  # the end was supposed, and then known
    assert saved[2] == energy.report.total.energy_j


def test_ctrl_c_closes_the_books(tmp_path):
    class Interrupt(Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
            if trainer.current_epoch == 1:
                raise KeyboardInterrupt

    energy = energy_callback()
    trainer = make_trainer(tmp_path, callbacks=[Interrupt(), energy])
    with pytest.raises(SystemExit):
        trainer.fit(Classifier(), loader(), loader(8))
    assert energy.report.outcome == "interrupted"
    assert "Ended by KeyboardInterrupt" in [note.text for note in energy.report.notes if note.kind == "ended"]
    assert energy.report.session.energy_j > 0


def test_skipped_batches_and_epochs_are_booked(tmp_path):
    class Skipping(Classifier):
        def on_train_batch_start(self, batch, batch_idx):
            return -1 if batch_idx == 2 else None

    energy = energy_callback()
    make_trainer(tmp_path, callbacks=[energy]).fit(Skipping(), loader(), loader(8))
    report = energy.report
    assert sum(e.energy_j for e in report.stages.values()) == pytest.approx(report.session.energy_j, rel=1e-9)


@pytest.mark.filterwarnings("ignore:`training_step` returned `None`:UserWarning")
def test_no_loss_no_length_and_accumulation(tmp_path):
    class Endless(IterableDataset):
        def __iter__(self):
            return itertools.repeat((torch.zeros(4), torch.tensor(0)))

    class NoLoss(Classifier):
        def training_step(self, batch, batch_idx):
            return None if batch_idx % 2 else super().training_step(batch, batch_idx)

    memory = MemoryLogger()
    trainer = make_trainer(
        tmp_path,
        logger=memory,
        limit_train_batches=40,
        limit_val_batches=2,
        accumulate_grad_batches=4,
        callbacks=[energy_callback()],
    )
    stream = DataLoader(Endless(), batch_size=2)
    trainer.fit(NoLoss(), stream, stream)
    steps = [s for s, _ in memory.points("energy/step_j")]
    assert len(steps) == len({*steps})  # one point a step, not one a micro-batch
    assert len(memory.points("energy/score")) == 3


def test_fast_dev_run_and_barebones(tmp_path):
    trainer = make_trainer(tmp_path, fast_dev_run=True, callbacks=[energy_callback()])
    trainer.fit(Classifier(), loader(), loader(8))
    assert "energy/score" in trainer.callback_metrics
    trainer = L.Trainer(max_epochs=1, barebones=True, accelerator="cpu", callbacks=[energy_callback()])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer.fit(Classifier("nowhere"), loader())
    assert any("barebones=True" in str(w.message) and "EnergyCallback is off" in str(w.message) for w in caught)


# ------------------------------------------------------------------------------------------------ state


def test_energy_survives_a_resume(tmp_path):
    first, second = energy_callback(), energy_callback()
    checkpoint = ModelCheckpoint(dirpath=tmp_path, save_last=True)
    trainer = make_trainer(tmp_path, max_epochs=2, callbacks=[first, checkpoint], enable_checkpointing=True)
    trainer.fit(Classifier(), loader(), loader(8))
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)["callbacks"]["EnergyCallback"]
    saved_j = saved["total"]["energy_j"]
    run = first.report.session  # with what was not known yet when the checkpoint was written, or came after
    assert first.history[0]["total_kwh"] * 3.6e6 < saved_j <= run.energy_j + 3 * run.u_j
    memory = MemoryLogger()
    again = ModelCheckpoint(dirpath=tmp_path, save_last=True)
    trainer = make_trainer(tmp_path, max_epochs=4, logger=memory, callbacks=[second, again], enable_checkpointing=True)
    trainer.fit(Classifier(), loader(), loader(8), ckpt_path=tmp_path / "last.ckpt", **WEIGHTS_ONLY)
    report = second.report
    assert report.total.energy_j == pytest.approx(saved_j + report.session.energy_j, rel=1e-9)
    assert memory.points("energy/total_wh")[0][1] * 3600 > saved_j
    assert [row["epoch"] for row in second.history] == [0, 1, 2, 3]


@pytest.mark.filterwarnings("ignore:You.re resuming from a checkpoint that ended before the epoch ended")
def test_an_epoch_that_goes_on_from_a_checkpoint_has_the_energy_of_its_other_steps(tmp_path):
    """Lightning calls no hook at its beginning, which was before the checkpoint."""
    checkpoint, again = (ModelCheckpoint(dirpath=tmp_path, every_n_train_steps=11) for _ in range(2))
    settings = {"max_epochs": 2, "enable_checkpointing": True}
    trainer = make_trainer(tmp_path, callbacks=[energy_callback(), checkpoint], **settings)
    trainer.fit(Classifier(), loader(), loader(8))
    energy = energy_callback(phases=True, record=str(tmp_path))
    trainer = make_trainer(tmp_path, callbacks=[energy, again], **settings)
    trainer.fit(Working(), loader(), loader(8), ckpt_path=checkpoint.best_model_path, **WEIGHTS_ONLY)
    record = load_record(tmp_path)
    row = record.epochs[-1]
    assert (row.session, row.epoch) == (1, 1)
    assert row.train_s >= 5 * 0.005  # steps 12 to 16
    assert "forward" in [phase.name for phase in row.phases]
    assert math.fsum(phase.energy_j for phase in row.phases) == pytest.approx(row.train_j, rel=1e-9)


def test_test_from_a_checkpoint_does_not_undo_what_fit_measured(tmp_path):
    energy = energy_callback()
    checkpoint = ModelCheckpoint(dirpath=tmp_path, monitor="val_acc", mode="min")
    trainer = make_trainer(tmp_path, callbacks=[energy, checkpoint], enable_checkpointing=True)
    model = Classifier()
    trainer.fit(model, loader(), loader(8))
    spent = energy.report.total
    trainer.test(model, loader(8), ckpt_path="best", **WEIGHTS_ONLY, verbose=False)
    assert energy.report.total == spent


def test_a_checkpoint_of_a_training_gives_a_validation_its_score(tmp_path):
    trainer = make_trainer(
        tmp_path, callbacks=[energy_callback(), ModelCheckpoint(dirpath=tmp_path)], enable_checkpointing=True
    )
    trainer.fit(Classifier(), loader(), loader(8))
    (path,) = tmp_path.glob("*.ckpt")
    trainer = make_trainer(
        tmp_path, callbacks=[energy_callback(), ModelCheckpoint(dirpath=tmp_path)], enable_checkpointing=True
    )
    (result,) = trainer.validate(Classifier(), loader(8), ckpt_path=path, **WEIGHTS_ONLY, verbose=False)
    assert result["energy/score"] > 0


def test_fits_of_one_trainer_add_up(tmp_path):
    energy = energy_callback()
    trainer = make_trainer(tmp_path, callbacks=[energy])
    for fits in (1, 2):
        trainer.fit_loop.max_epochs = 3 * fits
        trainer.fit(Classifier(), loader(), loader(8))
        assert energy.report.sessions == fits
    assert energy.report.total.energy_j > energy.report.session.energy_j
    assert "fit, 2 sessions" in energy.report.details()


@pytest.mark.parametrize(
    ("state", "match"),
    [({"version": 99}, "version 99.*upgrade"), ({"version": 1, "total": {}}, "damaged"), ("another's", "damaged")],
)
def test_a_state_that_cannot_be_read_is_told_and_is_not_a_zero(tmp_path, state, match):
    energy = energy_callback()
    energy._memory.decide(is_fit=True, is_training=False)
    with pytest.warns(UserWarning, match=match):
        energy.load_state_dict(state)
    make_trainer(tmp_path, callbacks=[energy]).fit(Classifier(), loader(), loader(8))
    assert any("The energy of earlier sessions is not known" in note.text for note in energy.report.notes)


def checkpointed(tmp_path, energy, **kwargs):
    """A fit of three epochs that leaves a checkpoint of the first."""
    saving = ModelCheckpoint(tmp_path, filename="{epoch}", save_top_k=-1)
    trainer = make_trainer(tmp_path, enable_checkpointing=True, callbacks=[energy, saving], **kwargs)
    trainer.fit(Working(), loader(), loader(8))
    return str(tmp_path / "epoch=0.ckpt")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
def test_steps_that_are_done_again_were_spent(tmp_path):
    energy = energy_callback()
    first = checkpointed(tmp_path, energy)
    spent_j = energy.report.session.energy_j
    make_trainer(tmp_path, callbacks=[energy]).fit(Working(), loader(), loader(8), ckpt_path=first)
    assert energy.report.total.energy_j == pytest.approx(spent_j + energy.report.session.energy_j, rel=1e-9)
    assert energy.report.sessions == 2


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
def test_a_resumed_run_lists_the_session_that_it_goes_on_from(tmp_path):
    first = checkpointed(tmp_path, energy_callback())
    energy = energy_callback()
    make_trainer(tmp_path, callbacks=[energy]).fit(Working(), loader(), loader(8), ckpt_path=first)
    assert energy.report.sessions == 2
    assert energy.report.total.energy_j > energy.report.session.energy_j
    assert "fit, 2 sessions" in energy.report.details()


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
def test_a_checkpoint_made_without_us_starts_at_zero(tmp_path):
    saving = ModelCheckpoint(tmp_path, filename="{epoch}", save_top_k=-1)
    trainer = make_trainer(tmp_path, max_epochs=1, enable_checkpointing=True, callbacks=[saving])
    trainer.fit(Working(), loader(), loader(8))
    energy = energy_callback()
    make_trainer(tmp_path, callbacks=[energy]).fit(
        Working(), loader(), loader(8), ckpt_path=str(tmp_path / "epoch=0.ckpt")
    )
    assert energy.report.sessions == 1
    assert energy.report.total.energy_j == pytest.approx(energy.report.session.energy_j, rel=1e-9)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
def test_a_checkpoint_of_ours_is_no_trouble_without_us(tmp_path):
    first = checkpointed(tmp_path, energy_callback())
    trainer = make_trainer(tmp_path, max_epochs=3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning says that a callback of the checkpoint is not there
        trainer.fit(Working(), loader(), loader(8), ckpt_path=first)
    assert trainer.current_epoch == 3


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`", "ignore:EnergyCallback. no energy/score")
def test_a_validation_of_anothers_checkpoint_adds_nothing_to_a_new_training(tmp_path):
    first = checkpointed(tmp_path, energy_callback())
    energy = energy_callback()
    make_trainer(tmp_path, callbacks=[energy]).validate(Working(), loader(8), ckpt_path=first, verbose=False)
    make_trainer(tmp_path, callbacks=[energy]).fit(Working(), loader(), loader(8))
    assert energy.report.total.energy_j == pytest.approx(energy.report.session.energy_j, rel=1e-9)
    assert energy.report.sessions == 1


class Refuses(MemoryLogger):
    def log_metrics(self, metrics, step=None) -> None:
        if STEP_KEYS & {*metrics}:  # what goes through self.log is between Lightning and the logger
            raise ConnectionError("no network")


@pytest.mark.slow
def test_a_logger_that_refuses_is_told_once(tmp_path):
    class Quiet(Working):
        def validation_step(self, batch, batch_idx):
            pass

    memory = MemoryLogger()
    energy = energy_callback()
    trainer = make_trainer(tmp_path, max_epochs=40, logger=[Refuses(), memory], callbacks=[energy], limit_val_batches=0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer.fit(Quiet(), loader(), loader(8))
    assert sum("Refuses did not take energy/step_j, energy/power_w" in str(w.message) for w in caught) == 1
    assert memory.points("energy/step_j")


def test_every_run_has_its_warnings(tmp_path):
    """One callback in the fits of a search: what is wrong in the second one is not known from the first."""
    energy = energy_callback(accuracy="nowhere")
    for _ in range(2):
        trainer = make_trainer(tmp_path, max_epochs=2, callbacks=[energy])
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            trainer.fit(Classifier(), loader(), loader(8))
            trainer.fit_loop.max_epochs = 3  # the same run
            trainer.fit(Classifier(), loader(), loader(8))
        assert sum("accuracy='nowhere' was not logged" in str(w.message) for w in caught) == 1


@pytest.mark.slow
@pytest.mark.parametrize("when", ["new", "fitted"])
def test_copies_and_pickles(tmp_path, when):
    energy = energy_callback(accuracy="val_acc")
    if when == "fitted":
        make_trainer(tmp_path, callbacks=[energy]).fit(Classifier(), loader(), loader(8))
    pickled = pickle.dumps(energy)
    run_ids = {energy._memory.run_id}
    for twin in (copy.copy(energy), copy.deepcopy(energy), pickle.loads(pickled), pickle.loads(pickled)):
        assert twin.accuracy == "val_acc"
        assert (twin._last_report, twin.history, twin.evaluations) == (None, [], [])
        run_ids.add(twin._memory.run_id)
        make_trainer(tmp_path, callbacks=[twin]).fit(Classifier(), loader(), loader(8))
        assert twin.report.sessions == 1
        assert twin.report.total == twin.report.session
    assert len(run_ids) == 5
    assert len(pickle.dumps(energy)) < 20_000  # not the whole module


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
def test_a_resume_on_another_machine(tmp_path, monkeypatch):
    """Other devices, another node: what was spent before is joules, and no reading of a device that is not here."""
    first = checkpointed(tmp_path, energy_callback())
    before_j = torch.load(first, weights_only=True)["callbacks"]["EnergyCallback"]["total"]["energy_j"]
    monkeypatch.setattr("lightning_energy.ledger.ranks.node_identity", lambda: "another")
    info = MeterInfo("another-0", "another device", "integrated", "gpu", power_max_w=900.0)
    energy = energy_callback(meters=ReplayMeter(700.0, counter_period_s=0.02, info=info))
    make_trainer(tmp_path, callbacks=[energy]).fit(Working(), loader(), loader(8), ckpt_path=first, **WEIGHTS_ONLY)
    report = energy.report
    assert report.total.energy_j == pytest.approx(before_j + report.session.energy_j, rel=1e-9)
    assert [d.device_id for d in report.devices] == ["another-0"]
    assert [row["epoch"] for row in energy.history] == [0, 1, 2]


@pytest.mark.slow
def test_dropped_and_added_again(tmp_path):
    """The object knows what it spent; what the Trainer spends without it is not measured."""
    energy = energy_callback()
    trainer = make_trainer(tmp_path)
    for i, callbacks in enumerate(([energy], [], [energy])):
        trainer.callbacks, trainer.fit_loop.max_epochs = callbacks, 3 * (i + 1)
        trainer.fit(Working(), loader(), loader(8))
    assert energy.report.sessions == 2
    assert [row["epoch"] for row in energy.history] == [0, 1, 2, 6, 7, 8]
    assert energy.report.total.energy_j > energy.report.session.energy_j


def test_copies_in_the_middle_of_a_fit_take_no_thread_along(tmp_path):
    class Copy(Callback):
        def on_train_epoch_end(self, trainer, pl_module) -> None:
            twin = pickle.loads(pickle.dumps(energy))
            assert twin._run is None

    energy = energy_callback()
    make_trainer(tmp_path, callbacks=[energy, Copy()]).fit(Classifier(), loader(), loader(8))
    assert energy.report.outcome == "completed"


# ------------------------------------------------------------------------------------------------ the other package


@pytest.mark.skipif(
    Version(L.__version__) < Version("2.6"), reason="before 2.6 pytorch_lightning took its own callbacks only"
)
def test_in_the_trainer_of_the_other_package(tmp_path):
    import pytorch_lightning as pl

    class Twin(pl.LightningModule):
        __init__ = Classifier.__init__
        for name in ("value", "training_step", "on_validation_start", "validation_step", "on_validation_epoch_end"):
            locals()[name] = vars(Classifier)[name]
        configure_optimizers = Classifier.configure_optimizers
        del name

    # zero-argument super() in a borrowed __init__ needs the class it was written for
    Twin.__init__ = lambda self: (
        pl.LightningModule.__init__(self),
        setattr(self, "layer", torch.nn.Linear(4, 2)),
        setattr(self, "where", "epoch_end"),
        setattr(self, "name", "val_acc"),
        setattr(self, "validations", 0),
    )[0]
    stopping = pl.callbacks.EarlyStopping("energy/score", mode="max", patience=5, check_on_train_epoch_end=False)
    energy = energy_callback()
    trainer = pl.Trainer(
        max_epochs=2,
        default_root_dir=str(tmp_path),
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        callbacks=[stopping, energy],
    )
    trainer.fit(Twin(), loader(), loader(8))
    assert trainer.callbacks.index(energy) < trainer.callbacks.index(stopping)
    assert energy.report.score is not None


def test_info_of_an_impossible_meter():
    with pytest.raises(ValueError, match="quality='sure'"):
        MeterInfo("x", "x", "sure", "gpu")


def test_early_stopping_default_finds_the_score_in_the_first_epoch(tmp_path):
    stopping = EarlyStopping("energy/score", mode="max")
    make_trainer(tmp_path, max_epochs=1, num_sanity_val_steps=0, callbacks=[stopping, energy_callback()]).fit(
        Classifier("epoch_end"), loader(8), loader(8)
    )
    assert torch.isfinite(stopping.best_score)


def test_a_defect_of_ours_prevents_no_checkpoint(tmp_path, monkeypatch):
    energy = energy_callback()

    class Breaks(Classifier):
        def on_train_batch_end(self, outputs, batch, batch_idx):
            if self.current_epoch == 1 and batch_idx == 5:
                monkeypatch.setattr(energy._run.books.session, "totals", lambda: 1 / 0)
                self.trainer.save_checkpoint(tmp_path / "one.ckpt")

    trainer = make_trainer(tmp_path, callbacks=[energy])
    with pytest.warns(UserWarning, match="stops measuring after ZeroDivisionError in a checkpoint"):
        trainer.fit(Breaks(), loader(), loader(8))
    assert trainer.current_epoch == 3
    state = torch.load(tmp_path / "one.ckpt", weights_only=True)["callbacks"]["EnergyCallback"]
    assert state["total"]["energy_j"] is None  # what it knew cannot be told any more
