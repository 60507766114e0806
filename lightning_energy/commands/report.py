"""``lightning-energy report``: the report of a run, again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lightning_energy.commands.console import add_run, complain, print_out, stop_printing
from lightning_energy.commands.exits import Exit
from lightning_energy.commands.files import written
from lightning_energy.results.brief import Place
from lightning_energy.results.evaluated import lines_of_evaluations
from lightning_energy.results.formats import FORMATS, convert, render
from lightning_energy.results.record import NAME
from lightning_energy.results.record_ranks import load_record
from lightning_energy.results.rendering import print_report

if TYPE_CHECKING:
    import argparse

    from lightning_energy.results.record import Record

__all__ = ["add_arguments", "run"]

STUDY = "study.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command, and add its arguments."""
    parser.description = (
        "Print the report of a run from its record. Exit code 2: there is no record that can be read, or it lacks "
        "an input of the format."
    )
    add_run(parser)
    parser.add_argument(
        "--details",
        action="store_true",
        help="print everything: uncertainties, times, devices, formulas and notes (with --format text or markdown)",
    )
    parser.add_argument(
        "--format",
        choices=[*FORMATS],
        default="text",
        help="json: the record itself; csv: a row per epoch; emissions-csv: a row in CodeCarbon's columns; model-card: "
        "a block for a Hugging Face model card (default: text)",
    )
    parser.add_argument(
        "--html", type=Path, metavar="FILE", help="write a page, too: curves of power, metric against energy, epochs"
    )
    parser.add_argument("--carbon-intensity", metavar="X", help="g CO2e/kWh, or a country such as DEU: derive CO2e")
    parser.add_argument("--pue", type=float, metavar="P", help="power usage effectiveness of the facility, from 1 on")
    parser.add_argument("--price", type=float, metavar="P", help="price of a kWh in your currency: derive the cost")


def run(arguments: argparse.Namespace) -> int:
    """Print the report, and return the exit code."""
    try:
        record = convert(
            load_record(arguments.run),
            carbon_intensity=arguments.carbon_intensity,
            pue=arguments.pue,
            price=arguments.price,
        )
        text = render(record, arguments.format, details=arguments.details) if arguments.format != "text" else ""
    except ValueError as error:  # a record, a format or an input that is wrong
        complain("report", error)
        if Path(arguments.run, STUDY).is_file():
            complain(
                "report", f"it is the folder of a study: `lightning-energy study report {arguments.run}` reports it"
            )
        return Exit.WRONG_INPUT
    problems = [] if arguments.html is None else written(record, arguments.html, _write_page)
    for problem in problems:
        complain("report", problem)
    if text:
        print_out(text)
        shown = int(Exit.FINE)
    else:
        shown = _show(record, arguments.run, details=arguments.details)
    return Exit.WRONG_INPUT if problems else shown


def _write_page(record: Record, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(record.to_html(), encoding="utf-8")


def _show(record: Record, given: str, *, details: bool) -> int:
    file = Path(given)
    place = Place.of_record(file / NAME if file.is_dir() else file, given)
    try:
        print_report(record.report, place, details=details)
        if details and (lines := lines_of_evaluations(record)):
            print_out("\n".join(lines))
    except BrokenPipeError:
        stop_printing()
    except Exception as error:  # noqa: BLE001 - a closed file, a full disk
        complain("report", f"the report cannot be printed ({type(error).__name__}: {error})")
        return Exit.WRONG_INPUT
    return Exit.FINE
