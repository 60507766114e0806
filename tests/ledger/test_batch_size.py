from __future__ import annotations

import dataclasses
import time
from collections import OrderedDict, UserDict
from typing import Any, NamedTuple

import pytest
import torch
from lightning.pytorch.callbacks import LearningRateFinder
from lightning.pytorch.utilities import CombinedLoader
from torch.utils.data import BatchSampler, DataLoader, default_collate

from lightning_energy import EnergyCallback, MeterLost, ReplayMeter
from lightning_energy.ledger.batch_size import describe, first_size, look, size_of
from lightning_energy.ledger.batch_source import Source
from lightning_energy.ledger.sample_count import SampleCount
from lightning_energy.results.read import read_record
from lightning_energy.results.record import Samples
from tests.modules import Classifier, Numbers, energy_callback, make_trainer, meter

X = torch.zeros(5, 3)
Y = torch.zeros(5)


class Pair(NamedTuple):
    x: Any
    y: Any


@dataclasses.dataclass
class Item:
    image: Any
    mask: Any = None
    path: Any = None


class Graphs:
    """As a batch of torch_geometric: its tensors are of nodes and edges."""

    x = torch.zeros(40, 3)
    num_graphs = 8


def images(n: int, *size: int) -> list[torch.Tensor]:
    return [torch.zeros(3, *size) for _ in range(n)]


@pytest.mark.parametrize(
    ("batch", "n"),
    [
        (X, 5),
        (torch.tensor(3.0), 1),
        ([torch.tensor(3.0)], 1),
        ([torch.nn.Parameter(X)], 5),
        ([["a"], X], 5),
        ([X, Y], 5),
        ((["a", "b"], {"image": X}), 5),
        (OrderedDict(id=["a"], image=X), 5),
        (UserDict(input_ids=torch.zeros(5, 9), labels=Y), 5),  # as a BatchEncoding of transformers
        (Pair(X, Y), 5),
        (Item(X, Y, ["a.png"]), 5),
        ([Item(X)], 5),
        ([torch.zeros(5, 3, 8, 8), torch.zeros(5, 3, 8, 8)], 5),  # two views
        ([torch.zeros(4, 3, 8, 8), torch.zeros(4)], 4),
        (((X, X), (Y, None)), 5),  # pytorch-forecasting
        ([torch.zeros(5, dtype=torch.long), torch.zeros(5, dtype=torch.long), Y], 5),  # user, item, rating
    ],
)
def test_the_first_dimension_where_all_tensors_agree(batch, n):
    assert size_of(batch) == n
    assert first_size(batch) in {n, None}  # None, where there is none, and the whole batch is looked at
    assert look(batch) == (n, False)
    assert look(batch, DataLoader(Numbers(9), batch_size=n)) == (n, True)


@pytest.mark.parametrize(
    ("batch", "reason"),
    [
        ([], "a batch (a list) has no tensors"),
        ({}, "a batch (a dict) has no tensors"),
        (None, "a batch (a NoneType) has no tensors"),
        ("text", "a batch (a str) has no tensors"),
        (["a", 3, None], "a batch (a list of 3: str, int, NoneType) has no tensors"),
        (Graphs(), "a batch (a tests.ledger.test_batch_size.Graphs) has no tensors"),
        (Item, "a batch (a type) has no tensors"),
        ([torch.tensor(1.0), torch.tensor(2.0)], "has no tensors with a first dimension"),
        ([X, torch.zeros(7)], "differ: 5, 7"),
        ([torch.zeros(n) for n in (16, 12, 9, 8, 7)], "a list of 5: Tensor, Tensor, Tensor, …) differ: 7, 8, 9, 12, …"),
        ({"boxes": torch.zeros(9, 4), "image": torch.zeros(2, 3, 8, 8)}, "a batch (a dict) differ: 2, 9"),
        ((torch.zeros(20, 5, 3), Y), "differ: 5, 20"),  # time first
        ([torch.zeros(16_000) for _ in range(3)], "single samples, whose first dimension is 16000"),  # clips
        (tuple(images(8, 9, 9)), "single samples, whose first dimension is 3"),
        (torch.zeros(3, 8, 8), "single samples, whose first dimension is 3"),
        ((torch.zeros(1, 8, 8), torch.tensor(7)), "single samples, whose first dimension is 1"),
        ([torch.zeros(12), torch.tensor(7)], "a single sample: beside numbers or texts it has a first dimension of 12"),
        ((torch.zeros(12), 7), "a single sample: beside numbers or texts it has a first dimension of 12"),
        ((torch.zeros(80, 30), torch.tensor(7)), "a single sample: beside numbers or texts"),  # a spectrogram
        ({"image": torch.zeros(16, 16), "caption": "a cat"}, "a single sample: beside numbers or texts"),
        (torch.zeros(12), "a single sample: it is a row of 12"),
        ((images(2, 8, 8), [{"boxes": torch.zeros(1, 4)}, {"boxes": torch.zeros(6, 4)}]), "differ: 1, 3, 6"),
        ([Item(X), Item(X)], "single samples, whose first dimension is 5"),
        ([X] * 10_000, "more than 10000 parts"),
    ],
)
def test_elsewhere_it_is_not_known(batch, reason):
    if "parts" in reason:
        with pytest.raises(ValueError, match=reason):
            size_of(batch)
        return
    assert size_of(batch) is None
    assert reason in look(batch)[0]


