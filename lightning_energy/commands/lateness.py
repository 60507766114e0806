"""The delay of a counter, told by a load that is switched on and off."""

from __future__ import annotations

import math
import random
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from lightning_energy.commands.load import OF_CPUS, NoLoadError
from lightning_energy.curves.channel import Channel
from lightning_energy.curves.sampler import Sampler
from lightning_energy.ledger.held import Held
from lightning_energy.ledger.sharing.classes import Position
from lightning_energy.ledger.sharing.delay import Belief
from lightning_energy.meters.base import MeterError
from lightning_energy.meters.clock import monotonic_ns

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lightning_energy.commands.load import Load
    from lightning_energy.curves.curve import Knots
    from lightning_energy.meters.base import Meter, MeterInfo

__all__ = ["Lateness", "find_lateness", "take_turns", "told_by"]

TURNS = 10
WORK_S, REST_S = (0.3, 0.5), (0.5, 0.7)  # bounds of each: any length, or the turns might keep step with the counter
BEFORE_S, AFTER_S = 1.2, 0.6  # rest in which the counter's period is learned, and in which a late one shows the end
MOST_U_S = 0.02  # uncertainty of a delay from which on it counts as not told
BLURRED = 3.0  # half brackets of the updates' times up to which smoothing may be what these blur
SHORT_S = 0.0005  # smoothing over less is none
TOO_BUSY = 0.2  # share of the CPUs' time that other programs take, from which on no load is added
REST, WORK = 0, 1


@dataclass(frozen=True)
class Lateness:
    """The time between an energy and the update of a counter that shows it, or the reason why it is not known.

    Attributes:
        delay_s: that time in seconds; ``None`` where it is not known, as all that follows.
        delay_u_s: its standard uncertainty (k=1).
        smoothing_s: time constant of the counter's smoothing in seconds; ``None`` as well where its updates are not
            seen sharply enough to tell, which is in the uncertainty of the delay.
        smoothing_u_s: its standard uncertainty.
        look: part of each period that the sensor looks at.
        rest_w: mean power without the load, in watts.
        work_w: mean power with it.
        load: the load, in words; empty where none was made.
        why: the reason why the delay is not known; empty where it is.
    """

    delay_s: float | None = None
    delay_u_s: float | None = None
    smoothing_s: float | None = None
    smoothing_u_s: float | None = None
    look: float | None = None
    rest_w: float | None = None
    work_w: float | None = None
    load: str = ""
    why: str = ""


def find_lateness(
    opened: Sequence[tuple[Meter, MeterInfo]], load_for: Callable[[MeterInfo], Load], others: float | None
) -> dict[str, Lateness]:
    """Find the delay of every counter by a load of its device. Takes some twelve seconds for each of the loads.

    Of boards of one model, the first that can be loaded is.

    Args:
        opened: open meters, each with its description. Nothing else reads them meanwhile.
        load_for: makes a load of a meter's device.
        others: share of the machine's CPU time that other programs take; ``None`` unknown.

    Returns:
        By the identity of the device; without those that have no counter.
    """
    found: dict[str, Lateness] = {}
    told: dict[str, str] = {}  # names of models, and the device of each that was loaded
    counters = [(meter, info) for meter, info in opened if info.quality == "measured"]
    cpus = [(meter, info) for meter, info in counters if info.scope in OF_CPUS]
    groups = [[one] for one in counters if one[1].scope not in OF_CPUS] + [cpus] * bool(cpus)
    for group in groups:
        info = group[0][1]
        if info.name in told and info.scope not in OF_CPUS:
            why = f"it is of the same model as {told[info.name]}, which was put under load"
            found[info.device_id] = Lateness(why=why)
            continue
        try:
            _check_free(group, others)
            load = load_for(info)
            load.prepare()
        except NoLoadError as error:
            found |= {info.device_id: Lateness(why=str(error)) for _, info in group}
            continue
        told[info.name] = info.device_id
        try:
            found |= _under(load, group)
        except RuntimeError as error:  # of the device; Ctrl-C goes on to the caller
            why = f"the load failed ({str(error).splitlines()[0]})"
            found |= {info.device_id: Lateness(load=load.what, why=why) for _, info in group}
        finally:
            load.close()
    return found


