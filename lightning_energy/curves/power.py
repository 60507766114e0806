"""From readings of a power sensor to knots, for a device without an energy register."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from lightning_energy.meters.units import NS

if TYPE_CHECKING:
    from lightning_energy.curves.curve import Curve
    from lightning_energy.meters.base import MeterInfo, Quality, Reading

__all__ = ["PowerIntegral", "plausible_w"]

UNKNOWN_MAX_W = 10_000.0  # more than any single board draws; used only where the meter knows no limit
PLAUSIBLE = 1.15  # factor on the meter's power_max_w, which has 15 % above the limit already: about 1.3 together
CHANGES = 8  # readings of the power over which its changes are averaged


def plausible_w(info: MeterInfo) -> float:
    """Power in watts above which a reading is not believed."""
    return (info.power_max_w or UNKNOWN_MAX_W) * PLAUSIBLE


class PowerIntegral:
    """Builds a curve from readings of a power sensor, by the trapezoidal rule.

    A sensor that shows 0 W shows nothing: no device that is on draws none. Only a model may say so.

    Args:
        info: the meter's description of itself.
        curve: the curve that takes the knots.
        longest_gap_s: readings further apart than this, in seconds, leave the time between them ``missing``.

    Attributes:
        note: the reason why the last reading could not be used; empty when it could.
    """

    def __init__(self, info: MeterInfo, curve: Curve, *, longest_gap_s: float = 1.0) -> None:
        self.curve = curve
        self.note = ""
        self._quality: Quality = "estimated" if info.quality == "estimated" else "integrated"
        self._longest_gap_ns = round(longest_gap_s / NS)
        self._max_w = plausible_w(info)
        self._lag_ns = round(info.power_lag_s / NS)
        self._last: tuple[int, float] | None = None
        self._is_joint = False  # the next reading is the first behind another source's end
        self._change2_w2 = 0.0  # mean square of the change between two readings

    @property
    def state(self) -> dict[str, Any]:
        """Everything that was learned of the power."""
        return {name: value for name, value in vars(self).items() if name != "curve"}

    @state.setter
    def state(self, state: dict[str, Any]) -> None:
        vars(self).update(state)

    def feed(self, reading: Reading) -> bool:
        """Take one reading of the power; true when it could be used."""
        self.note = ""
        now_ns, power_w = (reading.start_ns + reading.end_ns) // 2, reading.power_w
        if power_w is None or not 0 <= power_w <= self._max_w or (power_w == 0 and self._quality == "integrated"):
            self.note = f"its power reads {'N/A' if power_w is None else f'{power_w:g} W'}"
            self.silent(now_ns)
            return False
        last, self._last = self._last, (now_ns, power_w)
        is_joint, self._is_joint = self._is_joint, False
        end_ns = self.curve.end_ns
        half_ns = (reading.end_ns - reading.start_ns + 1) // 2 + self._lag_ns
        if end_ns is None:
            self.curve.add(now_ns, 0.0, half_width_ns=half_ns)
        elif now_ns > end_ns and (last is None or now_ns - last[0] > self._longest_gap_ns):
            self.curve.add(now_ns, self.curve.end_j, half_width_ns=half_ns, quality="missing")
        elif now_ns > end_ns and last is not None:
            duration_s = (now_ns - end_ns) * NS
            u_w = self._u_w(power_w - last[1])
            if is_joint:
                low_w, high_w = self.curve.power_bounds_w()
                u_w = max(u_w, max(high_w - power_w, power_w - low_w) / math.sqrt(3.0))
            self.curve.add(
                now_ns,
                self.curve.end_j + 0.5 * (last[1] + power_w) * duration_s,
                half_width_ns=half_ns,
                quality=self._quality,
                u_j=u_w * duration_s,
            )
        return True

    def join(self, power_w: float) -> None:
        """Go on from the end of the curve, where another source knew the energy last.

        Args:
            power_w: the power as it is read next; it may have been another before.
        """
        end_ns = self.curve.end_ns
        if end_ns is not None and (self._last is None or self._last[0] != end_ns):
            self._last, self._is_joint = (end_ns, power_w), True

    def _u_w(self, change_w: float) -> float:
        """Standard uncertainty of the mean power between two readings.

        A load that is faster than the readings makes each of them a random one: two of them then differ by
        sqrt(2) standard deviations, and each stands for a whole interval. Two readings may also be equal by chance,
        so the differences between the last few count as well.
        """
        change2_w2 = change_w * change_w
        self._change2_w2 += (change2_w2 - self._change2_w2) / CHANGES
        return math.sqrt(max(change2_w2, self._change2_w2) / 2.0)

    def silent(self, now_ns: int) -> bool:
        """Book the time since the last answer as missing: the sensor did not answer at ``now_ns``.

        Returns:
            Always true: time is missing (see :meth:`CounterEdges.silent`, which may bridge it).
        """
        self._last = None
        if self.curve.end_ns is None or now_ns > self.curve.end_ns:
            self.curve.add(now_ns, self.curve.end_j, quality="missing")
        return True
