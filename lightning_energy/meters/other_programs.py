"""The share of a machine's CPU time that other programs than the training use."""

from __future__ import annotations

import multiprocessing
import os
import time
from contextlib import suppress

import psutil

from lightning_energy.meters.process_tree import RANK, ProcessTree

__all__ = ["OtherPrograms"]

IDLE_TIMES = frozenset({"idle", "iowait", "steal", "guest", "guest_nice"})  # guest time is in user time already
OF_RANKS = (RANK, "SLURM_PROCID", "OMPI_COMM_WORLD_RANK")  # set by launchers in the environment of each rank
SHORTEST_S = 0.5  # the kernel counts in units of 10 ms


class OtherPrograms:
    """Watches, from when it is made, how busy this machine's CPUs are with other programs than this training.

    All ranks of the training count as the training, where they have one parent.

    Example:
        >>> share = OtherPrograms().share()  # nothing to tell so soon
        >>> share is None
        True
    """

    def __init__(self) -> None:
        self._begin: tuple[float, float, float] | None = None
        with suppress(psutil.Error, OSError):
            self._tree = ProcessTree(_training(), other_ranks=True)
            self._begin = self._look()

    def share(self) -> float | None:
        """Share in [0, 1] of the machine's CPU time since the beginning; ``None`` while it is not known."""
        if self._begin is None:
            return None
        with suppress(psutil.Error, OSError):
            time_s, busy_s, own_s = (b - a for a, b in zip(self._begin, self._look(), strict=True))
            if time_s >= SHORTEST_S:
                return min(max((busy_s - own_s) / (time_s * (psutil.cpu_count() or 1)), 0.0), 1.0)
        return None

    def _look(self) -> tuple[float, float, float]:
        """Seconds: a clock, CPU time of the machine that was not idle, and of the training."""
        times = psutil.cpu_times()._asdict()
        busy_s = sum(seconds for name, seconds in times.items() if name not in IDLE_TIMES)
        return time.monotonic(), busy_s, self._tree.cpu_s()


def _training() -> int:
    """The process from which all ranks of this training on this node come.

    A rank that was launched as one (by torchrun, SLURM, MPI, or a parent that spawned or forked it) has the others
    beside it. Lightning's launcher of scripts leaves the environment that rank zero was started with as it was.
    """
    process = psutil.Process()
    launched = any(name in process.environ() for name in OF_RANKS)
    if launched or (multiprocessing.parent_process() is not None and RANK in os.environ):
        process = process.parent() or process
    return int(process.pid)
