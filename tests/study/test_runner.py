"""Studies in real processes, whose functions leave records without training."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from lightning_energy.study import StudyError, report, run
from lightning_energy.study.manifest import Attempt, Manifest, read_manifest
from lightning_energy.study.process import judge
from tests.records import put
from tests.study import trainings

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[2]
QUIET = {"idle_s": 0, "tell": lambda line: None}


PRELOAD = ("tests.study.heavy",)

TORCH = """
import os

def manual_seed(seed):
    os.environ["TORCH_SEED"] = str(seed)
"""


# modules that do something when they are loaded, which is not to happen here
LOADED = {
    "threaded": "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n",
    "on_a_board": (
        "import os\nfrom lightning_energy.study import template\ntemplate.DEVICES = ('/dev/zero',)\n"
        "os.open('/dev/zero', os.O_RDONLY)\n"
    ),
    "ends": "import os\nos._exit(7)\n",
}


@pytest.fixture(autouse=True)
def path(monkeypatch, tmp_path_factory):
    """Where processes find the tests, and a torch that takes seeds and no seconds to load: nothing is trained."""
    light = tmp_path_factory.mktemp("light")
    for name, content in {"torch": TORCH, **LOADED}.items():
        (light / f"{name}.py").write_text(content)
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    monkeypatch.setenv("PYTHONPATH", f"{light}{os.pathsep}{ROOT}")
    monkeypatch.setattr(sys, "path", [str(light), *sys.path])
    yield
    assert str(light) not in str(getattr(sys.modules.get("torch"), "__file__", ""))


@pytest.mark.slow
def test_runs_are_interleaved_kept_and_not_made_again(tmp_path):
    configs = {"small": {"kwh": 1.0}, "wide": {"kwh": 2.0, "does": "searches"}}
    lines = []
    done = run(configs, train=trainings.train, seeds=1, out=tmp_path / "s", idle_s=0, tell=lines.append)
    assert [a.kind for a in done.attempts] == ["warm-up", "run", "run"]
    done = run(configs, train=trainings.train, seeds=[0, 7], out=tmp_path / "s", warmup=0, idle_s=0, tell=lines.append)
    manifest = read_manifest(tmp_path / "s")
    assert manifest == done
    assert [a.kind for a in manifest.attempts] == ["warm-up", *["run"] * 4]
    assert {a.state for a in manifest.attempts} == {"done"}
    assert [(a.config, a.seed) for a in manifest.attempts[1:]] == [*manifest.plan]
    assert [seed for _, seed in manifest.plan] == [0, 0, 7, 7]
    assert lines[-1].startswith("[4/4] ")
    job = json.loads((tmp_path / "s" / manifest.attempts[1].folder / "job.json").read_text())
    assert job["train"] == "tests.study.trainings:train"
    again = run(configs, train=trainings.train, seeds=[0, 7], out=tmp_path / "s", warmup=0, **QUIET)
    assert again == manifest
    with pytest.raises(StudyError, match="holds a study with other configs, seeds: give the same, or give a new"):
        run({"small": {}}, train=trainings.train, seeds=1, out=tmp_path / "s", **QUIET)
    found = report(tmp_path / "s")
    assert {use: (spent.n, round(spent.energy_kwh, 3)) for use, spent in found.spent.items()} == {
        "runs": (4, 6.014), "warm-ups": (1, 1.0), "tuning": (2, 0.5)
    }  # fmt: skip
    assert len(found.comparison.runs) == 4
    assert found.problems == found.failed == ()


BAD = {
    "raises": "ValueError: no such model: see ",
    "exits": "it called sys.exit(3): see ",
    "leaves nothing": "it left no record: its Trainer needs an EnergyCallback and a logger",
    "is killed": "signal 9 ended it: see ",
    "trains twice": "it left 2 records of trainings, and a run has one",
}


@pytest.mark.slow
@pytest.mark.parametrize("preload", [(), PRELOAD], ids=["new", "fork"])
def test_what_fails_is_told_and_the_others_go_on(tmp_path, preload):
    configs = {name.replace(" ", "-"): {"does": name} for name in BAD} | {"fine": {}}
    study = run(configs, train=trainings.train, seeds=1, out=tmp_path, warmup=0, preload=preload, **QUIET)
    found = {a.config: a for a in study.attempts}
    assert found["fine"].state == "done"
    for name, why in BAD.items():
        attempt = found[name.replace(" ", "-")]
        assert attempt.state == "failed"
        assert attempt.why.startswith(why)
        assert attempt.why.isprintable()
    assert "no such" in (tmp_path / found["raises"].folder / "output.txt").read_text()
    assert len(run(configs, train=trainings.train, seeds=1, out=tmp_path, warmup=0, **QUIET).attempts) == 6
    with pytest.raises(StudyError, match="the warm-up of raises failed, and nothing else was begun: ValueError"):
        run({"raises": {"does": "raises"}}, train=trainings.train, out=tmp_path / "new", **QUIET)


@pytest.mark.slow
def test_a_run_that_failed_is_repeated_on_request_and_stays_in_the_report(tmp_path):
    configs = {"a": {"does": "fails once", "mark": str(tmp_path / "mark")}}
    ask = {"train": trainings.train, "seeds": 1, "out": tmp_path / "s", "warmup": 0, **QUIET}
    assert run(configs, **ask).state_of("a", 0) == "failed"
    assert run(configs, **ask).state_of("a", 0) == "failed"
    study = run(configs, **ask, retry_failed=True)
    assert [a.state for a in study.attempts] == ["failed", "done"]
    found = report(tmp_path / "s")
    assert found.failed[0].startswith("a, seed 0: failed: RuntimeError: out of memory: see ")
    assert (found.spent["failed"].n, found.spent["failed"].unknown, found.spent["runs"].n) == (1, 1, 1)


@pytest.mark.parametrize(("result", "state"), [({"code": 0, "why": ""}, "done"), ({"code": 1, "why": "x"}, "broken")])
def test_a_training_that_came_to_its_end_without_its_runner_counts(tmp_path, result, state):
    put(tmp_path / "runs/a/seed-0", 1.0, seed=0)
    (tmp_path / "runs/a/seed-0/result.json").write_text(json.dumps(result))
    left = Attempt("run", "a", 0, "runs/a/seed-0", "running", 1e9)
    plan = [("a", 0)]
    manifest = Manifest(
        "nowhere:train", {"a": {}}, [0], "randomized blocks", 0, plan, 0, None, "", 1e9, attempts=[left]
    )
    manifest.write(tmp_path)
    wrong = "nowhere:train"  # is not called where the run is done, and fails where it is repeated
    study = run({"a": {}}, train=wrong, seeds=1, out=tmp_path, warmup=0, **QUIET)
    assert study.attempts[0].state == state
    assert len(study.attempts) == (1 if state == "done" else 2)


def test_an_exit_code_that_the_system_cuts_off_counts_in_either_way(tmp_path):
    """Of sys.exit(256) the process's own code is 0."""
    put(tmp_path, 1.0, seed=0)
    (tmp_path / "result.json").write_text(json.dumps({"code": 256, "why": "it called sys.exit(256)"}))
    for code in (0, None):
        assert judge(tmp_path, code)[1].startswith("it called sys.exit(256): see ")


