from __future__ import annotations

import os

import pytest

from lightning_energy.curves.energy import NOTHING
from lightning_energy.ledger.ranks import Ranks
from lightning_energy.meters import MeterLost, ReplayMeter
from lightning_energy.training import rank_books
from lightning_energy.training.rank_books import EMPTY
from lightning_energy.training.run_memory import RunMemory
from tests.training.parts import INFO, POWER_W, Warned, books_of, joules, replay, spend, two_ranks


@pytest.fixture
def opened():
    """Makes books, which are closed in the end."""
    made = []

    def make(*args, **kwargs):
        made.append(books_of(*args, **kwargs))
        return made[-1]

    yield make
    for books in made:
        books.close()


def parts(totals):
    return [totals.energy(stage="train"), totals.energy(stage="validate")]


def fails(totals):
    """A defect that shows on real totals alone."""
    if totals is not EMPTY:
        raise ZeroDivisionError("ours")
    return parts(totals)


# ------------------------------------------------------------------------------------------------ one rank


def test_from_marks_to_energy(opened):
    books = opened(replay())
    spend(books.session, steps=3)
    books.finish()
    totals, (train, validation), mean = books.reduce(parts, 0.5)
    assert mean == 0.5
    assert train.energy_j == pytest.approx(POWER_W * train.duration_s, rel=0.05)
    assert validation.energy_j in {None, 0.0}
    assert books.live(totals) == books.of_fit(totals) == books.own(totals)
    assert books.steps.n == 3
    assert books.steps.energy_j == pytest.approx(POWER_W * books.steps.duration_s, rel=0.05)


def test_what_does_not_belong_to_a_training_is_not_of_it(opened):
    books = opened(replay(), is_fit=False, memory=RunMemory(before=joules(7.0)))
    spend(books.session, stage="validate")
    totals, _, _ = books.reduce(parts)
    assert books.live(totals).energy_j > 0
    assert books.of_fit(totals) == NOTHING
    assert books.own(totals).energy_j == 7.0
    assert books.total_of(NOTHING, totals).energy_j == 7.0


def test_totals_of_a_validation_stand_for_the_end_of_its_epoch_a_moment_later_and_once(opened, monkeypatch):
    """By a clock of our own: how busy the machine is makes no difference."""
    now_ns = 0
    monkeypatch.setattr(rank_books, "monotonic_ns", lambda: now_ns)
    books = opened(replay())
    spend(books.session, steps=3)

    def totals(*, keeps=False, or_lately=True):
        return books.reduce(parts, keeps=keeps, or_lately=or_lately)[0]

    kept = totals(keeps=True, or_lately=False)
    now_ns += 100_000_000
    assert totals() is kept
    assert totals() is not kept
    kept = totals(keeps=True, or_lately=False)
    now_ns += 100_000_001
    assert totals() is not kept
    kept = totals(keeps=True, or_lately=False)
    assert totals(or_lately=False) is not kept
    assert totals() is not kept
    totals(keeps=True, or_lately=False)
    books.give_up("a test", ValueError("no more"))
    assert totals() is EMPTY


def test_a_total_goes_on_from_a_reduction(opened):
    memory = RunMemory(before=joules(7.0))
    books = opened(replay(), memory=memory, ranks=two_ranks())
    spend(books.session)
    totals, (so_far,), _ = books.reduce(lambda t: [books.of_fit(t)])
    assert so_far.energy_j == pytest.approx(2 * books.live(totals).energy_j)
    assert books.total_of(so_far, totals).energy_j == pytest.approx(7.0 + so_far.energy_j)
    assert (memory.reduced, memory.own_then) == (so_far, books.live(totals))


def test_steps_are_taken_once(opened):
    books = opened(replay())
    spend(books.session, steps=2)
    books.session.finish()
    news = books.take_steps()
    assert (news.n, books.steps.n) == (2, 2)
    assert books.take_steps() is None
    books.close()
    assert books.take_steps() is None


class Dead(ReplayMeter):
    def read(self):
        raise MeterLost("fell off the bus")

    def read_power_w(self):
        raise MeterLost("fell off the bus")


def test_a_sensor_that_failed_is_warned_of(opened):
    warn = Warned()
    books = opened(Dead(100.0, info=INFO), warn=warn)
    books.finish()
    books.report_troubles()
    ((_, text),) = warn
    assert "fell off the bus" in text
    books.close()
    books.report_troubles()


# ------------------------------------------------------------------------------------------------ a defect


