"""A record with all that a page of a run shows: two sessions, several devices, missing time, epochs, notes."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lightning_energy.curves.power_series import PowerSeries
from lightning_energy.meters.clock import Anchor
from lightning_energy.results.best import best_of
from lightning_energy.results.figures import Device, Missing
from lightning_energy.results.notes import Note
from lightning_energy.results.rows import EpochRow, SessionRow
from lightning_energy.scores.metric import Metric
from tests.records import energy, record

if TYPE_CHECKING:
    from lightning_energy.results.record import Record

DAY = 1_700_000_000 * 10**9
BIN_S = 5.12


def power(bins: int, base_w: float, swing_w: float, *, lost: range = range(0), start_ns: int = 10**15) -> PowerSeries:
    """Watts that rise and fall with the epochs; bins that are lost are null, and the last one is half known."""
    mean_w = [None if i in lost else round(base_w + swing_w * (math.sin(i / 7) > -0.6), 2) for i in range(bins)]
    anchors = (Anchor(start_ns, DAY), Anchor(start_ns + bins * 5_120_000_000, DAY + bins * 5_120_000_000))
    return PowerSeries(start_ns, BIN_S, tuple(mean_w), ((bins - 1, BIN_S / 2),), anchors)


def full(name: str = "Classifier", *, n_epochs: int = 12, **report: Any) -> Record:
    """The record; ``name`` stands wherever a user's text can."""
    first = Device(name, "GPU-1", "gpu", energy(0.4), 0.02, power=power(300, 90, 260))
    gpu = Device(
        name, "GPU-1", "gpu", energy(0.6, missing_s=250.0), 0.02, power=power(700, 90, 300, lost=range(350, 400))
    )
    cpu = Device("AMD EPYC 7742", "package-0", "package", energy(0.2), 0.01, note=name, power=power(700, 60, 45))
    dram = Device("DRAM", "dram-0", "dram", energy(0.01), 0.01, rank=1, power=power(690, 8, 3))
    rows = [
        EpochRow(
            session=int(i > 3),
            epoch=i,
            train_j=180e3 + 4e3 * (i % 3),
            train_u_j=400.0,
            val_j=24e3 if i % 2 else None,
            val_u_j=90.0 if i % 2 else None,
            total_kwh=(i + 1) * 1.2 / n_epochs,
            total_u_kwh=0.04 * (i + 1) * 1.2 / n_epochs,
            metric=None if i == 5 else 0.93 - 0.5 * 0.7**i - 0.01 * (i == n_epochs - 1),
            score=1 + 0.1 * (i if i < n_epochs - 1 else 0),
        )
        for i in range(n_epochs)
    ]
    metric = Metric("val_acc", rows[-1].metric or 0.0, "max", "fraction")
    session = energy(0.8, missing_s=250.0)
    made = record(
        kwh=1.2,
        devices=[gpu, cpu, dram],
        session=session,
        sessions=2,
        stages={"train": energy(0.7, missing_s=250.0), "validate": energy(0.09), "test": energy(0.01)},
        missing=[Missing("GPU-1", 1800.0, 256.0), Missing("dram-0", 12.0, 0.5, 1)],
        notes=[Note("sensor", f"{name}: its counter could not be read for 256 s"), Note("other", name)],
        between=energy(0.02),
        steps=4800,
        step_j=150.0,
        metric=metric,
        best=best_of(rows, metric),
        what={"module": f"my.models.{name}", "precision": "16-mixed", "batch_size": 64, "strategy": "DDPStrategy"},
        **report,
    )
    sessions = [
        SessionRow(-90_000.0, "interrupted", energy(0.4), devices=(first,)),
        SessionRow(0.0, "completed", session, 1000, energy(0.02), (gpu, cpu, dram)),
    ]
    return replace(made, epochs=rows, sessions=sessions)
