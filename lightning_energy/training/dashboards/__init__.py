"""Dashboards of TensorBoard, Weights & Biases and MLflow, besides the scalars that every logger gets.

Written on rank zero, at the start of a fit, after each validation with a metric and at the end; never per step.
A logger's fault gives one warning and never ends the training.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from lightning_energy.meters.handlers import raised_by_handler
from lightning_energy.training import log_keys
from lightning_energy.training.dashboards.axis import axis_units
from lightning_energy.training.dashboards.mlflow import MlflowDashboard
from lightning_energy.training.dashboards.names import Configuration, Point
from lightning_energy.training.dashboards.tensorboard import TensorBoardDashboard
from lightning_energy.training.dashboards.wandb import WandbDashboard
from lightning_energy.training.lightning_private import is_logger, logged_hyperparameters, logger_step
from lightning_energy.training.recorder import batch_size_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from lightning.pytorch import Trainer

    from lightning_energy.results.report import Report
    from lightning_energy.scores.metric import Metric

__all__ = ["Dashboard", "Dashboards"]

# fields of the record's description of the training; Lightning logs the user's hyperparameters, if the user lets it
TOLD = (
    "module",
    "parameters",
    "trainable_parameters",
    "batch_size",
    "precision",
    "accelerator",
    "devices",
    "nodes",
    "strategy",
    "meters",
    "score",
)


class Dashboard(Protocol):
    """The display of a fit in one logger."""

    def announce(self, configuration: Configuration, *, early: bool) -> None:
        """Write the configuration. Called twice: before Lightning logs the user's hyperparameters, and after it did.

        Args:
            configuration: the training.
            early: whether this is the first time.
        """

    def point(self, point: Point) -> None:
        """Add a point to the curves over energy."""

    def end(self, report: Report) -> None:
        """Write the outcome."""


DASHBOARDS: dict[str, Callable[[Any], Dashboard]] = {
    "TensorBoardLogger": TensorBoardDashboard,
    "WandbLogger": WandbDashboard,
    "MLFlowLogger": MlflowDashboard,
}
"""The dashboard of each of Lightning's loggers that has one."""


def dashboard_of(logger: Any) -> Dashboard | None:
    """The dashboard of a logger; ``None`` for a logger that has none."""
    return next((make(logger) for name, make in DASHBOARDS.items() if is_logger(logger, name)), None)


class Dashboards:
    """The dashboards of one fit: one for each logger that has one.

    Args:
        loggers: the loggers; none on ranks other than zero.
        warn: takes a topic's first warning.
    """

    def __init__(self, loggers: Sequence[Any] = (), warn: Callable[[str, str], None] | None = None) -> None:
        found = ((logger, dashboard_of(logger)) for logger in loggers)
        self._all = [(logger, dashboard) for logger, dashboard in found if dashboard is not None]
        self._warn = warn
        self._announced = False

    def announce(
        self,
        trainer: Trainer,
        run: Mapping[str, Any],
        *,
        early: bool = False,
        figures: Sequence[str] = (log_keys.ACCURACY, log_keys.SCORE),
        has_power: bool = True,
    ) -> None:
        """Write the configuration, once: see :meth:`Dashboard.announce`.

        Args:
            trainer: the Trainer.
            run: a description of the training.
            early: whether Lightning has yet to log the user's hyperparameters.
            figures: the logged names that the training is to be judged by, besides its energy.
            has_power: whether power is logged; it is not of an estimate.
        """
        if self._announced or not self._all:
            return
        self._announced = not early

        def act(dashboard: Dashboard) -> None:
            told = _complete(trainer, run)
            configuration = Configuration(logged_hyperparameters(trainer), told, figures, has_power=has_power)
            dashboard.announce(configuration, early=early)

        self._each("the configuration", act)

    def point(
        self, trainer: Trainer, axis: str | None, *, total_kwh: float, metric: Metric, score: float | None
    ) -> str | None:
        """Add a point to the curves over energy.

        Args:
            trainer: the Trainer.
            axis: the unit that the run began with; ``None`` when this is its first point.
            total_kwh: the run's energy so far.
            metric: the metric then.
            score: the score then; ``None`` without one.

        Returns:
            The unit of the axis, to be kept with the run.
        """
        if not self._all:
            return axis
        point = Point(total_kwh, metric, score, logger_step(trainer), axis_units(total_kwh, axis))
        self._each("the curve over energy", lambda dashboard: dashboard.point(point))
        return point.units[0].name

    def end(self, report: Report) -> None:
        """Write the outcome of a fit that had begun."""
        if self._announced:
            self._each("the report", lambda dashboard: dashboard.end(report))

    def _each(self, what: str, act: Callable[[Dashboard], None]) -> None:
        for logger, dashboard in [*self._all]:
            try:
                act(dashboard)
            except Exception as error:  # a logger's fault must not end the training at our call
                if raised_by_handler(error):
                    raise
                self._all.remove((logger, dashboard))  # a server that is down would be waited for each time
                text = f"{type(logger).__name__} did not take {what} ({type(error).__name__}: {error})"
                if self._warn is not None:
                    self._warn(f"dashboard {id(logger)}", f"EnergyCallback: {text}")


def _complete(trainer: Trainer, run: Mapping[str, Any]) -> dict[str, Any]:
    known = {**run, "batch_size": batch_size_of(trainer) or run.get("batch_size")}
    return {key: known[key] for key in TOLD if known.get(key) is not None}
