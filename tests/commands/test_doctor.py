"""The command ``lightning-energy doctor``."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from lightning_energy.commands import main as cli
from tests.commands.calls import HEAVY, call
from tests.sim.nvml import SimulatedGpu, SimulatedNvml


@pytest.mark.slow
def test_the_command_with_a_gpu(capsys, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with SimulatedNvml([SimulatedGpu(uuid="GPU-dddddddd", power=250.0, counter_period_s=0.02, name="NVIDIA Test")]):
        assert cli.main(["doctor", "--seconds", "0.5"]) == 0
        text = capsys.readouterr().out
        assert cli.main(["doctor", "--seconds", "0.5", "--json"]) == 0
        plain = json.loads(capsys.readouterr().out)
    assert "NVIDIA Test" in text
    assert "CUDA_VISIBLE_DEVICES=0" in text
    assert plain["meters"][0]["quality"] == "measured"
    assert plain["visible"] == "0"


@pytest.mark.slow
def test_the_command_where_nothing_can_be_measured():
    """As a person would call it, on a machine without sensors: simulated by hiding both trees."""
    code = (
        "import sys, lightning_energy.commands.doctor as d, lightning_energy.commands.main as c\n"
        "from tests.sim.nvml import SimulatedNvml\n"
        "real = d.diagnose\n"
        "from lightning_energy.meters.estimate import EstimateSource\n"
        "from lightning_energy.meters.nvml import NvmlSource\n"
        "from lightning_energy.meters.rapl import RaplSource\n"
        "hidden = (NvmlSource(), RaplSource('/nonexistent'), EstimateSource())\n"
        "d.diagnose = lambda s: real(s, sources=hidden)\n"
        "with SimulatedNvml([], init_error='missing'):\n"
        "    sys.exit(c.main(['doctor', '--seconds', '0.1']))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "Cannot be read:" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "soon", "601"])
def test_wrong_arguments(capsys, seconds):
    with pytest.raises(SystemExit) as exit_:
        cli.main(["doctor", "--seconds", seconds])
    assert exit_.value.code == 2
    assert f"'{seconds}': give seconds" in capsys.readouterr().err


@pytest.mark.slow
def test_a_diagnosis_loads_no_torch():
    called = call("doctor", "--seconds", "0.1", "--json")
    assert called.code in {0, 1}, called.err
    assert json.loads(called.out)["meters"]
    assert not HEAVY & called.loaded
