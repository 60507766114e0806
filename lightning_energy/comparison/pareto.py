"""Quality against energy: which runs are on the front, which are behind it, and where scores are equal."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from lightning_energy.comparison.run import Run
    from lightning_energy.scores.formula import Formula

__all__ = [
    "COVERAGE_FACTOR",
    "dominations",
    "fronts",
    "goodness",
    "iso_scores",
    "kinds",
    "numbers_of_samples",
    "on_front",
    "window",
]

COVERAGE_FACTOR = 2.0  # k=2: 1 in 20 differences by mere chance is larger (GUM, JCGM 100:2008, 6.3.3)
ISO_LINES = 5
NARROWEST = 0.04  # smallest span that fills the height, as a share of the largest value, of accuracies as it is
ISO_POINTS = 40
SHORTEST_BAR = 1 / 3  # share of an energy at which bars that reach further down are cut
MARGIN = 0.08  # of the span of the points, left free around them


def goodness(runs: Sequence[Run]) -> NDArray[np.float64]:
    """The metrics of runs of one metric, of which more is better: where less is, with the opposite sign."""
    return np.array([r.metric if r.mode == "max" else -(r.metric or 0.0) for r in runs], dtype=np.float64)


def on_front(good: NDArray[np.float64], energy_kwh: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Find the points on the Pareto front: no other is at least as good in both, and better in one.

    Args:
        good: the higher the better; shape (n,).
        energy_kwh: the lower the better; shape (n,).

    Returns:
        Booleans of shape (n,). Of points that are equal in both, all are on it or none.

    Example:
        >>> on_front(np.array([0.9, 0.8, 0.7]), np.array([2.0, 1.0, 1.5])).tolist()
        [True, True, False]
    """
    front = np.zeros(len(good), dtype=np.bool_)
    best, at_kwh = -math.inf, math.nan
    for i in np.lexsort((-good, energy_kwh)):
        if good[i] > best:
            best, at_kwh = good[i], energy_kwh[i]
            front[i] = True
        else:
            front[i] = good[i] == best and energy_kwh[i] == at_kwh
    return front


def kinds(runs: Sequence[Run]) -> NDArray[np.int64]:
    """Number runs so that equal numbers are runs that may be set against each other.

    These have one coverage, quality of measurement, metric and number of validation samples, and the same sensors; a
    run whose sensors are not known, or changed between its sessions, is a kind of its own. One whose number of samples
    is not known is taken for one of most others. The kind of most runs is 1.
    """
    keys = [
        (*run.likeness, n) if run.source.sensors else (i,)
        for i, (run, n) in enumerate(zip(runs, numbers_of_samples(runs), strict=True))
    ]
    ranks = {key: rank for rank, (key, _) in enumerate(Counter(keys).most_common(), 1)}
    return np.array([ranks[key] for key in keys], dtype=np.int64)


def numbers_of_samples(runs: Sequence[Run]) -> list[int | None]:
    """The number of validation samples that each run's metric is taken to be of: its own, or that of most like it."""
    known = Counter((run.likeness, run.metric_n) for run in runs if run.metric_n)
    usual = {likeness: n for (likeness, n), _ in reversed(known.most_common())}
    return [run.metric_n or usual.get(run.likeness) for run in runs]


def fronts(runs: Sequence[Run]) -> NDArray[np.bool_]:
    """Find the runs on the Pareto front of their kind: unlike runs are not ranked against each other."""
    good, energy, of_kind = goodness(runs), _energies(runs), kinds(runs)
    front = np.zeros(len(runs), dtype=np.bool_)
    for kind in np.unique(of_kind):
        alike = of_kind == kind
        front[alike] = on_front(good[alike], energy[alike])
    return front


