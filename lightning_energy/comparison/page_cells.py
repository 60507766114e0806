"""Cells of the page's table. All text of others is escaped here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lightning_energy.comparison.target_table import range_of
from lightning_energy.comparison.to_target import OfRuns
from lightning_energy.results.markup import UNKNOWN, escaped, name
from lightning_energy.results.prefixes import Figures, energy_unit

if TYPE_CHECKING:
    from lightning_energy.comparison.subject import Subject

__all__ = [
    "Row",
    "Rows",
    "caveats",
    "dominators",
    "energy",
    "front",
    "front_sign",
    "is_number",
    "is_placed",
    "metric",
    "plain",
    "run",
    "sample",
    "setting",
    "target",
    "target_of",
    "target_words",
]

DOMINATORS = 3  # named in a cell; of a thousand runs hundreds may dominate one

Row = Mapping[str, Any]
"""A run as ``Comparison.to_plain()`` has it; what is missing is unknown."""


class Rows:
    """All rows of a table: a cell may depend on the others.

    Args:
        rows: the runs.
        subject: the metric that is compared.
    """

    def __init__(self, rows: Sequence[Row], subject: Subject) -> None:
        self._rows = rows
        self.subject = subject

    @cached_property
    def energies(self) -> Figures:
        """The energies, in one unit."""
        energies_kwh = [row.get("energy_kwh") for row in self._rows]
        return Figures(*energy_unit(energies_kwh), energies_kwh)

    @cached_property
    def reached(self) -> Figures:
        """The energies up to a value, in the unit of the energies."""
        values = [result.get("kwh") for row in self._rows for result in row.get("targets", ())]
        return replace(self.energies, values=values)

    @cached_property
    def samples(self) -> Figures:
        """The energies per sample."""
        return Figures("J", 1.0, [row.get("sample_j") for row in self._rows])

    @cached_property
    def has_one_name(self) -> bool:
        """True when the metric was logged under one name."""
        return len({row.get("metric_name") for row in self._rows if row.get("metric") is not None}) <= 1


def plain(field: str, show: Callable[[Any], str]) -> Callable[[Row, Rows], str]:
    """Make the cell that shows one field by a function."""

    def shown(row: Row, _: Rows) -> str:
        return UNKNOWN if row.get(field) in {None, ""} else escaped(show(row[field]))

    return shown


def run(row: Row, _: Rows) -> str:
    """The run's name; beneath it its module, and its outcome unless it completed."""
    module, outcome = str(row.get("module") or "").rpartition(".")[2], row.get("outcome")
    small = [escaped(module)] if module and module != row["name"] else []
    small += [escaped(outcome)] if outcome and outcome != "completed" else []
    return _wrapped(name(row["name"]) + (f"<small>{', '.join(small)}</small>" if small else ""))


def front(row: Row, _: Rows) -> str:
    """The run's place on the front, with the sign that the chart has for it."""
    return f"<b>{front_sign(row)} front</b>" if row["on_front"] else UNKNOWN


def front_sign(row: Row) -> str:
    """The sign of a run on the front, as the chart has it."""
    return "◆" if row.get("quality") == "estimated" else "●"


def is_placed(row: Row) -> bool:
    """True for a run that can be on the front or dominated."""
    return row.get("metric") is not None and row.get("energy_kwh") is not None


def metric(row: Row, rows: Rows) -> str:
    """The metric; beneath it its logged name, unless all have the same."""
    if row.get("metric") is None:
        return UNKNOWN
    figure = rows.subject.show(row["metric"])
    if rows.has_one_name:
        return figure
    return f"{figure}<small>{_wrapped(name(row.get('metric_name') or 'unnamed'))}</small>"


def energy(row: Row, rows: Rows) -> str:
    """The energy with its uncertainty."""
    energy_kwh = row.get("energy_kwh")
    return UNKNOWN if energy_kwh is None else rows.energies.show(energy_kwh, row.get("u_kwh"))


def target(value: float) -> Callable[[Row, Rows], str]:
    """Make the cell of the energy up to a target, or of the energy that did not reach it."""

    def shown(row: Row, rows: Rows) -> str:
        found = target_of(row, value)
        if found is None or (found["is_reached"] and found["kwh"] is None) or found["over_kwh"] is None:
            return UNKNOWN
        if found["is_reached"]:
            return rows.reached.show(found["kwh"], found["u_kwh"])
        return f"&gt;&nbsp;{rows.reached.show(found['over_kwh'])}" if found["over_kwh"] else UNKNOWN

    return shown


def target_of(row: Row, value: float) -> Mapping[str, Any] | None:
    """The energy of a run to reach one of its targets; ``None`` where nobody knows."""
    found: Mapping[str, Any] | None = next((r for r in row.get("targets", ()) if r["target"] == value), None)
    return found


def target_words(found: Mapping[str, Any], rows: Rows) -> str:
    """The energy by which half of several runs had reached a target, with their range and the number that did."""
    if not found["n"]:
        return UNKNOWN
    reached = f"({found['n_reached']} of {found['n']}{f', {n} unknown' if (n := found.get('unknown')) else ''})"
    if found["median_kwh"] is None:
        return f"{f'&ge;&nbsp;{rows.energies.show(over)}' if (over := found['over_kwh']) else UNKNOWN} {reached}"
    range_ = range_of(OfRuns(**found), rows.energies.show)
    return f"{rows.energies.show(found['median_kwh'])} ({range_}{reached.removeprefix('(')}"


def setting(of: str) -> Callable[[Row, Rows], str]:
    """Make the cell of a setting."""

    def shown(row: Row, _: Rows) -> str:
        value = (row.get("settings") or {}).get(of)
        if value is None:
            return UNKNOWN
        return f"{value:.6g}" if is_number(value) else _wrapped(escaped(value))

    return shown


def is_number(value: object) -> bool:
    """True for a number that is none of the two truth values."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def sample(row: Row, rows: Rows) -> str:
    """The energy per sample."""
    sample_j = row.get("sample_j")
    return UNKNOWN if sample_j is None else rows.samples.show(sample_j)


def dominators(row: Row, _: Rows) -> str:
    """The names of those that dominate it; failing these, of those that perhaps do."""
    sure = row.get("dominated_by", ())
    names = sure or row.get("perhaps_dominated_by", ())
    if not names:
        return UNKNOWN
    more = f" and&nbsp;{len(names) - DOMINATORS:,}&nbsp;more" if len(names) > DOMINATORS else ""
    return _wrapped(("" if sure else "by the meter: ") + ", ".join(map(name, names[:DOMINATORS])) + more)


def caveats(row: Row, _: Rows) -> str:
    """The number of the run's caveats."""
    return str(len(row.get("caveats", ())) or UNKNOWN)


def _wrapped(markup: str) -> str:
    """Text of any length, in a box that breaks it."""
    return f'<div class="wrap">{markup}</div>'
