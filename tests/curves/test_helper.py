from __future__ import annotations

import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from lightning.pytorch.callbacks import Callback

from lightning_energy.curves import follower, helper, side_process
from lightning_energy.curves import sampler as sampler_module
from lightning_energy.curves.channel import Channel
from lightning_energy.curves.packets import MOST_BYTES, packets
from lightning_energy.curves.relay import Relay
from lightning_energy.curves.sampler import Sampler
from lightning_energy.ledger import tail
from lightning_energy.ledger.session import Session
from lightning_energy.meters import NvmlMeter, ReplayMeter
from lightning_energy.meters.find import OpenMeters
from lightning_energy.training import spent_joules
from lightning_energy.training.spent_joules import SpentJoules
from tests.curves.test_sampler import wait_for
from tests.modules import Classifier, energy_callback, loader, make_trainer
from tests.sim.nvml import SimulatedGpu, SimulatedNvml
from tests.warm import assert_ended

if TYPE_CHECKING:
    from lightning_energy import EnergyCallback
    from tests.warm import Warm

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a helper is started on Linux only")

S = 10**9
UUID = "GPU-00000000-0000-0000-0000-000000000000"
OURS = helper.BOOT
# the same board in the helper: its counter counts since the same moment
BOOT = """
import tests.sim.nvml as sim
gpu = sim.SimulatedGpu(100.0, uuid={uuid!r})
nvml = sim.SimulatedNvml([gpu]).__enter__()
gpu.start_ns = {start_ns}
{also}
"""

# its messages come every half second
OFTEN = """from lightning_energy.curves import helper_process
helper_process.LOOK_S = 0.1"""


def boot(start_ns: int, also: str = "") -> str:
    return f"exec({BOOT.format(uuid=UUID, start_ns=start_ns, also=also)!r}); {OURS}"


@pytest.fixture
def board(monkeypatch):
    """A board that a helper can read: what a real driver shows to every process is simulated in each of them."""
    monkeypatch.setattr(helper.Helper, "DRIVER", object)
    monkeypatch.setattr(helper, "PATIENCE_S", 60.0)  # the machine may be busy
    monkeypatch.setattr(follower, "START_NS", 0)
    gpu = SimulatedGpu(100.0, uuid=UUID)
    with SimulatedNvml([gpu]) as nvml:
        monkeypatch.setattr(helper, "BOOT", boot(gpu.start_ns))
        gpu.nvml = nvml
        yield gpu


def sampler_of(*meters, settle=lambda: None) -> Sampler:
    return Sampler([Channel(m, m.open()) for m in meters], settle)


def read_by_a_helper() -> NvmlMeter:
    return NvmlMeter(UUID, helper=True)


def following(sampler: Sampler) -> follower.Follower:
    found = sampler._pollers[-1]
    wait_for(lambda: found.is_following)
    return found


def energy_j(channel: Channel, start_ns: int, end_ns: int) -> float:
    return channel.curve.energy_between(start_ns, end_ns).energy_j


