"""The charts of a run's page: power over time, the metric against energy, joules by epoch, each with its words."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from lightning_energy.results.charts import Axis, Bar, Dot, bars, dots, power_over_time, time_axis
from lightning_energy.results.layout_phases import WORDS as PHASE_WORDS
from lightning_energy.results.markup import escaped, name
from lightning_energy.results.node import LARGEST
from lightning_energy.results.page_parts import folded, section, table
from lightning_energy.results.prefixes import Figures, energy_unit
from lightning_energy.results.readable import duration, percent, scale, si

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lightning_energy.curves.power_series import PowerSeries
    from lightning_energy.results.figures import Device
    from lightning_energy.results.report import Report
    from lightning_energy.results.rows import EpochRow

__all__ = ["epochs_section", "metric_section", "phases_figure", "power_section"]

SHOWN_DEVICES = 8  # whose power is drawn at once; that of the others unfolds
MOST_STACKS = 100  # bars; of more epochs, some together make one
MOST_ROWS = 500  # epochs in the table
TALL, LOW = 240, 110  # heights of charts in pixels
COLUMNS = {"train": "train_j", "validate": "val_j"}  # of an epoch's row
KINDS = {"train": "training", "validate": "validation"}
"""The parts of a bar, as classes of the style, in words."""
PHASE_CLASSES = tuple(f"phase{i}" for i in range(1, 8))
"""The phases of a bar, as classes of the style, in order of appearance; those of a Trainer are seven."""
NOT_TOLD = "untold"
UNRESOLVED, WITH_SMALLER = "not resolved", "not resolved, or one of the smaller phases"


def power_section(sessions: Sequence[Sequence[Device]]) -> str:
    """Curves of power, sessions one behind the other.

    Args:
        sessions: the devices of each.
    """
    series: dict[tuple[str, int], list[tuple[float, PowerSeries]]] = {}
    names: dict[tuple[str, int], str] = {}
    begins_s, end_s = [], 0.0
    for devices in sessions:
        read = [(d, d.power_to_read) for d in devices]
        known = [(device, power) for device, power in read if power is not None and power.mean_w]
        if not known:
            continue
        begins_s.append(end_s)
        for device, power in known:
            series.setdefault((device.device_id, device.rank), []).append((end_s, power))
            names[device.device_id, device.rank] = device.name_among(devices)
        end_s += max(_length_s(power) for _, power in known)
    if not series:
        is_modelled = any(d.energy.quality == "estimated" for devices in sessions for d in devices)
        why = "it is that of a model, which would look like data" if is_modelled else "the record does not have it"
        return section("Power over time", f'<p class="note">Not drawn: {why}.</p>')
    x = time_axis(end_s)
    order = sorted(series, key=lambda key: sum(p.energy_j for _, p in series[key]), reverse=True)
    drawn = [_power_of(names[key], series[key], x, begins_s[1:]) for key in order]
    more = folded(f"{len(drawn) - SHOWN_DEVICES} more devices", "".join(drawn[SHOWN_DEVICES:]))
    text = "The mean power of each device, from its first reading to its last."
    if len(begins_s) > 1:
        text += " A dashed line: the run was resumed; the time between sessions is left out."
    if any(None in p.mean_w for parts_ in series.values() for _, p in parts_):
        text += " A shaded band: nothing is known."
    return section("Power over time", f'<p class="note">{escaped(text)}</p>{"".join(drawn[:SHOWN_DEVICES])}{more}')


def _length_s(power: PowerSeries) -> float:
    return (len(power.mean_w) - 1) * power.bin_s + min(power.known_s[-1] or power.bin_s, power.bin_s)


def _power_of(device: str, series: Sequence[tuple[float, PowerSeries]], x: Axis, begins_s: Sequence[float]) -> str:
    known_s = math.fsum(s for _, p in series for s in p.known_s)
    top_w = max((w for _, p in series for w in p.mean_w if w is not None), default=0.0)
    highest_w = max((p.highest_w for _, p in series if p.highest_w is not None), default=None)
    factor, prefix = scale(top_w)
    y = Axis.of(0.0, 1.05 * top_w, lambda w: f"{w / factor:g} {prefix}W", 4)
    facts = "nothing is known"
    if known_s:
        facts = f"mean {si(math.fsum(p.energy_j for _, p in series) / known_s, 'W', digits=3)}"
    if highest_w is not None:
        facts += f", highest {si(highest_w, 'W', digits=3)} (mean of {duration(max(p.bin_s for _, p in series))})"
    chart = power_over_time(series, x, y, height=LOW, label=f"Power of {device} over time: {facts}", begins_s=begins_s)
    return (
        f'<figure class="power"><figcaption>{name(device)} <span>{escaped(facts)}</span></figcaption>{chart}</figure>'
    )


def metric_section(report: Report, epochs: Sequence[EpochRow]) -> str:
    """The metric of each epoch against the energy of the training until then."""
    metric = report.metric
    all_ = ((row, row.total_kwh, row.metric) for row in epochs)
    known = ((row, kwh, value) for row, kwh, value in all_ if kwh is not None and value is not None)
    points = [(row, kwh, value) for row, kwh, value in known if abs(value) <= LARGEST]
    if metric is None or not points:
        return ""
    unit, per_kwh = energy_unit([kwh for _, kwh, _ in points])
    energies = Figures(unit, per_kwh, [kwh for _, kwh, _ in points])
    factor, prefix = scale(max(kwh for _, kwh, _ in points) * per_kwh)
    best = report.best.epoch if report.best is not None else None
    drawn = [
        Dot(
            kwh,
            value,
            row.total_u_kwh,
            f"epoch {row.epoch}: {value:.4g} after {energies.show(kwh, row.total_u_kwh)}",
            row.epoch == best,
        )
        for row, kwh, value in points
    ]
    values = [value for _, _, value in points]
    pad = 0.08 * (max(values) - min(values)) or 0.05 * (abs(values[0]) or 1.0)
    y = Axis.of(min(values) - pad, max(values) + pad, lambda v: f"{v:g}")
    high = max(p.x + (p.u or 0.0) for p in drawn) * per_kwh
    x = Axis.of(0.0, high, lambda v: f"{v / factor:g} {prefix}{unit}" if v else "0")
    drawn = [dot._replace(x=dot.x * per_kwh, u=None if dot.u is None else dot.u * per_kwh) for dot in drawn]
    less = ", less is better" if metric.mode == "min" else ""
    label = f"{metric.name} of {len(drawn)} epochs against the energy of the training until then{less}"
    marked = " The large point is the best epoch." if any(dot.is_best for dot in drawn) else ""
    text = f"{name(metric.name)} of each epoch{less}, against the energy of the training until then.{marked}"
    chart = dots(drawn, x, y, height=TALL, label=label)
    word = "Accuracy" if metric.is_accuracy else "Metric"
    return section(f"{word} against energy", f'<p class="note">{text}</p><figure>{chart}</figure>')


def epochs_section(report: Report, epochs: Sequence[EpochRow]) -> str:
    """Joules of each epoch by stage, one on the other."""
    if not epochs:
        return ""
    every = math.ceil(len(epochs) / MOST_STACKS)
    groups = [epochs[i : i + every] for i in range(0, len(epochs), every)]
    stacks = [_stack(rows) for rows in groups]
    if all(j is None for stack in stacks for j in stack.parts.values()):
        note = '<p class="note">The joules of single epochs are not known.</p>'
        return section("Joules by stage and epoch", note + _table_of_epochs(report, epochs))
    tops = [math.fsum(j for j in stack.parts.values() if j) for stack in stacks]
    factor, prefix = scale(max(tops) or 1.0)
    y = Axis.of(0.0, 1.03 * (max(tops) or 1.0), lambda j: f"{j / factor:g} {prefix}J", 4)
    of_each = "epoch" if every == 1 else f"{every} epochs together"
    chart = bars(stacks, y, height=TALL, label=f"Joules of training and validation, a bar for each {of_each}")
    legend = _legend(KINDS)
    between = report.between
    rest = ""
    if between is not None and between.energy_j is not None and report.session.energy_j:
        share = percent(between.energy_j / report.session.energy_j)
        rest = f" Outside of epochs: {si(between.energy_j, 'J', digits=3)} of this session ({share})."
    note = f'<p class="note">A bar for each {of_each}, from the first to the last.{escaped(rest)}</p>'
    figure = f'<figure>{chart}<ul class="legend">{legend}</ul></figure>'
    return section("Joules by stage and epoch", f"{note}{figure}{_table_of_epochs(report, epochs)}")


def phases_figure(epochs: Sequence[EpochRow]) -> str:
    """Joules of each epoch's training by phase, one on the other; those that an epoch does not tell are one part.

    Args:
        epochs: a row per epoch.
    """
    divided = [row for row in epochs if row.phases]
    if not divided:
        return ""
    told: dict[str, float] = {}
    for phase in (phase for row in divided for phase in row.phases if phase.resolved):
        told[phase.name] = told.get(phase.name, 0.0) + (phase.energy_j or 0.0)
    largest = sorted(told, key=lambda phase: told[phase], reverse=True)[: len(PHASE_CLASSES)]
    shown = [phase for phase in told if phase in largest]
    rest = UNRESOLVED if len(told) == len(shown) else WITH_SMALLER
    every = math.ceil(len(divided) / MOST_STACKS)
    stacks = [_phases_of(divided[i : i + every], shown, rest) for i in range(0, len(divided), every)]
    top_j = max(math.fsum(j for j in stack.parts.values() if j) for stack in stacks) or 1.0
    factor, prefix = scale(top_j)
    y = Axis.of(0.0, 1.03 * top_j, lambda j: f"{j / factor:g} {prefix}J", 4)
    of_each = "epoch" if every == 1 else f"{every} epochs together"
    chart = bars(stacks, y, height=TALL, label=f"Joules of training by phase, a bar for each {of_each}")
    kinds = {kind: PHASE_WORDS.get(name, name) for name, kind in zip(shown, PHASE_CLASSES, strict=False)}
    if any(NOT_TOLD in stack.parts for stack in stacks):
        kinds[NOT_TOLD] = rest
    note = f'<p class="note">A bar for each {of_each}, from the first to the last.</p>'
    return f'{note}<figure>{chart}<ul class="legend">{_legend(kinds)}</ul></figure>{_table_of_phases(divided)}'


def _phases_of(rows: Sequence[EpochRow], shown: Sequence[str], rest: str) -> Bar:
    """A bar of some epochs: of each shown phase its joules where an epoch tells them, and the rest, in these words."""
    parts: dict[str, float | None] = {}
    for phase, kind in zip(shown, PHASE_CLASSES, strict=False):
        parts[kind] = _sum([p.energy_j for row in rows for p in row.phases if p.name == phase and p.resolved])
    others = [p.energy_j for row in rows for p in row.phases if not (p.resolved and p.name in shown)]
    if others:
        parts[NOT_TOLD] = _sum(others)
    words = [*(PHASE_WORDS.get(phase, phase) for phase in shown), rest]
    said = ", ".join(f"{word} {si(j, 'J', digits=3)}" for word, j in zip(words, parts.values(), strict=False) if j)
    first, last = rows[0].epoch, rows[-1].epoch
    return Bar(f"{first}", parts, f"epoch {first}: {said}" if len(rows) == 1 else f"epochs {first} to {last}: {said}")


def _table_of_phases(divided: Sequence[EpochRow]) -> str:
    names = [*dict.fromkeys(phase.name for row in divided for phase in row.phases)]
    figures = {
        name: Figures("J", 1.0, [p.energy_j for row in divided for p in row.phases if p.name == name and p.resolved])
        for name in names
    }
    rows = []
    for row in _some(divided):
        of_row = {phase.name: phase for phase in row.phases}
        told = [of_row[name] if name in of_row and of_row[name].resolved else None for name in names]
        rows.append((str(row.epoch), *(_with_u(figures[p.name], p.energy_j, p.u_j) if p else "" for p in told)))
    note = '<p class="note">±: repeatability. A phase without joules is not resolved in that epoch.</p>'
    header = ("epoch", *(PHASE_WORDS.get(name, name) for name in names))
    body = _left_out(len(divided) - len(rows)) + table(header, rows, "Table of phases by epoch") + note
    return folded("Table of phases by epoch", body)


def _legend(kinds: Mapping[str, str]) -> str:
    """The parts of bars in words, by their classes."""
    square = '<svg viewBox="0 0 22 12" aria-hidden="true"><rect class="{}" x="5" width="12" height="12"/></svg>{}'
    return "".join(f"<li>{square.format(kind, escaped(word))}</li>" for kind, word in kinds.items())


def _stack(rows: Sequence[EpochRow]) -> Bar:
    parts = {kind: _sum([getattr(row, column) for row in rows]) for kind, column in COLUMNS.items()}
    said = ", ".join(f"{KINDS[kind]} {'unknown' if j is None else si(j, 'J', digits=3)}" for kind, j in parts.items())
    first, last = rows[0].epoch, rows[-1].epoch
    return Bar(f"{first}", parts, f"epoch {first}: {said}" if len(rows) == 1 else f"epochs {first} to {last}: {said}")


def _sum(joules: Sequence[float | None]) -> float | None:
    known = [j for j in joules if j is not None]
    return math.fsum(known) if known else None


def _table_of_epochs(report: Report, epochs: Sequence[EpochRow]) -> str:
    train, val = (Figures("J", 1.0, [getattr(row, column) for row in epochs]) for column in COLUMNS.values())
    totals = [row.total_kwh for row in epochs]
    total = Figures(*energy_unit(totals), totals)
    metric = report.metric.name if report.metric is not None else "metric"
    header = ("epoch", "training", "validation", "total until then", metric, "score")
    shown = _some(epochs)
    rows = [
        (
            str(row.epoch),
            _with_u(train, row.train_j, row.train_u_j),
            _with_u(val, row.val_j, row.val_u_j),
            _with_u(total, row.total_kwh, row.total_u_kwh),
            "" if row.metric is None else f"{row.metric:.5g}",
            "" if row.score is None else f"{row.score:.4g}",
        )
        for row in shown
    ]
    cut = _left_out(len(epochs) - len(rows))
    note = (
        '<p class="note">± of training and validation: repeatability; of the total: with the gain of the sensors.</p>'
    )
    return folded("Table of epochs", cut + table(header, rows, "Table of epochs") + note)


def _some(epochs: Sequence[EpochRow]) -> list[EpochRow]:
    """The first and the last of them, as many as a table has."""
    return [*epochs] if len(epochs) <= MOST_ROWS else [*epochs[: MOST_ROWS // 2], *epochs[-MOST_ROWS // 2 :]]


def _left_out(n: int) -> str:
    return f'<p class="note">{n:,} epochs in the middle are left out; all are in the record.</p>' if n else ""


def _with_u(figures: Figures, value: float | None, u: float | None) -> str:
    return "" if value is None else figures.show(value, u)
