"""The energy of a sample, or of another unit."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightning_energy.curves.energy import Energy

__all__ = ["per_sample_j"]


def per_sample_j(stage: Energy | None, samples: int | None) -> float | None:
    """Joules per sample; ``None`` where some joules are missing, since all samples are counted.

    Args:
        stage: energy of a stage.
        samples: number of samples that were worked on in its time, or of any other unit.

    Example:
        >>> from lightning_energy import Energy
        >>> per_sample_j(Energy(50.0, 0.1, 2.5, 1.0, 0.0, "measured", 50.0), 100)
        0.5
    """
    if stage is None or stage.energy_j is None or stage.missing_s > 0 or not samples:
        return None
    return stage.energy_j / samples
