"""The wait for boards, in virtual time, with the real pynvml over a simulated NVML."""

from __future__ import annotations

import pytest

from lightning_energy.study.boards import look_at_boards, wait_until_ready
from tests.sim.nvml import SimulatedGpu, SimulatedNvml

A = "GPU-aaaaaaaa-0000-0000-0000-000000000000"


class Cooling:
    """A clock, and a board that cools by one degree a second."""

    def __init__(self, start_c: float, used_until_s: float = 0.0) -> None:
        self.now_s, self.start_c, self.used_until_s = 0.0, start_c, used_until_s

    def look(self):
        return {A: max(self.start_c - self.now_s, 35.0)}, self.now_s < self.used_until_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds

    def clock(self) -> float:
        return self.now_s


@pytest.mark.parametrize(
    ("board", "coolest_c", "cooldown_s", "waited_s", "is_ready"),
    [
        (Cooling(60.0, 0.0), {}, None, 0.0, True),  # the first run
        (Cooling(60.0, 0.0), {A: 40.0}, None, 17.0, True),  # at 43
        (Cooling(60.0, 30.0), {A: 40.0}, None, 30.0, True),
        (Cooling(60.0, 0.0), {A: 40.0}, 10.0, 10.0, False),
        (Cooling(60.0, 0.0), {A: 20.0}, None, 120.0, False),  # it never gets so cool again
        (Cooling(60.0, 0.0), {A: 40.0}, 0.0, 0.0, False),
    ],
)
def test_boards_are_waited_for_with_a_limit(board, coolest_c, cooldown_s, waited_s, is_ready):
    ready = wait_until_ready(coolest_c, cooldown_s, look=board.look, sleep=board.sleep, clock=board.clock)
    assert (ready.waited_s, ready.is_ready) == (waited_s, is_ready)
    assert ready.temperatures_c == board.look()[0]


@pytest.mark.parametrize(("cooldown_s", "waited_s"), [(None, 0.0), (7.0, 7.0)])
def test_without_a_temperature_the_wait_is_what_was_asked_for(cooldown_s, waited_s):
    clock = Cooling(0.0)
    ready = wait_until_ready({}, cooldown_s, look=lambda: ({}, False), sleep=clock.sleep, clock=clock.clock)
    assert (ready.waited_s, ready.is_ready, ready.temperatures_c) == (waited_s, None, {})


def test_boards_are_those_that_a_training_sees(monkeypatch):
    other = SimulatedGpu(uuid="GPU-bbbbbbbb-0000-0000-0000-000000000000", pids=[999_999])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    with SimulatedNvml([other, SimulatedGpu(uuid=A)]) as nvml:
        assert look_at_boards() == ({A: 50.0}, False)
        nvml.faults["nvmlDeviceGetTemperature"] = 3  # not supported
        assert look_at_boards() == ({}, False)
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
        assert look_at_boards() == ({}, True)
    with SimulatedNvml(init_error="missing"):
        assert look_at_boards() == ({}, False)
