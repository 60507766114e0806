"""Pages of the reference that are made of the code; ``python docs/make/pages.py`` writes them anew.

tests/test_site.py compares them with the code.
"""

from __future__ import annotations

import argparse
import inspect
import json
import re
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))  # of this clone, not of another that is installed

import lightning_energy
from lightning_energy.commands.main import COMMANDS
from lightning_energy.results.trace_files import TraceFormat
from lightning_energy.scores.metric import Mode, Scale
from lightning_energy.training import log_keys
from lightning_energy.training.energy_budget import OnExceed

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

LITERALS = {"Mode": Mode, "OnExceed": OnExceed, "Scale": Scale, "TraceFormat": TraceFormat}
FOLDER = ROOT / "docs/reference"
WITH_ARGUMENTS = ("EnergyCallback", "EnergyMonitor", "EnergyBudget", "EnergyEfficiencyStopping")
EXTRAS = {
    "plot": "pictures: `--picture`, and the pictures of a study",
    "parquet": '`trace="parquet"`',
    "pandas": "tables as data frames",
    "rich": "colours in the printed report",
    "optuna": "`examples/optuna_sweep.py`",
    "examples": "all other examples",
    "benchmark": "the other tools that `benchmarks/overhead.py` measures",
    "test": "the tests",
    "docs": "this site",
    "package": "the wheel and the source archive, and their checks",
    "dev": "everything that a contributor needs",
}
PRIVATE = "training/lightning_private.py"
RISKS = {  # what of a package is used that a newer version may change
    "lightning": f"private parts, all in `{PRIVATE}`: the names that the Trainer gives its profiler, the step of its own "
    "points, the values that a validation logged, the hyperparameters for loggers",
    "torch": "public names alone: CUDA events, UUIDs of devices, reductions over ranks",
    "torchmetrics": "`_filter_kwargs` and `_is_synced` of a Metric, which its own wrappers use, in `scores/metrics.py`",
    "numpy": "public names alone",
    "nvidia-ml-py": "functions of NVML by their names; what a driver does not have is asked in another way, or a note says so",
    "psutil": "public names alone; CPU times of processes, for the estimate",
    "PyYAML": "public names alone; in `study` and for model cards",
    "tensorboard": "formats of its plugins HParams and Custom Scalars, in `training/dashboards/tensorboard.py`",
}
KINDS = {
    "Callable[[Any], int]": "function",
    "Meters": "str | Meter | list",
    "ScoreSetting": "str | function | None",
    **{name: " | ".join(f'"{value}"' for value in get_args(of)) for name, of in LITERALS.items()},
}
ROLE = re.compile(r":\w+:`~?([\w.]+)`")
HEAD = "<!-- Made by docs/make/pages.py: change the code, then run it. -->\n\n"


def pages() -> dict[str, str]:
    """The text of every page by its file name."""
    made = {
        "arguments.md": arguments(),
        "commands.md": commands(),
        "extras.md": extras(),
        "logged-names.md": logged_names(),
        "record.md": record(),
    }
    return {name: HEAD + text.rstrip() + "\n" for name, text in made.items()}


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of Markdown."""
    header = [*header]
    lines = [header, ["---"] * len(header), *([cell(text) for text in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cell(text: str) -> str:
    """A text of one line, in which no sign ends the cell."""
    text = re.sub(r"`([^`|]*\|[^`]*)`", r"<code>\1</code>", " ".join(text.split()))
    return text.replace("|", "&#124;")


# ------------------------------------------------------------------------------------------------- arguments


def arguments() -> str:
    """Every argument of the classes that are given some."""
    parts = [
        "# All arguments",
        "Every argument of these classes is given by name, and each of them in the YAML of LightningCLI and Hydra as well.",
    ]
    for name in WITH_ARGUMENTS:
        of = getattr(lightning_energy, name)
        meanings = documented(inspect.getdoc(of) or "")
        parameters = [p for p in inspect.signature(of).parameters.values() if p.name != "self"]
        rows = [(f"`{p.name}`", f"`{kind(p)}`", default(p), meanings[p.name]) for p in parameters]
        parts += [f"## {name}", summary(of), table(["argument", "type", "default", "meaning"], rows)]
    return "\n\n".join(parts)


def kind(parameter: inspect.Parameter) -> str:
    """The type of an argument, without names that only type checkers know."""
    text = str(parameter.annotation)
    for name, words in KINDS.items():
        text = re.sub(rf"\b{re.escape(name)}", words, text)
    return text.replace(" | ", " or ")


def default(parameter: inspect.Parameter) -> str:
    """The default of an argument; empty where it must be given."""
    return "" if parameter.default is parameter.empty else f"`{parameter.default!r}`"


def documented(docstring: str) -> dict[str, str]:
    """The arguments that a docstring of Google's style describes."""
    section = re.split(r"^Args:\n", docstring, flags=re.MULTILINE)[1]
    section = re.split(r"^\S", section, maxsplit=1, flags=re.MULTILINE)[0]
    found = re.findall(r"^ {4}(\w+): (.*(?:\n(?: {5,}.*|))*)", section, flags=re.MULTILINE)
    return {name: prose(text) for name, text in found}


