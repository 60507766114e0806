"""Meters: one file per vendor. Watts and joules begin here."""

from lightning_energy.meters.base import Meter, MeterError, MeterInfo, MeterLost, MeterUnavailable, Reading
from lightning_energy.meters.replay import ReplayMeter

__all__ = ["Meter", "MeterError", "MeterInfo", "MeterLost", "MeterUnavailable", "Reading", "ReplayMeter"]
