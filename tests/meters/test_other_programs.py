from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import namedtuple

import psutil
import pytest

from lightning_energy.meters.other_programs import OtherPrograms

Times = namedtuple("Times", "user system idle iowait guest")  # noqa: PYI024 - psutil's own shape


@pytest.fixture
def machine(monkeypatch):
    """Four threads whose times and clock are set by hand; this process takes next to nothing meanwhile."""

    class Machine:
        now_s = 1000.0
        times = Times(100.0, 10.0, 1000.0, 5.0, 7.0)

        def pass_time(self, seconds: float, busy_s: float) -> None:
            self.now_s += seconds
            self.times = self.times._replace(user=self.times.user + busy_s, guest=self.times.guest + 50.0)

    machine = Machine()
    monkeypatch.setattr(psutil, "cpu_times", lambda: machine.times)
    monkeypatch.setattr(psutil, "cpu_count", lambda: 4)
    monkeypatch.setattr(time, "monotonic", lambda: machine.now_s)
    return machine


def test_share_of_all_cpu_time(machine):
    others = OtherPrograms()
    machine.pass_time(100.0, busy_s=100.0)
    assert others.share() == pytest.approx(0.25, abs=0.01)
    machine.pass_time(100.0, busy_s=400.0)
    assert others.share() == pytest.approx(500 / 800, abs=0.01)
    machine.pass_time(100.0, busy_s=10_000.0)
    assert others.share() == 1.0


def test_a_moment_is_too_short_to_say(machine):
    others = OtherPrograms()
    machine.pass_time(0.3, busy_s=1.2)
    assert others.share() is None


def test_this_process_is_no_other_program(machine):
    others, begin_s = OtherPrograms(), time.process_time()
    while time.process_time() < begin_s + 0.2:
        pass
    machine.pass_time(1.0, busy_s=0.2)
    assert others.share() == pytest.approx(0.0, abs=0.01)


def test_a_kernel_that_does_not_answer(machine, monkeypatch):
    def fail():
        raise OSError("no /proc")

    others = OtherPrograms()
    machine.pass_time(100.0, busy_s=100.0)
    monkeypatch.setattr(psutil, "cpu_times", fail)
    assert others.share() is None
    assert OtherPrograms().share() is None


def run(script: str, **env: str) -> list[str]:
    clean = {k: v for k, v in os.environ.items() if k not in {"LOCAL_RANK", *RANKS}}
    done = subprocess.run([sys.executable, "-c", script], env=clean | env, capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.parametrize(("variable", "is_parent"), [("LOCAL_RANK", True), ("NOTHING", False)])
def test_a_rank_that_was_launched_has_the_others_beside_it(variable, is_parent):
    script = (
        "from lightning_energy.meters.other_programs import _training; import os;"
        "print(*(p.pid for p in _training()), os.getpid())"
    )
    root, own = map(int, run(script, **{variable: "1"}))
    assert root == (os.getpid() if is_parent else own)


RANKS = ["SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK"]
SLEEP = "import sys; print('up', flush=True); sys.stdin.read()"
LAUNCHER = """
import json, os, subprocess, sys
own = {**os.environ}
def start(*command, **env):
    return subprocess.Popen(command, env={**own, **env}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
"""
RANK = (
    "import os, sys; from lightning_energy.meters.other_programs import _training;"
    "print(os.getpid(), *(p.pid for p in _training()), flush=True); sys.stdin.read()"
)


@pytest.mark.slow
@pytest.mark.parametrize("variable", RANKS)
@pytest.mark.parametrize("wrapped", [False, True])
def test_ranks_of_srun_and_mpi_are_the_training_and_what_else_their_parent_runs_is_not(variable, wrapped):
    wrap = '"sh", "-c", \'"$0" "$@"; true\', ' if wrapped else ""
    script = (
        LAUNCHER
        + f"""
other = start(sys.executable, "-c", {SLEEP!r})
second = start({wrap}sys.executable, "-c", {SLEEP!r}, {variable}="1")
beside = start(sys.executable, "-c", {SLEEP!r}, {variable}="0")
for process in (other, second, beside):
    process.stdout.readline()
rank = start({wrap}sys.executable, "-c", {RANK!r}, {variable}="0")
print(second.pid, rank.stdout.readline())
for process in (other, second, beside, rank):
    process.communicate()
"""
    )
    second, own, *training = map(int, run(script))
    assert training == [own, second]


@pytest.mark.slow
def test_other_programs_of_the_same_batch_script_are_not_the_training():
    """Slurm sets the rank for the script, and so for all that it starts."""
    script = (
        LAUNCHER
        + f"""
other = start(sys.executable, "-c", {SLEEP!r})
other.stdout.readline()
rank = start(sys.executable, "-c", {RANK!r})
print(rank.stdout.readline())
other.communicate()
rank.communicate()
"""
    )
    own, *training = map(int, run(script, SLURM_PROCID="0"))
    assert training == [own]