def test_a_first_dimension_is_no_larger_than_the_dataloaders_batches():
    clips = [torch.zeros(16_000, dtype=torch.long) for _ in range(3)]
    assert size_of(clips) == 16_000  # as three columns of integers, for all that is known
    text, _ = look(clips, DataLoader(Numbers(), batch_size=3))
    assert "the first dimension of the tensors in a batch (a list of 3: Tensor, Tensor, Tensor) is 16000" in text
    assert "the DataLoader's batch_size is 3" in text


@pytest.mark.parametrize(
    ("batch", "batch_size", "n"),
    [
        (images(8, 9, 9), 8, None),  # as many tensors as a batch has samples
        (images(3, 9, 9), 8, None),  # an epoch of one small batch
        (images(3, 9, 9), 3, 3),  # three, whichever way one looks at it
        ([X, Y], 8, 5),
        ([torch.zeros(3, 3, 8, 8), torch.zeros(3)], 8, 3),
        (torch.zeros(3, 3, 8, 8), 8, 3),
        (torch.zeros(30, 64), 64, None),  # time first
        ([torch.zeros(12), torch.tensor(0.5)], 12, 12),  # a weight, and no row of one sample
        ({"x": X, "temperature": torch.tensor(0.5), "task": "qa"}, 5, 5),
        ([torch.zeros(64, 30), torch.zeros(64, 30)], 64, 64),
    ],
)
def test_what_the_dataloaders_batch_size_tells(batch, batch_size, n):
    assert size_of(batch, batch_size) == n


def test_the_last_batch_is_smaller():
    """Two columns, two in a batch: a list of single samples for all that is known, but for the batches before."""
    last = [torch.zeros(1, 3), torch.zeros(1, 3)]
    of_two = DataLoader(Numbers(3), batch_size=2)
    assert "single samples" in look(last, of_two)[0]
    assert look(last, of_two, is_sure=True) == (1, False)
    assert "differ" in look([X, torch.zeros(7)], of_two, is_sure=True)[0]


def of_five(**settings: Any) -> DataLoader:
    return DataLoader(Numbers(), batch_sampler=BatchSampler(range(32), 5, drop_last=False), **settings)


class OfTokens:
    """Takes samples as long as their tokens fit."""

    def __iter__(self):
        yield from ([0, 1, 2], [3], [4, 5])


@pytest.mark.parametrize(
    ("batch", "loader", "n"),
    [
        # samples of several lengths, joined for attention without padding
        (
            {"input_ids": torch.zeros(1, 90, dtype=torch.long)},
            DataLoader(Numbers(), batch_size=5, collate_fn=list),
            None,
        ),
        (
            {"input_ids": torch.zeros(90, dtype=torch.long)},
            DataLoader([], batch_sampler=OfTokens(), collate_fn=list),
            None,
        ),
        ({"input_ids": torch.zeros(90, dtype=torch.long)}, of_five(collate_fn=list), None),
        (torch.tensor(5.0), DataLoader(Numbers(), batch_size=5, collate_fn=list), None),
        # the last of 11, or the only one
        ([torch.zeros(1, 3), torch.zeros(1)], DataLoader(Numbers(1), batch_size=5), 1),
        ([torch.zeros(1, 3), torch.zeros(1)], DataLoader(Numbers(1), batch_size=1, collate_fn=list), 1),
        # batches of a batch sampler are no single samples
        ((torch.zeros(3, 30), torch.tensor(0.5)), DataLoader([], batch_sampler=OfTokens()), 3),
        (torch.zeros(3), DataLoader([], batch_sampler=OfTokens()), 3),
        ((torch.zeros(5, 30), "qa"), of_five(), 5),
    ],
)
def test_what_the_dataloaders_way_to_make_a_batch_tells(batch, loader, n):
    found, _ = look(batch, loader)
    assert (found if isinstance(found, int) else None) == n
    count = SampleCount(lambda: Source(loader))
    count.add(batch, 0)
    assert (count.n, bool(count.problem)) == (n, n is None)


