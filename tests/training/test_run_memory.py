from __future__ import annotations

from dataclasses import replace

import pytest

from lightning_energy.ledger.ranks import Ranks
from lightning_energy.results.notes import Note
from lightning_energy.results.rows import EpochRow
from lightning_energy.training.run_memory import Spent
from tests.records import energy, record

NOTE = Note("killed_session", "An earlier session was killed: what it spent after its last record is not in the total")


def after_a_checkpoint(kwh: float = 1.0) -> Spent:
    spent = Spent()
    spent.load(Spent("a", before=energy(kwh)).state(energy(None), Ranks()))
    return spent


def test_a_state_comes_back():
    spent = Spent("a", before=energy(1.0), history=[EpochRow(epoch=0, metric=0.5)], notes=[NOTE])
    spent.end_session(energy(0.5), Ranks(), started_unix_s=7.0, outcome="interrupted", samples=10)
    again = Spent()
    again.load(spent.state(energy(None), Ranks()))
    assert again == spent
    running = spent.state(energy(0.25), Ranks(), started_unix_s=8.0)
    again.load(running)
    assert [(row.outcome, row.samples) for row in again.sessions] == [("interrupted", 10), ("checkpoint", None)]
    assert again.before.energy_kwh == pytest.approx(1.75)


def test_a_killed_session_is_noted_once_and_in_all_sessions_that_follow():
    spent = after_a_checkpoint()
    killed = record(2.0, run_id="a", outcome="running")
    spent.take_in(killed)
    assert spent.notes == [NOTE]
    assert [(row.outcome, row.samples) for row in spent.sessions] == [("interrupted", 1000)]
    resumed = Spent()
    resumed.load(spent.state(energy(None), Ranks()))
    assert resumed.notes == [NOTE]
    other = replace(record(3.0, run_id="a", notes=[*spent.notes, Note("unresolved", "x")]), sessions=spent.sessions)
    for memory in (resumed, after_a_checkpoint()):
        memory.take_in(other)
        assert memory.notes == [NOTE]


@pytest.mark.parametrize("left", [{"run_id": "b"}, {"run_id": "a", "total": None}, {"run_id": "a", "kwh": 0.5}])
def test_a_record_of_another_run_or_an_older_one_is_not_taken_in(left):
    spent = after_a_checkpoint()
    spent.take_in(record(**({"kwh": 2.0} | left)))
    assert (spent.before, spent.sessions, spent.notes) == (energy(1.0), [], [])
