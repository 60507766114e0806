"""Files that commands write beside the text that they print."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from lightning_energy.comparison.picture import SUFFIXES
from lightning_energy.results.own_files import is_record

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["picture", "written"]

T = TypeVar("T")


def picture(text: str) -> Path:
    """Read an argument that is the file of a picture."""
    path = Path(text)
    if path.suffix.lower() not in SUFFIXES:
        raise argparse.ArgumentTypeError(f"{text!r}: give a file that ends in {' or '.join(SUFFIXES)}")
    return path


def written(figures: T, file: Path, write: Callable[[T, Path], None]) -> list[str]:
    """Write a file, and say so; return the problem if there was one."""
    if is_record(file):
        return [f"{file} is a record, which stays as it is: give another file"]
    try:
        write(figures, file)
    except ModuleNotFoundError as error:
        return [f"{file} is not written: {error}"]
    except OSError as error:
        return [f"{file} cannot be written: {error.strerror}: give another place"]
    sys.stderr.write(f"wrote {file}\n")
    return []
