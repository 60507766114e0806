"""Train models of different size and kind on the same digits, and compare their accuracy and energy.

    python examples/compare_models.py
    lightning-energy compare runs/compare_models --picture compare.png --html compare.html

Seven models: a logistic regression, a small and a wide perceptron, a small and a wide convolutional network, a small
transformer and an LSTM that read a picture row by row. Each leaves a record; the second command compares them.
Takes about a minute on two CPU cores.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.loggers import CSVLogger
from quickstart import Digits
from torch import nn
from torchmetrics.classification import MulticlassAccuracy

from lightning_energy import EnergyCallback

ROWS, COLUMNS, CLASSES = 8, 8, 10


class DigitsModel(L.LightningModule):
    """The common part of all models: pictures of shape (n, 1, 8, 8) in, and ten logits out."""

    def __init__(self, lr: float = 2e-3) -> None:
        super().__init__()
        self.lr = lr
        self.val_acc = MulticlassAccuracy(CLASSES, average="micro")

    def training_step(self, batch, batch_idx):
        images, labels = batch
        return nn.functional.cross_entropy(self(images), labels)

    def validation_step(self, batch, batch_idx):
        images, labels = batch
        self.val_acc(self(images), labels)
        self.log("val_acc", self.val_acc)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.lr)


class LogisticRegression(DigitsModel):
    """One weight per pixel and class."""

    def __init__(self) -> None:
        super().__init__(lr=1e-2)
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(ROWS * COLUMNS, CLASSES))

    def forward(self, images):
        return self.net(images)


class Perceptron(DigitsModel):
    """Two hidden layers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(
            nn.Flatten(),
            nn.Linear(ROWS * COLUMNS, width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Linear(width, CLASSES),
        )

    def forward(self, images):
        return self.net(images)


class Convolutional(DigitsModel):
    """Two layers of 3 x 3 filters."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(2 * width * (ROWS // 2) * (COLUMNS // 2), CLASSES),
        )

    def forward(self, images):
        return self.net(images)


class Recurrent(DigitsModel):
    """Reads a picture row by row."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.lstm = nn.LSTM(COLUMNS, width, batch_first=True)
        self.head = nn.Linear(width, CLASSES)

    def forward(self, images):
        states, _ = self.lstm(images.squeeze(1))
        return self.head(states[:, -1])


class Transformer(DigitsModel):
    """Each row of a picture is a token."""

    def __init__(self, width: int = 32, layers: int = 2) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.embed = nn.Linear(COLUMNS, width)
        self.place = nn.Parameter(0.02 * torch.randn(ROWS, width))
        layer = nn.TransformerEncoderLayer(width, nhead=4, dim_feedforward=2 * width, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers)
        self.head = nn.Linear(width, CLASSES)

    def forward(self, images):
        tokens = self.embed(images.squeeze(1)) + self.place
        return self.head(self.encoder(tokens).mean(dim=1))


MODELS = {
    "logistic": LogisticRegression,
    "mlp-small": lambda: Perceptron(32),
    "mlp-wide": lambda: Perceptron(1024),
    "cnn-small": lambda: Convolutional(8),
    "cnn-wide": lambda: Convolutional(48),
    "lstm": Recurrent,
    "transformer": Transformer,
}


def train(name: str, folder: Path, max_epochs: int) -> None:
    L.seed_everything(0, verbose=False)
    # runs of tens of joules: the penalty is to be felt at 36 J (1e-5 kWh), not at the default of 1 kWh
    energy = EnergyCallback(reference_kwh=1e-5, print_report=False)
    trainer = L.Trainer(
        max_epochs=max_epochs,
        logger=CSVLogger(folder, name="", version=name),
        log_every_n_steps=10,
        devices=1,
        callbacks=[energy],
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    trainer.fit(MODELS[name](), Digits())
    spent, accuracy = energy.report.total, energy.report.metric.value
    print(f"{name:12} accuracy {accuracy:.4f}  {spent.energy_j:8.1f} ± {spent.u_absolute_j:.1f} J ({spent.quality})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--max-epochs", type=int, default=15)
    parser.add_argument("--log-dir", type=Path, default=Path("runs/compare_models"))
    args = parser.parse_args()
    # advice about data loaders, of no use for 1,797 pictures that are in memory already
    warnings.filterwarnings("ignore", message="The '.*_dataloader' does not have many workers")

    # so small networks need no second thread; threads that wait for each other take CPU time on a busy machine
    torch.set_num_threads(1)
    for name in MODELS:
        train(name, args.log_dir, args.max_epochs)
    print("\nSingle runs show what the meter says; what holds for a model takes three seeds or more: paper_study.py.")
    print(f"Compare them:  lightning-energy compare {args.log_dir} --picture compare.png --html compare.html")


if __name__ == "__main__":
    main()
