"""The parts of a verdict: what could be saved, and what nobody could look at."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

from lightning_energy.meters.units import J_PER_KWH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_energy.meters.base import Quality

__all__ = ["MIN_SHARE", "SURE", "Blind", "Saving", "Stake", "Unseen", "Verdict"]

MIN_SHARE = 0.02
"""Smallest saving that is listed, relative to the energy of the run: the same training takes some percent more or less
from run to run (docs/is-my-number-right.md), so that nobody would find a smaller one in the next run."""
SURE = 2.0
"""Smallest saving that is listed, in standard uncertainties."""

ROUNDING = 1e-9  # the gain of a model is ± 50 %: its savings are on the very edge of what is sure, and never beyond it


@dataclass(frozen=True)
class Stake:
    """The joules that a change would have saved in a run.

    Attributes:
        energy_j: joules.
        u_j: their standard uncertainty (k=1), with the gain of the sensors.
        because: the figures that it comes from, a sentence without a full stop.
        next_step: the change, in the imperative.
        parts: the parts of the run that the joules belong to; ``None``: those of the rule.
    """

    energy_j: float
    u_j: float
    because: str
    next_step: str
    parts: frozenset[str] | None = None


@dataclass(frozen=True)
class Blind:
    """The reason why a rule cannot look at a run.

    Attributes:
        why: the reason, a sentence without a full stop.
        remedy: the change that would let it look; empty where there is none.
    """

    why: str
    remedy: str = ""


@dataclass(frozen=True)
class Saving:
    """A change that would have saved energy in a run.

    Attributes:
        rule: the name of its rule, for programs.
        cause: what the energy went to, for people.
        energy_j: joules that it would have saved.
        u_j: their standard uncertainty (k=1), with the gain of the sensors.
        share: part of the energy of the run.
        because: the figures that it comes from.
        next_step: the change.
        parts: the parts of the run that the joules belong to.
    """

    rule: str
    cause: str
    energy_j: float
    u_j: float
    share: float
    because: str
    next_step: str
    parts: frozenset[str]

    @property
    def energy_kwh(self) -> float:
        """The same energy in kWh."""
        return self.energy_j / J_PER_KWH

    @property
    def u_kwh(self) -> float:
        """The same uncertainty in kWh."""
        return self.u_j / J_PER_KWH

    @property
    def is_worth_listing(self) -> bool:
        """True where it exceeds both :data:`SURE` and :data:`MIN_SHARE`."""
        return self.energy_j > (1 + ROUNDING) * SURE * self.u_j and self.share > MIN_SHARE

    def to_plain(self) -> dict[str, Any]:
        """The same in plain types."""
        return {
            "rule": self.rule,
            "cause": self.cause,
            "energy_kwh": self.energy_kwh,
            "u_kwh": self.u_kwh,
            "share": self.share,
            "because": self.because,
            "next_step": self.next_step,
        }


@dataclass(frozen=True)
class Unseen:
    """A rule that could not look at a run.

    Attributes:
        rule: its name, for programs.
        cause: what it looks for, for people.
        why: the reason.
        remedy: the change that would let it look; empty where there is none.
    """

    rule: str
    cause: str
    why: str
    remedy: str

    def to_plain(self) -> dict[str, str]:
        """The same in plain types."""
        return {"rule": self.rule, "cause": self.cause, "why": self.why, "remedy": self.remedy}


@dataclass(frozen=True)
class Verdict:
    """A ranked list of changes that would have saved energy in a run.

    Attributes:
        savings: the changes, that with the most joules first.
        small: changes that were looked at and would have saved too little, or nothing that is sure.
        unseen: rules that could not look.
        energy_j: joules of the run; ``None`` unknown.
        quality: quality of these joules.
        u_j: their standard uncertainty (k=1), with the gain of the sensors; ``None`` unknown.
    """

    savings: Sequence[Saving]
    small: Sequence[Saving]
    unseen: Sequence[Unseen]
    energy_j: float | None
    quality: Quality
    u_j: float | None = None

    @property
    def overlaps(self) -> list[tuple[Saving, Saving]]:
        """Pairs of savings that are in part the same joules, so that they do not add up."""
        return [(a, b) for a, b in combinations(self.savings, 2) if a.parts & b.parts]

    def to_plain(self) -> dict[str, Any]:
        """The same in plain types, for JSON."""
        overlaps = self.overlaps
        return {
            "energy_kwh": None if self.energy_j is None else self.energy_j / J_PER_KWH,
            "u_kwh": None if self.u_j is None else self.u_j / J_PER_KWH,
            "quality": self.quality,
            "min_share": MIN_SHARE,
            "savings": [
                s.to_plain() | {"overlaps": [b.rule if a is s else a.rule for a, b in overlaps if s in {a, b}]}
                for s in self.savings
            ],
            "small": [s.to_plain() for s in self.small],
            "unseen": [u.to_plain() for u in self.unseen],
        }
