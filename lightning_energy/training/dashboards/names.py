"""Names of the values on dashboards: these are no scalars of every logger (see ``training.log_keys``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from lightning_energy.training import log_keys

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lightning_energy.scores.metric import Metric
    from lightning_energy.training.dashboards.axis import AxisUnit

__all__ = ["AXIS_ACCURACY", "AXIS_METRIC", "AXIS_SCORE", "AXIS_WH", "OUTCOME", "REPORT", "Configuration", "Point"]

AXIS_ACCURACY = "energy_axis/accuracy"  # accuracy over energy; "_by_" and a unit follow where steps are whole numbers
AXIS_METRIC = "energy_axis/metric"  # the metric where it is no accuracy, with the same endings
AXIS_SCORE = "energy_axis/score"  # score over energy, with the same endings
AXIS_WH = "energy_axis/total_wh"  # energy axis of all three, for loggers whose axes take any number
REPORT = "energy/report"
OUTCOME = "energy/outcome"


class Configuration(NamedTuple):
    """The training: its module, its hardware, its score.

    Attributes:
        hyperparameters: the user's, as Lightning logs them; ``None`` when it logs none.
        run: the fields that we add.
        figures: the logged names that the training is to be judged by, besides its energy.
        has_power: whether power is logged; it is not of an estimate.
    """

    hyperparameters: Mapping[str, Any] | None
    run: Mapping[str, Any]
    figures: Sequence[str] = (log_keys.ACCURACY, log_keys.SCORE)
    has_power: bool = True


class Point(NamedTuple):
    """A point of the curves over energy.

    Attributes:
        total_kwh: the energy there.
        metric: the metric there.
        score: the score there; ``None`` without one.
        logger_step: Lightning's own step.
        units: the units in which whole steps are counted.
    """

    total_kwh: float
    metric: Metric
    score: float | None
    logger_step: int
    units: tuple[AxisUnit, ...]

    @property
    def figures(self) -> dict[str, float]:
        """The figures that there are, by their names: the accuracy as a fraction, any other metric as it is."""
        metric = self.metric
        quality = {AXIS_ACCURACY: metric.accuracy} if metric.is_accuracy else {AXIS_METRIC: metric.value}
        return {name: value for name, value in (quality | {AXIS_SCORE: self.score}).items() if value is not None}

    def by_unit(self) -> list[tuple[str, float, int]]:
        """Name, value and whole step of every figure in every unit."""
        return [
            (f"{key}_by_{unit.name}", value, unit.steps(self.total_kwh))
            for unit in self.units
            for key, value in self.figures.items()
        ]
