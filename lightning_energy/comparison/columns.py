"""The columns of a comparison: for each its name, its order, and its cell in every kind of table.

A new column is one entry of :data:`COLUMNS` (and a field of :class:`~lightning_energy.comparison.run.Run`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from lightning_energy.comparison import page_cells as cells
from lightning_energy.comparison.page_cells import plain
from lightning_energy.comparison.run import Run
from lightning_energy.results.markup import clean
from lightning_energy.results.prefixes import count, significant
from lightning_energy.results.readable import duration, si

if TYPE_CHECKING:
    from collections.abc import Callable

    from lightning_energy.comparison.page_cells import Row, Rows
    from lightning_energy.comparison.subject import Subject
    from lightning_energy.scores.metric import Mode

__all__ = [
    "COLUMNS",
    "FIELDS",
    "IN_TEXT",
    "ON_PAGE",
    "SORTABLE",
    "Column",
    "PageCell",
    "TextCell",
    "column_of",
    "heading_of",
]

Heading: TypeAlias = "str | Callable[[Subject], str]"
"""A heading, or a function that gives it for the metric that is compared."""


@dataclass(frozen=True)
class TextCell:
    """A column in text and Markdown.

    Attributes:
        heading: its heading; a function of the metric that is compared where it depends on that.
        show: writes a value that is known; ``None``: as a value of the metric.
        left_out: rank among the columns that are left out where lines are short, the first is 1; 0: never left out.
        is_rare: the column is left out where no run has a value.
    """

    heading: Heading
    show: Callable[[Any], str] | None
    left_out: int = 0
    is_rare: bool = False


@dataclass(frozen=True)
class PageCell:
    """A column on the page.

    Attributes:
        heading: its heading; a function of the metric that is compared where it depends on that.
        show: gives the markup of a run's cell.
        key: gives the value by which a run is sorted; ``None``: by the field itself.
        style: class of its cells; ``n`` is a number.
        is_rare: the column is left out where no run has a value.
    """

    heading: Heading
    show: Callable[[Row, Rows], str]
    key: Callable[[Row], float | str | None] | None = None
    style: str = "n"
    is_rare: bool = True


@dataclass(frozen=True)
class Column:
    """A column of a comparison.

    Attributes:
        name: the field of a run, and its name for ``sort``.
        largest_first: the largest comes first, as more is better; ``None``: where more of the metric is better.
        in_text: its cells in text and Markdown; ``None``: it is not there.
        on_page: its cells on the page; ``None``: it is not there.
        is_score: a text shows it last, beside the verdict.
        is_sortable: ``compare`` sorts by it.
    """

    name: str
    largest_first: bool | None = False
    in_text: TextCell | None = None
    on_page: PageCell | None = None
    is_score: bool = False
    is_sortable: bool = True

    def begins_with_largest(self, mode: Mode) -> bool:
        """Return true if the largest value comes first in a comparison of a metric with this direction."""
        return mode == "max" if self.largest_first is None else self.largest_first

    def key(self, row: Row) -> float | str | None:
        """The value by which the page sorts a run."""
        if self.on_page is None or self.on_page.key is None:
            value: float | str | None = row.get(self.name)
            return value
        return self.on_page.key(row)


COLUMNS = (
    Column("name", on_page=PageCell("run", cells.run, lambda r: clean(r["name"]), "text", is_rare=False)),
    Column("module"),
    Column("outcome"),
    Column(
        "on_front",
        largest_first=True,
        on_page=PageCell(
            "front",
            cells.front,
            lambda r: int(r["on_front"]) if cells.is_placed(r) else None,
            "is-front",
            is_rare=False,
        ),
        is_sortable=False,
    ),
    Column(
        "metric",
        largest_first=None,
        in_text=TextCell(lambda subject: subject.heading, None),
        on_page=PageCell(lambda subject: subject.heading, cells.metric, is_rare=False),
    ),
    Column(
        "energy_kwh",
        in_text=TextCell("kWh", lambda kwh: significant(kwh, 4)),
        on_page=PageCell("energy", cells.energy, is_rare=False),
    ),
    Column("u_kwh", in_text=TextCell("± (k=1)", lambda kwh: significant(kwh, 2), left_out=5)),
    Column("target_kwh"),
    Column("per_kwh", largest_first=True),
    Column(
        "sample_j",
        in_text=TextCell("J/sample", lambda joules: si(joules, "J"), left_out=6),
        on_page=PageCell("per sample", cells.sample),
    ),
    Column(
        "sam",
        largest_first=True,
        in_text=TextCell("SAM", "{:.4f}".format, is_rare=True),
        on_page=PageCell("SAM", plain("sam", "{:.3f}".format)),
        is_score=True,
    ),
    Column(
        "score",
        largest_first=True,
        in_text=TextCell("score", "{:.4f}".format, is_rare=True),
        on_page=PageCell("score", plain("score", "{:.3f}".format)),
        is_score=True,
    ),
    Column(
        "duration_s",
        in_text=TextCell("time", duration, left_out=3),
        on_page=PageCell("time", plain("duration_s", duration)),
    ),
    Column(
        "power_w",
        in_text=TextCell("power", lambda watts: si(watts, "W"), left_out=2),
        on_page=PageCell("power", plain("power_w", lambda watts: si(watts, "W"))),
    ),
    Column(
        "parameters",
        in_text=TextCell("params", lambda n: si(float(n), "").strip(), left_out=1),
        on_page=PageCell("parameters", plain("parameters", count)),
    ),
    Column(
        "quality",
        in_text=TextCell("quality", str, left_out=4),
        on_page=PageCell("quality", plain("quality", str), style="text", is_rare=False),
    ),
    Column(
        "dominated_by",
        on_page=PageCell(
            "dominated by",
            cells.dominators,
            lambda r: len(r.get("dominated_by", ())) if cells.is_placed(r) else None,
            "dominators",
        ),
        is_sortable=False,
    ),
    Column(
        "caveats",
        on_page=PageCell("caveats", cells.caveats, lambda r: len(r.get("caveats", ()))),
        is_sortable=False,
    ),
)
"""All columns, in the order of the page."""

FIELDS = [*Run("", "").to_plain()]
"""Columns of CSV and of data frames: all that is known of a run."""

SORTABLE = {c.name: c for c in sorted(COLUMNS, key=lambda c: FIELDS.index(c.name)) if c.is_sortable}
"""The columns that runs can be sorted by, in the order of CSV."""

ALSO_CALLED = {"accuracy": "metric"}
"""Other names of columns for ``sort``."""

IN_TEXT = [(c, c.in_text) for c in sorted(COLUMNS, key=lambda c: c.is_score) if c.in_text is not None]
"""The columns of text and Markdown with their cells, in their order there."""

ON_PAGE = [(c, c.on_page) for c in COLUMNS if c.on_page is not None]
"""The columns of the page with their cells."""


def heading_of(cell: TextCell | PageCell, subject: Subject) -> str:
    """The heading of a cell's column where a metric is compared."""
    return cell.heading if isinstance(cell.heading, str) else cell.heading(subject)


def column_of(sort: str) -> Column:
    """Find the column that a name means; its unit may be left out.

    Args:
        sort: a name of :data:`SORTABLE`.

    Raises:
        ValueError: there is no such column.

    Example:
        >>> column_of("energy").name, column_of("accuracy").name
        ('energy_kwh', 'metric')
    """
    sort = ALSO_CALLED.get(sort, sort)
    found = [c for name, c in SORTABLE.items() if sort in {name, name.rpartition("_")[0]}]
    if not found:
        raise ValueError(f"sort={sort!r}: give one of {', '.join(SORTABLE)}")
    return found[0]