def test_a_helper_reads_and_the_thread_ends_it(board, monkeypatch):
    """No poll is made here meanwhile, the curve goes on, and nothing is missing where one takes over from the other.

    The thread wakes up for a message, and does not open it: that is for those who need it.
    """
    settled, messages = [], []
    monkeypatch.setattr(helper, "BOOT", boot(board.start_ns, OFTEN))

    class Counted(helper.Helper):
        def receive(self):
            found = super().receive()
            messages.append(found)
            return found

    monkeypatch.setattr(follower, "Helper", Counted)
    sampler = sampler_of(read_by_a_helper(), ReplayMeter(50.0), settle=lambda: settled.append(1))
    sampler.start()
    (_, thread), (channel, other) = sampler._pollers, sampler.channels
    assert thread is following(sampler)
    assert thread.channels == [channel]
    wait_for(lambda: thread.catch_up(60.0) and channel.curve.end_ns)
    process, since_s, messages[:] = thread._helper.process, time.monotonic(), []
    calls = board.nvml.calls["nvmlDeviceGetTotalEnergyConsumption"]
    assert thread.catch_up(60.0)
    known_ns, n, settled[:] = channel.curve.end_ns, len(messages), []
    wait_for(lambda: len(messages) >= n + 3 and settled)
    assert channel.curve.end_ns == known_ns
    sampler.take_news()
    assert channel.curve.end_ns > known_ns
    known_ns = channel.curve.end_ns
    wait_for(lambda: channel.curve.end_ns > known_ns)  # where nobody opens them, it does
    most = (time.monotonic() - since_s) / (5 * 0.1) + 2
    assert len(messages) <= most
    assert thread.catch_up(60.0)
    assert board.nvml.calls["nvmlDeviceGetTotalEnergyConsumption"] == calls
    end_ns = time.monotonic_ns()
    sampler.finish(end_ns, 60.0)
    assert board.nvml.calls["nvmlDeviceGetTotalEnergyConsumption"] > calls
    assert process.wait(60) == 0
    start_ns = channel.curve.start_ns
    assert channel.curve.end_ns >= end_ns
    found = channel.curve.energy_between(start_ns, end_ns)
    assert found.missing_s == 0
    assert found.energy_j == pytest.approx(100.0 * (end_ns - start_ns) / S, rel=0.05)
    assert channel.troubles == other.troubles == {}
    assert settled
    assert channel.meter.uuid == UUID


# the driver hangs there from the first second on, but not here
HANGS = """import threading
from lightning_energy.curves import helper_process
helper_process.LONGEST_CALL_S = 0.05
hang = lambda: nvml.hangs.update(nvmlDeviceGetTotalEnergyConsumption=threading.Event())
threading.Timer(1.0, hang).start()"""
# the system lets it have no thread
NO_THREAD = """import threading
def refuse(self):
    raise RuntimeError("can't start new thread")
threading.Thread.start = refuse"""
# its points run backwards
BACKWARDS = f"""{OFTEN}
from lightning_energy.curves.relay import Relay
give = Relay.give
Relay.give = lambda self: (([2, 1], [0.0] * 2, [0] * 2, [0] * 2, [0.0] * 2), *give(self)[1:])"""
ALSO = {"hangs": HANGS, "has no thread": NO_THREAD, "tells what cannot be": BACKWARDS}


@pytest.mark.slow
@pytest.mark.parametrize("end", ["killed", "stopped", *ALSO])
def test_the_thread_polls_where_the_helper_dies_or_hangs(end, board, monkeypatch):
    if end == "stopped":
        monkeypatch.setattr(helper, "PATIENCE_S", 0.3)
    elif end in ALSO:
        monkeypatch.setattr(helper, "BOOT", boot(board.start_ns, ALSO[end]))
    sampler, before_ns = sampler_of(read_by_a_helper()), time.monotonic_ns()
    sampler.start()
    begun_ns, (channel,) = time.monotonic_ns(), sampler.channels
    thread = following(sampler)
    if end not in ALSO:
        assert thread.catch_up(60.0)
        os.kill(thread._helper.process.pid, signal.SIGKILL if end == "killed" else signal.SIGSTOP)
    wait_for(lambda: not thread.is_following)
    reads = channel.reads
    wait_for(lambda: channel.reads > reads + 10)
    end_ns = time.monotonic_ns()
    sampler.finish(end_ns, 60.0)
    found = channel.curve.energy_between(channel.curve.start_ns, channel.curve.end_ns)
    assert found.missing_s == 0
    # however busy the machine, all joules and none twice; a counter tells them within an update of 10 J at both ends
    least_j, most_j = board.true_energy_j(begun_ns, end_ns), board.true_energy_j(before_ns, time.monotonic_ns())
    assert least_j - 20.0 <= found.energy_j <= most_j + 20.0
    assert channel.troubles == {}
    assert thread._helper is None


MOST_CALLS_OF_A_MESSAGE = 45


