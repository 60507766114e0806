"""A comparison as text, Markdown and CSV."""

from __future__ import annotations

import csv
import io
import textwrap
from collections import Counter
from typing import TYPE_CHECKING

from lightning_energy.comparison.columns import FIELDS, IN_TEXT, heading_of
from lightning_energy.comparison.configurations import has_repeats
from lightning_energy.comparison.group_table import OF_HALF, dominates_words, group_rows, group_sentences
from lightning_energy.comparison.listing import some_of
from lightning_energy.comparison.student import FEWEST
from lightning_energy.comparison.target_table import target_cells
from lightning_energy.results.plain import cell as in_csv
from lightning_energy.results.readable import si
from lightning_energy.results.rendering import in_markdown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_energy.comparison.columns import Column, TextCell
    from lightning_energy.comparison.judgement import Judgement
    from lightning_energy.comparison.run import Run
    from lightning_energy.comparison.subject import Subject
    from lightning_energy.comparison.to_target import ToTarget

    Columns = Sequence[tuple[Column, TextCell]]

__all__ = ["as_csv", "markdown", "text"]

WIDTH = 120
NARROWEST = 80
LONGEST_NAME = 32
SHORTEST_NAME = 16
SINGLE = "A single run does not show how a repeat would come out: train each with three seeds or more."
MOST_OF_A_UNIT = 20  # runs; CSV and JSON have all
BEHIND = "those that are ahead of it are so by less than the uncertainty of their energies (k=2)"
UNKNOWN = "–"  # noqa: RUF001 - a dash, as tables have it


def text(comparison: Judgement, width: int = WIDTH) -> str:
    """A table, its caveats under it; lines of ``width`` characters, of 80 at least."""
    runs, width = comparison.runs, max(width, NARROWEST)
    if not runs:
        return "There is no run to compare."
    columns = _columns(runs)
    subject = comparison.subject
    names = _shortened([r.name for r in runs], LONGEST_NAME)
    rows = _rows(columns, runs, names, subject)
    for rank in sorted(cell.left_out for _, cell in columns if cell.left_out):
        if _width(rows) <= width:
            break
        columns = [(column, cell) for column, cell in columns if cell.left_out != rank]
        rows = _rows(columns, runs, names, subject)
    if _width(rows) > width:
        names = _shortened([r.name for r in runs], SHORTEST_NAME)
        rows = _rows(columns, runs, names, subject)
    towards = _aligned(_of_targets(comparison, names)) if subject.target_words else []
    groups = group_rows(comparison)
    above = (
        [*_aligned(groups), *(w for s in group_sentences(comparison) for w in _wrapped(s, width)), ""] if groups else []
    )
    lines = [*above, *_wrapped(_heading(comparison), width), *_aligned(rows), *towards, *_notes(comparison, width)]
    return "\n".join(lines)


def markdown(comparison: Judgement) -> str:
    """A table of Markdown with all columns that have a value, and its caveats as a list."""
    runs = comparison.runs
    if not runs:
        return "There is no run to compare."
    columns = _columns(runs)
    head, *rows = _rows(columns, runs, {r.name: r.name for r in runs}, comparison.subject)
    lines = [f"| {' | '.join(map(in_markdown, row))} |" for row in (head, *rows)]
    lines.insert(1, "| --- |" + " ---: |" * len(columns) + " --- |")
    if comparison.subject.target_words:
        towards = _of_targets(comparison, {r.name: r.name for r in runs})
        lines += ["", *(f"| {' | '.join(map(in_markdown, row))} |" for row in towards)]
        lines.insert(-len(towards) + 1, "| --- |" + " ---: |" * (len(towards[0]) - 1))
    notes = [f"- {in_markdown(note)}" for note in _sentences(comparison)]
    return "\n".join([*_of_groups(comparison), in_markdown(_heading(comparison)), "", *lines, "", *notes])


def _of_groups(comparison: Judgement) -> list[str]:
    rows = group_rows(comparison)
    if not rows:
        return []
    lines = [f"| {' | '.join(map(in_markdown, row))} |" for row in rows]
    lines.insert(1, "| --- |" + " ---: |" * (len(rows[0]) - 2) + " --- |")
    return [*lines, "", *(f"- {in_markdown(sentence)}" for sentence in group_sentences(comparison)), ""]


