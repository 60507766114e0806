"""A record as text, for people and for other programs: the formats of ``lightning-energy report --format``."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lightning_energy.results.carbon import Conversion
from lightning_energy.results.exports import FormatError, emissions_csv, model_card
from lightning_energy.results.layout import HEADER, lay_out
from lightning_energy.results.plain import cell
from lightning_energy.results.rendering import as_markdown, as_text
from lightning_energy.results.rows import EPOCH_COLUMNS

if TYPE_CHECKING:
    from lightning_energy.results.record import Record
    from lightning_energy.results.rows import EpochRow

__all__ = ["FORMATS", "FormatError", "convert", "render"]

OF_PHASE = "train_phase_"  # the beginning of a phase's column
LATEX = {
    "\\": r"\textbackslash{}",
    **{sign: f"\\{sign}" for sign in "{}$&#_%"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"{\char34}",
    "[": "{[}",  # would be an argument of a line's end before it
    "*": "{*}",  # same
    "±": r"$\pm$",
    "µ": r"$\mu$",
    "…": r"\ldots{}",
}
LATIN = {chr(code) for code in range(0xC0, 0x100)} - {*"ÐðÞþ"}


def render(
    record: Record,
    format: str,  # noqa: A002 - the name that the command has for it
    *,
    details: bool = False,
) -> str:
    """A record as text.

    Args:
        record: from :func:`~lightning_energy.load_record`.
        format: ``text`` and ``markdown`` (the report), ``json`` (the record itself), ``latex`` (a table of the stages
            with all details; it needs no packages), ``csv`` (one row per training epoch, empty where unknown),
            ``emissions-csv`` (one row for the run in CodeCarbon's columns), ``model-card`` (a block for the front
            matter of a Hugging Face model card).
        details: whether ``text`` and ``markdown`` say all that there is to say.

    Raises:
        FormatError: the record lacks an input of the format.
        ValueError: there is no such format, or none with details.
    """
    if format not in FORMATS:
        raise ValueError(f"format={format!r}: give one of {', '.join(FORMATS)}")
    if not details:
        return FORMATS[format](record)
    if format not in DETAILED:
        raise ValueError(f"format={format!r} has no details: give one of {', '.join(DETAILED)}, or omit the details")
    return DETAILED[format](record.report, details=True)


def convert(
    record: Record,
    *,
    carbon_intensity: float | str | None = None,
    pue: float | None = None,
    price: float | None = None,
) -> Record:
    """A record with CO2e and cost derived anew, from the inputs given here and else from its own.

    Args:
        record: a record.
        carbon_intensity: g/kWh or the code of a country.
        pue: power usage effectiveness.
        price: of a kWh.

    Raises:
        TypeError: an input has the wrong type.
        ValueError: an input has an impossible value.
    """
    new = Conversion.of(carbon_intensity, 1.0 if pue is None else pue, price)
    if carbon_intensity is None and pue is None and price is None:
        return record
    before = record.derived.conversion if record.derived else Conversion()
    given = new or Conversion()
    conversion = Conversion(
        given.intensity or before.intensity,
        before.pue if pue is None else given.pue,
        before.price_per_kwh if price is None else given.price_per_kwh,
    )
    if conversion == Conversion():
        return replace(record, derived=None)
    rows = [replace(row, derived={**row.derived, **conversion.row(row.total_kwh)}) for row in record.epochs]
    return replace(record, derived=conversion.derive(record.total or record.session), epochs=rows)


def _text(record: Record) -> str:
    return str(record.report)


def _json(record: Record) -> str:
    return json.dumps(record.to_plain(), indent=2, allow_nan=False)


def _columns_of(row: EpochRow) -> dict[str, Any]:
    """The columns of an epoch's row, one of them for each phase that it has: its joules where they are resolved.

    A user names phases as they like: no other column begins like theirs.
    """
    columns = row.to_plain()
    columns.pop("phases", None)
    return columns | {f"{OF_PHASE}{phase.name}_j": phase.energy_j if phase.resolved else None for phase in row.phases}


def _csv(record: Record) -> str:
    rows = [_columns_of(row) for row in record.epochs]
    columns = dict.fromkeys([*EPOCH_COLUMNS, *(name for row in rows for name in row)])
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: cell(value) for key, value in row.items()} for row in rows)
    return text.getvalue().rstrip("\n")


IN_CAPTION = ("Training in all", "Metric", "Score", "Covers", "Uncertainty", "Missing")
"""The facts that a reader of a table needs; the others are comments."""


def _markdown(record: Record) -> str:
    return as_markdown(record.report)


def _latex(record: Record) -> str:
    layout = lay_out(record.report)
    rows = [r"    " + " & ".join(map(_in_latex, cells)) + r" \\" for cells in (HEADER, *layout.rows)]
    caption = " ".join(f"{_in_latex(label)}: {_in_latex(text)}." for label, text in layout.facts if label in IN_CAPTION)
    return "\n".join(
        [
            *(f"% {_in_latex(label)}: {_in_latex(text)}" for label, text in layout.facts if label not in IN_CAPTION),
            *(f"% Note: {_in_latex(note)}" for note in layout.notes),
            r"\begin{table}",
            r"  \centering",
            rf"  \caption{{{_in_latex(layout.title)}. {caption}}}",
            rf"  \begin{{tabular}}{{l{'r' * (len(HEADER) - 2)}l}}",
            r"    \hline",
            rows[0],
            r"    \hline",
            *rows[1:],
            r"    \hline",
            r"  \end{tabular}",
            r"\end{table}",
        ]
    )


def _in_latex(text: str) -> str:
    """Escape a text; letters that LaTeX's first fonts lack become question marks."""
    return "".join(LATEX.get(sign, sign if sign.isascii() or sign in LATIN else "?") for sign in text)


FORMATS = {
    "text": _text,
    "json": _json,
    "markdown": _markdown,
    "latex": _latex,
    "csv": _csv,
    "emissions-csv": emissions_csv,
    "model-card": model_card,
}

DETAILED = {"text": as_text, "markdown": as_markdown}