def test_a_message_makes_few_calls(board, monkeypatch):
    """In the training's process, whose interpreter it holds up meanwhile: it is opened elsewhere."""
    monkeypatch.setattr(helper, "BOOT", boot(board.start_ns, OFTEN))
    counts: list[int] = [0]

    def count(_frame, event, _argument) -> None:
        counts[-1] += event in {"call", "c_call"}

    class Counted(helper.Helper):
        def receive(self):
            sys.setprofile(None)
            found = super().receive()
            counts.append(0)
            sys.setprofile(count)
            return found

    monkeypatch.setattr(follower, "Helper", Counted)
    meter = read_by_a_helper()
    session = Session(OpenMeters([(meter, meter.open())]))
    wait_for(lambda: len(counts) > 8)
    session.close()
    assert sorted(counts)[len(counts) // 2] <= MOST_CALLS_OF_A_MESSAGE


def test_a_budget_asks_for_what_is_known_of_the_last_second(board, monkeypatch):
    """The helper says nothing by itself here."""
    monkeypatch.setattr(helper, "BOOT", boot(board.start_ns, OFTEN.replace("0.1", "600.0")))
    meter = read_by_a_helper()
    session = Session(OpenMeters([(meter, meter.open())]))
    following(session._sampler)
    joules, since_ns = SpentJoules(session), time.monotonic_ns()
    wait_for(lambda: (joules.now_and_soon().known_ns or 0) > since_ns)
    session.close()


def test_figures_of_a_busy_machine_wait_for_the_last_seconds(board, monkeypatch):
    """A helper that answers late has read them: they are not missing. Only one that says nothing is waited for once."""
    monkeypatch.setattr(helper, "BOOT", boot(board.start_ns, OFTEN.replace("0.1", "600.0")))
    monkeypatch.setattr(sampler_module, "CATCH_UP_S", 0.0)  # no answer comes as soon
    monkeypatch.setattr(follower, "OLD_NS", 10**8)
    monkeypatch.setattr(follower, "OLD_CATCH_UP_S", 60.0)
    monkeypatch.setattr(tail, "LONGEST_TAIL_NS", 10**8)  # older power is not supposed to go on
    meter = read_by_a_helper()
    session = Session(OpenMeters([(meter, meter.open())]))
    session.mark(session.code(0, "train", "step"))
    thread, (channel,) = following(session._sampler), session.channels
    wait_for(lambda: thread.catch_up(60.0) and channel.curve.end_ns)

    def grow_old() -> int:
        known_ns = channel.curve.end_ns
        wait_for(lambda: time.monotonic_ns() - known_ns > 3 * 10**8)
        return known_ns

    known_ns = grow_old()
    session.totals()
    assert channel.curve.end_ns - known_ns > 10**8
    os.kill(thread._helper.process.pid, signal.SIGSTOP)
    grow_old()
    monkeypatch.setattr(follower, "OLD_CATCH_UP_S", 0.1)
    assert not thread.catch_up(0.0)
    monkeypatch.setattr(follower, "OLD_CATCH_UP_S", 600.0)
    assert not thread.catch_up(0.0)
    session.close()


def test_news_behind_some_that_cannot_be_are_not_taken(board):
    """They would go on from a point that is not there: what lies between would be a straight line."""
    meters = [read_by_a_helper(), NvmlMeter(UUID)]
    (ours, _), (theirs, other) = [(Channel(m, m.open()), m) for m in meters]
    lock = threading.RLock()
    thread, relay = follower.Follower([ours], lock, None), Relay(other, theirs, lock)
    (own,) = thread._relays
    wait_for(lambda: ours.poll(lock) or len(ours.curve) > 2)
    assert relay.begin(own.leave())
    known_ns, n = ours.curve.end_ns, len(theirs.curve)
    wait_for(lambda: theirs.poll(lock) or len(theirs.curve) > n + 2)
    thread._unopened.extend([b"no news", pickle.dumps([relay.give()])])
    thread.take_news()
    assert ours.curve.end_ns == known_ns
    assert not thread._unopened


def test_a_long_message_is_waited_for_longer_than_a_beat(monkeypatch):
    """A busy machine keeps the second packet back: the helper is not given up."""
    monkeypatch.setattr(helper, "BEAT_S", 0.01)
    monkeypatch.setattr(helper, "PATIENCE_S", 60.0)
    found = helper.Helper([UUID])
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        found.sock = ours
        found.go([], lambda: None)
        first, second = packets(pickle.dumps(("", False, b"0" * MOST_BYTES)))
        theirs.send(first)
        later = threading.Timer(0.1, theirs.send, [second])
        later.start()
        assert found.receive() == ("", False, b"0" * MOST_BYTES)
        later.join()


def test_a_forecast_knows_the_last_second(board, monkeypatch):
    """The helper says nothing by itself here; what is guessed of a stretch would be too much to tell anything by it."""
    monkeypatch.setattr(helper, "BOOT", boot(board.start_ns, OFTEN.replace("0.1", "600.0")))
    monkeypatch.setattr(sampler_module, "CATCH_UP_S", 60.0)  # the machine may be busy
    monkeypatch.setattr(spent_joules, "FRESH_NS", 10**8)
    meter = read_by_a_helper()
    session = Session(OpenMeters([(meter, meter.open())]))
    thread = following(session._sampler)
    joules, (channel,) = SpentJoules(session), session.channels
    wait_for(lambda: thread.catch_up(60.0) and channel.curve.end_ns)
    known_ns = channel.curve.end_ns
    wait_for(lambda: time.monotonic_ns() - known_ns > 3 * 10**8)
    assert joules.now().known_ns == known_ns
    assert joules.now_caught_up().known_ns > known_ns
    session.close()


def test_whoever_opens_news_that_cannot_be_lets_the_thread_poll(board, monkeypatch):
    """The thread sees it at the next message, which is asked for."""
    sampler = sampler_of(read_by_a_helper())
    sampler.start()
    thread = following(sampler)
    thread._unopened.append(b"no news")
    sampler.take_news()
    wait_for(lambda: thread._helper is None)
    end_ns = time.monotonic_ns()
    sampler.finish(end_ns, 60.0)
    (channel,) = sampler.channels
    assert channel.curve.energy_between(channel.curve.start_ns, end_ns).missing_s == 0


def test_beats_come_while_messages_do_not(board, monkeypatch):
    """A clock whose events are few is looked at more often than messages come."""
    monkeypatch.setattr(helper, "BEAT_S", 0.01)
    beats: list[int] = []
    meter = read_by_a_helper()
    sampler = Sampler([Channel(meter, meter.open())], lambda: None, beat=lambda: beats.append(1))
    sampler.start()
    thread = following(sampler)
    wait_for(lambda: len(beats) > 3)
    assert thread.catch_up(60.0)
    sampler.finish(time.monotonic_ns(), 60.0)


@pytest.mark.parametrize("end", ["finish", "stop"])
def test_the_end_waits_little_for_a_helper_that_says_nothing(end, board, monkeypatch):
    """Patience with a busy machine is long meanwhile; at the end the thread reads from where the last news left off.

    The thread first reads the boards, and waits for the helper's end then.
    """
    left_ns = []

    class Noted(helper.Helper):
        def leave(self) -> None:
            left_ns.append(channel.curve.end_ns)
            super().leave()

    monkeypatch.setattr(follower, "Helper", Noted)
    sampler = sampler_of(read_by_a_helper())
    sampler.start()
    (channel,) = sampler.channels
    thread = following(sampler)
    assert thread.catch_up(60.0)
    process, since_s = thread._helper.process, time.monotonic()
    os.kill(process.pid, signal.SIGSTOP)
    end_ns = time.monotonic_ns()
    if end == "finish":
        sampler.finish(end_ns, 60.0)
        assert left_ns[0] >= end_ns
        found = channel.curve.energy_between(channel.curve.start_ns, end_ns)
        assert found.missing_s == 0
        assert abs(found.energy_j - board.true_energy_j(channel.curve.start_ns, end_ns)) <= 3 * found.u_j
    else:
        assert sampler.stop()
    assert time.monotonic() - since_s < helper.PATIENCE_S / 2
    assert process.wait(60) == -signal.SIGKILL


def test_signals_to_everybody_are_not_for_the_helper(board):
    sampler = sampler_of(read_by_a_helper())
    sampler.start()
    thread = following(sampler)
    assert thread.catch_up(60.0)
    pid = thread._helper.process.pid
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGTSTP, signal.SIGALRM, signal.SIGXCPU):
        os.kill(pid, number)
    assert os.getsid(pid) == pid  # not of our terminal's group either
    assert thread.catch_up(60.0)
    assert thread.is_following
    assert sampler.stop()


