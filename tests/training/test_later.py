from __future__ import annotations

import os
import threading

import pytest

from lightning_energy.training.later import Later


@pytest.fixture
def later():
    found = Later()
    yield found
    found.close()
    assert "lightning-energy-writer" not in [t.name for t in threading.enumerate()]


def test_work_is_done_in_order_and_of_each_kind_the_last(later):
    done, begun, go_on = [], threading.Event(), threading.Event()

    def first() -> None:
        begun.set()
        go_on.wait(60)
        done.append(threading.current_thread().name)

    later.do("record", first)
    assert begun.wait(60)
    later.do("record", lambda: done.append("not the last"))
    later.do("trace", lambda: done.append("trace"))
    later.do("record", lambda: done.append("record"))
    assert later.is_busy
    go_on.set()
    later.flush()
    assert done == ["lightning-energy-writer", "record", "trace"]
    assert not later.is_busy


def test_what_it_raised_is_raised_where_the_run_is(later):
    later.do("record", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        later.flush()
    done = []
    later.do("record", lambda: done.append(1))  # and it goes on
    later.flush()
    assert done == [1]


def test_without_a_thread_it_is_done_at_once(monkeypatch, later):
    def none(_thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none)
    done = []
    later.do("record", lambda: done.append(1))
    assert done == [1]
    later.flush()


def test_after_its_end_and_in_a_forked_child_nobody_waits_for_it(monkeypatch):
    later, done = Later(), []
    later.do("record", lambda: done.append(1))
    later.flush()
    pid = os.getpid()
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: pid + 1)
        later.do("record", lambda: done.append(2))
        later.flush()
    later.close()
    later.do("record", lambda: done.append(3))
    later.close()
    assert done == [1, 2, 3]
