"""The dashboard in Weights & Biases: curves over energy, the configuration, the outcome, the report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lightning_energy.results.plain import plain
from lightning_energy.results.rendering import as_markdown
from lightning_energy.training.dashboards.names import AXIS_ACCURACY, AXIS_METRIC, AXIS_SCORE, AXIS_WH, OUTCOME, REPORT
from lightning_energy.training.lightning_private import logged_name

if TYPE_CHECKING:
    from lightning_energy.results.report import Report
    from lightning_energy.training.dashboards.names import Configuration, Point

__all__ = ["WandbDashboard"]


class WandbDashboard:
    """The dashboard of one WandbLogger.

    Args:
        logger: the logger, of either of Lightning's two packages.
    """

    def __init__(self, logger: Any) -> None:
        self._logger = logger

    def announce(self, configuration: Configuration, *, early: bool) -> None:
        """Add the configuration under ``run``, beside the user's; and make energy the x-axis of our curves."""
        if early:
            return
        self._logger.log_hyperparams({"run": plain(configuration.run)})
        wh = logged_name(self._logger, AXIS_WH)
        self._logger.experiment.define_metric(wh, hidden=True)
        for key in (AXIS_ACCURACY, AXIS_METRIC, AXIS_SCORE):
            self._logger.experiment.define_metric(logged_name(self._logger, key), step_metric=wh)

    def point(self, point: Point) -> None:
        """Add a point with its energy in the same row. W&B's axes take any number: Wh, unrounded."""
        row = {**point.figures, AXIS_WH: point.total_kwh * 1e3}
        self._logger.log_metrics(row, step=point.logger_step)

    def end(self, report: Report) -> None:
        """Add the report as a table of one cell, and the outcome to the summary."""
        self._logger.log_text(REPORT, columns=["report"], data=[[as_markdown(report, details=True)]])
        self._logger.experiment.summary[logged_name(self._logger, OUTCOME)] = report.outcome
