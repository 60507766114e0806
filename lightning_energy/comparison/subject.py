"""The subject of a comparison: one metric, with its direction, its unit and the words for it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from lightning_energy.scores.metric import PERCENT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_energy.scores.metric import Mode

__all__ = ["Choice", "Subject", "better", "number"]

Choice = Literal["last", "best"]
"""The choice among the values of a run: the last one, or that of its best epoch."""

LARGEST_PLAIN = 1e7  # numbers from here on are written with an exponent
DIGITS = 4
LONGEST = 28  # characters of a heading
LARGE = 0.1  # of a loss that is to count as none, where percentages were logged: it is one of ten points
SMALL = 1e-3  # smaller fractions are written with significant digits
MOST_DECIMALS = 15


@dataclass(frozen=True)
class Subject:
    """The metric that a comparison is of.

    Attributes:
        name: ``accuracy``, or the name of another metric; empty where no run can be compared.
        mode: its better direction.
        scale: its unit in the comparison: ``fraction`` (percentages, too, are shown as fractions) or ``raw``.
        epoch: the value that is taken of each run: its ``last``, or that of its ``best`` epoch.
        targets: the values to which the energy is asked for, in that unit.

    Example:
        >>> subject = Subject("val_ppl", "min", "raw")
        >>> subject.title, subject.is_accuracy, subject.show(23.4567)
        ('val_ppl against energy', False, '23.46')
    """

    name: str = ""
    mode: Mode = "max"
    scale: Literal["fraction", "raw"] = "fraction"
    epoch: Choice = "last"
    targets: Sequence[float] = ()

    @property
    def is_accuracy(self) -> bool:
        """True for a fraction of which more is better: these alone have a score."""
        return bool(self.name) and self.mode == "max" and self.scale == "fraction"

    @property
    def heading(self) -> str:
        """Its name, as short as the heading of a column or the side of a chart must be."""
        name = self.name or "metric"
        return name if len(name) <= LONGEST else f"{name[: LONGEST // 2]}…{name[-(LONGEST // 2 - 1) :]}"

    @property
    def target_words(self) -> str:
        """The meaning of the energies up to the targets, a sentence; empty where there is no target."""
        if not self.targets or not self.name:
            return ""
        values = " or ".join(f"{value:g}" for value in self.targets)
        return (
            f"Energy to reach {self.heading} {values}: that of the training up to the end of the first epoch that was "
            f"as good or better. Nothing is interpolated: it was passed somewhere after the validation before. "
            f"> alone: never reached; it takes more than that. (> …) after a value: not reached yet by then. A dash: "
            f"not known."
        )

    @property
    def title(self) -> str:
        """The title of a page."""
        if not self.name:
            return "Energy of trainings"
        return f"{'Accuracy' if self.name == 'accuracy' else self.name} against energy"

    @property
    def words(self) -> str:
        """Its name and direction, and the epoch that is taken."""
        direction = "" if self.name == "accuracy" else f" ({better(self.mode)})"
        return f"{self.heading}{direction}: {'last value' if self.epoch == 'last' else 'best epoch'}"

    @property
    def no_score(self) -> str:
        """The reason why there is no score, a sentence; empty where there is one."""
        if self.is_accuracy or not self.name:
            return ""
        if self.mode == "min":
            return f"No score: {self.name} is no accuracy (less is better), and scores are made of accuracies."
        return (
            f"No score: {self.name} is not known to be a fraction or a percentage, and scores are made of these. If "
            f"it is one, give scale='fraction' or scale='percent' (on the command line: --scale fraction)."
        )

    def show(self, value: float, error: float | None = None) -> str:
        """Write a value of it.

        Args:
            value: the value.
            error: what it is sure to, or a difference that it shows: where that would be rounded away, two digits of it
                are shown.

        Example:
            >>> Subject("accuracy").show(0.91234), Subject("accuracy").show(0.912345, 0.00006)
            ('0.9123', '0.912345')
        """
        if self.scale == "fraction":
            shown = f"{value:.{DIGITS}f}" if error or not 0 < abs(value) < SMALL else f"{value:.3g}"
        else:
            shown = number(value)
        if not error or "e" in shown or abs(error) >= 2 * 10.0 ** -len(shown.partition(".")[2]):
            return shown
        return f"{value:.{min(1 - math.floor(math.log10(abs(error))), MOST_DECIMALS)}f}"

    def too_large(self, given: str, loss: float, *, in_percent: bool) -> str:
        """Say that a loss which is to count as none is no loss of a fraction; empty where it may be one.

        One of 1 is all that a fraction can lose. Where percentages were logged, 0.5 is taken for half a point.

        Args:
            given: the name of the argument.
            loss: its value.
            in_percent: whether percentages were logged.

        Example:
            >>> Subject("accuracy").too_large("margin", 2.0, in_percent=False)
            'margin=2: accuracy is shown as a fraction, which loses no more than 1: give 0.02 for 2 points of a hundred'
        """
        least = LARGE if in_percent else 1
        if not self.name or self.scale != "fraction" or not least <= loss < math.inf:
            return ""
        points = f"{loss:g} point{'s' * (loss != 1)} of a hundred"
        why = "which loses no more than 1" if loss >= 1 else "also where percentages were logged"
        return f"{given}={loss:g}: {self.heading} is shown as a fraction, {why}: give {loss / PERCENT:g} for {points}"

    def to_plain(self) -> dict[str, Any]:
        """The same in JSON's types."""
        return {**asdict(self), "targets": [*self.targets]}


def better(mode: Mode) -> str:
    """The better direction in words.

    Example:
        >>> better("min")
        'less is better'
    """
    return "more is better" if mode == "max" else "less is better"


def number(value: float) -> str:
    """Write a number of any size with four significant digits.

    Example:
        >>> number(9.1), number(0.00123), number(123456.7), number(-2e9)
        ('9.100', '0.001230', '123457', '-2.000e+09')
    """
    if 10**DIGITS <= abs(value) < LARGEST_PLAIN:
        return f"{value:.0f}"
    return f"{value:#.{DIGITS}g}".rstrip(".")
