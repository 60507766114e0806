"""The command ``lightning-energy``."""

from __future__ import annotations

import argparse
import json
import math
import sys
from typing import TYPE_CHECKING

from lightning_energy._version import __version__
from lightning_energy.doctor import SECONDS, diagnose
from lightning_energy.record import RecordError, read_record, report_of

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

LONGEST_S = 600.0
WRONG = 2
INTERRUPTED = 130  # what shells give a command that Ctrl-C ended


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: the arguments; those of the process by default.

    Returns:
        The exit code: for ``doctor`` 0 when something is measured, 1 when only an estimate is possible; 2 for a wrong
        argument or a record that cannot be read.

    Example:
        >>> main(["doctor", "--seconds", "0.2", "--json"]) in {0, 1}  # doctest: +ELLIPSIS
        {...
        True
    """
    arguments = _parser().parse_args(argv)
    try:
        return _doctor(arguments) if arguments.command == "doctor" else _report(arguments)
    except KeyboardInterrupt:
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lightning-energy", description="What a training costs in energy.")
    parser.add_argument("--version", action="version", version=f"lightning-energy {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    doctor = commands.add_parser(
        "doctor",
        help="what this machine can measure, and what would make more of it readable",
        description="Open every meter of this machine, watch them for a moment, and tell what was seen. "
        "Exit code 0: something is measured; 1: only an estimate is possible.",
    )
    doctor.add_argument("--json", action="store_true", help="print JSON")
    doctor.add_argument(
        "--seconds", type=_seconds, default=SECONDS, help=f"how long to watch the meters (default: {SECONDS:g})"
    )
    report = commands.add_parser(
        "report",
        help="print the report of a run again",
        description="Print the report of a run from its record. Exit code 2: there is no record that can be read.",
    )
    report.add_argument("run", help="the record (energy.json), or the log directory that it lies in")
    report.add_argument("--json", action="store_true", help="print the record itself")
    return parser


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= LONGEST_S:
        raise argparse.ArgumentTypeError(f"{text!r}: give seconds above 0 and up to {LONGEST_S:g}")
    return seconds


def _doctor(arguments: argparse.Namespace) -> int:
    diagnosis = diagnose(arguments.seconds)
    text = json.dumps(diagnosis.to_plain(), indent=2, allow_nan=False) if arguments.json else str(diagnosis)
    sys.stdout.write(text + "\n")
    return 0 if diagnosis.is_measured else 1


def _report(arguments: argparse.Namespace) -> int:
    try:
        record = read_record(arguments.run)
    except RecordError as error:
        sys.stderr.write(f"lightning-energy report: {error}\n")
        return WRONG
    text = json.dumps(record, indent=2, allow_nan=False) if arguments.json else str(report_of(record))
    sys.stdout.write(text + "\n")
    return 0
