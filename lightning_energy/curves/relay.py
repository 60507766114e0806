"""A channel in two processes: one of them polls, and passes on to the other what its polls came to.

Whatever the polling one has then, knots and all that it knows of the register, the other one has after each message: it
can go on from there at any moment, and no joule is missing or counted twice.
"""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import threading

    from lightning_energy.curves.channel import Channel
    from lightning_energy.curves.curve import Columns
    from lightning_energy.meters.nvml import NvmlMeter
    from lightning_energy.meters.nvml_watch import Told

__all__ = ["Relay"]


class Passed(NamedTuple):
    """News of a channel.

    Attributes:
        knots: those that the other process does not have yet.
        state: the channel's.
        findings: everything that comparisons of its meter's readings have shown.
    """

    knots: Columns
    state: dict[str, object]
    findings: Told


class Relay:
    """This process's end of a channel that is in two.

    Args:
        meter: the open meter.
        channel: its channel.
        lock: guards the curve.
    """

    def __init__(self, meter: NvmlMeter, channel: Channel, lock: threading.RLock) -> None:
        self.meter, self.channel = meter, channel
        self._lock = lock
        self._shared_ns = 0  # time of the last knot that both processes have; 0 for none
        self._told = meter.findings

    def begin(self) -> bytes:
        """Everything that the other process needs in order to poll from now on."""
        with self._lock:
            self._shared_ns = (self.channel.curve.end_ns or 1) - 1  # the last knot is where it goes on
            return self.give()

    def give(self, *, forgets: bool = False) -> bytes:
        """News of the channel since the last call.

        Args:
            forgets: the other process alone keeps the curve.
        """
        with self._lock:
            curve = self.channel.curve
            passed = Passed(curve.after(self._shared_ns), self.channel.state(), self.meter.findings)
            self._shared_ns, self._told = curve.end_ns or 0, passed.findings
            if forgets:
                curve.forget_before(self._shared_ns)
            return pickle.dumps(tuple(passed))

    def take(self, news: bytes) -> bool:
        """Put news on the channel; false where they do not go on from its end, and nothing was done.

        That is so where time was booked as missing in this process meanwhile, as no news came.
        """
        try:
            knots, state, findings = pickle.loads(news)  # noqa: S301 - of our own process
        except Exception:  # noqa: BLE001 - whatever damaged it
            return False
        channel = self.channel
        if findings != self._told:
            self.meter.heed(findings)
            self._told = findings
        info = self.meter.revised()
        with self._lock:
            if (channel.curve.end_ns or 0) != self._shared_ns:
                return False
            channel.curve.extend(knots)
            channel.go_on_from(state)
            channel.info = info or channel.info
            self._shared_ns = channel.curve.end_ns or 0
        return True

    def end(self) -> None:
        """Poll here again."""
        self.meter.heed(self.meter.findings)  # comparisons begin anew
        self.channel.plan.begin_anew()