REFUSALS = {
    "none can start": BlockingIOError(11, "Resource temporarily unavailable"),
    "an audit hook refuses": RuntimeError("no processes here"),
}


@pytest.mark.parametrize(
    "why",
    [
        *REFUSALS,
        "its start hangs",
        "it cannot import",
        "it knows another board",
        "another release",
        "it is not asked for",
    ],
)
def test_without_a_helper_the_thread_polls(why, board, monkeypatch):
    if why in REFUSALS:

        def refuse(*_: object, **__: object) -> None:
            raise REFUSALS[why]

        monkeypatch.setattr(subprocess, "Popen", refuse)
    elif why == "its start hangs":  # as where another thread forks at that moment: that child holds a pipe of Popen's
        started, real = threading.Event(), subprocess.Popen
        processes = []

        def hang(*args: Any, **kwargs: Any) -> subprocess.Popen[bytes]:
            assert started.wait(60)
            processes.append(real(*args, **kwargs))
            return processes[0]

        monkeypatch.setattr(subprocess, "Popen", hang)
        monkeypatch.setattr(follower, "READY_NS", 2 * 10**8)
    elif why == "it cannot import":
        monkeypatch.setattr(helper, "BOOT", "import lightning_energy.no_such_module")
    elif why == "it knows another board":
        board.has_instant = False
    elif why == "another release":  # which was installed since this process began
        monkeypatch.setattr(side_process, "__version__", "0.0.1")
    sampler = sampler_of(NvmlMeter(UUID, helper=why != "it is not asked for"))
    sampler.start()
    (channel,), (thread,) = sampler.channels, sampler._pollers
    wait_for(lambda: getattr(thread, "_helper", None) is None)
    reads = channel.reads
    wait_for(lambda: channel.reads > reads + 10)
    assert not getattr(thread, "is_following", False)
    assert sampler.stop()
    assert channel.troubles == {}
    assert sampler.failure is None
    if why == "its start hangs":
        started.set()
        wait_for(lambda: processes and processes[0].returncode is not None)  # it came too late, and was ended


