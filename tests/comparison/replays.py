"""Runs whose epochs are known, to be played again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.records import put

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

# fractions of two: every figure is exact
VALUES = (0.25, 0.5, 0.75, 0.8125, 0.8125, 0.78125, 0.84375, 0.75)
KWH = (1.0, 2.0, 4.0, 8.0, 10.0, 12.0, 14.0, 16.0)


def course(folder: Path, values: Sequence[float] = VALUES, kwh: Sequence[float | None] = KWH, **more: Any) -> Path:
    """Write the record of a run with these values, at these energies."""
    return put(folder, kwh[-1], values[-1], epochs=tuple(values), epochs_kwh=tuple(kwh), **more)
