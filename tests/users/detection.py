"""A detection: batches are tuples of images of different sizes, and the metric is a mean average precision."""

from __future__ import annotations

import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader

from lightning_energy import EnergyCallback


class Detector(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4))

    def training_step(self, batch, batch_idx):
        images, targets = batch
        boxes = torch.cat([self.net(image[None]) for image in images])
        return (boxes - torch.cat([t["boxes"] for t in targets])).abs().mean()

    def validation_step(self, batch, batch_idx):
        pass

    def on_validation_epoch_end(self):
        self.log("val_map_50", 0.1 + 0.2 * self.current_epoch)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1e-2)


def pictures(n):
    return [(torch.randn(3, 8 + i % 3, 8), {"boxes": torch.rand(1, 4), "labels": torch.tensor([1])}) for i in range(n)]


def collate(batch):
    return tuple(zip(*batch, strict=True))


def count_images(batch):
    images, _ = batch
    return len(images)


if __name__ == "__main__":
    L.seed_everything(0)
    energy = EnergyCallback(metric="val_map_50", scale="fraction", reference_kwh="run", batch_size_fn=count_images)
    trainer = L.Trainer(max_epochs=3, accelerator="cpu", callbacks=[energy])
    trainer.fit(
        Detector(),
        DataLoader(pictures(26), batch_size=8, collate_fn=collate),
        DataLoader(pictures(8), batch_size=8, collate_fn=collate),
    )
