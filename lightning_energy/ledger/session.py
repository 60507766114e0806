"""One stretch of measuring, from open meters to closed ones."""

from __future__ import annotations

import os
import weakref
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from lightning_energy.curves.channel import Channel
from lightning_energy.curves.period import UNKNOWN_PERIOD_S
from lightning_energy.curves.sampler import Sampler
from lightning_energy.ledger.accounts import OUTSIDE
from lightning_energy.ledger.booker import Booker
from lightning_energy.ledger.elsewhere import Elsewhere
from lightning_energy.ledger.how_shared import HowShared, how_shared
from lightning_energy.ledger.idle import IdleBaseline
from lightning_energy.ledger.ledger import Ledger
from lightning_energy.ledger.trace import Trace
from lightning_energy.ledger.troubles import Sharing, Troubles, clock_notes
from lightning_energy.ledger.watch import Watch
from lightning_energy.meters.base import BOARDS
from lightning_energy.meters.clock import Anchors, monotonic_ns
from lightning_energy.meters.patience import ask
from lightning_energy.meters.units import NS

if TYPE_CHECKING:
    from collections.abc import Callable

    from lightning_energy.curves.power_series import PowerSeries
    from lightning_energy.ledger.accounts import Kind
    from lightning_energy.ledger.booking import Pause
    from lightning_energy.ledger.device_clock import DeviceClock
    from lightning_energy.ledger.idle import AboveIdle
    from lightning_energy.ledger.marks import Inbox
    from lightning_energy.ledger.steps import SumsOfSteps
    from lightning_energy.ledger.totals import Totals
    from lightning_energy.ledger.trace import Columns
    from lightning_energy.meters.base import Meter, MeterInfo, Quality
    from lightning_energy.meters.find import OpenMeters

__all__ = ["Session"]

CLOSE_S = 2.0  # longest wait for meters that are closed
LONGEST_WAIT_S = 0.5  # longest wait for knots that are still to come
LONGEST_DELAY_S = 0.5  # longest further wait for a counter that shows the end late


class _Background(NamedTuple):
    """Everything that works for a session beside the training."""

    sampler: Sampler
    booker: Booker
    elsewhere: Elsewhere | None

    def stop(self) -> list[Meter]:
        """End it all; the meters that a thread which hangs will close."""
        self.booker.end()
        self.sampler.stop()
        self.booker.stop(CLOSE_S)
        if self.elsewhere is not None:
            self.elsewhere.leave()
        return self.sampler.disown()


def _never() -> bool:
    return False


def _nothing() -> None:
    return None


