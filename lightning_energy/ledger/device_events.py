"""Timing events of a device, recorded between the work that was issued to it."""

from __future__ import annotations

import ctypes
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

__all__ = ["CudaEvents", "Events"]

CUDA_DRIVER = "libcuda.so.1"
CAPTURE_THREAD_LOCAL = 1  # CU_STREAM_CAPTURE_MODE_THREAD_LOCAL of the CUDA driver API


class Events(ABC):
    """Timing events of one device: the small part that needs the device."""

    @abstractmethod
    def make(self) -> Any:
        """A new event that can be recorded again and again."""

    @abstractmethod
    def record(self, event: Any) -> bool:
        """Put ``event`` behind the work that was issued so far; false where that is not possible now."""

    @abstractmethod
    def is_done(self, event: Any) -> bool:
        """True once the device has reached it. Does not wait."""

    @abstractmethod
    def elapsed_ms(self, first: Any, second: Any) -> float:
        """Milliseconds on the device's clock between two events that are done."""

    @abstractmethod
    def now(self, event: Any) -> None:
        """Record ``event`` where no work stands before it, and wait for it."""

    @abstractmethod
    def synchronize(self) -> None:
        """Wait until the device has done all that was issued."""

    @abstractmethod
    def enter_thread(self) -> None:
        """Prepare this thread for questions about events of another one.

        Raises:
            RuntimeError: marks cannot be resolved in this thread.
        """


class CudaEvents(Events):
    """Events of a CUDA device, through :mod:`torch.cuda`.

    Args:
        device: the device.

    Raises:
        OSError: there is no CUDA driver here.
        AttributeError: the driver is older than CUDA 10.1.
    """

    def __init__(self, device: torch.device) -> None:
        import torch  # noqa: PLC0415 - only a training on CUDA needs it here

        self._exchange_capture_mode = ctypes.CDLL(CUDA_DRIVER).cuThreadExchangeStreamCaptureMode
        self._cuda: Any = torch.cuda
        self._device = device
        self._side = self._cuda.Stream(device)

    def make(self) -> Any:
        """A timing event; CUDA makes it at its first record, so that is done here, outside the training."""
        event = self._cuda.Event(enable_timing=True)
        event.record(self._side)
        return event

    def record(self, event: Any) -> bool:
        """Record on the current stream; not while a graph is captured, where it would become part of the graph."""
        if self._cuda.is_current_stream_capturing():
            return False
        event.record(self._cuda.current_stream(self._device))
        return True

    def is_done(self, event: Any) -> bool:
        """Ask the event."""
        return bool(event.query())

    def elapsed_ms(self, first: Any, second: Any) -> float:
        """Ask the events."""
        return float(first.elapsed_time(second))

    def now(self, event: Any) -> None:
        """Record on a stream of our own, which carries no work, and wait for that stream alone."""
        event.record(self._side)
        event.synchronize()

    def synchronize(self) -> None:
        """Wait for the device."""
        self._cuda.synchronize(self._device)

    def enter_thread(self) -> None:
        """Let this thread ask for events while another thread captures a CUDA graph.

        By default CUDA forbids that, and breaks the *other* thread's capture; torch has no name for the switch.

        Raises:
            RuntimeError: CUDA does not allow it.
        """
        mode = ctypes.c_int(CAPTURE_THREAD_LOCAL)
        error = self._exchange_capture_mode(ctypes.byref(mode))
        if error:
            raise RuntimeError(f"cuThreadExchangeStreamCaptureMode failed with CUDA error {error}")
