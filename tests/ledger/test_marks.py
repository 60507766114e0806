from __future__ import annotations

import numpy as np

from lightning_energy.ledger.marks import AtMarks, Inbox, Marks, Told


def test_times_never_fall():
    marks = Marks.of([(5, 1), (3, 2)]).followed_by_more(np.array([4, 9]), np.array([3, 1]))
    assert marks.time_ns.tolist() == [5, 5, 5, 9]
    assert marks.code.tolist() == [1, 2, 3, 1]


def test_no_mark_moves_into_closed_time():
    marks = Marks()
    marks.close(7)
    marks.close(6)  # which opens nothing
    marks = marks.followed_by_more(np.array([], int), np.array([], int))
    marks = marks.followed_by_more(np.array([5, 8]), np.array([1, 2]))
    assert marks.closed_ns == 7
    assert marks.time_ns.tolist() == [7, 8]


def test_marks_are_counted_from_the_first_of_the_run():
    marks = Marks.of([(1, 1), (2, 2), (3, 3), (4, 4)])
    marks.drop_before(2)
    assert (marks.code.tolist(), marks.dropped) == ([3, 4], 2)
    later = marks.after(3)
    assert (later.code.tolist(), later.dropped) == ([4], 3)
    assert marks.code.tolist() == [3, 4]
    both = marks.followed_by(Marks.of([(2, 5), (9, 6)]))
    assert (both.time_ns.tolist(), both.code.tolist(), both.dropped) == ([3, 4, 4, 9], [3, 4, 5, 6], 2)


def test_an_inbox_for_nobody_keeps_nothing():
    inbox = Inbox.nowhere(lambda: 1)
    inbox.marks.extend((1, 1))
    assert inbox.marks == []
    assert (inbox.clock(), inbox.stamp) == (1, None)


def test_the_states_of_curves_at_marks_are_summed():
    """What is alike adds linearly, the rest in quadrature: (1 + 1) J and 3 + 3 J²; (2 + 2) J."""
    one = AtMarks(np.array([1.0, 2.0]), np.array([0.0, 0.5]), np.array([4.0, 4.0]), np.array([1.0, 4.0]))
    both = AtMarks.together([one, one])
    assert [c.tolist() for c in both] == [[2.0, 4.0], [0.0, 1.0], [10.0, 16.0], [4.0, 16.0]]
    assert AtMarks.together([one]) is one
    longer = AtMarks.none().followed_by(one).followed_by(one.part(slice(1)))
    assert [c.tolist() for c in longer] == [[1.0, 2.0, 1.0], [0.0, 0.5, 0.0], [4.0, 4.0, 4.0], [1.0, 4.0, 1.0]]


def test_what_was_told_goes_on():
    def told(first: int, end: int) -> Told:
        return Told(AtMarks(*(np.arange(first, end) * factor for factor in (1.0, 0.0, 2.0, 1.0))), first)

    for first, begin in ((3, 7), (3, 5)):  # behind the last; where some were told again
        both = told(first, 7).continued(told(begin, 9))
        assert (both.first, both.end) == (first, 9)
        assert both.at_marks.variance_j2.tolist() == [2.0 * n for n in range(first, 9)]
    alone = told(3, 7).continued(told(8, 9))  # every curve has passed all until then
    assert (alone.first, alone.at_marks.energy_j.tolist()) == (8, [8.0])
