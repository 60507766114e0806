"""Python scripts in processes of their own, which need not import torch and Lightning first.

These imports cost many times what the scripts of the tests do. So one process has imported them, and forks whenever a
script is to run. It has a single thread and nothing of this package; a second one has this package, too. They are no
children of the process that runs the tests, which may so look at its own children.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack, closing
from pathlib import Path
from types import ModuleType
from typing import IO, Any

ROOT = Path(__file__).parent.parent
LOADED = [
    "torch",
    "torch.distributed.fsdp",
    "torchmetrics.classification",
    "lightning.fabric",
    "lightning.pytorch.loggers",
    "lightning.pytorch.strategies",
    "tensorboard.backend.event_processing.event_accumulator",
    "pytest",
]
PACKAGE = ["lightning_energy.callback", "lightning_energy.training.trainer_run", "lightning_energy.monitor"]
LONGEST_S = 280.0
SERVE = "import sys; from tests.warm import serve; serve(int(sys.argv[1]))"


def assert_ended(rank: subprocess.CompletedProcess[str]) -> None:
    """Assert that a rank did all it was to do: gloo's threads abort some at exit, 3 of 40 without any callback."""
    aborted = "terminate called without an active exception" in rank.stderr
    assert rank.returncode == 0 or aborted, rank.stdout + rank.stderr


class Process:
    """A script that runs."""

    def __init__(self, report: socket.socket) -> None:
        self._report, self._lines = report, report.makefile()
        self.pid = self._read(LONGEST_S)

    def _read(self, timeout_s: float) -> int:
        self._report.settimeout(timeout_s)
        return int(self._lines.readline())

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait(self, timeout_s: float = LONGEST_S) -> int:
        """Wait for its end.

        Returns:
            What ``subprocess`` calls its return code.

        Raises:
            TimeoutError: it ran for longer, and was killed.
        """
        with self._report, self._lines:
            try:
                return self._read(timeout_s)
            except TimeoutError:
                self.send_signal(signal.SIGKILL)
                raise


class Warm:
    """The process that forks; it ends with the one that made this object."""

    def __init__(self) -> None:
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            environment = {**os.environ, "PYTHONPATH": str(ROOT)}
            null = subprocess.DEVNULL
            command = [sys.executable, "-c", SERVE, str(theirs.fileno())]
            subprocess.run(command, env=environment, pass_fds=[theirs.fileno()], stdin=null, stdout=null, check=True)

    def close(self) -> None:
        self._requests.close()

    def start(
        self,
        script: str | Path,
        *arguments: object,
        stdin: int | IO[Any] | None = None,
        stdout: int | IO[Any],
        stderr: int | IO[Any],
        cwd: Path = ROOT,
        env: dict[str, str] | None = None,
        bare: bool = False,
    ) -> Process:
        """Start a script.

        Args:
            script: its text, or where it lies.
            arguments: become ``sys.argv[1:]``.
            stdin: nothing by default.
            stdout: a file.
            stderr: a file.
            cwd: the folder in which it runs.
            env: variables beside those of this process.
            bare: nothing of this package is loaded.
        """
        # coverage's own handler of SIGTERM would end a process before Lightning's does
        environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
        environment["PYTHONPATH"] = str(ROOT)  # of processes that it starts itself
        request = {
            "script": str(script),
            "is_file": isinstance(script, Path),
            "arguments": [str(a) for a in arguments],
            "cwd": str(cwd),
            "env": environment | (env or {}),
        }
        report, theirs = socket.socketpair()
        with theirs, open(os.devnull, "rb") as nothing:  # noqa: PTH123 - a file as the others, for its number
            files = [stdin or nothing, stdout, stderr, theirs]
            numbers = [f if isinstance(f, int) else f.fileno() for f in files]
            socket.send_fds(self._requests, [b"bare" if bare else b"package"], numbers)
        report.sendall(f"{json.dumps(request)}\n".encode())
        return Process(report)

    def run(
        self,
        script: str | Path,
        *arguments: object,
        cwd: Path = ROOT,
        env: dict[str, str] | None = None,
        bare: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """Run a script to its end; see `start`."""
        (done,) = self._run_all(script, *arguments, cwd=cwd, envs=[env or {}], bare=bare)
        return done

    def run_ranks(
        self, script: str | Path, n: int, *arguments: object, cwd: Path = ROOT
    ) -> list[subprocess.CompletedProcess[str]]:
        """Run a script in ``n`` processes, with the variables that ``torchrun`` gives to each."""
        with closing(socket.create_server(("127.0.0.1", 0))) as free:
            port = free.getsockname()[1]
        of_all = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "tests"}
        of_all |= {"GROUP_RANK": "0", "WORLD_SIZE": str(n), "LOCAL_WORLD_SIZE": str(n)}
        envs = [of_all | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(n)]
        return self._run_all(script, *arguments, cwd=cwd, envs=envs)

    def _run_all(
        self, script: str | Path, *arguments: object, cwd: Path, envs: list[dict[str, str]], bare: bool = False
    ) -> list[subprocess.CompletedProcess[str]]:
        with ExitStack() as stack:
            outputs = [
                [stack.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8")) for _ in range(2)] for _ in envs
            ]
            processes = [
                self.start(script, *arguments, stdout=out, stderr=err, cwd=cwd, env=env, bare=bare)
                for (out, err), env in zip(outputs, envs, strict=True)
            ]
            codes = [process.wait() for process in processes]
            texts = [[(file.seek(0), file.read())[1] for file in files] for files in outputs]
        return [subprocess.CompletedProcess([], code, *text) for code, text in zip(codes, texts, strict=True)]


def serve(number: int) -> None:
    """Fork for every request, until the other end is closed. Returns in a process that is to run a script, too."""
    if os.fork():
        os._exit(0)
    os.setsid()
    load(LOADED)
    requests = socket.socket(fileno=number)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for keepers
    second, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if is_second := os.fork() == 0:
        requests.close()
        requests = its
        second.close()
        load(PACKAGE)
    else:
        its.close()
    while True:
        message, files, _, _ = socket.recv_fds(requests, 64, 4)
        if not message:
            os._exit(0)
        if message == b"package" and not is_second:
            socket.send_fds(second, [message], files)
        elif os.fork() == 0:
            break
        for file in files:
            os.close(file)
    second.close()
    requests.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    keep(files)


def load(names: list[str]) -> None:
    """Import modules, and let no collection of garbage look at them again."""
    for name in names:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()


def keep(files: list[int]) -> None:
    """Fork once more; tell the number of that process, and how it ended."""
    *streams, report = files
    with socket.socket(fileno=report) as ours, ours.makefile() as lines:
        request = json.loads(lines.readline())
        pid = os.fork()
        if pid:
            for stream in streams:
                os.close(stream)
            ours.sendall(f"{pid}\n".encode())
            _, status = os.waitpid(pid, 0)
            ours.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
            os._exit(0)
    for place, stream in enumerate(streams):
        os.dup2(stream, place)
        os.close(stream)
    become(**request)


def become(script: str, arguments: list[str], cwd: str, env: dict[str, str], *, is_file: bool) -> None:
    """Run a script as ``python`` would run it."""
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.argv = [script if is_file else "-c", *arguments]
    sys.path[0] = str(Path(script).parent) if is_file else ""
    main = sys.modules["__main__"] = ModuleType("__main__")
    if is_file:
        main.__file__ = script
        script = Path(script).read_text(encoding="utf-8")
    exec(compile(script, main.__file__ if is_file else "<string>", "exec"), main.__dict__)
