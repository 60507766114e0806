"""A process that reads the boards of a training, so that its interpreter need not wake up for each read."""

from __future__ import annotations

import ctypes
import json
import os
import socket
import struct
import subprocess
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from lightning_energy.meters.patience import NoThreadError, Question

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Helper", "can_help", "set_timeout"]

BOOT = "from lightning_energy.curves.helper_process import main; main()"
NEEDED = ("lightning_energy", "numpy", "pynvml")  # the packages that it imports
PATIENCE_S = 1.0  # time without a message after which the helper is asked, and after which it is given up
MOST_BYTES = 1 << 20  # of a message
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def can_help() -> bool:
    """Return true where a helper can be started: on Linux, by a Python of its own, with the driver's own library."""
    if sys.platform != "linux" or getattr(sys, "frozen", False) or not sys.executable:
        return False
    library = getattr(sys.modules.get("pynvml"), "nvmlLib", None)
    return isinstance(library, Helper.DRIVER)  # a simulated one lives in this process alone


class Helper:
    """A process that reads boards, from its start to its end.

    It ends when our end of the socket is closed, or its parent is gone.

    Args:
        uuids: of the boards.

    Attributes:
        DRIVER: type of the library that the helper can load as well.
    """

    DRIVER: ClassVar[type] = ctypes.CDLL

    def __init__(self, uuids: Sequence[str]) -> None:
        self._uuids = [*uuids]
        self._pid = os.getpid()
        self._starting: Question[_Started] | None = None
        self._sock: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> bool:
        """Start the process; false where none can be started. Waits for nothing: that is done in a thread of its own.

        A fork of another thread at that moment has its child hold a pipe that says when the process was started.
        """
        try:
            self._starting = Question(self._start)
        except NoThreadError:
            return False
        return True

    def _start(self) -> _Started:
        folders = dict.fromkeys(str(Path(str(import_module(name).__file__)).parent) for name in NEEDED)
        paths = [str(Path(folder).parent) if Path(folder, "__init__.py").exists() else folder for folder in folders]
        boot = f"import sys; sys.path += {paths!r}; {BOOT}"
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            for sock in (ours, theirs):
                sock.settimeout(None)  # whatever socket.setdefaulttimeout() says
            command = [sys.executable, "-I", "-S", "-B", "-c", boot, str(theirs.fileno()), str(self._pid)]
            try:
                process = subprocess.Popen(  # noqa: S603 - this interpreter, our module and boards' UUIDs
                    [*command, *self._uuids],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    env={**os.environ, **ONE_THREAD},
                    start_new_session=True,  # the terminal's signals are not for it
                )
            except BaseException:
                ours.close()
                raise
        return _Started(ours, process)

    def look(self) -> list[list[Any]] | None:
        """The helper's description of the boards, once it is there; empty where it has ended; ``None`` before."""
        starting = self._starting
        if starting is not None:
            if not starting.wait(0.0):
                return None
            self._starting = None
            with suppress(Exception):  # a limit of the system's, an audit hook, the interpreter's end: we read as well
                self._sock, self._process = starting.answer()
        try:
            return self._receive(socket.MSG_DONTWAIT) or []
        except BlockingIOError:
            return None

    def go(self) -> None:
        """Let it read from now on."""
        sock = self._sock
        if sock is not None:
            set_timeout(sock, socket.SO_RCVTIMEO, PATIENCE_S)
        self.ask("go")

    def ask(self, word: str) -> None:
        """Let it send at once what it has read, and repeat a word; waits for nothing."""
        sock = self._sock
        if sock is not None and self._is_ours:
            with suppress(OSError):
                sock.send(word.encode(), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)

    def receive(self) -> tuple[str, bool, list[Any]] | None:
        """The next message, waited for: the word that was asked, whether a call hangs, the polls.

        Returns:
            ``None`` where there will be none any more, or the helper says nothing.
        """
        for _ in range(2):
            try:
                message: tuple[str, bool, list[Any]] | None = self._receive(0)
            except BlockingIOError:
                self.ask("?")
            else:
                return message
        return None

    def _receive(self, flags: int) -> Any:
        sock = self._sock
        if sock is None:
            return None
        try:
            data = sock.recv(MOST_BYTES, flags)
        except BlockingIOError:
            raise
        except OSError:
            return None
        return json.loads(data) if data else None

    def end(self) -> None:
        """Let it send what it has read, and end; waits for nothing."""
        sock = self._sock
        if sock is not None and self._is_ours:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_WR)

    def leave(self) -> None:
        """Have nothing to do with it any more: what has not ended is killed."""
        starting, self._starting = self._starting, None
        if starting is not None:
            starting.leave(_drop, nobody_takes=True)
        sock, process = self._sock, self._process
        self._sock = self._process = None
        if sock is not None:
            sock.close()
        if process is not None and self._is_ours:
            _end(process)

    @property
    def _is_ours(self) -> bool:
        """False in a forked child, which has a copy of our end of the socket."""
        return os.getpid() == self._pid


class _Started(NamedTuple):
    sock: socket.socket
    process: subprocess.Popen[bytes]


def _drop(started: _Started) -> None:
    """End a process that came too late."""
    started.sock.close()
    _end(started.process)


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(0.2)
    except subprocess.TimeoutExpired:
        process.kill()
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.2)


def set_timeout(sock: socket.socket, which: int, seconds: float) -> None:
    """Set a timeout in the system: Python's own waits in a call of its own before each."""
    sock.setsockopt(socket.SOL_SOCKET, which, struct.pack("ll", int(seconds), round(seconds % 1.0 * 1e6)))
