"""The reference of a score: a number of kWh, or the energy of a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning_energy.results.read import RecordError
from lightning_energy.results.record_ranks import load_record
from lightning_energy.scores.choice import OF_THE_RUN

__all__ = ["reference_of"]


def reference_of(given: Any, *, of_run: bool = True) -> Any:
    """The reference as it is given, but of the path of a finished run's record the energy of its training in kWh.

    Args:
        given: a number, ``"run"``, or a path; anything else is left to others to judge.
        of_run: whether ``"run"``, the run's own energy at its first score, is one.

    Raises:
        ValueError: the record cannot be read, its run has not ended, or its energy is not wholly known.
    """
    begin = f"reference_kwh={str(given)!r}"
    instead = f"a number of kWh,{f' {OF_THE_RUN!r},' if of_run else ''} or the record of a finished run"
    if given == OF_THE_RUN and not of_run:
        raise ValueError(f"{begin} is for a training: give {instead}")
    if not isinstance(given, (str, Path)) or given == OF_THE_RUN:
        return given
    try:
        record = load_record(given)
    except RecordError as error:
        raise ValueError(f"{begin}: {error}. Give {instead}") from error
    if record.outcome == "running":
        why = "that run has not ended, or was killed, so that its energy is not final"
        raise ValueError(f"{begin}: {why}. Give {instead}")
    total = record.total
    if total is None or not total.energy_kwh:
        raise ValueError(f"{begin}: the energy of that run is not known. Give a number of kWh")
    return total.energy_kwh
