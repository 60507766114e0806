"""A diagnosis of this machine: its meters, how well they measure, and the remedies for those that cannot be read."""

from __future__ import annotations

import os
import platform
import random
import statistics
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from lightning_energy._version import __version__
from lightning_energy.commands.lateness import find_lateness
from lightning_energy.curves.channel import Channel
from lightning_energy.curves.period import CONTINUOUS_S
from lightning_energy.curves.sampler import Sampler
from lightning_energy.meters.base import MeterError, MeterUnavailable
from lightning_energy.meters.clock import monotonic_ns
from lightning_energy.meters.find import FALLBACK, SOURCES
from lightning_energy.meters.other_programs import OtherPrograms
from lightning_energy.meters.units import NS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lightning_energy.commands.lateness import Lateness
    from lightning_energy.commands.load import Load
    from lightning_energy.meters.base import Meter, MeterInfo, Quality, Scope, Source

__all__ = ["Check", "Diagnosis", "diagnose"]

SECONDS = 1.5  # a dozen updates of the slowest counters
LONGER_S = 20.0  # longest time to watch on until it shows whether a counter covers a whole module
LOOK_S = 0.02
BURST_S = 0.05
ENOUGH_LOOKS = 10
ENOUGH_CHANGES = 4
DISAGREE = 0.2  # counter and power sensor: users saw 187 against 327 J, others within 1 %
SIGMAS = 3.0


@dataclass(frozen=True)
class Check:
    """A meter that can be read here, and how it behaved while it was watched.

    Attributes:
        name: the name of the device for a person.
        device_id: its identity within this machine.
        quality: quality of its joules.
        scope: the parts of the machine that they cover.
        power_w: mean power in watts while it was watched; ``None`` when it could not be seen.
        period_s: time between two updates in seconds, measured; ``None`` when it shows none.
        residual_s: distance of updates from that period in seconds (80 % of them are nearer); ``None`` unknown.
        latency_s: duration of one read in seconds (median).
        calibration_u: relative standard uncertainty (k=1) of its gain.
        coverage: share of time the sensor looks at; ``None`` unknown.
        notes: warnings for a reader of its figures.
        lateness: how late its counter shows energy, where that was looked for.
    """

    name: str
    device_id: str
    quality: Quality
    scope: Scope
    power_w: float | None
    period_s: float | None
    residual_s: float | None
    latency_s: float | None
    calibration_u: float
    coverage: float | None
    notes: tuple[str, ...] = ()
    lateness: Lateness | None = None

    @property
    def is_sensor(self) -> bool:
        """True for a sensor that showed something, so for no estimate."""
        return self.quality != "estimated" and self.power_w is not None


@dataclass(frozen=True)
class Diagnosis:
    """The findings on this machine.

    Attributes:
        meters: the meters that can be read.
        absent: the others, in sentences with their remedies.
        drivers: names and versions of the vendors' drivers.
        python: version of Python.
        system: the operating system.
        version: version of this package.
        visible: ``CUDA_VISIBLE_DEVICES``, if set.
    """

    meters: list[Check] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    drivers: list[str] = field(default_factory=list)
    python: str = field(default_factory=platform.python_version)
    system: str = field(default_factory=platform.platform)
    version: str = __version__
    visible: str | None = None

    @property
    def is_measured(self) -> bool:
        """True when anything is measured, so that no estimate is needed: a sensor that shows nothing does not count."""
        return any(meter.is_sensor for meter in self.meters)

    def to_plain(self) -> dict[str, Any]:
        """The same as plain types, for JSON."""
        return {**asdict(self), "is_measured": self.is_measured}


def diagnose(
    seconds: float = SECONDS,
    *,
    sources: Sequence[Source] = (*SOURCES, FALLBACK),
    load_for: Callable[[MeterInfo], Load] | None = None,
) -> Diagnosis:
    """Open every meter of this machine, watch them together for a moment, and return the findings.

    Args:
        seconds: time to watch them, in seconds.
        sources: the vendors to look for.
        load_for: makes a load of a meter's device, by which the delay of its counter is found; ``None``: no load is
            made, and no delay is looked for.

    Example:
        >>> diagnose(0.2).meters[-1].quality
        'estimated'
    """
    surveys = [source.survey() for source in sources]
    absent = [text for survey in surveys for text in survey.absent]
    notes = {device: text for survey in surveys for device, text in survey.notes.items()}
    opened: list[tuple[Meter, MeterInfo]] = []
    try:
        for meter in (meter for survey in surveys for meter in survey.meters):
            try:
                opened.append((meter, meter.open()))
            except MeterUnavailable as error:
                absent.append(str(error))
        others = None if load_for is None else OtherPrograms()
        channels, looks = _watch(opened, seconds)
        checks = [_check(c, look, notes.get(c.info.device_id)) for c, look in zip(channels, looks, strict=True)]
        if others is not None and load_for is not None:
            late = find_lateness([(c.meter, c.info) for c in channels], load_for, others.share())
            checks = [replace(check, lateness=late.get(check.device_id)) for check in checks]
    finally:
        for meter, _ in opened:
            meter.close()
    drivers = [survey.driver for survey in surveys if survey.driver]
    return Diagnosis(checks, absent, drivers, visible=os.environ.get("CUDA_VISIBLE_DEVICES"))


