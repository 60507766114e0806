from __future__ import annotations

import json
import os
import socket
import sys
import threading
from contextlib import suppress

import pytest

from lightning_energy.curves import helper_process
from tests.curves.test_sampler import wait_for
from tests.sim.nvml import SimulatedGpu, SimulatedNvml

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a helper is started on Linux only")

UUID = "GPU-00000000-0000-0000-0000-000000000000"
COUNTER = "nvmlDeviceGetTotalEnergyConsumption"


class Served:
    """The parent's end of a helper that runs in a thread of this process."""

    def __init__(self, parent: int) -> None:
        self.sock, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sock.settimeout(60.0)
        self.thread = threading.Thread(target=self._serve, args=(theirs, parent), daemon=True)
        self.thread.start()

    def _serve(self, sock: socket.socket, parent: int) -> None:
        with sock, suppress(BrokenPipeError):
            helper_process.serve(sock, parent, [UUID])

    def next(self):
        data = self.sock.recv(1 << 20)
        return json.loads(data) if data else None


def test_a_helper_tells_what_it_is_asked_and_ends_when_the_parent_hangs_up():
    with SimulatedNvml([SimulatedGpu(100.0, uuid=UUID)]) as nvml:
        served = Served(os.getppid())
        assert served.next() == [[UUID, "measured", True]]
        opened = nvml.calls[COUNTER]
        served.sock.send(b"go")
        words, polls = [], []

        def saw(word: str) -> bool:
            said, hangs, more = served.next()
            assert not hangs
            polls.extend(more)
            words.append(said)
            return said == word

        wait_for(lambda: saw("") and len(polls) > 5)
        served.sock.send(b"7")
        wait_for(lambda: saw("7"))
        assert words.count("7") == 1
        assert {k for k, _ in polls} == {0}
        moments_ns = [clock_ns[0] for _, (clock_ns, *_) in polls]
        assert moments_ns == sorted(moments_ns)
        served.sock.shutdown(socket.SHUT_WR)
        wait_for(lambda: served.next() is None)
        served.thread.join(60)
        assert not served.thread.is_alive()
        assert nvml.calls[COUNTER] > opened
        served.sock.close()


def test_a_helper_tells_of_a_call_that_hangs(monkeypatch):
    monkeypatch.setattr(helper_process, "LONGEST_CALL_S", 0.05)
    with SimulatedNvml([SimulatedGpu(100.0, uuid=UUID)]) as nvml:
        served = Served(os.getppid())
        assert served.next()
        served.sock.send(b"go")
        nvml.hangs[COUNTER] = threading.Event()
        wait_for(lambda: served.next()[1])
        nvml.hangs[COUNTER].set()
        served.sock.close()
        served.thread.join(60)
        assert not served.thread.is_alive()


def test_a_helper_that_is_not_let_go_ends_with_its_parent(monkeypatch):
    """A worker that was forked meanwhile, and outlives the parent, holds the other end of the socket."""
    parent = os.getppid()
    with SimulatedNvml([SimulatedGpu(100.0, uuid=UUID)]):
        served = Served(parent)
        assert served.next()
        monkeypatch.setattr(os, "getppid", lambda: parent + 1)
        served.thread.join(10)
        assert not served.thread.is_alive()
        served.sock.close()


def test_a_helper_ends_without_its_parent():
    """Also while others hold a copy of the parent's end of the socket, as forked workers do."""
    with SimulatedNvml([SimulatedGpu(100.0, uuid=UUID)]):
        served = Served(os.getpid())  # which is not the parent of this process
        served.thread.join(60)
        assert not served.thread.is_alive()
        served.sock.close()
