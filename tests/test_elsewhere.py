"""The package where names and folders of Linux are taken away, as they are on Windows and macOS."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import lightning_energy

PACKAGE = Path(lightning_energy.__file__).parent

BARE = """
import builtins, io, os, pathlib, signal, sys, time
import lightning.pytorch, psutil, torch, torchmetrics  # they know of other systems themselves
import multiprocessing.util, subprocess, tempfile

GONE = {{
    os: ["fork", "register_at_fork", "sched_getaffinity", "sched_setaffinity", "geteuid", "getuid", "getpgid", "pread",
         "waitid", "sysconf", "O_CLOEXEC"],
    signal: ["SIGKILL", "SIGUSR1", "SIGUSR2", "SIGALRM", "setitimer", "pthread_sigmask"],
    time: ["clock_gettime", "CLOCK_MONOTONIC", "pthread_getcpuclockid"],
}}
for module, names in GONE.items():
    for name in names:
        if hasattr(module, name):
            delattr(module, name)
for name in ("fcntl", "resource", "pwd", "grp", "termios"):
    sys.modules[name] = None  # an ImportError

HIDDEN = ("/proc", "/sys", "/etc", "/dev/shm")
def hide(module, name):
    really = getattr(module, name)
    def hidden(path, *args, **kwargs):
        if isinstance(path, (str, os.PathLike)) and str(path).startswith(HIDDEN):
            raise FileNotFoundError(2, "No such file or directory", str(path))
        return really(path, *args, **kwargs)
    setattr(module, name, hidden)
OF_OS = ["open", "listdir", "scandir", "stat", "lstat", "readlink"]
for module, names in {{builtins: ["open"], io: ["open"], os: OF_OS}}.items():
    for name in names:
        hide(module, name)
{clock}
"""
COARSE = """
from types import SimpleNamespace
info, fine = time.get_clock_info, time.monotonic_ns
STEP = 15_625_000
time.get_clock_info = lambda name: SimpleNamespace(resolution=0.015625) if name == "monotonic" else info(name)
time.monotonic_ns = lambda: fine() // STEP * STEP
"""
IMPORTS = """
import importlib
for name in {modules!r}:
    importlib.import_module(name)
"""
TRAINS = """
import warnings
warnings.simplefilter("ignore")
import lightning.pytorch as L
from lightning.pytorch.demos.boring_classes import BoringModel
from lightning_energy import EnergyCallback

class Model(BoringModel):
    def training_step(self, batch, batch_idx):
        end = time.process_time() + 0.02
        while time.process_time() < end:
            pass
        return super().training_step(batch, batch_idx)

energy = EnergyCallback(progress_bar=False)
trainer = L.Trainer(default_root_dir={folder!r}, max_epochs=2, limit_train_batches=10, limit_val_batches=2,
                    accelerator="cpu", callbacks=[energy], enable_progress_bar=False, enable_model_summary=False)
trainer.fit(Model())
total = energy.report.total
print("quality", total.quality)
print("joules", total.energy_j)
print("missing", total.missing_s / total.duration_s)
print("record", sorted(p.name for p in __import__("pathlib").Path({folder!r}).rglob("energy*")))
print("note", next(iter(energy.report.devices)).note)
"""


def bare(code: str, *, coarse: bool = False) -> list[str]:
    script = BARE.format(clock=COARSE if coarse else "") + code
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, env=environment, timeout=280
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.slow
def test_every_module_can_be_imported():
    paths = sorted(p.relative_to(PACKAGE.parent).with_suffix("") for p in PACKAGE.rglob("*.py"))
    modules = [str(p).replace(os.sep, ".").removesuffix(".__init__") for p in paths if p.name != "__main__"]
    assert bare(IMPORTS.format(modules=modules)) == []


@pytest.mark.slow
@pytest.mark.parametrize("coarse", [False, True])
def test_a_training_has_its_estimate_and_its_record(tmp_path, coarse):
    told = dict(line.split(" ", 1) for line in bare(TRAINS.format(folder=str(tmp_path)), coarse=coarse) if " " in line)
    assert told["quality"] == "estimated"
    assert float(told["joules"]) > 20 * 0.02 * 4.0  # twenty steps of 0.02 s of CPU time, 4 W each
    assert float(told["missing"]) < 0.2
    assert "energy.json" in told["record"]
    assert "processes cannot be listed here" in told["note"]
