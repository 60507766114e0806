from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_energy.curves.curve import Energy
from lightning_energy.ledger.ranks import Ranks
from lightning_energy.training.run_memory import NOTHING, RunMemory
from tests.training.parts import energies, joules

ROW = {"started_unix_s": 1000.0}
TWO = Ranks(2, 0)


def after_sessions(*spent: Energy) -> RunMemory:
    memory = RunMemory()
    for session in spent:
        memory.end_session(session, {**ROW, "outcome": "completed", "samples": 8}, Ranks())
    return memory


def loaded(state) -> RunMemory:
    memory = RunMemory()
    memory.load(state)
    return memory


# ------------------------------------------------------------------------------------------------ states


@given(st.lists(energies(), max_size=3), st.none() | energies())
def test_a_state_is_loaded_as_it_was_saved(sessions, live):
    memory = after_sessions(*sessions)
    memory.chosen, memory.axis = "val_acc", "kWh"
    state = memory.state(live or NOTHING, Ranks(), ROW if live else None)
    twin = loaded(json.loads(json.dumps(state)))  # plain types only
    assert twin.run_id == memory.run_id
    assert (twin.chosen, twin.axis) == ("val_acc", "kWh")
    assert twin.before == memory.after(live) if live else twin.before == memory.before
    assert len(twin.sessions) == len(sessions) + (live is not None)
    again = twin.state(NOTHING, Ranks())
    assert json.loads(json.dumps(again)) == json.loads(json.dumps(state))


@given(energies(), energies())
def test_a_checkpoint_of_this_run_that_knows_less_changes_nothing(first, second):
    memory = after_sessions(first)
    state = memory.state(NOTHING, Ranks())
    memory.end_session(second, {**ROW, "outcome": "completed", "samples": 8}, Ranks())
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
    other.chosen, other.axis = "val_acc", "kWh"
    state = other.state(NOTHING, Ranks())
    del state[missing]
    with pytest.raises(ValueError, match="is damaged"):
        memory.load(state)
    assert (memory.before, memory.sessions, memory.history) == (NOTHING, [], [])
    assert (memory.chosen, memory.axis) == (None, None)


def test_a_choice_that_was_made_stands():
    memory, other = RunMemory(chosen="mine"), RunMemory(chosen="another")
    memory.load(other.state(NOTHING, Ranks()))
    assert memory.chosen == "mine"


# ------------------------------------------------------------------------------------------------ sums


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
    memory.end_session(joules(15.0, duration_s=3.0), {**ROW, "outcome": "interrupted", "samples": None}, TWO.alone())
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
    memory.return_borrowed()
    assert (memory.before, memory.sessions, memory.history, memory.note) == (NOTHING, [], [], "")
    assert memory.run_id != run_id
    memory.end_session(joules(3.0), {**ROW, "outcome": "completed", "samples": 8}, Ranks())
    memory.return_borrowed()
    assert memory.before == joules(3.0)


def test_what_could_not_be_read_is_borrowed_as_well():
    memory = RunMemory()
    memory.decide(is_fit=False, is_training=False)
    memory.begin_anew("not known")
    assert memory.note == "not known"
    memory.return_borrowed()
    assert memory.note == ""


def test_a_refused_state_changes_nothing_of_where_the_last_one_came_from():
    memory = RunMemory()
    memory.decide(is_fit=False, is_training=False)
    memory.load(after_sessions(joules(5.0)).state(NOTHING, Ranks()))
    memory.decide(is_fit=False, is_training=False)
    assert not memory.accepts
    assert memory.borrowed


# ------------------------------------------------------------------------------------------------ a record left behind


def record_of(memory: RunMemory, total: Energy | None, *, ended: bool) -> dict:
    row = {"started_unix_s": 2000.0, "outcome": "completed", "samples": 8, **joules(4.0).to_plain()}
    return {
        "run_id": memory.run_id,
        "total": None if total is None else total.to_plain(),
        "sessions": [row] if ended else [],
        "epochs": [],
        "started_unix_s": 2000.0,
        "samples": {"n": 8},
        "run": joules(4.0).to_plain(),
    }


@pytest.mark.parametrize("ended", [True, False])
def test_a_record_that_knows_more_is_taken_in(ended):
    memory = after_sessions(joules(5.0))
    memory.take_in(record_of(memory, joules(9.0), ended=ended))
    assert memory.before == joules(9.0)
    assert len(memory.sessions) == 1
    assert ("was killed" in memory.note) is not ended


@pytest.mark.parametrize("total", [None, joules(None), joules(4.0), joules(5.0)])
def test_a_record_that_knows_no_more_is_not(total):
    memory = after_sessions(joules(5.0))
    memory.take_in(record_of(memory, total, ended=False))
    assert memory.before == joules(5.0)
    assert memory.note == ""


def test_a_record_of_another_run_is_not():
    memory = after_sessions(joules(5.0))
    memory.take_in(record_of(RunMemory(), joules(9.0), ended=True))
    assert memory.before == joules(5.0)
