"""Marks of a device that runs behind the host, on a simulated device clock."""

from __future__ import annotations

import pytest
import torch

from lightning_energy.ledger.device_clock import DeviceClock, clock_of
from tests.sim.clock import VirtualClock
from tests.sim.device import SimulatedEvents

S = 10**9
MS = 10**6


def make(ring: int = 64, **kwargs):
    clock = VirtualClock(tick_ns=0)
    events = SimulatedEvents(clock, **kwargs)
    return clock, events, DeviceClock(events, clock=clock, ring=ring)


@pytest.mark.parametrize("lead_ns", [0, 150 * MS])
@pytest.mark.parametrize("drift", [0.0, 5e-5, -5e-5])
def test_the_devices_time_is_found_to_the_nanosecond(lead_ns, drift):
    clock, events, device = make(lead_ns=lead_ns, drift=drift)
    clock.now_ns += 10 * S
    device.anchor()  # the second anchor shows the drift
    for _ in range(1000):
        clock.now_ns += 30 * MS
        token = device.stamp(clock.now_ns)
        truth_ns = events.reached[token.event]
        if lead_ns:
            assert device.resolve(token) is None
        clock.now_ns += lead_ns
        assert abs(device.resolve(token) - truth_ns) <= 2
    assert device.half_width_ns == 1000
    assert device.lost == device.unstamped == 0


def test_cudas_float32_milliseconds_cost_a_microsecond():
    clock, events, device = make(float32=True)
    for _ in range(3000):  # 90 s: re-anchored every 10 s
        clock.now_ns += 30 * MS
        token = device.stamp(clock.now_ns)
        truth_ns = events.reached[token.event]
        clock.now_ns += events.lead_ns
        assert abs(device.resolve(token) - truth_ns) <= 2_000 + 10e9 * 1e-7 * 2


def test_without_a_second_anchor_the_drift_is_small():
    clock, events, device = make(drift=5e-5)
    clock.now_ns += 9 * S
    token = device.stamp(clock.now_ns)
    clock.now_ns += events.lead_ns
    truth_ns = events.reached[token.event]
    assert abs(device.resolve(token) - truth_ns) <= 9.2 * S * 5.1e-5


def test_a_wide_anchor_is_refused():
    clock, events, device = make(anchor_ns=2 * MS)
    assert device.half_width_ns is None
    token = device.stamp(clock.now_ns)
    host_ns = clock.now_ns
    clock.now_ns += events.lead_ns
    assert device.resolve(token) == host_ns  # the host's time has to do
    assert device.lost == 1
    events.anchor_ns = 2000
    assert device.anchor()
    assert device.half_width_ns == 1000


def test_a_lost_event_is_given_up_after_a_minute():
    clock, events, device = make()
    token = device.stamp(clock.now_ns)
    events.stuck.add(token.event)
    clock.now_ns += 59 * S
    assert device.resolve(token) is None
    clock.now_ns += 2 * S
    assert device.resolve(token) == token.host_ns
    assert device.lost == 1


def test_a_full_ring_and_a_captured_graph_have_host_times():
    clock, events, device = make()
    tokens = [device.stamp(clock.now_ns) for _ in range(64)]
    assert all(tokens)
    assert device.stamp(clock.now_ns) is None
    clock.now_ns += S
    assert all(device.resolve(t) for t in tokens)
    assert device.stamp(clock.now_ns) is not None
    events.capturing = True
    assert device.stamp(clock.now_ns) is None
    assert device.unstamped == 2


def test_a_broken_device_leaves_host_times():
    """After a device-side assert every call fails: the user's own error must stay the one that is seen."""
    clock, events, device = make()
    first, second = device.stamp(clock.now_ns), device.stamp(clock.now_ns + 5)
    clock.now_ns += S
    events.broken = True
    assert device.resolve(first) == first.host_ns
    assert device.stamp(clock.now_ns) is None
    device.synchronize()
    assert device.resolve(second) == second.host_ns
    assert "illegal memory access" in str(device.failure)


@pytest.mark.parametrize("do", [lambda d, t: d.stamp(0), lambda d, t: d.synchronize()])
def test_whatever_breaks_first_is_not_raised(do):
    clock, events, device = make()
    token = device.stamp(clock.now_ns)
    events.broken = True
    do(device, token)
    assert device.failure is not None
    assert device.resolve(token) == token.host_ns


def test_a_thread_that_may_not_ask_leaves_host_times():
    clock, events, device = make()
    events.refuses_threads = True
    device.enter_thread()
    assert device.stamp(clock.now_ns) is None
    assert "not in this thread" in str(device.failure)


def test_no_clock_without_cuda():
    assert clock_of(torch.device("cpu")) == (None, "")
    clock, problem = clock_of(torch.device("cuda", 99))  # no driver, or no such device: said, and not fatal
    assert clock is None
    assert problem.startswith("the device's clock cannot be read (")


def test_synchronizing_is_explicit():
    clock, events, device = make()
    device.stamp(clock.now_ns)
    assert events.syncs == 0
    device.synchronize()
    assert events.syncs == 1
