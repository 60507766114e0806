"""Phases of training steps are marked where the loop does them, whatever the loop."""

from __future__ import annotations

import inspect
import time
from contextlib import contextmanager, nullcontext
from itertools import groupby
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import lightning as L
import pandas as pd
import pytest
import torch
from lightning.pytorch.plugins import MixedPrecision
from lightning.pytorch.profilers import AdvancedProfiler, PassThroughProfiler, Profiler, PyTorchProfiler, SimpleProfiler

from lightning_energy import EnergyCallback, load_record
from lightning_energy.training.lightning_private import is_passed_through
from lightning_energy.training.recorder import workers_of
from lightning_energy.training.step_phases import StepPhases
from tests.modules import Classifier, loader, make_trainer
from tests.training.parts import replay

if TYPE_CHECKING:
    from collections.abc import Iterator

F, B, O = "forward", "backward", "optimizer"  # noqa: E741 - letters that stand for them
BETWEEN = ["data", "copy"]


class TwoOptimizers(Classifier):
    """Steps two optimizers itself; the second one only in every second step, by a closure."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch, batch_idx):
        first, second = self.optimizers()
        loss = super().training_step(batch, batch_idx)
        self.manual_backward(loss)
        first.step()
        first.zero_grad()
        if batch_idx % 2:

            def closure() -> Any:
                again = Classifier.training_step(self, batch, batch_idx)
                self.manual_backward(again)
                return again

            second.step(closure)

    def configure_optimizers(self):
        return [torch.optim.SGD(self.parameters(), lr=0.1), torch.optim.SGD(self.parameters(), lr=0.1)]


class Lbfgs(Classifier):
    """Its optimizer calls the closure twice."""

    def configure_optimizers(self):
        return torch.optim.LBFGS(self.parameters(), lr=1e-3, max_iter=2, tolerance_grad=0, tolerance_change=0)


class TakesBatches(Classifier):
    """Takes its batches by itself."""

    def training_step(self, dataloader_iter):
        batch, batch_idx, _ = next(dataloader_iter)
        return super().training_step(batch, batch_idx)


class Nothing(Classifier):
    """Has no loss in every second step."""

    def training_step(self, batch, batch_idx):
        return super().training_step(batch, batch_idx) if batch_idx % 2 else None


def compiled() -> Any:
    return torch.compile(Classifier(), backend="eager")


@pytest.fixture(autouse=True)
def _as_before(monkeypatch):
    """Leave neither a group of processes nor its variables to tests that follow."""
    for name in ("MASTER_ADDR", "MASTER_PORT", "LOCAL_RANK", "NODE_RANK", "WORLD_SIZE"):
        monkeypatch.setenv(name, "0")
        monkeypatch.delenv(name)
    yield
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def fitted(tmp_path, module: Any, n: int = 4, **kwargs: Any) -> tuple[EnergyCallback, pd.DataFrame, L.Trainer]:
    energy = EnergyCallback(
        meters=replay(), phases=True, trace="csv", record=tmp_path / "run" / "energy.json", metric="val_acc"
    )
    callbacks = [*kwargs.pop("callbacks", []), energy]
    kwargs.setdefault("max_epochs", 1)
    trainer = make_trainer(tmp_path, callbacks=callbacks, logger=False, **kwargs)
    trainer.fit(module, loader(4 * n), loader(4))
    rows = pd.read_csv(tmp_path / "run" / "energy.steps.csv.gz", keep_default_na=False)
    return energy, rows, trainer


def in_steps(rows: pd.DataFrame) -> list[list[str]]:
    """The phases of each training step, one after the other, without the rest."""
    found: list[list[str]] = []
    before = ""
    for row in rows[rows.stage == "train"].itertuples():
        if row.kind == "step":
            if before != "step":
                found.append([])
            found[-1].append(row.phase)
        before = row.kind
    return [[phase for phase, _ in groupby(p for p in phases if p != "other")] for phases in found]


@pytest.mark.filterwarnings("ignore:.*returned `None`")
@pytest.mark.filterwarnings("ignore:.*dataloader_iter.*")
@pytest.mark.filterwarnings("ignore:It is recommended to use .*sync_dist=True")
@pytest.mark.parametrize(
    ("module", "kwargs", "expected"),
    [
        (Classifier, {}, [[F, B, O]] * 4),
        (Classifier, {"accumulate_grad_batches": 2}, [[F, B], [F, B, O]] * 2),
        (TwoOptimizers, {}, [[F, B, F, O, F], [F, B, F, O, F, O, B, F, O, F]] * 2),
        (Lbfgs, {}, [[F, B, O, F, B, O]] * 4),
        (TakesBatches, {}, [[F, B, O]] * 4),
        (Nothing, {}, [[F, O], [F, B, O]] * 2),
        (Classifier, {"precision": "bf16-mixed", "gradient_clip_val": 1.0}, [[F, B, O]] * 4),
        pytest.param(compiled, {}, [[F, B, O]] * 4, marks=pytest.mark.slow),
        (Classifier, {"strategy": "ddp", "devices": 1}, [[F, B, O]] * 4),
    ],
)
def test_phases_are_those_of_the_loop(tmp_path, module, kwargs, expected):
    energy, rows, _ = fitted(tmp_path, module(), **kwargs)
    assert in_steps(rows) == expected
    assert energy.report.steps == 4
    between = rows[(rows.stage == "train") & (rows.kind == "gap")].phase
    waits = [phase for phase in between if phase in BETWEEN]
    assert waits == ([] if module is TakesBatches else BETWEEN * 4)
    assert set(rows[rows.stage != "train"].phase) == {""}  # validation and sanity check are not divided


def test_a_scaler_of_gradients_is_part_of_the_optimizer(tmp_path):
    precision = MixedPrecision("16-mixed", "cpu", scaler=torch.amp.GradScaler("cpu"))
    _, rows, _ = fitted(tmp_path, Classifier(), plugins=[precision])
    of_steps = [phase for phase, _ in groupby(rows[(rows.stage == "train") & (rows.kind == "step")].phase)]
    assert of_steps == ["other", *[F, B, O, "other"] * 4]  # nothing comes between backward and optimizer


def test_checkpoints_are_a_phase(tmp_path):
    class Saves(L.Callback):
        def on_train_batch_end(self, trainer, *args) -> None:
            trainer.save_checkpoint(tmp_path / "file.ckpt")

    energy, rows, _ = fitted(tmp_path, Classifier(), callbacks=[Saves()])
    assert (rows.phase == "saving").sum() == 4
    assert in_steps(rows) == [[F, B, O]] * 4
    assert energy.report.steps == 4


class Watches(SimpleProfiler):
    """Keeps what it was told, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[str, str]] = []

    def start(self, action_name: str) -> None:
        self.told.append(("start", action_name))
        super().start(action_name)

    def stop(self, action_name: str) -> None:
        self.told.append(("stop", action_name))
        super().stop(action_name)


