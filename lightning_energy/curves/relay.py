"""Polls of one process, put on the curves of another: what a meter answered there is answered here once more.

A channel whose meter repeats those answers, at those moments, makes the curve that it would have made by polling.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from lightning_energy.curves.channel import Channel
from lightning_energy.curves.poll_plan import PollPlan
from lightning_energy.meters.base import Meter, MeterLost, Reading
from lightning_energy.meters.clock import monotonic_ns

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from lightning_energy.curves.poll_plan import Outlook
    from lightning_energy.meters.base import MeterInfo
    from lightning_energy.meters.nvml import NvmlMeter

__all__ = ["Answered", "NotedChannel", "NotedMeter", "Polled", "Relayed", "Remote"]

MOST_NOTES = 4096  # polls that are kept where nobody takes them; then only the newest is


class Answered(NamedTuple):
    """The answers to a poll that did not just see what the one before it saw; plain, so that they can be sent.

    Attributes:
        times_ns: begin and end of the reading.
        register_j: its register.
        reading_w: its power, where it has no register.
        power_w: the power beside the register; ``None`` where it was not asked or not known.
        error: what the meter raised instead; empty where it answered.
        findings: everything its comparisons have shown, where that is new: odd readings, module, disagreement, judged.
    """

    times_ns: tuple[int, int] = (0, 0)
    register_j: float | None = None
    reading_w: float | None = None
    power_w: float | None = None
    error: str = ""
    findings: Any = None


class Polled(NamedTuple):
    """One poll; of several in a row that saw nothing new only the last is kept, which says as much.

    Attributes:
        clock_ns: the moments at which the channel looked at the clock.
        is_before_edge: the poll was meant to come before the register moves.
        looks: it was meant to look at the power.
        answered: as a tuple; ``None`` where the register had not moved.
    """

    clock_ns: tuple[int, ...]
    is_before_edge: bool
    looks: bool
    answered: Answered | None

    @property
    def plain(self) -> tuple[object, ...]:
        """The same as plain values, to be sent to another process."""
        return (*self[:3], None if self.answered is None else tuple(self.answered))


class Remote(Protocol):
    """Everything that is asked of a meter beside a meter's usual, so that another process can read its device."""

    @property
    def findings(self) -> Any:
        """Everything that comparisons of its readings have shown so far, as plain values."""

    def heed(self, told: Any) -> None:
        """Heed what comparisons have shown, if another process made them; they begin anew in this one."""


class NotedMeter(Meter):
    """Notes what an open meter answers, and what its channel's clock showed meanwhile.

    Args:
        meter: see there.
        clock: the monotonic clock in nanoseconds.
    """

    def __init__(self, meter: NvmlMeter, clock: Callable[[], int] = monotonic_ns) -> None:
        self.meter = meter
        self._read_clock = clock
        self._told: Any = meter.findings
        self._turn = Lock()  # held while notes are made or taken
        self._notes: list[Polled] = []
        self._stood: Polled | None = None  # the last poll that saw nothing new, if nothing was noted since
        self.begin()

    def begin(self) -> None:
        """Begin a poll."""
        self._clock_ns: list[int] = []
        self._has_stood = False
        self._reading: Reading | None = None
        self._error = ""
        self._power_w: float | None = None

    def clock(self) -> int:
        """The clock that the channel is to go by."""
        now_ns = self._read_clock()
        self._clock_ns.append(now_ns)
        return now_ns

    def end(self, *, is_before_edge: bool, looks: bool) -> None:
        """Note the poll that was begun last."""
        clock_ns = tuple(self._clock_ns)
        if self._has_stood:
            with self._turn:
                self._stood = Polled(clock_ns, is_before_edge, looks, None)
            return
        found, reading = self.meter.findings, self._reading
        if len(self._notes) >= MOST_NOTES:
            with self._turn:
                self._notes, self._stood = [], None
            self._told = None  # what was to be said of findings may have been in them
        news = None if found == self._told else found
        self._told = found
        if reading is None:
            answered = Answered(power_w=self._power_w, error=self._error, findings=news)
        else:
            times_ns = reading.start_ns, reading.end_ns
            answered = Answered(times_ns, reading.register_j, reading.power_w, self._power_w, findings=news)
        with self._turn:
            self._notes += () if self._stood is None else (self._stood,)
            self._notes.append(Polled(clock_ns, is_before_edge, looks, answered))
            self._stood = None

    def take(self) -> list[Polled]:
        """The polls since the last call."""
        with self._turn:
            notes, stood = self._notes, self._stood
            self._notes, self._stood = [], None
        return notes if stood is None else [*notes, stood]

    def open(self) -> MeterInfo:
        """Open the meter."""
        return self.meter.open()

    def read(self) -> Reading:
        """Read the meter, and note its answer."""
        self._has_stood = False
        try:
            self._reading = self.meter.read()
        except MeterLost as error:
            self._error = str(error)
            raise
        except BaseException as error:
            self._error = f"{type(error).__name__}: {error}"
            raise
        return self._reading

    def is_unchanged(self) -> bool:
        """Ask the meter, and note its answer."""
        self._has_stood = self.meter.is_unchanged()
        return self._has_stood

    def read_power_w(self) -> float | None:
        """Ask the meter, and note its answer."""
        self._power_w = self.meter.read_power_w()
        return self._power_w

    def revised(self) -> MeterInfo | None:
        """The meter's new description: of use here only."""
        return self.meter.revised()

    def close(self) -> None:
        """Close the meter."""
        self.meter.close()


