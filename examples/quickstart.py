"""Train a small network on scikit-learn's handwritten digits and watch what it costs.

    python examples/quickstart.py

Runs in well under two minutes on two CPU cores. On a machine without a readable power sensor the energy is
estimated from the CPU time that the training takes, and says so.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers import TensorBoardLogger
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split
from torchmetrics.classification import MulticlassAccuracy

from lightning_energy import EnergyCallback


class DigitsNet(L.LightningModule):
    """A small convolutional network. Nothing in it knows about energy."""

    def __init__(self, width: int = 16, lr: float = 3e-3) -> None:
        super().__init__()
        self.lr = lr
        self.net = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(2 * width * 16, 128),
            nn.ReLU(),
            nn.Linear(128, 10),
        )
        self.val_acc = MulticlassAccuracy(10, average="micro")

    def training_step(self, batch, batch_idx):
        images, labels = batch
        loss = nn.functional.cross_entropy(self.net(images), labels)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        images, labels = batch
        self.val_acc(self.net(images), labels)
        self.log("val_acc", self.val_acc)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.lr)


class Digits(L.LightningDataModule):
    """The 1,797 digits of 8 x 8 pixels that come with scikit-learn."""

    def __init__(self, batch_size: int = 32) -> None:
        super().__init__()
        self.batch_size = batch_size

    def setup(self, stage: str) -> None:
        digits = load_digits()
        images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
        data = TensorDataset(images, torch.tensor(digits.target))
        self.train, self.val = random_split(data, [0.7, 0.3], torch.Generator().manual_seed(0))

    def train_dataloader(self):
        return DataLoader(self.train, batch_size=self.batch_size, shuffle=True)

    def val_dataloader(self):
        return DataLoader(self.val, batch_size=256)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--max-epochs", type=int, default=30)
    parser.add_argument("--log-dir", type=Path, default=Path("runs"))
    args = parser.parse_args()
    # advice about data loaders, of no use for 1,797 pictures that are in memory already
    warnings.filterwarnings("ignore", message="The '.*_dataloader' does not have many workers")

    # so small a network needs no second thread; threads that wait for each other take CPU time on a busy machine
    torch.set_num_threads(1)
    L.seed_everything(0)
    logger = TensorBoardLogger(args.log_dir, name="quickstart")
    trainer = L.Trainer(
        max_epochs=args.max_epochs,
        logger=logger,
        log_every_n_steps=5,
        accelerator="auto",
        devices=1,
        enable_progress_bar=False,
        callbacks=[
            # a run of some ten joules: the penalty is to be felt at 36 J (1e-5 kWh), not at the default of 1 kWh
            EnergyCallback(reference_kwh=1e-5),
            EarlyStopping(monitor="energy/score", mode="max", patience=3, strict=False),
        ],
    )
    trainer.fit(DigitsNet(), Digits())

    print(f"\nStopped after {trainer.current_epoch} epochs. The curves are in {logger.log_dir}")
    print(f"See them:  tensorboard --logdir {args.log_dir}   then open http://localhost:6006 and look for energy/")


if __name__ == "__main__":
    main()
