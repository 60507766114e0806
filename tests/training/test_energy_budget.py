"""EnergyBudget in real Trainers, with simulated devices of known energy."""

from __future__ import annotations

import copy
import math
import pickle
import time
import warnings
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.tuner import Tuner

from lightning_energy import EnergyBudget, EnergyEfficiencyStopping, MeterLost, MeterUnavailable, ReplayMeter
from lightning_energy.results.forecast import Forecast, Interval, Left
from lightning_energy.results.notes import Note
from lightning_energy.scores.budget_rule import Budget
from lightning_energy.training.budget_words import BudgetWords
from tests.modules import Begin, Classifier, End, MemoryLogger, Working, energy_callback, loader, make_trainer, meter
from tests.training.parts import replay

W = 200.0
pytestmark = pytest.mark.filterwarnings("ignore:EnergyBudget. the budget of .* will not last")


class Steps(Callback):
    """The times just before the budget looks, until it stops the training, and the validations that came."""

    def __init__(self) -> None:
        self.looks_ns: list[int] = []
        self.validated_at: list[int] = []

    def on_train_start(self, trainer, pl_module) -> None:
        self.looks_ns.append(time.monotonic_ns())
        self.before_j = next(c for c in trainer.callbacks if isinstance(c, EnergyBudget))._before_j

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        self.looks_ns.append(time.monotonic_ns())

    def on_validation_end(self, trainer, pl_module) -> None:
        if not trainer.sanity_checking:
            if not trainer.should_stop:
                self.looks_ns.append(time.monotonic_ns())
            self.validated_at.append(trainer.global_step)


def train(tmp_path: Any, budget: EnergyBudget, *, others: Any = None, before: bool = True, **kwargs: Any) -> Any:
    """Train with a device of 200 W; gives the trainer, the steps, and the meter with its bracket of beginnings."""
    device, begin, end, steps = meter(script=W), Begin(), End(), Steps()
    energy = energy_callback(meters=device, score=None, record=False)
    mine = [budget, end, energy, begin] if before else [end, energy, begin, budget]
    ckpt_path = kwargs.pop("ckpt_path", None)
    module = kwargs.pop("module", None) or Working()
    trainer = make_trainer(tmp_path, callbacks=[steps, *mine, *(others or [])], **({"max_epochs": 400} | kwargs))
    trainer.fit(module, loader(32), loader(8), ckpt_path=ckpt_path)
    return trainer, steps, device, begin, end, energy


@pytest.mark.parametrize("before", [True, False])
def test_it_stops_at_the_step_that_reaches_it(tmp_path, before):
    logger, budget = MemoryLogger(), EnergyBudget(max_j=200.0)
    trainer, steps, device, begin, end, energy = train(tmp_path, budget, before=before, logger=logger)
    assert budget.is_exceeded
    assert trainer.current_epoch < 399
    last_but_one_ns, last_ns = steps.looks_ns[-2:]
    unseen_j = W * energy.report.session.missing_s  # before the counter's first update
    assert device.true_energy_j(begin.ns, last_but_one_ns) < 200.0 * 1.02 + unseen_j  # it had not been reached there
    assert device.true_energy_j(end.earliest_ns, last_ns) > 200.0 * 0.98
    assert steps.validated_at[-1] == trainer.global_step  # as with max_time
    assert trainer.state.finished
    assert energy.report.outcome == "completed"
    assert budget.reason.endswith(f" J of the budget of 200 J were spent at step {trainer.global_step}")
    assert Note("ended", f"Ended by EnergyBudget: {budget.reason}") in energy.report.notes
    assert f"Ended by: EnergyBudget: {budget.reason}" in str(energy.report)
    assert logger.points("energy/total_wh")[-1][1] * 3600 >= 200.0 * 0.9
    assert 3.6e6 * budget.spent_kwh >= 200.0
    assert 3.6e6 * budget.spent_kwh == pytest.approx(
        energy.report.total.energy_j, rel=0.25
    )  # with a busy machine's end


