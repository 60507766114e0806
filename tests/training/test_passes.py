"""The numbers of validation and test samples per pass, and the seed, in the record of a real run."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from torch.utils.data import DataLoader

import lightning_energy
from lightning_energy.ledger.counts import Counts
from lightning_energy.results.read import read_record
from tests.modules import Classifier, Numbers, energy_callback, make_trainer

SCHEMA = json.loads((Path(lightning_energy.__file__).parent / "results/record.schema.json").read_text())


def of(n: int) -> DataLoader:
    return DataLoader(Numbers(n), batch_size=4)


def test_a_run_says_its_seed_and_the_samples_of_a_pass(tmp_path, monkeypatch):
    monkeypatch.setenv("PL_GLOBAL_SEED", "11")
    energy = energy_callback(record=str(tmp_path))
    trainer = make_trainer(tmp_path, callbacks=[energy], max_epochs=2)
    module = Classifier()
    trainer.fit(module, of(8), of(6))
    trainer.test(module, of(10), verbose=False)
    record = read_record(tmp_path)
    jsonschema.Draft202012Validator(SCHEMA).validate(record.to_plain())
    assert record.units["validate"] == {"samples": 12}  # of both passes
    assert (record.seed, record.n_val, record.n_test) == (11, 6, 10)
    assert energy.report.n_val == record.report.n_val == 6
    assert energy.evaluations[-1].n_test == 10


def test_of_several_loaders_no_number_is_that_of_the_metric(tmp_path):
    energy = energy_callback(record=str(tmp_path))
    make_trainer(tmp_path, callbacks=[energy], max_epochs=1).fit(Classifier(), of(8), [of(6), of(4)])
    assert read_record(tmp_path).n_val is None


@pytest.mark.parametrize(("batches", "n"), [([3, 2], 5), ([None, 2], None), ([], None)])
def test_a_pass_that_ended_counts(batches, n):
    counts = Counts(batch_size_fn=lambda batch: batch)
    counts.begin_pass("validate")
    for batch in batches:
        counts.of("validate").add(batch, 0)
    counts.end_pass("validate")
    assert counts.passes == {"validate": n}
    counts.begin_pass("validate")
    counts.of("validate").add(7, 0)  # interrupted
    assert counts.passes == {"validate": n}
