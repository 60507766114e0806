"""The energy of a training sample."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightning_energy.curves.energy import Energy

__all__ = ["per_sample_j"]


def per_sample_j(train: Energy | None, samples: int | None) -> float | None:
    """Joules of training per sample; ``None`` where some joules are missing, since all samples are counted.

    Args:
        train: energy of the stage ``train``.
        samples: number of samples that were trained on in its time.

    Example:
        >>> from lightning_energy import Energy
        >>> per_sample_j(Energy(50.0, 0.1, 2.5, 1.0, 0.0, "measured", 50.0), 100)
        0.5
    """
    if train is None or train.energy_j is None or train.missing_s > 0 or not samples:
        return None
    return train.energy_j / samples
