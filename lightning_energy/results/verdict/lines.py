"""A verdict in the short report: two lines at most."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightning_energy.results.readable import joules, percent

if TYPE_CHECKING:
    from lightning_energy.results.verdict.saving import Verdict

__all__ = ["LABELS", "lines_of_verdict"]

MOST = 3  # savings that the second line names
LABELS = ("Could save", "And")
"""The labels of its lines."""


def lines_of_verdict(verdict: Verdict | None, way: str, room: int = 2) -> list[tuple[str, str]]:
    """The largest saving with its next step, and in a second line the others.

    Args:
        verdict: the verdict; ``None`` without one.
        way: the way to all of it.
        room: the number of lines that there is room for.
    """
    if verdict is None or not verdict.savings or room < 1:
        return []
    first, *others = verdict.savings
    largest = f"{percent(first.share)} ({joules(first.energy_j, first.u_j)}), {first.cause}: {first.next_step}"
    named = ", ".join(f"{percent(s.share)}, {s.cause}" for s in others[:MOST])
    overlap = "; they do not add up" if verdict.overlaps else ""
    texts = [largest, f"{named}{overlap} ({way})"] if named and room > 1 else [f"{largest} ({way})"]
    return [*zip(LABELS, texts, strict=False)]
