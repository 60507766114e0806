"""How late counters are found to be, by loads that are switched on and off in virtual time."""

from __future__ import annotations

import random
import threading
import time

import pytest

from lightning_energy.commands import lateness
from lightning_energy.commands.lateness import Lateness, find_lateness, take_turns, told_by
from lightning_energy.commands.load import Load, NoLoadError, load_for
from lightning_energy.curves.channel import Channel
from lightning_energy.curves.curve import Curve
from lightning_energy.meters import MeterInfo, NvmlMeter, Reading, ReplayMeter
from tests.sim.clock import VirtualClock
from tests.sim.nvml import Driven, SimulatedGpu, SimulatedNvml
from tests.sim.watched import Slow, drive_all

START_NS = 10**15
IDLE_W, BUSY_W = 60.0, 300.0


def told(monkeypatch, gpu: SimulatedGpu, *, busy_w: float = BUSY_W, call_s: float = 0.00005, seed: int = 0) -> Lateness:
    """What the doctor tells of a board whose power follows the load."""
    clock, wakes = VirtualClock(START_NS), random.Random(seed)
    monkeypatch.setattr("lightning_energy.meters.nvml.monotonic_ns", clock)
    with Slow([gpu], clock, call_s, seed):
        meter = NvmlMeter(gpu.uuid)
        channel = Channel(meter, meter.open(), clock=clock)

        def rest(seconds: float) -> None:
            drive_all([channel], clock, clock.now_ns + round(seconds * 1e9), wakes)

        def work(seconds: float) -> None:
            gpu.set_power(busy_w)
            rest(seconds)
            gpu.set_power(IDLE_W)

        times_ns = take_turns(work, rest, clock=clock, seed=seed)
        channel.finish()
        assert clock.now_ns - START_NS < 15e9
        return told_by(channel.curve.knots(), times_ns, "a load")


@pytest.mark.parametrize("period_s", [0.02, 0.1])
@pytest.mark.parametrize("lag_s", [0.0, 0.04, 0.2])
def test_the_delay_of_a_board(monkeypatch, lag_s, period_s):
    gpu = SimulatedGpu("driven", counter_period_s=period_s, lag_s=lag_s, idle_w=IDLE_W)
    found = told(monkeypatch, gpu)
    assert found.why == ""
    assert found.delay_s + (found.smoothing_s or 0.0) == pytest.approx(lag_s, abs=max(3 * found.delay_u_s, 0.002))
    assert found.delay_u_s < 0.006
    assert found.rest_w == pytest.approx(IDLE_W, rel=0.02)
    assert found.work_w == pytest.approx(BUSY_W, rel=0.02)
    assert (found.look, found.load) == (1.0, "a load")


@pytest.mark.parametrize("period_s", [0.02, 0.1])
def test_the_delay_of_a_board_that_answers_slowly(monkeypatch, period_s):
    gpu = SimulatedGpu("driven", counter_period_s=period_s, lag_s=0.04, idle_w=IDLE_W)
    found = told(monkeypatch, gpu, call_s=0.0034)
    assert found.delay_s == pytest.approx(0.04, abs=2 * found.delay_u_s)
    assert found.delay_u_s < 0.012


@pytest.mark.parametrize("period_s", [0.02, 0.1])
def test_a_board_whose_power_does_not_change(monkeypatch, period_s):
    gpu = SimulatedGpu("driven", counter_period_s=period_s, idle_w=IDLE_W)
    found = told(monkeypatch, gpu, busy_w=IDLE_W)
    assert found.delay_s is None
    assert found.why.startswith("the load made no clear difference: 60 W")


