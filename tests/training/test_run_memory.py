from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_energy.curves.energy import NOTHING, Energy
from lightning_energy.ledger.ranks import Ranks
from lightning_energy.results.notes import Note
from lightning_energy.results.rows import EpochRow
from lightning_energy.scores.metric import Metric
from lightning_energy.training.run_memory import KILLED, FoundMetric, RunMemory
from tests.records import energy, record
from tests.training.parts import energies, joules

STARTED_S = 1000.0
TWO = Ranks(2, 0)
NOTE = Note("killed_session", KILLED)


def after_sessions(*spent: Energy) -> RunMemory:
    memory = RunMemory()
    for session in spent:
        memory.end_session(session, Ranks(), started_unix_s=STARTED_S, outcome="completed", samples=8)
    return memory


def loaded(state) -> RunMemory:
    memory = RunMemory()
    memory.load(state)
    return memory


# ------------------------------------------------------------------------------------------------ states


@given(st.lists(energies(), max_size=3), st.none() | energies())
def test_a_state_is_loaded_as_it_was_saved(sessions, live):
    memory = after_sessions(*sessions)
    memory.begin_fit(from_start=False)
    memory.found.chosen, memory.axis = "val_acc", "kWh"
    state = memory.state(live or NOTHING, Ranks(), started_unix_s=STARTED_S if live else None)
    twin = loaded(json.loads(json.dumps(state)))  # plain types only
    assert twin.run_id == memory.run_id
    assert (twin.found.chosen, twin.axis) == ("val_acc", "kWh")
    assert twin.before == memory.after(live) if live else twin.before == memory.before
    assert len(twin.sessions) == len(sessions) + (live is not None)
    again = twin.state(NOTHING, Ranks())
    assert json.loads(json.dumps(again)) == json.loads(json.dumps(state))


def test_a_session_that_was_ended_is_in_a_state_once():
    memory = RunMemory()
    memory.begin_fit(from_start=True)
    memory.end_session(joules(4.0), Ranks(), started_unix_s=STARTED_S, outcome="completed", samples=8)
    state = memory.state(joules(4.0), Ranks(), started_unix_s=STARTED_S)  # its books are not closed yet
    assert (state["total"]["energy_j"], len(state["sessions"])) == (4.0, 1)


@given(energies(), energies())
def test_a_checkpoint_of_this_run_that_knows_less_changes_nothing(first, second):
    memory = after_sessions(first)
    state = memory.state(NOTHING, Ranks())
    memory.end_session(second, Ranks(), started_unix_s=STARTED_S, outcome="completed", samples=8)
    before, sessions = memory.before, len(memory.sessions)
    memory.load(state)
    assert (memory.before.energy_j or 0.0) == (before.energy_j or 0.0)
    assert len(memory.sessions) == sessions


@given(energies(), energies())
def test_loading_sets_and_never_adds(mine, others):
    memory = after_sessions(mine)
    memory.load(after_sessions(others).state(NOTHING, Ranks()))
    assert memory.before == others
    assert len(memory.sessions) == 1


def test_a_state_of_another_version_is_refused_and_changes_nothing():
    state = after_sessions(joules(5.0)).state(NOTHING, Ranks())
    memory = after_sessions(joules(7.0))
    for version in (None, "1", 10**6):
        with pytest.raises(ValueError, match="upgrade lightning-energy"):
            memory.load({**state, "version": version})
    assert memory.before == joules(7.0)


@pytest.mark.parametrize("missing", ["total", "sessions", "history", "run_id"])
def test_a_damaged_state_is_refused_and_changes_nothing(missing):
    memory = RunMemory()
    other = after_sessions(joules(5.0))
    other.found.chosen, other.axis = "val_acc", "kWh"
    state = other.state(NOTHING, Ranks())
    del state[missing]
    with pytest.raises(ValueError, match="is damaged"):
        memory.load(state)
    assert (memory.before, memory.sessions, memory.history) == (NOTHING, [], [])
    assert (memory.found.chosen, memory.axis) == (None, None)


