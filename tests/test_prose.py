"""The first words of docstrings: verbs and noun phrases, which need no turning around."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import lightning_energy

PACKAGE = Path(lightning_energy.__file__).parent
INSIDERS = re.compile(r"\b(?:knots?|marks?|books?|booked|ledger)\b", re.IGNORECASE)
TURNED_AROUND = {"how", "what", "when", "where", "whether", "which", "who", "whose", "why"}


def test_docstrings_begin_with_a_verb_or_a_noun_phrase() -> None:
    for path in sorted(PACKAGE.rglob("*.py")):
        for text, line in docstrings(ast.parse(path.read_text(encoding="utf-8"))):
            assert text.split()[0].lower() not in TURNED_AROUND, f"{path.relative_to(PACKAGE)}:{line}: {text}"


def test_messages_have_no_words_of_the_house() -> None:
    for path in sorted(PACKAGE.rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        if path.name == "upgrade.py" or not INSIDERS.search(source):  # the former reads sentences of earlier versions
            continue
        module = ast.parse(source)
        described = {text for text, _ in docstrings(module)}
        for node in ast.walk(module):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value not in described:
                is_name = " " not in node.value
                assert is_name or not INSIDERS.search(node.value), f"{path}:{node.lineno}: {node.value}"


def docstrings(module: ast.Module) -> list[tuple[str, int]]:
    """The docstrings of a module, its classes, functions, attributes and constants, each with its line."""
    return [
        (node.value.value, node.lineno)
        for node in ast.walk(module)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    ]
