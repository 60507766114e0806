"""Facts about NVIDIA's models that no driver tells: one list, matched by whole words of a board's name."""

from __future__ import annotations

import re

__all__ = ["PART_TIME", "coverage_of"]

PART_TIME: dict[str, float] = {
    "A100": 0.25,
    "H100": 0.25,
    "Quadro RTX 8000": 0.2,
    "V100": 0.5,
    "P100": 0.5,
    "GTX 1080": 0.5,
    "Tesla M40": 0.45,
}
"""Share of the time that a model's power sensor looks at, where it is not all of it (data of arXiv 2312.02741)."""

PARTS = re.compile(r"[A-Za-z0-9]+")


def coverage_of(name: str) -> float | None:
    """Share of the time that the sensor of a board looks at; ``None`` when unknown.

    The words of a model must stand in the name one after the other, and whole: an RTX A1000 is no A100.

    Args:
        name: the board's name, as the driver gives it.

    Example:
        >>> coverage_of("NVIDIA A100-SXM4-80GB"), coverage_of("NVIDIA RTX A1000")
        (0.25, None)
    """
    words = PARTS.findall(name)
    for model, share in PART_TIME.items():
        wanted = PARTS.findall(model)
        if any(words[i : i + len(wanted)] == wanted for i in range(len(words))):
            return share
    return None