@pytest.mark.slow
def test_a_file_without_a_guard_is_told_so(tmp_path):
    file = tmp_path / "train.py"
    call = 'from lightning_energy import study\nstudy.run({"a": {}}, train=__file__ + ":train", out="elsewhere")\n'
    file.write_text(f"def train(config, seed, folder):\n    pass\n\n{call}")
    (attempt,) = run({"a": {}}, train=f"{file}:train", seeds=1, out=tmp_path / "s", warmup=0, **QUIET).attempts
    assert attempt.why.startswith("StudyError: study.run() was called while a run loaded its file: put the call below")


RUNNER = """
import json, signal, sys
from lightning_energy.study import run
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever runs the tests may ignore them, and children inherit that
signal.signal(signal.SIGINT, signal.default_int_handler)
configs, preload = map(json.loads, sys.argv[2:])
run(configs, train="tests.study.trainings:train", seeds=1, out=sys.argv[1], warmup=0, idle_s=0, preload=preload)
"""


def started(folder: Path, configs: dict, preload: Sequence[str]) -> subprocess.Popen:
    arguments = [str(folder), json.dumps(configs), json.dumps(preload)]
    return subprocess.Popen([sys.executable, "-c", RUNNER, *arguments], stderr=subprocess.PIPE, start_new_session=True)


