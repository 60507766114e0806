"""Forecasts of real Trainers, with a simulated device of constant power and steps of known work."""

from __future__ import annotations

import importlib
import math
import re
import time
from datetime import timedelta
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from lightning.pytorch.callbacks import Callback, EarlyStopping, GradientAccumulationScheduler, TQDMProgressBar
from lightning.pytorch.trainer import setup
from torch.utils.data import DataLoader, IterableDataset

from lightning_energy import EnergyBudget, EnergyCallback, load_record
from lightning_energy.curves.channel import Channel
from lightning_energy.ledger.session import Session
from lightning_energy.results.forecast import BETWEEN_S
from lightning_energy.training import forecasts
from lightning_energy.training.forecaster import END_S, Forecaster
from lightning_energy.training.spent_joules import Spending, SpentJoules
from tests.modules import Classifier, MemoryLogger, Numbers, energy_callback, loader, make_trainer
from tests.training.parts import Parts, joules, replay, spend, two_ranks

W = 200.0


class Device:
    """A clock and an energy that only work moves: no machine is busy here."""

    def __init__(self) -> None:
        self.ns, self.spent_j, self.unknown = 0, 0.0, 0

    def work(self, seconds: float, power_w: float = W) -> None:
        self.ns += round(seconds * 1e9)
        self.spent_j += seconds * power_w

    def now(self) -> Spending:
        return Spending(self.spent_j, W, self.unknown, known_ns=self.ns)


class Plays(Classifier):
    """Works for 1 s a batch (the first three: 4 s), and 0.3 s a validation batch, in virtual time."""

    def __init__(self, device: Device) -> None:
        super().__init__()
        self.played, self.steps = device, 0

    def training_step(self, batch, batch_idx):
        self.steps += 1
        self.played.work(4.0 if self.steps <= 3 else 1.0)
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        super().validation_step(batch, batch_idx, dataloader_idx)
        if not self.trainer.sanity_checking:
            self.played.work(0.3, 100.0)


class Known(Classifier):
    """Waits in each step until the energy so far is known, as it is in a training whose steps take a while."""

    def training_step(self, batch, batch_idx):
        energy = next(c for c in self.trainer.callbacks if isinstance(c, EnergyCallback))
        energy._run.books.session._sampler.wait_until_known(time.monotonic_ns(), 60)
        return super().training_step(batch, batch_idx)


class Watches(Callback):
    """Forecasts as EnergyCallback does, in virtual time; keeps the forecasts at the ends of epochs."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.forecaster = Forecaster(device.now, clock=lambda: device.ns)
        self.found: list[Any] = []

    def on_train_start(self, trainer, pl_module) -> None:
        self.forecaster.begin(trainer)

    def on_train_epoch_start(self, trainer, pl_module) -> None:
        self.device.work(0.5, 60.0)  # between two epochs
        self.forecaster.begin_epoch(trainer)

    def on_train_batch_end(self, trainer, *args) -> None:
        self.forecaster.after_batches(trainer)

    def on_validation_start(self, trainer, pl_module) -> None:
        if not trainer.sanity_checking:
            self.forecaster.begin_validation(trainer)

    def on_validation_end(self, trainer, pl_module) -> None:
        if not trainer.sanity_checking:
            self.forecaster.end_validation(trainer)

    def on_train_epoch_end(self, trainer, pl_module) -> None:
        self.forecaster.end_epoch(trainer)
        self.found.append((self.device.ns, self.forecaster.forecast(trainer, self.device.spent_j)))


LOOKS_AT_TIME = ("callbacks.timer", "loops.fit_loop", "loops.training_epoch_loop", "loops.evaluation_loop")


def play(tmp_path: Any, *others: Any, **kwargs: Any) -> tuple[list[Any], Device, Any]:
    """Train with the device's clock for Lightning, too."""
    device = Device()
    watches = Watches(device)
    with pytest.MonkeyPatch.context() as patch:
        for name in LOOKS_AT_TIME:
            module = importlib.import_module(f"lightning.pytorch.{name}")
            patch.setattr(module, "time", SimpleNamespace(monotonic=lambda: device.ns * 1e-9), raising=False)
        settings = {"max_epochs": 8} | kwargs | {"callbacks": [watches, *others]}
        trainer = make_trainer(tmp_path, **settings)
        trainer.fit(Plays(device), loader(80), loader(16))  # 20 batches, and 4 of validation
    return watches.found, device, trainer