@pytest.mark.parametrize("timeout_s", [0.01, 30.0])
def test_the_timeout_of_the_programs_sockets_is_not_ours(timeout_s, board):
    """Downloads have it set for the whole process: reads of the socket would fail, or be waited for in between."""
    before_s = socket.getdefaulttimeout()
    socket.setdefaulttimeout(timeout_s)
    try:
        sampler = sampler_of(read_by_a_helper())
        sampler.start()
        thread = following(sampler)
        assert thread.catch_up(60.0)
        assert thread.catch_up(60.0)
        assert thread.is_following
        assert sampler.stop()
    finally:
        socket.setdefaulttimeout(before_s)


def test_a_forked_child_leaves_the_helper_alone(board):
    """What ends in the child is its copy alone: both processes have the socket."""
    sampler = sampler_of(read_by_a_helper())
    sampler.start()
    thread = following(sampler)
    copy = os.fork()
    if not copy:
        sampler.end()
        thread._helper.end()
        thread._helper.leave()
        os._exit(0)
    assert os.waitpid(copy, 0)[1] == 0
    assert thread.catch_up(60.0)
    assert thread.is_following
    assert sampler.stop()


def test_to_ask_a_helper_that_is_left_at_that_moment_is_no_error():
    class Leaving(helper.Helper):
        """Its socket is gone at the second look."""

        looks = 0
        pair = socket.socketpair()

        @property
        def sock(self):
            self.looks += 1
            return self.pair[0] if self.looks == 1 else None

        @sock.setter
        def sock(self, _) -> None:
            self.looks = 0

    try:
        for call in (lambda h: h.ask("?"), lambda h: h.end(), lambda h: h.look(), lambda h: h.go([])):
            call(Leaving([UUID]))
    finally:
        for sock in Leaving.pair:
            sock.close()


