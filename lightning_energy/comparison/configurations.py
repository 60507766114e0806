"""The configurations of a comparison, for pictures and pages: groups of runs, and single runs as groups of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lightning_energy.comparison.front_probability import front_probabilities
from lightning_energy.comparison.groups import Group, group_runs
from lightning_energy.comparison.pareto import on_front

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_energy.comparison.groups import Mean
    from lightning_energy.comparison.run import Run

__all__ = [
    "all_runs",
    "configurations_of",
    "has_repeats",
    "on_front_of_means",
    "plain_configurations",
    "with_means",
]


def configurations_of(runs: Sequence[Run]) -> list[Group]:
    """The configurations of the runs whose metric and energy are known, by rising mean energy."""
    return group_runs([run for run in runs if run.is_comparable])


def with_means(groups: Sequence[Group]) -> list[Group]:
    """The configurations of which a run ended, so that they have means."""
    return [group for group in groups if group.energy is not None and group.metric is not None]


def all_runs(group: Group) -> list[Run]:
    """All runs of a configuration: those that were interrupted are in no mean, but spent their energy."""
    return [*group.runs, *(run for run, _ in group.left_out)]


def has_repeats(groups: Sequence[Group]) -> bool:
    """True when a configuration was trained more than once."""
    return any(group.n > 1 for group in groups)


def on_front_of_means(groups: Sequence[Group]) -> list[bool]:
    """Tell for each configuration if its means are on the Pareto front of all means."""
    means = [(group.metric, group.energy, group.mode) for group in groups]
    good = [(1 if mode == "max" else -1) * metric.mean for metric, _, mode in means if metric is not None]
    energy = [kwh.mean for _, kwh, _ in means if kwh is not None]
    return [bool(on) for on in on_front(np.array(good), np.array(energy))]


def plain_configurations(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """The configurations that have means in JSON's types, with the probability that each is on the front."""
    groups = with_means(groups)
    return [
        {
            "name": group.name,
            "n": group.n,
            "runs": [run.name for run in group.runs],
            "left_out": [{"name": run.name, "reason": reason} for run, reason in group.left_out],
            "metric": _plain(group.metric),
            "energy_kwh": _plain(group.energy),
            "on_front": on,
            "front_probability": p,
            "quality": "estimated" if any(run.quality == "estimated" for run in group.runs) else "measured",
        }
        for group, on, p in zip(groups, on_front_of_means(groups), front_probabilities(groups), strict=True)
    ]


def _plain(mean: Mean | None) -> dict[str, Any] | None:
    return None if mean is None else {"mean": mean.mean, "sd": mean.sd, "low": mean.low, "high": mean.high}
