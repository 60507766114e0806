"""The command ``lightning-energy doctor``."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from functools import partial

import pytest

from lightning_energy.commands import doctor
from lightning_energy.commands import main as cli
from lightning_energy.commands.diagnosis import Check, Diagnosis
from lightning_energy.commands.doctor import as_text
from lightning_energy.commands.lateness import Lateness
from lightning_energy.meters.estimate import EstimateSource
from lightning_energy.meters.nvml import NvmlSource
from lightning_energy.meters.rapl import RaplSource
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
        "d.diagnose = lambda s, **more: real(s, sources=hidden, **more)\n"
        "with SimulatedNvml([], init_error='missing'):\n"
        "    sys.exit(c.main(['doctor', '--seconds', '0.1']))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "Cannot be read:" in done.stdout
    assert done.stderr == ""


BOARD = Check("NVIDIA Test", "GPU-1", "measured", "gpu", 62.0, 0.1, 0.001, 0.0001, 0.07, None)


@pytest.mark.parametrize(
    ("late", "line"),
    [
        (
            Lateness(0.0381, 0.004, 0.0, 0.0, 1.0, 61.8, 301.3, "matrix products on cuda:0"),
            "The counter shows energy 38 ± 4 ms late (matrix products on cuda:0: 301 W, without: 61.8 W)",
        ),
        (
            Lateness(0.003, 0.002, None, None, None, 61.8, 301.3, "3 busy threads"),
            "The counter is not seen to be late (3 ± 2 ms) (3 busy threads: 301 W, without: 61.8 W)",
        ),
        (
            Lateness(load="3 busy threads", why="the load made no clear difference: 60 W with it, 60 W without"),
            "cannot be told: the load made no clear difference: 60 W with it, 60 W without",
        ),
        (Lateness(why="this PyTorch sees no CUDA device"), "not looked for: this PyTorch sees no CUDA device"),
    ],
)
def test_the_line_on_the_delay(late, line):
    text = as_text(Diagnosis([replace(BOARD, lateness=late)]))
    assert f"  delay     {line}" in text.splitlines()
    assert "  updated   every 100 ms" in text
    assert "--load" not in text


def test_without_a_load_the_doctor_says_what_would_tell_the_delay():
    assert "`lightning-energy doctor --load`" in as_text(Diagnosis([BOARD]))
    assert "--load" not in as_text(Diagnosis([replace(BOARD, quality="estimated")]))


@pytest.mark.slow
def test_the_command_with_a_load_where_none_can_be_made(capsys, monkeypatch):
    hidden = (NvmlSource(), RaplSource("/nonexistent"), EstimateSource())
    monkeypatch.setattr(doctor, "diagnose", partial(doctor.diagnose, sources=hidden))
    with SimulatedNvml([SimulatedGpu(uuid="GPU-dddddddd", power=250.0, counter_period_s=0.02, pids=[4711])]):
        assert cli.main(["doctor", "--seconds", "0.6", "--load", "--json"]) == 0
    out, err = capsys.readouterr()
    assert "Ctrl-C ends it" in err
    assert err.endswith("nothing was put under load: no idle device here has a counter whose delay it would show\n")
    late = json.loads(out)["meters"][0]["lateness"]
    assert late["why"] == "1 other process(es) compute on it, so no load was added"
    assert (late["delay_s"], late["load"]) == (None, "")


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
