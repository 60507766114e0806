"""``lightning-energy explain``: the changes that would have saved energy in a run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from lightning_energy.commands.console import add_run, columns, complain, print_out
from lightning_energy.commands.exits import Exit
from lightning_energy.results.explain import explain
from lightning_energy.results.verdict.words import as_markdown, as_text

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from lightning_energy.results.verdict.explanation import Explanation

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command, and add its arguments."""
    parser.description = (
        "Say what would have saved energy in a run: a ranked list, each change with the energy at stake, its "
        "uncertainty and the next step, and what the record does not know. Exit code 1: the energy is an estimate; "
        "2: there is no record that can be read; 3: nothing was found, and some rules could not look."
    )
    add_run(parser)
    parser.add_argument(
        "--beside",
        metavar="RUN",
        help="a short run of the same training with another precision or batch size: two runs know what these save",
    )
    parser.add_argument("--format", choices=[*FORMATS], default="text", help="layout of the list (default: text)")


def run(arguments: argparse.Namespace) -> int:
    """Print the list, and return the exit code."""
    try:
        found = explain(arguments.run, beside=arguments.beside)
    except ValueError as error:  # a record that cannot be read
        complain("explain", error)
        return Exit.WRONG_INPUT
    print_out(FORMATS[arguments.format](found))
    if found.unseen and not (found.savings or found.small):
        return Exit.CANNOT_TELL
    return Exit.WORSE if found.quality == "estimated" else Exit.FINE


def _text(found: Explanation) -> str:
    return as_text(found, columns())


def _json(found: Explanation) -> str:
    return json.dumps(found.to_plain(), indent=2, allow_nan=False)


FORMATS: dict[str, Callable[[Explanation], str]] = {"text": _text, "json": _json, "markdown": as_markdown}
