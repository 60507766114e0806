"""Caveats: the differences between runs that a reader of a comparison must know."""

from __future__ import annotations

import statistics
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from lightning_energy.comparison.listing import some_of
from lightning_energy.comparison.missing import missing_words
from lightning_energy.comparison.pareto import numbers_of_samples

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_energy.comparison.run import Run

__all__ = ["reference_of_their_size", "with_caveats"]

OF_ESTIMATES = (
    "An estimate knows the CPU time of a run, not how much power the CPU drew meanwhile: a difference of estimates is "
    "decided only where it is far larger than that may be wrong."
)
OF_MISSING = (
    "figures, energies to a target, pictures and orders are of what is known, and decisions are not taken where it "
    "could turn them."
)
READ_ALIKE = "If all were percentages, give scale='percent' (on the command line: --scale percent)."
_UNITS = {"fraction": "fraction", "percent": "percentage", "raw": "raw value"}
FAR_BELOW = 100.0  # ratio of the reference to an energy that it penalizes by 0.4 %

OF_SAMPLES = "The metrics are not of as many validation samples ({}), so that these are not ranked against each other."
NOT_KNOWN = "unknown, and taken for that of most runs like it"


def with_caveats(runs: Sequence[Run], reference_kwh: float | None) -> tuple[list[Run], list[str]]:
    """Find the differences: of each run from most others, and of the whole.

    Args:
        runs: runs that can be compared: those of one metric.
        reference_kwh: the reference of their score; ``None`` where they have none.

    Returns:
        The runs with their caveats, and the caveats of the whole, in sentences.
    """
    usual_n = next(iter(Counter(run.metric_n for run in runs if run.metric_n).most_common(1)), (None,))[0]
    aspects = [
        (
            [run.metric_name or "a metric without a name" for run in runs],
            "its metric was logged as {}",
            "The metric was logged under different names ({}), which are taken to mean the same.",
        ),
        (
            [_UNITS[run.scale] for run in runs],
            "its metric was read as a {}",
            "The values were logged in different units ({}), as far as records know: 0.6 may be a fraction or 0.6 %. "
            + READ_ALIKE,
        ),
        (
            [run.covers for run in runs],
            "its joules cover {}",
            "The energies do not cover the same parts ({}), so that these runs are not ranked against each other.",
        ),
        (
            ["estimated by a model" if run.quality == "estimated" else "measured" for run in runs],
            "its energy is {}",
            "Some energies are measured and some are not ({}), so that these are not ranked against each other.",
        ),
        (
            [str(n or usual_n) for n in numbers_of_samples(runs)],
            "its metric is of {} validation samples",
            OF_SAMPLES.format(_listed(Counter(str(run.metric_n or NOT_KNOWN) for run in runs))),
        ),
        (
            [run.hardware for run in runs],
            "it ran on {}",
            "The runs had different hardware or drivers ({}): a difference may come from these, not from the models.",
        ),
    ]
    whole = _of_missing(runs)
    own: list[list[str]] = [[] for _ in runs]
    for values, of_run, of_all in aspects:
        counts = Counter(values)
        if len(counts) < 2:  # noqa: PLR2004 - all are alike
            continue
        whole.append(of_all.format(_listed(counts)))
        usual = next((v for v, n in counts.items() if n > len(runs) / 2), None)
        for caveats, value in zip(own, values, strict=True):
            if value != usual:
                caveats.append(of_run.format(value) + ("" if usual is None else f" (most others: {usual})"))
    for caveats, others in zip(own, _of_the_same_run(runs), strict=True):
        if others:
            caveats.append(
                f"it is the same run as {some_of(others)}, resumed or copied: one's energy includes the other's"
            )
    whole += _of_all(runs, reference_kwh)
    return [replace(r, caveats=(*r.caveats, *c)) for r, c in zip(runs, own, strict=True)], whole


def reference_of_their_size(runs: Sequence[Run]) -> str:
    """Advise a reference of the score at which its penalty separates these runs: their median energy."""
    energies = [run.energy_kwh for run in runs if run.energy_kwh]
    kwh = f"{statistics.median(energies) if energies else 1:.1g}"
    return f"reference_kwh={kwh} (on the command line: --reference-kwh {kwh})"


def _listed(counts: Counter[str]) -> str:
    """Values with their numbers, the most frequent first."""
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return some_of([f"{value}: {n}" for value, n in ordered], between="; ")


def _of_the_same_run(runs: Sequence[Run]) -> list[list[str]]:
    """Name, for each run, the others that are the same run: its total then contains theirs, or is theirs."""
    names: dict[str, list[str]] = {}
    for run in runs:
        names.setdefault(run.source.run_id, []).append(run.name)
    return [[n for n in names[r.source.run_id] if n != r.name] if r.source.run_id else [] for r in runs]


def _of_missing(runs: Sequence[Run]) -> list[str]:
    missing = missing_words(runs)
    return [f"{missing[0].upper()}{missing[1:]}: {OF_MISSING}"] if missing else []


def _of_all(runs: Sequence[Run], reference_kwh: float | None) -> list[str]:
    caveats = []
    if runs and all(run.quality == "estimated" for run in runs):
        caveats.append(
            "All energies are estimated by a model, none is measured: between runs on one machine their order is as "
            "good as the model, and their size may be wrong by half or more. " + OF_ESTIMATES
        )
    sensors = {run.source.sensors for run in runs}
    if len({run.hardware for run in runs}) == 1 and (len(sensors) > 1 or "" in sensors) and len(runs) > 1:
        caveats.append(
            "The runs were not all measured by the same sensors, as far as their records say: the gains differ, so "
            "that runs on different ones are not ranked against each other."
        )
    if runs and reference_kwh and max(run.energy_kwh or 0.0 for run in runs) < reference_kwh / FAR_BELOW:
        caveats.append(
            f"All runs spent far less than the reference of the score ({reference_kwh:g} kWh): it ranks them by "
            f"accuracy alone. Give a reference of their size: {reference_of_their_size(runs)}."
        )
    return caveats