def test_a_profiler_of_the_users_sees_what_it_always_sees(tmp_path):
    with_phases, without = Watches(), Watches()
    _, rows, trainer = fitted(tmp_path, Classifier(), profiler=with_phases)
    assert in_steps(rows) == [[F, B, O]] * 4
    assert not {"start", "stop", "profile"} & {*vars(trainer.profiler)}
    make_trainer(
        tmp_path,
        callbacks=[EnergyCallback(meters=replay(), record=False)],
        logger=False,
        max_epochs=1,
        profiler=without,
    ).fit(Classifier(), loader(16), loader(4))
    assert with_phases.told == without.told


class ByItself(PassThroughProfiler):
    """Has a context manager of its own that asks neither ``start`` nor ``stop``."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []

    @contextmanager
    def profile(self, action_name: str) -> Iterator[str]:
        self.told.append(action_name)
        try:
            yield action_name
        finally:
            self.told.append(action_name)


@pytest.mark.parametrize("name", ["simple", "advanced", "pytorch", "by itself"])
@pytest.mark.filterwarnings("ignore")  # PyTorch's own profiler has much to say
def test_phases_are_told_with_any_profiler(tmp_path, name):
    profiler = {
        "simple": SimpleProfiler,
        "advanced": lambda: AdvancedProfiler(dirpath=tmp_path, filename="x"),
        "pytorch": lambda: PyTorchProfiler(dirpath=tmp_path, filename="x"),
        "by itself": ByItself,
    }[name]()
    _, rows, _ = fitted(tmp_path, Classifier(), n=2, profiler=profiler)
    assert in_steps(rows) == [[F, B, O]] * 2
    assert not {"start", "stop", "profile"} & {*vars(profiler)}


def test_a_context_manager_of_the_users_sees_exceptions_and_may_take_them(tmp_path):
    seen = []

    class Takes(ByItself):
        @contextmanager
        def profile(self, action_name: str) -> Iterator[str]:
            try:
                yield action_name
            except KeyError as error:
                seen.append(error)

    profiler = Takes()
    phases = StepPhases(make_trainer(tmp_path, logger=False, profiler=profiler), Classifier(), "x")
    phases.watch()
    with profiler.profile("mine") as told:
        assert told == "mine"
        raise KeyError("mine")
    assert len(seen) == 1
    phases.close()


@pytest.mark.parametrize("when", ["before the first epoch", "within an epoch"])
def test_a_profiler_that_is_set_later_is_followed_from_the_next_epoch_on(tmp_path, when):
    class Sets(L.Callback):
        def on_fit_start(self, trainer, *args) -> None:
            if when == "before the first epoch":
                trainer.profiler = SimpleProfiler()

        def on_train_batch_start(self, trainer, module, batch, batch_idx) -> None:
            if when == "within an epoch" and not trainer.current_epoch and batch_idx == 1:
                trainer.profiler = SimpleProfiler()

    energy, rows, trainer = fitted(tmp_path, Classifier(), n=2, max_epochs=2, callbacks=[Sets()])
    first = [F, B, O] if when == "before the first epoch" else []
    assert in_steps(rows) == [[F, B, O], first, [F, B, O], [F, B, O]]
    assert not {"start", "stop", "profile"} & {*vars(trainer.profiler)}
    said = [note.text for note in energy.report.notes if note.kind == "phases"]
    assert len(said) == (when == "within an epoch")
    assert all("profiler was replaced" in text for text in said)


def test_validation_inside_an_epoch_is_none_of_its_phases(tmp_path):
    energy, rows, _ = fitted(tmp_path, Classifier(), n=4, val_check_interval=2)
    assert in_steps(rows) == [[F, B, O]] * 4
    assert set(rows[rows.stage == "validate"].phase) == {""}
    phases = energy.report.phases["train"]
    assert sum(p.energy.energy_j for p in phases) == pytest.approx(energy.report.stages["train"].energy_j, rel=1e-9)


def test_steps_end_the_accumulation_where_the_training_ends(tmp_path):
    _, rows, _ = fitted(tmp_path, Classifier(), n=3, accumulate_grad_batches=2)
    assert in_steps(rows) == [[F, B], [F, B, O], [F, B, O]]  # Lightning steps at an epoch's last batch, too


def test_an_exception_within_a_step_leaves_phases_that_are_its_stage_and_the_callback_fits_again(tmp_path):
    class Fails(Classifier):
        def backward(self, loss):
            if self.trainer.global_step == 2:
                raise KeyError("mine")
            super().backward(loss)

    energy = EnergyCallback(meters=replay(), phases=True, record=False)
    for module in (Fails(), Classifier()):
        trainer = make_trainer(tmp_path, callbacks=[energy], logger=False, max_epochs=1)
        with pytest.raises(KeyError) if isinstance(module, Fails) else nullcontext():
            trainer.fit(module, loader(16), loader(4))
        report = energy.report
        known = [p.energy.energy_j for p in report.phases["train"]]
        assert sum(known) == pytest.approx(report.stages["train"].energy_j, rel=1e-9)
        assert not {"start", "stop", "profile"} & {*vars(trainer.profiler)}
    assert [p.name for p in report.phases["train"]] == ["other", "data", "copy", F, B, O]


def test_the_profiler_is_given_back_after_an_exception(tmp_path):
    class Fails(Classifier):
        def training_step(self, batch, batch_idx):
            assert {"start", "stop", "profile"} <= {*vars(self.trainer.profiler)}
            raise KeyError("mine")

    energy = EnergyCallback(meters=replay(), phases=True, record=False)
    trainer = make_trainer(tmp_path, callbacks=[energy], logger=False, max_epochs=1)
    with pytest.raises(KeyError, match="mine"):
        trainer.fit(Fails(), loader(16), loader(4))
    assert not {"start", "stop", "profile"} & {*vars(trainer.profiler)}
    assert is_passed_through(trainer.profiler)


def test_a_profiler_that_passes_through_does_nothing_that_would_be_missed():
    """Its context manager is left out while phases are marked: it must be that of the base class, around nothing."""
    profiler = PassThroughProfiler()
    assert is_passed_through(profiler)
    assert not is_passed_through(SimpleProfiler())
    assert {*vars(PassThroughProfiler)} & {"start", "stop", "profile"} == {"start", "stop"}
    for function in (PassThroughProfiler.start, PassThroughProfiler.stop):
        assert inspect.getsource(function).split()[-1] == "pass"
    assert profiler.start("x") is profiler.stop("x") is None


def test_lightnings_own_context_manager_does_no_more_than_start_and_stop():
    """It is left out while phases are marked, too, as a generator takes a microsecond each time."""
    source = inspect.getsource(Profiler.profile).rpartition('"""')[2].split()
    assert source == ["try:", "self.start(action_name)", "yield", "action_name", "finally:", "self.stop(action_name)"]


