"""The looks of a report: plain text, HTML in a notebook, a rich table in a terminal."""

from __future__ import annotations

import re
import sys
from html import escape
from typing import TYPE_CHECKING, Any

from lightning_energy.results.layout import HEADER, Layout, lay_out

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_energy.results.figures import Figures

__all__ = ["as_html", "as_markdown", "as_text", "encodable", "in_markdown", "show"]

NAME_WIDTH, *WIDTHS = 22, 14, 13, 12, 11  # of the columns; the last has none
NARROW = 80  # columns; in less, lines are easier to read than a table
MARKDOWN = "\\`*_[]|~"  # signs with a meaning in Markdown
COMMAND = re.compile(r"((?<!`)`(?! )[^`<>&|\\]+(?<! )`(?!`))")  # in backticks; nothing in it needs to be escaped
SPELLED = {"±": "+/-", "…": "...", "µ": "u"}  # for terminals that have no such letters


def as_text(report: Figures) -> str:
    """Plain text, as in ``str(report)``."""
    layout = lay_out(report)
    width = max(NAME_WIDTH, *(len(row[0]) + 1 for row in layout.rows))
    lines = [layout.title, *(_line(row, width) for row in (HEADER, *layout.rows))]
    return "\n".join([*lines, *(f"{label}: {text}" for label, text in _facts(layout))])


def as_html(report: Figures) -> str:
    """A piece of HTML without scripts or styles of its own, everything in it escaped."""
    layout = lay_out(report)
    head = "".join(f"<th>{escape(name)}</th>" for name in HEADER)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in layout.rows)
    facts = "".join(f"<dt>{escape(label)}</dt><dd>{escape(text)}</dd>" for label, text in _facts(layout))
    return (
        f"<div><strong>{escape(layout.title)}</strong>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table><dl>{facts}</dl></div>"
    )


def as_markdown(report: Figures) -> str:
    """A heading, a table and a list, everything in it escaped."""
    layout = lay_out(report)
    rule = ["---", *["---:"] * (len(HEADER) - 2), "---"]
    lines = ["| " + " | ".join(cells) + " |" for cells in (HEADER, rule, *(map(in_markdown, r) for r in layout.rows))]
    items = [f"- **{in_markdown(label)}:** {in_markdown(text)}" for label, text in layout.facts]
    items += [f"- **Note:** {_note_in_markdown(note)}" for note in layout.notes]
    return "\n".join([f"### {in_markdown(layout.title)}", "", *lines, "", *items])


def in_markdown(text: str) -> str:
    r"""Text that Markdown, or HTML within it, shows as it is.

    Example:
        >>> in_markdown("a_b | <c>")
        'a\\_b \\| &lt;c&gt;'
    """
    return "".join(f"\\{sign}" if sign in MARKDOWN else sign for sign in escape(text, quote=False))


def _note_in_markdown(text: str) -> str:
    """As :func:`in_markdown`, but a command between backticks stays one, to be read and copied as it is."""
    parts = COMMAND.split(text)  # every other one is a command
    return "".join(part if i % 2 else in_markdown(part) for i, part in enumerate(parts))


def show(report: Figures) -> str:
    """Print a report: as a rich table if rich is installed and stdout is a terminal or a notebook, else as plain text.

    Returns:
        The problem, if stdout did not take it; a report that cannot be shown must not end a training.
    """
    text = as_text(report)
    try:
        console = _console() if _encodes(text) else None
        if console is not None:
            console.print(_rich(lay_out(report)))
        elif sys.stdout is not None:  # pythonw has none
            print(encodable(text), flush=True)  # noqa: T201 - this is the function that prints
    except Exception as error:  # noqa: BLE001 - a closed pipe or file, whatever stands in for stdout
        return f"the report cannot be printed ({type(error).__name__}: {error})"
    return ""


def _line(row: Sequence[str], name_width: int) -> str:
    name, *middle, last = row
    cells = [f"{cell:>{width}}" for cell, width in zip(middle, WIDTHS, strict=True)]
    return f"{name:{name_width}}{''.join(cells)}  {last}".rstrip()


def _facts(layout: Layout) -> list[tuple[str, str]]:
    return [*layout.facts, *(("Note", note) for note in layout.notes)]


def _console() -> Any:
    """Rich's console if it would show a table as one."""
    try:
        from rich.console import Console  # noqa: PLC0415 - an extra
    except ImportError:
        return None
    console = Console()
    is_wide = console.width >= NARROW
    return console if is_wide and (console.is_terminal or console.is_jupyter) else None


def _rich(layout: Layout) -> Any:
    """Everything as ``Text``: a device may be called ``[red]``."""
    from rich.console import Group  # noqa: PLC0415 - an extra, found by _console
    from rich.table import Table  # noqa: PLC0415 - same
    from rich.text import Text  # noqa: PLC0415 - same

    table = Table(title=Text(layout.title, style="bold"), title_justify="left", show_edge=False)
    for i, name in enumerate(HEADER):
        is_last = i == len(HEADER) - 1
        table.add_column(Text(name), justify="right" if i > 0 and not is_last else "left", no_wrap=not is_last)
    for row in layout.rows:
        bold = "bold" if row[0] == "this run" else ""
        table.add_row(*(Text(cell, style=bold) for cell in row))
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="bold")
    facts.add_column(overflow="fold")
    for label, text in _facts(layout):
        facts.add_row(Text(label), Text(text))
    return Group(table, Text(""), facts)


def _encodes(text: str) -> bool:
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def encodable(text: str) -> str:
    """The same text in the letters that the encoding of stdout has."""
    if _encodes(text):
        return text
    for letter, spelled in SPELLED.items():
        text = text.replace(letter, spelled)
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return text.encode(encoding, "replace").decode(encoding)