class NotedChannel(Channel):
    """A channel whose polls are noted.

    Args:
        meter: notes them.
        info: its description.

    Attributes:
        noted: the meter.
    """

    def __init__(self, meter: NotedMeter, info: MeterInfo) -> None:
        super().__init__(meter, info, clock=meter.clock)
        self.noted = meter

    def poll(self, lock: threading.RLock, answered: Callable[[], None] | None = None) -> None:
        """Poll, and note that."""
        is_before_edge, looks = self.plan.is_before_edge, self.plan.looks
        self.noted.begin()
        super().poll(lock, answered)
        self.noted.end(is_before_edge=is_before_edge, looks=looks)


class PlannedElsewhere(PollPlan):
    """The plan of a meter that another process polls: knows how long its calls take, and plans none.

    Args:
        plan: the plan that will be needed again.
    """

    def __init__(self, plan: PollPlan) -> None:
        super().__init__()
        self.plan = plan
        self.calls, self.hunts_always = plan.calls, plan.hunts_always

    def hurry(self) -> None:
        """Poll at once, as soon as polls are made here again."""
        self.plan.hurry()

    def polled(self, start_ns: int, end_ns: int, cost_ns: int | None = None) -> None:
        """Note how long a poll took."""
        self.calls.spend(start_ns, end_ns, cost_ns)

    def retry(self, now_ns: int) -> None:
        """Plan nothing."""

    def come_by(self, time_ns: int) -> None:
        """Plan nothing."""

    def wait_on(self, now_ns: int) -> None:
        """Plan nothing."""

    def go_on(self, now_ns: int, outlook: Outlook | None, *, moved: bool, looks: int) -> None:
        """Plan nothing."""


class Relayed(Meter):
    """Stands for a meter that another process reads, and repeats its answers.

    Args:
        meter: the open meter, which is not read meanwhile.
        channel: its channel.
    """

    def __init__(self, meter: NvmlMeter, channel: Channel) -> None:
        self.meter = meter
        self._channel = channel
        self._clock_ns: tuple[int, ...] = (0,)
        self._looked = 0  # at the clock
        self._answered: Answered | None = None
        self._last = Answered()  # the last reading, which a register that has not moved shows again

    def begin(self) -> None:
        """Take the place of the meter."""
        self._channel.read_by(self, self._clock)
        self._channel.plan = PlannedElsewhere(self._channel.plan)

    def end(self) -> None:
        """Let the meter read again, at once."""
        if self._channel.meter is self:
            self._channel.read_by(self.meter)
            self.meter.heed(self.meter.findings)
            plan = self._channel.plan
            if isinstance(plan, PlannedElsewhere):
                plan.plan.hunts_always = plan.hunts_always
                plan = self._channel.plan = plan.plan
            plan.is_before_edge, plan.slack_ns, plan.due_ns = False, 0, 0

    def repeat(self, polled: Polled, lock: threading.RLock) -> None:
        """Put a poll on the curve."""
        clock_ns, is_before_edge, looks, answered = polled
        if answered is None and self._last.register_j is None:
            return
        self._clock_ns, self._looked = clock_ns, 0
        self._answered = None if answered is None else Answered(*answered)
        self._channel.plan.is_before_edge, self._channel.plan.looks = is_before_edge, looks
        self._channel.poll(lock)

    def _clock(self) -> int:
        """The moments of the poll, one after the other; the last one where more looks are taken at it."""
        k, self._looked = self._looked, self._looked + 1
        return self._clock_ns[min(k, len(self._clock_ns) - 1)]

    def open(self) -> MeterInfo:
        """Describe the device as it is known."""
        return self._channel.info

    def is_unchanged(self) -> bool:
        """Return true if the poll saw nothing new."""
        return self._answered is None

    def read(self) -> Reading:
        """Repeat the answer.

        Raises:
            MeterLost: it was none.
        """
        answered = self._answered
        if answered is None:
            return Reading(self._clock_ns[0], self._clock_ns[-1], self._last.register_j)
        if answered.error:
            raise MeterLost(answered.error)
        self._last = answered
        return Reading(*answered.times_ns, answered.register_j, answered.reading_w)

    def read_power_w(self) -> float | None:
        """Repeat the power, where it was asked."""
        return None if self._answered is None else self._answered.power_w

    def revised(self) -> MeterInfo | None:
        """The meter's new description, by what comparisons have shown there."""
        found = None if self._answered is None else self._answered.findings
        if found is not None:
            self.meter.heed(found)
        return self.meter.revised()

    def other_processes(self) -> list[int] | None:
        """Ask the meter itself."""
        return self.meter.other_processes()

    def close(self) -> None:
        """Close the meter itself."""
        self.meter.close()
