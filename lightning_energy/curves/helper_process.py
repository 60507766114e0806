"""The process that reads boards for a training: ``python -c "…main()" SOCKET PARENT UUID…``, started by ``helper.py``.

It needs no CUDA, and ends when its parent does, however that ends.
"""

from __future__ import annotations

import json
import os
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from lightning_energy.curves.relay import NotedChannel, NotedMeter
from lightning_energy.curves.sampler import Sampler
from lightning_energy.curves.side_process import serve_parent, set_timeout
from lightning_energy.meters.base import MeterError
from lightning_energy.meters.nvml import NvmlMeter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["BATCH_S", "main", "serve"]

T = TypeVar("T")

BATCH_S = 1.0  # time between two messages: each wakes the training's process up, which costs more than what it brings
LONGEST_CALL_S = 1.0  # a call that takes longer hangs: the parent is to see to it itself
POLLS = 128  # most polls in one message


class Reporter:
    """Tells the parent what was read.

    Args:
        sock: connected with the parent.
        parent: its process identifier.
        channels: they are read.
        lock: guards their curves.
    """

    def __init__(self, sock: socket.socket, parent: int, channels: list[NotedChannel], lock: threading.RLock) -> None:
        self._sock, self._parent, self._channels = sock, parent, channels
        self.sampler = Sampler(channels, self.forget, lock)

    def forget(self) -> None:
        """Forget the curves: the parent has its own."""
        with self.sampler.lock:
            for channel in self._channels:
                if channel.curve.end_ns is not None:
                    channel.curve.forget_before(channel.curve.end_ns)

    def go_on(self) -> None:
        """Read and tell until the parent wants no more, or is gone."""
        self.sampler.start()
        word, is_over = b"", False
        while not is_over and os.getppid() == self._parent:
            try:
                word = self._sock.recv(64)
                is_over = not word
            except BlockingIOError:  # nothing was asked for: it is time for a message
                word = b""
            if is_over:
                self.sampler.stop()
            self.tell(word.decode())

    def tell(self, word: str) -> None:
        """Send what was read, and whether a call hangs; at least one message."""
        polls = [(k, polled.plain) for k, channel in enumerate(self._channels) for polled in channel.noted.take()]
        hangs = self.sampler.longest_call_s() > LONGEST_CALL_S or self.sampler.failure is not None
        while True:
            now, polls = polls[:POLLS], polls[POLLS:]
            send(self._sock, ("" if polls else word, hangs, now), self._parent)
            if not polls:
                return


def send(sock: socket.socket, message: object, parent: int) -> None:
    """Send a message; where the parent takes none for a while, as it is stopped, look now and then whether it lives."""
    data = json.dumps(message).encode()
    _patiently(lambda: sock.send(data), parent)


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
    set_timeout(sock, socket.SO_RCVTIMEO, BATCH_S)
    set_timeout(sock, socket.SO_SNDTIMEO, BATCH_S)
    meters = [NotedMeter(NvmlMeter(uuid)) for uuid in uuids]
    infos = [meter.open() for meter in meters]
    send(sock, [(info.device_id, info.quality, info.instant_power) for info in infos], parent)
    if not _patiently(lambda: sock.recv(64), parent):
        return
    channels = [NotedChannel(meter, info) for meter, info in zip(meters, infos, strict=True)]
    Reporter(sock, parent, channels, threading.RLock()).go_on()


def main() -> None:
    """Read boards until the parent has enough, or is gone."""
    serve_parent(serve, MeterError)  # what we cannot read, the parent reads
