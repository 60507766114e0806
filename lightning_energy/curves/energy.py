"""Energy between two moments: joules, their uncertainty, and the time of which nothing is known."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from lightning_energy.meters.units import J_PER_KWH

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lightning_energy.meters.base import Quality

__all__ = ["MISSING", "NOTHING", "OF_A_REGISTER", "QUALITIES", "Energy", "together_j"]

QUALITIES: tuple[Quality, ...] = ("measured", "integrated", "estimated", "missing")
"""Qualities from best to worst; a knot stores the index."""

MISSING = QUALITIES.index("missing")
OF_A_REGISTER = (QUALITIES.index("measured"), QUALITIES.index("estimated"))  # differences of what a register shows
ROUNDING = 1e-9  # relative difference between sums of times that are equal, at most


ALIKE = 0.75
"""Correlation of the repeatabilities of devices in one run, where their causes are not told apart: of several ranks.

In simulated runs of 8 boards errors of epochs and stages were correlated by 0.65 to 0.75, of single steps by 0.85.
"""


def together_j(sum_j: float, sum_j2: float, correlation: float = ALIKE) -> float:
    """Standard uncertainty of a sum of figures with one correlation, from the sum of theirs and that of their squares.

    Source: JCGM 100:2008 (GUM), equation 16.
    """
    return math.sqrt(max((1 - correlation) * sum_j2 + correlation * sum_j**2, 0.0))


@dataclass(frozen=True, slots=True)
class Energy:
    """Joules between two moments, their uncertainty, and the time of which nothing is known.

    Attributes:
        energy_j: joules known; ``None`` when nothing of the time is known (never 0 for unknown).
        u_j: standard uncertainty (k=1) in joules without the gain of the sensor: *repeatability*, which counts
            when runs on one board are compared.
        u_absolute_j: standard uncertainty (k=1) in joules with the calibration term.
        duration_s: length of the time in seconds, missing time included.
        missing_s: seconds whose joules are not known and not in ``energy_j``.
        quality: the worst quality among the joules; ``missing`` when none are known.
        power_w: mean power in watts: of each device over the time in which it is known, all devices together.
    """

    energy_j: float | None
    u_j: float
    u_absolute_j: float
    duration_s: float
    missing_s: float
    quality: Quality
    power_w: float | None = None

    @property
    def energy_kwh(self) -> float | None:
        """The same energy in kWh (1 kWh = 3.6 MJ)."""
        return None if self.energy_j is None else self.energy_j / J_PER_KWH

    @classmethod
    def unknown(cls, duration_s: float) -> Energy:
        """Make the energy of a time of which nothing is known."""
        return cls(None, 0.0, 0.0, duration_s, duration_s, "missing")

    def to_plain(self) -> dict[str, Any]:
        """Convert to plain types, for checkpoints (loaded with ``weights_only=True``) and JSON."""
        return asdict(self)

    @classmethod
    def from_plain(cls, row: Mapping[str, Any]) -> Energy:
        """Make it of the result of :meth:`to_plain`; other keys are ignored."""
        return cls(**{f.name: row[f.name] for f in fields(cls)})

    @classmethod
    def of_device(
        cls,
        energy_j: float,
        u_j: float,
        *,
        calibration_u: float,
        duration_s: float,
        missing_s: float,
        quality: Quality,
    ) -> Energy:
        """Make it of the known joules of one device.

        Args:
            energy_j: joules.
            u_j: their repeatability.
            calibration_u: relative standard uncertainty of the device's gain.
            duration_s: seconds, missing time included.
            missing_s: seconds that are not known.
            quality: the worst quality among the joules.
        """
        known_s = duration_s - missing_s
        return cls(
            energy_j=energy_j,
            u_j=u_j,
            u_absolute_j=math.hypot(u_j, calibration_u * energy_j),
            duration_s=duration_s,
            missing_s=missing_s,
            quality=quality,
            power_w=energy_j / known_s if known_s > ROUNDING * duration_s else None,
        )

    @classmethod
    def total(cls, parts: Iterable[Energy]) -> Energy:
        """Add the energies of *different devices* in the same time.

        What is not known of how a run's steps lie between the updates of a sensor is nearly the same for all devices,
        as they see the same steps: repeatability adds with a correlation of :data:`ALIKE`. The calibration term adds
        linearly: sensors of one model err alike (five boards of one model: mean -3.4 %, spread 1.4 %).
        """
        return cls._sum([*parts], ALIKE)

    @classmethod
    def _sum(cls, parts: list[Energy], correlation: float) -> Energy:
        known = [p for p in parts if p.energy_j is not None]
        u_cal = sum(math.sqrt(max(p.u_absolute_j**2 - p.u_j**2, 0.0)) for p in known)
        u_j = together_j(sum(p.u_j for p in known), sum(p.u_j**2 for p in known), correlation)
        return cls(
            energy_j=math.fsum(p.energy_j or 0.0 for p in known) if known else None,
            u_j=u_j,
            u_absolute_j=math.hypot(u_j, u_cal),
            duration_s=max((p.duration_s for p in parts), default=0.0),
            missing_s=max((p.missing_s for p in parts), default=0.0),
            quality=QUALITIES[max(QUALITIES.index(p.quality) for p in known)] if known else "missing",
            power_w=math.fsum(p.power_w for p in known if p.power_w is not None) if known else None,
        )

    @classmethod
    def sequence(cls, parts: Iterable[Energy]) -> Energy:
        """Add the energies of *different times*, say the sessions of a run that was resumed.

        Repeatability adds in quadrature, the calibration term linearly: it is the same sensor's gain.
        """
        parts = [*parts]
        result = cls._sum(parts, 0.0)
        known_s = math.fsum(
            p.energy_j / p.power_w if p.power_w else p.duration_s - p.missing_s for p in parts if p.energy_j is not None
        )
        return replace(
            result,
            duration_s=math.fsum(p.duration_s for p in parts),
            missing_s=math.fsum(p.missing_s for p in parts),
            power_w=result.energy_j / known_s if result.energy_j is not None and known_s > 0 else None,
        )


NOTHING = Energy.unknown(0.0)
"""Energy of no time at all, of which nothing is known."""
