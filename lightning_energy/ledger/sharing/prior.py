"""Powers of classes of work as they are supposed to be before a run has told anything of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lightning_energy.ledger.distinct import distinct_places
from lightning_energy.ledger.room import with_room

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from lightning_energy.ledger.sharing.parts import Parts

__all__ = ["NO_PARTS", "PRIOR", "VARIES", "Axes", "Prior", "believed"]

PRIOR = 0.8
"""Relative standard deviation of a class's power about the run's mean power, before anything is known of it."""
SHARPER = 2.0  # weight of the log of a belief: the whole evidence, half of which counts for delays
LEAST_VARIES = 0.05  # a short phase may vary by so much where the long ones, which tell, do not vary at all
WITHIN = 0.5  # of what power varies from part to part: what it varies within parts
IN_SHORT = 0.2
"""Standard deviation of the power within a phase that is too short to be cut, relative to the run's mean power: those
that are cut tell nothing of it. A burst at the end of an optimizer's step was taken for the power of what follows."""
SQRT3 = 3**0.5
VARIES = (0.02, 0.06, 0.2, 0.6)
"""Standard deviations of the power of a part of a phase about that of the phase, relative to the run's mean power."""


class Axes(NamedTuple):
    """Independent deviations from the mean power: of classes, or of phases and of their parts.

    Attributes:
        design: change of each class's power by each of them, shape (classes, axes).
        spread_w: standard deviation of each.
    """

    design: NDArray[np.float64]
    spread_w: NDArray[np.float64]


class Prior(NamedTuple):
    """Powers of classes that are about the run's mean power, and those of a phase's parts about the phase's.

    Attributes:
        whole: by class, the class of the phase that it is a part of, itself the first part; of classes that are no
            parts nothing, or themselves.
        middle: by class, the middle of the part: from -1, the beginning of the phase, to 1, its end.
        is_short: by class, true of phases that are not cut.
        varies: standard deviation of a part's power about its phase's, relative to the mean power.
    """

    whole: NDArray[np.int64] = np.empty(0, dtype=np.int64)
    middle: NDArray[np.float64] = np.empty(0)
    is_short: NDArray[np.bool_] = np.empty(0, dtype=np.bool_)
    varies: float = VARIES[0]

    @classmethod
    def of(cls, parts: tuple[Parts, ...], divided: Sequence[int] = ()) -> Prior:
        """That of phases that are cut.

        Args:
            parts: the way in which they are.
            divided: the classes of all phases: those that came later are as those that are too short.
        """
        if not parts:
            return cls()
        known = {c for each in parts for c in each.classes}
        whole = np.arange(max(*known, *divided, 0) + 1)
        middle, is_short = np.zeros(len(whole)), np.zeros(len(whole), dtype=np.bool_)
        is_short[[c for c in divided if c not in known]] = True
        for each in parts:
            whole[[*each.classes]] = each.classes[0]
            middle[[*each.classes]] = each.middles
            is_short[each.classes[0]] = not each.ends
        return cls(whole, middle, is_short)

    @property
    def has_parts(self) -> bool:
        """True where phases are cut."""
        return self.whole.size > 0

    @property
    def tried(self) -> list[Prior]:
        """The same with every variation of powers within phases that may be."""
        return [self._replace(varies=varies) for varies in VARIES] if self.has_parts else [self]

    @property
    def at_best(self) -> Prior:
        """The same with the least variation of powers within phases that a run ever tells."""
        return self._replace(varies=LEAST_VARIES) if self.has_parts else self

    def whole_of(self, width: int) -> NDArray[np.int64]:
        """The same of so many classes."""
        result = np.arange(width)
        k = min(width, len(self.whole))
        result[:k] = self.whole[:k]
        return result

    def to_phases(self, width: int) -> NDArray[np.float64]:
        """1 where a class (row) is a part of a phase (column), or is that itself: shape (classes, phases)."""
        if not self.has_parts:
            return np.eye(width)
        phases, place = distinct_places(self.whole_of(width))
        return np.eye(len(phases))[place]

    def axes(self, seen: NDArray[np.intp], width: int, mean_w: float) -> Axes:
        """Its independent deviations.

        Args:
            seen: the classes that were seen.
            width: the number of classes.
            mean_w: the run's mean power.
        """
        spread_w = max(PRIOR * mean_w, 1e-6)
        if not self.has_parts:
            return Axes(np.eye(len(seen)), np.full(len(seen), spread_w))
        whole = self.whole_of(width)
        is_part = (np.bincount(whole, minlength=width) > 1)[whole][seen]
        phases, place = distinct_places(whole[seen])
        of_phase, of_part = np.eye(len(phases))[place], np.eye(len(seen))[:, is_part]
        middle = with_room(self.middle, max(width, len(self.middle)))[seen]
        slopes = SQRT3 * middle[:, None] * of_phase
        slopes = slopes[:, np.abs(slopes).max(axis=0) > 0]
        varies_w = max(self.varies * mean_w, 1e-6)
        spreads_w = np.full(len(phases) + slopes.shape[1] + of_part.shape[1], varies_w)
        spreads_w[: len(phases)] = spread_w
        return Axes(np.concatenate([of_phase, slopes, of_part], axis=1), spreads_w)

    def precision(self, seen: NDArray[np.intp], width: int, mean_w: float) -> NDArray[np.float64]:
        """Inverse of the covariance of the powers of classes that were seen."""
        design, spread_w = self.axes(seen, width, mean_w)
        result: NDArray[np.float64] = np.linalg.inv((design * spread_w**2) @ design.T)
        return result

    def variances_j2(self, d: NDArray[np.float64], mean_w: float) -> NDArray[np.float64]:
        """Variances of figures before anything is known.

        Args:
            d: their change by the power of each class, shape (..., classes).
            mean_w: the run's mean power.
        """
        if not self.has_parts:
            alone: NDArray[np.float64] = np.add.reduce((d * max(PRIOR * mean_w, 1e-6)) ** 2, axis=-1)
            return alone
        width = d.shape[-1]
        design, spread_w = self.axes(np.arange(width), width, mean_w)
        result: NDArray[np.float64] = ((d @ design * spread_w) ** 2).sum(axis=-1)
        return result

    def within_j2(self, d: NDArray[np.float64], mean_w: float) -> NDArray[np.float64]:
        """Variances of figures by power that varies within parts, which no run tells.

        Args:
            d: their change by the power of each class, shape (..., classes).
            mean_w: the run's mean power.
        """
        if not self.has_parts:
            return np.zeros(d.shape[:-1])
        spread_w = np.full(d.shape[-1], WITHIN * self.varies * mean_w)
        spread_w[: len(self.is_short)][self.is_short[: len(spread_w)]] = IN_SHORT * mean_w
        result: NDArray[np.float64] = ((d * spread_w) ** 2).sum(axis=-1)
        return result


def believed(tried: Sequence[Prior], log_of: Sequence[float]) -> Prior:
    """The prior that stands for all that were tried, by how much is believed of each.

    What is not known of a figure grows with the square of what powers may vary within phases: its mean counts.

    Args:
        tried: what was tried.
        log_of: log of the belief in each, but for a constant.
    """
    weight = np.exp((np.array(log_of) - max(log_of)) * SHARPER)
    varies = np.array([prior.varies for prior in tried])
    return tried[0]._replace(varies=max(float(np.sqrt(weight @ varies**2 / weight.sum())), LEAST_VARIES))


NO_PARTS = Prior()
"""Powers of classes that are no parts of others."""
