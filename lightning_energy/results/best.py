"""The best epoch of a training, and the energy that it took to get there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightning_energy.results.figures import Best

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_energy.results.rows import EpochRow
    from lightning_energy.scores.metric import Metric

__all__ = ["best_of", "epoch_of", "why_no_metric"]


def best_of(epochs: Sequence[EpochRow], metric: Metric | None) -> Best | None:
    """Find the best epoch: that of the highest score where epochs have scores, else of the best metric.

    A score of a metric of which less is better is a function of the user's, whose better direction nobody knows: then
    the metric decides alone.

    Args:
        epochs: the rows of the epochs, in the order of time.
        metric: tells which values are better.

    Returns:
        The first of equals; ``None`` where no epoch has a value.

    Example:
        >>> from lightning_energy.results.rows import EpochRow
        >>> from lightning_energy.scores.metric import Metric
        >>> rows = [EpochRow(epoch=0, metric=9.0), EpochRow(epoch=1, metric=7.0), EpochRow(epoch=2, metric=8.0)]
        >>> best_of(rows, Metric("val_ppl", 8.0, "min", "raw")).epoch
        1
    """
    if metric is None:
        return None
    is_max = metric.mode == "max"
    scored = [row for row in epochs if row.score is not None and is_max]
    known = [row for row in epochs if row.metric is not None]
    if scored:
        best = max(scored, key=lambda row: row.score or 0.0)
    elif known:
        best = max(known, key=lambda row: (row.metric or 0.0) * (1 if is_max else -1))
    else:
        return None
    score = best.score if scored else None
    is_of_ends = any((row.validations or 0) > 1 for row in epochs)
    return None if best.metric is None else Best(best.epoch, best.metric, score, best.total_kwh, is_of_ends)


def epoch_of(epochs: Sequence[EpochRow], metric: Metric | None) -> int | None:
    """Find the epoch of a training's last metric.

    Args:
        epochs: the rows of the epochs, in the order of time.
        metric: the last value.

    Returns:
        The epoch, counted from 0; ``None`` where no row has that value as its last one.

    Example:
        >>> from lightning_energy.results.rows import EpochRow
        >>> from lightning_energy.scores.metric import Metric
        >>> rows = [EpochRow(epoch=0, metric=0.7), EpochRow(epoch=1, metric=0.9), EpochRow(epoch=2)]
        >>> epoch_of(rows, Metric("val_acc", 0.9)), epoch_of(rows, Metric("val_acc", 0.95))
        (1, None)
    """
    last = next((row for row in reversed(epochs) if row.metric is not None), None)
    return last.epoch if metric is not None and last is not None and last.metric == metric.value else None


def why_no_metric(epochs: Sequence[EpochRow]) -> str:
    """The reason why a training's last validation has no metric although one was logged, with its epoch.

    Args:
        epochs: the rows of the epochs, in the order of time.

    Returns:
        The reason, a sentence without a subject; empty where the last value that was logged is a metric.

    Example:
        >>> from lightning_energy.results.rows import EpochRow
        >>> lost = EpochRow(epoch=1, no_metric="val_loss=nan is not finite")
        >>> why_no_metric([EpochRow(epoch=0, metric=0.7), lost, EpochRow(epoch=2)])
        'in epoch 1 val_loss=nan is not finite'
        >>> why_no_metric([lost, EpochRow(epoch=2, metric=0.6)])
        ''
    """
    last = next((row for row in reversed(epochs) if row.metric is not None or row.no_metric), None)
    return f"in epoch {last.epoch} {last.no_metric}" if last is not None and last.no_metric else ""