class Register(ReplayMeter):
    """A register of a CPU package, which moves every millisecond."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(info=MeterInfo("package-0", "CPU", "measured", "package", update_period_s=0.001))
        self.clock, self.power = clock, Driven(IDLE_W)

    def read(self) -> Reading:
        start_ns = self.clock()
        return Reading(start_ns, self.clock(), register_j=self.power.energy_j((start_ns - START_NS) // 10**6 * 1e-3))


def test_the_delay_of_a_cpu():
    clock, wakes = VirtualClock(START_NS), random.Random(0)
    meter = Register(clock)
    channel = Channel(meter, meter.open(), clock=clock)

    def rest(seconds: float) -> None:
        drive_all([channel], clock, clock.now_ns + round(seconds * 1e9), wakes)

    def work(seconds: float) -> None:
        meter.power.set((clock.now_ns - START_NS) * 1e-9, BUSY_W)
        rest(seconds)
        meter.power.set((clock.now_ns - START_NS) * 1e-9, IDLE_W)

    times_ns = take_turns(work, rest, clock=clock, seed=0)
    found = told_by(channel.curve.knots(), times_ns, "busy threads")
    assert found.delay_s == pytest.approx(0.0, abs=max(3 * found.delay_u_s, 0.002))
    assert found.delay_u_s < 0.003


class Follows(Load):
    """A load that simulated boards follow; ``trouble`` comes instead of it."""

    what = "a load"

    def __init__(self, gpus, trouble: BaseException | None = None) -> None:
        self.gpus, self.trouble, self.is_closed = gpus, trouble, False

    def run(self, seconds: float) -> None:
        if self.trouble is not None:
            raise self.trouble
        for gpu in self.gpus:
            gpu.set_power(BUSY_W)
        time.sleep(seconds)  # that is the load, not a way to wait for something
        for gpu in self.gpus:
            gpu.set_power(IDLE_W)

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def short(monkeypatch):
    """Turns that take two seconds."""
    monkeypatch.setattr(lateness, "BEFORE_S", 0.3)
    monkeypatch.setattr(lateness, "TURNS", 2)


def boards(*settings: dict) -> list[SimulatedGpu]:
    uuid = "GPU-ffffffff-0000-0000-0000-00000000000{}"
    return [SimulatedGpu("driven", uuid=uuid.format(n), idle_w=IDLE_W, **one) for n, one in enumerate(settings)]


def opened(gpus) -> list[tuple[NvmlMeter, MeterInfo]]:
    meters = [NvmlMeter(gpu.uuid) for gpu in gpus]
    return [(meter, meter.open()) for meter in meters]


def names_of_threads() -> set[str]:
    return {t.name for t in threading.enumerate() if t.name.startswith("lightning-energy")}


@pytest.mark.slow
def test_one_idle_board_of_each_model_is_loaded(short):
    gpus = boards({"name": "A", "pids": [1]}, {"name": "A"}, {"name": "A"}, {"name": "B"}, {"counter_period_s": None})
    loads = []

    def load_for(info: MeterInfo) -> Load:
        if info.name == "B":
            raise NoLoadError("PyTorch does not see it")
        loads.append(Follows(gpus))
        return loads[-1]

    with SimulatedNvml(gpus):
        found = find_lateness(opened(gpus), load_for, None)
    busy, first, second, hidden = found.values()
    assert busy.why == "1 other process(es) compute on it, so no load was added"
    assert first.load == "a load"
    assert second.why == f"it is of the same model as {gpus[1].uuid}, which was put under load"
    assert hidden.why == "PyTorch does not see it"
    assert [load.is_closed for load in loads] == [True]
    assert not names_of_threads()


def test_cpus_that_are_busy_are_left_alone():
    info = MeterInfo("package-0", "CPU package 0", "measured", "package")
    found = find_lateness([(ReplayMeter(info=info), info)], load_for, 0.45)
    assert found == {"package-0": Lateness(why="other programs took 45% of the CPUs' time, so no load was added")}


@pytest.mark.slow
@pytest.mark.parametrize("trouble", [KeyboardInterrupt(), RuntimeError("CUDA error: an illegal memory access")])
def test_a_load_that_is_interrupted_or_fails_leaves_nothing_behind(short, trouble):
    gpus = boards({})
    load = Follows(gpus, trouble)
    with SimulatedNvml(gpus):
        if isinstance(trouble, KeyboardInterrupt):
            with pytest.raises(KeyboardInterrupt):
                find_lateness(opened(gpus), lambda _: load, None)
        else:
            (found,) = find_lateness(opened(gpus), lambda _: load, None).values()
            assert found.why == "the load failed (CUDA error: an illegal memory access)"
    assert load.is_closed
    assert not names_of_threads()


def test_a_counter_that_does_not_move_tells_nothing():
    curve = Curve(MeterInfo("d", "d", "measured", "gpu"))
    assert told_by(curve.knots(), [1, 2]).why == "its counter did not move"
    for k in range(4):
        curve.add(k * 10**9, 60.0 * k)
    assert told_by(curve.knots(), [10**9, 2 * 10**9]).why == "its counter was seen to move 3 times only"
