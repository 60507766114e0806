"""A run as one HTML page without scripts: totals, power over time, the metric against energy, joules by epoch, notes.

Everything in a record was written by others: it gets into the page as escaped text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lightning_energy._version import __version__
from lightning_energy.results.brief import in_brief, one_of
from lightning_energy.results.layout import HEADER, lay_out
from lightning_energy.results.layout_phases import HEADER as HEADER_OF_PHASES
from lightning_energy.results.layout_phases import SUPPOSED, WORDS, rows_of_phases
from lightning_energy.results.markup import escaped, fill_page, name
from lightning_energy.results.page_parts import listed, section, table, words
from lightning_energy.results.prefixes import Figures, count
from lightning_energy.results.readable import duration, one_line, si
from lightning_energy.results.run_curves import epochs_section, metric_section, phases_figure, power_section
from lightning_energy.results.verdict.lines import LABELS
from lightning_energy.results.verdict.words import facts_of, notes_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lightning_energy.results.figures import Device
    from lightning_energy.results.machine import Machine
    from lightning_energy.results.report import Report
    from lightning_energy.results.rows import EpochRow

__all__ = ["render_run"]

SHOWN_ELSEWHERE = {"Missing", *LABELS}  # of the short report
MOST_MISSING = 20  # stretches in the table


def render_run(
    report: Report,
    *,
    epochs: Sequence[EpochRow] = (),
    devices: Sequence[Sequence[Device]] = (),
    what: Mapping[str, Any] | None = None,
    where: Machine | None = None,
    started_unix_s: float = 0.0,
    title: str | None = None,
) -> str:
    """Render a run as one HTML document that loads nothing: no script, font or picture from elsewhere.

    Every chart has a table with its figures. Paths are left out, since a page is made to be passed on.

    Args:
        report: the figures.
        epochs: a row per epoch.
        devices: the devices of each session, with their power.
        what: the training: module, parameters, precision and so on.
        where: the machine.
        started_unix_s: the beginning of this session in seconds since 1970.
        title: the heading; by default that of the module.

    Returns:
        The document, to be written as UTF-8.
    """
    what = what or {}
    module = str(what.get("module") or "").rpartition(".")[2]
    heading = title if title is not None else f"Energy of {module or 'a training'}"
    sections = (
        _stages(report),
        _phases(report, epochs),
        _verdict(report),
        _per_unit(report),
        power_section(devices),
        metric_section(report, epochs),
        epochs_section(report, epochs),
        _devices(report),
        _missing(report, started_unix_s),
        _notes(report),
        _facts(report),
    )
    return fill_page(
        __package__,
        "run_page.html",
        title=escaped(heading),
        version=escaped(__version__),
        head=_head(report, what, where),
        sections="\n".join(section for section in sections if section),
    )


def _head(report: Report, what: Mapping[str, Any], where: Machine | None) -> str:
    brief = in_brief(report)
    first, *rest = (line.removesuffix(", by stage:") for line in brief.head)
    lead = f'<p class="lead"><strong>{escaped(first)}</strong>{"".join(f"<br>{escaped(line)}" for line in rest)}</p>'
    trained = [
        what.get("module"),
        f"{count(what['parameters'])} parameters" if isinstance(what.get("parameters"), int) else None,
        what.get("precision"),
        f"batches of {what['batch_size']}" if what.get("batch_size") else None,
        what.get("strategy"),
        where.cpu if where is not None else None,
        *(
            f"{package} {v}"
            for package, v in (where.versions if where is not None else {}).items()
            if package == "torch"
        ),
    ]
    facts = " · ".join(name(fact) for fact in trained if fact)
    lost = [f"{label}: {text}" for label, text in brief.lines if label == "Missing"]
    items = [*lost, *(one_line(note.text) for note in report.notes if note.lowers_total)]
    warning = listed(items)
    return (
        f'{lead}<p class="facts">{facts}</p>'
        + (f'<section class="warn"><h2>Read with care</h2>{warning}</section>' if items else "")
        + words([(label, text) for label, text in brief.lines if label not in SHOWN_ELSEWHERE], "words brief")
    )


def _stages(report: Report) -> str:
    layout = lay_out(report)
    header, rows = ("stage", *HEADER[1:]), [*layout.rows]
    return section("Energy by stage", table(header, rows, "Energy by stage", texts=1))


def _phases(report: Report, epochs: Sequence[EpochRow]) -> str:
    rows = rows_of_phases(report)
    note = f'<p class="note">Together the phases of a stage are its energy. {escaped(SUPPOSED)}.</p>'
    if not rows:
        return ""
    return section("Energy by phase", note + table(HEADER_OF_PHASES, rows, "Energy by phase") + phases_figure(epochs))


def _verdict(report: Report) -> str:
    verdict = report.verdict
    if verdict is None or not verdict.savings:
        return ""
    notes = "".join(f'<p class="note">{escaped(note)}</p>' for note in notes_of(verdict))
    return section("What would save energy", words(facts_of(verdict)) + notes)


def _per_unit(report: Report) -> str:
    found = {(row.stage, row.phase, row.unit): row for row in report.per_unit}
    units = [*dict.fromkeys(row.unit for row in found.values())]
    figures = {unit: Figures("J", 1.0, [row.mean_j for row in found.values() if row.unit == unit]) for unit in units}
    rows = []
    for stage, phase in dict.fromkeys((row.stage, row.phase) for row in found.values()):
        of_each = [(figures[unit], found.get((stage, phase, unit))) for unit in units]
        words = stage.replace("_", " ") if phase is None else f"{stage.replace('_', ' ')}: {WORDS.get(phase, phase)}"
        rows.append((words, *("" if row is None else f.show(row.mean_j, row.u_absolute_j) for f, row in of_each)))
    note = '<p class="note">Of this session, gaps between steps included. ±: with the gain of the sensors.</p>'
    header = ("part", *(f"per {one_of(unit)}" for unit in units))
    return section("Energy per unit", note + table(header, rows, "Energy per unit")) if rows else ""


def _facts(report: Report) -> str:
    return section("All figures", words(lay_out(report).facts))


def _notes(report: Report) -> str:
    above = {one_line(note.text) for note in report.notes if note.lowers_total}
    return section("Notes", listed([note for note in lay_out(report).notes if note not in above]))


def _devices(report: Report) -> str:
    energies = Figures("J", 1.0, [d.energy.energy_j for d in report.devices])
    header = ("device", "covers", "rank", "energy", "mean power", "highest", "missing", "quality")
    rows = [
        (
            d.name_among(report.devices),
            d.scope,
            str(d.rank),
            "" if d.energy.energy_j is None else energies.show(d.energy.energy_j, d.energy.u_absolute_j),
            "" if d.energy.power_w is None else si(d.energy.power_w, "W"),
            _highest(d),
            duration(d.energy.missing_s) if d.energy.missing_s else "0",
            d.energy.quality,
        )
        for d in report.devices
    ]
    note = '<p class="note">Of this session. The highest power is that of a mean over the time in brackets.</p>'
    return section("Devices", note + table(header, rows, "Devices", texts=1)) if rows else ""


def _highest(device: Device) -> str:
    power = device.power_to_read
    known = power is not None and power.highest_w is not None
    return f"{si(power.highest_w or 0.0, 'W')} ({duration(power.bin_s)})" if power is not None and known else ""


def _missing(report: Report, started_unix_s: float) -> str:
    stretches = sorted(report.missing, key=lambda m: m.duration_s, reverse=True)
    names = {(d.device_id, d.rank): d.name_among(report.devices) for d in report.devices}
    rows = [
        (
            names.get((m.device_id, m.rank), m.device_id),
            str(m.rank),
            duration(max(m.started_unix_s - started_unix_s, 0.0)),
            duration(m.duration_s),
        )
        for m in stretches[:MOST_MISSING]
    ]
    left = len(stretches) - len(rows)
    more = f'<p class="note">And {left:,} shorter ones: see the record.</p>' if left else ""
    text = '<p class="note">Stretches of this session in which the energy of a device is not known.</p>'
    header = ("device", "rank", "after", "for")
    return section("What was missing", f"{text}{table(header, rows, 'What was missing')}{more}") if rows else ""
