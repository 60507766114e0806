from __future__ import annotations

import pynvml
import pytest

from lightning_energy.meters import MeterLost, NvmlMeter
from lightning_energy.meters.nvml_counter import NAME, Counter
from tests.sim.clock import VirtualClock
from tests.sim.nvml import SimulatedGpu, SimulatedNvml

A = "GPU-aaaaaaaa-0000-0000-0000-000000000000"
CODES = [pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.NVML_ERROR_UNKNOWN, 4711]


def test_pynvml_keeps_the_library_that_it_loads_where_the_counter_looks_for_it(monkeypatch):
    """A version of pynvml that keeps it elsewhere would cost us the cheap call, and nobody would see it."""
    library = SimulatedNvml([SimulatedGpu(100.0, uuid=A)])._library
    monkeypatch.setattr(pynvml, "nvmlLib", None)
    monkeypatch.setattr(pynvml, "CDLL", lambda *_: library)
    pynvml._LoadNvmlLibrary()
    assert Counter(pynvml, 1).is_bound


@pytest.fixture(params=["by the symbol", "by the wrapper"])
def counter(request, monkeypatch):
    """A board, and its counter as it is read usually, and where pynvml keeps its library elsewhere."""
    gpu = SimulatedGpu(100.0, uuid=A)
    with SimulatedNvml([gpu], clock=VirtualClock(tick_ns=0)):
        handle = pynvml.nvmlDeviceGetHandleByUUID(A)
        with monkeypatch.context() as patch:
            if request.param == "by the wrapper":
                patch.setattr(pynvml, "nvmlLib", None)
            counter = Counter(pynvml, handle)
        assert counter.is_bound == (request.param == "by the symbol")
        yield gpu, counter, pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)


def test_the_counter_is_that_of_pynvml(counter):
    _, ours, mj = counter
    assert ours.take(VirtualClock()).register_j == mj * 1e-3


@pytest.mark.parametrize("code", CODES)
def test_the_errors_are_those_of_pynvml(counter, code):
    gpu, ours, _ = counter
    gpu.error = code
    with pytest.raises(pynvml.NVMLError) as error:
        ours.take(VirtualClock())
    assert type(error.value) is type(pynvml.NVMLError(code))
    assert error.value.value == code


def test_an_old_driver_without_the_symbol_fails_as_pynvml_says():
    with SimulatedNvml([SimulatedGpu(100.0, uuid=A)], missing=[NAME]):
        counter = Counter(pynvml, pynvml.nvmlDeviceGetHandleByUUID(A))
        assert not counter.is_bound
        with pytest.raises(pynvml.NVMLError_FunctionNotFound):
            counter.take(VirtualClock())


def test_a_poll_that_sees_nothing_new_says_so_and_one_that_does_is_not_read_twice(monkeypatch):
    clock = VirtualClock()
    monkeypatch.setattr("lightning_energy.meters.nvml.monotonic_ns", clock)
    gpu = SimulatedGpu(100.0, uuid=A)  # moves every 0.1 s
    with SimulatedNvml([gpu], clock=clock) as nvml:
        meter = NvmlMeter(A)
        meter.open()
        assert not meter.is_unchanged()  # nothing was read yet
        first = meter.read()
        calls = nvml.calls[NAME]
        assert meter.is_unchanged()
        assert nvml.calls[NAME] == calls + 1
        clock.now_ns += 10**8
        assert not meter.is_unchanged()
        looked_ns = clock.now_ns
        clock.now_ns += 10**6
        second = meter.read()
        assert nvml.calls[NAME] == calls + 2
        assert second.end_ns <= looked_ns  # when it was read, not when it was asked for
        assert second.register_j == pytest.approx(first.register_j + 10.0)
        gpu.lose()
        assert not meter.is_unchanged()
        with pytest.raises(MeterLost, match="fell off the bus"):
            meter.read()
        gpu.restore()
        assert meter.is_unchanged()
        clock.now_ns += 6 * 10**10  # the next watch of its powers is due
        assert not meter.is_unchanged()
        meter.read()
        meter.close()


def test_a_board_without_a_counter_is_always_read():
    with SimulatedNvml([SimulatedGpu(100.0, uuid=A, counter_period_s=None)]):
        meter = NvmlMeter(A)
        meter.open()
        meter.read()
        assert not meter.is_unchanged()
