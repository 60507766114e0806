"""The process that reads boards: ``python -c "…main()" PARENT RELEASE UUID…``, started by ``helper.py``.

It needs no CUDA, and ends when its parent does, however that ends.
"""

from __future__ import annotations

import os
import pickle
import socket
import threading
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from lightning_energy.curves.channel import Channel
from lightning_energy.curves.packets import MOST_BYTES, joined, packets
from lightning_energy.curves.relay import Relay
from lightning_energy.curves.sampler import Sampler
from lightning_energy.curves.side_process import serve_parent, set_timeout
from lightning_energy.meters.base import MeterError
from lightning_energy.meters.nvml import NvmlMeter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["LOOK_S", "main", "serve"]

T = TypeVar("T")

LOOK_S = 1.0  # time between two looks whether a call hangs
BATCH_LOOKS = 5  # looks between two messages: each wakes the training's process up, and is followed by a booking there
LONGEST_CALL_S = 1.0  # a call that takes longer hangs: the parent is to see to it itself
MOST_KNOTS = 20_000  # of a curve, that are kept where the parent takes no message: then nothing is read until it does


class Reporter:
    """Tells the parent what was read.

    Args:
        sock: connected with the parent.
        parent: its process identifier.
        relays: they have the channels that are read.
        lock: guards their curves.
    """

    def __init__(self, sock: socket.socket, parent: int, relays: Sequence[Relay], lock: threading.RLock) -> None:
        self._sock, self._parent, self._relays = sock, parent, relays
        self.sampler = Sampler([relay.channel for relay in relays], self._pause, lock)
        self._is_paused = False

    def _pause(self) -> None:
        """Read no more where too much waits for the parent, which was stopped: its counters count meanwhile."""
        if max(len(relay.channel.curve) for relay in self._relays) > MOST_KNOTS:
            self._is_paused = True
            self.sampler.end()

    def go_on(self) -> None:
        """Read and tell until the parent wants no more, or is gone."""
        self.sampler.start()
        word, is_over, looks = b"", False, 0
        while not is_over and os.getppid() == self._parent:
            try:
                word = self._sock.recv(64)
                is_over = not word
            except BlockingIOError:  # nothing was asked for
                word, looks = b"", looks + 1
                if looks < BATCH_LOOKS and not self._is_paused and not self._hangs():
                    continue
            if is_over:
                self.sampler.stop()
            self.tell(word.decode())
            looks = 0
            if self._is_paused and not is_over:
                self.sampler.stop()
                self._is_paused = False
                self.sampler.start()

    def tell(self, word: str) -> None:
        """Send what was read, and whether a call hangs."""
        news = pickle.dumps([relay.give() for relay in self._relays])
        send(self._sock, (word, self._hangs(), news), self._parent)

    def _hangs(self) -> bool:
        return self.sampler.longest_call_s() > LONGEST_CALL_S or self.sampler.failure is not None


def send(sock: socket.socket, message: object, parent: int) -> None:
    """Send a message; where the parent takes none for a while, as it is stopped, look now and then whether it lives."""
    for packet in packets(pickle.dumps(message)):
        _patiently(partial(sock.send, packet), parent)


def _patiently(call: Callable[[], T], parent: int) -> T:
    """Make a call that ends after a while without success again and again, as long as the parent lives.

    Others may hold the other end of the socket and outlive the parent, such as its forked workers.
    """
    while os.getppid() == parent:
        with suppress(BlockingIOError):
            return call()
    raise BrokenPipeError


def serve(sock: socket.socket, parent: int, uuids: Sequence[str]) -> None:
    """Open boards, tell the parent what they are, and read them when it says so.

    Args:
        sock: connected with the parent.
        parent: its process identifier.
        uuids: of the boards.

    Raises:
        OSError: the parent is gone.
    """
    set_timeout(sock, socket.SO_RCVTIMEO, LOOK_S)
    set_timeout(sock, socket.SO_SNDTIMEO, LOOK_S)
    meters = [NvmlMeter(uuid) for uuid in uuids]
    infos = [meter.open() for meter in meters]
    send(sock, [(info.device_id, info.quality, info.instant_power) for info in infos], parent)

    def receive() -> bytes:
        return _patiently(lambda: sock.recv(MOST_BYTES), parent)

    begun = joined(receive(), receive)
    if not begun:
        return
    lock = threading.RLock()
    relays = [Relay(meter, Channel(meter, info), lock) for meter, info in zip(meters, infos, strict=True)]
    news = pickle.loads(begun)  # noqa: S301 - of our own process
    if all(relay.begin(each) for relay, each in zip(relays, news, strict=True)):
        Reporter(sock, parent, relays, lock).go_on()


def main() -> None:
    """Read boards until the parent has enough, or is gone."""
    serve_parent(serve, MeterError)  # what we cannot read, the parent reads
