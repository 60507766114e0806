"""The table of the page: its heading and its rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightning_energy.comparison.columns import ON_PAGE, heading_of
from lightning_energy.comparison.page_cells import UNKNOWN, Rows, escaped, name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_energy.comparison.columns import Column, PageCell
    from lightning_energy.comparison.page_cells import Row
    from lightning_energy.comparison.subject import Subject

__all__ = ["bodies", "head"]


def head(runs: Sequence[Row], subject: Subject) -> str:
    """Write the cells of the heading.

    Args:
        runs: the ``runs`` of ``Comparison.to_plain()``.
        subject: the metric that is compared.
    """
    cells = []
    for column, cell in _columns(runs, Rows(runs, subject)):
        kind = "text" if cell.style == "text" else "number"
        first = "descending" if column.begins_with_largest(subject.mode) else "ascending"
        css = ' class="n"' if cell.style == "n" else ""
        cells.append(f'<th scope="col" data-kind="{kind}" data-first="{first}"{css}>{_heading(cell, subject)}</th>')
    return "".join(cells)


def bodies(runs: Sequence[Row], subject: Subject) -> str:
    """Write the rows: each run is one ``tbody`` of its figures and, in words beneath them, its caveats.

    Args:
        runs: the ``runs`` of ``Comparison.to_plain()``.
        subject: the metric that is compared.
    """
    rows = Rows(runs, subject)
    columns = _columns(runs, rows)
    return "\n".join(_body(run, rows, columns) for run in runs)


def _heading(cell: PageCell, subject: Subject) -> str:
    """A heading as markup: one of our own words, or the name that others gave to their metric."""
    heading = heading_of(cell, subject)
    return escaped(heading) if isinstance(cell.heading, str) else name(heading)


def _columns(runs: Sequence[Row], rows: Rows) -> list[tuple[Column, PageCell]]:
    return [
        (column, cell)
        for column, cell in ON_PAGE
        if not cell.is_rare or any(cell.show(run, rows) != UNKNOWN for run in runs)
    ]


def _body(run: Row, rows: Rows, columns: Sequence[tuple[Column, PageCell]]) -> str:
    cells = []
    for i, (column, cell) in enumerate(columns):
        key = column.key(run)
        tag, attributes = ("td", f'class="{cell.style}"') if i else ("th", 'scope="row"')
        data = "" if key is None or key == "" else f' data-key="{escaped(key)}"'
        cells.append(f"<{tag} {attributes}{data}>{cell.show(run, rows)}</{tag}>")
    caveats = "".join(f'<li class="caveat">{escaped(caveat)}</li>' for caveat in run.get("caveats", ()))
    notes = f'<tr class="notes"><td colspan="{len(columns)}"><ul>{caveats}</ul></td></tr>' if caveats else ""
    return f'<tbody><tr class="figures">{"".join(cells)}</tr>{notes}</tbody>'
