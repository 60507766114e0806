"""EnergyBudget in two real processes over gloo: they stop after the same step, and look at each other rarely."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import torch

from tests.warm import assert_ended

if TYPE_CHECKING:
    from pathlib import Path

    from tests.warm import Warm

pytestmark = pytest.mark.slow

SCRIPT = '''
import json, sys, time
from pathlib import Path

from tests.of_others import errors_but

errors_but(
    "Be aware that when using `ckpt_path`",
    "EnergyCallback: .* it has not been polled",  # a first import takes seconds
    "EnergyBudget: the energy of . device.s. is missing",
    "EnergyBudget: the budget of .* will not last",
    "Checkpoint directory .* exists and is not empty",
)

import torch.distributed as dist
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from lightning_energy import EnergyBudget
from tests.modules import End, OfThisRank, Working, energy_callback, loader, make_trainer

out, mode = Path(sys.argv[1]), sys.argv[2]


class Looks(Callback):
    """What the ranks agreed on at each look, and when."""

    def __init__(self):
        self.seen, self.last = [], None

    def look(self, trainer):
        agreed = budget._watch.agreed
        if agreed is not self.last and not (self.seen and self.seen[-1][3]):
            self.last = agreed
            self.seen.append((trainer.global_step, agreed.spent_j, time.monotonic_ns(), trainer.should_stop))

    def on_train_start(self, trainer, pl_module):
        self.look(trainer)

    def on_train_batch_end(self, trainer, *args):
        self.look(trainer)

    def on_validation_end(self, trainer, pl_module):
        if not trainer.sanity_checking:
            self.look(trainer)


def train(ckpt_path=None):
    end, looks = End(), Looks()
    callbacks = [end, budget, looks, ModelCheckpoint(dirpath=out / "ckpt", every_n_epochs=900)]
    if mode == "with":
        callbacks.insert(0, energy_callback(meters=device, score=None, record=False))
    settings = {"strategy": "ddp", "devices": 2, "check_val_every_n_epoch": 3}
    trainer = make_trainer(out, max_epochs=999, callbacks=callbacks, enable_checkpointing=True, **settings)
    trainer.fit(Working(), loader(320), loader(16), ckpt_path=ckpt_path)
    return {"step": trainer.global_step, "looks": looks.seen, "spent_j": 3.6e6 * budget.spent_kwh,
            "exceeded": budget.is_exceeded,
            "true_j": device.true_energy_j(end.earliest_ns, looks.seen[-1][2])}


device = OfThisRank()
budget = EnergyBudget(max_j=3600.0 + 900.0, reserve_kwh=0.001)
budget._meters = device
first = train()
limit = [3.6e6 * budget.spent_kwh + 300.0]
dist.broadcast_object_list(limit)
budget = EnergyBudget(max_j=limit[0])
budget._meters = device
second = train(out / "ckpt/energy-budget.ckpt")
(out / f"result{dist.get_rank()}.json").write_text(json.dumps([first, second, limit[0]]))
'''


@pytest.mark.parametrize("mode", ["with", "without"])
def test_two_ranks_stop_after_the_same_step(tmp_path: Path, warm: Warm, mode: str) -> None:
    """With and without an EnergyCallback: 300 W together, stopped at 900 J, and resumed for 300 J."""
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    for done in warm.run_ranks(script, 2, tmp_path, mode, cwd=tmp_path):
        assert_ended(done)
    zero, one = (json.loads((tmp_path / f"result{rank}.json").read_text()) for rank in (0, 1))
    for limit_j, of_zero, of_one in zip((900.0, zero[2]), zero[:2], one[:2], strict=True):
        assert of_zero["step"] == of_one["step"]
        agreed = [[look[:2] for look in rank["looks"]] for rank in (of_zero, of_one)]
        assert agreed[0] == agreed[1]  # to the last bit, or they would not look after the same steps
        (_, last_but_one_j), (stopped_at, last_j) = agreed[0][-2:]
        assert last_but_one_j < limit_j <= last_j  # over by no more than what lies between two looks
        assert stopped_at == of_zero["step"]
        assert (of_zero["exceeded"], of_one["exceeded"]) == (True, True)
    true_j = zero[0]["true_j"] + one[0]["true_j"]
    assert 0.3 * true_j < zero[0]["looks"][-1][1] < 1.02 * true_j  # less where a busy machine was not read for seconds
    state = torch.load(tmp_path / "ckpt/energy-budget.ckpt", weights_only=True)
    (mine,) = (s for key, s in state["callbacks"].items() if key.startswith("EnergyBudget"))
    assert mine["spent_j"] >= 900.0
    assert zero[1]["looks"][0][1] >= mine["spent_j"]  # all that both had spent counts on
