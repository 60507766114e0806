"""Values of any kind in JSON's types."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["cell", "plain", "printable"]

FORMULA_SIGNS = "=+-@"
DEEPEST = 8  # levels of nested hyperparameters; anything deeper becomes text


def plain(value: Any, depth: int = 0) -> Any:
    """``value`` in JSON's types; anything else becomes text, NaN and infinities too."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if depth < DEEPEST:
        if hasattr(value, "items"):
            return {_text(k): plain(v, depth + 1) for k, v in value.items()}
        if isinstance(value, (list, tuple, set, frozenset)):
            return [plain(v, depth + 1) for v in value]
    return _text(value)


def _text(value: Any) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - one odd value costs that value alone
        return f"({type(value).__name__})"


def cell(value: Any) -> Any:
    r"""A value for a cell of CSV, without texts that a spreadsheet would take for a formula, or that steer a terminal.

    Source: OWASP, "CSV Injection": a cell that begins with one of ``= + - @`` gets an apostrophe before it.

    Example:
        >>> cell("=1+1"), cell(-1.5), cell("a\x1b[2J")
        ("'=1+1", -1.5, 'a�[2J')
    """
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if text.lstrip()[:1] in FORMULA_SIGNS and text.strip() else text


def printable(text: object) -> str:
    """``text`` without signs that move a cursor or cannot be encoded: paths and records are other people's."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(text))
