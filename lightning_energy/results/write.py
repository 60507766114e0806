"""From a record to its file, which is whole at any moment."""

from __future__ import annotations

import json
import os
import re
import stat
import time
from contextlib import suppress
from secrets import token_hex
from typing import TYPE_CHECKING

from lightning_energy.results.record import FORMAT

if TYPE_CHECKING:
    from pathlib import Path

    from lightning_energy.results.record import Record

__all__ = ["compact", "remove_leftovers", "write_record", "write_whole"]

BEGINNING = json.dumps({"format": FORMAT}, indent=1)[:-2]  # of every record of ours
NUMBERS = re.compile(r'\[\n[^\[\]{}"]*\]')
LEFT_OVER_S = 3600.0  # age of an unfinished file whose writer is surely dead, on whatever machine it ran


def write_record(path: Path, record: Record) -> None:
    """Write a record so that a reader finds at any moment the old one or the new one, whole.

    Raises:
        OSError: it cannot be written; the old one stays.
    """
    write_whole(path, compact(json.dumps(record.to_plain(), indent=1, allow_nan=False)) + "\n")


def compact(text: str) -> str:
    r"""JSON with each array of mere numbers in one line.

    Args:
        text: indented JSON. No line ends within a string of it.

    Example:
        >>> compact('{\n "mean_w": [\n  1.5,\n  null\n ]\n}')
        '{\n "mean_w": [1.5, null]\n}'
    """
    return NUMBERS.sub(lambda found: " ".join(found[0].split()).replace("[ ", "[").replace(" ]", "]"), text)


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a text or bytes so that a reader finds at any moment the old file or the new one, whole.

    A new file has the mode that the user's umask gives it, and one that takes another's place has its mode.

    Raises:
        OSError: it cannot be written; the old one stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{token_hex(4)}")
    # exclusively: whatever somebody else has planted there is not followed
    number = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o666)
    try:
        is_text = isinstance(content, str)
        with os.fdopen(number, "w" if is_text else "wb", encoding="utf-8" if is_text else None) as file:
            with suppress(OSError):  # none is there yet
                new.chmod(stat.S_IMODE(path.stat().st_mode))
            file.write(content)
        new.replace(path)
    except BaseException:
        with suppress(OSError):
            new.unlink()
        raise


def remove_leftovers(path: Path) -> None:
    """Remove unfinished files of a record that a process left when it was killed."""
    name = re.compile(rf"\.{re.escape(path.name)}\.([0-9a-f]{{8}}|\d+)")
    with suppress(OSError):
        for file in path.parent.iterdir():
            if name.fullmatch(file.name) and _is_left(file.lstat()) and _is_begun(file):
                file.unlink()


def _is_left(status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode) and time.time() - status.st_mtime > LEFT_OVER_S


def _is_begun(file: Path) -> bool:
    """Return true for a file that begins as a record of ours, however little of it was written."""
    with file.open("rb") as opened:
        return BEGINNING.encode().startswith(opened.read(len(BEGINNING)))
