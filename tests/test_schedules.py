"""Every schedule that a Trainer knows: nothing changes, nothing is lost, the score is of this validation."""

from __future__ import annotations

import datetime as dt
import itertools
import time

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import BatchSizeFinder, Callback, LearningRateFinder
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.tuner import Tuner
from torch.utils.data import DataLoader, IterableDataset

from lightning_energy import compare, load_record
from tests.modules import Classifier, MemoryLogger, Numbers, energy_callback, loader, make_trainer


class Stream(IterableDataset):
    """Items without a length."""

    def __init__(self, n: int | None = 40) -> None:
        self.n = n

    def __iter__(self):
        return itertools.islice(itertools.repeat((torch.zeros(4), torch.tensor(0))), self.n)


class Seen(Callback):
    """The weights at the end and every score, so that runs can be compared."""

    def __init__(self) -> None:
        self.scores: list[float] = []
        self.weights = None
        self.validations = 0

    def on_validation_end(self, trainer, pl_module) -> None:
        if not trainer.sanity_checking:
            self.validations += 1
            if "energy/score" in trainer.callback_metrics:
                self.scores.append(float(trainer.callback_metrics["energy/score"]))

    def on_train_end(self, trainer, pl_module) -> None:
        self.weights = [p.detach().clone() for p in pl_module.parameters()]


class TwoOptimizers(Classifier):
    automatic_optimization = False

    def training_step(self, batch, batch_idx):
        time.sleep(0.03)  # that is the work, long enough to be booked meanwhile
        for optimizer in self.optimizers():
            loss = super().training_step(batch, batch_idx)
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()
        self.log("train_loss", loss)

    def configure_optimizers(self):
        return [torch.optim.SGD(self.parameters(), lr=0.1), torch.optim.SGD(self.parameters(), lr=0.01)]


SCHEDULES = {
    "plain": {},
    "validates twice an epoch": {"val_check_interval": 0.5},
    "validates every third batch": {"val_check_interval": 3},
    "validates across epochs": {"val_check_interval": 11, "check_val_every_n_epoch": None},
    "validates every other epoch": {"check_val_every_n_epoch": 2, "max_epochs": 4},
    "few batches": {"limit_train_batches": 2, "limit_val_batches": 1, "limit_test_batches": 1},
    "a share of the batches": {"limit_train_batches": 0.5, "limit_val_batches": 0.5},
    "no sanity check": {"num_sanity_val_steps": 0},
    "the whole sanity check": {"num_sanity_val_steps": -1},
    "overfits": {"overfit_batches": 2},
    "accumulates": {"accumulate_grad_batches": 3},
    "so many steps": {"max_epochs": -1, "max_steps": 13},
    "so much time": {"max_epochs": -1, "max_time": dt.timedelta(seconds=1)},
    "at least so long": {"min_epochs": 2, "max_epochs": 3, "max_time": {"seconds": 0}},
    "logs every step": {"log_every_n_steps": 1},
    "hardly ever logs": {"log_every_n_steps": 1000},
    "never logs": {"log_every_n_steps": 0},
    "clips and detects": {"gradient_clip_val": 0.5, "detect_anomaly": True},
    "loads anew each epoch": {"reload_dataloaders_every_n_epochs": 1},
}
QUIET = pytest.mark.filterwarnings(
    "ignore:.*log_every_n_steps.*|.*overfit.*|.*max_epochs.*|.*interval you set.*|.*val_check_interval.*:UserWarning"
)


def fit(tmp_path, module, settings, *, with_us: bool, data=None, val=None):
    torch.manual_seed(3)
    energy, seen, memory = energy_callback(), Seen(), MemoryLogger()
    callbacks = [energy, seen] if with_us else [seen]
    trainer = make_trainer(tmp_path, **({"max_epochs": 3, "logger": memory, "callbacks": callbacks} | settings))
    trainer.fit(module(), loader() if data is None else data, loader(8) if val is None else val)
    return energy, seen, memory, trainer


def check_books(energy, seen, memory) -> None:
    report = energy.report
    assert report.outcome == "completed"
    assert report.session.missing_s == 0
    assert sum(e.energy_j for e in report.stages.values()) == pytest.approx(report.session.energy_j, rel=1e-9)
    assert report.session.energy_j == pytest.approx(
        200.0 * report.session.duration_s, rel=0.1, abs=3 * report.session.u_j
    )
    assert len(seen.scores) == seen.validations
    steps = [s for s, _ in memory.points("energy/step_j")]
    assert steps == sorted({*steps})


