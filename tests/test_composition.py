"""Together with whatever else people use: nothing of theirs changes because of us."""

from __future__ import annotations

import gc
import threading

import psutil
import pytest
import torch
from lightning.pytorch import callbacks as pl_callbacks
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.loggers import CSVLogger

from lightning_energy import EnergyCallback, MeterInfo, ReplayMeter
from lightning_energy.results.read import read_record
from tests.modules import Classifier, MemoryLogger, energy_callback, loader, make_trainer


class Linear(Classifier):
    """Something to prune, average and quantize, with a learning rate to monitor."""

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1)]


def everything(tmp_path):
    return [
        pl_callbacks.DeviceStatsMonitor(),
        pl_callbacks.EarlyStopping("val_acc", mode="max", patience=100),
        pl_callbacks.GradientAccumulationScheduler({1: 2}),
        pl_callbacks.LambdaCallback(on_train_start=lambda *_: None),
        pl_callbacks.LearningRateMonitor(),
        pl_callbacks.ModelCheckpoint(tmp_path, monitor="val_acc", mode="max", save_top_k=2, save_last=True),
        pl_callbacks.ModelSummary(),
        pl_callbacks.OnExceptionCheckpoint(tmp_path),
        pl_callbacks.StochasticWeightAveraging(swa_lrs=1e-2),
        pl_callbacks.Timer(),
        pl_callbacks.TQDMProgressBar(refresh_rate=0),
    ]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("first", [True, False])
def test_with_all_of_lightnings_own_callbacks(tmp_path, first):
    outcomes = []
    for with_us in (True, False):
        torch.manual_seed(0)
        energy = energy_callback()
        others = everything(tmp_path / str(with_us))
        ours = [energy] if with_us else []
        trainer = make_trainer(
            tmp_path,
            max_epochs=4,
            enable_progress_bar=True,
            enable_model_summary=True,
            enable_checkpointing=True,
            logger=CSVLogger(tmp_path / str(with_us)),
            callbacks=[*ours, *others] if first else [*others, *ours],
        )
        module = Linear()
        trainer.fit(module, loader(), loader(8))
        metrics = {k: float(v) for k, v in trainer.callback_metrics.items() if not k.startswith("energy/")}
        outcomes.append((metrics, [p.detach().clone() for p in module.parameters()], trainer.current_epoch))
        if with_us:
            assert energy.report.outcome == "completed"
            assert "gave_up" not in {note.kind for note in energy.report.notes}
            assert "energy/score" in trainer.callback_metrics
    (mine, my_weights, my_epochs), (theirs, their_weights, their_epochs) = outcomes
    assert mine == theirs
    assert my_epochs == their_epochs
    assert all(torch.equal(a, b) for a, b in zip(my_weights, their_weights, strict=True))


def test_returned_by_the_module(tmp_path):
    energy = energy_callback()

    class Brings(Classifier):
        def configure_callbacks(self):
            return [energy]

    trainer = make_trainer(tmp_path)
    trainer.fit(Brings(), loader(), loader(8))
    assert "energy/score" in trainer.callback_metrics
    assert energy.report.outcome == "completed"


@pytest.mark.slow
def test_every_hook_is_called_as_without_us(tmp_path):
    """Of the module, of another callback and of the data: the same hooks, as often, in the same order."""

    def listening(cls, calls):
        """A subclass that notes each of its public hooks."""

        def noted(name):
            def hook(self, *args, **kwargs):
                calls.append(f"{cls.__name__}.{name}")
                return getattr(super(twin, self), name)(*args, **kwargs)

            return hook

        hooks = {n for n in dir(cls) if n.startswith("on_")} | {"training_step", "validation_step", "test_step"}
        hooks |= {"setup", "teardown", "configure_optimizers", "optimizer_step", "backward", "state_dict"}
        twin = type(cls.__name__, (cls,), {n: noted(n) for n in hooks if callable(getattr(cls, n, None))})
        return twin

    def all_calls(*ours):
        calls = []
        others = [listening(pl_callbacks.Callback, calls)(), pl_callbacks.ModelCheckpoint(tmp_path, save_last=True)]
        trainer = make_trainer(
            tmp_path, max_epochs=2, val_check_interval=0.5, enable_checkpointing=True, callbacks=[*ours, *others]
        )
        module, data = listening(Classifier, calls)(), loader(16)
        trainer.fit(module, data, data)
        trainer.validate(module, data, verbose=False)
        trainer.test(module, data, verbose=False)
        trainer.predict(module, data)
        return calls

    alone = all_calls()
    assert len(alone) > 200
    assert all_calls(energy_callback()) == alone