TIMED = pytest.mark.skipif(not hasattr(setup, "_parse_time_interval_seconds"), reason="not in this Lightning")


@pytest.mark.parametrize(
    "schedule",
    [
        {},
        {"check_val_every_n_epoch": 3},
        {"val_check_interval": 0.25},
        {"val_check_interval": 30, "check_val_every_n_epoch": None},
        {"accumulate_grad_batches": 4, "max_steps": 28, "max_epochs": -1},
        {"limit_val_batches": 0},
        {"max_steps": 130, "max_epochs": 20},
        {"max_time": {"seconds": 200}, "max_epochs": -1, "val_check_interval": 0.25},
        {"max_time": {"seconds": 97}, "max_epochs": -1},  # Lightning validates once more where it stops
        {"max_time": {"seconds": 50}, "min_epochs": 6, "max_epochs": -1},
        {"max_time": {"seconds": 50}, "min_steps": 110, "max_epochs": -1},
        {"max_steps": 60, "max_epochs": -1, "callbacks": [GradientAccumulationScheduler({0: 1, 1: 4, 3: 8})]},
        {"max_steps": 62, "max_epochs": -1, "callbacks": [GradientAccumulationScheduler({0: 3, 2: 1})]},
        pytest.param({"val_check_interval": "00:00:00:05"}, marks=TIMED),
        pytest.param({"val_check_interval": {"seconds": 7}, "check_val_every_n_epoch": None}, marks=TIMED),
    ],
    ids=lambda schedule: re.sub(r" object at 0x\w+", "", str(schedule)),  # workers must agree on the names
)
def test_after_one_epoch_it_is_within_a_tenth(tmp_path, schedule):
    """The truth of steady work behind a slow start: its validations, and the limit of the run, are accounted for."""
    found, device, _ = play(tmp_path, *schedule.get("callbacks", ()), **{**schedule, "callbacks": ()})
    first_ns, first = found[0]
    assert first.energy_j.value == pytest.approx(device.spent_j, rel=0.04)
    assert device.spent_j in first.energy_j
    assert first.left_s.value == pytest.approx((device.ns - first_ns) * 1e-9, rel=0.06)
    assert first.energy_j.width < 0.3
    for ns, later in found[1:-1]:
        assert later.energy_j.value == pytest.approx(device.spent_j, rel=0.03)
        assert device.spent_j in later.energy_j
        assert later.left_s.value == pytest.approx((device.ns - ns) * 1e-9, rel=0.1, abs=0.5)  # half a step
    assert found[-1][1].left_s.value == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("gap_s", [0.002, 0.03, 0.1])
