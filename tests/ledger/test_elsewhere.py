from __future__ import annotations

import gc
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading

import numpy as np
import pytest

from lightning_energy.curves import side_process
from lightning_energy.curves.curve import Curve
from lightning_energy.curves.side_process import SideProcess
from lightning_energy.ledger import elsewhere as module
from lightning_energy.ledger import ledger as ledger_module
from lightning_energy.ledger.elsewhere import Elsewhere
from lightning_energy.ledger.ledger import Ledger
from lightning_energy.meters import MeterInfo, ReplayMeter
from tests.curves.test_helper import ends_with_a_parent_that_is_killed, has_no_handle_of_ours_and_loads_little
from tests.curves.test_sampler import wait_for
from tests.ledger.plays import INFO, START, Clock, S, session_of
from tests.modules import Classifier, energy_callback, loader, make_trainer
from tests.sim import virtual_run
from tests.sim.virtual_run import PHASES, Result, Sensor, Work, play

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="such a process is started on Linux only")

OURS = module.BOOT
SHORT = Work(epochs=2, train_s=2.0, validate_s=0.3)
FINE = Sensor(update_s=0.02, lag_s=0.05)


@pytest.fixture
def at_once(monkeypatch):
    """No wait before it is started; and the machine may be busy."""
    monkeypatch.setattr(module, "START_S", 0.0)
    monkeypatch.setattr(module, "PATIENCE_S", 600.0)


@pytest.fixture
def beside(at_once):
    elsewhere = Elsewhere()
    wait_for(lambda: elsewhere._there() is not None)
    yield elsewhere
    elsewhere.leave()


def figures(result: Result) -> list[np.ndarray]:
    sharing = [book.sharing for book in result.ledger.books]
    kernels = [np.array([*s.found.kernel, s.found.u_lag_s, s.looked, s.is_final, len(s.rules)], float) for s in sharing]
    phases = [np.array([p.energy.energy_j, p.energy.u_j]) for p in result.phases]
    steps = [*result.ledger.take_steps()]
    return [result.found_j, result.u_j, *kernels, *phases, *steps]


