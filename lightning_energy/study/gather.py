"""The records of a study: its runs, and apart from them warm-ups, failures and searches."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from lightning_energy.comparison.once import standing_for
from lightning_energy.comparison.run_files import find_records
from lightning_energy.curves.energy import Energy
from lightning_energy.results.read import RecordError
from lightning_energy.results.record_ranks import load_record
from lightning_energy.results.seeds import global_seed_of
from lightning_energy.study.manifest import MANIFEST, Attempt, Manifest, StudyError, is_manifest, read_manifest
from lightning_energy.study.process import TUNING, records_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lightning_energy.results.record import Record

__all__ = ["Gathered", "Spent", "Use", "gather"]

Use: TypeAlias = Literal["runs", "warm-ups", "failed", "cut off", "tuning"]


@dataclass
class Spent:
    """The energy of some trainings.

    Attributes:
        n: number of trainings.
        energy_kwh: the energy that is known of them in kWh, with tests and the like outside of ``fit``.
        unknown: number of those of which no energy is known.
        missing_s: seconds whose energy is not known.
        is_estimated: whether any of it is.
        interrupted: number of those that have a record and did not end by themselves, such as pruned trials.
        evaluated_kwh: the part of ``energy_kwh`` that validations, tests and predictions outside of ``fit`` took.
    """

    n: int = 0
    energy_kwh: float = 0.0
    unknown: int = 0
    missing_s: float = 0.0
    is_estimated: bool = False
    interrupted: int = 0
    evaluated_kwh: float = 0.0

    def add(self, records: Sequence[Record]) -> None:
        """Add a training with its records; with none its energy is unknown."""
        self.n += 1
        trained = [r.total or r.session for r in records if r.total is not None or not r.evaluations]
        evaluated = [Energy.sequence(row.stages.values()) for r in records for row in r.evaluations]
        known = [e for e in (*trained, *evaluated) if e.energy_kwh is not None]
        self.unknown += all(e.energy_kwh is None for e in trained or evaluated)
        self.energy_kwh = math.fsum([self.energy_kwh, *(e.energy_kwh or 0.0 for e in known)])
        self.evaluated_kwh = math.fsum([self.evaluated_kwh, *(e.energy_kwh or 0.0 for e in evaluated)])
        self.missing_s += sum(e.missing_s for e in known)
        self.is_estimated |= any(e.quality == "estimated" for e in known)
        self.interrupted += any(r.outcome != "completed" for r in records)

    def __add__(self, other: Spent) -> Spent:
        return Spent(
            self.n + other.n,
            self.energy_kwh + other.energy_kwh,
            self.unknown + other.unknown,
            self.missing_s + other.missing_s,
            self.is_estimated or other.is_estimated,
            self.interrupted + other.interrupted,
            self.evaluated_kwh + other.evaluated_kwh,
        )


@dataclass
class Gathered:
    """All that a report is made of.

    Attributes:
        studies: the manifests, with their folders.
        files: the records of runs, with the name of their configuration; ``None`` where no manifest tells it.
        records: the records of these runs; where no manifest tells them, of each run the one with the most energy.
        attempts: the runs that were begun and are not done, with their study's folder.
        not_begun: runs of the plans that were not begun, or are to be repeated.
        spent: energies by use.
        problems: sentences on what could not be read.
        reseeded: number of runs whose records have another seed than the plan.
        values: the metrics of the runs of each configuration of a study.
        trainings: the records of each training with its use, of which ``spent`` is made.
    """

    studies: list[tuple[Path, Manifest]] = field(default_factory=list)
    files: dict[Path, str | None] = field(default_factory=dict)
    records: list[Record] = field(default_factory=list)
    attempts: list[tuple[Path, Attempt]] = field(default_factory=list)
    not_begun: list[tuple[str, int]] = field(default_factory=list)
    spent: dict[Use, Spent] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    reseeded: int = 0
    values: dict[str, list[float]] = field(default_factory=dict)
    trainings: list[tuple[Use, Sequence[Record]]] = field(default_factory=list)

    def add(self, use: Use, records: Sequence[Record]) -> None:
        """Add a training, whose energy counts with :meth:`count`."""
        self.trainings.append((use, records))

    def count(self) -> None:
        """Sum up the energies of all trainings: each run once, also where an attempt went on with that of another."""
        fitted = [r for _, records in self.trainings for r in records if r.total is not None]
        kept = {id(record) for record in _once(fitted)}
        for use, records in self.trainings:
            own = [r for r in records if r.total is None or id(r) in kept]
            if own or not records:
                self.spent.setdefault(use, Spent()).add(own)


def gather(paths: Iterable[str | Path], tuning: Iterable[str | Path] = ()) -> Gathered:
    """Find the studies and the records that ``paths`` mean.

    Args:
        paths: folders of studies (also several parts of one), and folders or patterns of records without a manifest.
        tuning: records of searches, whose energy stands apart.

    Raises:
        StudyError: a manifest is damaged, or two parts of a study do not fit together.
    """
    found = Gathered()
    apart, problems = find_records(tuning) if tuning else ([], [])
    found.problems += problems
    loose: dict[Use, list[Record]] = {"tuning": [r for file in apart for r in _read(file, found)], "runs": []}
    taken = {file.resolve() for file in apart}
    paths = [*paths]
    of_each = [_studies(Path(given)) for given in paths]
    studies = {folder.resolve(): folder for folders in of_each for folder in folders}
    for folder in studies.values():
        _add_study(found, folder)
    for given, folders in zip(paths, of_each, strict=True):
        if not folders or any(f != Path(given) for f in folders):
            _add_records(found, given, [*studies], taken, loose)
    for use, records in loose.items():
        for record in _once(records):
            found.add(use, [record])
            found.records += [record] * (use == "runs")
    found.count()
    return found


def _studies(path: Path) -> list[Path]:
    """The folders of studies: the one that is given, and those below; another program's file of that name is none."""
    found = sorted(path.rglob(MANIFEST)) if path.is_dir() else []
    return [file.parent for file in found if file.parent == path or is_manifest(file)]


