"""The checklist of a study: what reviewers ask, and what its records answer. Unknown is said as unknown.

The points follow the power rules of MLPerf (what is measured, with which meters and settings, from when to when) and
the questions of reproducibility checklists (seeds, sizes of the data sets, selection and report).
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from lightning_energy.comparison.listing import some_of
from lightning_energy.meters.base import BOARDS
from lightning_energy.results.plain import printable
from lightning_energy.results.prefixes import significant
from lightning_energy.results.readable import duration, percent
from lightning_energy.results.seeds import global_seed_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lightning_energy.results.figures import Device
    from lightning_energy.results.record import Record
    from lightning_energy.study.gather import Gathered

__all__ = ["Answer", "Item", "checklist"]

Answer: TypeAlias = Literal["known", "partly", "unknown"]

NAMED = 5  # different values in a sentence
FEWEST = 3  # runs that would hardly have one metric by chance
CALIBRATED = "calibrated: "
NOT_COVERED = "losses of power supplies, fans, disks, network, cooling: the gap to the plug of the node"
CPU = {"package", "psys", "module", "machine", "processes"}
DRAM = {"dram", "psys", "module", "machine"}


@dataclass(frozen=True)
class Item:
    """A point of the checklist.

    Attributes:
        name: the question, in a few words.
        answer: whether the records and the manifest answer it: ``known``, ``partly``, ``unknown``.
        text: the answer, or what is not known.
    """

    name: str
    answer: Answer
    text: str


def checklist(found: Gathered) -> list[Item]:
    """The points of the checklist for a study's runs."""
    records = found.records
    return [
        _coverage(records),
        _meters(records),
        _idle(found),
        _settings(records),
        _temperature(found),
        _order(found),
        _seeds(found),
        _samples(records),
        _selection(records),
        _missing(records),
        _derived(records),
        _not_covered(records),
        _versions(records),
    ]


def _devices(records: Iterable[Record]) -> list[Device]:
    return [device for record in records for device in record.devices]


def _listed(values: Iterable[object]) -> str:
    """Different values with their numbers of runs, the most frequent first."""
    counted = Counter(printable(value) for value in values).most_common()
    named = [value if len(counted) == 1 else f"{value} ({n} runs)" for value, n in counted[:NAMED]]
    more = f" and {len(counted) - NAMED} more" if len(counted) > NAMED else ""
    return f"{', '.join(named)}{more}"


def _all_of(known: int, n: int) -> Answer:
    return "unknown" if known == 0 else "known" if known == n else "partly"


def _coverage(records: Sequence[Record]) -> Item:
    scopes = [" + ".join(sorted({d.scope for d in r.devices})) or "nothing" for r in records]
    qualities = [r.total.quality for r in records if r.total is not None]
    text = f"{_listed(scopes)}; {_listed(qualities)}" if records else "no run is done"
    return Item("what is measured", "known" if records else "unknown", text)


def _meters(records: Sequence[Record]) -> Item:
    devices = [d for d in _devices(records) if d.energy.energy_j]
    gains = sorted({gain for gain in map(_gain, devices) if gain is not None}, reverse=True)
    names = _listed(d.name for d in devices)
    own = [d for d in devices if CALIBRATED in d.note]
    gain = " and ".join(map(percent, gains)) or "unknown"
    text = f"{names or 'none'}; standard uncertainty of the gain: {gain}"
    if devices and len(own) == len(devices):
        return Item("meters and calibration", "known", f"{text}, {own[0].note[own[0].note.index(CALIBRATED) :]}")
    text += f"; {len(own)} of {len(devices)} meters" if own else "; no meter"
    return Item("meters and calibration", "partly" if devices else "unknown", f"{text} was calibrated against another")


def _gain(device: Device) -> float | None:
    e = device.energy
    return None if not e.energy_j else round(math.sqrt(max(e.u_absolute_j**2 - e.u_j**2, 0.0)) / e.energy_j, 3)


