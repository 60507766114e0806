"""The metric of a validation beside the energy that the training had taken until then."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from lightning_energy.scores.metric import Metric

__all__ = ["Scored"]


class Scored(NamedTuple):
    """The metric of a validation, and its score.

    Attributes:
        metric: the metric.
        score: its score; ``None`` where there is none.
        energy_kwh: the energy that it is set against, in kWh; ``None`` unknown.
        u: standard uncertainty of the score by that energy alone; ``None`` unknown.
        missing_s: seconds of the training whose energy is not known, and not in it.
    """

    metric: Metric
    score: float | None
    energy_kwh: float | None
    u: float | None = None
    missing_s: float = 0.0
