"""The short report: at most a dozen lines in a user's words. The rest is in :mod:`lightning_energy.results.layout`."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lightning_energy.curves.energy import QUALITIES, Energy
from lightning_energy.meters.units import J_PER_KWH, SAMPLES
from lightning_energy.results.layout_phases import line_of_phases
from lightning_energy.results.readable import duration, one_line, percent, si, watt_hours
from lightning_energy.results.verdict.lines import lines_of_verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from lightning_energy.meters.base import Quality
    from lightning_energy.results.carbon import Derived
    from lightning_energy.results.figures import Best, Figures, Outcome
    from lightning_energy.results.notes import NoteKind
    from lightning_energy.scores.metric import Metric

__all__ = ["IN_PYTHON", "Brief", "Place", "in_brief", "one_of", "per_unit"]

MOST_LINES = 12
MOST_NAMES = 4  # of devices in a line
FEWEST_ROWS = 2
LONGEST_NAME = 30  # letters of a device that could not be read
MORE = 1.01  # times the time of a session is more than one of them
GAPS = 0.01  # of training; less between steps needs no word
IN_PYTHON = "report.details()"
FIRST_STAGES = ("train", "validate", "test", "predict")

BEGINNINGS: Mapping[Outcome, str] = {
    "completed": "Energy",
    "running": "Energy so far",
    "interrupted": "Energy until the run was interrupted",
    "checkpoint": "Energy up to a checkpoint",
}
SOURCES: Mapping[Quality, str] = {
    "measured": "measured on",
    "integrated": "integrated from the power of",
    "estimated": "estimated by",
    "missing": "unknown of",
}
LOST: Mapping[NoteKind, str] = {
    "killed_session": "part of a killed session",
    "unknown_before": "earlier sessions",
    "after_checkpoint": "what was spent after the checkpoint that was resumed",
    "gave_up": "all that was spent after measuring stopped",
    "sensor": "a sensor that failed for a while",
}


@dataclass(frozen=True)
class Brief:
    """A short report.

    Attributes:
        head: the energy, and of several sessions that of this one.
        rows: one per stage: its name, energy, share, and what else there is to say.
        lines: (label, text), in the order in which they are read.
    """

    head: Sequence[str]
    rows: Sequence[tuple[str, ...]]
    lines: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Place:
    """The place of a report's record, and the way to all that the short report leaves out.

    Attributes:
        record: the file; ``None`` without one.
        details: the command, or the call in Python.
        explain: the command for all of the verdict, or its name in Python.
        why_none: the reason why a record that was asked for is not there; empty elsewhere.
    """

    record: Path | None = None
    details: str = IN_PYTHON
    explain: str = "report.verdict"
    why_none: str = ""

    @classmethod
    def of_record(cls, record: Path, run: str | Path | None = None) -> Place:
        """The place of a report that is in a record.

        Args:
            record: the file.
            run: the run as its user named it: a file or folder; by default the file's folder where its name is usual.

        Example:
            >>> from pathlib import Path
            >>> Place.of_record(Path("my runs/energy.json")).details
            "lightning-energy report 'my runs' --details"
        """
        named = run if run is not None else record.parent if record.name == "energy.json" else record
        quoted = shlex.quote(str(named))
        return cls(record, f"lightning-energy report {quoted} --details", f"`lightning-energy explain {quoted}`")


def in_brief(report: Figures, place: Place | None = None) -> Brief:
    """Put a report into few words.

    Args:
        report: the figures.
        place: the place of its record; ``None`` for the first part of a longer text, which needs no way to the rest.
    """
    whole = report.total if report.is_of_fit and report.total is not None else report.session
    head = [_headline(report, whole)]
    if _sessions(report, whole):
        head.append(
            f"This session alone: {_joules(report.session)} in {duration(report.session.duration_s)}, by stage:"
        )
    before = [*_lines_on_end(report), *_lines_on_metric(report), *line_of_phases(report)]
    after = [
        *_lines_on_derived(report.derived),
        *_lines_on_idle(report),
        *_lines_on_missing(report, whole),
        *([] if report.is_of_fit or report.total is None else [("Training before", _joules(report.total))]),
        *_lines_on_meter(report, whole),
        *(_lines_on_place(report, place) if place is not None else []),
    ]
    room = MOST_LINES - len(head) - FEWEST_ROWS - len(before) - len(after)
    lines = [*before, *lines_of_verdict(report.verdict, (place or Place()).explain, room), *after]
    rows = _rows(report, max(MOST_LINES - len(head) - len(lines), FEWEST_ROWS))
    return Brief(
        head=[one_line(line) for line in head],
        rows=[tuple(map(one_line, row)) for row in rows],
        lines=[(one_line(label), one_line(text)) for label, text in lines],
    )


def per_unit(report: Figures, stage: str) -> list[tuple[str, float]]:
    """The energy of a stage per sample and per unit of the user's own: (unit, joules)."""
    joules = {unit: report.unit_j(unit, stage) for unit in report.units.get(stage, {})}
    if stage == "train":
        joules.setdefault(SAMPLES, report.sample_j)
    return [(one_of(unit), per_unit_j) for unit, per_unit_j in joules.items() if per_unit_j is not None]