class Session:
    """Meters, their sampler and their ledger, running.

    Attributes:
        started_unix_s: its beginning in seconds since 1970.
        channels: one per device, with its curve, period and latencies.
        ledger: the accounts.
        notes: facts that a reader of the report must know besides the troubles.
        sharing: facts about other programs on its devices, known at the end.

    Args:
        meters: open meters; closed by :meth:`close`.
        device_clock: of the accelerator that works behind the host; ``None`` without one.
        is_over: asked now and then in the background: true once the run has ended, perhaps without a word to us.
        over: called in the background whenever that is true; must not wait.
        abandoned: called in the background once such a run was stopped and its meters were closed.
        trace: true to collect curves and steps for :meth:`take_trace`.
        has_phases: true where steps and gaps are divided into phases.
        helper: true to let a process beside this one share the joules out, where one can be started.

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
        over: Callable[[], None] = _nothing,
        abandoned: Callable[[], None] = _nothing,
        trace: bool = False,
        has_phases: bool = False,
        helper: bool = False,
    ) -> None:
        self._anchors = Anchors()
        self.started_unix_s = self._anchors.started.unix_ns * NS
        self._pid = os.getpid()
        self._meters = meters
        self._device_clock = device_clock
        self.channels = [Channel(meter, info) for meter, info in meters.meters]
        ids = [c.info.device_id for c in self.channels]
        elsewhere = Elsewhere() if helper and self.channels else None
        self.ledger = Ledger(
            [c.curve for c in self.channels],
            device_clock=device_clock,
            on_device=[device_clock is not None and c.info.scope in BOARDS for c in self.channels],
            is_exact=[partial(_is_exact, c) for c in self.channels],
            trace=Trace(ids, self._started_ns, has_phases=has_phases) if trace else None,
            elsewhere=elsewhere,
        )
        self.notes: list[str] = []
        self.sharing: list[str] = []
        self._troubles = Troubles()
        self._sharing = Sharing(self.channels)
        self._idle = IdleBaseline(self.channels, self.ledger.lock)
        self._has_waited = False
        enter = device_clock.enter_thread if device_clock is not None else None
        beat = self.ledger.read_marks if device_clock is not None else None  # its events are few
        watch = Watch(self.ledger, meters, is_over, abandoned, over)
        sampler = watch.sampler = Sampler(self.channels, watch, self.ledger.lock, enter, beat)
        booker = watch.booker = Booker(
            partial(_settle, self.ledger, sampler), enter, partial(_foresee, self.ledger, sampler)
        )
        self._background = _Background(sampler, booker, elsewhere)
        if self.channels:
            booker.start()
        sampler.start()
        # a second net: when neither teardown nor on_exception is called, the thread must not outlive us
        self._finalizer = weakref.finalize(self, _stop, self._background, meters, self._pid)

    @property
    def _sampler(self) -> Sampler:
        return self._background.sampler

    @property
    def _started_ns(self) -> int:
        return self._anchors.started.monotonic_ns

    @property
    def age_s(self) -> float:
        """Seconds since its beginning."""
        return (monotonic_ns() - self._started_ns) * NS

    @property
    def infos(self) -> list[MeterInfo]:
        """The devices that are measured."""
        return [c.info for c in self.channels]

    @property
    def is_power_seen(self) -> bool:
        """False where all power comes from a model: a curve of it would look like data."""
        return any(channel.info.quality != "estimated" for channel in self.channels)

    @property
    def absent(self) -> list[str]:
        """The devices that could not be measured from the start, and a cure for each."""
        return self._meters.absent

    @property
    def is_ours(self) -> bool:
        """False in a forked child, where neither thread nor handles live."""
        return os.getpid() == self._pid

    def announcement(self) -> str:
        """A warning for the beginning, where figures are estimated or devices are left out; else empty."""
        if any(i.quality == "estimated" for i in self.infos):
            why = " ".join(self.absent) or "meters='estimate' was asked for."
            return (
                f"the energy of this run is ESTIMATED by a model of the CPU, not measured. {why} "
                f"Set allow_estimate=False to refuse an estimate"
            )
        return f"not everything can be measured. {' '.join(self.absent)}" if self.absent else ""

    @property
    def inbox(self) -> Inbox:
        """The inbox of the ledger, for hooks that leave marks without a call."""
        return self.ledger.inbox

    def mark(self, code: int) -> None:
        """Let joules belong to an account from now on (0: none)."""
        self.ledger.mark(code)

    def code(self, epoch: int, stage: str, kind: Kind, phase: str = "") -> int:
        """The number that stands for an account in :meth:`mark`."""
        return self.ledger.code(epoch, stage, kind, phase)

    def apart(self, code: int) -> int:
        """A new account beside ``code``, of the same epoch and stage, which :meth:`rename` may move later."""
        return self.ledger.apart(code)

    def rename(self, code: int, stage: str) -> None:
        """Move an account from :meth:`apart`, with all that was and will be booked to it, to another stage."""
        self.ledger.rename(code, stage)

    def totals(self) -> Totals:
        """The contents of the accounts now.

        Waits at most once: a run that asks before the first updates of its sensors were seen (a first epoch of less
        than some 0.2 s) would have no figure at all.
        """
        if self.ledger.is_interrupted:
            return self.ledger.totals()
        now_ns = monotonic_ns()
        if not self._has_waited:
            self._has_waited = True
            if any(c.curve.last_power_w() is None for c in self.channels):
                self._sampler.wait_until_known(now_ns, LONGEST_WAIT_S)
        self._sampler.check(now_ns)
        return self.ledger.totals()

    def ask(self) -> None:
        """Have what a helper has read already put on the curves soon; waits for nothing."""
        self._sampler.ask()

    def catch_up(self) -> None:
        """Have what a helper has read already put on the curves; waits for it a little."""
        self._sampler.catch_up()

    def foresee(self) -> None:
        """Let most of what :meth:`totals` needs in a moment be worked out in the background. Waits for nothing."""
        if self.channels:
            self.ledger.expected.begin()
            self._background.booker.wake_to_foresee()

    def missing(self, totals: Totals) -> list[tuple[str, float, float]]:
        """Stretches of unknown energy: (device, beginning in seconds since 1970, length in seconds)."""
        return [
            (channel.info.device_id, self.started_unix_s + (start_ns - self._started_ns) * NS, (end_ns - start_ns) * NS)
            for channel, spans in zip(self.channels, totals.missing_ns, strict=True)
            for start_ns, end_ns in spans
        ]

    def power(self) -> list[PowerSeries | None]:
        """The power of each device over this session so far, thinned; ``None`` where it is not seen, but modelled."""
        clock, books = self._anchors.until_now(), self.ledger.books
        return [b.power.series(clock) if b.curve.info.quality != "estimated" else None for b in books]

    def how_shared(self, totals: Totals) -> list[HowShared]:
        """The way in which the joules of each device in ``totals`` are shared out between two updates."""
        with self.ledger.lock:
            names = [*self.ledger.classes.names]
        found = []
        for d, channel in enumerate(self.channels):
            contents = totals.fitted(d)
            if contents is None:
                found.append(HowShared("lines", _why_lines(channel, totals.energy(device=d).quality)))
            else:
                found.append(how_shared(contents, names, self._started_ns, totals.accounts))
        return found

    def take_sums_of_steps(self) -> SumsOfSteps | None:
        """The sums of the training steps that became known since the last call; ``None`` when there are none."""
        sums = self.ledger.steps.take_sums()
        if sums is None and self._sampler.failure is not None:  # nobody else takes the marks
            self._sampler.check(monotonic_ns())
            sums = self.ledger.steps.take_sums()
        return sums

    @property
    def steps(self) -> SumsOfSteps:
        """The sums of all training steps that became known so far."""
        return self.ledger.steps.found.sums

    def take_trace(self) -> tuple[Columns, Columns] | None:
        """Curve and steps since the last call; ``None`` when none are collected."""
        return self.ledger.take_trace()

    @property
    def is_traced(self) -> bool:
        """True where curves and steps are collected for :meth:`take_trace`."""
        return self.ledger.trace is not None

    @property
    def traced_rows(self) -> int:
        """The number of rows that wait to be taken by :meth:`take_trace`."""
        return 0 if self.ledger.trace is None else self.ledger.trace.rows

    @property
    def troubles(self) -> list[str]:
        """All sentences that :meth:`new_troubles` has returned."""
        return self._troubles.sentences

    def new_troubles(self) -> list[str]:
        """Sentences about sensors that failed since the last call; each trouble is reported once."""
        return self._troubles.look(self.channels, self._sampler.failure, self.ledger.expected.failure)

    @property
    def idle_w(self) -> dict[str, float | None]:
        """Idle power of each device, by its identity; empty without :meth:`watch_idle`."""
        return {device: None if idle is None else idle.power_w for device, idle in self._idle.power.items()}

    def watch_idle(self, seconds: float) -> None:
        """Watch the power of each idle device, before any account is open. Waits that long.

        A device that is not idle (its power is not steady, or others use it) gets no baseline, but a note.
        """
        self.notes += self._idle.watch(seconds)

    def above_idle(self, totals: Totals) -> AboveIdle | None:
        """Joules above the idle power of all devices; ``None`` when it is not known of one."""
        return self._idle.above(totals)

    def synchronize(self) -> None:
        """Wait for the accelerator, so that a stage ends where its work ends. At changes of stage only."""
        if self._device_clock is not None:
            self._device_clock.synchronize()

    def finish(self) -> None:
        """End the last account now, and wait shortly until its energy is known."""
        self.synchronize()
        self.mark(OUTSIDE)
        now_ns = monotonic_ns()
        periods_s = [c.period_s or UNKNOWN_PERIOD_S for c in self.channels]
        wait_s = min(2.5 * max(periods_s, default=0.0) + 0.05, LONGEST_WAIT_S)
        counters = [c for c in self.channels if not c.is_continuous]
        late_s = 0.0
        if counters:  # a late counter shows the end of the run later
            self._sampler.wait_until_known(now_ns, wait_s, counters)
            late_s = min(self.ledger.latest_s(), LONGEST_DELAY_S)
        self._sampler.finish(now_ns + round(late_s / NS), wait_s + late_s)
        self._background.booker.stop(CLOSE_S)  # it gives up what is under way
        self.ledger.settle(final=True)
        self.notes = [*dict.fromkeys((*self.notes, *clock_notes(self._device_clock)))]
        self.sharing = self._sharing.notes()

    def close(self) -> None:
        """Stop the sampler and close the meters. Idempotent."""
        if self._finalizer.detach() is None or not self.is_ours:
            return
        close = partial(self._meters.close, but=self._background.stop())
        try:
            ask(close, CLOSE_S)
        except TimeoutError:  # the driver hangs: nothing is read from it any more
            pass
        except RuntimeError:  # no thread can be started
            close()


def _is_exact(channel: Channel) -> bool:
    return channel.is_exact


def _why_lines(channel: Channel, quality: Quality) -> str:
    """The reason why a device's joules are shared out by duration alone."""
    if quality == "integrated" or channel.info.quality == "integrated":
        return "it has no counter that could be used: its power was read and summed up"
    return "its counter was seen to move too seldom for more"


def _settle(ledger: Ledger, sampler: Sampler, pause: Pause) -> None:
    sampler.take_news()
    ledger.settle(pause=pause)


def _foresee(ledger: Ledger, sampler: Sampler, pause: Pause) -> None:
    sampler.catch_up()  # else the training thread would wait for it
    ledger.foresee(pause)


def _stop(background: _Background, meters: OpenMeters, pid: int) -> None:
    if os.getpid() == pid:  # a forked child has no thread, and may have inherited a lock that is held
        meters.close(but=background.stop())
