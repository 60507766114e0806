"""Whole runs on a simulated GPU whose power the training itself drives, against the simulator's true integral."""

from __future__ import annotations

import ctypes
import math
import os
import signal
import statistics
import tempfile
import threading
import time
import warnings

import pynvml
import pytest
from lightning.pytorch.callbacks import Callback
from torch.utils.data import DataLoader

from lightning_energy.meters import NvmlMeter
from tests.modules import Begin, Classifier, End, MemoryLogger, Numbers, energy_callback, loader, make_trainer, spent_j
from tests.sim.nvml import SimulatedGpu, SimulatedNvml

# a machine so busy that no update was seen half a second after a first validation: said, and true
pytestmark = pytest.mark.filterwarnings(
    "ignore:EnergyCallback. no energy/score, as the energy of the training is unknown"
)

UUID = "GPU-cccccccc-0000-0000-0000-000000000000"
BUSY_W, IDLE_W = 350.0, 70.0


class OnGpu(Classifier):
    """Each step keeps the board busy for ``step_s``; between steps it idles."""

    def __init__(self, gpu: SimulatedGpu, step_s: float = 0.03) -> None:
        super().__init__()
        self.gpu, self.step_s = [gpu], step_s

    def training_step(self, batch, batch_idx):
        (gpu,) = self.gpu
        gpu.set_power(BUSY_W)
        end = time.monotonic() + self.step_s
        loss = super().training_step(batch, batch_idx)
        time.sleep(max(end - time.monotonic(), 0.0))  # as a host waits for its board
        gpu.set_power(IDLE_W)
        return loss


class TrueSteps(Callback):
    """Stands after EnergyCallback: when steps began, each until the next; the last of an epoch until validation."""

    def __init__(self) -> None:
        self.spans: list[tuple[int, int]] = []
        self.open_ns = 0

    def on_train_batch_start(self, *args) -> None:
        self._cut()
        self.open_ns = time.monotonic_ns()

    def on_validation_start(self, trainer, pl_module) -> None:
        self._cut()

    def _cut(self) -> None:
        if self.open_ns:
            self.spans.append((self.open_ns, time.monotonic_ns()))
        self.open_ns = 0


def fit(tmp_path, gpu, *others, epochs=10, **kwargs):
    """A run, and its true energy: that between our neighbours in the list, and of what we measured before and after."""
    energy, begin, end = energy_callback(meters=NvmlMeter(UUID)), Begin(), End()
    trainer = make_trainer(tmp_path, max_epochs=epochs, callbacks=[end, energy, begin, *others], **kwargs)
    start_ns = time.monotonic_ns()
    trainer.fit(OnGpu(gpu), loader(), loader(8))
    duration_s, inner_s = energy.report.session.duration_s, (end.ns - begin.ns) * 1e-9
    assert inner_s <= duration_s <= (time.monotonic_ns() - start_ns) * 1e-9
    return energy, gpu.true_energy_j(begin.ns, end.ns) + (duration_s - inner_s) * IDLE_W


def check_true(run, true_j: float, idle_s: float = 0.0) -> None:
    """The energy, and what is missing at some power, make the true one; so much of what is missing was idle."""
    slack_j = 4 * run.u_j + 0.02 * true_j
    most_j = idle_s * IDLE_W + (run.missing_s - idle_s) * BUSY_W
    assert run.energy_j + run.missing_s * IDLE_W - slack_j <= true_j <= run.energy_j + most_j + slack_j


@pytest.mark.slow
@pytest.mark.parametrize("period_s", [0.02, 0.1])
@pytest.mark.parametrize("jitter_s", [0.0, 0.003])
def test_total_is_the_true_integral(tmp_path, period_s, jitter_s):
    gpu = SimulatedGpu("driven", uuid=UUID, counter_period_s=period_s, jitter_s=jitter_s, idle_w=IDLE_W)
    memory = MemoryLogger()
    with SimulatedNvml([gpu]) as nvml:
        steps = TrueSteps()
        energy, true_j = fit(tmp_path, gpu, steps, logger=memory, epochs=10 if period_s < 0.1 else 25)
        reads_per_s = nvml.calls["nvmlDeviceGetTotalEnergyConsumption"] / energy.report.session.duration_s
    run = energy.report.session
    assert run.energy_j == pytest.approx(true_j, rel=0.005)
    assert abs(run.energy_j - true_j) <= 3 * run.u_j
    assert run.quality == "measured"
    assert run.missing_s == 0
    assert reads_per_s < 15 / period_s
    total_j = memory.points("energy/total_wh")[-1][1] * 3600
    assert total_j == pytest.approx(true_j, rel=0.05)
    true_steps_j = [gpu.true_energy_j(*span) for span in steps.spans]
    # at both ends of an epoch's eight steps an update is shared with what idles: see shape_bound_j
    shared_j = 2 * (period_s + jitter_s) * (BUSY_W - IDLE_W) / 4
    per_epoch = len(true_steps_j) / len(energy.history)
    assert per_epoch == 8
    assert energy.report.step_j == pytest.approx(statistics.fmean(true_steps_j), rel=0.01, abs=shared_j / per_epoch)


