from __future__ import annotations

import time
from collections import OrderedDict

import pytest
import torch
from torch.utils.data import DataLoader

from lightning_energy import MeterLost, ReplayMeter
from lightning_energy.ledger.batch_size import SampleCount, size_of
from lightning_energy.results.read import read_record
from lightning_energy.results.record import Samples
from tests.modules import Classifier, Numbers, energy_callback, make_trainer

X = torch.zeros(5, 3)


@pytest.mark.parametrize(
    ("batch", "n"),
    [
        (X, 5),
        (torch.tensor(3.0), 1),
        ([torch.tensor(3.0)], 1),
        ([torch.nn.Parameter(X)], 5),
        ([["a"], X], 5),
        ([X, torch.zeros(7)], 5),
        ((["a", "b"], {"image": X}), 5),
        (OrderedDict(id=["a"], image=X), 5),
        ([], None),
        ({}, None),
        (None, None),
        ("text", None),
        (["a", 3, None], None),
    ],
)
def test_the_first_dimension_of_the_first_tensor(batch, n):
    assert size_of(batch) == n
    count = SampleCount()
    for _ in range(2):
        count.add(batch)
    assert count.n == (None if n is None else 2 * n)
    assert not count.problem


def test_one_batch_that_cannot_be_counted_makes_the_number_unknown():
    count = SampleCount()
    for batch in (X, X, None, X):
        count.add(batch)
    assert count.n is None
    assert not count.problem


def test_a_function_of_the_users_that_fails_is_told():
    count = SampleCount(lambda batch: batch["n"])
    count.add({"n": 3})
    assert count.n == 3
    count.add({})
    assert count.n is None
    assert "KeyError: 'n'" in count.problem


def test_a_batch_that_cannot_be_looked_into_is_told():
    class Closed(OrderedDict):
        def values(self):
            raise RuntimeError("closed")

    count = SampleCount()
    count.add(Closed())
    assert count.n is None
    assert "the batch raised RuntimeError: closed" in count.problem


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
    assert record.samples == Samples(90, report.sample_j)
    assert record.what["batch_size"] == 4
    assert record.sessions[0].samples == 90


def test_gaps_are_the_part_of_training_between_steps(tmp_path):
    report = fit(tmp_path, energy_callback())
    assert 0 < report.gaps.energy_j < report.stages["train"].energy_j
    assert 0 < report.gaps.duration_s < report.stages["train"].duration_s


def test_a_function_of_the_users(tmp_path):
    assert fit(tmp_path, energy_callback(batch_size_fn=lambda batch: 2 * len(batch[0]))).samples == 180
    report = fit(tmp_path, energy_callback(batch_size_fn=lambda batch: batch.size))
    assert (report.samples, report.sample_j) == (None, None)
    assert any("batch_size_fn raised AttributeError" in note.text for note in report.notes)
    with pytest.raises(TypeError, match="batch_size_fn=3: give a function"):
        energy_callback(batch_size_fn=3)


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
            until_s = time.monotonic() + (1.5 if meter.silent and batch_idx == 0 else 0.02)  # shorter is bridged
            loss = super().training_step(batch, batch_idx)
            while time.monotonic() < until_s:
                loss = super().training_step(batch, batch_idx)
            return loss

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
