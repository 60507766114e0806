"""A regression: losses alone, and a test after the training."""

from __future__ import annotations

import lightning as L
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from lightning_energy import EnergyCallback


class Regression(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 1))

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.mse_loss(self.net(x), y)

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_loss", F.mse_loss(self.net(x), y))
        self.log("val_mae", F.l1_loss(self.net(x), y))

    def test_step(self, batch, batch_idx):
        x, y = batch
        self.log("test_mae", F.l1_loss(self.net(x), y))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1e-2)


def points(n):
    x = torch.randn(n, 3)
    return TensorDataset(x, x.sum(1, keepdim=True))


if __name__ == "__main__":
    L.seed_everything(0)
    trainer = L.Trainer(max_epochs=2, accelerator="cpu", callbacks=[EnergyCallback()])
    model = Regression()
    trainer.fit(model, DataLoader(points(90), batch_size=20), DataLoader(points(30), batch_size=20))
    trainer.test(model, DataLoader(points(50), batch_size=20))
