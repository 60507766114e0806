"""A channel in two processes: one of them polls, and passes on to the other what its polls came to.

With each message the other one gets the new knots, whatever else is asked of a channel, and the rest of what the one
that polls knows: it can go on from there at any moment, and no joule is missing then, or counted twice.
"""

from __future__ import annotations

import pickle
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias

from lightning_energy.curves.channel import Shown

if TYPE_CHECKING:
    import threading

    from lightning_energy.curves.channel import Channel
    from lightning_energy.meters.nvml import NvmlMeter
    from lightning_energy.meters.nvml_watch import Told

__all__ = ["News", "Relay"]


News: TypeAlias = "tuple[bytes, tuple[Any, ...], bytes, Told]"
"""News of a channel, as plain values, which are unpickled in a tenth of the time.

The knots that the other process does not have yet, see :meth:`~lightning_energy.curves.curve.Knots.plain`; what the
channel has shown; the rest of what it knows, in bytes that are opened only where it is polled from then on; and
everything that comparisons of its meter's readings have shown.
"""


class Relay:
    """This process's end of a channel that two processes have.

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
        self._state: bytes | None = None  # from which to go on here; none while polls are made here

    def leave(self) -> News:
        """Poll no more; everything that the other process needs to do so."""
        with self._lock:
            channel = self.channel
            self._shared_ns = (channel.curve.end_ns or 1) - 1  # the last knot is where it goes on
            news = self._news()
            channel.begin_anew()
            channel.shown, self._state = Shown(*news[1]), news[2]
            return news

    def give(self) -> News:
        """News of the channel since the last call; the curve is forgotten, as the other process has it."""
        with self._lock:
            news = self._news()
            self.channel.curve.forget_before(self._shared_ns)
            return news

    def _news(self) -> News:
        channel, curve, findings = self.channel, self.channel.curve, self.meter.findings
        knots = curve.knots(curve.place_after(self._shared_ns)).plain()
        state = pickle.dumps(channel.state)
        self._shared_ns, self._told = curve.end_ns or 0, findings
        return knots, tuple(channel.shown), state, findings

    def take(self, news: News) -> bool:
        """Take news; false where they do not go on from the curve's end, and nothing was done.

        That is so where time was booked as missing in this process meanwhile, as no news came.
        """
        channel, meter, (knots, values, state, findings) = self.channel, self.meter, news
        shown = Shown(*values)
        if findings != self._told:
            meter.heed(findings)
            self._told = findings
        info = meter.revised()
        with self._lock:
            if not self._is_current():
                return False
            channel.curve.extend(knots)
            channel.shown, channel.info = shown, info or channel.info
            self._shared_ns, self._state = channel.curve.end_ns or 0, state
        return True

    def _is_current(self) -> bool:
        return (self.channel.curve.end_ns or 0) == self._shared_ns

    def begin(self, news: News) -> bool:
        """Poll here from now on, where the other process has left; false where that cannot be."""
        is_taken = self.take(news)
        self.go_on()
        return is_taken

    def go_on(self) -> None:
        """Poll here from now on, from where the other process was as of its last news."""
        state, self._state = self._state, None
        if state is None:
            return
        with self._lock:
            self.channel.begin_anew()  # without what was only shown
            if self._is_current():
                with suppress(Exception):  # whatever damaged it: the time since the last knot is missing then
                    self.channel.state = pickle.loads(state)  # noqa: S301 - of our own process
            self.channel.plan.begin_anew()
        self.meter.heed(self.meter.findings)  # comparisons begin anew
