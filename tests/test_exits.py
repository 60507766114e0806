"""Every way in which a run can end: no thread, no open meter, a report and a record that say so."""

from __future__ import annotations

import inspect
import threading
from typing import TYPE_CHECKING

import pytest
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from lightning_energy.results.read import read_record
from lightning_energy.training import recorder, step_log
from tests.modules import Classifier, energy_callback, loader, make_trainer, meter

if TYPE_CHECKING:
    from pathlib import Path

HOOKS = [
    name
    for name, _ in inspect.getmembers(Callback, inspect.isfunction)
    if name in {"setup", "teardown"} or (name.startswith("on_") and name != "on_exception")  # test_record has that one
]
MODULE_HOOKS = ["prepare_data", "configure_model", "configure_optimizers", "on_after_batch_transfer", "backward",
                "optimizer_step", "training_step", "validation_step", "on_train_epoch_end"]  # fmt: skip


def fail(kind):
    def hook(*args, **kwargs):
        raise kind("the user's")

    return hook


def run(trainer, module, hook: str, checkpoint: Path) -> None:
    if "test" in hook:
        trainer.test(module, loader(8), verbose=False)
    elif "predict" in hook:
        trainer.predict(module, loader(8))
    else:
        trainer.fit(module, loader(8), loader(8), ckpt_path=checkpoint if hook == "on_load_checkpoint" else None)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    trainer = make_trainer(folder, max_epochs=1, callbacks=[energy_callback()])
    trainer.fit(Classifier(), loader(8), loader(8))
    trainer.save_checkpoint(folder / "one.ckpt")
    return folder / "one.ckpt"


def check_nothing_is_left(replay, energy, outcome="interrupted") -> None:
    assert "lightning-energy-sampler" not in [t.name for t in threading.enumerate()]
    assert not replay.is_open
    if energy._last_report is not None:  # None where it ended before anything was measured
        assert energy.report.outcome == outcome


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:EnergyCallback. no energy/score", "ignore:Be aware that when using `ckpt_path`")
@pytest.mark.parametrize("hook", HOOKS)
def test_an_error_in_a_hook_of_another_callback(tmp_path, checkpoint, hook):
    """Before us in the list and after us; an error, and an exit, which is no ``Exception``."""
    for kind, after_us in ((RuntimeError, True), (SystemExit, False)):
        other, replay = type("Other", (Callback,), {hook: fail(kind)})(), meter()
        energy = energy_callback(meters=replay)
        callbacks = [energy, other] if after_us else [other, energy]
        callbacks.append(ModelCheckpoint(tmp_path))
        trainer = make_trainer(tmp_path, max_epochs=2, enable_checkpointing=True, callbacks=callbacks)
        with pytest.raises(kind, match="the user's"):
            run(trainer, Classifier(), hook, checkpoint)
        check_nothing_is_left(replay, energy, "completed" if hook == "teardown" and after_us else "interrupted")


@pytest.mark.slow
@pytest.mark.parametrize("hook", MODULE_HOOKS)
def test_an_error_in_a_hook_of_the_module(tmp_path, hook):
    for kind in (RuntimeError, SystemExit):
        module, replay = type("Fails", (Classifier,), {hook: fail(kind)})(), meter()
        energy = energy_callback(meters=replay)
        with pytest.raises(kind, match="the user's"):
            make_trainer(tmp_path, max_epochs=2, callbacks=[energy]).fit(module, loader(8), loader(8))
        check_nothing_is_left(replay, energy)


LONG_EPOCH = """
import os, signal, sys, time, warnings
from types import SimpleNamespace
from lightning_energy.training import recorder, step_log
import lightning as L
from tests.modules import Working, energy_callback, loader, make_trainer

now_s = [1000.0]  # each step takes a second of the record's clock
time.time = lambda: now_s[0]
step_log.time = recorder.time = SimpleNamespace(monotonic=time.time, time=time.time)

class Die(L.Callback):
    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        now_s[0] += 1.0
        if batch_idx == 150:
            print(now_s[0], flush=True)
            os.kill(os.getpid(), signal.SIGKILL)

warnings.simplefilter("ignore")
callbacks = [energy_callback(record=sys.argv[1]), Die()]
make_trainer(sys.argv[1], callbacks=callbacks, max_epochs=1).fit(Working(), loader(1000), loader(8))
"""


@pytest.mark.slow
def test_killed_in_a_long_epoch_it_leaves_what_was_known_a_minute_ago(tmp_path, warm):
    done = warm.run(LONG_EPOCH, tmp_path)
    record = read_record(tmp_path)
    age_s = float(done.stdout) - record.updated_unix_s
    # it is written at a step that is logged, every other one, where such a step looks whether it is time
    assert 0 <= age_s <= recorder.EVERY_S + step_log.KEEP_UP_S + 4
    assert record.outcome == "running"
    assert not record.epochs
    assert record.total.energy_j > 0
    assert recorder.EVERY_S + step_log.KEEP_UP_S <= 60


AT_EXIT = """
import atexit, sys, threading, time, warnings
said = []
atexit.register(lambda: print("last:", *said, flush=True))  # registered before anything of ours: it runs after
import lightning as L
from tests.modules import Classifier, energy_callback, loader, make_trainer

started = threading.Event()

class Tell(L.Callback):
    def on_train_batch_end(self, *args):
        time.sleep(0.01)
        started.set()

def fit():
    trainer.fit(Classifier(), loader(100_000), loader(8))

warnings.simplefilter("ignore")
energy = energy_callback(record=sys.argv[1])
atexit.register(lambda: said.append(str(energy.report and energy.report.outcome)))
trainer = make_trainer(sys.argv[1], callbacks=[energy, Tell()], max_epochs=1)
"""
WAYS = {
    "a thread that still trains": "threading.Thread(target=fit, daemon=True).start()\nstarted.wait(60)",
    "an exit in a hook": "Tell.on_train_batch_end = lambda self, *args: sys.exit(7)\nfit()",
}


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_a_process_that_ends_in_the_middle_of_a_fit(tmp_path, warm, way):
    done = warm.run(AT_EXIT + WAYS[way], tmp_path)
    assert "last: " in done.stdout
    assert "Traceback" not in done.stderr
    assert "Fatal" not in done.stderr
    if way == "an exit in a hook":
        assert done.returncode == 7
        assert "last: interrupted" in done.stdout
        assert read_record(tmp_path).outcome == "interrupted"
    elif done.returncode:  # torch's own end, now and then, when the thread is stopped within it; with or without us
        assert "terminate called without an active exception" in done.stderr
