"""One NVML call that fails while a board is opened: tried again, and what is read instead is said, with the reason."""

from __future__ import annotations

import threading

import pynvml
import pytest
import torch

from lightning_energy.meters import MeterUnavailable, NvmlMeter, find, open_meters
from lightning_energy.meters.nvml_boards import driver_version, list_gpus
from tests.curves.test_sampler import wait_for
from tests.sim.nvml import SimulatedGpu, SimulatedNvml

A = "GPU-aaaaaaaa-0000-0000-0000-000000000000"
MIG = "MIG-11111111-0000-0000-0000-000000000000"

KINDS = {
    "with a counter": (A, {}),
    "power alone": (A, {"counter_period_s": None}),
    "instance": (MIG, {"mig": [MIG]}),
    "split": (A, {"mig": [MIG]}),
    "module": (A, {"module_extra_w": 200.0, "counts_module": True, "limit_w": 900.0}),
}
COMMON = {
    "nvmlInitWithFlags",
    "nvmlDeviceGetHandleByUUID",
    "nvmlDeviceGetUUID",
    "nvmlDeviceGetName",
    "nvmlDeviceGetTotalEnergyConsumption",
    "nvmlDeviceGetPowerUsage",
    "nvmlDeviceGetFieldValues",
    "field 186 of scope 0",
    "nvmlDeviceGetEnforcedPowerLimit",
    "nvmlDeviceGetPowerManagementLimitConstraints",
    "field 186 of scope 1",
}
SHARING = {"nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetMaxMigDeviceCount"}
OF_KIND = {
    "with a counter": SHARING,
    "power alone": SHARING,
    "instance": {"nvmlDeviceGetDeviceHandleFromMigDeviceHandle"},
    "split": {*SHARING, "nvmlDeviceGetMigDeviceHandleByIndex"},
    "module": SHARING,
}
OF_CONDITION = {"nvmlDeviceGetTemperature", "nvmlDeviceGetClockInfo", "nvmlDeviceGetMaxClockInfo"}  # once, later
CALLS = [(kind, call) for kind in KINDS for call in sorted(COMMON | OF_KIND[kind])]
UNKNOWN, PERMISSION, NOT_SUPPORTED = (
    pynvml.NVML_ERROR_UNKNOWN,
    pynvml.NVML_ERROR_NO_PERMISSION,
    pynvml.NVML_ERROR_NOT_SUPPORTED,
)
FAULTS = {
    "once": [UNKNOWN],
    "twice": [UNKNOWN] * 2,
    "always": UNKNOWN,
    "no permission": PERMISSION,
    "not supported": NOT_SUPPORTED,
}
# without an answer there is no board; for everything else there is a way on
NEEDED = {"nvmlInitWithFlags", "nvmlDeviceGetHandleByUUID", "nvmlDeviceGetDeviceHandleFromMigDeviceHandle"}


def opened(kind, faults):
    """The description of a board, or the reason why there is none; and whether a register is read."""
    uuid, settings = KINDS[kind]
    with SimulatedNvml([SimulatedGpu(uuid=A, **settings)]) as nvml:
        nvml.faults.update(faults)
        meter = NvmlMeter(uuid)
        try:
            info = meter.open()
        except MeterUnavailable as error:
            return None, str(error), None, nvml.calls
        return info, info.note, meter.read(), nvml.calls


@pytest.mark.parametrize("kind", KINDS)
def test_these_are_the_calls(kind):
    *_, calls = opened(kind, {})
    assert {*calls} - {"nvmlErrorString"} == COMMON | OF_KIND[kind] | OF_CONDITION


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(("kind", "call"), CALLS)
def test_one_call_fails_while_a_board_is_opened(kind, call, fault):
    healthy, _, healthy_reading, _ = opened(kind, {})
    error = FAULTS[fault]
    info, told, reading, calls = opened(kind, {call: [*error] if isinstance(error, list) else error})
    if isinstance(error, list):  # it was tried again
        assert info == healthy
        assert (reading.register_j is None) == (healthy_reading.register_j is None)
        return
    assert calls[call] <= 40  # and not for ever
    needed = call in NEEDED or (kind == "instance" and call == "nvmlDeviceGetUUID")
    assert (info is None) == needed
    if error == UNKNOWN:
        assert "Unknown Error" in told or (told == healthy.note and not matters(kind, call))
    if error == PERMISSION:
        assert "/dev/nvidia* must be readable" in told or not matters(kind, call)
    assert "Jetson" not in told
    if info is None:
        return
    assert info.device_id == A
    assert info.name == ("NVIDIA GPU" if call == "nvmlDeviceGetName" else "Simulated GPU")
    has_counter = kind != "power alone" and call != "nvmlDeviceGetTotalEnergyConsumption"
    assert info.quality == ("measured" if has_counter else "integrated")
    assert (reading.register_j is not None) == has_counter
    if not has_counter:
        assert reading.power_w is not None
        assert "energy counter" in told
    if call == "nvmlDeviceGetEnforcedPowerLimit":
        assert info.power_max_w is None


