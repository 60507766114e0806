"""Stop where the next point of accuracy is too dear: first as a replay, then in a training.

    python examples/efficiency_stop.py

Trains a network on scikit-learn's digits for all epochs, asks `whatif` on its record what stopping earlier would have
kept and saved, and then trains it again with EnergyEfficiencyStopping, to see whether that is so.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.loggers import CSVLogger
from quickstart import Digits, DigitsNet

from lightning_energy import EnergyCallback, EnergyEfficiencyStopping, whatif


def train(folder: Path, *stoppings: L.Callback, max_epochs: int) -> EnergyCallback:
    L.seed_everything(0, verbose=False)
    energy = EnergyCallback(accuracy="val_acc", reference_kwh=1e-5, print_report=False)
    trainer = L.Trainer(
        max_epochs=max_epochs,
        logger=CSVLogger(folder.parent, name="", version=folder.name),
        log_every_n_steps=5,
        devices=1,
        callbacks=[energy, *stoppings],
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    trainer.fit(DigitsNet(), Digits())
    return energy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--max-epochs", type=int, default=30)
    parser.add_argument("--point", type=float, default=0.01, help="the size of a point (default: 0.01)")
    parser.add_argument("--times", type=float, default=1.0, help="a point may cost so many times its mean price")
    parser.add_argument("--patience", type=int, default=5, help="validations over which the price is taken")
    parser.add_argument("--log-dir", type=Path, default=Path("runs/efficiency_stop"))
    args = parser.parse_args()
    warnings.filterwarnings("ignore", message="The '.*_dataloader' does not have many workers")
    torch.set_num_threads(1)  # so small a network needs no second one

    whole = train(args.log_dir / "whole", max_epochs=args.max_epochs)
    found = whatif(args.log_dir / "whole", point=args.point, window=args.patience)
    print(found)

    mean_kwh = found.runs[0].played.mean_point_kwh(args.point)
    if mean_kwh is None:
        print("\nThe accuracy did not rise after the first validation: there is no price of a point.")
        return
    limit_kwh = args.times * mean_kwh
    settings = {"max_kwh_per_point": limit_kwh, "point": args.point}
    (replay,) = whatif(args.log_dir / "whole", rules="efficiency", window=args.patience, **settings).replays
    stopping = EnergyEfficiencyStopping(patience=args.patience, **settings)
    stopped = train(args.log_dir / "stopped", stopping, max_epochs=args.max_epochs)
    print(f"\nA point may cost {limit_kwh:.2g} kWh, {args.times:g} times its mean price.")
    print(f"The replay: {replay.sentence()}.")
    print(f"The training: {stopping.reason or 'it was never too dear'}.")
    rows = {"whole": whole.history, "stopped": stopped.history}
    best = {name: max(row["metric"] for row in rows[name]) for name in rows}
    kwh = {name: rows[name][-1]["total_kwh"] for name in rows}
    points = (best["stopped"] - best["whole"]) / args.point
    print(
        f"Trained again it gave up {0.0 - points:.1f} points ({best['stopped']:.4f} instead of {best['whole']:.4f}) "
        f"and saved {100 * (1 - kwh['stopped'] / kwh['whole']):.0f} % of the energy "
        f"({1e3 * kwh['stopped']:.3g} instead of {1e3 * kwh['whole']:.3g} Wh)."
    )


if __name__ == "__main__":
    main()