@pytest.mark.slow
@pytest.mark.parametrize("jitter_s", [0.0])
def test_power_without_a_counter_is_integrated(tmp_path, jitter_s):
    gpu = SimulatedGpu("driven", uuid=UUID, counter_period_s=None, idle_w=IDLE_W)
    with SimulatedNvml([gpu]):
        energy, true_j = fit(tmp_path, gpu)
    run = energy.report.session
    assert run.quality == "integrated"
    assert abs(run.energy_j - true_j) <= 4 * run.u_j


@pytest.mark.slow
@pytest.mark.parametrize("period_s", [0.6, 1.0, 2.0])
def test_a_counter_that_moves_rarely_is_used_together_with_the_power(tmp_path, period_s):
    gpu = SimulatedGpu("driven", uuid=UUID, counter_period_s=period_s, idle_w=IDLE_W)
    with SimulatedNvml([gpu]):
        energy, true_j = fit(tmp_path, gpu)
    run = energy.report.session
    assert run.missing_s < 0.15
    assert abs(run.energy_j - true_j) <= 3 * run.u_j + 0.15 * BUSY_W


class Fault(Callback):
    """Does something to the board at the start of an epoch, and perhaps undoes it later."""

    def __init__(self, do, undo=None, at: int = 2, back: int = 8) -> None:
        self.do, self.undo, self.at, self.back = do, undo, at, back
        self.since_ns = self.until_ns = 0

    def on_train_epoch_start(self, trainer, pl_module) -> None:
        if trainer.current_epoch == self.at:
            self.since_ns = time.monotonic_ns()
            self.do()
        if trainer.current_epoch == self.back and self.undo:
            self.undo()
            self.until_ns = time.monotonic_ns()


def set_(gpu, **values):
    return lambda: [setattr(gpu, k, v) for k, v in values.items()]