def test_through_the_entry_point_of_lightning(tmp_path, monkeypatch):
    """``lightning.pytorch.callbacks_factory`` adds callbacks to every Trainer: ours are made by a user's function."""

    class EntryPoint:
        name = "energy"

        def load(self):
            return lambda: [energy_callback()]

    from importlib import metadata

    real = metadata.entry_points

    def with_ours(**kwargs):
        found = [*real(**kwargs)]
        return [*found, EntryPoint()] if kwargs.get("group") == "lightning.pytorch.callbacks_factory" else found

    monkeypatch.setattr("lightning.fabric.utilities.registry.entry_points", with_ours)
    trainer = make_trainer(tmp_path)
    assert any(isinstance(c, EnergyCallback) for c in trainer.callbacks)
    trainer.fit(Classifier(), loader(), loader(8))
    assert "energy/score" in trainer.callback_metrics


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")
def test_its_short_name_on_the_command_line(tmp_path, monkeypatch):
    """Once the class itself is imported, LightningCLI knows it; what it saves says the whole path."""
    monkeypatch.setattr("sys.argv", ["train.py"])
    arguments = ["--trainer.callbacks=EnergyCallback", "--trainer.callbacks.accuracy=val_acc"]
    arguments += ["--trainer.callbacks.reference_kwh=0.01", "--trainer.accelerator=cpu"]
    cli = LightningCLI(Classifier, args=["--seed_everything=1", *arguments], run=False)
    (energy,) = (c for c in cli.trainer.callbacks if isinstance(c, EnergyCallback))
    assert (energy.accuracy, energy.reference_kwh) == ("val_acc", 0.01)
    saved = cli.parser.dump(cli.config)
    assert "class_path: lightning_energy.EnergyCallback" in saved
    (tmp_path / "saved.yaml").write_text(saved)
    again = LightningCLI(Classifier, args=[f"--config={tmp_path / 'saved.yaml'}"], run=False)
    (energy,) = (c for c in again.trainer.callbacks if isinstance(c, EnergyCallback))
    assert (energy.accuracy, energy.reference_kwh) == ("val_acc", 0.01)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_compiled_module(tmp_path):
    module = torch.compile(Classifier(), backend="eager")
    energy = energy_callback()
    make_trainer(tmp_path, callbacks=[energy]).fit(module, loader(), loader(8))
    assert energy.report.score is not None


STARTS_ITSELF = """
import sys, threading, warnings
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.strategies import ModelParallelStrategy
from tests.modules import Classifier, energy_callback, loader, make_trainer
try:
    from torch.distributed.fsdp import fully_shard
except ImportError:  # its place before torch 2.6
    from torch.distributed._composable.fsdp import fully_shard

warnings.simplefilter("ignore")

class Module(Classifier):
    def configure_model(self):
        if self.device_mesh is not None and not hasattr(self.layer, "unshard"):
            fully_shard(self.layer, mesh=self.device_mesh["data_parallel"])
            fully_shard(self, mesh=self.device_mesh["data_parallel"])

    def validation_step(self, batch, batch_idx):
        self.log("val_acc", 0.9, sync_dist=True, batch_size=1)

if __name__ == "__main__":
    folder, strategy = sys.argv[1:]
    if strategy == "model_parallel":  # parameters are sharded over both ranks
        strategy = ModelParallelStrategy(data_parallel_size=2, tensor_parallel_size=1)
    logger, energy = CSVLogger(folder), energy_callback()
    trainer = make_trainer(folder, strategy=strategy, devices=2, max_epochs=3, logger=logger, callbacks=[energy])
    trainer.fit(Module(), loader(64), loader(16))
    assert float(trainer.callback_metrics["energy/score"]) > 0
    assert float(trainer.callback_metrics["energy/total_wh"]) > 0
    assert "lightning-energy-sampler" not in [t.name for t in threading.enumerate()]
    print("came back")
"""


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp_spawn", "ddp_notebook", "model_parallel"])
def test_strategies_of_other_kinds(tmp_path, warm, strategy):
    """The callback is pickled, or inherited; figures come back through ``callback_metrics`` and the record.

    In a process of its own: strategies leave a process group behind, and to fork a process that has used OpenMP's
    threads is no good idea, with us or without.
    """
    script = tmp_path / "starts_itself.py"
    script.write_text(STARTS_ITSELF)
    for attempt in "abc":  # gloo's threads sometimes abort a process at its end: see test_callback_ddp
        folder = tmp_path / attempt
        if strategy == "model_parallel":
            done, _ = warm.run_ranks(script, 2, folder, strategy)
        else:
            done = warm.run(script, folder, strategy)
        if "SIGABRT" not in done.stderr:
            break
    assert "came back" in done.stdout, done.stderr
    (record,) = folder.rglob("energy.json")
    assert read_record(record).outcome == "completed"
    assert read_record(record).ranks == 2


def test_fsdp_on_a_cpu_is_refused_by_lightning_with_us_or_without(tmp_path):
    texts = []
    for callbacks in ([], [energy_callback()]):
        with pytest.raises(ValueError, match="fsdp.*requires a GPU") as error:
            make_trainer(tmp_path, strategy="fsdp", callbacks=callbacks)
        texts.append(str(error.value))
    assert texts[0] == texts[1]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:EnergyCallback. no energy/score")  # too short to know
def test_many_fits_leave_nothing_behind(tmp_path):
    """No thread, no file descriptor and no memory that grows."""
    process = psutil.Process()
    info = MeterInfo("d", "device", "measured", "gpu", power_max_w=300.0, update_period_s=0.001)

    def one_fit():
        energy = energy_callback(meters=ReplayMeter(200.0, counter_period_s=0.001, info=info))
        trainer = make_trainer(tmp_path, max_epochs=1, limit_train_batches=1, limit_val_batches=1, callbacks=[energy])
        trainer.fit(Classifier(), loader(8), loader(8))

    for _ in range(20):
        one_fit()
    gc.collect()
    before = process.memory_info().rss, process.num_fds(), threading.active_count()
    for _ in range(40):
        one_fit()
    gc.collect()
    after = process.memory_info().rss, process.num_fds(), threading.active_count()
    assert after[0] - before[0] < 2**20
    assert after[1] <= before[1]
    assert after[2] <= before[2]


def test_memory_logger_is_not_touched_by_a_silent_callback(tmp_path):
    """What we add to a logger is ours alone: every other key is as without us."""
    keys = []
    for callbacks in ([], [energy_callback()]):
        memory = MemoryLogger()
        make_trainer(tmp_path, logger=memory, callbacks=callbacks).fit(Classifier(), loader(), loader(8))
        keys.append({k for _, values in memory.rows for k in values if not k.startswith("energy/")})
    assert keys[0] == keys[1]
