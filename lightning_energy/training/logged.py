"""Values under our logged names, and their ways to Lightning and to its loggers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from lightning_energy.ledger.phases import TOLD_U
from lightning_energy.meters.handlers import raised_by_handler
from lightning_energy.meters.units import J_PER_WH
from lightning_energy.results.rows import EpochPhase
from lightning_energy.training import log_keys
from lightning_energy.training.lightning_private import is_of_lightning, logged_place, logger_step

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lightning.pytorch import LightningModule, Trainer

    from lightning_energy.curves.energy import Energy
    from lightning_energy.ledger.ranks import Ranks
    from lightning_energy.ledger.totals import Totals
    from lightning_energy.results.carbon import Conversion
    from lightning_energy.training.error_guard import Warn

__all__ = [
    "epoch_phases",
    "give",
    "log",
    "log_late",
    "phase_energies",
    "phase_values",
    "read_metrics",
    "to_loggers",
    "total_values",
]

DERIVED = {"co2eq_g": log_keys.CO2EQ_G, "cost": log_keys.COST}


def total_values(
    total: Energy, conversion: Conversion | None = None, *, log_uncertainty: bool = False
) -> dict[str, float]:
    """The values of a run's total; none while it is not known.

    Args:
        total: energy of ``fit`` so far.
        conversion: the inputs of CO2e and cost.
        log_uncertainty: whether to log the total's uncertainty, too.
    """
    if total.energy_j is None:
        return {}
    derived = conversion.row(total.energy_kwh) if conversion else {}
    return {
        log_keys.TOTAL_WH: total.energy_j / J_PER_WH,
        **({log_keys.TOTAL_U_WH: total.u_absolute_j / J_PER_WH} if log_uncertainty else {}),
        **({log_keys.MISSING_S: total.missing_s} if total.missing_s > 0 else {}),
        **{DERIVED[name]: value for name, value in derived.items() if value is not None},
    }


def phase_energies(totals: Totals, epoch: int, names: Sequence[str]) -> list[Energy]:
    """The energies of an epoch's phases on this rank. One that is not resolved is as uncertain as it is large.

    Args:
        totals: the totals of the accounts.
        epoch: the epoch.
        names: the phases, the same on all ranks.
    """
    known = {phase.name: phase for phase in totals.phases("train", epoch, looks_ahead=False)} if names else {}
    found = []
    for name in names:
        energy = known[name].energy if name in known else totals.energy(stage="train", epoch=epoch, phase=name)
        is_open = name in known and not known[name].resolved
        u_j = max(energy.u_j, energy.energy_j or 0.0) if is_open else energy.u_j
        found.append(replace(energy, u_j=u_j, u_absolute_j=max(u_j, energy.u_absolute_j)))
    return found


def epoch_phases(names: Sequence[str], energies: Sequence[Energy]) -> list[EpochPhase]:
    """The phases of an epoch's row, of all ranks together, without those that had no time.

    Args:
        names: the phases.
        energies: the energy of each.
    """
    return [
        EpochPhase.of(name, energy, resolved=_is_told(energy))
        for name, energy in zip(names, energies, strict=True)
        if energy.duration_s > 0
    ]


def _is_told(energy: Energy) -> bool:
    """True for the energy of a phase that is resolved, as :func:`phase_energies` makes it."""
    return bool(energy.energy_j) and energy.u_j <= TOLD_U * (energy.energy_j or 0.0)


def phase_values(names: Sequence[str], energies: Sequence[Energy]) -> dict[str, float]:
    """The values of an epoch's phases, of all ranks together; none of one that is not resolved.

    Args:
        names: the phases.
        energies: the energy of each.
    """
    return {
        log_keys.PHASE_J[name]: energy.energy_j
        for name, energy in zip(names, energies, strict=True)
        if energy.energy_j and _is_told(energy)
    }


def log(
    module: LightningModule,
    values: Mapping[str, float],
    ranks: Ranks,
    warn: Warn,
    *,
    is_fit: bool = False,
    is_training: bool = False,
) -> None:
    """Log by ``self.log`` of the module, at the end of an epoch. All ranks take part.

    Lightning gives such values to the loggers where nothing of ours can catch what one raises: in a ``fit``, a logger
    that is none of Lightning's own, and may refuse a name, gets them from us instead. A module whose own ``log`` does
    not take them is passed by. Neither ends the training.

    Args:
        module: the module.
        values: the values by their names.
        ranks: the ranks.
        warn: takes a topic's first warning.
        is_fit: whether this is a ``fit``; the results of other runs are those that Lightning gives the loggers.
        is_training: whether it is an epoch of training that ends: Lightning's step is one ahead then.
    """
    trainer = module.trainer
    is_apart = is_fit and not all(map(is_of_lightning, trainer.loggers))
    to = False if is_apart else None  # None: to the loggers, if there are any
    refused: dict[str, float] = {}
    device, sync_dist = _float64_device(ranks.device), ranks.size > 1
    for key, value in values.items():  # float64: a float would become float32 on its way
        tensor = torch.full((), value, dtype=torch.float64, device=device)  # half the time of torch.tensor
        try:
            module.log(key, tensor, batch_size=1, sync_dist=sync_dist, logger=to)
        except Warning:
            raise
        except Exception as error:  # a module may override it; the other outputs go on
            if raised_by_handler(error):
                raise
            refused[key] = value
            trainer.callback_metrics[key] = torch.tensor(value)
            text = f"{type(module).__name__}.log did not take {key} ({type(error).__name__}: {error})"
            warn("log", f"EnergyCallback: {text}; the loggers get it nevertheless")
    told = values if is_apart else refused
    if told:
        give(trainer, {**told, "epoch": trainer.current_epoch}, logger_step(trainer) - is_training, warn)


def log_late(trainer: Trainer, values: Mapping[str, float], warn: Warn) -> None:
    """Log as ``self.log`` does, in a hook where Lightning does not allow it."""
    for key, value in values.items():
        trainer.callback_metrics[key] = trainer.logged_metrics[key] = torch.tensor(value)
    if values:
        step, columns = logged_place(trainer)
        give(trainer, {**values, **columns}, step, warn)


def to_loggers(trainer: Trainer, values: Mapping[str, float], warn: Warn, *, is_epoch_end: bool = False) -> None:
    """Give values to the loggers alone, with the epoch and the step of Lightning's own rows.

    A logger's fault gives one warning and never ends the training.

    Args:
        trainer: the Trainer.
        values: the values by their names.
        warn: takes a topic's first warning.
        is_epoch_end: whether an epoch of training ends: Lightning's step is one ahead then.
    """
    give(trainer, {**values, "epoch": trainer.current_epoch}, logger_step(trainer) - is_epoch_end, warn)


def give(trainer: Trainer, row: Mapping[str, float], step: int, warn: Warn) -> None:
    """Give a row to the loggers alone. A logger's fault gives one warning and never ends the training.

    Args:
        trainer: the Trainer.
        row: the values by their names, with the epoch.
        step: the step.
        warn: takes a topic's first warning.
    """
    for logger in trainer.loggers:
        try:
            logger.log_metrics(metrics={**row}, step=step)
        except Exception as error:  # a logger's fault must not end the training at our call
            if raised_by_handler(error):
                raise
            names = ", ".join(name for name in row if name != "epoch")
            text = f"{type(logger).__name__} did not take {names} ({type(error).__name__}: {error})"
            warn(f"logger {id(logger)}", f"EnergyCallback: {text}")


def read_metrics(trainer: Trainer, ranks: Ranks) -> None:
    """Let Lightning reduce the logged metrics before a reduction of ours.

    It does so when the metrics are read first. A progress bar that stands before us has read them already, but on rank
    zero only: the ranks would meet in different reductions.
    """
    if ranks.size > 1:
        _ = trainer.callback_metrics


def _float64_device(device: torch.device) -> torch.device:
    """The device itself, or the CPU for Apple's MPS, which has no float64."""
    return torch.device("cpu") if device.type == "mps" else device
