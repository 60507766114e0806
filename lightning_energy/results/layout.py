"""The details of a report in words and rounded numbers, before they are rendered: all that it says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lightning_energy.meters.units import J_PER_KWH, SAMPLES
from lightning_energy.results.brief import one_of
from lightning_energy.results.layout_phases import facts_of_phases
from lightning_energy.results.layout_sharing import facts_of_sharing
from lightning_energy.results.readable import duration, joules, one_line, si, watt_hours

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_energy.curves.energy import Energy
    from lightning_energy.curves.resolution import Resolution
    from lightning_energy.results.carbon import Derived
    from lightning_energy.results.figures import Figures, Spread

__all__ = ["HEADER", "Layout", "lay_out"]

HEADER = ("", "energy", "± (k=1)", "time", "power", "quality")


@dataclass(frozen=True)
class Layout:
    """A title, a table, and lines below it.

    Attributes:
        title: one line.
        rows: one per stage, then the sums; each has a text for every name of ``HEADER``.
        facts: (label, text), in the order in which they are read.
        notes: sentences about missing or doubtful figures.
    """

    title: str
    rows: Sequence[tuple[str, ...]]
    facts: Sequence[tuple[str, str]]
    notes: Sequence[str]


def lay_out(report: Figures) -> Layout:
    """Put all of a report into words."""
    rows = [_row(stage.replace("_", " "), e, report.resolutions.get(stage)) for stage, e in report.stages.items()]
    rows.append(_row("this session", report.session))
    if report.total is not None and report.sessions > 1:
        rows.append(_row(f"fit, {report.sessions} sessions", report.total))
    facts = [*_facts_of_training(report), *_facts_of_quality(report)]
    if report.derived is not None:
        facts += _facts_of_derived(report.derived, report.energy)
    facts += [*_facts_of_scope(report), *facts_of_sharing(report)]
    notes = [*(f"{d.name}: {d.note}" for d in report.devices if d.note), *(note.text for note in report.notes)]
    return Layout(
        title=one_line(f"Energy by stage ({report.outcome})"),
        rows=[tuple(map(one_line, row)) for row in rows],
        facts=[(one_line(label), one_line(text)) for label, text in facts],
        notes=[*map(one_line, notes)],
    )


def _row(name: str, energy: Energy, resolution: Resolution | None = None) -> tuple[str, ...]:
    if energy.energy_j is None:
        return (name, "missing", "", duration(energy.duration_s), "", "")
    power = si(energy.power_w, "W") if energy.power_w is not None else ""
    lost = f", {duration(energy.missing_s)} missing" if energy.missing_s > 0 else ""
    coarse = f", {resolution}" if resolution not in {None, "resolved"} else ""
    spent, u = si(energy.energy_j, "J"), si(energy.u_absolute_j, "J")
    return (name, spent, u, duration(energy.duration_s), power, f"{energy.quality}{coarse}{lost}")


def _facts_of_training(report: Figures) -> list[tuple[str, str]]:
    facts = []
    if report.total is not None and report.total.energy_kwh is not None:
        names = {"validate": "validation", "sanity_check": "sanity check"}
        within = " and ".join(text for stage, text in names.items() if stage in report.stages)
        facts.append(("Training in all", _total(report.total) + (f", {within} included" if within else "")))
    if report.step_j is not None:
        steps = f"mean of {report.steps} steps, each from its start to the start of the next"
        text = f"{_with_u(report.step_j, report.step_u)} ({steps})"
        facts.append(("Per training step", text))
    if report.sample_j is not None:
        text = f"{_with_u(report.sample_j, report.sample_u)} (mean of {report.samples}, gaps included)"
        facts.append(("Per training sample", text))
    facts += _facts_of_units(report)
    if report.gaps is not None and report.gaps.energy_j is not None:
        text = f"{_joules(report.gaps)} in {duration(report.gaps.duration_s)}"
        facts.append(("Of train, between steps", text))
    facts += facts_of_phases(report)
    if report.between is not None and report.between.energy_j is not None:
        text = f"{_joules(report.between)} of this session: what the rows of epochs do not have"
        facts.append(("Outside of epochs", text))
    for stage in ("test", "predict"):
        if stage in report.stages:
            text = f"all until the end of the run; energy/{stage}_j ends where it is logged, after the last batch"
            facts.append((f"Of {stage}", text))
    if report.above_idle_j is not None:
        text = f"{_with_u(report.above_idle_j, report.above_idle_u)} of this session (the total is what it cost)"
        facts.append(("Above idle", text))
    return facts


def _facts_of_units(report: Figures) -> list[tuple[str, str]]:
    """The energy of training per unit of the user's own."""
    facts = []
    for unit, n in report.units.get("train", {}).items():
        unit_j = report.unit_j(unit) if unit != SAMPLES else None
        if unit_j is not None:
            text = f"{_with_u(unit_j, report.unit_u(unit))} (mean of {n} {unit}, gaps included)"
            facts.append((f"Per training {one_of(unit)}", text))
    return facts


