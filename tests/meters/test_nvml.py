"""The real pynvml over a simulated NVML at its C interface."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
import sys
import types
from dataclasses import asdict

import pynvml
import pytest

from lightning_energy.meters import MeterError, MeterLost, MeterUnavailable, NvmlMeter
from lightning_energy.meters.nvml import NvmlSource
from lightning_energy.meters.nvml_boards import driver_version, list_gpus, resolve_visible
from tests.sim.clock import VirtualClock
from tests.sim.nvml import SimulatedGpu, SimulatedNvml

A = "GPU-aaaaaaaa-0000-0000-0000-000000000000"
B = "GPU-bbbbbbbb-0000-0000-0000-000000000000"
MIG = "MIG-11111111-0000-0000-0000-000000000000"


@pytest.mark.parametrize("period_s", [0.02, 0.1])
def test_counter_is_read_in_joules(period_s):
    clock = VirtualClock()
    gpu = SimulatedGpu([(0.3, 250.0), (0.2, 70.0)], uuid=A, counter_period_s=period_s)
    with SimulatedNvml([gpu], clock=clock):
        meter = NvmlMeter(A)
        info = meter.open()
        assert (info.device_id, info.name, info.quality, info.scope) == (A, "Simulated GPU", "measured", "gpu")
        assert info.power_max_w == pytest.approx(1.15 * 400)
        assert not info.per_node
        start_ns, first = clock.now_ns, meter.read()
        clock.now_ns += 10**10
        last = meter.read()
        rise_j = last.register_j - first.register_j
        assert rise_j == pytest.approx(gpu.true_energy_j(start_ns, clock.now_ns), abs=2 * 250 * period_s)
        assert last.power_w is None
        assert meter.read_power_w() in {250.0, 70.0}
        meter.close()
        meter.close()


@pytest.mark.parametrize(("instant", "power_w"), [(True, 100.0), (False, 125.0)])
def test_without_a_counter_the_power_is_read(instant, power_w):
    clock = VirtualClock()
    gpu = SimulatedGpu([(0.5, 150.0), (0.5, 100.0)], uuid=A, counter_period_s=None, has_instant=instant)
    with SimulatedNvml([gpu], clock=clock):
        meter = NvmlMeter(A)
        assert meter.open().quality == "integrated"
        clock.now_ns = gpu.start_ns + 12_700_000_000
        reading = meter.read()
        assert reading.register_j is None
        assert reading.power_w == pytest.approx(power_w, rel=1e-5)  # the old field is a mean over a second


def test_a_board_that_tells_nothing_is_unavailable():
    silent = SimulatedGpu(uuid=A, counter_period_s=None, has_power=False)
    with SimulatedNvml([silent]), pytest.raises(MeterUnavailable, match="neither energy nor power"):
        NvmlMeter(A).open()


@pytest.mark.parametrize(
    ("problem", "match"),
    [
        ("missing", "libnvidia-ml.so.1.*--gpus all"),
        (pynvml.NVML_ERROR_DRIVER_NOT_LOADED, "nvidia-smi"),
        (pynvml.NVML_ERROR_NO_PERMISSION, "/dev/nvidia"),
        (pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH, "different versions"),
        (pynvml.NVML_ERROR_UNKNOWN, "cannot be used"),
    ],
)
def test_no_nvml_says_why(problem, match):
    with SimulatedNvml([SimulatedGpu(uuid=A)], init_error=problem):
        with pytest.raises(MeterUnavailable, match=match):
            NvmlMeter(A).open()
        with pytest.raises(MeterUnavailable, match=match):
            list_gpus()


def test_unknown_board_and_lost_board():
    gpu = SimulatedGpu(uuid=A)
    with SimulatedNvml([gpu]):
        with pytest.raises(MeterUnavailable, match=f"{B}.*Not Found|{B}"):
            NvmlMeter(B).open()
        gpu.lose()
        with pytest.raises(MeterUnavailable, match="fell off the bus"):
            NvmlMeter(A).open()


def test_lost_in_the_middle_and_back():
    gpu = SimulatedGpu(uuid=A)
    with SimulatedNvml([gpu]):
        meter = NvmlMeter(A)
        meter.open()
        gpu.lose()
        with pytest.raises(MeterLost, match=f"{A}.*fell off the bus"):
            meter.read()
        assert meter.read_power_w() is None
        gpu.restore()
        assert meter.read().register_j > 0


@pytest.mark.parametrize(
    "symbol",
    [
        "nvmlDeviceGetFieldValues",
        "nvmlDeviceGetEnforcedPowerLimit",
        "nvmlDeviceGetPowerManagementLimitConstraints",
        "nvmlDeviceGetComputeRunningProcesses_v3",
    ],
)
def test_an_old_driver_without_a_function_is_enough(symbol):
    with SimulatedNvml([SimulatedGpu(120.0, uuid=A)], missing=[symbol]):
        meter = NvmlMeter(A)
        info = meter.open()
        assert info.quality == "measured"
        assert (info.power_max_w is None) == (symbol == "nvmlDeviceGetEnforcedPowerLimit")
        assert meter.read_power_w() == pytest.approx(120.0)


def test_an_old_driver_without_the_counter_integrates():
    with SimulatedNvml([SimulatedGpu(uuid=A)], missing=["nvmlDeviceGetTotalEnergyConsumption"]):
        assert NvmlMeter(A).open().quality == "integrated"


def test_mig_is_its_board():
    gpu = SimulatedGpu(uuid=A, mig=[MIG])
    with SimulatedNvml([SimulatedGpu(uuid=B), gpu]):
        meter = NvmlMeter(MIG)
        info = meter.open()
        assert (info.device_id, info.scope) == (A, "board")
        assert "whole board" in info.note
        assert meter.read().register_j > 0


def test_other_processes_are_noticed():
    with SimulatedNvml([SimulatedGpu(uuid=A, pids=[os.getpid(), 4711]), SimulatedGpu(uuid=B, pids=[os.getpid()])]):
        shared, own = NvmlMeter(A), NvmlMeter(B)
        assert (shared.open().scope, own.open().scope) == ("board", "gpu")
        assert (shared.other_processes(), own.other_processes()) == ([4711], [])


def test_part_time_sensors_say_so():
    with SimulatedNvml([SimulatedGpu(uuid=A, name="NVIDIA H100 PCIe"), SimulatedGpu(uuid=B, name="NVIDIA RTX A1000")]):
        assert NvmlMeter(A).open().coverage == 0.25
        assert NvmlMeter(B).open().coverage is None


@pytest.mark.parametrize("uuid", ["0", 0, "", "cuda:0", None])
def test_an_index_is_refused(uuid):
    with pytest.raises(ValueError, match="nvidia-smi -L"):
        NvmlMeter(uuid)


def test_a_helper_is_asked_for_or_not():
    with pytest.raises(TypeError, match="helper='yes': give True or False"):
        NvmlMeter("GPU-8932f937-d72c-4106-c12f-20bd9faed9f6", helper="yes")


def test_read_before_open():
    with pytest.raises(MeterError, match="open"):
        NvmlMeter(A).read()


@pytest.mark.parametrize(
    ("visible", "index", "uuid"),
    [
        (None, 1, B),
        ("1,0", 0, B),
        (f"{B},{A}", 0, B),
        ("GPU-bbbb", 0, B),
        (f" {A} , {B} ", 1, B),
        (MIG, 0, MIG),
        (f"{MIG},0", 1, A),
    ],
)
def test_cuda_visible_devices(visible, index, uuid):
    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    with SimulatedNvml([SimulatedGpu(uuid=A), SimulatedGpu(uuid=B, mig=[MIG])]):
        assert resolve_visible(index, environment) == uuid


@pytest.mark.parametrize(("visible", "index"), [("", 0), ("0", 1), ("7", 0), ("GPU-", 0), ("nonsense", 0), (None, 2)])
def test_cuda_visible_devices_that_name_no_board(visible, index):
    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    with (
        SimulatedNvml([SimulatedGpu(uuid=A), SimulatedGpu(uuid=B)]),
        pytest.raises(MeterUnavailable, match="is no board here"),
    ):
        resolve_visible(index, environment)


def test_list_of_boards():
    with SimulatedNvml([SimulatedGpu(uuid=A), SimulatedGpu(uuid=B, mig=[MIG])]):
        assert [(g.uuid, g.mig) for g in list_gpus()] == [(A, ()), (B, (MIG,))]
        assert driver_version() == "570.00.sim"


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda meter: pickle.loads(pickle.dumps(meter))])
def test_a_copy_of_an_open_meter_is_a_closed_one(copied):
    """The handle of a board is worth nothing elsewhere, and a callback is copied and pickled in the middle of a run."""
    with SimulatedNvml([SimulatedGpu(uuid=A)]):
        meter = NvmlMeter(A)
        meter.open()
        twin = copied(meter)
        with pytest.raises(MeterError, match="open"):
            twin.read()
        assert twin.open().device_id == A
        assert meter.read().register_j > 0


def test_nvml_is_initialised_once():
    with SimulatedNvml([SimulatedGpu(uuid=A)]) as nvml:
        for _ in range(3):
            meter = NvmlMeter(A)
            meter.open()
            meter.close()
        assert nvml.calls["nvmlInitWithFlags"] == 1


def _in_child(meter, queue):
    assert not meter.is_unchanged()
    try:
        meter.read()
    except MeterLost as error:
        queue.put(str(error))


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_does_not_read():
    with SimulatedNvml([SimulatedGpu(uuid=A)]):
        meter = NvmlMeter(A)
        meter.open()
        context = multiprocessing.get_context("fork")
        queue = context.SimpleQueue()
        child = context.Process(target=_in_child, args=(meter, queue))
        child.start()
        assert "fork" in queue.get()
        child.join()
        meter.read()  # that of the parent is open as before


def test_another_pynvml_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", types.ModuleType("pynvml"))
    with pytest.raises(MeterUnavailable, match="nvidia-ml-py"):
        NvmlMeter(A).open()
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(MeterUnavailable, match="pip install nvidia-ml-py"):
        NvmlMeter(A).open()


@pytest.mark.parametrize("name", ["NVML_FI_DEV_POWER_INSTANT", "nvmlDeviceGetFieldValues"])
def test_an_old_pynvml_is_refused(monkeypatch, name):
    """PyPI's ``pynvml`` 11 lacks some of the names: it must not end a training in ``setup``."""
    gpu = SimulatedGpu()
    with SimulatedNvml([gpu]):
        monkeypatch.delattr(pynvml, name)
        with pytest.raises(MeterUnavailable, match="not NVIDIA's, or too old"):
            NvmlMeter(gpu.uuid).open()


