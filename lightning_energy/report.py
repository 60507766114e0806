"""What a person reads after a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lightning_energy.curve import Energy
    from lightning_energy.quality import Resolution

__all__ = ["Device", "Report"]

HOUR_S, MINUTE_S = 3600, 60


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
    """

    name: str
    device_id: str
    scope: str
    energy: Energy
    period_s: float | None
    note: str = ""


@dataclass(frozen=True)
class Report:
    """The figures of one run.

    Attributes:
        outcome: ``completed`` or ``interrupted``.
        stages: energy by stage, all ranks together.
        run: energy of this session, all ranks together.
        total: energy of ``fit`` over all its sessions, all ranks together; ``None`` when nothing was fitted.
        sessions: how many sessions ``total`` has.
        devices: what this rank measured.
        ranks: how many ranks the energies are of.
        resolutions: by stage, how finely the slowest sensor resolves it; see
            :func:`~lightning_energy.quality.resolution`.
        steps: training steps whose energy is known.
        step_j: their mean energy in joules, or ``None``.
        above_idle_j: joules of this session above the devices' idle power; ``None`` when that was not watched.
        accuracy: the last accuracy that was scored, with its logged name; ``None`` without one.
        score: its score.
        score_name: the formula.
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
    above_idle_j: float | None = None
    accuracy: tuple[str, float] | None = None
    score: float | None = None
    score_name: str = ""
    notes: Sequence[str] = ()

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> list[str]:
        rows = [(stage.replace("_", " "), e, self.resolutions.get(stage)) for stage, e in self.stages.items()]
        rows.append(("this run", self.run, None))
        if self.total is not None and self.sessions > 1:
            rows.append((f"fit, {self.sessions} sessions", self.total, None))
        widths = 22
        lines = [
            f"Energy of this run ({self.outcome})",
            f"{'':{widths}}{'energy':>14}{'':4}{'± (k=1)':>9}{'time':>12}{'power':>11}  quality",
        ]
        lines += [_row(name, energy, resolution, widths) for name, energy, resolution in rows]
        covers = "Covers" if self.ranks == 1 else f"Covers the devices of {self.ranks} ranks, of which this one has"
        lines += [f"{covers}: " + ("; ".join(map(_device, self.devices)) or "none that another rank does not read")]
        if self.run.energy_j is not None and self.run.quality != "estimated":
            lines.append(
                f"Uncertainty: {_si(self.run.u_absolute_j, 'J')} with the gain of the sensors, "
                f"{_si(self.run.u_j, 'J')} without (for comparing runs on the same devices); k=1"
            )
        if self.total is not None and self.total.energy_kwh is not None:
            u_kwh = self.total.u_absolute_j / 3.6e6
            lines.append(f"Training in all: {self.total.energy_kwh:.4g} kWh ± {u_kwh:.2g} kWh")
        if self.step_j is not None:
            lines.append(f"Per training step: {_si(self.step_j, 'J')} (mean of {self.steps} steps, start to start)")
        if self.above_idle_j is not None:
            lines.append(f"Above idle: {_si(self.above_idle_j, 'J')} of this run (the total is what it cost)")
        if self.accuracy is not None and self.score is not None:
            lines.append(f"Score: {self.score:.4f} = {self.score_name} of {self.accuracy[0]} = {self.accuracy[1]:.4f}")
        notes = [*(f"{d.name}: {d.note}" for d in self.devices if d.note), *self.notes]
        return lines + [f"Note: {note}" for note in notes]


def _row(name: str, energy: Energy, resolution: Resolution | None, width: int) -> str:
    if energy.energy_j is None:
        return f"{name:{width}}{'missing':>14}{'':4}{'':>9}{_time(energy.duration_s):>12}"
    value = f"{_si(energy.energy_j, 'J'):>14}{'':4}{_si(energy.u_absolute_j, 'J'):>9}"
    power = _si(energy.power_w, "W") if energy.power_w is not None else ""
    lost = f", {_time(energy.missing_s)} missing" if energy.missing_s > 0 else ""
    coarse = f", {resolution}" if resolution not in {None, "resolved"} else ""
    return f"{name:{width}}{value}{_time(energy.duration_s):>12}{power:>11}  {energy.quality}{coarse}{lost}"


def _device(device: Device) -> str:
    shown = device.period_s and device.energy.quality != "estimated"
    period = f", updated every {(device.period_s or 0) * 1e3:.0f} ms" if shown else ""
    return f"{device.name} ({device.scope}, {device.energy.quality}{period})"


def _si(value: float, unit: str) -> str:
    """Four significant digits with a prefix: ``12.34 kJ``."""
    for factor, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m")):
        if abs(value) >= factor or factor == 1e-3:  # noqa: PLR2004 - the smallest prefix
            return f"{value / factor:.4g} {prefix}{unit}"
    raise AssertionError


def _time(seconds: float) -> str:
    if seconds >= HOUR_S:
        return f"{seconds / HOUR_S:.2f} h"
    return f"{seconds / MINUTE_S:.1f} min" if seconds >= MINUTE_S else f"{seconds:.2f} s"
