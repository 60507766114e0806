"""Sums of the energy of many runs, by month, project or hyperparameter."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_energy.comparison.listing import some_of
from lightning_energy.comparison.once import standing_for
from lightning_energy.comparison.run_files import find_records
from lightning_energy.comparison.run_source import settings_of
from lightning_energy.curves.energy import QUALITIES, Energy
from lightning_energy.meters.units import J_PER_KWH
from lightning_energy.results.plain import printable
from lightning_energy.results.read import RecordError
from lightning_energy.results.record_ranks import load_record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from lightning_energy.results.record import Record

__all__ = ["MONTH", "NONE", "PROJECT", "Totals", "TotalsRow", "totals"]

MONTH, PROJECT = "month", "project"
NONE = "(none)"
"""The value of a hyperparameter that a run does not have."""

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

    Each run counts once, also where several records of it lie below ``paths``: then the one with the most energy.

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
    for file in files:
        try:
            records.append((file, load_record(file)))
        except RecordError as error:
            problems.append(str(error))
    kept = {id(r) for r in standing_for([r for _, r in records], lambda r: r.run_id, _spent_kwh)}
    found = [(file, record, _labels(record)) for file, record in records if id(record) in kept]
    for key in by:
        _check(key, [labels for *_, labels in found])
    sums: defaultdict[tuple[str, ...], _Sum] = defaultdict(_Sum)
    whole = _Sum()
    for file, record, labels in found:
        own = labels | {PROJECT: _project(file, paths)}
        parts = [*_parts(record)]
        for i, (since_unix_s, energy) in enumerate(parts):
            group = tuple(_month(since_unix_s) if key == MONTH else own.get(key, NONE) for key in by)
            for to in (sums[group], whole):
                to.parts.append(energy)
                to.runs += i == 0
        for to in (sums[_first(by, own, parts)], whole):
            is_known = any(energy.energy_j is not None for _, energy in parts)
            to.unknown += not is_known
            to.incomplete += is_known and _spent_more(record, parts)
    rows = tuple(sums[group].row(group) for group in sorted(sums))
    return Totals(tuple(by), rows, whole.row(("all",)), tuple(problems))


def _first(by: Sequence[str], labels: Mapping[str, str], parts: Sequence[tuple[float, Energy]]) -> tuple[str, ...]:
    return tuple(_month(parts[0][0]) if key == MONTH else labels.get(key, NONE) for key in by)


def _parts(record: Record) -> Iterator[tuple[float, Energy]]:
    """The energies of a record, each with the beginning of its time: its sessions, and evaluations outside of them."""
    whole = record.total
    if whole is not None:
        sessions = [(row.started_unix_s, row.energy) for row in record.sessions]
        if not record.has_ended:
            sessions.append((record.started_unix_s, record.session))
        sum_j = math.fsum(energy.energy_j or 0.0 for _, energy in sessions)
        alike = {energy.quality for _, energy in sessions} == {whole.quality}
        if alike and math.isclose(sum_j, whole.energy_j or 0.0, rel_tol=SPLIT):
            yield from sessions
        else:
            yield min((since for since, _ in sessions), default=record.started_unix_s), whole
    elif not record.evaluations:
        yield record.started_unix_s, record.session
    for row in record.evaluations:
        yield row.started_unix_s, Energy.sequence(row.stages.values())


def _spent_kwh(record: Record) -> float | None:
    known = [energy.energy_kwh for _, energy in _parts(record) if energy.energy_kwh is not None]
    return math.fsum(known) if known else None


def _spent_more(record: Record, parts: Iterable[tuple[float, Energy]]) -> bool:
    return (
        record.outcome == "running"
        or record.absent_ranks > 0
        or any(energy.missing_s > 0 for _, energy in parts)
        or any(note.lowers_total for note in record.notes)
    )


def _labels(record: Record) -> dict[str, str]:
    settings, seed = settings_of(record.what)
    labels = {name: printable(str(value)) for name, value in settings.items()}
    seed = record.seed if seed is None else seed
    return labels if seed is None else labels | {"seed": str(seed)}


def _check(key: str, labels: Sequence[Mapping[str, str]]) -> None:
    if key in {MONTH, PROJECT} or not labels or any(key in of for of in labels):
        return
    names = sorted({name for of in labels for name in of})
    raise ValueError(f"no run has {key!r}: give {MONTH}, {PROJECT}, or one of {some_of(names, most=12)}")


def _month(unix_s: float) -> str:
    return f"{datetime.fromtimestamp(unix_s, timezone.utc):%Y-%m}"


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