def test_no_helper_where_the_driver_is_not_the_systems():
    with SimulatedNvml([SimulatedGpu(100.0, uuid=UUID)]):
        meter = read_by_a_helper()
        assert not follower.may_be_followed(Channel(meter, meter.open()))


class Followed(Callback):
    """Lets a training go on until a helper has read for a second; ends an epoch meanwhile."""

    def __init__(self, energy: EnergyCallback) -> None:
        self.energy, self.is_followed = energy, False

    def on_train_epoch_start(self, trainer, pl_module) -> None:
        session = self.energy._run.books.session
        (channel,), _ = session.channels, following(session._sampler)
        now_ns = time.monotonic_ns()
        wait_for(lambda: session.totals() and (channel.curve.end_ns or 0) > now_ns + S // 2)

    def on_train_epoch_end(self, trainer, pl_module) -> None:
        self.is_followed = self.energy._run.books.session._sampler._pollers[-1].is_following


@pytest.mark.slow
def test_a_training_that_a_helper_watches(board, tmp_path):
    energy = energy_callback(meters=read_by_a_helper())
    watch = Followed(energy)
    make_trainer(tmp_path, max_epochs=2, callbacks=[energy, watch]).fit(Classifier(), loader(), loader(8))
    assert watch.is_followed
    session = energy.report.session
    assert session.missing_s == 0
    assert session.quality == "measured"
    assert abs(session.energy_j - 100.0 * session.duration_s) <= 0.02 * session.energy_j


def test_a_copy_is_read_by_a_helper_as_well():
    meter = read_by_a_helper()
    assert [m.helper for m in (meter.twin(), pickle.loads(pickle.dumps(meter)), NvmlMeter(UUID))] == [True, True, False]


PARENT = """
import os, signal, sys, time
from lightning_energy.curves import follower, helper
from lightning_energy.curves.channel import Channel
from lightning_energy.curves.sampler import Sampler
from lightning_energy.meters import NvmlMeter
from tests.sim.nvml import SimulatedGpu, SimulatedNvml
helper.Helper.DRIVER, follower.START_NS, helper.PATIENCE_S = object, 0, 60.0
helper.BOOT = sys.argv[1]
with SimulatedNvml([SimulatedGpu(100.0, uuid=sys.argv[2])]):
    meter = NvmlMeter(sys.argv[2], helper=True)
    sampler = Sampler([Channel(meter, meter.open())], lambda: None)
    sampler.start()
    (thread,) = sampler._pollers
    while not thread.is_following:
        time.sleep(0.01)
    copy = os.fork()  # as a worker that outlives us: it holds a copy of our end of the socket
    if not copy:
        time.sleep(600)
        os._exit(0)
    print(thread._helper.process.pid, copy, flush=True)
    time.sleep(600)
"""


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def ends_with_a_parent_that_is_killed(*command: str) -> None:
    """Fails if the process that a program starts lives on when that is killed, but a fork of it with its socket does.

    Args:
        command: arguments of this Python, for a program that prints both their identifiers.
    """
    with subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, text=True) as parent:
        pid, copy = map(int, parent.stdout.readline().split())
        assert is_alive(pid)
        parent.kill()
        parent.wait(60)
        try:
            wait_for(lambda: not is_alive(pid))
            assert is_alive(copy)
        finally:
            os.kill(copy, signal.SIGKILL)


def has_no_handle_of_ours_and_loads_little(pid: int) -> None:
    """Fails for a process that has files of this one open, may leave one, or has more than NumPy loaded."""
    process = Path(f"/proc/{pid}")
    links = {str(link.readlink()).partition(":")[0] for link in (process / "fd").iterdir()}
    assert links <= {"/dev/null", "socket"}
    (core,) = [line.split()[4:6] for line in (process / "limits").read_text().splitlines() if "core file" in line]
    assert core == ["0", "0"]
    maps = (process / "maps").read_text(encoding="ascii")
    assert "numpy" in maps
    assert "torch" not in maps