def one_of(units: str) -> str:
    """Give the singular of a unit's name, as far as its spelling tells.

    Example:
        >>> one_of("tokens"), one_of("glass"), one_of("audio")
        ('token', 'glass', 'audio')
    """
    return units[:-1] if units.endswith("s") and not units.endswith("ss") else units


# ------------------------------------------------------------------------------------------------ the first lines


def _headline(report: Figures, whole: Energy) -> str:
    beginning, sessions = BEGINNINGS[report.outcome], _sessions(report, whole)
    time = f"in {duration(whole.duration_s)}{sessions and f' over {sessions}'}"
    if whole.energy_j is None:
        names = _named(_alike(report).get("missing", {}))
        return f"{beginning}: unknown, nothing could be read {time}{names and f' ({names})'}"
    source = _source(report, whole)
    return f"{beginning}: {_joules(whole)} {time}{source and f', {source}'}"


def _sessions(report: Figures, whole: Energy) -> str:
    """The sessions that the total is of, in words; empty where there is one. One that runs is not counted yet."""
    n = report.sessions + (report.outcome == "running")
    if whole is report.session or (n < 2 and whole.duration_s < MORE * report.session.duration_s):  # noqa: PLR2004
        return ""
    return f"{n} sessions" if n > 1 else "several sessions"


def _alike(report: Figures) -> dict[Quality, dict[str, int]]:
    """The names of the devices by the quality of their figures, each with the number of them."""
    alike: dict[Quality, dict[str, int]] = {}
    for device in report.devices:
        names = alike.setdefault(device.energy.quality, {})
        names[device.name] = names.get(device.name, 0) + 1
    return alike


def _joules(energy: Energy) -> str:
    if energy.energy_j is None:
        return "unknown"
    about = "about " if energy.quality == "estimated" else ""
    return f"{about}{si(energy.energy_j, 'J', digits=3)} ({watt_hours(energy.energy_j)})"


def _source(report: Figures, whole: Energy) -> str:
    """The devices, in words, those with the worst figures first, as the sum is no better."""
    alike = _alike(report)
    if whole.quality == "estimated" and alike and "estimated" not in alike:
        sources = [f"in part estimated; this session {SOURCES[q]} {_named(names)}" for q, names in alike.items()]
    else:
        order = sorted(QUALITIES, key=lambda q: q != whole.quality)
        sources = [f"{SOURCES[quality]} {_named(alike[quality])}" for quality in order if quality in alike]
    text = ", and ".join(sources)
    if report.ranks == 1:
        return text
    if report.has_all_devices or len({device.rank for device in report.devices}) > 1:  # put together from several
        return f"{text} by {report.ranks} ranks" if text else f"by {report.ranks} ranks"
    return f"by {report.ranks} ranks, this one {text}" if text else f"by {report.ranks} ranks"


def _named(names: Mapping[str, int]) -> str:
    return " + ".join(_some([name if n == 1 else f"{n} x {name}" for name, n in names.items()]))


def _some(texts: Sequence[str]) -> list[str]:
    left = len(texts) - MOST_NAMES
    return [*texts[:MOST_NAMES], *([f"{left} more"] if left > 0 else [])]


# ------------------------------------------------------------------------------------------------ stages


