"""Mean powers of classes of work, fitted to the rises of a counter."""

from __future__ import annotations

from copy import copy
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lightning_energy.ledger.room import with_room
from lightning_energy.ledger.sharing.prior import NO_PARTS, PRIOR, Prior, believed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

__all__ = [
    "PRIOR",
    "Evidence",
    "Fourth",
    "Normals",
    "Powers",
    "evidence_of",
    "fit",
    "fit_beside",
    "go_on",
    "median",
    "variances_of_longer",
    "wide",
]

RELIABLE = 0.5  # least part of what varies in a direction that is more than noise of the updates' times
LEAST_SCATTER = 1e-3  # relative, of the power of one interval: no fit is better than that
ROUNDS = 8  # of the iteration for the scatter, which the prior's weight depends on
WANDERS = (0.0, 0.02, 0.05, 0.12, 0.3)
"""Standard deviations of a power's change from one block of intervals to the next, relative to the mean power."""
EVIDENCE = 0.5  # weight of the likelihood, as residuals of neighbouring intervals are not independent


def median(values: NDArray[np.float64]) -> float:
    """The (upper) median. NumPy's own loads a package of masked arrays first, which takes a tenth of a second."""
    return float(np.partition(values, len(values) // 2)[len(values) // 2])


def wide(rows: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Rows with room for more classes, of which they hold nothing."""
    return with_room(rows, rows.shape[0], width)


class Normals:
    """Weighted normal equations of ``rise = seconds @ power``. They add up, and are never changed.

    Attributes:
        a: seconds' W seconds, shape (classes, classes).
        excess: the expected addition to ``a`` of errors of the updates' times.
        b: seconds' W rise.
        c: rise' W rise.
        n: number of intervals.
        rise_j: their joules.
        length_s: their seconds.
    """

    __slots__ = ("a", "b", "c", "excess", "length_s", "n", "rise_j")

    def __init__(self, width: int = 0) -> None:
        self.a, self.excess, self.b = np.zeros((width, width)), np.zeros((width, width)), np.zeros(width)
        self.c = self.rise_j = self.length_s = 0.0
        self.n = 0

    @classmethod
    def of(
        cls,
        seconds: NDArray[np.float64],
        rise_j: NDArray[np.float64],
        length_s: NDArray[np.float64],
        weight: NDArray[np.float64],
        excess: NDArray[np.float64] | None = None,
    ) -> Normals:
        """Those of some intervals.

        Args:
            seconds: of the classes in each interval, shape (n, classes).
            rise_j: of each interval.
            length_s: of each interval.
            weight: of each interval.
            excess: see there.
        """
        result = cls(seconds.shape[1])
        weighted = seconds * weight[:, None]
        result.a, result.b, result.c = seconds.T @ weighted, weighted.T @ rise_j, float(weight @ rise_j**2)
        result.n, result.rise_j, result.length_s = len(rise_j), float(rise_j.sum()), float(length_s.sum())
        if excess is not None:
            result.excess = excess
        return result

    def __add__(self, other: Normals) -> Normals:
        width = max(len(self.b), len(other.b))
        one, more, result = self.grown(width), other.grown(width), Normals.__new__(Normals)
        result.a, result.excess, result.b = one.a + more.a, one.excess + more.excess, one.b + more.b
        result.c, result.n = one.c + more.c, one.n + more.n
        result.rise_j, result.length_s = one.rise_j + more.rise_j, one.length_s + more.length_s
        return result

    def grown(self, width: int) -> Normals:
        """The same with room for more classes."""
        if width <= len(self.b):
            return self
        result = copy(self)
        result.a, result.excess = with_room(self.a, width, width), with_room(self.excess, width, width)
        result.b = with_room(self.b, width)
        return result

    def squares(self, power_w: NDArray[np.float64]) -> float:
        """Weighted sum of the squared residuals with some powers, in J² per second."""
        k = len(self.b)
        p = power_w[:k]
        return max(self.c - 2 * float(p @ self.b) + float(p @ self.a @ p), 0.0)

    @property
    def mean_w(self) -> float:
        """Mean power in watts."""
        return self.rise_j / self.length_s if self.length_s else 0.0


def go_on() -> None:
    """Go on at once."""


@cache
def _triangle(width: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """Rows and columns of a lower triangle; 2 beside the diagonal, as a symmetric form has each product twice."""
    i, j = np.tril_indices(width)
    return i, j, np.where(i == j, 1.0, 2.0)


class Fourth:
    """Fourth moments of the classes' seconds: how many intervals carry a figure. Arrays are replaced, never changed.

    A figure that is linear in the fitted powers is a weighted sum of the intervals' rises. Where the weights of a few
    are nearly all of it, their residuals tell nothing of how well it is known.

    Attributes:
        moments: of products of two classes, in the order of a lower triangle.
    """

    def __init__(self) -> None:
        self.moments = np.zeros((0, 0))
        self._last: tuple[NDArray[np.float64], Prior, _Seen] | None = None  # what was asked for last

    def __getstate__(self) -> dict[str, object]:
        """Copies and pickles do without what can be taken from the moments."""
        return {"moments": self.moments, "_last": None}

    def add(self, seconds: NDArray[np.float64], weight: NDArray[np.float64], prior: Prior = NO_PARTS) -> None:
        """Add intervals: seconds of the classes in each, shape (n, classes), and their weights; parts are one class."""
        seconds = seconds @ prior.to_phases(seconds.shape[1])
        i, j, _ = _triangle(seconds.shape[1])
        products = seconds[:, i] * seconds[:, j] * weight[:, None]
        n = products.shape[1]
        self.moments = with_room(self.moments, n, n) + products.T @ products
        self._last = None

    def carriers(
        self, along: NDArray[np.float64], a: NDArray[np.float64], prior: Prior = NO_PARTS
    ) -> NDArray[np.float64]:
        """The effective number of intervals whose rises make a figure: all of them where they count alike (Kish).

        Args:
            along: change of the figure's weights by the seconds of each class, shape (..., classes).
            a: seconds' W seconds of all intervals.
            prior: what are parts of other classes.
        """
        to_phases, seen, a, (i, j, twice), moments = self._seen_of(a, prior)
        k = (along[..., : len(to_phases)] @ to_phases)[..., seen]
        products = k[..., i] * k[..., j] * twice
        second, fourth = (np.add.reduce(each, axis=-1) for each in ((k @ a) * k, (products @ moments) * products))
        result: NDArray[np.float64] = np.where(fourth > 0, second**2 / np.maximum(fourth, 1e-300), 0.0)
        return result

    def _seen_of(self, a: NDArray[np.float64], prior: Prior) -> _Seen:
        last = self._last
        if last is not None and last[0] is a and last[1] is prior:
            return last[2]
        to_phases = prior.to_phases(len(a))
        of_phases = to_phases.T @ a @ to_phases
        seen = np.flatnonzero(np.diag(of_phases) > 0)  # there is nothing of the others
        i, j, twice = _triangle(len(seen))
        place = seen[i] * (seen[i] + 1) // 2 + seen[j]
        known = place < len(self.moments)
        pairs, place = (i[known], j[known], twice[known]), place[known]
        found = _Seen(
            to_phases / to_phases.sum(axis=0),
            seen,
            of_phases[np.ix_(seen, seen)],
            pairs,
            self.moments[np.ix_(place, place)],
        )
        self._last = a, prior, found
        return found


class _Seen(NamedTuple):
    """The phases that were seen, of all of which :meth:`Fourth.carriers` is asked again and again.

    Attributes:
        to_phases: from classes to the means of phases.
        seen: the phases.
        a: seconds' W seconds of them.
        pairs: rows and columns of a lower triangle of them, and how often each counts.
        moments: the fourth moments of these.
    """

    to_phases: NDArray[np.float64]
    seen: NDArray[np.intp]
    a: NDArray[np.float64]
    pairs: tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]
    moments: NDArray[np.float64]


class Powers(NamedTuple):
    """Fitted powers of every block of intervals.

    Attributes:
        power_w: shape (blocks, classes).
        covariance_w2: shape (blocks * classes, blocks * classes).
        scatter: variance of an interval's rise about the fit, in J² per second.
        mean_w: mean power of the run.
        wander: standard deviation of a power's change from block to block, relative to ``mean_w``.
        n: the number of intervals that were fitted.
        a: seconds' W seconds of all of them.
        fourth: the fourth moments of all of them; ``None``: it is not asked how many tell of a figure.
        prior: what was supposed of the powers.
    """

    power_w: NDArray[np.float64]
    covariance_w2: NDArray[np.float64]
    scatter: float
    mean_w: float
    wander: float
    n: int
    a: NDArray[np.float64] = np.zeros((0, 0))
    fourth: Fourth | None = None
    prior: Prior = NO_PARTS

    def as_carried(
        self, variance_j2: NDArray[np.float64], along: NDArray[np.float64], prior_j2: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Variances of figures by the powers, wider where few intervals carry them: they cannot check each other.

        With n intervals it is that of Student's distribution with as many degrees of freedom, and no more than before
        anything was known.

        Args:
            variance_j2: by :attr:`covariance_w2`.
            along: the covariance times the figures' change by the power of each class, shape (..., classes).
            prior_j2: the variances by the prior.
        """
        if self.fourth is None or not self.fourth.moments.size:  # what is booked for a moment only is not in them
            return variance_j2
        n = self.fourth.carriers(along, self.a, self.prior)
        wider = variance_j2 * n / np.maximum(n - 2, 1e-9)
        return np.maximum(variance_j2, np.minimum(wider, prior_j2))

    def wide(self, width: int) -> Powers:
        """The same with room for more classes, of which nothing is known but the prior."""
        n, k = self.power_w.shape
        if width <= k:
            return self
        power_w = np.full((n, width), self.mean_w)
        power_w[:, :k] = self.power_w
        covariance = np.zeros((n, width, n, width))
        covariance[:, :k, :, :k] = self.covariance_w2.reshape(n, k, n, k)
        for new in range(k, width):
            covariance[:, new, :, new] = (PRIOR * self.mean_w) ** 2
        return self._replace(power_w=power_w, covariance_w2=covariance.reshape(n * width, n * width))

    @property
    def overall_w(self) -> NDArray[np.float64]:
        """The powers of the last block, with which the run goes on."""
        result: NDArray[np.float64] = self.power_w[-1]
        return result


class _View(NamedTuple):
    """The normal equations in coordinates in which errors of the updates' times are told from what varies."""

    seen: NDArray[np.intp]
    low: NDArray[np.float64]  # Cholesky factor of the whole ``a``
    inverse: NDArray[np.float64]
    q: NDArray[np.float64]
    share: NDArray[np.float64]  # part of what varies in each direction that is no noise
    keep: NDArray[np.bool_]

    @classmethod
    def of(cls, whole: Normals) -> _View:
        diagonal = whole.a.diagonal()
        seen = (diagonal > 1e-12 * diagonal.sum()).nonzero()[0]
        a, excess = whole.a[seen[:, None], seen], whole.excess[seen[:, None], seen]
        lifted, at = a.copy(), np.arange(len(seen))
        lifted[at, at] += 1e-9 * a[at, at]
        low = np.linalg.cholesky(lifted).astype(np.float64, copy=False)
        inverse = np.linalg.inv(low).astype(np.float64, copy=False)
        share, q = np.linalg.eigh(inverse @ (a - excess) @ inverse.T)
        return cls(seen, low, inverse, q, share, share >= RELIABLE)

    def information(self, a: NDArray[np.float64], corrected: float, *, meat: bool = False) -> NDArray[np.float64]:
        """Seconds' W seconds without a part of the noise of the updates' times, in reliable directions only."""
        share = np.where(self.keep, 1.0 if meat else 1 - corrected * (1 - self.share), 0.0)
        there, back = self.q.T @ self.inverse, self.low @ self.q
        inner = there @ a[self.seen[:, None], self.seen] @ there.T
        root = np.sqrt(share)
        result: NDArray[np.float64] = back @ (root[:, None] * inner * root) @ back.T
        return result

    def right(self, b: NDArray[np.float64]) -> NDArray[np.float64]:
        """Seconds' W rise, in reliable directions only."""
        result: NDArray[np.float64] = self.low @ ((self.q * self.keep) @ (self.q.T @ (self.inverse @ b[self.seen])))
        return result


def fit(
    blocks: Sequence[Normals],
    *,
    wanders: Sequence[float] = WANDERS,
    priors: Sequence[Prior] = (NO_PARTS,),
    fourth: Fourth | None = None,
    by_stage: Sequence[Normals] = (),
    pause: Callable[[], None] = go_on,
) -> Powers:
    """Fit mean powers to blocks of intervals, in the order of time.

    Ridge regression towards the run's mean power (standard deviation :data:`PRIOR` of it), and never below 0. There is
    no upper limit: a board's limit, and the greatest reading of a sensor, are means over longer than a part of a phase
    lasts, and what a power may not have its neighbours get, by more than any uncertainty says. From block to block
    powers may wander; how much is the most likely of ``wanders`` (marginal likelihood), so that powers stay constant
    where the run does not say otherwise. Errors of the updates' times make the seconds noisy, which would pull the
    powers together (attenuation; Fuller, Measurement Error Models, 1987): half of the expected noise is taken out, and
    half of what the other half would change is uncertainty, as an update may err about the time or the time about the
    update.

    Args:
        blocks: their normal equations; at least one interval.
        wanders: the changes of power between blocks to choose from.
        priors: what may be supposed of the powers.
        fourth: fourth moments of the intervals.
        by_stage: normal equations of each stage's intervals, which may scatter otherwise; empty: all scatter alike.
        pause: called between parts of the work.
    """
    whole = Normals()
    for block in blocks:
        whole = whole + block
    blocks = [block.grown(len(whole.b)) for block in blocks]
    view = _View.of(whole)
    pause()
    tried = []
    for supposed in priors:
        tried.append(_Constant.of(whole, view, supposed, by_stage))
        pause()
    prior, constant = priors[0], tried[0]
    if len(tried) > 1:
        prior = believed(priors, [each.evidence for each in tried])
        constant = _Constant.of(whole, view, prior, by_stage)
        pause()
    scatter = constant.scatter
    n_blocks, width, mean_w = len(blocks), len(whole.b), whole.mean_w
    wander = 0.0
    powers = np.tile(constant.power_w, (n_blocks, 1))
    if n_blocks > 1 and len(wanders) > 1 and mean_w > 0:
        wandering = _Wandering(blocks, view, whole, constant, prior)
        pause()
        found = wandering.best([w for w in wanders if w > 0], pause)
        if found is not None:
            wander, powers_seen, cov_seen, scatter = found
            powers[:, view.seen] = np.maximum(powers_seen, 0.0)
            covariance = np.kron(np.ones((n_blocks, n_blocks)), np.diag(np.full(width, (PRIOR * mean_w) ** 2)))
            at = (np.arange(n_blocks)[:, None] * width + view.seen).ravel()
            covariance[np.ix_(at, np.arange(n_blocks * width))] = 0.0
            covariance[np.ix_(np.arange(n_blocks * width), at)] = 0.0
            covariance[np.ix_(at, at)] = cov_seen
    if not wander:
        covariance = np.tile(constant.covariance_w2, (n_blocks, n_blocks))
    tiled = np.tile(constant.noise_w, n_blocks)
    covariance = covariance + np.outer(tiled, tiled) / 4
    return Powers(powers, covariance, scatter, mean_w, wander, whole.n, whole.a, fourth, prior)


def fit_beside(normals: Normals, powers: Powers) -> NDArray[np.float64]:
    """Mean powers of the same intervals seen by another kernel, by the scatter that was found: one solution, no search.

    Args:
        normals: the normal equations by the other kernel.
        powers: the powers by the kernel that counts.

    Returns:
        Shape (classes,).
    """
    view, mean_w = _View.of(normals), normals.mean_w
    power_w = np.empty(len(normals.b))
    power_w.fill(mean_w)
    info, design, spread_w = view.information(normals.a, 0.5), *powers.prior.axes(view.seen, len(normals.b), mean_w)
    right = view.right(normals.b) - info @ power_w[view.seen]
    pulled, at = design.T @ info @ design, np.arange(len(spread_w))
    pulled[at, at] += powers.scatter / spread_w**2
    power_w[view.seen] = mean_w + design @ np.linalg.solve(pulled, design.T @ right)
    return power_w


def variances_of_longer(
    normals: Normals, powers: Powers, along_s: NDArray[np.float64], times: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Variances of a figure by powers that stay as they are, in runs that are longer by some factors: the least.

    What this run tells nothing of but the noise of its updates' times, a longer one of the same work does not tell,
    either.

    Args:
        normals: the normal equations of this run.
        powers: the powers.
        along_s: change of the figure by the power of each class, in this run.
        times: the factors.
    """
    seen = np.flatnonzero(np.diag(normals.a) > 0)
    design, spread_w = powers.prior.axes(seen, len(normals.b), powers.mean_w)
    to_axes = design * spread_w  # of standard deviation 1 each
    told = (normals.a - normals.excess)[np.ix_(seen, seen)]
    size, q = np.linalg.eigh(to_axes.T @ told @ to_axes / powers.scatter)
    along = q.T @ (to_axes.T @ along_s[seen])
    result: NDArray[np.float64] = (along**2 / (np.maximum(size, 0.0) * times[:, None] + 1)).sum(axis=1)
    return result


class Evidence(NamedTuple):
    """Log of the marginal likelihood of the rises, but for what kernels and priors have in common.

    Attributes:
        all_of_it: of all that the powers leave of them.
        without_noise: of that without what errors of the updates' times add: the more a kernel smooths, the less.
        power_w: the powers, shape (classes,).
    """

    all_of_it: float
    without_noise: float
    power_w: NDArray[np.float64]


def evidence_of(normals: Normals, prior: Prior, scatter: float) -> Evidence:
    """The evidence for a kernel and a prior, by a scatter that is common to all.

    Args:
        normals: the normal equations by the kernel.
        prior: what is supposed of the powers.
        scatter: variance of an interval's rise, in J² per second.
    """
    view, width, mean_w = _View.of(normals), len(normals.b), normals.mean_w
    design, spread_w = prior.axes(view.seen, width, mean_w)
    info = view.information(normals.a, 0.5)
    right = view.right(normals.b) - info.sum(axis=1) * mean_w
    to_axes = design * spread_w  # of standard deviation 1 each
    told = to_axes.T @ info @ to_axes / scatter + np.eye(to_axes.shape[1])
    away = np.linalg.solve(told, to_axes.T @ right / scatter)
    power_w = np.full(width, mean_w)
    power_w[view.seen] += to_axes @ away
    cost = normals.squares(power_w) / scatter + float(away @ away) + float(np.linalg.slogdet(told)[1])
    of_noise = float(power_w @ normals.excess @ power_w) / scatter
    return Evidence(-0.5 * EVIDENCE * cost, -0.5 * EVIDENCE * (cost - of_noise), power_w)


def _scattered(
    whole: Normals, by_stage: Sequence[Normals], power_w: NDArray[np.float64], scatter: float
) -> NDArray[np.float64]:
    """Seconds' W seconds times the scatter of the rises: that of all, or that of a stage where that is more.

    Steps scatter more than idle time and validation do: by what all rises scatter alike, a short training between long
    ones of these would be known better than it is (White, Econometrica 48:817, 1980).
    """
    result = scatter * whole.a
    for stage in by_stage:
        beyond, k = stage.squares(power_w) / max(stage.n, 1) - scatter, len(stage.b)
        result[:k, :k] += max(beyond, 0.0) * stage.a
    return result


class _Constant(NamedTuple):
    """Powers that are the same in all blocks.

    Attributes:
        power_w: the powers.
        covariance_w2: their covariance.
        scatter: variance of an interval's rise about them, in J² per second.
        pull: how strongly those of the classes that are seen, and would be negative, are pulled to 0.
        noise_w: change of the powers if all of the updates' noise were taken out instead of none.
        evidence: log of the marginal likelihood, but for a constant.
    """

    power_w: NDArray[np.float64]
    covariance_w2: NDArray[np.float64]
    scatter: float
    pull: NDArray[np.float64]
    noise_w: NDArray[np.float64]
    evidence: float

    @classmethod
    def of(cls, whole: Normals, view: _View, supposed: Prior, by_stage: Sequence[Normals]) -> _Constant:
        width, mean_w, seen = len(whole.b), whole.mean_w, view.seen
        spread = max(PRIOR * mean_w, 1e-6)
        design, spread_w = supposed.axes(seen, width, mean_w)
        level_w = np.full(len(seen), mean_w)
        power_w, covariance, noise_w = np.full(width, mean_w), np.eye(width) * spread**2, np.zeros(width)
        info, right = view.information(whole.a, 0.5), view.right(whole.b)
        scatter, pull = max(1e-2 * mean_w**2, 1e-12), np.zeros(len(seen))

        def away(info: NDArray[np.float64]) -> NDArray[np.float64]:
            """Deviations from the level that fit best, with what is pulled up to 0."""
            pulled = info + np.diag(pull)
            rest = right - pulled @ level_w
            normal = design.T @ pulled @ design + np.diag(scatter / spread_w**2)
            result: NDArray[np.float64] = np.linalg.solve(normal, design.T @ rest)
            return result

        least = max((LEAST_SCATTER * mean_w) ** 2 * whole.length_s / max(whole.n, 1), 1e-12)
        for _ in range(ROUNDS):
            found = away(info)
            power_w[seen] = p = level_w + design @ found
            scatter = max(whole.squares(power_w) / max(whole.n - len(seen), 1), least)
            out = p < 0
            if out.any():
                pull = np.where(out, 1e3 * np.diag(whole.a)[seen], pull)
        left = whole.squares(power_w)
        power_w[seen] = np.maximum(power_w[seen], 0.0)
        none, full = (level_w + design @ away(view.information(whole.a, corrected)) for corrected in (0.0, 1.0))
        noise_w[seen] = np.maximum(full, 0.0) - np.maximum(none, 0.0)
        prior = np.diag(scatter / spread_w**2)
        free = np.linalg.inv(design.T @ info @ design + prior)
        meat = design.T @ view.information(_scattered(whole, by_stage, power_w, scatter), 0.5, meat=True) @ design
        covariance[np.ix_(seen, seen)] = design @ free @ (meat + scatter * prior) @ free @ design.T
        evidence = -0.5 * (
            left / scatter
            + float(((found / spread_w) ** 2).sum())
            + whole.n * float(np.log(scatter))
            - float(np.linalg.slogdet(free * scatter)[1])
            + 2 * float(np.log(spread_w).sum())
        )
        return cls(power_w, covariance, scatter, pull, noise_w, EVIDENCE * evidence)


class _Wandering:
    """Powers that change from block to block as a random walk does, about the prior's level."""

    def __init__(
        self, blocks: Sequence[Normals], view: _View, whole: Normals, constant: _Constant, supposed: Prior
    ) -> None:
        self._n, self._blocks, self._view, self._whole = len(blocks), blocks, view, whole
        self._scatter, self._mean_w = constant.scatter, whole.mean_w
        design, self._spread_w = supposed.axes(view.seen, len(whole.b), whole.mean_w)
        m = int((self._spread_w == self._spread_w[0]).sum()) if supposed.has_parts else len(view.seen)
        self._of_phase, self._of_part = design[:, :m], design[:, m:]
        self._share = np.array([b.n for b in blocks]) / max(whole.n, 1)
        self._least = max((LEAST_SCATTER * whole.mean_w) ** 2 * whole.length_s / max(whole.n, 1), 1e-12)
        self._told = self._data(constant)

    def best(
        self, wanders: Sequence[float], pause: Callable[[], None]
    ) -> tuple[float, NDArray[np.float64], NDArray[np.float64], float] | None:
        """The most likely of some changes per block, its powers, covariance and scatter; ``None``: none at all."""
        zero = self._solve(1e-4, pause)
        found = [(w, self._solve(w, pause)) for w in wanders]
        wander, (evidence, powers, covariance, scatter) = max(found, key=lambda x: x[1][0])
        if evidence < zero[0] + 1.0:
            return None
        if self._of_part.shape[1]:
            to_classes = self._to_classes()
            covariance = to_classes @ covariance @ to_classes.T
        return wander, powers, covariance, scatter

    def _to_classes(self) -> NDArray[np.float64]:
        """Change of the powers of all blocks by those of phases in each, and by what parts draw beyond these."""
        return np.concatenate(
            [np.kron(np.eye(self._n), self._of_phase), np.kron(np.ones((self._n, 1)), self._of_part)], axis=1
        )

    def _data(self, constant: _Constant) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Information of the rises on powers beyond the mean, in all blocks, and its product with these."""
        n, m, parts = self._n, self._of_phase.shape[1], self._of_part.shape[1]
        data, right = np.zeros((n * m + parts, n * m + parts)), np.zeros(n * m + parts)
        more = slice(n * m, n * m + parts)
        for block, (normals, share) in enumerate(zip(self._blocks, self._share, strict=True)):
            at, pull = slice(block * m, block * m + m), constant.pull * share
            pulled = self._view.information(normals.a, 0.5) + np.diag(pull)
            rest = self._view.right(normals.b) - pulled.sum(axis=1) * self._mean_w
            data[at, at] = self._of_phase.T @ pulled @ self._of_phase
            right[at] = self._of_phase.T @ rest
            if parts:
                data[at, more] = self._of_phase.T @ pulled @ self._of_part
                data[more, at] = data[at, more].T
                data[more, more] += self._of_part.T @ pulled @ self._of_part
                right[more] += self._of_part.T @ rest
        return data, right

    def _solve(
        self, wander: float, pause: Callable[[], None]
    ) -> tuple[float, NDArray[np.float64], NDArray[np.float64], float]:
        """Log evidence, powers, covariance and scatter of a random walk of ``wander`` per block.

        The covariance is that of the powers of phases in each block, and of what their parts draw beyond these, which
        is the same in all blocks.
        """
        n, m = self._n, self._of_phase.shape[1]
        steps = np.diff(np.eye(n), axis=0) / (wander * self._mean_w)
        level = np.outer(self._share, self._share) / self._spread_w[0] ** 2
        data, pulled = self._told
        prior = np.zeros_like(data)
        prior[: n * m, : n * m] = np.kron(steps.T @ steps + level, np.eye(m))
        rest = np.arange(n * m, len(prior))
        prior[rest, rest] = 1 / self._spread_w[m:] ** 2
        scatter = self._scatter
        for _ in range(3):
            pause()
            posterior = prior + data / scatter
            inverse = np.linalg.inv(posterior).astype(np.float64, copy=False)
            pause()
            away = inverse @ (pulled / scatter)
            powers = self._mean_w + away[: n * m].reshape(n, m) @ self._of_phase.T + self._of_part @ away[n * m :]
            full = np.zeros((n, len(self._whole.b)))
            full[:, self._view.seen] = powers
            pause()
            rss = sum(b.squares(row) for b, row in zip(self._blocks, full, strict=True))
            pause()
            taken = float(np.trace(inverse @ data)) / scatter  # effective number of parameters
            scatter = max(rss / max(self._whole.n - taken, 1), self._least)
        evidence = -0.5 * (
            rss / scatter
            + float(away @ prior @ away)
            + self._whole.n * np.log(scatter)
            + np.linalg.slogdet(posterior)[1]
            - np.linalg.slogdet(prior)[1]
        )
        return EVIDENCE * float(evidence), powers, inverse, scatter
