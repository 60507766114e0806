"""Search for hyperparameters with two objectives, accuracy and energy, and count what the search itself spends.

    pip install ".[examples,optuna]"                       # in a clone
    python examples/optuna_sweep.py
    lightning-energy compare runs/optuna_sweep/tuning      # the trials side by side

Optuna looks for small networks for scikit-learn's digits that are accurate or cheap. Every trial leaves a record, also
one that is pruned or killed. The cheapest network within half a point of the best is trained again, for longer and with
three seeds, and the report has the energy of these trainings and of the whole search apart. Run it again, and the
search goes on. Takes a minute or two on two CPU cores.
"""

from __future__ import annotations

import argparse
import math
import warnings
from pathlib import Path

import lightning as L
import optuna
import torch
from lightning.pytorch.loggers import CSVLogger
from quickstart import Digits, DigitsNet

from lightning_energy import EnergyCallback, load_record, study

USUAL = {"width": 16, "lr": 3e-3, "batch_size": 32}  # of quickstart.py
MISSING = 0.01  # share of a trial's time whose energy may be unknown


class Net(DigitsNet):
    """A network that tells its hyperparameters to its record."""

    def __init__(self, width: int, lr: float) -> None:
        super().__init__(width, lr)
        self.save_hyperparameters()


class Pruning(L.Callback):
    """End a trial that is not worth its energy; as any that Optuna knows, by raising TrialPruned.

    With one objective Optuna's pruner decides. With two it cannot (`trial.report` refuses), and a rule of our own does:
    a trial is pruned when it has spent `times` the energy of a trial that is done, and is still less accurate.
    """

    def __init__(self, trial: optuna.Trial, monitor: str, times: float) -> None:
        self.trial, self.monitor, self.times = trial, monitor, times

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        value = trainer.callback_metrics.get(self.monitor)
        if trainer.sanity_checking or value is None:
            return
        epoch = trainer.current_epoch
        if len(self.trial.study.directions) == 1:
            self.trial.report(float(value), epoch)
            if self.trial.should_prune():
                raise optuna.TrialPruned(f"{self.monitor} is below the others' in epoch {epoch}")
            return
        spent_wh = trainer.callback_metrics.get("energy/total_wh", math.nan)  # unknown is more than nothing
        for other in self.trial.study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.COMPLETE]):
            accuracy, kwh = other.values
            if value < accuracy and spent_wh > self.times * 1e3 * kwh:
                raise optuna.TrialPruned(
                    f"in epoch {epoch} {value:.4f} with {spent_wh:.2g} Wh, and trial {other.number} had {accuracy:.4f} "
                    f"with {1e3 * kwh:.2g} Wh"
                )


