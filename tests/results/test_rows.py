from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lightning_energy
from lightning_energy.curves.power_series import MOST_BINS, PowerSeries
from lightning_energy.ledger.how_shared import ClassPower, HowShared, Moved, StepKinds
from lightning_energy.meters.clock import Anchor
from lightning_energy.results.figures import Device
from lightning_energy.results.formats import render
from lightning_energy.results.node import Node
from lightning_energy.results.parse import epochs_of, sessions_of
from lightning_energy.results.rows import (
    DERIVED_COLUMNS,
    EPOCH_COLUMNS,
    EpochPhase,
    EpochRow,
    SessionRow,
    of_energy,
    thinned,
)
from tests.records import energy, record

SCHEMA = json.loads((Path(lightning_energy.__file__).parent / "results/record.schema.json").read_text())


POWER = PowerSeries(10**15, 0.02, (100.0, None, 3.25), ((2, 0.004),), (Anchor(10**15, 10**18),))

LATER = {
    *("score_u", "train_quality", "val_quality", "is_final"),
    *("logged_train_j", "logged_val_j", "logged_total_kwh"),
    "no_metric",
    "validations",
}
"""Columns that the first records of version 2 do not have."""


def test_the_schema_has_the_columns_of_an_epoch():
    row = SCHEMA["properties"]["epochs"]["items"]
    assert tuple(row["properties"]) == (*EPOCH_COLUMNS, *DERIVED_COLUMNS, "phases")
    assert tuple(row["required"]) == tuple(name for name in EPOCH_COLUMNS if name not in LATER)


def test_the_schema_has_the_columns_of_a_session():
    row = SCHEMA["properties"]["sessions"]["items"]
    plain = SessionRow(0.0, "completed", energy(1.0)).to_plain()
    assert {*row["required"]} == {*plain}
    device = Device("NVIDIA H100", "GPU-1", "gpu", energy(1.0), 0.1, shared=HowShared("lines", "a reason"))
    full = SessionRow(0.0, "completed", energy(1.0), 3, energy(0.1), (device,)).to_plain()
    assert {*row["properties"]} == {*full}


def test_a_row_has_its_columns_and_what_was_asked_for():
    row = EpochRow(epoch=3, session=0, train_j=1.5)
    assert tuple(row.to_plain()) == EPOCH_COLUMNS
    known = {k: v for k, v in row.to_plain().items() if v is not None}
    assert known == {"session": 0, "epoch": 3, "train_j": 1.5, "is_final": False}
    asked = EpochRow(epoch=0, derived={"co2eq_g": None})
    assert tuple(asked.to_plain()) == (*EPOCH_COLUMNS, "co2eq_g")


def test_phases_of_an_epoch_are_written_and_read_again():
    phases = (EpochPhase("data", 2.0, 0.5, resolved=True), EpochPhase("copy", None, 0.0, resolved=False))
    made = replace(record(1.0, 0.9), epochs=[EpochRow(epoch=0, train_j=2.0, phases=phases), EpochRow(epoch=1)])
    plain = made.to_plain()
    assert "phases" not in plain["epochs"][1]
    of_schema = SCHEMA["properties"]["epochs"]["items"]["properties"]["phases"]["items"]
    assert {*of_schema["required"]} == {*of_schema["properties"]} == {*plain["epochs"][0]["phases"][0]}
    assert epochs_of(Node(plain["epochs"])) == made.epochs
    assert render(made, "csv").splitlines()[1].endswith(",2.0,")  # a column for each, empty where it is not resolved


def test_a_row_without_the_later_columns_can_be_read():
    row = EpochRow(epoch=3, session=0, train_j=1.5).to_plain()
    (read,) = epochs_of(Node([{name: value for name, value in row.items() if name not in LATER}]))
    assert read == EpochRow(epoch=3, session=0, train_j=1.5)


def test_a_row_takes_the_energies_that_are_known_later():
    row = EpochRow.of(2, energy(0.5), energy(None, duration_s=0.0), energy(1.0), logged_train_j=1.7e6)
    assert (row.train_j, row.train_quality, row.val_quality) == (1.8e6, "measured", None)
    later = row.with_energies(energy(0.25), energy(0.125))
    assert (later.train_j, later.val_j, later.val_quality) == (9e5, 4.5e5, "measured")
    assert (later.total_kwh, later.logged_train_j) == (1.0, 1.7e6)
    assert row.with_energies(energy(0.25), energy(0.125), energy(0.75)).total_kwh == 0.75


def test_joules_that_are_less_than_none_for_now_are_unknown_for_now():
    """What is supposed until the next reading may be less than what was supposed before."""
    less = replace(energy(1.0), energy_j=-0.006)
    row = EpochRow.of(0, less, less, energy(1.0), logged_train_j=less.energy_j, logged_val_j=less.energy_j)
    assert (row.train_j, row.val_j, row.logged_train_j, row.logged_val_j) == (None,) * 4


