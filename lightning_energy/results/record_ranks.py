"""A run of several ranks that did not end well: rank zero's record, together with those that the other ranks left.

While a run goes on, each other rank keeps a record of its own beside rank zero's, ``energy.rank1.json`` and so on. When
the run completes, rank zero's record has everything, and the others are removed.
"""

from __future__ import annotations

import glob
import re
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_energy.curves.energy import Energy
from lightning_energy.ledger.phases import PhaseEnergy
from lightning_energy.results.figures import Spread
from lightning_energy.results.notes import Note
from lightning_energy.results.own_files import is_record
from lightning_energy.results.per_sample import per_sample_j
from lightning_energy.results.read import RecordError, read_record
from lightning_energy.results.record import NAME, Record, Samples

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_energy.results.rows import SessionRow

__all__ = ["load_record", "merge_ranks", "rank_file", "rank_files"]

CLOCKS_S = 60.0  # more than the ranks' clocks differ; any record older by this is of an earlier session


def rank_file(path: Path, rank: int) -> Path:
    """The place of a rank's own record, beside rank zero's."""
    return path.with_name(f"{path.stem}.rank{rank}{path.suffix}")


def rank_files(path: Path) -> list[Path]:
    """The records of other ranks beside rank zero's. Others' files may be called ``energy.rankings.json``."""
    name = re.compile(rf"{re.escape(path.stem)}\.rank\d+{re.escape(path.suffix)}")
    found = path.parent.glob(f"{glob.escape(path.stem)}.rank*{glob.escape(path.suffix)}")
    return sorted(file for file in found if name.fullmatch(file.name) and is_record(file))


def load_record(path: str | Path) -> Record:
    """Read the record of a run, of this version or an older one.

    A run of several ranks that did not complete leaves one record for each of them; they are put together.

    Args:
        path: the file ``energy.json``, or the folder that it lies in.

    Returns:
        The record; its :attr:`~lightning_energy.results.record.Record.report` is the report of the run.

    Raises:
        RecordError: there is no record, or it is damaged, or of a newer version. The text names the file and a remedy.
    """
    path = Path(path)
    record = read_record(path)
    if record.absent_ranks == 0 or record.rank:
        return record
    others = []
    for file in rank_files(path / NAME if path.is_dir() else path):
        with suppress(RecordError):
            others.append(read_record(file))
    since_s = record.started_unix_s - CLOCKS_S
    return merge_ranks(record, [o for o in others if o.run_id == record.run_id and o.started_unix_s >= since_s])


def merge_ranks(record: Record, others: Sequence[Record]) -> Record:
    """One record of the energies that rank zero and other ranks know, each of itself.

    The time after a rank's last record is missing, and so is all the time of a rank that left nothing.

    Args:
        record: rank zero's; of itself alone.
        others: those of other ranks, of the same session.
    """
    all_ = [record, *others]
    absent = max(record.absent_ranks - len(others), 0)
    session = _merged(record, others, absent)
    stages = [*dict.fromkeys(stage for r in all_ for stage in r.stages)]
    by_stage = {s: _sum([r.stages[s] for r in all_ if s in r.stages]) for s in stages}
    samples = _samples(record, others, absent)
    total = None if record.total is None else _total(record, session)
    gaps = [r.gaps for r in all_ if r.gaps is not None]
    return replace(
        record,
        ranks=1 + len(others),
        absent_ranks=absent,
        devices=[d for r in all_ for d in r.devices],
        session=session,
        stages=by_stage,
        total=total,
        derived=None if record.derived is None else record.derived.of(total or session),
        sessions=_sessions(record, session),
        above_idle_j=_above_idle_j(all_, absent),
        above_idle_u=_above_idle_u(all_, absent),
        samples=_of_samples(by_stage.get("train"), samples, session),
        gaps=_sum(gaps) if gaps else None,
        phases={s: found for s in stages if (found := _phases(s, all_))},
        phases_by_rank=_phases_by_rank(all_, absent),
        missing=[m for r in all_ for m in r.missing],
        notes=_notes(record, others, absent),
        units=_units(record, others, absent),
        n_val=_number(record, [r.n_val for r in all_], absent),
        n_test=_number(record, [r.n_test for r in all_], absent),
    )


def _sum(parts: Sequence[Energy]) -> Energy:
    """The sum over ranks, in which missing time adds up as in a reduction."""
    return replace(Energy.total(parts), missing_s=sum(p.missing_s for p in parts))


