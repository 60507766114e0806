"""Cells of the energies to reach targets, in text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightning_energy.comparison.to_target import of_runs
from lightning_energy.results.prefixes import significant

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lightning_energy.comparison.run import Run
    from lightning_energy.comparison.to_target import OfRuns, ToTarget

__all__ = ["of_group", "of_run", "range_of", "result_of", "target_cells"]

UNKNOWN = "–"  # noqa: RUF001 - a dash, as tables have it


def target_cells(runs: Sequence[Run], targets: Sequence[float], per_kwh: float = 1.0) -> list[str]:
    """Write the energy to reach each target: of one run, or of several runs of one configuration.

    Args:
        runs: the runs.
        targets: the values of the metric.
        per_kwh: number of the unit, which is not written, in a kWh.
    """

    def show(kwh: float, u_kwh: float | None) -> str:
        return _plain(kwh * per_kwh, None if u_kwh is None else u_kwh * per_kwh)

    cells = []
    for target in targets:
        if len(runs) == 1:
            cells.append(of_run(_found(runs[0], target), show))
        else:
            cells.append(of_group(of_runs([result_of(run, target) for run in runs], target=target), show))
    return cells


def result_of(run: Run, target: float) -> ToTarget | None:
    """The energy of a run to reach one of its targets, among others of its configuration.

    ``None`` where its record does not tell, or not yet: it is running, and has not reached it.
    """
    found = _found(run, target)
    return None if found is None or (run.outcome == "running" and not found.is_reached) else found


def _found(run: Run, target: float) -> ToTarget | None:
    return next((result for result in run.targets if result.target == target), None)


def of_run(result: ToTarget | None, show: Callable[[float, float | None], str]) -> str:
    """Write the energy of one run.

    Args:
        result: what is known of it.
        show: writes an energy in kWh with its uncertainty.

    Example:
        >>> from lightning_energy.comparison.to_target import ToTarget
        >>> of_run(ToTarget(0.9, 0.31, None, 0.28), lambda kwh, u: f"{kwh:g}")
        '0.31 (> 0.28)'
    """
    if result is None or result.over_kwh is None or (result.is_reached and result.kwh is None):
        return UNKNOWN
    if result.kwh is None:
        return f"> {show(result.over_kwh, None)}" if result.over_kwh else UNKNOWN
    before = f" (> {show(result.over_kwh, None)})" if result.over_kwh else ""
    return f"{show(result.kwh, result.u_kwh)}{before}"


def of_group(found: OfRuns | None, show: Callable[[float, float | None], str]) -> str:
    """Write the median energy of several runs, with the range of them and the number of those that reached it.

    Args:
        found: what is known of them.
        show: writes an energy in kWh with its uncertainty.

    Example:
        >>> from lightning_energy.comparison.to_target import OfRuns
        >>> of_group(OfRuns(0.9, 5, 2, over_kwh=0.4), lambda kwh, u: f"{kwh:g}")
        '≥ 0.4 (2 of 5)'
        >>> of_group(OfRuns(0.9, 5, 5, 0, 0.4, None, 0.3, 0.6), lambda kwh, u: f"{kwh:g}")
        '0.4 (0.3 to 0.6, 5 of 5)'
    """
    if found is None or not found.n:
        return UNKNOWN
    reached = f"{found.n_reached} of {found.n}{f', {found.unknown} unknown' if found.unknown else ''})"
    if found.median_kwh is None:
        return f"{f'≥ {show(found.over_kwh, None)}' if found.over_kwh else UNKNOWN} ({reached}"
    return f"{show(found.median_kwh, None)} ({range_of(found, lambda kwh: show(kwh, None))}{reached}"


def range_of(found: OfRuns, show: Callable[[float], str]) -> str:
    """Write the range of the energies of several runs, with a comma behind it; empty where all took the same.

    Args:
        found: what is known of them.
        show: writes an energy in kWh.
    """
    if found.low_kwh is None or found.low_kwh == found.high_kwh:
        return ""
    more = "or more" if found.high_kwh is None else f"to {show(found.high_kwh)}"
    return f"{show(found.low_kwh)} {more}, "


def _plain(value: float, u: float | None) -> str:
    shown = significant(value, 4)
    return f"{shown} ± {significant(u, 2)}" if u else shown