def test_batches_of_several_loaders():
    four, eight = DataLoader(Numbers(), batch_size=4), DataLoader(Numbers(), batch_size=8)
    x, y = torch.zeros(4, 3), torch.zeros(4)
    for loaders, batch in (([four, four], [[x, y], [x, y]]), ({"a": four, "b": four}, {"a": [x, y], "b": [x, y]})):
        assert look(batch, loaders) == ("a batch comes from 2 loaders together", False)
    assert look([x, x], [four, four], together=True) == ("a batch comes from 2 loaders together", False)
    assert look([x, y], [four, four]) == (4, True)  # of a validation: one loader after the other
    assert look([x, y], {"a": four, "b": four}) == (4, True)
    assert look([x, y], [four, eight]) == (4, False)
    assert look([[x, y]], [four], together=True) == (4, True)
    assert look([x, y], [four, "a loader of another library"]) == (4, False)


def test_a_type_is_named_as_one_writes_it():
    assert describe(torch.zeros(2)) == "a Tensor"
    assert describe(OrderedDict()) == "a OrderedDict"
    assert describe(Pair(1, "a")) == "a tests.ledger.test_batch_size.Pair of 2: int, str"


def fit(tmp_path, energy, **kwargs):
    module = Classifier()
    trainer = make_trainer(tmp_path, callbacks=[energy], max_epochs=3, **kwargs)
    trainer.fit(module, DataLoader(Numbers(30), batch_size=4), DataLoader(Numbers(8), batch_size=4))
    return energy.report


def test_energy_per_sample_of_a_run(tmp_path):
    report = fit(tmp_path, energy_callback(record=str(tmp_path)), accumulate_grad_batches=2)
    assert report.samples == 3 * 30  # the last batch of an epoch is smaller
    assert report.sample_j == pytest.approx(report.stages["train"].energy_j / 90)
    assert "Per training sample: " in report.details()
    record = read_record(tmp_path)
    u = report.stages["train"].u_j / 90, report.stages["train"].u_absolute_j / 90
    assert record.samples == Samples(90, report.sample_j, *u)
    assert record.what["batch_size"] == 4
    assert record.sessions[0].samples == 90


def test_gaps_are_the_part_of_training_between_steps(tmp_path):
    report = fit(tmp_path, energy_callback())
    assert 0 < report.gaps.energy_j < report.stages["train"].energy_j
    assert 0 < report.gaps.duration_s < report.stages["train"].duration_s


@pytest.mark.slow
def test_a_function_of_the_users(tmp_path):
    assert fit(tmp_path, energy_callback(batch_size_fn=lambda batch: 2 * len(batch[0]))).samples == 180
    report = fit(tmp_path, energy_callback(batch_size_fn=lambda batch: batch.size))
    assert (report.samples, report.sample_j) == (None, None)
    (note,) = [note.text for note in report.notes if note.kind == "samples"]
    assert note.startswith(
        "Samples of train and validate were not counted: batch_size_fn raised AttributeError: 'list'"
    )
    with pytest.raises(TypeError, match="batch_size_fn=3: give a function"):
        energy_callback(batch_size_fn=3)


def count_tokens(batch) -> int:
    return batch[0].numel()


