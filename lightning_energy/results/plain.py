"""Values of any kind in JSON's types."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["plain", "printable"]

DEEPEST = 8  # levels of nested hyperparameters; anything deeper becomes text


def plain(value: Any, depth: int = 0) -> Any:
    """``value`` in JSON's types; anything else becomes text, NaN and infinities too."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if depth < DEEPEST:
        if hasattr(value, "items"):
            return {str(k): plain(v, depth + 1) for k, v in value.items()}
        if isinstance(value, (list, tuple, set, frozenset)):
            return [plain(v, depth + 1) for v in value]
    return str(value)


def printable(text: object) -> str:
    """``text`` without signs that move a cursor or cannot be encoded: paths and records are other people's."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(text))
