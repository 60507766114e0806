"""Stability of ranks: how the order by score changes with the constants of the score."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lightning_energy.comparison.listing import some_of
from lightning_energy.results.prefixes import significant

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from lightning_energy.scores.formula import Formula

__all__ = ["ALPHAS", "FACTOR", "Candidate", "Stability", "Winner", "ranks_at", "references_of", "stability"]

ALPHAS = (1.0, 20.0)
"""Range of the accuracy's exponent that is looked at."""
FACTOR = 1000.0
"""Ratio of the largest and of the smallest reference that are looked at to the score's own."""
GRID = 400  # places at which winners over the reference are looked for; between two, one change is found
HALVINGS = 50
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
NAMED = 6  # winners in a sentence
CLOSE = 1e-12  # difference of two logarithms of scores that are equal


class Candidate(NamedTuple):
    """A run, or a configuration with its means.

    Attributes:
        name: its name.
        accuracy: its accuracy, a fraction.
        energy_kwh: its energy in kWh.
    """

    name: str
    accuracy: float
    energy_kwh: float


class Winner(NamedTuple):
    """The candidate with the highest score within a range of a constant.

    Attributes:
        name: its name.
        low: the beginning of the range.
        high: its end.
        tied: names of others with the same accuracy and energy, and so the same score everywhere.
    """

    name: str
    low: float
    high: float
    tied: tuple[str, ...] = ()

    def to_plain(self) -> dict[str, Any]:
        """The same in JSON's types."""
        return {**self._asdict(), "tied": [*self.tied]}

    @property
    def words(self) -> str:
        """Its name, with those that are equal."""
        return f"{self.name} (equal: {some_of(self.tied)})" if self.tied else self.name


@dataclass(frozen=True)
class Stability:
    """The order of candidates over ranges of the score's constants.

    Attributes:
        formula: the score; one constant is varied at a time, the others are its own. Beta is left out: it multiplies
            every score alike.
        over_alpha: the winners by rising exponent of the accuracy.
        over_reference: the winners by rising reference in kWh; empty where the score has none.
        pairs: the number of pairs of candidates.
        pairs_that_change: the number of these of which each is ahead somewhere in the range of alpha.
        left_out: the number of configurations which may not be set against these: of other kinds, and ``mixed``.
        mixed: the number of those whose runs differ in settings, where not all are mixed in the same shares.
    """

    formula: Formula
    over_alpha: list[Winner]
    over_reference: list[Winner]
    pairs: int
    pairs_that_change: int
    left_out: int = 0
    mixed: int = 0

    def sentences(self) -> list[str]:
        """The same in words."""
        kept = self.formula.constants
        of_reference = f" (reference {kept['reference_kwh']:g} kWh)" if "reference_kwh" in kept else ""
        low, high = self.over_alpha[0].low, self.over_alpha[-1].high
        changing = self.pairs_that_change or "none"
        pairs = f"{changing} of {self.pairs} {'pair changes' if self.pairs == 1 else 'pairs change'} places"
        winners = (
            f"{_winners(self.over_alpha)} over alpha {low:g} to {high:g}{of_reference}: {_listed(self.over_alpha)}"
        )
        words = [f"{winners}; {pairs}."]
        if self.over_reference:
            low, high = self.over_reference[0].low, self.over_reference[-1].high
            words.append(
                f"{_winners(self.over_reference)} over references of {low:g} to {high:g} kWh (alpha "
                f"{self.formula.alpha:g}): {_listed(self.over_reference, ' kWh')}."
            )
        words.append(
            "Winners and places are by the figures that were seen (means of repeats): neither their scatter, nor the "
            "uncertainty of the energies, nor energy that is missing is in it."
        )
        if others := self.left_out - self.mixed:
            are = "1 configuration of another kind is" if others == 1 else f"{others} configurations of other kinds are"
            words.append(f"{are} left out, as unlike things are not ranked against each other.")
        if self.mixed:
            are = "1 configuration is" if self.mixed == 1 else f"{self.mixed} configurations are"
            within = "it" if self.mixed == 1 else "them"
            words.append(
                f"{are} left out, as runs differ in settings within {within}, and not in the same shares within all: "
                "means tell how they are mixed."
            )
        return [*words, "Beta multiplies every score alike: it changes no order."]

    def to_plain(self) -> dict[str, Any]:
        """The same in JSON's types."""
        return {
            "over_alpha": [winner.to_plain() for winner in self.over_alpha],
            "over_reference": [winner.to_plain() for winner in self.over_reference],
            "pairs": self.pairs,
            "pairs_that_change": self.pairs_that_change,
            "left_out": self.left_out,
            "mixed": self.mixed,
            "sentences": self.sentences(),
        }