def _watch(opened: Sequence[tuple[Meter, MeterInfo]], seconds: float) -> tuple[list[Channel], list[list[float]]]:
    """Let the sampler watch all meters, and look at the boards' power beside it: watts, for each meter."""
    channels = [Channel(meter, info) for meter, info in opened]
    sampler = Sampler(channels, lambda: None)
    looks: list[list[float]] = [[] for _ in opened]
    witnesses = _witnesses(opened)
    sampler.start()
    try:
        end_s = time.monotonic() + seconds
        rng = random.Random(0)  # noqa: S311 - looks at random moments, so that they do not beat with the load
        while (left_s := _left_s(end_s, channels)) > 0:
            for seen, witness in zip(looks, witnesses, strict=True):
                with suppress(MeterError):
                    power_w = witness.read_power_w() if witness else None
                    if power_w is not None:
                        seen.append(power_w)
            time.sleep(min(left_s, 2 * LOOK_S * rng.random()))
    finally:
        sampler.stop()
        for witness in witnesses:
            if witness:
                witness.close()
    for channel in channels:
        channel.finish()  # of a counter that moves rarely, the power beside it shows what it does
    return channels, looks


def _left_s(end_s: float, channels: Sequence[Channel]) -> float:
    """Seconds to go on watching: longer where it is not known yet what a counter covers."""
    left_s = end_s - time.monotonic()
    if left_s > 0 or all(channel.info.scope_known for channel in channels):
        return left_s
    return left_s + LONGER_S


def _witnesses(opened: Sequence[tuple[Meter, MeterInfo]]) -> list[Meter | None]:
    """Open a second pair of eyes on each device with a counter and an instantaneous power sensor."""
    witnesses: list[Meter | None] = []
    for meter, info in opened:
        witness = None
        if info.instant_power and info.quality == "measured":
            with suppress(MeterUnavailable):
                witness = meter.twin()
                witness.open()
        witnesses.append(witness)
    return witnesses


def _check(channel: Channel, looks_w: list[float], note: str | None) -> Check:
    info, curve = channel.info, channel.curve
    known = curve.start_ns is not None and curve.end_ns is not None and curve.start_ns < curve.end_ns
    power_w = curve.energy_between(curve.start_ns or 0, curve.end_ns or 0).power_w if known else None
    check = Check(
        name=info.name,
        device_id=info.device_id,
        quality=info.quality,
        scope=info.scope,
        power_w=power_w,
        period_s=channel.period_s,
        residual_s=channel.period_residual_s,
        latency_s=statistics.median(channel.plan.calls.latency_ns) * NS if channel.reads else None,
        calibration_u=info.calibration_u,
        coverage=info.coverage,
        notes=tuple(_notes(channel, looks_w, power_w, note)),
    )
    if info.quality == "estimated":
        return replace(check, period_s=None, residual_s=None)
    if info.update_period_s is not None and info.update_period_s <= CONTINUOUS_S:
        return replace(check, period_s=_burst_period_s(channel.meter), residual_s=None)
    return check


def _burst_period_s(meter: Meter) -> float | None:
    """Measure the time between two changes of a register that changes faster than a sampler should look."""
    changes, last = [], None
    end_ns = monotonic_ns() + round(BURST_S / NS)
    while monotonic_ns() < end_ns:
        try:
            reading = meter.read()
        except MeterError:
            return None
        if reading.register_j != last:
            changes.append(reading.start_ns)
        last = reading.register_j
    changes = changes[1:]  # the first is no change
    return (changes[-1] - changes[0]) * NS / (len(changes) - 1) if len(changes) >= ENOUGH_CHANGES else None


def _notes(channel: Channel, looks_w: list[float], power_w: float | None, note: str | None) -> list[str]:
    info = channel.info
    notes = [text for text in (info.note, note) if text]
    if info.coverage is not None and info.coverage < 1:
        notes.append(
            f"its power sensor looks at about {100 * info.coverage:.0f} % of the time: steps whose duration is near "
            f"its period alias, and the report says when they do"
        )
    if channel.trouble is not None:
        notes.append(f"it failed while it was watched: {channel.trouble}")
    disagreement = _disagreement(looks_w, power_w)
    return [*notes, disagreement] if disagreement else notes


def _disagreement(looks_w: list[float], power_w: float | None) -> str | None:
    """Warn of a counter that disagrees with its power sensor.

    Some count half of what the sensor shows; nothing here says which one is right.
    """
    if power_w is None or len(looks_w) < ENOUGH_LOOKS:
        return None
    mean_w = statistics.fmean(looks_w)
    scatter_w = statistics.stdev(looks_w) / len(looks_w) ** 0.5
    if abs(mean_w - power_w) <= max(DISAGREE * mean_w, SIGMAS * scatter_w):
        return None
    return (
        f"its counter says {power_w:.0f} W and its power sensor {mean_w:.0f} W in the same time: one of them is wrong; "
        f"compare with a wall meter, and correct with CalibratedMeter"
    )
