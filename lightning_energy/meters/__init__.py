"""Meters: one file per vendor. Watts and joules begin here."""

from lightning_energy.meters.base import Meter, MeterError, MeterInfo, MeterLost, MeterUnavailable, Reading
from lightning_energy.meters.calibrated import CalibratedMeter
from lightning_energy.meters.clock import monotonic_ns
from lightning_energy.meters.estimate import CpuEstimateMeter
from lightning_energy.meters.find import OpenMeters, open_meters
from lightning_energy.meters.nvml import NvmlMeter
from lightning_energy.meters.rapl import RaplMeter
from lightning_energy.meters.replay import ReplayMeter

__all__ = [
    "CalibratedMeter",
    "CpuEstimateMeter",
    "Meter",
    "MeterError",
    "MeterInfo",
    "MeterLost",
    "MeterUnavailable",
    "NvmlMeter",
    "OpenMeters",
    "RaplMeter",
    "Reading",
    "ReplayMeter",
    "monotonic_ns",
    "open_meters",
]