def test_a_choice_that_was_made_stands():
    memory, other = RunMemory(found=FoundMetric(chosen="mine")), RunMemory(found=FoundMetric(chosen="another"))
    memory.load(other.state(NOTHING, Ranks()))
    assert memory.found.chosen == "mine"


def test_a_scale_is_of_its_metric_alone():
    memory = RunMemory(found=FoundMetric(scales={"val_acc": "percent"}))
    memory.load(RunMemory(found=FoundMetric(scales={"val_loss": "raw", "val_acc": "fraction"})).state(NOTHING, Ranks()))
    assert memory.found.scales == {"val_loss": "raw", "val_acc": "percent"}  # what this process found is newer
    damaged = RunMemory().state(NOTHING, Ranks()) | {"scales": {"val_acc": "points"}}
    with pytest.raises(ValueError, match="is damaged"):
        RunMemory().load(damaged)


def test_a_reference_is_of_its_run_alone():
    memory, other = RunMemory(found=FoundMetric(reference_kwh=2.0)), RunMemory(found=FoundMetric(reference_kwh=3.0))
    memory.load(other.state(NOTHING, Ranks()))
    assert memory.found.reference_kwh == 3.0
    memory.load(RunMemory().state(NOTHING, Ranks()))
    assert memory.found.reference_kwh is None


def test_a_percentage_that_showed_after_the_checkpoint_is_known_from_the_record():
    memory = RunMemory()
    percent = Metric("val_acc", 14.0, scale="percent")
    memory.take_in([record(run_id=memory.run_id, total=energy(10.0), metric=percent)])
    assert memory.found.scales == {"val_acc": "percent"}


# ------------------------------------------------------------------------------------------------ sums


@pytest.mark.slow
@given(st.lists(energies(), min_size=1, max_size=4))
def test_sessions_add_up(sessions):
    found, expected = after_sessions(*sessions).before, Energy.sequence(sessions)
    assert found.quality == expected.quality
    assert (found.energy_j is None) is (expected.energy_j is None)
    for name in ("energy_j", "u_j", "u_absolute_j", "duration_s", "missing_s"):
        # the gain's part of an uncertainty is a difference of squares
        assert (getattr(found, name) or 0.0) == pytest.approx(getattr(expected, name) or 0.0, rel=1e-5, abs=1e-3)


@given(energies(), energies())
def test_what_was_spent_before_is_rank_zeros_part(before, live):
    memory = after_sessions(before)
    assert memory.own(live, Ranks(2, 0)) == memory.after(live)
    assert memory.own(live, Ranks(2, 1)) == live


@given(st.none() | energies(), energies())
def test_alone_a_rank_knows_its_own_energy(before, live):
    memory = after_sessions(before) if before else RunMemory()
    assert memory.session(live, Ranks()) == live
    assert memory.total(live, Ranks()) == memory.after(live)
    assert memory.after(live) == (live if before in {None, NOTHING} else Energy.sequence([before, live]))


@given(energies(), energies(), energies())
def test_between_reductions_nothing_is_negative_and_others_are_missing(reduced, then, now):
    """Even where a rank seems to have spent less than before, as after a defect."""
    memory = RunMemory()
    memory.remember(reduced, then)
    for ranks in (TWO, TWO.alone()):
        energy = memory.session(now, ranks)
        assert energy.energy_j is None or energy.energy_j >= 0
        assert (energy.energy_j or 0.0) >= (reduced.energy_j or 0.0)
        assert energy.missing_s >= reduced.missing_s
        assert energy.duration_s >= reduced.duration_s
        grown_s = max(now.duration_s - then.duration_s, 0.0)
        assert energy.missing_s - reduced.missing_s >= grown_s * (1 - 1e-9) - 1e-9 * reduced.missing_s


