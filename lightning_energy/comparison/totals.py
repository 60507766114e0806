"""Sums of the energy of many runs, by month, project or hyperparameter."""

from __future__ import annotations

import math
from collections import defaultdict
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_energy.comparison.listing import some_of
from lightning_energy.comparison.run_files import find_records
from lightning_energy.comparison.run_source import settings_of, training_seed
from lightning_energy.curves.energy import QUALITIES, Energy
from lightning_energy.meters.units import J_PER_KWH, NS
from lightning_energy.results.own_files import kept_places
from lightning_energy.results.plain import printable
from lightning_energy.results.read import RecordError
from lightning_energy.results.record_ranks import load_record
from lightning_energy.results.seeds import global_seed_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from lightning_energy.results.record import Record

__all__ = ["MONTH", "NONE", "PROJECT", "Totals", "TotalsRow", "totals"]

MONTH, PROJECT = "month", "project"
NONE = "(none)"
"""The value of a hyperparameter that a run does not have, and the month of a date that is none."""

SAME_S = 1e-3  # difference of two times of one moment, at most
SPLIT = 1e-6  # relative difference of a total and the sum of its sessions that is rounding
KNOWN = QUALITIES[:-1]


@dataclass(frozen=True)
class TotalsRow:
    """The energy of the runs of one group.

    Attributes:
        group: what the runs have in common: a value for each key.
        runs: number of runs; one that went on in another month counts in the month in which it began.
        measured_kwh: energy of the runs that hardware counters measured; ``None`` where there are none.
        measured_u_kwh: its absolute standard uncertainty (k=1): gains of sensors err alike in all runs.
        integrated_kwh: energy of runs with a power sensor among their devices, and no estimate.
        integrated_u_kwh: its uncertainty.
        estimated_kwh: energy of runs of which any part is estimated.
        estimated_u_kwh: its uncertainty.
        unknown: number of runs of which no energy is known; they are in no sum.
        incomplete: number of other runs that have spent more than their records know.
        missing_s: seconds of runs whose energy is not known and in no sum.
    """

    group: tuple[str, ...]
    runs: int
    measured_kwh: float | None
    measured_u_kwh: float | None
    integrated_kwh: float | None
    integrated_u_kwh: float | None
    estimated_kwh: float | None
    estimated_u_kwh: float | None
    unknown: int
    incomplete: int
    missing_s: float

    @property
    def known_kwh(self) -> float:
        """The energy of all qualities together."""
        return math.fsum(getattr(self, f"{quality}_kwh") or 0.0 for quality in KNOWN)

    def to_plain(self) -> dict[str, Any]:
        """The same in plain types, for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Totals:
    """Sums of energies.

    Attributes:
        by: the keys that the groups are made by.
        rows: a row per group, in the order of their names.
        whole: the row of all runs.
        problems: sentences on what could not be read.
    """

    by: tuple[str, ...]
    rows: tuple[TotalsRow, ...]
    whole: TotalsRow
    problems: tuple[str, ...]

    def to_plain(self) -> dict[str, Any]:
        """The same in plain types, for JSON."""
        return {"by": [*self.by], "rows": [row.to_plain() for row in self.rows], "whole": self.whole.to_plain()}


@dataclass
class _Sum:
    """The parts of a group."""

    runs: int = 0
    unknown: int = 0
    incomplete: int = 0

    def __post_init__(self) -> None:
        self.parts: list[Energy] = []

    def row(self, group: tuple[str, ...]) -> TotalsRow:
        sums: dict[str, float | None] = {}
        for quality in KNOWN:
            of = Energy.sequence([part for part in self.parts if part.quality == quality])
            sums[f"{quality}_kwh"] = of.energy_kwh
            sums[f"{quality}_u_kwh"] = None if of.energy_j is None else of.u_absolute_j / J_PER_KWH
        missing_s = math.fsum(part.missing_s for part in self.parts)
        return TotalsRow(
            group, self.runs, **sums, unknown=self.unknown, incomplete=self.incomplete, missing_s=missing_s
        )


def totals(paths: Iterable[str | Path], by: Sequence[str] = (PROJECT,)) -> Totals:
    """Sum up the energy of runs: of their trainings, and of validations, tests and predictions outside of them.

    Each run counts once, also where several records of it lie below ``paths``: then each of its sessions does, by the
    record that knows the most of it. Records in folders that made place for those of later runs count as well.

    Args:
        paths: records, folders that hold records at any depth, or glob patterns.
        by: the keys of a group: ``"month"`` (of UTC, in which each session began), ``"project"`` (the first folder
            below the path that was given), or the name of a hyperparameter or setting, those of nested ones joined by a
            slash, such as ``"optimizer/lr"`` or ``"module"``.

    Raises:
        ValueError: no run has a hyperparameter or setting of that name.
    """
    paths = [*paths]
    files, problems = find_records(paths)
    records: list[tuple[Path, Record]] = []
    for file in _with_kept(files, paths):
        try:
            records.append((file, load_record(file)))
        except RecordError as error:
            problems.append(str(error))
    runs = [_Run.of(of_one) for of_one in _by_run(records)]
    for key in by:
        _check(key, [run.labels for run in runs])
    sums: defaultdict[tuple[str, ...], _Sum] = defaultdict(_Sum)
    whole = _Sum()
    for run in runs:
        own = run.labels | {PROJECT: _project(run.file, paths)}
        groups = [
            tuple(_month(since_unix_s) if key == MONTH else own.get(key, NONE) for key in by)
            for since_unix_s, _ in run.parts
        ]
        for group, (_, energy) in zip(groups, run.parts, strict=True):
            for to in (sums[group], whole):
                to.parts.append(energy)
        for to in (sums[groups[0]], whole):
            to.runs += 1
            to.unknown += not run.is_known
            to.incomplete += run.is_known and run.has_spent_more
    rows = tuple(sums[group].row(group) for group in sorted(sums))
    return Totals(tuple(by), rows, whole.row(("all",)), tuple(problems))


@dataclass(frozen=True)
class _Run:
    """A run by all of its records.

    Attributes:
        file: the record that stands for it: the one with the most energy.
        labels: its hyperparameters and settings.
        parts: its energies, each with the beginning of its time: sessions, and evaluations outside of them.
        has_spent_more: true where it has spent more than its records know.
    """

    file: Path
    labels: dict[str, str]
    parts: tuple[_Part, ...]
    has_spent_more: bool

    @classmethod
    def of(cls, records: Sequence[tuple[Path, Record]]) -> _Run:
        """The run that these records are of."""
        file, standing = max(records, key=lambda pair: _spent_kwh(pair[1]))
        heard = [standing]
        trained = None
        if len(records) > 1:
            trained, heard = _sessions_of_all([record for _, record in records])
        if trained is None:
            trained, heard = _trained(standing), [standing]
        tests: dict[tuple[float, int], Energy] = {}
        for _, record in records:
            tests |= _evaluated(record)
        parts = (*trained, *((since_unix_s, energy) for (since_unix_s, _), energy in tests.items()))
        return cls(file, _labels(standing), parts, any(_spent_more(record) for record in heard) or _is_missing(parts))

    @property
    def is_known(self) -> bool:
        """True where some energy of it is known."""
        return any(energy.energy_j is not None for _, energy in self.parts)


_Part = tuple[float, Energy]


def _by_run(records: Sequence[tuple[Path, Record]]) -> list[list[tuple[Path, Record]]]:
    """The records of each run: of one that was copied, went on elsewhere, or more than once from one checkpoint."""
    runs: dict[object, list[tuple[Path, Record]]] = {}
    for file, record in records:
        key = record.run_id or (record.started_unix_s, _spent_kwh(record))  # a test alone has no id
        runs.setdefault(key, []).append((file, record))
    return [[pair for pair in of_one if pair[1].rank == 0] or of_one for of_one in runs.values()]


def _sessions_of_all(records: Sequence[Record]) -> tuple[list[_Part] | None, list[Record]]:
    """Each session once, by the record that knows the most of it; the records that do so.

    Returns:
        ``None`` in place of the sessions where a record does not tell them apart.
    """
    rows_s = {row.started_unix_s for record in records for row in record.sessions}
    found: dict[float, tuple[Energy, Record]] = {}
    for record in records:
        sessions = _sessions(record)
        if sessions is None:
            return None, []
        for started_unix_s, energy in sessions:
            since_s = started_unix_s
            if energy is record.session and not record.has_ended:
                since_s = min(filter(_may_be_that_of(record), rows_s), default=started_unix_s)
            if since_s not in found or _joules(energy) > _joules(found[since_s][0]):
                found[since_s] = energy, record
    parts = [(since_s, energy) for since_s, (energy, _) in sorted(found.items(), key=lambda item: item[0])]
    heard = [record for _, record in found.values()]
    if len({energy.quality for _, energy in parts}) > 1:
        return [(parts[0][0], Energy.sequence([energy for _, energy in parts]))], heard
    return parts, heard


def _may_be_that_of(record: Record) -> Callable[[float], bool]:
    """A function that is true for the beginning of a session which may be that of a record that does not list it.

    The clock of its power knows when that began; else it did so between the record's beginning and its last writing.
    """
    clocks = [d.power.clock for d in record.devices if d.power is not None and d.rank == record.rank]
    low_s, high_s = record.started_unix_s, record.updated_unix_s
    if clocks:
        began_s = clocks[0][0].unix_ns * NS
        low_s, high_s = began_s - SAME_S, began_s + SAME_S
    return lambda since_s: low_s <= since_s <= high_s


def _joules(energy: Energy) -> float:
    return -1.0 if energy.energy_j is None else energy.energy_j


def _sessions(record: Record) -> list[_Part] | None:
    """The energies of the sessions of a training; ``None`` where their sum is not its total."""
    if record.total is None:
        return [] if record.evaluations else [(record.started_unix_s, record.session)]
    sessions = [(row.started_unix_s, row.energy) for row in record.sessions]
    if not record.has_ended:
        sessions.append((record.started_unix_s, record.session))
    sum_j = math.fsum(energy.energy_j or 0.0 for _, energy in sessions)
    return sessions if math.isclose(sum_j, record.total.energy_j or 0.0, rel_tol=SPLIT) else None


def _trained(record: Record) -> list[_Part]:
    """The energies of a training by its sessions; in one where these are of several kinds."""
    sessions, whole = _sessions(record), record.total
    if whole is None or (sessions and {energy.quality for _, energy in sessions} == {whole.quality}):
        return sessions or []
    since_s = (row.started_unix_s for row in record.sessions)
    return [(min(since_s, default=record.started_unix_s), whole)]


def _evaluated(record: Record) -> dict[tuple[float, int], Energy]:
    """The energies of evaluations outside of a training, by their beginning and their number among those of it."""
    found: dict[tuple[float, int], Energy] = {}
    for row in record.evaluations:
        number = sum(since_s == row.started_unix_s for since_s, _ in found)
        found[row.started_unix_s, number] = Energy.sequence(row.stages.values())
    return found


def _spent_kwh(record: Record) -> float:
    parts = [*(energy for _, energy in _trained(record)), *_evaluated(record).values()]
    known = [energy.energy_kwh for energy in parts if energy.energy_kwh is not None]
    return math.fsum(known) if known else -1.0


def _is_missing(parts: Iterable[_Part]) -> bool:
    return any(energy.missing_s > 0 for _, energy in parts)


def _spent_more(record: Record) -> bool:
    return record.outcome == "running" or record.absent_ranks > 0 or any(note.lowers_total for note in record.notes)


def _with_kept(files: Sequence[Path], paths: Iterable[str | Path]) -> list[Path]:
    """The files, and beside those in folders the records of earlier runs, which made place for them."""
    given = {Path(path).expanduser().resolve() for path in paths}
    found = {}
    for file in files:
        kept = [] if file.resolve() in given else kept_places(file)
        found.update({place.resolve(): place for place in (file, *kept)})
    return [*found.values()]


def _labels(record: Record) -> dict[str, str]:
    settings, own = settings_of(record.what)
    labels = {name: printable(str(value)) for name, value in settings.items()}
    of_run = training_seed(global_seed_of(record), own)
    return labels | ({} if of_run is None else {"seed": str(of_run)}) | {name: str(seed) for name, seed in own.items()}


def _check(key: str, labels: Sequence[Mapping[str, str]]) -> None:
    if key in {MONTH, PROJECT} or not labels or any(key in of for of in labels):
        return
    names = sorted({name for of in labels for name in of})
    raise ValueError(f"no run has {key!r}: give {MONTH}, {PROJECT}, or one of {some_of(names, most=12)}")


def _month(unix_s: float) -> str:
    with suppress(ValueError, OverflowError, OSError):  # no date that there is
        return f"{datetime.fromtimestamp(unix_s, timezone.utc):%Y-%m}"
    return NONE


def _project(file: Path, paths: Sequence[str | Path]) -> str:
    """The first folder below the path that was given; the run's own folder where that was a pattern or a record."""
    folder = file.resolve().parent
    given = [
        place for path in paths if (place := Path(path).expanduser()).is_dir() and place.resolve() in folder.parents
    ]
    if not given:
        return printable(folder.name)
    nearest = max(given, key=lambda place: len(place.resolve().parts))
    first = folder.relative_to(nearest.resolve()).parts[0]
    return printable(first if len(paths) == 1 else f"{nearest.name}/{first}")
