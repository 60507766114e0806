"""The picture of imports: rooms stand on rooms, and arrows point down.

    callback   monitor   commands           whoever uses the package comes in here
    study                                   many trainings, one after the other, and their report
    training | comparison                   never meet
    results                                 one run: report, record, formats
    ledger                                  joules to accounts
    curves                                  readings to E(t)
    scores                                  accuracy and energy to a score
    meters                                  one file per vendor

Imports for type checkers count as well.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import lightning_energy

PACKAGE = Path(lightning_energy.__file__).parent
ROOMS = [
    {"callback", "monitor", "commands", "functional"},
    {"study"},
    {"training", "comparison"},
    {"results"},
    {"ledger"},
    {"curves"},
    {"scores"},
    {"meters"},
]
FLOOR = {room: floor for floor, rooms in enumerate(ROOMS) for room in rooms}
EVERYWHERE = {"_version"}
MOST_ENTRIES = 14
MOST_ATTRIBUTES = 15
LONGEST_CLASS = {"callback": 430}  # lines; 300 elsewhere
HEAVY = {"torch", "lightning", "torchmetrics"}
# only what talks to Lightning may import it
MAY_IMPORT_LIGHTNING = {"callback", "ledger.ranks"}


def modules() -> dict[str, Path]:
    """All modules but ``__init__`` of the package, which resolves the public names wherever they are."""
    paths = (p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")
    return {
        str(p.relative_to(PACKAGE).with_suffix("")).replace(os.sep, ".").removesuffix(".__init__"): p for p in paths
    }


@cache
def nodes(path: Path) -> list[ast.AST]:
    """Everything in a file's syntax tree."""
    return [*ast.walk(ast.parse(path.read_text(encoding="utf-8")))]


@cache
def imports(path: Path) -> frozenset[str]:
    """Every module that is imported, at run time, inside a function, or for type checkers alone."""
    found = set()
    for node in nodes(path):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(found)


def arrows() -> dict[str, set[str]]:
    """For each of our modules, those of ours that it imports."""
    known = modules()
    return {
        name: {t for i in imports(path) if (t := i.removeprefix("lightning_energy.")) in known and t not in {i, name}}
        for name, path in known.items()
    }


def room_of(module: str) -> str:
    return module.partition(".")[0]


def test_every_module_is_in_a_room():
    assert {room_of(name) for name in modules()} == {*FLOOR, *EVERYWHERE}
    entries = [p for p in PACKAGE.iterdir() if p.name not in {"py.typed", "__pycache__"}]
    assert len(entries) <= MOST_ENTRIES


def test_arrows_between_rooms_point_down():
    up = [
        f"{name} -> {target}"
        for name, targets in arrows().items()
        for target in targets
        if room_of(name) != room_of(target)
        and room_of(target) not in EVERYWHERE
        and FLOOR[room_of(target)] <= FLOOR[room_of(name)]
    ]
    assert up == []


def test_there_is_no_circle():
    packages = {name for name, path in modules().items() if path.name == "__init__.py"}
    graph = {name: targets - packages for name, targets in arrows().items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def classes(path: Path) -> list[ast.ClassDef]:
    return [node for node in nodes(path) if isinstance(node, ast.ClassDef)]


def attributes(cls: ast.ClassDef) -> set[str]:
    """The attributes that the methods of a class assign."""
    nodes = (node for node in ast.walk(cls) if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store))
    return {node.attr for node in nodes if isinstance(node.value, ast.Name) and node.value.id == "self"}


def test_classes_are_small():
    """EnergyCallback has an attribute for each of its arguments; it is a plug all the same."""
    large = [
        f"{name}: {cls.name}"
        for name, path in modules().items()
        for cls in classes(path)
        if (len(attributes(cls)) > MOST_ATTRIBUTES and name != "callback")
        or cls.end_lineno - cls.lineno >= LONGEST_CLASS.get(name, 300)
    ]
    assert large == []


def test_few_know_lightning():
    knowing = {n for n, p in modules().items() if any(i.split(".")[0] == "lightning" for i in imports(p))}
    assert {n for n in knowing if room_of(n) != "training"} <= MAY_IMPORT_LIGHTNING


def packages_loaded_by(statement: str) -> set[str]:
    """What is loaded, beside the standard library, in an interpreter of its own in which warnings are errors."""
    code = f"import sys; before = {{*sys.modules}}; {statement}; print(*{{*sys.modules}} - before, sep='\\n')"
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, timeout=280)
    assert (done.returncode, done.stderr) == (0, "")
    return {name.partition(".")[0] for name in done.stdout.splitlines()} - {*sys.stdlib_module_names}


def test_results_are_read_without_torch():
    names = ", ".join(f"lightning_energy.{name}" for name in sorted(modules()) if room_of(name) == "results")
    assert not HEAVY & packages_loaded_by(f"import {names}")


def test_importing_the_package_loads_nothing_else():
    assert packages_loaded_by("import lightning_energy") == {"lightning_energy"}


IMPORTS_ALL = """
import importlib, os, sys, sysconfig, threading
names, package = sys.argv[2:], sys.argv[1]
for name in names:  # once for the sake of others' modules, whose work is theirs
    importlib.import_module(name)
import pynvml
for name in [n for n in sys.modules if n.partition(".")[0] == "lightning_energy"]:
    del sys.modules[name]

code = [os.path.realpath(p) + os.sep for p in (package, *sysconfig.get_paths().values())]
work = ("socket.", "subprocess.", "os.fork", "os.posix_spawn", "os.exec", "os.system", "os.putenv",
        "os.mkdir", "os.remove", "os.rename", "os.kill", "signal.", "ctypes.dlopen", "urllib.", "shutil.", "tempfile.")
done = []

def look(event, arguments):
    if event == "open":
        path, mode, flags = arguments
        path = os.path.realpath(os.fsdecode(path)) if not isinstance(path, int) else str(path)
        is_code = path.startswith(tuple(code)) and path.endswith((".py", ".pyc", ".so"))
        if not is_code or flags & (os.O_WRONLY | os.O_RDWR):
            done.append(f"open {path} {mode}")
    elif event.startswith(work):
        done.append(f"{event} {arguments}")

class Watched(type(os.environ)):
    def __getitem__(self, key):
        done.append(f"environment {key}")
        return super().__getitem__(key)

    def __contains__(self, key):
        done.append(f"environment {key}")
        return super().__contains__(key)

    def __iter__(self):
        done.append("the whole environment")
        return super().__iter__()

start = threading.Thread.start
threading.Thread.start = lambda thread: (done.append(f"{thread}"), start(thread))
os.environ.__class__ = Watched
sys.addaudithook(look)
for name in names:
    importlib.import_module(name)
if pynvml.nvmlLib is not None:
    done.append("NVML")
print(*done, sep="\\n")
open(os.devnull).close(), os.getenv("HOME"), threading.Thread(target=int).start(), os.system("true")
assert len(done) >= 4, done  # the watch is awake
"""


@pytest.mark.slow
def test_no_module_does_work_when_imported(warm):
    """No thread, process, socket, library or file but code, nothing written, and the environment is not looked at."""
    names = ["lightning_energy", *(f"lightning_energy.{name}" for name in modules())]
    done = warm.run(IMPORTS_ALL, PACKAGE, *names, bare=True)
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, [], "")
