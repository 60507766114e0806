"""What a run leaves behind on disk: one JSON document that is whole at any moment.

Its layout is ``record.schema.json`` beside this file; ``version`` rises when the meaning of a field changes.
"""

from __future__ import annotations

import json
import math
import os
import platform
import time
from contextlib import suppress
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_energy._version import __version__
from lightning_energy.curves.energy import Energy
from lightning_energy.meters.base import BOARDS, MeterError
from lightning_energy.meters.nvml import driver_version
from lightning_energy.results.carbon import Derived
from lightning_energy.results.report import Device, Missing, Report

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "FORMAT",
    "NAME",
    "VERSION",
    "RecordError",
    "describe_machine",
    "make_record",
    "read_record",
    "report_of",
    "write_record",
]

FORMAT = "lightning-energy-record"
VERSION = 1
NAME = "energy.json"
PACKAGES = ("torch", "lightning", "pytorch-lightning", "torchmetrics", "nvidia-ml-py")
DEEPEST_BELOW = 3  # logs/name/version_0; a whole disk is not searched
NAMED_BELOW = 3
DEEPEST = 8  # hyperparameters nest; what nests deeper is told as text


class RecordError(ValueError):
    """A file is no record that can be read. The text names the file and what to do."""


def make_record(
    report: Report,
    *,
    started_unix_s: float,
    run_id: str = "",
    rank: int = 0,
    before: Energy | None = None,
    what: Mapping[str, Any] | None = None,
    where: Mapping[str, Any] | None = None,
    epochs: Sequence[Mapping[str, Any]] = (),
    sessions: Sequence[Mapping[str, Any]] = (),
    evaluations: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """A record in plain types.

    Args:
        report: the figures.
        started_unix_s: when the session began.
        run_id: tells this run, with all its sessions and ranks, from others.
        rank: the rank whose record it is: 0 for the run's, others where each keeps its own.
        before: what was spent before this session, all ranks together.
        what: what was trained.
        where: the machine; by default this one.
        epochs: one row per epoch.
        sessions: one row per earlier session of the run, and one of this one when it has ended.
        evaluations: one row per validation, test or prediction outside of ``fit``.
    """
    return {
        "format": FORMAT,
        "version": VERSION,
        "run_id": run_id,
        "outcome": report.outcome,
        "started_unix_s": started_unix_s,
        "updated_unix_s": time.time(),
        "what": plain({**what} if what else {}),
        "where": {**where} if where else describe_machine(report),
        "rank": rank,
        "ranks": report.ranks,
        "absent_ranks": report.absent_ranks,
        "devices": [_device(d) for d in report.devices],
        "run": report.run.to_plain(),
        "stages": {stage: energy.to_plain() for stage, energy in report.stages.items()},
        "resolutions": {**report.resolutions},
        "before": before.to_plain() if before is not None and before.duration_s > 0 else None,
        "total": None if report.total is None else report.total.to_plain(),
        "steps": {"n": report.steps, "mean_j": report.step_j},
        "samples": {"n": report.samples, "mean_j": report.sample_j},
        "gaps": None if report.gaps is None else report.gaps.to_plain(),
        "missing": [asdict(m) for m in report.missing],
        "above_idle_j": report.above_idle_j,
        "accuracy": None if report.accuracy is None else {"name": report.accuracy[0], "value": report.accuracy[1]},
        "score": _score(report),
        "derived": None if report.derived is None else report.derived.to_plain(),
        "epochs": plain(epochs),
        "sessions": plain(sessions),
        "evaluations": plain(evaluations),
        "notes": [*report.notes],
    }


def report_of(record: Mapping[str, Any]) -> Report:
    """The report that a record was made of."""
    accuracy, score = record["accuracy"], record["score"]
    return Report(
        outcome=record["outcome"],
        stages={stage: Energy.from_plain(row) for stage, row in record["stages"].items()},
        run=Energy.from_plain(record["run"]),
        total=None if record["total"] is None else Energy.from_plain(record["total"]),
        sessions=len(record["sessions"]),
        devices=[Device(**{**d, "energy": Energy.from_plain(d["energy"])}) for d in record["devices"]],
        ranks=record["ranks"],
        resolutions=record["resolutions"],
        steps=record["steps"]["n"],
        step_j=record["steps"]["mean_j"],
        samples=record["samples"]["n"],
        sample_j=record["samples"]["mean_j"],
        gaps=None if record["gaps"] is None else Energy.from_plain(record["gaps"]),
        missing=[Missing(**row) for row in record["missing"]],
        absent_ranks=record["absent_ranks"],
        above_idle_j=record["above_idle_j"],
        accuracy=None if accuracy is None else (accuracy["name"], accuracy["value"]),
        score=None if score is None else score["value"],
        score_kwh=None if score is None else score["energy_kwh"],
        score_name="" if score is None else score["formula"],
        derived=None if record["derived"] is None else Derived.from_plain(record["derived"]),
        notes=record["notes"],
    )


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record so that whoever reads it at any moment finds the old one or the new one, whole.

    Raises:
        OSError: it cannot be written; the old one stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        new.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        new.replace(path)
    except BaseException:
        with suppress(OSError):
            new.unlink()
        raise


def read_record(path: Path | str) -> dict[str, Any]:
    """Read a record.

    Args:
        path: the file, or the folder of the run that it lies in.

    Raises:
        RecordError: there is none, or it is not one, or of a newer version.
    """
    path = Path(path)
    file = path / NAME if path.is_dir() else path
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RecordError(f"{file} does not exist: {_instead(path)}") from error
    except UnicodeDecodeError as error:
        raise RecordError(
            f"{file} is no text file, so no record: give a record or the log directory of a run"
        ) from error
    except OSError as error:
        raise RecordError(f"{file} cannot be read: {error}") from error
    except ValueError as error:
        raise RecordError(f"{file} is no JSON, or only the beginning of one: {error}") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise RecordError(f"{file} is not a record of lightning-energy (no format={FORMAT!r})")
    version = record.get("version")
    if not isinstance(version, int) or version > VERSION:
        raise RecordError(f"{file} has version {version!r}, this lightning-energy knows {VERSION}: upgrade it")
    try:
        report_of(record)
    except (KeyError, TypeError, AttributeError) as error:
        raise RecordError(f"{file} is damaged ({type(error).__name__}: {error}): take a copy of it") from error
    return record


def _instead(folder: Path) -> str:
    """What to give instead of a folder that holds no record: folders below it that do, of the first depth with any."""
    for depth in range(1, DEEPEST_BELOW + 1):
        found = [str(file.parent) for file in sorted(folder.glob("*/" * depth + NAME))]
        if found:
            more = f" (or one of {len(found) - NAMED_BELOW} more)" if len(found) > NAMED_BELOW else ""
            return f"records lie below it, try {' or '.join(found[:NAMED_BELOW])}{more}"
    return "give a record or the log directory of a run"


def describe_machine(report: Report) -> dict[str, Any]:
    """Hardware and software that a report's figures come from, without names of hosts or users."""
    driver = None
    if any(d.scope in BOARDS for d in report.devices):
        with suppress(MeterError):
            driver = driver_version()
    versions = {"lightning-energy": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return {
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "cpu": _cpu_name(),
        "cpu_threads": os.cpu_count(),
        "nvidia_driver": driver,
        "versions": versions,
    }


def plain(value: Any, depth: int = 0) -> Any:
    """``value`` in JSON's types; what has none is told as text, NaN and infinities too."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if depth < DEEPEST:
        if hasattr(value, "items"):
            return {str(k): plain(v, depth + 1) for k, v in value.items()}
        if isinstance(value, (list, tuple, set, frozenset)):
            return [plain(v, depth + 1) for v in value]
    return str(value)


def _score(report: Report) -> dict[str, Any] | None:
    if report.score is None:
        return None
    return {"value": report.score, "formula": report.score_name, "energy_kwh": report.score_kwh}


def _device(device: Device) -> dict[str, Any]:
    return {
        "name": device.name,
        "device_id": device.device_id,
        "scope": device.scope,
        "energy": device.energy.to_plain(),
        "period_s": device.period_s,
        "note": device.note,
        "rank": device.rank,
    }


def _cpu_name() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"
