r"""The energy and time that a training will have taken at its end, with an interval: plain arithmetic.

What is to come is batches, validations and the time between epochs. Of each the mean so far is taken, of batches a
straight line over the progress of the run whose slope is believed to be small until data show it: a Gaussian prior of
:data:`DRIFT` for the change over a whole run. The interval is of two standard deviations of what is to come, so that it
closes as the run goes on. Of a time between epochs nothing is known at the end of the first: a guess of some
hundredths of a second has a wide margin then, which matters to short epochs alone. ``benchmarks/forecast.py`` counts
how often the interval holds.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from itertools import accumulate
from operator import mul
from typing import TYPE_CHECKING, NamedTuple

from lightning_energy.meters.units import J_PER_KWH, J_PER_WH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_energy.results.carbon import Conversion

__all__ = ["DRIFT", "Forecast", "Interval", "Left", "Seen", "Stretch", "forecast", "validations_between"]

DRIFT = 0.12
"""Relative change of a batch's energy or time over a whole run that is no surprise (one standard deviation)."""

COVERAGE_K = 2.0  # standard deviations to each side
LEAST_NOISE = 0.02  # relative scatter of stretches that is believed before many were seen
BELIEF = 4.0  # the number of stretches that this belief counts for
BEND = 0.45  # the part of the drift by which the slope to come may differ from the slope so far
MOST_ALIKE = 0.9  # correlation of neighbouring stretches
LEVEL_U = 0.01  # relative uncertainty of the level that no number of stretches takes away
MEAN_U = 0.05  # relative scatter of validations, of which few were seen
VALIDATION_SHARE, VALIDATION_U = 0.5, 0.3  # of a training batch's energy, where no validation was seen yet
BETWEEN_S, BETWEEN_S_U = 0.03, 0.05  # seconds between two epochs, where no such time was seen yet
BETWEEN_U = 0.5  # relative scatter of the times between epochs, of which few were seen
START_S, START_S_U = 0.1, 0.15  # seconds that workers of a DataLoader take to start, where none was seen yet
END_U = 0.6  # relative uncertainty of the time behind the last epoch
MOST_STRETCHES, MOST_TIMES = 64, 128
FAR_OFF = 0.25  # relative distance from the median of a stretch that is still of the warm-up
WARM_UP = 0.1  # the part of the first epoch that is not taken for what is to come


class Stretch(NamedTuple):
    """Some batches, a validation, or the time between two epochs.

    Attributes:
        batches: the number of training batches in it; 0 in others.
        energy_j: its joules.
        seconds: its duration.
    """

    batches: int
    energy_j: float
    seconds: float

    def __add__(self, other: tuple[float, ...]) -> Stretch:  # type: ignore[override]
        """Both together."""
        return Stretch(*(a + b for a, b in zip(self, other, strict=True)))  # type: ignore[arg-type]


@dataclass
class Seen:
    """The stretches of a run that were seen so far.

    Attributes:
        batches: stretches of training behind the warm-up, in the order of time.
        validations: whole validations, the last of them.
        between: the times between epochs, the last of them.
        warm_up: the first stretches, which are known to be slow.
        left_out: batches of stretches of which too little is known.
    """

    batches: list[Stretch] = field(default_factory=list)
    validations: deque[Stretch] = field(default_factory=lambda: deque(maxlen=MOST_TIMES))
    between: deque[Stretch] = field(default_factory=lambda: deque(maxlen=MOST_TIMES))
    warm_up: Stretch = field(default_factory=lambda: Stretch(0, 0.0, 0.0))
    left_out: int = 0

    def add_batches(self, stretch: Stretch, per_epoch: float = math.inf) -> None:
        """Add a stretch of training.

        Args:
            stretch: the stretch.
            per_epoch: the number of batches in an epoch; infinite where it is not known.
        """
        so_far, least = self.warm_up.batches + self.left_out, WARM_UP * per_epoch if per_epoch < math.inf else 1
        if not self.batches and so_far < least:
            self.warm_up += stretch
            return
        self.batches.append(stretch)
        if len(self.batches) > MOST_STRETCHES:
            pairs = [*zip(self.batches[::2], self.batches[1::2], strict=False)]
            self.batches = [a + b for a, b in pairs] + self.batches[2 * len(pairs) :]


