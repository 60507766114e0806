"""The estimate on real processes: it is of this training, whoever its neighbours are and however many ranks it has."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack

import psutil
import pytest

from lightning_energy import load_record

pytestmark = pytest.mark.slow

W_PER_THREAD = 4.0
FEW_THREADS = 8  # two busy loops are more than a tenth of these

WORK = """
import json, resource, sys, time, warnings
import psutil
from torch.utils.data import DataLoader, Dataset
from lightning_energy import EnergyMonitor

warnings.simplefilter("ignore")

def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end: pass

def used_s():
    uses = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(use.ru_utime + use.ru_stime for use in uses)

def busy_s():
    times = psutil.cpu_times()
    return times.user + times.nice + times.system

class Work(Dataset):
    def __len__(self):
        return 20
    def __getitem__(self, index):
        burn(0.05)
        return index

begin_used_s, begin_busy_s = used_s(), busy_s()
with EnergyMonitor(meters="estimate", device="cpu", print_report=False) as monitor:
    with monitor.stage("train", 0):
        for _ in DataLoader(Work(), num_workers=2):
            with monitor.step():
                burn(0.05)
report = monitor.report
print(json.dumps({
    "energy_j": report.session.energy_j, "cpu_s": used_s() - begin_used_s, "machine_s": busy_s() - begin_busy_s,
    "missing_s": report.session.missing_s, "notes": [note.text for note in report.notes],
}))
"""


def test_busy_neighbours_are_not_in_it(warm):
    """By ratio to the CPU time that the kernel says the work took: that itself differs with a machine's load."""
    with ExitStack() as stack:
        for _ in range(2):
            loop = "print(flush=True)\nwhile True: pass"
            neighbour = stack.enter_context(subprocess.Popen([sys.executable, "-c", loop], stdout=subprocess.PIPE))
            stack.callback(neighbour.kill)
            neighbour.stdout.readline()
        done = warm.run(WORK)
    assert done.returncode == 0, done.stderr
    run = json.loads(done.stdout)
    assert run["missing_s"] == 0
    assert run["cpu_s"] > 2.0  # of the loop, and of workers that have ended
    assert run["energy_j"] == pytest.approx(W_PER_THREAD * run["cpu_s"], rel=0.05)
    # all that ran on the machine, which the estimate once went by, was more by far
    assert run["machine_s"] > 1.5 * run["cpu_s"]
    if psutil.cpu_count() <= FEW_THREADS:
        assert len([note for note in run["notes"] if "they are not in the estimate" in note]) == 1


RANKS = """
import json, resource, sys, time, warnings
from pathlib import Path

warnings.simplefilter("ignore")
from lightning.pytorch.callbacks import Callback
from tests.modules import Classifier, energy_callback, loader, make_trainer

out, strategy = Path(sys.argv[1]), sys.argv[2]


class Module(Classifier):
    def training_step(self, batch, batch_idx):
        end = time.process_time() + (0.6 if self.global_rank == 1 else 0.05)
        while time.process_time() < end: pass
        return super().training_step(batch, batch_idx)


class Look(Callback):  # at the CPU time of each rank, by the kernel
    def __init__(self):
        self.used_s = {}

    def look(self, when):
        use = resource.getrusage(resource.RUSAGE_SELF)
        self.used_s[when] = use.ru_utime + use.ru_stime

    def setup(self, trainer, pl_module, stage):
        self.look("setup")

    def on_train_epoch_start(self, trainer, pl_module):
        self.look("start")

    def on_train_end(self, trainer, pl_module):
        self.look("end")

    def teardown(self, trainer, pl_module, stage):
        self.look("teardown")
        (out / f"used{trainer.global_rank}.json").write_text(json.dumps(self.used_s))


if __name__ == "__main__":
    callbacks = [Look(), energy_callback(meters="estimate", record=str(out))]
    trainer = make_trainer(out, max_epochs=1, callbacks=callbacks, logger=False, strategy=strategy, devices=2)
    trainer.fit(Module(), loader(32), loader(16))
"""


@pytest.mark.parametrize("strategy", ["ddp", "ddp_notebook"])
def test_each_rank_counts_its_own_processes(tmp_path, warm, strategy):
    """Under ``ddp`` rank one is a child of rank zero; under ``ddp_notebook`` both are children of the script."""
    script = tmp_path / "script.py"
    script.write_text(RANKS, encoding="utf-8")
    done = warm.run(script, tmp_path, strategy, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    record = load_record(tmp_path)
    assert [(d.device_id, d.rank) for d in record.devices] == [("cpu-estimate", 0), ("cpu-estimate", 1)]
    counted_s = [d.energy.energy_j / W_PER_THREAD for d in record.devices]
    for rank, of_rank_s in enumerate(counted_s):  # what a callback does before and behind the training is in it, or not
        used_s = json.loads((tmp_path / f"used{rank}.json").read_text())
        assert of_rank_s > 0.95 * (used_s["end"] - used_s["start"]) - 0.05
        assert of_rank_s < 1.05 * (used_s["teardown"] - used_s["setup"]) + 0.05
    assert counted_s[1] > counted_s[0] + 1.0
    assert "Covers, read by 2 ranks: 2 x CPU model, 4 W per thread (processes, estimated)" in record.report.details()
