"""The way in which the joules of a device are shared out, as far as the run has told it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lightning_energy.ledger.sharing.delay import UNKNOWN, Belief, Found
from lightning_energy.ledger.sharing.kinds import UNTOLD
from lightning_energy.meters.units import NS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lightning_energy.ledger.sharing.closer import Closer
    from lightning_energy.ledger.sharing.kinds import Rule
    from lightning_energy.ledger.sharing.parts import Parts
    from lightning_energy.ledger.sharing.powers import Powers

__all__ = ["Sharing"]


class Sharing(NamedTuple):
    """The way in which a device's joules are shared out.

    Attributes:
        found: the kernel of the split, and what is not known of it.
        powers: fitted powers; ``None`` before they can be fitted: straight lines.
        kernels_w: the powers by the kernel, of all intervals, and by its neighbours, of those that :attr:`powers` were
            fitted to.
        looked: number of intervals when the delay was looked for last.
        is_final: true when the kernel of the split does not change any more.
        rules: the way in which kinds of steps are told apart.
        belief: the likelihood of delays that the last look found; ``None`` once it is not needed any more.
        untold: standard deviation of a step's power that kinds may make which nothing tells, of the mean power.
        parts: the way in which phases are cut.
        closer: the kernel as all intervals tell it; ``None`` where it is as it was found.
        spread: what is not known of the kernel, as a covariance of the ways along both axes and of their squares.
    """

    found: Found = UNKNOWN
    powers: Powers | None = None
    kernels_w: tuple[NDArray[np.float64], ...] = ()
    looked: int = 0
    is_final: bool = False
    rules: tuple[Rule, ...] = ()
    belief: Belief | None = None
    untold: float = UNTOLD
    parts: tuple[Parts, ...] = ()
    closer: Closer | None = None
    spread: NDArray[np.float64] = np.zeros((4, 4))

    @property
    def late_s(self) -> float:
        """Seconds until the counter has shown nearly all of the energy of a moment."""
        kernel = self.found.kernel
        return max(kernel.lag_s, 0.0) + 5 * kernel.ema_s

    @property
    def lag_ns(self) -> int:
        """The delay by which intervals are booked."""
        return round(self.found.kernel.lag_s / NS)
