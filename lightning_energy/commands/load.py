"""Work that keeps a device busy for a moment, so that its sensor shows a step. It writes nothing and sets nothing."""

from __future__ import annotations

import hashlib
import os
import threading
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from lightning_energy.meters.base import BOARDS, MeterUnavailable
from lightning_energy.meters.clock import monotonic_ns
from lightning_energy.meters.nvml_boards import list_gpus, uuid_of_torch_device
from lightning_energy.meters.units import NS

if TYPE_CHECKING:
    import torch

    from lightning_energy.meters.base import MeterInfo

__all__ = ["BusyThreads", "Load", "MatrixProducts", "NoLoadError", "load_for"]

OF_CPUS = frozenset({"package", "dram", "psys"})  # scopes whose power follows the CPUs'
MOST_THREADS = 16  # as many show on any package, and leave others their part of a large machine
BLOCK = bytes(2**18)  # to hash: a fraction of a millisecond, in which other threads run
SIZE = 4096  # of a square matrix: 32 MB in half precision
PIECE_S = 0.005  # of work that is given to a device at once: an interruption waits for no more


class NoLoadError(RuntimeError):
    """A load cannot be made here. The text says why, as the end of a sentence."""


class Load(ABC):
    """Work that keeps a device busy.

    Attributes:
        what: the work, in words.
    """

    what: str

    def prepare(self) -> None:
        """Get ready, so that :meth:`run` begins at once.

        Raises:
            NoLoadError: the device does not take it.
        """
        return

    @abstractmethod
    def run(self, seconds: float) -> None:
        """Keep the device busy for so long; nothing is under way when this returns or is interrupted."""

    def close(self) -> None:
        """Give back what was taken."""
        return


class BusyThreads(Load):
    """Threads that hash zeros, on all CPUs that this process may use but one.

    Args:
        threads: their number; by default as said.
    """

    def __init__(self, threads: int | None = None) -> None:
        self._n = threads or min(max(_cpus() - 1, 1), MOST_THREADS)
        self.what = f"{self._n} busy thread{'s' if self._n > 1 else ''}"

    def run(self, seconds: float) -> None:
        """Start the threads, and wait for them."""
        end_ns, is_over = monotonic_ns() + round(seconds / NS), threading.Event()
        threads = [
            threading.Thread(target=_hash, args=(end_ns, is_over), name="lightning-energy-load", daemon=True)
            for _ in range(self._n)
        ]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            is_over.set()
            for thread in threads:
                if thread.ident is not None:
                    thread.join()


def _hash(end_ns: int, is_over: threading.Event) -> None:
    while monotonic_ns() < end_ns and not is_over.is_set():
        hashlib.blake2b(BLOCK)


def _cpus() -> int:
    """The number of CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class MatrixProducts(Load):
    """Products of two matrices on a device of PyTorch's, in pieces of some milliseconds.

    Args:
        device: the device.
        size: rows and columns of the matrices.
    """

    def __init__(self, device: torch.device, size: int = SIZE) -> None:
        self.what = f"matrix products on {device}"
        self._device, self._size = device, size
        self._x: Any = None
        self._y: Any = None
        self._each = 1

    def prepare(self) -> None:
        """Make the matrices, and find out how many products a piece has.

        Raises:
            NoLoadError: the device has no room, or takes no work.
        """
        import torch  # noqa: PLC0415 - the command is fast without it

        dtype = torch.float16 if self._device.type == "cuda" else torch.float32
        try:
            self._x = torch.randn(self._size, self._size, device=self._device, dtype=dtype)
            self._y = torch.empty_like(self._x)
            self._piece()  # the first one loads libraries
            start_ns = monotonic_ns()
            self._piece()
            self._each = max(1, round(PIECE_S / max((monotonic_ns() - start_ns) * NS, 1e-6)))
        except RuntimeError as error:
            raise NoLoadError(f"{self._device} takes no work ({str(error).splitlines()[0]})") from error

    def run(self, seconds: float) -> None:
        """Multiply, and wait for the device."""
        end_ns = monotonic_ns() + round(seconds / NS)
        try:
            while monotonic_ns() < end_ns:
                self._piece()
        finally:
            self._synchronize()

    def close(self) -> None:
        """Free the matrices."""
        self._x = self._y = None
        if self._device.type == "cuda":
            import torch  # noqa: PLC0415 - same

            torch.cuda.empty_cache()

    def _piece(self) -> None:
        import torch  # noqa: PLC0415 - same

        with torch.no_grad():
            for _ in range(self._each):
                torch.matmul(self._x, self._x, out=self._y)
        self._synchronize()

    def _synchronize(self) -> None:
        if self._device.type == "cuda":
            import torch  # noqa: PLC0415 - same

            torch.cuda.synchronize(self._device)


def load_for(info: MeterInfo) -> Load:
    """A load of the device that a meter reads.

    Raises:
        NoLoadError: none can be made.

    Example:
        >>> from lightning_energy.meters import MeterInfo
        >>> load_for(MeterInfo("package-0", "CPU package 0", "measured", "package")).what  # doctest: +ELLIPSIS
        '... busy thread...'
    """
    if info.scope in OF_CPUS:
        return BusyThreads()
    if info.scope in BOARDS:
        return MatrixProducts(_torch_device(info.device_id))
    raise NoLoadError("no load is known for it")


def _torch_device(board: str) -> torch.device:
    """PyTorch's device that is a board, or a part of it."""
    try:
        import torch  # noqa: PLC0415 - same
    except ImportError as error:
        raise NoLoadError("PyTorch is not installed here, which would make the load") from error
    if not torch.cuda.is_available():
        raise NoLoadError("this PyTorch sees no CUDA device")
    try:
        parts = {board, *(uuid for gpu in list_gpus() if gpu.uuid == board for uuid in gpu.mig)}
        for index in range(torch.cuda.device_count()):
            device = torch.device("cuda", index)
            if uuid_of_torch_device(device) in parts:
                return device
    except (MeterUnavailable, RuntimeError) as error:
        raise NoLoadError(f"its place among PyTorch's devices is not known ({error})") from error
    raise NoLoadError("PyTorch does not see it (CUDA_VISIBLE_DEVICES?)")