def take_turns(
    work: Callable[[float], None],
    rest: Callable[[float], None] = time.sleep,
    *,
    clock: Callable[[], int] = monotonic_ns,
    seed: int | None = None,
) -> list[int]:
    """Rest, then work and rest in turns of any length, and end with rest.

    Args:
        work: keeps the device busy for so many seconds.
        rest: leaves it alone for so many seconds.
        clock: the monotonic clock in nanoseconds.
        seed: of the lengths.

    Returns:
        The times at which work began and ended, in turns.
    """
    rng = random.Random(seed)  # noqa: S311 - against phase locking, not secrecy
    times_ns: list[int] = []
    rest(BEFORE_S)
    for _ in range(TURNS):
        rest(rng.uniform(*REST_S))
        times_ns.append(clock())
        work(rng.uniform(*WORK_S))
        times_ns.append(clock())
    rest(AFTER_S)
    return times_ns


def told_by(knots: Knots, times_ns: Sequence[int], load: str = "") -> Lateness:
    """The delay that a counter's updates show, found as in a training.

    Args:
        knots: the points of its curve.
        times_ns: the times at which work began and ended, in turns.
        load: the load, in words.
    """
    kinds = np.tile([WORK, REST], len(times_ns) // 2)
    marks_ns = np.array(times_ns, dtype=np.int64)
    held = Held.empty().followed_by(knots, marks_ns, kinds, kinds, Position())
    if not held.n:
        return Lateness(load=load, why="its counter did not move")
    origin_ns = int(knots.time_ns[0])
    stretch = held.stretch(origin_ns, np.array([REST, WORK]), origin_ns)
    found = Belief().find(stretch)
    if found is None:
        return Lateness(load=load, why=f"its counter was seen to move {held.n} times only")
    known = stretch.is_known
    seconds = found.kernel.seconds(stretch.knot_s, stretch.classes)[0][known]
    rest_w, work_w = (float(w) for w in np.linalg.lstsq(seconds, stretch.rise_j[known], rcond=None)[0])
    u_s = found.u_lag_s * math.sqrt(found.widening)
    if u_s > MOST_U_S or work_w <= rest_w:
        why = f"the load made no clear difference: {work_w:.3g} W with it, {rest_w:.3g} W without"
        return Lateness(rest_w=rest_w, work_w=work_w, load=load, why=why)
    delay_s, smoothing_s, look = (float(x) for x in found.kernel)
    told = Lateness(delay_s, u_s, smoothing_s, found.u_ema_s, look, rest_w, work_w, load)
    if SHORT_S < smoothing_s <= BLURRED * float(stretch.half_s.mean()):
        return replace(
            told,
            delay_s=delay_s + smoothing_s,
            delay_u_s=math.hypot(u_s, smoothing_s),
            smoothing_s=None,
            smoothing_u_s=None,
        )
    return told


def _check_free(group: Sequence[tuple[Meter, MeterInfo]], others: float | None) -> None:
    """Refuse to load a device that others use.

    Raises:
        NoLoadError: others use it.
    """
    for meter, info in group:
        if info.scope in OF_CPUS:
            if others is not None and others > TOO_BUSY:
                raise NoLoadError(f"other programs took {others:.0%} of the CPUs' time, so no load was added")
            continue
        try:
            processes = meter.other_processes()
        except MeterError as error:
            raise NoLoadError(str(error)) from error
        if processes:
            raise NoLoadError(f"{len(processes)} other process(es) compute on it, so no load was added")


def _under(load: Load, group: Sequence[tuple[Meter, MeterInfo]]) -> dict[str, Lateness]:
    """Watch meters while a load of their device is switched on and off."""
    channels = [Channel(meter, info) for meter, info in group]
    sampler = Sampler(channels, lambda: None)
    sampler.start()
    try:
        times_ns = take_turns(load.run)
    finally:
        sampler.stop()
    for channel in channels:
        channel.finish()
    return {c.info.device_id: told_by(c.curve.knots(), times_ns, load.what) for c in channels}
