"""The power of a device over a run in few numbers: means over bins of one width, which hold all of its joules."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lightning_energy.curves.curve import Knots
from lightning_energy.curves.energy import MISSING
from lightning_energy.meters.units import NS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from lightning_energy.meters.clock import Anchor

__all__ = ["MOST_BINS", "PowerSeries", "ThinnedPower"]

MOST_BINS = 1000
MOST_WAITING = 1000  # knots that wait to be put into bins
FIRST_BIN_NS = 20_000_000  # the shortest time between two updates of a board's counter
DIGITS = 5
ROUNDING = 1e-6  # part of a bin that is no missing time


@dataclass(frozen=True)
class PowerSeries:
    """Mean power over bins of one width, from the first reading of a device to its last.

    Attributes:
        start_ns: the beginning of the first bin, by the machine's monotonic clock.
        bin_s: the width of a bin in seconds.
        mean_w: the mean power of each bin in watts, over the part of it in which the power is known; ``None`` where
            nothing of it is known.
        known: of bins that are known in part, such as the last one, the number of the bin and the seconds of that part.
        clock: moments by both clocks, the monotonic one and that of the day.

    Example:
        >>> series = PowerSeries(0, 2.0, (100.0, None, 300.0), known=((2, 0.5),))
        >>> series.energy_j  # 2 s of 100 W, and half a second of 300 W
        350.0
        >>> series.known_s
        [2.0, 0.0, 0.5]
    """

    start_ns: int
    bin_s: float
    mean_w: tuple[float | None, ...]
    known: tuple[tuple[int, float], ...] = ()
    clock: tuple[Anchor, ...] = ()

    @property
    def known_s(self) -> list[float]:
        """Seconds of each bin in which the power is known."""
        seconds = [0.0 if power_w is None else self.bin_s for power_w in self.mean_w]
        for number, known_s in self.known:
            seconds[number] = known_s
        return seconds

    @property
    def energy_j(self) -> float:
        """All joules that are known."""
        return math.fsum((w or 0.0) * s for w, s in zip(self.mean_w, self.known_s, strict=True))

    @property
    def highest_w(self) -> float | None:
        """The highest power of a bin of which half is known at least; ``None`` where there is none."""
        pairs = zip(self.mean_w, self.known_s, strict=True)
        return max((w for w, s in pairs if w is not None and s >= self.bin_s / 2), default=None)

    def at_least(self, bin_s: float) -> PowerSeries:
        """The same with bins of this width at least, in seconds.

        Example:
            >>> PowerSeries(0, 0.02, (100.0, 300.0, 200.0, 200.0)).at_least(0.03).mean_w
            (200.0, 200.0)
        """
        series = self
        while series.bin_s < bin_s and len(series.mean_w) > 1:
            series = series.coarser()
        return series

    def coarser(self) -> PowerSeries:
        """The same with bins of twice the width.

        Example:
            >>> PowerSeries(0, 2.0, (100.0, None, 300.0), known=((2, 0.5),)).coarser()
            PowerSeries(start_ns=0, bin_s=4.0, mean_w=(100.0, 300.0), known=((0, 2.0), (1, 0.5)), clock=())
        """
        known_s = np.array(self.known_s)
        energy_j = np.array([w or 0.0 for w in self.mean_w]) * known_s
        return _series(self.start_ns, 2 * self.bin_s, _pairs(energy_j), _pairs(known_s), self.clock)

    def to_plain(self) -> dict[str, Any]:
        """The same in plain types."""
        rows = {"known": [[*part] for part in self.known], "clock": [[*moment] for moment in self.clock]}
        return {"start_ns": self.start_ns, "bin_s": self.bin_s, "mean_w": [*self.mean_w], **rows}


class _Bins(NamedTuple):
    """Bins as they are so far; replaced as a whole."""

    width_ns: int = FIRST_BIN_NS
    start_ns: int = 0
    until_ns: int = 0
    energy_j: NDArray[np.float64] = np.empty(0)
    known_s: NDArray[np.float64] = np.empty(0)


class ThinnedPower:
    """Thins the power of a device while it is measured: never more than a thousand bins, whatever the length of a run.

    Where there would be more, bins become twice as wide.

    Example:
        >>> from lightning_energy.curves.curve import Curve
        >>> from lightning_energy.meters import ReplayMeter
        >>> curve, thinned = Curve(ReplayMeter(100.0).open()), ThinnedPower()
        >>> for second in range(61):
        ...     curve.add(second * 10**9, 100.0 * second)
        >>> thinned.add(curve.knots())
        >>> series = thinned.series()
        >>> series.bin_s, len(series.mean_w), series.mean_w[0], series.energy_j
        (0.08, 750, 100.0, 6000.0)
    """

    def __init__(self) -> None:
        self._bins = _Bins()
        self._waiting: tuple[Knots, ...] = ()  # that are put into bins together: each time costs the same

    def add(self, knots: Knots) -> None:
        """Add the intervals between knots; those that were added before, up to some knot, do not count again."""
        waiting = (*self._waiting, knots)
        bins = self._bins
        if len(waiting) * len(knots.time_ns) > MOST_WAITING:  # about as many
            bins, waiting = _put(bins, waiting)
        # at once: a signal handler may raise between any two lines, and another thread may ask for the series
        self.__dict__.update(_bins=bins, _waiting=waiting)

    def series(self, clock: Sequence[Anchor] = ()) -> PowerSeries | None:
        """The bins so far; ``None`` when there are none.

        Args:
            clock: moments by both clocks.
        """
        waiting = self._waiting  # first: those that another thread puts into bins meanwhile do not count again
        bins = self._bins
        if waiting:
            bins, _ = _put(bins, waiting)
        if not bins.until_ns:
            return None
        return _series(bins.start_ns, bins.width_ns * NS, bins.energy_j, bins.known_s, clock)


def _put(bins: _Bins, waiting: Sequence[Knots]) -> tuple[_Bins, tuple[Knots, ...]]:
    """The bins with the energy between knots that wait, those that are in them left out; and what waits then."""
    run = Knots.joined(waiting)
    latest_ns = np.maximum.accumulate(run.time_ns)
    run = run.part(np.flatnonzero(np.diff(latest_ns, prepend=-1) > 0))  # each once
    first = max(int(np.searchsorted(run.time_ns, bins.until_ns, side="right")) - 1, 0) if bins.until_ns else 0
    is_more = len(run.time_ns) - first >= 2  # noqa: PLR2004 - two knots make an interval
    return (_extended(bins, run.part(slice(first, None))), ()) if is_more else (bins, (run,))


def _extended(bins: _Bins, knots: Knots) -> _Bins:
    """The bins with the energy between knots, wider where there would be too many."""
    start_ns, until_ns = bins.start_ns if bins.until_ns else int(knots.time_ns[0]), int(knots.time_ns[-1])
    width_ns, energy_j, known_s = bins.width_ns, bins.energy_j, bins.known_s
    while until_ns - start_ns > MOST_BINS * width_ns:
        width_ns, energy_j, known_s = 2 * width_ns, _pairs(energy_j), _pairs(known_s)
    at_ns = (knots.time_ns - start_ns).astype(np.float64)
    is_known = knots.quality[1:] != MISSING
    energy_at = knots.energy_j - knots.energy_j[0]
    known_at = np.concatenate([[0.0], np.cumsum(np.diff(at_ns) * is_known)]) * NS
    first, end = int(at_ns[0]) // width_ns, -(-int(at_ns[-1]) // width_ns)
    edges = np.arange(first, end + 1) * float(width_ns)  # np.interp holds the first and the last value outside
    grown = [np.concatenate([old, np.zeros(end - len(old))]) for old in (energy_j, known_s)]
    for total, at in zip(grown, (energy_at, known_at), strict=True):
        total[first:end] += np.diff(np.interp(edges, at_ns, at))
    return _Bins(width_ns, start_ns, until_ns, *grown)


def _pairs(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sums of neighbours."""
    even = np.concatenate([values, np.zeros(len(values) % 2)])
    result: NDArray[np.float64] = even.reshape(-1, 2).sum(axis=1)
    return result


def _series(
    start_ns: int,
    bin_s: float,
    energy_j: NDArray[np.float64],
    known_s: NDArray[np.float64],
    clock: Sequence[Anchor],
) -> PowerSeries:
    is_known = known_s > ROUNDING * bin_s
    mean_w = _rounded(energy_j / np.where(is_known, known_s, 1.0)).tolist()
    in_part = np.flatnonzero(is_known & (known_s < (1 - ROUNDING) * bin_s)).tolist()
    return PowerSeries(
        start_ns,
        round(bin_s, 9),
        tuple(w if known else None for w, known in zip(mean_w, is_known.tolist(), strict=True)),
        tuple((i, round(float(known_s[i]), 6)) for i in in_part),
        tuple(clock),
    )


def _rounded(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values of five digits each, which are short when they are written."""
    decimals = DIGITS - 1 - np.floor(np.log10(np.maximum(values, 1e-3)))
    scale = 10.0 ** np.maximum(decimals, 0)
    result: NDArray[np.float64] = np.rint(values * scale) / scale
    return result
