"""``lightning-energy gate``: new runs against those before, for continuous integration."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from lightning_energy.commands.console import complain, number, positive, print_out
from lightning_energy.commands.exits import Exit
from lightning_energy.commands.judging import add_metric, add_scale
from lightning_energy.comparison.compare import compare
from lightning_energy.comparison.gate import GateError, gate
from lightning_energy.comparison.group_table import ended, paired_words
from lightning_energy.comparison.groups import Group, group_runs
from lightning_energy.comparison.prefixes import energy_unit, plus_minus
from lightning_energy.results.rendering import in_markdown
from lightning_energy.scores.metric import PERCENT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lightning_energy.comparison.comparison import Comparison
    from lightning_energy.comparison.gate import Gate
    from lightning_energy.comparison.run import Run

__all__ = ["add_arguments", "run"]

BEFOREHAND = (
    "The 95 % hold if the number of runs was fixed beforehand: train that many anew on both sides, and judge these "
    "alone. Runs that are added after a look make wrong answers more frequent."
)
EXITS = {"fine": Exit.FINE, "worse": Exit.WORSE, "cannot tell": Exit.CANNOT_TELL}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command, and add its arguments."""
    parser.description = (
        "Say whether new runs of a training cost more energy than those before, and print a summary in Markdown. Exit "
        "code 0: the upper end of the 95 % interval of the increase is within the limit; 1: its lower end is above it, "
        "or the metric is significantly worse; 3: cannot tell; 2: wrong input."
    )
    parser.add_argument("--base", nargs="+", required=True, metavar="RUN", help="records or folders of the runs before")
    parser.add_argument("--new", nargs="+", required=True, metavar="RUN", help="those of the runs now")
    parser.add_argument(
        "--max-increase", type=_share, required=True, metavar="SHARE", help="the increase that is allowed, such as 3%%"
    )
    parser.add_argument(
        "--max-loss",
        type=positive,
        metavar="LOSS",
        help="the loss of the metric that is allowed, such as 0.005; code 0 then takes proof that it lost no more",
    )
    add_metric(parser)
    add_scale(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the summary, and return the exit code."""
    options = {"metric": arguments.metric, "epoch": arguments.epoch, "scale": arguments.scale}
    sides = {name: compare(getattr(arguments, name), **options) for name in ("base", "new")}
    problems = []
    for name, side in sides.items():
        own = [problem for problem in side.problems if "is the only run that can be compared" not in problem]
        problems += own
        for sentence in [*own, *(caveat for caveat in side.caveats if "study report" in caveat)]:
            complain("gate", f"{name}: {sentence}")
    if all(not side.subject.name and side.runs for side in sides.values()) and problems:
        return Exit.WRONG_INPUT  # no run has the metric: it was said
    base, new = (_group(name, side) for name, side in sides.items())
    try:
        answer = gate(base, new, arguments.max_increase, arguments.max_loss)
    except GateError as error:
        complain("gate", error)
        return Exit.WRONG_INPUT
    print_out(_summary(answer, base, new, sides, arguments.max_increase))
    return Exit.WRONG_INPUT if problems else EXITS[answer.outcome]


def _group(name: str, comparison: Comparison) -> Group:
    names = {run.name: name for run in comparison.runs}
    groups = group_runs(comparison.runs, names)
    return groups[0] if groups else Group(name, ())


def _summary(answer: Gate, base: Group, new: Group, sides: Mapping[str, Comparison], max_increase: float) -> str:
    subject = sides["base"].subject
    unit, per_kwh = energy_unit([None if side.energy is None else side.energy.mean for side in (base, new)])
    signs = {"fine": "passed", "worse": "failed", "cannot tell": "cannot tell"}
    lines = [
        f"### Energy gate: {signs[answer.outcome]}",
        "",
        f"{ended(answer.reason[0].upper() + answer.reason[1:])}",
        "",
    ]
    lines += [f"| | runs | {unit} | " + in_markdown(subject.heading) + " |", "| --- | ---: | ---: | ---: |"]
    for side in (base, new):
        energy, metric = side.energy, side.metric
        if energy is not None and metric is not None:
            around = "" if metric.sd is None else f" ± {subject.show(metric.sd)}"
            sd = None if energy.sd is None else energy.sd * per_kwh
            shown = f"{plus_minus(energy.mean * per_kwh, sd)} | {subject.show(metric.mean)}{around}"
            lines.append(f"| {side.name} | {side.n} | {shown} |")
    lines.append("")
    if answer.increase is not None:
        bounds = ""
        if answer.low is not None and answer.high is not None:
            bounds = f", 95 % interval {_percent(answer.low)} to {_percent(answer.high)}"
        lines.append(f"- Energy: {_percent(answer.increase)}{bounds}; allowed: {_percent(max_increase)}.")
    if answer.gain is not None and answer.gain_low is not None and answer.gain_high is not None:
        better = "" if subject.mode == "max" else " (more is better: its sign is turned)"
        lines.append(
            f"- {in_markdown(subject.heading)}: {answer.gain:+.4g}{better}, 95 % interval {answer.gain_low:+.4g} to "
            f"{answer.gain_high:+.4g}."
        )
    if answer.pairs:
        lines.append(f"- {paired_words(answer.pairs, base.n, new.n).capitalize()}.")
    if answer.repeats is not None:
        lines.append(f"- {BEFOREHAND}")
    lines += [
        f"- {in_markdown(run.name)} of {side.name} is not counted: {in_markdown(_why(run, reason))}."
        for side in (base, new)
        for run, reason in side.left_out
    ]
    for name, comparison in sides.items():
        if (n := sum(group.n > 0 for group in comparison.groups if group.n > 1)) > 1:
            words = f"has runs of {n} configurations, by their settings, of which this is one mean: give those of one"
            lines.append(f"- {name} {words}.")
    qualities = {run.quality for side in (base, new) for run in side.runs}
    lines.append(f"- Energies are {', '.join(sorted(qualities))}.")
    return "\n".join(lines)


def _why(run: Run, reason: str) -> str:
    """The reason why a run is not counted: its own where it has one, such as another metric."""
    own = [caveat for caveat in run.caveats if caveat.startswith(("its metric is ", "its last validation "))]
    return own[0] if own and "not known" in reason else reason


def _percent(share: float) -> str:
    return f"{100 * share:+.2f} %" if abs(share) < PERCENT else "unknown"


def _share(text: str) -> float:
    """Read a share: ``3%``, ``3 %`` or ``0.03``."""
    value = number(text.removesuffix("%").strip()) / (PERCENT if text.endswith("%") else 1)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: give a share such as 3% or 0.03")
    return value
