"""``lightning-energy compare``: runs side by side."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_energy.commands.console import columns, complain, print_out
from lightning_energy.commands.exits import Exit
from lightning_energy.commands.files import picture, written
from lightning_energy.commands.judging import (
    add_grouping,
    add_metric,
    add_reference,
    add_scale,
    add_targets,
    add_verdicts,
    by_of,
)
from lightning_energy.comparison.columns import SORTABLE, column_of
from lightning_energy.comparison.compare import compare
from lightning_energy.comparison.group_table import groups_csv, latex
from lightning_energy.comparison.more_pictures import draw_courses, draw_ranks
from lightning_energy.comparison.picture import draw
from lightning_energy.comparison.table import as_csv, markdown, text

if TYPE_CHECKING:
    from collections.abc import Callable

    from lightning_energy.comparison.comparison import Comparison

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command, and add its arguments."""
    parser.description = (
        "List runs side by side from their records. Exit code 2: something that was given could not be compared, or a "
        "file that was asked for could not be written (a picture without matplotlib); a message names it, and the rest "
        "is compared and written all the same."
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="a record, a folder that holds some, or a pattern")
    parser.add_argument(
        "--sort", metavar="COLUMN", default="energy_kwh", type=_column, help=f"one of: {', '.join(SORTABLE)}"
    )
    parser.add_argument("--reverse", action="store_true", help="sort the other way round")
    add_metric(parser)
    add_scale(parser)
    add_targets(parser)
    add_reference(parser)
    add_grouping(parser, "all settings in their records, the seed excepted")
    add_verdicts(parser)
    parser.add_argument("--format", choices=[*FORMATS], default="text", help="layout of the table (default: text)")
    parser.add_argument("--picture", type=picture, metavar="FILE", help="draw a .png or .svg (needs matplotlib)")
    parser.add_argument(
        "--courses", type=picture, metavar="FILE", help="draw the best value so far against the energy (.png, .svg)"
    )
    parser.add_argument(
        "--ranks", type=picture, metavar="FILE", help="draw the order over the score's constants (.png, .svg)"
    )
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page with the table and the picture")


def run(arguments: argparse.Namespace) -> int:
    """Print the comparison, write the files that are asked for, and return the exit code."""
    comparison = compare(
        arguments.runs,
        sort=arguments.sort,
        reverse=arguments.reverse,
        epoch=arguments.epoch,
        metric=arguments.metric,
        scale=arguments.scale,
        target=arguments.target,
        reference_kwh=arguments.reference_kwh,
        by=by_of(arguments.group_by),
        level=arguments.level,
        margin=arguments.margin,
        baseline=arguments.baseline,
    )
    print_out(FORMATS[arguments.format](comparison))
    problems = [*comparison.problems]
    for file, write in (
        (arguments.picture, draw),
        (arguments.courses, draw_courses),
        (arguments.ranks, draw_ranks),
        (arguments.html, _write_page),
    ):
        if file is not None and comparison.runs:
            problems += written(comparison, file, write)
    for problem in problems:
        complain("compare", problem)
    return Exit.WRONG_INPUT if problems else Exit.FINE


def _text(comparison: Comparison) -> str:
    return text(comparison, columns())


def _json(comparison: Comparison) -> str:
    return json.dumps(comparison.to_plain(), indent=2, allow_nan=False)


FORMATS: dict[str, Callable[[Comparison], str]] = {
    "text": _text,
    "json": _json,
    "csv": as_csv,
    "groups-csv": groups_csv,
    "latex": latex,
    "markdown": markdown,
}


def _column(text_: str) -> str:
    try:
        return column_of(text_).name
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text_!r}: give one of {', '.join(SORTABLE)}") from None


def _write_page(comparison: Comparison, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(comparison.to_html(), encoding="utf-8")
