"""What the diagnosis sees, on simulated machines."""

from __future__ import annotations

import os
import re
import threading

import pynvml
import pytest

from lightning_energy.commands import diagnosis as diagnosis_module
from lightning_energy.commands.diagnosis import diagnose
from lightning_energy.commands.doctor import as_text
from lightning_energy.meters.estimate import EstimateSource
from lightning_energy.meters.nvml import NvmlSource
from lightning_energy.meters.rapl import PERMISSION, RaplSource
from tests.sim.nvml import SimulatedGpu, SimulatedNvml
from tests.sim.sysfs import Powercap


def sources(powercap):
    return NvmlSource(), RaplSource(powercap), EstimateSource()


UUID = "GPU-dddddddd-0000-0000-0000-00000000000{}"


def samplers() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "lightning-energy-sampler"]


@pytest.fixture
def no_cpu(tmp_path):
    """A machine without a powercap tree."""
    return tmp_path / "nothing"


def gpus(*settings, **common):
    return [SimulatedGpu(uuid=UUID.format(i), **{**common, **s}) for i, s in enumerate(settings)]


@pytest.mark.slow
@pytest.mark.parametrize("period_s", [0.02, 0.1])
def test_measures_what_a_board_does(no_cpu, period_s):
    with SimulatedNvml(gpus({"power": 250.0, "counter_period_s": period_s, "jitter_s": 0.02 * period_s})):
        diagnosis = diagnose(1.5, sources=sources(no_cpu))
    board, estimate = diagnosis.meters
    assert board.device_id == UUID.format(0)
    assert (board.quality, board.scope) == ("measured", "gpu")
    assert board.power_w == pytest.approx(250.0, rel=0.05)  # of 1.5 s, an end of which may be seen 75 ms late
    assert board.period_s == pytest.approx(period_s, rel=0.05)
    assert board.residual_s is None or board.residual_s < 0.5 * period_s
    assert board.latency_s > 0
    assert not board.notes
    assert estimate.quality == "estimated"
    assert diagnosis.drivers == ["NVIDIA driver 570.00.sim"]
    assert diagnosis.is_measured
    assert not samplers()


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [1.5, 4.0])  # the meter itself has found it out after two
def test_a_counter_that_disagrees_with_its_power_sensor(no_cpu, monkeypatch, seconds):
    monkeypatch.setattr("lightning_energy.meters.nvml_watch.WATCH_S", 2.0)
    with SimulatedNvml(gpus({"power": 100.0, "counter_gain": 1.6})):
        [board, _] = diagnose(seconds, sources=sources(no_cpu)).meters  # ten looks at the sensor on any machine
    found = re.findall(r"counter says (\d+) W and its power sensor (\d+) W", " ".join(board.notes))
    assert len(found) == 1
    counter_w, sensor_w = found[0]
    assert float(counter_w) == pytest.approx(160.0, rel=0.05)
    assert float(sensor_w) == pytest.approx(100.0, rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize(("counts_module", "scope"), [(True, "module"), (False, "gpu")])
def test_a_module_is_watched_until_it_shows_what_its_counter_covers(no_cpu, counts_module, scope):
    with SimulatedNvml(gpus({"module_extra_w": 90.0, "counts_module": counts_module})):
        [board, _] = diagnose(0.2, sources=sources(no_cpu)).meters
    assert board.scope == scope
    assert "cannot be told" not in " ".join(board.notes)


@pytest.mark.slow
def test_a_counter_that_moves_rarely(no_cpu):
    with SimulatedNvml(gpus({"power": 200.0, "counter_period_s": 1.0})):
        [board, _] = diagnose(1.5, sources=sources(no_cpu)).meters
    assert board.power_w == pytest.approx(200.0, rel=0.02)
    assert board.is_sensor


@pytest.mark.slow
def test_every_board_every_caveat(no_cpu):
    boards = gpus(
        {"name": "NVIDIA A100-SXM4-80GB"},
        {"mig": ["MIG-1", "MIG-2"]},
        {"pids": [4711]},
        {"counter_period_s": None},
        {"counter_period_s": None, "has_power": False},
        power=200.0,
        counter_period_s=0.02,
    )
    with SimulatedNvml(boards):
        diagnosis = diagnose(0.5, sources=sources(no_cpu))
    part_time, split, shared, power_only, estimate = diagnosis.meters
    assert "looks at about 25 % of the time" in part_time.notes[0]
    assert "split into 2 MIG instance(s)" in split.notes[0]
    assert shared.scope == "board"
    assert "1 other process" in shared.notes[0]
    assert power_only.quality == "integrated"
    assert power_only.power_w == pytest.approx(200.0, rel=0.01)
    assert estimate.device_id == "cpu-estimate"
    assert any("reports neither energy nor power" in text for text in diagnosis.absent)
    text = as_text(diagnosis)
    assert "Verdict: 4 sensor(s) can be read" in text
    assert "nan" not in text.lower().split()


@pytest.mark.slow
def test_a_board_that_fails_while_it_is_watched(no_cpu, monkeypatch):
    [board] = gpus({"power": 200.0, "counter_period_s": 0.02})
    real = diagnosis_module.time.sleep
    with SimulatedNvml([board]):
        monkeypatch.setattr(diagnosis_module.time, "sleep", lambda s: (board.lose(), real(s)))
        [check, _] = diagnose(1.6, sources=sources(no_cpu)).meters  # a second's silence is bridged by the counter
    assert any("failed while it was watched" in note and "fell off the bus" in note for note in check.notes)


def test_cpus(tmp_path):
    Powercap(tmp_path)
    diagnosis = diagnose(0.2, sources=sources(tmp_path))
    assert [m.device_id for m in diagnosis.meters] == [
        "package-0",
        "dram-0",
        "package-1",
        "dram-1",
        "cpu-estimate",
    ]
    assert not diagnosis.is_measured  # this tree stands still, as in some virtual machines: nothing is invented
    assert all(m.period_s is None for m in diagnosis.meters)
    assert diagnosis.meters[1].calibration_u == 0.15


def test_cpus_that_only_root_may_read(tmp_path, monkeypatch):
    Powercap(tmp_path)
    real = os.open

    def refuse(path, *args, **kwargs):
        if str(path).endswith("energy_uj"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *args, **kwargs)

    monkeypatch.setattr("lightning_energy.meters.rapl.os.open", refuse)
    diagnosis = diagnose(0.1, sources=sources(tmp_path))
    assert not diagnosis.is_measured
    assert sum(PERMISSION in text for text in diagnosis.absent) == 4


def test_a_board_that_does_not_answer_hides_no_other(no_cpu):
    boards = gpus({}, {}, power=200.0, counter_period_s=0.02)
    boards[0].lose()
    with SimulatedNvml(boards):
        diagnosis = diagnose(0.5, sources=sources(no_cpu))
    assert [m.device_id for m in diagnosis.meters] == [UUID.format(1), "cpu-estimate"]
    assert any("GPU 0 does not answer" in text for text in diagnosis.absent)


def test_a_driver_without_a_board(no_cpu):
    with SimulatedNvml([]):
        diagnosis = diagnose(0.1, sources=sources(no_cpu))
    assert any("shows no board" in text for text in diagnosis.absent)


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        ("missing", "docker run --gpus all"),
        (pynvml.NVML_ERROR_NO_PERMISSION, "/dev/nvidia* must be readable"),
        (pynvml.NVML_ERROR_DRIVER_NOT_LOADED, "`nvidia-smi` must work first"),
    ],
)
def test_says_what_would_help(no_cpu, error, remedy):
    with SimulatedNvml([], init_error=error):
        diagnosis = diagnose(0.1, sources=sources(no_cpu))
    assert any(remedy in text for text in diagnosis.absent)
    assert "Verdict: nothing can be measured here" in as_text(diagnosis)
