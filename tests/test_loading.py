"""What an EnergyCallback loads, and when: little where it is made, the rest in setup, nothing while training."""

from __future__ import annotations

import json

MOST_MODULES = 70  # of ours, where a callback is made
OF_A_RUN = {  # each loads many others
    "lightning_energy.training.trainer_run",
    "lightning_energy.ledger.session",
    "lightning_energy.ledger.sharing",
    "lightning_energy.results.report",
    "lightning_energy.results.parse",
    "lightning_energy.results.record",
    "lightning_energy.results.run_page",
    "lightning_energy.results.charts",
    "lightning_energy.results.verdict",
}
NEVER = {"scipy", "pandas", "matplotlib", "rich", "pyarrow", "yaml"}
OTHER_ROOMS = ("lightning_energy.comparison", "lightning_energy.study", "lightning_energy.commands")

TRAINS = """
import json, sys, warnings
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.demos.boring_classes import BoringModel, RandomDataset
from torch.utils.data import DataLoader
warnings.simplefilter("ignore")

before = {*sys.modules}
from lightning_energy import EnergyCallback
energy = EnergyCallback(meters="estimate", accuracy="val_acc", reference_kwh=1e-9, phases=True, trace="csv",
                        carbon_intensity="DEU", print_report=True)
found = {"made": sorted({*sys.modules} - before)}

class Module(BoringModel):
    def validation_step(self, batch, batch_idx):
        self.log("val_acc", 0.5)

class Look(Callback):
    def on_fit_start(self, trainer, pl_module):
        self.before = {*sys.modules}

    def on_train_end(self, trainer, pl_module):
        found["training"] = sorted({*sys.modules} - self.before)

data = DataLoader(RandomDataset(32, 64), batch_size=4)
trainer = Trainer(accelerator="cpu", devices=1, max_epochs=2, callbacks=[energy, Look()], log_every_n_steps=4,
                  default_root_dir=sys.argv[1], enable_progress_bar=False, enable_model_summary=False)
trainer.fit(Module(), data, data)
assert energy.report is not None
found["trained"] = sorted({*sys.modules} - before)
open(sys.argv[1] + "/found.json", "w").write(json.dumps(found))
"""


def test_little_is_loaded_where_a_callback_is_made_and_nothing_while_training(warm, tmp_path):
    """The end of a first epoch, or the first logging step, would else wait for files of ours to be loaded."""
    done = warm.run(TRAINS, tmp_path, bare=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    made, trained = {*found["made"]}, {*found["trained"]}
    assert made & OF_A_RUN == set()
    assert trained >= OF_A_RUN  # the names are right
    assert len([name for name in made if name.startswith("lightning_energy")]) <= MOST_MODULES
    assert [name for name in found["training"] if name.startswith("lightning_energy")] == []
    assert [name for name in trained if name.partition(".")[0] in NEVER or name.startswith(OTHER_ROOMS)] == []
