"""What stands twice in this repository agrees, and what only other machines read can be read."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lightning_energy import __version__

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest needs it there

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
WORKFLOW = ROOT / ".github/workflows/ci.yml"
YAML_FILES = [
    ROOT / ".pre-commit-config.yaml",
    ROOT / "CITATION.cff",
    *sorted((ROOT / ".github").rglob("*.yml")),
    ROOT / "mkdocs.yml",
]
FORM_FIELDS = {"markdown", "textarea", "input", "dropdown", "checkboxes"}


def read(path: Path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def sessions() -> dict[str, str]:
    """The sessions of noxfile.py with their docstrings, without nox."""
    tree = ast.parse((ROOT / "noxfile.py").read_text(encoding="utf-8"))
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    return {f.name: ast.get_docstring(f) for f in functions if "nox.session" in map(ast.unparse, f.decorator_list)}


def classified() -> list[str]:
    """The versions of Python that pyproject.toml says it supports."""
    versions = (
        re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", c) for c in PROJECT["project"]["classifiers"]
    )
    return [found[1] for found in versions if found]


@pytest.mark.parametrize("path", YAML_FILES, ids=lambda p: p.name)
def test_yaml_can_be_read(path):
    assert isinstance(read(path), dict)


def test_the_citation_is_of_this_version():
    citation = read(ROOT / "CITATION.cff")
    assert str(citation["version"]) == __version__
    assert citation["license"] == PROJECT["project"]["license"]
    assert citation["authors"] == PROJECT["project"]["authors"]
    (paper,) = citation["references"]
    assert paper["title"] in " ".join((ROOT / "README.md").read_text(encoding="utf-8").replace("*", "").split())


def test_every_supported_python_is_tested():
    tested = read(WORKFLOW)["jobs"]["ci"]["strategy"]["matrix"]["python-version"]
    assert tested == classified()  # texts: 3.10 unquoted would be 3.1
    assert PROJECT["project"]["requires-python"] == f">={tested[0]}"
    assert PROJECT["tool"]["mypy"]["python_version"] == tested[0]
    assert PROJECT["tool"]["ruff"]["target-version"] == f"py{tested[0].replace('.', '')}"


def test_the_workflow_runs_what_a_person_runs():
    steps = read(WORKFLOW)["jobs"]["ci"]["steps"]
    commands = [step["run"] for step in steps if "run" in step]
    assert commands == [".ci/run"]
    assert os.access(ROOT / ".ci/run", os.X_OK)
    assert all(re.fullmatch(r"actions/[\w-]+@v\d+", step["uses"]) for step in steps if "uses" in step)


@pytest.mark.parametrize("form", ["bug", "figure", "feature"])
def test_forms_ask_what_can_be_asked(form):
    form = read(ROOT / f".github/ISSUE_TEMPLATE/{form}.yml")
    assert {"name", "description", "body"} <= form.keys()
    assert {field["type"] for field in form["body"]} <= FORM_FIELDS
    ids = [field["id"] for field in form["body"] if field["type"] != "markdown"]
    assert len({*ids}) == len(ids)
    assert all(field["attributes"].get("label") for field in form["body"] if field["type"] != "markdown")


def test_who_reports_a_figure_gives_its_record():
    fields = {f["id"]: f for f in read(ROOT / ".github/ISSUE_TEMPLATE/figure.yml")["body"] if "id" in f}
    assert "lightning-energy doctor" in fields["doctor"]["attributes"]["label"]
    assert all(fields[name]["validations"]["required"] for name in ("doctor", "record"))


def test_sessions_are_one_word_that_is_explained():
    assert {*sessions()} == {"lint", "types", "fast", "tests", "site", "benchmarks"}
    assert all(sessions().values())


def test_what_sessions_and_hooks_run_is_there():
    noxfile = (ROOT / "noxfile.py").read_text(encoding="utf-8")
    assert (ROOT / "constraints.txt").is_file()
    assert "constraints.txt" in noxfile
    for script in re.findall(r'"(benchmarks/\w+\.py)", "(--\w+)"', noxfile):
        path, option = script
        assert option in (ROOT / path).read_text(encoding="utf-8")
    extras = PROJECT["project"]["optional-dependencies"]
    dev = {re.match(r"[\w-]+", requirement)[0] for requirement in [*extras["dev"], *extras["test"]]}
    assert {"nox", "pre-commit", "ruff", "mypy", "pytest", "pytest-xdist"} <= dev


def test_hooks_are_pinned():
    remote = [repo for repo in read(ROOT / ".pre-commit-config.yaml")["repos"] if repo["repo"] != "local"]
    assert all(re.fullmatch(r"v\d+\.\d+\.\d+", repo["rev"]) for repo in remote)


def tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=280)
    if listed.returncode:
        pytest.skip("this is no clone: what is tracked is not known")
    return listed.stdout.splitlines()


def test_the_source_archive_holds_all_that_is_tracked():
    included = {pattern.strip("/") for pattern in PROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]}
    assert [name for name in included if not (ROOT / name).exists()] == []
    by_itself = {"README.md", "LICENSE", "pyproject.toml", ".gitignore"}  # hatchling adds them
    assert {path.partition("/")[0] for path in tracked()} - by_itself == included


def test_the_paper_is_cited_as_it_was_published_and_by_its_preprint():
    """Wherever one of both stands, in pages, docstrings and texts for users, the other one does too."""
    files = [ROOT / "README.md", ROOT / "CITATION.cff", *(ROOT / "docs").glob("*.md")]
    files += [ROOT / name for name in tracked() if name.startswith("lightning_energy/") and name.endswith(".py")]
    citing = [f for f in files if "2310.06522" in f.read_text(encoding="utf-8")]
    assert {f.name for f in citing} >= {"README.md", "CITATION.cff", "functional.py", "how-to-run-a-study.md"}
    for file in citing:
        text = " ".join(file.read_text(encoding="utf-8").split()).replace("\N{EN DASH}", "-").replace('" f"', "")
        assert "ECCV 2024 Workshops" in text, file
        assert "Springer" in text, file
        assert re.search(r'388-405|start: "388" end: "405"', text), file
