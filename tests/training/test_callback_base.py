"""Wrong uses of the callback, each of which is told in a line what was meant and what to write."""

from __future__ import annotations

import copy
import inspect
import logging
import pickle
import warnings

import pytest
import torch
from lightning.fabric import Fabric
from lightning.pytorch.callbacks import ModelCheckpoint

from lightning_energy import EnergyCallback, EnergyMonitor, ReplayMeter
from lightning_energy.training.callback_base import HOOKS
from tests.modules import Classifier, energy_callback, loader, make_trainer

pytestmark = pytest.mark.slow


def texts(caught) -> list[str]:
    return [str(w.message) for w in caught if "Energy" in str(w.message)]


# ------------------------------------------------------------------------------------------------ arguments


@pytest.mark.parametrize(
    ("cls", "arguments", "named", "text"),
    [
        (EnergyCallback, ("val_acc",), {}, "write EnergyCallback(accuracy='val_acc')"),
        (EnergyCallback, ("nvml",), {}, "write EnergyCallback(meters='nvml')"),
        (EnergyCallback, ([ReplayMeter(1.0)],), {}, "write EnergyCallback(meters=["),
        (EnergyCallback, (0.01, "val_acc"), {}, "write EnergyCallback(reference_kwh=0.01)"),
        (EnergyCallback, (max,), {}, "write EnergyCallback(score=<built-in"),
        (EnergyCallback, (), {"monitor": "val_acc"}, "has no argument monitor: write metric='val_acc'"),
        (EnergyCallback, (), {"acuracy": "val_acc"}, "has no argument acuracy: write accuracy='val_acc'"),
        (EnergyCallback, (), {"reference": 0.5}, "has no argument reference: write reference_kwh=0.5"),
        (EnergyCallback, (), {"save_dir": "runs"}, "has no argument save_dir: write record='runs'"),
        (EnergyCallback, (), {"zzz": 1}, "has no argument zzz: there are meters, metric, "),
        (EnergyMonitor, ("cuda",), {}, "write EnergyMonitor(device='cuda')"),
        (EnergyMonitor, (ReplayMeter(1.0),), {}, "write EnergyMonitor(meters="),
        (EnergyMonitor, (), {"accelerator": "cuda"}, "has no argument accelerator: write device='cuda'"),
        (EnergyMonitor, (), {"zzz": 1}, "has no argument zzz: there are fabric, device, "),
    ],
)
def test_arguments_without_a_name_or_with_a_wrong_one(cls, arguments, named, text):
    with pytest.raises(TypeError) as error:
        cls(*arguments, **named)
    assert text in str(error.value)
    assert "\n" not in str(error.value)


def test_fabric_without_a_name():
    with pytest.raises(TypeError, match=r"write EnergyMonitor\(fabric=<lightning"):
        EnergyMonitor(Fabric(accelerator="cpu", devices=1))


def test_the_signature_is_that_of_the_arguments():
    parameters = inspect.signature(EnergyCallback).parameters
    assert {"meters", "accuracy", "record"} <= {*parameters}
    assert {p.kind for p in parameters.values()} == {inspect.Parameter.KEYWORD_ONLY}


# ------------------------------------------------------------------------------------------------ places


def test_the_class_instead_of_an_object(tmp_path):
    trainer = make_trainer(tmp_path, callbacks=[EnergyCallback])
    with pytest.raises(TypeError) as error:
        trainer.fit(Classifier(), loader(), loader(8))
    assert str(error.value) == (
        "callbacks=[EnergyCallback] holds the class, not a callback: write callbacks=[EnergyCallback()]"
    )
    assert "log" not in vars(EnergyCallback)


def test_two_are_told_to_be_one(tmp_path):
    trainer = make_trainer(tmp_path, callbacks=[energy_callback(), energy_callback(accuracy="val_acc")])
    with pytest.raises(
        RuntimeError, match=r"this Trainer has 2 EnergyCallbacks, .*: keep one, in Trainer\(callbacks=…\)"
    ):
        trainer.fit(Classifier(), loader(), loader(8))


