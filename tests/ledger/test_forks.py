from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lightning_energy.curves.curve import Curve
from lightning_energy.ledger import forks
from lightning_energy.ledger import ledger as ledger_module
from lightning_energy.ledger.forks import without_forks
from lightning_energy.ledger.ledger import Ledger
from tests.ledger.plays import INFO, START, Clock, S

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(not hasattr(os, "register_at_fork"), reason="nothing is forked there")


def fork() -> None:
    child = os.fork()
    if not child:
        os._exit(0 if forks._forks.turn.acquire(blocking=False) else 1)
    assert os.waitpid(child, 0)[1] == 0


class Seen:
    """A lock that says when somebody waits for it."""

    def __init__(self) -> None:
        self._lock, self.is_wanted = threading.Lock(), threading.Event()

    def acquire(self, *args, **kwargs) -> bool:
        self.is_wanted.set()
        return self._lock.acquire(*args, **kwargs)

    def release(self) -> None:
        self._lock.release()

    __enter__ = acquire

    def __exit__(self, *_: object) -> None:
        self.release()


@pytest.fixture
def turn(monkeypatch):
    seen = Seen()
    monkeypatch.setattr(forks._forks, "turn", seen)
    monkeypatch.setattr(forks, "PATIENCE_S", 60.0)
    return seen


def ledger_with_news() -> Ledger:
    clock, curve = Clock(), Curve(INFO)
    ledger = Ledger([curve], clock=clock)
    ledger.mark(ledger.code(0, "train", "step"))
    for second in range(5):
        clock.now_ns = START + second * S
        curve.add(clock.now_ns, 100.0 * second)
    return ledger


@pytest.mark.parametrize("what", ["settle", "foresee"])
def test_a_fork_waits_for_the_end_of_a_piece(what, turn, monkeypatch):
    """Its child would be fine, but not the product that is worked out meanwhile, nor whoever asks for the next."""
    module = ledger_module if what == "settle" else sys.modules["lightning_energy.ledger.foreseen"]
    begun, order, ledger, work_out = threading.Event(), [], ledger_with_news(), module.work_out
    ledger.expected.is_new = what == "foresee"

    def slowly(due, groups, pause):
        turn.is_wanted.clear()
        begun.set()
        assert turn.is_wanted.wait(60)  # by who forks
        order.append("a piece")
        pause()
        return work_out(due, groups, pause)

    def forks_now() -> None:
        assert begun.wait(60)
        fork()
        order.append("forked")

    monkeypatch.setattr(module, "work_out", slowly)
    forking = threading.Thread(target=forks_now)
    forking.start()
    getattr(ledger, what)(pause=lambda: forking.join(60) if order else None)
    assert order == ["a piece", "forked"]


def test_the_training_waits_for_no_turn(turn):
    with without_forks(lambda: None):
        ledger = ledger_with_news()
        ledger.settle()
        ledger.expected.is_new = True
        ledger.foresee()
        ledger.settle(final=True)
    assert ledger.totals().energy().energy_j == 400.0


def test_what_ends_a_piece_lets_others_fork(turn):
    def ends() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), without_forks(ends) as pause:
        pause()
    fork()
    assert turn.acquire(blocking=False)


def test_a_fork_does_not_wait_for_ever(monkeypatch):
    monkeypatch.setattr(forks, "PATIENCE_S", 0.01)
    with without_forks(lambda: None) as pause:
        fork()
        pause()  # it still holds its turn
    fork()


FORKS = """
import faulthandler, os, threading
import numpy as np
from lightning_energy.ledger.forks import without_forks

faulthandler.dump_traceback_later(90, exit=True)  # also where the fork hangs
a, done, is_over = np.ones((3000, 200)), [0], threading.Event()

def work():
    while not is_over.is_set():
        with without_forks(lambda: is_over.wait(0.001)) as pause:
            for _ in range(3):
                pause()
                a.T @ a
                done[0] += 1

thread = threading.Thread(target=work, daemon=True)
thread.start()
forks = 0
while done[0] < 100:
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
    forks += 1
is_over.set()
thread.join(60)
print(forks > 10, not thread.is_alive())
"""


@pytest.mark.slow
def test_neither_products_nor_forks_hang():
    """With two threads of OpenBLAS either does at once where forks do not wait; NumPy asks for them at its import."""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "2", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", FORKS]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout.split() == ["True", "True"], done.stderr
