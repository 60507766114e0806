"""``lightning-energy gate``: new runs against those before, for continuous integration."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_energy.commands.console import complain, not_negative, number, print_out
from lightning_energy.commands.exits import Exit
from lightning_energy.commands.judging import add_metric, add_scale
from lightning_energy.comparison.compare import compare
from lightning_energy.comparison.gate import IN_COMMON, GateError, gate
from lightning_energy.comparison.group_table import OFTEN_FAILS, paired_words
from lightning_energy.comparison.groups import Group, group_runs
from lightning_energy.comparison.missing import missing_words
from lightning_energy.comparison.run_files import find_records
from lightning_energy.comparison.study_folders import without_discarded
from lightning_energy.results.prefixes import Figures, energy_unit
from lightning_energy.results.rendering import in_markdown
from lightning_energy.scores.metric import PERCENT

if TYPE_CHECKING:
    from lightning_energy.comparison.comparison import Comparison
    from lightning_energy.comparison.gate import Gate
    from lightning_energy.comparison.subject import Subject

__all__ = ["add_arguments", "run"]

CONDITIONS = (
    "The 95 % hold if runs are independent (trained in turns), scatter roughly normally (of a few runs, none of which "
    "stopped early or collapsed though some would, they hold less often), and their number was fixed beforehand."
)
BEFOREHAND = (
    "To look again, train that many anew on both sides, and judge these alone: runs that are added after a look make "
    "wrong answers more frequent. Each look has its own chance of a wrong answer: with two, it is up to twice as large."
)
OF_MEANS = "(of geometric means; the table has arithmetic ones)"
NAMED = 5  # settings in a sentence
EXITS = {"fine": Exit.FINE, "worse": Exit.WORSE, "cannot tell": Exit.CANNOT_TELL}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command, and add its arguments."""
    parser.description = (
        "Say whether new runs of a training cost more energy than those before, and print a summary in Markdown. Exit "
        "code 0: the upper end of the 95 % interval of the increase is within the limit; 1: its lower end is above it, "
        "or the metric is significantly worse; 3: cannot tell; 2: wrong input. Each call has its own level: who looks "
        "again after a 3, at new runs, has a wrong answer up to twice as often."
    )
    parser.add_argument("--base", nargs="+", required=True, metavar="RUN", help="records or folders of the runs before")
    parser.add_argument("--new", nargs="+", required=True, metavar="RUN", help="those of the runs now")
    parser.add_argument(
        "--max-increase", type=_share, required=True, metavar="SHARE", help="the increase that is allowed, such as 3%%"
    )
    parser.add_argument(
        "--max-loss",
        type=not_negative,
        metavar="LOSS",
        help="the loss of the metric that is allowed, such as 0.005; code 0 then takes proof that it lost no more",
    )
    add_metric(parser)
    add_scale(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the summary, and return the exit code."""
    options = {"metric": arguments.metric, "epoch": arguments.epoch, "scale": arguments.scale, "by": "none"}
    sides = {name: compare(getattr(arguments, name), **options) for name in ("base", "new")}
    problems = [
        f"{name}: {problem}"
        for name, side in sides.items()
        for problem in side.problems
        if "is the only run that can be compared" not in problem
    ]
    for problem in problems:
        complain("gate", problem)
    in_percent = any(run.scale == "percent" for side in sides.values() for run in side.runs)
    too_large = sides["base"].subject.too_large("--max-loss", arguments.max_loss or 0.0, in_percent=in_percent)
    if too_large:
        complain("gate", too_large)
        return Exit.WRONG_INPUT
    base, new = (_group(name, side) for name, side in sides.items())
    if problems and not (base.runs and new.runs):
        return Exit.WRONG_INPUT
    try:
        if {*_files(base)} & {*_files(new)}:
            raise GateError(IN_COMMON)
        answer = gate(base, new, arguments.max_increase, arguments.max_loss)
    except GateError as error:
        complain("gate", error)
        return Exit.WRONG_INPUT
    print_out(_summary(answer, base, new, sides["base"], arguments))
    apart = (_left_out(given) for given in (arguments.base, arguments.new))
    for sentence in dict.fromkeys(sentence for of_side in apart for sentence in of_side):
        print_out(f"- {in_markdown(sentence[0].upper() + sentence[1:])}.")
    return Exit.WRONG_INPUT if problems else EXITS[answer.outcome]


def _group(name: str, comparison: Comparison) -> Group:
    names = {run.name: name for run in comparison.runs}
    groups = group_runs(comparison.runs, names)
    return groups[0] if groups else Group(name, ())


def _left_out(given: list[str]) -> list[str]:
    """Say which records of studies are left out, as they are no repeats."""
    return without_discarded(find_records(given)[0], given)[1]


def _files(group: Group) -> list[Path]:
    """The records of a side, in whatever way they were given."""
    return [Path(run.path).resolve() for run in group.runs]


def _summary(answer: Gate, base: Group, new: Group, comparison: Comparison, arguments: argparse.Namespace) -> str:
    subject = comparison.subject
    signs = {"fine": "passed", "worse": "failed", "cannot tell": "cannot tell"}
    reason = f"{answer.reason[0].upper()}{answer.reason[1:]}" + "." * (not answer.reason.endswith("?"))
    lines = [f"### Energy gate: {signs[answer.outcome]}", "", reason, ""]
    means = [side.energy.mean for side in (base, new) if side.energy is not None]
    energies = Figures(*energy_unit(means), means)
    lines += ["| | runs | energy ± sd | " + in_markdown(subject.heading) + " ± sd |", "| --- | ---: | ---: | ---: |"]
    for side in (base, new):
        energy, metric = side.energy, side.metric
        if energy is not None and metric is not None:
            around = "" if metric.sd is None else f" ± {subject.show(metric.sd, metric.sd)}"
            shown = f"{energies.show(energy.mean, energy.sd)} | {subject.show(metric.mean, metric.sd)}{around}"
            lines.append(f"| {side.name} | {side.n} | {shown} |")
    lines.append("")
    if answer.increase is not None:
        bounds = ""
        if answer.low is not None and answer.high is not None:
            bounds = f", 95 % interval {_percent(answer.low)} to {_percent(answer.high)}"
        lines.append(
            f"- Energy: {_percent(answer.increase)}{bounds}; allowed: {_percent(arguments.max_increase)} {OF_MEANS}."
        )
    if missing := missing_words([*base.runs, *new.runs]):
        reaches = ": the interval reaches to what it may have cost" if answer.low is not None else ""
        lines.append(f"- {missing.capitalize()}{reaches}.")
    if answer.gain is not None:
        lines.append(_of_metric(answer, answer.gain, subject, arguments.max_loss))
    if answer.pairs:
        paired = paired_words(answer.pairs, base.n, new.n)
        are_all = 2 * answer.pairs == base.n + new.n
        lines.append(f"- {paired.capitalize()}." if are_all else f"- Increases are {paired}; the table has all runs.")
    lines += _conditions(answer)
    lines += [
        f"- {in_markdown(run.name)} of {side.name} is not counted: {in_markdown(reason)}."
        for side in (base, new)
        for run, reason in side.left_out
    ]
    if base.lost or new.lost:
        lines.append(f"- Runs that are not counted are in no figure: {OFTEN_FAILS}.")
    lines += [words for side in (base, new) if (words := _of_several(side))]
    qualities = {run.quality for side in (base, new) for run in side.runs}
    lines.append(f"- Energies are {', '.join(sorted(qualities))}.")
    return "\n".join(lines)


def _conditions(answer: Gate) -> list[str]:
    """Say what the intervals rest on, and what a second look takes."""
    has_interval = answer.low is not None or answer.gain_low is not None
    return [f"- {CONDITIONS}"] * has_interval + [f"- {BEFOREHAND}"] * (answer.repeats is not None)


def _of_metric(answer: Gate, gain: float, subject: Subject, max_loss: float | None) -> str:
    """Say how much better the metric is; of one to be minimised, what it fell by."""
    better = "" if subject.mode == "max" else " (more is better: its sign is turned)"
    around = ", without an interval"
    if answer.gain_low is not None and answer.gain_high is not None:
        around = f", 95 % interval {answer.gain_low:+.4g} to {answer.gain_high:+.4g}"
    loss = "" if max_loss is None else f"; allowed: a loss of {max_loss:g}"
    return f"- {in_markdown(subject.heading)}: {gain:+.4g}{better}{around}{loss}."


def _of_several(side: Group) -> str:
    """Say that a side has runs of several configurations; nothing where it has not."""
    differing = side.differs_in
    names = ", ".join(map(in_markdown, differing[:NAMED])) + ", …" * (len(differing) > NAMED)
    return f"- The runs of {side.name} are of several configurations ({names}): give those of one." if differing else ""


def _percent(share: float) -> str:
    return f"{100 * share:+.2f} %" if abs(share) < PERCENT else "unknown"


def _share(text: str) -> float:
    """Read a share: ``3%``, ``3 %`` or ``0.03``."""
    value = number(text.removesuffix("%").strip()) / (PERCENT if text.endswith("%") else 1)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: give a share from 0 on and below 100 %, such as 3% or 0.03")
    return value