def as_csv(comparison: Judgement) -> str:
    """A row of unrounded figures per run, columns as in :class:`~lightning_energy.comparison.run.Run`.

    An empty cell is unknown.
    """
    out = io.StringIO()
    writer = csv.DictWriter(out, FIELDS, lineterminator="\n")
    writer.writeheader()
    for run in comparison.runs:
        row = run.to_plain()
        row["targets"] = [_plain_target(result) for result in run.targets]
        row["unit_j"] = [f"{unit}={'' if joules is None else joules}" for unit, joules in run.unit_j.items()]
        writer.writerow({k: in_csv("; ".join(v) if isinstance(v, list) else v) for k, v in row.items()})
    return out.getvalue().rstrip("\n")


def _of_targets(comparison: Judgement, names: dict[str, str]) -> list[list[str]]:
    """The rows of the energies to reach targets, with their heading."""
    subject = comparison.subject
    head = ["run", *(f"kWh to {value:g}" for value in subject.targets)]
    groups = comparison.configurations
    if has_repeats(groups):
        head[0] = "group"
        return [head, *([group.name, *target_cells(group.all_runs, subject.targets)] for group in groups)]
    runs = [run for run in comparison.runs if run.is_comparable or run.targets]
    return [head, *([names[run.name], *target_cells([run], subject.targets)] for run in runs)]


def _plain_target(result: ToTarget) -> str:
    if not result.is_reached and result.over_kwh is not None:
        return f"{result.target:g}=>{result.over_kwh}"
    return f"{result.target:g}={'' if result.kwh is None else result.kwh}"


def _heading(comparison: Judgement) -> str:
    n = len(comparison.runs)
    subject, sort = comparison.subject, comparison.sort
    order = subject.heading if sort == "metric" else sort.rpartition("_")[0] or sort
    score = "" if comparison.formula is None else f"; score: {comparison.formula}"
    metric = f"; {subject.words}" if subject.name else ""
    return f"{n} run{'s' * (n != 1)} by {order}{metric}{score}"


def _columns(runs: Sequence[Run]) -> Columns:
    """The columns, without those that are rare and have no value here."""
    return [
        (column, cell)
        for column, cell in IN_TEXT
        if not cell.is_rare or any(getattr(run, column.name) is not None for run in runs)
    ]


def _rows(columns: Columns, runs: Sequence[Run], names: dict[str, str], subject: Subject) -> list[list[str]]:
    of_kinds = Counter(r.kind for r in runs if r.kind is not None)
    once = {kind for kind, n in of_kinds.items() if n == 1}
    alone = {r.name for r in runs if len(of_kinds) > 1 and r.kind in once}
    head = ["run", *(heading_of(cell, subject) for _, cell in columns), "Pareto front"]
    rows = (
        [names[r.name], *(_shown(r, *column, subject) for column in columns), _front(r, names, alone=r.name in alone)]
        for r in runs
    )
    return [head, *rows]


def _shown(run: Run, column: Column, cell: TextCell, subject: Subject) -> str:
    value = getattr(run, column.name)
    return UNKNOWN if value is None else (cell.show or subject.show)(value)


def _front(run: Run, names: dict[str, str], *, alone: bool = False) -> str:
    if alone:
        return "≠ alone"
    if run.on_front and not run.dominated_by:
        return "* on it"
    sign, by = ("<", run.dominated_by) if run.dominated_by else ("~", run.perhaps_dominated_by)
    if not by:
        return UNKNOWN
    return f"{sign} {names.get(by[0], by[0])}" + (f" +{len(by) - 1}" if len(by) > 1 else "")


def _width(rows: Sequence[Sequence[str]]) -> int:
    return sum(max(map(len, column)) + 2 for column in zip(*rows, strict=True)) - 2


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *middle, last in rows:
        cells = [f"{cell:>{w}}" for cell, w in zip(middle, widths[1:-1], strict=True)]
        lines.append("  ".join([f"{first:{widths[0]}}", *cells, last]).rstrip())
    return [lines[0], "-" * max(map(len, lines)), *lines[1:]]


def _notes(comparison: Judgement, width: int) -> list[str]:
    return [line for sentence in _sentences(comparison) for line in _wrapped(sentence, width)]