def matters(kind, call):
    """False where another call, or nothing, tells as much."""
    if call == "nvmlDeviceGetUUID":
        return kind == "instance"
    return call not in {"nvmlDeviceGetPowerUsage", "nvmlDeviceGetName"}


@pytest.mark.parametrize(
    ("counter", "power", "match"),
    [
        (NOT_SUPPORTED, NOT_SUPPORTED, r"neither energy nor power \(Jetson, some vGPUs\)"),
        (NOT_SUPPORTED, PERMISSION, "/dev/nvidia. must be readable"),
        (PERMISSION, PERMISSION, "/dev/nvidia. must be readable"),
        (UNKNOWN, UNKNOWN, "Unknown Error"),
        (UNKNOWN, NOT_SUPPORTED, "Unknown Error"),
    ],
)
def test_a_board_that_tells_nothing_says_why(counter, power, match):
    with SimulatedNvml([SimulatedGpu(uuid=A, has_instant=False)]) as nvml:
        nvml.faults.update({"nvmlDeviceGetTotalEnergyConsumption": counter, "nvmlDeviceGetPowerUsage": power})
        with pytest.raises(MeterUnavailable, match=match) as caught:
            NvmlMeter(A).open()
    assert ("Jetson" in str(caught.value)) == (counter == power == NOT_SUPPORTED)


@pytest.mark.parametrize(
    "call",
    [
        "nvmlDeviceGetCount_v2",
        "nvmlDeviceGetHandleByIndex_v2",
        "nvmlDeviceGetUUID",
        "nvmlDeviceGetName",
        "nvmlDeviceGetMaxMigDeviceCount",
        "nvmlDeviceGetMigDeviceHandleByIndex",
        "nvmlSystemGetDriverVersion",
    ],
)
def test_a_list_of_boards_survives_a_call_that_fails_once(call):
    with SimulatedNvml([SimulatedGpu(uuid=A, mig=[MIG])]) as nvml:
        nvml.faults[call] = [UNKNOWN]
        assert [(g.uuid, g.name, g.mig) for g in list_gpus()] == [(A, "Simulated GPU", (MIG,))]
        assert driver_version() == "570.00.sim"


def test_boards_that_cannot_be_counted_are_not_none():
    with SimulatedNvml([SimulatedGpu(uuid=A)]) as nvml:
        nvml.faults["nvmlDeviceGetCount_v2"] = PERMISSION
        with pytest.raises(MeterUnavailable, match="/dev/nvidia. must be readable"):
            list_gpus()


PROCESSES = "nvmlDeviceGetComputeRunningProcesses_v3"


def test_a_query_for_processes_that_hangs_keeps_nobody_waiting_and_its_answer_comes_later(monkeypatch):
    over = threading.Event()
    with SimulatedNvml([SimulatedGpu(uuid=A, pids=[4711])]) as nvml:
        nvml.hangs[PROCESSES] = over
        meter = NvmlMeter(A)
        info = meter.open()
        assert (info.scope, info.quality) == ("gpu", "measured")
        assert "other programs on it are not known (the query for processes does not answer)" in info.note
        assert meter.read().register_j is not None
        assert meter.revised().scope == "gpu"  # with the board's condition, and nothing of the query
        assert meter.revised() is None
        assert meter.other_processes() is None  # one that hangs is enough
        assert nvml.calls[PROCESSES] == 1
        over.set()
        asked = meter._asked
        assert asked.wait(60)
        meter.read()
        news = meter.revised()
        assert meter.revised() is None
        assert news.scope == "board"
        assert news.note == "shared: 1 other process(es) compute on this board"
        assert meter.other_processes() == [4711]


@pytest.mark.parametrize("call", sorted(COMMON - {f"field 186 of scope {i}" for i in (0, 1)}))
def test_another_call_that_hangs_while_a_board_is_opened_keeps_no_training_waiting(call, monkeypatch):
    monkeypatch.setattr(find, "OPEN_S", 0.05)
    over = threading.Event()
    with SimulatedNvml([SimulatedGpu(uuid=A)]) as nvml:
        nvml.hangs[call] = over
        meter = NvmlMeter(A)
        try:
            with pytest.raises(MeterUnavailable, match=r"NvmlMeter: its open\(\) does not return within 0\.05 s"):
                open_meters([meter], device=torch.device("cpu"))
        finally:
            over.set()
        wait_for(lambda: all(t.name != "lightning-energy-question" for t in threading.enumerate()))
        assert meter._board is None  # closed when it was open at last
