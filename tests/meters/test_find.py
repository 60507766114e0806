"""What counts: the accelerator of this rank, and the node's CPU and memory."""

from __future__ import annotations

import threading
from typing import get_args

import pytest
import torch

from lightning_energy.meters import MeterUnavailable, NvmlMeter, ReplayMeter, find, nvml, nvml_boards, open_meters
from lightning_energy.meters.find import FALLBACK, SOURCES, MeterName
from lightning_energy.meters.nvml import NvmlSource
from lightning_energy.meters.rapl import RaplSource
from tests.sim.nvml import SimulatedGpu, SimulatedNvml
from tests.sim.sysfs import Powercap, let_move

UUID = "GPU-dddddddd-0000-0000-0000-000000000000"
CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine with RAPL and, to torch, one GPU."""
    tree = Powercap(tmp_path / "powercap")
    let_move(monkeypatch)
    monkeypatch.setattr(nvml, "uuid_of_torch_device", lambda device: UUID)
    monkeypatch.setattr(find, "SOURCES", (NvmlSource(), RaplSource(tree.root)))
    return tree


@pytest.fixture
def still(monkeypatch, tmp_path):
    """A machine whose RAPL can be read and never moves, as in some virtual machines and containers."""
    monkeypatch.setattr(find, "SOURCES", (NvmlSource(), RaplSource(Powercap(tmp_path / "powercap").root)))


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """A machine where nothing can be read."""
    monkeypatch.setattr(nvml, "uuid_of_torch_device", lambda device: UUID)
    monkeypatch.setattr(find, "SOURCES", (NvmlSource(), RaplSource(tmp_path / "powercap")))


def ids(found):
    names = [info.device_id for _, info in found.meters]
    found.close()
    return names


def test_auto_is_the_gpu_and_the_cpus_and_their_memory(machine):
    with SimulatedNvml([SimulatedGpu(uuid=UUID)]):
        found = open_meters(["auto"], device=CUDA)
        assert ids(found) == [UUID, "package-0", "dram-0", "package-1", "dram-1"]
        assert found.absent == []
        assert ids(open_meters(["auto"], device=CPU)) == ["package-0", "dram-0", "package-1", "dram-1"]


@pytest.mark.parametrize("asked", [False, True])
def test_helpers_are_for_all_boards_where_they_are_asked_for(machine, asked):
    with SimulatedNvml([SimulatedGpu(uuid=UUID)]):
        found = open_meters(["auto"], device=CUDA, helper=asked)
        helped = [meter.helper for meter, _ in found.meters if isinstance(meter, NvmlMeter)]
        assert helped == [asked]


def test_a_counter_of_a_whole_module_stands_alone(machine):
    gpu = SimulatedGpu(300.0, uuid=UUID, counter_period_s=0.02, module_extra_w=200.0, counts_module=True, limit_w=900)
    with SimulatedNvml([gpu]):
        assert ids(open_meters(["auto"], device=CUDA)) == [UUID]


def test_an_estimate_only_where_nothing_can_be_read(bare):
    with SimulatedNvml([SimulatedGpu(uuid=UUID)]):
        found = open_meters(["auto"], device=CUDA)
        assert "powercap" in " ".join(found.absent)
        assert ids(found) == [UUID]
    with SimulatedNvml(init_error="missing"):
        found = open_meters(["auto"], device=CUDA)
        assert "libnvidia-ml" in " ".join(found.absent)
        assert ids(found) == ["cpu-estimate"]
        with pytest.raises(MeterUnavailable, match=r"allow_estimate=False.*libnvidia-ml.*powercap"):
            open_meters(["auto"], device=CUDA, allow_estimate=False)


def test_registers_that_never_move_hand_over_to_the_estimate(still):
    found = open_meters(["auto"], device=CPU)
    assert [text.split(":")[0] for text in found.absent] == ["CPU"] * 4
    for text, name in zip(found.absent, ["package-0", "dram-0", "package-1", "dram-1"], strict=True):
        assert name in text
        assert "1 J and does not move" in text
    assert ids(found) == ["cpu-estimate"]
    with pytest.raises(MeterUnavailable, match=r"allow_estimate=False.*does not move"):
        open_meters(["auto"], device=CPU, allow_estimate=False)
    named = open_meters(["rapl"], device=CPU)  # as it was asked for
    assert ids(named) == ["package-0", "dram-0", "package-1", "dram-1"]


def test_a_memory_that_never_moves_leaves_the_packages(still, monkeypatch):
    let_move(monkeypatch, still="intel-rapl:0:1")
    found = open_meters(["auto"], device=CPU)
    assert len(found.absent) == 1
    assert "dram-0" in found.absent[0]
    assert ids(found) == ["package-0", "package-1", "dram-1"]


def test_an_accelerator_that_nobody_can_read_is_said(machine):
    found = open_meters(["auto"], device=torch.device("mps"))
    assert "mps" in found.absent[0]
    assert "package-0" in ids(found)


def test_every_source_can_be_named():
    assert {"auto", *(source.name for source in (*SOURCES, FALLBACK))} == {*get_args(MeterName)}


def test_by_name(machine):
    with SimulatedNvml([SimulatedGpu(uuid=UUID)]):
        assert ids(open_meters(["nvml"], device=CUDA)) == [UUID]
        assert ids(open_meters(["rapl", "nvml", "rapl"], device=CUDA))[-1] == UUID
        assert ids(open_meters(["estimate"], device=CPU)) == ["cpu-estimate"]
        with pytest.raises(MeterUnavailable, match="train on a GPU"):
            open_meters(["nvml"], device=CPU)


def test_what_was_asked_for_and_cannot_be_read_is_an_error_and_leaves_nothing_open(bare):
    replay = ReplayMeter(100.0)
    with pytest.raises(MeterUnavailable, match="powercap"):
        open_meters([replay, "rapl"], device=CPU)
    assert not replay.is_open


def test_a_zone_without_permission_is_left_out_and_said(machine, monkeypatch):
    import os

    really = os.open

    def refuse(path, flags, *args):
        if "intel-rapl:1" in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        return really(path, flags, *args)

    monkeypatch.setattr(os, "open", refuse)
    found = open_meters(["auto"], device=CPU)
    assert len(found.absent) == 2
    assert ids(found) == ["package-0", "dram-0"]


def test_a_drivers_surprise_is_told_like_any_other_absence(bare):
    class Odd(ReplayMeter):
        def open(self):
            raise RuntimeError("driver says 42")

    with pytest.raises(MeterUnavailable, match="Odd: RuntimeError: driver says 42"):
        open_meters([Odd(1.0)], device=CPU)


def test_a_meter_that_fails_when_it_is_closed_ends_nothing_and_keeps_no_other_open():
    class Stuck(ReplayMeter):
        def close(self):
            raise RuntimeError("the driver has gone")

    last = ReplayMeter(10.0, device_id="last")
    found = open_meters([Stuck(10.0, device_id="a"), Stuck(10.0, device_id="a"), last], device=CPU)
    closed = []
    last.close = lambda: closed.append(last)
    found.drop([False, True])
    found.close()
    assert closed == [last]


DEVICES = {  # torch's type: words on what is not measured, and what could read it
    "mps": ("Apple", "zeus-apple-silicon"),
    "xpu": ("Intel GPU", "hwmon"),
    "hpu": ("Gaudi", "pyhlml"),
    "xla": ("TPU", "no public way"),
    "vulkan": ("'vulkan'", "meters="),
}


@pytest.mark.parametrize("kind", DEVICES)
def test_an_accelerator_that_nobody_reads_has_a_line_on_what_is_missing_and_what_would_read_it(machine, kind):
    found = open_meters(["auto"], device=torch.device(kind))
    (line,) = found.absent
    assert line.startswith("GPU:" if kind in {"mps", "xpu"} else "Accelerator:")
    for words in (kind, "not measured", *DEVICES[kind]):
        assert words in line
    assert "\n" not in line
    assert ids(found) == ["package-0", "dram-0", "package-1", "dram-1"]


def test_rocm_is_known_before_nvml_is_asked(machine, monkeypatch):
    def refuse():
        pytest.fail("NVML was asked for an AMD board")

    monkeypatch.setattr(torch.version, "hip", "6.4.43482", raising=False)
    for module in (nvml, nvml_boards):
        monkeypatch.setattr(module, "library", refuse)
    found = open_meters(["auto"], device=CUDA)
    (line,) = found.absent
    for words in ("ROCm 6.4", "AMD GPU", "not measured", "hwmon", "meters="):
        assert words in line
    assert ids(found) == ["package-0", "dram-0", "package-1", "dram-1"]
    with pytest.raises(MeterUnavailable, match=r"meters='nvml'.*AMD GPU"):
        open_meters(["nvml"], device=CUDA)
    monkeypatch.setattr(find, "SOURCES", (NvmlSource(),))
    with pytest.raises(MeterUnavailable, match=r"allow_estimate=False.*AMD GPU"):
        open_meters(["auto"], device=CUDA, allow_estimate=False)


def test_a_meter_whose_open_hangs_keeps_nobody_waiting_and_is_closed_in_the_end(monkeypatch):
    class Hangs(ReplayMeter):
        over, closed = threading.Event(), threading.Event()

        def open(self):
            self.over.wait(60)
            return super().open()

        def close(self):
            super().close()
            self.closed.set()

    monkeypatch.setattr(find, "OPEN_S", 0.05)
    hangs = Hangs(10.0)
    with pytest.raises(MeterUnavailable, match=r"Hangs: its open\(\) does not return within 0.05 s"):
        open_meters([hangs], device=CPU)
    hangs.over.set()
    assert hangs.closed.wait(60)
    assert not hangs.is_open


def test_where_no_thread_can_be_started_meters_are_opened_all_the_same(monkeypatch):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert ids(open_meters([ReplayMeter(10.0)], device=CPU)) == ["replay-0"]
    with SimulatedNvml([SimulatedGpu(uuid=UUID)]):
        found = open_meters([NvmlMeter(UUID)], device=CPU)
        assert "no thread can be started" in found.meters[0][1].note
        found.close()
