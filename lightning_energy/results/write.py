"""From a record to its file, which is whole at any moment."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from lightning_energy.results.record import Record

__all__ = ["write_record"]


def write_record(path: Path, record: Record) -> None:
    """Write a record so that a reader finds at any moment the old one or the new one, whole.

    Raises:
        OSError: it cannot be written; the old one stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        new.write_text(json.dumps(record.to_plain(), indent=1, allow_nan=False) + "\n", encoding="utf-8")
        new.replace(path)
    except BaseException:
        with suppress(OSError):
            new.unlink()
        raise
