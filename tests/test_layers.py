"""Imports point down only: what knows the Trainer is known by nobody below it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import lightning_energy

PACKAGE = Path(lightning_energy.__file__).parent

# each line may import from the lines below it, and from its own
LAYERS = [
    ["__init__", "cli"],
    ["callback", "monitor", "doctor", "formats", "compare"],
    ["comparison", "outputs"],
    ["compare_plot", "compare_table", "page", "unlike"],
    ["pareto"],
    ["runs"],
    ["run_source"],
    ["summary", "recorder", "exports", "run_files", "page_table", "dashboards"],
    ["dashboards.tensorboard", "dashboards.wandb", "dashboards.mlflow"],
    ["dashboards.names", "dashboards.text"],
    ["record_ranks"],
    ["record"],
    ["_lightning", "dashboards.axis", "progress", "report", "spent", "ranks", "scoring", "metric", "log_keys"],
    ["accuracy", "functional", "quality", "rendering", "samples", "session", "step_marks", "trace_files"],
    ["ledger", "sampler", "meters", "meters.find", "layout"],
    ["book", "edges", "clock", "trace"],
    ["curve"],
    ["meters.nvml", "meters.rapl", "meters.estimate", "meters.replay", "meters.calibrated"],
    ["meters.base", "units", "_version", "carbon"],
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
# only what talks to Lightning may import it
MAY_IMPORT_LIGHTNING = {"callback", "_lightning", "ranks", "recorder"}


def modules() -> dict[str, Path]:
    return {
        str(p.relative_to(PACKAGE).with_suffix("")).replace("/", ".").removesuffix(".__init__"): p
        for p in PACKAGE.rglob("*.py")
    }


def imports(path: Path) -> set[str]:
    """Modules imported at run time (an import for type checkers alone binds nobody)."""
    tree = ast.parse(path.read_text())
    hidden = {
        id(n)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for n in ast.walk(block)
    }
    found = set()
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


@pytest.mark.parametrize("name", sorted(modules()))
def test_imports_point_down(name):
    assert name in LEVEL, f"{name} has no layer: give it one"
    for target in imports(modules()[name]):
        ours = target.removeprefix("lightning_energy.")
        if target != ours and ours in LEVEL and ours != name:
            assert LEVEL[ours] >= LEVEL[name], f"{name} imports {ours}, which lies above it"


def test_few_know_lightning():
    knowing = {n for n, p in modules().items() if any(i.split(".")[0] == "lightning" for i in imports(p))}
    assert knowing <= MAY_IMPORT_LIGHTNING


def test_no_module_does_work_when_imported():
    """No environment variable of our own, no hardware and no thread at import: see also test_callback."""
    text = "".join(p.read_text() for p in modules().values())
    assert "LIGHTNING_ENERGY" not in text
