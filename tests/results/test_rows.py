from __future__ import annotations

import json
from pathlib import Path

import lightning_energy
from lightning_energy.results.node import Node
from lightning_energy.results.parse import epochs_of, sessions_of
from lightning_energy.results.rows import DERIVED_COLUMNS, EPOCH_COLUMNS, EpochRow, SessionRow
from tests.records import energy

SCHEMA = json.loads((Path(lightning_energy.__file__).parent / "results/record.schema.json").read_text())


def test_the_schema_has_the_columns_of_an_epoch():
    row = SCHEMA["properties"]["epochs"]["items"]
    assert tuple(row["properties"]) == (*EPOCH_COLUMNS, *DERIVED_COLUMNS)
    assert tuple(row["required"]) == EPOCH_COLUMNS


def test_the_schema_has_the_columns_of_a_session():
    row = SCHEMA["properties"]["sessions"]["items"]
    plain = SessionRow(0.0, "completed", energy(1.0)).to_plain()
    assert {*row["properties"]} == {*row["required"]} == {*plain}


def test_a_row_has_its_columns_and_what_was_asked_for():
    row = EpochRow(epoch=3, session=0, train_j=1.5)
    assert tuple(row.to_plain()) == EPOCH_COLUMNS
    assert {k: v for k, v in row.to_plain().items() if v is not None} == {"session": 0, "epoch": 3, "train_j": 1.5}
    asked = EpochRow(epoch=0, derived={"co2eq_g": None})
    assert tuple(asked.to_plain()) == (*EPOCH_COLUMNS, "co2eq_g")


def test_rows_come_back_from_plain_types():
    rows = [EpochRow(epoch=3, session=0, val_s=1.5, metric=0.5, derived={"cost": 0.25}), EpochRow(epoch=4)]
    assert epochs_of(Node(json.loads(json.dumps([row.to_plain() for row in rows])))) == rows
    sessions = [SessionRow(1.5, "checkpoint", energy(1.0)), SessionRow(2.5, "completed", energy(None), 10)]
    assert sessions_of(Node(json.loads(json.dumps([row.to_plain() for row in sessions])))) == sessions