def test_alone_a_defect_in_a_reduction_is_the_hooks_to_handle(opened):
    books = opened(replay())
    with pytest.raises(ZeroDivisionError):
        books.reduce(fails)
    assert books.is_ours


def test_with_others_a_defect_comes_to_the_reduction_with_nothing(opened):
    came, warn = [], Warned()
    books = opened(replay(), warn=warn, ranks=Ranks(2, 1, _sum=lambda tensor: came.append(1) or tensor))
    spend(books.session)
    totals, sums, mean = books.reduce(fails, 0.5)
    assert totals is EMPTY
    assert [energy.energy_j for energy in sums] == [None, None]
    assert mean is None  # this simulated other rank has no value
    assert came == [1]
    assert warn.topics == ["defect"]
    _, sums, _ = books.reduce(parts)  # and it goes on coming
    assert [energy.energy_j for energy in sums] == [None, None]
    assert came == [1, 1]


def test_a_warning_that_is_an_error_is_the_users(opened):
    def warns(totals):
        raise UserWarning("as error")

    books = opened(replay(), ranks=two_ranks())
    with pytest.raises(UserWarning, match="as error"):
        books.reduce(warns)
    assert books.is_ours


@pytest.mark.parametrize("ranks", [Ranks(), two_ranks()])
def test_what_was_known_stays_known_and_the_rest_is_missing(opened, ranks):
    meter, warn = replay(), Warned()
    books = opened(meter, ranks=ranks, warn=warn)
    spend(books.session)
    known = books.live(books.session.totals())
    books.give_up("a hook", ValueError("ours"))
    assert not meter.is_open
    assert "stops measuring after ValueError in a hook: ours" in warn[0][1]
    now = books.live(EMPTY)
    assert now.energy_j >= known.energy_j
    assert now.duration_s - known.duration_s >= now.missing_s - known.missing_s > 0
    later = books.live(EMPTY)
    assert later.energy_j == now.energy_j
    assert later.missing_s >= now.missing_s
    if ranks.size == 1:
        assert books.session is None
    else:
        assert books.session.channels == []


def test_what_cannot_be_told_is_not_known(opened, monkeypatch):
    books = opened(replay())
    spend(books.session)
    monkeypatch.setattr(books.session, "totals", lambda: 1 / 0)
    books.give_up("a hook", ValueError("ours"))
    assert books.live(EMPTY).energy_j is None


def test_to_give_up_twice_keeps_what_was_known_first(opened):
    books = opened(replay(), ranks=two_ranks())
    spend(books.session)
    books.give_up("a hook", ValueError("ours"))
    first = books.live(EMPTY)
    books.give_up("another", ValueError("ours"))
    assert books.live(EMPTY).energy_j == first.energy_j


# ------------------------------------------------------------------------------------------------ the end


@pytest.mark.parametrize("ranks", [Ranks(), two_ranks()])
def test_who_takes_marks_is_told_before_the_meters_are_closed(ranks):
    seen, meter = [], replay()
    books = books_of(meter, ranks=ranks, left=lambda: seen.append((books.session, meter.is_open)))
    books.give_up("a hook", ValueError("ours"))
    assert seen == [(None, True)]
    books.close()
    assert seen == [(None, True), (None, False)]
    books.close()
    assert len(seen) == 2


def test_closed_books_are_nobodys():
    meter = replay()
    books = books_of(meter)
    assert books.is_ours
    books.close()
    books.close()
    books.finish()
    assert not books.is_ours
    assert not meter.is_open


def test_in_a_forked_child_they_are_not_ours(opened, monkeypatch):
    books = opened()
    pid = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: pid + 1)
    assert not books.is_ours
    monkeypatch.undo()


def test_to_leave_the_others_is_to_reduce_alone(opened):
    books = opened(ranks=Ranks(3, 1, _sum=lambda tensor: 1 / 0))
    books.leave_ranks()
    assert books.mean(0.25) == 0.25
    assert (books.ranks.size, books.ranks.left) == (1, 2)


@pytest.mark.parametrize("rank", [0, 1])
def test_the_sensor_of_another_rank_is_told_on_that_rank_with_its_number(rank):
    class Dies(ReplayMeter):
        def read(self):
            raise MeterLost("the bus is gone")

    warn = Warned()
    books = books_of(Dies(100.0), ranks=two_ranks(rank), warn=warn)
    if rank:
        with pytest.warns(UserWarning, match=r"EnergyCallback on rank 1: .* the bus is gone, first seen"):
            books.report_troubles()
        assert warn == []
    else:
        books.report_troubles()
        ((_, text),) = warn
        assert "the bus is gone" in text
    books.report_troubles()  # once
    books.close()