def test_a_warning_alone(tmp_path):
    budget = EnergyBudget(max_j=4.0, on_exceed="warn")
    with pytest.warns(match=r"EnergyBudget: .* J of the budget of 4 J were spent at step \d+; .* goes on"):
        trainer, *_, energy = train(tmp_path, budget, max_epochs=2)
    assert (trainer.global_step, budget.is_exceeded, budget.reason) == (16, True, "")
    assert "ended" not in {note.kind for note in energy.report.notes}


def test_a_budget_that_lasts_changes_nothing(tmp_path):
    budget = EnergyBudget(max_kwh=1.0)
    trainer, steps, *_ = train(tmp_path, budget, max_epochs=2)
    assert (trainer.global_step, steps.validated_at, budget.is_exceeded) == (16, [8, 16], False)


def test_what_lightning_requires_wins(tmp_path):
    with pytest.warns(match="EnergyBudget: min_epochs=2 of the Trainer wins over the budget of 4 J"):
        trainer, *_ = train(tmp_path, EnergyBudget(max_j=4.0), min_epochs=2)
    assert trainer.current_epoch == 2


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
def test_a_reserve_leaves_a_validated_checkpoint_within_the_budget(tmp_path):
    """A kilojoule is far more than a validation of two batches takes."""
    checkpoints = ModelCheckpoint(dirpath=tmp_path / "ckpt", every_n_epochs=300)
    budget = EnergyBudget(max_j=1030.0, reserve_kwh=1000.0 / 3.6e6)
    trainer, steps, *_, energy = train(tmp_path, budget, others=[checkpoints], enable_checkpointing=True)
    stop = trainer.global_step
    assert budget.is_exceeded
    assert steps.validated_at[-1] == stop
    assert 30.0 * 0.9 < energy.report.total.energy_j < 1030.0
    left = torch.load(tmp_path / "ckpt/energy-budget.ckpt", weights_only=True)
    assert left["global_step"] == stop
    assert 30.0 * 0.9 < left["callbacks"][budget.state_key]["spent_j"] < 1030.0
    # it goes on from there, with a greater budget
    more = EnergyBudget(max_j=3.6e6 * budget.spent_kwh + 1040.0, reserve_kwh=1000.0 / 3.6e6)
    checkpoints = ModelCheckpoint(dirpath=tmp_path / "ckpt", every_n_epochs=300)
    resumes = {"ckpt_path": tmp_path / "ckpt/energy-budget.ckpt", "others": [checkpoints]}
    trainer, steps, *_ = train(tmp_path, more, enable_checkpointing=True, **resumes)
    assert trainer.global_step > stop
    assert more.is_exceeded
    # and leaves the checkpoint that is there
    assert torch.load(tmp_path / "ckpt/energy-budget.ckpt", weights_only=True)["global_step"] == stop
    assert torch.load(tmp_path / "ckpt/energy-budget-v1.ckpt", weights_only=True)["global_step"] == trainer.global_step


class FullDisk(TorchCheckpointIO):
    """Can write nothing."""

    def save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")


def test_a_checkpoint_that_cannot_be_written_ends_no_training(tmp_path):
    checkpoints = ModelCheckpoint(dirpath=tmp_path / "ckpt", every_n_epochs=300)
    budget = with_own_meter(max_j=3.6e6 + 5.0, reserve_kwh=1.0)
    trainer = make_trainer(
        tmp_path, callbacks=[budget, checkpoints], max_epochs=400, plugins=[FullDisk()], enable_checkpointing=True
    )
    says = r"EnergyBudget: .*energy-budget.ckpt cannot be written \(OSError: \[Errno 28\] No space left on device\)"
    with pytest.warns(match=says):
        trainer.fit(Working(), loader(8), loader(4))
    assert (trainer.state.finished, budget.is_exceeded) == (True, True)


