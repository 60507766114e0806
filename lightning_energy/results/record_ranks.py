"""A run of several ranks that did not end well: rank zero's record, together with what the other ranks left.

While a run goes on, each other rank keeps a record of its own beside rank zero's, ``energy.rank1.json`` and so on. When
the run completes, rank zero's record has everything, and the others are removed.
"""

from __future__ import annotations

import glob
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_energy.curves.energy import Energy
from lightning_energy.results.carbon import Derived
from lightning_energy.results.record import NAME, RecordError, read_record
from lightning_energy.results.report import per_sample_j

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["merge_ranks", "rank_file", "rank_files", "read_run"]

INCOMPLETE = "Incomplete: "
CLOCKS_S = 60.0  # ranks begin together, by clocks that differ by less; what is older is of an earlier session


def rank_file(path: Path, rank: int) -> Path:
    """Where a rank keeps its own record, beside rank zero's."""
    return path.with_name(f"{path.stem}.rank{rank}{path.suffix}")


def rank_files(path: Path) -> list[Path]:
    """The records of other ranks beside rank zero's."""
    return sorted(path.parent.glob(f"{glob.escape(path.stem)}.rank*{glob.escape(path.suffix)}"))


def read_run(path: str | Path) -> dict[str, Any]:
    """Read a run's record; where it lacks other ranks, with what they left beside it.

    Args:
        path: the file, or the folder it lies in.

    Raises:
        RecordError: there is none, or it is not one, or of a newer version.
    """
    path = Path(path)
    record = read_record(path)
    if record["absent_ranks"] == 0 or record["rank"]:
        return record
    others = []
    for file in rank_files(path / NAME if path.is_dir() else path):
        with suppress(RecordError):
            others.append(read_record(file))
    since_s = record["started_unix_s"] - CLOCKS_S
    return merge_ranks(
        record, [o for o in others if o["run_id"] == record["run_id"] and o["started_unix_s"] >= since_s]
    )


def merge_ranks(record: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One record of what rank zero and other ranks know, each of itself.

    Time that a rank did not write about any more is missing, and so is all the time of a rank that left nothing.

    Args:
        record: rank zero's; of itself alone.
        others: those of other ranks, of the same session.
    """
    absent = max(record["absent_ranks"] - len(others), 0)
    run = _merged(record, [r["run"] for r in (record, *others)], others, absent)
    stages = [*dict.fromkeys(stage for r in (record, *others) for stage in r["stages"])]
    n = [r["samples"]["n"] for r in (record, *others)]
    what = record["what"]  # of ranks that share their batches it does not say which
    shares = what.get("data_parallel_replicas", 1) != what.get("devices", 1)
    samples = None if absent or shares or None in n else sum(n)
    by_stage = {s: _sum([r["stages"][s] for r in (record, *others) if s in r["stages"]]) for s in stages}
    mean_j = per_sample_j(by_stage.get("train"), samples) if run.missing_s == 0 else None
    total = None if record["total"] is None else _total(record, run)
    derived = None if record["derived"] is None else Derived.from_plain(record["derived"]).of(total or run)
    gaps = [r["gaps"] for r in (record, *others) if r["gaps"] is not None]
    return {
        **record,
        "ranks": 1 + len(others),
        "absent_ranks": absent,
        "devices": [d for r in (record, *others) for d in r["devices"]],
        "run": run.to_plain(),
        "stages": {stage: energy.to_plain() for stage, energy in by_stage.items()},
        "total": None if total is None else total.to_plain(),
        "derived": None if derived is None else derived.to_plain(),
        "sessions": _sessions(record, run),
        "above_idle_j": _above_idle_j([record, *others], absent),
        "samples": {"n": samples, "mean_j": mean_j},
        "gaps": _sum(gaps).to_plain() if gaps else None,
        "missing": [m for r in (record, *others) for m in r["missing"]],
        "notes": _notes(record, others, absent),
    }


def _sum(rows: Sequence[Mapping[str, Any]]) -> Energy:
    """Over ranks: as a reduction does it, missing time adds up."""
    parts = [Energy.from_plain(row) for row in rows]
    return replace(Energy.total(parts), missing_s=sum(p.missing_s for p in parts))


def _merged(
    record: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], others: Sequence[Mapping[str, Any]], absent: int
) -> Energy:
    total = _sum(rows)
    silent_s = sum(
        max(record["updated_unix_s"] - o["updated_unix_s"], 0.0) for o in others if o["outcome"] == "running"
    )
    return replace(total, missing_s=total.missing_s + silent_s + absent * record["run"]["duration_s"])


def _above_idle_j(records: Sequence[Mapping[str, Any]], absent: int) -> float | None:
    above_j = [r["above_idle_j"] for r in records]
    return None if absent or None in above_j else sum(above_j)


def _total(record: Mapping[str, Any], run: Energy) -> Energy:
    return run if record["before"] is None else Energy.sequence([Energy.from_plain(record["before"]), run])


def _sessions(record: Mapping[str, Any], run: Energy) -> list[dict[str, Any]]:
    """Where this session has ended it has a row, of rank zero alone."""
    rows = [*record["sessions"]]
    if rows and rows[-1]["started_unix_s"] >= record["started_unix_s"]:
        rows[-1] = {**rows[-1], **run.to_plain()}
    return rows


def _notes(record: Mapping[str, Any], others: Sequence[Mapping[str, Any]], absent: int) -> list[str]:
    notes = [n for r in (record, *others) for n in r["notes"] if not n.startswith(INCOMPLETE)]
    if others:
        ranks = ", ".join(str(r["rank"]) for r in (record, *others))
        notes.insert(0, f"Put together from the records of ranks {ranks}, as the run did not complete")
    if absent:
        notes.insert(0, f"{INCOMPLETE}{absent} rank(s) left no record; what they spent is missing")
    return [*dict.fromkeys(notes)]
