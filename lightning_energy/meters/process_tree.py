"""The CPU time of a training's own processes, ended ones included."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass

import psutil

__all__ = ["RANK", "OwnProcess", "ProcessTree"]

RANK = "LOCAL_RANK"  # set by Lightning's launchers and by torchrun in the environment of each rank
LOOK_S = 1.0  # time between two looks for new processes
SLOW_LOOK_S = 10.0  # the same where the kernel lists no children, so that all processes are gone through
CPU_CLOCK = 2  # Linux: CPUCLOCK_SCHED, the CPU time of a whole process in nanoseconds


@dataclass
class _Member:
    """A process of the tree.

    Attributes:
        process: the process.
        rank: the process that leads the other rank it belongs to; ``None`` where it is ours.
        own_s: its own CPU time in seconds.
        waited_s: CPU time in seconds of its children that ended and were waited for.
    """

    process: psutil.Process
    rank: psutil.Process | None
    own_s: float = 0.0
    waited_s: float = 0.0


class OwnProcess:
    """Counts the CPU time of this process and of its children that ended and were waited for.

    Every system tells them, where it may tell nothing of other processes.
    """

    def cpu_s(self) -> float:
        """CPU time so far in seconds."""
        times = os.times()
        return time.process_time() + times.children_user + times.children_system


class ProcessTree:
    """Counts the CPU time of a process and of all that it started.

    The kernel adds a child's CPU time to its parent's sum when the parent waits for it. So the sum over all living
    processes of their own time and of their ended children's does not change when one ends. Parents are read before
    their children: a child that ends in between lacks from one sum, and is never in it twice. A sum that fell is held,
    and one that stays low (a child that nobody waited for, or that now has another parent) goes on from there.

    Lightning's launcher of scripts makes the other ranks of a node children of rank zero. They are known by another
    ``LOCAL_RANK`` in the environment they were started with. (Workers of a DataLoader have ours, or none: a fork shows
    the environment of its parent's start. Ranks that were spawned or forked, or started by torchrun or SLURM, are no
    children of each other.) What other ranks took is taken off, also once they have ended and are in our sum.

    Args:
        pid: the process; ``None`` for this one.
        other_ranks: true to count other ranks of the same training, too.

    Raises:
        psutil.NoSuchProcess: there is no such process.

    Example:
        >>> tree = ProcessTree()
        >>> tree.cpu_s() <= tree.cpu_s()
        True
    """

    def __init__(self, pid: int | None = None, *, other_ranks: bool = False) -> None:
        self._root = _Member(psutil.Process(pid), None)
        self._is_this_process = self._root.process.pid == os.getpid()
        self._counts_ranks = other_ranks
        self._members: list[_Member] = []
        self._rank_of: dict[psutil.Process, psutil.Process | None] = {}
        self._ranks_s: dict[psutil.Process, float] = {}  # CPU time of each other rank, living or ended
        self._children = ""  # of the root, as the kernel lists them
        self._lists_children = _listed_children(os.getpid()) is not None
        self._looked_s = 0.0
        self._last_s = 0.0
        self._lost_s = 0.0
        self._has_fallen = True  # nothing was looked at yet

    def cpu_s(self) -> float:
        """CPU time so far in seconds, since before this object was made; never falls.

        Raises:
            psutil.NoSuchProcess: the process has ended.
            OSError: the kernel does not answer.
        """
        if self._has_fallen or not self._glance():
            self._look()
        for rank in {m.rank for m in self._members if m.rank is not None}:
            rank_s = sum(m.own_s + m.waited_s for m in self._members if m.rank == rank)
            self._ranks_s[rank] = max(self._ranks_s.get(rank, 0.0), rank_s)
        all_s = sum(m.own_s + m.waited_s for m in (self._root, *self._members))
        return self._held(all_s - sum(self._ranks_s.values()))

    def _held(self, sum_s: float) -> float:
        """The sum, or the last one where it fell; one that is low for a second time goes on from the last."""
        if sum_s + self._lost_s >= self._last_s:
            self._has_fallen = False
        elif self._has_fallen:
            self._lost_s = self._last_s - sum_s
            self._has_fallen = False
        else:
            self._has_fallen = True
            return self._last_s
        self._last_s = max(sum_s + self._lost_s, self._last_s)  # the sum rounds
        return self._last_s

    def _glance(self) -> bool:
        """Read the clocks of the processes that are known; false when processes may have come or gone."""
        every_s = LOOK_S if self._lists_children else SLOW_LOOK_S
        if time.monotonic() - self._looked_s > every_s:
            return False
        self._read_root()
        if self._lists_children and _listed_children(self._root.process.pid) != self._children:
            return False
        try:
            for member in self._members:
                member.own_s = _own_s(member.process)
        except psutil.Error:
            return False
        return True

    def _look(self) -> None:
        """Go through the tree, each process before its children."""
        self._looked_s = time.monotonic()
        self._read_root()
        self._children = _listed_children(self._root.process.pid) or ""
        self._members, known = [], self._rank_of
        self._rank_of = {}
        parents = [self._root]
        while parents:
            parent = parents.pop()
            for process in self._children_of(parent.process):
                with suppress(psutil.Error):  # it has just ended: its parent will have its time
                    times = process.cpu_times()
                    # what was one once stays one: an ended process shows no environment any more
                    rank = parent.rank or known.get(process) or self._other_rank(process)
                    self._rank_of[process] = rank
                    waited_s = times.children_user + times.children_system
                    member = _Member(process, rank, _own_s(process), waited_s)
                    self._members.append(member)
                    parents.append(member)

    def _read_root(self) -> None:
        if self._is_this_process:  # the same without a file
            times = os.times()
            self._root.waited_s = times.children_user + times.children_system
            self._root.own_s = time.process_time()
        else:
            found = self._root.process.cpu_times()
            self._root.waited_s = found.children_user + found.children_system
            self._root.own_s = _own_s(self._root.process)

    def _children_of(self, parent: psutil.Process) -> list[psutil.Process]:
        if not self._lists_children:
            # all of the tree at once, as all processes of the machine are gone through for it
            return parent.children(recursive=True) if parent == self._root.process else []
        found = []
        with suppress(OSError):  # it has just ended
            for thread in os.listdir(f"/proc/{parent.pid}/task"):  # noqa: PTH208 - often
                for pid in (_listed_children(parent.pid, thread) or "").split():
                    with suppress(psutil.Error):
                        found.append(psutil.Process(int(pid)))
        return found

    def _other_rank(self, process: psutil.Process) -> psutil.Process | None:
        """Return the process if it leads another rank than ours."""
        ours = os.environ.get(RANK)
        if self._counts_ranks or ours is None:
            return None
        with suppress(psutil.Error, OSError):
            return process if process.environ().get(RANK, ours) != ours else None
        return None


def _listed_children(pid: int, thread: int | str | None = None) -> str | None:
    """Processes that a thread (the first one by default) started; ``None`` where the kernel does not list them."""
    try:
        with open(f"/proc/{pid}/task/{thread or pid}/children", encoding="ascii") as file:  # noqa: PTH123 - often
            return file.read()
    except OSError:
        return None


def _own_s(process: psutil.Process) -> float:
    """CPU time of a process in seconds: from its clock, in nanoseconds and without a file, else from its statistics."""
    with suppress(OSError, OverflowError, AttributeError):  # Windows has no such clock
        return time.clock_gettime((~process.pid << 3) | CPU_CLOCK)
    times = process.cpu_times()
    return float(times.user + times.system)
