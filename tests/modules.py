"""Small modules, data and trainers that the tests of the callback share."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import lightning as L
import torch
import torch.distributed as dist
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers.logger import Logger
from torch.utils.data import DataLoader, Dataset

from lightning_energy import EnergyCallback, MeterInfo, ReplayMeter

POWER_W = 200.0


class Numbers(Dataset):
    """``n`` vectors whose class is the sign of their first number."""

    def __init__(self, n: int = 32) -> None:
        self.x = torch.randn(n, 4, generator=torch.Generator().manual_seed(0))
        self.y = (self.x[:, 0] > 0).long()

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> Any:
        return self.x[i], self.y[i]


def loader(n: int = 32, batch_size: int = 4) -> DataLoader:
    return DataLoader(Numbers(n), batch_size=batch_size)


class Data(L.LightningDataModule):
    def train_dataloader(self) -> DataLoader:
        return loader()

    def val_dataloader(self) -> DataLoader:
        return loader(8)


class Classifier(L.LightningModule):
    """Logs ``val_acc = 0.5 + epoch / 100``, so that every validation has its own value.

    Args:
        where: the hook that logs it: ``step``, ``epoch_end``, ``callback`` (see LateLogger) or ``nowhere``.
        name: its name.
    """

    def __init__(self, where: str = "step", name: str = "val_acc") -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 2)
        self.where = where
        self.name = name
        self.validations = 0

    def value(self) -> float:
        return min(0.5 + self.validations / 100, 0.99)

    def training_step(self, batch, batch_idx):
        x, y = batch
        return torch.nn.functional.cross_entropy(self.layer(x), y)

    def on_validation_start(self) -> None:
        if not self.trainer.sanity_checking:
            self.validations += 1

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        if self.where == "step":
            self.log(self.name, self.value(), on_epoch=True, on_step=False, batch_size=1)

    def on_validation_epoch_end(self) -> None:
        if self.where == "epoch_end":
            self.log(self.name, self.value())

    def test_step(self, batch, batch_idx):
        self.log("test_acc", 0.5, batch_size=1)

    def predict_step(self, batch, batch_idx):
        return self.layer(batch[0])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Working(Classifier):
    """Steps long enough to be seen by a counter: 5 ms, in which it waits as for a device."""

    def training_step(self, batch, batch_idx):
        time.sleep(0.005)
        return super().training_step(batch, batch_idx)


class LateLogger(Callback):
    """Another callback that logs the accuracy at the end of validation."""

    def on_validation_epoch_end(self, trainer, pl_module) -> None:
        if pl_module.where == "callback":
            pl_module.log("val_acc", pl_module.value())


class Begin(Callback):
    """Stands after EnergyCallback: measuring has begun before its setup, and has ended before its teardown."""

    def setup(self, trainer, pl_module, stage) -> None:
        self.ns = time.monotonic_ns()

    def teardown(self, trainer, pl_module, stage) -> None:
        self.latest_ns = time.monotonic_ns()


class End(Callback):
    """Stands before EnergyCallback: measuring begins after its setup, and ends after its teardown."""

    def setup(self, trainer, pl_module, stage) -> None:
        self.earliest_ns = time.monotonic_ns()

    def teardown(self, trainer, pl_module, stage) -> None:
        self.ns = time.monotonic_ns()


def spent_j(device: Any, begin: Begin, end: End) -> tuple[float, float]:
    """The least and the most that a device can have spent while it was measured, however busy the machine was."""
    return device.true_energy_j(begin.ns, end.ns), device.true_energy_j(end.earliest_ns, begin.latest_ns)


class MemoryLogger(Logger):
    """A logger of a class that we do not know: keeps (step, values)."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[int | None, dict[str, float]]] = []

    @property
    def name(self) -> str:
        return "memory"

    @property
    def version(self) -> str:
        return "0"

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        pass

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.rows.append((step, dict(metrics)))

    def points(self, key: str) -> list[tuple[int | None, float]]:
        return [(step, values[key]) for step, values in self.rows if key in values]


def meter(**kwargs: Any) -> ReplayMeter:
    return ReplayMeter(kwargs.pop("script", POWER_W), counter_period_s=kwargs.pop("counter_period_s", 0.02), **kwargs)


class OfThisRank(ReplayMeter):
    """A device for each rank, of 100 W, 200 W, …; or one for all of them, of that name."""

    def __init__(self, name: str = "") -> None:
        super().__init__(100.0, counter_period_s=0.01)
        self._name = name

    def open(self) -> MeterInfo:
        rank = dist.get_rank()
        self._powers = [100.0 * (1 + rank)]
        self._energies_j = [self._powers[0]]
        return replace(super().open(), device_id=self._name or f"device-{rank}", power_max_w=1000.0)


def energy_callback(**kwargs: Any) -> EnergyCallback:
    return EnergyCallback(meters=kwargs.pop("meters", None) or meter(), print_report=False, **kwargs)


def make_trainer(tmp_path: Any, **kwargs: Any) -> L.Trainer:
    settings = {
        "max_epochs": 3,
        "default_root_dir": str(tmp_path),
        "accelerator": "cpu",
        "devices": 1,
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
        "log_every_n_steps": 2,
    }
    return L.Trainer(**(settings | kwargs))
