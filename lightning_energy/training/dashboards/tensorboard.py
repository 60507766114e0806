"""The dashboard in TensorBoard: a custom-scalars tab, curves over energy, the HParams tab, the report as text.

TensorBoard's HParams plugin keeps the *first* configuration and outcome that a run's folder holds, and takes the
columns of its table from any one run. Lightning's TensorBoardLogger writes a configuration of its own when the
module saves hyperparameters, with ``hp_metric`` as the only figure, and at once an outcome, "success". So our
configuration is written before Lightning's, and has the user's hyperparameters and ``hp_metric``, too; the outcome
stays Lightning's. Where Lightning writes none, ours comes after what the module may have written in its own
``on_train_start``, which then stands.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

from lightning_energy.results.rendering import as_markdown
from lightning_energy.training import log_keys
from lightning_energy.training.dashboards.names import AXIS_ACCURACY, AXIS_METRIC, AXIS_SCORE, REPORT
from lightning_energy.training.dashboards.text import flat
from lightning_energy.training.lightning_private import logged_name, writes_hparams

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from lightning_energy.results.report import Report
    from lightning_energy.training.dashboards.axis import AxisUnit
    from lightning_energy.training.dashboards.names import Configuration, Point

__all__ = ["TensorBoardDashboard", "layout"]

FIGURES = {  # over energy: the title, and the name over steps
    AXIS_ACCURACY: ("Accuracy", log_keys.ACCURACY),
    AXIS_METRIC: ("Metric", log_keys.METRIC),
    AXIS_SCORE: ("Score", log_keys.SCORE),
}
# what varies from run to run; the table shows the first five columns by the alphabet until the user chooses others
COLUMNS = ("batch_size", "module", "parameters", "precision")


def layout(
    logger: Any, units: Sequence[AxisUnit] = (), figures: Iterable[str] = (), *, has_power: bool = True
) -> dict[str, dict[str, list[Any]]]:
    """The layout of the custom-scalars tab, for ``SummaryWriter.add_custom_scalars``: each part has its units.

    Args:
        logger: whose names the charts look for.
        units: the units of the energy axis, once they are known; the first is drawn.
        figures: the names of the curves over energy, once they are known.
        has_power: whether power is logged; it is not of an estimate.
    """
    known = [(name, *FIGURES[name]) for name in FIGURES if name in {*figures}]
    watts = {
        "Energy of the training so far in Wh": [log_keys.TOTAL_WH],
        **({"Power in W": [log_keys.POWER_W]} if has_power else {}),
        **{title: [over_steps] for _, title, over_steps in known},
        **{
            f"{title} against energy in {unit.symbol}": [f"{name}_by_{unit.name}"]
            for unit in units[:1]
            for name, title, _ in known
        },
    }
    joules = {
        "Training of an epoch in J": [log_keys.TRAIN_J],
        "Validation of an epoch in J": [log_keys.VAL_J],
        "Training step in J": [log_keys.STEP_J],
    }
    first = "Energy in watts and watt-hours" if has_power else "Energy in watt-hours"
    # TensorBoard takes them as patterns that may match anywhere
    return {
        part: {
            title: ["Multiline", [f"^{re.escape(logged_name(logger, tag))}$" for tag in tags]]
            for title, tags in charts.items()
        }
        for part, charts in ((first, watts), ("Epochs and steps in joules", joules))
    }


class TensorBoardDashboard:
    """The dashboard of one TensorBoardLogger.

    Args:
        logger: the logger, of either of Lightning's two packages.
    """

    def __init__(self, logger: Any) -> None:
        self._logger = logger
        self._announced = False
        self._units: Sequence[AxisUnit] = ()
        self._figures: set[str] = set()
        self._has_power = True

    def announce(self, configuration: Configuration, *, early: bool) -> None:
        """Write the layout and the configuration: before Lightning's own if it writes one."""
        first = configuration.hyperparameters is not None and writes_hparams(self._logger)
        if self._announced or (early and not first):
            return
        self._announced = True
        self._has_power = configuration.has_power
        writer = self._logger.experiment
        writer.add_custom_scalars(
            layout(self._logger, has_power=self._has_power)
        )  # this opens a writer that an earlier fit had closed
        outcomes = [logged_name(self._logger, key) for key in (log_keys.TOTAL_WH, *configuration.figures)]
        names = [*outcomes, *([logged_name(self._logger, "hp_metric")] if first else [])]
        own = flat(configuration.hyperparameters or {})
        run = {key: configuration.run[key] for key in COLUMNS if key in configuration.run and key not in own}
        values = {**own, **flat({"run": run})}
        for summary in _configuration(values, names):
            writer.file_writer.add_summary(summary)

    def point(self, point: Point) -> None:
        """Add a point whose step is energy."""
        writer = self._logger.experiment
        if point.units != self._units or not self._figures.issuperset(point.figures):
            self._units = point.units
            self._figures.update(point.figures)
            page = layout(self._logger, point.units, self._figures, has_power=self._has_power)
            writer.add_custom_scalars(page)  # the last one counts
        for name, value, step in point.by_unit():
            writer.add_scalar(logged_name(self._logger, name), value, step)

    def end(self, report: Report) -> None:
        """Write the report, and how the session ended."""
        writer = self._logger.experiment
        writer.add_text(REPORT, as_markdown(report, details=True))
        writer.file_writer.add_summary(_outcome(succeeded=report.outcome == "completed"))


def _configuration(values: Mapping[str, Any], names: Sequence[str]) -> list[Any]:
    """The plugin's description of the table and of this run's row; the figures come from the scalars of these names."""
    from torch.utils.tensorboard.summary import hparams  # noqa: PLC0415 - slow, and needed for TensorBoard alone

    table, row, _ = hparams({**values}, dict.fromkeys(names, 0.0))  # type: ignore[no-untyped-call]
    return [table, row]


def _outcome(*, succeeded: bool) -> Any:
    """The plugin's description of a session's end."""
    from tensorboard.compat.proto.summary_pb2 import Summary  # noqa: PLC0415 - as above
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2  # noqa: PLC0415 - as above

    status = api_pb2.STATUS_SUCCESS if succeeded else api_pb2.STATUS_FAILURE
    info = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=time.time())
    about = metadata.create_summary_metadata(plugin_data_pb2.HParamsPluginData(session_end_info=info))
    return Summary(value=[Summary.Value(tag=metadata.SESSION_END_INFO_TAG, metadata=about)])
