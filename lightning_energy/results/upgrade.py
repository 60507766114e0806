"""Records and states of checkpoints, upgraded from older versions to today's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lightning_energy.results.node import shortened
from lightning_energy.results.rows import EPOCH_COLUMNS
from lightning_energy.scores.metric_name import says_error

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lightning_energy.results.notes import NoteKind

__all__ = ["VERSION", "VersionError", "upgrade"]

VERSION = 2

BEGINNINGS: Mapping[str, NoteKind] = {
    "Incomplete: ": "incomplete",
    "An earlier session was killed: ": "killed_session",
    "What earlier sessions spent is not known": "unknown_before",
    "No idle baseline for ": "measuring",
    "The device stopped telling when": "measuring",
    "The device's clock could not be tied": "measuring",
    "Samples were not counted: ": "samples",
    "Put together from the records of ranks ": "merged_ranks",
    "the sampler stopped (": "sensor",
    "No meter knows devices of type ": "absent_meter",
    "CPU: ": "absent_meter",
    "Rank ": "rank_details",
}
"""The kinds of version 1's notes, which were sentences alone, by their beginnings."""

PARTS: Mapping[str, NoteKind] = {
    ": aliasing risk": "aliasing",
    "single steps are unresolved": "unresolved",
    "is missing from all totals": "sensor",
    " other process(es) at the end": "sharing",
    " marks have the host's time": "measuring",
}
"""The kinds of those notes that begin with a name or a number, by another part of them."""


class VersionError(ValueError):
    """A document of a version that is not known here."""


def upgrade(document: dict[str, Any]) -> dict[str, Any]:
    """A record or a checkpoint's state of any older version in today's.

    Fields that an older version does not have are unknown, never 0. A damaged document stays damaged: the check of its
    fields comes afterwards.

    Args:
        document: the record, or the state, in plain types; it stays as it is.

    Raises:
        VersionError: the version is newer, or is none.
    """
    version = document.get("version")
    if isinstance(version, bool) or not isinstance(version, int) or not 1 <= version <= VERSION:
        raise VersionError(f"has version {shortened(version)}, this lightning-energy knows {VERSION}")
    return _from_1(document) if version == 1 else document


def _from_1(document: dict[str, Any]) -> dict[str, Any]:
    new = {**document, "version": VERSION}
    for key in ("epochs", "history"):
        if key in new:
            new[key] = _each(new[key], _epoch_from_1)
    if "sessions" in new:
        new["sessions"] = _each(new["sessions"], lambda row: {"samples": None, **row})
    if "format" not in document:  # a checkpoint's state
        return {**new, "notes": []}
    if "run" in new:
        new["session"] = new.pop("run")
    if "accuracy" in new:
        metric = new.pop("accuracy")
        new["metric"] = {**metric, "mode": "max", "scale": "fraction"} if isinstance(metric, dict) else metric
        if isinstance(metric, dict) and says_error(str(metric.get("name"))):  # version 1 scored a loss as an accuracy
            new |= {"metric": {**metric, "mode": "min", "scale": "raw"}, "score": None}
    if isinstance(new.get("notes"), list):
        new["notes"] = [_note_from_1(text) for text in new["notes"]]
    return new


def _each(rows: Any, change: Any) -> Any:
    """The rows, each changed; anything that is no row stays, to be found damaged."""
    return [change(row) if isinstance(row, dict) else row for row in rows] if isinstance(rows, list) else rows


def _epoch_from_1(row: dict[str, Any]) -> dict[str, Any]:
    new = {**dict.fromkeys(EPOCH_COLUMNS), **row}
    new["metric"] = new.pop("accuracy", None)
    return new


def _note_from_1(text: Any) -> Any:
    if not isinstance(text, str):
        return text
    found = [kind for part, kind in PARTS.items() if part in text]
    found += [kind for beginning, kind in BEGINNINGS.items() if text.startswith(beginning)]
    return {"kind": found[0] if found else "other", "text": text}