def test_units_of_the_users_own(tmp_path):
    """4 numbers in each of 30 vectors, three times, and of 8 after each epoch; those of the sanity check are tried."""
    energy = energy_callback(per={"tokens": count_tokens}, record=str(tmp_path))
    report = fit(tmp_path, energy)
    assert report.units == {
        "train": {"samples": 90, "tokens": 360},
        "validate": {"samples": 24, "tokens": 96},
    }
    train_j, val_j = report.stages["train"].energy_j, report.stages["validate"].energy_j
    assert report.unit_j("tokens") == pytest.approx(train_j / 360)
    assert report.unit_j() == report.sample_j == pytest.approx(train_j / 90)
    assert report.unit_j("tokens", "validate") == pytest.approx(val_j / 96)
    assert report.unit_j("frames") is report.unit_j("tokens", "test") is None
    record = read_record(tmp_path)
    assert record.units == report.units == record.report.units


def test_a_unit_that_cannot_be_counted_is_not_known(tmp_path):
    def fails(batch):
        if len(batch[0]) < 4:  # the last batch of an epoch
            raise KeyError("ids")
        return 1

    report = fit(tmp_path, energy_callback(per={"tokens": fails, "frames": lambda batch: 0.5}))
    assert report.units["train"] == {"samples": 90, "tokens": None, "frames": None}
    assert report.units["validate"] == {"samples": 24, "tokens": 6, "frames": None}
    tokens, frames = (note.text for note in report.notes if note.kind == "samples")
    assert tokens == "tokens of train were not counted: per['tokens'] raised KeyError: 'ids'"
    assert frames.startswith(
        "frames of train and validate were not counted: per['frames'] gave 0.5 for a batch (a list"
    )
    assert report.outcome == "completed"


def test_samples_of_a_test_and_a_prediction(tmp_path):
    energy = energy_callback(per={"tokens": count_tokens}, record=str(tmp_path / "energy.json"))
    trainer = make_trainer(tmp_path, callbacks=[energy], max_epochs=1)
    module = Classifier()
    trainer.fit(module, DataLoader(Numbers(8), batch_size=4), DataLoader(Numbers(6), batch_size=4))
    trainer.test(module, DataLoader(Numbers(10), batch_size=4), verbose=False)
    trainer.predict(module, DataLoader(Numbers(7), batch_size=4))
    tested, predicted = energy.evaluations
    assert (tested.samples, tested.units) == (None, {"test": {"samples": 10, "tokens": 40}})
    assert tested.unit_j("samples", "test") == pytest.approx(tested.stages["test"].energy_j / 10)
    assert predicted.units == {"predict": {"samples": 7, "tokens": 28}}
    record = read_record(tmp_path)
    assert record.units == {
        "train": {"samples": 8, "tokens": 32},
        "validate": {"samples": 6, "tokens": 24},
    }
    assert [row.units for row in record.evaluations] == [tested.units, predicted.units]


class Anything(Classifier):
    """Trains whatever the batches are."""

    def training_step(self, batch, batch_idx):
        return self.layer(torch.ones(1, 4)).sum()


def trained(tmp_path, loader, **kwargs) -> Any:
    energy = energy_callback(**kwargs)
    trainer = make_trainer(tmp_path, callbacks=[energy], max_epochs=1)
    trainer.fit(Anything(), loader, DataLoader(Numbers(4), batch_size=4))
    return energy.report


class Listed(torch.utils.data.Dataset):
    """Samples that differ in length."""

    def __init__(self, samples: list[Any]) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, i: int) -> Any:
        return self.samples[i]


@pytest.mark.parametrize(
    ("samples", "batch_size", "collate"),
    [
        ([torch.zeros(16_000) for _ in range(12)], 3, list),  # 12 clips, of which 64,000 were counted
        ([torch.zeros(3, 8, 8) for _ in range(192)], 8, tuple),  # 192 images, of which 72 were counted
        (
            [(torch.zeros(3, 8, 8 + i), {"boxes": torch.zeros(i, 4)}) for i in range(8)],
            4,
            lambda b: tuple(zip(*b, strict=True)),
        ),
        ([torch.zeros(5 + i % 3) for i in range(12)], 4, torch.nn.utils.rnn.pad_sequence),  # time first
        ([torch.zeros(2, 3)] * 6, 2, lambda batch: Graphs()),
    ],
)
def test_batches_that_do_not_say_their_size_leave_a_note_and_a_function_helps(tmp_path, samples, batch_size, collate):
    report = trained(tmp_path, DataLoader(Listed(samples), batch_size=batch_size, collate_fn=collate))
    assert (report.samples, report.sample_j, report.units["train"]) == (None, None, {"samples": None})
    (note,) = [note.text for note in report.notes if note.kind == "samples"]
    assert note.startswith("Samples of train were not counted: ")
    assert describe(collate(samples[:batch_size])) in note
    assert "Give EnergyCallback(batch_size_fn=…)" in note
    loader = DataLoader(Listed(samples), batch_size=batch_size, collate_fn=collate)
    assert trained(tmp_path, loader, batch_size_fn=lambda batch: batch_size).samples == len(samples)


