from __future__ import annotations

import numpy as np
import pytest

from lightning_energy.curves.curve import Curve
from lightning_energy.ledger.book import Book
from lightning_energy.ledger.marks import Marks
from tests.ledger.plays import INFO, START, S

GROUPS = np.array([0, 1])


def curve_of(seconds: int, power_w: float = 100.0) -> Curve:
    curve = Curve(INFO)
    for second in range(seconds + 1):
        curve.add(START + second * S, power_w * second)
    return curve


def settle(book: Book, marks: Marks, until_ns: int | None = None) -> None:
    book.commit(book.work_out(book.due(marks, until_ns), GROUPS), len(GROUPS))


def test_whole_intervals_are_due_and_the_marks_up_to_their_end():
    book, marks = Book(curve_of(3)), Marks.of([(START, 1), (START + 2 * S + S // 2, 0)])
    due = book.due(marks, START + 2 * S + 1)
    assert due.knots.time_ns.tolist() == [START, START + S, START + 2 * S]
    assert due.marks_code.tolist() == [1]
    assert book.due(marks, START + S - 1) is None
    assert book.settled_ns is None  # to look changes nothing


def test_booking_in_two_parts_is_booking_once():
    marks = Marks.of([(START + S // 2, 1), (START + 3 * S // 2, 0), (START + 5 * S // 2, 1)])
    once, twice = Book(curve_of(3)), Book(curve_of(3))
    settle(once, marks)
    settle(twice, marks, START + S)
    assert (twice.code, twice.passed, twice.untaken) == (1, 1, 1)
    settle(twice, marks)
    assert twice.sums.energy_j == pytest.approx(once.sums.energy_j)
    assert twice.sums.time_s == pytest.approx(once.sums.time_s)
    for book in (once, twice):
        assert (book.code, book.passed, book.settled_ns) == (1, 3, START + 3 * S)
    assert twice.take_passed(3).energy_j.tolist() == pytest.approx([50.0, 150.0, 250.0])
    assert twice.untaken == 0
    assert len(twice.curve) == 1  # what is booked is forgotten


def test_before_the_first_knot_the_energy_is_missing():
    book, marks = Book(curve_of(2)), Marks.of([(START - S, 1)])
    settle(book, marks)
    assert book.missing_s == pytest.approx(1.0)
    assert book.missing_ns == [(START - S, START)]
    assert book.sums.energy_j[1] == pytest.approx(200.0)


def test_totals_book_nothing():
    book, marks = Book(curve_of(2)), Marks.of([(START, 1)])
    sums, missing_ns = book.totals(marks, GROUPS, START + 3 * S)
    assert sums.energy_j[1] == pytest.approx(300.0)  # the last power goes on
    assert missing_ns == []
    assert (book.settled_ns, book.passed, book.sums.energy_j.sum()) == (None, 0, 0.0)


def test_knots_are_traced_when_they_are_booked_and_once():
    told = []
    book, marks = (
        Book(curve_of(2), lambda knots, before: told.append((len(knots.time_ns), before))),
        Marks.of([(START, 1)]),
    )
    settle(book, marks, START + S)
    settle(book, marks)
    assert told == [(2, 0), (2, 1)]
