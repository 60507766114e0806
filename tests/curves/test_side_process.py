"""Where and how such a process starts, whatever its user's machine looks like."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import lightning_energy
from lightning_energy.curves import helper, side_process
from lightning_energy.curves.side_process import SideProcess, can_start
from lightning_energy.ledger import elsewhere
from tests.curves.test_sampler import wait_for

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="such a process is started on Linux only")

TELLS = "import socket; s = socket.socket(fileno=0); s.send(repr({}).encode()); s.close()"


def said(side: SideProcess) -> str:
    """What a process says that is started now; it has ended then."""
    assert side.start()
    wait_for(lambda: not side.is_starting)
    found = b"".join(iter(lambda: side.sock.recv(1 << 16), b"")).decode()
    process = side.process
    side.leave()
    assert process.returncode is not None
    return found


def test_every_package_is_the_one_that_the_parent_has(tmp_path, monkeypatch):
    """Others of these names lie in the working directory, beside ours, and beside theirs."""
    apart = tmp_path / "ours"
    apart.mkdir()
    (apart / "lightning_energy").symlink_to(Path(lightning_energy.__file__).parent)
    names = ["numpy", "psutil", "pynvml", "random", "typing", "threadpoolctl", "sitecustomize", "usercustomize"]
    for folder in (tmp_path, apart):
        for name in names:
            (folder / f"{name}.py").write_text("raise SystemExit(1)\n", encoding="utf-8")
    monkeypatch.setattr(lightning_energy, "__file__", str(apart / "lightning_energy" / "__init__.py"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PYTHONSTARTUP", str(tmp_path / "random.py"))
    monkeypatch.chdir(tmp_path)
    for module in (helper, elsewhere):
        main = module.BOOT.partition(";")[0]
        files = "{n: m.__file__ for n, m in sys.modules.items() if '.' not in n and getattr(m, '__file__', None)}"
        found = eval(said(SideProcess(f"{main}; {TELLS.format(files)}", module.NEEDED)))
        for name in module.NEEDED:
            assert found[name] == sys.modules[name].__file__
        assert found["random"] == sys.modules["random"].__file__
        assert not {"sitecustomize", "usercustomize", "site"} & {*found}


def test_packages_that_it_needs_are_all_named():
    """Each from a folder of its own, as where some are the system's, and others the user's."""
    for module in (helper, elsewhere):
        main = module.BOOT.partition(";")[0]
        of_python = "{*sys.stdlib_module_names, *sys.builtin_module_names}"
        found = f"[*{{n.partition('.')[0] for n in sys.modules}} - {of_python}]"
        others = {n for n in eval(said(SideProcess(f"{main}; {TELLS.format(found)}", module.NEEDED))) if n[0] != "_"}
        assert others <= {*module.NEEDED}


CLOSED = """
import os, sys
from lightning_energy.curves.side_process import SideProcess
for number in map(int, sys.argv[2:]):
    os.close(number)
side = SideProcess(sys.argv[1], ("lightning_energy",))
assert side.start()
while side.is_starting:
    pass
found = side.sock.recv(100)
side.leave()
os._exit(0 if found == b"5" else 1)
"""


@pytest.mark.parametrize("closed", [[0], [1, 2], [0, 1], [0, 2], [0, 1, 2]])
def test_the_socket_arrives_where_a_daemon_has_closed_the_standard_files(closed):
    command = [sys.executable, "-c", CLOSED, TELLS.format(5), *map(str, closed)]
    assert subprocess.run(command, check=False, timeout=60).returncode == 0


def test_it_ends_where_the_program_has_closed_our_end_of_the_socket():
    """As one does that closes all files which it does not know: an error then would end the measuring."""
    side = SideProcess("import time; time.sleep(600)", ())
    assert side.start()
    wait_for(lambda: not side.is_starting)
    process = side.process
    os.close(side.sock.fileno())
    side.leave()
    assert process.wait(60) == -signal.SIGKILL


@pytest.mark.parametrize("error", [PermissionError(1, "Operation not permitted"), RuntimeError("no signals here")])
def test_a_process_that_may_not_be_killed_is_left_alone(error, monkeypatch):
    """As where the training has dropped its privileges since, or an audit hook forbids it: it must not end by that."""
    side = SideProcess("import time; time.sleep(600)", ())
    assert side.start()
    wait_for(lambda: not side.is_starting)
    process = side.process

    def refuse(*_: object) -> None:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(os, "kill", refuse)
        side.leave()
        assert process.poll() is None
    process.kill()
    assert process.wait(60) == -signal.SIGKILL


def test_there_is_no_process_without_a_limit_for_files_either(monkeypatch):
    def none(*_: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(socket, "socketpair", none)
    side = SideProcess("", ())
    assert side.start()
    wait_for(lambda: not side.is_starting)
    assert side.sock is side.process is None


PYTHONS = ["/usr/bin/python", "/opt/conda/bin/python3.12", "/venv/bin/pypy3", "/x/Python"]
OTHERS = [None, "", "/home/me/train", "/usr/bin/uwsgi", "/opt/blender/blender", "/tmp/train.bin"]


@pytest.mark.parametrize("executable", [*PYTHONS, *OTHERS])
def test_only_a_python_is_started(executable, monkeypatch):
    """A program with Python in it has itself as executable: a training that is compiled, say, would begin anew."""
    monkeypatch.setattr(sys, "executable", executable)
    assert can_start() == (executable in PYTHONS)


def test_none_is_started_by_a_frozen_program(monkeypatch):
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert not can_start()


def test_a_module_of_one_file_is_found_as_well(tmp_path, monkeypatch):
    (tmp_path / "lonely.py").write_text("HERE = 7\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    assert said(SideProcess(TELLS.format("lonely.HERE"), ("lonely",))) == "7"
    assert side_process._imported("lonely").count(str(tmp_path)) == 1


def test_a_package_in_an_archive_is_found_as_well(tmp_path, monkeypatch):
    import zipfile

    with zipfile.ZipFile(tmp_path / "app.zip", "w") as archive:
        archive.writestr("packed/__init__.py", "HERE = 8\n")
    monkeypatch.syspath_prepend(tmp_path / "app.zip")
    assert said(SideProcess(TELLS.format("packed.HERE"), ("packed",))) == "8"


def test_its_place_and_its_share_of_the_machine_are_those_of_the_training(monkeypatch):
    """The cores that a scheduler gave, the niceness, and what says which boards there are."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-1,GPU-2")
    monkeypatch.setenv("NVIDIA_VISIBLE_DEVICES", "GPU-2")
    names = ["CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"]
    facts = f"(os.sched_getaffinity(0), os.nice(0), *map(os.environ.get, {names}))"
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        found = said(SideProcess(f"import os; {TELLS.format(facts)}", ()))
    finally:
        os.sched_setaffinity(0, before)
    assert found == repr(({max(before)}, os.nice(0), "MIG-1,GPU-2", "GPU-2"))