def test_short_epochs_have_times_between_them_and_an_end(gap_s):
    """Steps of 20 ms, 20 in an epoch; 60 epochs, behind each of which a checkpoint is saved, say; 0.3 s at the end.

    After the first epoch nothing is known of the time behind it: it is in the bounds. When the second begins, it is.
    """
    device, epochs = Device(), 60
    trainer = lightning_like(num_training_batches=20, enable_validation=False, max_epochs=epochs)
    progress = trainer.fit_loop.epoch_loop.batch_progress
    progress.total.ready = progress.current.ready = trainer.global_step = 0
    forecaster = Forecaster(device.now, clock=lambda: device.ns)
    forecaster.begin(trainer)
    truth_j, truth_s, found = epochs * (20 * 0.02 + gap_s) * W, epochs * (20 * 0.02 + gap_s) + 0.3, []
    for trainer.current_epoch in range(epochs):
        progress.current.ready = 0
        forecaster.begin_epoch(trainer)
        found.append(forecaster.forecast(trainer, device.spent_j, begins=True))
        if trainer.current_epoch:
            assert found[-1].energy_j.value == pytest.approx(truth_j, rel=0.01)
            assert found[-1].left_s.value == pytest.approx(truth_s - device.ns * 1e-9, rel=0.01, abs=0.1)
            assert truth_s - device.ns * 1e-9 in found[-1].left_s
        for _ in range(20):
            device.work(0.02)
            progress.current.ready += 1
            trainer.global_step = progress.total.ready = trainer.global_step + 1
            forecaster.after_batches(trainer)
        forecaster.end_epoch(trainer)
        told = forecaster.forecast(trainer, device.spent_j)
        if trainer.current_epoch < epochs - 1:
            assert truth_j in told.energy_j
            assert truth_s - device.ns * 1e-9 in told.left_s
        device.work(gap_s)
    assert found[0] is None
    assert told.left.batches == 0


@pytest.mark.parametrize(("settings", "starts"), [({}, False), ({"num_workers": 1}, True)])
def test_workers_that_start_in_each_epoch_are_unknown_until_the_second_has_ended(settings, starts):
    """Those of the first epoch start before the training. Epochs of 0.4 s, and 0.2 s for the workers of each."""
    device, epochs = Device(), 60
    loaders = DataLoader(Numbers(80), batch_size=4, **settings)
    trainer = lightning_like(
        num_training_batches=20, enable_validation=False, max_epochs=epochs, train_dataloader=loaders
    )
    progress = trainer.fit_loop.epoch_loop.batch_progress
    progress.total.ready = progress.current.ready = trainer.global_step = 0
    forecaster = Forecaster(device.now, clock=lambda: device.ns)
    forecaster.begin(trainer)
    start_s, truth_j = 0.2 * starts, (epochs * 0.43 + (epochs - 1) * 0.2 * starts) * W
    for trainer.current_epoch in range(3):
        progress.current.ready = 0
        forecaster.begin_epoch(trainer)
        if trainer.current_epoch:
            told = forecaster.forecast(trainer, device.spent_j, begins=True)
            assert truth_j in told.energy_j
            assert told.energy_j.width < (1.2 if starts else 0.3)
            device.work(start_s)
        for _ in range(20):
            device.work(0.02)
            progress.current.ready += 1
            trainer.global_step = progress.total.ready = trainer.global_step + 1
        forecaster.end_epoch(trainer)
        assert truth_j in forecaster.forecast(trainer, device.spent_j).energy_j
        device.work(0.03)


def test_the_second_epoch_begins_with_a_forecast_that_knows_the_time_between():
    found, trainer, parts = forecasts_of(replay())
    found.end_epoch(trainer, joules(100.0), joules(50.0), joules(50.0), parts.warn)
    after, trainer.current_epoch = found.last, 1
    spend(parts.session)
    found.begin_epoch(trainer, parts.warn)
    between_j = parts.reporter.forecasts._forecaster.seen.between[0].energy_j
    assert found.last.spent_j == pytest.approx(100.0 + between_j)
    assert found.last.energy_j.width < after.energy_j.width
    last = found.last
    found.end_epoch(trainer, joules(200.0), joules(150.0), joules(150.0), parts.warn)
    trainer.current_epoch = 2
    found.begin_epoch(trainer, parts.warn)  # once: later epochs change little
    assert (found.last.spent_j, last.spent_j) == (200.0, last.spent_j)
    parts.books.close()


