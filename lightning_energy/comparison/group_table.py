"""The groups of a comparison as rows, sentences, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
import math
from itertools import islice
from typing import TYPE_CHECKING

from lightning_energy.comparison.prefixes import energy_unit, plus_minus
from lightning_energy.comparison.student import FEWEST
from lightning_energy.results.plain import cell

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lightning_energy.comparison.groups import Group, Mean
    from lightning_energy.comparison.judgement import Judgement
    from lightning_energy.comparison.subject import Subject
    from lightning_energy.comparison.verdicts import Verdict

__all__ = ["group_rows", "group_sentences", "groups_csv", "latex"]

UNKNOWN = "–"  # noqa: RUF001 - a dash, as tables have it
MOST_SENTENCES = 12  # of one kind
LATEX = {c: f"\\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
    "≠": r"$\neq$",
    "–": "--",  # noqa: RUF001 - a dash
}


def group_rows(comparison: Judgement) -> list[list[str]]:
    """A row per group under a heading; none where no configuration was trained twice."""
    groups = comparison.groups
    if not any(group.n > 1 or (group.n and group.left_out) for group in groups):
        return []
    unit, per_kwh = energy_unit([None if g.energy is None else g.energy.mean for g in groups])
    subject = comparison.subject
    head = ["group", "n", f"{subject.heading} ± sd", "95 % interval", f"{unit} ± sd", "95 % interval ", "dominated by"]
    rows = [
        [
            group.name,
            str(group.n) + (f" (+{len(group.left_out)} left out)" if group.left_out else ""),
            *_metric(group.metric, subject),
            *_energy(group.energy, per_kwh),
            _dominated(group, comparison.verdicts),
        ]
        for group in groups
    ]
    return [head, *rows]


def group_sentences(comparison: Judgement) -> list[str]:
    """The decisions, with what they stand on, and what is left out, in sentences."""
    verdicts = comparison.verdicts
    tests = sum(2 for verdict in verdicts if verdict.energy is not None)
    found = [
        (
            "Intervals are of the means, each by Student's t. Spreads and decisions are those of repeats on this "
            "machine and data. A group has one configuration as far as records say: name groups with --group-by."
        )
    ]
    if tests:
        found.append(
            f"Decided by {tests} tests; the probability that even one decision is wrong is at most "
            f"{100 * comparison.level:g} % (Holm's correction)."
        )
    for kind in ("dominated", "trade-off", "cheaper", "better"):
        found += _some(_decision(v, comparison.subject) for v in verdicts if v.kind == kind)
    found += _some(_open(v) for v in verdicts if v.kind == "undecided")
    found += _some(
        f"{v.one} and {v.other} are incomparable: {'; '.join(v.reasons)}." for v in verdicts if v.kind == "incomparable"
    )
    few = [g.name for g in comparison.groups if 0 < g.n < FEWEST]
    if few:
        listed = ", ".join(few[:MOST_SENTENCES]) + (
            f" and {len(few) - MOST_SENTENCES} more" * (len(few) > MOST_SENTENCES)
        )
        found.append(f"Nothing is decided about groups of fewer than {FEWEST} runs: {listed}.")
    out = [f"{run.name} is in no mean of {g.name}: {reason}." for g in comparison.groups for run, reason in g.left_out]
    return [*found, *_some(out), *_of_seeds(comparison.groups)]


def groups_csv(comparison: Judgement) -> str:
    """A row of unrounded figures per group. An empty cell is unknown."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    figures = ("mean", "sd", "low", "high")
    names = [f"{what}_{figure}" for what in ("metric", "energy_kwh") for figure in figures]
    writer.writerow(["group", "n", "left_out", *names, "dominated_by", "seeds"])
    for group in comparison.groups:
        values = [getattr(mean, f) if mean else None for mean in (group.metric, group.energy) for f in figures]
        lost = "; ".join(v.one for v in comparison.verdicts if v.kind == "dominated" and v.other == group.name)
        seeds = "; ".join("" if seed is None else str(seed) for seed in group.seeds)
        writer.writerow([*map(cell, [group.name, group.n, len(group.left_out), *values, lost, seeds])])
    return out.getvalue().rstrip("\n")