class Left(NamedTuple):
    """The part of a run that is to come.

    Attributes:
        done: batches so far, all sessions together.
        batches: training batches, more than enough where time ends the run; ``None`` where no end is known.
        validations: their number; ``None`` where that is not known.
        epochs: the times between epochs, and behind the last one.
        validation_batches: batches of a validation.
        seconds: seconds until the run's time limit; ``None`` without one.
        per_epoch: batches of an epoch; infinite where it is not known.
        limit: the argument of the Trainer that ends the run, such as ``max_epochs=20``.
        validation_every_s: seconds of training between two validations where time decides; ``validations`` is then not
            looked at. ``None`` where their schedule is one of batches.
        validated_s: seconds since the last of these.
        end_s: seconds from the end of the training until ``fit`` returns, whose energy is not the run's.
        starts: epochs in which the workers of a DataLoader start anew, where no such start was seen yet.
        least: batches that are trained whatever the time limit.
        closing: validations where the time limit ends the run, within an epoch: none, one, or the part of the epochs
            that are validated.
    """

    done: int
    batches: int | None
    validations: int | None = 0
    epochs: int = 0
    validation_batches: int = 0
    seconds: float | None = None
    per_epoch: float = math.inf
    limit: str = ""
    validation_every_s: float | None = None
    validated_s: float = 0.0
    end_s: float = 0.0
    starts: int = 0
    least: int = 0
    closing: float = 0.0


class Interval(NamedTuple):
    """An expected value with the bounds between which the truth lies in some 95 % of runs.

    Attributes:
        value: the expected value.
        low: the lower bound.
        high: the upper bound.
    """

    value: float
    low: float
    high: float

    def scaled(self, factor: float) -> Interval:
        """The same in another unit."""
        return Interval(*(factor * x for x in self))

    @property
    def width(self) -> float:
        """The distance of the bounds, relative to the value."""
        return (self.high - self.low) / self.value if self.value else math.inf

    def __contains__(self, truth: object) -> bool:
        """True where the truth lies between the bounds."""
        return isinstance(truth, (int, float)) and self.low <= truth <= self.high


@dataclass(frozen=True)
class Forecast:
    """A run at its end, as far as it can be told.

    Attributes:
        energy_j: joules of the whole run, from its beginning to its end.
        left_s: seconds from now to its end.
        spent_j: joules so far.
        is_at_most: true where a callback may stop the run earlier: the value is that of the whole run, and the lower
            bounds are those of an end at once.
        limit: the argument of the Trainer that ends the run.
        left: the part that is to come.
    """

    energy_j: Interval
    left_s: Interval
    spent_j: float
    is_at_most: bool
    limit: str
    left: Left

    @property
    def energy_kwh(self) -> Interval:
        """The energy in kWh."""
        return self.energy_j.scaled(1 / J_PER_KWH)

    def derived(self, conversion: Conversion | None) -> dict[str, Interval]:
        """CO2e in grams and cost of the whole run, ``co2eq_g`` and ``cost``, as far as they are asked for."""
        rows = [] if conversion is None else [conversion.row(kwh) for kwh in self.energy_kwh]
        values = {name: [row[name] for row in rows] for name in (rows[0] if rows else {})}
        return {
            name: Interval(*(v for v in three if v is not None))
            for name, three in values.items()
            if all(v is not None for v in three)
        }

    def epoch_at(self, energy_j: float) -> int | None:
        """The epoch, counted from 0, in which the run will have spent so many joules; ``None`` where it will not."""
        to_come_j = self.energy_j.value - self.spent_j
        if self.energy_j.value < energy_j or not self.left.batches or self.left.per_epoch == math.inf:
            return None
        part = max(energy_j - self.spent_j, 0.0) / to_come_j if to_come_j > 0 else 0.0
        return int((self.left.done + part * self.left.batches) / self.left.per_epoch)

    def text(self, conversion: Conversion | None = None) -> str:
        """A sentence: energy, time, CO2e and cost to the end."""
        energy = self.energy_j.scaled(1 / (J_PER_KWH if self.energy_j.value >= J_PER_KWH else J_PER_WH))
        parts = [_bounds(energy, "kWh" if self.energy_j.value >= J_PER_KWH else "Wh", at_most=self.is_at_most)]
        parts += [
            _bounds(value, {"co2eq_g": "g CO2e", "cost": "of cost"}[name], at_most=self.is_at_most)
            for name, value in self.derived(conversion).items()
        ]
        time = f"{'at most ' if self.is_at_most else ''}{_duration(self.left_s.value)} more"
        why = ", less if a callback stops it early" if self.is_at_most else ""
        return f"{', '.join(parts)} by {self.limit}, {time}{why}"


