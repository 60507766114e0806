"""The groups of a comparison as rows, sentences, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
import math
from itertools import islice
from typing import TYPE_CHECKING

from lightning_energy.comparison.listing import some_of
from lightning_energy.comparison.missing import missing_words
from lightning_energy.comparison.mixtures import mixed_words
from lightning_energy.comparison.student import FEWEST
from lightning_energy.comparison.target_table import target_cells
from lightning_energy.comparison.verdicts import (
    FOR_THAT_SEED,
    SHOWS_NOTHING,
    constant_words,
    of_shared_seeds,
    of_some,
    one_seed_words,
)
from lightning_energy.results.plain import cell
from lightning_energy.results.prefixes import energy_unit, per_cent, plus_minus, saved

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lightning_energy.comparison.difference import Difference
    from lightning_energy.comparison.groups import Group, Mean
    from lightning_energy.comparison.judgement import Judgement
    from lightning_energy.comparison.run import Run
    from lightning_energy.comparison.subject import Subject
    from lightning_energy.comparison.verdicts import Verdict

__all__ = [
    "GEOMETRIC",
    "OFTEN_FAILS",
    "OF_HALF",
    "OF_SOME",
    "dominates_words",
    "group_rows",
    "group_sentences",
    "groups_csv",
    "latex",
    "paired_words",
]

UNKNOWN = "–"  # noqa: RUF001 - a dash, as tables have it
MOST_SENTENCES = 12  # of one kind
CONDITIONS = (
    "if repeats are independent (trained in turns: what drifts between configurations counts as their difference), "
    "scatter roughly normally (where some collapse or stop early, or figures come in steps that records do not tell, "
    "it may be many times that, above all with three or four runs), and {} fixed beforehand"
)
BEFOREHAND = (
    "A number of runs is for a new study of that many, and for the difference and the spread that were seen: if the "
    "true difference is smaller, or none, it will not be shown. The probability is that of each question by itself. "
    "Who looks, adds seeds and looks again divides the level (--level 0.025 at each of two looks)."
)
GEOMETRIC = "geometric means of energies"
DECIDED = ("dominated", "trade-off", "cheaper", "better")
OF_SIZE = "Decided is the direction; by how much is what was seen, whose standard error --format json has."
OF_MEANS = (
    f"Decisions and savings are of {GEOMETRIC} (means of their logarithms), which a few dear runs raise less than the "
    "arithmetic means that tables have; where these have the opposite order, nothing is decided."
)
OF_SOME = (
    "Where only some seeds are shared, decisions, about the metric, too, are of the runs with these seeds alone, and "
    "figures in tables of all runs; where the means of all runs do not have the same order, nothing is decided."
)
OF_TARGET = {
    "median_kwh": "median_kwh",
    "low_kwh": "low_kwh",
    "high_kwh": "high_kwh",
    "over_kwh": "over_kwh",
    "reached": "n_reached",
    "of": "n",
    "unknown": "unknown",
    "mean_kwh": "mean_kwh",
    "u_mean_kwh": "u_mean_kwh",
    "budget_kwh": "budget_kwh",
    "per_success_kwh": "per_success_kwh",
}
OF_HALF = (
    "the energy of the training by which half of the runs had reached it at a validation, with the least and the most "
    "that one took and the number of those that did; runs that ended or diverged without it count as never reaching it "
    "(≥: more than half had not by then), runs that do not tell, or go on without it, for nothing (unknown)"
)
OF_SINGLE = "of a single run that at which it was first seen to be reached (>: it takes more than that)"
OFTEN_FAILS = "a configuration that often fails looks better than it is"
ONE_SEED = (
    "Some groups have one seed twice, as far as records say, so that they are not paired, and nothing is decided about "
    "their metric: use another seed for each repeat, by seed_everything before each training or as a hyperparameter."
)
WITHOUT = ("no_metric_interval", "no_energy_interval")
ONE_EACH = "A group has one configuration as far as records say: name groups with --group-by."
NOT_PAIRED = "not paired"
NOT_DECIDED = "which is {} is not decided: "
LATEX = {c: f"\\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
    "≠": r"$\neq$",
    "≥": r"$\geq$",
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
            _named(group, comparison),
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
    tests = sum(verdict.tests for verdict in verdicts)
    without = "".join(
        f"; {words}" for words in (*_not_in_intervals(comparison.groups), *_no_interval(comparison.groups))
    )
    found = [
        (
            "Intervals are of the means, each by itself and by Student's t, of the scatter from run to run "
            f"alone{without}. Spreads and decisions are those of repeats on this machine and data."
            + ("" if mixed_words(comparison.groups) else f" {ONE_EACH}")  # it stands among the caveats
        )
    ]
    if tests:
        found.append(
            f"Decided by {tests} one-sided tests{_against(comparison)}; the probability that even one decision is "
            f"wrong is at most {100 * comparison.level:g} % (Holm's correction), "
            + conditions_words(comparison.baseline, comparison.margin)
            + (
                "; the energies of groups that repeat a seed: for these seeds."
                if _one_seed(verdicts, comparison)
                else "."
            )
        )
    found += [OF_SIZE] * any(v.kind in DECIDED for v in verdicts)
    found += [OF_MEANS] * any(v.energy is not None and v.energy.sign != 0 for v in verdicts)
    found += [OF_SOME] * any(v.unpaired for v in verdicts)
    if comparison.margin:
        found.append(f"A group dominates that is {dominates_words(comparison.margin)}.")
    for kind in DECIDED:
        found += _some(_decision(v, comparison) for v in verdicts if v.kind == kind)
    found += _some(_open(v, comparison) for v in verdicts if v.kind == "undecided")
    found += [BEFOREHAND] * any(_has_number(verdict) for verdict in verdicts)
    found += _some(
        f"{v.one} and {v.other} are incomparable: {'; '.join(v.reasons)}." for v in verdicts if v.kind == "incomparable"
    )
    few = [g.name for g in comparison.groups if 0 < g.n < FEWEST]
    if few:
        found.append(f"Nothing is decided about groups of fewer than {FEWEST} runs: {some_of(few, MOST_SENTENCES)}.")
    if comparison.baseline in few:
        found.append("The baseline is one of these, so that nothing is decided at all.")
    out = [f"{run.name} is in no mean of {g.name}: {reason}." for g in comparison.groups for run, reason in g.left_out]
    lost = any(g.lost for g in comparison.groups)
    failed = [f"Runs that are in no mean count for nothing: {OFTEN_FAILS}."] * lost
    return [*found, *_some(out), *failed, *_of_seeds(comparison.groups)]


def conditions_words(baseline: str | None, margin: float = 0.0) -> str:
    """Say under which conditions the level of decisions holds.

    Args:
        baseline: the group that all others are compared with; ``None``: all with all.
        margin: the loss of the metric that counts as none.

    Example:
        >>> conditions_words("a", 0.01).rpartition("), and ")[2]
        'their number, the baseline and the margin were fixed beforehand'
    """
    fixed = ["their number", *["the baseline"] * (baseline is not None), *["the margin"] * (margin > 0)]
    listed = " and ".join([", ".join(fixed[:-1]), fixed[-1]] if fixed[1:] else fixed)
    return CONDITIONS.format(f"{listed} {'were' if fixed[1:] else 'was'}")


def _against(comparison: Judgement) -> str:
    return "" if comparison.baseline is None else f", of each group against {comparison.baseline} alone"


def _named(group: Group, comparison: Judgement) -> str:
    return f"{group.name} (baseline)" if group.name == comparison.baseline else group.name


def groups_csv(comparison: Judgement) -> str:
    """A row of unrounded figures per group, and of each target the energies that it took. An empty cell is unknown."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    figures = ("mean", "sd", "low", "high")
    names = [f"{what}_{figure}" for what in ("metric", "energy_kwh") for figure in figures]
    targets = comparison.subject.targets
    of_targets = [f"to_{target:g}_{name}" for target in targets for name in OF_TARGET]
    writer.writerow(
        ["group", "n", "left_out", *names, "dominated_by", "decided_of", "seeds", *WITHOUT, "differs_in", *of_targets]
    )
    progress = comparison.progress() if targets else None
    found = {} if progress is None else {of.name: {t.target: t for t in of.targets} for of in progress.configurations}
    for group in comparison.groups:
        reached = [found.get(group.name, {}).get(target) for target in targets]
        values_of_targets = [None if t is None else getattr(t, field) for t in reached for field in OF_TARGET.values()]
        values = [getattr(mean, f) if mean else None for mean in (group.metric, group.energy) for f in figures]
        by = [v for v in comparison.verdicts if v.kind == "dominated" and v.other == group.name]
        lost, decided_of = "; ".join(v.one for v in by), "; ".join(f"{v.one}: {v.basis or NOT_PAIRED}" for v in by)
        without = [getattr(group, name) if group.n > 1 else "" for name in WITHOUT]
        seeds = "; ".join("" if seed is None else str(seed) for seed in group.seeds)
        writer.writerow(
            [
                *map(
                    cell,
                    [
                        group.name,
                        group.n,
                        len(group.left_out),
                        *values,
                        lost,
                        decided_of,
                        seeds,
                        *without,
                        "; ".join(group.differs_in),
                        *values_of_targets,
                    ],
                )
            ]
        )
    return out.getvalue().rstrip("\n")


