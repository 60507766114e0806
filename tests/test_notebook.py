"""The notebook of the examples runs from its first cell to its last."""

from __future__ import annotations

import json
import logging
import warnings
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parent.parent / "examples/first_run.ipynb"


@pytest.mark.slow
def test_the_cells_run_in_their_order(tmp_path, monkeypatch, capsys):
    """In this process: cells have no magic, and no other package is needed to run them."""
    document = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    cells = ["".join(cell["source"]) for cell in document["cells"] if cell["cell_type"] == "code"]
    monkeypatch.chdir(tmp_path)
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    names = {"__name__": "__main__"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # users are shown them: they end nothing
        for i, cell in enumerate(cells):
            exec(compile(cell, f"cell {i}", "exec"), names)
    logger.setLevel(level)
    out = capsys.readouterr().out
    assert "Energy: " in out
    assert {run.name for run in names["found"].runs} == {"width-16", "width-128"}


def test_no_output_is_stored():
    document = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert all(not cell.get("outputs") for cell in document["cells"])
    assert all(cell.get("execution_count") is None for cell in document["cells"])
