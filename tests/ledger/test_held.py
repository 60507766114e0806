from __future__ import annotations

import numpy as np
import pytest

from lightning_energy.curves.curve import Curve
from lightning_energy.ledger.held import Held
from lightning_energy.ledger.sharing.classes import Position
from lightning_energy.ledger.sharing.kinds import Rule
from tests.ledger.plays import INFO, START, S


def held_of(qualities: str, marks=(), *, u_j: float = 0.0) -> Held:
    """Knots every second, 100 J apart; ``m``: measured, ``i``: integrated, ``-``: missing. Marks: (s, code, class)."""
    curve, joules = Curve(INFO), 0.0
    curve.add(START, 0.0)
    for second, letter in enumerate(qualities, 1):
        quality = {"m": "measured", "i": "integrated", "-": "missing"}[letter]
        joules += 0.0 if letter == "-" else 100.0
        curve.add(START + second * S, joules, quality=quality, u_j=u_j if letter == "i" else 0.0)
    time_ns, code, of_class = (np.array(x, dtype=np.int64) for x in zip(*marks, strict=True)) if marks else [[]] * 3
    empty = Held.empty()
    end = Position(int(code[-1]), int(of_class[-1])) if marks else empty.end
    times_ns = START + np.array(time_ns, dtype=np.int64) * S
    return empty.followed_by(curve.knots(), times_ns, np.array(code, int), np.array(of_class, int), end)


def test_nothing_is_held():
    empty = Held.empty()
    assert (empty.n, empty.is_known.size, empty.missing_at_knots_ns.tolist()) == (0, 0, [0])
    assert empty.code_before(START) == 0


def test_only_differences_of_a_register_tell_of_powers():
    assert held_of("mi-m").is_known.tolist() == [True, False, False, True]
    assert held_of("mim", u_j=3.0).is_known.tolist() == [True, False, True]  # the variance of all before goes on


def test_seconds_that_are_missing_are_counted_in_whole_nanoseconds():
    held = held_of("m--m")
    assert held.missing_at_knots_ns.tolist() == [0, 0, S, 2 * S, 2 * S]
    assert held.trimmed(2, START).missing_at_knots_ns.tolist() == [S, 2 * S, 2 * S]


def test_what_is_trimmed_leaves_what_is_in_force():
    held = held_of("mmmm", [(1, 5, 2), (2, 6, 3), (3, 7, 2)])._replace(booked=3, told=2)
    kept = held.trimmed(2, START + 5 * S)
    assert kept.knots.time_ns.tolist() == [START + k * S for k in (2, 3, 4)]
    assert (kept.booked, kept.told, kept.code.tolist()) == (1, 0, [7])  # the third was not told yet
    assert kept.begin == Position(6, 3)
    assert [held.code_before(START + k * S) for k in (0, 1, 2, 4)] == [0, 5, 6, 7]
    assert [kept.code_before(START + k * S) for k in (2, 3)] == [6, 7]
    assert held.trimmed(0, START).begin == Position()


def test_one_column_for_each_account_and_class():
    held = held_of("mmmm", [(1, 5, 2), (2, 6, 3), (3, 5, 2), (4, 5, 4)])
    timeline, columns = held.timeline(START, START)
    assert timeline.start_s == pytest.approx([0, 1, 2, 3, 4])
    assert [(int(columns.code[k]), int(columns.of_class[k])) for k in timeline.column] == [
        (0, 0),
        (5, 2),
        (6, 3),
        (5, 2),
        (5, 4),
    ]
    assert timeline.width == 4
    late, columns = held.timeline(START, START + 2 * S)
    assert (late.start_s.tolist(), columns.code[late.column].tolist()) == ([2, 3, 4], [6, 5, 5])


def test_a_stretch_has_the_classes_in_force():
    held = held_of("m-", [(1, 5, 2)])
    stretch = held.stretch(START, np.array([0, 1, 2]), START - S)
    assert stretch.knot_s.tolist() == [0.0, 1.0, 2.0]
    assert stretch.rise_j.tolist() == [100.0, 0.0]
    assert stretch.length_s.tolist() == [1.0, 1.0]
    assert stretch.is_known.tolist() == [True, False]
    assert (stretch.classes.start_s.tolist(), stretch.classes.column.tolist()) == ([-1.0, 1.0], [0, 2])


IN_TURNS, BY_DURATION = Rule(2, every=2, kinds=(0, 1), classes=(2, 8)), Rule(2, limits_s=(1.5,), classes=(2, 8))


def test_kinds_of_steps_are_told_by_their_number_in_their_account():
    """Steps of two epochs (codes 5 and 6) with gaps (7): numbers begin anew, in one booking or in many."""
    marks = [(k, code, 2 if code < 7 else 3) for k, code in enumerate([5, 7, 5, 7, 5, 6, 7, 6])]
    at_once = held_of("mmmmmmmmm", marks).told_apart((IN_TURNS,))
    assert at_once.of_class.tolist() == [2, 3, 8, 3, 2, 2, 3, 8]
    held = held_of("mmmmmmmmm", marks[:3]).told_apart((IN_TURNS,))
    for k, code, of_class in marks[3:]:
        news = (np.array([x]) for x in (START + k * S, code, of_class))
        held = held.followed_by(held.knots.part(slice(0)), *news, Position(code, of_class))
    assert held.of_class.tolist() == at_once.of_class.tolist()
    assert held.told_apart(()).of_class.tolist() == [row[2] for row in marks]


def test_the_kind_of_a_step_by_its_duration_is_known_when_it_ends():
    held = held_of("mmmm", [(0, 5, 2)]).told_apart((BY_DURATION,))
    assert (held.of_class.tolist(), held.open_ns) == ([2], START)
    news = (np.array([x]) for x in (START + 2 * S, 7, 3))
    held = held.followed_by(held.knots.part(slice(0)), *news, Position(7, 3))
    assert (held.of_class.tolist(), held.open_ns) == ([8, 3], None)
