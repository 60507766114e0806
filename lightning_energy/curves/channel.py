"""One open meter and its curve: readings go in, knots come out."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from lightning_energy.curves.curve import Curve
from lightning_energy.curves.edges import CounterEdges
from lightning_energy.curves.period import Period
from lightning_energy.curves.poll_plan import SLOW_POLL_NS, PollPlan
from lightning_energy.curves.power import PowerIntegral
from lightning_energy.curves.readings import LONGEST_READ_S, believed, believed_info, believed_w
from lightning_energy.meters.base import MeterLost, Reading
from lightning_energy.meters.clock import monotonic_ns
from lightning_energy.meters.units import NS

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from lightning_energy.meters.base import Meter, MeterInfo

__all__ = ["Channel", "Shown"]

MOST_TROUBLES = 20  # kinds; more say nothing new
A_NUMBER = re.compile(r"\d+(\.\d+)?")
UNSEEN_NS = 500_000_000  # time without a first move after which the power tells the energy
BESIDE_NS = 90_000_000  # least time between two such readings
LONGEST_READ_NS = round(LONGEST_READ_S / NS)


class Shown(NamedTuple):
    """Everything that a channel shows to others than the thread that polls it, beside its curve: plain values.

    Attributes:
        reads: see :class:`Channel`.
        troubles: see there.
        has_register: the meter's readings have a register.
        frozen_at_j: its value, while it does not move any more.
        period_s: its update period in seconds, as known or measured.
        line_ns: period and residual of the straight line through its updates.
        power: see :attr:`~lightning_energy.curves.power_range.PowerRange.seen`.
        call_ns: usual duration of a call.
    """

    reads: int
    troubles: dict[str, tuple[str, int]]
    has_register: bool
    frozen_at_j: float | None
    period_s: float | None
    line_ns: tuple[float | None, float]
    power: tuple[int, float, float, float, float]
    call_ns: int


class Channel:
    """One open meter, the parts that turn its readings into knots, and the plan of its polls.

    Args:
        meter: an *open* meter; closing it is the caller's business.
        info: the result of its ``open``.
        refine: see :class:`~lightning_energy.curves.edges.CounterEdges`.
        clock: the monotonic clock in nanoseconds.

    Attributes:
        curve: the device's energy over time.
        plan: the plan of its polls.
        reads: number of polls that were answered.
        troubles: the things that went wrong, each kind once with the time of its first: (sentence, time).
    """

    def __init__(
        self,
        meter: Meter,
        info: MeterInfo,
        *,
        refine: bool = True,
        clock: Callable[[], int] = monotonic_ns,
    ) -> None:
        self.meter = meter
        self.info = info
        self.curve = Curve(info)
        self.plan = PollPlan(can_look=info.instant_power)
        self.reads = 0
        self.troubles: dict[str, tuple[str, int]] = {}
        self._clock, self._refine = clock, refine
        self._has_register = True
        self._last_ns = -sys.maxsize  # end of the last reading
        self._frozen_at_j: float | None = None
        self._quiet_until_ns = 0  # until then, a poll that sees nothing new needs no more than a new plan
        self.begin_anew()

    @property
    def trouble(self) -> str | None:
        """The first thing that went wrong; ``None`` when nothing did."""
        return next((text for text, _ in self.troubles.values()), None)

    @property
    def due_ns(self) -> int:
        """Time at which the meter wants to be polled next."""
        return self.plan.due_ns

    @property
    def period_s(self) -> float | None:
        """Update period of the register in seconds, as known or measured; ``None`` without a register."""
        return self._edges.period.s if self._has_register else self.info.update_period_s

    @property
    def period_residual_s(self) -> float | None:
        """Distance of the register's updates from that period, in seconds (80 % of them stray less)."""
        line = self._edges.line
        return line.residual_ns * NS if line.is_fitted else None

    @property
    def is_continuous(self) -> bool:
        """True where any poll gives a knot, with no update to wait for."""
        if not self._has_register or self._frozen_at_j is not None:
            return True
        return self._edges.period.is_continuous

    @property
    def is_exact(self) -> bool:
        """True for a register that moves at any poll: it shows the energy at once."""
        return self._has_register and self._edges.period.is_continuous

    @property
    def spacing_s(self) -> float | None:
        """Seconds between two knots, the resolution of the curve in time; ``None`` when unknown.

        The register's period, if each of its updates gives a knot; a register that moves more often is read as rarely
        as a power sensor is.
        """
        period_s, floor_s = self.period_s, self.plan.calls.floor_ns * NS
        if self.is_continuous:
            return max(period_s or 0.0, SLOW_POLL_NS * NS, floor_s)
        return None if period_s is None else max(period_s, floor_s)

    def poll(self, lock: threading.RLock, answered: Callable[[], None] | None = None) -> None:
        """Read the meter once, put the reading on the curve, plan the next poll.

        Most polls are of a register that has not moved, where nothing else is due. They take no lock, as nothing of the
        curve changes.

        Args:
            lock: held while the curve changes, not while the meter is read: a slow call must not stop another thread
                that looks at the curve.
            answered: called once the meter has answered, or failed, before anybody waits for the lock.
        """
        before_ns = self._clock()
        if before_ns < self._quiet_until_ns:
            try:
                has_stood = self.meter.is_unchanged()
            except BaseException:  # noqa: BLE001 - the reading says what is wrong
                has_stood = False
            if has_stood and (after_ns := self._clock()) - before_ns <= LONGEST_READ_NS:
                self.reads, self._last_ns = self.reads + 1, after_ns
                self._edges.stood(before_ns, after_ns)
                self.plan.polled(before_ns, after_ns)
                self.plan.wait_on(after_ns)
                return
        self._read(before_ns, lock, answered)

    def _read(self, before_ns: int, lock: threading.RLock, answered: Callable[[], None] | None) -> None:
        """Make a poll that began at ``before_ns`` and may see anything; see :meth:`poll`."""
        after_ns, refused, revised = before_ns, "", None
        try:
            answer, after_ns = self.meter.read(), self._clock()
            reading, why = believed(answer, before_ns, after_ns, self._last_ns)
            refused = why
            info = self.meter.revised()
            if info is not None:
                revised, odd = believed_info(info)
                refused = refused or odd
        except MeterLost as error:
            reading, why = None, str(error)
        except BaseException as error:  # noqa: BLE001 - a meter's defect must not end the thread that reads the others
            reading, why = None, f"{type(error).__name__}: {error}"
        power_w = None
        if reading is not None and self._wants_power(reading):
            power_w, after_ns = self._power_beside(), self._clock()
        if answered is not None:
            answered()
        with lock:
            self.info = revised or self.info
            if reading is None:
                self._lost(why)
            else:
                self._take(reading, power_w, after_ns - before_ns)
            if refused:  # also where other readings bridge it
                self._remember(refused, before_ns)

    @property
    def shown(self) -> Shown:
        """Everything that others ask of it; to be set where another channel of the device is polled in its stead."""
        moves, line = (self._has_register, self._frozen_at_j), self._edges.line
        line_ns, call_ns, seen = (line.period_ns, line.residual_ns), self.plan.calls.call_ns, self.curve.power.seen
        return Shown(self.reads, {**self.troubles}, *moves, self._edges.period.s, line_ns, seen, call_ns)

    @shown.setter
    def shown(self, shown: Shown) -> None:
        self.reads, self.troubles = shown.reads, {**shown.troubles, **self.troubles}
        self._has_register, self._frozen_at_j = shown.has_register, shown.frozen_at_j
        self.curve.power.seen = shown.power
        self._edges.heed(shown.period_s, shown.line_ns)
        self.plan.calls.learn(shown.call_ns)

    @property
    def state(self) -> tuple[Any, ...]:
        """The rest of what polls leave behind, but the curve and the plan; pickle it while the lock is held.

        To be set, with what was :attr:`shown`, where the curve ends as that of the channel does from which it is.
        """
        return self._last_ns, self._edges.state, self._power.state

    @state.setter
    def state(self, state: tuple[Any, ...]) -> None:
        self._last_ns, self._edges.state, self._power.state = state

    def begin_anew(self) -> None:
        """Forget everything but the curve: what the next polls cannot tell of the time since its end is missing."""
        self._edges = CounterEdges(self.curve.info, self.curve, refine=self._refine)
        self._power = PowerIntegral(self.curve.info, self.curve)
        self._quiet_until_ns = 0

    def finish(self) -> None:
        """Place the edges that wait, and fill the time behind the last with the power: no more polls will come."""
        self._edges.finish(self._last_ns)
        if self._has_register and self._frozen_at_j is None:
            self._fill()

    def stalled(self, now_ns: int, why: str = "it does not answer") -> None:
        """Book the time since the last knot as missing: nobody polls this meter, or its read hangs."""
        self._quiet_until_ns = 0
        self._edges.break_off(now_ns)
        self._remember(why, now_ns)

    def _take(self, reading: Reading, power_w: float | None, cost_ns: int) -> None:
        self.reads, self._last_ns = self.reads + 1, reading.end_ns
        self.plan.polled(reading.start_ns, reading.end_ns, cost_ns)
        if self._has_register and reading.register_j is None:
            self._edges.finish()  # from now on its power is read: no edge may come behind that
        self._has_register = reading.register_j is not None
        if power_w is not None and self.info.instant_power:
            self.curve.power.look(power_w)
        moved, note = self._feed_register(reading, power_w) if self._has_register else self._feed_power(reading)
        if note:
            self._remember(note, reading.end_ns)
        outlook = None if self.is_continuous else self._edges.next_edge
        self.plan.go_on(reading.end_ns, outlook, moved=moved, looks=self.curve.power.looks)
        self._quiet_until_ns = 0
        if outlook is not None:
            self._expect_more(reading.end_ns)

    def _expect_more(self, now_ns: int) -> None:
        """Note until when a poll that sees nothing new says no more: then the power is read as well, or it is late."""
        edges, period = self._edges, self._edges.period
        still_ns = edges.still_ns(now_ns)
        if still_ns >= period.late_ns:
            calls = self.plan.calls
            self.plan.come_by(now_ns + max(SLOW_POLL_NS, 2 * calls.floor_ns, 2 * calls.fine_ns(now_ns)))
        if edges.is_waiting and not self.plan.looks:
            beside_ns, since_ns = edges.beside.last_ns + BESIDE_NS, now_ns - still_ns
            late_ns, overdue_ns = since_ns + period.late_ns, since_ns + period.overdue_ns
            if beside_ns > late_ns:
                late_ns = beside_ns
            self._quiet_until_ns = late_ns if late_ns < overdue_ns else overdue_ns

    def _feed_power(self, reading: Reading) -> tuple[bool, str]:
        return self._power.feed(reading), self._power.note

    def _feed_register(self, reading: Reading, power_w: float | None) -> tuple[bool, str]:
        """Take one poll of the register; one that stopped is replaced by the power sensor until it moves again."""
        edges = self._edges
        if self._frozen_at_j is not None and reading.register_j == self._frozen_at_j:
            self._feed_power(replace(reading, register_j=None, power_w=power_w))
            return False, ""
        self._frozen_at_j = None
        if power_w is not None and self._reads_beside(reading.end_ns):
            edges.beside.add(reading.end_ns, power_w)
        next_ns = edges.next_edge.next_edge_ns if self.plan.is_before_edge else None
        moved = edges.feed(reading)
        if moved and next_ns is not None and reading.end_ns < next_ns:
            edges.came_too_soon()
        # what a call that was held up has seen, it may have seen at its begin
        if moved or not edges.still_ns(reading.start_ns) > edges.period.overdue_ns:
            if edges.period.s is None and edges.age_ns(reading.end_ns) > UNSEEN_NS:
                self._fill(edges.first_edge_ns)  # until a first move is seen, the power is all that is known
            return moved, edges.note
        edges.leave()
        if not self._fill():
            edges.break_off(reading.end_ns)
        self._frozen_at_j = reading.register_j
        self._feed_power(replace(reading, register_j=None, power_w=power_w))
        return False, "its energy counter does not move"

    def _fill(self, until_ns: int | None = None) -> bool:
        """Fill the time behind the last knot with the powers that were read there; false where there are none."""
        readings = self._edges.beside.take(self.curve.end_ns or 0, until_ns)
        for i, (time_ns, power_w) in enumerate(readings):
            if i == 0:
                self._power.join(power_w)
            self._power.feed(Reading(time_ns, time_ns, power_w=power_w))
        return bool(readings)

    def _reads_beside(self, now_ns: int) -> bool:
        """Return true while the power is read as well: the register moves rarely, or is late, or not known yet."""
        if not self._has_register or self.is_continuous:
            return False
        return self._edges.still_ns(now_ns) >= self._edges.period.late_ns

    def _wants_power(self, reading: Reading) -> bool:
        """Return true when the power is asked for, too: a register stands still for too long, or a look is planned."""
        look = self.plan.looks and self.plan.take_look()
        register_j, edges = reading.register_j, self._edges
        period = edges.period if self._has_register else Period(self.info.update_period_s)
        if register_j is None or (period.late_ns and self._frozen_at_j is None and edges.is_move(register_j)):
            return look  # a register that moves stood still only because it was polled rarely
        overdue = self._frozen_at_j is not None or edges.still_ns(reading.end_ns) > period.overdue_ns
        return look or overdue or self._wants_beside(reading)

    def _wants_beside(self, reading: Reading) -> bool:
        """Return true where a reading of the power beside the register is due; it counts even if it fails."""
        beside, now_ns = self._edges.beside, reading.end_ns
        if reading.register_j is None or not self._reads_beside(now_ns) or now_ns - beside.last_ns < BESIDE_NS:
            return False
        beside.last_ns = now_ns
        return True

    def _power_beside(self) -> float | None:
        try:
            return believed_w(self.meter.read_power_w())
        except BaseException:  # noqa: BLE001 - same as in poll; the register's fault was reported already
            return None

    def _lost(self, why: str) -> None:
        now_ns = self._clock()
        if (self._edges if self._has_register else self._power).silent(now_ns):
            self._remember(why, now_ns)
        self._frozen_at_j, self._quiet_until_ns = None, 0
        self.plan.retry(now_ns)

    def _remember(self, trouble: str, now_ns: int) -> None:
        """Keep a trouble; those that differ by a number alone are of one kind."""
        if len(self.troubles) < MOST_TROUBLES:
            self.troubles.setdefault(A_NUMBER.sub("#", trouble), (trouble, now_ns))
