"""Parts of phases, each a class of work: power varies within a phase, often in the same order in each step.

A phase that had one power would be told the better the longer a run is. Where its power varies, what its beginning and
its end draw beyond the mean is taken for the power of its neighbours, which share intervals with them. So phases that
last long enough are cut, and the fit knows that parts of one phase draw nearly alike, see
:class:`~lightning_energy.ledger.sharing.prior.Prior`.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["Parts", "cut", "ends_of"]

SHORT = 0.25  # of an update's period: a part of a phase
MOST_PARTS = 32  # of all phases together: more cost more
FAST = 0.25  # of an update's period: steps that are shorter, all phases together
FEWEST = 8  # stretches of a class that is cut
OF_ALL = 1 / 16  # of all phases together: the same
SLACK = 0.2  # of a part: a phase that is longer by no more has no part more
COARSER = 1.3  # factor by which parts grow until they are few enough


class Parts(NamedTuple):
    """The way in which the stretches of a class are cut.

    Attributes:
        ends: where each part but the last ends, in parts of a stretch.
        classes: the class of each part; the first is that of the whole.
    """

    ends: tuple[float, ...]
    classes: tuple[int, ...]

    @property
    def lengths(self) -> tuple[float, ...]:
        """The length of each part, of the whole."""
        return tuple(b - a for a, b in pairwise((0.0, *self.ends, 1.0)))

    @property
    def middles(self) -> tuple[float, ...]:
        """The middle of each part: from -1, the beginning, to 1, the end."""
        cuts = (0.0, *self.ends, 1.0)
        return tuple(a + b - 1 for a, b in pairwise(cuts))


def ends_of(mean_s: Sequence[float], update_s: float) -> list[tuple[float, ...]]:
    """Find where to cut phases.

    Args:
        mean_s: mean duration of the stretches of each.
        update_s: seconds between the counter's updates.

    Returns:
        Nothing for all where steps are much faster than the counter: it tells neither parts nor phases apart.
    """
    all_s = sum(mean_s)
    if all_s < FAST * update_s:
        return [() for _ in mean_s]
    short_s = min(SHORT * update_s, OF_ALL * all_s)
    while True:
        found = [_ends(each_s / short_s) for each_s in mean_s]
        if sum(len(ends) + 1 for ends in found if ends) <= MOST_PARTS:
            return found
        short_s *= COARSER


def _ends(length: float) -> tuple[float, ...]:
    """Ends of so many equal parts, but for the last."""
    n = math.ceil(length - SLACK)
    return tuple(k / n for k in range(1, n))


def cut(
    parts: Sequence[Parts], time_ns: NDArray[np.int64], of_class: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.intp]]:
    """Cut stretches; the last one, whose end is not known, stays whole.

    Args:
        parts: the ways.
        time_ns: the beginning of each stretch.
        of_class: its class.

    Returns:
        The beginning and the class of each part, and the number of its stretch.
    """
    width = max(int(of_class.max()), *(each.classes[0] for each in parts)) + 1
    most = max(len(each.classes) for each in parts)
    n, begin, classes = np.ones(width, dtype=np.int64), np.zeros((width, most)), np.zeros((width, most), dtype=np.int64)
    classes[:, 0] = np.arange(width)
    for each in parts:
        first, k = each.classes[0], len(each.classes)
        n[first], begin[first, 1:k], classes[first, :k] = k, each.ends, each.classes
    times = n[of_class]
    times[-1] = 1
    stretch = np.repeat(np.arange(len(of_class)), times)
    part = np.arange(len(stretch)) - np.repeat(np.cumsum(times) - times, times)
    length_ns = np.append(np.diff(time_ns), 0)[stretch]
    mine = of_class[stretch]
    after_ns = np.rint(begin[mine, part] * length_ns).astype(np.int64)
    return time_ns[stretch] + after_ns, classes[mine, part], stretch
