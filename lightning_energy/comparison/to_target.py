"""Energy to reach a target of the metric: of one run, and of several that did not all reach it."""

from __future__ import annotations

import math
import statistics
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_energy.comparison.course import Validation
    from lightning_energy.scores.metric import Mode

__all__ = ["OfRuns", "ToTarget", "of_runs", "to_target"]

IN_SINGLE = 1e-6  # relative rounding of a metric that was computed in single precision: its 0.9 is 0.89999998


@dataclass(frozen=True)
class ToTarget:
    """The energy at which a run was first seen to reach a target, or the energy up to which it did not.

    Attributes:
        target: the value of the metric.
        kwh: energy of the training up to the end of the epoch in which it was, in kWh; ``None`` when none was, or when
            that energy is not known.
        u_kwh: absolute standard uncertainty of ``kwh``: of the meters, not of the moment.
        over_kwh: energy up to the last validation before, at which it had not been reached; 0 when there is none. The
            target was passed somewhere between it and ``kwh``: nobody looked, and nothing is interpolated. Of a run
            that never reached it, the energy of its last validation: it takes more than that. ``None`` unknown.
        is_reached: true when a validation was as good.
        validation: the number of that validation, counted from 1; ``None`` when none was, or unknown.
    """

    target: float
    kwh: float | None
    u_kwh: float | None
    over_kwh: float | None
    is_reached: bool = True
    validation: int | None = None

    def to_plain(self) -> dict[str, Any]:
        """The same in JSON's types."""
        return asdict(self)


@dataclass(frozen=True)
class OfRuns:
    """The energy to reach a target of several runs of one configuration; those that never did count as such.

    Attributes:
        target: the value of the metric.
        n: the number of runs whose epochs tell.
        n_reached: the number of these that reached it.
        unknown: the number of runs that do not tell: without epochs, whose energy is not known, or that are running and
            have not reached it. They are in no figure here.
        median_kwh: the energy by which half of the ``n`` runs had reached it, counting runs that ended without it as
            never reaching it; ``None`` where fewer did.
        over_kwh: where there is no median: the energy up to which, by their validations, more than half had not
            reached it.
        low_kwh: the smallest energy at which a run reached it; ``None`` where none did.
        high_kwh: the largest; ``None`` where one of the runs never did, so that there is no upper bound.
        mean_kwh: the restricted mean: of the energies, each counted up to ``budget_kwh`` at most, and that of a run
            that never reached it as the whole budget: too large where a run was cut off that would have reached it.
        u_mean_kwh: its standard error by the scatter from run to run; ``None`` for one run, where none reached it below
            the budget (then all count as the budget, and how they scatter is not known), and where all reached it at
            the same validation: others may take one more or fewer, which that scatter does not show.
        budget_kwh: the energy up to which ``mean_kwh`` is taken; ``None`` where no run tells.
        per_success_kwh: the energy of all runs, each until it reached the target or, if it failed, until its last
            validation with a finite value, for each that reached it: the price of one success, if a run that fails is
            tried again. What a failure spent after that is not in it. ``None`` where none did.
    """

    target: float
    n: int
    n_reached: int
    unknown: int = 0
    median_kwh: float | None = None
    over_kwh: float | None = None
    low_kwh: float | None = None
    high_kwh: float | None = None
    mean_kwh: float | None = None
    u_mean_kwh: float | None = None
    budget_kwh: float | None = None
    per_success_kwh: float | None = None

    def to_plain(self) -> dict[str, Any]:
        """The same in JSON's types."""
        return asdict(self)


def to_target(course: Sequence[Validation], target: float, mode: Mode = "max") -> ToTarget | None:
    """Find the energy of a training at which a target was first seen to be reached.

    Args:
        course: its validations, in the order of time.
        target: the value of the metric, in the same unit; one that differs by the rounding of single precision is
            taken as reached.
        mode: the better direction.

    Returns:
        The energy with its bounds; ``None`` without a validation, as then nobody knows.

    Example:
        >>> from lightning_energy.comparison.course import Validation
        >>> course = [Validation(1.0, 0.7), Validation(2.0, 0.9, 0.1)]
        >>> to_target(course, 0.8)
        ToTarget(target=0.8, kwh=2.0, u_kwh=0.1, over_kwh=1.0, is_reached=True, validation=2)
        >>> to_target(course, 0.95)
        ToTarget(target=0.95, kwh=None, u_kwh=None, over_kwh=2.0, is_reached=False, validation=None)
    """
    if not course:
        return None
    slack = IN_SINGLE * abs(target)
    over: float | None = 0.0
    for number, (kwh, value, u_kwh) in enumerate(course, 1):
        if value >= target - slack if mode == "max" else value <= target + slack:
            return ToTarget(target, kwh, None if kwh is None else u_kwh, over, validation=number)
        over = over if kwh is None else kwh  # the last that is known: a bound all the same
    over = over if any(v.kwh is not None for v in course) else None
    return ToTarget(target, None, None, over, is_reached=False)


