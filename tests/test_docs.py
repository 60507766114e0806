"""What the README says is what the package does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lightning_energy import energy_penalized_accuracy, log_keys

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def rows(header: str) -> list[list[str]]:
    lines = README.split(header)[1].splitlines()[2:]
    table = lines[: next((i for i, line in enumerate(lines) if not line.startswith("|")), len(lines))]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def test_the_table_of_logged_names():
    documented = [(name.strip("`"), unit, when, meaning) for name, unit, when, meaning in rows("| name | unit |")]
    assert documented == [tuple(key) for key in log_keys.ALL]


def test_the_worked_values_of_the_score():
    header, *_ = (line for line in README.splitlines() if line.startswith("| accuracy | E"))
    energies = [float(re.findall(r"[\d.]+", cell)[0]) for cell in header.strip("|").split("|")[1:]]
    for accuracy, *values in rows("| accuracy | E"):
        for energy_kwh, value in zip(energies, values, strict=True):
            assert energy_penalized_accuracy(float(accuracy), energy_kwh) == pytest.approx(float(value), abs=5e-5)


def test_the_first_code_block_is_short_and_compiles():
    block = README.split("```python\n")[1].split("```")[0]
    assert len(block.strip().splitlines()) <= 12
    compile(block, "README", "exec")


def test_everything_linked_exists():
    for target in re.findall(r"\]\((?!http)([^)#]+)", README):
        assert (ROOT / target).exists(), target


def test_the_two_commands_use_the_constraints():
    commands = [line for line in README.splitlines() if line.startswith("pip install")]
    assert len(commands) == 2
    assert all("-c constraints.txt" in c for c in commands)
