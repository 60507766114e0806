from __future__ import annotations

import os
import re
import threading
import time

import numpy as np
import pytest
import torch

from lightning_energy.curves.call_budget import PROCESS
from lightning_energy.curves.channel import Channel
from lightning_energy.curves.sampler import Sampler
from lightning_energy.ledger.session import Session
from lightning_energy.meters import MeterInfo, MeterLost, Reading, ReplayMeter, open_meters
from lightning_energy.meters.base import Meter
from tests.sim.clock import VirtualClock, drive
from tests.sim.registers import Jittery, Remote

S = 10**9


def sampler_of(*meters, settle=lambda: None):
    return Sampler([Channel(m, m.open()) for m in meters], settle)


def wait_for(condition, seconds: float = 60.0) -> None:
    """Until ``condition`` holds; fails after ``seconds``."""
    deadline = time.monotonic() + seconds
    event = threading.Event()
    while not condition():
        assert time.monotonic() < deadline
        event.wait(0.005)


def test_starts_once_stops_once_and_leaves_no_thread():
    sampler = sampler_of(ReplayMeter(100.0, counter_period_s=0.01))
    before = {*threading.enumerate()}
    sampler.start()
    sampler.start()
    assert len({*threading.enumerate()} - before) == 1
    assert sampler.is_running
    assert sampler.stop()
    assert sampler.stop()
    assert not sampler.is_running
    assert {*threading.enumerate()} <= before  # one of another test may end meanwhile


@pytest.mark.slow
def test_waits_until_a_moment_is_known():
    settled = []
    sampler = sampler_of(ReplayMeter(100.0, counter_period_s=0.01), settle=lambda: settled.append(1))
    sampler.start()
    now_ns = time.monotonic_ns() + 700_000_000
    assert sampler.wait_until_known(now_ns, 10.0)
    assert sampler.channels[0].curve.end_ns >= now_ns
    assert not sampler.wait_until_known(now_ns + 10**13, 0.01)
    sampler.stop()
    assert settled
    assert 0 < sampler.cpu_s < 5
    assert not sampler.wait_until_known(0, 1.0)  # nothing runs that could tell


@pytest.mark.slow
def test_finish_reaches_the_end_of_every_kind_of_meter():
    meters = [ReplayMeter(100.0, counter_period_s=p, device_id=str(p)) for p in (0.02, 0.0, None)]
    sampler = sampler_of(*meters)
    sampler.start()
    wait_for(lambda: all(c.curve.end_ns for c in sampler.channels))
    now_ns = time.monotonic_ns()
    sampler.finish(now_ns, 5.0)
    for channel in sampler.channels:
        assert channel.curve.end_ns >= now_ns - 3_000_000
    sampler.finish(now_ns, 5.0)  # idempotent


class Broken(Meter):
    """Raises what it is told to, or hangs until it is released."""

    def __init__(self, device_id: str = "broken") -> None:
        self.error: Exception | None = None
        self.hang = threading.Event()
        self.hang.set()
        self.good = ReplayMeter(100.0, counter_period_s=0.01, device_id=device_id)
        self.waits = threading.Event()
        self.closed = threading.Event()

    def open(self) -> MeterInfo:
        return self.good.open()

    def read(self) -> Reading:
        if not self.hang.is_set():
            self.waits.set()
            self.hang.wait(120)
        if self.error:
            raise self.error
        return self.good.read()

    def close(self) -> None:
        self.closed.set()


@pytest.mark.slow
@pytest.mark.parametrize("error", [MeterLost("gone"), ZeroDivisionError("a defect")])
def test_a_meter_that_raises_does_not_end_the_thread(error):
    meter = Broken()
    sampler = sampler_of(meter)
    channel = sampler.channels[0]
    sampler.start()
    wait_for(lambda: len(channel.curve) > 3)
    meter.error = error
    wait_for(lambda: channel.trouble is not None)
    assert str(error) in channel.trouble
    meter.error = None
    knots = len(channel.curve)
    wait_for(lambda: len(channel.curve) > knots + 3)
    sampler.stop()
    assert sampler.failure is None


