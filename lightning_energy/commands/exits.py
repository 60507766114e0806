"""Exit codes, the same for every command."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["CannotPrintError", "Exit"]


class CannotPrintError(Exception):
    """Stdout does not take what a command has to say."""


class Exit(IntEnum):
    """An exit code."""

    FINE = 0
    WORSE = 1
    """The answer is "worse" or "only an estimate"."""
    WRONG_INPUT = 2
    """An argument is wrong, an input cannot be read, or an output cannot be written."""
    CANNOT_TELL = 3
    """There is no answer."""
    INTERRUPTED = 130
    """Ctrl-C, as shells report it."""