def latex(comparison: Judgement) -> str:
    r"""A table for a paper, which needs ``\usepackage{booktabs}``; its caption says how the figures were made."""
    groups, subject = [g for g in comparison.groups if g.n], comparison.subject
    unit, per_kwh = energy_unit([None if g.energy is None else g.energy.mean for g in groups])
    lines = [
        " & ".join(
            [
                _tex(_named(g, comparison)),
                str(g.n),
                *map(_tex, (*_metric(g.metric, subject), *_energy(g.energy, per_kwh))),
                *map(_tex, target_cells(g.all_runs, subject.targets, per_kwh)),
                _tex(_dominated(g, comparison.verdicts)),
            ]
        )
        + r" \\"
        for g in groups
    ]
    qualities = sorted({run.quality for g in groups for run in g.runs})
    covers = sorted({run.covers for g in groups for run in g.runs})
    left_out, lost = sum(len(g.left_out) for g in comparison.groups), sum(g.lost for g in comparison.groups)
    empty = [g.name for g in comparison.groups if not g.n]
    single = f"; {OF_SINGLE}" if any(len(g.all_runs) == 1 for g in groups) else ""
    without = "".join(f"; {words}" for words in (*_not_in_intervals(groups), *_no_interval(groups)))
    caption = (
        f"{subject.heading} ({'last value' if subject.epoch == 'last' else 'best epoch'}) and energy of the training: "
        f"mean ± standard deviation over n runs, and the 95 % interval of the mean, each by itself by Student's t. The "
        f"intervals are of the scatter from run to run alone{without}. {_mixed(groups, comparison.verdicts)}"
        f"Energies are {' or '.join(qualities)} and cover {' or '.join(covers)}. "
        f"<: shown to be dominated by that row, which is {dominates_words(comparison.margin)} "
        f"(by the {GEOMETRIC}); all such decisions together{_against(comparison)} at the level {comparison.level:g} "
        f"(Holm), {conditions_words(comparison.baseline, comparison.margin)}."
        + _of_some(comparison.verdicts)
        + (f" {unit} to a value: {OF_HALF}{single}." if subject.targets else "")
        + (f" Left out: {left_out} that did not end, lack a figure, or are copies" if left_out else "")
        + (f"; {OFTEN_FAILS}." if lost else "." if left_out else "")
        + (f" No run of {some_of(empty)} is in the table." if empty else "")
        + "".join(f" {sentence[0].upper()}{sentence[1:].rstrip('.')}." for sentence in comparison.apart)
    )
    head = [
        "configuration",
        "n",
        subject.heading,
        "95 % interval",
        f"energy in {unit}",
        "95 % interval",
        *(f"{unit} to {target:g}" for target in subject.targets),
        "dominated by",
    ]
    return "\n".join(
        [
            r"% \usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_tex(caption)}}}",
            rf"\begin{{tabular}}{{lrrrrr{'r' * len(subject.targets)}l}}",
            r"\toprule",
            " & ".join(map(_tex, head)) + r" \\",
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


def _mixed(groups: Sequence[Group], verdicts: Sequence[Verdict]) -> str:
    words = mixed_words(groups, of_some(verdicts))
    return f"{words} " if words else ""


def _of_some(verdicts: Sequence[Verdict]) -> str:
    """Say which rows are dominated by some runs of theirs alone; empty of none."""
    some = [f"{v.one} dominates {v.other} {v.basis}" for v in verdicts if v.kind == "dominated" and v.unpaired]
    return f" {OF_SOME} {some_of(some, between='. ')}." if some else ""


def _tex(text: str) -> str:
    return "".join(LATEX.get(c, c) for c in text)


def _metric(mean: Mean | None, subject: Subject) -> tuple[str, str]:
    if mean is None:
        return UNKNOWN, UNKNOWN
    if mean.sd is None or not mean.has_spread:
        return subject.show(mean.mean), UNKNOWN
    shown = f"{subject.show(mean.mean, mean.sd)} ± {subject.show(mean.sd, mean.sd)}"
    if mean.low is None or mean.high is None:
        return shown, UNKNOWN
    return shown, f"{subject.show(mean.low, mean.sd)} to {subject.show(mean.high, mean.sd)}"


def _energy(mean: Mean | None, per_kwh: float) -> tuple[str, str]:
    if mean is None:
        return UNKNOWN, UNKNOWN
    if mean.sd is None or not mean.has_spread:
        return plus_minus(mean.mean * per_kwh, None), UNKNOWN
    shown = plus_minus(mean.mean * per_kwh, mean.sd * per_kwh)
    if mean.low is None or mean.high is None:
        return shown, UNKNOWN
    digits = len(shown.partition(" ")[0].partition(".")[2])
    return shown, f"{mean.low * per_kwh:.{digits}f} to {mean.high * per_kwh:.{digits}f}"


def _dominated(group: Group, verdicts: Sequence[Verdict]) -> str:
    by = [v.one for v in verdicts if v.kind == "dominated" and v.other == group.name]
    return f"< {by[0]}" + (f" +{len(by) - 1}" if len(by) > 1 else "") if by else UNKNOWN


def _one_seed(verdicts: Sequence[Verdict], comparison: Judgement) -> bool:
    """True where an energy is decided of a group that has one seed in several runs."""
    names = {group.name for group in comparison.groups if group.repeats_a_seed}
    return any({v.one, v.other} & names and v.energy is not None and v.energy.sign for v in verdicts)


def _cheaper(verdict: Verdict) -> str:
    """Say which share of the other's energy the first group saves: where energy is missing, what the test is of."""
    energy = verdict.energy
    if energy is None:
        return ""
    known, tested = (saved(value) for value in (energy.value, energy.worst))
    missing = f" ({known} by what is known, without missing energy)" if energy.worst != energy.value else ""
    return f"{tested} cheaper{missing}"


def dominates_words(margin: float) -> str:
    """Say what a group is that dominates another one.

    Args:
        margin: the loss of the metric that counts as none.

    Example:
        >>> dominates_words(0.0)
        'cheaper and better'
    """
    if not margin:
        return "cheaper and better"
    return f"cheaper, and better or shown to be worse by less than {margin:g}, a margin that was given"


def paired_words(pairs: int, one: int, other: int) -> str:
    """Say how runs are paired.

    Args:
        pairs: number of seeds that they are paired by.
        one: number of runs of the first group.
        other: that of the second.

    Example:
        >>> paired_words(5, 5, 5), paired_words(3, 5, 5)
        ('paired by 5 seeds', 'of the 3 shared seeds; the other 4 runs count for nothing here')
    """
    return of_shared_seeds(pairs, one + other - 2 * pairs) or NOT_PAIRED


def _not_in_intervals(groups: Sequence[Group]) -> list[str]:
    """Say which uncertainties of energies the intervals do not have."""
    runs = [run for group in groups for run in group.runs]
    measured, estimated = ([r for r in runs if (r.quality == "estimated") == flag] for flag in (False, True))
    words = []
    if measured:
        gain = max(map(_gain_of_meters, measured))
        words.append(f"the gain of the meters{f' ({per_cent(gain)}, k=1)' if gain else ''} is not in them")
    if estimated:
        u = max((r.u_kwh or 0.0) / (r.energy_kwh or math.inf) for r in estimated)
        energies = f"energies of {len(estimated)} of {len(runs)} runs" if measured else "energies"
        error = f"a standard uncertainty of {per_cent(u)}" if u else "an uncertainty that is not known"
        words.append(f"{energies} are a model's, with {error}")
    missing = missing_words(runs)
    return [*words, f"{missing} and not in them"] if missing else words


def _no_interval(groups: Sequence[Group]) -> list[str]:
    """Say which groups have no interval although they have a spread, and why."""
    found: dict[tuple[str, str], list[str]] = {}
    for group in groups:
        for what, why in (("energies", group.no_energy_interval), ("metrics", group.no_metric_interval)):
            if why and group.n > 1:
                found.setdefault((what, why), []).append(group.name)
    return [f"the {what} of {some_of(names)} have none, as {why}" for (what, why), names in sorted(found.items())]


def _gain_of_meters(run: Run) -> float:
    """The relative standard uncertainty of a run that its repeats share; 0: unknown."""
    if run.u_kwh is None or not run.energy_kwh:
        return 0.0
    return math.sqrt(max(run.u_kwh**2 - (run.u_repeat_kwh or 0.0) ** 2, 0.0)) / run.energy_kwh


def _gain(verdict: Verdict, subject: Subject) -> str:
    if verdict.metric is None:
        return ""
    gain = abs(verdict.metric.value)
    return subject.show(gain, gain)


def _kept(verdict: Verdict, comparison: Judgement) -> str:
    """The metric of a group that dominates: with a margin it may be worse."""
    sign = 0 if verdict.metric is None else verdict.metric.sign
    if sign < 0:
        return f"better by {_gain(verdict, comparison.subject)}"
    if sign > 0:
        gain = _gain(verdict, comparison.subject)
        return f"worse by {gain}, shown to be less than the margin of {comparison.margin:g}"
    return f"shown not to be worse by the margin of {comparison.margin:g}"


def _decision(verdict: Verdict, comparison: Judgement) -> str:
    one, other, subject = verdict.one, verdict.other, comparison.subject
    paired = verdict.basis or NOT_PAIRED
    if verdict.kind == "dominated":
        return f"{one} dominates {other}: {_cheaper(verdict)} and {_kept(verdict, comparison)} ({paired})."
    if verdict.kind == "trade-off":
        return f"{one} is {_cheaper(verdict)}, {other} better by {_gain(verdict, subject)} ({paired})."
    more = _sentence(f"which is {{}} is not decided ({paired}): {_takes(verdict, comparison)}")
    if verdict.kind == "cheaper":
        seed = f" ({FOR_THAT_SEED})" if _one_seed([verdict], comparison) else ""
        open_ = _with_margin(more.format("better"), verdict, comparison)
        return f"{one} is {_cheaper(verdict)} than {other}{seed}; {open_}"
    return f"{one} is better than {other} by {_gain(verdict, subject)}; {more.format('cheaper')}"


def _with_margin(text: str, verdict: Verdict, comparison: Judgement) -> str:
    """Add to an open question about the metric how many runs would show that there is no loss."""
    if verdict.repeats_for_margin is None:
        return text
    loss = f"{verdict.one} is not worse by the margin of {comparison.margin:g}"
    n = verdict.repeats_for_margin
    return f"{text.removesuffix('.')}; some {n} runs of each would probably (0.8) show that {loss}."


def _open(verdict: Verdict, comparison: Judgement) -> str:
    text = f"{verdict.one} and {verdict.other} are not told apart"
    flaws = {d.flaw for d in (verdict.energy, verdict.metric) if d is not None}
    if len(flaws) == 1 and verdict.reasons:  # one reason for both
        return _sentence(f"{text}: {'; '.join(verdict.reasons)}")
    return _sentence(f"{text}: {_takes(verdict, comparison)}")


def _sentence(text: str) -> str:
    return text if text.endswith("?") else f"{text}."


def _has_number(verdict: Verdict) -> bool:
    open_ = verdict.kind in {"cheaper", "better", "undecided"}
    numbers = [d.repeats for d in (verdict.energy, verdict.metric) if d is not None]
    return open_ and any(n is not None for n in (*numbers, verdict.repeats_for_margin))


def _takes(verdict: Verdict, comparison: Judgement) -> str:
    """The runs that each open question takes, or what keeps it open; questions that a number decides come first."""
    open_ = [
        (d, w) for d, w in ((verdict.energy, "cheaper"), (verdict.metric, "better")) if d is not None and not d.sign
    ]
    words = ("runs of each would probably (0.8) show which is", "which is")
    needed = [(d.repeats, w) for d, w in open_ if d.repeats]
    numbers = [f"some {n} {words[min(i, 1)]} {w}" for i, (n, w) in enumerate(needed)]
    causes = [_cause(d, w, verdict, comparison) for d, w in open_ if not d.repeats]
    if len(open_) == 1:  # the question was just told
        word = open_[0][1]
        causes = [cause.removeprefix(NOT_DECIDED.format(word)) for cause in causes]
    return "; ".join([*([", and ".join(numbers)] if numbers else []), *causes])


def _cause(difference: Difference, question: str, verdict: Verdict, comparison: Judgement) -> str:
    both, asked = [g for g in comparison.groups if g.name in {verdict.one, verdict.other}], NOT_DECIDED.format(question)
    if difference.obstacle == "missing":
        return "energy of some runs is missing, and repeats do not replace it"
    if difference.flaw:
        words = one_seed_words(*both) if difference.flaw == "one seed" else SHOWS_NOTHING[difference.flaw]
        return f"{asked}{words}"
    if difference.obstacle == "constant":
        estimates = any(run.quality == "estimated" for g in both for run in g.runs)
        return f"{asked}no number of repeats shows it: {constant_words(estimates=estimates)}"
    size = "a difference" if difference.constant else "a difference and a spread"
    return f"{asked}no number of repeats up to 10,000 shows it, with {size} of this size"


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
    if any(g.repeats_a_seed for g in repeated):
        return [ONE_SEED]
    if len({frozenset(g.seeds) for g in repeated}) > 1:
        return [
            "The groups do not all have the same seeds: pairs are formed where at least three, and half, are shared."
        ]
    return []
