"""One callback in two Trainers at the same time: the first is measured, with all that is spent meanwhile."""

from __future__ import annotations

import copy
import pickle
import threading
import time
import warnings

import pytest
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from lightning_energy.results.read import read_record
from tests.modules import Begin, Classifier, End, Working, energy_callback, loader, make_trainer, meter, spent_j

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")]
TOLD = "EnergyCallback is at work in another Trainer: what this one spends is not measured as a run of its own"


class Fails(Working):
    def training_step(self, batch, batch_idx):
        raise ValueError("the inner one's")


def inside(tmp_path, energy, what, seen):
    """What a program may do with the same callback while another Trainer trains."""
    saving = ModelCheckpoint(tmp_path / "inner", filename="{epoch}")
    trainer = make_trainer(tmp_path, max_epochs=1, enable_checkpointing=what == "fit", callbacks=[energy])
    if what == "fit":
        trainer.callbacks.append(saving)
    seen.append(trainer)
    module = Fails() if what == "fails" else Working()
    if what in ("fit", "fails"):
        trainer.fit(module, loader(), loader(8))
    elif what == "resume":
        trainer.fit_loop.max_epochs = 3
        trainer.fit(module, loader(), loader(8), ckpt_path=str(tmp_path / "earlier/epoch=0.ckpt"))
    else:
        getattr(trainer, what)(module, loader())


def nested(tmp_path, hook, what):
    class Inside(Callback):
        def run(self, trainer, *args):
            if trainer.current_epoch == 1 and not seen and not trainer.sanity_checking:
                try:
                    inside(tmp_path, energy, what, seen)
                except ValueError:
                    assert what == "fails"

    class Saves(Callback):
        """Knows what was spent at least when the last checkpoint is written: all before its epoch."""

        def on_train_epoch_start(self, *args):
            self.least_j = device.true_energy_j(begin.ns, time.monotonic_ns())

    setattr(Inside, hook, Inside.run)
    seen, device, begin, end, saves = [], meter(), Begin(), End(), Saves()
    energy = energy_callback(meters=device, record=tmp_path / "energy.json")
    saving = ModelCheckpoint(tmp_path / "outer", filename="{epoch}", save_top_k=-1)
    callbacks = [end, Inside(), saves, energy, begin, saving]
    trainer = make_trainer(tmp_path, callbacks=callbacks, enable_checkpointing=True)
    if what == "resume":
        earlier = ModelCheckpoint(tmp_path / "earlier", filename="{epoch}", save_top_k=-1)
        other = make_trainer(tmp_path, enable_checkpointing=True, max_epochs=1, callbacks=[energy_callback(), earlier])
        other.fit(Working(), loader(), loader(8))
    with pytest.warns(UserWarning, match=TOLD) as caught:
        trainer.fit(Working(), loader(), loader(8))
    assert sum(TOLD in str(w.message) for w in caught) == 1
    assert seen
    return energy, trainer, (saves.least_j, *spent_j(device, begin, end))


@pytest.mark.parametrize(
    ("hook", "what"),
    [
        ("on_train_epoch_start", "fit"),
        ("on_train_batch_end", "fit"),
        ("on_train_epoch_start", "resume"),
        ("on_train_epoch_start", "fails"),
        ("on_validation_epoch_end", "validate"),
        ("on_validation_start", "predict"),
        ("on_train_epoch_end", "test"),
        ("on_save_checkpoint", "fit"),
    ],
)
def test_a_nested_trainer_is_in_the_first_ones_energy(tmp_path, hook, what):
    energy, trainer, (saved_j, least_j, most_j) = nested(tmp_path, hook, what)
    report, record = energy.report, read_record(tmp_path / "energy.json")
    assert trainer.current_epoch == 3
    assert report.outcome == record.outcome == "completed"
    assert 0.98 * least_j <= report.total.energy_j <= 1.02 * most_j
    assert report.total == record.total == report.session
    assert report.total.missing_s == 0
    assert [row.epoch for row in record.epochs] == [0, 1, 2]
    assert report.sessions == 1
    assert report.samples == 3 * 32  # those of the first Trainer
    assert sum(note.text.startswith("Another Trainer ran") for note in report.notes) == 1
    last = torch.load(tmp_path / "outer/epoch=2.ckpt", weights_only=True)["callbacks"]["EnergyCallback"]
    assert last["run_id"] == record.run_id
    assert 0.98 * saved_j <= last["total"]["energy_j"] <= report.total.energy_j
    assert [p.name for p in tmp_path.glob("energy*")] == ["energy.json"]
    assert not {name for name in vars(energy) if name.startswith("on_")}


