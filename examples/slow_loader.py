"""Train with a DataLoader that is too slow, and ask what would have saved energy.

    python examples/slow_loader.py                # every batch takes 100 ms more to fetch
    python examples/slow_loader.py --delay-ms 0   # and now it does not

The verdict says how many joules the board drew while it waited, where a board can be read and the run is long enough;
else it says what it does not know.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.loggers import CSVLogger
from quickstart import Digits, DigitsNet
from torch.utils.data import DataLoader, Dataset

from lightning_energy import EnergyCallback, explain


class Slow(Dataset):
    """A data set whose samples take their time, as those of a busy disk do."""

    def __init__(self, data: Dataset, delay_s: float) -> None:
        self.data, self.delay_s = data, delay_s

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index):
        time.sleep(self.delay_s)
        return self.data[index]


class SlowDigits(Digits):
    """The digits of ``quickstart.py``; each training batch takes ``delay_s`` seconds more to fetch."""

    def __init__(self, delay_s: float, batch_size: int = 32) -> None:
        super().__init__(batch_size)
        self.delay_s = delay_s

    def train_dataloader(self):
        data = Slow(self.train, self.delay_s / self.batch_size) if self.delay_s else self.train
        return DataLoader(data, batch_size=self.batch_size, shuffle=True)


def train(energy: EnergyCallback, delay_s: float, max_epochs: int, **settings) -> L.Trainer:
    L.seed_everything(0, verbose=False)
    trainer = L.Trainer(
        max_epochs=max_epochs,
        devices=1,
        callbacks=[energy],
        enable_progress_bar=False,
        enable_model_summary=False,
        **settings,
    )
    trainer.fit(DigitsNet(), SlowDigits(delay_s))
    return trainer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--max-epochs", type=int, default=10)
    parser.add_argument("--delay-ms", type=float, default=100.0)
    parser.add_argument("--log-dir", type=Path, default=Path("runs"))
    args = parser.parse_args()
    warnings.filterwarnings("ignore", message="The '.*_dataloader' does not have many workers")

    torch.set_num_threads(1)
    energy = EnergyCallback(phases=True, reference_kwh=1e-5, print_report=False)
    trainer = train(energy, args.delay_ms / 1000, args.max_epochs, logger=CSVLogger(args.log_dir, name="slow_loader"))
    print(explain(trainer.log_dir))
    print(f"\nThe same again:  lightning-energy explain {trainer.log_dir}")


if __name__ == "__main__":
    main()
