"""The reference of a score: a number of kWh, or the energy of a finished run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_energy.results.plain import printable
from lightning_energy.results.readable import duration, percent
from lightning_energy.scores.choice import OF_THE_RUN

if TYPE_CHECKING:
    from lightning_energy.curves.energy import Energy
    from lightning_energy.results.record import Record

__all__ = ["reference_of"]

MOST_MISSING = 0.05  # of a run's time: a sensor's first update comes late in short runs


def reference_of(given: Any, *, of_run: bool = True) -> Any:
    """The reference as it is given, but of the path of a finished run's record the energy of its training in kWh.

    Args:
        given: a number, ``"run"``, or a path; anything else is left to others to judge.
        of_run: whether ``"run"``, the run's own energy at its first score, is one.

    Raises:
        ValueError: the record cannot be read, its run has not ended, or more than a twentieth of its energy is missing.
    """
    begin = f"reference_kwh={str(given)!r}"
    instead = f"a number of kWh,{f' {OF_THE_RUN!r},' if of_run else ''} or the record of a finished run"
    if given == OF_THE_RUN and not of_run:
        raise ValueError(f"{begin} is for a training: give {instead}")
    if not isinstance(given, (str, Path)) or given == OF_THE_RUN:
        return given
    # only a path needs what reads records
    from lightning_energy.results.read import RecordError  # noqa: PLC0415
    from lightning_energy.results.record_ranks import load_record  # noqa: PLC0415

    try:
        record = load_record(given)
    except RecordError as error:
        if isinstance(error.__cause__, FileNotFoundError) and not os.path.lexists(given):  # perhaps no path was meant
            raise ValueError(f"{begin}: {printable(str(given))} does not exist. Give {instead}") from error
        raise ValueError(f"{begin}: {error}. Give {instead}") from error
    if record.outcome == "running":
        why = "that run has not ended, or was killed, so that its energy is not final"
        raise ValueError(f"{begin}: {why}. Give {instead}")
    total = record.total
    if total is None or not total.energy_kwh:
        raise ValueError(f"{begin}: the energy of that run is not known. Give a number of kWh")
    why = _why_a_bound(record, total)
    if why:
        raise ValueError(f"{begin}: {why}: its {total.energy_kwh:.4g} kWh are a lower bound. Give a number of kWh")
    return total.energy_kwh


def _why_a_bound(record: Record, total: Energy) -> str:
    """The reason why a run has spent more than its total says, and perhaps much more; empty without one."""
    if record.absent_ranks:
        return f"the energy of {record.absent_ranks} other rank{'s' if record.absent_ranks > 1 else ''} is missing"
    note = next((n for n in record.notes if n.is_of_earlier_sessions or n.kind == "incomplete"), None)
    if note is not None:
        return printable(note.text)
    if total.missing_s > MOST_MISSING * total.duration_s:
        share = percent(total.missing_s / total.duration_s)
        return f"the energy of {duration(total.missing_s)} of that run, {share} of its time, is missing"
    return ""
