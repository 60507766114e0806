from __future__ import annotations

import sys
import threading

import pytest

from lightning_energy.meters.patience import NoAnswerError, NoThreadError, Question, ask


def test_an_answer_and_an_error_come_from_another_thread():
    assert ask(threading.current_thread, 60.0) is not threading.current_thread()
    with pytest.raises(ZeroDivisionError):
        ask(lambda: 1 / 0, 60.0)


def test_what_hangs_is_left():
    over, late, told = threading.Event(), [], threading.Event()
    with pytest.raises(NoAnswerError, match=r"no answer within 0\.01 s"):
        ask(lambda: over.wait(60), 0.01, late=lambda answer: (late.append(answer), told.set()))
    assert late == []
    over.set()
    assert told.wait(60)
    assert late == [True]


def test_an_answer_that_comes_in_time_is_never_late():
    late = []
    assert ask(lambda: 42, 60.0, late=late.append) == 42
    assert late == []


def test_a_question_can_be_asked_and_looked_at_later():
    over = threading.Event()
    question = Question(lambda: over.wait(60))
    assert not question.wait(0.0)
    with pytest.raises(NoAnswerError):
        question.answer()
    over.set()
    assert question.wait(60.0)
    assert question.answer() is True
    failed = Question(lambda: 1 / 0)
    assert failed.wait(60.0)
    with pytest.raises(ZeroDivisionError):
        failed.answer()


def test_what_ends_a_thread_ends_no_program():
    with pytest.raises(RuntimeError, match="SystemExit: 3"):
        ask(lambda: sys.exit(3), 60.0)


def test_no_thread_is_told(monkeypatch):
    def refuse(self) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(NoThreadError, match="new thread"):
        ask(lambda: 1, 60.0)