def _rows(report: Figures, most: int) -> list[tuple[str, ...]]:
    """A row per stage, the usual ones first; where there are too many, the smallest of them together."""
    order = [*(s for s in FIRST_STAGES if s in report.stages), *(s for s in report.stages if s not in FIRST_STAGES)]
    by_size = sorted(order, key=lambda stage: report.stages[stage].energy_j or 0.0, reverse=True)
    kept = {*by_size} if len(order) <= most else {*by_size[: most - 1]}
    rows = [
        _row(stage.replace("_", " "), report.stages[stage], report.session, _remarks(report, stage))
        for stage in order
        if stage in kept
    ]
    rest = [stage for stage in order if stage not in kept]
    if rest:
        energy = Energy.sequence(report.stages[stage] for stage in rest)
        rows.append(_row("other", energy, report.session, _some([stage.replace("_", " ") for stage in rest])))
    return rows


def _row(name: str, energy: Energy, session: Energy, remarks: Sequence[str]) -> tuple[str, ...]:
    texts = [*remarks]
    if energy.missing_s > 0:
        texts.append(f"{duration(energy.missing_s)} missing")
    if energy.energy_j is None:
        return name, "unknown", "", ", ".join(texts)
    share = percent(energy.energy_j / session.energy_j) if session.energy_j else ""
    return name, si(energy.energy_j, "J", digits=3), share, ", ".join(texts)


def _remarks(report: Figures, stage: str) -> list[str]:
    texts = [f"{si(joules, 'J', digits=3)}/{unit}" for unit, joules in per_unit(report, stage)]
    energy = report.stages[stage]
    if stage == "train":
        if report.step_j is not None:
            kinds = ", the mean of kinds" if _has_kinds(report, stage) else ""
            texts.append(f"{si(report.step_j, 'J', digits=3)}/step{' of rank 0' if report.ranks > 1 else ''}{kinds}")
        gaps_j = report.gaps.energy_j if report.gaps is not None else None
        if report.steps and gaps_j and energy.energy_j and gaps_j >= GAPS * energy.energy_j:
            texts.append(f"{percent(gaps_j / energy.energy_j)} of training between steps")
    if report.resolutions.get(stage) == "unresolved":
        texts.append("shorter than the meter can tell apart")
    return texts


def _has_kinds(report: Figures, stage: str) -> bool:
    """True where steps of the stage are of kinds, each with a power of its own."""
    return any(k.stage == stage for d in report.devices if d.shared is not None for k in d.shared.step_kinds)


# ------------------------------------------------------------------------------------------------ the last lines


def _lines_on_metric(report: Figures) -> list[tuple[str, str]]:
    lines = []
    metric, best = report.metric, report.best
    if metric is not None:
        epoch = [] if report.metric_epoch is None else [f"epoch {report.metric_epoch}"]
        if metric.is_accuracy:
            label, about = "Accuracy", [metric.name, *epoch]
        else:
            label, about = metric.name, [*epoch, f"{'more' if metric.mode == 'max' else 'less'} is better"]
        if best is not None and best.score is None:
            about.append(_best_metric(report, metric, best))
        score = "" if report.score is None else f"; score {report.score:.4g}{_best_score(report)}"
        lines.append((label, f"{_value(metric, metric.value)} ({', '.join(about)}){score}"))
    if report.no_metric:
        lines.append(("No metric", report.no_metric))
    if report.score is None and report.no_score and not report.no_metric.endswith(report.no_score):
        lines.append(("No score", report.no_score))
    return lines


def _value(metric: Metric, value: float) -> str:
    if metric.scale == "percent":
        return f"{value:.2f} %"
    return f"{value:.4f}" if metric.scale == "fraction" else f"{value:.4g}"


def _best_metric(report: Figures, metric: Metric, best: Best) -> str:
    after = "" if best.total_kwh is None else f" after {watt_hours(best.total_kwh * J_PER_KWH)}"
    if best.epoch == report.metric_epoch:
        return f"the best{_at_end(best)}, reached{after}" if after else f"the best{_at_end(best)}"
    return f"best{_at_end(best)} {_value(metric, best.value)} in epoch {best.epoch}{after}"


def _best_score(report: Figures) -> str:
    best = report.best
    if best is None or best.score is None:
        return ""
    is_last = best.epoch == report.metric_epoch
    found = f"the best{_at_end(best)}" if is_last else f"best{_at_end(best)} {best.score:.4g} in epoch {best.epoch}"
    return f" ({found})"


def _at_end(best: Best) -> str:
    """Say that of several validations of an epoch the last one counts; nothing where each had one."""
    return " at an epoch's end" if best.is_of_ends else ""


