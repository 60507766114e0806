"""Every example runs as its users run it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lightning_energy import compare

ROOT = Path(__file__).parent.parent


def run(tmp_path: Path, *arguments: str) -> str:
    result = subprocess.run(
        [sys.executable, *arguments],
        cwd=tmp_path,
        # threads that wait do not spin: on a busy machine they would take the time of those that work
        env={**os.environ, "COLUMNS": "120", "OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "PASSIVE"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def tags(folder: Path) -> set[str]:
    events = EventAccumulator(str(folder))
    events.Reload()
    return {*events.Tags()["scalars"]}


def test_quickstart(tmp_path):
    out = run(tmp_path, str(ROOT / "examples/quickstart.py"), "--max-epochs", "3", "--log-dir", "logs")
    assert "Energy of this run (completed)" in out
    assert "tensorboard --logdir logs" in out
    expected = {
        "energy/power_w",
        "energy/step_j",
        "energy/total_kwh",
        "energy/score",
        "energy/train_j",
        "energy/val_j",
    }
    assert expected <= tags(tmp_path / "logs/quickstart/version_0")


def test_early_stopping(tmp_path):
    out = run(tmp_path, str(ROOT / "examples/early_stopping.py"), "--max-epochs", "14")
    assert "<- the other run stopped here" in out
    stopped, of = (int(word) for word in out.split("Stopped after ")[1].split(" epochs")[0].split(" of "))
    assert stopped < of == 14
    assert {"energy/score"} <= tags(tmp_path / "runs/early_stopping/stopped")


def test_cli(tmp_path):
    script, config = str(ROOT / "examples/cli.py"), str(ROOT / "examples/cli.yaml")
    out = run(tmp_path, script, "fit", "--config", config, "--trainer.max_epochs", "1")
    assert "Energy of this run (completed)" in out
    (saved,) = tmp_path.rglob("config.yaml")
    assert "reference_kwh: 1.0e-05" in saved.read_text()
    again = run(tmp_path, script, "fit", "--config", str(saved))
    assert "Energy of this run (completed)" in again


def test_help_of_the_cli_comes_from_the_docstring(tmp_path):
    out = run(
        tmp_path, str(ROOT / "examples/cli.py"), "fit", "--trainer.callbacks.help", "lightning_energy.EnergyCallback"
    )
    assert "penalty begins to bite" in " ".join(out.split())


def test_compare_models(tmp_path):
    out = run(tmp_path, str(ROOT / "examples/compare_models.py"), "--max-epochs", "1")
    assert "lightning-energy compare runs/compare_models --picture compare.png --html compare.html" in out
    comparison = compare(tmp_path / "runs/compare_models")
    assert {r.name for r in comparison.runs} == {
        "logistic", "mlp-small", "mlp-wide", "cnn-small", "cnn-wide", "lstm", "transformer"
    }  # fmt: skip
    assert comparison.problems == []
    assert comparison.formula.reference_kwh == 1e-5
    assert len({r.parameters for r in comparison.runs}) == len({r.module for r in comparison.runs}) + 2
    assert all(r.is_comparable and r.sample_j for r in comparison.runs)
    assert comparison.front