def of_runs(
    results: Sequence[ToTarget | None], *, target: float | None = None, budget_kwh: float | None = None
) -> OfRuns | None:
    """Sum up several runs of one configuration. A run that ended without the target counts, as one that never does.

    Its energy is not known, only that it is more than it spent. It is taken never to reach the target: for the median
    it is one that has not, for the restricted mean (Royston and Parmar 2013) it is the whole budget. For runs that
    were cut off, and might have reached it, this makes both too large. What failures cost is ``per_success_kwh`` (the
    expected running time of Auger and Hansen 2005).

    Args:
        results: what :func:`to_target` found for each run, of one target; ``None`` for a run that does not tell.
        target: the value, where no run tells.
        budget_kwh: energy up to which the mean is taken, in kWh, the same for all that are compared; by default the
            largest up to which one of these runs is known.

    Returns:
        The figures; ``None`` without a run, or without a target.

    Raises:
        ValueError: the budget is not above 0, or the results are of different targets.

    Example:
        >>> reached = [ToTarget(0.9, kwh, 0.0, 0.0) for kwh in (1.0, 2.0)]
        >>> three = of_runs([*reached, ToTarget(0.9, None, None, 3.0, is_reached=False)])
        >>> three.n_reached, three.n, three.median_kwh, three.mean_kwh, three.per_success_kwh
        (2, 3, 2.0, 2.0, 3.0)
    """
    if budget_kwh is not None and not (budget_kwh > 0 and math.isfinite(budget_kwh)):
        raise ValueError(f"budget_kwh={budget_kwh!r}: give a finite number above 0")
    told = [result for result in results if result is not None]
    targets = {result.target for result in told}
    if not told and target is not None:
        targets = {target}
    if len(targets) > 1:
        raise ValueError(f"the results are of different targets ({', '.join(f'{t:g}' for t in sorted(targets))})")
    if not results or not targets:
        return None
    bounds = [r.over_kwh or 0.0 for r in told if r.kwh is not None]
    reached = sorted(kwh for kwh in (r.kwh for r in told) if kwh is not None)
    failed = [over for over in (r.over_kwh for r in told if not r.is_reached) if over is not None]
    n, n_reached = len(reached) + len(failed), len(reached)
    of_all: dict[str, Any] = {"target": targets.pop(), "n": n, "n_reached": n_reached, "unknown": len(results) - n}
    if not n:
        return OfRuns(**of_all)
    spent = sorted([*reached, *failed])
    half = (n + 1) // 2
    budget_kwh = budget_kwh or spent[-1]
    counted = [min(kwh, budget_kwh) for kwh in reached] + [budget_kwh] * len(failed)
    return OfRuns(
        **of_all,
        median_kwh=reached[half - 1] if n_reached >= half else None,
        over_kwh=None if n_reached >= half else sorted([*bounds, *failed])[half - 1],
        low_kwh=min(reached, default=None),
        high_kwh=None if failed else max(reached),
        mean_kwh=statistics.fmean(counted),
        u_mean_kwh=statistics.stdev(counted) / math.sqrt(n) if _shows_scatter(told, counted, budget_kwh) else None,
        budget_kwh=budget_kwh,
        per_success_kwh=sum(spent) / n_reached if reached else None,
    )


def _shows_scatter(told: Sequence[ToTarget], counted: Sequence[float], budget_kwh: float) -> bool:
    """True where runs reached the target below the budget, and not all at one validation, as far as that is known."""
    if len(counted) <= 1 or min(counted) >= budget_kwh:
        return False
    reached = [r for r in told if r.kwh is not None and r.kwh <= budget_kwh]
    at = {r.validation for r in reached}
    return len(reached) < len(counted) or len(at) > 1 or None in at
