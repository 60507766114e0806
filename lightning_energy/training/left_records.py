"""Records that earlier sessions of a run left: their place beside a checkpoint, and what they know."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_energy.results.record import Record
    from lightning_energy.results.rows import SessionRow

__all__ = ["contains", "knows_more", "relative_place"]

ROUNDING = 1e-9  # relative difference between equal sums


def relative_place(record: Path | None, checkpoint: Any) -> str | None:
    """The place of a record as seen from the folder of a checkpoint, so that both may be moved together.

    Args:
        record: the file of the record; ``None`` without one.
        checkpoint: the file of the checkpoint; ``None`` unknown.

    Returns:
        The way there, with slashes; ``None`` where there is none, say between two drives or to a remote folder.

    Example:
        >>> relative_place(Path("/runs/version_0/energy.json"), "/runs/version_0/checkpoints/epoch=0.ckpt")
        '../energy.json'
    """
    if record is None or not isinstance(checkpoint, (str, Path)) or "://" in str(checkpoint):
        return None
    with suppress(OSError, ValueError):
        return Path(os.path.relpath(record, Path(checkpoint).parent)).as_posix()
    return None


def contains(record: Record, sessions: Sequence[SessionRow]) -> bool:
    """True where a record knows all of the session that wrote a checkpoint: it is that session's, or a later one's.

    A session that went on from another checkpoint of that session, and did not find its record, knows a part of it.

    Args:
        record: a record of the same run.
        sessions: the sessions as the checkpoint knows them.
    """
    if not sessions:
        return True
    started_unix_s = sessions[-1].started_unix_s
    same = [row for row in record.sessions if row.started_unix_s == started_unix_s]
    if same:
        return any(row.outcome != "checkpoint" for row in same)
    return not record.has_ended and record.started_unix_s <= started_unix_s <= record.updated_unix_s


def knows_more(record: Record, energy_j: float | None, duration_s: float) -> bool:
    """True where a record's total is of no less energy and time; the time alone goes on where a sensor was lost."""
    total = record.total
    return (
        total is not None
        and (total.energy_j or 0.0) >= (energy_j or 0.0) * (1 - ROUNDING)
        and total.duration_s >= duration_s * (1 - ROUNDING)
    )