@pytest.mark.slow
def test_the_helper_ends_with_a_parent_that_is_killed():
    ends_with_a_parent_that_is_killed("-c", PARENT, boot(0), UUID)


def test_the_helper_has_no_handle_of_ours_and_loads_little(board):
    ours, theirs = os.pipe()
    os.set_inheritable(theirs, True)  # noqa: FBT003 - positional only
    try:
        sampler = sampler_of(read_by_a_helper())
        sampler.start()
        has_no_handle_of_ours_and_loads_little(following(sampler)._helper.process.pid)
        assert sampler.stop()
    finally:
        os.close(ours)
        os.close(theirs)


RANKS = """
import json, os, sys, time
from pathlib import Path
from lightning_energy.curves import follower, helper
from lightning_energy.meters import NvmlMeter
from lightning.pytorch.callbacks import Callback
from tests.curves.test_sampler import wait_for
from tests.modules import Classifier, Numbers, energy_callback, make_trainer
from tests.sim.nvml import SimulatedGpu, SimulatedNvml
from torch.utils.data import DataLoader

helper.Helper.DRIVER, follower.START_NS, helper.PATIENCE_S = object, 0, 60.0
rank, out, start_ns, boot = int(os.environ["RANK"]), Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
uuid = f"GPU-0000000{rank}-0000-0000-0000-000000000000"
helper.BOOT = boot.replace("RANK", str(rank)).replace("POWER", str(100.0 * (1 + rank)))
gpu = SimulatedGpu(100.0 * (1 + rank), uuid=uuid)


class Followed(Callback):
    pid = 0

    def on_train_epoch_start(self, trainer, pl_module):
        (channel,) = energy._run.books.session.channels
        thread = energy._run.books.session._sampler._pollers[-1]
        wait_for(lambda: thread.is_following)
        self.pid = thread._helper.process.pid
        now_ns = time.monotonic_ns()
        wait_for(lambda: thread.catch_up(1.0) and (channel.curve.end_ns or 0) > now_ns + 5 * 10**8)


with SimulatedNvml([gpu]):
    gpu.start_ns = start_ns
    energy, watch = energy_callback(meters=NvmlMeter(uuid, helper=True), record=str(out)), Followed()
    trainer = make_trainer(out, max_epochs=1, callbacks=[energy, watch], strategy="ddp", devices=2)
    data = DataLoader(Numbers(16), batch_size=4, num_workers=1, persistent_workers=True, multiprocessing_context="fork")
    trainer.fit(Classifier(), data)
    try:
        left = os.waitpid(watch.pid, os.WNOHANG)
    except ChildProcessError:
        left = None
    devices = {d.device_id: (d.energy.power_w, d.energy.missing_s, d.energy.quality) for d in energy.report.devices}
    result = {"is_left": Path(f"/proc/{watch.pid}").exists() or left is not None, "devices": devices}
    (out / f"result{rank}.json").write_text(json.dumps(result))
"""


@pytest.mark.slow
def test_ranks_have_a_helper_each_and_leave_none(tmp_path, warm: Warm):
    """Each for its own board; workers are forked while helpers read, and hold copies of their sockets."""
    gpu = f"exec({BOOT.format(uuid='GPU-0000000RANK-0000-0000-0000-000000000000', start_ns=0, also='')!r}); {OURS}"
    gpu = gpu.replace("SimulatedGpu(100.0", "SimulatedGpu(POWER")
    (tmp_path / "train.py").write_text(RANKS)
    for done in warm.run_ranks(tmp_path / "train.py", 2, tmp_path, 0, gpu, cwd=tmp_path):
        assert_ended(done)
    zero, one = (json.loads((tmp_path / f"result{rank}.json").read_text()) for rank in range(2))
    assert not zero["is_left"]
    assert not one["is_left"]
    assert zero["devices"] == one["devices"]
    found = [zero["devices"][f"GPU-0000000{rank}-0000-0000-0000-000000000000"] for rank in range(2)]
    assert [power_w for power_w, *_ in found] == pytest.approx([100.0, 200.0], rel=0.1)  # a second on a busy machine
    assert [rest for _, *rest in found] == [[0, "measured"]] * 2