def test_rows_come_back_from_plain_types():
    rows = [
        EpochRow(epoch=3, session=0, val_s=1.5, metric=0.5, derived={"cost": 0.25}),
        EpochRow(epoch=4, no_metric="val_acc=nan is not finite"),
    ]
    assert epochs_of(Node(json.loads(json.dumps([row.to_plain() for row in rows])))) == rows
    shared = HowShared(
        method="fitted",
        intervals=40,
        delay_s=0.098,
        delay_u_s=0.002,
        smoothing_s=0.0,
        smoothing_u_s=0.003,
        look=1.0,
        scatter_j2_per_s=2.5,
        classes=(ClassPower("outside", "before", 60.0, 3.0), ClassPower("train", "step", 300.0, 2.0)),
        ends_s=(3.5, 6.75),
        powers_w=((60.0, 298.0), (60.0, 302.0)),
        covariance_w2=((9.0, -0.5), (-0.5, 4.0)),
        step_kinds=(
            StepKinds("train", 2, (0, 1)),
            StepKinds(
                "validate", limits_s=(0.05,), n=(3, 4), step_s=(0.1, 0.2), step_j=(1.0, 2.0), step_u_j=(0.1, 0.2)
            ),
        ),
        moved=(Moved(3, "validate", "step", 1.5), Moved(-1, "sanity_check", "gap", -1.5)),  # -1: outside epochs
    )
    devices = (
        Device("NVIDIA H100", "GPU-1", "gpu", energy(1.0), 0.1, shared=shared, power=POWER),
        Device("CPU", "package-0", "package", energy(None), None, "a note", 1, HowShared("lines", "a reason")),
    )
    sessions = [
        SessionRow(1.5, "checkpoint", energy(1.0)),
        SessionRow(2.5, "completed", energy(None), 10),
        SessionRow(3.5, "completed", energy(1.0), 10, energy(0.25), devices),
    ]
    assert sessions_of(Node(json.loads(json.dumps([row.to_plain() for row in sessions])))) == sessions


def test_sessions_share_the_points_of_one():
    """The finest become coarser first, each device by itself; joules stay."""

    def session(bin_s: float, *bins: int) -> SessionRow:
        devices = [
            Device("GPU", f"GPU-{i}", "gpu", energy(1.0), 0.1, power=PowerSeries(0, bin_s, (100.0,) * n))
            for i, n in enumerate(bins)
        ]
        return SessionRow(0.0, "completed", energy(1.0), devices=tuple(devices))

    rows = thinned([session(0.02, 1000, 10), session(0.32, 700, 10), SessionRow(0.0, "completed", energy(1.0))])
    series = [[d.power for d in row.devices] for row in rows]
    assert [(s.bin_s, len(s.mean_w)) for s, _ in series[:2]] == [(0.08, 250), (0.32, 700)]
    assert [s[1] for s in series[:2]] == [PowerSeries(0, b, (100.0,) * 10) for b in (0.02, 0.32)]
    assert series[0][0].energy_j == 100.0 * 20
    assert series[2] == []
    many = thinned([session(0.02, 3) for _ in range(2 * MOST_BINS)])  # each keeps a point
    assert {len(row.devices[0].power.mean_w) for row in many} == {1}


JOULES = st.none() | st.sampled_from([0.0, 1e-30]) | st.floats(1e-6, 1e9)


@given(st.lists(JOULES), JOULES)
def test_phases_are_together_their_epoch_or_unknown(parts, train_j):
    """A phase of nothing known stays unknown; where there are no proportions, all are."""
    phases = [EpochPhase(f"p{i}", j, j or 0.0, resolved=True) for i, j in enumerate(parts)]
    now = of_energy(phases, train_j)
    known = [phase.energy_j for phase in now if phase.energy_j is not None]
    assert [phase.name for phase in now] == [phase.name for phase in phases]
    assert math.fsum(known) == pytest.approx(train_j, rel=1e-9, abs=0.0) if known and train_j else not any(known)
    assert all(not phase.resolved and phase.u_j == 0 for phase in now if phase.energy_j is None and train_j is None)


NAMES = (
    "u",
    "j",
    "j_u",
    "U",
    "s",
    "quality",
    "logged_train",
    "phase",
    "größe",
    "a b",
    "a/b",
    "=1+1",
    "train_u_j",
    "phases",
)


def test_a_phase_of_any_name_has_a_column_of_its_own():
    """``u`` was that of the uncertainty of ``train_j``. Names that a loop cannot give may stand in a record."""
    phases = tuple(EpochPhase(name, float(i), 0.1, resolved=True) for i, name in enumerate(NAMES))
    row = EpochRow(session=0, epoch=3, train_j=91.0, train_u_j=7.0, phases=phases)
    (line,) = csv.DictReader(io.StringIO(render(replace(record(1.0, 0.9), epochs=[row]), "csv")))
    assert {name: line[name] for name in ("epoch", "train_j", "train_u_j")} == {
        "epoch": "3",
        "train_j": "91.0",
        "train_u_j": "7.0",
    }
    assert [float(line[f"train_phase_{name}_j"]) for name in NAMES] == [*range(len(NAMES))]
    assert len(line) == len(EPOCH_COLUMNS) + len(NAMES)