def _idle(found: Gathered) -> Item:
    rows = [row for _, manifest in found.studies for row in manifest.idle if row.power_w is not None]
    if not rows:
        included = _idle_included(found.records, "what the devices take when idle", "idle power")
        return Item("idle power", "unknown", f"not measured{included}")
    listed = ", ".join(
        f"{printable(row.name)} {significant(row.power_w or 0.0, 3)} W in {duration(row.seconds)}"
        for row in rows[:NAMED]
    )
    return Item("idle power", "known", f"{listed}{_idle_included(found.records, 'it', 'it')}")


def _idle_included(records: Iterable[Record], included: str, lacking: str) -> str:
    """Say by the quality of energies if idle power is in them; nothing where no energy is known."""
    qualities = {d.energy.quality for d in _devices(records) if d.energy.energy_j is not None}
    if not qualities:
        return ""
    if qualities == {"estimated"}:
        return f"; the energies are estimates without {lacking}"
    if "estimated" in qualities:
        return f"; the measured energies include {included}, the estimated ones do not"
    return f"; the energies include {included}"


def _boards(records: Iterable[Record]) -> list[Device]:
    return [d for d in _devices(records) if d.scope in BOARDS]


def _settings(records: Sequence[Record]) -> Item:
    name, boards = "power limit and clocks", _boards(records)
    known = [d.condition for d in boards if d.condition is not None and d.condition.power_limit_w is not None]
    if not boards:
        return Item(name, "unknown", "no GPU; limits and clocks of the CPU are not in the records")
    limits = _listed(f"{c.power_limit_w:.0f} W" for c in known) or "unknown"
    clocks = [c.sm_clock_max_mhz for c in known if c.sm_clock_max_mhz is not None]
    text = f"limit {limits}; highest clock {_listed(f'{mhz:.0f} MHz' for mhz in clocks) or 'unknown'}"
    return Item(name, _all_of(min(len(known), len(clocks)), len(boards)), text)


def _temperature(found: Gathered) -> Item:
    boards = _boards(found.records)
    known = [t for t in (d.condition.temperature_c for d in boards if d.condition is not None) if t is not None]
    name = "temperature at the start"
    if not known:
        return Item(name, "unknown", "not in the records")
    warm = sum(a.was_ready is False and a.kind == "run" for _, manifest in found.studies for a in manifest.attempts)
    text = f"{min(known):.0f} to {max(known):.0f} °C on the boards"
    text += f"; {warm} runs began on a warmer or used board, as the wait has a limit" if warm else ""
    return Item(name, _all_of(len(known), len(boards)), text)


def _order(found: Gathered) -> Item:
    if not found.studies:
        return Item("order of the runs", "unknown", "there is no manifest: a drift may have hit one configuration more")
    orders = _listed(f"{manifest.order}, seed {manifest.order_seed}" for _, manifest in found.studies)
    is_mixed = all(manifest.order != "as given" for _, manifest in found.studies)
    parts = [manifest.part for _, manifest in found.studies if manifest.part]
    text = orders if is_mixed else f"{orders}: a drift (warmth, other programs) hits one configuration more"
    text += f"; on {len(parts)} parts, whose configurations were not trained on the same machine" if parts else ""
    return Item("order of the runs", "known" if is_mixed and not parts else "partly", text)


def _seeds(found: Gathered) -> Item:
    of_training = ((global_seed_of(r), r.seed) for r in found.records)
    seeds = [own if of_all is None else of_all for of_all, own in of_training]
    known = [s for s in seeds if s is not None]
    different = sorted({*known})
    text = f"{_first(different)} in {len(known)} of {len(seeds)} runs" if known else "not in the records"
    if found.reseeded:
        plan = sorted({seed for _, manifest in found.studies for seed in manifest.seeds})
        who = f"{found.reseeded} run{'s have' if found.reseeded > 1 else ' has'} another seed than it"
        why = "as the function seeds by itself, so that repeats may be one training copied"
        return Item("seeds", "unknown", f"{text}; the plan says {_first(plan)}: {who}, {why}")
    answer = _all_of(len(known), len(seeds))
    if found.studies and known:
        text += ", set before the function was called; what it sets itself, other than by Lightning, no record has"
    alike = [config for config, values in found.values.items() if len(values) >= FEWEST and len({*values}) == 1]
    if alike and known:
        answer = "partly"
        names = some_of([*map(printable, alike)])
        text += f"; all runs of {names} have one metric: were they trained anew with these seeds?"
    return Item("seeds", answer, text)