def dominations(runs: Sequence[Run]) -> list[tuple[list[int], list[int]]]:
    r"""Find the runs behind which each run is by the meter: by more than the meter's uncertainty, and by less.

    A run says nothing of how its repeats scatter: see :mod:`~lightning_energy.comparison.verdicts` for what does. Run j
    is ahead of run i of its kind *beyond the uncertainty of the meter* when its metric is at least as good and

    .. math:: E_i - E_j > 2 \sqrt{u_i^2 + u_j^2} + s_j

    with their standard uncertainties u and the energy s that j may have spent in missing time. As both were measured by
    the same sensors, u is the repeatability: the gain is common to both and cancels. *Within it*: it is at least as
    good and not more expensive by the figures, but by less than that, or i's energy is estimated: a model knows the CPU
    time of the run's processes, but neither the power of the CPU meanwhile (its clock rate, vector units, memory) nor
    whether a thread worked or waited busily, which depends on what else runs. The metrics are taken as they are: a
    record does not know how they scatter from seed to seed.

    Records with one ``run_id`` are one run, resumed or copied: none of them dominates another.

    Args:
        runs: n runs of one metric, whose metric and energy are known.

    Returns:
        For each run the indices of those that are ahead of it beyond the uncertainty, and of those within it, in the
        order of their energy. Both name runs on the front only, as these are worth changing to. Where none of these is
        ahead (beyond it: its energy is known less well; within it: it is the same run) but another run is, they name
        that run.
    """
    good, energy = goodness(runs), _energies(runs)
    u_repeat = np.array([r.u_repeat_kwh or 0.0 for r in runs])
    slack = np.array([r.source.slack_kwh for r in runs])
    of_kind = kinds(runs)
    ids = np.array([r.source.run_id or f"unknown {i}" for i, r in enumerate(runs)], dtype=object)
    front, order = fronts(runs), np.argsort(energy, kind="stable")
    results: list[tuple[list[int], list[int]]] = []
    for i in range(len(runs)):
        u = np.hypot(u_repeat, u_repeat[i])
        better = (good >= good[i]) & (energy <= energy[i]) & ((good > good[i]) | (energy < energy[i]))
        better &= (ids != ids[i]) & (of_kind == of_kind[i])
        sure = better & (energy[i] - energy > COVERAGE_FACTOR * u + slack) & (runs[i].quality != "estimated")
        perhaps = (better & front if (better & front).any() else better) & ~sure
        named = sure & front if (sure & front).any() else sure
        results.append((order[named[order]].tolist(), order[perhaps[order]].tolist()))
    return results


def window(runs: Sequence[Run]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Choose the energies in kWh and the values of the metric that show all runs and their bars, with room around them.

    Args:
        runs: runs of one metric, whose metric is known, and whose energy is above 0.
    """
    values, energy = np.array([run.metric for run in runs], dtype=np.float64), _energies(runs)
    u_kwh = np.array([run.u_kwh or 0.0 for run in runs])
    # a bar down to zero or below has no end on a logarithmic axis
    low = math.log10(np.maximum(energy - u_kwh, SHORTEST_BAR * energy).min())
    high = math.log10((energy + u_kwh).max())
    pad = max(MARGIN * (high - low), 0.1)
    size = 1.0 if runs[0].scale != "raw" else float(np.abs(values).max()) or 1.0
    lowest, highest = float(values.min()), float(values.max())
    room = 2 * MARGIN * max(highest - lowest, NARROWEST * size)
    bottom = max(lowest - room, 0.0) if lowest >= 0 else lowest - room
    return (10 ** (low - pad), 10 ** (high + pad)), (bottom, highest + room)


def iso_scores(runs: Sequence[Run], formula: Formula) -> list[tuple[float, list[tuple[float, float]]]]:
    """Draw lines of equal score in the :func:`window` of some runs.

    Args:
        runs: runs whose metric is an accuracy, and whose energy is above 0.
        formula: the formula of the score, with its constants.

    Returns:
        Scores, and the points (energy in kWh, accuracy) of their lines, by rising energy.
    """
    (left, right), (bottom, top) = window(runs)
    top = min(top, 1.0)
    lines = []
    for score in _round_levels(formula(bottom, right), formula(top, left)):
        begin, end = max(left, formula.energy_kwh_at(bottom, score)), min(right, formula.energy_kwh_at(top, score))
        if begin < end:
            energies = np.geomspace(begin, end, ISO_POINTS).tolist()
            lines.append((score, [(e, formula.accuracy_at(e, score)) for e in energies]))
    return lines


def _round_levels(low: float, high: float) -> list[float]:
    """Choose round numbers between two, about as many as there are to be lines."""
    if not high > low:
        return []
    raw = (high - low) / ISO_LINES
    unit = 10 ** math.floor(math.log10(raw))
    step = unit * next(m for m in (1, 2, 2.5, 5, 10) if m * unit >= raw * (1 - 1e-9))
    levels = [step * k for k in range(math.ceil(low / step), math.floor(high / step) + 1)]
    return [float(f"{level:.6g}") for level in levels if level > 0]


def _energies(runs: Sequence[Run]) -> NDArray[np.float64]:
    return np.array([r.energy_kwh for r in runs], dtype=np.float64)
