"""Energy of PyTorch Lightning training: measured, attributed, and set against accuracy."""

from lightning_energy._version import __version__
from lightning_energy.callback import EnergyCallback
from lightning_energy.compare import compare
from lightning_energy.comparison import Comparison
from lightning_energy.curve import Energy
from lightning_energy.functional import energy_penalized_accuracy, sustainable_accuracy
from lightning_energy.meters import Meter, MeterInfo, MeterLost, MeterUnavailable, Reading, ReplayMeter
from lightning_energy.metric import EnergyPenalizedAccuracy, EnergyScore, SustainableAccuracy
from lightning_energy.monitor import EnergyMonitor
from lightning_energy.report import Report

__all__ = [
    "Comparison",
    "Energy",
    "EnergyCallback",
    "EnergyMonitor",
    "EnergyPenalizedAccuracy",
    "EnergyScore",
    "Meter",
    "MeterInfo",
    "MeterLost",
    "MeterUnavailable",
    "Reading",
    "ReplayMeter",
    "Report",
    "SustainableAccuracy",
    "__version__",
    "compare",
    "energy_penalized_accuracy",
    "sustainable_accuracy",
]
