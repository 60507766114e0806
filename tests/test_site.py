"""The pages of the site that are made of the code are as the code is now; what others tell to write can be written."""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import re
import shlex
from pathlib import Path
from typing import get_args

import pytest
import yaml

import lightning_energy
from docs.make import pages
from lightning_energy import EnergyCallback
from lightning_energy.commands.main import _parser
from lightning_energy.meters.base import Quality, Scope
from lightning_energy.results.figures import Outcome
from lightning_energy.training.stages import OF_A_FIT
from tests.modules import Classifier, Data

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
WRITTEN = sorted(DOCS.rglob("*.md"))
TELLING = [ROOT / "README.md", ROOT / "AGENTS.md", *WRITTEN]
INSIDERS = re.compile(r"\b(?:knots?|marks?|books?|booked|ledger)\b", re.IGNORECASE)
MODULES = (lightning_energy.functional, lightning_energy.meters, lightning_energy.study)
YAMLS = (DOCS / "tutorials/cli-and-hydra.md").read_text(encoding="utf-8")


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path | str, language: str) -> list[str]:
    """The blocks of code of a page, without the indentation of a list."""
    text = page if isinstance(page, str) else page.read_text(encoding="utf-8")
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```", text, flags=re.DOTALL | re.MULTILINE)
    return [re.sub(rf"^{indent}", "", block, flags=re.MULTILINE) for indent, block in found]


@pytest.fixture(scope="module")
def made():
    return pages.pages()


@pytest.mark.parametrize("name", ["arguments.md", "commands.md", "extras.md", "logged-names.md", "record.md"])
def test_a_page_that_is_made_of_the_code_is_as_the_code_is_now(made, name):
    """After a change: python docs/make/pages.py."""
    assert (pages.FOLDER / name).read_text(encoding="utf-8") == made[name]


def test_every_argument_has_its_type_default_and_meaning(made):
    rows = [line.split("|")[1:-1] for line in made["arguments.md"].splitlines() if line.startswith("| `")]
    assert all(cell.strip() for name, kind, _, meaning in rows for cell in (name, kind, meaning))
    assert {"meters", "reference_kwh", "max_kwh", "fabric", "max_kwh_per_point"} <= {r[0].strip(" `") for r in rows}
    assert f"`{EnergyCallback().reference_kwh}`" in next(r for r in rows if "reference_kwh" in r[0])[2]


def test_every_public_name_is_in_the_reference():
    text = "".join(page.read_text(encoding="utf-8") for page in (DOCS / "reference").glob("api*.md"))
    shown = {path.rpartition(".")[2] for path in re.findall(r"^::: ([\w.]+)", text, re.MULTILINE)}
    public = {*lightning_energy.__all__, *(name for of in MODULES for name in of.__all__)}
    assert public - shown == {"__version__", "OnInvalid"}  # the latter is a type of texts


def places(nav) -> list[str]:
    """Every page of the navigation."""
    if isinstance(nav, str):
        return [nav]
    return [page for part in (nav.values() if isinstance(nav, dict) else nav) for page in places(part)]


