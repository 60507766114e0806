"""The metrics over two real processes."""

import math
import os
import pickle
import warnings
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.classification import BinaryAccuracy

from lightning_energy.scores.functional import energy_penalized_accuracy, sustainable_accuracy
from lightning_energy.scores.metrics import EnergyPenalizedAccuracy, SustainableAccuracy, energy_scores
from tests.warm import assert_ended

pytestmark = pytest.mark.slow

WORLD = 2
KWH = 3.6e6  # joules


def right(n_right, n):
    """Predictions and targets of which ``n_right`` of ``n`` agree."""
    return torch.tensor([1] * n_right + [0] * (n - n_right)), torch.ones(n, dtype=torch.int64)


def in_process(folder):
    warnings.simplefilter("error")
    rank = int(os.environ["RANK"])
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/store",
        rank=rank,
        world_size=WORLD,
        timeout=timedelta(seconds=60),
    )
    try:
        results = {}
        for name, job in JOBS.items():
            results[name] = job(rank)
            dist.barrier()
    finally:
        dist.destroy_process_group()
    Path(folder, f"{rank}.pkl").write_bytes(pickle.dumps(results))


def of_ranks(warm, folder, function):
    """What each rank left in the folder that ``function`` is given."""
    code = f"import sys; from tests.scores.test_metrics_ddp import {function}; {function}(sys.argv[1])"
    for done in warm.run_ranks(code, WORLD, folder):
        assert_ended(done)
    return [pickle.loads((folder / f"{rank}.pkl").read_bytes()) for rank in range(WORLD)]


@pytest.fixture(scope="module")
def on_ranks(tmp_path_factory, warm):
    """For the name of a job, each rank's result; all jobs are done one after the other by the same two processes."""
    results = of_ranks(warm, tmp_path_factory.mktemp("ranks"), "in_process")
    return lambda name: [of_rank[name] for of_rank in results]


def uneven(rank):
    score = EnergyPenalizedAccuracy(BinaryAccuracy())
    # 1 of 1 right on rank 0 and 3 of 7 on rank 1: half of all; a mean of ranks or of scores would differ
    score.update(*[right(1, 1), right(3, 7)][rank], energy_kwh=[2.0, 7.0][rank])
    total = float(score.compute())
    own_j = score.energy_j
    score.update(*right(4, 4), energy_kwh=0.0)
    return total, own_j, float(score.compute())


def test_accuracy_and_energy_are_reduced_first_and_scored_once(on_ranks):
    for rank, (total, own_j, later) in enumerate(on_ranks("uneven")):
        assert total == pytest.approx(energy_penalized_accuracy(0.5, 9.0))
        assert own_j == pytest.approx([2 * KWH, 7 * KWH][rank])
        assert later == pytest.approx(energy_penalized_accuracy(0.75, 9.0))


def partly_known(rank, *, other):
    score = SustainableAccuracy(BinaryAccuracy())
    score.update(*right(4, 5))
    if rank == 0:
        score.set_energy(10 * KWH)
    elif other is not None:
        score.set_energy(other)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        value = float(score.compute())
    return value, [str(w.message) for w in caught], score.energy_j


def test_energy_unknown_on_one_rank_is_unknown(on_ranks):
    results = on_ranks("unknown on one rank")
    assert all(math.isnan(value) for value, _, _ in results)
    assert [energy_j for _, _, energy_j in results] == [10 * KWH, None]
    assert all(len(said) <= 1 and all("at least one rank" in s for s in said) for _, said, _ in results)
    assert len(results[0][1]) == 1


def test_a_rank_that_another_one_meters_gives_zero(on_ranks):
    for value, said, _ in on_ranks("metered by another"):
        assert value == pytest.approx(sustainable_accuracy(0.8, 10.0))
        assert said == []


def by_hand_sync(rank):
    score = EnergyPenalizedAccuracy(BinaryAccuracy())
    score.update(*right(4 + rank, 5), energy_kwh=4.5)
    score.sync()
    synced_j = score.energy_j
    score.unsync()
    batch = float(score(*right(5, 5), energy_kwh=1.0))
    each_step = EnergyPenalizedAccuracy(BinaryAccuracy(dist_sync_on_step=True))
    synced_batch = float(each_step(*right(4 + rank, 5), energy_kwh=4.5))
    return synced_j, score.energy_j, batch, synced_batch, float(score.compute())


def beyond_int64(rank):
    """Each rank's microjoules just fit into an int64; their sum, 2.76e19, wraps around to 9.2e18."""
    score = EnergyPenalizedAccuracy(BinaryAccuracy())
    score.update(*right(4, 5), energy_kwh=9.2e12 / KWH)
    score.update(*right(4, 5), energy_kwh=[9.2e12, 1.0][rank] / KWH)
    return float(score.compute())


JOBS = {
    "beyond int64": beyond_int64,
    "uneven": uneven,
    "unknown on one rank": partial(partly_known, other=None),
    "metered by another": partial(partly_known, other=0.0),
    "by hand": by_hand_sync,
}


def test_a_sum_of_ranks_beyond_int64_is_scored_rightly(on_ranks):
    expected = energy_penalized_accuracy(0.8, (3 * 9.2e12 + 1) / KWH)
    assert on_ranks("beyond int64") == pytest.approx([expected] * 2, rel=1e-6)


def test_sync_unsync_and_steps(on_ranks):
    for synced_j, own_j, batch, synced_batch, total in on_ranks("by hand"):
        assert synced_j == pytest.approx(9 * KWH)
        assert own_j == pytest.approx(5.5 * KWH)
        assert batch == pytest.approx(energy_penalized_accuracy(1.0, 5.5))  # of this rank
        assert synced_batch == pytest.approx(energy_penalized_accuracy(0.9, 9.0))  # of all, as the accuracy asks
        assert total == pytest.approx(energy_penalized_accuracy(0.95, 11.0))


class Classifier(LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.score = EnergyPenalizedAccuracy(BinaryAccuracy())

    def training_step(self, batch, batch_idx):
        return self.layer(batch[0]).square().mean()

    def validation_step(self, batch, batch_idx):
        self.score.update(*right(4 + self.global_rank, 5))
        self.log("score", self.score)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Feeder(Callback):
    """Gives what this rank has spent, as the library's callback does."""

    def on_validation_start(self, trainer, pl_module):
        for score in energy_scores(pl_module):
            score.set_energy([2.0, 7.0][trainer.global_rank] * KWH)


def fit(folder):
    trainer = Trainer(
        default_root_dir=folder,
        accelerator="cpu",
        strategy="ddp",
        devices=WORLD,
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[Feeder()],
    )
    data = DataLoader(TensorDataset(torch.ones(4, 1)), batch_size=1)
    trainer.fit(Classifier(), data, data)
    Path(folder, f"{trainer.global_rank}.pkl").write_bytes(pickle.dumps(float(trainer.callback_metrics["score"])))


def test_a_trainer_logs_one_score_of_all_ranks(tmp_path, warm):
    assert of_ranks(warm, tmp_path, "fit") == pytest.approx([energy_penalized_accuracy(0.9, 9.0)] * WORLD)