@pytest.mark.parametrize("measures", [True, False])
def test_a_budget_that_will_not_last_is_told_at_the_start_of_the_second_epoch(tmp_path, measures):
    """Less than a second per epoch, and 50 s of budget, in 4000 epochs; the warning ends the training here."""
    callback = energy_callback(score=None, record=False)
    budget = with_own_meter(max_j=50.0 * W)
    callbacks = [budget] if measures else [callback, budget]
    trainer = make_trainer(tmp_path, max_epochs=4000, callbacks=callbacks)
    says = r"EnergyBudget: the budget of 1e\+04 J will not last: .* J \(.*\) are forecast by max_epochs=4000, and"
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=says)
        with pytest.raises(UserWarning, match=says) as told:
            trainer.fit(Working(), loader(64), loader(4))
    assert trainer.current_epoch == 1
    epoch = int(str(told.value).split("in about epoch ")[1].split(",")[0])
    assert 2 < epoch < 1000


def test_where_a_callback_may_stop_early_the_warning_says_so():
    left, seconds = Left(100, 900, per_epoch=100), Interval(178.0, 0.0, 200.0)
    words = BudgetWords(Budget.of(max_j=200.0), "max_j")
    found = Forecast(Interval(500.0, 430.0, 570.0), seconds, 65.0, is_at_most=False, limit="max_epochs=10", left=left)
    assert words.will_not_last(found, 3) == (
        "the budget of 200 J will not last: 500 J (430 to 570) are forecast by max_epochs=10, and it will be spent in "
        "about epoch 3, counted from 0"
    )
    found = replace(found, is_at_most=True, energy_j=Interval(500.0, 65.0, 570.0))
    assert words.will_not_last(found, 3) == (
        "the budget of 200 J may not last: at most 570 J are forecast by max_epochs=10, and it will be spent in about "
        "epoch 3, counted from 0, unless a callback stops the training before"
    )


def with_own_meter(**kwargs: Any) -> EnergyBudget:
    """A budget that measures by itself, with a simulated device in the place of this machine's."""
    budget = EnergyBudget(**kwargs)
    budget._meters = meter(script=W)
    return budget


@pytest.mark.parametrize("first_measures", [True, False])
@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
def test_a_resumed_run_goes_on_with_what_was_spent(tmp_path, first_measures):
    """By itself in the first session, and with an EnergyCallback in the second; and the other way round."""
    callback = energy_callback(score=None, record=False)
    first, again = with_own_meter(max_j=50.0), with_own_meter(max_j=50.0)
    trainer = make_trainer(tmp_path, max_epochs=400, callbacks=[first] if first_measures else [callback, first])
    trainer.fit(Working(), loader(32), loader(8))
    assert first.is_exceeded
    trainer.save_checkpoint(tmp_path / "it.ckpt")
    steps, measuring = Steps(), [callback] if first_measures else []
    trainer = make_trainer(tmp_path, max_epochs=400, callbacks=[again, *measuring, steps])
    with pytest.warns(match=r"EnergyBudget: .* J of the budget of 50 J were spent by earlier sessions: the"):
        trainer.fit(Working(), loader(32), loader(8), ckpt_path=tmp_path / "it.ckpt")
    assert (len(steps.looks_ns), trainer.state.finished, again.is_exceeded) == (1, True, True)
    assert again.spent_kwh >= first.spent_kwh


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
def test_a_budget_that_earlier_sessions_spent_is_told_in_its_own_unit_with_what_follows(tmp_path):
    """Each in one warning: the energy of the checkpoint, without what this session takes until its first step."""
    trainer = make_trainer(tmp_path, max_epochs=1, callbacks=[with_own_meter(max_kwh=1.0)])
    trainer.fit(Working(), loader(16), loader(4))
    trainer.save_checkpoint(tmp_path / "it.ckpt")
    (state,) = torch.load(tmp_path / "it.ckpt", weights_only=True)["callbacks"].values()
    spent = f"EnergyBudget: {state['spent_j']:.4g} J of the budget of 0.001 J were spent by earlier sessions: "
    in_kwh = spent.replace(
        f"{state['spent_j']:.4g} J of the budget of 0.001 J",
        f"{state['spent_j'] / 3.6e6:.4g} kWh of the budget of 1e-09 kWh",
    )
    for kwargs, limits, says in [
        ({"max_j": 0.001}, {}, f"{spent}the training ends at once. Give a greater max_j to go on"),
        ({"max_j": 0.001}, {"min_epochs": 1}, f"{spent}the training ends at once. Give a greater max_j to go on"),
        (
            {"max_j": 0.001},
            {"min_epochs": 2, "min_steps": 3},
            f"{spent}the training ends when min_epochs=2 of the Trainer is reached. Give a greater max_j to go on",
        ),
        ({"max_j": 0.001, "on_exceed": "warn"}, {}, f"{spent}the training goes on, as on_exceed='warn'"),
        (
            {"max_kwh": 1e-9},
            {},
            f"{in_kwh}the training ends at once. Give a greater max_kwh to go on",
        ),
    ]:
        trainer = make_trainer(tmp_path, max_epochs=3, callbacks=[with_own_meter(**kwargs)], **limits)
        with pytest.warns() as caught:
            trainer.fit(Working(), loader(16), loader(4), ckpt_path=tmp_path / "it.ckpt")
        assert [str(w.message) for w in caught if str(w.message).startswith("EnergyBudget: ")] == [says]
        assert trainer.current_epoch == (3 if "warn" in says else limits.get("min_epochs", 1))


