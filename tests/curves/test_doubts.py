from __future__ import annotations

from lightning_energy.curves.doubts import Doubts


def narrow(doubts: Doubts, *, strays: bool = False) -> str:
    return doubts.judge(strays=strays, is_narrow=True, is_regular=not doubts.is_raised)


def wide(doubts: Doubts, *, strays: bool = False) -> str:
    return doubts.judge(strays=strays, is_narrow=False, is_regular=not doubts.is_raised)


def test_a_line_holds_while_no_edge_strays():
    doubts = Doubts()
    assert [narrow(doubts), wide(doubts), narrow(doubts)] == ["good"] * 3
    assert not doubts.is_raised


def test_two_narrow_edges_in_a_row_that_stray_make_a_line_wrong():
    doubts = Doubts()
    assert narrow(doubts, strays=True) == "good"
    assert doubts.strayed == 1
    assert wide(doubts) == "doubtful"  # meanwhile no wide edge is placed by it
    assert narrow(doubts) == "good"
    assert wide(doubts) == "good"
    assert [narrow(doubts, strays=True) for _ in range(2)] == ["good", "wrong"]
    assert (doubts.strayed, doubts.is_raised) == (0, False)


def test_a_wide_edge_that_strays_raises_a_doubt_which_one_narrow_edge_settles():
    for strays, verdict in ((False, "good"), (True, "wrong")):
        doubts = Doubts()
        assert wide(doubts, strays=True) == "doubtful"
        assert doubts.is_raised
        assert narrow(doubts, strays=strays) == verdict
        assert not doubts.is_raised


def test_where_no_edge_is_narrow_eight_wide_ones_have_to_do():
    doubts = Doubts()
    assert [wide(doubts, strays=k == 0) for k in range(8)] == ["doubtful"] * 7 + ["wrong"]
    assert wide(doubts) == "good"


def test_a_line_that_is_not_in_use_is_not_doubted_for_a_wide_edge():
    doubts = Doubts()
    assert doubts.judge(strays=True, is_narrow=False, is_regular=False) == "good"
    assert not doubts.is_raised


def test_two_edges_in_a_row_that_came_too_soon_raise_a_doubt():
    doubts = Doubts()
    for _ in range(2):
        assert not doubts.is_raised
        wide(doubts)
        doubts.came_too_soon()
    assert doubts.is_raised
    assert wide(doubts) == "doubtful"


def test_a_narrow_edge_is_never_too_soon_and_begins_the_count_anew():
    doubts = Doubts()
    for _ in range(5):
        wide(doubts)
        doubts.came_too_soon()
        narrow(doubts)
        doubts.came_too_soon()
    assert not doubts.is_raised
