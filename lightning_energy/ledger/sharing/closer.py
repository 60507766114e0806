"""The delay and the smoothing of a counter, told by all intervals of a run from those by which they were found."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lightning_energy.ledger.room import with_room
from lightning_energy.ledger.sharing.delay import AGAINST, SMOOTH_FLOOR_S
from lightning_energy.ledger.sharing.powers import EVIDENCE, evidence_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from lightning_energy.ledger.sharing.delay import Found
    from lightning_energy.ledger.sharing.powers import Normals
    from lightning_energy.ledger.sharing.prior import Prior

__all__ = ["Closer", "Parabola", "Turns", "changes", "with_squares"]

FAR = 2.5  # standard deviations from what was found beyond which a parabola tells nothing
MOST_EMA_S = 0.015  # of a smoothing that was looked for closely
EMAS = 301  # time constants that are tried
SMOOTHS = 0.1  # of an interval: where a sensor smooths by more, three kernels do not tell by how much
FLOOR_S = 2e-5  # standard uncertainty that remains: marks, and changes of power, take a while
OF_BRACKETS = 0.1  # the same, of the standard deviation of the updates' times within their brackets
GROWN = 1.2  # factor by which the intervals have to grow until all of them tell more than the first
LEAST_CURVE = -0.5  # of the log likelihood along the first axis: that of what was found
NEAR = 1.5  # standard deviations from what was found beyond which three kernels do not tell where the best one lies
SKEWED = 0.2  # part of a deviation by which a parabola may err
BENT = 0.05  # part of the square of a deviation by which a parabola may err


class Parabola(NamedTuple):
    """A function through three points: at ``low``, at 0 and at 1."""

    low: float
    at_low: NDArray[np.float64]
    at_0: NDArray[np.float64]
    at_1: NDArray[np.float64]

    @property
    def terms(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The factors of the place and of its square."""
        up = self.at_1 - self.at_0
        down = (self.at_low - self.at_0) / self.low
        curve = (up - down) / (1 - self.low)
        return up - curve, curve

    def beyond(self, t: float | NDArray[np.float64]) -> NDArray[np.float64]:
        """Its value at ``t`` beyond that at 0."""
        slope, curve = self.terms
        result: NDArray[np.float64] = slope * t + curve * t**2
        return result

    def changes(self, t: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Its change by the way from ``t``, and by the square of that."""
        slope, curve = self.terms
        return slope + 2 * curve * t, curve


def changes(axes: Sequence[Parabola], at: Sequence[float]) -> NDArray[np.float64]:
    """The change of a figure by the way along each of some axes, then by the square of each way.

    After few intervals the figure by what was found may be the greatest, or the least, of all that may be: the change
    by the way alone would be none.

    Args:
        axes: the figure along each.
        at: the place on each that the ways begin at.
    """
    slopes, curves = zip(*map(Parabola.changes, axes, at), strict=True)
    return np.array([*slopes, *curves])


def with_squares(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """The covariance of normal deviations, and then of their squares.

    Args:
        covariance: that of the deviations.
    """
    n = len(covariance)
    result = np.zeros((2 * n, 2 * n))
    result[:n, :n], result[n:, n:] = covariance, 2 * covariance**2
    return result


class Turns:
    """The change of the classes' seconds along both axes, and how alike the two are: sums over intervals.

    Attributes:
        sums: products of the seconds, of their change along the first axis, and of that along the second; shape
            (3, classes, 3, classes). Replaced, never changed.
    """

    def __init__(self) -> None:
        self.sums = np.zeros((3, 0, 3, 0))

    def copy(self) -> Turns:
        """The same, which may change by itself."""
        return copy(self)

    def add(self, seconds: Sequence[NDArray[np.float64]], weight: NDArray[np.float64]) -> None:
        """Add intervals: seconds of the classes in each by the kernel and by those beside it, and their weights."""
        at_0, down, up, _, more = seconds
        all_ = np.stack([at_0, (up - down) / 2, more - at_0], axis=1).reshape(len(at_0), -1)
        width = at_0.shape[1]
        wider = with_room(self.sums, 3, width, 3, width)
        self.sums = wider + (all_.T @ (all_ * weight[:, None])).reshape(3, width, 3, width)

    def alike_j2(self, power_w: NDArray[np.float64], prior: Prior, scatter: float) -> float:
        """The sum of the products of the rises' changes along both axes, but for what other powers would explain.

        Args:
            power_w: the powers.
            prior: what is supposed of them.
            scatter: variance of an interval's rise, in J² per second.
        """
        width = self.sums.shape[1]
        p = power_w[:width]
        first, second = self.sums[0, :, 1] @ p, self.sums[0, :, 2] @ p
        a = self.sums[0, :, 0]
        seen = np.flatnonzero(np.diag(a) > 0)
        design, spread_w = prior.axes(seen, width, float(np.mean(p[seen])))
        to_axes = design * spread_w
        told = to_axes.T @ a[np.ix_(seen, seen)] @ to_axes + scatter * np.eye(to_axes.shape[1])
        explained = (first[seen] @ to_axes) @ np.linalg.solve(told, second[seen] @ to_axes)
        return float(p @ self.sums[1, :, 2] @ p - explained)


def _squares_s2(found: Found) -> NDArray[np.float64]:
    """Squares of the smoothing of a kernel and of those beside it."""
    result: NDArray[np.float64] = np.array([k.ema_s for k in (found.kernel, *found.beside)]) ** 2
    return result


class Closer(NamedTuple):
    """The kernel as all intervals of a run tell it, beside that by which they were booked.

    It is looked for along two axes: delay and smoothing together, and the square of the smoothing with their sum as it
    is. The intervals were booked by kernels beside it on both, so that nothing has to be kept of them: the residuals
    by each kernel say where between these the best one lies.

    Attributes:
        found: the kernel, and what is not known of it.
        low: the places of the lower neighbours on both axes; that of the kernel is 0, of the upper ones 1.
        at: the best place on both axes.
        spread: its covariance.
        log_of: log of the belief in each of what may be supposed of the powers; empty where it was not looked for.
    """

    found: Found
    low: tuple[float, float]
    at: tuple[float, float]
    spread: NDArray[np.float64]
    log_of: tuple[float, ...] = ()

    @classmethod
    def of(
        cls,
        found: Found,
        normals: Sequence[Normals],
        tried: Sequence[Prior],
        turns: Turns,
        *,
        scatter: float,
        of_times_j2: float,
    ) -> Closer:
        """Look for it.

        Args:
            found: the kernel, looked for closely, and what is not known of it.
            normals: the normal equations by it and by those beside it.
            tried: what may be supposed of the powers.
            turns: the changes along both axes.
            scatter: variance of an interval's rise about the fit, in J² per second.
            of_times_j2: variance of the rises by errors of the updates' times, per second of each; summed over all.
        """
        as_found, ema2_s2, whole = cls.as_found(found), _squares_s2(found), normals[0]
        mean_s = whole.length_s / max(whole.n, 1)
        if whole.n < GROWN * found.fine_n or found.kernel.ema_s > SMOOTHS * mean_s:
            return as_found
        low, width_s2 = as_found.low, float(ema2_s2[4] - ema2_s2[0])
        emas_s = np.linspace(0.0, MOST_EMA_S, EMAS)
        place_2 = (emas_s**2 - ema2_s2[0]) / width_s2
        place_2, emas_s = place_2[place_2 <= FAR], emas_s[place_2 <= FAR]
        places, weights, left = [], [], []
        for prior in tried:
            seen = [evidence_of(each, prior, scatter) for each in normals]
            all_of_it, without_noise = (np.array([e[k] for e in seen]) for k in (0, 1))
            slope, curve = Parabola(low[0], *all_of_it[[1, 0, 2]]).terms
            if curve > LEAST_CURVE:  # they tell nothing more
                slope, curve = np.zeros(()), np.full((), LEAST_CURVE)
            alike_j2 = turns.alike_j2(seen[0].power_w, prior, scatter)
            slope = slope - EVIDENCE / scatter * alike_j2 * place_2  # along the first axis, at these places
            weight = all_of_it[0] + Parabola(low[1], *without_noise[[3, 0, 4]]).beyond(place_2) - slope**2 / curve / 4
            weights.append(weight - 0.5 * np.log(-curve))
            places.append(np.clip(-slope / curve / 2, -FAR, FAR))
            left.append(np.full(len(place_2), -0.5 / curve))
        weight = np.exp(np.array(weights) - np.max(weights))
        weight /= weight.sum()
        place, each_2 = np.array(places), np.broadcast_to(place_2, weight.shape)
        ema = np.broadcast_to(emas_s, weight.shape)
        at = np.array([(weight * place).sum(), (weight * each_2).sum()])
        x = np.stack([(place - at[0]).ravel(), (each_2 - at[1]).ravel()])
        w = weight.ravel()
        if np.abs(at).max() > NEAR:
            return as_found
        sum_s2 = float(found.covariance_s2.sum())
        half2_s2 = of_times_j2 / whole.n * whole.length_s / whole.n / 2 / whole.mean_w**2
        floor_s2 = FLOOR_S**2 + OF_BRACKETS**2 * half2_s2
        more = float((weight * left).sum()) + floor_s2 / sum_s2 + (BENT * at[0] ** 2) ** 2 + (SKEWED * at[0]) ** 2
        floor_2 = SMOOTH_FLOOR_S**2 / width_s2
        spread = (x * w) @ x.T + np.diag([more, floor_2**2])
        ema_s = float((weight * ema).sum())
        seconds = np.stack([x[0] * sum_s2**0.5 - (ema.ravel() - ema_s), ema.ravel() - ema_s])  # delay and smoothing
        covariance_s2 = (seconds * w) @ seconds.T + np.diag([more * sum_s2, 0.0]) + SMOOTH_FLOOR_S**2 * AGAINST
        lag_s = found.kernel.lag_s + found.kernel.ema_s + float(at[0]) * sum_s2**0.5 - ema_s
        closer = found._replace(kernel=found.kernel._replace(lag_s=lag_s, ema_s=ema_s), covariance_s2=covariance_s2)
        of_prior = np.log(np.maximum(weight.sum(axis=1), 1e-300))
        return cls(closer, low, (float(at[0]), float(at[1])), spread, tuple(of_prior.tolist()))

    @classmethod
    def as_found(cls, found: Found) -> Closer:
        """The kernel as it was looked for closely, and what was not known of it then."""
        ema2_s2 = _squares_s2(found)
        width_s2 = float(ema2_s2[4] - ema2_s2[0])
        u_2 = found.u_ema_s * (found.u_ema_s + 2 * found.kernel.ema_s) / width_s2
        low = (-1.0, float(ema2_s2[3] - ema2_s2[0]) / width_s2)
        return cls(found, low, (0.0, 0.0), np.diag([1.0, u_2**2]))

    def beyond(self, by_kernel: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        """A figure by the best kernel beyond that by the kernel that intervals were booked by.

        Args:
            by_kernel: the figure by that kernel and by those beside it.
        """
        return sum((a.beyond(t) for a, t in zip(self._axes(by_kernel), self.at, strict=True)), np.zeros(1))

    def changes_and_beyond(
        self, by_kernel: Sequence[NDArray[np.float64]]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The change of a figure by the way along each axis, then by the square of each, and :meth:`beyond`.

        Args:
            by_kernel: the figure by the kernel that intervals were booked by, and by those beside it.

        Returns:
            The changes in the order of :attr:`covariance`, and the figure beyond that by that kernel.
        """
        (slope, curve), (slope_2, curve_2) = (axis.terms for axis in self._axes(by_kernel))
        t, t_2 = self.at
        by_way = np.array([slope + 2 * curve * t, slope_2 + 2 * curve_2 * t_2, curve, curve_2])
        return by_way, (slope * t + curve * t**2) + (slope_2 * t_2 + curve_2 * t_2**2)

    @property
    def covariance(self) -> NDArray[np.float64]:
        """That of the ways along both axes from the best place, and of their squares."""
        return with_squares(self.spread)

    def _axes(self, by_kernel: Sequence[NDArray[np.float64]]) -> tuple[Parabola, Parabola]:
        at_0, down, up, less, more = by_kernel
        return Parabola(self.low[0], down, at_0, up), Parabola(self.low[1], less, at_0, more)
