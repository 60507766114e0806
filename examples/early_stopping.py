"""Stop where more accuracy is no longer worth its energy, and see what that saved, as far as it is sure.

    python examples/early_stopping.py

Trains the same network on the same digits twice: once for all epochs, once with EarlyStopping on
``energy/score``. The score falls when an epoch's energy weighs more than the accuracy it brought.
"""

from __future__ import annotations

import argparse
import math
import warnings
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers import TensorBoardLogger
from quickstart import Digits, DigitsNet

from lightning_energy import EnergyCallback, compare


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

    # so small a network needs no second thread; threads that wait for each other take CPU time on a busy machine
    torch.set_num_threads(1)
    settings = {"max_epochs": args.max_epochs, "reference_kwh": args.reference_kwh, "log_dir": args.log_dir}
    full = train("to-the-end", stop=False, **settings)
    stopped = train("stopped", stop=True, **settings)

    print(f"\n{'epoch':>5} {'accuracy':>9} {'energy':>12} {'score':>8}   (the run to the end)")
    best = max(full.history, key=lambda row: row["score"])
    for row in full.history:
        note = "  <- best score" if row is best else ""
        note += "  <- the other run stopped here" if row["epoch"] == stopped.history[-1]["epoch"] else ""
        print(f"{row['epoch']:>5} {row['metric']:>9.4f} {row['total_kwh']:>8.2g} kWh {row['score']:>8.4f}{note}")
    print(f"\nStopped after {len(stopped.history)} of {len(full.history)} epochs.")
    print(saving(args.log_dir / "early_stopping"))


def saving(folder: Path) -> str:
    """Say what stopping saved where `compare` is sure of it: for the same accuracy, beyond the uncertainty."""
    paths = [folder / name for name in ("to-the-end", "stopped")]
    runs = {run.name: run for run in compare(paths, epoch="best").runs}
    full, stopped = runs["to-the-end"], runs["stopped"]
    uncertain_kwh = 2 * math.hypot(full.u_repeat_kwh or math.inf, stopped.u_repeat_kwh or math.inf)
    is_ahead = stopped.name in full.perhaps_dominated_by and full.quality != "estimated"
    if is_ahead and full.energy_kwh - stopped.energy_kwh > uncertain_kwh:
        saved_j = 3.6e6 * (full.energy_kwh - stopped.energy_kwh)
        return f"By the meter that saved {saved_j:.0f} J for the same best accuracy; repeats would show how surely."
    if "estimated" in (full.quality, stopped.quality):
        why = "the energies are estimated by a model, not measured"
    elif stopped.metric < full.metric:
        why = f"its best accuracy is {stopped.metric:.4f} instead of {full.metric:.4f}"
    else:
        why = "the energies differ by less than twice their uncertainty, or some is not known"
    return f"No saving is sure: {why}."


if __name__ == "__main__":
    main()