@pytest.fixture
def entry_point(monkeypatch):
    """Lightning's entry point, by which somebody adds an EnergyCallback to every Trainer."""
    from importlib import metadata

    made, real = [], metadata.entry_points

    class EntryPoint:
        name = "energy"

        def load(self):
            return lambda: [made.append(energy_callback()) or made[-1]]

    def with_ours(**kwargs):
        found = [*real(**kwargs)]
        return [*found, EntryPoint()] if kwargs.get("group") == "lightning.pytorch.callbacks_factory" else found

    monkeypatch.setattr("lightning.fabric.utilities.registry.entry_points", with_ours)
    return made


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
@pytest.mark.parametrize("users", [0, 1])
def test_one_from_an_entry_point_stands_aside(tmp_path, entry_point, users):
    """Silently, and whether or not the user has one: the state in a checkpoint is of the one that measures."""
    ours = [energy_callback() for _ in range(users)]
    saving = ModelCheckpoint(tmp_path, filename="one")
    trainer = make_trainer(tmp_path, callbacks=[*ours, saving], enable_checkpointing=True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer.fit(Classifier(), loader(), loader(8))
    assert texts(caught) == []
    (external,) = entry_point
    measuring = [*ours, external][0]
    assert measuring.report.sessions == 1
    assert "energy/score" in trainer.callback_metrics
    if users:
        assert external._last_report is None
        assert external.state_dict() == {}
    saved = torch.load(tmp_path / "one.ckpt", weights_only=True)["callbacks"]["EnergyCallback"]
    assert saved["run_id"] == measuring._memory.run_id
    again = make_trainer(tmp_path, callbacks=[energy_callback()], max_epochs=4)
    again.fit(Classifier(), loader(), loader(8), ckpt_path=str(tmp_path / "one.ckpt"))
    assert again.callbacks[0].report.sessions == 2
    assert entry_point[-1]._memory.run_id != saved["run_id"]  # what stands aside takes no state


def test_of_two_from_entry_points_the_first_measures(tmp_path, entry_point):
    callbacks = []  # Lightning appends to the very list that a Trainer is given
    make_trainer(tmp_path, callbacks=callbacks)
    trainer = make_trainer(tmp_path, callbacks=[*entry_point])
    trainer.fit(Classifier(), loader(), loader(8))
    first, second = entry_point
    assert first.report.outcome == "completed"
    assert second._last_report is None


def test_its_key_is_its_name(tmp_path):
    energy = energy_callback()
    assert energy.state_key == "EnergyCallback"
    make_trainer(tmp_path, callbacks=[energy]).fit(Classifier(), loader(), loader(8))
    assert (energy.state_key, copy.deepcopy(energy).state_key) == ("EnergyCallback", "EnergyCallback")


# ------------------------------------------------------------------------------------------------ Fabric


def in_fabric(energy) -> None:
    """A Fabric's program with hooks of its own making."""
    fabric = Fabric(accelerator="cpu", devices=1, callbacks=[energy])
    fabric.call("on_fit_start")
    fabric.call("setup", module=None)
    model = torch.nn.Linear(4, 2)
    model, optimizer = fabric.setup(model, torch.optim.SGD(model.parameters(), lr=0.1))
    fabric.call("on_train_epoch_start", 0)
    for x, y in fabric.setup_dataloaders(loader()):
        fabric.call("on_train_batch_start", x)
        loss = torch.nn.functional.cross_entropy(model(x), y)
        fabric.call("on_before_backward", loss, fabric=fabric)
        fabric.backward(loss)
        optimizer.step()
        fabric.call("on_train_batch_end", loss=loss, output=None)
    for hook in ("on_validation_batch_end", "on_exception", "on_load_checkpoint", "state_dict", "teardown"):
        fabric.call(hook)


def test_in_fabric_it_says_what_measures_there(tmp_path):
    energy = energy_callback()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        in_fabric(energy)
    (told,) = texts(caught)
    assert "EnergyCallback measures nothing in Fabric" in told
    assert "EnergyMonitor(fabric=fabric)" in told
    twin = pickle.loads(pickle.dumps(energy))
    assert not {*HOOKS} & {*vars(twin)}
    for one in (energy, twin):  # in a Trainer it measures
        make_trainer(tmp_path, callbacks=[one]).fit(Classifier(), loader(), loader(8))
        assert one.report.outcome == "completed"


@pytest.mark.parametrize("hook", ["setup", "teardown", "on_exception", "on_after_setup", "on_train_epoch_end"])
def test_each_of_its_hooks_may_be_the_first(hook):
    fabric = Fabric(accelerator="cpu", devices=1, callbacks=[energy_callback()])
    with pytest.warns(UserWarning, match="measures nothing in Fabric"):
        fabric.call(hook)


# ------------------------------------------------------------------------------------------------ before a run


def test_the_report_before_a_run_is_none_with_a_word(tmp_path):
    energy = energy_callback()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert [energy.report for _ in range(2)] == [None, None]
    (told,) = texts(caught)
    assert "EnergyCallback.report is None until a run of this object has ended: read it after trainer.fit" in told
    assert "load_record(" in told
    make_trainer(tmp_path, callbacks=[energy]).fit(Classifier(), loader(), loader(8))
    assert energy.report.total.energy_j > 0


def test_another_trainers_fit_in_the_place_of_the_last_run_is_told(tmp_path, caplog):
    caplog.set_level(logging.ERROR)
    energy = energy_callback(record=str(tmp_path))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            make_trainer(tmp_path, callbacks=[energy]).fit(Classifier(), loader(), loader(8))
    (told,) = texts(caught)
    assert "the record of another run lay where that of this run will" in told


def count_of(batch) -> int:
    return len(batch)


@pytest.mark.parametrize(
    ("settings", "argument"),
    [
        ({"batch_size_fn": lambda batch: 1}, "batch_size_fn=<lambda>"),
        ({"score": lambda value, energy_kwh: value}, "score=<lambda>"),
        ({"per": {"words": count_of, "tokens": lambda batch: 1}}, "per['tokens']=<lambda>"),
    ],
)
def test_a_pickle_of_a_lambda_is_refused_with_what_to_do(settings, argument):
    energy = EnergyCallback(**settings)
    with pytest.raises(pickle.PicklingError) as error:
        pickle.dumps(energy)
    assert argument in str(error.value)
    assert str(error.value).endswith("give a function that is defined with def at the top of a module")
    assert copy.deepcopy(energy).per == energy.per  # copies hold any function


def test_a_pickle_holds_functions_of_modules():
    energy = EnergyCallback(batch_size_fn=count_of, per={"words": count_of}, score=max)
    twin = pickle.loads(pickle.dumps(energy))
    assert (twin.batch_size_fn, twin.per, twin.score) == (count_of, {"words": count_of}, max)