@pytest.mark.parametrize("told", [MIG, MIG[4:], A, A[4:]])
def test_the_board_of_an_instance_is_found_whatever_torch_tells(monkeypatch, told):
    """Some releases of torch report the instance's UUID, others the board's, both without a prefix."""
    import torch

    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: types.SimpleNamespace(uuid=told))
    with SimulatedNvml([SimulatedGpu(uuid=B), SimulatedGpu(uuid=A, mig=["MIG-0", MIG])]):
        [meter] = NvmlSource().of(torch.device("cuda", 0))
        info = meter.open()
    assert (info.device_id, info.scope) == (A, "board")
    assert "this is the whole board, all its instances together" in info.note


def test_an_instance_that_nvml_does_not_find_by_its_uuid():
    with SimulatedNvml([SimulatedGpu(uuid=B), SimulatedGpu(uuid=A, mig=["MIG-0", MIG])]) as nvml:
        nvml.faults["nvmlDeviceGetHandleByUUID"] = [pynvml.NVML_ERROR_NOT_FOUND]
        assert NvmlMeter(MIG).open().device_id == A


def test_a_board_without_nvml_is_told_by_nvml(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: types.SimpleNamespace(uuid=A[4:]))
    with SimulatedNvml(init_error="missing"):
        [meter] = NvmlSource().of(torch.device("cuda", 0))
        with pytest.raises(MeterUnavailable, match="libnvidia-ml"):
            meter.open()