def child_of(pid: int) -> int:
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)


def wait_for(file: Path) -> None:
    until_s = time.monotonic() + 200
    while not file.exists():
        assert time.monotonic() < until_s
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("end", "preload"),
    [(signal.SIGKILL, ()), (signal.SIGHUP, ()), (signal.SIGKILL, PRELOAD), (signal.SIGINT, PRELOAD)],
    ids=["SIGKILL", "SIGHUP", "SIGKILL-fork", "SIGINT-fork"],
)
def test_a_study_that_was_ended_in_the_middle_goes_on(tmp_path, end, preload):
    folder, mark = tmp_path / "s", tmp_path / "mark"
    configs = {"a": {}, "b": {"does": "hangs once", "mark": str(mark)}}
    runner = started(folder, configs, preload)
    wait_for(mark)
    ask = {"seeds": 1, "out": folder, "warmup": 0, **QUIET, "train": trainings.train}
    with pytest.raises(StudyError, match=rf"another runner works in .* \(process {runner.pid}\): wait"):
        run(configs, **ask)
    first = child_of(runner.pid)
    child = child_of(first) if preload else first
    runner.send_signal(end)
    _, said = runner.communicate(timeout=200)
    assert runner.returncode != 0
    assert (b"ending the training that runs" in said) is (end != signal.SIGKILL)
    if end == signal.SIGKILL:  # the training does not know yet that nobody waits for it
        with pytest.raises(StudyError, match=rf"a training that a runner left works in .* \(process {child}\)"):
            run(configs, **ask)
        os.kill(child, signal.SIGKILL)
        for process in {child, first}:
            with suppress(ProcessLookupError, FileNotFoundError):
                while "Z" not in Path(f"/proc/{process}/stat").read_text().split(")")[1][:3]:
                    time.sleep(0.01)
    states = {a.config: a.state for a in read_manifest(folder).attempts}
    assert states["b"] == ("running" if end == signal.SIGKILL else "broken")
    study = run(configs, **ask)
    assert [study.state_of(c, 0) for c in "ab"] == ["done", "done"]
    assert sorted(a.state for a in study.attempts) == ["broken", "done", "done"]
    assert [a.folder for a in study.attempts if a.config == "b"] == ["runs/b/seed-0", "runs/b/seed-0.attempt-2"]
    found = report(folder)
    assert found.spent["cut off"].n == 1
    assert found.spent["cut off"].energy_kwh == 1.0
    assert found.spent["runs"].energy_kwh == 2.0


@pytest.mark.slow
def test_forks_have_what_was_loaded_and_nothing_of_each_other(tmp_path, monkeypatch):
    monkeypatch.setenv("LOADS", str(tmp_path / "loads"))
    configs = {name: {"does": "tells"} for name in ("a", "b", "c")}
    ask = {"train": trainings.train, "out": tmp_path / "s", **QUIET, "preload": PRELOAD}
    study = run(configs, seeds=1, warmup=1, **ask)
    assert [a.state for a in study.attempts] == ["done"] * 4
    told = [json.loads((tmp_path / "s" / a.folder / "told.json").read_text()) for a in study.attempts]
    assert (tmp_path / "loads").read_text() == "loaded\n"  # once, before any
    for one, attempt in zip(told, study.attempts, strict=True):
        assert one["loaded"] is True
        assert one["left by others"] == 0  # whatever a run left in a module
        assert one["leads its session"] is True
        assert one["arguments"] == ["run", str(tmp_path / "s" / attempt.folder)]  # further ranks begin with them
        assert one["folder"] == str(Path.cwd())
        assert one["threads"] == 1
        assert json.loads((tmp_path / "s" / attempt.folder / "job.json").read_text())["preload"] == [*PRELOAD]
        assert one["cpu_s"] < 5.0  # its own, and not that of what was loaded
        output = (tmp_path / "s" / attempt.folder / "output.txt").read_text().splitlines()
        assert output == [f"print of {attempt.config}", f"write of {attempt.config}", f"end of {attempt.config}"]
    assert len({one["pid"] for one in told}) == 4
    assert {one["parent"] for one in told} != {os.getpid()}
    with pytest.raises(ProcessLookupError):
        os.kill(told[0]["parent"], 0)  # it ends with the study


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preload", "told"),
    [
        ("threaded", "a thread of its own runs: every run is a new process"),
        ("on_a_board", "a GPU was opened: every run is a new process"),
    ],
)
def test_what_cannot_be_forked_is_told_and_runs_are_new_processes(tmp_path, preload, told):
    lines = []
    configs = {"a": {"does": "tells"}}
    ask = {"seeds": 1, "out": tmp_path, "warmup": 0, "idle_s": 0}
    study = run(configs, train=trainings.train, tell=lines.append, preload=[preload], **ask)
    assert told in lines[0]
    assert study.state_of("a", 0) == "done"
    one = json.loads((tmp_path / study.attempts[0].folder / "told.json").read_text())
    assert one["parent"] == os.getpid()


