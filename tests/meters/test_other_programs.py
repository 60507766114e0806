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


@pytest.mark.parametrize(("variable", "is_parent"), [("LOCAL_RANK", True), ("NOTHING", False)])
def test_a_rank_that_was_launched_has_the_others_beside_it(variable, is_parent):
    script = "from lightning_energy.meters.other_programs import _training; import os; print(_training(), os.getpid())"
    env = {k: v for k, v in os.environ.items() if k != "LOCAL_RANK"} | {variable: "1"}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True)
    root, own = map(int, done.stdout.split())
    assert root == (os.getpid() if is_parent else own)
