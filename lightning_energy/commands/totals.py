"""``lightning-energy totals``: the energy of many runs, summed up."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

from lightning_energy.commands.console import complain, print_out
from lightning_energy.commands.exits import Exit
from lightning_energy.comparison.totals import PROJECT, totals
from lightning_energy.results.plain import cell
from lightning_energy.results.prefixes import Figures, energy_unit
from lightning_energy.results.readable import duration

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from lightning_energy.comparison.totals import Totals, TotalsRow

__all__ = ["add_arguments", "run"]

QUALITIES = ("measured", "integrated", "estimated")
UNKNOWN = "-"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command, and add its arguments."""
    parser.description = (
        "Sum up the energy of all runs below folders, each run once: trainings, failed ones too, and validations, "
        "tests and predictions outside of them. Exit code 2: a record cannot be read (the others are "
        "summed up), or there is none."
    )
    parser.add_argument("folders", nargs="+", metavar="FOLDER", help="a folder that holds records, or a pattern")
    parser.add_argument(
        "--by",
        action="append",
        metavar="KEY",
        help="a row for each month (of UTC), project (first folder below FOLDER), or value of a hyperparameter or "
        "setting, such as a label of your own, or module; may be given several times (default: project)",
    )
    parser.add_argument("--format", choices=["text", "csv", "json"], default="text", help="layout (default: text)")


def run(arguments: argparse.Namespace) -> int:
    """Print the sums, and return the exit code."""
    try:
        found = totals(arguments.folders, arguments.by or [PROJECT])
    except ValueError as error:
        complain("totals", error)
        return Exit.WRONG_INPUT
    for problem in found.problems:
        complain("totals", problem)
    if found.whole.runs:
        print_out(FORMATS[arguments.format](found))
    return Exit.WRONG_INPUT if found.problems else Exit.FINE


def _text(found: Totals) -> str:
    whole = [found.whole] if len(found.rows) > 1 else []
    rows = [*found.rows, *whole]
    shown = [quality for quality in QUALITIES if getattr(found.whole, f"{quality}_kwh") is not None]
    groups = [*(row.group for row in found.rows), *(("all", *[""] * (len(found.by) - 1)) for _ in whole)]
    columns = [[key, *values] for key, values in zip(found.by, zip(*groups, strict=True), strict=True)]
    columns.append(["runs", *(str(row.runs) for row in rows)])
    columns += [[quality, *_energies(rows, quality)] for quality in shown]
    columns.append(["not known", *map(_not_known, rows)])
    widths = [max(map(len, column)) for column in columns]
    n_left = len(found.by)
    lines = [
        "  ".join(text.ljust(width) if i < n_left else text.rjust(width) for i, (text, width) in enumerate(line))
        for line in (zip(texts, widths, strict=True) for texts in zip(*columns, strict=True))
    ]
    return "\n".join([*lines, "", *_remarks(found.whole, shown)])


def _energies(rows: Sequence[TotalsRow], quality: str) -> list[str]:
    values = [getattr(row, f"{quality}_kwh") for row in rows]
    figures = Figures(*energy_unit(values), values)
    both = zip(values, (getattr(row, f"{quality}_u_kwh") for row in rows), strict=True)
    return [UNKNOWN if value is None else figures.show(value, u) for value, u in both]


def _not_known(row: TotalsRow) -> str:
    parts = [f"all of {row.unknown}"] if row.unknown else []
    parts += [f"a part of {row.incomplete}"] if row.incomplete else []
    parts += [duration(row.missing_s)] if row.missing_s else []
    return ", ".join(parts) or UNKNOWN


def _remarks(whole: TotalsRow, shown: Sequence[str]) -> list[str]:
    remarks = ["± is the absolute standard uncertainty (k=1). Sensors err alike in all runs: it does not average out."]
    if len(shown) > 1:
        remarks.append("A run counts by the worst kind of figure in it; kinds are not added up.")
    if "estimated" in shown:
        remarks.append("Estimated: from the CPU time of the training, by a model; no measurement.")
    if whole.unknown or whole.incomplete or whole.missing_s:
        remarks.append("Energy that is not known is in no sum: more was spent.")
    return remarks


def _csv(found: Totals) -> str:
    file = io.StringIO()
    names = [name for name in found.whole.to_plain() if name != "group"]
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*map(cell, found.by), *names])
    for row in found.rows:
        plain = row.to_plain()
        writer.writerow([*map(cell, row.group), *("" if plain[name] is None else plain[name] for name in names)])
    return file.getvalue().rstrip("\n")


def _json(found: Totals) -> str:
    return json.dumps(found.to_plain(), indent=1)


FORMATS = {"text": _text, "csv": _csv, "json": _json}
