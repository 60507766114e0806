"""A difference between two groups of repeated trainings, and what it would take to decide it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from lightning_energy.comparison.student import FEWEST, repeats_needed

__all__ = ["LEVEL", "Difference", "Flaw", "Obstacle"]

LEVEL = 0.05
Flaw = Literal[
    "", "no spread", "one alike", "same pairs", "one seed", "other split", "seeds stop", "two means", "others"
]
Obstacle = Literal[Flaw, "missing", "constant", "spread"]
"""The reason why no number of repeats decides a question; empty where some number does, or it is decided.

``missing``: energy of some runs is missing, and could turn the direction. ``constant``: the uncertainty of the meters
or estimates does not average out, or is taken not to. ``spread``: with this spread it would take more than 10,000 runs.
``no spread``: all repeats gave the same figure. ``one alike``: those of one group did, and nothing shows that they were
trained anew with different seeds. ``same pairs``: all pairs differ by the same figure. ``one seed``: a group has one
seed in several runs, so that these do not show what another seed brings to the metric. ``other split``: a seed, as of a
split of the data, is one in all runs of a group, and not in all of the other, and what it brings, to the number of
epochs also, in no spread.
``seeds stop``: a group has one seed in several runs, and not all had as many epochs, so that their energies do not show
what another seed brings either. ``two means``: the geometric means of the
energies have one order, and the arithmetic means the other. ``others``: only some seeds are shared, and the means of
all runs do not have the order of those of the pairs, which are tested.
"""


@dataclass(frozen=True)
class Difference:
    """A difference between two groups, ``other`` minus ``one``.

    Attributes:
        value: the difference of the means; of energies that of their logarithms.
        error: its standard error, ``constant`` included.
        df: degrees of freedom of its scatter.
        p: p-value, two-sided, before any correction.
        sd: standard deviation of a run, of pairs that of their differences, as for ``worst``; no smaller than the step
            between two counts of samples, or epochs of trainings that stopped early, allows.
        constant: standard uncertainty of ``value`` that no number of runs makes smaller.
        holm: the same as ``p``, corrected for all tests that were made.
        sign: -1 or 1 where the direction is decided, else 0.
        worst: the value that ``p`` is of: of energies with what the cheaper group spent in missing time if it did so at
            its mean power, 0 where that turns the direction.
        missing: energy is missing that could turn the direction.
        level: the level of its test, one-sided, if it were the first of Holm's.
        paired: runs are paired.
        flaw: the reason why its repeats show nothing; empty where they do.
        spreads: number of groups whose spreads make up ``sd``: 2 where both scatter alike, 1 where one alone does.
        fewest: runs of each without which nothing is decided: more than three where all of one group stopped after as
            many epochs, and all of the other after another number, which may be chance.
    """

    value: float
    error: float
    df: float
    p: float
    sd: float
    constant: float = 0.0
    holm: float = 1.0
    sign: int = 0
    worst: float = 0.0
    missing: bool = False
    level: float = LEVEL / 2
    paired: bool = False
    flaw: Flaw = ""
    spreads: float = 2.0
    fewest: int = FEWEST

    @cached_property
    def repeats(self) -> int | None:
        """Runs of each that would probably (0.8) decide it, all trained anew; ``None``: it is, or no number does.

        It is for the difference and the spread that were seen.
        """
        if self.sign or self.missing or self.flaw:
            return None
        needed = repeats_needed(
            self.worst, self.sd, self.level, paired=self.paired, constant=self.constant, spreads=self.spreads
        )
        return None if needed is None else max(needed, self.fewest)

    @property
    def obstacle(self) -> Obstacle:
        """The reason why no number of repeats decides it."""
        if self.sign or self.repeats is not None:
            return ""
        if self.missing:
            return "missing"
        if self.flaw:
            return self.flaw
        without_spread = repeats_needed(self.worst, 0.0, self.level, constant=self.constant)
        return "constant" if self.constant and without_spread is None else "spread"

    def to_plain(self) -> dict[str, Any]:
        """The same in JSON's types."""
        own = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**own, "repeats": self.repeats, "obstacle": self.obstacle}