def train(params: dict, folder: Path, max_epochs: int, *callbacks: L.Callback, seed: int = 0) -> EnergyCallback:
    L.seed_everything(seed, verbose=False)
    energy = EnergyCallback(accuracy="val_acc", reference_kwh=1e-5, print_report=False)
    trainer = L.Trainer(
        max_epochs=max_epochs,
        logger=CSVLogger(folder.parent, name="", version=folder.name),
        log_every_n_steps=5,
        devices=1,
        callbacks=[energy, *callbacks],
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    trainer.fit(Net(params["width"], params["lr"]), Digits(params["batch_size"]))
    return energy


def objective(trial: optuna.Trial, args: argparse.Namespace) -> tuple[float, float] | float:
    params = {
        "width": trial.suggest_int("width", 2, 32, log=True),
        "lr": trial.suggest_float("lr", 1e-4, 3e-2, log=True),
        "batch_size": trial.suggest_categorical("batch_size", [16, 32, 64, 128]),
    }
    monitor = "energy/score" if args.score else "val_acc"
    folder = args.log_dir / "tuning" / name_of(trial, args)
    report = train(params, folder, args.max_epochs, Pruning(trial, monitor, args.times)).report
    if args.score:
        return math.nan if report.score is None else report.score
    total = report.total
    is_known = total.energy_kwh is not None and total.missing_s <= MISSING * total.duration_s
    # a trial of which energy is missing would look cheap: Optuna takes a NaN for a failure
    return report.metric.value, total.energy_kwh if is_known else math.nan


def name_of(trial: optuna.Trial | optuna.trial.FrozenTrial, args: argparse.Namespace) -> str:
    """The name of a trial's folder: each of the two searches counts its trials from 0 on."""
    return f"{'score' if args.score else 'trial'}-{trial.number:03}"


def free(folder: Path, max_epochs: int) -> Path | None:
    """A folder for a training; None if an earlier call did it. One that was interrupted keeps its record: it counts."""
    place, n = folder, 1
    while (place / "energy.json").exists():
        record = load_record(place)
        if record.outcome == "completed" and record.what.get("max_epochs") == max_epochs:
            return None
        n += 1
        place = folder.with_name(f"{folder.name}-again-{n}")
    return place


def choose(found: optuna.Study, args: argparse.Namespace) -> optuna.trial.FrozenTrial:
    """The trial with the best score; with two objectives the cheapest one that is accurate enough."""
    if args.score:
        return found.best_trial
    best = max(trial.values[0] for trial in found.best_trials)
    return min((t for t in found.best_trials if t.values[0] >= best - args.give_up), key=lambda trial: trial.values[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--max-epochs", type=int, default=8, help="of a trial")
    parser.add_argument("--final-epochs", type=int, default=24, help="of the trainings with what was found")
    parser.add_argument("--seeds", type=int, default=3, help="of these trainings")
    parser.add_argument("--times", type=float, default=2.0, help="of a better trial's energy: what a worse may spend")
    parser.add_argument("--give-up", type=float, default=0.005, help="accuracy that a cheaper network may lack")
    parser.add_argument("--score", action="store_true", help="one objective, energy/score, with Optuna's MedianPruner")
    parser.add_argument("--log-dir", type=Path, default=Path("runs/optuna_sweep"))
    args = parser.parse_args()
    warnings.filterwarnings("ignore", message="The '.*_dataloader' does not have many workers")
    torch.set_num_threads(1)  # so small a network needs no second thread

    args.log_dir.mkdir(parents=True, exist_ok=True)
    found = optuna.create_study(
        study_name="score" if args.score else "accuracy and energy",
        directions=["maximize"] if args.score else ["maximize", "minimize"],
        sampler=optuna.samplers.TPESampler(seed=0),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=3),
        storage=f"sqlite:///{args.log_dir / 'optuna.db'}",
        load_if_exists=True,
    )
    if not found.trials:
        found.enqueue_trial(USUAL)
    found.optimize(lambda trial: objective(trial, args), n_trials=args.trials)

    states = [trial.state.name for trial in found.trials]
    print(f"\n{len(states)} trials: " + ", ".join(f"{states.count(s)} {s.lower()}" for s in dict.fromkeys(states)))
    if "COMPLETE" not in states:
        print("No trial is complete: there is nothing to choose from.")
        return
    for trial in sorted(found.best_trials, key=lambda trial: trial.values[-1]):
        values = f"score {trial.value:.4f}" if args.score else f"{trial.values[0]:.4f} {1e3 * trial.values[1]:.3g} Wh"
        print(f"  best: trial {trial.number:2}  {values}  {trial.params}")
    chosen = choose(found, args)
    print(f"Trained again, for {args.final_epochs} epochs with {args.seeds} seeds: trial {chosen.number}\n")
    for seed in range(args.seeds):
        folder = free(args.log_dir / "final" / name_of(chosen, args) / f"seed-{seed}", args.final_epochs)
        if folder is not None:
            train(chosen.params, folder, args.final_epochs, seed=seed)

    report = study.report(args.log_dir)  # what lies in a folder "tuning" is the search
    print(report, *report.problems, sep="\n")


if __name__ == "__main__":
    main()