def test_every_page_has_one_place():
    nav = places(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"])
    assert sorted(nav) == sorted(page.relative_to(DOCS).as_posix() for page in WRITTEN)


@pytest.mark.parametrize("page", WRITTEN, ids=name)
def test_everything_linked_exists(page):
    """Anchors are for mkdocs to check."""
    for target in re.findall(r"\]\((?!http|#)([^)#\s]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_nothing_is_loaded_from_elsewhere():
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    assert config["theme"]["font"] is False
    assert config["plugins"][0] == "offline"
    assert all((DOCS / file).is_file() for kind in ("extra_css", "extra_javascript") for file in config.get(kind, ()))
    for file in (DOCS / "assets").iterdir():
        assert "http" not in file.read_text(encoding="utf-8")


# -------------------------------------------------------------------------------- what pages say to write


@pytest.mark.parametrize("page", TELLING, ids=name)
def test_commands_can_be_called(page):
    for line in "\n".join(blocks(page, "(?:bash|yaml)")).splitlines():
        words = shlex.split(line, comments=True)
        if "lightning-energy" not in words[:2] or words[0] == "pip":
            continue
        ends = [i for i, word in enumerate(words) if word in {">", ">>", "|", "||", "&&"}]
        arguments = words[words.index("lightning-energy") + 1 : min(ends, default=None)]
        called = next((a for a in arguments if not a.startswith("-")), None)
        assert isinstance(_parser(called).parse_args(arguments), argparse.Namespace)


@pytest.mark.parametrize("page", TELLING, ids=name)
def test_python_uses_names_and_arguments_that_there_are(page):
    for block in blocks(page, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.module.partition(".")[0] == "lightning_energy":
                module = importlib.import_module(node.module)
                assert all(hasattr(module, alias.name) for alias in node.names), block
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in pages.WITH_ARGUMENTS:
                of = getattr(lightning_energy, node.func.id)
                inspect.signature(of).bind(*node.args, **{k.arg: k.value for k in node.keywords})


@pytest.mark.parametrize("page", TELLING, ids=name)
def test_yaml_can_be_read(page):
    for block in blocks(page, "yaml"):
        assert isinstance(yaml.safe_load(block), dict)


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")
def test_the_callbacks_of_lightning_cli(tmp_path, monkeypatch):
    from lightning.pytorch.callbacks import EarlyStopping
    from lightning.pytorch.cli import LightningCLI

    (config,) = (block for block in blocks(YAMLS, "yaml") if "class_path" in block)
    (tmp_path / "config.yaml").write_text(config)
    monkeypatch.setattr("sys.argv", ["train.py"])
    arguments = [
        f"--config={tmp_path / 'config.yaml'}",
        "--trainer.accelerator=cpu",
        "--trainer.logger=false",
        "--seed_everything=1",
    ]
    cli = LightningCLI(Classifier, args=arguments, run=False)
    energy, stopping = (c for c in cli.trainer.callbacks if isinstance(c, (EnergyCallback, EarlyStopping)))
    assert (energy.accuracy, energy.reference_kwh) == ("val_acc", "run")
    assert (stopping.monitor, stopping.mode) == ("energy/score", "max")


def test_the_callbacks_of_hydra():
    """Hydra's ``instantiate`` calls ``_target_`` with the other values; the template does that for each."""
    made = {}
    for block in blocks(YAMLS, "yaml"):
        for key, config in yaml.safe_load(block).items():
            if isinstance(config, dict) and (target := config.pop("_target_", "")):
                module, _, attribute = target.rpartition(".")
                made[key] = getattr(importlib.import_module(module), attribute)(**config)
    assert made["energy"].accuracy == "val/acc"
    assert made["energy"].progress_bar is True
    assert made["early_stopping"].monitor == "energy/score"


@pytest.mark.filterwarnings("ignore")  # users are shown them: they end nothing
def test_what_an_assistant_is_told_runs(tmp_path, monkeypatch, capsys):
    """All of AGENTS.md in its order, with a model and data of the user."""
    monkeypatch.chdir(tmp_path)
    page = ROOT / "AGENTS.md"
    names = {"model": Classifier(), "datamodule": Data()}
    for block in blocks(page, "python"):
        exec(compile(block, page.name, "exec"), names)
    assert "completed" in capsys.readouterr().out
    (run,) = names["found"].runs
    assert (run.outcome, run.energy_kwh) == ("completed", names["record"].total.energy_kwh)


@pytest.mark.parametrize("page", TELLING, ids=name)
def test_no_words_of_the_house(page):
    assert not INSIDERS.findall(re.sub(r"`[^`]*`|\]\([^)]*\)", "", page.read_text(encoding="utf-8")))


def test_every_word_for_a_figure_is_explained():
    page = (DOCS / "reference/glossary.md").read_text(encoding="utf-8")
    words = {*get_args(Quality), *get_args(Scope), *get_args(Outcome), *OF_A_FIT, "coarse", "resolved", "unresolved"}
    assert {word for word in words if f"`{word}`" not in page and word not in terms(page)} == set()


def terms(page: str) -> list[str]:
    return [word for term in re.findall(r"^\| \*\*(.+?)\*\*", page, re.MULTILINE) for word in term.split(", ")]


def test_terms_stand_in_order():
    page = (DOCS / "reference/glossary.md").read_text(encoding="utf-8")
    terms = re.findall(r"^\| \*\*(.+?)\*\*", page, re.MULTILINE)
    assert terms == sorted(terms, key=str.casefold)
    assert len({*terms}) == len(terms) > 40
