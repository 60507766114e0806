"""From a file to a record: the only place where records are read from JSON.

Files come from anywhere: everything wrong with one is a :class:`RecordError` of one line.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_energy.results.node import DamagedError, Node
from lightning_energy.results.parse import record_of
from lightning_energy.results.plain import printable
from lightning_energy.results.record import FORMAT, NAME
from lightning_energy.results.upgrade import VersionError, upgrade

if TYPE_CHECKING:
    from lightning_energy.results.record import Record

__all__ = ["RecordError", "read_record", "text_of"]

DEEPEST_BELOW = 3  # levels of folders that are searched for advice: logs/name/version_0
NAMED_BELOW = 3
MOST_BYTES = 64 * 2**20  # room for 100,000 epochs
DEEPEST = 32  # levels of JSON; a record has 12
GIVE = "give a record or the log directory of a run (of its first logger, if it has several)"


class RecordError(ValueError):
    """A file is no record that can be read. The text, of one line, names the file and a remedy."""

    def __init__(self, text: str) -> None:
        super().__init__(printable(text))


def read_record(path: Path | str) -> Record:
    """Read one file; :func:`~lightning_energy.load_record` adds the records of other ranks beside it.

    Args:
        path: the file, or the folder of the run that it lies in.

    Raises:
        RecordError: there is no record, or it is damaged, or of a newer version.
    """
    path = Path(path)
    try:
        file = path / NAME if path.is_dir() else path
        text = text_of(file, path)
    except (OSError, ValueError) as error:
        if isinstance(error, RecordError):
            raise
        raise RecordError(f"{path} cannot be read: {error}: give another file, or make it readable") from error
    return _record(_document(text, file), file)


def text_of(file: Path, path: Path | None = None) -> str:
    """The text of a regular file; a pipe or a device would be waited for, or never end.

    Args:
        file: the file.
        path: the file or folder that the user named.

    Raises:
        RecordError: it is not there, or cannot be a record.
        OSError: it cannot be read.
    """
    try:
        number = os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    except FileNotFoundError as error:
        raise RecordError(f"{file} does not exist: {_instead(path or file)}") from error
    try:
        if not stat.S_ISREG(os.fstat(number).st_mode):
            raise RecordError(f"{file} is no regular file: {GIVE}")
        with os.fdopen(number, "rb", closefd=False) as opened:
            content = opened.read(MOST_BYTES + 1)
    finally:
        os.close(number)
    if len(content) > MOST_BYTES:
        raise RecordError(f"{file} has more than {MOST_BYTES // 2**20} MB, so it is no record: {GIVE}")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RecordError(f"{file} is no text file, so no record: {GIVE}") from error


def _document(text: str, file: Path) -> dict[str, Any]:
    """The object of JSON, if it says that it is a record."""
    try:
        document = json.loads(text)
    except RecursionError as error:
        raise RecordError(f"{file} nests too deeply for a record: {GIVE}") from error
    except ValueError as error:
        raise RecordError(f"{file} is no JSON, or only the beginning of one: {error}: {GIVE}") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise RecordError(f"{file} is not a record of lightning-energy (no format={FORMAT!r}): {GIVE}")
    if _nests_deeper(document, DEEPEST):
        raise RecordError(f"{file} nests too deeply for a record: {GIVE}")
    return document


def _record(document: dict[str, Any], file: Path) -> Record:
    try:
        return record_of(Node(upgrade(document)))
    except VersionError as error:
        raise RecordError(f"{file} {error}: upgrade lightning-energy") from error
    except DamagedError as error:
        raise RecordError(f"{file} is damaged ({error}): use another copy, or train again") from error


def _nests_deeper(value: Any, levels: int) -> bool:
    """True when arrays and objects nest in more levels. Goes level by level: recursion would end at a limit."""
    level = [value]
    for _ in range(levels):
        level = [v for part in level for v in (part.values() if isinstance(part, dict) else part)]
        level = [v for v in level if isinstance(v, (dict, list))]
        if not level:
            return False
    return True


def _instead(folder: Path) -> str:
    """Advice for a folder that holds no record: folders below it that do, of the first depth with any."""
    for depth in range(1, DEEPEST_BELOW + 1):
        found = [str(file.parent) for file in sorted(folder.glob("*/" * depth + NAME))]
        if found:
            more = f" (or one of {len(found) - NAMED_BELOW} more)" if len(found) > NAMED_BELOW else ""
            return f"records lie below it, try {' or '.join(found[:NAMED_BELOW])}{more}"
    return GIVE