@pytest.mark.slow
@QUIET
@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule(tmp_path, name):
    energy, seen, memory, _ = fit(tmp_path / "with", Classifier, SCHEDULES[name], with_us=True)
    check_books(energy, seen, memory)
    if "max_time" not in SCHEDULES[name]:
        _, without, _, _ = fit(tmp_path / "without", Classifier, SCHEDULES[name], with_us=False)
        assert seen.validations == without.validations
        assert all(torch.equal(a, b) for a, b in zip(seen.weights, without.weights, strict=True))


@pytest.mark.slow
@QUIET
@pytest.mark.parametrize("settings", [{}, {"val_check_interval": 4}, {"val_check_interval": 7, "limit_val_batches": 1}])
def test_data_without_a_length(tmp_path, settings):
    data = DataLoader(Stream(), batch_size=4)
    energy, seen, memory, _ = fit(tmp_path, Classifier, settings, with_us=True, data=data, val=data)
    check_books(energy, seen, memory)


@pytest.mark.slow
def test_several_optimizers_and_the_x_axis(tmp_path):
    """Our points stand where the module's own do, though ``global_step`` counts both optimizers."""
    settings = {"log_every_n_steps": 2}
    energy, seen, memory, trainer = fit(tmp_path, TwoOptimizers, settings, with_us=True)
    check_books(energy, seen, memory)
    assert trainer.global_step == 2 * 3 * 8
    own = {s for s, _ in memory.points("train_loss")}
    ours = {s for s, _ in memory.points("energy/step_j")}
    assert ours
    assert ours <= own
    epochs = [s for s, _ in memory.points("energy/score")]
    assert epochs == [s for s, _ in memory.points("val_acc")]


@pytest.mark.filterwarnings("ignore:.*`dataloader_iter`")
def test_stop_iteration_from_the_module(tmp_path):
    class Short(Classifier):
        def training_step(self, dataloader_iter):
            if self.trainer.fit_loop.batch_idx == 5:
                raise StopIteration
            batch, _, _ = next(dataloader_iter)
            return super().training_step(batch, 0)

    energy, seen, memory, _ = fit(tmp_path, Short, {}, with_us=True)
    check_books(energy, seen, memory)


def test_without_a_validation_loop_there_is_no_score_but_all_energy(tmp_path):
    class NoValidation(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(4, 2)

        def training_step(self, batch, batch_idx):
            x, y = batch
            self.log("train_acc", 0.9)
            return torch.nn.functional.cross_entropy(self.layer(x), y)

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    energy, memory = energy_callback(), MemoryLogger()
    make_trainer(tmp_path, logger=memory, callbacks=[energy]).fit(NoValidation(), loader())
    assert not memory.points("energy/score")
    assert len(memory.points("energy/train_j")) >= 2
    assert len(memory.points("energy/total_wh")) >= 2
    assert energy.report.score is None


@pytest.mark.filterwarnings("ignore:EnergyCallback. no energy/score, as the energy of the training is unknown")
def test_validate_test_and_predict_alone(tmp_path):
    energy = energy_callback()
    trainer, module = make_trainer(tmp_path, callbacks=[energy]), Classifier()
    for call, stage in (
        (trainer.validate, "validate"),
        (trainer.test, "test"),
        (trainer.predict, "predict"),
    ):
        call(module, loader(64), verbose=False) if stage != "predict" else call(module, loader(64))
        assert [*energy.report.stages] == [stage]
        assert energy.report.total is None


# ------------------------------------------------------------------------------- searches


class Tunable(Classifier):
    def __init__(self) -> None:
        super().__init__()
        self.lr, self.batch_size = 0.1, 4

    def train_dataloader(self):
        return DataLoader(Numbers(), batch_size=self.batch_size)

    def val_dataloader(self):
        return loader(8)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.lr)


SEARCH_QUIET = pytest.mark.filterwarnings("ignore::UserWarning:lightning", "ignore::FutureWarning")


