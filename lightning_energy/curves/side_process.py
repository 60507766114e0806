"""A process beside the training, for work that would else hold the training's interpreter up."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lightning_energy._version import __version__
from lightning_energy.meters.patience import NoThreadError, Question

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["START_S", "SideProcess", "can_start", "serve_parent", "set_timeout"]

START_S = 5.0  # time from the beginning until one is started: a short run needs none
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
FOR_US = {"SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSEGV", "SIGSYS", "SIGTRAP"}  # signals of faults of its own


def can_start() -> bool:
    """Return true where such a process can be started: on Linux, by a Python of its own."""
    return sys.platform == "linux" and not getattr(sys, "frozen", False) and bool(sys.executable)


class SideProcess:
    """A process of ours beside the training, from its start to its end.

    It ends when our end of the socket is closed, or its parent is gone.

    Attributes:
        sock: our end of the socket, once it was started and is not left.
        process: the process, as long.

    Args:
        boot: the code that it runs; its arguments are a socket, this process's identifier and release, and
            ``arguments``.
        needed: names of the packages that it imports.
        kind: of socket.
        arguments: further ones.
    """

    def __init__(
        self,
        boot: str,
        needed: Sequence[str],
        kind: socket.SocketKind = socket.SOCK_STREAM,
        arguments: Sequence[str] = (),
    ) -> None:
        self.sock: socket.socket | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self._boot, self._needed, self._kind, self._arguments = boot, needed, kind, [*arguments]
        self._pid = os.getpid()
        self._starting: Question[_Started] | None = None

    def start(self) -> bool:
        """Start it; false where none can be started. Waits for nothing: that is done in a thread of its own.

        A fork of another thread at that moment has its child hold a pipe that says when the process was started.
        """
        try:
            self._starting = Question(self._start)
        except NoThreadError:
            return False
        return True

    def _start(self) -> _Started:
        folders = dict.fromkeys(str(Path(str(import_module(name).__file__)).parent) for name in self._needed)
        paths = [str(Path(folder).parent) if Path(folder, "__init__.py").exists() else folder for folder in folders]
        boot = f"import sys; sys.path += {paths!r}; {self._boot}"
        ours, theirs = socket.socketpair(socket.AF_UNIX, self._kind)
        with theirs:
            for sock in (ours, theirs):
                sock.settimeout(None)  # whatever socket.setdefaulttimeout() says
            command = [sys.executable, "-I", "-S", "-B", "-c", boot, str(theirs.fileno()), str(self._pid), __version__]
            try:
                process = subprocess.Popen(  # noqa: S603 - this interpreter, our module and boards' UUIDs
                    [*command, *self._arguments],
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

    @property
    def is_starting(self) -> bool:
        """True until it was started, or could not be; then :attr:`sock` is there, or is not."""
        starting = self._starting
        if starting is None:
            return False
        if not starting.wait(0.0):
            return True
        self._starting = None
        with suppress(Exception):  # a limit of the system's, an audit hook, the interpreter's end: we do the work
            self.sock, self.process = starting.answer()
        return False

    @property
    def is_ours(self) -> bool:
        """False in a forked child, which has a copy of our end of the socket."""
        return os.getpid() == self._pid

    def end(self) -> None:
        """Let it end by itself, after it has sent what it has; waits for nothing."""
        sock = self.sock
        if sock is not None and self.is_ours:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_WR)

    def leave(self) -> None:
        """Have nothing to do with it any more: what has not ended is killed."""
        starting, self._starting = self._starting, None
        if starting is not None:
            starting.leave(_drop, nobody_takes=True)
        sock, process = self.sock, self.process
        self.sock = self.process = None
        if sock is not None:
            sock.close()
        if process is not None and self.is_ours:
            _end(process)


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


def serve_parent(serve: Callable[[socket.socket, int, list[str]], None], *suppressed: type[Exception]) -> None:
    """Do the work of such a process in it, and end it then.

    Not where another release was installed since the parent began, as beneath a notebook: each keeps its own state.

    Args:
        serve: does it; called with the socket, the parent's identifier, and the further arguments.
        suppressed: errors by which it ends, beside those of the socket.
    """
    for number in signal.valid_signals():
        if not isinstance(number, signal.Signals) or number.name not in FOR_US:
            with suppress(OSError):  # SIGKILL and SIGSTOP
                signal.signal(number, signal.SIG_IGN)  # whom they concern is the parent, with which this ends
    number_of_socket, parent, release, *arguments = sys.argv[1:]
    sock = socket.socket(fileno=int(number_of_socket))
    try:
        with suppress(OSError, *suppressed):  # the parent is gone, or does what we cannot
            if release == __version__:
                serve(sock, int(parent), arguments)
    finally:
        sock.close()
        os._exit(0)  # a call that hangs does not keep us
