"""Boards whose readings are compared while they are read, along a virtual clock: a simulated NVML, the real pynvml."""

from __future__ import annotations

import pytest
import torch

from lightning_energy.curves.channel import Channel
from lightning_energy.meters import MeterUnavailable, NvmlMeter, find, nvml, open_meters
from lightning_energy.meters.nvml import NvmlSource
from lightning_energy.meters.nvml_watch import Findings
from lightning_energy.meters.rapl import RaplSource
from tests.sim.clock import VirtualClock, drive
from tests.sim.nvml import SimulatedGpu, SimulatedNvml
from tests.sim.sysfs import Powercap, let_move

A = "GPU-aaaaaaaa-0000-0000-0000-000000000000"
S = 10**9
TRAINING = [(0.17, 350.0), (0.05, 80.0)]  # 288.6 W


@pytest.fixture
def clock(monkeypatch):
    """A clock that both the meter and the simulated boards go by."""
    clock = VirtualClock()
    monkeypatch.setattr(nvml, "monotonic_ns", clock)
    return clock


def watched(clock, gpu, seconds, *, seed=0):
    """The channel of a board after some time of reading, the true joules, and the calls that this took."""
    with SimulatedNvml([gpu], clock=clock) as library:
        meter = NvmlMeter(A)
        channel = Channel(meter, meter.open(), clock=clock)
        begin_ns = clock.now_ns
        drive(channel, clock, begin_ns + round(seconds * S), seed=seed)
        channel.finish()
        meter.close()
    return channel, gpu.true_energy_j(channel.curve.start_ns, channel.curve.end_ns), library.calls


def energy(channel):
    return channel.curve.energy_between(channel.curve.start_ns, channel.curve.end_ns)


@pytest.mark.parametrize("power", [300.0, 60.0, TRAINING, [(8.0, 60.0), (30.0, 400.0)]])
@pytest.mark.parametrize("period_s", [0.05, 0.1, None])
def test_a_board_in_order_is_left_alone(clock, power, period_s):
    gpu = SimulatedGpu(power, uuid=A, counter_period_s=period_s)
    channel, *_ = watched(clock, gpu, 20.0)
    assert channel.info.quality == ("integrated" if period_s is None else "measured")
    assert channel.info.instant_power
    assert "contradicts" not in channel.info.note
    assert "one of them is wrong" not in channel.info.note


@pytest.mark.parametrize("period_s", [0.1, None])
@pytest.mark.parametrize("power", [300.0, TRAINING, [(3.0, 60.0), (30.0, 400.0)]])
def test_an_instantaneous_power_that_is_stuck_is_not_used(clock, power, period_s):
    gpu = SimulatedGpu(power, uuid=A, counter_period_s=period_s)
    gpu.instant = lambda _: 1.0
    channel, true_j, _ = watched(clock, gpu, 20.0)
    assert not channel.info.instant_power
    assert "its instantaneous power contradicts its other readings" in channel.info.note
    assert channel.info.quality == ("integrated" if period_s is None else "measured")
    measured = energy(channel)
    assert measured.missing_s == 0
    assert measured.energy_j == pytest.approx(true_j, rel=0.02)
    low_w, high_w = channel.curve.power_bounds_w()
    assert low_w == 0.0 or low_w > 20.0
    assert high_w > 300.0


def test_an_instantaneous_power_that_becomes_stuck_is_found_now_and_then(clock):
    gpu = SimulatedGpu(300.0, uuid=A)
    gpu.instant = lambda at_s: 300.0 if at_s < 30.0 else 1.0
    channel, *_ = watched(clock, gpu, 100.0)
    assert "its instantaneous power contradicts its other readings" in channel.info.note


@pytest.mark.parametrize("gain", [0.0, 0.1, 5.0])
def test_a_counter_that_both_powers_contradict_is_not_used(clock, gain):
    gpu = SimulatedGpu(TRAINING, uuid=A, counter_gain=gain, limit_w=1000.0)
    channel, *_ = watched(clock, gpu, 20.0)
    if gain:
        assert "its energy counter contradicts both of its power readings" in channel.info.note
        assert channel.info.quality == "integrated"
    else:
        assert channel.trouble == "its energy counter does not move"
    late = channel.curve.energy_between(channel.curve.end_ns - 10 * S, channel.curve.end_ns)
    assert late.quality == "integrated"
    assert late.energy_j == pytest.approx(
        gpu.true_energy_j(channel.curve.end_ns - 10 * S, channel.curve.end_ns), rel=0.1
    )


def test_a_counter_and_a_sensor_that_differ_a_little_are_said_to(clock):
    channel, *_ = watched(clock, SimulatedGpu(200.0, uuid=A, counter_gain=1.3), 10.0)
    assert channel.info.quality == "measured"
    assert "its counter and its power sensor differ by more than 20 %" in channel.info.note


def test_a_counter_that_is_reset_or_leaps_is_no_contradiction(clock):
    for offset_j in (-1000.0, 1e7):
        gpu = SimulatedGpu(300.0, uuid=A)
        with SimulatedNvml([gpu], clock=clock):
            meter = NvmlMeter(A)
            channel = Channel(meter, meter.open(), clock=clock)
            drive(channel, clock, clock.now_ns + 2 * S)
            gpu.offset_j += offset_j
            drive(channel, clock, clock.now_ns + 20 * S)
        assert channel.info.quality == "measured"
        assert "contradicts" not in channel.info.note


def test_comparing_is_cheap(clock):
    *_, calls = watched(clock, SimulatedGpu(300.0, uuid=A), 150.0)
    # two calls per look, ten looks a second, five seconds of every 65: three watches
    assert calls["nvmlDeviceGetPowerUsage"] < 200
    assert calls["nvmlDeviceGetTotalEnergyConsumption"] > 1_500  # every update was seen


