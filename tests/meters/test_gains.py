"""Pages and meters agree on the uncertainties of sensors' gains, and claim no more than was measured."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import lightning_energy
from lightning_energy.meters.gains import DRAM_U, ESTIMATE_U, NVIDIA_U, PACKAGE_U

ROOT = Path(lightning_energy.__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGE = (ROOT / "docs" / "where-the-joules-come-from.md").read_text(encoding="utf-8")


def percent(share: float) -> str:
    return f"{100 * share:g} %"


def test_the_table_of_what_is_read_has_the_gains_of_the_meters():
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line[:3] == "| `"]
    gains = [(quality, gain) for quality, *_, gain in rows]
    assert gains == [
        ("`measured`", percent(NVIDIA_U)),
        ("`measured`", f"{percent(PACKAGE_U)}, DRAM {percent(DRAM_U)}"),
        ("`integrated`", percent(NVIDIA_U)),
        ("`estimated`", percent(ESTIMATE_U)),
        ("`missing`", "\N{EN DASH}"),
    ]


def test_the_readme_has_them_too():
    words = " ".join(README.split())
    assert (
        f"{percent(NVIDIA_U)} for NVIDIA boards, {percent(PACKAGE_U)} for CPU packages, {percent(DRAM_U)} for DRAM, "
        f"{percent(ESTIMATE_U)} for the estimate." in words
    )


@pytest.mark.parametrize(
    "words", ["arXiv 2312.02741", "16 boards", "nvidia-smi", "ten read low", "Desrochers", "Intel"]
)
def test_the_page_says_what_was_measured_and_by_whom(words):
    section = PAGE.split("## The gain of a sensor")[1].split("\n## ")[0]
    assert words in section


@pytest.mark.parametrize("folder", ["README.md", "docs", "lightning_energy", "examples"])
def test_nobody_claims_that_sensors_are_mostly_right(folder):
    path = ROOT / folder
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.suffix in {".md", ".py"}]
    claims = [p.name for p in files if re.search(r"within\s+5\s*%", p.read_text(encoding="utf-8"))]
    assert claims == []