def test_where_nothing_is_left_nothing_is_loaded(tmp_path):
    put(tmp_path / "runs/a/seed-0", 1.0, seed=0)
    done = Attempt("run", "a", 0, "runs/a/seed-0", "done", 1e9, record="runs/a/seed-0/energy.json")
    manifest = Manifest("nowhere:train", {"a": {}}, [0], "random", 0, [("a", 0)], 0, None, "", 1e9, attempts=[done])
    manifest.write(tmp_path)
    ask = {"seeds": 1, "order": "random", "out": tmp_path, "warmup": 0, **QUIET}
    assert run({"a": {}}, train="nowhere:train", preload=["ends"], **ask).state_of("a", 0) == "done"


def test_what_cannot_be_loaded_is_told_before_anything_is_run(tmp_path):
    for preload, why in (("nowhere.at_all", "No module named 'nowhere'"), ("ends", "exit code 7")):
        with pytest.raises(StudyError) as error:
            run({"a": {}}, train=trainings.train, seeds=1, out=tmp_path, warmup=0, preload=[preload], **QUIET)
        assert why in str(error.value)
        assert read_manifest(tmp_path).attempts == ()


def inner(config, seed, folder):
    """Cannot be found by another process under this name, as its name in the module is another."""


inner.__qualname__ = "test_it.<locals>.inner"


def nested(levels):
    found: dict = {}
    for _ in range(levels):
        found = {"a": found}
    return found


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"configs": {}}, "configs: give configurations by name"),
        ({"configs": {"a/b": {}}}, "configs: 'a/b' cannot be the name of a folder"),
        ({"configs": {"..": {}}}, "configs: '..' cannot be"),
        ({"configs": {"a": 3}}, "configs['a']=3: give a mapping"),
        ({"configs": {"a": {"f": len}}}, "configs: Object of type builtin_function_or_method is not JSON"),
        ({"configs": {"a": {"lr": float("nan")}}}, "give finite numbers"),
        ({"train": lambda config, seed, folder: None}, "another process cannot find it: give a function that a file"),
        ({"train": inner}, "another process cannot find it"),
        ({"train": "nowhere.py:train"}, "nowhere.py does not exist"),
        ({"train": "train"}, "give FILE.py:NAME or module:NAME"),
        ({"seeds": 0}, "seeds=0: give their number"),
        ({"seeds": [1, 1]}, "seeds=[1, 1]: give"),
        ({"seeds": True}, "seeds=True: give"),
        ({"seeds": 4294967296}, "seeds=4294967296: give at most 10000"),
        ({"part": None}, "part=None: give"),
        ({"out": None}, "out=None: give the path of a folder"),
        ({"out": "a\0b"}, "out='a\\x00b': give the path of a folder"),
        ({"configs": {"a": dict}}, "configs['a']=<class 'dict'>: give a mapping"),
        ({"configs": {"a": nested(900)}}, "configs: it nests too deeply: give finite numbers"),
        ({"part": (1, 2)}, "part=(1, 2): give"),
        ({"cooldown_s": False}, "cooldown_s=False: give seconds"),
        ({"configs": {"漢" * 100: {}}}, "cannot be the name of a folder: it has 300 bytes, and may have 200"),
        ({"configs": {"x" * 300: {}}}, "it has 300 bytes, and may have 200"),
        ({"order": "fast"}, "order='fast': give one of 'randomized blocks'"),
        ({"cooldown_s": -1}, "cooldown_s=-1: give seconds from 0 on"),
        ({"warmup": 1.5}, "warmup=1.5: give a whole number"),
        ({"preload": "torch"}, "preload='torch': give names of modules"),
        ({"preload": ["a b"]}, "preload=['a b']: give names of modules"),
        ({"part": "3/2"}, "part='3/2': give the number of this machine"),
        ({"part": "2/2"}, "part='2/2': there are only 1 configurations"),
    ],
)
def test_wrong_arguments_are_named_before_anything_is_run(tmp_path, arguments, problem):
    settings = {"configs": {"a": {}}, "train": trainings.train, "seeds": 1, "out": tmp_path / "s"} | arguments
    with pytest.raises(StudyError) as error:
        run(settings.pop("configs"), **settings, **QUIET)
    assert problem in str(error.value)
    assert str(error.value).isprintable()
    assert not (tmp_path / "s").exists()


