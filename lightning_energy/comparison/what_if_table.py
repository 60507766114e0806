"""Replays as text, Markdown and CSV."""

from __future__ import annotations

import csv
import io
import textwrap
from typing import TYPE_CHECKING

from lightning_energy.comparison.replay import signed
from lightning_energy.comparison.subject import better
from lightning_energy.meters.units import J_PER_KWH
from lightning_energy.results.plain import cell as in_csv
from lightning_energy.results.readable import percent, watt_hours
from lightning_energy.results.rendering import in_markdown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_energy.comparison.replay import Replay
    from lightning_energy.comparison.what_if_runs import PlayedRun, Replays

__all__ = ["as_csv", "markdown", "text"]

WIDTH = 120
NARROWEST = 80
UNKNOWN = "–"  # noqa: RUF001 - a dash, as tables have it
NOTHING = "There is no run to replay."
MOST_TABLES = 10  # runs that have a table each
SETTINGS = ("patience", "min_delta", "alpha", "beta", "reference_kwh", "max_kwh_per_point", "point", "budget_kwh")
FIGURES = (
    *("stops", "epoch", "kept", "kept_epoch", "last", "points"),
    *("kwh", "u_kwh", "saved_kwh", "u_saved_kwh", "saved", "u_saved"),
)


def text(found: Replays, width: int = WIDTH) -> str:
    """A table for each run, and one over all of several; lines of ``width`` characters, of 80 at least."""
    width = max(width, NARROWEST)
    if not found.runs:
        return NOTHING
    lines: list[str] = []
    for of in found.runs if len(found.runs) <= MOST_TABLES else []:
        lines += [*_wrapped(_heading(of), width), *_aligned(_rows(of)), *_wrapped(_of_last_point(of), width)]
        lines += [line for caveat in of.caveats for line in _wrapped(f"Caveat: {caveat}", width)]
        lines.append("")
    if len(found.runs) > 1:
        lines += [*_wrapped(_over_all(found), width), *_aligned(_rows_of_rules(found)), ""]
    lines += _wrapped(_of_columns(found), width)
    lines += ["What a replay cannot know:", *(x for limit in found.limits for x in _wrapped(f"- {limit}", width))]
    return "\n".join(lines)


def markdown(found: Replays) -> str:
    """The same tables in Markdown, of all runs."""
    if not found.runs:
        return NOTHING
    blocks = []
    for of in found.runs:
        notes = [_of_last_point(of), *(f"Caveat: {caveat}" for caveat in of.caveats)]
        blocks += [in_markdown(_heading(of)), _in_markdown(_rows(of)), _list(notes)]
    if len(found.runs) > 1:
        blocks += [in_markdown(_over_all(found)), _in_markdown(_rows_of_rules(found))]
    notes = [*found.limits, *(f"Not replayed: {problem}" for problem in (*found.problems, *found.cannot))]
    return "\n\n".join([*blocks, in_markdown(_of_columns(found)), "What a replay cannot know:", _list(notes)])


def as_csv(found: Replays) -> str:
    """A row of unrounded figures for each rule on each run. An empty cell is unknown, or no constant of that rule."""
    out = io.StringIO()
    head = ["run", "path", "metric_name", "mode", "quality", "rule", "kind", *SETTINGS, *FIGURES]
    writer = csv.DictWriter(out, head, lineterminator="\n")
    writer.writeheader()
    for of in found.runs:
        run = of.run
        facts = {"path": run.path, "metric_name": run.metric_name, "mode": run.mode, "quality": run.quality}
        for replay in of.replays:
            row = {name: getattr(replay, name) for name in ("run", "rule", "kind", *FIGURES)}
            writer.writerow({key: in_csv(value) for key, value in (facts | row | {**replay.settings}).items()})
    return out.getvalue().rstrip("\n")


def _heading(of: PlayedRun) -> str:
    played, subject = of.played, of.subject
    best = played.best_of(len(played.course))
    energy = UNKNOWN if played.kwh is None else _energy(played.kwh, played.u_kwh)
    value = "" if best is None else f"best {subject.show(best.value)} in epoch {best.epoch} of {_epochs(of)}; "
    direction = "" if subject.is_accuracy else f" ({better(subject.mode)})"
    return f"{of.name}: {subject.heading}{direction}, {value}{energy}, {of.run.quality}"


def _epochs(of: PlayedRun) -> int:
    return max(total.epoch for total in of.played.epochs) + 1