@TIMED
def test_validations_by_time_in_some_epochs_only_are_not_foretold(tmp_path):
    every_third = {"val_check_interval": timedelta(seconds=7), "check_val_every_n_epoch": 3}
    found, *_ = play(tmp_path, max_epochs=3, **every_third)
    assert [forecast for _, forecast in found] == [None, None, None]


def lightning_like(**kwargs: Any) -> Any:
    """What a forecast reads of a Trainer of 4 epochs with 10 batches, 10 of which are done."""
    progress = SimpleNamespace(total=SimpleNamespace(ready=10), current=SimpleNamespace(ready=10))
    settings = {
        "accumulate_grad_batches": 1,
        "callbacks": [],
        "check_val_every_n_epoch": 1,
        "current_epoch": 0,
        "enable_validation": True,
        "fit_loop": SimpleNamespace(epoch_loop=SimpleNamespace(batch_progress=progress, _batches_that_stepped=10)),
        "global_step": 10,
        "loggers": [],
        "max_epochs": 4,
        "max_steps": -1,
        "num_training_batches": 10,
        "num_val_batches": [5],
        "val_check_batch": 10,
    }
    return SimpleNamespace(**(settings | kwargs))


def forecasts_of(*meters: Any, **kwargs: Any) -> tuple[Any, Any, Parts]:
    """The forecasts of a training whose first epoch was worked through, and its Trainer."""
    parts, trainer = Parts(*meters, **kwargs), lightning_like()
    found, total = parts.reporter.forecasts, trainer.fit_loop.epoch_loop.batch_progress.total
    assert (found.attend_at, found.due_s) == (math.inf, math.inf)  # nothing to do before it begins
    total.ready = 0
    found.begin(trainer)
    for total.ready in (5, 10):
        spend(parts.session)
        found.after_step(trainer, total.ready, parts.warn)
    return found, trainer, parts


def test_in_a_long_first_epoch_forecasts_become_rare(monkeypatch):
    """An hour of logging steps, one a second: each has one at first, then whenever a fiftieth of the time went by."""
    now_s, logger = [0.0], MemoryLogger()
    monkeypatch.setattr(forecasts, "time", SimpleNamespace(monotonic=lambda: now_s[0]))
    found, trainer, parts = forecasts_of(replay())
    trainer.loggers, made_s = [logger], []
    for now_s[0] in range(1, 3601):
        rows = len(logger.rows)
        found.after_step(trainer, 10, parts.warn)
        made_s += [now_s[0]] * (len(logger.rows) - rows)
    parts.books.close()
    assert made_s[:50] == [*range(1, 51)]
    assert len(made_s) <= 50 + math.log(72) / math.log(1.02)
    assert max(later / earlier for earlier, later in pairwise(made_s[50:])) <= 1.02 + 1 / 50
    assert found.attend_at < math.inf
    assert parts.warn == []


def test_several_ranks_have_none_before_the_first_epochs_end_nor_for_a_rank_of_no_energy():
    found, trainer, parts = forecasts_of(replay(), ranks=two_ranks())
    assert found.last is None
    found.end_epoch(trainer, joules(200.0), joules(200.0), joules(100.0), parts.warn)
    assert found.last.spent_j == 200.0
    found.end_epoch(trainer, joules(200.0), joules(200.0), joules(None), parts.warn)
    assert (found.last, found.notes) == (None, [])  # an older one would be wrong by now
    parts.books.close()
    assert parts.warn == []


class Counter:
    """A device of which only every ``period_s`` something is known, and its first three updates together, as real ones
    are seen whose period has to be found."""

    def __init__(self, period_s: float) -> None:
        self.ns, self.spent_j = 0, 0.0
        self._period_ns = self._next_ns = round(period_s * 1e9)
        self._waiting: list[tuple[int, float]] = []
        device = replay()
        self.channel = self._read = Channel(device, device.open())

    def work(self, seconds: float, power_w: float) -> None:
        end_ns = self.ns + round(seconds * 1e9)
        while self.ns < end_ns:
            until_ns = min(end_ns, self._next_ns)
            self.spent_j += (until_ns - self.ns) * 1e-9 * power_w
            self.ns = until_ns
            if self.ns == self._next_ns:
                self._next_ns += self._period_ns
                self._waiting.append((self.ns, self.spent_j))
                if len(self._read.curve) or len(self._waiting) == 3:
                    for time_ns, energy_j in self._waiting:
                        self._read.curve.add(time_ns, energy_j)
                    self._waiting.clear()


