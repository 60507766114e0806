"""Savings that two runs of one training measure: the same module with another precision, or another batch size."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from lightning_energy.results.readable import si
from lightning_energy.results.verdict.evidence import gain_of
from lightning_energy.results.verdict.saving import Blind, Stake

if TYPE_CHECKING:
    from lightning_energy.results.verdict.evidence import Run

__all__ = ["batch_by_trial", "precision_by_trial"]

OF_TRAINING = frozenset({"data", "steps", "saving"})


def batch_by_trial(run: Run, other: Run) -> Stake | Blind | None:
    """The saving of another batch size; ``None`` where the other run has none."""
    return _by_trial(run, other, "batch_size", "precision", "train with batches of {}")


def precision_by_trial(run: Run, other: Run) -> Stake | Blind | None:
    """The saving of another precision; ``None`` where the other run has none."""
    return _by_trial(run, other, "precision", "batch_size", 'train with precision="{}"')


def _by_trial(run: Run, other: Run, differs: str, same: str, next_step: str) -> Stake | Blind | None:
    mine, its = run.what.get(differs), other.what.get(differs)
    if mine is None or its is None or mine == its:
        return None
    unlike = next((key for key in ("module", "parameters", same) if run.what.get(key) != other.what.get(key)), None)
    if unlike is not None:
        return Blind(f"the run beside it differs in {unlike}, too", f"let them differ in {differs} alone")
    names = [sorted(device.name for device in r.report.devices) for r in (run, other)]
    if names[0] != names[1]:
        return Blind("the run beside it was measured on other devices", "train both on the same ones")
    figures = [(r.report.sample_j, r.report.sample_u) for r in (run, other)]
    (sample_j, u), (other_j, other_u) = figures
    if sample_j is None or u is None or other_j is None or other_u is None or not run.report.samples:
        return Blind("the joules per sample of both runs are not known")
    saved_j = sample_j - other_j
    u_j = run.report.samples * math.hypot(u.u_j, other_u.u_j, gain_of(run.report.session) * saved_j)
    because = (
        f"a sample took {si(sample_j, 'J', digits=3)} with {mine}, and {si(other_j, 'J', digits=3)} with {its} in the "
        f"run beside it"
    )
    return Stake(run.report.samples * saved_j, u_j, because, next_step.format(its), OF_TRAINING)
