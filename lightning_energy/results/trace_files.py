"""The trace of a run on disk: ``energy.curve`` and ``energy.steps`` beside its record, whole after every write."""

from __future__ import annotations

import csv
import gzip
import io
import math
import re
import zlib
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np

from lightning_energy.results.plain import cell

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from lightning_energy.ledger.trace import Columns

__all__ = ["StepRow", "TraceFiles", "TraceFormat", "check_trace", "read_curve", "read_steps"]

TraceFormat = Literal["csv", "parquet"]
TABLES = ("curve", "steps")
UNREADABLE = (OSError, EOFError, ValueError, KeyError, TypeError, zlib.error, ModuleNotFoundError)
"""Errors of files that are damaged, foreign, or of a format whose package is missing."""
PART = re.compile(r"\.?part-\d{6}(\.parquet)?")
SHORT_LINE = 1000  # letters that are read of a line
NANOSECONDS = 9  # digits behind the point


def check_trace(trace: Any) -> TraceFormat | None:
    """The format, if it is one that can be written here.

    Raises:
        ValueError: there is no such format.
        ModuleNotFoundError: the extra that writes it is missing.
    """
    if trace is None:
        return None
    if trace not in get_args(TraceFormat):
        raise ValueError(f"trace={trace!r}: give 'csv' (compressed by gzip), 'parquet', or None")
    if trace == "parquet":
        _parquet()
    return trace  # type: ignore[no-any-return]  # one of the literals


class TraceFiles:
    """Appends rows to the two tables of a run.

    ``csv`` makes ``energy.curve.csv.gz`` and ``energy.steps.csv.gz``, which :func:`pandas.read_csv` reads; ``parquet``
    makes folders ``energy.curve.parquet`` and ``energy.steps.parquet`` of one file per write, which
    :func:`pandas.read_parquet` reads.

    Args:
        record: the record that they lie beside, of this rank.
        trace: their format.
    """

    def __init__(self, record: Path, trace: TraceFormat) -> None:
        self._suffix = {"csv": "csv.gz", "parquet": "parquet"}[trace]
        self.paths = self._beside(record)
        self._append = _append_csv if trace == "csv" else _append_parquet

    def remove(self) -> None:
        """Remove the files that lie there, of a run whose record is gone.

        Raises:
            OSError: one cannot be removed, or is none of ours.
        """
        for path in self._ours():
            if path.is_dir():
                for part in path.iterdir():
                    part.unlink()
                path.rmdir()
            else:
                path.unlink()

    def keep(self, record: Path) -> None:
        """Give the files of another run the names that go with the new name of its record.

        Raises:
            OSError: one cannot be moved, or is none of ours.
        """
        places = self._beside(record)
        for path in self._ours():
            path.rename(next(places[table] for table in TABLES if self.paths[table] == path))

    def _beside(self, record: Path) -> dict[str, Path]:
        return {table: record.with_name(f"{record.stem}.{table}.{self._suffix}") for table in TABLES}

    def _ours(self) -> list[Path]:
        """The files and folders that are there.

        Raises:
            FileExistsError: one is none of ours.
        """
        found = [path for path in self.paths.values() if path.exists() or path.is_symlink()]
        for path in found:
            if not (_is_parquet(path) if path.suffix == ".parquet" else _is_csv(path)):
                raise FileExistsError(f"{path} is no trace of lightning-energy, and stays as it is")
        return found

    def write(self, session: int, curve: Columns, steps: Columns) -> None:
        """Append the rows that became known.

        Args:
            session: the number of the session in its run; it stands in the first column.
            curve: see :meth:`~lightning_energy.ledger.trace.Trace.take_curve`.
            steps: see :meth:`~lightning_energy.ledger.trace.Trace.take_steps`.

        Raises:
            OSError: they cannot be written.
        """
        for table, columns in zip(TABLES, (curve, steps), strict=True):
            n = len(next(iter(columns.values())))
            if n:
                self.paths[table].parent.mkdir(parents=True, exist_ok=True)
                self._append(self.paths[table], {"session": np.full(n, session), **columns})


def read_curve(record: Path) -> dict[tuple[int, str], tuple[NDArray[Any], NDArray[Any], NDArray[Any]]]:
    """The points of curves that lie beside a record, in either format; nothing where there is none that can be read.

    Args:
        record: the file of the record.

    Returns:
        By the number of a session and the identity of a device the seconds since the session began, the joules, and
        true where the stretch that ends there is missing; two points at least, by rising time.
    """
    rows: dict[tuple[int, str], list[tuple[float, float, bool]]] = {}
    try:
        for r in _rows(record, "curve"):
            point = float(r["time_s"]), float(r["energy_j"]), r["quality"] == "missing"
            rows.setdefault((int(r["session"]), r["device_id"]), []).append(point)
    except UNREADABLE:
        return {}
    found = {}
    for key, points in rows.items():
        time_s, energy_j, is_missing = (np.array(column) for column in zip(*points, strict=True))
        if len(time_s) > 1 and (np.diff(time_s) > 0).all():
            found[key] = time_s, energy_j, is_missing
    return found