def _first(numbers: Sequence[int]) -> str:
    more = ["…"] if len(numbers) > NAMED else []
    return ", ".join([*map(str, numbers[:NAMED]), *more])


def _samples(records: Sequence[Record]) -> Item:
    val, test = ([n for r in records if (n := getattr(r, name)) is not None] for name in ("n_val", "n_test"))
    if not val and not test:
        return Item("validation and test samples", "unknown", "not in the records")
    text = f"validation: {_listed(val) or 'unknown'}; test: {_listed(test) or 'unknown, or there was none'}"
    is_all = len(val) == len(test) == len(records)
    return Item("validation and test samples", "known" if is_all else "partly", text)


def _selection(records: Sequence[Record]) -> Item:
    names = {r.metric.name for r in records if r.metric is not None}
    tested = sum(any("test" in row.stages for row in r.evaluations) for r in records)
    text = (
        f"the metric is {_listed(sorted(names)) or 'unknown'}, of a validation; {tested} of {len(records)} runs had a "
    )
    text += "test. What epochs, models or hyperparameters were chosen by is not in the records: report a test's metric "
    return Item("selection and report", "unknown", f"{text}where anything was chosen by a validation's")


def _missing(records: Sequence[Record]) -> Item:
    energies = [r.total for r in records if r.total is not None]
    missing_s, all_s = sum(e.missing_s for e in energies), sum(e.duration_s for e in energies)
    if not all_s:
        return Item("time without a measurement", "unknown", "no run is done")
    estimated = sum(e.quality == "estimated" for e in energies)
    if estimated == len(energies):
        return Item("time without a measurement", "unknown", "all of it: the energies are a model's")
    text = f"{duration(missing_s)} of {duration(all_s)}, {percent(missing_s / all_s)}" if missing_s else "none"
    text += f"; of {estimated} of {len(energies)} runs the energies are a model's" if estimated else ""
    return Item("time without a measurement", "partly" if missing_s or estimated else "known", text)


def _derived(records: Sequence[Record]) -> Item:
    known = [r.derived for r in records if r.derived is not None and r.derived.carbon_intensity_g_per_kwh is not None]
    if not known:
        return Item("PUE and carbon intensity", "unknown", "not given: the energies are those of the devices, no CO2e")
    rows = _listed(f"PUE {d.pue:g}, {d.carbon_intensity_g_per_kwh:g} g/kWh" for d in known)
    return Item("PUE and carbon intensity", _all_of(len(known), len(records)), f"{rows}; the energies are without PUE")


def _not_covered(records: Sequence[Record]) -> Item:
    scopes: list[set[str]] = [{d.scope for d in r.devices} for r in records]
    lacking = ""
    for name, covering in (("the CPU", CPU), ("memory", DRAM)):
        n = sum(not covering & of_run for of_run in scopes)
        lacking += f"{name}{'' if n == len(scopes) else f' of {n} runs'}; " if n else ""
    return Item("not covered", "unknown", f"{lacking}{NOT_COVERED}")


def _versions(records: Sequence[Record]) -> Item:
    names = ("lightning-energy", "torch", "lightning", "python")
    rows = [", ".join(f"{n} {r.where.versions[n]}" for n in names if n in r.where.versions) for r in records]
    drivers = [r.where.nvidia_driver for r in records if r.where.nvidia_driver]
    parts = [_listed(row for row in rows if row), f"driver {_listed(drivers)}" if drivers else ""]
    text = "; ".join(filter(None, parts))
    return Item("versions", _all_of(sum(map(bool, rows)), len(records)), text or "not in the records")