def test_a_call_that_hangs_is_booked_as_missing_and_stop_returns(monkeypatch):
    monkeypatch.setattr("lightning_energy.curves.sampler.HUNG_S", 0.05)
    meter = Broken()
    sampler = sampler_of(meter)
    channel = sampler.channels[0]
    sampler.start()
    wait_for(lambda: len(channel.curve) > 3)
    meter.hang.clear()
    assert meter.waits.wait(10)
    now_ns = time.monotonic_ns()
    sampler.check(now_ns)
    assert channel.trouble is None  # not yet
    sampler.check(now_ns + 20 * S)
    assert HANGS.fullmatch(channel.trouble)
    assert channel.curve.energy_between(channel.curve.start_ns, now_ns + 20 * S).missing_s > 19
    assert not sampler.stop()
    meter.hang.set()


HANGS = re.compile(r"its read has not returned for \d+ s")


@pytest.mark.slow
@pytest.mark.parametrize("hanging", [1, 2])
@pytest.mark.parametrize("place", [0, 2])
def test_sensors_that_hang_blind_none_but_themselves_and_are_named_rightly(hanging, place, monkeypatch):
    """Wherever they stand among the others, and whichever hangs first."""
    monkeypatch.setattr("lightning_energy.curves.sampler.LONGEST_READ_S", 1.0)
    broken = [Broken(f"broken-{i}") for i in range(hanging)]
    healthy = [ReplayMeter(100.0, counter_period_s=p, device_id=str(p)) for p in (0.02, 0.1)]
    meters = [*healthy[:place], *broken, *healthy[place:]]
    sampler = sampler_of(*meters)
    of = dict(zip(meters, sampler.channels, strict=True))
    before = {*threading.enumerate()}
    sampler.start()
    wait_for(lambda: all(len(c.curve) > 3 for c in sampler.channels))
    for meter in broken:
        meter.hang.clear()
        assert meter.waits.wait(10)
    hangs_ns = time.monotonic_ns()
    wait_for(lambda: all((of[m].curve.end_ns or 0) > hangs_ns + 1.5 * S for m in healthy))
    now_ns = time.monotonic_ns()
    sampler.check(now_ns)
    for meter in broken:
        (trouble,) = (text for text, _ in of[meter].troubles.values())
        assert HANGS.fullmatch(trouble)
        assert of[meter].curve.end_ns == now_ns
    assert [of[m].trouble for m in healthy] == [None, None]
    for meter in healthy:
        curve = of[meter].curve
        assert curve.energy_between(curve.start_ns, hangs_ns + S).missing_s == 0.0
    for meter in broken:
        meter.hang.set()
    wait_for(lambda: all(of[m].reads for m in broken))
    sampler.stop()
    assert sampler.failure is None
    wait_for(lambda: {*threading.enumerate()} <= before)  # stop waits no longer for calls that hung


@pytest.mark.slow
def test_a_sensor_that_hangs_in_the_last_moment_takes_no_others_end(monkeypatch):
    monkeypatch.setattr("lightning_energy.curves.sampler.HUNG_S", 0.05)
    broken, healthy = Broken(), [ReplayMeter(100.0, counter_period_s=p, device_id=str(p)) for p in (0.02, None)]
    sampler = sampler_of(broken, *healthy)
    sampler.start()
    wait_for(lambda: all(len(c.curve) > 3 for c in sampler.channels))
    broken.hang.clear()
    assert broken.waits.wait(10)
    now_ns = time.monotonic_ns()
    sampler.finish(now_ns, 0.3)
    hung, *others = sampler.channels
    assert HANGS.fullmatch(hung.trouble)
    assert hung.curve.end_ns >= now_ns
    assert [c.trouble for c in others] == [None, None]
    assert all(c.curve.end_ns >= now_ns for c in others)
    broken.hang.set()


