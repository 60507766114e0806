from __future__ import annotations

import threading

import numpy as np
import pytest

from lightning_energy.curves.curve import Curve
from lightning_energy.ledger.accounts import Accounts
from lightning_energy.ledger.book import Book
from lightning_energy.ledger.booking import CHUNK, work_out
from lightning_energy.ledger.ledger import Ledger
from lightning_energy.ledger.marks import Marks
from lightning_energy.ledger.sharing.classes import Classes
from lightning_energy.ledger.sharing.delay import MOST_HELD
from tests.ledger.plays import INFO, START, S

GROUPS = np.array([0, 1])


def curve_of(seconds: int, power_w: float = 100.0) -> Curve:
    curve = Curve(INFO)
    for second in range(seconds + 1):
        curve.add(START + second * S, power_w * second)
    return curve


def book_of(curve: Curve, *args, **kwargs) -> Book:
    accounts = Accounts(threading.RLock())
    accounts.code(0, "train", "step")
    return Book(curve, Classes(accounts), *args, **kwargs)


def settle(book: Book, marks: Marks, until_ns: int | None = None, *, is_all: bool = False) -> None:
    book.commit(work_out(book.due(marks, until_ns, is_all=is_all), GROUPS), len(GROUPS))


def test_whole_intervals_are_due_and_the_marks_up_to_their_end():
    book, marks = book_of(curve_of(3)), Marks.of([(START, 1), (START + 2 * S + S // 2, 0)])
    due = book.due(marks, START + 2 * S + 1)
    assert due.held.knots.time_ns.tolist() == [START, START + S, START + 2 * S]
    assert due.held.code.tolist() == [1]
    assert book.due(marks, START + S // 2) is None
    assert book.settled_ns is None  # to look changes nothing


def test_booking_in_two_parts_is_booking_once():
    marks = Marks.of([(START + S // 2, 1), (START + 3 * S // 2, 0), (START + 5 * S // 2, 1)])
    once, twice = book_of(curve_of(3)), book_of(curve_of(3))
    settle(once, marks, is_all=True)
    settle(twice, marks, START + S)
    assert (twice.state.held.end.code, twice.state.passed, twice.told) == (1, 1, 1)
    settle(twice, marks, is_all=True)
    one, two = (book.totals(marks, GROUPS, START + 3 * S)[0] for book in (once, twice))
    assert two.energy_j == pytest.approx(one.energy_j)
    assert two.time_s == pytest.approx(one.time_s)
    for book in (once, twice):
        assert (book.state.held.end.code, book.state.passed, book.settled_ns) == (1, 3, START + 3 * S)
    assert twice.at_told(0, 3).energy_j.tolist() == pytest.approx([50.0, 150.0, 250.0])
    assert twice.at_told(3, 3).energy_j.size == 0
    assert twice.told == 3
    assert len(twice.curve) == 1  # what is booked is forgotten


def test_before_the_first_knot_the_energy_is_missing():
    book, marks = book_of(curve_of(2)), Marks.of([(START - S, 1)])
    settle(book, marks, is_all=True)
    sums, missing_ns = book.totals(marks, GROUPS, START + 2 * S)
    assert missing_ns == [(START - S, START)]
    assert sums.energy_j[1] == pytest.approx(200.0)


def test_totals_book_nothing():
    book, marks = book_of(curve_of(2)), Marks.of([(START, 1)])
    sums, missing_ns = book.totals(marks, GROUPS, START + 3 * S)
    assert sums.energy_j[1] == pytest.approx(300.0)  # the last power goes on
    assert missing_ns == []
    assert (book.settled_ns, book.state.passed, book.state.sums.energy_j.sum()) == (None, 0, 0.0)


def test_knots_are_traced_when_they_are_held_and_once():
    told = []
    book, marks = (
        book_of(curve_of(2), lambda knots, before: told.append((len(knots.time_ns), before))),
        Marks.of([(START, 1)]),
    )
    settle(book, marks, START + S)
    settle(book, marks)
    assert told == [(2, 0), (2, 1)]


@pytest.mark.parametrize("is_exact", [True, False])
def test_little_is_held_for_long(is_exact):
    curve = Curve(INFO)
    book, marks = book_of(curve, None, lambda: is_exact), Marks()
    longest, n = 0, 4 * CHUNK if is_exact else 3 * MOST_HELD
    for k in range(n):
        curve.add(START + k * S // 10, 10.0 * k)
        marks = marks.followed_by_more(np.array([START + k * S // 10 + S // 30]), np.array([k % 2]))
        if k % 7 == 6:
            settle(book, marks, START + k * S // 10)
            longest = max(longest, book.state.held.n)
    assert book.sharing.is_final
    assert longest <= (CHUNK if is_exact else MOST_HELD) + 64
    assert len(curve) < 10
    total = book.totals(marks, GROUPS, int(curve.end_ns))[0]
    joules = total.energy(np.array([True, True]), "total", 0.0)
    assert joules.energy_j == pytest.approx(10.0 * (n - 1), rel=1e-9 if is_exact else 3e-4)


def test_what_a_moment_holds_does_not_depend_on_who_asked_before():
    """Within a phase nobody knows where its parts lie; once it has ended, an earlier answer does not hold any more."""
    marks_s = np.arange(0.25, 20.0, 0.25)
    names = [("step", "forward"), ("step", "backward"), ("gap", "data")]
    answers = []
    for asks in (True, False):
        now, curve = [START], Curve(INFO)
        ledger = Ledger([curve], clock=lambda now=now: now[0])
        for update in range(200):
            for k in np.flatnonzero((marks_s > 0.1 * update - 0.1) & (marks_s <= 0.1 * update)):
                now[0] = START + round(marks_s[k] * S)
                ledger.mark(ledger.code(0, "train", *names[k % 3]))
            now[0] = START + round(0.1 * update * S)
            curve.add(
                now[0],
                float(np.interp(0.1 * update, [0.0, *marks_s], np.cumsum([0.0, *np.resize([20.0, 70.0, 40.0], 79)]))),
            )
            if update % 10 == 0:
                ledger.settle()
        assert ledger.books[0].sharing.parts
        if asks:
            ledger.totals(now[0] + S // 100)
        now[0] += S // 50
        ledger.mark(ledger.code(0, "train", "gap", "data"))
        answers.append([ledger.totals(now[0] + S // 100).energy(phase=phase).energy_j for _, phase in names])
    assert answers[0] == answers[1]
