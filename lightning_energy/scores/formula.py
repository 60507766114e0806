"""The formulas of scores: name, constants, penalty with its inverse, printed form and markup, each in one place.

Plain mathematics of floats: nothing here loads torch. The functions, the Metrics, tables, pictures and pages all use
these classes.
"""

from __future__ import annotations

import math
import re
import sys
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from numbers import Real
from typing import Any, ClassVar

__all__ = [
    "ALPHA",
    "BETA",
    "FORMULAS",
    "REFERENCE_KWH",
    "SIGNS",
    "WORDS",
    "EnergyPenalized",
    "Formula",
    "LogPenalized",
    "Sustainable",
    "check_positive",
    "is_number",
    "parse",
]

ALPHA = 5.0
"""Exponent of the accuracy in "Watt For What"."""
BETA = 5.0
"""Scale of the score in "Watt For What"."""
REFERENCE_KWH = 1.0
"""Energy scale of the scores that have one."""

SIGNS = {"alpha": "<i>&alpha;</i>", "beta": "<i>&beta;</i>", "reference_kwh": "<i>E</i><sub>ref</sub>"}
"""Markup of each constant."""

WORDS = {"alpha": "α={:g}", "beta": "β={:g}", "reference_kwh": "reference {:g} kWh"}  # noqa: RUF001
"""Words for the value of each constant."""

_LN_10 = math.log(10)
_LARGEST_EXPONENT = 300.0  # 10 to a larger one is no float
_LOG_ENERGY = f"log<sub>10</sub>(1 + <i>E</i> / {SIGNS['reference_kwh']})"
_PRINTED = re.compile(r"(\w+)\((.*)\)")


@dataclass(frozen=True)
class Formula(ABC):
    """A score with its constants: ``beta * accuracy**alpha / penalty``, where the penalty grows with energy.

    A formula is called with an accuracy (a fraction) and an energy in kWh. ``str()`` of it names it with its constants,
    without which a score means nothing; :func:`parse` reads that again. A new score is a subclass in this module, named
    in :data:`FORMULAS`; :func:`~lightning_energy.scores.functional.kernel` computes it of tensors.

    Attributes:
        alpha: exponent of the accuracy, above 0.
        beta: scale of the score, above 0.

    Raises:
        TypeError: a constant is no number.
        ValueError: a constant is not finite, or not above 0.

    Example:
        >>> formula = EnergyPenalized(beta=1)
        >>> str(formula), formula(0.8, 9.0)
        ('energy_penalized_accuracy(alpha=5, beta=1, reference_kwh=1)', 0.16384000000000004)
    """

    name: ClassVar[str]
    """The function that computes it."""
    penalty_markup: ClassVar[str]
    """Its penalty as HTML."""
    above_kwh: ClassVar[float | None] = None
    """Energy above which alone it is defined; ``None`` where it is defined from zero on."""

    alpha: float = ALPHA
    beta: float = BETA

    def __post_init__(self) -> None:
        check_positive(**self.constants)
        for name, value in self.constants.items():
            object.__setattr__(self, name, float(value))  # the way to set a field of a frozen dataclass

    @property
    def constants(self) -> dict[str, float]:
        """Its constants by their names."""
        return asdict(self)

    @property
    def markup(self) -> str:
        """The formula as HTML."""
        return f"{SIGNS['beta']} · <i>a</i><sup>{SIGNS['alpha']}</sup> / {self.penalty_markup}"

    @property
    def words(self) -> str:
        """The values of its constants for a person."""
        return ", ".join(WORDS[name].format(value) for name, value in self.constants.items())

    @abstractmethod
    def penalty(self, energy_kwh: Any, maths: Any = math) -> Any:
        """The penalty, by which the accuracy is divided.

        Args:
            energy_kwh: energy in kWh at which the score is defined: a float, or a tensor.
            maths: the module with logarithms of it: ``math``, or ``torch``.
        """

    @abstractmethod
    def energy_kwh_of(self, penalty: float) -> float:
        """Energy in kWh at which the penalty reaches a value; the inverse of :meth:`penalty`."""

    def is_defined(self, energy_kwh: float) -> bool:
        """Return true if there is a score at an energy."""
        return self.above_kwh is None or energy_kwh > self.above_kwh

    def __call__(self, accuracy: float, energy_kwh: float) -> float:
        """Score an accuracy from 0 to 1 and an energy in kWh; NaN where the score is not defined."""
        if not self.is_defined(energy_kwh):
            return math.nan
        fraction = min(max(float(accuracy), 0.0), 1.0)  # of a rounding below 0 some powers are complex
        score: float = self.beta * fraction**self.alpha / self.penalty(float(energy_kwh))
        return score

    def energy_kwh_at(self, accuracy: float, score: float) -> float:
        """Energy in kWh at which an accuracy has a score."""
        return self.energy_kwh_of(self.beta * accuracy**self.alpha / score)

    def accuracy_at(self, energy_kwh: float, score: float) -> float:
        """Accuracy that has a score at an energy; above 1 where no accuracy has it."""
        accuracy: float = (score * self.penalty(energy_kwh) / self.beta) ** (1 / self.alpha)
        return accuracy

    def to_plain(self) -> dict[str, Any]:
        """Name and constants in JSON's types."""
        return {"name": self.name, **self.constants}

    def __str__(self) -> str:
        return f"{self.name}({', '.join(f'{key}={value:g}' for key, value in self.constants.items())})"


