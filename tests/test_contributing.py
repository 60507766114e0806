"""CONTRIBUTING.md leads a stranger to files that exist."""

from __future__ import annotations

import re

import pytest

import lightning_energy
from tests.test_layers import EVERYWHERE, PACKAGE, ROOMS
from tests.test_repository import ROOT, sessions

PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
WISHES = 13
PATH = re.compile(r"(?:[\w.]+/)+(?:[\w.]+\.\w+|run)?|[\w]+\.(?:py|md|txt|toml|cff|json)")


def named() -> list[str]:
    """Everything in backticks, or in the target of a link, that is a path."""
    quoted = [text.partition(" ")[0] for text in re.findall(r"`([^`\n]+)`", PAGE)]
    return sorted({t for t in [*quoted, *re.findall(r"\]\(([^)]+)\)", PAGE)] if PATH.fullmatch(t)})


def table(header: str) -> list[list[str]]:
    lines = PAGE.split(header)[1].splitlines()[2:]
    length = next(i for i, line in enumerate(lines) if not line.startswith("|"))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[:length]]


@pytest.mark.parametrize("path", named())
def test_every_path_that_is_named_exists(path):
    found = [p for p in (ROOT / path, PACKAGE / path) if p.exists()]
    assert found, f"CONTRIBUTING.md names {path}, which does not exist"
    assert all(p.is_dir() == path.endswith("/") for p in found)


def test_every_wish_leads_somewhere():
    wishes = table("| I want to … | open … |")
    assert len(wishes) == WISHES
    for wish, where in wishes:
        assert any(PATH.fullmatch(text) for text in re.findall(r"`([^`]+)`", where)), wish


def test_the_tree_shows_every_room_from_top_to_bottom():
    (tree,) = re.findall(r"```\nlightning_energy/\n(.*?)```", PAGE, re.DOTALL)
    shown = [line.split()[0].removesuffix("/").removesuffix(".py") for line in tree.splitlines()]
    assert {*shown, "functional", *EVERYWHERE} == set().union(*ROOMS, EVERYWHERE)
    floors = [next(i for i, rooms in enumerate(ROOMS) if room in rooms) for room in shown]
    assert floors == sorted(floors)


def test_every_command_is_a_session():
    commands = [command.strip("`") for command, _ in table("| command | does |")]
    assert {c.removeprefix("nox -s ") for c in commands if c.startswith("nox -s ")} == {*sessions()}
    assert ".ci/run" in commands


def test_the_names_that_it_uses_are_public():
    for name in ("EnergyCallback", "EnergyMonitor", "ReplayMeter"):
        assert name in PAGE
        assert name in lightning_energy.__all__
