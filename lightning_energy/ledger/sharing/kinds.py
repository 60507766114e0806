"""Kinds of steps of one stage: long and short ones, or ones in turns, each with a mean power of its own.

Steps are told apart by what is known without looking at each: how long they last, where durations form clusters, or
their number in the epoch modulo some period, as with gradient accumulation. A kind must explain the counter's rises
better than one mean power does, by a marginal likelihood; else all steps of a stage stay one class. Where durations
form clusters and nothing tells whether powers differ, they are kinds, too, whose powers are uncertain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lightning_energy.ledger.sharing.cut import Cut
from lightning_energy.ledger.sharing.delay import log_prior
from lightning_energy.ledger.sharing.powers import EVIDENCE, LEAST_SCATTER, PRIOR

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from lightning_energy.ledger.sharing.kernel import Kernel
    from lightning_energy.ledger.sharing.stretch import Stretch

__all__ = ["MOST_KINDS", "UNTOLD", "Kinds", "Rule", "find_kinds", "have_durations"]

MOST_KINDS = 4
NEARLY = 0.5  # mean duration of steps, in intervals, from which on single ones are seen
ALL_APART = range(2, MOST_KINDS + 1)  # periods whose steps may each be a kind of its own
PERIODS = (*range(2, 9), 10, 16, 20, 32, 50)  # periods of which one step may be a kind, and the others another
MOST_CELLS = 500_000  # marks times columns of one table: longer periods are not tried with more
FEWEST_STEPS = 16
FEWEST_OF_KIND = 8
SHARE = 0.02  # least part of the steps that a cluster of durations has
APART = 5.0  # distance of clusters of durations, in standard deviations within them: halves of one have 2.7 to 3.5
CONTRAST = 0.5  # standard deviation of a kind's power about that of the others, relative to the mean power
LIKELY = 1.0  # log evidence that kinds by duration need not have: where nothing tells their powers, u says so
FAR_BETTER = 6.0  # log evidence that kinds by number need: some 150 are tried
UNTOLD = 0.4
"""Standard deviation of a step's power, relative to the mean power, that kinds may make before a run was looked at."""
TOLD = 0.06  # uncertainty of a difference, relative to the mean power, from which on there is no use in more intervals


class Rule(NamedTuple):
    """The way in which steps of a class are told apart.

    Attributes:
        of_class: the class of steps.
        every: period of the steps' numbers in their epoch; 0: by duration.
        kinds: the kind of each number modulo ``every``.
        limits_s: durations from which on a step is of the next kind.
        classes: the class of each kind.
    """

    of_class: int
    every: int = 0
    kinds: tuple[int, ...] = ()
    limits_s: tuple[float, ...] = ()
    classes: tuple[int, ...] = ()

    @property
    def n(self) -> int:
        """The number of kinds."""
        return max(self.kinds) + 1 if self.every else len(self.limits_s) + 1

    def of(self, number: NDArray[np.int64], duration_s: NDArray[np.float64]) -> NDArray[np.int64]:
        """The kinds of steps.

        Args:
            number: of each in its epoch.
            duration_s: of each; NaN: not over, taken for the first kind.
        """
        if self.every:
            return np.array(self.kinds, dtype=np.int64)[number % self.every]
        known_s = np.where(np.isnan(duration_s), 0.0, duration_s)
        return np.searchsorted(np.array(self.limits_s), known_s, side="right").astype(np.int64)


class Kinds(NamedTuple):
    """Kinds of steps that were found.

    Attributes:
        rules: a rule for each class of steps that has kinds.
        is_told: true where more intervals would not help to tell.
        log_evidence: how well they explain the rises.
        untold: standard deviation of a step's power that kinds may make which nothing tells, of the mean power.
    """

    rules: tuple[Rule, ...]
    is_told: bool
    log_evidence: float
    untold: float = UNTOLD


class _Tried(NamedTuple):
    """Kinds that were tried: the log evidence beyond one kind, less what they need."""

    gain: float
    rule: Rule


