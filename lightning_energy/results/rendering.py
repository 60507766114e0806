"""The looks of a report: plain text, HTML in a notebook, a rich table in a terminal."""

from __future__ import annotations

import re
import sys
from html import escape
from typing import TYPE_CHECKING, Any

from lightning_energy.meters.handlers import raised_by_handler
from lightning_energy.results.brief import Brief, Place, in_brief
from lightning_energy.results.layout import HEADER, Layout, lay_out

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_energy.results.figures import Figures

__all__ = ["as_html", "as_markdown", "as_text", "encodable", "in_markdown", "note_in_markdown", "print_report", "show"]

HERE = Place()
BRIEF_HEADER = ("stage", "energy", "share", "")
NAME_WIDTH, *WIDTHS = 22, 14, 13, 12, 11  # of the columns; the last has none
NARROW = 80  # columns; in less, lines are easier to read than a table
MARKDOWN = "\\`*_[]|~"  # signs with a meaning in Markdown
COMMAND = re.compile(r"((?<!`)`(?! )[^`<>&|\\]+(?<! )`(?!`))")  # in backticks; nothing in it needs to be escaped
SPELLED = {"±": "+/-", "…": "...", "µ": "u"}  # for terminals that have no such letters


def as_text(report: Figures, place: Place = HERE, *, details: bool = False) -> str:
    """Plain text, as in ``str(report)``.

    Args:
        report: the figures.
        place: the place of its record.
        details: whether to say all that there is to say.
    """
    brief = in_brief(report, None if details else place)
    lines = [*brief.head, *_columns(brief.rows), *(f"{label}: {text}" for label, text in brief.lines)]
    return "\n".join([*lines, "", *_details(lay_out(report))] if details else lines)


def as_html(report: Figures) -> str:
    """A piece of HTML without scripts or styles of its own, everything in it escaped."""
    brief = in_brief(report, HERE)
    head = "<br>".join(map(escape, brief.head))
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in brief.rows)
    lines = "".join(f"<dt>{escape(label)}</dt><dd>{escape(text)}</dd>" for label, text in brief.lines)
    return f"<div><strong>{head}</strong><table><tbody>{body}</tbody></table><dl>{lines}</dl></div>"


def as_markdown(report: Figures, place: Place = HERE, *, details: bool = False) -> str:
    """A heading, a table and a list, everything in it escaped; see :func:`as_text` for the arguments."""
    brief = in_brief(report, None if details else place)
    first, *more = map(in_markdown, brief.head)
    parts = [f"### {first}", *more, _table(BRIEF_HEADER, ("---", "---:", "---:", "---"), brief.rows)]
    parts.append("\n".join(f"- **{in_markdown(label)}:** {note_in_markdown(text)}" for label, text in brief.lines))
    if details:
        layout = lay_out(report)
        items = [f"- **{in_markdown(label)}:** {in_markdown(text)}" for label, text in layout.facts]
        items += [f"- **Note:** {note_in_markdown(note)}" for note in layout.notes]
        rule = ("---", *["---:"] * (len(HEADER) - 2), "---")
        parts += [f"#### {in_markdown(layout.title)}", _table(HEADER, rule, layout.rows), "\n".join(items)]
    return "\n\n".join(part for part in parts if part)


def in_markdown(text: str) -> str:
    r"""Text that Markdown, or HTML within it, shows as it is.

    Example:
        >>> in_markdown("a_b | <c>")
        'a\\_b \\| &lt;c&gt;'
    """
    return "".join(f"\\{sign}" if sign in MARKDOWN else sign for sign in escape(text, quote=False))


def note_in_markdown(text: str) -> str:
    """As :func:`in_markdown`, but a command between backticks stays one, to be read and copied as it is."""
    parts = COMMAND.split(text)  # every other one is a command
    return "".join(part if i % 2 else in_markdown(part) for i, part in enumerate(parts))


def show(report: Figures, place: Place = HERE) -> str:
    """Print a report as :func:`print_report` does.

    Args:
        report: the figures.
        place: the place of its record.

    Returns:
        The problem, if stdout did not take it; a report that cannot be shown must not end a training.
    """
    try:
        print_report(report, place)
    except Exception as error:  # a closed pipe or file, whatever stands in for stdout
        if raised_by_handler(error):
            raise
        return f"the report cannot be printed ({type(error).__name__}: {error})"
    return ""


def print_report(report: Figures, place: Place = HERE, *, details: bool = False) -> None:
    """Print a report: by rich if it is installed and stdout is a terminal or a notebook, else as plain text.

    See :func:`as_text` for the arguments. Raises whatever stdout raises.
    """
    if sys.stdout is None:  # pythonw has none
        return
    text = as_text(report, place, details=details)
    console = _console() if _encodes(text) else None
    if console is None:
        print(encodable(text), flush=True)  # noqa: T201 - this is the function that prints
        return
    console.print(_rich_brief(in_brief(report, None if details else place)))
    if details:
        console.print(_rich_details(lay_out(report)))


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of a brief in columns as wide as they need to be."""
    widths = [max(map(len, column), default=0) for column in zip(*rows, strict=True)]
    lines = []
    for name, energy, share, remarks in rows:
        cells = f"  {name:{widths[0]}}  {energy:>{widths[1]}}  {share:>{widths[2]}}   {remarks}"
        lines.append(cells.rstrip())
    return lines


def _details(layout: Layout) -> list[str]:
    width = max(NAME_WIDTH, *(len(row[0]) + 1 for row in layout.rows))
    lines = [layout.title, *(_line(row, width) for row in (HEADER, *layout.rows))]
    return [*lines, *(f"{label}: {text}" for label, text in _facts(layout))]


def _table(header: Sequence[str], rule: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown; empty without rows."""
    lines = [header, rule, *([in_markdown(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) if rows else ""


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


def _rich_brief(brief: Brief) -> Any:
    """Everything as ``Text``: a device may be called ``[red]``."""
    from rich.console import Group  # noqa: PLC0415 - an extra, found by _console
    from rich.padding import Padding  # noqa: PLC0415 - same
    from rich.table import Table  # noqa: PLC0415 - same
    from rich.text import Text  # noqa: PLC0415 - same

    table = Table.grid(padding=(0, 2))
    for i in range(len(BRIEF_HEADER)):
        table.add_column(justify="right" if i in {1, 2} else "left", overflow="fold")
    for row in brief.rows:
        table.add_row(*map(Text, row))
    head = [Text(line, style="bold") for line in brief.head]
    lines = [Text.assemble((f"{label}: ", "bold"), text) for label, text in brief.lines]
    return Group(*head, Padding(table, (0, 0, 0, 2)), *lines)


def _rich_details(layout: Layout) -> Any:
    from rich.console import Group  # noqa: PLC0415 - an extra, found by _console
    from rich.table import Table  # noqa: PLC0415 - same
    from rich.text import Text  # noqa: PLC0415 - same

    table = Table(title=Text(layout.title, style="bold"), title_justify="left", show_edge=False)
    for i, name in enumerate(HEADER):
        is_last = i == len(HEADER) - 1
        table.add_column(Text(name), justify="right" if i > 0 and not is_last else "left", no_wrap=not is_last)
    for row in layout.rows:
        bold = "bold" if row[0] == "this session" else ""
        table.add_row(*(Text(cell, style=bold) for cell in row))
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="bold")
    facts.add_column(overflow="fold")
    for label, text in _facts(layout):
        facts.add_row(Text(label), Text(text))
    return Group(Text(""), table, Text(""), facts)


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
