"""``lightning-energy whatif``: finished runs, played again with rules that would have stopped them."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, get_args

from lightning_energy.commands.console import columns, complain, not_negative, positive, print_out
from lightning_energy.commands.exits import Exit
from lightning_energy.commands.files import picture, written
from lightning_energy.commands.judging import add_scale
from lightning_energy.comparison.what_if_picture import draw_whatif
from lightning_energy.comparison.what_if_table import as_csv, markdown, text
from lightning_energy.comparison.whatif import PATIENCES, RULES, whatif
from lightning_energy.scores.choice import ScoreName
from lightning_energy.scores.stopping import POINT, WINDOW

if TYPE_CHECKING:
    from collections.abc import Callable

    from lightning_energy.comparison.whatif import WhatIf

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command, and add its arguments."""
    parser.description = (
        "Replay rules that stop a training on finished records, without training again: the epoch of the stop, the "
        "quality that is kept, and the energy that is saved. Exit code 2: something that was given could not be "
        "read or replayed, or a file could not be written; 3: the records can be read, but none tells enough."
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="a record, a folder that holds some, or a pattern")
    parser.add_argument(
        "--rules", type=_kinds, default=RULES, metavar="KINDS",
        help=f"kinds of rules, joined by commas (default: {','.join(RULES)})",
    )  # fmt: skip
    parser.add_argument("--metric", metavar="NAME", help="replay runs of this metric alone (default: each on its own)")
    add_scale(parser)
    parser.add_argument(
        "--patience", type=_whole, action="append", metavar="N",
        help="validations that EarlyStopping waits; may be given several times (default: "
        f"{', '.join(map(str, PATIENCES))})",
    )  # fmt: skip
    parser.add_argument(
        "--min-delta",
        type=not_negative,
        default=0.0,
        metavar="GAIN",
        help="gain of the metric that counts as none there (of accuracies: a fraction)",
    )
    parser.add_argument("--score", choices=get_args(ScoreName), help="the score (default: the runs' own)")
    parser.add_argument(
        "--alpha", type=positive, action="append", metavar="A", help="its exponent of the accuracy; several times: each"
    )
    parser.add_argument("--beta", type=positive, metavar="B", help="its scale, which changes no order")
    parser.add_argument(
        "--reference-kwh", type=_reference, action="append", metavar="KWH|RUN",
        help="energy at which its penalty begins to bite, or a finished run; several times: each",
    )  # fmt: skip
    parser.add_argument(
        "--max-kwh-per-point", type=positive, action="append", metavar="KWH",
        help="stop where a further point costs more; several times: each (default: a run's mean, and ten times that)",
    )  # fmt: skip
    parser.add_argument(
        "--point", type=positive, default=POINT, metavar="SIZE", help=f"the size of a point (default: {POINT:g})"
    )
    parser.add_argument(
        "--window", type=_whole, default=WINDOW, metavar="N",
        help=f"validations over which the price of a point is taken (default: {WINDOW})",
    )  # fmt: skip
    parser.add_argument(
        "--budget-kwh", type=positive, action="append", metavar="KWH",
        help="stop at this energy; several times: each (default: a quarter, half, three quarters of a run's own)",
    )  # fmt: skip
    parser.add_argument("--format", choices=[*FORMATS], default="text", help="layout of the figures (default: text)")
    parser.add_argument("--picture", type=picture, metavar="FILE", help="draw a .png or .svg (needs matplotlib)")


def run(arguments: argparse.Namespace) -> int:
    """Print the replays, write the picture if one is asked for, and return the exit code."""
    try:
        found = whatif(
            arguments.runs,
            rules=arguments.rules,
            metric=arguments.metric,
            scale=arguments.scale,
            patience=arguments.patience or PATIENCES,
            min_delta=arguments.min_delta,
            score=arguments.score,
            alpha=arguments.alpha,
            beta=arguments.beta,
            reference_kwh=arguments.reference_kwh,
            max_kwh_per_point=arguments.max_kwh_per_point,
            point=arguments.point,
            window=arguments.window,
            budget_kwh=arguments.budget_kwh,
        )
    except ValueError as error:  # constants that do not go together, a record of a reference that cannot be used
        complain("whatif", error)
        return Exit.WRONG_INPUT
    print_out(FORMATS[arguments.format](found))
    problems = [*found.problems]
    if arguments.picture is not None and found.runs:
        problems += written(found, arguments.picture, draw_whatif)
    for problem in (*problems, *found.cannot):
        complain("whatif", problem)
    if problems or (found.cannot and found.runs):
        return Exit.WRONG_INPUT
    return Exit.FINE if found.runs else Exit.CANNOT_TELL


def _text(found: WhatIf) -> str:
    return text(found, columns())


def _json(found: WhatIf) -> str:
    return json.dumps(found.to_plain(), indent=2, allow_nan=False)


FORMATS: dict[str, Callable[[WhatIf], str]] = {"text": _text, "json": _json, "csv": as_csv, "markdown": markdown}


def _kinds(text_: str) -> list[str]:
    kinds = [kind.strip() for kind in text_.split(",")]
    if not {*kinds} <= {*RULES}:
        raise argparse.ArgumentTypeError(f"{text_!r}: give some of {','.join(RULES)}")
    return kinds


def _whole(text_: str) -> int:
    if not text_.isdecimal() or int(text_) < 1:
        raise argparse.ArgumentTypeError(f"{text_!r}: give a whole number from 1 on")
    return int(text_)


def _reference(text_: str) -> float | str:
    """A number of kWh, or else the path of a run."""
    try:
        float(text_)
    except ValueError:
        return text_
    return positive(text_)
