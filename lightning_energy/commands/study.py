"""``lightning-energy study``: many trainings that can be compared, and their report."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from lightning_energy.commands.console import complain, number, print_out
from lightning_energy.commands.exits import Exit
from lightning_energy.commands.judging import add_grouping, add_metric, add_reference, add_targets, add_verdicts, by_of
from lightning_energy.study.idle import IDLE_S
from lightning_energy.study.manifest import StudyError
from lightning_energy.study.plan import Order
from lightning_energy.study.report import report
from lightning_energy.study.runner import run as run_study

if TYPE_CHECKING:
    from collections.abc import Callable

    from lightning_energy.study.report import StudyReport

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command, and add its arguments."""
    parser.description = (
        "Train many configurations with many seeds so that they can be compared, and report them. Exit code 1: some "
        "runs failed; 2: an argument, a folder or a manifest is wrong."
    )
    commands = parser.add_subparsers(dest="what", required=True, metavar="run | report")
    _add_run(commands.add_parser("run", help="train every configuration with every seed"))
    _add_report(commands.add_parser("report", help="compare the runs, and print the checklist"))


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Train every configuration with every seed, each run in a process of its own. A study that was ended in the "
        "middle goes on where it was. Exit code 1: some runs failed; 2: an argument, or the folder, is wrong."
    )
    parser.add_argument("train", metavar="FILE.py:NAME", help="the function that trains: NAME(config, seed, folder)")
    parser.add_argument("--configs", type=Path, required=True, metavar="FILE", help="JSON or YAML: name to values")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder of the study")
    parser.add_argument(
        "--seeds", type=_seeds, default=5, metavar="N", help="number of seeds (default: 5), or 3,5,8; one seed: 7,"
    )
    parser.add_argument(
        "--order",
        choices=get_args(Order),
        default="randomized blocks",
        help="order of the runs (default: randomized blocks)",
    )
    parser.add_argument("--order-seed", type=int, default=0, metavar="N", help="seed of the random order (default: 0)")
    parser.add_argument(
        "--cooldown-s", type=_seconds, metavar="S", help="longest wait before a run (default: 120 for GPUs, else 0)"
    )
    parser.add_argument("--warmup", type=int, default=1, metavar="N", help="runs that are discarded first (default: 1)")
    parser.add_argument(
        "--idle-s", type=_seconds, default=IDLE_S, metavar="S", help=f"time to watch idle devices (default: {IDLE_S:g})"
    )
    parser.add_argument("--part", default="", metavar="I/N", help="this machine's part of the configurations")
    parser.add_argument("--retry-failed", action="store_true", help="repeat runs that failed, too")
    parser.add_argument(
        "--preload",
        type=_names,
        default=[],
        metavar="MODULES",
        help="load these once, and let each run be a fork of that process (for short runs; such as lightning,torch)",
    )


def _add_report(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Compare the runs of a study, of several parts of one, or of any folder of records, and print what failed, "
        "what was spent apart, and the checklist. Exit code 2: something could not be read or written."
    )
    parser.add_argument("studies", nargs="+", metavar="DIR", help="the folder of a study, or any with records")
    parser.add_argument("--tuning", nargs="+", default=[], metavar="RUN", help="records of a search, reported apart")
    add_metric(parser)
    add_verdicts(parser)
    add_targets(parser)
    add_reference(parser)
    add_grouping(parser, "the configurations of the study, or all settings in the records, the seed excepted")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="write table, picture, page and LaTeX into this folder; files of these names there are replaced",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run or report a study, and return the exit code."""
    try:
        return _run(arguments) if arguments.what == "run" else _report(arguments)
    except StudyError as error:
        complain(f"study {arguments.what}", error)
        return Exit.WRONG_INPUT


def _run(arguments: argparse.Namespace) -> int:
    manifest = run_study(
        _configs(arguments.configs),
        train=arguments.train,
        out=arguments.out,
        seeds=arguments.seeds,
        order=arguments.order,
        order_seed=arguments.order_seed,
        cooldown_s=arguments.cooldown_s,
        warmup=arguments.warmup,
        idle_s=arguments.idle_s,
        part=arguments.part,
        retry_failed=arguments.retry_failed,
        preload=arguments.preload,
    )
    failed = [pair for pair in manifest.plan if manifest.state_of(*pair) != "done"]
    n = len(manifest.plan)
    print_out(f"{n - len(failed)} of {n} runs are done. See them:  lightning-energy study report {arguments.out}")
    return Exit.WORSE if failed else Exit.FINE


def _report(arguments: argparse.Namespace) -> int:
    found = report(
        arguments.studies,
        tuning=arguments.tuning,
        metric=arguments.metric,
        epoch=arguments.epoch,
        margin=arguments.margin,
        baseline=arguments.baseline,
        level=arguments.level,
        target=arguments.target,
        reference_kwh=arguments.reference_kwh,
        **({} if arguments.group_by is None else {"by": by_of(arguments.group_by)}),
    )
    print_out(str(found))
    problems = [*found.problems, *(_written(found, arguments.out) if arguments.out is not None else [])]
    for problem in problems:
        complain("study report", problem)
    return Exit.WRONG_INPUT if problems else Exit.FINE


def _written(found: StudyReport, folder: Path) -> list[str]:
    """Write the files of a report, and say so; return the problems."""
    try:
        files, problems = found.write(folder)
    except OSError as error:
        return [f"{folder} cannot be written: {error.strerror}: give another place"]
    for file in files:
        complain("study report", f"wrote {file}")
    return problems


def _configs(file: Path) -> dict[str, Any]:
    """Configurations from a file of JSON or YAML.

    Raises:
        StudyError: they cannot be read.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
        found = _parse(file)(text)
    except (OSError, ValueError, RecursionError) as error:
        raise StudyError(f"{file} cannot be read as configurations: {' '.join(str(error).split())}") from error
    if not isinstance(found, dict):
        raise StudyError(f"{file} holds no configurations: give a mapping from their names to their values")
    return found


def _parse(file: Path) -> Callable[[str], Any]:
    if file.suffix.lower() not in {".yaml", ".yml"}:
        return lambda text: json.loads(text, object_pairs_hook=_once)
    import yaml  # noqa: PLC0415 - here, where it is needed

    class Loader(yaml.SafeLoader):  # type: ignore[misc]  # without type stubs
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            own = [key for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
            _once([(self.construct_object(key, deep=True), None) for key in own])
            return super().construct_mapping(node, deep)

    def parse(text: str) -> Any:
        try:
            return yaml.load(text, Loader)  # noqa: S506 - a safe one
        except yaml.YAMLError as error:
            raise ValueError(str(error)) from error

    return parse


def _once(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    """A mapping in which no name stands twice, also as a number and a text.

    Raises:
        ValueError: one does.
    """
    names = [str(name) for name, _ in pairs]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"{twice!r} stands there twice")
    return dict(pairs)


def _seeds(text: str) -> int | list[int]:
    parts = text.removesuffix(",").split(",")
    if not all(part.strip().isdecimal() for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r}: give their number, or whole numbers such as 3,5,8")
    return [*map(int, parts)] if "," in text else int(text)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")]


def _seconds(text: str) -> float:
    seconds = number(text)
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r}: give seconds from 0 on")
    return seconds