def latex(comparison: Judgement) -> str:
    r"""A table for a paper, which needs ``\usepackage{booktabs}``; its caption says how the figures were made."""
    groups, subject = [g for g in comparison.groups if g.n], comparison.subject
    unit, per_kwh = energy_unit([None if g.energy is None else g.energy.mean for g in groups])
    lines = [
        " & ".join(
            [
                _tex(g.name),
                str(g.n),
                *map(_tex, (*_metric(g.metric, subject), *_energy(g.energy, per_kwh))),
                _tex(_dominated(g, comparison.verdicts)),
            ]
        )
        + r" \\"
        for g in groups
    ]
    qualities = sorted({run.quality for g in groups for run in g.runs})
    covers = sorted({run.covers for g in groups for run in g.runs})
    left_out = sum(len(g.left_out) for g in comparison.groups)
    caption = (
        f"{subject.heading} ({'last value' if subject.epoch == 'last' else 'best epoch'}) and energy of the training: "
        f"mean ± standard deviation over n runs, and the 95 % interval of the mean by Student's t. Energies are "
        f"{' or '.join(qualities)} and cover {' or '.join(covers)}. <: shown to be dominated by that row, which is "
        f"cheaper and better; all such decisions together at the level {comparison.level:g} (Holm)."
        + (f" {left_out} runs that did not end or lack a figure are left out." if left_out else "")
    )
    head = [
        "configuration",
        "n",
        subject.heading,
        "95 % interval",
        f"energy in {unit}",
        "95 % interval",
        "dominated by",
    ]
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_tex(caption)}}}",
            r"\begin{tabular}{lrrrrrl}",
            r"\toprule",
            " & ".join(map(_tex, head)) + r" \\",
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


def _tex(text: str) -> str:
    return "".join(LATEX.get(c, c) for c in text)


def _metric(mean: Mean | None, subject: Subject) -> tuple[str, str]:
    if mean is None:
        return UNKNOWN, UNKNOWN
    if mean.sd is None or mean.low is None or mean.high is None:
        return subject.show(mean.mean), UNKNOWN
    return (
        f"{subject.show(mean.mean)} ± {subject.show(mean.sd)}",
        f"{subject.show(mean.low)} to {subject.show(mean.high)}",
    )


def _energy(mean: Mean | None, per_kwh: float) -> tuple[str, str]:
    if mean is None:
        return UNKNOWN, UNKNOWN
    if mean.sd is None or mean.low is None or mean.high is None:
        return plus_minus(mean.mean * per_kwh, None), UNKNOWN
    shown = plus_minus(mean.mean * per_kwh, mean.sd * per_kwh)
    digits = len(shown.partition(" ")[0].partition(".")[2])
    return shown, f"{mean.low * per_kwh:.{digits}f} to {mean.high * per_kwh:.{digits}f}"


def _dominated(group: Group, verdicts: Sequence[Verdict]) -> str:
    by = [v.one for v in verdicts if v.kind == "dominated" and v.other == group.name]
    return f"< {by[0]}" + (f" +{len(by) - 1}" if len(by) > 1 else "") if by else UNKNOWN


def _share(verdict: Verdict) -> str:
    """The energy that the first group saves, as a share of the other's."""
    return "" if verdict.energy is None else f"{100 * (1 - math.exp(-abs(verdict.energy.value))):.2g} %"


def _gain(verdict: Verdict, subject: Subject) -> str:
    return "" if verdict.metric is None else subject.show(abs(verdict.metric.value))


def _decision(verdict: Verdict, subject: Subject) -> str:
    one, other = verdict.one, verdict.other
    paired = f"paired by {verdict.pairs} seeds" if verdict.pairs else "not paired"
    metric = verdict.metric
    if verdict.kind == "dominated":
        better = metric is not None and metric.sign
        gain = f"better by {_gain(verdict, subject)}" if better else "not worse by the margin"
        return f"{one} dominates {other}: {_share(verdict)} cheaper and {gain} ({paired})."
    if verdict.kind == "trade-off":
        return f"{one} is {_share(verdict)} cheaper, {other} better by {_gain(verdict, subject)} ({paired})."
    more = f"; some {verdict.repeats} runs of each would show it" if verdict.repeats else ""
    if verdict.kind == "cheaper":
        return f"{one} is {_share(verdict)} cheaper than {other}; which is better is not decided{more} ({paired})."
    return (
        f"{one} is better than {other} by {_gain(verdict, subject)}; which is cheaper is not decided{more} ({paired})."
    )


def _open(verdict: Verdict) -> str:
    text = f"{verdict.one} and {verdict.other} are not told apart"
    if verdict.reasons:
        return f"{text}: {'; '.join(verdict.reasons)}."
    if verdict.repeats is None:
        return f"{text}, and with this spread no number of repeats up to 10,000 would."
    return f"{text}: with this spread, differences as large as these take some {verdict.repeats} runs of each."


def _some(sentences: Iterable[str]) -> list[str]:
    """The first sentences of a kind; the others are not even written, as there may be thousands."""
    first = [*islice(sentences, MOST_SENTENCES + 1)]
    more = ["… and more such: --format json has all."] if len(first) > MOST_SENTENCES else []
    return [*first[:MOST_SENTENCES], *more]


def _of_seeds(groups: Sequence[Group]) -> list[str]:
    repeated = [g for g in groups if g.n > 1]
    if any(None in g.seeds for g in repeated):
        return [
            "Some seeds are not known, so that groups with such runs are not paired: give the seed as a hyperparameter."
        ]
    if any(len({*g.seeds}) < g.n for g in repeated):
        return ["Some groups have one seed twice, so that they are not paired: use another seed for each repeat."]
    if len({frozenset(g.seeds) for g in repeated}) > 1:
        return [
            "The groups do not all have the same seeds: pairs are formed where at least three, and half, are shared."
        ]
    return []
