"""Questions to drivers and systems that may never be answered."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["NoAnswerError", "NoThreadError", "Question", "ask"]

T = TypeVar("T")


class NoAnswerError(TimeoutError):
    """A question was not answered within the time for it."""


class NoThreadError(RuntimeError):
    """No thread can be started for a question."""


class Question(Generic[T]):
    """A question that is asked in a thread of its own, where it may hang.

    Args:
        question: a function without arguments.

    Raises:
        NoThreadError: no thread can be started.

    Example:
        >>> question = Question(lambda: 6 * 7)
        >>> question.wait(60.0)
        True
        >>> question.answer()
        42
    """

    def __init__(self, question: Callable[[], T]) -> None:
        self._question = question
        self._answers: list[T] = []
        self._error: Exception | None = None
        self._late: Callable[[T], object] | None = None
        self._turn = threading.Lock()  # held while it is decided whether an answer is late
        self._is_answered = threading.Event()
        thread = threading.Thread(target=self._run, name="lightning-energy-question", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            raise NoThreadError(f"no thread can be started ({error})") from error

    def wait(self, seconds: float) -> bool:
        """Wait for the answer, or an error; true when it is there."""
        return self._is_answered.wait(seconds)

    def answer(self) -> T:
        """The answer.

        Raises:
            NoAnswerError: there is none yet.
            Exception: whatever the question raised.
        """
        if self._error is not None:
            raise self._error
        if not self._answers:
            raise NoAnswerError("there is no answer yet")
        return self._answers[0]

    def leave(self, late: Callable[[T], object], *, nobody_takes: bool = False) -> None:
        """Wait no more: ``late`` is called in the thread with an answer that comes later.

        Args:
            late: takes that answer.
            nobody_takes: true where one that is there already goes to ``late``, too.
        """
        with self._turn:
            self._late = late
        for answer in self._answers if nobody_takes else ():
            late(answer)

    def _run(self) -> None:
        try:
            answer = self._question()
        except Exception as error:  # noqa: BLE001 - raised where the answer is asked for
            self._error = error
        except BaseException as error:  # noqa: BLE001 - same: it ends this thread, not the program
            self._error = RuntimeError(f"{type(error).__name__}: {error}")
        else:
            with self._turn:
                if self._late is None:
                    self._answers.append(answer)
            if self._late is not None and not self._answers:
                self._late(answer)
        finally:
            self._is_answered.set()


def ask(question: Callable[[], T], seconds: float, late: Callable[[T], object] = id) -> T:
    """The answer to a question that is asked in a thread of its own; one that hangs is left there.

    Args:
        question: a function without arguments.
        seconds: the longest wait.
        late: called in that thread with an answer that comes too late.

    Raises:
        NoAnswerError: there is no answer within that time.
        NoThreadError: no thread can be started.
        Exception: whatever the question raises.

    Example:
        >>> ask(lambda: 6 * 7, seconds=60.0)
        42
    """
    asked = Question(question)
    try:
        asked.wait(seconds)
        asked.leave(late)
    except BaseException:  # a signal ends the wait
        asked.leave(late, nobody_takes=True)
        raise
    try:
        return asked.answer()
    except NoAnswerError:
        raise NoAnswerError(f"there is no answer within {seconds:g} s") from None