def _of_last_point(of: PlayedRun) -> str:
    last, show = of.last_point, of.subject.show
    if last is None:
        return (
            "Its last point: not known, as its first validation was within a point of the best one, or its energy is "
            "not known."
        )
    after = f", and {percent(last.share_after)} were spent after it" if last.share_after > 0 else ""
    played = of.played
    earlier = [s.value for s in played.course if s.epoch < last.before_epoch]
    is_worse = any(played.sign * (value - last.before) > 0 for value in earlier)
    had, came = ("was the value of", "was reached in") if is_worse else ("was reached in", "in")
    return (
        f"Its last point: {show(last.before)} {had} epoch {last.before_epoch}, {show(last.best)} {came} epoch "
        f"{last.best_epoch}; what lies between took {watt_hours(last.kwh * J_PER_KWH)}, {percent(last.share)} of the "
        f"energy{after}."
    )


def _rows(of: PlayedRun) -> list[list[str]]:
    head = ["rule", "stops in", of.subject.heading, "points", "energy", "saved"]
    return [head, *([r.rule, *_cells(r, of)] for r in of.replays)]


def _cells(replay: Replay, of: PlayedRun) -> list[str]:
    if not replay.stops:
        return ["its end", *_of_whole(of)]
    points = UNKNOWN if replay.points is None else signed(replay.points)
    energy = UNKNOWN if replay.kwh is None else watt_hours(replay.kwh * J_PER_KWH)
    kept = UNKNOWN if replay.kept is None else of.subject.show(replay.kept)
    return [f"epoch {replay.epoch}", kept, points, energy, _saved(replay)]


def _of_whole(of: PlayedRun) -> list[str]:
    """The cells of a rule that ends nothing: the best value and the energy of the whole training, and nothing saved."""
    best, kwh = of.played.best_of(len(of.played.course)), of.played.kwh
    kept, points = (UNKNOWN, UNKNOWN) if best is None else (of.subject.show(best.value), signed(0.0))
    return [kept, points, *((UNKNOWN, UNKNOWN) if kwh is None else (watt_hours(kwh * J_PER_KWH), "0 %"))]


def _saved(replay: Replay) -> str:
    if replay.saved is None:
        return UNKNOWN
    u = "" if replay.u_saved is None else f" ± {100 * replay.u_saved:.2g}"
    return f"{100 * replay.saved:.1f}{u} %"


def _over_all(found: Replays) -> str:
    n, once = len(found.runs), len(found.once)
    copies = f", without {n - once} {'copy or part' if n - once == 1 else 'copies or parts'} of one" if once < n else ""
    more = f" ({n} runs are too many for a table each: see --format csv)" if n > MOST_TABLES else ""
    runs = "One run" if once == 1 else f"All {once} runs"
    return f"{runs}{copies}, each rule on {'it' if once == 1 else 'each of them'}{more}"


def _rows_of_rules(found: Replays) -> list[list[str]]:
    rows = [["rule", "runs", "stopped", "median points", "worst", "saved"]]
    has_several = len({of.metric for of in found.of_rules}) > 1
    are_unlike = len({of.energies for of in found.of_rules}) > 1
    for of in found.of_rules:
        points, worst = (UNKNOWN if p is None else signed(p) for p in (of.points, of.worst_points))
        saved = UNKNOWN if of.saved is None else f"{100 * of.saved:.1f} %"
        kinds = "; ".join([of.metric] * has_several + [of.energies] * are_unlike)
        rule = f"{of.rule} ({kinds})" if kinds else of.rule
        rows.append([rule, f"{of.n}", f"{of.n_stops}", points, worst, saved])
    return rows


def _of_columns(found: Replays) -> str:
    return (
        f"Points of {found.point:g} of the metric: the best value until the stop against that of the whole training. "
        f"Saved: the energy from the stop to the end of the last epoch, with its standard uncertainty (k=1), in which "
        f"the gain of the sensors cancels. Its end: the rule stops no earlier than this run ended. Epochs are counted "
        f"from 0; the price of a point is taken over the last {found.window} validations (--window, which is the "
        f"patience of EnergyEfficiencyStopping)."
    )


def _energy(kwh: float, u_kwh: float | None) -> str:
    u = "" if not u_kwh or not kwh else f" ± {percent(u_kwh / kwh)}"
    return f"{watt_hours(kwh * J_PER_KWH)}{u}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join([f"{row[0]:{widths[0]}}", *(f"{c:>{w}}" for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]
    return [lines[0], "-" * len(lines[0]), *lines[1:]]


def _in_markdown(rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(map(in_markdown, row))} |" for row in rows]
    lines.insert(1, "| --- |" + " ---: |" * (len(rows[0]) - 1))
    return "\n".join(lines)


def _list(sentences: Sequence[str]) -> str:
    return "\n".join(f"- {in_markdown(sentence)}" for sentence in sentences)


def _wrapped(sentence: str, width: int) -> list[str]:
    return textwrap.wrap(sentence, width, subsequent_indent="  ", break_on_hyphens=False)
