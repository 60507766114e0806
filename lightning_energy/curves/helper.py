"""A process that reads the boards of a training, so that its interpreter need not wake up for each read."""

from __future__ import annotations

import ctypes
import pickle
import socket
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

from lightning_energy.curves.packets import MOST_BYTES, joined, packets
from lightning_energy.curves.side_process import SideProcess, can_start, set_timeout

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lightning_energy.curves.relay import News

__all__ = ["Helper", "can_help"]

BOOT = "from lightning_energy.curves.helper_process import main; main()"
NEEDED = ("numpy", "psutil", "pynvml", "lightning_energy")  # the packages that it imports
PATIENCE_S = 7.0  # time without a message after which the helper is asked, and after which it is given up
BEAT_S = 1.0  # time between two beats, where there are some


def can_help() -> bool:
    """Return true where a helper can be started: with the driver's own library."""
    library = getattr(sys.modules.get("pynvml"), "nvmlLib", None)
    return can_start() and isinstance(library, Helper.DRIVER)  # a simulated one lives in this process alone


class Helper(SideProcess):
    """A process that reads boards, from its start to its end.

    Args:
        uuids: of the boards.

    Attributes:
        DRIVER: type of the library that the helper can load as well.
    """

    DRIVER: ClassVar[type] = ctypes.CDLL

    def __init__(self, uuids: Sequence[str]) -> None:
        super().__init__(BOOT, NEEDED, socket.SOCK_SEQPACKET, uuids)
        self._beat: Callable[[], None] | None = None
        self._most_waits = 1  # for a message, until the helper is asked for one

    def look(self) -> list[tuple[Any, ...]] | None:
        """The helper's description of the boards, once it is there; empty where it has ended; ``None`` before."""
        if self.is_starting:
            return None
        try:
            return self._receive(socket.MSG_DONTWAIT) or []
        except BlockingIOError:
            return None

    def go(self, channels: list[News], beat: Callable[[], None] | None = None) -> None:
        """Let it read from now on.

        Args:
            channels: everything that it needs for that.
            beat: called about once a second while a message is waited for; ``None``: the thread sleeps as long.
        """
        sock, self._beat = self.sock, beat
        self._most_waits = 1 if beat is None else max(round(PATIENCE_S / BEAT_S), 1)
        if sock is not None:
            set_timeout(sock, socket.SO_RCVTIMEO, PATIENCE_S if beat is None else min(BEAT_S, PATIENCE_S))
            set_timeout(sock, socket.SO_SNDTIMEO, PATIENCE_S)
            with suppress(OSError):  # it has ended: there will be no message
                for packet in packets(pickle.dumps(channels)):
                    sock.send(packet, socket.MSG_NOSIGNAL)

    def ask(self, word: str) -> None:
        """Let it send at once what it has read, and repeat a word; waits for nothing."""
        sock = self.sock
        if sock is not None and self.is_ours:
            with suppress(OSError):
                sock.send(word.encode(), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)

    def receive(self) -> tuple[str, bool, bytes] | None:
        """The next message, waited for: the word that was asked, whether a call hangs, the news of each channel.

        Returns:
            The news are a pickled list of :data:`~lightning_energy.curves.relay.News`. ``None`` where there will be
            no message any more, or the helper says nothing.
        """
        for wait in range(2 * self._most_waits):
            try:
                message: tuple[str, bool, bytes] | None = self._receive(0)
            except BlockingIOError:
                if self._beat is not None:
                    self._beat()
                if wait + 1 == self._most_waits:
                    self.ask("?")
            else:
                return message
        return None

    def _receive(self, flags: int) -> Any:
        sock = self.sock
        if sock is None:
            return None
        try:
            first = sock.recv(MOST_BYTES, flags)
        except BlockingIOError:
            raise
        except OSError:
            return None
        try:
            message = joined(first, lambda: self._rest(sock))
            return pickle.loads(message) if message else None  # noqa: S301 - of our own process
        except Exception:  # noqa: BLE001 - it ended, or went wrong, within a message
            return None

    def _rest(self, sock: socket.socket) -> bytes:
        """The next packet of a message; a busy machine may keep it back for longer than a beat."""
        for _ in range(self._most_waits - 1):
            with suppress(BlockingIOError):
                return sock.recv(MOST_BYTES)
        return sock.recv(MOST_BYTES)
