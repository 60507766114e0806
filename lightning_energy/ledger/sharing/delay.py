"""The delay of a counter, and how it smooths, told from the run itself.

At the right delay the classes of work explain the counter's rises best: wherever the load changes, an interval's rise
says when. Delay and smoothing are found together, as their sum is known well and the two apart only slowly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lightning_energy.ledger.distinct import distinct
from lightning_energy.ledger.sharing.kernel import Kernel
from lightning_energy.ledger.sharing.powers import EVIDENCE, LEAST_SCATTER, PRIOR, go_on, median
from lightning_energy.ledger.sharing.timeline import Places

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from lightning_energy.ledger.sharing.stretch import Stretch
    from lightning_energy.ledger.sharing.timeline import Smoothed

__all__ = ["EXACT", "MOST_HELD", "MOST_HELD_IN_PARTS", "Belief", "Found", "log_prior"]

GRID_S = np.arange(-0.02, 0.252, 0.002)
"""Delays that are tried. Counters of 15 ms to 200 ms are known; a poll's bracket may err by a little the other way."""

EMA_S = np.array([0.0, 0.01, 0.02, 0.035, 0.05, 0.07, 0.1, 0.14])
"""Time constants of smoothing that are tried."""

LOOKS = (0.1, 0.25, 0.5)
"""Parts of the period that a part-time sensor may look at (0.25: A100, H100)."""

FINE_S = np.arange(-0.0035, 0.0036, 0.00025)
"""Delays that are tried about the best one, where classes last milliseconds."""

FINE_NEAR = 6.0  # standard deviations of what was told so finely with fewer intervals, beyond which it is not again
FINE_LEAST_S = 0.001  # but so far in any case
FINE_ENOUGH = 1.5  # times the distance of two delays that are tried then: an uncertainty that needs no finer grid
FINE_N = 200  # fewest intervals that tell it so finely
FINE_EMA_S = np.array([0.0, 0.0005, 0.001, 0.002, 0.004, 0.007, 0.01, 0.015])  # time constants that are tried then
TWO_NODES = 3**-0.5  # of Gauss-Legendre quadrature over a bracket
BLURS_S = 0.0007  # smoothing that shows, of those that are tried then
SMOOTH_FLOOR_S = 0.0007  # uncertainty of the smoothing that remains: power that varies within phases looks like it
AGAINST = np.array([[1.0, -1.0], [-1.0, 1.0]])  # smoothing and delay, whose sum is known
FINE_EDGE = 0.01  # part of the belief that may be in the outermost delays and smoothings
OF_MEAN = 4.0  # times the variance of a mean that the times of updates add, as those of neighbours are not independent
USUAL_S = 0.03  # scale of the prior for delays: short ones are more usual
EARLY_S = 0.005  # scale of the prior for counters that show energy before it is spent: only brackets err that way
AROUND_S = 0.03  # width of the delays that are tried together with smoothing, about the best without
FAR_OFF = 20.0  # log likelihood from the best beyond which a delay is not tried again with more intervals
LIKELY = 10.0  # log likelihood from the best within which a delay without smoothing leads to one with smoothing
AT_A_TIME = 256  # delays that are tried together, at most
SAME = 9  # decimals by which two delays are one: those that are tried with several smoothings differ by rounding
CELLS = 131_072
"""Delays times intervals times classes of one piece of work. NumPy works on so many beside the interpreter's lock.
Where a training holds that lock, each of its calls waits for it some milliseconds: many small pieces took minutes."""
ENOUGH = 8  # fewest intervals that tell anything
MOST_HELD = 1024  # intervals that are held until the delay is known, at most
MOST_HELD_IN_PARTS = 4096
"""The same where phases are cut. Their parts, which may draw anything, leave the delay open to 2 ms after 1,024
intervals: one run in eight was booked by a delay so far off that no later interval brought it back."""
ENOUGH_FOR_SMOOTHING = 24
BLURRED = 3.0  # times the variance that brackets of the updates' times explain: less tells nothing of a sensor's looks
FAR_BETTER = 6.0
"""Log likelihood by which a part-time sensor must explain the rises better: of 400 tried, one might by chance."""