def _of_units(runs: Sequence[Run]) -> list[str]:
    """The energy per one of the user's own units."""
    sentences = []
    for unit in dict.fromkeys(unit for run in runs for unit in run.unit_j):
        known = ((run.name, run.unit_j.get(unit)) for run in runs)
        each = [f"{name} {UNKNOWN if joules is None else si(joules, 'J')}" for name, joules in known]
        sentences.append(f"Energy of training per 1 of {unit}: {some_of(each, MOST_OF_A_UNIT)}.")
    return sentences


def _sentences(comparison: Judgement) -> list[str]:
    """Explain the signs, and list the caveats: of the whole, then of runs, those with the same one together."""
    sentences = [*_of_signs(comparison.runs, comparison.margin), *_of_figures(comparison.runs, comparison.subject)]
    if comparison.subject.target_words and has_repeats(comparison.configurations):
        sentences.append(f"Energy of a group to reach a value: {OF_HALF}.")
    sentences += _of_units(comparison.runs)
    if comparison.subject.targets and (progress := comparison.progress()):
        sentences.append(progress.sentence())
    if found := comparison.stability():
        sentences += found.sentences()
    sentences += [f"Caveat: {caveat}" for caveat in comparison.caveats]
    grouped: dict[str, list[str]] = {}
    for run in comparison.runs:
        for caveat in run.caveats:
            if caveat.startswith("behind ") and run.dominated_by:  # repeats have shown more
                continue
            grouped.setdefault(BEHIND if caveat.startswith("behind ") else caveat, []).append(run.name)
    for caveat, names in grouped.items():
        sentences.append(f"Caveat of {some_of(names)}: {caveat}")
    return sentences


def _of_signs(runs: Sequence[Run], margin: float) -> list[str]:
    sentences = []
    if any(r.on_front for r in runs):
        sentences.append(
            "* on the Pareto front: no other run like it is as good for less energy, or better for as much."
        )
    if any(r.dominated_by for r in runs):
        words = dominates_words(margin)
        sentences.append(f"< its group is dominated by that one (+n: and by n more), which is {words}.")
    if behind := [r for r in runs if r.perhaps_dominated_by and not r.dominated_by]:
        often = {name for name, n in Counter(r.group for r in runs if r.outcome == "completed").items() if n >= FEWEST}
        shown = {r.group for r in behind} <= often
        sentences.append(
            "~ behind that run (+n: and n more), which is at least as good and cheaper by the meter. "
            + ("What repeats show is told of the groups, above." if shown else SINGLE)
        )
    of_kinds = Counter(r.kind for r in runs if r.kind is not None)
    if len(of_kinds) > 1 and 1 in of_kinds.values():
        sentences.append("≠ no other run is like it: it is ranked against none.")
    return sentences


def _of_figures(runs: Sequence[Run], subject: Subject) -> list[str]:
    sentences = [
        sentence for sentence in (subject.target_words, *_unreached(runs, subject), subject.no_score) if sentence
    ]
    if subject.is_accuracy and all(r.sam is None for r in runs):
        sentences.append("SAM (sustainable_accuracy) is defined above 1 kWh only: no run has one.")
    return sentences


def _unreached(runs: Sequence[Run], subject: Subject) -> list[str]:
    """Name the targets that no run reached, and count the runs that do not tell."""
    told = [run for run in runs if run.targets]
    sentences = [
        f"No run reached {subject.heading} {value:g}."
        for value in subject.targets
        if told and not any(r.is_reached for run in told for r in run.targets if r.target == value)
    ]
    silent = sum(not run.targets for run in runs)
    if silent and subject.targets:
        sentences.append(
            f"{silent} of {len(runs)} records have no epoch with a value of {subject.heading} that can be read: they "
            "tell nothing of targets."
        )
    return sentences


def _wrapped(sentence: str, width: int) -> list[str]:
    return textwrap.wrap(sentence, width, subsequent_indent="  ", break_on_hyphens=False)


def _shortened(names: Sequence[str], longest: int) -> dict[str, str]:
    """Names with their middle left out where they are long, if they stay different."""
    half = (longest - 1) // 2
    short = {n: n if len(n) <= longest else f"{n[:half]}…{n[-half:]}" for n in names}
    return short if len({*short.values()}) == len(names) else {n: n for n in names}
