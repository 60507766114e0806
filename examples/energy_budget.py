"""Stop a training that has spent its energy, and go on with a greater budget.

    python examples/energy_budget.py

Trains a small network on handwritten digits with a budget of some joules. After the first epoch a warning says in which
epoch the budget will be spent; when it is, the training stops as it does at ``max_time``, with a last validation and a
checkpoint, for which a part of the budget is kept. A second training goes on from there with twice the budget: what the
first one spent counts.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from quickstart import Digits, DigitsNet

from lightning_energy import EnergyBudget, EnergyCallback

J_PER_KWH = 3.6e6


def train(budget: EnergyBudget, log_dir: Path, max_epochs: int, ckpt_path: Path | None = None) -> L.Trainer:
    logger = CSVLogger(log_dir, name="energy_budget", version="resumed" if ckpt_path else "first")
    trainer = L.Trainer(
        max_epochs=max_epochs,
        devices=1,
        logger=logger,
        log_every_n_steps=10,
        callbacks=[EnergyCallback(print_report=False), budget, ModelCheckpoint(logger.log_dir, every_n_epochs=1000)],
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(DigitsNet(), Digits(), ckpt_path=ckpt_path)
    return trainer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--max-j", type=float, default=20.0, help="the budget in joules")
    parser.add_argument("--max-epochs", type=int, default=500)
    parser.add_argument("--log-dir", type=Path, default=Path("runs"))
    args = parser.parse_args()
    warnings.filterwarnings("ignore", message="The '.*_dataloader' does not have many workers")
    torch.set_num_threads(1)  # so small a network needs no second thread
    L.seed_everything(0, verbose=False)

    budget = EnergyBudget(max_j=args.max_j, reserve_kwh=0.1 * args.max_j / J_PER_KWH)
    first = train(budget, args.log_dir, args.max_epochs)
    accuracy = float(first.callback_metrics["val_acc"])
    print(f"\nThe first training stopped after {first.current_epoch} of {args.max_epochs} epochs.")
    print(f"It spent {J_PER_KWH * budget.spent_kwh:.1f} J of {args.max_j:.1f} J, and its accuracy is {accuracy:.3f}.")

    checkpoint = args.log_dir / "energy_budget/first/energy-budget.ckpt"
    more = EnergyBudget(max_j=2 * args.max_j)
    second = train(more, args.log_dir, args.max_epochs, checkpoint)
    accuracy = float(second.callback_metrics["val_acc"])
    print(f"\nThe second went on from {checkpoint} to step {second.global_step}.")
    print(
        f"Both spent {J_PER_KWH * more.spent_kwh:.1f} J of {2 * args.max_j:.1f} J, and the accuracy is {accuracy:.3f}."
    )


if __name__ == "__main__":
    main()
