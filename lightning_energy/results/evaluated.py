"""Lines on the validations, tests and predictions outside of ``fit``, which no report of a training has."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from lightning_energy.results.readable import duration, joules, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lightning_energy.curves.energy import Energy
    from lightning_energy.results.record import Record

__all__ = ["lines_of_evaluations"]


def lines_of_evaluations(record: Record) -> list[str]:
    """The lines, one for each stage of each of them, in the order in which they were made; none where there are none.

    Args:
        record: from :func:`~lightning_energy.load_record`.
    """
    return [one_line(line) for line in _lines(record)]


def _lines(record: Record) -> Iterator[str]:
    for evaluation in record.evaluations:
        begun = datetime.fromtimestamp(evaluation.started_unix_s).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        ended = "" if evaluation.outcome == "completed" else f" ({evaluation.outcome})"
        for stage, energy in evaluation.stages.items():
            units = evaluation.units.get(stage, {})
            counted = "".join(f", {n} {name}" for name, n in units.items() if n is not None)
            yield f"Outside of fit, {stage} of {begun}{ended}: {_spent(energy)}{counted}"


def _spent(energy: Energy) -> str:
    """The energy with its uncertainty (k=1), and the time that it is of."""
    if energy.energy_j is None:
        return f"energy missing, {duration(energy.duration_s)}"
    lost = f", of which {duration(energy.missing_s)} are missing" if energy.missing_s > 0 else ""
    return f"{joules(energy.energy_j, energy.u_absolute_j)}, {energy.quality}, in {duration(energy.duration_s)}{lost}"
