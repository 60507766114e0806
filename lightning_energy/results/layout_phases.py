"""The phases of a training's steps, in words: each with its energy, or the reason why it is not known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightning_energy.results.readable import duration, joules, percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_energy.ledger.phases import PhaseEnergy
    from lightning_energy.results.figures import Figures

__all__ = ["HEADER", "SUPPOSED", "WORDS", "facts_of_phases", "line_of_phases", "longer_words", "rows_of_phases"]

HEADER = ("phase", "energy", "of its stage", "time", "of its stage's time")

SUPPOSED = (
    "± has power that varies within a phase, in the same order in each step; of a sensor that smooths over some ten "
    "milliseconds, phases of steps that last less than four of its updates may be off by more"
)
LONGER = 1.5  # times the length of a run: who hears that it was too short expects as much
WORDS = {
    "data": "waiting for data",
    "copy": "copying it to the device",
    "saving": "saving checkpoints",
    "other": "the rest (callbacks, logging)",
}
SHORT = {"data": "waiting for data", "copy": "copying", "saving": "saving", "other": "the rest"}
LONGEST = 32  # letters of a name in the short line
SMALL = 0.005  # part of a stage's time that the short line does not name


def facts_of_phases(report: Figures) -> list[tuple[str, str]]:
    """Lines of (label, text), one per phase, the largest first, and what their uncertainty supposes.

    Args:
        report: the figures.
    """
    facts = []
    for stage, phases in report.phases.items():
        whole = report.stages.get(stage)
        whole_j, whole_s = (None, 0.0) if whole is None else (whole.energy_j, whole.duration_s)
        for phase in _by_size(phases):
            label = f"Of {stage.replace('_', ' ')}, {WORDS.get(phase.name, phase.name)}"
            facts.append((label, _text(phase, whole_j, whole_s, report.session.duration_s)))
    is_any_known = any(phase.resolved for phases in report.phases.values() for phase in phases)
    return [*facts, ("Of phases", SUPPOSED)] if is_any_known else facts


def rows_of_phases(report: Figures) -> list[tuple[str, ...]]:
    """Rows of a table with the columns of :data:`HEADER`, one per phase, the largest first.

    Args:
        report: the figures.
    """
    rows: list[tuple[str, ...]] = []
    for stage, phases in report.phases.items():
        whole = report.stages.get(stage)
        for phase in _by_size(phases):
            energy, words = phase.energy, WORDS.get(phase.name, phase.name)
            told, share = ("unknown" if energy.energy_j is None else "not resolved"), ""
            if phase.resolved and energy.energy_j is not None:
                told = joules(energy.energy_j, energy.u_absolute_j)
                share = percent(energy.energy_j / whole.energy_j) if whole is not None and whole.energy_j else ""
            of_time = percent(energy.duration_s / whole.duration_s) if whole is not None and whole.duration_s else ""
            rows.append((f"{stage.replace('_', ' ')}: {words}", told, share, duration(energy.duration_s), of_time))
    return rows


def line_of_phases(report: Figures) -> list[tuple[str, str]]:
    """One short line on the phases of training; nothing where it is not divided.

    Args:
        report: the figures.
    """
    phases, whole = report.phases.get("train", ()), report.stages.get("train")
    if not phases or whole is None or not whole.energy_j:
        return []
    large = [p for p in _by_size(phases) if p.energy.duration_s >= SMALL * whole.duration_s]
    told = [f"{_short(p)} {percent((p.energy.energy_j or 0) / whole.energy_j)}" for p in large if p.resolved]
    rest = [_short(p) for p in large if not p.resolved]
    text = "; ".join(filter(None, (", ".join(told), f"not resolved: {', '.join(rest)}" if rest else "")))
    return [("Of training", text)] if text else []


def _short(phase: PhaseEnergy) -> str:
    """A phase in a line that names many: a long name without its middle, as names are alike at their ends, too."""
    name, half = SHORT.get(phase.name, phase.name), LONGEST // 2
    return name if len(name) <= LONGEST else f"{name[:half]}…{name[-half:]}"


def _by_size(phases: Sequence[PhaseEnergy]) -> list[PhaseEnergy]:
    return sorted(phases, key=lambda phase: phase.energy.energy_j or 0.0, reverse=True)


def _text(phase: PhaseEnergy, whole_j: float | None, whole_s: float, session_s: float) -> str:
    energy = phase.energy
    of_time = f" ({percent(energy.duration_s / whole_s)} of the time)" if whole_s else ""
    time = f"{duration(energy.duration_s)}{of_time}"
    if energy.energy_j is None:
        return f"unknown, in {time}"
    if phase.resolved:
        share = f", {percent(energy.energy_j / whole_j)} of its energy" if whole_j else ""
        return f"{joules(energy.energy_j, energy.u_absolute_j)}{share}, in {time}"
    return f"not resolved, in {time}: {longer_words(phase, session_s)}"


def longer_words(phase: PhaseEnergy, session_s: float) -> str:
    """Say if a longer run would tell a phase that is not resolved.

    Args:
        phase: the phase.
        session_s: length of the run in seconds.
    """
    if phase.longer is None:
        return "this sensor hardly tells it from its neighbours with steps like these"
    if phase.longer < LONGER:
        return "a longer run may tell it"
    return f"it takes a run of {duration(phase.longer * session_s)} at least to tell it"
