"""The command ``lightning-energy``.

Each command is a module of this package with ``add_arguments(parser)`` and ``run(arguments)``, named in
:data:`COMMANDS`. It is imported when it is called, so that ``--version`` and ``--help`` load nothing.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from lightning_energy._version import __version__
from lightning_energy.commands.exits import CannotPrintError, Exit

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["COMMANDS", "main"]

COMMANDS = {
    "doctor": "list the meters of this machine, and how to make more of them readable",
    "report": "print the report of a run again",
    "study": "train many configurations with many seeds, and report them",
    "compare": "list runs side by side: accuracy against energy, and which are dominated",
    "explain": "say what would have saved energy in a run, and how much",
    "whatif": "replay rules that would have stopped finished runs: quality kept, energy saved",
    "totals": "sum up the energy of all runs below a folder, by project, month or label",
    "trace": "put the power of a run beside the kernels of a PyTorch profile",
    "gate": "say whether new runs cost more energy than before, for continuous integration",
}
"""All commands, and a line of help for each."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: the arguments; those of the process by default.

    Returns:
        The exit code: see :class:`~lightning_energy.commands.exits.Exit`.

    Example:
        >>> main(["doctor", "--seconds", "0.2", "--json"]) in {0, 1}  # doctest: +ELLIPSIS
        {...
        True
    """
    argv = sys.argv[1:] if argv is None else argv
    called = next((argument for argument in argv if not argument.startswith("-")), None)
    arguments = _parser(called).parse_args(argv)
    try:
        return cast("int", _module(arguments.command).run(arguments))
    except CannotPrintError as error:
        _module("console").complain(arguments.command, error)
        return Exit.WRONG_INPUT
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except OSError as error:
        return _unforeseen(arguments, f"{error}: mend that, and call it again")
    except Exception as error:  # noqa: BLE001 - a code that means something else must not come of it
        words = "".join(traceback.format_exception_only(error)).strip().splitlines()[-1]
        again = f"`lightning-energy --debug {arguments.command} …`"
        return _unforeseen(arguments, f"{words}: an error of lightning-energy; report it with what {again} adds")


def _unforeseen(arguments: argparse.Namespace, problem: str) -> int:
    if arguments.debug and sys.stderr is not None:
        traceback.print_exc()
    _module("console").complain(arguments.command, problem)
    return Exit.WRONG_INPUT


def _parser(called: str | None) -> argparse.ArgumentParser:
    """Make the parser: all commands by name and help, and the arguments of the one that is called."""
    parser = argparse.ArgumentParser(
        prog="lightning-energy", description="The energy of trainings: measured, reported, compared."
    )
    parser.add_argument("--version", action="version", version=f"lightning-energy {__version__}")
    parser.add_argument("--debug", action="store_true", help="print the traceback of an error that is a bug of ours")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, help_ in COMMANDS.items():
        command = commands.add_parser(name, help=help_)
        if name == called:
            _module(name).add_arguments(command)
    return parser


def _module(command: str) -> Any:
    return import_module(f"{__package__}.{command}")


if __name__ == "__main__":
    sys.exit(main())
