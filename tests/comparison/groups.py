"""Groups of repeats that nobody trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightning_energy.comparison.groups import Group, mean_of
from lightning_energy.comparison.run import Run
from lightning_energy.comparison.run_source import Source

if TYPE_CHECKING:
    from collections.abc import Sequence


def repeats(
    name: str,
    energies_kwh: Sequence[float],
    metrics: Sequence[float],
    *,
    seeds: Sequence[int | None] | None = None,
    sensors: str = "a",
    u: float = 0.0,
    slack_kwh: float = 0.0,
    metric_n: int | None = None,
    epochs: int | None = None,
    **fields: object,
) -> Group:
    """A group of runs; ``u`` is relative."""
    seeds = seeds or [*range(len(energies_kwh))]
    figures = {"quality": "measured", "covers": "gpu", "metric_name": "val_acc"} | fields
    runs = tuple(
        Run(
            f"{name}/{i}",
            f"/{name}/{i}/energy.json",
            metric=float(metric),
            energy_kwh=float(kwh),
            u_kwh=0.5 * float(kwh),
            u_repeat_kwh=u * float(kwh),
            metric_n=metric_n,
            source=Source(sensors, slack_kwh, seed=seed, metric_n=metric_n, epochs=epochs),
            **figures,
        )
        for i, (kwh, metric, seed) in enumerate(zip(energies_kwh, metrics, seeds, strict=True))
    )
    return Group(name, runs, (), mean_of(map(float, energies_kwh)), mean_of(map(float, metrics)), tuple(seeds))