def test_a_sensor_that_is_late_is_as_uncertain(clock):
    """A run at 350 W that begins and ends within its board's busy time, told a second late."""
    gpu = SimulatedGpu([(10.4, 70.0), (30.0, 350.0)], uuid=A, counter_period_s=None)
    power_w = gpu.power.power_w
    gpu.instant = gpu.average = lambda at_s: power_w(at_s - 1.0)
    channel, true_j, _ = watched(clock, gpu, 3.0)
    told = energy(channel)
    assert told.quality == "integrated"
    assert true_j - told.energy_j > 250.0
    assert true_j - told.energy_j <= 2.0 * told.u_j


@pytest.mark.parametrize("nothing_w", [0.0, 4294967.295])  # no power, and NVML's number for "not available"
def test_a_sensor_that_shows_nothing_is_none(clock, nothing_w):
    gpu = SimulatedGpu(300.0, uuid=A, counter_period_s=None)
    gpu.instant = gpu.average = lambda _: nothing_w
    with SimulatedNvml([gpu], clock=clock), pytest.raises(MeterUnavailable, match="it reads (0 W|N/A)"):
        NvmlMeter(A).open()
    gpu.average = None  # one of the two is in order
    channel, true_j, _ = watched(clock, gpu, 10.0)
    assert energy(channel).energy_j == pytest.approx(true_j, rel=0.01)
    gpu.average = lambda at_s: 300.0 if at_s < 12.0 else nothing_w
    channel, true_j, _ = watched(clock, gpu, 10.0)
    assert energy(channel).missing_s == pytest.approx(8.0, abs=0.5)
    assert "it reads" in channel.trouble


# --------------------------------------------------------------------------------------- modules of GPU and CPU


def module(counts_module, power=300.0, **kwargs):
    return SimulatedGpu(power, uuid=A, module_extra_w=150.0, counts_module=counts_module, limit_w=900.0, **kwargs)


@pytest.mark.parametrize("counts_module", [True, False])
@pytest.mark.parametrize("power", [60.0, TRAINING])
@pytest.mark.parametrize("period_s", [0.02, 0.1])
@pytest.mark.parametrize("seed", range(4))
def test_what_a_counter_covers_is_found_out_while_it_is_read(clock, counts_module, power, period_s, seed):
    """All are right, where a quarter of a second at the beginning had thirteen of thirty."""
    gpu = module(counts_module, power, counter_period_s=period_s, phase_s=0.017 * seed)
    channel, *_ = watched(clock, gpu, 5.0 if power == 60.0 else 20.0, seed=seed)
    assert channel.info.scope_known
    assert channel.info.scope == ("module" if counts_module else "gpu")
    assert channel.info.per_node == counts_module
    assert ("whole module" in channel.info.note) == counts_module


@pytest.mark.parametrize("counts_module", [True, False])
def test_a_module_whose_gpu_tells_no_power_of_its_own(clock, counts_module):
    gpu = module(counts_module, has_gpu_scope=False)
    gpu.average = lambda _: 450.0  # the ordinary power may be the module's, too
    channel, *_ = watched(clock, gpu, 10.0)
    assert (channel.info.scope, channel.info.scope_known) == ("module" if counts_module else "gpu", True)


def test_a_counter_like_neither_is_said_to_be(clock):
    channel, *_ = watched(clock, module(counts_module=False, counter_gain=1.25), 100.0)
    assert not channel.info.scope_known
    assert "cannot be told yet" in channel.info.note


def test_opening_waits_for_nothing(clock):
    with SimulatedNvml([module(counts_module=True)], clock=clock):
        begin_ns = clock.now_ns
        info = NvmlMeter(A).open()
    assert clock.now_ns - begin_ns < S // 100
    assert (info.scope, info.scope_known) == ("module", False)
    assert "cannot be told yet" in info.note


@pytest.mark.parametrize("counts_module", [True, False])
def test_the_cpu_is_neither_doubled_nor_dropped_without_a_word(clock, counts_module, monkeypatch, tmp_path):
    monkeypatch.setattr(nvml, "uuid_of_torch_device", lambda device: A)
    monkeypatch.setattr(find, "SOURCES", (NvmlSource(), RaplSource(Powercap(tmp_path / "powercap").root)))
    let_move(monkeypatch)
    cuda = torch.device("cuda", 0)
    with SimulatedNvml([module(counts_module)], clock=clock):
        first = open_meters(["auto"], device=cuda)
        assert [info.device_id for _, info in first.meters] == [A]
        assert "cannot be told yet whether the counter of Simulated GPU covers the CPU" in " ".join(first.absent)
        [(meter, info)] = first.meters
        drive(Channel(meter, info, clock=clock), clock, clock.now_ns + 10 * S)
        first.close()
        second = open_meters(["auto"], device=cuda)  # it is known by now
        ids = [info.device_id for _, info in second.meters]
        assert (ids == [A]) == counts_module
        assert ("package-0" in ids) != counts_module
        assert second.absent == []
        second.close()


def test_findings_are_sent_and_joined():
    earlier = Findings(frozenset({"instant"}), module=True, disagreement="they differ")
    later = Findings(frozenset({"average"}), is_judged=True)
    assert Findings.of(later.told) == later
    assert earlier.joined(later).told == (("average", "instant"), True, "they differ", True)


def test_a_board_heeds_what_another_process_has_found(clock):
    with SimulatedNvml([module(counts_module=True)], clock=clock):
        meter = NvmlMeter(A)
        meter.heed(Findings(module=True).told)  # closed: nobody asks
        meter.open()
        meter.heed(Findings(module=True).told)
        info = meter.revised()
        assert (info.scope, info.scope_known) == ("module", True)
        assert meter.findings == Findings(module=True).told
