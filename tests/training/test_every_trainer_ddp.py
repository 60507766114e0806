"""LIGHTNING_ENERGY=1 in the environment of some ranks alone, say of one node's login shells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.warm import assert_ended

if TYPE_CHECKING:
    from tests.warm import Warm

pytestmark = pytest.mark.slow

SCRIPT = """
import os, sys
from datetime import timedelta
from importlib import metadata
from pathlib import Path

import lightning.fabric.utilities.registry as registry
from lightning.pytorch.strategies import DDPStrategy
from tests.modules import Classifier, energy_callback, loader, make_trainer

out, switched = Path(sys.argv[1]), sys.argv[2].split(",")
rank = os.environ["RANK"]
os.environ["LIGHTNING_ENERGY"] = "1" if rank in switched else "0"
group = "lightning.pytorch.callbacks_factory"
ours = metadata.EntryPoint("ours", "lightning_energy.training.every_trainer:callbacks", group)
registry.entry_points = lambda group: [ours]
strategy = DDPStrategy(timeout=timedelta(seconds=30))
trainer = make_trainer(out, max_epochs=2, callbacks=[], strategy=strategy, devices=2)
energy = [c for c in trainer.callbacks if type(c).__name__ == "EnergyCallback"]
for callback in energy:
    callback.meters = energy_callback().meters
    callback.print_report = False
trainer.fit(Classifier(), loader(), loader(8))
reports = ["a report" if c._last_report is not None else "no report" for c in energy]
(out / f"result{rank}").write_text(f"{trainer.current_epoch} epochs, {reports}")
"""


@pytest.mark.parametrize(
    ("switched", "found"),
    [("0,1", [["a report"]] * 2), ("1", [[], ["no report"]])],
)
def test_ranks_that_have_none_are_not_waited_for(tmp_path, warm: Warm, switched, found):
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    all_done = warm.run_ranks(script, 2, tmp_path, switched, cwd=tmp_path)
    for done in all_done:
        assert_ended(done)
    assert [(tmp_path / f"result{rank}").read_text() for rank in range(2)] == [f"2 epochs, {texts}" for texts in found]
    text = "LIGHTNING_ENERGY=1 is set on some ranks only: energy is not measured"
    assert [text in done.stderr for done in all_done] == ["no report" in texts for texts in found]