class Threaded(Broken):
    """Knows who reads it, and moves at any read."""

    def __init__(self, device_id: str) -> None:
        super().__init__(device_id)
        self.good = ReplayMeter(100.0, counter_period_s=0.0, device_id=device_id)
        self.readers: set[threading.Thread] = set()

    def read(self) -> Reading:
        self.readers.add(threading.current_thread())
        return super().read()


def test_the_last_polls_are_made_by_the_threads_of_which_one_may_hang(monkeypatch):
    monkeypatch.setattr("lightning_energy.curves.sampler.HUNG_S", 1.0)
    hangs, healthy = Threaded("hangs"), Threaded("healthy")
    sampler = sampler_of(hangs, healthy)
    sampler.start()
    wait_for(lambda: all(len(c.curve) > 1 for c in sampler.channels))
    hangs.hang.clear()
    now_ns = time.monotonic_ns()
    sampler.finish(now_ns, 0.3)
    broken, other = sampler.channels
    assert threading.current_thread() not in hangs.readers | healthy.readers
    assert HANGS.fullmatch(broken.trouble)
    assert other.trouble is None
    assert min(broken.curve.end_ns, other.curve.end_ns) >= now_ns
    hangs.hang.set()
    wait_for(sampler.stop)


def test_a_first_read_that_hangs_keeps_nobody_waiting(monkeypatch):
    monkeypatch.setattr("lightning_energy.curves.sampler.HUNG_S", 0.05)
    broken, healthy = Broken(), ReplayMeter(100.0, counter_period_s=0.02)
    sampler = sampler_of(broken, healthy)
    broken.hang.clear()
    sampler.start()
    wait_for(lambda: len(sampler.channels[1].curve) > 3)
    sampler.stop()
    broken.hang.set()


def test_a_meter_whose_read_hangs_is_closed_when_that_returns_and_the_others_at_once(monkeypatch):
    monkeypatch.setattr("lightning_energy.curves.sampler.HUNG_S", 0.05)
    broken, healthy = Broken(), ReplayMeter(100.0, counter_period_s=0.02)
    session = Session(open_meters([healthy, broken], device=torch.device("cpu")))
    broken.hang.clear()
    assert broken.waits.wait(10)
    session.close()
    assert not healthy.is_open
    assert not broken.closed.is_set()
    broken.hang.set()
    assert broken.closed.wait(10)


def test_a_dead_thread_is_told_and_its_time_is_missing():
    def fail() -> None:
        raise RuntimeError("settling failed")

    sampler = sampler_of(ReplayMeter(100.0, counter_period_s=0.01), settle=fail)
    sampler.start()
    wait_for(lambda: sampler.failure is not None)
    sampler._settle = lambda: None
    now_ns = time.monotonic_ns()
    sampler.check(now_ns)
    channel = sampler.channels[0]
    assert channel.curve.end_ns == now_ns
    assert channel.trouble
    sampler.stop()


def test_no_thread_in_a_forked_child():
    sampler = sampler_of(ReplayMeter(100.0))
    sampler.start()
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:  # the child: say whether the thread lives here
        os.write(write, b"1" if sampler.is_running else b"0")
        os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(read, 1) == b"0"
    sampler.stop()
    os.close(read)
    os.close(write)


class Hangs(ReplayMeter):
    """300 W for two seconds, then 10 W; does not answer from 1.2 s on."""

    def __init__(self) -> None:
        super().__init__([(1.5, 300.0), (1000.0, 10.0)], counter_period_s=0.05)
        self.free = threading.Event()

    def read(self):
        if self._elapsed_s(time.monotonic_ns()) > 1.2:
            self.free.wait(60)
        return super().read()


@pytest.mark.slow
def test_a_sensor_that_hangs_at_the_end_leaves_missing_time_not_joules(monkeypatch):
    monkeypatch.setattr("lightning_energy.curves.sampler.HUNG_S", 0.2)
    meter = Hangs()
    session = Session(open_meters([meter], device=torch.device("cpu")))
    session.mark(session.code(0, "train", "gap"))
    start_ns = time.monotonic_ns()
    threading.Event().wait(4.0)
    session.finish()
    true_j = meter.true_energy_j(start_ns, time.monotonic_ns())
    energy = session.totals().energy()
    meter.free.set()
    session.close()
    assert energy.missing_s > 2.5
    assert energy.energy_j <= true_j + 4 * energy.u_j


