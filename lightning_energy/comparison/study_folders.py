"""Folders of studies: which of their records are no repeats, as the manifest has it."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from lightning_energy.results.plain import printable
from lightning_energy.results.read import RecordError, text_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["FORMAT", "MANIFEST", "TUNING", "document_of", "is_of_study", "without_discarded"]

FORMAT = "lightning-energy-study"
MANIFEST = "study.json"
TUNING = "tuning"
"""Folder within a run's: trainings whose records lie there, such as trials, are no runs, and their energy is apart."""


def document_of(file: Path) -> Any:
    """Read the document of a manifest.

    Raises:
        ValueError: it cannot be read.
    """
    try:
        return json.loads(text_of(file))
    except (RecordError, OSError, RecursionError) as error:
        raise ValueError(str(error)) from error


def is_of_study(document: Any) -> bool:
    """True for the manifest of a study; another program's file may have that name, too."""
    return isinstance(document, dict) and document.get("format") == FORMAT


def without_discarded(files: Sequence[Path], given: Iterable[str | Path]) -> tuple[list[Path], list[str]]:
    """Leave out the records of a study that are no repeats: of warm-ups, of runs that failed, and of searches.

    Args:
        files: records.
        given: the paths that they were found by. A record stays that was given itself, or by a folder within that of
            its own training.

    Returns:
        The other files, and a sentence for each study of which some were left out, or whose manifest is damaged.
    """
    own = [*_places(given)]
    studies: dict[Path, _Study | None] = {}
    kept = []
    for file in files:
        place = file.resolve()
        study = next((s for folder in place.parents if (s := _study(folder, studies)) is not None), None)
        if study is None or not study.discards(place, own):
            kept.append(file)
    return kept, [sentence for study in studies.values() if study is not None for sentence in study.sentences()]


def _places(given: Iterable[str | Path]) -> Iterator[Path]:
    for path in given:
        with suppress(OSError, ValueError, RuntimeError):  # too long, a null byte, a circle of links
            yield Path(path).expanduser().resolve()


def _study(folder: Path, known: dict[Path, _Study | None]) -> _Study | None:
    if folder not in known:
        file = folder / MANIFEST
        known[folder] = _Study.of(file) if file.is_file() else None
    return known[folder]


class _Study:
    """A study, and the records of it that were left out."""

    def __init__(self, folder: Path, attempts: dict[Path, str] | None) -> None:
        self._folder = folder
        self._attempts = attempts
        self._left_out: dict[str, set[Path]] = {}

    @classmethod
    def of(cls, file: Path) -> _Study | None:
        """Read a manifest; another program's file of that name is none."""
        try:
            document = document_of(file)
        except ValueError:
            return cls(file.parent, None)
        if not is_of_study(document):
            return None
        return cls(file.parent, dict(_attempts(file.parent, document.get("attempts"))))

    def discards(self, place: Path, given: Sequence[Path]) -> bool:
        """True for a record that is no repeat, which is noted, unless it was asked for itself."""
        attempts = self._attempts or {}
        folder = next((parent for parent in place.parents if parent in attempts), None)
        if folder is None:
            return False
        parts = place.relative_to(folder).parts[:-1]
        own = folder.joinpath(*parts[: parts.index(TUNING) + 1]) if TUNING in parts else folder
        kind = "of a search" if TUNING in parts else attempts[folder]
        if not kind or any(own == path or own in path.parents for path in given):
            return False
        self._left_out.setdefault(kind, set()).add(place)
        return True

    def sentences(self) -> list[str]:
        """Say what was left out."""
        shown = printable(self._folder)
        if self._attempts is None:
            file = printable(self._folder / MANIFEST)
            return [
                f"{file} cannot be read: if it is a study's, warm-ups and failed runs of it may be among these runs"
            ]
        words = [f"{len(files)} {kind}" for kind, files in sorted(self._left_out.items())]
        if not words:
            return []
        return [f"records of {shown} are left out ({', '.join(words)}): `lightning-energy study report` shows them"]


def _attempts(folder: Path, rows: Any) -> Iterator[tuple[Path, str]]:
    """The folder of each attempt, and what makes it no repeat; empty where it is one."""
    for row in rows if isinstance(rows, list) else ():
        if not isinstance(row, dict) or not isinstance(row.get("folder"), str):
            continue
        path = PurePosixPath(row["folder"])
        if path.is_absolute() or ".." in path.parts or "\0" in str(path):
            continue
        is_done = row.get("state") == "done"
        kept = "" if is_done else "of runs that failed or did not end"
        yield (folder / path).resolve(), "of warm-ups" if row.get("kind") == "warm-up" else kept