def find_kinds(
    stretch: Stretch,
    kernel: Kernel,
    number: NDArray[np.int64],
    steps: Sequence[int],
    pause: Callable[[], None],
) -> Kinds:
    """Find the kinds of steps.

    Args:
        stretch: the intervals, with classes of which each stage's steps are one.
        kernel: of the counter.
        number: of each mark of its classes, in its epoch.
        steps: the classes of steps.
        pause: called between parts of the work.
    """
    trial, rules, told, untold = _Trial(stretch, kernel), [], [], []
    evidence = trial.log_evidence + float(log_prior(np.array(kernel.lag_s)))
    for of_class in steps:
        mine = stretch.classes.column == of_class
        if mine.sum() < FEWEST_STEPS:
            continue
        tried = [*trial.by_duration(of_class, mine, pause), *trial.by_number(of_class, mine, number, pause)]
        best = max(tried, key=lambda x: x.gain, default=_Tried(0.0, Rule(of_class)))
        if best.gain > 0:
            rules.append(best.rule)
            evidence += best.gain + (FAR_BETTER if best.rule.every else -LIKELY)
        told.append(best.gain > 0 or trial.u_w < TOLD * trial.mean_w)
        untold.append(0.0 if best.gain > 0 else min(trial.apart_w / 2 / trial.mean_w, UNTOLD))
    return Kinds(tuple(rules), bool(told) and all(told), evidence, max(untold, default=UNTOLD))


def have_durations(stretch: Stretch, steps: Sequence[int]) -> bool:
    """Return true where steps of a class have durations of several clusters, and are as long as an interval, or nearly.

    Of shorter ones each interval has some of each kind.

    Args:
        stretch: the intervals, with classes of which each stage's steps are one.
        steps: the classes of steps.
    """
    least_s = NEARLY * float(np.median(stretch.length_s))
    for of_class in steps:
        mine = stretch.classes.column == of_class
        duration_s = np.diff(stretch.classes.start_s)[mine[:-1]]
        is_long = len(duration_s) >= FEWEST_STEPS and float(duration_s.mean()) >= least_s
        if is_long and _durations_s(stretch, mine)[1]:
            return True
    return False


def _durations_s(stretch: Stretch, mine: NDArray[np.bool_]) -> tuple[NDArray[np.float64], list[float]]:
    """Durations of all steps in seconds (NaN: not over), and the limits, in logarithms, between clusters of some."""
    duration_s = np.append(np.diff(stretch.classes.start_s), np.nan)
    return duration_s, _limits(np.log(np.maximum(duration_s[mine & ~np.isnan(duration_s)], 1e-9)))


