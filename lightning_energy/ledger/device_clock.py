"""Times at which the *device* reached marks: under CUDA the host runs ahead of it by up to hundreds of milliseconds.

A hook that only takes the host's time gives the energy of one step to another. So each mark also records a timing
event into the device's stream, from a ring made beforehand, and looks at it much later: the event's time on the
device's clock, seen from an *anchor* (an event whose host time is known within a narrow bracket), is the host time
at which the device was there. Nothing waits for the device.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lightning_energy.ledger.device_events import CudaEvents
from lightning_energy.meters.clock import monotonic_ns
from lightning_energy.meters.handlers import raised_by_handler

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from lightning_energy.ledger.device_events import Events

__all__ = ["DeviceClock", "Token", "clock_of"]

RING = 8192  # marks that may be in flight: a lead of 4,096 steps
ANCHOR_TRIES = 5
WIDEST_ANCHOR_NS = 1_000_000  # widest bracket of an anchor: in a wider one the side stream waited for other work
SECOND_ANCHOR_NS = 1_000_000_000  # time until the second anchor, as one alone does not show the drift
ANCHOR_EVERY_NS = 10_000_000_000  # time between anchors: float32 milliseconds resolve 1 us at 10 s, 4 us at 60 s
LOST_NS = 60_000_000_000  # time after which an event that is not done is given up
KEPT_ANCHORS = 3


@dataclass(slots=True)
class Token:
    """A mark's event, until its time is known.

    Attributes:
        event: the event.
        host_ns: the host's time of the mark.
    """

    event: Any
    host_ns: int


@dataclass(frozen=True, slots=True)
class _Anchor:
    event: Any
    host_ns: int
    half_width_ns: int


class DeviceClock:
    """Maps marks to the host time at which the device reached them.

    Attributes:
        lost: how many marks got the host's time, as their events were never seen or could not be placed.
        unstamped: how many marks have no event.
        failure: the error after which only host times are given; ``None`` while all is well.

    Args:
        events: the device's events.
        clock: the monotonic clock in nanoseconds.
        ring: the number of marks that may be in flight.
    """

    def __init__(self, events: Events, *, clock: Callable[[], int] = monotonic_ns, ring: int = RING) -> None:
        self._events = events
        self._clock = clock
        self._free: deque[Any] = deque(events.make() for _ in range(ring))
        self._anchor_events: deque[Any] = deque(events.make() for _ in range(KEPT_ANCHORS * ANCHOR_TRIES))
        self._anchors: deque[_Anchor] = deque(maxlen=KEPT_ANCHORS)
        self._rate = 1.0  # nanoseconds of the host per nanosecond of the device
        self._tried_ns: int | None = None
        self.lost = 0
        self.unstamped = 0
        self.failure: Exception | None = None
        self.anchor()

    @property
    def half_width_ns(self) -> int | None:
        """Half the bracket within which a device time is known, or ``None`` without an anchor."""
        return self._anchors[-1].half_width_ns if self._anchors else None

    def stamp(self, host_ns: int) -> Token | None:
        """Record an event for a mark taken at ``host_ns``. Called by the training thread; about a microsecond.

        Returns:
            ``None`` where no event could be recorded: the host's time has to do.
        """
        if self.failure is not None or not self._free:
            self.unstamped += 1
            return None
        event = self._free.popleft()
        try:
            recorded = self._events.record(event)
        except Exception as error:  # the device's fault shows in the user's own next call
            if raised_by_handler(error):
                raise
            self.failure, recorded = error, False
        if not recorded:
            self._free.append(event)
            self.unstamped += 1
            return None
        return Token(event, host_ns)

    def enter_thread(self) -> None:
        """Prepare this thread for :meth:`resolve`; after a failure only host times are given."""
        try:
            self._events.enter_thread()
        except Exception as error:  # noqa: BLE001 - host times are a worse answer, but an answer
            self.failure = error

    def resolve(self, token: Token) -> int | None:
        """Host time in nanoseconds at which the device reached the mark; ``None`` when that is not known yet.

        Called in the order of the marks, by one thread. An event that stays unknown for a minute is given up: the
        host's time stands in for it.
        """
        if self.failure is None:
            try:
                return self._resolve(token)
            except Exception as error:  # after a device-side error every call on the device fails
                if raised_by_handler(error):
                    raise
                self.failure = error
        self.lost += 1
        return token.host_ns

    def _resolve(self, token: Token) -> int | None:
        now_ns = self._clock()
        self.anchor_if_due(now_ns)
        if not self._events.is_done(token.event):
            if now_ns - token.host_ns < LOST_NS:
                return None
            self.lost += 1  # its event may still be recorded: it is not used again
            return token.host_ns
        if not self._anchors:
            self._free.append(token.event)
            self.lost += 1
            return token.host_ns
        anchor = self._anchors[-1]
        elapsed_ns = self._events.elapsed_ms(anchor.event, token.event) * 1e6
        self._free.append(token.event)
        # the device cannot have been there before the host asked for it, nor later than now
        return min(max(anchor.host_ns + round(elapsed_ns * self._rate), token.host_ns), now_ns)

    def anchor_if_due(self, now_ns: int) -> None:
        """Renew the anchor when it is old."""
        every_ns = ANCHOR_EVERY_NS if len(self._anchors) > 1 else SECOND_ANCHOR_NS
        if self._tried_ns is None or now_ns - self._tried_ns >= every_ns:
            self.anchor()

    def anchor(self) -> bool:
        """Tie the device's clock to the host's anew, by the narrowest of a few brackets; true if it is good enough."""
        best: _Anchor | None = None
        for _ in range(ANCHOR_TRIES):
            event = self._anchor_events.popleft()
            self._anchor_events.append(event)
            before_ns = self._clock()
            self._events.now(event)
            after_ns = self._clock()
            found = _Anchor(event, (before_ns + after_ns) // 2, (after_ns - before_ns + 1) // 2)
            if best is None or found.half_width_ns < best.half_width_ns:
                best = found
        self._tried_ns = self._clock()
        if best is None or 2 * best.half_width_ns > WIDEST_ANCHOR_NS:
            return False
        self._fit_rate(best)
        self._anchors.append(best)
        return True

    def _fit_rate(self, new: _Anchor) -> None:
        """Estimate the drift of the device's clock from the last anchor and this one."""
        if not self._anchors:
            return
        old = self._anchors[-1]
        host_ns = new.host_ns - old.host_ns
        device_ns = self._events.elapsed_ms(old.event, new.event) * 1e6
        uncertainty = (old.half_width_ns + new.half_width_ns) / max(host_ns, 1)
        if device_ns > 0 and uncertainty < 1e-4:  # noqa: PLR2004 - crystals drift by less: a worse guess is no help
            self._rate = host_ns / device_ns

    def synchronize(self) -> None:
        """Wait for the device: at changes of stage only, never in a loop."""
        if self.failure is None:
            try:
                self._events.synchronize()
            except Exception as error:  # the device's fault shows in the user's own next call
                if raised_by_handler(error):
                    raise
                self.failure = error


def clock_of(device: torch.device) -> tuple[DeviceClock | None, str]:
    """The clock of a device that runs behind the host, and a sentence on its trouble (empty when there is none).

    Args:
        device: the device of the training.
    """
    if device.type != "cuda":
        return None, ""
    try:
        return DeviceClock(CudaEvents(device)), ""
    except Exception as error:  # noqa: BLE001 - host times are a worse answer, but an answer
        problem = f"{type(error).__name__}: {error}"
        return None, f"the device's clock cannot be read ({problem}): steps are cut at the host's times"
