from __future__ import annotations

import gc
import weakref
from collections import Counter

import lightning as L
import pytest
import torch
from lightning.pytorch.trainer.states import TrainerState
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

from lightning_energy.training.batch_sources import sources_of
from tests.modules import Classifier, Data, Numbers, energy_callback, make_trainer


def test_the_loaders_of_a_stage_are_asked_of_a_trainer_that_lives():
    class TrainerLike:
        train_dataloader, val_dataloaders, test_dataloaders, predict_dataloaders = "t", ["v"], "e", "p"
        lightning_module, datamodule = Classifier(), Data()
        state = TrainerState()

    trainer = TrainerLike()
    of, weak = sources_of(trainer), weakref.ref(trainer)
    sources = [of(stage) for stage in ("train", "validate", "test", "predict", "tune")]
    assert [source.loaders for source in sources] == ["t", ["v"], "e", "p", None]
    assert not any(source.is_changed or source.is_taken for source in sources)
    del trainer
    gc.collect()
    assert weak() is None
    assert of("train").loaders is None


class Counting(L.LightningModule):
    """Counts what its steps see."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 2)
        self.seen = Counter()

    def training_step(self, batch, batch_idx):
        self.seen["train"] += len(batch[0])
        return self.layer(batch[0]).sum()

    def validation_step(self, batch, batch_idx):
        self.seen["validate"] += len(batch[0])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


def of_lengths(lengths, n):
    """Rows of these lengths, padded to the longest, which is at times as long as a batch is large."""
    rows = [torch.ones(lengths[i % len(lengths)]) for i in range(n)]
    return DataLoader(rows, batch_size=8, collate_fn=lambda batch: [pad_sequence(batch, batch_first=True)])


def pairs(n):
    """Pairs of pairs: each half is a list, as if it came from a loader of its own."""
    x = torch.zeros(n, 4)
    return DataLoader([((a, a), (a, a)) for a in x], batch_size=4)


@pytest.mark.parametrize(
    ("loaders", "n"),
    [
        ([of_lengths([4] * 8 + [8] * 8 + [6] * 8, 44), of_lengths([8], 19)], 63),
        ([pairs(10), pairs(6)], 16),
        ({"a": DataLoader([{"a": torch.zeros(1), "b": torch.zeros(2)}] * 10, batch_size=4), "b": pairs(6)}, 16),
    ],
)
def test_several_validation_loaders_are_told_apart(tmp_path, loaders, n):
    class Module(Counting):
        def validation_step(self, batch, batch_idx, dataloader_idx):
            pass

    energy = energy_callback(score=None)
    trainer = make_trainer(tmp_path, callbacks=[energy], max_epochs=1)
    trainer.fit(Module(), rows(8), loaders)
    trainer.validate(Module(), loaders, verbose=False)
    assert [energy.report.units["validate"], energy.evaluations[0].units["validate"]] == [{"samples": n}] * 2


def whole_then_odd(_self, batch, *_):
    """Keeps the samples of class 1, but all of the first batches, so that the loader's promise is believed."""
    keep = batch[1] != 2
    return [part[keep] for part in batch]


def rows(n):
    data = Numbers(n)
    data.y = torch.tensor([0] * 20 + [1, 2, 2, 1] * n)[:n]
    return DataLoader(data, batch_size=4)


class Rows(L.LightningDataModule):
    def train_dataloader(self):
        return rows(42)

    def val_dataloader(self):
        return rows(32)


@pytest.mark.parametrize("hook", ["on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer"])
@pytest.mark.parametrize("owner", [Counting, Rows])
def test_samples_that_a_hook_removes_are_not_counted(tmp_path, monkeypatch, hook, owner):
    monkeypatch.setattr(owner, hook, whole_then_odd, raising=False)
    energy, module = energy_callback(score=None), Counting()
    data = [Rows()] if owner is Rows else [rows(42), rows(32)]
    make_trainer(tmp_path, callbacks=[energy], max_epochs=1, num_sanity_val_steps=0).fit(module, *data)
    assert module.seen == {"train": 31, "validate": 26}
    assert (energy.report.samples, energy.report.n_val) == (31, 26)


@pytest.mark.filterwarnings("ignore:.*`dataloader_iter`")
@pytest.mark.parametrize("takes", [1, 2])
def test_steps_that_take_several_batches_each_have_no_number_of_samples(tmp_path, takes):
    class Taking(Counting):
        def training_step(self, dataloader_iter):
            for _ in range(takes):
                batch, _, _ = next(dataloader_iter)
            return self.layer(batch[0]).sum()

    for more in ({}, {"per": {"rows": lambda batch: len(batch[0])}}):
        energy = energy_callback(score=None, **more)
        make_trainer(tmp_path, callbacks=[energy], max_epochs=1).fit(Taking(), rows(32), rows(8))
        n = 32 if takes == 1 else None
        assert energy.report.samples == n
        assert energy.report.units["train"] == {"samples": n, **({"rows": n} if more else {})}
        notes = [note.text for note in energy.report.notes if "a step takes none or several batches" in note.text]
        assert len(notes) == (takes == 2) * (1 + len(more))
