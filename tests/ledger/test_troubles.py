from __future__ import annotations

import time
from collections import namedtuple
from typing import TYPE_CHECKING

import psutil
import pytest

from lightning_energy.curves.channel import Channel
from lightning_energy.ledger.device_clock import DeviceClock
from lightning_energy.ledger.expected import Expected
from lightning_energy.ledger.troubles import Sharing, Troubles, clock_notes
from lightning_energy.meters import MeterInfo, NvmlMeter, ReplayMeter
from tests.curves.test_sampler import wait_for
from tests.ledger.plays import session_of
from tests.sim.clock import VirtualClock
from tests.sim.device import SimulatedEvents
from tests.sim.nvml import SimulatedGpu, SimulatedNvml

if TYPE_CHECKING:
    from lightning_energy.meters.base import Scope

UUID = "GPU-eeeeeeee-0000-0000-0000-000000000000"


def test_who_comes_later_is_noticed_at_the_end():
    gpu = SimulatedGpu(uuid=UUID, counter_period_s=0.02)
    with SimulatedNvml([gpu]):
        session = session_of(NvmlMeter(UUID))
        gpu.pids.append(4711)
        session.finish()
        assert any("shared with 1 other process" in note for note in session.sharing)
        session.close()


def test_the_devices_clock_is_used_and_its_trouble_told():
    clock = VirtualClock()
    events = SimulatedEvents(clock, anchor_ns=5_000_000)
    session = session_of(
        ReplayMeter(100.0, counter_period_s=0.01),
        ReplayMeter(
            50.0, counter_period_s=0, device_id="c", info=MeterInfo("c", "cpu", "measured", "package", power_max_w=80.0)
        ),
        device_clock=DeviceClock(events, clock=clock, ring=8),
    )
    assert session.ledger.marks.on_device == [True, False]
    session.mark(session.code(0, "train", "step"))
    session.finish()
    assert events.syncs == 1
    assert any("could not be tied" in note for note in session.notes)
    session.close()


def test_marks_without_an_event_are_counted():
    clock = VirtualClock()
    events = SimulatedEvents(clock, lead_ns=0)
    session = session_of(ReplayMeter(100.0), device_clock=DeviceClock(events, clock=clock, ring=8))
    events.capturing = True
    session.mark(session.code(0, "train", "step"))
    events.capturing = False
    session.finish()
    assert any(note.startswith("1 time stamps of steps are the host's") for note in session.notes)
    session.close()


def channel_of(meter) -> Channel:
    return Channel(meter, meter.open())


def test_each_trouble_is_reported_once():
    one, other = (channel_of(ReplayMeter(100.0, device_id=name)) for name in ("a", "b"))
    troubles = Troubles()
    assert troubles.look([one, other], None) == []
    one.stalled(0)
    (first,) = troubles.look([one, other], None)
    assert "(a): it does not answer, first seen " in first
    other.stalled(0)
    second, third = troubles.look([one, other], ValueError("broken"))
    assert "(b): it does not answer" in second
    assert third == "the sampler stopped (ValueError: broken): from now on energy is missing"
    assert troubles.look([one, other], ValueError("broken")) == []
    assert troubles.sentences == [first, second, third]


def test_a_meter_that_cannot_say_who_shares_it_is_no_trouble():
    class Broken(ReplayMeter):
        def other_processes(self):
            raise RuntimeError("broken")

    assert Sharing([channel_of(Broken(100.0))]).notes() == []


@pytest.fixture
def busy(monkeypatch):
    """Pass time on a machine of four threads, with others' CPU seconds; this process takes next to nothing of it."""
    Times = namedtuple("Times", "user idle")  # noqa: PYI024 - psutil's own shape
    machine = {"now_s": 1000.0, "busy_s": 0.0}
    monkeypatch.setattr(psutil, "cpu_times", lambda: Times(machine["busy_s"], 0.0))
    monkeypatch.setattr(psutil, "cpu_count", lambda logical=True: 4)
    monkeypatch.setattr(time, "monotonic", lambda: machine["now_s"])

    def pass_time(seconds: float, busy_s: float) -> None:
        machine["now_s"] += seconds
        machine["busy_s"] += busy_s

    return pass_time


def cpu(name: str, scope: Scope) -> Channel:
    info = MeterInfo(name, name, "measured", scope, power_max_w=80.0)
    return channel_of(ReplayMeter(50.0, device_id=name, info=info))


def test_others_on_the_cpus_are_told_where_they_are_in_the_joules_or_were_left_out(busy):
    of_device = Sharing([cpu("package-0", "package"), cpu("dram-0", "dram"), channel_of(ReplayMeter(100.0))])
    of_processes = Sharing([cpu("model", "processes")])
    of_board = Sharing([channel_of(ReplayMeter(100.0))])
    busy(100.0, busy_s=252.0)
    share = "other programs used 63 % of this machine's CPU time meanwhile"
    assert of_device.notes() == [f"package-0, dram-0: {share}; their energy is in these joules"]
    (note,) = of_processes.notes()
    assert note.startswith(f"O{share[1:]}; they are not in the estimate. Threads that wait for each other")
    assert of_board.notes() == []


def test_a_little_of_others_is_not_told(busy):
    sharing = Sharing([cpu("package-0", "package"), cpu("model", "processes")])
    busy(100.0, busy_s=36.0)
    assert sharing.notes() == []
    busy(100.0, busy_s=54.0)
    assert len(sharing.notes()) == 2


@pytest.mark.parametrize("lost", [0, 2])
def test_a_clock_that_works_is_noted_only_where_marks_were_lost(lost):
    clock = VirtualClock()
    device = DeviceClock(SimulatedEvents(clock), clock=clock, ring=8)
    device.lost = lost
    assert clock_notes(device) == ([f"{lost} time stamps of steps are the host's, not the device's"] if lost else [])
    assert clock_notes(None) == []


def test_a_clock_that_failed_says_how():
    clock = VirtualClock()
    events = SimulatedEvents(clock)
    device = DeviceClock(events, clock=clock, ring=8)
    events.broken = True
    device.stamp(0)
    (note,) = clock_notes(device)
    assert "illegal memory access" in note
    assert note.endswith("steps are cut at the host's times")


def test_a_defect_in_what_is_foreseen_ends_nothing_and_is_told_once(monkeypatch):
    """It only saves time: whoever asks for totals gets them, and the sampler goes on."""

    def defect(*_args) -> None:
        raise ValueError("operands could not be broadcast together")

    monkeypatch.setattr("lightning_energy.ledger.ledger.Foreseen.of", defect)
    session = session_of(ReplayMeter(100.0, counter_period_s=0.01))
    session.mark(session.code(0, "train", "step"))
    session.foresee()
    wait_for(lambda: session.ledger.expected.failure is not None)
    (text,) = session.new_troubles()
    assert "longer from now on (ValueError: operands could not be broadcast together); all figures are as they" in text
    session.foresee()
    assert not session.ledger.expected.is_new
    assert session.new_troubles() == []
    session._sampler.wait_until_known(time.monotonic_ns() + 200_000_000, 60.0)
    session.finish()
    found = session.totals().energy(stage="train")
    assert (found.missing_s, session._sampler.failure) == (0, None)
    assert found.energy_j == pytest.approx(100.0 * found.duration_s, rel=0.1)
    session.close()


def test_what_pauses_raise_is_no_defect():
    class OverError(Exception):
        pass

    expected = Expected(lambda: 0)
    expected.begin()
    with pytest.raises(OverError), expected.attempt():
        raise OverError
    assert expected.failure is None