def prose(text: str) -> str:
    """A docstring's text as Markdown."""
    text = ROLE.sub(lambda role: f"`{role[1].rpartition('.')[2]}`", text)
    return " ".join(text.replace("``", "`").split())


def summary(of: Any) -> str:
    """The first sentence of a docstring."""
    return prose((inspect.getdoc(of) or "").partition("\n\n")[0])


# ------------------------------------------------------------------------------------------------- commands


def commands() -> str:
    """Every command with its arguments."""
    parts = [
        "# Commands",
        "`lightning-energy COMMAND --help` prints the same. Before the command there may stand `--version`, which prints "
        "the version, and `--debug`, which adds the traceback of an error that is a bug of lightning-energy.",
        'Exit codes are the same for every command: 0 fine; 1 the answer is "worse" or "only an estimate"; 2 wrong '
        "input; 3 cannot tell; 130 interrupted by Ctrl-C.",
        table(["command", "does"], [(f"[`{name}`](#{name})", text) for name, text in COMMANDS.items()]),
    ]
    for name in COMMANDS:
        parser = argparse.ArgumentParser()
        import_module(f"lightning_energy.commands.{name}").add_arguments(parser)
        parts += described(name, parser)
    return "\n\n".join(parts)


def described(name: str, parser: argparse.ArgumentParser, level: int = 2) -> Iterator[str]:
    """A command, and the commands below it."""
    yield f"{'#' * level} {name}"
    yield prose(parser.description or "")
    below = {}
    rows = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            below = action.choices
        elif not isinstance(action, argparse._HelpAction):
            rows.append((f"`{written(action)}`", explained(action)))
    if rows:
        yield table(["argument", "meaning"], rows)
    for further, of in below.items():
        yield from described(f"{name} {further}", of, level + 1)


def written(action: argparse.Action) -> str:
    """An argument as it stands on a command line."""
    metavar = action.metavar
    if metavar is None:
        metavar = "{" + ",".join(map(str, action.choices)) + "}" if action.choices else action.dest.upper()
    value = " ".join(metavar) if isinstance(metavar, tuple) else str(metavar)
    value += " …" if action.nargs in {"+", "*"} else ""
    if not action.option_strings:
        return value
    option = ", ".join(action.option_strings)
    if action.nargs == 0:
        return option
    return f"{option} [{value}]" if action.nargs == "?" else f"{option} {value}"


def explained(action: argparse.Action) -> str:
    """The help of an argument."""
    text = (action.help or "").replace("%%", "%").replace("<", "\\<").replace("*", "\\*")
    return f"{text}; required" if action.required and action.option_strings else text


# ------------------------------------------------------------------------------------------------- lists


def logged_names() -> str:
    """Every logged name."""
    rows = [(f"`{key.name}`", key.unit, key.when, key.meaning) for key in log_keys.ALL]
    return "\n\n".join([
        "# Logged names",
        "These names reach every logger of the Trainer, and, where they are not per step, `trainer.callback_metrics`. "
        "A name never changes its meaning within a major version.",
        table(["name", "unit", "when", "meaning"], rows),
        "An epoch's energy is logged as it is known when the epoch ends; the last updates of the sensors come later. The "
        "final figures are in the record and in `callback.history`.",
        "A curve ends at the last validation. The report, the record and `compare` include the energy spent after it, so "
        "their total is slightly higher.",
        "TensorBoard, W&B and MLflow get more than these: see [Dashboards](../dashboards.md). Which of `energy/accuracy` "
        "and `energy/metric` there is, and what `EarlyStopping` and `ModelCheckpoint` can do by the score: "
        "[How to choose the metric and the score](../how-to/score.md).",
    ])  # fmt: skip