def _add_study(found: Gathered, folder: Path) -> None:
    manifest = read_manifest(folder)
    _fits(found, folder, manifest)
    found.studies.append((folder, manifest))
    for attempt in manifest.attempts:
        of_run, problems = records_of(folder / attempt.folder)
        found.problems += problems
        trials = [r for file, r in of_run if TUNING in file.relative_to(folder / attempt.folder).parts[:-1]]
        for trial in trials:
            found.add("tuning", [trial])
        records = [r for file, r in of_run if not any(r is trial for trial in trials)]
        is_run = attempt.kind == "run" and attempt.state == "done"
        if is_run:
            _add_run(found, folder / attempt.record, attempt.config)
            found.reseeded += any(global_seed_of(r) not in {None, attempt.seed} for r in records)
        else:
            use: Use = "warm-ups" if attempt.kind == "warm-up" else "failed" if attempt.state == "failed" else "cut off"
            found.add(use, records)
        if attempt.state != "done":
            found.attempts.append((folder, attempt))
    found.not_begun += [run for run in manifest.plan if manifest.state_of(*run) in {None, "broken", "running"}]


def _add_run(found: Gathered, file: Path, config: str | None) -> None:
    records = _read(file, found)
    found.add("runs", records)
    found.files[file] = config
    found.records += records
    if config is not None:
        found.values.setdefault(config, []).extend(r.metric.value for r in records if r.metric is not None)


def _fits(found: Gathered, folder: Path, manifest: Manifest) -> None:
    """Check that two parts of one study are of different configurations, and otherwise alike.

    Raises:
        StudyError: they are not.
    """
    for other_folder, other in found.studies:
        both = {*manifest.configs} & {*other.configs}
        if both:
            raise StudyError(
                f"{folder} and {other_folder} both have the configuration {min(both)!r}: report them apart, or give "
                f"each machine a part of its own (--part)"
            )


def _add_records(
    found: Gathered,
    given: str | Path,
    studies: Sequence[Path],
    taken: set[Path],
    loose: dict[Use, list[Record]],
) -> None:
    """Find records that no manifest knows: of a hand-made folder, or of a sweep."""
    files, problems = find_records([given])
    found.problems += problems
    for file in files:
        own = file.resolve()
        if own in taken or any(study in own.parents for study in studies):
            continue
        taken.add(own)
        if TUNING in file.parts[len(Path(given).parts) : -1]:
            loose["tuning"] += _read(file, found)
            continue
        records = _read(file, found)
        if not records or records[0].total is None:
            continue
        found.files[file] = None
        loose["runs"] += records


def _once(records: Iterable[Record]) -> list[Record]:
    """Keep one record of each run: of a run that was copied or went on later, the one with the most energy."""
    kept = standing_for([*records], lambda r: r.run_id, lambda r: (r.total or r.session).energy_kwh)
    return [*{id(record): record for record in kept}.values()]


def _read(file: Path, found: Gathered) -> list[Record]:
    try:
        return [load_record(file)]
    except RecordError as error:
        found.problems.append(str(error))
        return []