@pytest.mark.parametrize("step_s", [0.02, 0.15, 2.0])
@pytest.mark.parametrize("idle_s", [0.0, 0.65])
@pytest.mark.parametrize("period_s", [0.1, 1.0])
def test_a_counter_that_rests_or_catches_up_makes_no_forecast_wrong(monkeypatch, period_s, idle_s, step_s):
    """Epochs of 20 steps of 200 W behind a rest at 20 W: whatever is foretold is right, from the first time on.

    Between them, and at the end, lies what is guessed.
    """
    device, epochs = Counter(period_s), 80 if step_s < 0.1 else 20
    monkeypatch.setattr("lightning_energy.training.spent_joules.monotonic_ns", lambda: device.ns)
    trainer = lightning_like(num_training_batches=20, enable_validation=False, max_epochs=epochs)
    progress = trainer.fit_loop.epoch_loop.batch_progress
    joules = SpentJoules(SimpleNamespace(channels=[device.channel]))
    forecaster, found = Forecaster(joules.now, clock=lambda: device.ns), []
    progress.total.ready = trainer.global_step = 0
    device.work(idle_s, 20.0)
    forecaster.begin(trainer)
    epoch_s = 20 * step_s + BETWEEN_S
    truth_j, end_ns = device.spent_j + epochs * epoch_s * W, device.ns + (epochs * epoch_s + END_S) * 1e9

    def look() -> None:
        told = forecaster.forecast(trainer, joules.now().spent_j)
        if told is not None:
            found.append(trainer.current_epoch)
            assert told.energy_j.value == pytest.approx(truth_j, rel=0.1)
            assert truth_j in told.energy_j
            assert told.left_s.value == pytest.approx((end_ns - device.ns) * 1e-9, rel=0.01, abs=1e-6)

    for trainer.current_epoch in range(epochs - 1):
        progress.current.ready = 0
        forecaster.begin_epoch(trainer)
        for _ in range(20):
            device.work(step_s, W)
            progress.current.ready += 1
            trainer.global_step = progress.total.ready = trainer.global_step + 1
            forecaster.after_batches(trainer)
            look()
        forecaster.end_epoch(trainer)
        look()
        device.work(BETWEEN_S, W)
    assert found[0] * 20 * step_s <= 10 * period_s  # ten updates are enough


class Told(Counter):
    """A counter of 0.1 s that a helper reads, which tells what it has read every five seconds, or where it is asked."""

    def __init__(self) -> None:
        super().__init__(0.1)
        device, self.asked = replay(), 0
        self.channel = Channel(device, device.open())

    def work(self, seconds: float, power_w: float) -> None:
        super().work(seconds, power_w)
        if self.ns - (self.channel.curve.end_ns or 0) > 5 * 10**9:
            self.tell()

    def tell(self) -> None:
        read, known_ns = self._read.curve, self.channel.curve.end_ns or 0
        self.channel.curve.extend(read.knots(read.place_after(known_ns)).plain())

    def catch_up(self) -> None:
        self.asked += 1
        self.tell()


