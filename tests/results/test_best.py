from __future__ import annotations

from lightning_energy.results.best import best_of
from lightning_energy.results.figures import Best
from lightning_energy.results.rows import EpochRow
from lightning_energy.scores.metric import Metric


def test_of_a_loss_the_loss_decides_and_not_a_score_of_the_users_own():
    rows = [EpochRow(epoch=e, metric=m, score=100 * m, total_kwh=0.1) for e, m in enumerate((0.9, 0.5, 0.6))]
    assert best_of(rows, Metric("val_loss", 0.6, "min", "raw")) == Best(1, 0.5, None, 0.1)
    assert best_of(rows, Metric("val_acc", 0.6)) == Best(0, 0.9, 90.0, 0.1)


def test_of_several_validations_of_an_epoch_the_last_one_is_known():
    """A better one may have come before it in the epoch: the text does not call this one the best of all."""
    rows = [EpochRow(epoch=i, metric=0.5 + i / 10, score=1.0, validations=n) for i, n in enumerate((1, 4))]
    assert best_of(rows, Metric("val_acc", 0.6)).is_of_ends
    assert not best_of(rows[:1], Metric("val_acc", 0.5)).is_of_ends
