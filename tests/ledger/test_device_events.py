from __future__ import annotations

import pytest
import torch

from lightning_energy.ledger.device_clock import DeviceClock
from lightning_energy.ledger.device_events import CudaEvents


class FakeCuda:
    """The part of ``torch.cuda`` that CudaEvents calls, as on a machine with one device that is never late."""

    def __init__(self) -> None:
        self.calls, self.capturing = [], False
        self.Event = self.Stream = lambda *args, **kwargs: self.Thing(self)

    class Thing:
        def __init__(self, cuda) -> None:
            self.cuda = cuda

        def record(self, stream) -> None:
            self.cuda.calls.append("record")

        def query(self) -> bool:
            return True

        def synchronize(self) -> None:
            self.cuda.calls.append("event.synchronize")

        def elapsed_time(self, other) -> float:
            return 1.5

    def is_current_stream_capturing(self) -> bool:
        return self.capturing

    def current_stream(self, device):
        return self.Thing(self)

    def synchronize(self, device) -> None:
        self.calls.append("synchronize")


class FakeDriver:
    def __init__(self, error: int) -> None:
        self.error, self.mode = error, None

    def cuThreadExchangeStreamCaptureMode(self, pointer) -> int:  # noqa: N802 - CUDA's name
        self.mode = pointer._obj.value
        return self.error


@pytest.mark.parametrize("error", [0, 1])
def test_what_is_asked_of_cuda(monkeypatch, error):
    """No GPU here: only that the calls are those that are meant. benchmarks/gpu.py runs it on a real one."""
    cuda, driver = FakeCuda(), FakeDriver(error)
    monkeypatch.setattr(torch, "cuda", cuda)
    monkeypatch.setattr("lightning_energy.ledger.device_events.ctypes.CDLL", lambda name: driver)
    events = CudaEvents(torch.device("cuda", 0))
    device = DeviceClock(events, ring=4)
    device.enter_thread()
    assert driver.mode == 1  # thread local
    if error:
        assert "CUDA error 1" in str(device.failure)
        return
    cuda.calls.clear()
    token = device.stamp(0)
    assert cuda.calls == ["record"]  # and nothing that waits
    assert device.resolve(token) is not None
    cuda.capturing = True
    assert device.stamp(0) is None
    device.synchronize()
    assert cuda.calls[-1] == "synchronize"