@pytest.mark.parametrize("logging_steps", [1, 10, 20])
def test_a_helper_that_tells_seldom_makes_no_forecast_late(monkeypatch, logging_steps):
    """An epoch of 400 steps of 0.25 s: some 16 stretches of it are told, and one forecast needs three of them."""
    device = Told()
    monkeypatch.setattr("lightning_energy.training.spent_joules.monotonic_ns", lambda: device.ns)
    trainer = lightning_like(num_training_batches=400, enable_validation=False, max_epochs=3)
    progress = trainer.fit_loop.epoch_loop.batch_progress
    joules = SpentJoules(SimpleNamespace(channels=[device.channel], catch_up=device.catch_up))
    forecaster, found_ns = Forecaster(joules.now_caught_up, clock=lambda: device.ns), 0
    progress.total.ready = progress.current.ready = trainer.global_step = trainer.current_epoch = 0
    device.work(6.3, W)
    start_ns = device.ns
    forecaster.begin(trainer)
    forecaster.begin_epoch(trainer)
    for step in range(1, 401):
        device.work(0.25, W)
        progress.current.ready = trainer.global_step = progress.total.ready = step
        if step % logging_steps == 0:
            forecaster.after_batches(trainer)
            if not found_ns and forecaster.forecast(trainer, joules.now().spent_j) is not None:
                found_ns = device.ns
    assert 0 < found_ns - start_ns <= 30 * 10**9
    assert device.asked <= 40


def test_energy_that_is_missing_now_is_not_foretold():
    device, trainer = Device(), lightning_like()
    forecaster, total = (
        Forecaster(device.now, clock=lambda: device.ns),
        trainer.fit_loop.epoch_loop.batch_progress.total,
    )
    total.ready = 0
    forecaster.begin(trainer)
    for total.ready in (2, 4, 6):
        device.work(2.0)
        forecaster.after_batches(trainer)
    assert forecaster.forecast(trainer, 1200.0) is not None
    device.unknown = 1
    total.ready = 8
    forecaster.after_batches(trainer)
    assert forecaster.forecast(trainer, 1200.0) is None


def test_within_the_first_epoch_the_accounts_are_summed_up_no_more_often_for_more_steps(tmp_path, monkeypatch):
    counts, logger = [], MemoryLogger()
    totals = Session.totals
    monkeypatch.setattr(Session, "totals", lambda session: (counts.append(1), totals(session))[1])
    monkeypatch.setattr("lightning_energy.training.forecasts.EVERY_S", 0.0)
    found = []
    for batches in (8, 32):
        counts.clear()
        energy = energy_callback(meters=replay(), score=None, record=False)
        trainer = make_trainer(tmp_path, max_epochs=1, callbacks=[energy], logger=logger, log_every_n_steps=1)
        trainer.fit(Known(), loader(4 * batches), loader(4))
        found.append(len(counts))
    assert found[1] - found[0] <= 1  # none of 8 steps may have come to a forecast
    of_batches = [row["energy/forecast_wh"] for _, row in logger.rows if "energy/forecast_wh" in row]
    assert of_batches[-1] == pytest.approx(1e3 * energy.report.total.energy_kwh, rel=0.5)


def test_a_run_that_goes_on_from_a_checkpoint(tmp_path):
    *_, trainer = play(tmp_path, max_epochs=2)
    trainer.save_checkpoint(tmp_path / "it.ckpt")
    again = Device()
    watches = Watches(again)
    trainer = make_trainer(tmp_path, callbacks=[watches], max_epochs=8)
    module = Plays(again)
    trainer.fit(module, loader(80), loader(16), ckpt_path=tmp_path / "it.ckpt")
    assert len(watches.found) == 6
    assert watches.found[0][1].energy_j.value == pytest.approx(again.spent_j, rel=0.04)


class Growing(IterableDataset):
    """Has ten samples more each time."""

    def __init__(self, more: int) -> None:
        self.n, self.more = 80 - more, more

    def __iter__(self) -> Any:
        self.n += self.more
        return iter(Numbers(self.n))