@pytest.mark.parametrize("fails", ["", "start", "work"])
def test_a_profiler_is_stopped_as_by_lightning_where_something_fails(tmp_path, fails):
    class Fails(Watches):
        def start(self, action_name: str) -> None:
            super().start(action_name)
            if fails == "start":
                raise KeyError("mine")

    def told(profiler: Fails) -> list[tuple[str, str]]:
        with pytest.raises(KeyError) if fails else nullcontext(), profiler.profile("mine") as name:
            assert name == "mine"
            if fails == "work":
                raise KeyError("mine")
        return profiler.told

    wrapped = Fails()
    phases = StepPhases(make_trainer(tmp_path, logger=False, profiler=wrapped), Classifier(), "x")
    phases.watch()
    assert told(wrapped) == told(Fails()) == [("start", "mine"), ("stop", "mine")]
    phases.close()


class SlowFirst(torch.utils.data.Dataset):
    """Takes 20 ms for its first sample, which is that of each epoch."""

    def __len__(self) -> int:
        return 16

    def __getitem__(self, index: int) -> Any:
        if index == 0:
            time.sleep(0.02)
        return torch.zeros(4), torch.tensor(0)


@pytest.mark.parametrize("profiler", [None, "simple"])
def test_the_waits_for_the_first_batches_of_epochs_are_timed(tmp_path, profiler):
    """Once for each epoch, also where a validation lies within it; all of them are in the phase."""
    data = torch.utils.data.DataLoader(SlowFirst(), batch_size=4)
    settings = {"max_epochs": 3, "val_check_interval": 2, "profiler": profiler, "logger": False}
    energy = EnergyCallback(meters=replay(), phases=True, record=tmp_path / "energy.json")
    make_trainer(tmp_path, **settings, callbacks=[energy]).fit(Classifier(), data, loader(8))
    waits, record = energy.report.first_waits, load_record(tmp_path)
    (phase,) = (p for p in energy.report.phases["train"] if p.name == "data")
    assert waits.n == 3
    assert 0.02 <= waits.first_s < waits.duration_s <= phase.energy.duration_s
    assert waits.duration_s >= 0.06
    assert record.first_waits == waits
    assert (record.what["num_workers"], record.what["persistent_workers"]) == (0, False)


def test_without_phases_nobody_times_waits(tmp_path):
    energy = EnergyCallback(meters=replay(), record=False)
    make_trainer(tmp_path, max_epochs=2, callbacks=[energy]).fit(Classifier(), loader(), loader(8))
    assert energy.report.first_waits is None


def test_the_workers_of_several_loaders_are_not_those_of_one():
    assert workers_of(SimpleNamespace(train_dataloader={"a": loader(), "b": loader()})) == {}
    assert workers_of(SimpleNamespace(train_dataloader=None)) == {}
    assert workers_of(SimpleNamespace(train_dataloader=loader())) == {"num_workers": 0, "persistent_workers": False}