class StepRow(NamedTuple):
    """The time of a step, of a gap between steps, or of a phase of one; a row of ``energy.steps``.

    Attributes:
        epoch: its epoch; -1 outside of epochs.
        stage: its stage.
        kind: ``step`` or ``gap``.
        phase: its phase; empty where the run did not divide its steps.
        number: how often the same began before in its epoch.
        start_s: its beginning in seconds since the session began.
        duration_s: its seconds.
    """

    epoch: int
    stage: str
    kind: str
    phase: str
    number: int
    start_s: float
    duration_s: float


def read_steps(record: Path) -> dict[int, list[StepRow]]:
    """The steps and phases that lie beside a record, in either format; nothing where there is none that can be read.

    Args:
        record: the file of the record.

    Returns:
        Rows by the number of the session, in the order of time.
    """
    found: dict[int, list[StepRow]] = {}
    try:
        for r in _rows(record, "steps"):
            start_s, duration_s = float(r["start_s"]), float(r["duration_s"])
            if math.isfinite(start_s) and math.isfinite(duration_s):
                names = (r["stage"] or "", r["kind"] or "", r.get("phase") or "")
                row = StepRow(int(r["epoch"]), *names, int(r["number"]), start_s, duration_s)
                found.setdefault(int(r["session"]), []).append(row)
    except UNREADABLE:
        return {}
    return {session: sorted(rows, key=lambda row: row.start_s) for session, rows in found.items()}


def _rows(record: Path, table: str) -> Iterator[dict[str, Any]]:
    file = record.with_name(f"{record.stem}.{table}.csv.gz")
    if file.is_file():
        with gzip.open(file, "rt", encoding="utf-8", newline="") as text:
            yield from csv.DictReader(text)
    folder = record.with_name(f"{record.stem}.{table}.parquet")
    if not file.is_file() and folder.is_dir() and _is_parquet(folder):
        _, parquet = _parquet()
        for part in sorted(folder.glob("part-*.parquet")):
            yield from parquet.read_table(part).to_pylist()


def _is_csv(path: Path) -> bool:
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            return file.readline(SHORT_LINE).startswith("session,")
    except (OSError, EOFError, ValueError, zlib.error):
        return False


def _is_parquet(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink() and all(PART.fullmatch(part.name) for part in path.iterdir())


def _append_csv(path: Path, columns: Columns) -> None:
    """A gzip file may consist of several members: each call adds a whole one, or none."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    n, names = len(next(iter(columns.values()))), [*columns]
    if path.exists():  # of an earlier session, which may have divided steps into phases, or not
        with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
            names = next(csv.reader(file))
    else:
        writer.writerow(names)
    known = {name: values.tolist() for name, values in columns.items()}
    writer.writerows(zip(*(_texts(name, known.get(name, [""] * n)) for name in names), strict=True))
    member = memoryview(gzip.compress(text.getvalue().encode()))
    with path.open("ab", buffering=0) as file:
        end = file.tell()
        try:
            while member:
                member = member[file.write(member) :]
        except BaseException:  # a full disk, Ctrl-C: nothing behind half a member could be read
            file.truncate(end)
            raise


def _texts(name: str, values: Iterable[Any]) -> Iterable[Any]:
    if name.endswith("_s"):
        return (f"{v:.{NANOSECONDS}f}" for v in values)
    return ("" if isinstance(v, float) and math.isnan(v) else cell(v) for v in values)


def _append_parquet(path: Path, columns: Columns) -> None:
    pa, parquet = _parquet()
    path.mkdir(exist_ok=True)
    number = len([*path.glob("part-*.parquet")])
    unfinished = path / f".part-{number:06d}"
    # NaN becomes null; a column of nulls alone would have no type, and not fit to the other parts
    types = {n: pa.string() if v.dtype == object else None for n, v in columns.items()}
    table = pa.table({n: pa.array(v, types[n], from_pandas=True) for n, v in columns.items()})
    parquet.write_table(table, unfinished, compression="zstd")
    unfinished.rename(path / f"part-{number:06d}.parquet")


def _parquet() -> tuple[Any, Any]:
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra
        from pyarrow import parquet  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("trace='parquet' needs pyarrow: pip install pyarrow, or give trace='csv'") from error
    return pa, parquet