@pytest.mark.slow
def test_several_loaders_and_the_one_that_is_not_several(tmp_path):
    def of(n: int) -> DataLoader:
        return DataLoader(Numbers(n), batch_size=4)

    for loaders in ([of(8), of(8)], {"a": of(8), "b": of(8)}, CombinedLoader([of(8), of(12)], "max_size_cycle")):
        report = trained(tmp_path, loaders)
        assert report.samples is None
        assert any("a batch comes from 2 loaders together" in note.text for note in report.notes)
    assert trained(tmp_path, [of(8)]).samples == 8


def test_dataclasses_are_counted_by_their_fields(tmp_path):
    def collate(samples):
        return Item(torch.stack([x for x, _ in samples]), None, ["a"] * len(samples))

    assert trained(tmp_path, DataLoader(Numbers(10), batch_size=4, collate_fn=collate)).samples == 10


def test_two_validation_loaders_are_counted_one_after_the_other(tmp_path):
    energy = energy_callback()
    trainer = make_trainer(tmp_path, callbacks=[energy], max_epochs=1)
    loaders = [DataLoader(Numbers(10), batch_size=4), DataLoader(Numbers(6), batch_size=2)]
    trainer.fit(Classifier(), DataLoader(Numbers(8), batch_size=4), loaders)
    assert energy.report.units == {"train": {"samples": 8}, "validate": {"samples": 16}}


@pytest.mark.parametrize(
    "second",
    [
        DataLoader(Listed([torch.zeros(3, 8, 8)] * 8), batch_size=4, collate_fn=list),  # 6 were counted
        DataLoader(Listed([torch.zeros(1, 5)] * 8), batch_size=4, collate_fn=lambda batch: torch.cat(batch, 1)),  # 2
        DataLoader(Listed([torch.zeros(3, 2)] * 8), batch_size=4, collate_fn=lambda batch: torch.stack(batch, 1)),  # 6
    ],
)
def test_full_batches_of_one_loader_say_nothing_of_the_next(tmp_path, second):
    energy, module = energy_callback(), Anything()
    trainer = make_trainer(tmp_path, callbacks=[energy], max_epochs=1)
    trainer.fit(module, DataLoader(Numbers(8), batch_size=4), [DataLoader(Numbers(8), batch_size=4), second])
    assert energy.report.units == {"train": {"samples": 8}, "validate": {"samples": None}}


def test_validation_loaders_that_give_their_batches_together(tmp_path):
    def of(n: int) -> DataLoader:
        return DataLoader(torch.zeros(n, 4), batch_size=4)

    module = Anything()
    for mode, n in (("min_size", None), ("sequential", 20)):
        energy = energy_callback()
        trainer = make_trainer(tmp_path, callbacks=[energy], max_epochs=1)
        trainer.fit(module, DataLoader(Numbers(8), batch_size=4), CombinedLoader([of(8), of(12)], mode))
        trainer.validate(module, CombinedLoader([of(8), of(12)], mode), verbose=False)
        assert [energy.report.units["validate"], energy.evaluations[0].units["validate"]] == [{"samples": n}] * 2


@pytest.mark.parametrize(
    ("sample", "collate"),
    [
        ({"image": torch.zeros(3, 8, 8)}, list),  # 9 were counted
        (Item(torch.zeros(2, 7)), list),
        (Pair(torch.zeros(3), torch.zeros(3, 5)), tuple),
        ({"image": torch.zeros(4, 8, 8)}, list),  # 12, as the last 2 were 4
        (torch.zeros(4, 5), list),
        (torch.zeros(4, 5), lambda samples: torch.stack(samples, 1)),
    ],
)
def test_single_samples_and_time_first_are_not_counted(tmp_path, sample, collate):
    """10 samples in batches of four: the first dimension of theirs is no number of samples."""
    assert trained(tmp_path, DataLoader(Listed([sample] * 10), batch_size=4, collate_fn=collate)).samples is None


