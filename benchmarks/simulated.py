"""What a machine without a power sensor lacks for the pictures: a counter of energy, and a disk that is slow."""

from __future__ import annotations

import threading
import time

from lightning_energy.meters import Meter, MeterInfo, Reading, monotonic_ns

WATTS = 4.0  # per second of CPU time, as the package's own estimate assumes
PERIOD_S = 0.02  # as NVIDIA's counters, the fast ones


class CpuTimeCounter(Meter):
    """A counter that moves every 20 ms, by 4 J for each second of CPU time of this process. Its watts are invented."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._register_j = 0.0
        self._thread: threading.Thread | None = None

    def open(self) -> MeterInfo:
        """Begin to count."""
        self._thread = threading.Thread(target=self._count, daemon=True)
        self._thread.start()
        return MeterInfo(
            device_id="simulated",
            name="simulated counter",
            quality="measured",
            scope="processes",
            power_max_w=100.0,
            update_period_s=PERIOD_S,
            note=f"simulated, no measurement: {WATTS:g} W for each second of CPU time",
        )

    def _count(self) -> None:
        start_s, due_s = time.process_time(), time.monotonic()
        while not self._stop.is_set():
            self._register_j = WATTS * (time.process_time() - start_s)
            due_s += PERIOD_S
            self._stop.wait(max(due_s - time.monotonic(), 0.0))

    def read(self) -> Reading:
        """The joules at the last update."""
        start_ns = monotonic_ns()
        return Reading(start_ns, monotonic_ns(), register_j=self._register_j)

    def close(self) -> None:
        """Count no more."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()


class SlowDisk:
    """A data set of which every so many samples let wait."""

    def __init__(self, data: object, *, wait_s: float, every: int) -> None:
        self.data, self.wait_s, self.every = data, wait_s, every

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> object:
        if index % self.every == 0:
            time.sleep(self.wait_s)
        return self.data[index]