class _Trial:
    """The intervals, and what one mean power for each class leaves of their rises."""

    def __init__(self, stretch: Stretch, kernel: Kernel) -> None:
        self._stretch = stretch
        self._cut = Cut(stretch.classes.start_s, stretch.knot_s, kernel)
        self._rows = np.flatnonzero(stretch.is_known)
        length_s, rise_j = stretch.length_s[self._rows], stretch.rise_j[self._rows]
        self._root = 1 / np.sqrt(length_s)
        self.mean_w = float(rise_j.sum() / length_s.sum())
        self._least_j2 = (LEAST_SCATTER * self.mean_w) ** 2 * float(length_s.sum())
        x = self._seconds(stretch.classes.column, stretch.classes.width)
        x = x[:, np.abs(x).max(axis=0) > 0]
        self._x, self._ridge = x, np.eye(x.shape[1]) * 1e-2 / PRIOR**2
        ridge = np.diag(self._ridge) * self.mean_w
        y = rise_j * self._root
        self._rest = y - x @ np.linalg.solve(x.T @ x + self._ridge, x.T @ y + ridge)
        self.u_w = self.apart_w = np.inf  # of the difference between steps in turns, and how large it may well be

    @property
    def log_evidence(self) -> float:
        """Log likelihood without kinds."""
        return -0.5 * EVIDENCE * len(self._rest) * float(np.log(float(self._rest @ self._rest) + self._least_j2))

    def by_duration(self, of_class: int, mine: NDArray[np.bool_], pause: Callable[[], None]) -> list[_Tried]:
        """Try clusters of durations."""
        duration_s, limits = _durations_s(self._stretch, mine)
        if not limits:
            return []
        rule = Rule(of_class, limits_s=tuple(np.exp(limits).tolist()))
        kind = rule.of(np.zeros(len(mine), dtype=np.int64), duration_s)
        return [_Tried(self._gain(self._columns(mine, kind, rule.n, pause)[:, 1:]) + LIKELY, rule)]

    def by_number(
        self, of_class: int, mine: NDArray[np.bool_], number: NDArray[np.int64], pause: Callable[[], None]
    ) -> list[_Tried]:
        """Try steps in turns: each of the period's a kind of its own, or one of them."""
        tried = []
        for every in PERIODS:
            if mine.sum() < FEWEST_OF_KIND * every or len(mine) * every > MOST_CELLS:
                break
            z = self._columns(mine, number % every, every, pause)
            if every in ALL_APART:
                rule = Rule(of_class, every, tuple(range(every)))
                tried.append(_Tried(self._gain(z[:, 1:]) - FAR_BETTER, rule))
            else:
                gains = []
                for at in range(every):
                    gains.append(self._gain(z[:, at : at + 1]))
                    pause()
                at = int(np.argmax(gains))
                rule = Rule(of_class, every, tuple(int(k == at) for k in range(every)))
                tried.append(_Tried(gains[at] - FAR_BETTER, rule))
            if every == 2:  # noqa: PLR2004 - the most usual
                self.u_w = self._u_w(z[:, 1:])
                self.apart_w = float(np.hypot(self.u_w, self._difference_w(z[:, 1])))
            pause()
        return tried

    def _columns(
        self, mine: NDArray[np.bool_], kind: NDArray[np.int64], n: int, pause: Callable[[], None]
    ) -> NDArray[np.float64]:
        """Seconds of some kinds, without what the classes explain of them."""
        x, z = self._x, self._seconds(np.where(mine, kind, -1), n)
        pause()
        result: NDArray[np.float64] = z - x @ np.linalg.solve(x.T @ x + self._ridge, x.T @ z)
        return result

    def _seconds(self, column: NDArray[np.int64], width: int) -> NDArray[np.float64]:
        return self._cut.seconds(column, width)[self._rows] * self._root[:, None]

    def _gain(self, z: NDArray[np.float64]) -> float:
        """Log evidence of powers that differ by kind beyond that of one power."""
        n, before_j2 = len(self._rest), float(self._rest @ self._rest) + self._least_j2
        a, b = z.T @ z, z.T @ self._rest
        ridge = np.eye(len(b)) * before_j2 / n / (CONTRAST * self.mean_w) ** 2
        for _ in range(2):  # the ridge depends on the scatter, which the kinds make less
            more_w = np.linalg.solve(a + ridge, b)
            left = self._rest - z @ more_w
            after_j2 = float(left @ left) + self._least_j2
            ridge = np.eye(len(b)) * after_j2 / n / (CONTRAST * self.mean_w) ** 2
        penalty = float(np.linalg.slogdet(a + ridge)[1] - np.linalg.slogdet(ridge)[1])
        away = float(more_w @ more_w) / (CONTRAST * self.mean_w) ** 2
        return 0.5 * (EVIDENCE * n * float(np.log(before_j2 / after_j2)) - penalty - away)

    def _difference_w(self, z: NDArray[np.float64]) -> float:
        """The difference between two kinds that fits best."""
        return float(z @ self._rest) / max(float(z @ z), 1e-12)

    def _u_w(self, z: NDArray[np.float64]) -> float:
        """Uncertainty of the difference between two kinds."""
        scatter = (float(self._rest @ self._rest) + self._least_j2) / len(self._rest)
        return float(np.sqrt(scatter / max(float((z**2).sum()), 1e-12)))


def _limits(values: NDArray[np.float64]) -> list[float]:
    """Limits between clusters, at most three of them: two means, and the parts again (Fisher, JASA 53:789, 1958)."""
    least = max(FEWEST_OF_KIND, round(SHARE * len(values)))
    parts, limits = [np.sort(values)], list[float]()
    while parts and len(limits) < MOST_KINDS - 1:
        part = parts.pop(0)
        n = np.arange(1, len(part))
        if len(part) < 2 * least:
            continue
        sums, squares = np.cumsum(part), np.cumsum((part - part.mean()) ** 2)
        centred = np.cumsum(part - part.mean())
        low, high = centred[:-1] / n, (centred[-1] - centred[:-1]) / (len(part) - n)
        within = squares[-1] - n * low**2 - (len(part) - n) * high**2
        within[: least - 1] = within[len(part) - least :] = np.inf
        k = int(within.argmin())
        first, second = sums[k] / (k + 1), (sums[-1] - sums[k]) / (len(part) - k - 1)
        if second - first > APART * np.sqrt(max(float(within[k]), 0.0) / len(part)) + 1e-3:
            limits.append(float(first + second) / 2)
            parts += [part[: k + 1], part[k + 1 :]]
    return sorted(limits)