def stability(
    candidates: Sequence[Candidate],
    formula: Formula,
    *,
    alphas: tuple[float, float] = ALPHAS,
    references_kwh: tuple[float, float] | None = None,
) -> Stability | None:
    r"""Find the winners by score over ranges of its constants.

    The logarithm of a score, ``alpha ln a - ln penalty(E)`` and a constant, is a straight line over alpha: winners
    over alpha are the upper envelope of these lines, which is exact. Over the reference they are looked for on a
    logarithmic grid of 400 places, and each change is then narrowed down by halving: of two changes between the same
    places none is seen. For very large and very small references the ratios of all penalties tend to 1, and
    accuracy alone decides in the end.

    Args:
        candidates: runs or configurations with known accuracy and energy; those whose energy has no score are left out.
        formula: the score.
        alphas: the range of the exponent, both above 0.
        references_kwh: the range of the reference in kWh, both above 0; by default from a thousandth of the score's own
            to a thousand times that.

    Returns:
        The winners; ``None`` with fewer than two candidates.

    Example:
        >>> from lightning_energy.scores.formula import EnergyPenalized
        >>> two = [Candidate("small", 0.5, 0.0), Candidate("large", 0.8, 9.0)]
        >>> [(w.name, round(w.low, 2), round(w.high, 2)) for w in stability(two, EnergyPenalized()).over_alpha]
        [('small', 1.0, 1.47), ('large', 1.47, 20.0)]
    """
    known = [c for c in candidates if formula.is_defined(c.energy_kwh)]
    if len(known) < 2:  # noqa: PLR2004 - one has no rank
        return None
    slopes, offsets = _lines(known, formula)
    names = [c.name for c in known]
    ahead_at_first, ahead_at_last = (offsets + alpha * slopes for alpha in alphas)
    return Stability(
        formula,
        _with_tied(known, [Winner(names[i], low, high) for i, low, high in _envelope(slopes, offsets, *alphas)]),
        _over_reference(known, formula, references_kwh or references_of(formula)),
        len(known) * (len(known) - 1) // 2,
        _changes(ahead_at_first, ahead_at_last),
    )


def references_of(formula: Formula) -> tuple[float, float] | None:
    """The range of the reference that is looked at, in kWh; ``None`` where the score has none."""
    own = formula.constants.get("reference_kwh")
    return None if own is None else (own / FACTOR, own * FACTOR)


def ranks_at(candidates: Sequence[Candidate], formula: Formula) -> NDArray[np.int64]:
    """The ranks of candidates by score, from 1; equals share the better one.

    Example:
        >>> from lightning_energy.scores.formula import EnergyPenalized
        >>> ranks_at([Candidate("a", 0.5, 0.0), Candidate("b", 0.8, 9.0)], EnergyPenalized()).tolist()
        [2, 1]
    """
    slopes, offsets = _lines(candidates, formula)
    with np.errstate(invalid="ignore"):
        scores = offsets + formula.alpha * slopes
    return np.searchsorted(np.sort(-scores), -scores - CLOSE) + 1


