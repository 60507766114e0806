"""A meter corrected by the readings of an external one."""

from __future__ import annotations

import math
from copy import copy
from dataclasses import replace
from typing import Any

from lightning_energy.meters.base import Meter, MeterInfo, Reading
from lightning_energy.meters.units import NS

__all__ = ["CalibratedMeter"]


class CalibratedMeter(Meter):
    """Corrects another meter: ``true power = gain * power + offset_w``.

    Errors of a board's power sensor are a nearly constant gain and offset (R² 0.97 to 1.00, gains 0.87 to 1.06 in the
    data of arXiv 2312.02741; of the energy counter no such data was found). Found once with a wall meter or a power
    analyser, they remove most of the absolute uncertainty. A comparison of runs on one board does not need them: there
    the gain cancels.

    Args:
        meter: the meter to correct; it is opened and closed with this one.
        gain: watts of the reference per watt of the meter.
        offset_w: watts that the meter leaves out.
        u: relative standard uncertainty (k=1) that remains, for example that of the reference.

    Raises:
        ValueError: a number is out of range.

    Example:
        >>> from lightning_energy.meters import ReplayMeter
        >>> meter = CalibratedMeter(ReplayMeter(100.0), gain=1.06, offset_w=2.0, u=0.01)
        >>> meter.open().calibration_u
        0.01
    """

    def __init__(self, meter: Meter, *, gain: float = 1.0, offset_w: float = 0.0, u: float = 0.01) -> None:
        if not isinstance(meter, Meter):
            raise TypeError(f"meter={meter!r}: give a Meter")
        if not 0 < gain < math.inf:
            raise ValueError(f"gain={gain!r}: give a number above 0, such as 1.05")
        if not 0 <= offset_w < math.inf:
            raise ValueError(
                f"offset_w={offset_w!r}: give watts from 0 on; a meter that shows too much has a gain below 1"
            )
        if not 0 <= u < 1:
            raise ValueError(f"u={u!r}: give a share in [0, 1), such as 0.01")
        self.meter, self.gain, self.offset_w, self.u = meter, float(gain), float(offset_w), float(u)
        self._start_ns = 0
        self._raw_j: float | None = None
        self._corrected_j = 0.0

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "meter": copy(self.meter)}  # a copy is closed, and so is the meter in it

    def open(self) -> MeterInfo:
        """Open the meter."""
        info = self._corrected(self.meter.open())
        self._raw_j = None
        return info

    def _corrected(self, info: MeterInfo) -> MeterInfo:
        note = f"calibrated: gain {self.gain:g}, offset {self.offset_w:g} W"
        return replace(
            info,
            calibration_u=self.u,
            power_max_w=None if info.power_max_w is None else self._power_w(info.power_max_w),
            power_min_w=self._power_w(info.power_min_w),
            note=f"{info.note}; {note}" if info.note else note,
        )

    def read(self) -> Reading:
        """Read the meter, corrected."""
        reading = self.meter.read()
        if reading.register_j is None:
            return replace(reading, power_w=self._power_w(reading.power_w) if reading.power_w else reading.power_w)
        if reading.register_j != self._raw_j:  # the corrected register moves when the meter's does, and only then
            self._start_ns = reading.start_ns if self._raw_j is None else self._start_ns
            self._raw_j = reading.register_j
            offset_j = self.offset_w * (reading.start_ns - self._start_ns) * NS
            self._corrected_j = self.gain * reading.register_j + offset_j
        return replace(reading, register_j=self._corrected_j)

    def is_unchanged(self) -> bool:
        """Ask the meter: the corrected register moves when the meter's does."""
        return self.meter.is_unchanged()

    def read_power_w(self) -> float | None:
        """Read the power, corrected."""
        power_w = self.meter.read_power_w()
        return self._power_w(power_w) if power_w else power_w  # 0 W is what a sensor shows that shows nothing

    def revised(self) -> MeterInfo | None:
        """Ask the meter, and correct its description."""
        info = self.meter.revised()
        return None if info is None else self._corrected(info)

    def other_processes(self) -> list[int] | None:
        """Ask the meter."""
        return self.meter.other_processes()

    def close(self) -> None:
        """Close the meter."""
        self.meter.close()

    def _power_w(self, power_w: float) -> float:
        return self.gain * power_w + self.offset_w
