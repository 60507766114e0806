from __future__ import annotations

import os
import pickle
import socket
import sys
import threading
import time
from contextlib import suppress

import pytest

from lightning_energy.curves import helper_process
from lightning_energy.curves.channel import Channel
from lightning_energy.curves.packets import MOST_BYTES, joined, packets
from lightning_energy.curves.relay import Relay
from lightning_energy.meters import NvmlMeter
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
        self.theirs = theirs
        self.thread = threading.Thread(target=self._serve, args=(theirs, parent), daemon=True)
        self.thread.start()

    def _serve(self, sock: socket.socket, parent: int) -> None:
        with sock, suppress(BrokenPipeError):
            helper_process.serve(sock, parent, [UUID])

    def next(self):
        message = joined(self._receive(), self._receive)
        return pickle.loads(message) if message else None

    def _receive(self) -> bytes:
        return self.sock.recv(MOST_BYTES)

    def go(self) -> Relay:
        """Let it read; our end of the channel."""
        meter = NvmlMeter(UUID)
        relay = Relay(meter, Channel(meter, meter.open()), threading.RLock())
        for packet in packets(pickle.dumps([relay.leave()])):
            self.sock.send(packet)
        return relay

    def end(self) -> None:
        self.sock.close()
        self.thread.join(60)
        assert not self.thread.is_alive()


def opened_of(message):
    """A message, with its news opened."""
    word, hangs, news = message
    return word, hangs, pickle.loads(news)


def test_a_helper_tells_what_it_is_asked_and_ends_when_the_parent_hangs_up(monkeypatch):
    monkeypatch.setattr(helper_process, "LOOK_S", 0.05)
    with SimulatedNvml([SimulatedGpu(100.0, uuid=UUID)]) as nvml:
        served = Served(os.getppid())
        assert served.next() == [(UUID, "measured", True)]
        opened = nvml.calls[COUNTER]
        relay, words = served.go(), []

        def saw(word: str) -> bool:
            said, hangs, (news,) = opened_of(served.next())
            assert not hangs
            assert relay.take(news)
            words.append(said)
            return said == word

        wait_for(lambda: saw("") and len(relay.channel.curve) > 5)
        served.sock.send(b"7")
        wait_for(lambda: saw("7"))
        assert words.count("7") == 1
        served.sock.shutdown(socket.SHUT_WR)
        found = served.next()
        while found is not None:
            assert relay.take(pickle.loads(found[2])[0])
            found = served.next()
        assert nvml.calls[COUNTER] > opened
        served.end()


def test_a_helper_whose_parent_is_stopped_reads_until_it_has_enough_and_then_again(monkeypatch):
    """A parent that takes no messages: neither they nor the curve grow without limit, and no joule is lost."""
    monkeypatch.setattr(helper_process, "MOST_KNOTS", 20)
    monkeypatch.setattr(helper_process, "LOOK_S", 0.01)
    monkeypatch.setattr("lightning_energy.curves.packets.MOST_BYTES", 1000)
    gpu = SimulatedGpu(100.0, uuid=UUID, counter_period_s=0.02)
    with SimulatedNvml([gpu]):
        served = Served(os.getppid())
        served.theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)  # the least that the system has
        assert served.next()
        relay = served.go()

        def reads() -> bool:
            return "lightning-energy-sampler" in [thread.name for thread in threading.enumerate()]

        def takes(after_ns: int) -> bool:
            _, hangs, (news,) = opened_of(served.next())
            assert not hangs
            assert relay.take(news)
            return (relay.channel.curve.end_ns or 0) > after_ns

        wait_for(reads)
        wait_for(lambda: not reads())
        rested_ns = time.monotonic_ns()
        wait_for(lambda: takes(rested_ns + 2 * 10**8))
        curve = relay.channel.curve
        found = curve.energy_between(curve.start_ns, curve.end_ns)
        assert found.missing_s == 0
        assert abs(found.energy_j - gpu.true_energy_j(curve.start_ns, curve.end_ns)) <= 3 * found.u_j
        served.end()


def test_a_helper_tells_of_a_call_that_hangs(monkeypatch):
    monkeypatch.setattr(helper_process, "LONGEST_CALL_S", 0.05)
    monkeypatch.setattr(helper_process, "LOOK_S", 0.1)
    with SimulatedNvml([SimulatedGpu(100.0, uuid=UUID)]) as nvml:
        served = Served(os.getppid())
        assert served.next()
        served.go()
        nvml.hangs[COUNTER] = threading.Event()
        wait_for(lambda: served.next()[1])
        nvml.hangs[COUNTER].set()
        served.end()


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
