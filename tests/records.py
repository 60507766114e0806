"""Records of runs that nobody trained, made and written by the package's own code."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lightning_energy import Energy, Report
from lightning_energy.results.figures import Device
from lightning_energy.results.machine import Machine
from lightning_energy.results.record import NAME, Record, make_record
from lightning_energy.results.rows import EpochRow
from lightning_energy.results.write import write_record
from lightning_energy.scores.metric import Metric, Mode, Scale

if TYPE_CHECKING:
    from pathlib import Path

WHERE = Machine("Linux 6.1", "x86_64", "AMD EPYC 7742", 64, "550.54", {})


def energy(kwh: float | None, *, u: float = 0.001, u_absolute: float = 0.05, **more: Any) -> Energy:
    """Energy of an hour; uncertainties are relative."""
    joules = None if kwh is None else kwh * 3.6e6
    row = {
        "energy_j": joules,
        "u_j": u * (joules or 0.0),
        "u_absolute_j": u_absolute * (joules or 0.0),
        "duration_s": 3600.0,
        "missing_s": 0.0,
        "quality": "missing" if kwh is None else "measured",
        "power_w": None if joules is None else joules / 3600,
    }
    return Energy(**(row | more))


def record(
    kwh: float | None = 1.0,
    accuracy: float | None = 0.9,
    *,
    name: str = "val_acc",
    mode: Mode = "max",
    scale: Scale = "fraction",
    device: str = "GPU-1",
    board: str = "NVIDIA A100",
    scopes: tuple[str, ...] = ("gpu",),
    reference_kwh: float = 1.0,
    epochs: tuple[float | None, ...] = (),
    epochs_kwh: tuple[float | None, ...] = (),
    where: dict[str, Any] | None = None,
    what: dict[str, Any] | None = None,
    run_id: str = "",
    rank: int = 0,
    spent: dict[str, Any] | None = None,
    seed: int | None = None,
    global_seed: int | None = None,
    **report: Any,
) -> Record:
    total = energy(kwh, **(spent or {}))
    formula = f"energy_penalized_accuracy(alpha=5, beta=5, reference_kwh={reference_kwh:g})"
    settings = {
        "outcome": "completed",
        "stages": {"train": total},
        "session": total,
        "total": total,
        "sessions": 1,
        "devices": [Device(board, f"{device}{'' if s == 'gpu' else s}", s, total, 0.1) for s in scopes],
        "metric": None if accuracy is None else Metric(name, accuracy, mode, scale),
        "score": None if accuracy is None else 1.0,
        "score_name": formula,
        "samples": 1000,
        "sample_j": None if kwh is None else 0.002,
    }
    totals = (*epochs_kwh, *[None] * (len(epochs) - len(epochs_kwh)))
    rows = [EpochRow(epoch=i, train_j=1.0, metric=a, total_kwh=totals[i]) for i, a in enumerate(epochs)]
    return make_record(
        Report(**(settings | report)),
        started_unix_s=0.0,
        run_id=run_id,
        rank=rank,
        what={"module": "my.models.Net", "parameters": 1234, **(what or {})},
        where=replace(WHERE, **(where or {})),
        epochs=rows,
        seed=seed,
        global_seed=global_seed,
    )


def put(folder: Path, *args: Any, **kwargs: Any) -> Path:
    """Write a record into a folder."""
    file = folder / NAME
    write_record(file, record(*args, **kwargs))
    return file