def test_a_checkpoint_of_the_other_trainer_says_that_it_is_not_measured(tmp_path):
    nested(tmp_path, "on_train_epoch_start", "fit")
    again = energy_callback()
    trainer = make_trainer(tmp_path, max_epochs=2, callbacks=[again])
    trainer.fit(Working(), loader(), loader(8), ckpt_path=str(tmp_path / "inner/epoch=0.ckpt"))
    assert again.report.total.energy_j == pytest.approx(again.report.session.energy_j)
    assert [note.kind for note in again.report.notes if note.lowers_total] == ["unknown_before"]
    assert "Missing: earlier sessions; more was spent" in str(again.report)


def test_afterwards_the_other_trainer_is_measured(tmp_path):
    seen = []

    class Inside(Callback):
        def on_train_epoch_start(self, trainer, pl_module):
            if not seen:
                with pytest.warns(UserWarning, match=TOLD):
                    inside(tmp_path, energy, "fit", seen)

    energy = energy_callback()
    make_trainer(tmp_path, max_epochs=1, callbacks=[Inside(), energy]).fit(Working(), loader(), loader(8))
    first = energy._memory.run_id
    make_trainer(tmp_path, max_epochs=1, callbacks=[energy]).fit(Working(), loader(), loader(8))
    assert energy.report.outcome == "completed"
    assert energy.report.samples == 32
    assert energy._memory.run_id != first
    seen[0].fit_loop.max_epochs = 2
    seen[0].fit(Working(), loader(), loader(8))
    assert energy.report.samples == 32


def test_in_a_thread_of_its_own_as_well(tmp_path):
    """Two Trainers in two threads, neither of which waits for the other."""
    started, ended = threading.Event(), threading.Event()

    class First(Callback):
        def on_train_batch_end(self, trainer, *args):
            started.set()
            if trainer.current_epoch == 1:
                ended.wait(60)

    device, begin, end = meter(), Begin(), End()
    energy = energy_callback(meters=device, record=tmp_path / "energy.json")
    trainer = make_trainer(tmp_path, callbacks=[end, energy, begin, First()])
    thread = threading.Thread(target=lambda: trainer.fit(Working(), loader(), loader(8)))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        thread.start()
        assert started.wait(60)
        make_trainer(tmp_path, max_epochs=2, callbacks=[energy]).fit(Working(), loader(16), loader(8))
        copied = [copy.deepcopy(energy), pickle.loads(pickle.dumps(energy))]
        ended.set()
        thread.join(60)
    assert not thread.is_alive()
    assert any(TOLD in str(w.message) for w in caught)
    assert energy.report.outcome == "completed"
    assert energy.report.samples == 3 * 32
    least_j, most_j = spent_j(device, begin, end)
    assert 0.98 * least_j <= energy.report.total.energy_j <= 1.02 * most_j
    for twin in copied:
        assert not {name for name in vars(twin) if name.startswith("on_")}


def test_a_trainer_that_never_said_goodbye_holds_nobody_up(tmp_path):
    """Its end came without a word to us: another callback's failed in its own clean-up."""

    class FailsTwice(Callback):
        def on_train_batch_end(self, *args):
            raise ValueError("first")

        def on_exception(self, *args):
            raise ValueError("second")

    energy = energy_callback()
    first = make_trainer(tmp_path, max_epochs=1, callbacks=[FailsTwice(), energy])
    with pytest.raises(ValueError, match="second"):
        first.fit(Classifier(), loader(), loader(8))
    make_trainer(tmp_path, max_epochs=1, callbacks=[energy]).fit(Working(), loader(), loader(8))
    assert energy.report.outcome == "completed"
    assert energy.report.samples == 32
