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
from lightning_energy.meters.handlers import forgive
from lightning_energy.meters.patience import NoThreadError, Question

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["START_S", "SideProcess", "can_start", "serve_parent", "set_timeout"]

START_S = 5.0  # time from the beginning until one is started: a short run needs none
PATIENCE_S = 0.2  # longest wait for its end, before it is killed and after
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
FOR_US = {"SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSEGV", "SIGSYS", "SIGTRAP"}  # signals of faults of its own


def can_start() -> bool:
    """Return true where such a process can be started: on Linux, by a Python of its own."""
    name = Path(sys.executable or "").name.lower()
    is_python = name.startswith(("python", "pypy"))  # a program with Python in it would run anew: the training, say
    return sys.platform == "linux" and not getattr(sys, "frozen", False) and is_python


class SideProcess:
    """A process of ours beside the training, from its start to its end.

    It ends when our end of the socket is closed, or its parent is gone.

    Attributes:
        sock: our end of the socket, once it was started and is not left.
        process: the process, as long.

    Args:
        boot: the code that it runs; its arguments are this process's identifier and release, and ``arguments``. Its
            standard input is the socket.
        needed: names of the packages that it imports, in this order.
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
        self._is_cut = False

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
        boot = "; ".join(["import sys; own = len(sys.path)", *map(_imported, self._needed), self._boot])
        ours, theirs = socket.socketpair(socket.AF_UNIX, self._kind)
        with theirs:
            for sock in (ours, theirs):
                sock.settimeout(None)  # whatever socket.setdefaulttimeout() says
            command = [sys.executable, "-I", "-S", "-B", "-c", boot, str(self._pid), __version__]
            try:
                process = subprocess.Popen(  # noqa: S603 - this interpreter, our module and boards' UUIDs
                    [*command, *self._arguments],
                    stdin=theirs.fileno(),  # a number that is free for it also where ours were closed
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
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

    def cut(self) -> None:
        """Let another thread that waits for it wait no more, nor for its end."""
        self._is_cut = True
        sock = self.sock
        if sock is not None and self.is_ours:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def leave(self) -> None:
        """Have nothing to do with it any more: what has not ended is killed."""
        starting, self._starting = self._starting, None
        if starting is not None:
            starting.leave(_drop, nobody_takes=True)
        sock, process = self.sock, self.process
        self.sock = self.process = None
        _close(sock)
        if process is not None and self.is_ours:
            _end(process, 0.0 if self._is_cut else PATIENCE_S)


class _Started(NamedTuple):
    sock: socket.socket
    process: subprocess.Popen[bytes]


def _imported(name: str) -> str:
    """Code that imports the package which this process has, whatever else of that name lies beside others."""
    module = import_module(name)
    folder = Path(str(module.__file__)).parent
    found = str(folder.parent if hasattr(module, "__path__") else folder)
    return f"sys.path[own:] = [{found!r}]; import {name}"


def _drop(started: _Started) -> None:
    """End a process that came too late."""
    _close(started.sock)
    _end(started.process, PATIENCE_S)


def _close(sock: socket.socket | None) -> None:
    if sock is not None:
        with suppress(OSError):  # the program has closed all files that it did not know
            sock.close()


def _end(process: subprocess.Popen[bytes], patience_s: float) -> None:
    try:
        process.wait(patience_s)
    except subprocess.TimeoutExpired:
        with forgive(Exception):  # privileges that were dropped, a sandbox, an audit hook: it ends with us at last
            process.kill()
            process.wait(PATIENCE_S)


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
    import resource  # noqa: PLC0415 - not on every system

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # no file of ours in the training's folder, whatever happens
    parent, release, *arguments = sys.argv[1:]
    sock = socket.socket(fileno=0)
    try:
        with suppress(OSError, *suppressed):  # the parent is gone, or does what we cannot
            if release == __version__:
                serve(sock, int(parent), arguments)
    finally:
        sock.close()
        os._exit(0)  # a call that hangs does not keep us