CASES = {
    "a late counter": (Work(epochs=3), FINE, {}),
    "kinds of steps": (Work(epochs=3, step_s=0.05, kinds=((1.0, 1.0), (0.3, 2.0))), FINE, {}),
    "phases": (Work(epochs=2, phases=PHASES, step_s=0.05), FINE, {}),
    "two boards, smoothing": (Work(epochs=3), Sensor(update_s=0.02, ema_s=0.03), {"boards": 2}),
    "a register": (
        SHORT,
        Sensor(update_s=0.004),
        {"info": MeterInfo("d", "d", "measured", "package", update_period_s=0.001)},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_figures_are_those_of_the_thread(case, beside):
    work, sensor, more = CASES[case]
    for here, there in zip(
        figures(play(1, work, sensor, **more)), figures(play(1, work, sensor, **more, elsewhere=beside)), strict=True
    ):
        np.testing.assert_allclose(there, here, rtol=1e-6, atol=1e-9)  # sums in another order, by one thread of BLAS
    assert beside._there() is not None


def are_alike(ones: list[np.ndarray], others: list[np.ndarray]) -> None:
    for one, other in zip(ones, others, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-6, atol=1e-9)


def ahead(host_ns: int) -> int:
    """The device is 30 ms behind the host."""
    return host_ns + 30_000_000


class Behind:
    """A device's clock that is behind the host's, for :class:`DeviceClock`."""

    def __init__(self, now: list[int]) -> None:
        self.now = now

    stamp = staticmethod(ahead)

    def resolve(self, token: int) -> int | None:
        return token if token <= self.now[0] else None


@pytest.mark.parametrize("what", ["a register beside a counter", "a device's clock beside the host's"])
def test_boards_that_differ_are_booked_together(what, beside, monkeypatch):
    def two(curves, *, clock, **more) -> Ledger:
        if what == "a register beside a counter":
            return Ledger(curves, clock=clock, is_exact=[lambda: False, lambda: True], **more)
        now = [0]

        def noted() -> int:
            now[0] = clock()
            return now[0]

        return Ledger(curves, clock=noted, device_clock=Behind(now), on_device=[True, False], **more)

    monkeypatch.setattr(virtual_run, "Ledger", two)
    asked, send = [], module.send
    monkeypatch.setattr(module, "send", lambda sock, ask: asked.append(ask.begun is None) or send(sock, ask))
    work = Work(epochs=3)
    are_alike(*(figures(play(4, work, FINE, boards=2, elsewhere=e)) for e in (None, beside)))
    assert asked == [False, *[True] * (len(asked) - 1)]
    assert len(asked) > 5


def test_the_process_begins_anew_where_something_else_was_booked_meanwhile(beside, monkeypatch):
    """Each third booking is one of the thread's, and before each fifth the contents are asked for."""
    begun, send, work_out, settle, tasks = [], module.send, Elsewhere.work_out, Ledger.settle, []

    def sometimes(self, task, pause):
        tasks.append(task)
        return work_out(self, task, pause) if len(tasks) % 3 else None

    def settles(ledger, **more) -> None:
        if len(tasks) % 5 == 4:
            ledger.totals()
        settle(ledger, **more)

    monkeypatch.setattr(module, "send", lambda sock, ask: begun.append(ask.begun is not None) or send(sock, ask))
    here = figures(play(1, Work(epochs=3), FINE))
    monkeypatch.setattr(Ledger, "settle", settles)
    monkeypatch.setattr(Elsewhere, "work_out", sometimes)
    are_alike(here, figures(play(1, Work(epochs=3), FINE, elsewhere=beside)))
    assert len(begun) > 5
    assert begun == [k % 2 == 0 for k in range(len(begun))]


@pytest.mark.parametrize(("after", "settled_then"), [("a board", [True, False]), ("a while", [False, False])])
def test_a_process_that_is_there_while_the_thread_books_gets_the_rest(after, settled_then, beside, monkeypatch):
    """A search takes the thread a second for each board, and minutes beside a training that keeps Python busy."""
    here = figures(play(1, Work(epochs=3), FINE, boards=2))
    looks, done, settled, settle, work_out = [], [], [], Ledger.settle, ledger_module.work_out

    def is_there(elsewhere) -> bool:
        looks.append(1)
        return bool(done) if after == "a board" else len(looks) > 2

    def works_out(*given):
        booking = work_out(*given)
        done.append(booking)
        return booking

    def settles(ledger, **more) -> None:
        settle(ledger, **more)
        settled.append([book.settled_ns is not None for book in ledger.books])

    monkeypatch.setattr(Elsewhere, "is_there", property(is_there))
    monkeypatch.setattr(Ledger, "settle", settles)
    monkeypatch.setattr(ledger_module, "work_out", works_out)
    are_alike(here, figures(play(1, Work(epochs=3), FINE, boards=2, elsewhere=beside)))
    assert settled[:2] == [settled_then, [True, True]]


def test_registers_that_show_the_energy_at_once_need_no_process(at_once):
    elsewhere = Elsewhere()
    work, sensor, more = CASES["a register"]
    play(1, work, sensor, **more, elsewhere=elsewhere)
    assert not elsewhere._is_started


@pytest.mark.parametrize("end", ["killed", "stopped", "broken", "another release"])
def test_the_thread_goes_on_where_the_process_does_not(end, beside, monkeypatch):
    process, asked = beside._there().process, []
    send = module.send

    def ends_after(sock, message) -> None:
        asked.append(1)
        if len(asked) == 3:
            if end == "broken":
                message = message._replace(tables="nothing that can be booked")
            elif end == "another release":
                monkeypatch.setattr(module, "Done", lambda *_: "too few values")
            else:
                os.kill(process.pid, signal.SIGKILL if end == "killed" else signal.SIGSTOP)
        send(sock, message)
        if len(asked) == 2 and end == "stopped":
            monkeypatch.setattr(module, "PATIENCE_S", 0.3)

    monkeypatch.setattr(module, "send", ends_after)
    here, there = figures(play(2, SHORT, FINE)), figures(play(2, SHORT, FINE, elsewhere=beside))
    assert len(asked) == 3
    for one, other in zip(here, there, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-6, atol=1e-9)
    assert beside._there() is None
    assert process.wait(60) is not None


NO_ANSWERS = {
    "something else": lambda _: "nothing that was asked for",
    "another type": lambda done: done._replace(completed="many"),
    "no curve": lambda done: done._replace(books={}),
    "another curve": lambda done: done._replace(books={7: done.books[0]}),
    "too little of a curve": lambda done: done._replace(books={0: (*done.books[0][:3], None)}),
}


@pytest.mark.parametrize("which", [1, 4])
@pytest.mark.parametrize("what", NO_ANSWERS)
def test_the_thread_goes_on_after_what_is_no_answer(what, which, beside, monkeypatch):
    receive, answers = module.receive, []

    def wrong(*args):
        answers.append(receive(*args))
        return NO_ANSWERS[what](answers[-1]) if len(answers) == which else answers[-1]

    monkeypatch.setattr(module, "receive", wrong)
    here, there = figures(play(2, SHORT, FINE)), figures(play(2, SHORT, FINE, elsewhere=beside))
    assert len(answers) == which
    for one, other in zip(here, there, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-6, atol=1e-9)
    assert beside._there() is None


def test_a_process_of_another_release_works_nothing_out(monkeypatch, at_once):
    """One that was installed since this process began: it would book in another way, or keep what it books in one."""
    monkeypatch.setattr(side_process, "__version__", "0.0.1")
    elsewhere = Elsewhere()
    started, popen = [], subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: started.append(popen(*a, **k)) or started[-1])
    wait_for(lambda: elsewhere._there() is None and elsewhere._side is None)
    here, there = figures(play(2, SHORT, FINE)), figures(play(2, SHORT, FINE, elsewhere=elsewhere))
    for one, other in zip(here, there, strict=True):
        np.testing.assert_array_equal(other, one)
    assert elsewhere._there() is None
    assert started[0].wait(60) == 0


class Bytes:
    """A message of so many bytes."""

    def __init__(self, n: int) -> None:
        self.value = bytes(n - len(pickle.dumps((bytes(n),), pickle.HIGHEST_PROTOCOL)) + n)

    def plain(self) -> tuple[bytes]:
        return (self.value,)


@pytest.mark.parametrize("n", [100, *(k * module.PACKET + d for k in (1, 2) for d in (-1, 0, 1)), 10 * module.PACKET])
def test_messages_of_any_length_arrive_one_by_one(n):
    message, buffer = Bytes(n), bytearray(module.PACKET)
    assert len(pickle.dumps(message.plain(), pickle.HIGHEST_PROTOCOL)) == n
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def send_twice() -> None:
        for _ in range(2):
            module.send(theirs, message)
        theirs.close()

    with ours:
        thread = threading.Thread(target=send_twice)
        thread.start()
        for _ in range(2):
            assert module.receive(ours, lambda: None, buffer, lambda value: value) == message.value
        thread.join()
        with pytest.raises(EOFError):
            module.receive(ours, lambda: None, buffer, lambda value: value)


class StopError(Exception):
    pass


def test_what_ends_the_wait_ends_the_process(beside):
    process = beside._there().process
    os.kill(process.pid, signal.SIGSTOP)
    asked = []

    def pause() -> None:
        asked.append(1)
        raise StopError

    work_out, found = beside.work_out, []

    def asks(task, _):
        with pytest.raises(StopError):
            work_out(task, pause)
        found.append(1)

    beside.work_out = asks
    play(3, Work(epochs=1, train_s=1.0), FINE, elsewhere=beside)
    assert found == [1]
    assert beside._there() is None
    assert process.wait(60) is not None


def test_classes_that_are_new_meanwhile_have_their_own_numbers(beside, monkeypatch):
    """Kinds of steps are classes too: those found there had numbers that were given to others here."""
    work, sensor, _ = CASES["kinds of steps"]
    ledgers, play_ledger, send = [], module.Elsewhere.work_out, module.send

    def noted(self, task, pause):
        ledgers[:] = [task]
        return play_ledger(self, task, pause)

    def sends(sock, message) -> None:
        send(sock, message)
        classes = ledgers[0].classes
        classes._accounts.code(0, f"stage {len(classes.names)}", "step")
        _ = classes.is_step

    monkeypatch.setattr(Elsewhere, "work_out", noted)
    monkeypatch.setattr(module, "send", sends)
    here, there = play(1, work, sensor), play(1, work, sensor, elsewhere=beside)
    assert there.ledger.books[0].sharing.rules
    assert len(there.ledger.classes.names) == len({*there.ledger.classes.names})
    np.testing.assert_allclose(there.found_j, here.found_j, rtol=1e-2)


def test_classes_that_are_extended_while_the_process_works_are_told(beside, monkeypatch):
    """As by whoever asks for the contents while it is at its first booking, which had no mark yet."""
    send, asked = module.send, []

    def sends(sock, message) -> None:
        send(sock, message)
        asked.append(message)
        if len(asked) == 1:
            ledger.totals()

    monkeypatch.setattr(module, "send", sends)
    clock, curve = Clock(), Curve(INFO)
    ledger = Ledger([curve], clock=clock, elsewhere=beside)
    step = ledger.code(0, "train", "step")
    for second in range(5):
        clock.now_ns = START + second * S
        curve.add(clock.now_ns, 100.0 * second)
    clock.now_ns += S
    ledger.mark(step)  # behind the last knot
    ledger.settle()
    for second in range(6, 9):
        clock.now_ns = START + second * S
        curve.add(clock.now_ns, 100.0 * second)
    clock.now_ns += S
    ledger.settle()
    assert len(asked) == 2
    assert asked[0].news[0][0] == 0
    assert asked[1].news[0][0] == 1
    assert beside.is_there


def test_answers_do_not_grow_while_a_board_shows_nothing(beside, monkeypatch):
    """No mark is complete then: all of them wait here, and each is told once."""
    receive, told = module.receive, []

    def received(*args):
        done = receive(*args)
        told.append(done.books[0][3])
        return done

    monkeypatch.setattr(module, "receive", received)
    clock, curves = Clock(), [Curve(INFO), Curve(INFO)]
    ledger = Ledger(curves, clock=clock, elsewhere=beside)
    step = ledger.code(0, "train", "step")
    for second in range(60):
        clock.now_ns = START + second * S
        curves[0].add(clock.now_ns, 100.0 * second)
        clock.now_ns += S // 2
        ledger.mark(step)
        ledger.settle()
    assert beside.is_there
    assert len(told) > 50
    assert all(len(each.at_marks.energy_j) <= 2 for each in told)
    assert ledger.books[0].told == told[-1].end == 59
    curves[1].add(START, 0.0)
    curves[1].add(clock.now_ns, 100.0)
    ledger.settle(final=True)
    steps = ledger.take_steps()
    assert len(steps.energy_j) == 58
    assert steps.energy_j.sum() == pytest.approx(58 * (100.0 + 100.0 / 59.5), rel=1e-6)


REFUSALS = {
    "none can start": BlockingIOError(11, "Resource temporarily unavailable"),
    "an audit hook refuses": RuntimeError("no processes here"),
}


@pytest.mark.parametrize("why", [*REFUSALS, "it cannot import", "no thread can be started", "another system"])
def test_without_a_process_the_thread_books(why, at_once, monkeypatch):
    if why in REFUSALS:
        monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: (_ for _ in ()).throw(REFUSALS[why]))
    elif why == "it cannot import":
        monkeypatch.setattr(module, "BOOT", "import lightning_energy.no_such_module")
    elif why == "no thread can be started":
        monkeypatch.setattr(SideProcess, "start", lambda _: False)
    else:
        monkeypatch.setattr(sys, "platform", "darwin")
    elsewhere = Elsewhere()
    here, there = figures(play(2, SHORT, FINE)), figures(play(2, SHORT, FINE, elsewhere=elsewhere))
    for one, other in zip(here, there, strict=True):
        np.testing.assert_array_equal(other, one)
    elsewhere.leave()