def _phases(stage: str, records: Sequence[Record]) -> list[PhaseEnergy]:
    """The phases of a stage on all ranks that had it; none where one did not divide it: they would not be the stage."""
    parts = [r.phases.get(stage, ()) for r in records if stage in r.stages]
    if not all(parts):
        return []
    names = dict.fromkeys(phase.name for part in parts for phase in part)
    of_names = [[phase for part in parts for phase in part if phase.name == name] for name in names]
    return [PhaseEnergy.together(same, _sum([phase.energy for phase in same])) for same in of_names]


def _phases_by_rank(records: Sequence[Record], absent: int) -> list[Sequence[PhaseEnergy]]:
    """The phases of training of each rank; nothing where some are not here, or train undivided."""
    found = [r.phases.get("train", ()) for r in records]
    return found if not absent and len(found) > 1 and all(found) else []


def _merged(record: Record, others: Sequence[Record], absent: int) -> Energy:
    total = _sum([r.session for r in (record, *others)])
    missing_s = total.missing_s + _silent_s(record, others) + absent * record.session.duration_s
    return replace(total, missing_s=missing_s)


def _silent_s(record: Record, others: Sequence[Record]) -> float:
    """Seconds of other ranks between their last record and rank zero's."""
    return sum(max(record.updated_unix_s - o.updated_unix_s, 0.0) for o in others if o.outcome == "running")


def _samples(record: Record, others: Sequence[Record], absent: int) -> int | None:
    """Samples of all ranks that were trained on."""
    return _number(record, [r.samples.n for r in (record, *others)], absent)


def _units(record: Record, others: Sequence[Record], absent: int) -> dict[str, dict[str, int | None]]:
    """Numbers of all ranks by stage and unit; a rank that counts, but not in this stage, had none of its batches.

    Since the last record of a rank they are not known.
    """
    is_silent = _silent_s(record, others) > 0
    all_ = [r.units for r in (record, *others)]
    places = dict.fromkeys((stage, unit) for units in all_ for stage, row in units.items() for unit in row)
    found: dict[str, dict[str, int | None]] = {}
    for stage, unit in places:
        of_ranks = [units.get(stage, {}).get(unit, 0) if units and not is_silent else None for units in all_]
        found.setdefault(stage, {})[unit] = _number(record, of_ranks, absent)
    return found


def _of_samples(train: Energy | None, n: int | None, session: Energy) -> Samples:
    mean_j = per_sample_j(train, n) if session.missing_s == 0 else None
    if mean_j is None or train is None or not n:
        return Samples(n, None)
    return Samples(n, mean_j, train.u_j / n, train.u_absolute_j / n)


def _number(record: Record, of_ranks: Sequence[int | None], absent: int) -> int | None:
    """The sum over ranks; ``None`` where ranks share their batches, as the record does not say which of them do."""
    shares = record.what.get("data_parallel_replicas", 1) != record.what.get("devices", 1)
    known = [n for n in of_ranks if n is not None]
    return None if absent or shares or len(known) < len(of_ranks) else sum(known)


def _above_idle_j(records: Sequence[Record], absent: int) -> float | None:
    known_j = [r.above_idle_j for r in records if r.above_idle_j is not None]
    return None if absent or len(known_j) < len(records) else sum(known_j)


def _above_idle_u(records: Sequence[Record], absent: int) -> Spread | None:
    """Linearly: idle powers are told alike on all ranks, and sensors err alike."""
    known = [r.above_idle_u for r in records if r.above_idle_u is not None]
    if absent or len(known) < len(records):
        return None
    return Spread(sum(u.u_j for u in known), sum(u.u_absolute_j for u in known))


def _total(record: Record, session: Energy) -> Energy:
    return session if record.before is None else Energy.sequence([record.before, session])


def _sessions(record: Record, session: Energy) -> list[SessionRow]:
    """The sessions; this one has a row, of rank zero alone, only if it has ended."""
    rows = [*record.sessions]
    if rows and rows[-1].started_unix_s >= record.started_unix_s:
        rows[-1] = replace(rows[-1], energy=session, between=None)
    return rows


def _notes(record: Record, others: Sequence[Record], absent: int) -> list[Note]:
    notes = [n for r in (record, *others) for n in r.notes if n.kind != "incomplete"]
    if others:
        ranks = ", ".join(str(r.rank) for r in (record, *others))
        text = f"Put together from the records of ranks {ranks}, as the run did not complete"
        notes.insert(0, Note("merged_ranks", text))
    if absent:
        text = f"Incomplete: {absent} rank(s) left no record; their energy is missing"
        notes.insert(0, Note("incomplete", text))
    return [*dict.fromkeys(notes)]
