"""Records that lie where a checkpoint says that its run's record lies."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_energy.results.own_files import kept_places
from lightning_energy.results.record_ranks import load_record

if TYPE_CHECKING:
    from lightning_energy.results.record import Record

__all__ = ["records_from"]

LONGEST_PLACE = 4096  # letters; a file system takes no more


def records_from(checkpoint: Any, place: Any) -> list[Record]:
    """The records that lie where a checkpoint says that its run's record lies, or beside it with a time in the name.

    Args:
        checkpoint: the file of the checkpoint.
        place: the place in it, by :func:`~lightning_energy.training.left_records.relative_place`; whatever else it is,
            there are none.
    """
    if not isinstance(checkpoint, (str, Path)) or "://" in str(checkpoint):
        return []
    if not isinstance(place, str) or not 0 < len(place) <= LONGEST_PLACE or Path(place).is_absolute():
        return []
    found = []
    for folder in dict.fromkeys((Path(checkpoint).parent, Path(os.path.realpath(checkpoint)).parent)):
        file = Path(os.path.normpath(folder / place))
        with suppress(OSError, ValueError):  # the latter of a null byte
            for path in (file, *kept_places(file)):
                with suppress(ValueError):
                    found.append(load_record(path))
    return found
