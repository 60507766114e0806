"""Check a built wheel and source archive: everything tracked is in them, and the wheel works where it is installed.

python .ci/check_wheel.py DIST TARGET: DIST holds one of each, and TARGET, a folder, gets the wheel and nothing else.
What the wheel depends on comes from the environment of the interpreter.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import PathDistribution
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "benchmarks/results/whatif-stopped.json"
BY_HATCHLING = {"PKG-INFO"}

IN_TARGET = """
import json, os, sys
from importlib.resources import files
import lightning_energy
target, record = sys.argv[1:]
assert lightning_energy.__file__.startswith(target), lightning_energy.__file__
for name in [*lightning_energy.__all__, "functional", "meters", "study"]:
    assert getattr(lightning_energy, name) is not None, name
from lightning_energy.results.carbon import find_intensity
assert find_intensity("DEU").g_per_kwh > 0
from jsonschema import Draft202012Validator
schema = json.loads(files("lightning_energy.results").joinpath("record.schema.json").read_text("utf-8"))
with open(record, encoding="utf-8") as file:
    Draft202012Validator(schema).validate(json.load(file))
import lightning.pytorch as L
for switch in "01":
    os.environ["LIGHTNING_ENERGY"] = switch
    names = [type(callback).__name__ for callback in L.Trainer(logger=False).callbacks]
    assert names.count("EnergyCallback") == int(switch), names
"""


def tracked() -> set[str]:
    """The files of the clone, new ones too; none outside of one."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return {*listed.stdout.splitlines()} if listed.returncode == 0 else set()


def check_contents(wheel: Path, sdist: Path) -> None:
    """Compare what the archives hold with what is tracked."""
    files = tracked()
    with tarfile.open(sdist) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()} - BY_HATCHLING
    assert not files or packed == files, f"sdist: {packed ^ files}"
    package = {name for name in files or packed if name.startswith("lightning_energy/")}
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert inside == package, f"wheel: {inside ^ package}"


def run(target: Path, *arguments: object) -> str:
    """Run an interpreter in an empty folder, with the installed wheel before all else."""
    folder = target / "empty"
    folder.mkdir(exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(target), "PYTHONWARNINGS": "error"}
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode in {0, 1}, done.stdout + done.stderr  # 1: only an estimate
    assert done.returncode == 0 or "doctor" in arguments, done.stdout + done.stderr
    return done.stdout


def check_installed(target: Path) -> None:
    """Import every public name, read every data file, and call commands as a shell does."""
    run(target, "-c", IN_TARGET, target, RECORD)
    command = target / "bin/lightning-energy"
    (info,) = target.glob("lightning_energy-*.dist-info")
    version = PathDistribution(info).version
    assert run(target, command, "--version") == f"lightning-energy {version}\n"
    assert json.loads(run(target, command, "doctor", "--seconds", "0.2", "--json"))
    assert "Energy" in run(target, command, "report", RECORD)
    run(target, command, "compare", RECORD, RECORD.with_name("whatif-whole.json"), "--html", "page.html")
    assert "<table" in (target / "empty/page.html").read_text(encoding="utf-8")


def main() -> None:
    """Install and check."""
    dist, target = (Path(argument).resolve() for argument in sys.argv[1:])
    (wheel,), (sdist,) = dist.glob("*.whl"), dist.glob("*.tar.gz")
    check_contents(wheel, sdist)
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target), str(wheel)]
    subprocess.run(install, check=True)
    check_installed(target)
    sys.stdout.write(f"{wheel.name} and {sdist.name} are whole, and the wheel works\n")


if __name__ == "__main__":
    main()
