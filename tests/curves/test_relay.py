from __future__ import annotations

import json
import random
import threading
from dataclasses import fields, replace

import pytest

from lightning_energy.curves import relay
from lightning_energy.curves.channel import Channel
from lightning_energy.curves.relay import NotedChannel, NotedMeter, Relayed
from lightning_energy.meters import NvmlMeter
from lightning_energy.meters.nvml_watch import Findings
from tests.sim.clock import VirtualClock, drive
from tests.sim.nvml import SimulatedGpu, SimulatedNvml

S = 10**9
UUID = "GPU-00000000-0000-0000-0000-000000000000"


def knots(channel: Channel) -> list[list[float]]:
    """Every figure of a curve."""
    found = channel.curve.knots()
    return [getattr(found, field.name).tolist() for field in fields(found)]


# a counter, one that is late and irregular, one that moves rarely (so that its power is read beside it), none at all,
# and one of which it is found later that it counts a whole module
BOARDS = {
    "counter": {"counter_period_s": 0.1},
    "irregular": {"counter_period_s": 0.05, "jitter_s": 0.004},
    "rare": {"counter_period_s": 1.3},
    "power": {"counter_period_s": None},
    "module": {"module_extra_w": 250.0, "counts_module": True},
}


@pytest.mark.parametrize("board", BOARDS)
def test_a_curve_of_repeated_answers_is_that_of_the_polls_bit_for_bit(board, monkeypatch):
    """Also through a loss, a counter that stands still and another that contradicts the powers."""
    clock, rng = VirtualClock(), random.Random(1)
    monkeypatch.setattr("lightning_energy.meters.nvml.monotonic_ns", clock)
    gpu = SimulatedGpu([(3.1, 300.0), (2.2, 90.0), (0.04, 350.0)], uuid=UUID, **BOARDS[board])
    with SimulatedNvml([gpu], clock=clock):
        meter, ours = NvmlMeter(UUID), NvmlMeter(UUID)
        noted = NotedMeter(meter, clock)
        polled, repeated = NotedChannel(noted, noted.open()), Channel(ours, ours.open(), clock=clock)
        relayed = Relayed(ours, repeated)
        relayed.begin()
        sent = 0

        def run(seconds: float) -> None:
            nonlocal sent
            end_ns = clock.now_ns + round(seconds * S)
            while clock.now_ns < end_ns:
                drive(polled, clock, clock.now_ns + round(rng.uniform(0.01, 0.5) * S), seed=rng.randrange(10**6))
                notes = [note.plain for note in noted.take()]
                sent += len(notes)
                for note in json.loads(json.dumps(notes)):
                    relayed.repeat(note, threading.RLock())

        run(9.0)
        gpu.lose()
        run(0.3)
        gpu.restore()
        run(3.0)
        gpu.lose()
        run(2.0)
        gpu.restore()
        run(3.0)
        gpu.freeze()
        run(9.0)
        gpu.thaw()
        run(2.0)
        gpu.counter_gain = 3.0
        run(56.0)
        polled.finish()
        repeated.finish()
        assert len(polled.curve) > 100
        assert knots(repeated) == knots(polled)
        assert repeated.troubles == polled.troubles
        assert repeated.info == replace(polled.info, condition=None)  # which the thread has found before
        assert (repeated.period_s, repeated.period_residual_s) == (polled.period_s, polled.period_residual_s)
        assert repeated.curve.power_bounds_w() == polled.curve.power_bounds_w()
        assert board == "power" or sent < 0.9 * polled.reads  # most of those that saw nothing new are left out


def test_what_comparisons_have_shown_outlives_notes_that_nobody_took(monkeypatch):
    """The training's process was stopped for so long that notes were dropped, among them that of the finding."""
    monkeypatch.setattr(relay, "MOST_NOTES", 1)
    clock = VirtualClock()
    monkeypatch.setattr("lightning_energy.meters.nvml.monotonic_ns", clock)
    gpu = SimulatedGpu(300.0, uuid=UUID, module_extra_w=250.0, counts_module=True)
    with SimulatedNvml([gpu], clock=clock):
        noted = NotedMeter(NvmlMeter(UUID), clock)
        polled = NotedChannel(noted, noted.open())
        drive(polled, clock, clock.now_ns + 15 * S, seed=1)
        assert Findings.of(noted.meter.findings).module
        notes = noted.take()
        told = [n.answered.findings for n in notes if n.answered is not None and n.answered.findings is not None]
    assert told[-1] == noted.meter.findings
    assert notes[0].answered is not None  # a register that stood still would be that of a note which was dropped
