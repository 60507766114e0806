"""A copy of a meter in the middle of a run is a closed meter of the same device, and never touches the original."""

from __future__ import annotations

import copy
import pickle
import time

import pytest

from lightning_energy.meters import (
    CalibratedMeter,
    CpuEstimateMeter,
    MeterError,
    NvmlMeter,
    RaplMeter,
    ReplayMeter,
)
from lightning_energy.meters.rapl import find_rapl
from tests.sim.nvml import SimulatedGpu, SimulatedNvml
from tests.sim.sysfs import Powercap

UUID = "GPU-eeeeeeee-0000-0000-0000-000000000000"
KINDS = ["nvml", "rapl", "mirrored dies", "estimate", "replay", "calibrated", "calibrated rapl"]
COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda meter: pickle.loads(pickle.dumps(meter)),
    "twin": lambda meter: meter.twin(),
}


@pytest.fixture
def meter(request, tmp_path):
    kind = request.param
    tree = Powercap(tmp_path / "powercap", {"intel-rapl:0": "package-0-die-0", "intel-rapl:1": "package-0-die-1"})
    rapl = RaplMeter(tree.root / "intel-rapl:0")
    with SimulatedNvml([SimulatedGpu(uuid=UUID)]):
        yield {
            "nvml": NvmlMeter(UUID),
            "rapl": rapl,
            "mirrored dies": find_rapl(tree.root)[0],
            "estimate": CpuEstimateMeter(),
            "replay": ReplayMeter(100.0),
            "calibrated": CalibratedMeter(ReplayMeter(100.0)),
            "calibrated rapl": CalibratedMeter(rapl),
        }[kind]


@pytest.mark.parametrize("meter", KINDS, indirect=True)
@pytest.mark.parametrize("how", COPIES.values(), ids=[*COPIES])
def test_a_copy_is_closed_and_its_end_leaves_the_original_open(meter, how):
    before = meter.open()
    meter.read()
    twin = how(meter)
    twin.close()
    assert meter.read().end_ns <= time.monotonic_ns()
    twin = how(meter)
    inner = getattr(twin, "meter", twin)
    if isinstance(inner, ReplayMeter):  # its script goes on
        assert not inner.is_open
    else:
        with pytest.raises(MeterError, match=r"call open\(\) first"):
            twin.read()
    assert twin.open().device_id == before.device_id
    assert twin.read().start_ns <= twin.read().end_ns
    twin.close()
    del twin
    meter.read()
    meter.close()
    meter.close()
