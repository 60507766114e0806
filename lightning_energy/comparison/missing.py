"""Energy that is missing in the records of a comparison, in words."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from lightning_energy.results.prefixes import per_cent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_energy.comparison.run import Run

__all__ = ["missing_words"]


def missing_words(runs: Sequence[Run]) -> str:
    """Say of how many runs energy is missing, and how much it may be; empty of none.

    Args:
        runs: the runs.
    """
    missing = [r.source.slack_kwh / (r.energy_kwh or math.inf) for r in runs if r.source.slack_kwh]
    if not missing:
        return ""
    most = max(missing)
    how_much = f"up to {per_cent(most)} of theirs, if it was spent at their mean power"
    how_much = how_much if math.isfinite(most) else "an unknown amount"
    return f"energy of {len(missing)} of {len(runs)} runs is missing ({how_much})"