@pytest.mark.parametrize("fn", [None, lambda batch: len(batch[0])])
@pytest.mark.parametrize("collate", [default_collate, lambda batch: [torch.stack([x for x, _ in batch])]])
def test_samples_are_not_known_where_a_derived_class_keeps_some_batches_from_us(tmp_path, fn, collate):
    """Every other one, of which 16 samples of 30 were counted."""

    class Derived(EnergyCallback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
            if batch_idx % 2 == 0:
                super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    energy = Derived(meters=meter(), print_report=False, batch_size_fn=fn)
    trainer = make_trainer(tmp_path, callbacks=[energy], max_epochs=1)
    trainer.fit(Anything(), DataLoader(Numbers(30), batch_size=4, collate_fn=collate), DataLoader(Numbers(8)))
    assert energy.report.units == {"train": {"samples": None}, "validate": {"samples": 8}}
    (note,) = [note.text for note in energy.report.notes if note.kind == "samples"]
    assert note.startswith("Samples of train were not counted: some batches did not come to EnergyCallback. Let the")


def test_batches_of_a_search_are_no_samples(tmp_path):
    """A finder tries 5 batches before the training, which works off 8 samples."""

    class Tuned(Anything):
        def __init__(self) -> None:
            super().__init__()
            self.lr = 0.1

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=self.lr)

    energy = energy_callback()
    finder = LearningRateFinder(num_training_steps=5)
    trainer = make_trainer(tmp_path, callbacks=[finder, energy], max_epochs=1)
    trainer.fit(Tuned(), DataLoader(Numbers(8), batch_size=4), DataLoader(Numbers(4), batch_size=4))
    assert energy.report.samples == 8


@pytest.mark.parametrize("fn", [None, count_tokens])
def test_samples_that_a_derived_class_keeps_from_us_are_not_known(tmp_path, fn):
    """Its hooks do not call ours: there was training, and not of 0 samples."""

    class Derived(EnergyCallback):
        def on_train_batch_end(self, *args, **kwargs) -> None:
            pass

        on_validation_batch_end = on_predict_batch_end = on_train_batch_end

    energy = Derived(meters=meter(), print_report=False, batch_size_fn=fn, record=str(tmp_path))
    module, trainer = Classifier(), make_trainer(tmp_path, callbacks=[energy], max_epochs=2)
    trainer.fit(module, DataLoader(Numbers(30), batch_size=4), DataLoader(Numbers(8), batch_size=4))
    report = energy.report
    assert (report.samples, report.sample_j, report.n_val) == (None, None, None)
    assert report.units == read_record(tmp_path).units == {"train": {"samples": None}, "validate": {"samples": None}}
    (note,) = [note.text for note in report.notes if note.kind == "samples"]
    assert note.startswith("Samples of train and validate were not counted: no batch came to EnergyCallback. If there")
    trainer.predict(module, DataLoader(Numbers(7), batch_size=4))
    assert energy.evaluations[0].units == {"predict": {"samples": None}}


class Silent(ReplayMeter):
    """Does not answer while it is told so."""

    silent = False

    def read(self):
        if self.silent:
            raise MeterLost("no answer")
        return super().read()


@pytest.mark.slow
def test_no_energy_per_sample_where_some_of_it_is_missing(tmp_path):
    """Samples of the missing time were trained on, too: a ratio would be too small."""
    meter = Silent(100.0, counter_period_s=0.02)

    class Module(Classifier):
        def training_step(self, batch, batch_idx):
            meter.silent = self.current_epoch == 1
            time.sleep(1.5 if meter.silent and batch_idx == 0 else 0.02)  # shorter is bridged
            return super().training_step(batch, batch_idx)

    energy = energy_callback(meters=meter)
    trainer = make_trainer(tmp_path, callbacks=[energy], max_epochs=3)
    with pytest.warns(UserWarning, match="is missing from all totals"):
        trainer.fit(Module(), DataLoader(Numbers(30), batch_size=4), DataLoader(Numbers(8), batch_size=4))
    report = energy.report
    assert report.samples == 90
    assert report.session.missing_s > 1
    assert report.sample_j is None
    (missing,) = report.missing
    assert missing.device_id == "replay-0"
    assert missing.duration_s == pytest.approx(report.session.missing_s)
    begin_s, end_s = time.time() - report.session.duration_s - 5, time.time() - missing.duration_s + 0.1
    assert begin_s < missing.started_unix_s < end_s
