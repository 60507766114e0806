"""Two ranks whose EnergyCallbacks are not alike, say because one script reads its settings from two nodes' files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lightning_energy import load_record
from tests.warm import assert_ended

if TYPE_CHECKING:
    from tests.warm import Warm

pytestmark = pytest.mark.slow

SCRIPT = """
import sys
from pathlib import Path

from tests.modules import Classifier, OfThisRank, energy_callback, loader, make_trainer

folder = Path(sys.argv[1])
for rich in (0, 1):
    trainer = make_trainer(folder, max_epochs=1, strategy="ddp", devices=2)
    more = {"phases": True, "log_uncertainty": True, "carbon_intensity": 100}
    more["per"] = {"numbers": lambda batch: batch[0].numel()}
    settings = more if trainer.global_rank == rich else {"score": None}
    energy = energy_callback(meters=OfThisRank(), metric="val_acc", record=str(folder / f"rich{rich}"), **settings)
    trainer.callbacks.append(energy)
    trainer.fit(Classifier(), loader(32), loader(8))
    assert energy.report.outcome == "completed", energy.report
"""
METRICS = """
import sys
from pathlib import Path

from tests.modules import Classifier, OfThisRank, energy_callback, loader, make_trainer

folder = Path(sys.argv[1])
named = {"metric": "val_acc", "mode": "min", "scale": "raw"}
cases = {"mode": (named, {"metric": "val_acc"}), "function": ({"score": lambda q, kwh: 2 * q}, {})}
for name, (of_zero, of_one) in cases.items():
    trainer = make_trainer(folder, max_epochs=2, strategy="ddp", devices=2)
    settings = {**(of_one if trainer.global_rank else of_zero), "meters": OfThisRank(), "record": str(folder / name)}
    energy = energy_callback(**settings)
    trainer.callbacks.append(energy)
    trainer.fit(Classifier(), loader(32), loader(8))
    assert energy.report.outcome == "completed", energy.report
"""
SAYS = "EnergyCallback has other settings on rank zero, which count on all ranks: "


def test_settings_of_rank_zero_count_where_ranks_are_not_alike(tmp_path, warm: Warm):
    """Ranks with other numbers in a reduction would end the training."""
    zero, one = warm.run_ranks(SCRIPT, 2, tmp_path, cwd=tmp_path)
    for done in (zero, one):
        assert_ended(done)
    assert SAYS not in zero.stderr
    assert f"{SAYS}carbon_intensity, log_uncertainty, phases, per, score" in one.stderr
    rich, poor = (load_record(tmp_path / f"rich{rank}") for rank in range(2))
    train = rich.stages["train"]
    assert sum(p.energy.energy_j for p in rich.phases["train"]) == pytest.approx(train.energy_j, rel=1e-9)
    assert len(rich.phases_by_rank) == 2
    assert rich.derived is not None
    assert rich.units["train"] == {"samples": 32, "numbers": None}  # rank one cannot count them
    assert (poor.phases, poor.phases_by_rank, poor.derived) == ({}, [], None)
    assert poor.units["train"] == {"samples": 32}


def test_metric_and_score_of_rank_zero_count_too(tmp_path, warm: Warm):
    """Ranks that take another metric, or score it by a function that others do not have, wait in unlike collectives."""
    zero, one = warm.run_ranks(METRICS, 2, tmp_path, cwd=tmp_path)
    for done in (zero, one):
        assert_ended(done)
    assert SAYS not in zero.stderr
    assert f"{SAYS}mode, scale" in one.stderr
    assert f"{SAYS}score" in one.stderr
    by_mode, by_function = (load_record(tmp_path / name) for name in ("mode", "function"))
    assert (by_mode.metric.mode, by_mode.metric.scale) == ("min", "raw")
    assert [row.score for row in by_function.epochs] == [pytest.approx(2 * row.metric) for row in by_function.epochs]
