"""Questions to drivers and systems that may never be answered."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ask"]

T = TypeVar("T")


def ask(question: Callable[[], T], seconds: float) -> T:
    """The answer to a question that is asked in a thread of its own; one that hangs is left there.

    Args:
        question: a function without arguments.
        seconds: the longest wait.

    Raises:
        TimeoutError: there is no answer within that time.
        RuntimeError: no thread can be started.
        Exception: whatever the question raises.

    Example:
        >>> ask(lambda: 6 * 7, seconds=60.0)
        42
    """
    answers: list[T] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            answers.append(question())
        except Exception as error:  # noqa: BLE001 - raised where it was asked
            errors.append(error)

    thread = threading.Thread(target=run, name="lightning-energy-question", daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not answers:
        raise TimeoutError(f"there is no answer within {seconds:g} s")
    return answers[0]
