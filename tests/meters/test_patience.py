from __future__ import annotations

import threading

import pytest

from lightning_energy.meters.patience import ask


def test_an_answer_and_an_error_come_from_another_thread():
    assert ask(threading.current_thread, 60.0) is not threading.current_thread()
    with pytest.raises(ZeroDivisionError):
        ask(lambda: 1 / 0, 60.0)


def test_what_hangs_is_left():
    over = threading.Event()
    with pytest.raises(TimeoutError, match=r"no answer within 0\.01 s"):
        ask(lambda: over.wait(60), 0.01)
    over.set()


def test_no_thread_is_told(monkeypatch):
    def refuse(self) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(RuntimeError, match="new thread"):
        ask(lambda: 1, 60.0)
