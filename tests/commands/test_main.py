"""The command as a whole: what it lists, loads and returns."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from lightning_energy import __version__
from lightning_energy.commands import doctor, main
from lightning_energy.commands.exits import Exit
from tests.commands.calls import HEAVY, call


def test_the_version_loads_nothing():
    called = call("--version")
    assert (called.code, called.out) == (0, f"lightning-energy {__version__}\n")
    assert called.cpu_s < 0.3
    assert not {*HEAVY, "numpy", "pynvml", "yaml"} & called.loaded


def test_the_help_lists_every_command_and_loads_none():
    called = call("--help")
    assert called.code == 0
    for name, help_ in main.COMMANDS.items():
        assert name in called.out
        assert help_[:40] in called.out
    assert not {*HEAVY, "numpy"} & called.loaded


def test_every_module_with_a_command_is_listed():
    folder = Path(main.__file__).parent
    modules = {path.stem: import_module(f"lightning_energy.commands.{path.stem}") for path in folder.glob("[!_]*.py")}
    assert {name for name, module in modules.items() if hasattr(module, "add_arguments")} == {*main.COMMANDS}


@pytest.mark.parametrize("name", main.COMMANDS)
def test_the_help_of_a_command(capsys, name):
    with pytest.raises(SystemExit) as exit_:
        main.main([name, "--help"])
    assert exit_.value.code == 0
    out = capsys.readouterr().out
    assert out.startswith(f"usage: lightning-energy {name}")
    assert "xit code" in out


@pytest.mark.parametrize("arguments", [[], ["--unknown"], ["study-my-runs"], ["--json", "doctor"]])
def test_wrong_commands(capsys, arguments):
    with pytest.raises(SystemExit) as exit_:
        main.main(arguments)
    assert exit_.value.code == 2
    assert "usage: lightning-energy" in capsys.readouterr().err


def test_ctrl_c(monkeypatch):
    def interrupt(_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(doctor, "diagnose", interrupt)
    assert main.main(["doctor"]) == 130


def test_an_unforeseen_error_never_looks_like_an_answer(monkeypatch, capsys):
    """1 says that energy rose, or that only an estimate is possible."""

    def fail(*_, **__):
        raise OverflowError("too large")

    monkeypatch.setattr(doctor, "diagnose", fail)
    assert main.main(["doctor"]) == 2
    assert capsys.readouterr().err == (
        "lightning-energy doctor: OverflowError: too large: an error of lightning-energy; report it with what "
        "`lightning-energy --debug doctor …` adds\n"
    )
    assert main.main(["--debug", "doctor"]) == 2
    assert "Traceback" in capsys.readouterr().err

    def full(*_, **__):
        raise OSError(28, "No space left on device", "energy.json")

    monkeypatch.setattr(doctor, "diagnose", full)
    assert main.main(["doctor"]) == 2
    assert "[Errno 28] No space left on device: 'energy.json': mend that, and call it again" in capsys.readouterr().err


def test_it_is_a_module_as_well():
    module = "lightning_energy.commands.main"
    done = subprocess.run([sys.executable, "-m", module, "--version"], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"lightning-energy {__version__}\n")


def test_exit_codes_are_numbers_for_shells():
    assert [*map(int, Exit)] == [0, 1, 2, 3, 130]