def test_torch_tells_the_uuid(monkeypatch):
    import torch

    from lightning_energy.meters.nvml_boards import uuid_of_torch_device

    def properties(index):
        return types.SimpleNamespace(uuid=[A[4:], "GPU-" + B[4:], None][index])

    monkeypatch.setattr(torch.cuda, "get_device_properties", properties)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", f"{A},{B},{MIG}")
    with SimulatedNvml([SimulatedGpu(uuid=A), SimulatedGpu(uuid=B, mig=[MIG])]):
        assert uuid_of_torch_device(torch.device("cuda", 0)) == A
        assert uuid_of_torch_device(torch.device("cuda")) == B
        assert uuid_of_torch_device(torch.device("cuda", 2)) == MIG


CONDITION = {"power_limit_w": 400.0, "temperature_c": 50.0, "sm_clock_mhz": 345.0, "memory_clock_mhz": 2619.0}
CONDITION["sm_clock_max_mhz"] = 1980.0
ASKED = {
    "power_limit_w": "nvmlDeviceGetEnforcedPowerLimit",
    "temperature_c": "nvmlDeviceGetTemperature",
    "sm_clock_max_mhz": "nvmlDeviceGetMaxClockInfo",
}


@pytest.mark.parametrize("lacking", [None, *ASKED])
@pytest.mark.parametrize("code", [pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.NVML_ERROR_UNKNOWN])
def test_the_condition_of_a_board_is_read_once_with_its_first_reading(lacking, code):
    """A call that fails costs its own field."""
    with SimulatedNvml([SimulatedGpu(uuid=A)]) as nvml:
        meter = NvmlMeter(A)
        assert meter.open().condition is None
        if lacking:
            nvml.faults[ASKED[lacking]] = code
        meter.read()
        found = meter.revised()
        assert asdict(found.condition) == CONDITION | ({lacking: None} if lacking else {})
        calls = nvml.calls["nvmlDeviceGetTemperature"]
        meter.read()
        assert nvml.calls["nvmlDeviceGetTemperature"] == calls
        meter.close()


def test_a_board_that_says_nothing_of_its_condition_has_none():
    names = ["nvmlDeviceGetClockInfo", "nvmlDeviceGetMaxClockInfo", "nvmlDeviceGetTemperature"]
    with SimulatedNvml([SimulatedGpu(uuid=A)], missing=names) as nvml:
        meter = NvmlMeter(A)
        meter.open()
        nvml.faults["nvmlDeviceGetEnforcedPowerLimit"] = pynvml.NVML_ERROR_NOT_SUPPORTED
        meter.read()
        news = meter.revised()
        assert news is None or news.condition is None
        meter.close()
