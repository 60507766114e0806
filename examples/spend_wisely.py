"""Spend wisely: a training with a forecast, and the same one ended by a budget and by the price of a point.

    python examples/spend_wisely.py

Trains a network on scikit-learn's digits for all epochs: how near was the forecast after the first epoch? Trains it
again with a budget of half of its energy, which warns after the first epoch and then stops the training, and a third
time with EnergyEfficiencyStopping. (Three times, as a training has one end.) `whatif` says of the record of the whole
training where both would stop, before they do.
"""

from __future__ import annotations

import argparse
import csv
import textwrap
import warnings
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.loggers import CSVLogger
from quickstart import Digits, DigitsNet

from lightning_energy import EnergyBudget, EnergyCallback, EnergyEfficiencyStopping, whatif

J_PER_KWH = 3.6e6


class SpentAtTheStop(L.Callback):
    """Looks at a budget as it stops a training: what follows is the last validation."""

    def __init__(self, budget: EnergyBudget) -> None:
        self.budget = budget
        self.kwh = None
        self.step = self.epoch = 0

    def on_train_batch_end(self, trainer, *args) -> None:
        if self.kwh is None and self.budget.reason:
            self.kwh, self.step, self.epoch = self.budget.spent_kwh, trainer.global_step, trainer.current_epoch

    def on_validation_end(self, trainer, *args) -> None:
        self.on_train_batch_end(trainer)


def train(folder: Path, *others: L.Callback, max_epochs: int) -> EnergyCallback:
    L.seed_everything(0, verbose=False)
    energy = EnergyCallback(accuracy="val_acc", reference_kwh=1e-5, print_report=False)
    trainer = L.Trainer(
        max_epochs=max_epochs,
        logger=CSVLogger(folder.parent, name="", version=folder.name),
        log_every_n_steps=5,
        devices=1,
        callbacks=[energy, *others],
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    trainer.fit(DigitsNet(), Digits())
    return energy


def forecast(folder: Path) -> tuple[str, float, float, float]:
    """The forecast at the end of the first epoch that has one, in Wh, with its bounds."""
    with (folder / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["energy/forecast_wh"]]
    row = [row for row in rows if row["epoch"] == rows[0]["epoch"]][-1]
    after = "the first epoch" if row["epoch"] == "0" else f"epoch {row['epoch']}"
    return after, *(float(row[f"energy/forecast_{name}"]) for name in ("wh", "low_wh", "high_wh"))


def kept(whole: EnergyCallback, shorter: EnergyCallback, point: float) -> str:
    """The points that the shorter training gave up, and the energy that it saved."""
    of_whole, best = (max(row["metric"] for row in energy.history) for energy in (whole, shorter))
    of_whole_kwh, kwh = (energy.report.total.energy_kwh for energy in (whole, shorter))
    return (
        f"{'Given up' if best <= of_whole else 'Gained'}: {abs(of_whole - best) / point:.1f} points ({best:.4f} "
        f"instead of {of_whole:.4f}).\nSaved: {100 * (1 - kwh / of_whole_kwh):.0f} % of the energy ({1e3 * kwh:.3g} "
        f"instead of {1e3 * of_whole_kwh:.3g} Wh)."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--max-epochs", type=int, default=30)
    parser.add_argument("--share", type=float, default=0.5, help="the budget, as a share of the whole energy")
    parser.add_argument("--point", type=float, default=0.01, help="the size of a point (default: 0.01)")
    parser.add_argument("--times", type=float, default=1.0, help="a point may cost so many times its mean price")
    parser.add_argument("--patience", type=int, default=5, help="validations over which the price is taken")
    parser.add_argument("--log-dir", type=Path, default=Path("runs/spend_wisely"))
    args = parser.parse_args()
    warnings.filterwarnings("ignore", message="The '.*_dataloader' does not have many workers")
    torch.set_num_threads(1)  # so small a network needs no second one
    folder, said = args.log_dir, []

    whole = train(folder / "whole", max_epochs=args.max_epochs)
    total_kwh = whole.report.total.energy_kwh
    after, value, low, high = forecast(folder / "whole")
    off = 100 * (value / (1e3 * total_kwh) - 1)
    said.append(
        f"Forecast after {after}: {value:.3g} Wh ({low:.3g} to {high:.3g}) for {args.max_epochs} epochs.\n"
        f"It took {1e3 * total_kwh:.3g} Wh: the forecast was {abs(off):.0f} % too {'high' if off > 0 else 'low'}, the "
        f"truth {'within' if low <= 1e3 * total_kwh <= high else 'outside'} its bounds."
    )

    # What would have happened? Nothing is trained for this.
    found = whatif(folder / "whole", point=args.point, window=args.patience)
    print(found)
    mean_kwh = found.runs[0].played.mean_point_kwh(args.point)

    budget_kwh = args.share * total_kwh
    (replay,) = whatif(folder / "whole", rules="budget", point=args.point, budget_kwh=budget_kwh).replays
    budget = EnergyBudget(max_kwh=budget_kwh)
    at_stop = SpentAtTheStop(budget)
    with warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("always", message="EnergyBudget")
        stopped = train(folder / "budget", budget, at_stop, max_epochs=args.max_epochs)
    warned = [str(w.message) for w in caught if str(w.message).startswith("EnergyBudget")]
    end = "it lasted"
    if at_stop.kwh is not None:
        over_j, step_j = J_PER_KWH * (at_stop.kwh - budget_kwh), J_PER_KWH * at_stop.kwh / at_stop.step
        end = (
            f"stopped in epoch {at_stop.epoch} at step {at_stop.step}, {over_j:.3g} J over its "
            f"{J_PER_KWH * budget_kwh:.3g} J; a step takes {step_j:.3g} J"
        )
    said.append(
        "\n".join([*warned, f"The replay: {replay.sentence()}.", f"The training: {end}."])
        + f"\n{kept(whole, stopped, args.point)}"
    )

    if mean_kwh is None:
        said.append("The accuracy did not rise after the first validation: there is no price of a point.")
    else:
        settings = {"max_kwh_per_point": args.times * mean_kwh, "point": args.point}
        (replay,) = whatif(folder / "whole", rules="efficiency", window=args.patience, **settings).replays
        stopping = EnergyEfficiencyStopping(patience=args.patience, **settings)
        stopped = train(folder / "stopped", stopping, max_epochs=args.max_epochs)
        said.append(
            f"A point may cost {args.times * mean_kwh:.3g} kWh, {args.times:g} times its mean price.\n"
            f"The replay: {replay.sentence()}.\n"
            f"The training: {stopping.reason or 'it was never too dear'}.\n{kept(whole, stopped, args.point)}"
        )
    lines = "\n\n".join(["", *said]).splitlines()
    print("\n".join(textwrap.fill(line, 120, subsequent_indent="  ") for line in lines[1:]))


if __name__ == "__main__":
    main()
