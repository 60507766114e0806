"""Boards that follow a training, watched by the real channels through NVML's C interface, in virtual time."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING
from unittest.mock import patch

from lightning_energy.curves.channel import Channel
from lightning_energy.curves.energy import MISSING
from lightning_energy.curves.poller import FULL_CHANNELS, TOGETHER_NS
from lightning_energy.meters import NvmlMeter
from lightning_energy.meters.units import NS
from tests.sim.clock import VirtualClock
from tests.sim.nvml import SimulatedGpu, SimulatedNvml
from tests.sim.virtual_run import START_NS, Seen

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from tests.sim.virtual_run import Pieces, Sensor

AGE_S = 10.0  # of a board when it is found
LATE_S = 0.0003  # longest lateness of a poll, as a thread wakes up late
FAST_CALL_S = 0.00005


class Slow(SimulatedNvml):
    """A library whose calls take virtual time; the board is looked at somewhere in it.

    Args:
        gpus: the boards.
        clock: the clock that calls move.
        call_s: mean duration of a call.
        seed: of the durations.
    """

    def __init__(self, gpus: Sequence[SimulatedGpu], clock: VirtualClock, call_s: float, seed: int) -> None:
        super().__init__(gpus, clock=clock)
        self._now, self._call_s, self._rng = clock, call_s, random.Random(seed)

    def _counted(self, name, function):
        call = super()._counted(name, function)
        if name not in {"nvmlDeviceGetTotalEnergyConsumption", "nvmlDeviceGetPowerUsage", "nvmlDeviceGetFieldValues"}:
            return call

        def slowly(*arguments) -> int:
            call_ns, before = self._call_s * self._rng.uniform(0.7, 1.3) / NS, self._rng.random()
            self._now.now_ns += round(call_ns * before)
            result = call(*arguments)
            self._now.now_ns += round(call_ns * (1 - before))
            return result

        return slowly


def drive_all(channels: Sequence[Channel], clock: VirtualClock, until_ns: int, rng: random.Random) -> None:
    """Poll channels as one thread of the sampler does, until a moment."""
    lock = threading.RLock()
    while True:
        wake_ns = max(min(c.plan.due_ns + c.plan.slack_ns for c in channels), clock.now_ns)
        wake_ns += round(rng.random() * LATE_S / NS)
        if wake_ns > until_ns:
            break
        clock.now_ns = wake_ns
        together_ns = wake_ns + TOGETHER_NS
        due = [c for c in channels if c.plan.due_ns <= together_ns]
        for channel in sorted(due, key=lambda c: c.plan.due_ns):
            channel.poll(lock)
    clock.now_ns = max(clock.now_ns, until_ns)


def board(pieces: Pieces, sensor: Sensor, rng: np.random.Generator, number: int = 0) -> SimulatedGpu:
    """A board with the power of a training, and a counter with the delay and the period of ``sensor``."""
    (first_s, first_w), *rest = zip(pieces.duration_s.tolist(), pieces.power_w.tolist(), strict=True)
    return SimulatedGpu(
        [(AGE_S + first_s, first_w), *rest, (1e6, rest[-1][1])],
        uuid=f"GPU-eeeeeeee-0000-0000-0000-{number:012}",
        counter_period_s=sensor.update_s,
        phase_s=float(rng.uniform(0, sensor.update_s)),
        jitter_s=sensor.jitter_s,
        lag_s=sensor.lag_s,
        limit_w=500.0,
    )


def by_channels(call_s: float = FAST_CALL_S, boards: list[SimulatedGpu] | None = None):
    """A way to watch boards, for :func:`~tests.sim.virtual_run.play`: real channels, real meters, one thread's plan.

    Args:
        call_s: mean duration of a call.
        boards: takes the boards, for those who look at them, too.
    """
    kept = boards

    def watch(rng: np.random.Generator, boards: Sequence[Pieces], sensor: Sensor, watch_s: float) -> list[Seen]:
        clock = VirtualClock(START_NS)
        gpus = [board(pieces, sensor, rng, number) for number, pieces in enumerate(boards)]
        if kept is not None:
            kept.extend(gpus)
        end_s = float(boards[0].duration_s[:-1].sum())
        wakes = random.Random(int(rng.integers(10**6)))
        with (
            patch("lightning_energy.meters.nvml.monotonic_ns", clock),
            Slow(gpus, clock, call_s, int(rng.integers(10**6))),
        ):
            for gpu in gpus:
                gpu.start_ns = START_NS - round(AGE_S / NS)
            meters = [NvmlMeter(gpu.uuid) for gpu in gpus]
            channels = [Channel(meter, meter.open(), clock=clock) for meter in meters]
            for channel in channels:
                channel.plan.hunts_always = len(channels) <= FULL_CHANNELS
            drive_all(channels, clock, START_NS + round(end_s / NS), wakes)
            for channel in channels:
                channel.plan.hurry()
            drive_all(channels, clock, START_NS + round(watch_s / NS), wakes)
            for channel in channels:
                channel.finish()
        return [_seen(channel) for channel in channels]

    return watch


def _seen(channel: Channel) -> Seen:
    knots = channel.curve.knots()
    if MISSING in knots.quality:
        raise ValueError(f"some energy is missing: {channel.trouble}")
    time_s: NDArray[np.float64] = (knots.time_ns - START_NS) * NS
    return Seen(time_s, knots.energy_j, knots.half_width_ns * NS)
