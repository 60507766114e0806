"""What a person reads after a run."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lightning_energy.results.rendering import as_html, as_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lightning_energy.curves.energy import Energy
    from lightning_energy.curves.resolution import Resolution
    from lightning_energy.results.carbon import Derived

__all__ = ["Device", "Missing", "Report", "per_sample_j"]

ROUNDING = 1e-6  # relative: sums over ranks are taken in another order


@dataclass(frozen=True)
class Device:
    """A device that was measured.

    Attributes:
        name: what a person calls it.
        device_id: its identity on its node.
        scope: what its joules cover.
        energy: what it spent in this run.
        period_s: time between two updates of its sensor in seconds, as measured; ``None`` unknown.
        note: anything a reader must know.
        rank: the rank that read it.
    """

    name: str
    device_id: str
    scope: str
    energy: Energy
    period_s: float | None
    note: str = ""
    rank: int = 0


@dataclass(frozen=True)
class Missing:
    """A stretch of time in which a device's energy is not known.

    Attributes:
        device_id: the device.
        started_unix_s: when it began, seconds since 1970.
        duration_s: how long it was, in seconds.
        rank: the rank that read the device.
    """

    device_id: str
    started_unix_s: float
    duration_s: float
    rank: int = 0


@dataclass(frozen=True)
class Report:
    """The figures of one run.

    Attributes:
        outcome: ``running``, ``completed`` or ``interrupted``.
        stages: energy by stage, all ranks together.
        run: energy of this session, all ranks together.
        total: energy of ``fit`` over all its sessions, all ranks together; ``None`` when nothing was fitted.
        sessions: how many sessions ``total`` has.
        devices: what was measured: by all ranks when the run has completed or their records were put together, else
            by this rank.
        ranks: how many ranks the energies are of.
        resolutions: by stage, how finely the slowest sensor resolves it; see
            :func:`~lightning_energy.curves.resolution.resolution`.
        steps: training steps whose energy is known.
        step_j: their mean energy in joules, or ``None``.
        samples: samples trained on in this session, all ranks together; ``None`` when not all could be counted.
        sample_j: joules of training (stage ``train``) per sample of this session, or ``None``.
        gaps: energy of training between its steps (data loading, logging, checkpoints), part of stage ``train``.
        missing: when the energy of which of these devices is not known.
        absent_ranks: how many other ranks these figures do not know since the last epoch; 0 but after an exception.
        above_idle_j: joules of this session above the devices' idle power; ``None`` when that was not watched.
        accuracy: the last accuracy that was scored, with its logged name; ``None`` without one.
        score: its score.
        score_kwh: the energy that it was scored with: what the training had taken by that validation.
        score_name: the formula.
        derived: CO2e and cost of ``total``, or of ``run`` when nothing was fitted; ``None`` unless asked for.
        notes: sentences about what is missing or doubtful.
    """

    outcome: str
    stages: dict[str, Energy]
    run: Energy
    total: Energy | None
    sessions: int
    devices: Sequence[Device]
    ranks: int = 1
    resolutions: Mapping[str, Resolution] = field(default_factory=dict)
    steps: int = 0
    step_j: float | None = None
    samples: int | None = None
    sample_j: float | None = None
    gaps: Energy | None = None
    missing: Sequence[Missing] = ()
    absent_ranks: int = 0
    above_idle_j: float | None = None
    accuracy: tuple[str, float] | None = None
    score: float | None = None
    score_kwh: float | None = None
    score_name: str = ""
    derived: Derived | None = None
    notes: Sequence[str] = ()

    @property
    def has_all_devices(self) -> bool:
        """Whether ``devices`` are those of all ranks: their joules are then those of ``run``.

        While several ranks train, and after a training that was given up, they are those of one rank alone.
        """
        if self.absent_ranks or self.ranks == 1:
            return not self.absent_ranks
        told_j = math.fsum(d.energy.energy_j or 0.0 for d in self.devices)
        return self.run.energy_j is not None and math.isclose(told_j, self.run.energy_j, rel_tol=ROUNDING)

    def __str__(self) -> str:
        return as_text(self)

    def _repr_html_(self) -> str:
        """What notebooks show."""
        return as_html(self)


def per_sample_j(train: Energy | None, samples: int | None) -> float | None:
    """Joules of training per sample; ``None``, too, where some are missing: all samples were counted.

    Args:
        train: energy of the stage ``train``.
        samples: how many samples were trained on in its time.

    Example:
        >>> from lightning_energy import Energy
        >>> per_sample_j(Energy(50.0, 0.1, 2.5, 1.0, 0.0, "measured", 50.0), 100)
        0.5
    """
    if train is None or train.energy_j is None or train.missing_s > 0 or not samples:
        return None
    return train.energy_j / samples
