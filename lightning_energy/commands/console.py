"""Arguments and output that commands have in common."""

from __future__ import annotations

import argparse
import math
import os
import shutil
import sys

from lightning_energy.commands.exits import CannotPrintError
from lightning_energy.results.rendering import encodable

__all__ = [
    "add_run",
    "columns",
    "complain",
    "finite",
    "not_negative",
    "number",
    "positive",
    "print_out",
    "probability",
    "stop_printing",
]

WITHOUT_TERMINAL = (120, 24)  # columns and lines


def add_run(parser: argparse.ArgumentParser) -> None:
    """Add the argument that is the record of a run."""
    parser.add_argument("run", help="the record (energy.json), or the log directory that it lies in")


def columns() -> int:
    """The width of the terminal, in letters."""
    return shutil.get_terminal_size(WITHOUT_TERMINAL).columns


def number(text: str) -> float:
    """Read a number; NaN, which no range holds, for any other text."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def positive(text: str) -> float:
    """Read an argument that is a number above 0."""
    value = number(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r}: give a number above 0")
    return value


def not_negative(text: str) -> float:
    """Read an argument that is a number from 0 on."""
    value = number(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r}: give a number from 0 on")
    return value


def probability(text: str) -> float:
    """Read an argument that is a number between 0 and 1, both excluded."""
    value = number(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: give a probability between 0 and 1")
    return value


def finite(text: str) -> float:
    """Read an argument that is a finite number."""
    value = number(text)
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r}: give a number")
    return value


def print_out(text: str) -> None:
    """Print to stdout, with the signs that its encoding has. A closed one takes nothing.

    Raises:
        CannotPrintError: stdout does not take it, such as a file on a full disk.
    """
    if sys.stdout is None:
        return
    try:
        sys.stdout.write(encodable(text) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        stop_printing()
    except OSError as error:
        stop_printing()
        raise CannotPrintError(f"stdout does not take the text ({error.strerror}): give it another place") from error


def stop_printing() -> None:
    """Let stdout go nowhere: `| head` has seen enough, and Python would complain once more when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def complain(command: str, problem: object) -> None:
    """Print a problem to stderr, under the name of the command."""
    if sys.stderr is not None:
        sys.stderr.write(f"lightning-energy {command}: {problem}\n")
