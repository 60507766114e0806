from __future__ import annotations

import threading

import pytest

from lightning_energy.ledger.booker import Booker


@pytest.fixture
def made():
    bookers = []
    yield lambda *arguments: bookers.append(Booker(*arguments)) or bookers[-1]
    for booker in bookers:
        assert booker.stop(60)
    assert "lightning-energy-booker" not in [t.name for t in threading.enumerate()]


def test_it_books_when_it_is_woken_in_its_own_thread(made):
    entered, booked = [], threading.Semaphore(0)
    booker = made(lambda pause: (pause(), booked.release()), lambda: entered.append(threading.current_thread().name))
    booker.start()
    for _ in range(3):
        assert booker.wake()
        assert booked.acquire(timeout=60)
    assert entered == ["lightning-energy-booker"]
    assert not booker.is_current


def test_it_foresees_when_it_is_woken_for_that(made):
    done, went_on = [], threading.Semaphore(0)
    booker = made(
        lambda _pause: (done.append("settled"), went_on.release()),
        None,
        lambda pause: (pause(), done.append("foreseen"), went_on.release()),
    )
    booker.wake_to_foresee()  # before it begins
    booker.start()
    assert went_on.acquire(timeout=60)
    booker.wake()
    assert went_on.acquire(timeout=60)
    assert done == ["foreseen", "settled"]


def test_a_booking_is_not_forgotten_over_what_is_to_be_foreseen(made):
    """Both are asked for while it is at work, as in short epochs."""
    done, begun, go_on, more = [], threading.Event(), threading.Event(), threading.Semaphore(0)

    def foresee(_pause) -> None:
        done.append("foreseen")
        more.release()
        begun.set()
        assert go_on.wait(60)

    booker = made(lambda _pause: (done.append("settled"), more.release()), None, foresee)
    booker.start()
    booker.wake_to_foresee()
    assert begun.wait(60)
    booker.wake()
    booker.wake_to_foresee()
    go_on.set()
    for _ in range(3):
        assert more.acquire(timeout=60)
    assert done == ["foreseen", "settled", "foreseen"]  # by turns, so that neither keeps the other waiting for ever


def test_what_is_under_way_is_given_up_at_the_end(made):
    begun, done = threading.Event(), []

    def settle(pause) -> None:
        while True:
            begun.set()
            pause()
            done.append("a piece")

    booker = made(settle)
    booker.start()
    booker.wake()
    assert begun.wait(60)
    assert booker.stop(60)
    assert booker.failure is None
    assert not booker.wake()  # whoever calls has to settle


def test_its_error_is_raised_where_it_is_woken(made):
    booker = made(lambda _pause: 1 / 0)
    booker.start()
    booker.wake()
    booker._thread.join(60)
    with pytest.raises(ZeroDivisionError):
        booker.wake()


def test_without_a_thread_nobody_books(made, monkeypatch):
    def none(_thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none)
    booker = made(lambda _pause: None)
    booker.start()
    assert not booker.wake()
