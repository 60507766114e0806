"""From opened meters to closed ones: one stretch of measuring."""

from __future__ import annotations

import math
import os
import statistics
import threading
import time
import weakref
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from lightning_energy.curves.curve import NS
from lightning_energy.curves.sampler import Channel, Sampler
from lightning_energy.ledger.book import no_pause
from lightning_energy.ledger.ledger import OUTSIDE, Kind, Ledger, Steps, Totals
from lightning_energy.ledger.trace import Trace
from lightning_energy.meters.base import BOARDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from lightning_energy.ledger.device_clock import DeviceClock
    from lightning_energy.meters.base import MeterInfo
    from lightning_energy.meters.find import OpenMeters

__all__ = ["Session", "check_idle", "check_switches"]

PAUSE_S = 0.002  # so that the parts of one booking delay different steps, each by little
LONGEST_WAIT_S = 0.5  # for the last knots, at the end
UNKNOWN_PERIOD_S = 0.1
LOOKS = 10
ENOUGH_LOOKS = 3
ABANDONED_S = 10.0  # others may take a while to clean up before it is our turn
STEADY = 0.1  # an idle device's power strays by less than this share


def check_idle(idle_s: Any) -> None:
    """Seconds to watch idle devices.

    Raises:
        TypeError: no number.
        ValueError: negative or not finite.
    """
    if isinstance(idle_s, bool) or not isinstance(idle_s, (int, float)):
        raise TypeError(f"idle_s={idle_s!r}: give seconds from 0 on, such as 10")
    if not 0 <= idle_s < math.inf:
        raise ValueError(f"idle_s={idle_s!r}: give seconds from 0 on, such as 10")


def check_switches(**switches: Any) -> None:
    """Arguments that are on or off: a text such as ``"no"`` would count as on.

    Raises:
        TypeError: one is neither.
    """
    for name, value in switches.items():
        if not isinstance(value, bool):
            raise TypeError(f"{name}={value!r}: give True or False")


def _never() -> bool:
    return False


def _nothing() -> None:
    return None


class _Watch:
    """Settles the ledger in the sampler's thread, and ends that thread when the run ended without telling.

    When another callback's clean-up fails, Lightning calls neither our ``on_exception`` nor ``teardown``, and its
    signal handlers keep the Trainer alive. Does not know the session, which may be collected meanwhile.
    """

    def __init__(
        self, ledger: Ledger, meters: OpenMeters, is_over: Callable[[], bool], abandoned: Callable[[], None]
    ) -> None:
        self.sampler: Sampler | None = None
        self._ledger, self._meters = ledger, meters
        self._is_over, self._abandoned = is_over, abandoned
        self._over_since_s: float | None = None

    def _let_others_run(self) -> None:
        """Gives up the interpreter's lock, as a training thread that wants it would wait for all of the booking else.

        Once per device, and no counter is read meanwhile: together no longer than for one.
        """
        time.sleep(PAUSE_S / max(len(self._meters.meters), 1))

    def __call__(self) -> None:
        in_thread = self.sampler is not None and self.sampler.is_in_thread
        self._ledger.settle(pause=self._let_others_run if in_thread else no_pause)
        if not self._is_over():
            self._over_since_s = None
            return
        now_s = time.monotonic()
        if self._over_since_s is None:
            self._over_since_s = now_s
        elif now_s - self._over_since_s > ABANDONED_S and self.sampler is not None:
            self.sampler.end()
            self._meters.close()
            self._abandoned()


