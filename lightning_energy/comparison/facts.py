"""A group of repeated trainings as tests need it, and which of its runs belong to those of another group."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lightning_energy.comparison.binomial import counts_samples
from lightning_energy.comparison.mixtures import other_shares
from lightning_energy.comparison.seeds import may_pair
from lightning_energy.comparison.student import FEWEST

if TYPE_CHECKING:
    from lightning_energy.comparison.groups import Group
    from lightning_energy.comparison.run import Run

__all__ = ["Facts", "are_mixed_alike", "example", "pairs_of", "unlike"]


@dataclass(frozen=True)
class Facts:
    """Everything of a group that tests are made of.

    Attributes:
        group: the group.
        log_kwh: the logarithm of each run's energy.
        log_most: the same with the energy that it may have spent in missing time.
        good: the metric of each run, of which more is better.
        seeds: index of each seed; empty where they are not all known, or one comes twice.
        u: relative standard uncertainty of an energy that is taken not to average out over its repeats.
        grid: step between two values of a metric that counts samples; 0 for others.
        epoch: share of an epoch, or of the epochs from one validation to the next, in the energy of a training that
            stopped early; 0 where none did.
        own: reasons why its runs do not belong together.
        records: files of its runs, and their ids as far as they are known.
    """

    group: Group
    log_kwh: list[float]
    log_most: list[float]
    good: list[float]
    seeds: dict[int | str, int]
    u: float
    grid: float
    epoch: float
    own: tuple[str, ...]
    records: frozenset[str]

    @classmethod
    def of(cls, group: Group) -> Facts:
        """Gather them."""
        runs = group.runs
        energies = [run.energy_kwh or 0.0 for run in runs]
        known = all(e > 0 for e in energies)
        seeds = {seed: i for i, seed in enumerate(group.seeds) if seed is not None}
        own = [] if known else ["an energy of 0 kWh is no share of anything"]
        first = example(group)
        mixed = next((reasons for run in runs if (reasons := unlike(first, run)) and run is not first), ())
        own += [f"of the runs of {group.name}, {reason}" for reason in mixed]
        sign = 1.0 if group.mode == "max" else -1.0
        return cls(
            group,
            [math.log(e) for e in energies] if known else [],
            [math.log(e + run.source.slack_kwh) for e, run in zip(energies, runs, strict=True)] if known else [],
            [sign * (run.metric or 0.0) for run in runs],
            seeds if len(seeds) == len(runs) and not group.repeats_a_seed else {},
            max((_relative_u(run) for run in runs), default=0.0) if known else 0.0,
            max(1 / (run.metric_n or 1) for run in runs) if runs and all(map(counts_samples, runs)) else 0.0,
            max((r.source.stop_step / r.source.stopped_after for r in runs if r.source.stopped_after), default=0.0),
            tuple(own),
            frozenset({text for run in runs for text in (run.path, run.source.run_id)} - {""}),
        )


def _relative_u(run: Run) -> float:
    """Between runs on the same sensors a gain cancels; the error of a model does not, as it depends on the work."""
    u_kwh = run.u_kwh if run.quality == "estimated" else run.u_repeat_kwh
    return (u_kwh or 0.0) / (run.energy_kwh or math.inf)


def example(group: Group) -> Run:
    """A run of a group that others are compared with: the first whose number of samples is known, if there is one.

    Args:
        group: a group with a run.
    """
    return next((run for run in group.runs if run.metric_n), group.runs[0])


def unlike(one: Run, other: Run) -> tuple[str, ...]:
    """Say why the energies or metrics of two runs must not be set against each other; empty if they may be.

    Args:
        one: a run.
        other: another run.
    """
    of_samples = bool(one.metric_n and other.metric_n and one.metric_n != other.metric_n)
    if one.likeness == other.likeness and one.source.sensors and not of_samples:
        return ()
    reasons = []
    if one.covers != other.covers:
        reasons.append(f"their joules cover different parts ({one.covers}; {other.covers})")
    if one.quality != other.quality:
        reasons.append(f"their energies are of different quality ({one.quality}; {other.quality})")
    if one.metric_kind != other.metric_kind:
        reasons.append(f"their metrics are different ones ({one.metric_name}; {other.metric_name})")
    if of_samples:
        reasons.append(
            f"their metrics are of different numbers of validation samples ({one.metric_n}; {other.metric_n})"
        )
    if not one.source.sensors or not other.source.sensors:
        reasons.append("the sensors of one are not known, or changed between its sessions")
    elif one.source.sensors != other.source.sensors:
        reasons.append("they were measured by different sensors, whose gains differ")
    return tuple(reasons)


def pairs_of(one: Facts, other: Facts) -> list[tuple[int, int]]:
    """The runs with one seed, where these are three or more and at least half of the smaller group."""
    pairs = [(i, other.seeds[seed]) for seed, i in one.seeds.items() if seed in other.seeds]
    is_many = len(pairs) >= max(FEWEST, min(one.group.n, other.group.n) / 2)
    return pairs if is_many and may_pair(one.group.all_seeds, other.group.all_seeds) else []


def are_mixed_alike(one: Group, other: Group) -> bool:
    """True where the runs that a test of two groups is of have the same shares of settings.

    Args:
        one: a group.
        other: another group.
    """
    if not (one.differs_in or other.differs_in):
        return True
    return not other_shares(one, other, pairs_of(Facts.of(one), Facts.of(other)))