def _bounds(value: Interval, unit: str, *, at_most: bool) -> str:
    if at_most:
        return f"at most {value.high:.3g} {unit}"
    return f"about {value.value:.3g} {unit} ({value.low:.3g} to {value.high:.3g})"


def _duration(seconds: float) -> str:
    for unit, length in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.3g} s"


def validations_between(
    first: int, last: int, per_epoch: float, *, every_batches: float, every_epochs: int | None
) -> int | None:
    """The number of validations after batches ``first + 1`` to ``last`` of a run.

    Args:
        first: batches so far.
        last: batches at the end.
        per_epoch: batches of an epoch; infinite where that is not known.
        every_batches: batches between two validations; infinite for the end of an epoch.
        every_epochs: epochs between two that are validated; ``None`` counts batches across epochs.

    Returns:
        Their number; ``None`` where it depends on the end of an epoch that is not known.

    Example:
        >>> validations_between(0, 100, 10, every_batches=10, every_epochs=1)  # ten epochs
        10
        >>> validations_between(0, 100, 10, every_batches=5, every_epochs=3)  # twice in epochs 2, 5 and 8
        6
        >>> validations_between(0, 100, 10, every_batches=25, every_epochs=None)
        4
    """
    is_endless = per_epoch == math.inf and every_epochs == 1 and every_batches < math.inf
    if every_epochs is None or is_endless:
        return int(last // every_batches - first // every_batches) if every_batches < math.inf else 0
    if per_epoch == math.inf:
        return None
    every = min(every_batches, per_epoch)

    def until(batch: int) -> int:
        epoch, rest = divmod(batch, int(per_epoch))
        whole = (epoch // every_epochs) * int(per_epoch // every)
        return whole + (int(rest // every) if (epoch + 1) % every_epochs == 0 else 0)

    return until(last) - until(first)


def forecast(
    seen: Seen, left: Left, spent_j: float, *, is_at_most: bool = False, scale: float = 1.0
) -> Forecast | None:
    """The run at its end; ``None`` where it cannot be told.

    That is so without a known end or number of validations, and before a batch or any energy was seen.

    Args:
        seen: the stretches so far.
        left: the part that is to come.
        spent_j: joules so far, all sessions together.
        is_at_most: whether a callback may stop the run earlier.
        scale: joules of all ranks together for each that was seen.

    Example:
        >>> seen = Seen()
        >>> for _ in range(11):
        ...     seen.add_batches(Stretch(10, 500.0, 2.0), per_epoch=100)
        >>> found = forecast(seen, Left(done=110, batches=890, limit="max_epochs=10"), spent_j=5500.0)
        >>> found.energy_j.value, found.left_s.value
        (50000.0, 178.0)
    """
    stretches = _steady(seen.batches) or ([seen.warm_up] if seen.warm_up.batches else [])
    batches = left.batches
    if batches is None or not any(s.energy_j > 0 for s in stretches):
        return None
    validations = _by_time(seen, stretches, left, batches) if left.validation_every_s else left.validations
    if validations is None:
        return None
    left_then = left if validations == left.validations else left._replace(validations=validations)
    progress = _Progress.of(stretches, left.done, left.done + batches)
    (energy_j, u_j), (seconds, u_s) = (_to_come(seen, progress, left_then, batches, of) for of in (1, 2))
    energy_j, u_j = scale * energy_j, scale * u_j
    limit_s = math.inf if left.seconds is None else max(left.seconds, 0.0)
    if seconds > limit_s:  # its time limit ends it: of the energy a part
        part, least = limit_s / seconds, min(left.least / batches, 1.0)
        ends_by_time = part > least
        part = max(part, least)
        u_j = part * math.hypot(u_j, 0.5 * energy_j * u_s / seconds if ends_by_time else 0.0)
        energy_j, seconds, u_s = part * energy_j, part * seconds, 0.0 if ends_by_time else part * u_s
        left = left._replace(batches=round(part * batches))
        if ends_by_time and left.batches:  # behind the batch within which the time is up
            progress = _Progress.of(stretches, left.done, left.done + left.batches)
            (closing_j, closing_u_j), (closing_s, closing_u_s) = (_closing(seen, progress, left, of) for of in (1, 2))
            energy_j, u_j = energy_j + scale * closing_j, math.hypot(u_j, scale * closing_u_j)
            seconds, u_s = seconds + closing_s, closing_u_s
    if left.batches == 0:
        left = left._replace(end_s=0.0)
    seconds, u_s = seconds + left.end_s, math.hypot(u_s, END_U * left.end_s)
    low_j = 0.0 if is_at_most else max(energy_j - COVERAGE_K * u_j, 0.0)
    low_s = 0.0 if is_at_most else max(seconds - COVERAGE_K * u_s, 0.0)
    return Forecast(
        Interval(spent_j + energy_j, spent_j + low_j, spent_j + energy_j + COVERAGE_K * u_j),
        Interval(seconds, low_s, seconds + COVERAGE_K * u_s),
        spent_j,
        is_at_most,
        left.limit,
        left,
    )


def _steady(stretches: Sequence[Stretch]) -> Sequence[Stretch]:
    """The stretches behind a warm-up that lasted longer than expected: those at the beginning that are far off."""
    first, most = 0, len(stretches) // 4
    for of in (1, 2):
        rates = [s[of] / s.batches for s in stretches]
        middle = sorted(rates)[len(rates) // 2] if rates else 0.0
        while first < most and abs(rates[first] - middle) > FAR_OFF * middle:
            first += 1
    return stretches[first:]


def _by_time(seen: Seen, stretches: Sequence[Stretch], left: Left, batches: int) -> int:
    """The number of validations where time decides: each comes after the batch within which its time is up."""
    batch_s, _ = _Progress.of(stretches, left.done, left.done + batches).line(2)
    between_s = _mean([v.seconds for v in seen.between])[0] if seen.between else 0.0
    if batch_s <= 0:
        return 0
    every_s = math.ceil((left.validation_every_s or 0.0) / batch_s) * batch_s
    return int((left.validated_s + batches * batch_s + left.epochs * between_s) / every_s)


def _to_come(seen: Seen, progress: _Progress, left: Left, batches: int, of: int) -> tuple[float, float]:
    """One quantity of all that is to come, energy or time, with its standard uncertainty."""
    validations = left.validations or 0
    stretches, (per_batch, u_batch) = progress.stretches, progress.line(of)
    value, variance = batches * per_batch, (batches * u_batch) ** 2
    mean, u = _validation(seen, left, per_batch, of)
    value, variance = value + validations * mean, variance + (validations * u) ** 2
    per_s = sum([s[of] for s in stretches]) / (sum([s.seconds for s in stretches]) or math.inf)
    mean, u = BETWEEN_S * per_s, BETWEEN_S_U * per_s
    if seen.between:
        mean, u = _mean([v[of] for v in seen.between], BETWEEN_U)
    value, variance = value + left.epochs * mean, variance + (left.epochs * u) ** 2
    value, variance = value + left.starts * START_S * per_s, variance + (left.starts * START_S_U * per_s) ** 2
    return value, math.sqrt(variance)


def _validation(seen: Seen, left: Left, per_batch: float, of: int) -> tuple[float, float]:
    """One quantity of a validation, with its standard uncertainty; where none was seen, by a training batch's."""
    if seen.validations:
        return _mean([v[of] for v in seen.validations])
    return (
        left.validation_batches * per_batch * VALIDATION_SHARE,
        left.validation_batches * per_batch * VALIDATION_U,
    )


def _closing(seen: Seen, progress: _Progress, left: Left, of: int) -> tuple[float, float]:
    """One quantity of what follows a time limit: half a batch, and perhaps a validation; its standard uncertainty."""
    per_batch, _ = progress.line(of)
    mean, u = _validation(seen, left, per_batch, of)
    u = math.hypot(left.closing * u, math.sqrt(left.closing * (1 - left.closing)) * mean, per_batch / math.sqrt(12))
    return left.closing * mean + per_batch / 2, u


def _mean(values: Sequence[float], scatter_u: float = MEAN_U) -> tuple[float, float]:
    """The mean of the later half of some values, and its standard uncertainty; ``scatter_u`` is that of few of them."""
    later = values[len(values) // 2 :]
    mean = sum(later) / len(later)
    scatter2 = sum([(v - mean) ** 2 for v in later])
    u2 = (scatter2 + BELIEF * (scatter_u * mean) ** 2) / (len(later) + BELIEF) / len(later) + (LEVEL_U * mean) ** 2
    return mean, math.sqrt(u2)


class _Progress(NamedTuple):
    """The stretches on the axis of a run's progress, the same for energy and time.

    Attributes:
        stretches: the stretches.
        n: their batches.
        weights: of each, 1 on average.
        dx: the progress at the middle of each, from the weighted mean.
        sxx: the weighted sum of the squares of these.
        ahead: the progress at the middle of what is to come, from the same mean.
    """

    stretches: Sequence[Stretch]
    n: int
    weights: list[float]
    dx: list[float]
    sxx: float
    ahead: float

    @classmethod
    def of(cls, stretches: Sequence[Stretch], done: int, last: int) -> _Progress:
        """That of some stretches which end with batch ``done`` of a run of ``last``."""
        batches, length = [s.batches for s in stretches], len(stretches)
        n = sum(batches)
        begins = accumulate(batches, initial=done - n)
        x = [(begin + b / 2) / last for begin, b in zip(begins, batches, strict=False)]
        weights = [b * length / n for b in batches]
        mean_x = sum(map(mul, weights, x)) / length
        dx = [b - mean_x for b in x]
        sxx = sum([a * b**2 for a, b in zip(weights, dx, strict=True)])
        return cls(stretches, n, weights, dx, sxx, (done / last + 1) / 2 - mean_x)

    def line(self, of: int) -> tuple[float, float]:
        """The mean of a quantity per batch over the batches to come, and its standard uncertainty.

        A straight line by least squares, with a Gaussian prior of its slope; see the module.
        """
        stretches, _, w, dx, sxx, ahead = self
        level, length = sum([s[of] for s in stretches]) / self.n, len(stretches)
        if level <= 0:
            return 0.0, 0.0
        y = [s[of] / s.batches / level - 1 for s in stretches]
        sxy = sum(map(mul, map(mul, w, dx), y))
        slope, noise2, rest = 0.0, LEAST_NOISE**2, y
        for _ in range(3):  # noise and slope by turns
            slope = sxy / (sxx + noise2 / DRIFT**2)
            rest = [c - slope * b for b, c in zip(dx, y, strict=True)]
            scatter = sum(map(mul, map(mul, w, rest), rest)) + BELIEF * LEAST_NOISE**2
            noise2 = _alike(rest) * scatter / (length + BELIEF)
        slope_u2 = 1 / (sxx / noise2 + 1 / DRIFT**2) + (BEND * DRIFT) ** 2
        u = math.sqrt(noise2 / length + ahead**2 * slope_u2 + LEVEL_U**2)
        return level * max(1 + slope * ahead, 0.0), level * u


def _alike(rest: Sequence[float]) -> float:
    """The factor by which neighbours that are alike make the variance of a mean larger."""
    squares: float = sum(map(mul, rest, rest))
    if squares <= 0:
        return 1.0
    rho: float = min(max(sum(map(mul, rest, rest[1:])) / squares, 0.0), MOST_ALIKE)
    return (1 + rho) / (1 - rho)
