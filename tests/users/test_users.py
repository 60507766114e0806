"""Trainings as their users write them, each run as a script: the right score, or the reason why there is none."""

from __future__ import annotations

import runpy
import warnings
from pathlib import Path

import pytest

from lightning_energy import load_record
from lightning_energy.scores.metric import Metric

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent


@pytest.fixture
def ran(tmp_path, monkeypatch, capsys):
    """Runs a script in a folder of its own; gives its record and what it printed."""

    def run(name):
        monkeypatch.chdir(tmp_path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a machine without sensors is told that its figures are estimates
            runpy.run_path(str(HERE / f"{name}.py"), run_name="__main__")
        (file,) = (tmp_path / "lightning_logs").glob("version_0/energy.json")
        return load_record(file), capsys.readouterr().out

    return run


def test_a_resnet_that_logs_percent(ran):
    record, text = ran("resnet_percent")
    assert (record.metric.name, record.metric.scale, record.metric.mode) == ("val_acc", "percent", "max")
    assert 25.0 < record.metric.value <= 100.0
    accuracies = [row.metric / 100 for row in record.epochs]
    assert all(0 < row.score <= 5 * a**5 for row, a in zip(record.epochs, accuracies, strict=True))
    assert record.score.value == record.epochs[-1].score
    assert record.samples.n == 480  # 160 images in 3 epochs
    assert record.steps.n <= 15
    assert "val_acc" in text


def test_a_language_model_with_tokens_and_perplexity(ran):
    record, text = ran("gpt_tokens")
    assert (record.metric.name, record.metric.mode, record.metric.scale) == ("val/ppl", "min", "raw")
    assert record.score is None
    assert record.no_score.startswith("val/ppl is no accuracy (the less, the better).")
    assert [row.score for row in record.epochs] == [None, None]
    assert all(row.metric > 1.0 for row in record.epochs)
    assert record.units["train"] == {"samples": 160, "tokens": 2560}  # 80 texts of 16 tokens in 2 epochs
    assert "J/token" in text


def test_a_gan_with_two_optimizers(ran):
    record, text = ran("gan")
    assert (record.metric, record.score) == (None, None)
    assert record.no_score.startswith("no validation was run")
    assert record.samples.n == 200  # 100 points in 2 epochs
    assert record.total.energy_j > 0
    assert "no validation was run" in text


def test_a_regression_with_losses_alone(ran):
    record, text = ran("regression")
    assert (record.metric, record.score) == (None, None)
    assert record.no_score.startswith(
        "no accuracy was logged, only 'val_loss', 'val_mae'. The energy is complete, and nothing needs to be done."
    )
    assert record.samples.n == 180  # 90 points in 2 epochs
    assert [set(e.stages) for e in record.evaluations] == [{"test"}]
    assert "nothing needs to be done" in text


def test_a_segmentation_by_mean_iou(ran):
    record, _ = ran("segmentation")
    assert (record.metric.name, record.metric.scale) == ("val/mIoU", "fraction")
    assert 0 < record.metric.value <= 1
    assert 0 < record.score.value < 5 * record.metric.value**5
    assert record.samples.n == 96  # 48 images in 2 epochs


def test_a_detection_with_batches_of_tuples(ran):
    record, _ = ran("detection")
    assert record.metric == Metric("val_map_50", pytest.approx(0.5), "max", "fraction")
    # 5 * 0.1**5 / (1 + log10(2)): the first score's energy is the reference
    assert record.epochs[0].score == pytest.approx(3.8431e-5, rel=1e-3)
    assert 0 < record.score.value < 5 * 0.5**5
    assert record.samples.n == 78  # 26 images in 3 epochs
