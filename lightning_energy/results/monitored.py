"""The values of a finished training that Lightning's ``EarlyStopping`` would have met, as far as its rows know them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from lightning_energy.scores.metric import NOT_FINITE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_energy.results.rows import EpochRow
    from lightning_energy.scores.metric import Mode

__all__ = ["Monitored", "is_not_finite", "lost_epochs", "monitored", "why_not_monitored"]

ONCE = "check_on_train_epoch_end=True"


class Monitored(NamedTuple):
    """Values that ``EarlyStopping`` would have met.

    Attributes:
        values: one for each row; NaN where a value was not finite, ``None`` where it would not have looked.
        argument: the argument with which it looks at these and at no others; empty where it needs none.
    """

    values: list[float | None]
    argument: str = ""

    def best(self, mode: Mode) -> int | None:
        """The row of the best value, the first of equals; ``None`` without a value."""
        known = [(i, value) for i, value in enumerate(self.values) if value is not None and math.isfinite(value)]
        sign = 1.0 if mode == "max" else -1.0
        return max(known, key=lambda pair: (sign * pair[1], -pair[0]))[0] if known else None


def monitored(rows: Sequence[EpochRow], *, by_score: bool) -> Monitored:
    """The values that ``EarlyStopping`` would have met, for which :func:`why_not_monitored` has no reason against.

    It looks after each validation. Of several in an epoch a row has the last one, which it sees alone where it looks at
    the end of epochs. Of a score it waits where there is none.

    Args:
        rows: the rows of the epochs, in the order of time.
        by_score: whether it monitors the score, and not the metric.

    Example:
        >>> from lightning_energy.results.rows import EpochRow
        >>> rows = [EpochRow(epoch=i, metric=0.1 * i, validations=2) for i in range(2)]
        >>> monitored(rows, by_score=False)
        Monitored(values=[0.0, 0.1], argument='check_on_train_epoch_end=True')
    """
    values = [
        None if is_lost else row.score if by_score else math.nan if is_not_finite(row) else row.metric
        for row, is_lost in zip(rows, lost_epochs(rows), strict=True)
    ]
    return Monitored(values, ONCE if any(_may_be_several(row) for row in rows) else "")


def why_not_monitored(rows: Sequence[EpochRow], *, by_score: bool) -> str:
    """The reason why nobody knows the values that ``EarlyStopping`` would have met; empty where they are known.

    Args:
        rows: the rows of the epochs, in the order of time.
        by_score: whether it monitors the score, and not the metric.
    """
    counts = [row for row, is_lost in zip(rows, lost_epochs(rows), strict=True) if not is_lost]
    validated = [row for row in counts if _is_validated(row)]
    if len(validated) < len(counts) and any(_may_be_several(row) for row in counts):
        return "some of its epochs may have several validations and others have none, and it keeps the last of each"
    lacks = next((r for r in validated if r.metric is None and not is_not_finite(r)), None)
    if lacks is not None and not by_score:
        return f"the validation of epoch {lacks.epoch} has no value of its metric"
    return ""


def is_not_finite(row: EpochRow) -> bool:
    """True where the epoch's last validation logged a value that is not finite."""
    return row.metric is None and NOT_FINITE in (row.no_metric or "")


def lost_epochs(rows: Sequence[EpochRow]) -> list[bool]:
    """True for each epoch that a later session trained again: later stoppings know nothing of it.

    Args:
        rows: the rows of the epochs, in the order of time.

    Example:
        >>> from lightning_energy.results.rows import EpochRow
        >>> lost_epochs([EpochRow(session=0, epoch=0), EpochRow(session=0, epoch=1), EpochRow(session=1, epoch=1)])
        [False, True, False]
    """
    lost: list[bool] = []
    later = first = math.inf  # the first epochs of later sessions, and of the one of the row
    session = None
    for row in reversed(rows):
        if row.session != session:
            session, later, first = row.session, min(later, first), math.inf
        first = min(first, row.epoch)
        lost.append(row.epoch >= later)
    return lost[::-1]


def _is_validated(row: EpochRow) -> bool:
    if row.validations is not None:
        return row.validations > 0
    return bool(row.val_s) or row.metric is not None or row.no_metric is not None


def _may_be_several(row: EpochRow) -> bool:
    """True where an epoch had several validations, or where nobody knows how many."""
    return row.validations > 1 if row.validations is not None else _is_validated(row)
