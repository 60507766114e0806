"""Files of ours among those of others: what is not ours on disk is never touched."""

from __future__ import annotations

import glob
import json
import os
import re
import time
from contextlib import suppress
from itertools import count
from pathlib import Path

from lightning_energy.results.read import RecordError, text_of
from lightning_energy.results.record import FORMAT, NAME

__all__ = ["chosen_place", "free_place", "is_record", "kept_place", "kept_places"]


def chosen_place(record: str | Path) -> Path:
    """The file of a record where the user wants it: a file, or a folder. A later ``chdir`` does not move it.

    Example:
        >>> chosen_place("/runs/a/").as_posix(), chosen_place("/runs/a.json").as_posix()
        ('/runs/a/energy.json', '/runs/a.json')
    """
    path = Path(record)
    with suppress(OSError):  # a working directory that was removed: nothing can be written there, which is told
        path = path.absolute()
    is_folder = path.suffix != ".json" or str(record).endswith(("/", os.sep))
    return path / NAME if is_folder else path


def is_record(path: Path) -> bool:
    """Return true for a record of ours, of whatever version and state: a regular file that says so."""
    try:
        document = json.loads(text_of(path))
    except (RecordError, OSError, ValueError, RecursionError):
        return False
    return isinstance(document, dict) and document.get("format") == FORMAT


def free_place(path: Path) -> Path:
    """The place of a record: ``path``, or where something else lies there, the next name that is free or ours.

    Example:
        >>> from pathlib import Path
        >>> free_place(Path("nowhere/energy.json"))
        PosixPath('nowhere/energy.json')
    """
    names = (path.with_name(f"{path.stem}-{n}{path.suffix}") for n in count(2))
    place = path
    while (place.exists() or place.is_symlink()) and not is_record(place):
        place = next(names)
    return place


def kept_place(path: Path, started_unix_s: float) -> Path:
    """The name under which an earlier run's record is kept: with the time at which that run began."""
    begun = time.strftime("%Y-%m-%d_%H-%M-%S", time.localtime(started_unix_s))
    place = path.with_name(f"{path.stem}.{begun}{path.suffix}")
    n = count(2)
    while place.exists() or place.is_symlink():
        place = path.with_name(f"{path.stem}.{begun}-{next(n)}{path.suffix}")
    return place


def kept_places(path: Path) -> list[Path]:
    """The records of earlier runs that were kept beside a record under the names of :func:`kept_place`."""
    name = re.compile(rf"{re.escape(path.stem)}\.\d{{4}}-\d\d-\d\d_\d\d-\d\d-\d\d(-\d+)?{re.escape(path.suffix)}")
    found = path.parent.glob(f"{glob.escape(path.stem)}.*{glob.escape(path.suffix)}")
    return sorted(file for file in found if name.fullmatch(file.name))
