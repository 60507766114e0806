"""Copies and pickles of a callback or a monitor in the middle of a run: settings alone, and the run goes on."""

from __future__ import annotations

import copy
import pickle

import pytest
from lightning.fabric import Fabric
from lightning.pytorch.callbacks import Callback

from lightning_energy import EnergyMonitor
from lightning_energy.meters import CpuEstimateMeter, NvmlMeter
from tests.modules import Working, energy_callback, loader, make_trainer, meter
from tests.sim.nvml import SimulatedGpu, SimulatedNvml

UUID = "GPU-dddddddd-0000-0000-0000-000000000000"
METERS = {
    "replay": meter,
    "estimate": CpuEstimateMeter,
    "nvml": lambda: NvmlMeter(UUID),
    "several": lambda: [NvmlMeter(UUID), meter(), CpuEstimateMeter()],
}
COPIES = {"copy": copy.copy, "deepcopy": copy.deepcopy, "pickle": lambda it: pickle.loads(pickle.dumps(it))}


@pytest.fixture(autouse=True)
def nvml():
    with SimulatedNvml([SimulatedGpu(uuid=UUID)]):
        yield


@pytest.fixture(params=METERS.values(), ids=[*METERS])
def meters(request):
    return request.param()


class CopyIn(Callback):
    def __init__(self, of) -> None:
        self.of, self.twins = of, []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        if trainer.current_epoch == 0 and batch_idx == 3:
            self.twins = [make(self.of) for make in COPIES.values()]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:EnergyCallback. the energy of this run is ESTIMATED")
def test_of_a_callback(tmp_path, meters):
    energy = energy_callback(meters=meters, record=str(tmp_path / "energy.json"))
    copies = CopyIn(energy)
    make_trainer(tmp_path, callbacks=[energy, copies]).fit(Working(), loader(), loader(8))
    assert energy.report.outcome == "completed"
    assert energy.report.total.missing_s == 0
    deep = copies.twins[1:]  # a copy that is not deep shares the meters
    assert len(deep) == 2
    for twin in deep:
        assert (twin._run, twin._last_report, twin.history) == (None, None, [])
        twin.record = False
        make_trainer(tmp_path, callbacks=[twin], max_epochs=1).fit(Working(), loader(), loader(8))
        assert twin.report.outcome == "completed"
        assert [d.name for d in twin.report.devices] == [d.name for d in energy.report.devices]
        assert twin._memory.run_id != energy._memory.run_id


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:EnergyMonitor. the energy of this run is ESTIMATED")
def test_of_a_monitor(tmp_path, meters):
    def work():
        for _ in range(30):
            with monitor.step(samples=4):
                sum(range(50_000))

    monitor = EnergyMonitor(meters=meters, record=tmp_path / "energy.json", print_report=False)
    with monitor:
        work()
        twins = [make(monitor) for make in COPIES.values()]
        work()
    assert (monitor.report.outcome, monitor.report.samples) == ("completed", 240)
    assert monitor.report.session.missing_s == 0
    for twin in twins[1:]:
        twin.record = False
        assert twin.record_path is None
        with pytest.warns(UserWarning, match="report is None until"):
            assert twin.report is None
        with pytest.raises(RuntimeError, match="is not running"):
            twin.energy()
        with twin, twin.step(samples=4):
            sum(range(50_000))
        assert twin.report.samples == 4


def test_a_monitor_keeps_the_fabric_that_it_is_of():
    fabric = Fabric(accelerator="cpu", devices=1)
    monitor = EnergyMonitor(fabric=fabric, meters=meter(), record=False)
    with monitor:
        twin = copy.deepcopy(monitor)
    assert twin._fabric is fabric
    assert twin.meters is not monitor.meters