FOREIGN = {
    "another program's manifest": (
        {"study.json": '{"study": "optuna"}', ".lock": "a lock of theirs"},
        "another program",
    ),
    "no JSON": ({"study.json": "theirs", ".lock": "a lock of theirs"}, "cannot be read"),
    "a lock alone": ({".lock": "a lock of theirs"}, "holds other things"),
    "a manifest without a lock": ({"study.json": '{"study": "optuna"}'}, "another program"),
    "a link": ({".lock": None}, "holds other things"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_lock_and_a_manifest_of_others_are_not_touched(tmp_path, name):
    files, problem = FOREIGN[name]
    folder, precious = tmp_path / "s", tmp_path / "precious"
    folder.mkdir()
    precious.write_text("123456")
    for file, content in files.items():
        if content is None:
            (folder / file).symlink_to(precious)
        else:
            (folder / file).write_text(content)
    with pytest.raises(StudyError, match=problem):
        run({"a": {}}, train=trainings.train, out=folder, **QUIET)
    assert precious.read_text() == "123456"
    assert {p.name for p in folder.iterdir()} == {*files}
    assert all(content is None or (folder / file).read_text() == content for file, content in files.items())


def test_another_function_does_not_go_on_with_a_study(tmp_path):
    plan = [("a", 0)]
    manifest = Manifest("/x/y.py:train", {"a": {}}, [0], "randomized blocks", 0, plan, 0, None, "", 1e9)
    for other in ("tests.study.trainings:train", f"{ROOT}/tests/study/trainings.py:train"):
        manifest.write(tmp_path)
        with pytest.raises(StudyError, match="holds a study with other train: give the same, or give a new folder"):
            run({"a": {}}, train=other, seeds=1, out=tmp_path, warmup=0, **QUIET)
        assert read_manifest(tmp_path).train == "/x/y.py:train"


def test_whatever_people_write_for_the_same_means_the_same(tmp_path, monkeypatch):
    """A home folder, seeds of NumPy, and an accent as its own letter, as macOS writes names."""
    monkeypatch.setenv("HOME", str(tmp_path))
    wanted = Manifest("x:y", {"é": {}}, [0, 1], "randomized blocks", 0, [("é", 0), ("é", 1)], 0, None, "", 1e9)
    wanted = replace(wanted, train="nowhere:train")
    wanted.write(tmp_path)
    study = run({"e\u0301": {}}, train="nowhere:train", seeds=np.arange(2), out="~", warmup=0, **QUIET)
    assert {a.state for a in study.attempts} == {"failed"}
    assert [*study.configs] == ["é"]


def test_a_folder_that_cannot_be_written_is_told_in_a_line(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Manifest, "write", full)
    with pytest.raises(StudyError, match=r"/s cannot be written: No space left on device: "):
        run({"a": {}}, train=trainings.train, out=tmp_path / "s", **QUIET)


def test_a_folder_with_other_things_is_not_touched(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(StudyError, match="holds other things, and no study.json: give a new folder"):
        run({"a": {}}, train=trainings.train, out=tmp_path, **QUIET)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(StudyError, match="cannot be used: .*: give a new folder"):
        run({"a": {}}, train=trainings.train, out=tmp_path / "thesis.txt", **QUIET)
