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
OF_RANKS = ("SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK")  # of Slurm, Open MPI, and MPICH and its kin
SHORTEST_S = 0.5  # the kernel counts in units of 10 ms


class OtherPrograms:
    """Watches, from when it is made, how busy this machine's CPUs are with other programs than this training.

    All ranks of the training on this machine count as the training.

    Example:
        >>> share = OtherPrograms().share()  # nothing to tell so soon
        >>> share is None
        True
    """

    def __init__(self) -> None:
        self._begin: tuple[float, float, float] | None = None
        with suppress(Exception):  # whatever the system does not tell: a note is not worth a training
            self._trees = [ProcessTree(process.pid, other_ranks=True) for process in _training()]
            self._begin = self._look()

    def share(self) -> float | None:
        """Share in [0, 1] of the machine's CPU time since the beginning; ``None`` while it is not known."""
        if self._begin is None:
            return None
        with suppress(Exception):  # same, or a rank has ended: how much it took is not known
            time_s, busy_s, own_s = (b - a for a, b in zip(self._begin, self._look(), strict=True))
            if time_s >= SHORTEST_S:
                return min(max((busy_s - own_s) / (time_s * (psutil.cpu_count() or 1)), 0.0), 1.0)
        return None

    def _look(self) -> tuple[float, float, float]:
        """Seconds: a clock, CPU time of the machine that was not idle, and of the training."""
        times = psutil.cpu_times()._asdict()
        busy_s = sum(seconds for name, seconds in times.items() if name not in IDLE_TIMES)
        return time.monotonic(), busy_s, sum(tree.cpu_s() for tree in self._trees)


def _training() -> list[psutil.Process]:
    """The processes that, with all that they started, are this training on this machine.

    Torchrun, Lightning's launcher of scripts and parents that spawn or fork ranks start nothing else: then it is the
    parent. (Lightning's launcher leaves the environment that rank zero was started with as it was.) What else the
    parent of a rank of Slurm or MPI runs, such as a batch script or an interactive shell, is no part of it: there the
    other ranks are told by another value of the launcher's variable.
    """
    process = psutil.Process()
    environment = process.environ()
    if RANK in environment or (multiprocessing.parent_process() is not None and RANK in os.environ):
        return [process.parent() or process]
    variable = next((name for name in OF_RANKS if name in environment), None)
    return [process] if variable is None else [process, *_other_ranks(process, variable)]


def _other_ranks(process: psutil.Process, variable: str) -> list[psutil.Process]:
    """The first process of each other rank: siblings of ours, below the first ancestor that is of no rank."""
    rank, first = process.environ()[variable], process
    while (parent := first.parent()) is not None and _value(parent, variable) == rank:
        first = parent
    siblings = [] if parent is None else parent.children()
    return [sibling for sibling in siblings if _value(sibling, variable) not in {None, rank}]


def _value(process: psutil.Process, variable: str) -> str | None:
    with suppress(psutil.Error, OSError):  # of another user, or it has just ended
        return process.environ().get(variable)  # type: ignore[no-any-return]  # psutil ships no types
    return None
