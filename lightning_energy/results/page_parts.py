"""The parts of a page of one run: sections, lists and tables, in which all text is escaped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightning_energy.results.markup import UNKNOWN, escaped, name

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["folded", "listed", "section", "table", "words"]

LONGEST_WORD = 24  # letters


def section(heading: str, body: str) -> str:
    """A part of the page with its heading; nothing without a body."""
    return f"<section><h2>{escaped(heading)}</h2>{body}</section>" if body else ""


def listed(items: Sequence[str]) -> str:
    """Sentences as a list."""
    return f"<ul>{''.join(f'<li>{escaped(item)}</li>' for item in items)}</ul>" if items else ""


def words(lines: Sequence[tuple[str, str]], kind: str = "words") -> str:
    """Labels with their texts."""
    items = "".join(f"<dt>{escaped(label)}</dt><dd>{escaped(text)}</dd>" for label, text in lines)
    return f'<dl class="{kind}">{items}</dl>' if items else ""


def table(header: Sequence[str], rows: Sequence[tuple[str, ...]], caption: str, *, texts: int = 0) -> str:
    """A table, its cells escaped; the last ``texts`` columns are words, as is the first."""
    last = len(header) - texts
    kinds = ["" if not 0 < i < last else ' class="n"' for i in range(len(header))]
    head = "".join(f'<th scope="col"{k}>{_broken(h, escaped(h))}</th>' for h, k in zip(header, kinds, strict=True))
    body = "".join(
        f'<tr><th scope="row">{_cell(first)}</th>'
        + "".join(f"<td{k}>{_cell(c)}</td>" for c, k in zip(rest, kinds[1:], strict=True))
        + "</tr>"
        for first, *rest in rows
    )
    return (
        f'<div class="box" role="region" aria-label="{escaped(caption)}" tabindex="0"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cell(text: str) -> str:
    return _broken(text, name(text)) if text else UNKNOWN


def _broken(text: str, html: str) -> str:
    """The same with line breaks within a word that would push all other columns off the page: a name of the user's."""
    return f'<span class="long">{html}</span>' if any(len(word) > LONGEST_WORD for word in text.split()) else html


def folded(summary: str, body: str) -> str:
    """A part that unfolds."""
    return f"<details><summary>{escaped(summary)}</summary>{body}</details>" if body else ""
