"""Marks of a ledger whose device runs behind the host, on a simulated device clock."""

from __future__ import annotations

import numpy as np
import pytest

from lightning_energy.curves.curve import Curve
from lightning_energy.ledger.device_clock import DeviceClock
from lightning_energy.ledger.ledger import Ledger
from lightning_energy.ledger.marks import Inbox
from lightning_energy.ledger.marks_by_clock import MarksByClock
from lightning_energy.meters import MeterInfo
from tests.sim.clock import VirtualClock
from tests.sim.device import SimulatedEvents

S = 10**9
MS = 10**6
INFO = MeterInfo("d", "device", "measured", "gpu", power_max_w=500.0)


def make(ring: int = 64, **kwargs):
    clock = VirtualClock(tick_ns=0)
    events = SimulatedEvents(clock, **kwargs)
    return clock, events, DeviceClock(events, clock=clock, ring=ring)


@pytest.mark.parametrize("lead_ns", [150 * MS])
def test_steps_get_the_energy_that_the_device_spent_on_them(lead_ns):
    """Short and long steps in turn, the host 150 ms ahead; a perfect curve; a second curve on the host's clock."""
    clock, _, device = make(256, lead_ns=lead_ns)
    clock.now_ns += S
    device.anchor()  # the second one shows the drift
    gpu, cpu = Curve(INFO), Curve(MeterInfo("c", "cpu", "measured", "package", power_max_w=100.0))
    exact = [lambda: True] * 2  # registers that show the energy at once: no delay is looked for
    ledger = Ledger([gpu, cpu], clock=clock, device_clock=device, on_device=[True, False], is_exact=exact)
    start_ns = clock.now_ns
    truth: list[tuple[int, float]] = []  # when the device begins a step, and its power there
    step, gap = ledger.code(0, "train", "step"), ledger.code(0, "train", "gap")
    rng = np.random.default_rng(0)
    for _ in range(60):
        truth.append((clock.now_ns + lead_ns, float(rng.uniform(100, 400))))
        ledger.mark(step)
        clock.now_ns += int(rng.uniform(5, 60) * MS)
        ledger.mark(gap)
        clock.now_ns += 1 * MS
    ledger.mark(0)
    end_ns = clock.now_ns + lead_ns
    # the device's energy, with a knot at every change of its power
    gpu.add(start_ns - S, 0.0)
    gpu.add(truth[0][0], 50.0 * (truth[0][0] - start_ns + S) * 1e-9)
    for (a_ns, power_w), b_ns in zip(truth, [t for t, _ in truth[1:]] + [end_ns], strict=True):
        gpu.add(b_ns, gpu.end_j + power_w * (b_ns - a_ns) * 1e-9)
    gpu.add(end_ns + S, gpu.end_j + 50.0)
    for k in range(60):
        cpu.add(start_ns - S + k * S // 10, 20.0 * k / 10)
    clock.now_ns += lead_ns // 2
    ledger.settle()  # half of the last marks are not reached yet
    clock.now_ns += S
    ledger.settle(final=True)
    steps = ledger.take_steps()
    assert len(steps.energy_j) == 60
    for (a_ns, power_w), b_ns, energy_j, duration_s in zip(
        truth, [t for t, _ in truth[1:]] + [end_ns], steps.energy_j, steps.duration_s, strict=True
    ):
        assert duration_s == pytest.approx((b_ns - a_ns) * 1e-9, abs=1e-5)
        assert energy_j == pytest.approx((power_w + 20.0) * duration_s, rel=2e-3)
    totals = ledger.totals()
    assert totals.energy(device=0).duration_s == pytest.approx((end_ns - truth[0][0]) * 1e-9, abs=1e-4)
    assert totals.energy(device=1).duration_s == pytest.approx((end_ns - truth[0][0]) * 1e-9, abs=1e-4)


def test_what_is_not_reached_yet_is_not_booked():
    clock, _, device = make()
    curve = Curve(INFO)
    ledger = Ledger([curve], clock=clock, device_clock=device, on_device=[True])
    start_ns = clock.now_ns
    curve.add(start_ns - 1, 0.0)
    ledger.mark(ledger.code(0, "train", "step"))
    clock.now_ns += 100 * MS
    curve.add(clock.now_ns, 20.0)
    clock.now_ns += 40 * MS
    ledger.settle()
    assert ledger.books[0].settled_ns is None  # the device reaches the first mark at 150 ms
    clock.now_ns += 200 * MS
    curve.add(clock.now_ns, 88.0)
    clock.now_ns += 50 * MS
    ledger.settle()
    assert ledger.totals().energy().duration_s == pytest.approx((390 - 150) * 1e-3, abs=1e-4)


def test_a_mark_is_known_by_the_hosts_clock_at_once_and_by_the_devices_when_it_was_there():
    clock, _, device = make(lead_ns=150 * MS, drift=0.0)
    marks = MarksByClock([True, False], device)
    inbox = Inbox([], clock, device.stamp)
    first_ns = clock.now_ns
    for code in (1, 2):
        inbox.marks.extend((clock.now_ns, code, device.stamp(clock.now_ns)))
        clock.now_ns += 100 * MS
    marks.read(inbox)
    assert inbox.marks == []
    assert marks.of_curve(1) is marks.host
    assert marks.of_curve(0) is marks.slowest is marks.device
    assert marks.host.code.tolist() == [1, 2]
    assert marks.device.code.tolist() == [1]
    assert marks.device.time_ns[0] == pytest.approx(first_ns + 150 * MS, abs=2)
    # the device reaches the second mark no sooner than the host set it
    assert marks.limit_ns(0, None) == marks.limit_ns(0, clock.now_ns) == first_ns + 100 * MS
    assert marks.limit_ns(0, first_ns) == first_ns
    assert marks.limit_ns(1, clock.now_ns) == clock.now_ns
    assert marks.limit_ns(1, None) is None
    on_device, on_host = marks.as_if_reached(clock.now_ns)
    assert on_device.code.tolist() == [1, 2]
    assert on_device.time_ns[1] == clock.now_ns
    assert on_host is marks.host
    assert marks.device.code.tolist() == [1]  # which changes nothing
    clock.now_ns += 50 * MS
    marks.read(inbox)
    assert marks.device.code.tolist() == [1, 2]
    marks.drop_before(1)
    assert (marks.host.code.tolist(), marks.device.code.tolist()) == ([2], [2])
    assert marks.host.dropped == marks.device.dropped == 1


def test_without_a_device_there_is_one_clock():
    marks = MarksByClock([False], None)
    marks.read(Inbox([1, 7], lambda: 0, None))
    assert marks.slowest is marks.host
    assert marks.as_if_reached(5) == [marks.host]
    assert marks.host.code.tolist() == [7]
    assert not marks.device.code.size