def _facts_of_quality(report: Figures) -> list[tuple[str, str]]:
    facts = []
    if report.metric is not None:
        name, value = report.metric.name, report.metric.value
        if report.score is None:
            facts.append(("Metric", f"{name} = {value:.4f}"))
        else:
            at = "" if report.score_kwh is None else f" at {report.score_kwh:.4g} kWh"
            u = "" if report.score_u is None else f" ± {report.score_u:.2g} by the energy alone"
            facts.append(("Score", f"{report.score:.4f}{u} = {report.score_name} of {name} = {value:.4f}{at}"))
    if report.best is not None:
        best = report.best
        at = "" if best.total_kwh is None else f", after {watt_hours(best.total_kwh * J_PER_KWH)}"
        score = "" if best.score is None else f", score {best.score:.4f}"
        ends = ", of the last validations of epochs" if best.is_of_ends else ""
        facts.append(("Best epoch", f"{best.epoch}, counted from 0{ends}: {best.value:.4f}{score}{at}"))
    if report.no_metric:
        facts.append(("No metric", report.no_metric))
    if report.no_score and not report.no_metric.endswith(report.no_score):
        facts.append(("No score", report.no_score))
    return facts


def _facts_of_derived(derived: Derived, energy: Energy) -> list[tuple[str, str]]:
    """Derived figures, each with the inputs that it was computed from."""
    it_only = " (IT energy only)" if derived.pue == 1 else ""
    kwh = "unknown energy" if energy.energy_kwh is None else f"{energy.energy_kwh:.4g} kWh"
    facility = f"{kwh} x PUE {derived.pue:g}{it_only}"
    facts = []
    if derived.pue != 1:
        facts.append(("Derived, facility", f"{_known(derived.facility_kwh, 'kWh')} = {facility}"))
    if derived.carbon_intensity_g_per_kwh is not None:
        year = f", {derived.year}" if derived.year else ""
        where = f"{derived.region}{year}; {derived.source}" if derived.region else derived.source
        u = "" if derived.co2eq_u_g is None else f" ± {derived.co2eq_u_g:.2g} g by the energy alone"
        intensity = f"{derived.carbon_intensity_g_per_kwh:g} g/kWh ({where})"
        facts.append(("Derived, CO2e", f"{_known(derived.co2eq_g, 'g')}{u} = {facility} x {intensity}"))
    if derived.price_per_kwh is not None:
        cost = "unknown" if derived.cost is None else f"{derived.cost:.4g} ± {derived.cost_u:.2g}"
        facts.append(("Derived, cost", f"{cost} = {facility} x {derived.price_per_kwh:g} per kWh"))
    return facts


def _facts_of_scope(report: Figures) -> list[tuple[str, str]]:
    session = report.session
    facts = [_covers(report)]
    if session.energy_j is not None and session.quality != "estimated":
        text = (
            f"{si(session.u_absolute_j, 'J')} with the gain of the sensors, {si(session.u_j, 'J')} without (for "
            f"comparing runs on the same devices); k=1"
        )
        facts.append(("Uncertainty", text))
    facts.append(("Missing", _missing(report)))
    return facts


def _missing(report: Figures) -> str:
    lost_s, added = report.energy.missing_s, ", added up over ranks" if report.ranks > 1 else ""
    known = f"the energy of {duration(lost_s)}{added}; no figure includes it" if lost_s > 0 else ""
    more = "what the notes below say; the total is a lower bound" if any(n.lowers_total for n in report.notes) else ""
    return "; and ".join(filter(None, (known, more))) or "nothing"


def _covers(report: Figures) -> tuple[str, str]:
    """The devices, those alike together."""
    alike: dict[tuple[str, str, str], list[float | None]] = {}
    for d in report.devices:
        period_s = None if d.energy.quality == "estimated" else d.period_s
        alike.setdefault((d.name, d.scope, d.energy.quality), []).append(period_s)
    devices = "; ".join(map(_devices, alike, alike.values()))
    is_all = report.outcome == "completed" or len({d.rank for d in report.devices}) > 1  # put together from several
    if report.ranks == 1 or is_all:
        ranks = "" if report.ranks == 1 else f", read by {report.ranks} ranks"
        return f"Covers{ranks}", devices or "nothing: every device is read by another rank"
    return f"Covers the devices of {report.ranks} ranks, of which this one has", devices or "none"


def _devices(what: tuple[str, str, str], periods_s: list[float | None]) -> str:
    """Devices of one kind; the periods that were measured are never quite the same."""
    name, scope, quality = what
    known_ms = sorted({f"{p * 1e3:.0f}" for p in periods_s if p}, key=float)
    period = f", updated every {' to '.join([*known_ms[:1], *known_ms[1:][-1:]])} ms" if known_ms else ""
    times = f"{len(periods_s)} x " if len(periods_s) > 1 else ""
    return f"{times}{name} ({scope}, {quality}{period})"


def _joules(energy: Energy) -> str:
    return joules(energy.energy_j or 0.0, energy.u_absolute_j)


def _with_u(energy_j: float, u: Spread | None) -> str:
    return joules(energy_j, None if u is None else u.u_absolute_j)


def _total(energy: Energy) -> str:
    return f"{_joules(energy)} ({watt_hours(energy.energy_j or 0.0)})"


def _known(value: float | None, unit: str) -> str:
    return "unknown" if value is None else f"{value:.4g} {unit}"
