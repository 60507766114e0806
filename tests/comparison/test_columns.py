"""One list of columns, from which every kind of table is made."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import fields

import pytest

from lightning_energy import compare
from lightning_energy.comparison.columns import COLUMNS, FIELDS, IN_TEXT, ON_PAGE, SORTABLE, column_of, heading_of
from lightning_energy.comparison.page_table import head
from lightning_energy.comparison.run import Run
from lightning_energy.comparison.table import as_csv, markdown
from tests.records import put


def test_every_column_is_a_field_of_a_run_and_stands_once():
    names = [column.name for column in COLUMNS]
    assert len({*names}) == len(names)
    assert {*names} <= {*FIELDS} <= {field.name for field in fields(Run)}


def test_what_a_text_leaves_out_first_has_one_order():
    ranks = sorted(cell.left_out for _, cell in IN_TEXT if cell.left_out)
    assert ranks == [*range(1, len(ranks) + 1)]


@pytest.mark.parametrize("name", SORTABLE)
def test_a_unit_may_be_left_out(name):
    assert column_of(name).name == name
    short = re.sub("_(kwh|s|w|j)$", "", name)
    assert column_of(short).name in {name, "energy_kwh"}


def test_the_name_of_no_column():
    with pytest.raises(ValueError, match="sort='front': give one of name, module, parameters, outcome, metric, "):
        column_of("front")


def test_the_tables_have_these_columns(tmp_path):
    put(tmp_path / "a", 2.0, 0.8)
    put(tmp_path / "b", 3.0, 0.7, outcome="interrupted")
    comparison = compare(tmp_path)
    subject = comparison.subject
    (heading,) = [line for line in markdown(comparison).splitlines() if line.startswith("| run")]
    assert heading.split(" | ")[1:-1] == [heading_of(cell, subject) for column, cell in IN_TEXT]
    assert next(csv.reader(io.StringIO(as_csv(comparison)))) == FIELDS
    page = (
        head([run.to_plain() for run in comparison.runs], subject).replace('<bdi dir="auto">', "").replace("</bdi>", "")
    )
    assert re.findall(r'data-first="(\w+)".*?>(.*?)</th>', page) == [
        ("descending" if column.begins_with_largest("max") else "ascending", heading_of(cell, subject))
        for column, cell in ON_PAGE
        if column.name != "target_kwh"
    ]