def extras() -> str:
    """Every extra with what it installs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = project["optional-dependencies"]
    if {*found} != {*EXTRAS}:
        raise ValueError(
            f"extras in pyproject.toml and in {Path(__file__).name} differ: {sorted({*found} ^ {*EXTRAS})}"
        )
    rows = [(f"`{name}`", meaning, ", ".join(f"`{r}`" for r in found[name])) for name, meaning in EXTRAS.items()]
    tested = dict(re.findall(r"^([\w-]+)==([\d.]+)", (ROOT / "lowest.txt").read_text(encoding="utf-8"), re.MULTILINE))
    tested["torch"] = "2.4.0, by hand"
    needed = table(
        ["package", "lowest version", "tested with", "what a newer version may break"],
        (
            [name, lowest, tested.get(name, ""), RISKS[name]]
            for name, lowest in (r.split(">=") for r in project["dependencies"])
        ),
    )
    return "\n\n".join([
        "# Extras",
        'An extra is installed with the package: in a clone `pip install ".[plot]"`, and as soon as the package is published '
        '`pip install "lightning-energy[plot]"`. Several stand side by side: `".[plot,pandas]"`.',
        table(["extra", "for", "installs"], rows),
        "## Without an extra",
        f"Python {project['requires-python'].removeprefix('>=')} or newer, and these packages:",
        needed,
        "No newest version is set: a plugin that forbids the next Lightning would hold everybody up. Continuous integration "
        "runs all tests with the newest versions, but for the one torch of [constraints.txt](../../constraints.txt). It runs "
        "those of the callback, the score and the private parts again with the versions in the third column, which are those "
        "of [lowest.txt](../../lowest.txt). Where that column is empty, the lowest version was not tried.",
        f"What is private in Lightning is in one file, [lightning_private.py](../../lightning_energy/{PRIVATE}), with a reason "
        "for each name, and its tests fail when one of them changes. With a Lightning that changes one, a training goes on, and "
        "one warning says what no longer works.",
        "On Windows and macOS the package was tried only in a process from which names and folders of Linux were taken away "
        "(`tests/test_elsewhere.py`), not on a real machine.",
    ])  # fmt: skip


# ------------------------------------------------------------------------------------------------- record


def record() -> str:
    """Every field of a record."""
    path = "lightning_energy/results/record.schema.json"
    schema = json.loads((ROOT / path).read_text(encoding="utf-8"))
    parts = [
        "# The record",
        f"`energy.json` is one JSON document. This page is made of its [schema](../../{path}), which a program can check "
        "a file with; [What a run leaves](../what-a-run-leaves.md) explains the fields. A figure that is not known is "
        "`null`, never 0.",
    ]
    parts += fields("Fields", schema)
    for name, of in schema["$defs"].items():
        parts += fields(f"{name}", of)
    return "\n\n".join(parts)


def fields(heading: str, schema: dict[str, Any]) -> Iterator[str]:
    """A table of an object's fields, then those of the objects in it."""
    yield f"## {heading}"
    if schema.get("description"):
        yield schema["description"]
    required = {*schema.get("required", ())}
    rows = [
        (f"`{name}`" + ("" if name in required else " (optional)"), in_words(of), meaning(of))
        for name, of in schema["properties"].items()
    ]
    yield table(["field", "type", "meaning"], rows)
    for name, of in schema["properties"].items():
        for inner in objects(of):
            yield from fields(name if heading == "Fields" else f"{heading}.{name}", {"description": "", **inner})


def meaning(of: dict[str, Any]) -> str:
    """The description of a field."""
    return str(of.get("description", ""))


def objects(of: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The objects that stand in a field, with fields of their own."""
    inner = [of, *of.get("oneOf", ()), *of.get("anyOf", ())]
    inner += [i["items"] for i in inner if isinstance(i.get("items"), dict)]
    yield from ({**i, "description": ""} for i in inner if "properties" in i)


def in_words(of: dict[str, Any]) -> str:
    """The type of a field."""
    if "$ref" in of:
        parts = of["$ref"].split("/")
        return f"[{parts[2]}](#{parts[2]})" if len(parts) == 3 else "number"  # noqa: PLR2004 - #/$defs/name
    if "const" in of:
        return f"`{json.dumps(of['const'])}`"
    if "enum" in of:
        return ", ".join(f"`{json.dumps(value)}`" for value in of["enum"])
    if "oneOf" in of or "anyOf" in of:
        return " or ".join(in_words(i) for i in of.get("oneOf", of.get("anyOf", ())))
    kinds = of.get("type", "any")
    text = " or ".join(kinds) if isinstance(kinds, list) else str(kinds)
    if text == "array" and isinstance(of.get("items"), dict):
        return f"array of {in_words(of['items'])}"
    if text == "object" and isinstance(of.get("additionalProperties"), dict):
        return f"object of {in_words(of['additionalProperties'])}"
    return text


def main() -> None:
    """Write the pages."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