def test_the_last_power_is_supposed_to_go_on_for_a_while_only():
    meter = ReplayMeter(100.0, counter_period_s=0.02)
    session = Session(open_meters([meter], device=torch.device("cpu")))
    session.mark(session.code(0, "train", "gap"))
    session._sampler.wait_until_known(time.monotonic_ns() + 300_000_000, 2.0)
    session._sampler.stop()  # nobody tells the ledger
    later = session.ledger.totals(time.monotonic_ns() + 3600 * 10**9).energy()
    session.close()
    assert later.missing_s == pytest.approx(3600 - 2.2, abs=1.0)
    assert later.energy_j < 400.0


def test_nothing_to_sample_starts_no_thread():
    sampler = Sampler([], lambda: None)
    sampler.start()
    assert not sampler.is_running
    sampler.check(time.monotonic_ns())


@pytest.mark.parametrize(("channels", "most_per_edge"), [(1, 4.5), (4, 4.5), (5, 1.6), (16, 1.6)])
def test_many_devices_are_polled_once_per_update_and_their_knots_stand_where_they_moved(channels, most_per_edge):
    clock = VirtualClock()
    meters = [Jittery(clock) for _ in range(channels)]
    channel = Sampler([Channel(m, m.open(), clock=clock) for m in meters], lambda: None).channels[0]
    drive(channel, clock, clock.now_ns + 20 * S)
    begun, knots = meters[0].reads, len(channel.curve)
    drive(channel, clock, clock.now_ns + 30 * S)
    found = channel.curve.knots()
    assert len(channel.curve) - knots == pytest.approx(300, abs=2)
    assert 1.0 <= (meters[0].reads - begun) / (len(channel.curve) - knots) <= most_per_edge
    times_ns = found.time_ns[knots:]
    truth_ns = [meters[0].update_ns(round((t - meters[0].start_ns - 1e6) / (S // 10))) for t in times_ns]
    errors_ns = np.abs(times_ns - np.array(truth_ns))
    assert errors_ns.max() <= 2_000_000
    assert np.mean(errors_ns <= 2 * found.half_width_ns[knots:]) > 0.95


@pytest.mark.parametrize("instant_power", [False, True])
def test_no_board_is_looked_at_that_does_not_tell_its_power(instant_power):
    info = MeterInfo("d", "d", "measured", "gpu", power_max_w=800.0, instant_power=instant_power)
    clock = VirtualClock()
    meters = [Remote(clock, [(60.0, 0.1)], lambda _: 0.00005, seed=i, info=info) for i in range(8)]
    channels = Sampler([Channel(m, m.open(), clock=clock) for m in meters], lambda: None).channels
    drive(channels[0], clock, clock.now_ns + 55 * S)
    assert sum(at_s > 20.0 for at_s, _ in meters[0].calls) / 35 < 16


def test_registers_that_move_at_any_poll_are_no_part_of_the_crowd():
    continuous = [ReplayMeter(10.0, counter_period_s=0.001, device_id=str(i)) for i in range(4)]
    sampler = sampler_of(ReplayMeter(100.0, counter_period_s=0.1, device_id="gpu"), *continuous)
    assert not sampler.channels[0].plan.hunts_always  # nobody knows yet
    sampler.start()
    wait_for(lambda: sampler.channels[0].plan.hunts_always)
    sampler.stop()


def test_two_samplers_of_one_process_share_its_time_while_both_run():
    first, second = (sampler_of(ReplayMeter(100.0, counter_period_s=0.01, device_id=d)) for d in "ab")
    calls = [sampler.channels[0].plan.calls for sampler in (first, second)]
    first.start()
    second.start()
    assert [*map(PROCESS.has, calls)] == [True, True]
    first.stop()
    assert [*map(PROCESS.has, calls)] == [False, True]
    second.stop()
    assert not any(map(PROCESS.has, calls))