def test_since_the_last_reduction_a_rank_knows_its_own():
    memory = RunMemory()
    memory.remember(joules(20.0, duration_s=2.0), joules(12.0, duration_s=2.0))
    energy = memory.session(joules(15.0, duration_s=3.0), TWO)
    assert energy.energy_j == pytest.approx(23.0)
    assert energy.duration_s == pytest.approx(3.0)
    assert energy.missing_s == pytest.approx(1.0)


def test_before_the_first_reduction_the_others_are_missing():
    energy = RunMemory().session(joules(15.0, duration_s=3.0), Ranks(4, 1))
    assert energy.energy_j == 15.0
    assert energy.missing_s == pytest.approx(9.0)


def test_a_session_that_lost_its_others_keeps_what_all_had_spent():
    memory = RunMemory()
    memory.remember(joules(20.0, duration_s=2.0), joules(12.0, duration_s=2.0))
    memory.end_session(
        joules(15.0, duration_s=3.0), TWO.alone(), started_unix_s=STARTED_S, outcome="interrupted", samples=None
    )
    assert memory.before.energy_j == pytest.approx(23.0)
    assert (memory.reduced, memory.own_then) == (NOTHING, NOTHING)


# ------------------------------------------------------------------------------------------------ which state counts


@pytest.mark.parametrize(
    ("before", "is_fit", "is_training", "accepts"),
    [
        (None, True, False, True),
        (None, False, False, True),  # the score of a validation is about the training that made its checkpoint
        (5.0, True, False, True),
        (5.0, False, False, False),  # a test must not undo what fit measured
        (None, True, True, False),  # a search in the middle of a run
        (5.0, True, True, False),
    ],
)
def test_which_state_counts(before, is_fit, is_training, accepts):
    memory = RunMemory() if before is None else after_sessions(joules(before))
    memory.decide(is_fit=is_fit, is_training=is_training)
    assert memory.accepts is accepts
    memory.refuse()
    assert not memory.accepts


def test_nothing_counts_before_it_is_decided():
    assert not RunMemory().accepts


def test_what_a_validation_borrowed_is_not_of_a_training():
    memory = RunMemory()
    run_id = memory.run_id
    memory.decide(is_fit=False, is_training=False)
    memory.load(after_sessions(joules(5.0)).state(NOTHING, Ranks()))
    assert memory.begin_fit(from_start=False)
    assert (memory.before, memory.sessions, memory.history, memory.notes) == (NOTHING, [], [], [])
    assert memory.run_id != run_id
    memory.end_session(joules(3.0), Ranks(), started_unix_s=STARTED_S, outcome="completed", samples=8)
    assert not memory.begin_fit(from_start=False)
    assert memory.before == joules(3.0)


def test_what_could_not_be_read_is_borrowed_as_well():
    memory = RunMemory()
    memory.decide(is_fit=False, is_training=False)
    memory.begin_anew(NOTE)
    assert memory.notes == [NOTE]
    assert memory.begin_fit(from_start=True)
    assert memory.notes == []


def test_a_refused_state_changes_nothing_of_where_the_last_one_came_from():
    memory = RunMemory()
    memory.decide(is_fit=False, is_training=False)
    memory.load(after_sessions(joules(5.0)).state(NOTHING, Ranks()))
    memory.decide(is_fit=False, is_training=False)
    assert not memory.accepts
    assert memory.borrowed


# ------------------------------------------------------------------------------------------------ a fit: which run


def test_a_fit_from_the_start_is_another_run():
    memory = after_sessions(joules(5.0))
    memory.found.chosen, memory.axis = "val_acc", "kWh"
    first = memory.run_id
    assert not memory.begin_fit(from_start=False)  # the same Trainer goes on
    assert (memory.run_id, memory.before) == (first, joules(5.0))
    assert memory.begin_fit(from_start=True)
    assert memory.run_id != first
    assert (memory.before, memory.sessions, memory.found.chosen, memory.axis) == (NOTHING, [], None, None)
    assert not memory.begin_fit(from_start=True)  # it has not begun yet: nothing was spent