@pytest.mark.slow
@SEARCH_QUIET
@pytest.mark.parametrize(
    "finder",
    [
        lambda: LearningRateFinder(num_training_steps=30),
        lambda: BatchSizeFinder(max_trials=2, steps_per_trial=2),
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_finders_have_an_account_of_their_own(tmp_path, finder, first):
    energy, seen = energy_callback(), Seen()
    callbacks = [finder(), energy, seen] if first else [energy, seen, finder()]
    make_trainer(tmp_path, callbacks=callbacks).fit(Tunable())
    report = energy.report
    assert {*report.stages} == {"tune", "train", "sanity_check", "validate"}
    tune = report.stages["tune"]
    assert tune.duration_s > 0
    assert tune.energy_j > 0 if tune.missing_s < tune.duration_s else tune.energy_j is None
    assert sum(e.energy_j for e in report.stages.values()) == pytest.approx(report.session.energy_j, rel=1e-9)
    assert report.sessions == 1
    assert report.total.energy_j == pytest.approx(report.session.energy_j)
    assert len(seen.scores) == seen.validations


@pytest.mark.slow
@SEARCH_QUIET
@pytest.mark.parametrize("stage", ["validate", "test", "predict"])
def test_outside_of_fit_only_a_batch_size_is_searched_for(tmp_path, stage):
    class Loads(Tunable):
        val_dataloader = test_dataloader = predict_dataloader = Tunable.train_dataloader

    for finder, stages in (
        (LearningRateFinder(), {stage}),
        (BatchSizeFinder(max_trials=2, steps_per_trial=2), {"tune", stage}),
    ):
        energy = energy_callback()
        trainer = make_trainer(tmp_path, callbacks=[energy, finder])
        {"validate": trainer.validate, "test": trainer.test, "predict": trainer.predict}[stage](Loads())
        assert {*energy.report.stages} == stages


class AtMilestones(LearningRateFinder):
    """Lightning's documented way to search again in the middle of a run."""

    def __init__(self) -> None:
        super().__init__(num_training_steps=30)
        self.searched: list[int] = []
        self.least_s = self.most_s = 0.0  # from the first to the last step of each search, and around it
        self.since_s: float | None = None

    def on_fit_start(self, trainer, pl_module) -> None:
        self._end()

    def _end(self) -> None:
        if self.since_s is not None:
            self.most_s += time.monotonic() - self.since_s
            self.since_s = None

    def on_train_epoch_start(self, trainer, pl_module) -> None:
        if trainer.current_epoch in {0, 2}:
            self.since_s = time.monotonic()
            self.lr_find(trainer, pl_module)
            self.searched.append(trainer.current_epoch)
            steps_s = [t for t in pl_module.steps_s if t > self.since_s] or [0.0]
            self.least_s += steps_s[-1] - steps_s[0]

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        self._end()  # our callback has had its turn


class Timed(Tunable):
    """Knows when its steps began."""

    def __init__(self) -> None:
        super().__init__()
        self.steps_s: list[float] = []

    def training_step(self, batch, batch_idx):
        self.steps_s.append(time.monotonic())
        return super().training_step(batch, batch_idx)


@pytest.mark.slow
@SEARCH_QUIET
@pytest.mark.parametrize("checkpoints", [False, True])
def test_a_search_in_the_middle_of_a_run_has_its_account_too(tmp_path, checkpoints):
    energy, seen, finder = energy_callback(), Seen(), AtMilestones()
    trainer = make_trainer(tmp_path, max_epochs=4, enable_checkpointing=checkpoints, callbacks=[energy, seen, finder])
    finder.since_s = time.monotonic()  # where a finder stands, all before the training is a search
    trainer.fit(Timed())
    report = energy.report
    tune = report.stages["tune"]
    assert finder.searched == [0, 2]
    assert 0 < finder.least_s <= tune.duration_s <= finder.most_s
    assert tune.energy_j == pytest.approx(200.0 * tune.duration_s, abs=3 * tune.u_j)
    assert sum(e.energy_j for e in report.stages.values()) == pytest.approx(report.session.energy_j, rel=1e-9)
    assert sum(e.duration_s for e in report.stages.values()) == pytest.approx(report.session.duration_s, rel=1e-9)
    assert [row["epoch"] for row in energy.history] == [0, 1, 2, 3]
    assert report.sessions == 1
    assert len(seen.scores) == seen.validations


@pytest.mark.slow
@SEARCH_QUIET
@pytest.mark.parametrize("search", ["lr_find", "scale_batch_size"])
def test_the_tuner_is_a_session_of_its_own(tmp_path, search):
    energy = energy_callback()
    trainer, module = make_trainer(tmp_path, callbacks=[energy]), Tunable()
    if search == "lr_find":
        Tuner(trainer).lr_find(module, num_training=30)
    else:
        Tuner(trainer).scale_batch_size(module, max_trials=2)
    assert [*energy.report.stages] == ["tune"]
    tuned_j = energy.report.session.energy_j
    assert tuned_j > 0
    trainer.fit(module)
    report = energy.report
    assert "tune" not in report.stages
    assert report.sessions == 2
    assert report.total.energy_j == pytest.approx(tuned_j + report.session.energy_j, rel=1e-9)


@pytest.mark.slow
def test_the_same_callback_in_several_trainers_is_several_runs(tmp_path):
    energy, records, spent = energy_callback(), [], []
    for _ in range(3):
        trainer = make_trainer(tmp_path, max_epochs=2, callbacks=[energy], logger=CSVLogger(tmp_path))
        trainer.fit(Classifier(), loader(), loader(8))
        report = energy.report
        assert report.sessions == 1
        assert report.total == report.session
        assert len(energy.history) == 2
        trainer.validate(Classifier(), loader(8), verbose=False)
        total_kwh = float(trainer.callback_metrics["energy/total_wh"]) / 1000
        assert total_kwh == pytest.approx(report.total.energy_kwh, rel=1e-6)  # a validation's score is of its training
        records.append(load_record(trainer.log_dir))
        spent.append(report.total.energy_kwh)
    assert len({record.run_id for record in records}) == 3
    assert [len(record.evaluations) for record in records] == [1, 1, 1]
    runs = compare(tmp_path).runs
    assert sorted(run.energy_kwh for run in runs) == sorted(spent)
    assert not any("it is the same run" in caveat for run in runs for caveat in run.caveats)


@pytest.mark.slow
def test_what_a_run_of_its_own_is(tmp_path):
    """A new Trainer's fit is; more epochs of the same Trainer are not; one that fails has the energy of its failure."""

    class Fails(Classifier):
        def on_train_epoch_end(self) -> None:
            raise ValueError("mine")

    energy = energy_callback()
    trainer = make_trainer(tmp_path, max_epochs=1, callbacks=[energy])
    trainer.fit(Classifier(), loader(), loader(8))
    first_j = energy.report.total.energy_j
    trainer.fit_loop.max_epochs = 2
    trainer.fit(Classifier(), loader(), loader(8))
    assert energy.report.sessions == 2
    assert energy.report.total.energy_j == pytest.approx(first_j + energy.report.session.energy_j, rel=1e-9)
    with pytest.raises(ValueError, match="mine"):
        make_trainer(tmp_path, callbacks=[energy]).fit(Fails(), loader(), loader(8))
    assert (energy.report.outcome, energy.report.sessions) == ("interrupted", 1)
    assert energy.report.total == energy.report.session
    make_trainer(tmp_path, callbacks=[energy]).fit(Classifier(), loader(), loader(8))
    assert (energy.report.outcome, energy.report.sessions) == ("completed", 1)
    assert energy.report.total == energy.report.session


@pytest.mark.slow
def test_an_evaluation_leaves_the_figures_of_fit(tmp_path):
    energy = energy_callback()
    make_trainer(tmp_path, callbacks=[energy], logger=CSVLogger(tmp_path)).fit(Classifier(), loader(), loader(8))
    fitted = energy.report
    other = make_trainer(tmp_path, callbacks=[energy], logger=CSVLogger(tmp_path))
    other.predict(Classifier(), loader(8))
    other.test(Classifier(), loader(8), verbose=False)
    assert energy.report is fitted
    predicted, tested = energy.evaluations
    assert ([*predicted.stages], [*tested.stages]) == (["predict"], ["test"])
    assert predicted.total is tested.total is None
    assert tested.session.energy_j == tested.stages["test"].energy_j
    record = load_record(other.log_dir)
    assert (record.total, [[*e.stages] for e in record.evaluations]) == (None, [["predict"], ["test"]])
    comparison = compare(tmp_path)
    assert [run.energy_kwh for run in comparison.runs] == [fitted.total.energy_kwh]
    assert any("nothing was fitted" in caveat for caveat in comparison.caveats)
    make_trainer(tmp_path, callbacks=[energy]).fit(Classifier(), loader(), loader(8))
    assert energy.evaluations == []  # of the new run


def test_steps_that_nobody_logs_are_not_kept_one_by_one(tmp_path):
    """``log_every_n_steps=0``: they are summed up at every epoch's end."""
    waiting = []

    class Look(Classifier):
        def on_train_epoch_end(self):  # after ours
            waiting.append(energy._run.books.session.ledger.steps.n)

    class Wait(Callback):
        def on_train_epoch_end(self, trainer, pl_module):  # before ours: all of the epoch's steps become known
            session = energy._run.books.session
            assert session._sampler.wait_until_known(time.monotonic_ns(), 60.0)
            with session.ledger.lock:  # a booking that has begun in the background must not end after ours
                session.ledger.settle(final=True)

    energy = energy_callback()
    trainer = make_trainer(tmp_path, callbacks=[Wait(), energy], log_every_n_steps=0, max_epochs=4)
    trainer.fit(Look(), loader(64), loader(8))
    assert len(waiting) == 4
    assert max(waiting) <= 1  # of 64: the last one's gap may have gone on
    assert energy.report.steps == 4 * 16
