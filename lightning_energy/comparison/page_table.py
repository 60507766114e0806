"""The table of the page: its heading and its rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lightning_energy.comparison import page_cells as cells
from lightning_energy.comparison.columns import ON_PAGE, Column, PageCell, heading_of
from lightning_energy.comparison.difference import LEVEL
from lightning_energy.comparison.front_probability import probability_words
from lightning_energy.comparison.group_table import GEOMETRIC, OF_SOME, OFTEN_FAILS, conditions_words
from lightning_energy.comparison.groups import SAME_RUN
from lightning_energy.comparison.listing import some_of
from lightning_energy.comparison.page_cells import Rows
from lightning_energy.results.markup import UNKNOWN, clean, escaped, name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from lightning_energy.comparison.page_cells import Row
    from lightning_energy.comparison.subject import Subject

__all__ = ["bodies", "group_table", "head"]

SHOWN_ELSEWHERE = {"module", "parameters", "trainable_parameters"}  # settings that have a column already
MOST_SETTINGS = 12


def head(runs: Sequence[Row], subject: Subject) -> str:
    """Write the cells of the heading.

    Args:
        runs: the ``runs`` of ``Comparison.to_plain()``.
        subject: the metric that is compared.
    """
    written = []
    for column, cell in _columns(runs, Rows(runs, subject)):
        kind = "text" if cell.style == "text" else "number"
        first = "descending" if column.begins_with_largest(subject.mode) else "ascending"
        css = "" if cell.style == "text" else f' class="{cell.style}"'
        written.append(f'<th scope="col" data-kind="{kind}" data-first="{first}"{css}>{_heading(cell, subject)}</th>')
    return "".join(written)


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
    columns = []
    for column, cell in ON_PAGE:
        columns.append((column, cell))
        if column.name == "energy_kwh":
            columns += [*_of_targets(rows.subject), *_of_settings(runs)]
    return [
        (column, cell)
        for column, cell in columns
        if not cell.is_rare or any(cell.show(r, rows) != UNKNOWN for r in runs)
    ]


def _of_targets(subject: Subject) -> list[tuple[Column, PageCell]]:
    """A column for each target; those who did not reach it are sorted among the others by what they spent."""

    def key(value: float) -> Callable[[Row], float | None]:
        def of(row: Row) -> float | None:
            found = cells.target_of(row, value)
            return None if found is None else found["kwh"]

        return of

    made = [
        (value, PageCell(f"energy to reach {value:g}", cells.target(value), key(value))) for value in subject.targets
    ]
    return [(Column(f"target {value:g}", on_page=cell), cell) for value, cell in made]


def _of_settings(runs: Sequence[Row]) -> list[tuple[Column, PageCell]]:
    """A column for each setting that is not the same in all runs."""
    all_settings = [run.get("settings") or {} for run in runs]
    names = dict.fromkeys(name for settings in all_settings for name in settings if name not in SHOWN_ELSEWHERE)
    values = {name: [settings.get(name) for settings in all_settings] for name in names}
    differing = [name for name, of in values.items() if len({str(value) for value in of}) > 1][:MOST_SETTINGS]
    columns = []
    for name_ in differing:
        is_number = all(value is None or cells.is_number(value) for value in values[name_])
        cell = PageCell(
            name_, cells.setting(name_), _setting_key(name_, is_number=is_number), "n" if is_number else "text"
        )
        columns.append((Column(f"setting {name_}", on_page=cell), cell))
    return columns


def _setting_key(name_: str, *, is_number: bool) -> Callable[[Row], float | str | None]:
    def key(row: Row) -> float | str | None:
        value = (row.get("settings") or {}).get(name_)
        return value if value is None or is_number else clean(value)

    return key


def _body(run: Row, rows: Rows, columns: Sequence[tuple[Column, PageCell]]) -> str:
    written = []
    mark = f' data-front="{cells.front_sign(run)} front"' if run["on_front"] else ""  # for narrow screens
    for i, (column, cell) in enumerate(columns):
        key = column.key(run)
        tag, attributes = ("td", f'class="{cell.style}"') if i else ("th", f'scope="row"{mark}')
        data = "" if key is None or key == "" else f' data-key="{escaped(key)}"'
        written.append(f"<{tag} {attributes}{data}>{cell.show(run, rows)}</{tag}>")
    caveats = "".join(f'<li class="caveat">{escaped(caveat)}</li>' for caveat in run.get("caveats", ()))
    notes = f'<tr class="notes"><td colspan="{len(columns)}"><ul>{caveats}</ul></td></tr>' if caveats else ""
    return f'<tbody><tr class="figures">{"".join(written)}</tr>{notes}</tbody>'


def _left_out(comparison: Mapping[str, Any]) -> str:
    """Name the groups of which no run ended, and say what follows from runs that are in no mean."""
    groups = [group for group in comparison.get("groups") or () if group.get("left_out")]
    lost = [name(group["name"]) for group in groups if not group["n"]]
    words = f" No run of {some_of(lost)} is in the table." if lost else ""
    failed = any(not run["reason"].startswith(SAME_RUN) for group in groups for run in group["left_out"])
    return f"{words} Runs that are left out are in no mean: {OFTEN_FAILS}." if failed else words


def _of_some(comparison: Mapping[str, Any]) -> str:
    """Say which groups are dominated by some runs of theirs alone; empty of none."""
    some = [v for v in comparison.get("verdicts", ()) if v["kind"] == "dominated" and v.get("unpaired")]
    listed = [f"{name(v['one'])} dominates {name(v['other'])} {escaped(v['basis'])}" for v in some]
    return f" {OF_SOME} {some_of(listed, between='. ')}." if some else ""


def group_table(comparison: Mapping[str, Any], groups: Sequence[Row], runs: Sequence[Row], subject: Subject) -> str:
    """Write the section of the groups; nothing where each configuration was trained once.

    Args:
        comparison: ``Comparison.to_plain()``.
        groups: those of its ``groups`` that have means.
        runs: its ``runs``.
        subject: the metric that is compared.
    """
    if not any(group["n"] > 1 for group in groups):
        return ""
    rows = Rows(runs, subject)
    of_targets = {of["name"]: of["targets"] for of in (comparison.get("progress") or {}).get("configurations", ())}
    heads = ["group", subject.heading, "energy", *(f"energy to reach {t:g}" for t in subject.targets)]
    heads += ["posterior probability of the front", "dominated by"]
    lost = [(v["other"], v["one"]) for v in comparison.get("verdicts", ()) if v["kind"] == "dominated"]
    head_ = "".join(f'<th scope="col"{" class=n" if k else ""}>{name(text)}</th>' for k, text in enumerate(heads))
    body = []
    for group in groups:
        metric, energy, p = group["metric"], group["energy_kwh"], group["front_probability"]
        spread = f" ± {subject.show(metric['sd'], metric['sd'])}" if metric["sd"] else ""
        reached = [cells.target_words(found, rows) for found in of_targets.get(group["name"], ())]
        figures = [
            f"{subject.show(metric['mean'], metric['sd'])}{spread}",
            rows.energies.show(energy["mean"], energy["sd"]),
            *(reached or [UNKNOWN for _ in subject.targets]),
            UNKNOWN if p is None else escaped(probability_words(p).removeprefix("= ")),
            ", ".join(name(winner) for loser, winner in lost if loser == group["name"]) or UNKNOWN,
        ]
        written = "".join(f'<td class="n">{figure}</td>' for figure in figures)
        role = ", baseline" if group["name"] == comparison.get("baseline") else ""
        failed = f" (+{n} left out)" if (n := len(group.get("left_out", ()))) else ""
        label = f"{name(group['name'])}<small>n = {group['n']}{failed}{role}</small>"
        body.append(f'<tr><th scope="row"><div class="wrap">{label}</div></th>{written}</tr>')
    baseline, margin = comparison.get("baseline"), comparison.get("margin") or 0.0
    alone = "" if baseline is None else f", of each group compared with {name(baseline)} alone,"
    shown = (
        f" Dominated by: shown by repeats, by the {GEOMETRIC}, all such decisions together{alone} at the level "
        f"{comparison.get('level', LEVEL):g} (Holm), {escaped(conditions_words(baseline, margin))}."
        f"{_of_some(comparison)}"
    )
    return (
        '<section><h2 id="of-groups">Groups of repeats</h2><p class="hint">Mean ± one standard deviation over n runs; '
        "the energy by which half of them had reached a target, with the least and the most that one took and the "
        "number of those that did (runs that ended or diverged without it count as never reaching it); and the "
        "posterior probability (flat prior), by the "
        "scatter of repeats alone, that the mean is on the front of the configurations like it that have one: no test, "
        "without the uncertainty of meters, and not given for estimates, whose error is not in the scatter, for fewer "
        "than three runs, where energy is missing, nothing scatters, all stopped early alike, a seed comes twice, "
        "or runs differ in a setting, where no other one like it has one, or where it is behind one that has none."
        f"{shown}{_left_out(comparison)}</p>"
        f'<div class="box" role="region" aria-labelledby="of-groups" tabindex="0"><table id="groups"><thead>'
        f"<tr>{head_}</tr></thead><tbody>{''.join(body)}</tbody></table></div></section>"
    )
