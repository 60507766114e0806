"""Names of the values on dashboards: these are no scalars of every logger (see ``training.log_keys``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lightning_energy.training.dashboards.axis import AxisUnit

__all__ = ["AXIS_ACCURACY", "AXIS_SCORE", "AXIS_WH", "OUTCOME", "REPORT", "Configuration", "Point"]

AXIS_ACCURACY = "energy_axis/accuracy"  # accuracy over energy; "_by_" and a unit follow where steps are whole numbers
AXIS_SCORE = "energy_axis/score"  # score over energy, with the same endings
AXIS_WH = "energy_axis/total_wh"  # energy axis of both, for loggers whose axes take any number
REPORT = "energy/report"
OUTCOME = "energy/outcome"


class Configuration(NamedTuple):
    """The training: its module, its hardware, its score.

    Attributes:
        hyperparameters: the user's, as Lightning logs them; ``None`` when it logs none.
        run: the fields that we add.
    """

    hyperparameters: Mapping[str, Any] | None
    run: Mapping[str, Any]


class Point(NamedTuple):
    """A point of the curves over energy.

    Attributes:
        total_kwh: the energy there.
        accuracy: the accuracy there.
        score: the score there.
        logger_step: Lightning's own step.
        units: the units in which whole steps are counted.
    """

    total_kwh: float
    accuracy: float
    score: float
    logger_step: int
    units: tuple[AxisUnit, ...]

    def by_unit(self) -> list[tuple[str, float, int]]:
        """Name, value and whole step of every figure in every unit."""
        figures = {AXIS_ACCURACY: self.accuracy, AXIS_SCORE: self.score}
        return [
            (f"{key}_by_{unit.name}", value, unit.steps(self.total_kwh))
            for unit in self.units
            for key, value in figures.items()
        ]
