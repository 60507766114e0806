"""Options that several commands have: the metric of the runs, and how they are judged."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from lightning_energy.commands.console import finite, not_negative, positive, probability
from lightning_energy.comparison.difference import LEVEL
from lightning_energy.comparison.subject import Choice
from lightning_energy.scores.formula import REFERENCE_KWH
from lightning_energy.scores.metric import Scale

if TYPE_CHECKING:
    import argparse

__all__ = ["add_grouping", "add_metric", "add_reference", "add_scale", "add_targets", "add_verdicts", "by_of"]


def add_metric(parser: argparse.ArgumentParser) -> None:
    """Add ``--metric`` and ``--epoch``."""
    parser.add_argument("--metric", metavar="NAME", help="the logged name of the metric (default: that of most runs)")
    parser.add_argument(
        "--epoch", choices=get_args(Choice), default="last", help="the last value of the metric (default), or the best"
    )


def add_scale(parser: argparse.ArgumentParser) -> None:
    """Add ``--scale``."""
    parser.add_argument(
        "--scale", choices=get_args(Scale), help="read all values with it, where records have a wrong one"
    )


def add_targets(parser: argparse.ArgumentParser) -> None:
    """Add ``--target``."""
    parser.add_argument(
        "--target",
        type=finite,
        metavar="VALUE",
        action="append",
        default=[],
        help="show the energy up to the first epoch with this value of the metric or a better one (accuracies: 0.9); "
        "may be given several times",
    )


def add_reference(parser: argparse.ArgumentParser) -> None:
    """Add ``--reference-kwh``."""
    parser.add_argument(
        "--reference-kwh",
        type=positive,
        metavar="KWH",
        help="energy at which the penalty of the score begins to bite (default: the runs' own if they agree, else "
        f"{REFERENCE_KWH:g})",
    )


def add_grouping(parser: argparse.ArgumentParser, default: str) -> None:
    """Add ``--group-by``, whose value :func:`by_of` reads."""
    parser.add_argument(
        "--group-by",
        metavar="WAY",
        help="find the runs of one configuration by their 'folder', by names of settings (lr,model), or not ('none'); "
        f"default: {default}",
    )


def by_of(given: str | None) -> str | list[str] | None:
    """The value of ``--group-by`` as :func:`~lightning_energy.compare` takes it."""
    return given if given in {None, "folder", "none"} else [name.strip() for name in (given or "").split(",")]


def add_verdicts(parser: argparse.ArgumentParser) -> None:
    """Add ``--level``, ``--margin`` and ``--baseline``."""
    parser.add_argument(
        "--level",
        type=probability,
        default=LEVEL,
        help="probability that one of all verdicts between groups is wrong, at most, if repeats are independent and "
        "scatter roughly normally, and their number was fixed beforehand; each look has its own: divide it among "
        f"several (default: {LEVEL:g})",
    )
    parser.add_argument(
        "--margin",
        type=not_negative,
        default=0.0,
        metavar="LOSS",
        help="the loss of the metric that counts as none, stated before you see the runs (default: 0)",
    )
    parser.add_argument(
        "--baseline",
        metavar="NAME",
        help="compare every group with this one alone, chosen before you see the runs: fewer tests take fewer repeats "
        "(default: all with all)",
    )
