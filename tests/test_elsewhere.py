"""The package where names and folders of Linux are taken away, as they are on Windows and macOS."""

from __future__ import annotations

import os
from pathlib import Path

import lightning.pytorch as L
import pytest
from lightning.pytorch.demos.boring_classes import BoringModel
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

import lightning_energy
from lightning_energy import EnergyCallback, EnergyMonitor
from lightning_energy.meters import ReplayMeter

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
if {keeps_signals}:  # Lightning's Trainer asks sys.platform for them
    del GONE[signal]
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

energy = EnergyCallback()
trainer = L.Trainer(default_root_dir={folder!r}, max_epochs=2, limit_train_batches=10, limit_val_batches=2,
                    accelerator="cpu", callbacks=[energy], enable_progress_bar=False, enable_model_summary=False)
trainer.fit(Model())
"""


LOOP = """
from lightning_energy import EnergyMonitor
with EnergyMonitor(record={folder!r}) as energy:
    for _ in range(20):
        with energy.step(samples=1):
            end = time.process_time() + 0.02
            while time.process_time() < end:
                pass
"""
TELLS = """
total = energy.report.total
print("quality", total.quality)
print("joules", total.energy_j)
print("missing", total.missing_s / total.duration_s)
print("record", sorted(p.name for p in pathlib.Path({folder!r}).rglob("energy*")))
print("note", energy.report.devices[0].note)
"""


def bare(warm, code: str, *, coarse: bool = False, keeps_signals: bool = False) -> list[str]:
    script = BARE.format(clock=COARSE if coarse else "", keeps_signals=keeps_signals) + code
    done = warm.run(script, env={"PYTHONDONTWRITEBYTECODE": "1"}, bare=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.slow
def test_every_module_can_be_imported(warm):
    paths = sorted(p.relative_to(PACKAGE.parent).with_suffix("") for p in PACKAGE.rglob("*.py"))
    modules = [str(p).replace(os.sep, ".").removesuffix(".__init__") for p in paths if p.name != "__main__"]
    assert bare(warm, IMPORTS.format(modules=modules)) == []


@pytest.mark.slow
@pytest.mark.parametrize("coarse", [False, True])
@pytest.mark.parametrize("loop", [TRAINS, LOOP], ids=["trainer", "loop"])
def test_a_training_has_its_estimate_and_its_record(tmp_path, warm, loop, coarse):
    code = (loop + TELLS).format(folder=str(tmp_path))
    lines = bare(warm, code, coarse=coarse, keeps_signals=loop is TRAINS)
    told = dict(line.split(" ", 1) for line in lines if " " in line)
    assert told["quality"] == "estimated"
    assert float(told["joules"]) > 1.2  # of 20 steps of 0.02 s of CPU time, 4 W each: 1.6 J
    assert float(told["missing"]) < 0.2
    assert "energy.json" in told["record"]
    assert "processes cannot be listed here" in told["note"]


FORBIDDEN = set('<>:"|?*\\')  # by Windows, in names of files


@pytest.mark.slow
def test_no_file_has_a_name_that_windows_forbids(tmp_path, monkeypatch):
    """Nor where a device's identity is a PCI address."""
    monkeypatch.chdir(tmp_path)
    meter = ReplayMeter(100.0, device_id="0000:17:00.0", counter_period_s=0.02)
    trainer = L.Trainer(
        max_epochs=2,
        limit_train_batches=4,
        limit_val_batches=1,
        accelerator="cpu",
        callbacks=[EnergyCallback(meters=meter, trace="csv", score=None)],
        logger=[TensorBoardLogger("."), CSVLogger(".")],
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        log_every_n_steps=1,
    )
    trainer.fit(BoringModel())
    with EnergyMonitor(meters=meter) as loop, loop.step(samples=1):
        pass
    names = [str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")]
    assert sum(name.endswith("energy.json") for name in names) == 2
    assert any(name.endswith("energy.curve.csv.gz") for name in names)
    assert [name for name in names if FORBIDDEN & set(name)] == []
