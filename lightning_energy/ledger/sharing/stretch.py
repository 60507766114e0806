"""Intervals between updates of one counter, with the classes of work that went on in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lightning_energy.ledger.sharing.prior import NO_PARTS, Prior

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lightning_energy.ledger.sharing.timeline import Timeline

__all__ = ["Stretch"]


class Stretch(NamedTuple):
    """Intervals between updates of a counter, in seconds from any origin.

    Attributes:
        knot_s: times of the updates, shape (n + 1,).
        rise_j: joules of each interval, shape (n,).
        half_s: half of the bracket of each update's time, shape (n + 1,).
        is_known: false for intervals that tell nothing of powers: missing ones, and those that are no differences of a
            register; shape (n,).
        classes: the classes of work in force.
        stage: the stage of each class, shape (classes,): the delay is told from changes of stage.
        prior: what is supposed of the classes' powers.
    """

    knot_s: NDArray[np.float64]
    rise_j: NDArray[np.float64]
    half_s: NDArray[np.float64]
    is_known: NDArray[np.bool_]
    classes: Timeline
    stage: NDArray[np.int64]
    prior: Prior = NO_PARTS

    @property
    def length_s(self) -> NDArray[np.float64]:
        """Seconds of each interval."""
        return np.diff(self.knot_s)
