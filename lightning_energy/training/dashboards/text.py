"""Configurations in the forms that loggers take."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import Any

__all__ = ["flat"]


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, bool | int | float | str]:
    """Flatten nested values to names with slashes; anything but a number becomes text.

    The names and texts are those of Lightning's loggers, so that a table has one column for both.

    Example:
        >>> flat({"optimizer": {"lr": 0.1, "betas": (0.9, 0.99)}, "seed": None})
        {'optimizer/lr': 0.1, 'optimizer/betas': '(0.9, 0.99)', 'seed': 'None'}
    """
    found: dict[str, bool | int | float | str] = {}
    for key, value in values.items():
        inner = _inner(value)
        if inner is not None:
            found |= flat(inner, f"{prefix}{key}/")
        else:
            found[f"{prefix}{key}"] = _leaf(value)
    return found


def _inner(value: Any) -> Mapping[Any, Any] | None:
    """The named parts of a value; ``None`` when it has none."""
    if isinstance(value, Namespace):
        return vars(value)
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
        return dict(enumerate(value))
    return value if isinstance(value, Mapping) else None


def _leaf(value: Any) -> bool | int | float | str:
    if getattr(value, "ndim", None) == 0:  # a number of NumPy or torch
        value = value.item()
    return value if isinstance(value, (bool, int, float, str)) else str(value)
