"""Records behind the paths that a person gives, and short names of their runs."""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_energy.results.own_files import is_record
from lightning_energy.results.plain import printable
from lightning_energy.results.record import NAME

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["find_records", "short_names"]

OF_A_STUDY = {"study.json", "job.json", "result.json"}  # files of ours that are no records
_A_NUMBER = re.compile(r"(version_?)?\d+$")  # a mere version, which separates runs, but says nothing about them

_OF_A_RANK = re.compile(r"\.rank\d+\.json$")  # the record of another rank, which is read with rank zero's


def find_records(paths: Iterable[str | Path]) -> tuple[list[Path], list[str]]:
    """Find the records that ``paths`` mean, each once, in the order of their names.

    Args:
        paths: records, folders that hold records at any depth (symbolic links inside them are not followed: a link
            to the latest run is no further run), or glob patterns (``**`` goes through folders; of what a pattern
            matches, folders and ``.json`` files are taken).

    Returns:
        The files, and a sentence for each path under which there is none.

    Raises:
        TypeError: a path is no path.
    """
    files: dict[Path, Path] = {}
    problems: list[str] = []
    for given in paths:
        if not isinstance(given, (str, Path)):
            raise TypeError(f"{given!r} is no path: give records, log directories or glob patterns")
        try:
            found = _find(str(given), problems)
            files.update({file.resolve(): file for file in found})
        except (OSError, ValueError, RuntimeError) as error:  # too long, a null byte, a circle of links
            problems.append(f"{printable(given)} cannot be read: {error}")
    return sorted(files.values()), [*dict.fromkeys(problems)]


def _find(given: str, problems: list[str]) -> list[Path]:
    path = Path(given).expanduser()
    if path.is_dir():
        found = _in_folder(path, problems)
        if not found:
            problems.append(
                f"no {NAME} in {printable(given)} or below it: give the log directory of a run that had an "
                f"EnergyCallback and a logger, or the folder of an EnergyMonitor's"
            )
        return found
    if path.exists():
        return [path]
    if not glob.has_magic(given):
        problems.append(f"{printable(given)} does not exist: give a record ({NAME}) or the log directory of a run")
        return []
    matches = [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]  # noqa: PTH207 - absolute ones, too
    found = [file for match in matches if match.is_dir() for file in _in_folder(match, problems)]
    files = [m for m in matches if m.is_file() and m.suffix == ".json" and not _OF_A_RANK.search(m.name)]
    found += [file for file in files if file.name not in OF_A_STUDY or is_record(file)]
    if not found:
        problems.append(f"{printable(given)} matches no record and no folder with one: check the pattern")
    return found


def _in_folder(folder: Path, problems: list[str]) -> list[Path]:
    def cannot(error: OSError) -> None:
        problems.append(f"{printable(error.filename)} cannot be read: {error.strerror}; its records are left out")

    return [Path(root, NAME) for root, _, names in os.walk(folder, onerror=cannot) if NAME in names]


def short_names(files: Sequence[Path]) -> list[str]:
    """Name each file, uniquely and as shortly as its path allows.

    A name is the one part of the path that differs between all runs, if there is one (of several, one that is no mere
    version number); else all parts that differ.

    Args:
        files: different files.

    Example:
        >>> short_names([Path("runs/cnn/version_0/energy.json"), Path("runs/mlp/version_3/energy.json")])
        ['cnn', 'mlp']
        >>> short_names([Path("a/version_0/energy.json"), Path("a/version_1/energy.json"), Path("b/energy.json")])
        ['a/version_0', 'a/version_1', 'b']
    """
    parts = [_parts(file) for file in files]
    if len(files) == 1:
        names = ["/".join(parts[0][-2:] if _A_NUMBER.match(parts[0][-1]) else parts[0][-1:])]
    else:
        n_first = _n_shared(parts)
        rests = [p[n_first:] for p in parts]
        n_last = _n_shared([r[::-1] for r in rests])
        rests = [r[: len(r) - n_last] for r in rests]
        names = _columns(rests) if len({*map(len, rests)}) == 1 else ["/".join(r) for r in rests]
    names = [printable(name) for name in names]
    twice = Counter(names)
    return [
        n if twice[n] == 1 else f"{printable(f)} ({i + 1})" for i, (n, f) in enumerate(zip(names, files, strict=True))
    ]


def _parts(file: Path) -> tuple[str, ...]:
    file = file.absolute()
    return file.parent.parts if file.name == NAME else (*file.parent.parts, file.stem)


def _n_shared(rows: Sequence[Sequence[str]]) -> int:
    """Count the parts that all rows begin with, so that each keeps one at least."""
    same = [len({*column}) == 1 for column in zip(*rows, strict=False)]
    return next((n for n, is_same in enumerate(same[:-1]) if not is_same), max(len(same) - 1, 0))


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    columns = [column for column in zip(*rows, strict=True) if len({*column}) > 1]
    alone = [column for column in columns if len({*column}) == len(rows)]
    if alone:
        speaking = [column for column in alone if not all(map(_A_NUMBER.match, column))]
        return [*(speaking or alone)[-1]]
    return ["/".join(row) for row in (zip(*columns, strict=True) if columns else rows)]
