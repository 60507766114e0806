"""A small ResNet that logs its accuracy in percent, as many people do."""

from __future__ import annotations

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from lightning_energy import EnergyCallback


class Block(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x):
        return F.relu(x + self.second(F.relu(self.first(x))))


class ResNet(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), Block(8), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(8, 4)

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.cross_entropy(self.head(self.net(x)), y)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        correct = (self.head(self.net(x)).argmax(1) == y).float().mean()
        self.log("val_acc", 100 * correct)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-2)


def images(n):
    y = torch.arange(n) % 4
    x = torch.randn(n, 1, 8, 8) + y[:, None, None, None]
    return TensorDataset(x, y)


if __name__ == "__main__":
    L.seed_everything(0)
    trainer = L.Trainer(
        max_epochs=3,
        accelerator="cpu",
        callbacks=[
            EnergyCallback(reference_kwh="run"),
            ModelCheckpoint(monitor="energy/score", mode="max"),
        ],
    )
    trainer.fit(ResNet(), DataLoader(images(160), batch_size=32), DataLoader(images(64), batch_size=32))