@dataclass(frozen=True)
class Sustainable(Formula):
    """The score of "Watt For What": see :func:`~lightning_energy.sustainable_accuracy`."""

    name = "sustainable_accuracy"
    penalty_markup = "log<sub>10</sub>(<i>E</i> / kWh)"
    above_kwh = 1.0

    def penalty(self, energy_kwh: Any, maths: Any = math) -> Any:
        """The logarithm of the energy."""
        return maths.log10(energy_kwh)

    def energy_kwh_of(self, penalty: float) -> float:
        """Energy in kWh at which the penalty reaches a value."""
        return 10 ** min(penalty, _LARGEST_EXPONENT)


@dataclass(frozen=True)
class EnergyPenalized(Formula):
    """The default score: see :func:`~lightning_energy.energy_penalized_accuracy`.

    Attributes:
        reference_kwh: energy in kWh at which the penalty begins to bite, above 0.
    """

    name = "energy_penalized_accuracy"
    penalty_markup = f"(1 + {_LOG_ENERGY})"
    reference_kwh: float = REFERENCE_KWH

    def penalty(self, energy_kwh: Any, maths: Any = math) -> Any:
        """One more than the logarithm of ``1 + energy / reference``, so that it is 1 at zero energy."""
        return 1 + maths.log1p(energy_kwh / self.reference_kwh) / _LN_10

    def energy_kwh_of(self, penalty: float) -> float:
        """Energy in kWh at which the penalty reaches a value; 0 where it is larger from the beginning."""
        return _of_log(penalty - 1, self.reference_kwh)


@dataclass(frozen=True)
class LogPenalized(Formula):
    """The score of followers of the paper: see :func:`~lightning_energy.functional.log_penalized_accuracy`.

    Attributes:
        reference_kwh: energy scale in kWh, above 0.
    """

    name = "log_penalized_accuracy"
    penalty_markup = _LOG_ENERGY
    above_kwh = 0.0
    reference_kwh: float = REFERENCE_KWH

    def penalty(self, energy_kwh: Any, maths: Any = math) -> Any:
        """The logarithm of ``1 + energy / reference``."""
        return maths.log1p(energy_kwh / self.reference_kwh) / _LN_10

    def energy_kwh_of(self, penalty: float) -> float:
        """Energy in kWh at which the penalty reaches a value."""
        return _of_log(penalty, self.reference_kwh)


FORMULAS: dict[str, type[Formula]] = {formula.name: formula for formula in (EnergyPenalized, LogPenalized, Sustainable)}
"""All formulas by their names."""


def parse(text: str) -> Formula | None:
    """Read what ``str()`` of a formula has printed; a constant that is not in it has its default.

    Args:
        text: a formula as a report or a record has it.

    Returns:
        The formula; ``None`` for another text, such as the name of a user's own function.

    Raises:
        ValueError: it has a constant that the formula does not know, or one that is no number above 0.

    Example:
        >>> parse("energy_penalized_accuracy(alpha=5, beta=5, reference_kwh=0.01)").reference_kwh
        0.01
        >>> parse("my_score") is None
        True
    """
    match = _PRINTED.fullmatch(text)
    kind = FORMULAS.get(match[1]) if match else None
    if match is None or kind is None:
        return None
    constants = [constant.partition("=") for constant in match[2].split(",") if constant.strip()]
    try:
        return kind(**{key.strip(): float(value) for key, _, value in constants})
    except TypeError as error:  # a name that it does not have
        raise ValueError(f"{text!r} has other constants than {kind()}") from error


def check_positive(**settings: float) -> None:
    """Raise unless every setting is a finite number above 0."""
    for name, value in settings.items():
        if not is_number(value):
            raise TypeError(f"{name}={value!r}: give a number above 0")
        if not 0 < value <= sys.float_info.max:  # a whole number may be larger than any float
            raise ValueError(f"{name}={value!r}: give a finite number above 0")


def is_number(value: object) -> bool:
    """Return true for a real number, Python's or numpy's."""
    # bool is a Real, but True kWh is a mistake
    return isinstance(value, (float, int, Real)) and not isinstance(value, bool)


def _of_log(logarithm: float, reference_kwh: float) -> float:
    """Energy in kWh whose ``log10(1 + energy / reference)`` is given."""
    return reference_kwh * math.expm1(min(logarithm, _LARGEST_EXPONENT) * _LN_10) if logarithm > 0 else 0.0