def test_a_search_is_of_the_fit_that_follows():
    memory = RunMemory()
    memory.end_session(
        joules(2.0), Ranks(), started_unix_s=STARTED_S, outcome="completed", samples=None, is_search=True
    )
    assert not memory.begin_fit(from_start=True)
    assert memory.before == joules(2.0)
    memory.end_session(joules(3.0), Ranks(), started_unix_s=STARTED_S, outcome="interrupted", samples=None)
    assert memory.begin_fit(from_start=True)


def test_a_checkpoint_of_the_last_run_goes_on_with_it():
    """What this process spent after the checkpoint stays spent, as without a new beginning."""
    memory = after_sessions(joules(5.0))
    memory.found.chosen = "val_acc"
    state, first = memory.state(NOTHING, Ranks()), memory.run_id
    memory.begin_fit(from_start=False)
    memory.end_session(joules(2.0), Ranks(), started_unix_s=STARTED_S, outcome="completed", samples=8)
    memory.begin_fit(from_start=True)
    memory.decide(is_fit=True, is_training=False)
    memory.load(state)
    assert memory.accepts
    assert (memory.run_id, memory.before.energy_j, len(memory.sessions)) == (first, 7.0, 2)
    assert memory.found.chosen == "val_acc"


def test_a_checkpoint_of_another_run_sets_that():
    memory, other = after_sessions(joules(5.0)), after_sessions(joules(3.0))
    memory.begin_fit(from_start=True)
    memory.load(other.state(NOTHING, Ranks()))
    assert (memory.run_id, memory.before) == (other.run_id, joules(3.0))
    assert memory.begin_fit(from_start=True)  # which has begun


# ------------------------------------------------------------------------------------------------ a record left behind


def after_a_checkpoint(kwh: float = 1.0) -> RunMemory:
    spent = RunMemory()
    spent.load(RunMemory("a", before=energy(kwh)).state(energy(None), Ranks()))
    return spent


def test_a_state_comes_back():
    spent = RunMemory("a", before=energy(1.0), history=[EpochRow(epoch=0, metric=0.5)], notes=[NOTE])
    spent.end_session(energy(0.5), Ranks(), started_unix_s=7.0, outcome="interrupted", samples=10)
    again = RunMemory()
    again.load(spent.state(energy(None), Ranks()))
    assert again == spent
    spent.begin_fit(from_start=False)
    running = spent.state(energy(0.25), Ranks(), started_unix_s=8.0)
    again.load(running)
    assert [(row.outcome, row.samples) for row in again.sessions] == [("interrupted", 10), ("checkpoint", None)]
    assert again.before.energy_kwh == pytest.approx(1.75)


def test_a_killed_session_is_noted_once_and_in_all_sessions_that_follow():
    spent = after_a_checkpoint()
    killed = record(2.0, run_id="a", outcome="running")
    spent.take_in([killed])
    assert spent.notes == [NOTE]
    assert [(row.outcome, row.samples) for row in spent.sessions] == [("interrupted", 1000)]
    resumed = RunMemory()
    resumed.load(spent.state(energy(None), Ranks()))
    assert resumed.notes == [NOTE]
    other = replace(record(3.0, run_id="a", notes=[*spent.notes, Note("unresolved", "x")]), sessions=spent.sessions)
    for memory in (resumed, after_a_checkpoint()):
        memory.take_in([other])
        assert memory.notes == [NOTE]


@pytest.mark.parametrize("left", [{"run_id": "b"}, {"run_id": "a", "total": None}, {"run_id": "a", "kwh": 0.5}])
def test_a_record_of_another_run_or_an_older_one_is_not_taken_in(left):
    spent = after_a_checkpoint()
    spent.take_in([record(**({"kwh": 2.0} | left))])
    assert (spent.before, spent.sessions, spent.notes) == (energy(1.0), [], [])
