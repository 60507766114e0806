"""The pages of the site that are made of the code are as the code is now, and all others have a place."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from docs.make import pages
from lightning_energy import EnergyCallback

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
WRITTEN = sorted(DOCS.rglob("*.md"))


@pytest.fixture(scope="module")
def made():
    return pages.pages()


@pytest.mark.parametrize("name", ["arguments.md", "commands.md", "extras.md", "logged-names.md", "record.md"])
def test_a_page_that_is_made_of_the_code_is_as_the_code_is_now(made, name):
    """After a change: python docs/make/pages.py."""
    assert (pages.FOLDER / name).read_text(encoding="utf-8") == made[name]


def test_every_argument_has_its_type_default_and_meaning(made):
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in made["arguments.md"].splitlines() if line.startswith("| `")]
    assert all(cell.strip() for name, kind, _, meaning in rows for cell in (name, kind, meaning))
    assert {"meters", "reference_kwh", "max_kwh", "fabric", "max_kwh_per_point"} <= {r[0].strip(" `") for r in rows}
    assert f"`{EnergyCallback().reference_kwh}`" in next(r for r in rows if "reference_kwh" in r[0])[2]


def places(nav) -> list[str]:
    """Every page of the navigation."""
    if isinstance(nav, str):
        return [nav]
    return [page for part in (nav.values() if isinstance(nav, dict) else nav) for page in places(part)]


def test_every_page_has_one_place():
    nav = places(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"])
    assert sorted(nav) == [page.relative_to(DOCS).as_posix() for page in WRITTEN]


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_everything_linked_exists(page):
    """Anchors are for mkdocs to check."""
    for target in re.findall(r"\]\((?!http|#)([^)#\s]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_nothing_is_loaded_from_elsewhere():
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    assert config["theme"]["font"] is False
    assert config["plugins"][0] == "offline"
    assert not {"extra_css", "extra_javascript"} & {*config}