def _lines(candidates: Sequence[Candidate], formula: Formula) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The logarithm of each score without beta as a line over alpha: slopes and offsets."""
    slopes = np.array([math.log(c.accuracy) if c.accuracy > 0 else -math.inf for c in candidates])
    return slopes, np.array([-math.log(formula.penalty(c.energy_kwh)) for c in candidates])


def _envelope(
    slopes: NDArray[np.float64], offsets: NDArray[np.float64], low: float, high: float
) -> list[tuple[int, float, float]]:
    """The uppermost line over a range: its index with the beginning and the end of its part."""
    parts: list[tuple[int, float, float]] = []
    at = low
    while True:
        values = offsets + at * slopes
        best = values.max()
        # of the uppermost here, the steepest is uppermost from here on
        here = np.flatnonzero(values >= best - CLOSE) if math.isfinite(best) else np.arange(1)
        top = int(here[np.argmax(slopes[here])])
        steeper = np.flatnonzero(slopes > slopes[top])
        meets = (offsets[top] - offsets[steeper]) / (slopes[steeper] - slopes[top])
        until = float(meets.min()) if len(meets) else math.inf
        if not at < until < high:
            return [*parts, (top, at, high)]
        parts.append((top, at, until))
        at = until


def _over_reference(
    candidates: Sequence[Candidate], formula: Formula, references_kwh: tuple[float, float] | None
) -> list[Winner]:
    constants = formula.constants
    if references_kwh is None or "reference_kwh" not in constants:
        return []

    def winner(logarithm: float) -> int:
        slopes, offsets = _lines(candidates, type(formula)(**constants | {"reference_kwh": math.exp(logarithm)}))
        return int(np.argmax(offsets + formula.alpha * slopes))

    found = [Winner(candidates[i].name, low, high) for i, low, high in _stretches(winner, *references_kwh)]
    return _with_tied(candidates, found)


def _with_tied(candidates: Sequence[Candidate], winners: Sequence[Winner]) -> list[Winner]:
    """Name those that have the same score as a winner whatever the constants; without any accuracy all have none."""
    keys = {c.name: (c.accuracy, c.energy_kwh if c.accuracy > 0 else 0.0) for c in candidates}
    return [w._replace(tied=tuple(n for n in keys if n != w.name and keys[n] == keys[w.name])) for w in winners]


def _stretches(winner: Callable[[float], int], low: float, high: float) -> list[tuple[int, float, float]]:
    grid = np.linspace(math.log(low), math.log(high), GRID if high > low else 1).tolist()
    found = [(winner(grid[0]), low)]
    for a, b in pairwise(grid):
        after = winner(b)
        if after != found[-1][0]:
            found.append((after, math.exp(_change(winner, found[-1][0], a, b))))
    ends = [*(begin for _, begin in found[1:]), high]
    return [(i, begin, end) for (i, begin), end in zip(found, ends, strict=True)]


def _change(winner: Callable[[float], int], before: int, a: float, b: float) -> float:
    for _ in range(HALVINGS):
        middle = (a + b) / 2
        a, b = (middle, b) if winner(middle) == before else (a, middle)
    return b


def _changes(first: NDArray[np.float64], last: NDArray[np.float64]) -> int:
    """Count the pairs whose order at the end is the opposite of that at the beginning: lines cross but once."""
    count = 0
    with np.errstate(invalid="ignore"):
        for i in range(len(first)):
            before, after = first[i + 1 :] - first[i], last[i + 1 :] - last[i]
            count += int(((before > CLOSE) & (after < -CLOSE) | (before < -CLOSE) & (after > CLOSE)).sum())
    return count


def _winners(winners: Sequence[Winner]) -> str:
    n = len({winner.name for winner in winners})
    return f"{(NUMBERS[n] if n < len(NUMBERS) else str(n)).capitalize()} winner{'s' * (n != 1)}"


def _listed(winners: Sequence[Winner], unit: str = "") -> str:
    if len(winners) == 1:
        return winners[0].words
    first, last = winners[0], winners[-1]
    middle = [f"{w.words} from {significant(w.low, 3)} to {significant(w.high, 3)}{unit}" for w in winners[1:-1]]
    if len(middle) > NAMED - 2:
        middle = [*middle[: NAMED - 2], f"and {len(middle) - NAMED + 2} more"]
    begin = f"{first.words} up to {significant(first.high, 3)}{unit}"
    return ", ".join([begin, *middle, f"{last.words} from {significant(last.low, 3)}{unit}"])