@pytest.mark.parametrize("more", [0, 4, 40])
def test_epochs_whose_length_changes_are_not_foretold(tmp_path, more):
    """20, 20, 20 batches; 20, 21, 22; 20, 30, 40: after the first epoch nobody can know; then nothing is told."""
    device = Device()
    watches = Watches(device)
    trainer = make_trainer(tmp_path, max_epochs=4, callbacks=[watches])
    trainer.fit(Plays(device), DataLoader(Growing(more), batch_size=4), loader(16))
    expected = [True] * 4 if more < 40 else [True, False, False, False]
    assert [found is not None for _, found in watches.found] == expected


def test_early_stopping_makes_it_at_most(tmp_path):
    found, device, _ = play(tmp_path, EarlyStopping("val_acc", mode="min", patience=2), max_epochs=50)
    assert len(found) == 3
    _, first = found[0]
    assert first.is_at_most
    assert first.energy_j.low <= device.spent_j <= first.energy_j.high
    assert first.limit == "max_epochs=50"


def test_without_an_end_there_is_no_forecast(tmp_path):
    found, *_ = play(tmp_path, EarlyStopping("val_acc", mode="min", patience=1), max_epochs=-1)
    assert [forecast for _, forecast in found] == [None, None]


def test_what_is_logged_and_shown(tmp_path):
    """Real time: the names, and the figures of an interrupted run."""
    logger, texts, killed = MemoryLogger(), [], []

    class Stops(Callback):
        def on_train_epoch_end(self, trainer, pl_module) -> None:
            texts.append(trainer.progress_bar_metrics.get("forecast"))
            if trainer.current_epoch == 2:
                energy._run.outputs.flush()
                killed.append(load_record(tmp_path))  # nobody writes another one where it is killed now
                raise RuntimeError("enough")

    energy = energy_callback(
        meters=replay(),
        score=None,
        record=tmp_path,
        progress_bar=True,
        carbon_intensity=400.0,
        price=0.3,
    )
    trainer = make_trainer(
        tmp_path,
        max_epochs=9,
        logger=logger,
        callbacks=[energy, Stops(), TQDMProgressBar()],
        enable_progress_bar=True,
        log_every_n_steps=1,
    )
    with pytest.raises(RuntimeError, match="enough"):
        trainer.fit(Known(), loader(64), loader(8))
    names = [
        "forecast_wh",
        "forecast_low_wh",
        "forecast_high_wh",
        "forecast_left_s",
        "forecast_co2eq_g",
        "forecast_cost",
    ]
    of_ends = [row for _, row in logger.rows if "energy/forecast_wh" in row]
    assert len(of_ends) >= 3
    for row in of_ends:
        values = [row[f"energy/{name}"] for name in names]
        assert values[1] <= values[0] <= values[2]
        assert values[4] == pytest.approx(values[0] / 1000 * 400.0)
        assert values[5] == pytest.approx(values[0] / 1000 * 0.3)
    steps = [step for step, row in logger.rows if "energy/forecast_wh" in row]
    assert steps[-1] == 47  # of the epoch's last step, as Lightning's own
    assert texts[-1].endswith(" kWh")
    for report in (energy.report, killed[0].report):
        (note,) = (note for note in report.notes if note.kind == "forecast")
        assert note.text.startswith("Last forecast, after 48 batches: about ")
        assert "by max_epochs=9" in note.text
    assert killed[0].outcome == "running"


def test_a_defect_of_a_forecast_leaves_the_figures_and_the_budget(tmp_path):
    class Odd(Callback):
        @property
        def may_stop_early(self):
            return 1 / 0

    energy, budget = energy_callback(score=None, record=False), EnergyBudget(max_kwh=1.0)
    trainer = make_trainer(tmp_path, callbacks=[energy, budget, Odd()], max_epochs=2)
    with pytest.warns(match="EnergyBudget: ZeroDivisionError in on_train_epoch_start"):
        trainer.fit(Classifier(), loader(8), loader(4))
    assert energy.report.total.energy_j > 0
    assert [note.text for note in energy.report.notes if "No forecast after ZeroDivisionError" in note.text]
