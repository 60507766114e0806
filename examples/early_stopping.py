"""Stop where more accuracy is no longer worth its energy, and see what that saved.

    python examples/early_stopping.py

Trains the same network on the same digits twice: once for all epochs, once with EarlyStopping on
``energy/score``. The score falls when an epoch's energy weighs more than the accuracy it brought.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import lightning as L
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers import TensorBoardLogger
from quickstart import Digits, DigitsNet

from lightning_energy import EnergyCallback


def train(name: str, *, stop: bool, max_epochs: int, reference_kwh: float, log_dir: Path) -> EnergyCallback:
    L.seed_everything(0, verbose=False)
    energy = EnergyCallback(reference_kwh=reference_kwh, print_report=False)
    callbacks = [energy]
    if stop:
        callbacks.append(EarlyStopping(monitor="energy/score", mode="max", patience=3, strict=False))
    trainer = L.Trainer(
        max_epochs=max_epochs,
        logger=TensorBoardLogger(log_dir, name="early_stopping", version=name),
        log_every_n_steps=5,
        devices=1,
        callbacks=callbacks,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    trainer.fit(DigitsNet(), Digits())
    return energy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--max-epochs", type=int, default=25)
    parser.add_argument("--reference-kwh", type=float, default=1e-5, help="energy at which the penalty begins to bite")
    parser.add_argument("--log-dir", type=Path, default=Path("runs"))
    args = parser.parse_args()
    warnings.filterwarnings("ignore", message="The '.*_dataloader' does not have many workers")

    settings = {"max_epochs": args.max_epochs, "reference_kwh": args.reference_kwh, "log_dir": args.log_dir}
    full = train("to-the-end", stop=False, **settings)
    stopped = train("stopped", stop=True, **settings)

    print(f"\n{'epoch':>5} {'accuracy':>9} {'energy':>12} {'score':>8}   (the run to the end)")
    best = max(full.history, key=lambda row: row["score"])
    for row in full.history:
        note = "  <- best score" if row is best else ""
        note += "  <- the other run stopped here" if row["epoch"] == stopped.history[-1]["epoch"] else ""
        print(f"{row['epoch']:>5} {row['metric']:>9.4f} {row['total_kwh']:>8.2g} kWh {row['score']:>8.4f}{note}")
    spent, saved = stopped.report.total, full.report.total
    accuracy = [max(row["metric"] for row in run.history) for run in (stopped, full)]
    print(
        f"\nStopped after {len(stopped.history)} of {len(full.history)} epochs: "
        f"{spent.energy_j:.0f} J instead of {saved.energy_j:.0f} J ({spent.quality}), "
        f"best accuracy {accuracy[0]:.4f} instead of {accuracy[1]:.4f}."
    )


if __name__ == "__main__":
    main()
