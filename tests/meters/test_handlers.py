from __future__ import annotations

import functools
import signal

import pytest

from lightning_energy.meters.handlers import forgive, raised_by_handler


class Methods:
    def handle(self, number, frame):
        raise KeyError("stop")

    def __call__(self, number, *rest):
        self.handle(number, *rest)


def plain(number, frame):
    raise KeyError("stop")


def composed(number, frame):
    """As Lightning's own, which calls others."""
    for handler in (plain,):
        handler(number, frame)


HANDLERS = {
    "function": plain,
    "lambda": lambda number, frame: composed(number, frame) or 0,
    "method": Methods().handle,
    "object": Methods(),
    "partial": functools.partial(plain),
    "composed": composed,
}


@pytest.mark.parametrize("name", HANDLERS)
def test_an_exception_of_a_handler_is_told_from_a_defect(name):
    before = signal.signal(signal.SIGUSR1, HANDLERS[name])
    try:
        with pytest.raises(KeyError) as caught, forgive(KeyError):
            signal.raise_signal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert raised_by_handler(caught.value)


def test_a_defect_is_forgiven():
    with forgive(KeyError, ZeroDivisionError):
        plain(0, None)
    with pytest.raises(KeyError) as caught:
        plain(0, None)
    assert not raised_by_handler(caught.value)
    with pytest.raises(ValueError, match="seven"), forgive(KeyError):
        int("seven")
