"""CPU time of real processes, beside what the kernel says they took."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time

import psutil
import pytest

from lightning_energy.meters import process_tree
from lightning_energy.meters.process_tree import ProcessTree

pytestmark = pytest.mark.slow

TICKS_S = 0.05  # the kernel counts in units of 10 ms, of user's and system's time, of each process
BURN = """
import sys, time
def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end: pass
"""
CHILD = BURN + "burn(0.3); print('done', flush=True); sys.stdin.read()"
PARENT = (
    BURN
    + f"""
import subprocess
child = subprocess.Popen([sys.executable, "-c", {CHILD!r}], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
print(child.stdout.readline(), end="", flush=True)
sys.stdin.readline()
child.communicate()
print("ended", flush=True)
sys.stdin.read()
"""
)


def burn(seconds: float) -> None:
    end_s = time.process_time() + seconds
    while time.process_time() < end_s:
        pass


def start(script: str = CHILD, **env: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **env},
    )


def end_of(child: subprocess.Popen[str]) -> None:
    """Let it end without waiting for it, so that it stays a zombie."""
    child.stdin.close()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)


def used_s() -> float:
    """CPU time of this process and of its children that were waited for, by another call of the kernel."""
    uses = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(use.ru_utime + use.ru_stime for use in uses)


def others_s() -> float:
    """CPU time of the children that live, of other tests."""
    return sum(sum(child.cpu_times()[:4]) for child in psutil.Process().children(recursive=True))


def test_a_child_counts_once_while_it_lives_as_a_zombie_and_when_it_has_been_waited_for():
    tree = ProcessTree()
    begin_s, begin_used_s = tree.cpu_s(), used_s()
    with start() as child:
        child.stdout.readline()
        times = psutil.Process(child.pid).cpu_times()
        alive_s = tree.cpu_s() - begin_s
        own_s = used_s() - begin_used_s
        assert alive_s == pytest.approx(own_s + times.user + times.system, abs=TICKS_S)
        assert alive_s > 0.3
        end_of(child)
        zombie_s = tree.cpu_s() - begin_s
    waited_s = tree.cpu_s() - begin_s
    assert alive_s <= zombie_s <= waited_s
    assert waited_s == pytest.approx(used_s() - begin_used_s, abs=TICKS_S)


def test_children_of_children_and_those_that_were_there_before():
    with start(PARENT) as parent:
        parent.stdout.readline()  # the grandchild has burnt
        late = ProcessTree()
        late_s = late.cpu_s()
        assert late_s > time.process_time() + 0.3
        parent.stdin.write("\n")
        parent.stdin.flush()
        parent.stdout.readline()  # it has ended, and its parent waited for it
        assert late.cpu_s() - late_s == pytest.approx(0.0, abs=0.25)  # what the two took to end, and no 0.3 s again
        parent.communicate()
    assert late.cpu_s() == pytest.approx(used_s() + others_s(), abs=TICKS_S)


def test_a_child_that_nobody_saw_alive_counts_once_it_was_waited_for():
    tree = ProcessTree()
    begin_s, begin_used_s = tree.cpu_s(), used_s()
    with start() as child:
        child.communicate()
    assert tree.cpu_s() - begin_s == pytest.approx(used_s() - begin_used_s, abs=TICKS_S)
    assert used_s() - begin_used_s > 0.3


def test_other_ranks_below_us_are_not_ours_even_when_they_have_ended(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "0")
    ours, all_ranks = ProcessTree(), ProcessTree(other_ranks=True)
    begin_s, all_begin_s, begin_used_s = ours.cpu_s(), all_ranks.cpu_s(), used_s()
    with start(PARENT, LOCAL_RANK="1") as rank, start() as worker:
        rank.stdout.readline()
        worker.stdout.readline()
        own_s = used_s() - begin_used_s
        times = psutil.Process(worker.pid).cpu_times()
        expected_s = own_s + times.user + times.system
        assert ours.cpu_s() - begin_s == pytest.approx(expected_s, abs=TICKS_S)
        assert all_ranks.cpu_s() - all_begin_s > expected_s + 0.3
        rank.stdin.write("\n")
        rank.stdin.flush()
        rank.stdout.readline()  # its own worker has ended, and it waited for that
        assert ours.cpu_s() - begin_s == pytest.approx(expected_s, abs=2 * TICKS_S)
        end_of(rank)
        worker.communicate()
        ours.cpu_s()
    own_s = used_s() - begin_used_s
    assert all_ranks.cpu_s() - all_begin_s == pytest.approx(own_s, abs=TICKS_S)
    after_s = ours.cpu_s() - begin_s
    assert after_s < own_s - 0.3  # the other rank and its worker are in the children's time of this process
    assert after_s == pytest.approx(expected_s, abs=0.25)
    burn(0.1)
    assert ours.cpu_s() - begin_s - after_s == pytest.approx(0.1, abs=TICKS_S)


def test_without_a_rank_of_our_own_all_children_are_ours(monkeypatch):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    tree = ProcessTree()
    begin_s = tree.cpu_s()
    with start(LOCAL_RANK="1") as rank:
        rank.stdout.readline()
        assert tree.cpu_s() - begin_s > 0.3


FORGETS = (
    BURN
    + """
import json, os, signal
from lightning_energy.meters.process_tree import ProcessTree
tree = ProcessTree()
signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel forgets children, and their CPU time with them
(burnt, burnt_to), (go, go_to) = os.pipe(), os.pipe()
pid = os.fork()
if pid == 0:
    burn(0.3); os.write(burnt_to, b"x"); os.read(go, 1); os._exit(0)
os.read(burnt, 1)
sums = [tree.cpu_s()]
os.write(go_to, b"x")
try: os.waitpid(pid, 0)
except ChildProcessError: pass
for _ in range(3):
    sums.append(tree.cpu_s())
burn(0.2)
print(json.dumps([*sums, tree.cpu_s()]))
"""
)


def test_what_a_child_took_whom_the_kernel_forgot_stays_counted():
    done = subprocess.run([sys.executable, "-c", FORGETS], capture_output=True, text=True, check=True)
    sums_s = json.loads(done.stdout)
    assert sums_s == sorted(sums_s)
    assert sums_s[0] > 0.3
    assert sums_s[-1] - sums_s[0] == pytest.approx(0.2, abs=TICKS_S)


def test_a_sum_that_falls_for_a_moment_is_held():
    tree = ProcessTree()
    tree._has_fallen = False
    assert [tree._held(sum_s) for sum_s in (10.0, 11.0, 4.0, 11.5)] == [10.0, 11.0, 11.0, 11.5]
    assert [tree._held(sum_s) for sum_s in (4.5, 4.75, 5.0, 6.0)] == [11.5, 11.5, 11.75, 12.75]


def test_without_the_kernels_list_all_processes_are_gone_through(monkeypatch):
    monkeypatch.setattr(process_tree, "_listed_children", lambda pid, thread=None: None)
    tree = ProcessTree()
    begin_s, begin_used_s = tree.cpu_s(), used_s()
    monkeypatch.setattr(process_tree, "SLOW_LOOK_S", 0.0)
    with start(PARENT) as parent:
        parent.stdout.readline()
        assert tree.cpu_s() - begin_s > 0.3
        parent.stdin.write("\n")
        parent.communicate()
    assert tree.cpu_s() - begin_s == pytest.approx(used_s() - begin_used_s, abs=TICKS_S)


def test_without_clocks_of_other_processes_their_statistics_do(monkeypatch):
    def refuse(clock):
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(time, "clock_gettime", refuse)
    tree = ProcessTree()
    begin_s = tree.cpu_s()
    with start() as child:
        child.stdout.readline()
        assert tree.cpu_s() - begin_s > 0.3 - TICKS_S


def test_of_another_process():
    with start() as child:
        child.stdout.readline()
        tree = ProcessTree(child.pid)
        assert tree.cpu_s() == pytest.approx(0.3, abs=0.3)
        child.communicate()
    with pytest.raises(psutil.NoSuchProcess):
        tree.cpu_s()
