"""Trainings on a simulated board in virtual time, as their records tell them, and what they truly cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from lightning_energy import Energy, MeterInfo, Report
from lightning_energy.ledger.phases import PhaseEnergy
from lightning_energy.meters.base import Condition
from lightning_energy.results.best import best_of
from lightning_energy.results.figures import Device, Spread
from lightning_energy.results.record import Record, make_record
from lightning_energy.results.rows import EpochRow
from lightning_energy.scores.metric import Metric
from tests.records import WHERE
from tests.sim.virtual_run import Pieces, Result, Sensor, Work, play, training

if TYPE_CHECKING:
    from numpy.typing import NDArray

LIMIT_W = 400.0
INFO = MeterInfo("d", "device", "measured", "gpu", power_max_w=500.0, power_min_w=20.0, calibration_u=0.0)  # no gain
FINE = Sensor(0.02, lag_s=0.05)
Script = Callable[[np.random.Generator, Work], Pieces]


def phases(**shares: float) -> tuple[tuple[str, str, float, float], ...]:
    """Phases of a step whose parts are as these numbers, with the powers of a usual network."""
    kinds = {"forward": ("step", 270.0), "backward": ("step", 330.0), "optimizer": ("step", 210.0)}
    gaps = {"other": ("gap", 110.0), "data": ("gap", 80.0), "copy": ("gap", 140.0), "saving": ("gap", 90.0)}
    whole = sum(shares.values())
    return tuple((name, kind, shares[name] / whole, w) for name, (kind, w) in (kinds | gaps).items() if name in shares)


@dataclass
class Trained:
    """A training that was played.

    Attributes:
        record: its record.
        pieces: what went on, with its true power.
    """

    record: Record
    pieces: Pieces

    def true_j(self, chosen: Callable[[int, str, str, str], bool] = lambda *_: True) -> float:
        """The true joules of the accounts (epoch, stage, kind, phase) that are chosen."""
        joules = self.pieces.duration_s * self.pieces.power_w
        return float(joules[[a is not None and chosen(*a) for a in self.pieces.account]].sum())


def trained(
    work: Work,
    *,
    seed: int = 3,
    sensor: Sensor = FINE,
    script: Script = training,
    metrics: Sequence[float | None] = (),
    idle_w: float | None = None,
    samples: int | None = None,
    what: Mapping[str, Any] | None = None,
    **more: Any,
) -> Trained:
    """Play a training, and make its record.

    Args:
        work: the training.
        seed: of everything.
        sensor: of its board.
        script: plays the training.
        metrics: the metric of each epoch, of which more is better.
        idle_w: the power of the idle board, if it was watched.
        samples: the number of samples in all.
        what: the description of the training.
        more: for :func:`~tests.sim.virtual_run.play`.
    """
    kept: list[Pieces] = []

    def keep(rng: np.random.Generator, of: Work) -> Pieces:
        kept.append(script(rng, of))
        return kept[0]

    result = play(seed, work, sensor, settle_s=1.0, script=keep, info=INFO, **more)
    n_steps = len(_beginnings(kept[0]))
    report, rows = _report(result, metrics, idle_w=idle_w, samples=samples, n_steps=n_steps)
    return Trained(make_record(report, started_unix_s=0.0, what=what or {}, where=WHERE, epochs=rows), kept[0])


def _beginnings(pieces: Pieces) -> list[int]:
    """The places at which steps begin."""
    is_step = [a is not None and a[1:3] == ("train", "step") for a in pieces.account]
    return [i for i, (before, now) in enumerate(pairwise(is_step)) if now and not before]


def _report(
    result: Result, metrics: Sequence[float | None], *, idle_w: float | None, samples: int | None, n_steps: int
) -> tuple[Report, list[EpochRow]]:
    totals = result.totals
    session = totals.energy()
    rows, until = [], Energy.unknown(0.0)
    for epoch in totals.epochs:
        until = Energy.sequence([until, totals.energy(epoch=epoch)])
        train, validation = (totals.energy(epoch=epoch, stage=s) for s in ("train", "validate"))
        metric = metrics[epoch] if epoch < len(metrics) else None
        n = int(validation.duration_s > 0)
        rows.append(EpochRow.of(epoch, train, validation, until, session=0, metric=metric, validations=n))
    last = next((row.metric for row in reversed(rows) if row.metric is not None), None)
    metric = None if last is None else Metric("val_acc", last, "max", "fraction")
    above_j = None if idle_w is None else (session.energy_j or 0.0) - idle_w * session.duration_s
    u_j = (session.u_j**2 + (0.02 * (idle_w or 0.0) * session.duration_s) ** 2) ** 0.5
    train, divided = totals.energy(stage="train"), totals.phases("train")
    report = Report(
        outcome="completed",
        stages={stage: totals.energy(stage=stage) for stage in totals.stages},
        session=session,
        total=session,
        sessions=1,
        devices=[Device("Simulated GPU", "d0", "gpu", session, 0.02, condition=Condition(power_limit_w=LIMIT_W))],
        steps=n_steps,
        samples=samples,
        sample_j=None if samples is None else (train.energy_j or 0.0) / samples,
        sample_u=None if samples is None else Spread.per(train, samples),
        gaps=totals.energy(stage="train", kind="gap"),
        phases={"train": divided} if divided else {},
        above_idle_j=above_j,
        above_idle_u=None if above_j is None else Spread(u_j, u_j),
        metric=metric,
        best=best_of(rows, metric),
    )
    return report, rows


def of_ranks(ranks: Sequence[Trained]) -> Record:
    """The record of several ranks that were trained together."""
    records = [of.record for of in ranks]
    stages = {"train": Energy.total(r.stages["train"] for r in records)}
    every = [phase for r in records for phase in r.phases["train"]]
    by_name = {name: [phase for phase in every if phase.name == name] for name in dict.fromkeys(p.name for p in every)}
    together = [PhaseEnergy.together(of, Energy.total(p.energy for p in of)) for of in by_name.values()]
    return replace(
        records[0],
        ranks=len(records),
        devices=[replace(r.devices[0], rank=i, device_id=f"d{i}") for i, r in enumerate(records)],
        session=stages["train"],
        total=stages["train"],
        stages=stages,
        phases={"train": together},
        phases_by_rank=[r.phases["train"] for r in records],
        gaps=None,
        epochs=[],
    )


def joules_of(pieces: Pieces) -> NDArray[np.float64]:
    """The true joules of each piece."""
    return pieces.duration_s * pieces.power_w