def _lines_on_derived(derived: Derived | None) -> list[tuple[str, str]]:
    lines: list[tuple[str, str]] = []
    if derived is None:
        return lines
    pue = "" if derived.pue == 1 else f", PUE {derived.pue:g}"
    if derived.carbon_intensity_g_per_kwh is not None:
        where = f", {derived.region}" if derived.region else ""
        grams = "unknown" if derived.co2eq_g is None else si(derived.co2eq_g, "g", digits=3)
        lines.append(("CO2e", f"{grams} ({derived.carbon_intensity_g_per_kwh:g} g/kWh{where}{pue})"))
    if derived.price_per_kwh is not None:
        cost = "unknown" if derived.cost is None else f"{derived.cost:.3g}"
        lines.append(("Cost", f"{cost} ({derived.price_per_kwh:g} per kWh{pue})"))
    if len(lines) > 1:  # in one line
        return [(lines[0][0], f"{lines[0][1]}; cost {lines[1][1]}")]
    return lines


def _lines_on_idle(report: Figures) -> list[tuple[str, str]]:
    if report.above_idle_j is None:
        return []
    return [
        ("Above idle", f"{si(report.above_idle_j, 'J', digits=3)} of this session; the rest flows without work, too")
    ]


def _lines_on_end(report: Figures) -> list[tuple[str, str]]:
    """The causes that ended it before its limit."""
    return [("Ended by", note.text.removeprefix("Ended by ")) for note in report.notes if note.kind == "ended"]


def _lines_on_missing(report: Figures, whole: Energy) -> list[tuple[str, str]]:
    """All that makes the energy too low, in one line."""
    kinds = {note.kind for note in report.notes}
    lost = []
    if whole.missing_s > 0 and whole.energy_j is not None:  # else the first line says it
        of = ", added up over ranks" if report.ranks > 1 else f" of {duration(whole.duration_s)}"
        lost.append(f"the energy of {duration(whole.missing_s)}{of}")
    if report.absent_ranks or "incomplete" in kinds:
        n = report.absent_ranks
        lost.append(f"{n} other {'rank' if n == 1 else 'ranks'}" if n else "other ranks")
    lost += [text for kind, text in LOST.items() if kind in kinds and not (kind == "sensor" and whole.missing_s > 0)]
    return [("Missing", f"{', '.join(lost)}; more was spent than the figures say")] if lost else []


def _lines_on_meter(report: Figures, whole: Energy) -> list[tuple[str, str]]:
    if not whole.energy_j:
        return []
    u, u_absolute = (percent(u_j / whole.energy_j) for u_j in (whole.u_j, whole.u_absolute_j))
    is_shared = any(n.kind == "sharing" for n in report.notes) or any(d.scope == "board" for d in report.devices)
    if whole.quality == "estimated":
        if all(d.energy.quality == "estimated" for d in report.devices):
            busy = "; other programs were busy, too, and are not in it" if is_shared else ""
            hint = "`lightning-energy doctor` says what can be measured here"
            return [("Meter", f"none; the estimate is ± {u_absolute}{busy}. {hint}")]
        return [("Meter", f"± {u_absolute} with the estimated part")]
    remarks = [f"± {u} repeatability, ± {u_absolute} absolute; runs differ by more"]
    absent = [_named_in(note.text) for note in report.notes if note.kind == "absent_meter"]
    if absent:
        remarks.append(f"not measured: {', '.join(dict.fromkeys(absent))}")
    if is_shared:
        remarks.append("other programs used the devices, too, and are in it")
    if any(note.kind == "aliasing" for note in report.notes):
        remarks.append("steps keep time with the sensor, so that figures may be up to 40 % off")
    return [("Meter", "; ".join(remarks))]


def _named_in(note: str) -> str:
    """The device that a note on it begins with."""
    name, colon, _ = note.partition(": ")
    return name if colon and len(name) <= LONGEST_NAME else "a device"


def _lines_on_place(report: Figures, place: Place) -> list[tuple[str, str]]:
    n = len(report.notes) + sum(bool(device.note) for device in report.devices)
    notes = [(f"{n} note{'s' if n > 1 else ''}", place.details)] if n else []
    record = f"none, as {place.why_none}" if place.why_none else "" if place.record is None else str(place.record)
    return [*notes, *([("Record", record)] if record else [])]
