"""The command ``lightning-energy``."""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_energy._version import __version__
from lightning_energy.commands.doctor import SECONDS, diagnose
from lightning_energy.comparison.compare import COLUMNS, compare
from lightning_energy.comparison.table import as_csv, markdown, text
from lightning_energy.results.formats import FORMATS, convert, render
from lightning_energy.results.record_ranks import load_record
from lightning_energy.results.rendering import encodable, show

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lightning_energy.comparison.comparison import Comparison

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
        argument, a record that cannot be read or compared, or a file that cannot be written.

    Example:
        >>> main(["doctor", "--seconds", "0.2", "--json"]) in {0, 1}  # doctest: +ELLIPSIS
        {...
        True
    """
    arguments = _parser().parse_args(argv)
    try:
        if arguments.command == "compare":
            return _compare(arguments)
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
        description="Print the report of a run from its record. Exit code 2: there is no record that can be read, or "
        "it does not have what the format needs.",
    )
    report.add_argument("run", help="the record (energy.json), or the log directory that it lies in")
    report.add_argument(
        "--format",
        choices=[*FORMATS],
        default="text",
        help="json: the record itself; csv: a row per epoch; emissions-csv: a row in CodeCarbon's columns; model-card: "
        "a block for a Hugging Face model card (default: text)",
    )
    report.add_argument("--carbon-intensity", metavar="X", help="g CO2e/kWh, or a country such as DEU: derive CO2e")
    report.add_argument("--pue", type=float, metavar="P", help="power usage effectiveness of the facility, from 1 on")
    report.add_argument("--price", type=float, metavar="P", help="price of a kWh in your currency: derive the cost")
    _add_compare(commands)
    return parser


def _add_compare(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "compare",
        help="many runs side by side: accuracy against energy, and which are dominated",
        description="Lay runs side by side from their records. Exit code 2: something that was given could not be "
        "compared, or a file that was asked for could not be written (a picture without matplotlib), which is told "
        "with its file; the rest is compared and written all the same.",
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="a record, a folder that holds some, or a pattern")
    parser.add_argument(
        "--sort", metavar="COLUMN", default="energy_kwh", type=_column, help=f"one of: {', '.join(COLUMNS)}"
    )
    parser.add_argument("--reverse", action="store_true", help="sort the other way round")
    parser.add_argument(
        "--accuracy", choices=["last", "best"], default="last", help="the last that was scored, or the best epoch's"
    )
    parser.add_argument(
        "--reference-kwh",
        type=_positive,
        metavar="KWH",
        help="energy at which the penalty of the score begins to bite (default: the runs' own if they agree, else 1)",
    )
    parser.add_argument("--format", choices=["text", "json", "csv", "markdown"], default="text", help="what to print")
    parser.add_argument("--picture", type=_picture, metavar="FILE", help="draw a .png or .svg (needs matplotlib)")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page with the table and the picture")


def _column(text_: str) -> str:
    if text_ not in {*COLUMNS, *(c.rpartition("_")[0] for c in COLUMNS if "_" in c)}:
        raise argparse.ArgumentTypeError(f"{text_!r}: give one of {', '.join(COLUMNS)}")
    return text_


def _number(text_: str) -> float:
    """The number that a text is; NaN, which no range holds, for any other text."""
    try:
        return float(text_)
    except ValueError:
        return math.nan


def _positive(text_: str) -> float:
    value = _number(text_)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text_!r}: give a number above 0")
    return value


def _picture(text_: str) -> Path:
    path = Path(text_)
    if path.suffix.lower() not in {".png", ".svg"}:
        raise argparse.ArgumentTypeError(f"{text_!r}: give a file that ends in .png or .svg")
    return path


def _seconds(text: str) -> float:
    seconds = _number(text)
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
        record = convert(
            load_record(arguments.run),
            carbon_intensity=arguments.carbon_intensity,
            pue=arguments.pue,
            price=arguments.price,
        )
        printed = render(record, arguments.format)
    except ValueError as error:  # a record, a format or an input that is wrong
        sys.stderr.write(f"lightning-energy report: {error}\n")
        return WRONG
    if arguments.format == "text":
        problem = show(record.report)
        sys.stderr.write(f"lightning-energy report: {problem}\n" if problem else "")
        return 1 if problem else 0
    _print(encodable(printed))
    return 0


def _compare(arguments: argparse.Namespace) -> int:
    comparison = compare(
        arguments.runs,
        sort=arguments.sort,
        reverse=arguments.reverse,
        accuracy=arguments.accuracy,
        reference_kwh=arguments.reference_kwh,
    )
    _print(encodable(_formatted(comparison, arguments.format)))
    problems = [*comparison.problems]
    for file, write in ((arguments.picture, _draw), (arguments.html, _write_page)):
        if file is not None and comparison.runs:
            problems += _written(comparison, file, write)
    for problem in problems:
        sys.stderr.write(f"lightning-energy compare: {problem}\n")
    return WRONG if problems else 0


def _formatted(comparison: Comparison, form: str) -> str:
    if form == "json":
        return json.dumps(comparison.to_plain(), indent=2, allow_nan=False)
    if form == "csv":
        return as_csv(comparison)
    return markdown(comparison) if form == "markdown" else text(comparison, shutil.get_terminal_size((120, 24)).columns)


def _written(comparison: Comparison, file: Path, write: Callable[[Comparison, Path], None]) -> list[str]:
    """Write a file, and say so; what went wrong, where it did."""
    try:
        write(comparison, file)
    except ModuleNotFoundError as error:
        return [f"{file} is not written: {error}"]
    except OSError as error:
        return [f"{file} cannot be written: {error.strerror}: give another place"]
    sys.stderr.write(f"wrote {file}\n")
    return []


def _draw(comparison: Comparison, file: Path) -> None:
    from lightning_energy.comparison.picture import draw  # noqa: PLC0415 - matplotlib is an extra

    draw(comparison, file)


def _write_page(comparison: Comparison, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(comparison.to_html(), encoding="utf-8")


def _print(lines: str) -> None:
    try:
        sys.stdout.write(lines + "\n")
        sys.stdout.flush()
    except BrokenPipeError:  # `| head` has seen enough; Python would complain once more when it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
