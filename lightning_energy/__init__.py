"""Energy of PyTorch Lightning training: measured, attributed, and set against accuracy.

Names are resolved on first use, so that ``import lightning_energy`` loads neither torch nor Lightning.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lightning_energy._version import __version__

if TYPE_CHECKING:
    from lightning_energy.callback import EnergyCallback
    from lightning_energy.comparison.compare import compare
    from lightning_energy.comparison.comparison import Comparison
    from lightning_energy.comparison.whatif import WhatIf, whatif
    from lightning_energy.curves.energy import Energy
    from lightning_energy.meters import Meter, MeterInfo, MeterLost, MeterUnavailable, Reading, ReplayMeter
    from lightning_energy.monitor import EnergyMonitor
    from lightning_energy.results.explain import explain
    from lightning_energy.results.record_ranks import load_record
    from lightning_energy.results.report import Report
    from lightning_energy.results.verdict.explanation import Explanation
    from lightning_energy.scores.functional import energy_penalized_accuracy, sustainable_accuracy
    from lightning_energy.scores.metrics import EnergyPenalizedAccuracy, EnergyScore, SustainableAccuracy
    from lightning_energy.training.efficiency_stopping import EnergyEfficiencyStopping
    from lightning_energy.training.energy_budget import EnergyBudget

__all__ = [
    "Comparison",
    "Energy",
    "EnergyBudget",
    "EnergyCallback",
    "EnergyEfficiencyStopping",
    "EnergyMonitor",
    "EnergyPenalizedAccuracy",
    "EnergyScore",
    "Explanation",
    "Meter",
    "MeterInfo",
    "MeterLost",
    "MeterUnavailable",
    "Reading",
    "ReplayMeter",
    "Report",
    "SustainableAccuracy",
    "WhatIf",
    "__version__",
    "compare",
    "energy_penalized_accuracy",
    "explain",
    "load_record",
    "sustainable_accuracy",
    "whatif",
]

_HOMES = {
    "Comparison": "comparison.comparison",
    "Energy": "curves.energy",
    "EnergyBudget": "training.energy_budget",
    "EnergyCallback": "callback",
    "EnergyEfficiencyStopping": "training.efficiency_stopping",
    "EnergyMonitor": "monitor",
    "EnergyPenalizedAccuracy": "scores.metrics",
    "EnergyScore": "scores.metrics",
    "Explanation": "results.verdict.explanation",
    "Meter": "meters",
    "MeterInfo": "meters",
    "MeterLost": "meters",
    "MeterUnavailable": "meters",
    "Reading": "meters",
    "ReplayMeter": "meters",
    "Report": "results.report",
    "SustainableAccuracy": "scores.metrics",
    "WhatIf": "comparison.whatif",
    "compare": "comparison.compare",
    "energy_penalized_accuracy": "scores.functional",
    "explain": "results.explain",
    "load_record": "results.record_ranks",
    "sustainable_accuracy": "scores.functional",
    "whatif": "comparison.whatif",
}
"""The module of each public name."""

_MODULES = ("functional", "meters", "study")


def __getattr__(name: str) -> Any:
    """Import a public name on its first use (PEP 562)."""
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return [*__all__]