CORRELATED = 0.1  # correlation of neighbouring residuals from which on differences of neighbours are looked at
ROBUST = 12.0  # squared residual, in median scales, from which on the loss is linear
ENOUGH_S, ENOUGH_EACH_S = 0.0015, 0.0045  # uncertainty that does no harm: of their sum, and of delay and smoothing each
NEAR_S = 0.3  # seconds after a change of stage within which an interval tells of the delay


def log_prior(lag_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log of the prior density of delays, but for a constant: short ones are more usual, negative ones errors."""
    result: NDArray[np.float64] = np.where(lag_s < 0, lag_s / EARLY_S, -lag_s / USUAL_S)
    return result


class Found(NamedTuple):
    """A kernel, and what is not known of it.

    Attributes:
        kernel: the posterior mean.
        covariance_s2: of delay and smoothing, shape (2, 2).
        split_s: the delay told from changes to less power minus that told from changes to more.
        u_split_s: standard uncertainty of that.
        fine_n: number of intervals by which it was looked for closely; 0 where it was not. Those that come later
            tell more, see :class:`~lightning_energy.ledger.sharing.closer.Closer`.
    """

    kernel: Kernel
    covariance_s2: NDArray[np.float64]
    split_s: float = 0.0
    u_split_s: float = 0.0
    fine_n: int = 0

    @property
    def is_fine(self) -> bool:
        """True where it was looked for closely."""
        return self.fine_n > 0

    @property
    def u_lag_s(self) -> float:
        """Standard uncertainty of the delay."""
        return float(np.sqrt(self.covariance_s2[0, 0]))

    @property
    def u_ema_s(self) -> float:
        """Standard uncertainty of the smoothing."""
        return float(np.sqrt(self.covariance_s2[1, 1]))

    @property
    def axes_s(self) -> NDArray[np.float64]:
        """One standard deviation along both axes of the covariance, as columns (delay, smoothing)."""
        size, q = np.linalg.eigh(self.covariance_s2)
        result: NDArray[np.float64] = q * np.sqrt(np.maximum(size, 1e-12))
        return result

    @property
    def along_axes(self) -> NDArray[np.float64]:
        """The covariance in standard deviations along both axes."""
        inverse = np.linalg.inv(self.axes_s)
        result: NDArray[np.float64] = inverse @ self.covariance_s2 @ inverse.T
        return result

    @property
    def beside(self) -> list[Kernel]:
        """The kernel moved by one standard deviation both ways along both axes of its covariance.

        Where it was looked for closely, the axes are the sum of delay and smoothing, and the square of the smoothing
        with that sum as it is: what shows of the two is nearly independent. One of less than nothing is beyond the
        other instead.
        """
        lag_s, ema_s, _ = centre = self.kernel
        if not self.is_fine:
            moves = [(sign * x, sign * y) for x, y in self.axes_s.T for sign in (-1, 1)]
            return [centre._replace(lag_s=lag_s + x, ema_s=max(ema_s + y, 0.0)) for x, y in moves]
        u_s, sum_s = float(np.sqrt(self.covariance_s2.sum())), lag_s + ema_s
        wide_s2 = max(self.u_ema_s * (self.u_ema_s + 2 * ema_s), BLURS_S**2)
        low_s2 = ema_s**2 - wide_s2
        emas_s = np.sqrt([low_s2 if low_s2 >= 0 else ema_s**2 + 2 * wide_s2, ema_s**2 + wide_s2]).tolist()
        return [
            *(centre._replace(lag_s=lag_s + x) for x in (-u_s, u_s)),
            *(centre._replace(lag_s=sum_s - ema, ema_s=ema) for ema in emas_s),
        ]

    @property
    def is_enough(self) -> bool:
        """True where knowing it better would not change figures."""
        if self.kernel.look < 1:  # by chance one that sees all looks like that for a while, or like another part
            return False
        axes = self.axes_s
        shows_s, each_s = np.abs(axes.sum(axis=0)).max(), np.sqrt((axes**2).sum(axis=0)).max()
        return bool(shows_s <= ENOUGH_S and each_s < ENOUGH_EACH_S)

    @property
    def widening(self) -> float:
        """Factor on the variance by the delay where rising and falling changes disagree: the fit is in doubt."""
        beyond = max(self.split_s**2 - self.u_split_s**2, 0.0)
        return float(1.0 + beyond / 4 / max(self.covariance_s2[0, 0], 1e-9))


EXACT = Found(Kernel(), np.diag([0.001**2, 1e-10]))
"""The kernel of a register that moves at any poll: late by a millisecond at most."""

UNKNOWN = Found(Kernel(), np.diag([(2 * USUAL_S**2) / 2, 1e-10]))
"""The kernel of a counter of which nothing is known yet: by the prior alone."""


@dataclass
class Belief:
    """The likelihood of every delay and smoothing.

    Attributes:
        table: log likelihood, shape (smoothings, delays); ``None`` before the first intervals.
        look: part of the period that the sensor looks at.
        sees_all: true where intervals exclude that it looks at a part of the time only.
        finely_s: sum of delay and smoothing, and its standard uncertainty, as looked for closely; ``None``: it was not.
    """

    table: NDArray[np.float64] | None = None
    look: float = 1.0
    sees_all: bool = False
    finely_s: tuple[float, float] | None = None
    _emas_s: NDArray[np.float64] | None = None
    _half_s: float = 0.0
    _in_parts: bool = False

    def find(
        self,
        stretch: Stretch,
        before: Belief | None = None,
        pause: Callable[[], None] = go_on,
        *,
        is_fine: bool = False,
    ) -> Found | None:
        """Find the kernel; ``None`` with too few intervals.

        Args:
            stretch: the intervals, all of them.
            before: what was believed with fewer of them: delays that were far off are not tried again.
            pause: called between parts of the work.
            is_fine: true to look closer at the best delay: phases are cut, and their parts last milliseconds.
        """
        n = int(stretch.is_known.sum())
        if n < ENOUGH:
            return None
        rises = _Rises(stretch)
        pause()
        self._half_s, self._in_parts = float(stretch.half_s.mean()), stretch.prior.has_parts
        smoothing = n > ENOUGH_FOR_SMOOTHING
        self._emas_s = EMA_S if smoothing else EMA_S[:1]
        self.look, self.sees_all = 1.0, before is not None and before.sees_all and self._in_parts
        self.table = self._table(rises, before, pause)
        if smoothing and not self.sees_all:
            self._try_looks(rises, pause)
        found = self.found()
        if is_fine and self.look == 1 and found.kernel.ema_s < FINE_EMA_S[-1] and n >= FINE_N:
            found = self._closely(found, rises, None if before is None else before.finely_s, pause)
        lags_s = GRID_S[np.abs(GRID_S - found.kernel.lag_s) <= 2 * AROUND_S]
        profile = _profile(found.kernel, rises, lags_s, pause, is_plain=True)
        split_s, u_split_s = _directions(stretch, profile, lags_s)
        return found._replace(split_s=split_s, u_split_s=u_split_s)

    def _closely(
        self, found: Found, rises: _Rises, before_s: tuple[float, float] | None, pause: Callable[[], None]
    ) -> Found:
        """The kernel by a finer grid than the usual one, about its best or what fewer intervals told."""
        n, told = int(rises.stretch.is_known.sum()), None
        if before_s is not None:
            sum_s, u_s = before_s
            grid_s = FINE_S if u_s < FINE_ENOUGH * (FINE_S[2] - FINE_S[0]) else FINE_S[::2]
            near_s = grid_s[np.abs(grid_s) <= max(FINE_NEAR * u_s, FINE_LEAST_S)]
            told = self._finely(found, rises, sum_s + near_s, pause)
        if told is None:
            told = self._finely(found, rises, found.kernel.lag_s + found.kernel.ema_s + FINE_S, pause)
        if told is None:
            return found._replace(fine_n=n)
        self.finely_s = told.kernel.lag_s + told.kernel.ema_s, float(np.sqrt(told.covariance_s2.sum()))
        return told._replace(fine_n=n)

    def _finely(
        self, found: Found, rises: _Rises, sums_s: NDArray[np.float64], pause: Callable[[], None]
    ) -> Found | None:
        """The kernel and its uncertainty by a finer grid; ``None`` where it is not within.

        Errors of the updates' times within their brackets are as often early as late: they move it by what is left of
        them in the mean of all. What they have in common is part of the delay.

        Args:
            found: by the usual grid.
            rises: the intervals.
            sums_s: sums of delay and smoothing that are tried.
            pause: called between parts of the work.
        """
        belief = np.full((len(FINE_EMA_S), len(sums_s)), -np.inf)
        for row, ema_s in zip(belief, FINE_EMA_S, strict=True):
            lags_s = sums_s - ema_s
            profile = _profile(Kernel(ema_s=ema_s), rises, lags_s, pause, blurred=True)
            row[:] = profile.log_likelihood + log_prior(lags_s)
            if row.max() < belief.max() - FAR_OFF:  # it smooths by less
                break
        width = np.gradient(FINE_EMA_S)
        w = belief + np.log(width / width.sum())[:, None]
        w = np.exp(w - w.max())
        w /= w.sum()
        if w[:, [0, -1]].sum() + w[-1].sum() > FINE_EDGE:
            return None
        ema_s = float(w.sum(axis=1) @ FINE_EMA_S)
        lags = sums_s - FINE_EMA_S[:, None]
        lag_s = float((w * lags).sum())
        x, y = lags - lag_s, (FINE_EMA_S - ema_s)[:, None]
        n = int(rises.stretch.is_known.sum())
        floor = (sums_s[1] - sums_s[0]) ** 2 / 12 + OF_MEAN * self._half_s**2 / 3 / n
        cross = float((w * x * y).sum())
        covariance = np.array([[float((w * x**2).sum()) + floor, cross], [cross, float((w * y**2).sum()) + 1e-10]])
        covariance += SMOOTH_FLOOR_S**2 * AGAINST
        return Found(found.kernel._replace(lag_s=lag_s, ema_s=ema_s), covariance)

    def _try_looks(self, rises: _Rises, pause: Callable[[], None]) -> None:
        """Try sensors that look at a part of the time only, whose delay is nearly that of one that sees all."""
        if self.table is None:
            return
        near = np.flatnonzero(np.abs(GRID_S - GRID_S[self.table.max(axis=0).argmax()]) <= 2 * AROUND_S)
        whole, blur, n = self.table.max(), BLURRED * _of_brackets(rises.stretch), int(rises.stretch.is_known.sum())
        self.sees_all = True
        for look in LOOKS:
            row = np.full(len(GRID_S), -np.inf)
            row[near] = _profile(Kernel(look=look), rises, GRID_S[near], pause).log_likelihood
            self.sees_all = self.sees_all and bool(row.max() < whole - FAR_OFF)  # steps may not have begun
            gain = _with_blur(row.max(), blur, n) - _with_blur(whole, blur, n)
            if gain > FAR_BETTER and (self.look == 1 or row.max() > self.table.max()):
                row[np.isneginf(row)] = row[near].min() - FAR_OFF
                self.look, self._emas_s, self.table = look, EMA_S[:1], row[None]

    def _table(self, rises: _Rises, before: Belief | None, pause: Callable[[], None]) -> NDArray[np.float64]:
        """Log likelihood of every smoothing and delay. Their sum is what shows: other delays are not tried."""
        emas = EMA_S[:1] if self._emas_s is None else self._emas_s
        result = np.full((len(emas), len(GRID_S)), -np.inf)
        earlier = None if before is None or before.table is None or len(before.table) != len(emas) else before.table
        likely_s = GRID_S
        for number, (row, ema_s) in enumerate(zip(result, emas, strict=True)):
            if earlier is not None:
                tried = np.flatnonzero(earlier[number] >= earlier.max() - FAR_OFF)
            elif number:
                first_s, last_s = likely_s[0] - ema_s - AROUND_S, likely_s[-1] + AROUND_S
                tried = np.flatnonzero((first_s <= GRID_S) & (last_s >= GRID_S))
            else:
                tried = np.arange(len(GRID_S))
            if not tried.size:
                continue
            tried = np.arange(max(tried[0] - 1, 0), min(tried[-1] + 2, len(GRID_S)))
            row[tried] = _profile(Kernel(ema_s=ema_s), rises, GRID_S[tried], pause).log_likelihood
            if not number:
                likely_s = GRID_S[row >= row.max() - LIKELY]
        result[np.isneginf(result)] = result[np.isfinite(result)].min() - FAR_OFF
        return result

    def found(self) -> Found:
        """Posterior mean and covariance. Half of the belief is in no smoothing; short delays come before long ones."""
        if self.table is None or self._emas_s is None:
            return UNKNOWN
        emas = self._emas_s
        width = np.gradient(emas) if len(emas) > 1 else np.ones(1)
        sharp = 0.0 if self._in_parts else 1.0  # power that varies in phases looks like less smoothing
        belief = np.log(width / width.sum() + sharp * (emas == 0))[:, None] + log_prior(GRID_S)
        w = np.exp(self.table + belief - (self.table + belief).max())
        w /= w.sum()
        lag_s, ema_s = float(w.sum(axis=0) @ GRID_S), float(w.sum(axis=1) @ emas)
        x, y = GRID_S - lag_s, emas - ema_s
        floor = (GRID_S[1] - GRID_S[0]) ** 2 / 12 + self._half_s**2 / 3
        cross = float(x @ w.T @ y)
        between = float((w.sum(axis=1) * np.where(emas > 0, width, 0.0) ** 2).sum()) / 12 if self._in_parts else 0.0
        covariance = np.array([[w.sum(axis=0) @ x**2 + floor, cross], [cross, w.sum(axis=1) @ y**2 + 1e-10]])
        return Found(Kernel(lag_s, ema_s, self.look), covariance + between * AGAINST)


class _Rises:
    """Intervals to try kernels on. Moments are looked up once, whatever smoothing is tried.

    Attributes:
        stretch: the intervals.
        seconds: of the classes that are there, but for the one that is longest in force.
        classes: all of these, that one the last.
    """

    def __init__(self, stretch: Stretch) -> None:
        self.stretch = stretch
        self.classes = stretch.classes.by_length
        self.seconds = stretch.classes.compact.smoothed().but_last
        self._known: dict[tuple[float, float], Places] = {}  # by delay and place in the brackets

    def seconds_of(
        self, kernel: Kernel, smoothed: Smoothed, lags_s: NDArray[np.float64], node: float = 0.0
    ) -> NDArray[np.float64]:
        """Seconds of the columns in all intervals, for each of some delays: as :meth:`Kernel.seconds_of` does.

        Args:
            kernel: what the counter looks at.
            smoothed: the columns behind the kernel's smoothing.
            lags_s: the delays.
            node: place of the updates in their brackets, from -1 to 1.
        """
        if kernel.look < 1:
            return kernel.seconds_of(smoothed, self.stretch.knot_s + node * self.stretch.half_s, lags_s)
        wanted = [(round(lag_s, SAME), node) for lag_s in lags_s.tolist()]
        news = [key for key in wanted if key not in self._known]
        if news:
            more = self._look_up(news)
            self._known.update(zip(news, map(Places, more.start, more.since_s), strict=True))
        places = [self._known[key] for key in wanted]
        both = Places(np.stack([place.start for place in places]), np.stack([place.since_s for place in places]))
        return np.diff(smoothed.at_places(both), axis=1)

    def _look_up(self, keys: list[tuple[float, float]]) -> Places:
        lag_s, node = np.array(keys, dtype=np.float64).reshape(-1, 2, 1).swapaxes(0, 1)
        return self.seconds.timeline.places(self.stretch.knot_s + node * self.stretch.half_s - lag_s)


class _Profile(NamedTuple):
    log_likelihood: NDArray[np.float64]  # of every delay
    squares: NDArray[np.float64]  # residuals by delay and interval, shape (delays, n)
    rows: NDArray[np.intp]  # the intervals


def _profile(
    kernel: Kernel,
    rises: _Rises,
    lags_s: NDArray[np.float64],
    pause: Callable[[], None],
    *,
    blurred: bool = False,
    is_plain: bool = False,
) -> _Profile:
    """Log likelihood of every delay with the powers that fit best, and the squared residuals.

    Args:
        kernel: the smoothing, and what it looks at.
        rises: the intervals.
        lags_s: the delays.
        pause: called between parts of the work.
        blurred: true to look at all moments within the updates' brackets: else they seem to be smoothing.
        is_plain: true where it is only asked for the residuals.
    """
    stretch = rises.stretch
    rows = np.flatnonzero(stretch.is_known)
    smoothed, parts = rises.seconds.behind(kernel.ema_s), []
    pause()
    for part in _parts(len(lags_s), len(stretch.knot_s) * smoothed.width):
        nodes = (-TWO_NODES, TWO_NODES) if blurred else (0.0,)
        seen = [rises.seconds_of(kernel, smoothed, lags_s[part], node)[:, rows] for node in nodes]
        parts.append(np.mean(seen, axis=0) if blurred else seen[0])
        pause()
    some_s = np.swapaxes(np.concatenate(parts), 1, 2)
    is_there = np.abs(some_s).max(axis=(0, 2), initial=0.0) > 0
    some_s, classes = some_s[:, is_there], np.append(rises.classes[:-1][is_there], rises.classes[-1])
    rise_j, length_s = stretch.rise_j[rows], stretch.length_s[rows]
    seconds = np.concatenate([some_s, (length_s - some_s.sum(axis=1))[:, None]], axis=1)
    mean_w = rise_j.sum() / length_s.sum()
    pause()
    x, y = seconds / np.sqrt(length_s), rise_j / np.sqrt(length_s)
    least_j2 = (LEAST_SCATTER * mean_w) ** 2 * length_s.sum()  # residuals below are rounding errors, which tell nothing
    fitted = _residuals(x, y, mean_w, pause)
    best = fitted.left[(fitted.left**2).sum(axis=1).argmin()]
    goes_on = _correlation(best)
    if goes_on > CORRELATED:  # power that wanders (warm-up, drift): what changes from one interval to the next
        x, y = x[..., 1:] - goes_on * x[..., :-1], y[1:] - goes_on * y[:-1]
        fitted = _residuals(x, y, mean_w, pause)
    if is_plain or not stretch.prior.has_parts:
        log_likelihood = _log_likelihood(fitted.left**2, least_j2)
    else:
        log_likelihood = _by_parts(x, y, fitted, least_j2=least_j2, mean_w=mean_w, stretch=stretch, classes=classes)
        pause()
    squares = np.pad(fitted.left**2, ((0, 0), (len(rows) - fitted.left.shape[1], 0)))
    return _Profile(log_likelihood, squares, rows)


def _log_likelihood(squares: NDArray[np.float64], more_j2: float) -> NDArray[np.float64]:
    """Log likelihood of every delay from its squared residuals; those of single intervals count linearly (Huber).

    Args:
        squares: shape (delays, n).
        more_j2: to be added to their sum.
    """
    best = squares[squares.sum(axis=1).argmin()]
    limit = ROBUST * max(median(best) / 0.455, 1e-12)
    root = np.sqrt(limit)
    bounded = np.minimum(squares, limit + 2 * root * np.maximum(np.sqrt(squares) - root, 0.0))
    result: NDArray[np.float64] = -0.5 * EVIDENCE * len(best) * np.log(np.maximum(bounded.sum(axis=1) + more_j2, 1e-12))
    return result


def _of_brackets(stretch: Stretch) -> float:
    """Sum of squared residuals that errors of the updates' times explain, in J² per second."""
    rows, length_s = stretch.is_known, stretch.length_s
    mean_w = stretch.rise_j[rows].sum() / length_s[rows].sum()
    half2_s2 = stretch.half_s[1:] ** 2 + stretch.half_s[:-1] ** 2
    return float(mean_w**2 * (half2_s2 / 3 / length_s)[rows].sum())


def _with_blur(log_likelihood: float, squares: float, n: int) -> float:
    """A log likelihood if residuals had some more squares."""
    return float(-0.5 * EVIDENCE * n * np.log(np.exp(-2 * log_likelihood / EVIDENCE / n) + squares))


def _parts(delays: int, cells: int) -> list[slice]:
    """The delays in parts that are tried together, with so many cells each."""
    n = min(max(CELLS // max(cells, 1), 1), AT_A_TIME)
    return [slice(first, first + n) for first in range(0, delays, n)]


class _Fitted(NamedTuple):
    """Powers that fit best, for each delay.

    Attributes:
        left: residuals, shape (delays, n).
        info: products of the seconds of two classes, shape (delays, classes, classes).
        right: those of the seconds and the rises, shape (delays, classes).
    """

    left: NDArray[np.float64]
    info: NDArray[np.float64]
    right: NDArray[np.float64]


def _residuals(x: NDArray[np.float64], y: NDArray[np.float64], mean_w: float, pause: Callable[[], None]) -> _Fitted:
    """Residuals of the powers that fit best, for each delay; a little ridge keeps unseen classes at the mean power.

    Args:
        x: seconds of the classes in each interval, weighted, shape (delays, classes, n).
        y: its rise, weighted, shape (n,).
        mean_w: the mean power.
        pause: called between parts of the work.
    """
    ridge = np.eye(x.shape[1]) * 1e-2 / PRIOR**2
    left, info, right = np.empty((x.shape[0], x.shape[2])), np.empty((len(x), *ridge.shape)), np.empty(x.shape[:2])
    for part in _parts(len(x), x.shape[1] * x.shape[2]):
        some = x[part]
        info[part], right[part] = some @ np.swapaxes(some, 1, 2), some @ y
        power_w = np.linalg.solve(info[part] + ridge, (right[part] + np.diag(ridge) * mean_w)[..., None])
        left[part] = y - (np.swapaxes(power_w, 1, 2) @ some)[:, 0]
        pause()
    return _Fitted(left, info, right)


def _by_parts(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    fitted: _Fitted,
    *,
    least_j2: float,
    mean_w: float,
    stretch: Stretch,
    classes: NDArray[np.intp],
) -> NDArray[np.float64]:
    """Log likelihood of every delay where phases are cut, over all that powers may vary within them.

    Args:
        x: as for :func:`_residuals`.
        y: see there.
        fitted: powers that fit best by hardly any prior.
        least_j2: sum of squared residuals that are rounding errors.
        mean_w: the mean power.
        stretch: the intervals.
        classes: the classes of the seconds.
    """
    best = fitted.left[(fitted.left**2).sum(axis=1).argmin()]
    limit = ROBUST * max(median(best**2) / 0.455, 1e-12)
    root_weight = np.minimum(1.0, (limit / np.maximum(best**2, 1e-300)) ** 0.25)
    info, right = fitted.info, fitted.right
    if (root_weight < 1).any():  # some that count linearly
        x, y = x * root_weight, y * root_weight
        info, right = x @ np.swapaxes(x, 1, 2), x @ y
    n, all_j2 = len(y), float(y @ y)
    scatter = (float((best**2 * root_weight**2).sum()) + least_j2) / n
    found = []
    for prior in stretch.prior.tried:
        ridge = scatter * prior.precision(classes, len(stretch.stage), mean_w)
        told = info + ridge
        power_w = np.linalg.solve(told, (right + ridge.sum(axis=1) * mean_w)[..., None])[..., 0]
        away_w = power_w - mean_w
        left_j2 = (
            all_j2 - 2 * (power_w * right).sum(axis=1) + (np.einsum("dij,dj->di", info, power_w) * power_w).sum(axis=1)
        )
        cost_j2 = np.maximum(left_j2, 0.0) + ((away_w @ ridge) * away_w).sum(axis=1) + least_j2
        taken = np.linalg.slogdet(told)[1] - float(np.linalg.slogdet(ridge)[1])
        found.append(-0.5 * EVIDENCE * (n * np.log(np.maximum(cost_j2, 1e-12)) + taken))
    result: NDArray[np.float64] = np.logaddexp.reduce(found) - np.log(len(found))
    return result


def _correlation(residual: NDArray[np.float64]) -> float:
    """Part of a residual that goes on into the next interval (errors of the updates' times make it negative)."""
    return float(np.clip((residual[1:] @ residual[:-1]) / max(float(residual @ residual), 1e-12), 0.0, 0.95))


def _directions(stretch: Stretch, profile: _Profile, lags_s: NDArray[np.float64]) -> tuple[float, float]:
    """The delay told from changes to less power minus that told from changes to more, and its uncertainty.

    They differ where the power near a change is not its class's mean (a slow start of validation, say).

    Args:
        stretch: the intervals.
        profile: the residuals.
        lags_s: the delays that they are by.
    """
    start_s, stage = stretch.classes.start_s, stretch.stage[stretch.classes.column]
    at = np.flatnonzero(np.diff(stage) != 0) + 1
    if len(at) < 2:  # noqa: PLR2004 - one of each direction
        return 0.0, 0.0
    rows, squares = profile.rows, profile.squares
    end_s, power_w = stretch.knot_s[1:][rows], (stretch.rise_j / stretch.length_s)[rows]
    k = np.searchsorted(start_s[at], end_s) - 1
    of = stage[at][np.maximum(k, 0)]
    median_w = {s: median(power_w[(of == s) & (k >= 0)]) for s in distinct(of[k >= 0])}
    w = np.array([median_w.get(s, np.nan) for s in range(int(stage.max()) + 1)])
    rises = w[stage[at]] > w[stage[at - 1]]
    near = (k >= 0) & (end_s - start_s[at][np.maximum(k, 0)] < NEAR_S + 2 * median(stretch.length_s))
    best = squares.sum(axis=1).argmin()
    scale = 0.5 * EVIDENCE / max(float(squares[best].mean()), 1e-12)
    lags = []
    for direction in (False, True):
        group = near & (rises[np.maximum(k, 0)] == direction)
        if group.sum() < 2:  # noqa: PLR2004 - one interval tells nothing
            return 0.0, 0.0
        sums = squares[:, group].sum(axis=1)
        weight = np.exp(-scale * (sums - sums.min()))
        weight /= weight.sum()
        mean_s = float(weight @ lags_s)
        lags.append((mean_s, float(weight @ (lags_s - mean_s) ** 2) + (GRID_S[1] - GRID_S[0]) ** 2 / 12))
    (down_s, down_s2), (up_s, up_s2) = lags
    return down_s - up_s, float(np.sqrt(down_s2 + up_s2))