@pytest.mark.parametrize("before", [True, False])
def test_a_tuners_search_is_no_earlier_session(tmp_path, before):
    """Its energy counts, and is called by its name."""

    class Searched(Working):
        def __init__(self) -> None:
            super().__init__()
            self.lr = 0.1

    energy, budget = energy_callback(meters=replay(), score=None, record=False), EnergyBudget(max_j=0.5)
    trainer = make_trainer(tmp_path, callbacks=[budget, energy] if before else [energy, budget], max_epochs=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Tuner(trainer).lr_find(Searched(), loader(32), loader(4), num_training=4)
    (search,) = energy._memory.sessions
    spent = f"{search.energy.energy_j:.4g} J of the budget of 0.5 J were spent"
    with pytest.warns(match=f"EnergyBudget: {spent} by a search of a Tuner before this training: the training ends"):
        trainer.fit(Searched(), loader(8), loader(4))
    assert budget.reason == f"{spent} by a search of a Tuner before this training"
    assert len(energy._memory.sessions) == 2


def test_only_those_limits_of_lightning_are_told_that_were_set(tmp_path):
    """Lightning sets min_epochs=1 beside min_steps."""
    trainer = make_trainer(tmp_path, max_epochs=1, min_steps=2, callbacks=[with_own_meter(max_kwh=1.0)])
    with pytest.warns(match="EnergyBudget: min_steps=2 of the Trainer wins over the budget of 1 kWh"):
        trainer.fit(Working(), loader(16), loader(4))


def test_a_further_fit_is_a_run_of_its_own_and_a_test_changes_nothing(tmp_path):
    budget = with_own_meter(max_j=1e6)
    trainer = make_trainer(tmp_path, max_epochs=1, callbacks=[budget])
    trainer.fit(Working(), loader(8), loader(4))
    spent_kwh = budget.spent_kwh
    assert spent_kwh > 0
    trainer.save_checkpoint(tmp_path / "it.ckpt")
    trainer.test(Working(), loader(8), ckpt_path=tmp_path / "it.ckpt", verbose=False)
    assert budget.spent_kwh == spent_kwh
    trainer.fit_loop.max_epochs = 2
    trainer.fit(Working(), loader(8), loader(4))
    assert budget.spent_kwh > spent_kwh
    # a checkpoint of a run that went on in this process knows less: what was spent stays spent
    spent_kwh = budget.spent_kwh
    trainer = make_trainer(tmp_path, max_epochs=2, callbacks=[budget])
    trainer.fit(Working(), loader(8), loader(4), ckpt_path=tmp_path / "it.ckpt")
    assert budget.spent_kwh > spent_kwh
    trainer = make_trainer(tmp_path, max_epochs=1, callbacks=[budget, steps := Steps()])
    trainer.fit(Working(), loader(4), loader(4))
    assert steps.before_j == 0.0


@pytest.mark.filterwarnings("ignore")
def test_in_a_barebones_trainer_it_measures_by_itself(tmp_path):
    """Where EnergyCallback is off."""
    budget = with_own_meter(max_j=20.0)
    trainer = L.Trainer(
        max_epochs=4000,
        barebones=True,
        accelerator="cpu",
        callbacks=[budget, energy_callback(score=None, record=False)],
    )
    trainer.fit(Working("nowhere"), loader(32))
    assert budget.is_exceeded
    assert trainer.current_epoch < 3999


def test_two_budgets_one_that_warns_and_one_that_stops(tmp_path):
    soft, hard = EnergyBudget(max_j=10.0, on_exceed="warn"), EnergyBudget(max_j=60.0)
    with pytest.warns(match="were spent at step"):
        trainer, *_ = train(tmp_path, hard, others=[soft])
    assert (soft.is_exceeded, hard.is_exceeded) == (True, True)
    assert trainer.current_epoch < 399


def test_a_copy_has_the_settings_and_has_spent_nothing(tmp_path):
    budget = with_own_meter(max_j=5.0)
    trainer = make_trainer(tmp_path, max_epochs=2, callbacks=[budget])
    trainer.fit(Working(), loader(32), loader(4))
    budget.log = trainer.lightning_module.log  # as Lightning sets it, and with it the whole Trainer
    twin = copy.deepcopy(budget)
    assert "log" not in twin.__dict__
    assert (twin.spent_kwh, twin.is_exceeded, twin._budget) == (0.0, False, budget._budget)


class Dead(ReplayMeter):
    """A device that cannot be read, at once or from some moment on."""

    def __init__(self, *, is_dead: bool) -> None:
        super().__init__(W, counter_period_s=0.0)
        self.is_dead = is_dead

    def read(self) -> Any:
        if self.is_dead:
            raise MeterLost("the driver is gone")
        return super().read()


def test_energy_that_is_missing_at_the_start_is_an_error(tmp_path):
    energy = energy_callback(meters=Dead(is_dead=True), score=None, record=False)
    trainer = make_trainer(tmp_path, callbacks=[energy, EnergyBudget(max_kwh=1.0)])
    with pytest.warns(match="the driver is gone"), pytest.raises(MeterUnavailable, match="replayed device .the driver"):
        trainer.fit(Working(), loader(8), loader(4))
    assert trainer.global_step == 0


def test_energy_that_gets_lost_leaves_a_lower_bound(tmp_path):
    device = Dead(is_dead=False)
    energy = energy_callback(meters=device, score=None, record=False)
    budget = EnergyBudget(max_kwh=1.0)

    class Dies(Callback):
        def on_train_epoch_start(self, trainer, pl_module) -> None:
            device.is_dead = trainer.current_epoch > 0

        def on_train_batch_end(self, trainer, *args) -> None:
            trainer.should_stop = budget._watch.agreed.unknown == 1

    trainer = make_trainer(tmp_path, max_epochs=4000, callbacks=[energy, budget, Dies()])
    with pytest.warns() as caught:
        trainer.fit(Working(), loader(32), loader(4))
    assert any("EnergyBudget: the energy of 1 device(s) is missing since about step" in str(w.message) for w in caught)
    assert trainer.current_epoch < 3999
    assert budget.spent_kwh > 0


def test_without_a_device_there_is_no_budget(tmp_path):
    """The callback is at work in another Trainer, say: it measures that one."""
    energy, budget = energy_callback(score=None, record=False), EnergyBudget(max_kwh=1.0)
    inner = make_trainer(tmp_path, callbacks=[energy, budget])

    class Trains(Callback):
        def on_train_start(self, trainer, pl_module) -> None:
            inner.fit(Classifier(), loader(8), loader(4))

    with pytest.warns(match="EnergyCallback is at work"), pytest.raises(MeterUnavailable, match="nothing is measured"):
        make_trainer(tmp_path, callbacks=[energy, Trains()]).fit(Classifier(), loader(8), loader(4))


@pytest.mark.parametrize("ends", [EnergyBudget, EnergyEfficiencyStopping])
def test_a_trainer_within_another_leaves_the_callback_to_the_outer_one(tmp_path, ends):
    """It has spent its budget, or judged two validations, when a second Trainer comes by, which is told."""
    callback = ends(max_j=1e9) if ends is EnergyBudget else ends(max_kwh_per_point=1e9, patience=1)
    energy = energy_callback(meters=replay(), accuracy="val_acc", record=False)
    inner = make_trainer(tmp_path, callbacks=[callback], max_epochs=1)

    class Trains(Callback):
        def on_train_epoch_end(self, trainer, pl_module) -> None:
            if trainer.current_epoch == 1:
                inner.fit(Classifier(), loader(8), loader(4))
                inner.save_checkpoint(tmp_path / "inner.ckpt")

    trainer = make_trainer(tmp_path, callbacks=[callback, energy, Trains()], max_epochs=3)
    with pytest.warns(match=f"{ends.__name__} is at work in another Trainer") as caught:
        trainer.fit(Classifier(), loader(8), loader(4))
    assert len([w for w in caught if "at work" in str(w.message)]) == 1
    state = callback.state_dict()
    assert state.get("spent_j", 1.0) > 0.0
    assert len(state.get("reached", [1, 2])) == 2  # of three validations
    if ends is EnergyBudget:
        assert 3.6e6 * callback.spent_kwh == pytest.approx(energy.report.total.energy_j, rel=0.5)
    assert torch.load(tmp_path / "inner.ckpt", weights_only=True)["callbacks"] == {}
    assert pickle.loads(pickle.dumps(callback)).reason == ""
    second = make_trainer(tmp_path, callbacks=[callback, energy], max_epochs=2)
    second.fit(Classifier(), loader(8), loader(4))  # the first one is over: no warning


FITS = SimpleNamespace(state=SimpleNamespace(fn="fit"))


@pytest.mark.parametrize(
    "state", [{}, {"spent_j": 1.0}, {"spent_j": math.nan, "run_id": "a"}, {"spent_j": -1.0, "run_id": "a"}, None]
)
def test_a_damaged_state_is_told_and_ends_nothing(state):
    budget = EnergyBudget(max_kwh=1.0)
    with pytest.warns(match="EnergyBudget: its state in the checkpoint is damaged .* counts only where an EnergyCall"):
        budget.on_load_checkpoint(FITS, None, {"callbacks": {budget.state_key: state}})
    assert budget.spent_kwh == 0.0


def test_the_state_of_a_callback_with_a_similar_name_is_left_alone():
    budget = EnergyBudget(max_kwh=1.0)
    states = {"EnergyBudgetLogger": {"rows": 3}, budget.state_key: {"spent_j": 3.6e6, "run_id": "a"}}
    budget.on_load_checkpoint(FITS, None, {"callbacks": states})
    assert budget.spent_kwh == 1.0


def test_wrong_arguments_are_told_the_right_ones():
    for call, says in [
        (lambda: EnergyBudget(1.5), "max_kwh"),
        (lambda: EnergyBudget(budget=1.5), "max_kwh"),
        (lambda: EnergyBudget(max_kwh=1.0, on_exceed="abort"), "give 'stop' or 'warn'"),
        (lambda: EnergyBudget(max_kwh=math.nan), "max_kwh=nan"),
    ]:
        with pytest.raises((TypeError, ValueError), match=says):
            call()
