"""The dashboard in MLflow: curves over energy, the configuration as parameters, the outcome as a tag, the report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lightning_energy.results.rendering import as_markdown
from lightning_energy.training.dashboards.names import OUTCOME, REPORT
from lightning_energy.training.dashboards.text import flat

if TYPE_CHECKING:
    from lightning_energy.results.report import Report
    from lightning_energy.training.dashboards.names import Configuration, Point

__all__ = ["MlflowDashboard"]


class MlflowDashboard:
    """The dashboard of one MLFlowLogger.

    Args:
        logger: the logger, of either of Lightning's two packages.
    """

    def __init__(self, logger: Any) -> None:
        self._logger = logger

    def announce(self, configuration: Configuration, *, early: bool) -> None:
        """Add parameters under ``run/``. MLflow's parameters never change: those of a resumed run's start stay."""
        if early:
            return
        there = self._logger.experiment.get_run(self._logger.run_id).data.params
        self._logger.log_hyperparams({k: v for k, v in flat({"run": configuration.run}).items() if k not in there})

    def point(self, point: Point) -> None:
        """Add a point whose step is energy."""
        for name, value, step in point.by_unit():
            self._logger.log_metrics({name: value}, step=step)

    def end(self, report: Report) -> None:
        """Add the report as an artifact, and the outcome as a tag."""
        run_id = self._logger.run_id
        self._logger.experiment.log_text(run_id, as_markdown(report, details=True), f"{REPORT}.md")
        self._logger.experiment.set_tag(run_id, OUTCOME, report.outcome)
