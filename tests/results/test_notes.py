from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest

import lightning_energy
from lightning_energy.results.notes import LOWERS_TOTAL, OF_EARLIER_SESSIONS, Note, NoteKind


@pytest.mark.parametrize("kind", get_args(NoteKind))
def test_its_kind_says_whether_more_was_spent_than_the_total_says(kind):
    assert Note(kind, "x").lowers_total == (
        kind in {"incomplete", "killed_session", "unknown_before", "after_checkpoint", "gave_up", "sensor"}
    )


def test_the_kinds_are_those_of_the_one_list():
    schema = json.loads((Path(lightning_energy.__file__).parent / "results/record.schema.json").read_text())
    assert {*schema["properties"]["notes"]["items"]["properties"]["kind"]["enum"]} == {*get_args(NoteKind)}
    assert {*get_args(NoteKind)} >= LOWERS_TOTAL | OF_EARLIER_SESSIONS
    assert str(Note("other", "a sentence")) == "a sentence"