def test_a_forked_child_leaves_the_process_alone(beside):
    copy = os.fork()
    if not copy:
        is_here = beside._there() is None
        beside.leave()
        os._exit(0 if is_here else 1)
    assert os.waitpid(copy, 0)[1] == 0
    play(2, Work(epochs=1, train_s=1.0), FINE, elsewhere=beside)
    assert beside._there() is not None


def test_a_session_that_nobody_closes_leaves_no_process(at_once):
    session = session_of(ReplayMeter(100.0, counter_period_s=0.02), helper=True)
    session.mark(session.code(0, "train", "step"))
    elsewhere = session._background.elsewhere
    wait_for(lambda: elsewhere._there() is not None)
    process = elsewhere._there().process
    del session
    gc.collect()
    assert process.wait(60) is not None


@pytest.mark.slow
def test_a_training_whose_bookings_a_process_works_out(at_once, tmp_path, monkeypatch):
    processes = []
    start = SideProcess._start
    monkeypatch.setattr(SideProcess, "_start", lambda self: processes.append(start(self)) or processes[-1])
    asked, send = [], module.send
    monkeypatch.setattr(module, "send", lambda *args: asked.append(1) or send(*args))
    energy = energy_callback(meters=ReplayMeter(100.0, counter_period_s=0.01), helper=True)

    class Waits(Classifier):
        def on_train_epoch_end(self) -> None:
            wait_for(lambda: len(asked) > self.current_epoch)

    make_trainer(tmp_path, max_epochs=2, callbacks=[energy]).fit(Waits(), loader(), loader(8))
    session = energy.report.session
    assert session.missing_s == 0
    assert abs(session.energy_j - 100.0 * session.duration_s) <= 3 * session.u_j + 1e-9
    (started,) = processes
    assert started.process.returncode is not None


PARENT = """
import os, sys, time
from lightning_energy.ledger import elsewhere
elsewhere.START_S = 0.0
beside = elsewhere.Elsewhere()
while beside._there() is None:
    time.sleep(0.01)
copy = os.fork()  # as a worker that outlives us: it holds a copy of our end of the socket
if not copy:
    time.sleep(600)
    os._exit(0)
print(beside._there().process.pid, copy, flush=True)
time.sleep(600)
"""


@pytest.mark.slow
def test_the_process_ends_with_a_parent_that_is_killed():
    ends_with_a_parent_that_is_killed("-c", PARENT)


def test_the_process_has_no_handle_of_ours_and_loads_little(beside):
    play(2, Work(epochs=1, train_s=1.0), FINE, elsewhere=beside)
    has_no_handle_of_ours_and_loads_little(beside._there().process.pid)
