"""A study as one would publish it: eight models of different families, five seeds each, accuracy against energy.

    python examples/paper_study.py              # trains; goes on where it was if it was ended
    python examples/paper_study.py --report     # table, pictures, page and LaTeX in runs/paper_study/*/report

Two real data sets come with scikit-learn: the digits (1,797 pictures of 8 x 8 pixels) and the breast cancers of
Wisconsin (569 cases of 30 features). Each is split once into training, validation and test. Takes some four minutes
on two CPU cores: the 57 runs are forks of a process that has loaded torch and Lightning. For a study of your own change
two functions, ``data`` and ``network``, and the configurations.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.loggers import CSVLogger
from sklearn.datasets import load_breast_cancer, load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split
from torchmetrics.classification import MulticlassAccuracy

from lightning_energy import EnergyCallback, study

SPLIT = [0.6, 0.2, 0.2]  # training, validation, test; the same for all seeds
DIGITS = {
    "logistic": {"model": "linear"},
    "mlp-small": {"model": "mlp", "width": 32},
    "mlp-wide": {"model": "mlp", "width": 512},
    "cnn": {"model": "cnn", "width": 16},
    "resnet": {"model": "resnet", "width": 16},
    "lstm": {"model": "lstm", "width": 48},
    "transformer": {"model": "transformer", "width": 32},
    "mixer": {"model": "mixer", "width": 32},
}
CANCER = {name: DIGITS[name] for name in ("logistic", "mlp-small", "mlp-wide")}
STUDIES = {"digits": DIGITS, "cancer": CANCER}


def data(config: dict) -> list[TensorDataset]:
    """Training, validation and test: a picture or a row of features each, and its class."""
    if config["data"] == "digits":
        digits = load_digits()
        x, y = torch.tensor(digits.images, dtype=torch.float32) / 16, torch.tensor(digits.target)
    else:
        cancer = load_breast_cancer()
        x, y = torch.tensor(cancer.data, dtype=torch.float32), torch.tensor(cancer.target)
        x = (x - x.mean(0)) / x.std(0)  # by all of them, which know no class
    return random_split(TensorDataset(x, y), SPLIT, torch.Generator().manual_seed(0))


def network(config: dict) -> nn.Module:
    """A network from a batch to ten or two logits."""
    n_in, n_out = (64, 10) if config["data"] == "digits" else (30, 2)
    name, width = config["model"], config.get("width", 0)
    if name == "linear":
        return nn.Sequential(nn.Flatten(), nn.Linear(n_in, n_out))
    if name == "mlp":
        hidden = nn.Sequential(nn.Linear(n_in, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        return nn.Sequential(nn.Flatten(), hidden, nn.Linear(width, n_out))
    return {
        "cnn": Convolutional,
        "resnet": Residual,
        "lstm": Recurrent,
        "transformer": Transformer,
        "mixer": Mixer,
    }[name](width, n_out)


class Convolutional(nn.Sequential):
    """Two layers of 3 x 3 filters."""

    def __init__(self, width: int, n_out: int) -> None:
        first, second = nn.Conv2d(1, width, 3, padding=1), nn.Conv2d(width, 2 * width, 3, padding=1)
        pool, head = nn.MaxPool2d(2), nn.Linear(2 * width * 16, n_out)
        super().__init__(nn.Unflatten(1, (1, 8)), first, nn.ReLU(), second, nn.ReLU(), pool, nn.Flatten(), head)


class Residual(nn.Module):
    """Two residual blocks."""

    def __init__(self, width: int, n_out: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(),
                nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width),
            )
            for _ in range(2)
        )  # fmt: skip
        self.head = nn.Linear(width, n_out)

    def forward(self, x):
        x = self.stem(x.unsqueeze(1))
        for block in self.blocks:
            x = torch.relu(x + block(x))
        return self.head(x.mean(dim=(2, 3)))


class Recurrent(nn.Module):
    """Reads a picture row by row."""

    def __init__(self, width: int, n_out: int) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(8, width, batch_first=True), nn.Linear(width, n_out)

    def forward(self, x):
        return self.head(self.lstm(x)[0][:, -1])


class Transformer(nn.Module):
    """Each row of a picture is a token."""

    def __init__(self, width: int, n_out: int) -> None:
        super().__init__()
        self.embed, self.head = nn.Linear(8, width), nn.Linear(width, n_out)
        self.place = nn.Parameter(0.02 * torch.randn(8, width))
        layer = nn.TransformerEncoderLayer(width, nhead=4, dim_feedforward=2 * width, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)

    def forward(self, x):
        return self.head(self.encoder(self.embed(x) + self.place).mean(dim=1))


class Mixer(nn.Module):
    """Mixes rows, then columns."""

    def __init__(self, width: int, n_out: int) -> None:
        super().__init__()
        self.rows, self.columns = (nn.Sequential(nn.Linear(8, width), nn.GELU(), nn.Linear(width, 8)) for _ in "12")
        self.head = nn.Sequential(nn.Flatten(), nn.LayerNorm(64), nn.Linear(64, n_out))

    def forward(self, x):
        x = x + self.columns(x.transpose(1, 2)).transpose(1, 2)
        return self.head(x + self.rows(x))


class Classifier(L.LightningModule):
    """Any network; nothing in it knows about energy."""

    def __init__(self, config: dict, lr: float = 3e-3) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = network(config)
        classes = 10 if config["data"] == "digits" else 2
        self.val_acc, self.test_acc = (MulticlassAccuracy(classes, average="micro") for _ in "12")

    def training_step(self, batch, batch_idx):
        x, y = batch
        return nn.functional.cross_entropy(self.net(x), y)

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.val_acc(self.net(x), y)
        self.log("val_acc", self.val_acc)

    def test_step(self, batch, batch_idx):
        x, y = batch
        self.test_acc(self.net(x), y)
        self.log("test_acc", self.test_acc)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.hparams.lr)


def train(config: dict, seed: int, folder: Path) -> None:
    """One run. It is called in a process of its own, in which everything is seeded."""
    warnings.filterwarnings("ignore", message="The '.*_dataloader' does not have many workers")
    torch.set_num_threads(1)  # so small networks need no second thread
    fitted, val, test = data(config)
    module = Classifier(config)
    trainer = L.Trainer(
        max_epochs=config["max_epochs"],
        logger=CSVLogger(folder, name="", version="run"),
        log_every_n_steps=10,
        devices=1,
        # runs of tens of joules: the penalty is to be felt at 36 J (1e-5 kWh), not at the default of 1 kWh
        callbacks=[EnergyCallback(reference_kwh=1e-5)],
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    trainer.fit(module, DataLoader(fitted, batch_size=64, shuffle=True), DataLoader(val, batch_size=512))
    trainer.test(module, DataLoader(test, batch_size=512), verbose=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--report", action="store_true", help="report what was trained")
    parser.add_argument("--out", type=Path, default=Path("runs/paper_study"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--max-epochs", type=int, default=20)
    parser.add_argument("--quick", action="store_true", help="one seed, two models, one epoch: to see that it works")
    args = parser.parse_args()
    for name, models in STUDIES.items():
        if args.quick and name != "digits":
            continue
        if args.report and not (args.out / name / "study.json").exists():
            print(f"{args.out / name} holds no study yet")
            continue
        if args.report:
            found = study.report(args.out / name)
            files, problems = found.write(args.out / name / "report")
            print(f"\n{name}\n\n{found}\n", *(f"wrote {file}" for file in files), *problems, sep="\n")
            continue
        chosen = [*models][: 2 if args.quick else None]
        epochs = 1 if args.quick else args.max_epochs
        configs = {model: {**models[model], "data": name, "max_epochs": epochs} for model in chosen}
        seeds, warmup = (1, 0) if args.quick else (args.seeds, 1)
        # runs of seconds: what takes longer to load than to train is loaded once
        preload = ["lightning_energy.callback", "sklearn.datasets", "torchmetrics.classification"]
        study.run(configs, train=train, seeds=seeds, warmup=warmup, preload=preload, out=args.out / name)
    if not args.report:
        print(f"Report it:  python {sys.argv[0]} --report --out {args.out}")


if __name__ == "__main__":
    main()