FAULTS = {
    "goes backwards": lambda g: (set_(g, offset_j=300.0), None),
    "is reset": lambda g: (lambda: setattr(g, "offset_j", -g._counter_j(g.now_s())), None),
    "leaps forward": lambda g: (set_(g, offset_j=1e7), None),
    "returns zero": lambda g: (set_(g, zero=True), set_(g, zero=False)),
    "freezes": lambda g: (g.freeze, g.thaw),
    "freezes without a power sensor": lambda g: (
        lambda: (g.freeze(), setattr(g, "has_power", False)),
        lambda: (g.thaw(), setattr(g, "has_power", True)),
    ),
    "is lost": lambda g: (g.lose, g.restore),
    "is lost for good": lambda g: (g.lose, None),
    "fails": lambda g: (
        set_(g, counter_error=pynvml.NVML_ERROR_UNKNOWN),
        set_(g, counter_error=pynvml.NVML_SUCCESS),
    ),
    "becomes slow": lambda g: (set_(g, latency_s=0.2), set_(g, latency_s=0.0)),
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_day_invents_no_joule(tmp_path, fault):
    gpu = SimulatedGpu("driven", uuid=UUID, counter_period_s=0.02, idle_w=IDLE_W)
    bad = Fault(*FAULTS[fault](gpu))
    with SimulatedNvml([gpu]), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        energy, true_j = fit(tmp_path, gpu, bad, epochs=10)
    run = energy.report.session
    told = [str(w.message) for w in caught if "missing from all totals" in str(w.message)]
    # what is not missing is right: the true energy lies between all missing at idle and all missing at full power
    slack_j = 4 * run.u_j + 0.01 * true_j
    low_j, high_j = (run.energy_j + run.missing_s * w for w in (IDLE_W, BUSY_W))
    assert low_j - slack_j <= true_j <= high_j + slack_j
    assert all(row["train_j"] is None or row["train_j"] >= 0 for row in energy.history)
    if fault == "becomes slow":  # late, but nothing is lost: the counter knows
        assert run.missing_s == 0
        assert not told
        return
    assert run.missing_s > 0
    kinds = {text.partition("): ")[2].partition(", first seen")[0] for text in told}
    assert 1 <= len(told) == len(kinds)  # each kind once: a register of zeros falls, and then stands still
    if bad.undo and fault != "freezes":
        assert run.missing_s <= (bad.until_ns - bad.since_ns) * 1e-9 + 0.7
    if fault == "freezes":  # the power sensor goes on
        assert run.missing_s < 0.7
        assert run.quality == "integrated"


# ------------------------------------------------------------------------------- the process itself has a bad day


def starve(seconds: float):
    """Hold the interpreter's lock, as a C extension that does not release it: no thread runs meanwhile."""
    return lambda: ctypes.PyDLL(None).usleep(round(seconds * 1e6))


@pytest.mark.slow
@pytest.mark.parametrize("counter_period_s", [0.1, None])
def test_a_starved_sampler(tmp_path, counter_period_s):
    gpu = SimulatedGpu("driven", uuid=UUID, counter_period_s=counter_period_s, idle_w=IDLE_W)
    with SimulatedNvml([gpu]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        energy, true_j = fit(tmp_path, gpu, Fault(starve(2.0), at=4))
    run = energy.report.session
    if counter_period_s:  # the counter counted on
        assert run.missing_s == 0
        assert abs(run.energy_j - true_j) <= 3 * run.u_j
        # what is not known at its two ends, each within an update (see shape_bound_j), and by polls that were late
        assert run.u_j <= 1.3 * math.sqrt(2 / 3) * counter_period_s * (BUSY_W - IDLE_W) / 4
    else:  # nobody looked at the power
        assert run.missing_s >= 1.8
        check_true(run, true_j, idle_s=1.8)


STOPPED = """
import sys, warnings
from pathlib import Path
from lightning.pytorch.callbacks import Callback
from tests.sim.nvml import SimulatedGpu, SimulatedNvml
from tests.test_nvml_runs import IDLE_W, UUID, check_true, fit

class Tell(Callback):
    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == 3:
            print("stop me", flush=True)
            sys.stdin.readline()  # answered after the process was stopped and went on

warnings.simplefilter("ignore")
period_s = float(sys.argv[1]) or None
gpu = SimulatedGpu("driven", uuid=UUID, counter_period_s=period_s, idle_w=IDLE_W)
with SimulatedNvml([gpu]):
    energy, true_j = fit(Path(sys.argv[2]), gpu, Tell())
run = energy.report.session
if period_s:  # the counter counted on
    assert run.missing_s == 0
    assert abs(run.energy_j - true_j) <= 3 * run.u_j + 0.005 * true_j
else:
    assert run.missing_s >= 2.3
    check_true(run, true_j, idle_s=2.3)
print("as it should be")
"""


@pytest.mark.slow
@pytest.mark.parametrize("period_s", [0.1, 0.0])
def test_a_process_that_was_stopped(tmp_path, warm, period_s):
    (theirs, answer), (told, tell) = os.pipe(), os.pipe()
    with tempfile.TemporaryFile("w+") as errors, os.fdopen(told) as out, os.fdopen(answer, "w") as go_on:
        child = warm.start(STOPPED, period_s, tmp_path, stdin=theirs, stdout=tell, stderr=errors)
        os.close(theirs)
        os.close(tell)
        assert "stop me" in out.readline()
        child.send_signal(signal.SIGSTOP)
        time.sleep(2.5)  # that is the bad day, not a way to wait for something
        child.send_signal(signal.SIGCONT)
        print("go on", file=go_on, flush=True)
        lines = out.read().splitlines()
        code = child.wait()
        errors.seek(0)
        assert (code, lines[-1:]) == (0, ["as it should be"]), errors.read()


class Forked(Numbers):
    """Its items are made where no sampler lives."""

    def __getitem__(self, i):
        x, y = super().__getitem__(i)
        assert "lightning-energy-sampler" not in [t.name for t in threading.enumerate()]
        return x, y


@pytest.mark.slow
@pytest.mark.parametrize("persistent", [False, True])
def test_workers_that_are_forked_in_the_middle(tmp_path, persistent):
    """Each epoch forks its loader's workers while the sampler runs; they have no sampler, and disturb nobody."""
    gpu = SimulatedGpu("driven", uuid=UUID, counter_period_s=0.02, idle_w=IDLE_W)
    energy, begin, end = energy_callback(meters=NvmlMeter(UUID)), Begin(), End()
    data = DataLoader(
        Forked(), batch_size=4, num_workers=1, multiprocessing_context="fork", persistent_workers=persistent
    )
    with SimulatedNvml([gpu]):
        make_trainer(tmp_path, max_epochs=4, callbacks=[end, energy, begin]).fit(OnGpu(gpu), data, loader(8))
        least_j, most_j = spent_j(gpu, begin, end)
    run = energy.report.session
    assert run.missing_s == 0
    assert 0.99 * least_j <= run.energy_j <= 1.01 * most_j
