from __future__ import annotations

import pytest

from lightning_energy.scores.metric import Metric


@pytest.mark.parametrize(
    ("metric", "accuracy"),
    [
        (Metric("val_acc", 0.75), 0.75),
        (Metric("val_acc", 1.0005), 1.0),
        (Metric("val_acc", -0.0005), 0.0),
        (Metric("val_acc", 1.01), None),
        (Metric("val_acc", 75.0, scale="percent"), 0.75),
        (Metric("val_acc", 100.05, scale="percent"), 1.0),
        (Metric("val_acc", 101.0, scale="percent"), None),
        (Metric("val_psnr", 0.75, scale="raw"), None),
        (Metric("val_error_rate", 0.25, "min", "fraction"), None),
    ],
)
def test_the_accuracy_of_a_value(metric, accuracy):
    assert metric.accuracy == accuracy


def test_the_better_of_two_values():
    assert Metric("val_acc", 0.75).is_better_than(0.5)
    assert not Metric("val_acc", 0.75).is_better_than(0.75)
    assert Metric("val_loss", 0.5, "min", "raw").is_better_than(0.75)