class Session:
    """Meters, their sampler and their ledger, running.

    Args:
        meters: open meters; closed by :meth:`close`.
        device_clock: of the accelerator that works behind the host; ``None`` without one.
        is_over: asked now and then in the background: whether the run has ended, perhaps without telling us.
        abandoned: called in the background when it has, after everything was stopped and closed.
        trace: whether to collect curves and steps for :meth:`take_trace`.

    Example:
        >>> import torch
        >>> from lightning_energy.meters import ReplayMeter, open_meters
        >>> session = Session(open_meters([ReplayMeter(100.0)], device=torch.device("cpu")))
        >>> session.mark(session.code(0, "train", "step"))
        >>> session.finish()
        >>> session.totals().energy(stage="train").quality
        'measured'
        >>> session.close()
    """

    def __init__(
        self,
        meters: OpenMeters,
        device_clock: DeviceClock | None = None,
        *,
        is_over: Callable[[], bool] = _never,
        abandoned: Callable[[], None] = _nothing,
        trace: bool = False,
    ) -> None:
        self.started_unix_s, self._started_ns = time.time(), time.monotonic_ns()
        self._meters = meters
        self._pid = os.getpid()
        self._seen = False
        self._told: set[str] = set()
        self.troubles: list[str] = []  # all that new_troubles has told
        self.notes: list[str] = []  # what a reader of the report must know besides
        self.idle_w: dict[str, float | None] = {}
        lock = threading.RLock()
        self._channels = [Channel(meter, info) for meter, info in meters.meters]
        self._device_clock = device_clock
        self._ledger = Ledger(
            [c.curve for c in self._channels],
            lock=lock,
            device_clock=device_clock,
            on_device=[device_clock is not None and c.info.scope in BOARDS for c in self._channels],
            trace=Trace([c.info.device_id for c in self._channels], self._started_ns) if trace else None,
        )
        enter = device_clock.enter_thread if device_clock is not None else None
        watch = _Watch(self._ledger, meters, is_over, abandoned)
        self._sampler = watch.sampler = Sampler(self._channels, watch, lock, enter)
        self._sampler.start()
        # a second net: when neither teardown nor on_exception is called, the thread must not outlive us
        self._finalizer = weakref.finalize(self, _stop, self._sampler, meters, self._pid)
        self.inbox = self._ledger.inbox
        self.mark: Callable[[int], None] = self._ledger.mark
        self.code: Callable[[int, str, Kind], int] = self._ledger.code
        self.apart: Callable[[int], int] = self._ledger.apart
        self.rename: Callable[[int, str], None] = self._ledger.rename
        self.take_trace = self._ledger.take_trace

    @property
    def infos(self) -> list[MeterInfo]:
        """What is measured."""
        return [c.info for c in self._channels]

    @property
    def absent(self) -> list[str]:
        """What could not be measured from the start, and what would change that."""
        return self._meters.absent

    def announcement(self) -> str:
        """What must be said at the beginning: that figures are estimated, or what is left out; empty if nothing."""
        if any(i.quality == "estimated" for i in self.infos):
            why = " ".join(self.absent) or "meters='estimate' was asked for."
            return (
                f"the energy of this run is ESTIMATED by a model of the CPU, not measured. {why} "
                f"allow_estimate=False refuses this"
            )
        return f"not everything can be measured. {' '.join(self.absent)}" if self.absent else ""

    @property
    def traced_rows(self) -> int:
        """How many rows wait to be taken."""
        return 0 if self._ledger.trace is None else self._ledger.trace.rows

    @property
    def channels(self) -> list[Channel]:
        """The channels, for who wants to know periods and latencies."""
        return self._channels

    @property
    def is_ours(self) -> bool:
        """False in a forked child, where neither thread nor handles live."""
        return os.getpid() == self._pid

    def totals(self) -> Totals:
        """What the accounts hold now.

        Does not wait, but once: a run that asks before the first updates of its sensors were seen (a first epoch
        of less than some 0.2 s) would have no figure at all.
        """
        now_ns = time.monotonic_ns()
        if not self._seen:
            self._seen = True
            if any(c.curve.last_power_w() is None for c in self._channels):
                self._sampler.wait_until_known(now_ns, LONGEST_WAIT_S)
        self._sampler.check(now_ns)
        return self._ledger.totals()

    def missing(self, totals: Totals) -> list[tuple[str, float, float]]:
        """When the energy of which device is not known: (device, seconds since 1970, how many seconds)."""
        return [
            (channel.info.device_id, self.started_unix_s + (start_ns - self._started_ns) * NS, (end_ns - start_ns) * NS)
            for channel, spans in zip(self._channels, totals.missing_ns, strict=True)
            for start_ns, end_ns in spans
        ]

    def take_steps(self) -> Steps | None:
        """Training steps that became known since the last call."""
        return self._ledger.take_steps()

    def new_troubles(self) -> list[str]:
        """Sentences about sensors that failed since the last call; each trouble is told once."""
        news = []
        for channel in self._channels:
            if channel.trouble is not None and channel.info.device_id not in self._told:
                self._told.add(channel.info.device_id)
                ago_s = (time.monotonic_ns() - channel.trouble_since_ns) * NS
                news.append(
                    f"{channel.info.name} ({channel.info.device_id}): {channel.trouble}, since {ago_s:.1f} s ago. "
                    f"What it spends while it cannot be read is missing from all totals"
                )
        failure = self._sampler.failure
        if failure is not None and "sampler" not in self._told:
            self._told.add("sampler")
            news.append(f"the sampler stopped ({type(failure).__name__}: {failure}): from now on energy is missing")
        self.troubles += news
        return news

    def synchronize(self) -> None:
        """Wait for the accelerator, so that a stage ends where its work ends. At changes of stage only."""
        if self._device_clock is not None:
            self._device_clock.synchronize()

    def watch_idle(self, seconds: float) -> None:
        """Before any account is open: see what each device draws when nothing is asked of it. Waits that long.

        A device that is not idle (its power is not steady, or others use it) gets no baseline, but a note.
        """
        looks: list[list[tuple[int, float, bool]]] = [[] for _ in self._channels]
        for look in range(LOOKS + 1):
            if look:
                threading.Event().wait(seconds / LOOKS)
            with self._ledger.lock:
                for seen, channel in zip(looks, self._channels, strict=True):
                    curve = channel.curve
                    seen.append((curve.end_ns or 0, curve.end_j, curve.last_power_w() is not None))
        for seen, channel in zip(looks, self._channels, strict=True):
            power_w, note = _idle_power_w(channel.info, seen)
            self.idle_w[channel.info.device_id] = power_w
            if note:
                self.notes.append(f"No idle baseline for {channel.info.name}: {note}")

    def above_idle_j(self, totals: Totals) -> float | None:
        """Joules above the idle power of all devices, or ``None`` when it is not known of one."""
        above_j = []
        for d, channel in enumerate(self._channels):
            energy, idle_w = totals.energy(device=d), self.idle_w.get(channel.info.device_id)
            if idle_w is None or energy.energy_j is None:
                return None
            above_j.append(energy.energy_j - idle_w * (energy.duration_s - energy.missing_s))
        return sum(above_j) if above_j else None

    def _look_for_others(self) -> None:
        """Who shares a board shows at the end, too."""
        for channel in self._channels:
            others = None
            with suppress(Exception):  # whatever a meter of the user's does, the books must be closed
                others = channel.meter.other_processes()
            if others and "shared" not in channel.info.note:
                self.notes.append(
                    f"{channel.info.name}: shared with {len(others)} other process(es) at the end; its energy is the "
                    f"whole board's"
                )

    def _tell_of_the_clock(self) -> None:
        clock = self._device_clock
        if clock is None:
            return
        if clock.failure is not None:
            self.notes.append(
                f"The device stopped telling when it reached a mark ({type(clock.failure).__name__}: {clock.failure}): "
                f"steps are cut at the host's times"
            )
        elif clock.half_width_ns is None:
            self.notes.append("The device's clock could not be tied to the host's: steps are cut at the host's times")
        elif clock.lost or clock.unstamped:
            self.notes.append(f"{clock.lost + clock.unstamped} marks have the host's time, not the device's")

    def finish(self) -> None:
        """End the last account now, and wait shortly until what it spent is known."""
        self.synchronize()
        self._look_for_others()
        self.mark(OUTSIDE)
        now_ns = time.monotonic_ns()
        periods_s = [c.period_s or UNKNOWN_PERIOD_S for c in self._channels]
        self._sampler.finish(now_ns, min(2.5 * max(periods_s, default=0.0) + 0.05, LONGEST_WAIT_S))
        self._ledger.settle(final=True)
        self._tell_of_the_clock()

    def close(self) -> None:
        """Stop the sampler and close the meters. Idempotent."""
        if self.is_ours:
            self._finalizer()
        else:
            self._finalizer.detach()


def _idle_power_w(info: MeterInfo, seen: list[tuple[int, float, bool]]) -> tuple[float | None, str]:
    """Power between looks at the end of a curve (time, joules, whether they are known), and why there is none."""
    if info.scope == "board":
        return None, "other programs use it"
    ends = [(time_ns, energy_j) for time_ns, energy_j, known in seen if known]
    steps = [(b[0] - a[0], b[1] - a[1]) for a, b in pairwise(ends) if b[0] > a[0]]
    if len(steps) < ENOUGH_LOOKS:
        return None, "its power could not be seen often enough; watch for longer"
    powers_w = [energy_j / (time_ns * NS) for time_ns, energy_j in steps]
    mean_w = sum(e for _, e in steps) / (sum(t for t, _ in steps) * NS)
    if statistics.pstdev(powers_w) > STEADY * max(mean_w, 1.0):
        return None, f"its power was not steady ({min(powers_w):.0f} to {max(powers_w):.0f} W): it was not idle"
    return mean_w, ""


def _stop(sampler: Sampler, meters: OpenMeters, pid: int) -> None:
    if os.getpid() == pid:  # a forked child has no thread, and may have inherited a lock that is held
        sampler.stop()
        meters.close()
