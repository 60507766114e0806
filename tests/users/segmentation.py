"""A segmentation that is judged by the mean intersection over union of torchmetrics, logged as an object."""

from __future__ import annotations

import lightning as L
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.classification import MulticlassJaccardIndex

from lightning_energy import EnergyCallback


class Segmentation(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 2, 1))
        self.miou = MulticlassJaccardIndex(num_classes=2)

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.cross_entropy(self.net(x), y)

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.miou(self.net(x).argmax(1), y)
        self.log("val/mIoU", self.miou)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-2)


def images(n):
    x = torch.randn(n, 1, 12, 12)
    return TensorDataset(x, (x[:, 0] > 0).long())


if __name__ == "__main__":
    L.seed_everything(0)
    energy = EnergyCallback(metric="val/mIoU", reference_kwh="run")
    trainer = L.Trainer(max_epochs=2, accelerator="cpu", callbacks=[energy])
    trainer.fit(Segmentation(), DataLoader(images(48), batch_size=12), DataLoader(images(24), batch_size=12))
