"""Savings that two runs of one training measure: the same module with another precision, or another batch size."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from lightning_energy.results.readable import si
from lightning_energy.results.verdict.evidence import TRAIN, gain_of
from lightning_energy.results.verdict.saving import Blind, Stake

if TYPE_CHECKING:
    from lightning_energy.results.verdict.evidence import Run

__all__ = ["batch_by_trial", "precision_by_trial"]

OF_TRAINING = frozenset({"data", "steps", "saving"})
ALIKE = {
    "module": "module",
    "parameters": "parameters",
    "trainable_parameters": "trainable parameters",
    "batch_size": "batch_size",
    "precision": "precision",
    "accumulate_grad_batches": "accumulate_grad_batches",
    "devices": "its number of ranks",
    "nodes": "its number of nodes",
    "data_parallel_replicas": "data-parallel replicas",
    "strategy": "strategy",
}
"""The facts on a training in which two runs must be alike but for the one that is tried, with names for people."""


def batch_by_trial(run: Run, other: Run) -> Stake | Blind | None:
    """The saving of another batch size; ``None`` where the other run has none."""
    return _by_trial(run, other, "batch_size", "train with batches of {}")


def precision_by_trial(run: Run, other: Run) -> Stake | Blind | None:
    """The saving of another precision; ``None`` where the other run has none."""
    return _by_trial(run, other, "precision", 'train with precision="{}"')


def _by_trial(run: Run, other: Run, differs: str, next_step: str) -> Stake | Blind | None:
    mine, its = run.what.get(differs), other.what.get(differs)
    if mine is None or its is None or mine == its:
        return None
    if unlike := _unlike(run, other, differs):
        return unlike
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


def _unlike(run: Run, other: Run, differs: str) -> Blind | None:
    """The reason why two runs cannot be compared; ``None`` where they are alike but for one fact."""
    unlike = [name for key, name in ALIKE.items() if key != differs and run.what.get(key) != other.what.get(key)]
    if unlike:
        return Blind(f"the run beside it differs in {' and '.join(unlike)}, too", f"let them differ in {differs} alone")
    devices = [sorted((device.name, device.scope) for device in r.report.devices) for r in (run, other)]
    if devices[0] != devices[1]:
        return Blind("the run beside it was measured on other devices", "train both on the same ones")
    mine, its = (_quality(r) for r in (run, other))
    if mine != its:
        return Blind(f"its energy is {mine}, and that of the run beside it {its}", "measure both in the same way")
    lacks = [r is other for r in (run, other) if r.spent_more or r.report.session.missing_s > 0]
    if lacks:
        which = "the run beside it" if lacks[0] else "it"
        return Blind(f"energy of {which} is missing", "give one whose energy is whole")
    return None


def _quality(run: Run) -> str:
    train = run.report.stages.get(TRAIN)
    return "missing" if train is None else train.quality
