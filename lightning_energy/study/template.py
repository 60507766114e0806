"""A process that has loaded what trainings need: each run is a fork of it, and need not load that again.

Torch and Lightning take some six seconds of CPU time to load, in short runs more than the training. A fork has
everything that was loaded, and is a process of its own in all other things: memory, CPU time, folder, output, end. This
process loads modules and does nothing else: it calls nothing of them, so that no pool of threads has begun, and no
seed, file or setting of one run is there for the next.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import warnings
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_energy.study.child import MODULE, OUTPUT
from lightning_energy.study.manifest import StudyError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Fork", "Template", "serve"]

CAN_FORK = sys.platform == "linux"  # macOS has libraries that do not bear it, and Windows has none
DEVICES = ("/dev/nvidia", "/dev/kfd", "/dev/dri")
"""Files of GPUs: a fork of a process that has opened one cannot use it."""

WORDS = 300  # of an error
LONGEST = 100_000  # bytes of a message
ENDS_S = 10.0


class Template:
    """The process, seen from the runner.

    Args:
        modules: names of the modules that it loads.
        keep: open files that it and its forks keep open while they live.
    """

    def __init__(self, modules: Sequence[str], keep: Sequence[int]) -> None:
        self.modules, self._keep = modules, keep
        self._process: subprocess.Popen[bytes] | None = None
        self._line: socket.socket | None = None

    def begin(self) -> str:
        """Load the modules in a new process.

        Returns:
            The reason why it cannot be forked; empty where it can.

        Raises:
            StudyError: a module cannot be loaded.
        """
        self.end()
        if not CAN_FORK:
            return f"{sys.platform} does not fork"
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, "-m", MODULE, "template", str(theirs.fileno())]
            self._process = subprocess.Popen(  # noqa: S603 - our own
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno(), *self._keep],
                start_new_session=True,
            )
        path = [p or os.getcwd() for p in sys.path]  # noqa: PTH109 - a text
        with suppress(OSError):
            self._line.sendall(json.dumps({"path": path, "modules": [*self.modules]}).encode())
        answer = _read(self._line)
        if not answer:
            raise StudyError(f"preload={[*self.modules]!r}: loading them ended with exit code {self._process.wait()}")
        found = json.loads(answer)
        if found["error"]:
            raise StudyError(f"preload={[*self.modules]!r}: {found['error']}")
        return str(found["unfit"])

    def fork(self, folder: Path) -> Fork:
        """Begin the run of a folder."""
        if self._process is not None and self._process.poll() is not None and (unfit := self.begin()):
            raise StudyError(f"preload={[*self.modules]!r}: its process ended, and a new one cannot be forked: {unfit}")
        if self._line is None:
            raise StudyError("the process that was to be forked has not begun")
        self._line.sendall(json.dumps(str(folder)).encode())
        return Fork(self._line)

    def end(self) -> None:
        """End the process. A fork that lives goes on."""
        if self._line is not None:
            self._line.close()
        if self._process is not None:
            try:
                self._process.wait(ENDS_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._line = self._process = None


class Fork:
    """A run in a fork; it has what the runner uses of a ``Popen``.

    Args:
        line: the connection to the process that it is a fork of, which says its number, and its exit code at its end.
    """

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._pid = 0
        self._code: int | None = None

    @property
    def pid(self) -> int:
        """The number of the process; -1 where it did not begin."""
        while not self._pid:
            self._hear()
        return self._pid

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end.

        Args:
            timeout: the longest wait in seconds.

        Returns:
            The exit code; negative for a signal. Where the process that it is a fork of ended first, it is killed.

        Raises:
            subprocess.TimeoutExpired: it has not ended yet.
        """
        pid = self.pid
        while self._code is None:
            if not select.select([self._line], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(f"fork {pid}", timeout or 0.0)
            self._hear()
        return self._code

    def _hear(self) -> None:
        """Take what is said, and only then off the connection: Ctrl-C may come in between."""
        said = _read(self._line, socket.MSG_PEEK).split()
        if not said:
            self._pid = self._pid or -1
            self.kill()
            self._code = -signal.SIGKILL
        elif said[0] == b"pid":
            self._pid = int(said[1])
        else:
            self._code = int(said[1])
        _read(self._line)

    def send_signal(self, number: int) -> None:
        """Send it a signal while it lives."""
        if self.pid > 0 and self._code is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it, with all that it started."""
        if self.pid > 0 and self._code is None:
            with suppress(OSError):
                os.killpg(self.pid, signal.SIGKILL)


def _read(line: socket.socket, flags: int = 0) -> bytes:
    """One message; empty at the end."""
    try:
        return line.recv(LONGEST, flags)
    except OSError:
        return b""


def serve(number: int) -> Path | None:
    """Load modules and fork for each folder that is asked for, until the runner ends.

    Args:
        number: the number of the open connection to the runner.

    Returns:
        The folder of a run: this process is its fork; ``None`` at the end.
    """
    line = socket.socket(fileno=number)
    asked = json.loads(_read(line) or b'{"path": [], "modules": []}')
    sys.path[:0] = [path for path in asked["path"] if path not in sys.path]
    error = ""
    try:
        for name in asked["modules"]:
            importlib.import_module(name)
    except BaseException as failed:  # noqa: BLE001 - whatever a module raises
        error = f"{name} cannot be loaded: {type(failed).__name__}: {' '.join(str(failed).split())}"[:WORDS]
    gc.collect()
    gc.freeze()  # what was loaded stays shared
    _answer(line, json.dumps({"error": error, "unfit": _unfit()}))
    while folder := _read(line):
        sys.stdout.flush()
        sys.stderr.flush()
        with warnings.catch_warnings():  # newer Pythons warn of any thread, also of such as bear it (OpenBLAS's)
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if not pid:
            line.close()
            return _begun(Path(json.loads(folder)))
        _answer(line, f"pid {pid}")
        _answer(line, f"code {os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}")
    return None


def _answer(line: socket.socket, text: str) -> None:
    with suppress(OSError):  # nobody waits any more
        line.sendall(text.encode())


def _begun(folder: Path) -> Path:
    """Make a fork what a new process of the same run is."""
    os.setsid()
    output = os.open(folder / OUTPUT, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    sys.argv[1:] = ["run", str(folder)]  # by which Lightning starts further ranks
    return folder


def _unfit() -> str:
    """The reason why this process must not be forked; empty without one."""
    if threading.active_count() > 1:
        return "a thread of its own runs"
    for file in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            if str(file.readlink()).startswith(DEVICES):
                return "a GPU was opened"
    return ""
